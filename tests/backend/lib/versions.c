/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Versions and the conditions on them. */
#include <stdlib.h>
#include <string.h>

#include "pool/base/base.h"
#include "suite.h"

static struct vidas_backend_version version_of(const char *key)
{
	struct vidas_backend_version seen = { 0 };
	struct iovec iov = { .iov_base = (char[1]){ 0 }, .iov_len = 1 };

	CHECK_EQ(vidas_store_get(suite_store, key, 0, &iov, 1, NULL, &seen) >= 0, true);
	return seen;
}

static void agree(void)
{
	const char *key = suite_key("file");
	struct vidas_backend_version put = { 0 }, got;
	struct vidas_backend_stat st;

	CHECK_EQ(suite_put_if(key, "one", NULL, false, &put), 0);
	CHECK_EQ(put.size > 0, true);
	got = version_of(key);
	CHECK_EQ(suite_version_same(&put, &got), true);
	CHECK_EQ(vidas_store_stat(suite_store, key, &st), 0);
	if (st.version.size)
		CHECK_EQ(suite_version_same(&put, &st.version), true);
	CHECK_EQ(suite_holds_text(key, "one"), true);
	got = version_of(key);
	CHECK_EQ(suite_version_same(&put, &got), true);
}

/* As fast as it goes, of one length: neither time nor size alone tells them apart. */
static void each_its_own(void)
{
	enum { ROUNDS = 50 };
	const char *key = suite_key("file");
	struct vidas_backend_version version[ROUNDS] = { 0 };

	for (int i = 0; i < ROUNDS; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%08d", i);
		CHECK_EQ(suite_put_if(key, text, NULL, false, &version[i]), 0);
		if (i > 0)
			CHECK_EQ(suite_version_same(&version[i], &version[i - 1]), false);
	}
}

static void ranged_put_changes(void)
{
	const char *key = suite_key("file");
	struct vidas_backend_version before = { 0 }, now = { 0 }, got;
	struct iovec iov = { .iov_base = (char[]){ "x" }, .iov_len = 1 };

	CHECK_EQ(suite_put_if(key, "0123456789", NULL, false, &before), 0);
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(vidas_store_put_range(suite_store, key, 3, &iov, 1, &now), 1);
		CHECK_EQ(suite_version_same(&before, &now), false);
		before = now;
	}
	got = version_of(key);
	CHECK_EQ(suite_version_same(&got, &now), true);
}

static void put_expected(void)
{
	const char *key = suite_key("file");
	struct vidas_backend_version first = { 0 }, second = { 0 }, none = { 0 };

	CHECK_EQ(suite_put_if(key, "first", NULL, false, &first), 0);
	CHECK_EQ(suite_put_if(key, "second", &first, false, &second), 0);
	CHECK_EQ(suite_holds_text(key, "second"), true);
	CHECK_EQ(suite_put_if(key, "third", &first, false, NULL), -ESTALE);
	CHECK_EQ(suite_holds_text(key, "second"), true);
	CHECK_EQ(suite_put_if(key, "third", &none, false, NULL), 0); /* "does not matter" */
	CHECK_EQ(suite_holds_text(key, "third"), true);
	CHECK_EQ(suite_put_if(key, "fourth", &second, false, NULL), -ESTALE);
	CHECK_EQ(suite_put_if(key, "fourth", &second, true, NULL), -EINVAL);
}

static void put_expected_gone(void)
{
	const char *key = suite_key("dir/file");
	struct vidas_backend_version version = { 0 };
	struct vidas_backend_stat st;

	CHECK_EQ(suite_put_if(key, "text", NULL, false, &version), 0);
	CHECK_EQ(vidas_store_remove(suite_store, key, NULL), 0);
	CHECK_EQ(suite_put_if(key, "again", &version, false, NULL), -ESTALE);
	CHECK_EQ(vidas_store_stat(suite_store, key, &st), -ENOENT);
	CHECK_EQ(suite_put_if(suite_key("no/such/dir/file"), "x", &version, false, NULL), -ESTALE);
}

static void put_new_only(void)
{
	const char *key = suite_key("file");

	CHECK_EQ(suite_put_if(key, "first", NULL, true, NULL), 0);
	CHECK_EQ(suite_put_if(key, "second", NULL, true, NULL), -EEXIST);
	CHECK_EQ(suite_holds_text(key, "first"), true);
	CHECK_EQ(vidas_store_remove(suite_store, key, NULL), 0);
	CHECK_EQ(suite_put_if(key, "third", NULL, true, NULL), 0);
	CHECK_EQ(suite_holds_text(key, "third"), true);
}

static void get_expected(void)
{
	const char *key = suite_key("file");
	struct vidas_backend_version first = { 0 }, seen = { 0 };
	char have[16];
	struct iovec iov = { .iov_base = have, .iov_len = sizeof(have) };

	CHECK_EQ(suite_put_if(key, "first", NULL, false, &first), 0);
	CHECK_EQ(vidas_store_get(suite_store, key, 0, &iov, 1, &first, &seen), 5);
	CHECK_EQ(suite_version_same(&first, &seen), true);
	CHECK_EQ(suite_put_text(key, "other"), 0);
	CHECK_EQ(vidas_store_get(suite_store, key, 0, &iov, 1, &first, &seen), -ESTALE);
	CHECK_EQ(vidas_store_get(suite_store, key, 3, &iov, 1, NULL, &seen), 2);
	CHECK_EQ(suite_version_same(&first, &seen), false);
	CHECK_EQ(vidas_store_remove(suite_store, key, NULL), 0);
	CHECK_EQ(vidas_store_get(suite_store, key, 0, &iov, 1, &seen, NULL), -ENOENT);
}

static void remove_expected(void)
{
	const char *key = suite_key("file");
	struct vidas_backend_version first = { 0 }, second = { 0 };

	CHECK_EQ(suite_put_if(key, "first", NULL, false, &first), 0);
	CHECK_EQ(suite_put_if(key, "second", NULL, false, &second), 0);
	CHECK_EQ(vidas_store_remove(suite_store, key, &first), -ESTALE);
	CHECK_EQ(suite_holds_text(key, "second"), true);
	CHECK_EQ(vidas_store_remove(suite_store, key, &second), 0);
	CHECK_GONE(vidas_store_remove(suite_store, key, &second));
}

/* A file read in pieces that all expect one version is never made of two. */
static int read_in_pieces(const char *key, char *have, size_t size)
{
	struct vidas_backend_version seen = { 0 };
	size_t used = 0;

	while (used < size) {
		struct iovec iov = { .iov_base = have + used, .iov_len = size / 8 };
		ssize_t n = vidas_store_get(suite_store, key, used, &iov, 1, used ? &seen : NULL,
					    used ? NULL : &seen);

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		used += (size_t)n;
	}
	return 0;
}

struct pieces {
	const char *key;
	atomic_int tries;
	atomic_bool done;
};
#define PIECES_BYTES 65536

static int pieces_thread(int number, void *arg)
{
	struct pieces *p = arg;
	char *buf = suite_new(PIECES_BYTES, 1);
	int64_t begin = vidas_now_us();
	int bad = 0;

	if (number == 0) {
		for (int i = 0; i < 40 || suite_go_on(&p->tries, 40, begin); i++) {
			memset(buf, 'a' + i % 26, PIECES_BYTES);
			bad += suite_put(p->key, buf, PIECES_BYTES) != 0;
		}
		atomic_store_explicit(&p->done, true, memory_order_release);
	}
	while (number && !atomic_load_explicit(&p->done, memory_order_acquire)) {
		int err = read_in_pieces(p->key, buf, PIECES_BYTES);

		bad += err ? err != -ESTALE : memcmp(buf, buf + 1, PIECES_BYTES - 1) != 0;
		atomic_fetch_add_explicit(&p->tries, 1, memory_order_relaxed);
	}
	free(buf);
	return bad;
}

static void pieces_of_one(void)
{
	struct pieces p = { .key = suite_key("file") };
	void *buf = calloc(1, PIECES_BYTES);

	memset(buf, 'z', PIECES_BYTES);
	CHECK_EQ(suite_put(p.key, buf, PIECES_BYTES), 0);
	CHECK_EQ(suite_threads(3, pieces_thread, &p), 0);
	CHECK_EQ(p.tries >= 40, true);
	free(buf);
}

static int create_thread(int number, void *arg)
{
	char text[16];
	int err;

	snprintf(text, sizeof(text), "%d", number);
	err = suite_put_if(arg, text, NULL, true, NULL);
	return err == 0 ? 1 : err == -EEXIST ? 0 : 100;
}

static void one_creates(void)
{
	char key[512];

	for (int i = 0; i < 10; i++) {
		snprintf(key, sizeof(key), "%s", suite_key("file-%d", i));
		CHECK_EQ(suite_threads(8, create_thread, key), 1);
	}
}

struct race {
	char key[512];
	struct vidas_backend_version version;
};

static int replace_thread(int number, void *arg)
{
	struct race *r = arg;
	char text[16];
	int err;

	snprintf(text, sizeof(text), "%d", number);
	err = suite_put_if(r->key, text, &r->version, false, NULL);
	return err == 0 ? 1 : err == -ESTALE ? 0 : 100;
}

static void one_replaces(void)
{
	struct race r = { 0 };

	snprintf(r.key, sizeof(r.key), "%s", suite_key("file"));
	for (int i = 0; i < 10; i++) {
		CHECK_EQ(suite_put_if(r.key, "begin", NULL, false, &r.version), 0);
		CHECK_EQ(suite_threads(8, replace_thread, &r), 1);
		CHECK_EQ(suite_holds_text(r.key, "begin"), false);
	}
}

#define CONDITIONAL VIDAS_BACKEND_CONDITIONAL
const struct suite_case suite_versions[] = {
	{ "versions-agree", 0, agree },
	{ "each-its-own-version", 0, each_its_own },
	{ "ranged-put-changes-version", VIDAS_BACKEND_RANGED_PUT, ranged_put_changes },
	{ "put-expected", CONDITIONAL, put_expected },
	{ "put-expected-gone", CONDITIONAL, put_expected_gone },
	{ "put-new-only", CONDITIONAL, put_new_only },
	{ "get-expected", 0, get_expected },
	{ "remove-expected", CONDITIONAL, remove_expected },
	{ "pieces-of-one-version", 0, pieces_of_one },
	{ "one-creates", CONDITIONAL, one_creates },
	{ "one-replaces", CONDITIONAL, one_replaces },
	{ 0 },
};
