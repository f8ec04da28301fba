/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vidas-presets: release asan
 *
 * The filters that care for what moves: rate, checksum, stats. */
#include "backends/store.h"

#include <stdlib.h>
#include <string.h>

#include "pool/base/base.h"
#include "unit.h"

#define MIB (1u << 20)

static char bytes[5 * MIB / 2], have[3 * MIB];

static struct vidas_store *store_open(const char *filters)
{
	struct vidas_store *s = NULL;

	CU_ASSERT_EQUAL_FATAL(vidas_store_open("mem://filters-data", filters, &s), 0);
	return s;
}

static int put(struct vidas_store *s, const char *key, size_t size)
{
	struct iovec iov[2] = { { .iov_base = bytes, .iov_len = size / 3 },
				{ .iov_base = bytes + size / 3, .iov_len = size - size / 3 } };
	struct vidas_backend_put p = { .iov = iov, .iovcnt = 2, .size_bytes = size };

	return vidas_store_put(s, key, &p, NULL);
}

static ssize_t get(struct vidas_store *s, const char *key, uint64_t offset, size_t size)
{
	struct iovec iov[2] = { { .iov_base = have, .iov_len = size / 2 },
				{ .iov_base = have + size / 2, .iov_len = size - size / 2 } };

	return vidas_store_get(s, key, offset, iov, 2, NULL, NULL);
}

static void test_checksum_finds_damage(void)
{
	struct vidas_store *s = store_open("checksum,fault=rate:100%+when:damage");

	CU_ASSERT_EQUAL(put(s, "big", sizeof(bytes)), 0);
	CU_ASSERT_EQUAL(get(s, "big", 0, sizeof(have)), -EIO);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "not those that were put"));
	CU_ASSERT_EQUAL(get(s, "big", 2 * MIB, sizeof(have)),
			-EIO); /* the short block at the end */
	CU_ASSERT_EQUAL(put(s, "small", 100), 0);
	CU_ASSERT_EQUAL(get(s, "small", 0, 200), -EIO);
	/* Half a block has no digest: it passes, and is documented to. */
	CU_ASSERT_EQUAL(get(s, "big", 100, 1000), 1000);
	vidas_store_close(s);
}

/* The damage of one try in three is seen by nobody. */
static void test_checksum_under_retry(void)
{
	struct vidas_store *s =
		store_open("retry=tries:30+first:1us,checksum,fault=rate:33%+when:damage");

	for (int i = 0; i < 50; i++) {
		bytes[i] ^= (char)i;
		CU_ASSERT_EQUAL(put(s, "again", sizeof(bytes)), 0);
		CU_ASSERT_EQUAL(get(s, "again", 0, sizeof(have)), sizeof(bytes));
		CU_ASSERT_EQUAL(memcmp(have, bytes, sizeof(bytes)), 0);
	}
	vidas_store_close(s);
}

/* Nothing that is right is called damaged: other versions, other names, parts of files. */
static void test_checksum_lets_pass(void)
{
	struct vidas_store *s = store_open("checksum"), *plain = store_open(NULL);
	struct iovec iov = { .iov_base = (char[]){ "patch" }, .iov_len = 5 };

	CU_ASSERT_EQUAL(put(s, "file", sizeof(bytes)), 0);
	bytes[7]++;
	CU_ASSERT_EQUAL(put(plain, "file", sizeof(bytes)), 0); /* by another way */
	CU_ASSERT_EQUAL(get(s, "file", 0, sizeof(have)), sizeof(bytes));
	CU_ASSERT_EQUAL(put(s, "file", sizeof(bytes)), 0);
	CU_ASSERT_EQUAL(get(s, "file", 1000, sizeof(have)), sizeof(bytes) - 1000);
	CU_ASSERT_EQUAL(vidas_store_put_range(s, "file", 3, &iov, 1, NULL), 5);
	CU_ASSERT_EQUAL(get(s, "file", 0, sizeof(have)), sizeof(bytes));
	CU_ASSERT_EQUAL(memcmp(have + 3, "patch", 5), 0);
	CU_ASSERT_EQUAL(put(s, "other", MIB), 0);
	CU_ASSERT_EQUAL(vidas_store_rename(s, "other", "file"), 0);
	CU_ASSERT_EQUAL(get(s, "file", 0, sizeof(have)), MIB);
	CU_ASSERT_EQUAL(vidas_store_remove(s, "file", NULL), 0);
	CU_ASSERT_EQUAL(put(s, "file", 0), 0);
	CU_ASSERT_EQUAL(get(s, "file", 0, sizeof(have)), 0);
	vidas_store_close(s);
	vidas_store_close(plain);
}

/* More keys than digests are kept for: the oldest ones pass unchecked, the newest do not. */
static void test_checksum_forgets(void)
{
	struct vidas_store *s = store_open("checksum=blocks:8,fault=rate:100%+when:damage");
	char key[32];

	for (int i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "many-%d", i);
		CU_ASSERT_EQUAL(put(s, key, 10), 0);
	}
	CU_ASSERT_EQUAL(get(s, "many-0", 0, 10), 10);
	CU_ASSERT_EQUAL(get(s, "many-19", 0, 10), -EIO);
	vidas_store_close(s);
}

static int64_t took(struct vidas_store *s, int n, ssize_t (*call)(struct vidas_store *s))
{
	int64_t begin = vidas_now_us();

	while (n--)
		CU_ASSERT(call(s) >= 0);
	return vidas_now_us() - begin;
}

static ssize_t put_mib(struct vidas_store *s)
{
	return put(s, "rate", MIB);
}

static ssize_t get_mib(struct vidas_store *s)
{
	return get(s, "rate", 0, MIB);
}

static ssize_t stat_one(struct vidas_store *s)
{
	struct vidas_backend_stat st;

	return vidas_store_stat(s, "rate", &st);
}

/* Only that it is not faster than asked for: how slow a busy machine is says nothing. */
static void test_rate(void)
{
	struct vidas_store *s = store_open("rate=put:20M+burst:0s");

	CU_ASSERT(took(s, 9, put_mib) >= 400 * 1000); /* the 9th waits for 8 MiB */
	CU_ASSERT(took(s, 9, get_mib) < 10 * 1000 * 1000);
	vidas_store_close(s);
	s = store_open("rate=get:20M+burst:0s");
	CU_ASSERT(took(s, 9, get_mib) >= 400 * 1000);
	vidas_store_close(s);
	s = store_open("rate=calls:100+burst:0s");
	CU_ASSERT(took(s, 30, stat_one) >= 290 * 1000);
	vidas_store_close(s);
}

/* What was saved up goes at once. */
static void test_rate_burst(void)
{
	struct vidas_store *s = store_open("rate=calls:10+burst:3600s");

	CU_ASSERT(took(s, 1000, stat_one) < 50 * 1000 * 1000); /* 100 s without */
	vidas_store_close(s);
}

struct said {
	char text[2048];
};

static void say(void *arg, const char *what, const char *how)
{
	struct said *said = arg;
	size_t used = strlen(said->text);

	snprintf(said->text + used, sizeof(said->text) - used, "%s: %s\n", what, how);
}

static void test_stats(void)
{
	struct vidas_store *s = store_open("stats,fault=rate:100%+ops:list");
	struct said said = { "" };
	struct vidas_backend_stat st;

	CU_ASSERT_EQUAL(put(s, "stats", 2 * MIB), 0);
	CU_ASSERT_EQUAL(get(s, "stats", 0, MIB), MIB);
	CU_ASSERT_EQUAL(get(s, "stats", 0, sizeof(have)), 2 * MIB);
	CU_ASSERT_EQUAL(vidas_store_stat(s, "no such", &st), -ENOENT);
	CU_ASSERT_EQUAL(vidas_store_list(s, "", NULL, NULL), -EIO);
	vidas_store_describe(s, say, &said);
	CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "put: 1 calls, 2.0 MiB, "));
	CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "get: 2 calls, 3.0 MiB, "));
	CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "stat: 1 calls, 1 failed, "));
	CU_ASSERT_PTR_NOT_NULL(strstr(said.text, "list: 1 calls, 1 failed, "));
	CU_ASSERT_PTR_NULL(strstr(said.text, "rename"));
	vidas_store_close(s);
}

static void test_bad_filters(void)
{
	static const char *const bad[] = { "rate=get:20X", "rate=get:20MM",	 "rate=bytes:1",
					   "rate=burst:1", "checksum=blocks:-1", "stats=every:1",
					   "stats=every:x" };
	struct vidas_store *s = NULL;

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(bad); i++) {
		CU_ASSERT_EQUAL(vidas_store_open("mem://filters-data", bad[i], &s), -EINVAL);
		CU_ASSERT_NOT_EQUAL(*vidas_fail_text(), '\0');
	}
}

int main(void)
{
	static const struct unit_case cases[] = {
		{ "checksum finds damage", test_checksum_finds_damage },
		{ "checksum under retry", test_checksum_under_retry },
		{ "checksum lets pass", test_checksum_lets_pass },
		{ "checksum forgets", test_checksum_forgets },
		{ "rate", test_rate },
		{ "rate burst", test_rate_burst },
		{ "stats", test_stats },
		{ "bad filters", test_bad_filters },
	};

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 2654435761u >> 13);
	vidas_log_init("filters", VIDAS_LOG_ERR);
	return unit_run("filters that care for data", cases, VIDAS_ARRAY_SIZE(cases));
}
