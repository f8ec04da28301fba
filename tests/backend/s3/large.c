/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * s3large URL: what one request cannot do, on a real server. The URL has part=5&single=16 or so, that
 * it need not be gigabytes. The log on stderr says what was copied instead of sent; s3_real.sh reads it.
 */
#include <stdlib.h>
#include <string.h>

#include "backends/store.h"
#include "pool/base/base.h"
#include "unit.h"

#define MIB  (1u << 20)
#define SIZE (43 * MIB + 12345)

static const char *url;
static char *data, *have;

static struct vidas_store *store_open(void)
{
	struct vidas_store *s = NULL;
	int err = vidas_store_open(url, NULL, &s);

	if (err)
		fprintf(stderr, "%s\n", vidas_fail_text());
	CU_ASSERT_EQUAL_FATAL(err, 0);
	return s;
}

static int put_if(struct vidas_store *s, const char *key, size_t size,
		  const struct vidas_backend_version *expect, bool fresh)
{
	struct iovec iov[2] = { { .iov_base = data, .iov_len = size / 3 },
				{ .iov_base = data + size / 3, .iov_len = size - size / 3 } };
	const struct vidas_backend_stat attrs = { .valid = VIDAS_BACKEND_MODE, .mode = 0610 };
	struct vidas_backend_put p = { .iov = iov,
				       .iovcnt = 2,
				       .size_bytes = size,
				       .attrs = &attrs,
				       .expect = expect,
				       .must_not_exist = fresh };

	return vidas_store_put(s, key, &p, NULL);
}

static void put(struct vidas_store *s, const char *key, size_t size)
{
	CU_ASSERT_EQUAL(put_if(s, key, size, NULL, false), 0);
}

static void holds(struct vidas_store *s, const char *key, size_t size)
{
	struct iovec iov = { .iov_base = have, .iov_len = SIZE + MIB };

	memset(have, 0, SIZE);
	CU_ASSERT_EQUAL(vidas_store_get(s, key, 0, &iov, 1, NULL, NULL), (ssize_t)size);
	CU_ASSERT_EQUAL(memcmp(data, have, size), 0);
}

static void mode_is(struct vidas_store *s, const char *key, uint32_t mode)
{
	struct vidas_backend_stat st;

	CU_ASSERT_EQUAL(vidas_store_stat(s, key, &st), 0);
	CU_ASSERT_EQUAL(st.mode, mode);
}

/* Changes in the middle, at the end, longer, shorter: what did not change is not sent again. */
static void test_parts_again(void)
{
	struct vidas_store *s = store_open();

	put(s, "again", SIZE);
	fprintf(stderr, "step: one byte\n");
	data[12 * MIB]++;
	put(s, "again", SIZE);
	holds(s, "again", SIZE);
	fprintf(stderr, "step: shorter\n");
	put(s, "again", SIZE - 4 * MIB);
	holds(s, "again", SIZE - 4 * MIB);
	fprintf(stderr, "step: longer\n");
	put(s, "again", SIZE);
	holds(s, "again", SIZE);
	vidas_store_close(s);
	/* Another process: it knows what it has fetched. */
	s = store_open();
	holds(s, "again", SIZE);
	fprintf(stderr, "step: fetched\n");
	data[0]++;
	put(s, "again", SIZE);
	holds(s, "again", SIZE);
	mode_is(s, "again", 0610);
	vidas_store_close(s);
}

/* Another one has put it since: nothing of that is taken for ours. */
static void test_changed_between(void)
{
	struct vidas_store *s = store_open(), *other = store_open();

	put(s, "between", SIZE);
	for (unsigned i = 0; i < SIZE; i += 4 * MIB)
		data[i]++;
	put(other, "between", SIZE);
	for (unsigned i = 0; i < SIZE; i += 4 * MIB)
		data[i]--;
	data[SIZE - 1]++;
	fprintf(stderr, "step: changed\n");
	put(s, "between", SIZE);
	holds(s, "between", SIZE);
	CU_ASSERT_EQUAL(vidas_store_remove(other, "between", NULL), 0);
	data[SIZE - 2]++;
	put(s, "between", SIZE);
	holds(other, "between", SIZE);
	vidas_store_close(s);
	vidas_store_close(other);
}

/* Under conditions, whether the server knows them of uploads in parts or not. */
static void test_guarded(void)
{
	struct vidas_store *s = store_open(), *other = store_open();
	struct vidas_backend_stat first, second;

	CU_ASSERT_EQUAL(put_if(s, "guarded", SIZE, NULL, true), 0);
	CU_ASSERT_EQUAL(put_if(s, "guarded", SIZE, NULL, true), -EEXIST);
	CU_ASSERT_EQUAL(vidas_store_stat(s, "guarded", &first), 0);
	data[12 * MIB]++;
	fprintf(stderr, "step: guarded\n");
	CU_ASSERT_EQUAL(put_if(s, "guarded", SIZE, &first.version, false), 0);
	holds(s, "guarded", SIZE);
	data[0]++;
	CU_ASSERT_EQUAL(put_if(other, "guarded", SIZE, &first.version, false), -ESTALE);
	CU_ASSERT_EQUAL(vidas_store_stat(s, "guarded", &second), 0);
	CU_ASSERT_EQUAL(put_if(other, "guarded", SIZE, &second.version, false), 0);
	data[1]++;
	CU_ASSERT_EQUAL(put_if(s, "guarded", SIZE, &second.version, false), -ESTALE);
	data[1]--;
	holds(s, "guarded", SIZE);
	vidas_store_close(s);
	vidas_store_close(other);
}

static void test_large_copies(void)
{
	const struct vidas_backend_stat attrs = { .valid = VIDAS_BACKEND_MODE, .mode = 0401 };
	struct vidas_store *s = store_open();
	struct vidas_backend_stat st;

	put(s, "from", SIZE);
	CU_ASSERT_EQUAL(vidas_store_rename(s, "from", "to it"), 0);
	CU_ASSERT_EQUAL(vidas_store_stat(s, "from", &st), -ENOENT);
	holds(s, "to it", SIZE);
	mode_is(s, "to it", 0610);
	CU_ASSERT_EQUAL(vidas_store_set_attrs(s, "to it", &attrs), 0);
	holds(s, "to it", SIZE);
	mode_is(s, "to it", 0401);
	vidas_store_close(s);
}

static int count(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	(void)name;
	(void)st;
	++*(int *)arg;
	return 0;
}

static int counted(struct vidas_store *s, const char *key)
{
	int n = 0;

	CU_ASSERT_EQUAL(vidas_store_list(s, key, count, &n), 0);
	return n;
}

/* Of all kinds of names: those that XML has to write otherwise, and those that it cannot have. */
static void test_tree(void)
{
	static const char *const names[] = { "a&b<c>\"'d", "tab\there",	   "new\nline", "bell\a",
					     "\xff bytes", "\xef\xbf\xbe", "+ %2B%",	"cr\r" };
	struct vidas_store *s = store_open();
	struct vidas_backend_stat st;
	char key[64];

	for (unsigned i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "tree/%s%u", names[i % VIDAS_ARRAY_SIZE(names)], i);
		put(s, key, i);
	}
	put(s, "tree/large", SIZE);
	CU_ASSERT_EQUAL(counted(s, "tree"), 201);
	CU_ASSERT_EQUAL(vidas_store_rename(s, "tree", "moved"), 0);
	CU_ASSERT_EQUAL(vidas_store_stat(s, "tree", &st), -ENOENT);
	CU_ASSERT_EQUAL(counted(s, "moved"), 201);
	holds(s, "moved/large", SIZE);
	for (unsigned i = 0; i < 200; i += 33) {
		snprintf(key, sizeof(key), "moved/%s%u", names[i % VIDAS_ARRAY_SIZE(names)], i);
		holds(s, key, i);
	}
	vidas_store_close(s);
}

int main(int argc, char **argv)
{
	static const struct unit_case cases[] = {
		{ "parts again", test_parts_again },
		{ "changed between", test_changed_between },
		{ "guarded", test_guarded },
		{ "large copies", test_large_copies },
		{ "tree", test_tree },
	};
	uint32_t x = 7;

	if (argc < 2)
		return 2;
	url = argv[1];
	data = malloc(SIZE + MIB);
	have = malloc(SIZE + MIB);
	if (!data || !have)
		return 1;
	for (unsigned i = 0; i + 4 <= SIZE; i += 4) {
		x = x * 1664525 + 1013904223;
		memcpy(data + i, &x, 4);
	}
	vidas_log_init("s3large", VIDAS_LOG_DEBUG);
	return unit_run("s3 beyond one request", cases, VIDAS_ARRAY_SIZE(cases));
}
