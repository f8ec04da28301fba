/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening: making, exclusively or without a name; truncating, appending, O_DIRECT, and running. */
#include "cases.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#define RACERS 4

/* Of those who make a name at once on both sides one is first. */
static void exclusive(void)
{
	_Atomic int *words = shared();
	pid_t pid[RACERS];

	ERR(ENOENT, openat(here, "none", O_RDWR | O_EXCL));
	for (int i = 0; i < RACERS; i++) {
		pid[i] = start();
		if (pid[i])
			continue;
		for (int n = 0; n < 40; n++) {
			char name[16];
			int fd;

			snprintf(name, sizeof(name), "f%d", n);
			meet(&words[1 + n], RACERS);
			fd = openat(i % 2 ? there : here, name, O_WRONLY | O_CREAT | O_EXCL, 0644);
			if (fd >= 0)
				atomic_fetch_add_explicit(&words[0], 1, memory_order_relaxed);
			else
				SAME(EEXIST, errno);
		}
		done();
	}
	for (int i = 0; i < RACERS; i++)
		join(pid[i]);
	SAME(40, atomic_load_explicit(&words[0], memory_order_relaxed));
}

static void nameless(void)
{
	char path[64];
	int fd = OK(openat(here, ".", O_TMPFILE | O_RDWR, 0640)), excl;

	SAME(0, stat_fd(fd).st_nlink);
	SAME(0640, stat_fd(fd).st_mode & 07777);
	SAME(4, OK(write(fd, "text", 4)));
	SAME(2, stat_fd(here).st_nlink);
	OK(linkat(fd, "", here, "by-fd", AT_EMPTY_PATH));
	HAS(there, "by-fd", "text");
	SAME(1, stat_fd(fd).st_nlink);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	OK(linkat(AT_FDCWD, path, here, "by-proc", AT_SYMLINK_FOLLOW));
	SAME(2, stat_of(there, "by-proc").st_nlink);
	SAME(4, OK(pwrite(fd, "more", 4, 4)));
	HAS(there, "by-proc", "textmore");
	ERR(EEXIST, linkat(fd, "", here, "by-fd", AT_EMPTY_PATH));

	excl = OK(openat(here, ".", O_TMPFILE | O_RDWR | O_EXCL, 0600));
	ERR(ENOENT, linkat(excl, "", here, "never", AT_EMPTY_PATH));
	ERR(EINVAL, openat(here, ".", O_TMPFILE | O_RDONLY, 0600));
	ERR(ENOENT, openat(here, "none", O_TMPFILE | O_RDWR, 0600));
	put(here, "file", "");
	ERR(ENOTDIR, openat(here, "file", O_TMPFILE | O_RDWR, 0600));
}

static void flags(void)
{
	int fd;

	put(here, "f", "text");
	OK(mkdirat(here, "d", 0755));
	ERR(ENOTDIR, openat(here, "f", O_RDONLY | O_DIRECTORY));
	ERR(EISDIR, openat(here, "d", O_RDWR));
	ERR(EISDIR, openat(here, "d", O_RDONLY | O_TRUNC));
	fd = OK(openat(here, "f", O_RDONLY));
	ERR(EBADF, write(fd, "x", 1));
	ERR(EINVAL, ftruncate(fd, 1));
	fd = OK(openat(here, "f", O_WRONLY));
	ERR(EBADF, read(fd, (char[1]){ 0 }, 1));
	fd = OK(openat(here, "f", O_PATH));
	ERR(EBADF, read(fd, (char[1]){ 0 }, 1));
	SAME(4, stat_fd(fd).st_size);
	fd = OK(openat(here, "f", O_RDWR | O_SYNC));
	SAME(2, OK(write(fd, "TE", 2)));
	HAS(there, "f", "TExt");
	fd = OK(openat(here, "f", O_RDWR | O_DSYNC | O_NOATIME));
	SAME(1, OK(write(fd, "t", 1)));
	HAS(there, "f", "tExt");
	OK(fcntl(fd, F_SETFL, O_APPEND));
	SAME(1, OK(write(fd, "!", 1)));
	HAS(there, "f", "tExt!");
	OK(fcntl(fd, F_SETFL, 0));
	SAME(1, OK(pwrite(fd, "T", 1, 0)));
	HAS(there, "f", "TExt!");
	fd = OK(openat(there, "f", O_WRONLY | O_TRUNC));
	SAME(0, stat_of(here, "f").st_size);
	SAME(2, OK(write(fd, "ab", 2)));
	HAS(here, "f", "ab");
	/* A mode that lets nobody write, nor open it again: the one who makes it has it open. */
	OK(fchmod(here, 0777));
	if (as(12345, 12345, 0, NULL)) {
		fd = OK(openat(here, "m", O_RDWR | O_CREAT, 0));
		SAME(4, OK(write(fd, "mine", 4)));
		READS(fd, 0, "mine");
		ERR(EACCES, openat(here, "m", O_RDONLY));
		ERR(EACCES, openat(there, "m", O_WRONLY));
		ERR(EPERM, openat(here, "f", O_RDONLY | O_NOATIME));
		ERR(EACCES, openat(here, "f", O_WRONLY | O_TRUNC));
		done();
	}
	HAS(there, "m", "mine");
	HAS(there, "f", "ab");
}

#define RECORDS 400

/* Records appended from both sides: none lost, none torn, none over another. */
static void append(void)
{
	static char seen[2][RECORDS];
	char record[128], *end;
	_Atomic int *words = shared();
	pid_t pid[2];
	FILE *f;
	int id, n;

	put(here, "log", "");
	for (int i = 0; i < 2; i++) {
		pid[i] = start();
		if (pid[i])
			continue;
		int fd = OK(openat(i ? there : here, "log", O_WRONLY | O_APPEND));

		meet(words, 2);
		for (n = 0; n < RECORDS; n++) {
			int len = snprintf(record, sizeof(record), "%d %d %s\n", i, n,
					   repeated('x', (size_t)(n * 7 % 90)));

			SAME(len, OK(write(fd, record, (size_t)len)));
		}
		done();
	}
	join(pid[0]);
	join(pid[1]);
	f = fdopen(OK(openat(here, "log", O_RDONLY)), "r");
	for (int i = 0; i < 2 * RECORDS; i++) {
		YES(fgets(record, sizeof(record), f));
		SAME(2, sscanf(record, "%d %d", &id, &n));
		YES(id >= 0 && id < 2 && n >= 0 && n < RECORDS && !seen[id][n]);
		seen[id][n] = 1;
		end = strrchr(record, ' ');
		SAME(n * 7 % 90, strspn(end + 1, "x"));
	}
	YES(!fgets(record, sizeof(record), f));
}

static void append_position(void)
{
	int fd, other;

	put(here, "f", "1234");
	fd = OK(openat(here, "f", O_RDWR | O_APPEND));
	other = OK(openat(there, "f", O_RDWR | O_APPEND));
	SAME(0, OK(lseek(fd, 0, SEEK_CUR)));
	SAME(2, OK(write(fd, "56", 2)));
	SAME(6, OK(lseek(fd, 0, SEEK_CUR)));
	SAME(2, OK(write(other, "78", 2)));
	SAME(8, OK(lseek(other, 0, SEEK_CUR)));
	SAME(1, OK(write(fd, "9", 1)));
	SAME(9, OK(lseek(fd, 0, SEEK_CUR)));
	/* Linux appends whatever the offset of pwrite. */
	SAME(1, OK(pwrite(fd, "a", 1, 0)));
	OK(ftruncate(other, 3));
	SAME(1, OK(write(fd, "z", 1)));
	SAME(4, OK(lseek(fd, 0, SEEK_CUR)));
	HAS(here, "f", "123z");
	SAME(4, OK(lseek(other, 0, SEEK_END)));
	READS(fd, 0, "123z");
}

static void direct(void)
{
	static char block[8192] __attribute__((aligned(4096))),
		back[8192] __attribute__((aligned(4096)));
	int fd = openat(here, "f", O_RDWR | O_CREAT | O_DIRECT, 0644), other;

	if (fd < 0 && errno == EINVAL)
		return; /* tmpfs of a kernel before 6.6 */
	OK(fd);
	memset(block, 'd', sizeof(block));
	SAME(8192, OK(pwrite(fd, block, 8192, 0)));
	SAME(8192, stat_of(there, "f").st_size);
	other = OK(openat(there, "f", O_RDWR));
	SAME(6, OK(pwrite(other, "middle", 6, 4093)));
	SAME(8192, OK(pread(fd, back, 8192, 0)));
	SAME(0, memcmp(back + 4093, "middle", 6));
	memset(block, 'e', 4096);
	SAME(4096, OK(pwrite(fd, block, 4096, 4096)));
	READS(other, 4094, "ideeee");
	OK(ftruncate(other, 5000));
	SAME(904, OK(pread(fd, back, 8192, 4096)));
	SAME(0, OK(pread(fd, back, 4096, 8192)));
}

static void running(void)
{
	static const char script[] = "#!/bin/sh\nexit 7\n";
	int fd, status;
	pid_t pid;

	put(here, "s", script);
	if (child()) {
		ERR(EACCES, execl("./s", "s", NULL));
		done();
	}
	OK(fchmodat(there, "s", 0755, 0));
	pid = start();
	if (!pid) {
		execl("./s", "s", NULL);
		_exit(errno);
	}
	OK(waitpid(pid, &status, 0));
	SAME(7, WEXITSTATUS(status));
	/* A program without a name any more. */
	fd = OK(openat(here, "true", O_RDWR | O_CREAT, 0755));
	{
		char buf[65536];
		int from = OK(open("/bin/true", O_RDONLY));
		ssize_t n;

		while ((n = OK(read(from, buf, sizeof(buf)))) > 0)
			SAME(n, OK(write(fd, buf, (size_t)n)));
	}
	OK(close(fd));
	fd = OK(openat(there, "true", O_RDONLY | O_CLOEXEC));
	OK(unlinkat(here, "true", 0));
	pid = start();
	if (!pid) {
		fexecve(fd, (char *[]){ (char[]){ "true" }, NULL }, (char *[]){ NULL });
		_exit(errno);
	}
	OK(waitpid(pid, &status, 0));
	SAME(0, WEXITSTATUS(status));
}

static const struct posix_case cases[] = {
	{ .name = "exclusive", .run = exclusive },
	{ .name = "nameless", .run = nameless },
	{ .name = "flags", .run = flags },
	{ .name = "append", .run = append },
	{ .name = "append-position", .run = append_position, .one_cache = true },
	{ .name = "direct", .run = direct },
	{ .name = "running", .run = running },
	{ .name = NULL }
};

const struct posix_group posix_open = { "open", cases };
