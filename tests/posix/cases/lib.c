/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the cases share. */
#include "cases.h"

#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

void put(int dir, const char *name, const char *text)
{
	int fd = OK(openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0644));

	SAME(strlen(text), OK(write(fd, text, strlen(text))));
	OK(close(fd));
}

static void compare(const char *file, int line, const char *name, ssize_t got, const char *bytes,
		    const char *text)
{
	if (got < 0)
		posix_failed(file, line, name, "read: %s", strerrorname_np(errno));
	if ((size_t)got != strlen(text) || memcmp(bytes, text, (size_t)got) != 0)
		posix_failed(file, line, name, "has \"%.*s\" instead of \"%s\"", (int)got, bytes,
			     text);
}

void posix_has(const char *file, int line, int dir, const char *name, const char *text)
{
	char bytes[4096];
	int fd = openat(dir, name, O_RDONLY);

	if (fd < 0)
		posix_failed(file, line, name, "open: %s", strerrorname_np(errno));
	compare(file, line, name, read(fd, bytes, sizeof(bytes)), bytes, text);
	close(fd);
}

void posix_reads(const char *file, int line, int fd, off_t offset, const char *text)
{
	char bytes[4096];

	compare(file, line, "the open file", pread(fd, bytes, strlen(text), offset), bytes, text);
}

struct stat stat_of(int dir, const char *name)
{
	struct stat st;

	OK(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW));
	return st;
}

struct stat stat_fd(int fd)
{
	struct stat st;

	OK(fstat(fd, &st));
	return st;
}

bool exists(int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return true;
	SAME(ENOENT, errno);
	return false;
}

const char *repeated(char c, size_t count)
{
	char *s = malloc(count + 1);

	if (!s)
		_exit(2);
	memset(s, c, count);
	s[count] = 0;
	return s;
}

pid_t start(void)
{
	pid_t pid;

	fflush(stdout);
	pid = OK(fork());
	if (!pid)
		alarm(30);
	return pid;
}

void join(pid_t pid)
{
	int status;

	OK(waitpid(pid, &status, 0));
	if (!WIFEXITED(status))
		posix_failed(__FILE__, __LINE__, "a child", "ended by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status))
		_exit(1); /* it has said why */
}

int child(void)
{
	pid_t pid = start();

	if (!pid)
		return 1;
	join(pid);
	return 0;
}

int as(uid_t uid, gid_t gid, size_t count, const gid_t *list)
{
	if (!child())
		return 0;
	OK(setgroups(count, list));
	OK(setresgid(gid, gid, gid));
	OK(setresuid(uid, uid, uid));
	return 1;
}

void done(void)
{
	fflush(stdout);
	_exit(0);
}

_Atomic int *shared(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	YES(p != MAP_FAILED);
	return p;
}

void meet(_Atomic int *word, int count)
{
	atomic_fetch_add_explicit(word, 1, memory_order_acq_rel);
	while (atomic_load_explicit(word, memory_order_acquire) < count)
		sched_yield();
}
