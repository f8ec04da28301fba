/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes and attributes. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <xxhash.h>

#include "pool/base/base.h"
#include "suite.h"

#define MIB (1024 * 1024)

static void round_trip(void)
{
	static const size_t sizes[] = { 0, 1, 4095, 4096, 4097, MIB + 1, 20 * MIB };

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(sizes); i++) {
		const char *key = suite_key("size-%zu", sizes[i]);
		struct vidas_backend_stat st;
		void *buf = suite_new(sizes[i], (uint32_t)i);

		CHECK_EQ(suite_put(key, buf, sizes[i]), 0);
		CHECK_EQ(vidas_store_stat(suite_store, key, &st), 0);
		CHECK_EQ(st.type, VIDAS_BACKEND_FILE);
		CHECK_EQ(st.size_bytes, sizes[i]);
		CHECK_EQ(suite_holds(key, buf, sizes[i]), true);
		free(buf);
	}
}

/* Cuts `buf` into pieces of odd lengths, empty ones among them. */
static int scatter(struct iovec *iov, int max, char *buf, size_t size)
{
	size_t used = 0;
	int n = 0;

	while (used < size && n < max - 1) {
		size_t some = (size_t)(n * 7919 % 1031);

		some = some > size - used ? size - used : some;
		iov[n++] = (struct iovec){ .iov_base = buf + used, .iov_len = some };
		used += some;
	}
	iov[n++] = (struct iovec){ .iov_base = buf + used, .iov_len = size - used };
	return n;
}

static void scattered_put(void)
{
	enum { PIECES = 3000 };
	static struct iovec iov[PIECES];
	const char *key = suite_key("many-pieces");
	char *buf = suite_new(MIB, 7);
	struct vidas_backend_put put = { .iov = iov, .size_bytes = MIB };

	put.iovcnt = scatter(iov, PIECES, buf, MIB);
	CHECK_EQ(put.iovcnt > 1024, true);
	CHECK_EQ(vidas_store_put(suite_store, key, &put, NULL), 0);
	CHECK_EQ(suite_holds(key, buf, MIB), true);
	free(buf);
}

static void scattered_get(void)
{
	enum { PIECES = 3000 };
	static struct iovec iov[PIECES];
	const char *key = suite_key("many-pieces");
	char *buf = suite_new(MIB, 8), *have = suite_new(MIB, 9);
	int n = scatter(iov, PIECES, have, MIB);

	CHECK_EQ(suite_put(key, buf, MIB), 0);
	CHECK_EQ(vidas_store_get(suite_store, key, 0, iov, n, NULL, NULL), MIB);
	CHECK_EQ(memcmp(buf, have, MIB), 0);
	free(buf);
	free(have);
}

static void ranged_get(void)
{
	static const struct {
		uint64_t offset;
		size_t size;
	} range[] = { { 0, 1 },	      { 1, 1 },		{ 4095, 2 },
		      { 4096, 4096 }, { 12345, 54321 }, { 99999, 1 } };
	const char *key = suite_key("file");
	char *buf = suite_new(100000, 3), *have = suite_new(100000, 4);

	CHECK_EQ(suite_put(key, buf, 100000), 0);
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(range); i++) {
		memset(have, 0, 100000);
		CHECK_EQ(suite_get(key, have, range[i].size, range[i].offset), range[i].size);
		CHECK_EQ(memcmp(have, buf + range[i].offset, range[i].size), 0);
		CHECK_EQ(have[range[i].size], 0);
	}
	free(buf);
	free(have);
}

static void beyond_end(void)
{
	const char *key = suite_key("file"), *empty = suite_key("empty");
	char have[64];

	CHECK_EQ(suite_put_text(key, "0123456789"), 0);
	CHECK_EQ(suite_put_text(empty, ""), 0);
	CHECK_EQ(suite_get(key, have, 64, 8), 2);
	CHECK_EQ(memcmp(have, "89", 2), 0);
	CHECK_EQ(suite_get(key, have, 64, 10), 0);
	CHECK_EQ(suite_get(key, have, 64, UINT64_C(1) << 40), 0);
	CHECK_EQ(suite_get(key, have, 0, 3), 0);
	CHECK_EQ(suite_get(empty, have, 64, 0), 0);
	CHECK_EQ(suite_get(key, have, 64, UINT64_MAX - 5), -EINVAL);
}

static void replace(void)
{
	const char *key = suite_key("file");
	char *buf = suite_new(MIB, 1);

	CHECK_EQ(suite_put(key, buf, MIB), 0);
	CHECK_EQ(suite_put_text(key, "short"), 0);
	CHECK_EQ(suite_holds_text(key, "short"), true);
	CHECK_EQ(suite_put(key, buf, MIB), 0);
	CHECK_EQ(suite_holds(key, buf, MIB), true);
	CHECK_EQ(suite_put_text(key, ""), 0);
	CHECK_EQ(suite_holds_text(key, ""), true);
	free(buf);
}

static void wrong_size(void)
{
	const char *key = suite_key("file");
	struct iovec iov = { .iov_base = (char[]){ "abc" }, .iov_len = 3 };
	struct vidas_backend_put put = { .iov = &iov, .iovcnt = 1, .size_bytes = 4 };
	struct vidas_backend_stat st;

	CHECK_EQ(vidas_store_put(suite_store, key, &put, NULL), -EINVAL);
	CHECK_EQ(vidas_store_stat(suite_store, key, &st), -ENOENT);
}

static void makes_directories(void)
{
	struct vidas_backend_stat st;

	CHECK_EQ(suite_put_text(suite_key("a/b/c/d"), "deep"), 0);
	CHECK_EQ(suite_holds_text(suite_key("a/b/c/d"), "deep"), true);
	if (suite_caps & VIDAS_BACKEND_DIRECTORIES) {
		CHECK_EQ(vidas_store_stat(suite_store, suite_key("a/b"), &st), 0);
		CHECK_EQ(st.type, VIDAS_BACKEND_DIRECTORY);
	}
}

static void survives_reopen(void)
{
	const char *key = suite_key("kept");
	struct vidas_backend_stat before, after;

	CHECK_EQ(suite_put_text(key, "kept"), 0);
	CHECK_EQ(vidas_store_stat(suite_store, key, &before), 0);
	vidas_store_close(suite_store);
	suite_store = NULL;
	if (!CHECK_EQ(vidas_store_open(suite_url, suite_filters, &suite_store), 0))
		abort();
	CHECK_EQ(suite_holds_text(key, "kept"), true);
	CHECK_EQ(vidas_store_stat(suite_store, key, &after), 0);
	CHECK_EQ(suite_version_same(&before.version, &after.version), true);
}

static ssize_t put_range(const char *key, uint64_t offset, const char *text,
			 struct vidas_backend_version *now)
{
	struct iovec iov[2] = { { .iov_base = (void *)(uintptr_t)text, .iov_len = 1 },
				{ .iov_base = (void *)(uintptr_t)(text + 1),
				  .iov_len = strlen(text) - 1 } };

	return vidas_store_put_range(suite_store, key, offset, iov, 2, now);
}

static void ranged_put(void)
{
	const char *key = suite_key("file");
	static char want[100000];

	CHECK_EQ(put_range(key, 0, "xy", NULL), -ENOENT);
	CHECK_EQ(suite_put_text(key, "0123456789"), 0);
	CHECK_EQ(put_range(key, 3, "abc", NULL), 3);
	CHECK_EQ(suite_holds_text(key, "012abc6789"), true);
	CHECK_EQ(put_range(key, 8, "defg", NULL), 4);
	CHECK_EQ(suite_holds_text(key, "012abc67defg"), true);
	/* Beyond the end: what is between are zeros, not what memory had. */
	memcpy(want, "012abc67defg", 12);
	memcpy(want + sizeof(want) - 2, "hi", 2);
	free(suite_new(sizeof(want), 1));
	CHECK_EQ(put_range(key, sizeof(want) - 2, "hi", NULL), 2);
	CHECK_EQ(suite_holds(key, want, sizeof(want)), true);
	CHECK_EQ(put_range(key, INT64_MAX - 1, "too far", NULL), -EINVAL);
	CHECK_EQ(put_range(suite_key("."), 0, "xy", NULL), -EINVAL);
}

static void check_attrs(const char *key, const struct vidas_backend_stat *want)
{
	struct vidas_backend_stat st;

	if (!CHECK_EQ(vidas_store_stat(suite_store, key, &st), 0))
		return;
	CHECK_EQ(st.valid & VIDAS_BACKEND_MODE, VIDAS_BACKEND_MODE);
	CHECK_EQ(st.mode, want->mode);
	CHECK_EQ(st.valid & VIDAS_BACKEND_MTIME, VIDAS_BACKEND_MTIME);
	CHECK_EQ(st.mtime.tv_sec, want->mtime.tv_sec);
	CHECK_EQ(st.mtime.tv_nsec, want->mtime.tv_nsec);
	if (st.valid & VIDAS_BACKEND_OWNER) {
		CHECK_EQ(st.uid, want->uid);
		CHECK_EQ(st.gid, want->gid);
	}
}

/* A whole that ends in the middle of a block, and one of many blocks. */
static void tells_digest(void)
{
	static const size_t sizes[] = { 0, 1, MIB, MIB + 1, 20 * MIB + 5 };

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(sizes); i++) {
		char *buf = suite_new(sizes[i], (uint32_t)i);
		struct iovec iov[2] = { { .iov_base = buf, .iov_len = sizes[i] / 3 },
					{ .iov_base = buf + sizes[i] / 3,
					  .iov_len = sizes[i] - sizes[i] / 3 } };
		uint8_t want[VIDAS_BACKEND_DIGEST_BYTES], got[VIDAS_BACKEND_DIGEST_BYTES] = { 0 };
		struct vidas_backend_put put = {
			.iov = iov, .iovcnt = 2, .size_bytes = sizes[i], .digest = got
		};
		XXH3_state_t *whole = XXH3_createState();
		XXH128_canonical_t canonical;

		XXH3_128bits_reset(whole);
		for (size_t at = 0; at < sizes[i]; at += MIB) {
			size_t some = sizes[i] - at < MIB ? sizes[i] - at : MIB;

			XXH128_canonicalFromHash(&canonical, XXH3_128bits(buf + at, some));
			XXH3_128bits_update(whole, &canonical, sizeof(canonical));
		}
		XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(whole));
		memcpy(want, &canonical, sizeof(want));
		CHECK_EQ(vidas_store_put(suite_store, suite_key("file"), &put, NULL), 0);
		CHECK_EQ(memcmp(got, want, sizeof(want)), 0);
		XXH3_freeState(whole);
		free(buf);
	}
}

static const struct vidas_backend_stat attrs = {
	.valid = VIDAS_BACKEND_MODE | VIDAS_BACKEND_OWNER | VIDAS_BACKEND_MTIME,
	.mode = 0640,
	.uid = 12345,
	.gid = 54321,
	.mtime = { .tv_sec = 1234567890, .tv_nsec = 123456789 },
};

static void keeps_attributes(void)
{
	const char *key = suite_key("file");
	struct iovec iov = { .iov_base = (char[]){ "abc" }, .iov_len = 3 };
	struct vidas_backend_put put = {
		.iov = &iov, .iovcnt = 1, .size_bytes = 3, .attrs = &attrs
	};

	CHECK_EQ(vidas_store_put(suite_store, key, &put, NULL), 0);
	check_attrs(key, &attrs);
	CHECK_EQ(suite_holds_text(key, "abc"), true);
}

static void sets_attributes(void)
{
	const char *key = suite_key("file");
	struct vidas_backend_stat want = attrs, time_only = { .valid = VIDAS_BACKEND_MTIME,
							      .mtime = { .tv_sec = 987654321 } };

	CHECK_EQ(suite_put_text(key, "abc"), 0);
	CHECK_EQ(vidas_store_set_attrs(suite_store, key, &attrs), 0);
	check_attrs(key, &attrs);
	CHECK_EQ(vidas_store_set_attrs(suite_store, key, &time_only), 0);
	want.mtime = time_only.mtime;
	check_attrs(key, &want);
	CHECK_EQ(suite_holds_text(key, "abc"), true);
	CHECK_EQ(vidas_store_set_attrs(suite_store, suite_key("none"), &attrs), -ENOENT);
}

static void directory_attributes(void)
{
	const char *key = suite_key("dir");
	struct vidas_backend_stat given = { .valid = VIDAS_BACKEND_MODE, .mode = 0750 }, st;

	CHECK_EQ(vidas_store_mkdir(suite_store, key, &given), 0);
	CHECK_EQ(vidas_store_stat(suite_store, key, &st), 0);
	CHECK_EQ(st.type, VIDAS_BACKEND_DIRECTORY);
	CHECK_EQ(st.mode, 0750);
	CHECK_EQ(vidas_store_set_attrs(suite_store, key, &attrs), 0);
	check_attrs(key, &attrs);
}

const struct suite_case suite_content[] = {
	{ "round-trip", 0, round_trip },
	{ "scattered-put", 0, scattered_put },
	{ "scattered-get", 0, scattered_get },
	{ "ranged-get", 0, ranged_get },
	{ "beyond-end", 0, beyond_end },
	{ "replace", 0, replace },
	{ "tells-digest", VIDAS_BACKEND_DIGESTS, tells_digest },
	{ "wrong-size", 0, wrong_size },
	{ "makes-directories", 0, makes_directories },
	{ "survives-reopen", 0, survives_reopen },
	{ "ranged-put", VIDAS_BACKEND_RANGED_PUT, ranged_put },
	{ "keeps-attributes", VIDAS_BACKEND_ATTRIBUTES, keeps_attributes },
	{ "sets-attributes", VIDAS_BACKEND_ATTRIBUTES, sets_attributes },
	{ "directory-attributes", VIDAS_BACKEND_ATTRIBUTES | VIDAS_BACKEND_DIRECTORIES,
	  directory_attributes },
	{ 0 },
};
