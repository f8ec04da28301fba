/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attributes: what is set in one domain, as the others see it. */
#include "litmus.h"

#include <sys/wait.h>
#include <sys/xattr.h>

#define ROUNDS 20u
#define NOBODY 65534

static struct stat look(unsigned d, const char *name)
{
	struct stat st;

	CHECK(!stat(in(d, "%s", name), &st), "stat in domain %u: %m", d);
	return st;
}

/* Has every domain cache what is there. */
static void all_look(const char *name)
{
	for (unsigned i = 0; i < 2; i++)
		for (unsigned d = 0; d < domains; d++)
			look(d, name);
}

static void set_and_seen(void)
{
	const char *name = new_file();

	for (unsigned i = 0; i < ROUNDS; i++) {
		const struct timespec ts[2] = { { 1000 + i, 123456789 }, { 2000 + i, 987654321 } };
		char value[16], got[16];
		unsigned d = i % domains;

		all_look(name);
		CHECK(!chmod(in(d, "%s", name), 0600 + i % 64), "chmod: %m");
		for (unsigned e = 0; e < domains; e++)
			CHECK((look(e, name).st_mode & 07777) == 0600 + i % 64,
			      "domain %u does not see a chmod", e);
		CHECK(!chown(in(d, "%s", name), 100 + i, 200 + i), "chown: %m");
		for (unsigned e = 0; e < domains; e++)
			CHECK(look(e, name).st_uid == 100 + i && look(e, name).st_gid == 200 + i,
			      "domain %u does not see a chown", e);
		CHECK(!utimensat(AT_FDCWD, in(d, "%s", name), ts, 0), "utimensat: %m");
		for (unsigned e = 0; e < domains; e++)
			CHECK(look(e, name).st_mtim.tv_sec == 2000 + i &&
				      look(e, name).st_mtim.tv_nsec == 987654321,
			      "domain %u does not see a utimensat", e);
		snprintf(value, sizeof(value), "%u", i);
		CHECK(!setxattr(in(d, "%s", name), "user.litmus", value, sizeof(value), 0),
		      "setxattr: %m");
		for (unsigned e = 0; e < domains; e++)
			CHECK(getxattr(in(e, "%s", name), "user.litmus", got, sizeof(got)) > 0 &&
				      !strcmp(got, value),
			      "domain %u does not see a setxattr", e);
	}
}

/* Opens it as nobody in particular; the errno. */
static int open_as_nobody(unsigned d, const char *name)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
			_exit(255);
		_exit(open(in(d, "%s", name), O_RDONLY) < 0 ? errno : 0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "a child ended badly");
	return WEXITSTATUS(status);
}

static void permission(void)
{
	const char *name = new_file();

	for (unsigned i = 0; i < ROUNDS / 4; i++) {
		unsigned d = i % domains;

		CHECK(!chmod(in(d, "%s", name), 0644), "chmod: %m");
		for (unsigned e = 0; e < domains; e++)
			CHECK(!open_as_nobody(e, name), "domain %u does not know the permission",
			      e);
		CHECK(!chmod(in(d, "%s", name), 0600), "chmod: %m");
		for (unsigned e = 0; e < domains; e++)
			CHECK(open_as_nobody(e, name) == EACCES,
			      "domain %u lets in whom it should not", e);
	}
}

/* Who has made a file and still has it open is told what the others do to it. */
static void maker_sees(unsigned maker, unsigned other, unsigned i)
{
	const char *name = in(maker, "made.%u.%u.%d", other, i, getpid());
	int fd = must_open(name, O_CREAT | O_EXCL | O_RDWR), there;
	struct stat st;

	CHECK(!fstat(fd, &st) && !st.st_size, "a new file is not empty");
	name = strrchr(name, '/') + 1;
	if (i % 2) {
		there = must_open(in(other, "%s", name), O_WRONLY);
		put(there, 0, i);
	} else {
		there = -1;
		CHECK(!truncate(in(other, "%s", name), 8), "truncate: %m");
	}
	CHECK(!fstat(fd, &st) && st.st_size == 8, "domain %u does not see what %u has written",
	      maker, other);
	CHECK(!chmod(in(other, "%s", name), 0604), "chmod: %m");
	CHECK(!fstat(fd, &st) && (st.st_mode & 07777) == 0604,
	      "domain %u does not see a chmod by %u", maker, other);
	CHECK(!unlink(in(other, "%s", name)), "unlink: %m");
	CHECK(!fstat(fd, &st) && !st.st_nlink, "domain %u does not see an unlink by %u", maker,
	      other);
	if (there >= 0)
		close(there);
	close(fd);
}

static void size_seen(void)
{
	const char *name = new_file();
	int fd[3];

	for (unsigned d = 0; d < domains; d++)
		fd[d] = must_open(in(d, "%s", name), O_RDWR);
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned d = i % domains;
		off_t end = 5000 * (i + 1);

		all_look(name);
		put(fd[d], end - 8, i);
		for (unsigned e = 0; e < domains; e++) {
			CHECK(look(e, name).st_size == end, "domain %u does not see a write's size",
			      e);
			CHECK(lseek(fd[e], 0, SEEK_END) == end, "domain %u does not see the end",
			      e);
		}
		CHECK(!ftruncate(fd[d], 100 + i), "ftruncate: %m");
		for (unsigned e = 0; e < domains; e++)
			CHECK(look(e, name).st_size == 100 + i, "domain %u does not see a cut", e);
		CHECK(!truncate(in(d, "%s", name), 200 + i), "truncate: %m");
		for (unsigned e = 0; e < domains; e++)
			CHECK(look(e, name).st_size == 200 + i,
			      "domain %u does not see an extension", e);
		CHECK(!ftruncate(fd[d], 0), "ftruncate: %m");
	}
	for (unsigned d = 0; d < domains; d++)
		close(fd[d]);
	for (unsigned i = 0; i < ROUNDS; i++)
		maker_sees(i % domains, (i + 1) % domains, i);
}

static void links_seen(void)
{
	const char *name = new_file();

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned d = i % domains;

		all_look(name);
		CHECK(!link(in(d, "%s", name), in(d, "another")), "link: %m");
		for (unsigned e = 0; e < domains; e++)
			CHECK(look(e, name).st_nlink == 2, "domain %u does not see a link", e);
		CHECK(!unlink(in((d + 1) % domains, "another")), "unlink: %m");
		for (unsigned e = 0; e < domains; e++)
			CHECK(look(e, name).st_nlink == 1, "domain %u still sees a link", e);
	}
}

static int64_t mtime_ns(unsigned d, const char *name)
{
	struct stat st = look(d, name);

	return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

static const char *watched;

/* Domain 0 writes and says after each write which mtime it had then. */
static void write_or_watch(unsigned d)
{
	int64_t end = now_us() + 200000, last = 0, now, said;
	int fd = d ? -1 : must_open(in(0, "%s", watched), O_RDWR);

	meet();
	while (now_us() < end) {
		said = (int64_t)outside->word[0];
		if (!d)
			put(fd, 0, (uint64_t)last);
		now = mtime_ns(d, watched);
		CHECK(now >= last, "in domain %u a file's mtime has gone back", d);
		CHECK(now >= said, "in domain %u a file's mtime is older than in domain 0", d);
		last = now;
		if (!d)
			outside->word[0] = (uint64_t)now;
	}
}

static void mtime(void)
{
	watched = new_file();
	together(write_or_watch);
}

const struct litmus attr_tests[] = {
	{ "C10", "mode, owner, times and xattrs that are set are so in all domains", STRICT_ANY,
	  set_and_seen },
	{ "C11", "a permission taken away is refused in all domains", STRICT_ANY, permission },
	{ "C12", "the size after a write or a truncate is the size in all domains", STRICT_ANY,
	  size_seen },
	{ "C13", "the number of links", STRICT_ANY, links_seen },
	{ "C14", "mtime never goes back, in whichever domain it is looked at", STRICT_ANY, mtime },
	{ 0 },
};
