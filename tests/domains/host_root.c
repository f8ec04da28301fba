/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containers with a root: what raw requests on residency do, and what a kill of vidasd leaves.
 * vidas-presets: release asan
 */
#include "unit.h"
#include "raw.h"

#include <sys/mman.h>

static struct raw_host host;
static struct raw *admin, *one;
static int64_t container; /* "data", as `one` names it */

static const char *in_store(const char *rest)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/store/%s", host.dir, rest);
	return path;
}

static const char *root_url(const char *name, const char *query)
{
	static char url[600];

	snprintf(url, sizeof(url), "file://%s/store/%s%s", host.dir, name, query);
	return url;
}

static void put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	CU_ASSERT_TRUE(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* Does the file in the store begin with that? */
static bool stored(const char *rest, const char *text)
{
	char buf[64] = "";
	int fd = open(in_store(rest), O_RDONLY);

	if (fd < 0)
		return false;
	CU_ASSERT_TRUE(read(fd, buf, sizeof(buf) - 1) >= 0);
	close(fd);
	return strncmp(buf, text, strlen(text)) == 0;
}

/* Files moved, or -errno. */
static int64_t flush(struct raw *r, int64_t c, const char *path)
{
	struct vidas_wire_flush body = { .container = (uint32_t)c };
	int err = raw_call(r, VIDAS_WIRE_FLUSH, &body, path);

	if (err < 0)
		return err;
	return (int64_t)((const struct vidas_wire_flush_reply *)r->reply.body)->files;
}

static bool attr_is(const char *path, const char *name, const char *value)
{
	struct vidas_wire_attr_get body = { .container = (uint32_t)container };
	bool same = raw_call(one, VIDAS_WIRE_ATTR_GET, &body, path, name) == 0 &&
		    one->reply.blob_bytes == strlen(value) &&
		    memcmp(one->reply.blob, value, strlen(value)) == 0;

	if (!same)
		printf("%s of '%s' is '%.*s'\n", name, path, (int)one->reply.blob_bytes,
		       (const char *)one->reply.blob);
	return same;
}

static void begin(void)
{
	char base[600];

	raw_prepare(&host, "root");
	snprintf(base, sizeof(base), "%s", in_store(""));
	mkdir(base, 0755);
	mkdir(in_store("data"), 0755);
	put_file(in_store("data/old"), "old bytes");
	snprintf(base, sizeof(base), "file://%s/store/", host.dir);
	raw_start(&host, "--default-root", base, NULL);
	admin = raw_open(&host, 0);
	CU_ASSERT_EQUAL(raw_domain_add(admin, 1), 0);
	one = raw_open(&host, 1);
}

static void test_bad_root(void)
{
	CU_ASSERT_EQUAL(raw_container_create(admin, "data", 1, VIDAS_WIRE_RW,
					     root_url("missing", "")),
			-ENOENT);
	CU_ASSERT_TRUE(admin->reply.blob_bytes > 0);
	CU_ASSERT_TRUE(raw_container_create(admin, "data", 1, VIDAS_WIRE_RW, "nonsense://x") < 0);
	/* Nothing of it is left. */
	CU_ASSERT_EQUAL(raw_container_create(admin, "data", 1, VIDAS_WIRE_RW, root_url("data", "")),
			0);
}

static void test_residency(void)
{
	struct vidas_wire_locality where = { 0 };
	struct vidas_wire_resident resident = { 0 };
	struct vidas_wire_import import = { 0 };
	const struct vidas_wire_container_attach_reply *attached;

	container = raw_attach(one, "data", 0);
	CU_ASSERT_TRUE_FATAL(container >= 0);
	attached = one->reply.body;
	CU_ASSERT_EQUAL(attached->flags, VIDAS_WIRE_CONTAINER_ROOTED);
	where.container = resident.container = import.container = (uint32_t)container;
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_LOCALITY, &where, "old"), 0);
	CU_ASSERT_EQUAL(((const struct vidas_wire_locality_reply *)one->reply.body)->size_bytes, 0);
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_IMPORT, &import, ""), 0);
	CU_ASSERT_EQUAL(((const struct vidas_wire_import_reply *)one->reply.body)->entries, 1);
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_LOCALITY, &where, "old"), 0);
	CU_ASSERT_EQUAL(((const struct vidas_wire_locality_reply *)one->reply.body)->size_bytes, 9);
	CU_ASSERT_EQUAL(((const struct vidas_wire_locality_reply *)one->reply.body)->resident_bytes,
			0);
	CU_ASSERT_TRUE(attr_is("old", "state", "absent"));
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_RESIDENT, &resident, "old"), 0);
	CU_ASSERT_EQUAL(((const struct vidas_wire_resident_reply *)one->reply.body)->size_bytes, 9);
	CU_ASSERT_TRUE(attr_is("old", "locality", "resident 9 of 9 bytes"));
	CU_ASSERT_TRUE(attr_is("old", "state", "clean"));
	CU_ASSERT_TRUE(attr_is("old", "name", root_url("data/old", "")));
	resident.inode = 1;
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_RESIDENT, &resident, "old"), -ESTALE);
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_RESIDENT, &resident, "nowhere"), -ENOENT);
}

/* An object over what the store has, and one over what it has not. */
static void test_objects(void)
{
	char *p;
	int64_t o;
	int fd;

	put_file(in_store("data/more"), "more bytes");
	o = raw_object_create(one, container, "more", 0, 0);
	CU_ASSERT_TRUE_FATAL(o >= 0);
	CU_ASSERT_EQUAL(((const struct vidas_wire_object_create_reply *)one->reply.body)->size, 10);
	fd = raw_take(one, 0);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CU_ASSERT_TRUE_FATAL(p != MAP_FAILED);
	CU_ASSERT_EQUAL(memcmp(p, "more bytes", 10), 0);
	/* Joined, it may change at any moment without a sign: it is pushed each time. */
	memcpy(p, "1234", 4);
	CU_ASSERT_EQUAL(flush(one, container, "more"), 1);
	CU_ASSERT_TRUE(stored("data/more", "1234 bytes"));
	memcpy(p, "5678", 4);
	CU_ASSERT_EQUAL(flush(one, container, ""), 1);
	CU_ASSERT_TRUE(stored("data/more", "5678 bytes"));
	/* The last words before it is left count too. */
	memcpy(p, "last", 4);
	munmap(p, 4096);
	close(fd);
	CU_ASSERT_EQUAL(raw_object_destroy(one, o), 0);
	CU_ASSERT_EQUAL(flush(one, container, "more"), 1);
	CU_ASSERT_TRUE(stored("data/more", "last bytes"));
	CU_ASSERT_EQUAL(flush(one, container, "more"), 0);
	CU_ASSERT_TRUE(raw_object_create(one, container, "a/b/new", 0, 8192) >= 0);
	CU_ASSERT_EQUAL(pwrite(one->share[0].fd, "new", 3, 0), 3);
	CU_ASSERT_EQUAL(flush(one, container, "a"), 1);
	CU_ASSERT_TRUE(stored("data/a/b/new", "new"));
	CU_ASSERT_EQUAL(flush(one, container, "nowhere"), -ENOENT);
}

static void test_default_root(void)
{
	struct vidas_wire_container_attach_reply attached;
	int64_t c;

	CU_ASSERT_EQUAL(raw_container_create(one, "my own", 0, 0, ""), 0);
	c = raw_attach(one, "my own", 0);
	attached = *(const struct vidas_wire_container_attach_reply *)one->reply.body;
	CU_ASSERT_EQUAL(attached.flags, VIDAS_WIRE_CONTAINER_ROOTED);
	CU_ASSERT_TRUE(raw_object_create(one, c, "x", 0, 10) >= 0);
	CU_ASSERT_EQUAL(flush(one, c, ""), 1);
	CU_ASSERT_EQUAL(access(in_store("my own/x"), F_OK), 0);
	CU_ASSERT_EQUAL(raw_container_create(admin, "plain", 1, VIDAS_WIRE_RW, ""), 0);
	c = raw_attach(one, "plain", 0);
	attached = *(const struct vidas_wire_container_attach_reply *)one->reply.body;
	CU_ASSERT_EQUAL(attached.flags, 0);
	CU_ASSERT_EQUAL(flush(one, c, ""), 0);
}

static void test_kill(void)
{
	struct vidas_wire_hello hello = { .session = one->session,
					  .flags = VIDAS_WIRE_HELLO_RESUME };

	CU_ASSERT_TRUE(raw_object_create(one, container, "late", 0, 4096) >= 0);
	CU_ASSERT_EQUAL(pwrite(one->share[0].fd, "late", 4, 0), 4);
	CU_ASSERT_EQUAL(raw_stop(&host, SIGKILL), -SIGKILL);
	vidas_channel_close(admin->channel);
	vidas_channel_close(one->channel);
	admin->channel = NULL;
	raw_close(admin);
	raw_start(&host, NULL);
	admin = raw_open(&host, 0);
	raw_drop_shares(one);
	CU_ASSERT_EQUAL_FATAL(raw_hello(&host, 1, hello, one), 0);
	container = raw_attach(one, "data", 0);
	CU_ASSERT_TRUE(attr_is("late", "state", "dirty"));
	CU_ASSERT_TRUE(attr_is("more", "state", "clean"));
	/* And not a/b/new, whose object may have been written to, but was not. */
	CU_ASSERT_EQUAL(flush(one, container, ""), 1);
	CU_ASSERT_TRUE(stored("data/late", "late"));
}

/* A container that cannot be flushed is not destroyed. */
static void test_destroy(void)
{
	char in_the_way[600];

	CU_ASSERT_TRUE(raw_object_create(one, container, "last", 0, 4096) >= 0);
	CU_ASSERT_EQUAL(pwrite(one->share[0].fd, "last", 4, 0), 4);
	CU_ASSERT_EQUAL(raw_container_destroy(admin, "data"), -EBUSY);
	raw_close(one);
	one = raw_open(&host, 1);
	CU_ASSERT_EQUAL(mkdir(in_store("data/last"), 0755), 0);
	snprintf(in_the_way, sizeof(in_the_way), "%s", in_store("data/last/file"));
	put_file(in_the_way, "in the way");
	CU_ASSERT_TRUE(raw_container_destroy_in_time(admin, "data") < 0);
	CU_ASSERT_TRUE(admin->reply.blob_bytes > 0);
	container = raw_attach(one, "data", 0);
	CU_ASSERT_TRUE(container >= 0);
	CU_ASSERT_TRUE(raw_object_join(one, container, "last", 0, 4096, 0) >= 0);
	raw_close(one);
	one = NULL;
	CU_ASSERT_EQUAL(unlink(in_the_way), 0);
	CU_ASSERT_EQUAL(rmdir(in_store("data/last")), 0);
	/* Once vidasd has seen that the other one is gone. */
	CU_ASSERT_EQUAL(raw_container_destroy_in_time(admin, "data"), 0);
	CU_ASSERT_TRUE(stored("data/last", "last"));
}

static void end(void)
{
	raw_close(admin);
	CU_ASSERT_EQUAL(raw_stop(&host, SIGTERM), 0);
	raw_finish(&host);
}

UNIT_MAIN("host_root", { "begin", begin }, { "bad root", test_bad_root },
	  { "residency", test_residency }, { "objects", test_objects },
	  { "default root", test_default_root }, { "kill", test_kill }, { "destroy", test_destroy },
	  { "end", end })
