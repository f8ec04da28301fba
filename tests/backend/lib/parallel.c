/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Many threads on one handle. */
#include <stdlib.h>
#include <string.h>

#include "pool/base/base.h"
#include "suite.h"

#define REPLACE_BYTES 200000

struct replace {
	char key[512];
	atomic_bool done;
	atomic_int reads;
};

/* Content i is REPLACE_BYTES + 1000 * i bytes of one letter. */
static bool one_content(const char *have, ssize_t size)
{
	bool one = size >= REPLACE_BYTES && have[0] == 'a' + (size - REPLACE_BYTES) / 1000 &&
		   (size - REPLACE_BYTES) % 1000 == 0 &&
		   memcmp(have, have + 1, (size_t)size - 1) == 0;

	if (!one && size < 0)
		printf("\n    a read: %s", vidas_fail_text());
	else if (!one)
		printf("\n    a read has %zd bytes, '%c' to '%c'", size, have[0], have[size - 1]);
	return one;
}

static int replace_thread(int number, void *arg)
{
	struct replace *r = arg;
	size_t room = REPLACE_BYTES + 26 * 1000;
	char *buf = suite_new(room, 1);
	int64_t begin = vidas_now_us();
	int bad = 0;

	for (size_t i = 0; number == 0 && (i < 60 || suite_go_on(&r->reads, 60, begin)); i++) {
		memset(buf, 'a' + (int)i % 26, room);
		if (suite_put(r->key, buf, REPLACE_BYTES + i % 26 * 1000)) {
			printf("\n    a write: %s", vidas_fail_text());
			bad++;
		}
	}
	if (number == 0)
		atomic_store_explicit(&r->done, true, memory_order_release);
	while (number && !atomic_load_explicit(&r->done, memory_order_acquire)) {
		bad += !one_content(buf, suite_get(r->key, buf, room, 0));
		atomic_fetch_add_explicit(&r->reads, 1, memory_order_relaxed);
	}
	free(buf);
	return bad;
}

/* Who reads has all of the old or all of the new. */
static void atomic_replace(void)
{
	struct replace r = { 0 };
	char *buf = malloc(REPLACE_BYTES);

	if (!buf)
		abort();
	snprintf(r.key, sizeof(r.key), "%s", suite_key("file"));
	memset(buf, 'a', REPLACE_BYTES);
	CHECK_EQ(suite_put(r.key, buf, REPLACE_BYTES), 0);
	CHECK_EQ(suite_threads(4, replace_thread, &r), 0);
	CHECK_EQ(r.reads >= 60, true);
	free(buf);
}

static int write_thread(int number, void *arg)
{
	char *buf = malloc(REPLACE_BYTES + 26 * 1000);
	int bad = 0;

	if (!buf)
		abort();
	memset(buf, 'a' + number, REPLACE_BYTES + 26 * 1000);
	for (int i = 0; i < 10; i++)
		bad += suite_put(arg, buf, REPLACE_BYTES + (size_t)number * 1000) != 0;
	free(buf);
	return bad;
}

/* Of puts at the same time one is the last, whole. */
static void many_writers(void)
{
	size_t room = REPLACE_BYTES + 26 * 1000;
	char *buf = suite_new(room, 2), key[512];

	snprintf(key, sizeof(key), "%s", suite_key("file"));
	CHECK_EQ(suite_threads(8, write_thread, key), 0);
	CHECK_EQ(one_content(buf, suite_get(key, buf, room, 0)), true);
	free(buf);
}

/* Each thread does everything, on keys of its own beside those of the others. */
static int mixed_thread(int number, void *arg)
{
	uint32_t seed = (uint32_t)number * 1000;
	char key[600], to[600];
	struct vidas_backend_stat st;
	int bad = 0;

	for (uint32_t i = 0; i < 25; i++) {
		size_t size = (size_t)(vidas_now_us() % 20000);
		void *buf = suite_new(size, seed + i);

		snprintf(key, sizeof(key), "%s/t%d-%u", (const char *)arg, number, i);
		snprintf(to, sizeof(to), "%s/moved/t%d-%u", (const char *)arg, number, i);
		bad += suite_put(key, buf, size) != 0;
		bad += !suite_holds(key, buf, size);
		if (suite_caps & VIDAS_BACKEND_DIRECTORIES) {
			bad += vidas_store_rename(suite_store, key, to) != 0;
			bad += !suite_holds(to, buf, size);
			bad += vidas_store_stat(suite_store, key, &st) != -ENOENT;
			bad += vidas_store_rename(suite_store, to, key) != 0;
		}
		bad += vidas_store_stat(suite_store, key, &st) != 0 || st.size_bytes != size;
		if (i % 2)
			bad += vidas_store_remove(suite_store, key, NULL) != 0;
		free(buf);
	}
	return bad;
}

static int count_each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	(void)name;
	*(int *)arg += st->type == VIDAS_BACKEND_FILE;
	return 0;
}

static void mixed(void)
{
	char dir[512];
	int files = 0;

	snprintf(dir, sizeof(dir), "%s", suite_key("dir"));
	CHECK_EQ(suite_threads(8, mixed_thread, dir), 0);
	CHECK_EQ(vidas_store_list(suite_store, dir, count_each, &files), 0);
	CHECK_EQ(files, 8 * 13);
}

static int below_thread(int number, void *arg)
{
	char key[600];

	snprintf(key, sizeof(key), "%s/x/y/z/%d", (const char *)arg, number);
	return suite_put_text(key, "x") != 0;
}

static void same_new_directory(void)
{
	char dir[512];
	int files = 0;

	for (int i = 0; i < 5; i++) {
		snprintf(dir, sizeof(dir), "%s", suite_key("dir%d", i));
		CHECK_EQ(suite_threads(8, below_thread, dir), 0);
	}
	CHECK_EQ(vidas_store_list(suite_store, suite_key("dir4/x/y/z"), count_each, &files), 0);
	CHECK_EQ(files, 8);
}

/* While some put into a directory others remove it when it is empty: no put gets lost. */
static int coming_thread(int number, void *arg)
{
	char key[600];
	int bad = 0, err;

	for (int i = 0; i < 60; i++) {
		if (number % 2) {
			err = vidas_store_rmdir(suite_store, arg);
			bad += err && err != -ENOENT && err != -ENOTEMPTY;
			continue;
		}
		snprintf(key, sizeof(key), "%s/%d", (const char *)arg, number);
		bad += suite_put_text(key, "text") != 0;
		bad += !suite_holds_text(key, "text");
		bad += vidas_store_remove(suite_store, key, NULL) != 0;
	}
	return bad;
}

static void coming_and_going(void)
{
	char dir[512];

	snprintf(dir, sizeof(dir), "%s", suite_key("dir"));
	CHECK_EQ(suite_threads(4, coming_thread, dir), 0);
}

const struct suite_case suite_parallel[] = {
	{ "atomic-replace", 0, atomic_replace },
	{ "many-writers", 0, many_writers },
	{ "mixed", 0, mixed },
	{ "same-new-directory", 0, same_new_directory },
	{ "coming-and-going", VIDAS_BACKEND_DIRECTORIES, coming_and_going },
	{ 0 },
};
