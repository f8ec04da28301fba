/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What one side does while the other looks: never ESTALE, never half of something, never nothing where
 * there always was something. */
#include "cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 300

static bool running(_Atomic int *stop)
{
	return !atomic_load_explicit(stop, memory_order_acquire);
}

static void stop(_Atomic int *word, pid_t pid)
{
	atomic_store_explicit(word, 1, memory_order_release);
	join(pid);
}

/* A file that is replaced by rename is always there, and whole. */
static void replaced(void)
{
	_Atomic int *words = shared();
	char text[5000], buf[5000];
	pid_t pid;

	put(here, "f", repeated('a', 100));
	pid = start();
	if (!pid) {
		for (int i = 0; running(words); i++) {
			int fd = OK(openat(there, "new", O_WRONLY | O_CREAT | O_EXCL, 0644));
			size_t size = (size_t)(1 + i * 37 % 4000);

			memset(text, 'a' + i % 26, size);
			SAME(size, OK(write(fd, text, size)));
			OK(close(fd));
			OK(renameat(there, "new", there, "f"));
		}
		done();
	}
	for (int i = 0; i < ROUNDS; i++) {
		int fd = OK(openat(here, "f", O_RDONLY));
		ssize_t got = OK(read(fd, buf, sizeof(buf)));

		YES(got > 0);
		SAME(stat_fd(fd).st_size, got);
		for (ssize_t k = 1; k < got; k++)
			SAME(buf[0], buf[k]);
		OK(close(fd));
		YES(stat_of(here, "f").st_size > 0);
	}
	stop(words, pid);
}

/* A name that comes and goes is there, or not; nothing else. */
static void come_and_go(void)
{
	_Atomic int *words = shared();
	int found = 0, gone = 0;
	pid_t pid = start();

	if (!pid) {
		while (running(words)) {
			put(there, "f", "text");
			OK(mkdirat(there, "d", 0755));
			put(there, "d/in", "in");
			OK(unlinkat(there, "f", 0));
			OK(unlinkat(there, "d/in", 0));
			OK(unlinkat(there, "d", AT_REMOVEDIR));
		}
		done();
	}
	for (int i = 0; i < ROUNDS * 2 || ((!found || !gone) && i < 100000); i++) {
		struct stat st;
		int fd = openat(here, i % 2 ? "d/in" : "f", O_RDWR);

		if (fd < 0) {
			SAME(ENOENT, errno);
			gone++;
		} else {
			found++;
			OK(fstat(fd, &st));
			OK(close(fd));
		}
		if (fstatat(here, "d/in", &st, 0) < 0)
			SAME(ENOENT, errno);
		if (fchmodat(here, "f", 0600, 0) < 0)
			SAME(ENOENT, errno);
		fd = openat(here, "d", O_RDONLY | O_DIRECTORY);
		if (fd < 0)
			SAME(ENOENT, errno);
		else
			OK(close(fd));
	}
	stop(words, pid);
	YES(found && gone);
}

/* Programs that lock by link(2), or by a name made exclusively. */
static void lock_files(void)
{
	_Atomic int *words = shared();
	pid_t pid[2];

	put(here, "counter", "0");
	for (int i = 0; i < 2; i++) {
		pid[i] = start();
		if (pid[i])
			continue;
		for (int n = 0; n < 100; n++) {
			int at = i ? there : here, fd;
			char own[16], text[16] = { 0 };

			snprintf(own, sizeof(own), "own%d", i);
			put(at, own, "");
			while (linkat(at, own, at, "lock", 0) < 0) {
				SAME(EEXIST, errno);
				nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
			}
			SAME(2, stat_of(at, own).st_nlink);
			SAME(1, atomic_fetch_add_explicit(&words[0], 1, memory_order_acq_rel) + 1);
			fd = OK(openat(at, "counter", O_RDWR));
			YES(OK(pread(fd, text, sizeof(text) - 1, 0)) > 0);
			snprintf(text, sizeof(text), "%d", atoi(text) + 1);
			SAME(strlen(text), OK(pwrite(fd, text, strlen(text), 0)));
			OK(close(fd));
			atomic_fetch_sub_explicit(&words[0], 1, memory_order_acq_rel);
			OK(unlinkat(at, "lock", 0));
			OK(unlinkat(at, own, 0));
		}
		done();
	}
	join(pid[0]);
	join(pid[1]);
	HAS(here, "counter", "200");
}

/* Both sides rename one file to and fro: it has exactly one of its names. */
static void to_and_fro(void)
{
	pid_t pid[2];
	bool a, b;

	OK(mkdirat(here, "x", 0755));
	OK(mkdirat(here, "y", 0755));
	put(here, "x/f", "whole");
	for (int i = 0; i < 2; i++) {
		pid[i] = start();
		if (pid[i])
			continue;
		for (int n = 0; n < ROUNDS; n++) {
			int at = i ? there : here;

			if (renameat(at, "x/f", at, "y/f") < 0)
				SAME(ENOENT, errno);
			if (renameat(at, "y/f", at, "x/f") < 0)
				SAME(ENOENT, errno);
		}
		done();
	}
	join(pid[0]);
	join(pid[1]);
	a = exists(here, "x/f");
	b = exists(here, "y/f");
	YES(a != b);
	HAS(there, a ? "x/f" : "y/f", "whole");
	SAME(1, stat_of(there, a ? "x/f" : "y/f").st_nlink);
}

/* A name that one side makes, or opens if it is there, while the other removes it: always opened. */
static void made_by_both(void)
{
	_Atomic int *words = shared();
	pid_t pid[2];

	for (int i = 0; i < 2; i++) {
		pid[i] = start();
		if (pid[i])
			continue;
		while (running(words)) {
			int at = i ? there : here;
			int fd = OK(openat(at, "f", O_WRONLY | O_CREAT, 0600));

			SAME(1, OK(write(fd, "x", 1)));
			OK(close(fd));
			if (unlinkat(at, "f", 0) < 0)
				SAME(ENOENT, errno);
		}
		done();
	}
	for (int i = 0; i < ROUNDS * 4; i++) {
		int fd = OK(openat(here, "f", O_RDWR | O_CREAT | (i % 4 ? 0 : O_TRUNC), 0600));

		YES(stat_fd(fd).st_size <= 1);
		OK(close(fd));
	}
	atomic_store_explicit(words, 1, memory_order_release);
	join(pid[0]);
	join(pid[1]);
}

/* Linux may not follow a directory that moves on the other side while this one moves some too. */
static bool lost(void)
{
	return errno == ENOENT || (apart && errno == ESTALE);
}

/* Directories that both sides move, into each other too: who walks them finds them, or not. */
static void moved_directories(void)
{
	static const char *const way[][2] = { { "a", "b/a" }, { "b/a", "a" }, { "b", "a/b" },
					      { "a/b", "b" }, { "a", "c/a" }, { "c/a", "a" } };
	static const char *const walk[] = { "a/in",   "b/a/in",	   "b/in",     "a/b/in",
					    "c/a/in", "c/../a/in", "b/a/../in" };
	_Atomic int *words = shared();
	pid_t pid[2];

	for (const char *d = "abc"; *d; d++) {
		char in[] = { *d, '/', 'i', 'n', 0 }, dir[] = { *d, 0 };

		OK(mkdirat(here, dir, 0755));
		put(here, in, dir);
	}
	for (int i = 0; i < 2; i++) {
		pid[i] = start();
		if (pid[i])
			continue;
		for (unsigned n = (unsigned)i; running(words); n++) {
			const char *const *w = way[n * 5 % 6];

			if (renameat(i ? there : here, w[0], i ? there : here, w[1]) < 0)
				YES(errno == EINVAL || errno == ENOTEMPTY || lost());
		}
		done();
	}
	for (int i = 0; i < ROUNDS * 3; i++) {
		struct stat st;
		int fd = openat(here, walk[i % 7], O_RDONLY);

		if (fd < 0) {
			YES(lost());
		} else {
			SAME(1, stat_fd(fd).st_size);
			OK(close(fd));
		}
		if (fstatat(here, walk[(i + 3) % 7], &st, 0) < 0)
			YES(lost());
	}
	atomic_store_explicit(words, 1, memory_order_release);
	join(pid[0]);
	join(pid[1]);
	/* In the end each is in one place, on both sides. */
	SAME(1, exists(here, "a") + exists(here, "b/a") + exists(here, "c/a"));
	SAME(1, exists(here, "b") + exists(here, "a/b") + exists(here, "c/a/b"));
	SAME(1, exists(there, "a") + exists(there, "b/a") + exists(there, "c/a"));
	HAS(there, "c/in", "c");
}

/* A descriptor of what has been replaced is that of the old; the name leads to the new. */
static void made_anew(void)
{
	for (int i = 0; i < 50; i++) {
		int old, dir;

		put(here, "f", "old");
		OK(mkdirat(here, "d", 0755));
		put(here, "d/in", "old");
		old = OK(openat(here, "f", O_RDWR));
		dir = OK(openat(here, "d", O_RDONLY | O_DIRECTORY));
		OK(unlinkat(there, "f", 0));
		OK(unlinkat(there, "d/in", 0));
		OK(unlinkat(there, "d", AT_REMOVEDIR));
		put(there, "f", "new");
		OK(mkdirat(there, "d", 0755));
		put(there, "d/in", "new");
		READS(old, 0, "old");
		HAS(here, "f", "new");
		HAS(here, "d/in", "new");
		ERR(ENOENT, openat(dir, "in", O_RDONLY));
		YES(stat_fd(old).st_nlink == 0 && stat_of(here, "f").st_nlink == 1);
		OK(close(old));
		OK(close(dir));
		OK(unlinkat(here, "f", 0));
		OK(unlinkat(here, "d/in", 0));
		OK(unlinkat(here, "d", AT_REMOVEDIR));
	}
}

/* A file that becomes a directory, a link, a fifo, and a file again. */
static void other_kinds(void)
{
	for (int i = 0; i < 20; i++) {
		put(there, "n", "file");
		HAS(here, "n", "file");
		OK(unlinkat(there, "n", 0));
		OK(mkdirat(there, "n", 0755));
		YES(S_ISDIR(stat_of(here, "n").st_mode));
		put(here, "n/in", "in");
		OK(unlinkat(there, "n/in", 0));
		OK(unlinkat(there, "n", AT_REMOVEDIR));
		OK(symlinkat("nowhere", there, "n"));
		YES(S_ISLNK(stat_of(here, "n").st_mode));
		ERR(ENOENT, openat(here, "n", O_RDONLY));
		OK(unlinkat(there, "n", 0));
		OK(mkfifoat(there, "n", 0644));
		YES(S_ISFIFO(stat_of(here, "n").st_mode));
		OK(unlinkat(here, "n", 0));
		YES(!exists(there, "n"));
	}
}

static const struct posix_case cases[] = { { .name = "replaced", .run = replaced },
					   { .name = "come-and-go", .run = come_and_go },
					   { .name = "lock-files", .run = lock_files },
					   { .name = "to-and-fro", .run = to_and_fro },
					   { .name = "made-by-both", .run = made_by_both },
					   { .name = "moved-directories",
					     .run = moved_directories },
					   { .name = "made-anew", .run = made_anew },
					   { .name = "other-kinds", .run = other_kinds },
					   { .name = NULL } };

const struct posix_group posix_races = { "races", cases };
