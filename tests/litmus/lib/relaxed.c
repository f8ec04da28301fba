/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What `consistency=relaxed` still promises. */
#include "litmus.h"

#include <sys/xattr.h>

#define ROUNDS 10u
#define POLICY "user.vidas.consistency"

/* What a cached answer may be late by, and what a busy machine adds. */
static int64_t late_us(void)
{
	return (int64_t)relaxed_seconds * 1000000 + 5000000;
}

static bool seen_within(int64_t us, bool (*seen)(unsigned d), unsigned d)
{
	int64_t end = now_us() + us;

	while (!seen(d)) {
		if (now_us() > end)
			return false;
		usleep(20000);
	}
	return true;
}

static const char *what;

static bool is_there(unsigned d)
{
	return !access(in(d, "%s", what), F_OK);
}

static bool is_gone(unsigned d)
{
	return access(in(d, "%s", what), F_OK) < 0 && errno == ENOENT;
}

static bool is_private(unsigned d)
{
	struct stat st;

	return !stat(in(d, "%s", what), &st) && (st.st_mode & 07777) == 0600;
}

static void in_time(void)
{
	what = "late";
	for (unsigned d = 0; d < domains; d++)
		CHECK(is_gone(d), "it is there before it was made");
	close(must_open(in(0, "late"), O_CREAT | O_WRONLY));
	CHECK(!chmod(in(0, "late"), 0644), "chmod: %m");
	for (unsigned d = 0; d < domains; d++)
		CHECK(seen_within(late_us(), is_there, d), "domain %u never sees a new name", d);
	CHECK(!chmod(in(0, "late"), 0600), "chmod: %m");
	for (unsigned d = 0; d < domains; d++)
		CHECK(seen_within(late_us(), is_private, d), "domain %u never sees a chmod", d);
	CHECK(!unlink(in(0, "late")), "unlink: %m");
	for (unsigned d = 0; d < domains; d++)
		CHECK(seen_within(late_us(), is_gone, d), "domain %u never sees a removal", d);
}

/* In its own domain everything is seen at once. */
static void own_changes(void)
{
	for (unsigned i = 0; i < 10 * ROUNDS; i++) {
		unsigned d = i % domains;
		struct stat st;

		what = "own";
		close(must_open(in(d, "own"), O_CREAT | O_EXCL | O_WRONLY));
		CHECK(is_there(d), "its own file is not there");
		CHECK(!chmod(in(d, "own"), 0600) && is_private(d), "its own chmod");
		CHECK(!truncate(in(d, "own"), 100 + i), "truncate: %m");
		CHECK(!stat(in(d, "own"), &st) && st.st_size == 100 + i, "its own size");
		CHECK(!rename(in(d, "own"), in(d, "owned")) && is_gone(d), "its own rename");
		CHECK(!stat(in(d, "owned"), &st), "its own rename");
		CHECK(!unlink(in(d, "owned")), "unlink: %m");
	}
}

/* Who opens a file after another has closed it reads what that one wrote, to its end. */
static void close_to_open(void)
{
	const char *name = new_file();
	char text[20000], got[20001];
	struct stat st;

	for (unsigned i = 0; i < ROUNDS; i++)
		for (unsigned d = 0; d < domains; d++) {
			size_t size = 100 + 997 * ((i + d) % 19);
			int fd = must_open(in(d, "%s", name), O_WRONLY | O_TRUNC);

			memset(text, 'a' + (int)(i + d) % 26, size);
			CHECK(write(fd, text, size) == (ssize_t)size && !close(fd), "write: %m");
			for (unsigned e = 0; e < domains; e++) {
				fd = must_open(in(e, "%s", name), O_RDONLY);
				CHECK(!fstat(fd, &st) && st.st_size == (off_t)size,
				      "domain %u opens it with another size", e);
				CHECK(read(fd, got, sizeof(got)) == (ssize_t)size &&
					      !memcmp(got, text, size),
				      "domain %u does not read what was closed", e);
				close(fd);
			}
		}
}

static void set(unsigned d, const char *value)
{
	CHECK(!setxattr(in(d, "."), POLICY, value, strlen(value), 0), "setxattr: %m");
}

/* Policies take effect when they are set, in all domains. */
static void back_to_strict(void)
{
	const char *name = new_file();

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned by = i % domains;
		struct stat st;

		set(by, "relaxed");
		for (unsigned d = 0; d < domains; d++)
			CHECK(!stat(in(d, "%s", name), &st), "stat: %m");
		CHECK(!chmod(in(by, "%s", name), 0600 + i % 8 + 8), "chmod: %m");
		set((by + 1) % domains, "strict");
		for (unsigned d = 0; d < domains; d++)
			CHECK(!stat(in(d, "%s", name), &st) &&
				      (st.st_mode & 07777) == 0600 + i % 8 + 8,
			      "domain %u is not strict again", d);
		CHECK(!chmod(in(by, "%s", name), 0600), "chmod: %m");
		for (unsigned d = 0; d < domains; d++)
			CHECK(!stat(in(d, "%s", name), &st) && (st.st_mode & 07777) == 0600,
			      "domain %u is not strict", d);
	}
	CHECK(!removexattr(in(0, "."), POLICY), "removexattr: %m");
}

const struct litmus relaxed_tests[] = {
	{ "C50", "names and attributes are seen within relaxed_timeout", RELAXED_ANY, in_time },
	{ "C51", "a domain sees its own changes at once", RELAXED_ANY, own_changes },
	{ "C52", "close-to-open: an open after a close has its size and its bytes", ANY,
	  close_to_open },
	{ "C53", "a policy that was set holds in all domains", ANY, back_to_strict },
	{ 0 },
};
