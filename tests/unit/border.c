/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The border between the halves of vidasfs: every request that a kernel sends passes; every cut of it,
 * what is longer than it says, and what would make the operations behind it go wrong does not.
 *
 * VIDAS_BORDER_CORPUS=DIR writes one file a request to DIR, the seeds of tests/fuzz/fuzz_border.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/base/base.h"
#include "unit.h"
#include "vidasfs/border.h"
#include "vidasfs/lane.h"

#define TMPFILE 51 /* <linux/fuse.h> of 6.6 */
#define STATX	52

struct sample {
	const char *name;
	uint32_t opcode;
	uint32_t body[16]; /* as far as it matters */
	size_t body_bytes;
	const char *tail;
	size_t tail_bytes;
	unsigned nodes, handles;
};

#define TAIL(text) text, sizeof(text)
static const struct sample samples[] = {
	{ "init",
	  FUSE_INIT,
	  { 7, 38, 0, 0 },
	  16,
	  TAIL("0123456789012345678901234567890123456789012345"),
	  0,
	  0 },
	{ "lookup", FUSE_LOOKUP, { 0 }, 0, TAIL("name"), 1, 0 },
	{ "forget", FUSE_FORGET, { 1 }, 8, NULL, 0, 0, 0 },
	{ "batch", FUSE_BATCH_FORGET, { 2, 0, 5, 0, 1, 0, 6, 0, 1, 0 }, 40, NULL, 0, 0, 0 },
	{ "getattr", FUSE_GETATTR, { 0 }, 16, NULL, 0, 1, 0 },
	{ "statx", STATX, { 0 }, 24, NULL, 0, 1, 0 },
	{ "setattr", FUSE_SETATTR, { 8 }, 88 - 24, "01234567890123456789012", 24, 1, 0 },
	{ "symlink", FUSE_SYMLINK, { 0 }, 0, TAIL("name\0/where/it/leads"), 1, 0 },
	{ "mknod", FUSE_MKNOD, { 0100644 }, 16, TAIL("name"), 1, 0 },
	{ "mkdir", FUSE_MKDIR, { 0755 }, 8, TAIL("name"), 1, 0 },
	{ "unlink", FUSE_UNLINK, { 0 }, 0, TAIL("name"), 1, 0 },
	{ "rename", FUSE_RENAME, { 7, 0 }, 8, TAIL("old\0new"), 2, 0 },
	{ "rename2", FUSE_RENAME2, { 7, 0, 1, 0 }, 16, TAIL("old\0new"), 2, 0 },
	{ "link", FUSE_LINK, { 7, 0 }, 8, TAIL("name"), 2, 0 },
	{ "open", FUSE_OPEN, { 2 }, 8, NULL, 0, 1, 0 },
	{ "read", FUSE_READ, { 9, 0, 4096, 0, 4096, 0 }, 40, NULL, 0, 1, 1 },
	{ "write", FUSE_WRITE, { 9, 0, 0, 0, 6, 0 }, 40, "bytes", 6, 1, 1 },
	{ "setxattr", FUSE_SETXATTR, { 5, 0 }, 8, "user.a\0value", 12, 1, 0 },
	{ "getxattr", FUSE_GETXATTR, { 64, 0 }, 8, TAIL("user.a"), 1, 0 },
	{ "readdir", FUSE_READDIRPLUS, { 9, 0, 0, 0x80000000, 4096, 0 }, 40, NULL, 0, 1, 1 },
	{ "release", FUSE_RELEASE, { 9 }, 24, NULL, 0, 1, 1 },
	{ "lock", FUSE_SETLKW, { 9 }, 48, NULL, 0, 1, 1 },
	{ "create", FUSE_CREATE, { 0101, 0644 }, 16, TAIL("name"), 1, 0 },
	{ "tmpfile", TMPFILE, { 0101, 0644 }, 16, TAIL("/"), 1, 0 },
	{ "interrupt", FUSE_INTERRUPT, { 3 }, 8, NULL, 0, 0, 0 },
	{ "poll", FUSE_POLL, { 9 }, 24, NULL, 0, 1, 1 },
	{ "fallocate", FUSE_FALLOCATE, { 9, 0, 0, 0, 4096, 0, 0 }, 32, NULL, 0, 1, 1 },
	{ "copy", FUSE_COPY_FILE_RANGE, { 9, 0, 0, 0, 7, 0, 10, 0, 0, 0, 5, 0 }, 56, NULL, 0, 2, 2 },
	{ "statfs", FUSE_STATFS, { 0 }, 0, NULL, 0, 1, 0 },
};

/* The caller frees it. */
static void *make(const struct sample *s, size_t *bytes)
{
	struct fuse_in_header in = { .opcode = s->opcode, .unique = 2, .nodeid = 5 };
	char *msg;

	*bytes = sizeof(in) + s->body_bytes + s->tail_bytes;
	in.len = (uint32_t)*bytes;
	msg = malloc(*bytes);
	if (!msg)
		abort();
	memcpy(msg, &in, sizeof(in));
	memcpy(msg + sizeof(in), s->body, s->body_bytes);
	if (s->tail_bytes)
		memcpy(msg + sizeof(in) + s->body_bytes, s->tail, s->tail_bytes);
	return msg;
}

static int check(const struct sample *s)
{
	size_t bytes;
	void *msg = make(s, &bytes);
	int err = vidas_border_check(msg, bytes);

	free(msg);
	return err;
}

static void test_good(void)
{
	struct vidas_border_names names;
	size_t bytes;

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(samples); i++) {
		void *msg = make(&samples[i], &bytes);

		if (vidas_border_check(msg, bytes))
			fprintf(stderr, "%s is refused\n", samples[i].name);
		CU_ASSERT_EQUAL(vidas_border_check(msg, bytes), 0);
		vidas_border_names(msg, &names);
		CU_ASSERT_EQUAL(names.nodes, samples[i].nodes);
		CU_ASSERT_EQUAL(names.handles, samples[i].handles);
		if (names.nodes)
			CU_ASSERT_EQUAL(names.node[0].id, 5);
		if (names.nodes == 2)
			CU_ASSERT_EQUAL(names.node[1].id, 7);
		if (names.handles)
			CU_ASSERT_EQUAL(names.handle[0], 9);
		if (names.handles == 2)
			CU_ASSERT_EQUAL(names.handle[1], 10);
		free(msg);
	}
}

/* Said to be as long as it is, and not. */
static void test_cut(void)
{
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(samples); i++) {
		size_t bytes;
		char *msg = make(&samples[i], &bytes);

		for (uint32_t n = 0; n < bytes; n++) {
			char *cut = malloc(n ? n : 1);

			memcpy(cut, msg, n);
			CU_ASSERT_EQUAL(vidas_border_check(cut, n), -EPROTO);
			if (n >= sizeof(n))
				memcpy(cut, &n, sizeof(n));
			/* A first request may be of any length; it is looked into as far as it goes. */
			if (samples[i].opcode != FUSE_INIT)
				CU_ASSERT_EQUAL(vidas_border_check(cut, n), -EPROTO);
			free(cut);
		}
		free(msg);
	}
}

static void test_names(void)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "/" };
	struct sample s = { "lookup", FUSE_LOOKUP, { 0 }, 0, NULL, 0, 1, 0 };

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(bad); i++) {
		s.tail = bad[i];
		s.tail_bytes = strlen(bad[i]) + 1;
		CU_ASSERT_EQUAL(check(&s), -EPROTO);
	}
	s.tail = "name\0more";
	s.tail_bytes = 10;
	CU_ASSERT_EQUAL(check(&s), -EPROTO);
}

static void test_numbers(void)
{
	const struct sample bad[] = {
		{ "large read", FUSE_READ, { 9, 0, 0, 0, VIDAS_LANE_IO_MAX + 1 }, 40, NULL, 0, 1, 1 },
		{ "far read", FUSE_READ, { 9, 0, 0xffffffff, 0x7fffffff, 4096 }, 40, NULL, 0, 1, 1 },
		{ "negative", FUSE_READ, { 9, 0, 0, 0x80000000, 4096 }, 40, NULL, 0, 1, 1 },
		{ "large write", FUSE_WRITE, { 9, 0, 0, 0, 0xffffffff }, 40, "bytes", 6, 1, 1 },
		{ "short write", FUSE_WRITE, { 9, 0, 0, 0, 5 }, 40, "bytes", 6, 1, 1 },
		{ "large value", FUSE_SETXATTR, { 65537, 0 }, 8, "user.a\0value", 12, 1, 0 },
		{ "large room", FUSE_GETXATTR, { 65537, 0 }, 8, TAIL("user.a"), 1, 0 },
		{ "batch", FUSE_BATCH_FORGET, { 0x10000001, 0, 5, 0, 1, 0 }, 24, NULL, 0, 0, 0 },
		{ "old kernel", FUSE_INIT, { 7, 12, 0, 0 }, 16, NULL, 0, 0, 0 },
		{ "flags", FUSE_INIT, { 7, 38, 0, FUSE_INIT_EXT }, 16, NULL, 0, 0, 0 },
		{ "opcode", 0x10000, { 0 }, 0, NULL, 0, 0, 0 },
	};

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(bad); i++) {
		if (check(&bad[i]) != -EPROTO)
			fprintf(stderr, "%s is let in\n", bad[i].name);
		CU_ASSERT_EQUAL(check(&bad[i]), -EPROTO);
	}
}

/* A kernel may be newer than we: it is told so. */
static void test_unknown(void)
{
	struct sample s = { "new", 200, { 1, 2 }, 8, "more", 5, 0, 0 };

	CU_ASSERT_EQUAL(check(&s), -ENOSYS);
	s.opcode = 0;
	CU_ASSERT_EQUAL(check(&s), -ENOSYS);
}

static void write_corpus(const char *dir)
{
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(samples); i++) {
		char path[512];
		size_t bytes;
		void *msg = make(&samples[i], &bytes);
		FILE *f;

		snprintf(path, sizeof(path), "%s/%s", dir, samples[i].name);
		f = fopen(path, "we");
		if (!f || fwrite(msg, 1, bytes, f) != bytes || fclose(f))
			perror(path);
		free(msg);
	}
}

/* Not a test, but beside them: only where it is asked for. */
static void test_corpus(void)
{
	const char *dir = getenv("VIDAS_BORDER_CORPUS");

	if (dir)
		write_corpus(dir);
}

UNIT_MAIN("border", { "what kernels send", test_good }, { "cuts", test_cut },
	  { "names", test_names }, { "numbers", test_numbers }, { "unknown", test_unknown },
	  { "corpus", test_corpus })
