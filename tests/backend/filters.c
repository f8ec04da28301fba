/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vidas-presets: release asan */
#include "backends/store.h"

#include <string.h>

#include "pool/base/base.h"
#include "unit.h"

static struct vidas_store *store_open(const char *filters)
{
	struct vidas_store *s = NULL;

	CU_ASSERT_EQUAL_FATAL(vidas_store_open("mem://filters", filters, &s), 0);
	return s;
}

static int put(struct vidas_store *s, const char *key)
{
	struct iovec iov = { .iov_base = (char[]){ "text" }, .iov_len = 4 };
	struct vidas_backend_put p = { .iov = &iov, .iovcnt = 1, .size_bytes = 4 };

	return vidas_store_put(s, key, &p, NULL);
}

static int count_each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	(void)name;
	(void)st;
	++*(int *)arg;
	return 0;
}

static void test_all_fail(void)
{
	struct vidas_store *s = store_open("fault=rate:100%+errno:ENOSPC");
	struct vidas_backend_stat st = { 0 };
	struct iovec iov = { .iov_base = (char[4]){ 0 }, .iov_len = 4 };
	int calls = 0;

	CU_ASSERT_EQUAL(put(s, "all"), -ENOSPC);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "fault"));
	CU_ASSERT_EQUAL(vidas_store_stat(s, "all", &st), -ENOSPC);
	CU_ASSERT_EQUAL(vidas_store_get(s, "all", 0, &iov, 1, NULL, NULL), -ENOSPC);
	CU_ASSERT_EQUAL(vidas_store_remove(s, "all", NULL), -ENOSPC);
	CU_ASSERT_EQUAL(vidas_store_list(s, "", count_each, &calls), -ENOSPC);
	CU_ASSERT_EQUAL(calls, 0);
	CU_ASSERT_EQUAL(vidas_store_mkdir(s, "all", NULL), -ENOSPC);
	CU_ASSERT_EQUAL(vidas_store_rmdir(s, "all"), -ENOSPC);
	CU_ASSERT_EQUAL(vidas_store_symlink(s, "all", "x"), -ENOSPC);
	CU_ASSERT_EQUAL(vidas_store_readlink(s, "all", (char[8]){ 0 }, 8), -ENOSPC);
	CU_ASSERT_EQUAL(vidas_store_rename(s, "all", "b"), -ENOSPC);
	CU_ASSERT_EQUAL(vidas_store_put_range(s, "all", 0, &iov, 1, NULL), -ENOSPC);
	CU_ASSERT_EQUAL(vidas_store_set_attrs(s, "all", &st), -ENOSPC);
	vidas_store_close(s);
	s = store_open(NULL);
	CU_ASSERT_EQUAL(vidas_store_stat(s, "all", &st), -ENOENT); /* none was made */
	vidas_store_close(s);
}

static void test_some_calls(void)
{
	struct vidas_store *s = store_open("fault=rate:100%+ops:put/list");
	struct vidas_backend_stat st;
	int calls = 0;

	CU_ASSERT_EQUAL(put(s, "some"), -EIO);
	CU_ASSERT_EQUAL(vidas_store_list(s, "", count_each, &calls), -EIO);
	CU_ASSERT_EQUAL(vidas_store_stat(s, "some", &st), -ENOENT);
	vidas_store_close(s);
}

static unsigned failures(const char *filters, uint64_t *pattern)
{
	struct vidas_store *s = store_open(filters);
	unsigned failed = 0;

	*pattern = 0;
	for (int i = 0; i < 1000; i++) {
		bool bad = put(s, "rate") != 0;

		failed += bad;
		*pattern = *pattern * 3 + bad;
	}
	vidas_store_close(s);
	return failed;
}

static void test_rate_and_seed(void)
{
	uint64_t one, same, other;
	unsigned n = failures("fault=rate:20%+seed:1", &one);

	CU_ASSERT(n > 120 && n < 280);
	CU_ASSERT_EQUAL(failures("fault=rate:20%+seed:1", &same), n);
	CU_ASSERT_EQUAL(one, same);
	(void)failures("fault=rate:20%+seed:2", &other);
	CU_ASSERT_NOT_EQUAL(one, other);
	CU_ASSERT_EQUAL(failures("fault=rate:0%", &other), 0);
}

static void test_after(void)
{
	struct vidas_store *s = store_open("fault=rate:100%+when:after");
	struct vidas_store *plain = store_open(NULL);
	struct vidas_backend_stat st;
	int calls = 0;

	CU_ASSERT_EQUAL(put(s, "after/file"), -EIO);
	CU_ASSERT_EQUAL(vidas_store_stat(plain, "after/file", &st), 0);
	CU_ASSERT_EQUAL(vidas_store_stat(s, "after/none", &st), -ENOENT); /* its own error */
	CU_ASSERT_EQUAL(vidas_store_list(s, "after", count_each, &calls), -EIO);
	CU_ASSERT_EQUAL(calls, 1);
	vidas_store_close(s);
	vidas_store_close(plain);
}

/* Every call is carried out, every second one says that it was not. */
static void test_retry_of_what_was_done(void)
{
	struct vidas_store *s = store_open("retry=tries:60+first:1us,fault=rate:60%+when:after");
	struct vidas_backend_stat st;
	int calls;

	for (int i = 0; i < 100; i++) {
		calls = 0;
		CU_ASSERT_EQUAL(put(s, "done/dir/file"), 0);
		CU_ASSERT_EQUAL(vidas_store_rename(s, "done/dir/file", "done/dir/moved"), 0);
		CU_ASSERT_EQUAL(vidas_store_stat(s, "done/dir/file", &st), -ENOENT);
		CU_ASSERT_EQUAL(vidas_store_list(s, "done/dir", count_each, &calls), 0);
		CU_ASSERT_EQUAL(calls, 1); /* told once */
		CU_ASSERT_EQUAL(vidas_store_remove(s, "done/dir/moved", NULL), 0);
		CU_ASSERT_EQUAL(vidas_store_rmdir(s, "done/dir"), 0);
	}
	vidas_store_close(s);
}

static void test_gives_up(void)
{
	struct vidas_store *s = store_open("retry=tries:4+first:20ms,fault=rate:100%");
	int64_t begin = vidas_now_us(), took;

	CU_ASSERT_EQUAL(put(s, "up"), -EIO);
	took = vidas_now_us() - begin; /* pauses of 20, 40 and 80 ms, each at least half as long */
	CU_ASSERT(took >= 70 * 1000 && took < 2000 * 1000);
	vidas_store_close(s);

	s = store_open("retry=tries:1000+first:20ms+longest:20ms+total:100ms,fault=rate:100%");
	begin = vidas_now_us();
	CU_ASSERT_EQUAL(put(s, "up"), -EIO);
	took = vidas_now_us() - begin;
	CU_ASSERT(took >= 50 * 1000 && took < 1000 * 1000);
	vidas_store_close(s);
}

/* A store that is down costs the pauses once, not for every call. */
static void test_down(void)
{
	struct vidas_store *s = store_open("retry=tries:4+first:20ms,fault=rate:100%+ops:put");
	struct vidas_backend_stat st;
	int64_t begin = vidas_now_us(), took;

	for (int i = 0; i < 100; i++)
		CU_ASSERT_EQUAL(put(s, "down"), -EIO);
	took = vidas_now_us() - begin;
	CU_ASSERT(took >= 70 * 1000 && took < 1000 * 1000);
	CU_ASSERT_EQUAL(vidas_store_stat(s, "down", &st), -ENOENT);
	begin = vidas_now_us();
	CU_ASSERT_EQUAL(put(s, "up again"), -EIO);
	CU_ASSERT(vidas_now_us() - begin >= 70 * 1000);
	vidas_store_close(s);
}

static void test_lasting_errors(void)
{
	struct vidas_store *s = store_open("retry=first:10s,fault=rate:100%+errno:EACCES");
	int64_t begin = vidas_now_us();

	CU_ASSERT_EQUAL(put(s, "lasting"), -EACCES);
	CU_ASSERT(vidas_now_us() - begin < 1000 * 1000);
	vidas_store_close(s);
}

static void test_delay(void)
{
	struct vidas_store *s = store_open("fault=rate:0%+delay:30ms+ops:put");
	int64_t begin = vidas_now_us();

	CU_ASSERT_EQUAL(put(s, "delay"), 0);
	CU_ASSERT(vidas_now_us() - begin >= 30 * 1000);
	vidas_store_close(s);
}

static void test_bad_filters(void)
{
	static const char *const bad[] = { "nonsense",
					   "retry,nonsense",
					   "fault=rate",
					   "fault=rate:",
					   "fault=rate:5",
					   "fault=rate:101%",
					   "fault=rate:-1%",
					   "fault=rate:nan%",
					   "fault=seed:x",
					   "fault=what:1",
					   "fault=errno:EWHAT",
					   "fault=when:never",
					   "fault=ops:get/fly",
					   "fault=delay:5",
					   "fault=delay:5h",
					   "fault=delay:9999999s",
					   "retry=tries:0",
					   "retry=first:-1s",
					   "retry,retry=tries:x,retry",
					   "retry,retry,retry,retry,retry,retry,retry,retry,retry" };
	struct vidas_store *s = NULL;

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(bad); i++) {
		CU_ASSERT_EQUAL(vidas_store_open("mem://filters", bad[i], &s), -EINVAL);
		CU_ASSERT_PTR_NULL(s);
		CU_ASSERT_NOT_EQUAL(*vidas_fail_text(), '\0');
	}
	CU_ASSERT_EQUAL(vidas_store_open("mem://filters", "", &s), 0);
	vidas_store_close(s);
}

int main(void)
{
	static const struct unit_case cases[] = {
		{ "all fail", test_all_fail },
		{ "some calls", test_some_calls },
		{ "rate and seed", test_rate_and_seed },
		{ "after", test_after },
		{ "retry of what was done", test_retry_of_what_was_done },
		{ "gives up", test_gives_up },
		{ "down", test_down },
		{ "lasting errors", test_lasting_errors },
		{ "delay", test_delay },
		{ "bad filters", test_bad_filters },
	};

	vidas_log_init("filters", VIDAS_LOG_ERR);
	return unit_run("filters", cases, VIDAS_ARRAY_SIZE(cases));
}
