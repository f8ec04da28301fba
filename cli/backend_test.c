/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/backend_test.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "backends/store.h"
#include "pool/base/base.h"

#define TIMES	    15 /* calls whose middle one is the latency */
#define SMALL_BYTES 4096u
#define FIRST_BYTES (4u << 20) /* moved to find out how much takes... */
#define LONG_US	    (3 * 1000 * 1000)
#define MOST_BYTES  (64u << 20)

struct test {
	struct cli *cli;
	struct vidas_store *store;
	uint32_t caps;
	char dir[64], file[80], other[80];
	char *data, *have;
	size_t data_bytes;
	json_t *checks, *abilities;
	int failed;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = number;
}

static void report(struct test *t, const char *check, bool good, const char *text)
{
	t->failed |= !good;
	if (t->cli->json)
		json_array_append_new(t->checks, json_pack("{s:s, s:b, s:s}", "check", check,
							   "good", good, "text", text));
	else
		printf("%-7s %-22s %s\n", good ? "ok" : "FAILED", check, text);
	fflush(stdout);
}

/* A failure that is told by an errno, and the words that the call left. Returns whether all is well. */
static bool expect(struct test *t, const char *check, ssize_t got, ssize_t want)
{
	char text[1200];

	if (got == want)
		return true;
	if (got < 0)
		snprintf(text, sizeof(text), "%s (%s)", vidas_fail_text(),
			 strerrorname_np((int)-got) ? strerrorname_np((int)-got) : "?");
	else
		snprintf(text, sizeof(text), "it should have been refused, and was done");
	report(t, check, false, text);
	return false;
}

static void good(struct test *t, const char *check, const char *fmt, ...) VIDAS_PRINTF(3, 4);
static void good(struct test *t, const char *check, const char *fmt, ...)
{
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	report(t, check, true, text);
}

static int put(struct test *t, const char *key, size_t size,
	       const struct vidas_backend_version *version, bool must_not_exist,
	       struct vidas_backend_version *now)
{
	struct iovec iov = { .iov_base = t->data, .iov_len = size };
	const struct vidas_backend_stat attrs = { .type = VIDAS_BACKEND_FILE,
						  .valid = VIDAS_BACKEND_MODE | VIDAS_BACKEND_MTIME,
						  .mode = 0640,
						  .mtime = { .tv_sec = 1700000000 } };
	struct vidas_backend_put p = { .iov = &iov,
				       .iovcnt = 1,
				       .size_bytes = size,
				       .attrs = &attrs,
				       .expect = version,
				       .must_not_exist = must_not_exist };

	return vidas_store_put(t->store, key, &p, now);
}

static ssize_t get(struct test *t, const char *key, size_t size)
{
	struct iovec iov = { .iov_base = t->have, .iov_len = size };

	return vidas_store_get(t->store, key, 0, &iov, 1, NULL, NULL);
}

static int each_none(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	(void)name;
	(void)st;
	++*(uint64_t *)arg;
	return 0;
}

static bool check_reach(struct test *t)
{
	int64_t begin = vidas_now_us();
	struct vidas_backend_stat st;
	int err = vidas_store_stat(t->store, "", &st);

	if (!expect(t, "reach", err, 0))
		return false;
	good(t, "reach", "%.1f ms", (double)(vidas_now_us() - begin) / 1e3);
	return true;
}

static bool check_list(struct test *t)
{
	int64_t begin = vidas_now_us();
	uint64_t entries = 0;
	int err = vidas_store_list(t->store, "", each_none, &entries);

	if (!expect(t, "list", err, 0))
		return false;
	good(t, "list", "%llu entries, %.1f ms", (unsigned long long)entries,
	     (double)(vidas_now_us() - begin) / 1e3);
	return true;
}

static int by_time(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static ssize_t small_put(struct test *t, const char *key)
{
	return put(t, key, SMALL_BYTES, NULL, false, NULL);
}

static ssize_t small_stat(struct test *t, const char *key)
{
	struct vidas_backend_stat st;

	return vidas_store_stat(t->store, key, &st);
}

static ssize_t small_get(struct test *t, const char *key)
{
	return get(t, key, SMALL_BYTES);
}

static ssize_t small_remove(struct test *t, const char *key)
{
	return vidas_store_remove(t->store, key, NULL);
}

/* A call on each of some small files. */
static bool check_latency(struct test *t, const char *check,
			  ssize_t (*call)(struct test *t, const char *key), ssize_t want)
{
	int64_t took[TIMES];
	char key[96];

	for (int i = 0; i < TIMES; i++) {
		int64_t begin = vidas_now_us();

		snprintf(key, sizeof(key), "%s/small-%d", t->dir, i);
		if (!expect(t, check, call(t, key), want))
			return false;
		took[i] = vidas_now_us() - begin;
	}
	qsort(took, TIMES, sizeof(took[0]), by_time);
	good(t, check, "%.2f ms each, %.2f ms at most", (double)took[TIMES / 2] / 1e3,
	     (double)took[TIMES - 1] / 1e3);
	return true;
}

static double mb_s(size_t size, int64_t us)
{
	return (double)size / (double)(us ? us : 1);
}

/* As much as takes a few seconds, so that a slow line is not held for minutes. */
static bool check_throughput(struct test *t)
{
	size_t size = FIRST_BYTES;
	int64_t begin = vidas_now_us(), us;

	if (!expect(t, "put, large", put(t, t->file, size, NULL, false, NULL), 0))
		return false;
	us = vidas_now_us() - begin;
	while (size < t->data_bytes && (double)size * 2 * (double)us / FIRST_BYTES < LONG_US)
		size *= 2;
	if (size > FIRST_BYTES) {
		begin = vidas_now_us();
		if (!expect(t, "put, large", put(t, t->file, size, NULL, false, NULL), 0))
			return false;
		us = vidas_now_us() - begin;
	}
	good(t, "put, large", "%zu MiB, %.1f MB/s", size >> 20, mb_s(size, us));
	memset(t->have, 0, size);
	begin = vidas_now_us();
	if (!expect(t, "get, large", get(t, t->file, size), (ssize_t)size))
		return false;
	us = vidas_now_us() - begin;
	if (memcmp(t->data, t->have, size) != 0) {
		report(t, "get, large", false, "the bytes that came are not those that were put");
		return false;
	}
	good(t, "get, large", "%zu MiB, %.1f MB/s, the same bytes", size >> 20, mb_s(size, us));
	return true;
}

/* Two versions, a put for each of them, and a create of what is there. */
static bool check_conditions(struct test *t)
{
	static const char check[] = "conditional puts";
	struct vidas_backend_version first, second;

	if (!(t->caps & VIDAS_BACKEND_CONDITIONAL)) {
		good(t, check,
		     "none: VIDAS looks first and puts then; of two that put at once the last wins");
		return true;
	}
	if (!expect(t, check, put(t, t->other, 10, NULL, true, &first), 0) ||
	    !expect(t, check, put(t, t->other, 11, NULL, true, NULL), -EEXIST) ||
	    !expect(t, check, put(t, t->other, 12, &first, false, &second), 0) ||
	    !expect(t, check, put(t, t->other, 13, &first, false, NULL), -ESTALE))
		return false;
	good(t, check, "obeyed by the server");
	return true;
}

static bool check_names(struct test *t)
{
	struct vidas_backend_stat st;
	char from[96], to[96];

	snprintf(from, sizeof(from), "%s/a name +%%&?#\xc3\xa4", t->dir);
	snprintf(to, sizeof(to), "%s/moved", t->dir);
	if (!expect(t, "rename", put(t, from, SMALL_BYTES, NULL, false, NULL), 0) ||
	    !expect(t, "rename", vidas_store_rename(t->store, from, to), 0) ||
	    !expect(t, "rename", vidas_store_stat(t->store, from, &st), -ENOENT) ||
	    !expect(t, "rename", get(t, to, SMALL_BYTES), SMALL_BYTES))
		return false;
	good(t, "rename", "of a name with blanks, signs and letters beyond ASCII");
	return true;
}

static bool check_links(struct test *t)
{
	char link[96], target[64];

	if (!(t->caps & VIDAS_BACKEND_SYMLINKS)) {
		good(t, "symbolic links", "none: they stay in the pool");
		return true;
	}
	snprintf(link, sizeof(link), "%s/link", t->dir);
	if (!expect(t, "symbolic links", vidas_store_symlink(t->store, link, "to/it"), 0) ||
	    !expect(t, "symbolic links",
		    vidas_store_readlink(t->store, link, target, sizeof(target)), 5))
		return false;
	good(t, "symbolic links", "kept");
	return true;
}

static bool check_names_of_one(struct test *t)
{
	const struct vidas_backend_link link = { .must_not_exist = 1 };
	char name[96];
	int err;

	snprintf(name, sizeof(name), "%s/again", t->dir);
	err = vidas_store_link(t->store, t->file, name, &link, NULL);
	if (err == -EOPNOTSUPP || err == -EPERM) {
		good(t, "hard links", "none: each name is a file of its own, and a rename a copy");
		return true;
	}
	if (!expect(t, "hard links", err, 0))
		return false;
	good(t, "hard links", "kept");
	return true;
}

static bool check_attributes(struct test *t)
{
	struct vidas_backend_stat st;

	if (!(t->caps & VIDAS_BACKEND_ATTRIBUTES)) {
		good(t, "mode, mtime", "not kept");
		return true;
	}
	if (!expect(t, "mode, mtime", vidas_store_stat(t->store, t->file, &st), 0))
		return false;
	report(t, "mode, mtime", st.mode == 0640 && st.mtime.tv_sec == 1700000000,
	       st.mode == 0640 && st.mtime.tv_sec == 1700000000 ?
		       "kept" :
		       "promised by the backend, and not kept");
	return true;
}

static int remove_each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	struct test *t = arg;
	char key[512];

	(void)st;
	snprintf(key, sizeof(key), "%s/%.300s", t->dir, name);
	(void)vidas_store_remove(t->store, key, NULL);
	return 0;
}

/* Twice: a listing need not show what was removed while it went on. */
static bool clean_up(struct test *t)
{
	struct vidas_backend_stat st;
	int err = 0;

	for (int i = 0; i < 2; i++)
		(void)vidas_store_list(t->store, t->dir, remove_each, t);
	if (t->caps & VIDAS_BACKEND_DIRECTORIES)
		err = vidas_store_rmdir(t->store, t->dir);
	if (err && err != -ENOENT)
		return expect(t, "remove", err, 0);
	err = vidas_store_stat(t->store, t->dir, &st);
	return !(t->caps & VIDAS_BACKEND_DIRECTORIES) || expect(t, "remove", err, -ENOENT);
}

/* Reading alone is something too: then it is said which half works. */
static void check_all(struct test *t)
{
	static bool (*const checks[])(struct test * t) = { check_throughput,   check_conditions,
							   check_names,	       check_links,
							   check_names_of_one, check_attributes };
	char text[1200];

	if (!check_reach(t) || !check_list(t))
		return;
	if (!check_latency(t, "put, 4 KiB", small_put, 0)) {
		snprintf(text, sizeof(text), "the root can be listed, but nothing put below it");
		report(t, "writing", false, text);
		(void)clean_up(t);
		return;
	}
	(void)(check_latency(t, "stat", small_stat, 0) &&
	       check_latency(t, "get, 4 KiB", small_get, SMALL_BYTES) &&
	       check_latency(t, "remove", small_remove, 0));
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(checks) && !interrupted; i++)
		(void)checks[i](t);
	if (clean_up(t))
		good(t, "clean up", "%s is removed", t->dir);
}

static void say(void *arg, const char *what, const char *how)
{
	struct test *t = arg;

	if (t->cli->json)
		json_object_set_new(t->abilities, what, json_string_nocheck(how));
	else
		printf("        %-22s %s\n", what, how);
}

static int memory_get(struct test *t)
{
	uint32_t x = 1;

	t->data_bytes = MOST_BYTES;
	t->data = malloc(t->data_bytes);
	t->have = malloc(t->data_bytes);
	for (size_t i = 0; t->data && i + 4 <= t->data_bytes; i += 4) {
		x = x * 1664525 + 1013904223;
		memcpy(t->data + i, &x, 4);
	}
	return t->data && t->have ? 0 : -ENOMEM;
}

static void name_get(struct test *t)
{
	uint64_t number = (uint64_t)vidas_now_us();

	(void)!getrandom(&number, sizeof(number), 0);
	snprintf(t->dir, sizeof(t->dir), ".vidas-test-%016llx", (unsigned long long)number);
	snprintf(t->file, sizeof(t->file), "%s/large", t->dir);
	snprintf(t->other, sizeof(t->other), "%s/versions", t->dir);
}

static void finish(struct test *t, const char *url)
{
	if (t->cli->json) {
		json_t *all = json_pack("{s:s, s:b, s:O, s:O}", "url", url, "good", !t->failed,
					"checks", t->checks, "abilities", t->abilities);

		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(all);
	} else {
		puts(interrupted ? "interrupted" :
		     t->failed	 ? "this root cannot be used as it is" :
				   "this root can be used");
	}
}

int cli_backend_test(struct cli *cli, const char *url, const char *filters)
{
	struct test t = { .cli = cli, .checks = json_array(), .abilities = json_object() };
	struct sigaction action = { .sa_handler = on_signal };
	int err;

	/* What the log would say is in the lines below, where it matters. */
	vidas_log_threshold(VIDAS_LOG_ERR);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	name_get(&t);
	err = memory_get(&t);
	if (!err)
		err = vidas_store_open(url, filters, &t.store);
	if (err) {
		(void)expect(&t, "open", err, 0);
	} else {
		if (!cli->json)
			printf("%s\n", vidas_store_url(t.store));
		t.caps = vidas_store_caps(t.store);
		check_all(&t);
		vidas_store_describe(t.store, say, &t);
	}
	finish(&t, t.store ? vidas_store_url(t.store) : "");
	vidas_store_close(t.store);
	json_decref(t.checks);
	json_decref(t.abilities);
	free(t.data);
	free(t.have);
	return t.failed || interrupted ? 1 : 0;
}
