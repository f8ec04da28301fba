/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Objects whose resource changes in the store: update, flush and the policy eager, while domains have
 * it joined.
 * vidas-presets: release asan
 */
#include "unit.h"
#include "api.h"

#define SIZE 20000u

static struct raw_host host;
static struct vidas *admin, *one, *two;
static char root[300];

static void begin(void)
{
	const struct vidas_admin_access list[] = { { 1, false }, { 2, false } };
	char url[400];

	raw_prepare(&host, "update");
	raw_start(&host, NULL);
	admin = api_connect(&host, 0);
	CU_ASSERT_EQUAL(vidas_admin_domain_add(admin, 1, 0), 0);
	CU_ASSERT_EQUAL(vidas_admin_domain_add(admin, 2, 0), 0);
	one = api_connect(&host, 1);
	two = api_connect(&host, 2);
	snprintf(root, sizeof(root), "%s/root", host.dir);
	mkdir(root, 0755);
	snprintf(url, sizeof(url), "file://%s", root);
	CU_ASSERT_EQUAL_FATAL(vidas_admin_container_create(admin, "con", list, 2, url), 0);
	CU_ASSERT_EQUAL_FATAL(vidas_container_attach(one, "con"), 0);
	CU_ASSERT_EQUAL_FATAL(vidas_container_attach(two, "con"), 0);
}

/* In the store: `size` times `c`. A new file, as other programs leave it. */
static void store_has(const char *name, char c, size_t size)
{
	char path[400], part[400], bytes[2 * SIZE];
	int fd;

	memset(bytes, c, sizeof(bytes));
	snprintf(path, sizeof(path), "%s/%s", root, name);
	snprintf(part, sizeof(part), "%s/part", root);
	fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	CU_ASSERT_TRUE(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
	close(fd);
	CU_ASSERT_EQUAL(rename(part, path), 0);
}

static char store_byte(const char *name, off_t at)
{
	char path[400], c = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CU_ASSERT_TRUE(fd >= 0 && pread(fd, &c, 1, at) == 1);
	close(fd);
	return c;
}

static bool all_are(struct vidas_object *o, char c)
{
	const char *data = vidas_object_data(o);

	for (size_t i = 0; i < SIZE; i++)
		if (data[i] != c)
			return false;
	return true;
}

static void test_update(void)
{
	struct vidas_object *a, *b;

	store_has("f", 'a', SIZE);
	a = api_create(one, "con", "f", 0, SIZE);
	b = api_join(two, "con", "f", 0, SIZE);
	CU_ASSERT_TRUE(all_are(a, 'a') && all_are(b, 'a'));
	CU_ASSERT_EQUAL(vidas_object_update(a), 0);
	for (char c = 'b'; c < 'f'; c++) {
		store_has("f", c, SIZE);
		CU_ASSERT_EQUAL(vidas_object_update(c % 2 ? a : b), 0);
		CU_ASSERT_TRUE(all_are(a, c) && all_are(b, c));
	}
	/* A store through the mapping is a change, until it is pushed. */
	for (char c = 'A'; c < 'D'; c++) {
		((char *)vidas_object_data(b))[7] = c;
		CU_ASSERT_EQUAL(vidas_object_update(a), -EBUSY);
		CU_ASSERT_EQUAL(((char *)vidas_object_data(a))[7], c);
		CU_ASSERT_EQUAL(vidas_object_flush(a), 0);
		CU_ASSERT_EQUAL(store_byte("f", 7), c);
		CU_ASSERT_EQUAL(vidas_object_update(a), 0);
	}
	store_has("f", 'x', SIZE);
	CU_ASSERT_EQUAL(vidas_object_update(b), 0);
	CU_ASSERT_TRUE(all_are(a, 'x') && all_are(b, 'x'));
	store_has("f", 'z', SIZE + 5);
	CU_ASSERT_EQUAL(vidas_object_update(b), 0);
	CU_ASSERT_TRUE(all_are(a, 'z') && all_are(b, 'z'));
	CU_ASSERT_EQUAL(vidas_object_leave(b), 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(a), 0);
}

/* An update of one that is unchanged pushes and takes nothing: the store's file stays the same one. */
static void test_unchanged(void)
{
	struct vidas_object *a;
	struct stat before, after;
	char path[400];

	store_has("g", 'a', SIZE);
	a = api_create(one, "con", "g", 0, SIZE);
	snprintf(path, sizeof(path), "%s/g", root);
	CU_ASSERT_EQUAL(stat(path, &before), 0);
	CU_ASSERT_EQUAL(vidas_object_flush(a), 0);
	CU_ASSERT_EQUAL(stat(path, &after), 0);
	CU_ASSERT_EQUAL(before.st_ino, after.st_ino);
	((char *)vidas_object_data(a))[7] = 'b';
	CU_ASSERT_EQUAL(vidas_object_flush(a), 0);
	CU_ASSERT_EQUAL(stat(path, &after), 0);
	CU_ASSERT_NOT_EQUAL(before.st_ino, after.st_ino);
	CU_ASSERT_EQUAL(vidas_object_destroy(a), 0);
}

/* Who joins with "eager" looks at the store, whoever else has it joined. */
static void test_eager(void)
{
	struct vidas_object *a, *b;

	store_has("h", 'a', SIZE);
	a = api_create(one, "con", "h", 0, SIZE);
	CU_ASSERT_EQUAL(vidas_object_setattr(a, "update_policy", "eager", 5), 0);
	store_has("h", 'b', SIZE);
	b = api_join(two, "con", "h", 0, SIZE);
	CU_ASSERT_TRUE(all_are(a, 'b') && all_are(b, 'b'));
	CU_ASSERT_EQUAL(vidas_object_leave(b), 0);
	((char *)vidas_object_data(a))[0] = 'm';
	store_has("h", 'c', SIZE);
	b = api_join(two, "con", "h", 0, SIZE);
	CU_ASSERT_EQUAL(((char *)vidas_object_data(b))[0], 'm');
	CU_ASSERT_EQUAL(((char *)vidas_object_data(b))[1], 'b');
	CU_ASSERT_EQUAL(vidas_object_leave(b), 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(a), 0);
}

/* Gone in the store, or shorter there. */
static void test_less(void)
{
	struct vidas_object *a;
	char path[400], c;

	store_has("l", 'a', SIZE);
	a = api_create(one, "con", "l", 0, SIZE);
	snprintf(path, sizeof(path), "%s/l", root);
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT_EQUAL(vidas_object_update(a), -EBUSY);
	CU_ASSERT_TRUE(all_are(a, 'a'));
	store_has("l", 'b', 100);
	CU_ASSERT_EQUAL(vidas_object_update(a), 0);
	CU_ASSERT_EQUAL(vidas_object_read(a, &c, 99, 1), 1);
	CU_ASSERT_EQUAL(c, 'b');
	if (raw_granted())
		goto out;
	CU_ASSERT_EQUAL(vidas_object_read(a, &c, SIZE - 1, 1), -EIO);
	store_has("l", 'c', SIZE);
	CU_ASSERT_EQUAL(vidas_object_update(a), 0);
	CU_ASSERT_TRUE(all_are(a, 'c'));
out:
	CU_ASSERT_EQUAL(vidas_object_destroy(a), 0);
}

/* A vidasd that was killed knows as much as before. */
static void test_restart(void)
{
	struct vidas_object *a, *b;

	store_has("r", 'a', SIZE);
	a = api_create(one, "con", "r", 0, SIZE);
	b = api_join(two, "con", "r", 0, SIZE);
	((char *)vidas_object_data(a))[3] = 'b';
	CU_ASSERT_EQUAL(vidas_object_flush(a), 0);
	CU_ASSERT_EQUAL(raw_stop(&host, SIGKILL), -SIGKILL);
	raw_start(&host, NULL);
	store_has("r", 'c', SIZE);
	CU_ASSERT_EQUAL(vidas_object_update(b), 0);
	CU_ASSERT_TRUE(all_are(a, 'c') && all_are(b, 'c'));
	((char *)vidas_object_data(a))[3] = 'd';
	CU_ASSERT_EQUAL(vidas_object_update(b), -EBUSY);
	CU_ASSERT_EQUAL(vidas_object_leave(b), 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(a), 0);
}

static void finish(void)
{
	CU_ASSERT_EQUAL(vidas_container_leave(two, "con"), 0);
	vidas_close(two);
	CU_ASSERT_EQUAL(vidas_container_leave(one, "con"), 0);
	vidas_close(one);
	CU_ASSERT_EQUAL(vidas_container_destroy(admin, "con"), 0);
	vidas_close(admin);
	CU_ASSERT_EQUAL(raw_stop(&host, SIGTERM), 0);
	raw_finish(&host);
}

UNIT_MAIN("update", { "begin", begin }, { "update of what is joined", test_update },
	  { "unchanged", test_unchanged }, { "eager", test_eager },
	  { "gone or shorter in the store", test_less }, { "vidasd killed", test_restart },
	  { "finish", finish })
