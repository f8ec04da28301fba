/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fileop: a process that holds files for shell tests. It reads commands, one a line, and answers each
 * with one line: "ok [VALUE]" or "error ERRNO-NAME". Files are named by a letter that open gives.
 *	open X FLAGS PATH   FLAGS: r, w, rw, and of a(ppend) c(reate) x(excl) t(runc) d(irect) T(mpfile)
 *	close X | read X OFF LEN | write X OFF TEXT | append X TEXT | size X | nlink X | trunc X SIZE
 *	map X LEN | load X OFF LEN | store X OFF TEXT | unmap X | sync X | link X PATH
 *	fallocate X MODE OFF LEN | seek X data|hole OFF | copy X OFF Y OFF LEN
 *	lock X sh|ex|un [wait] | setlk, ofdlk X rd|wr|un OFF LEN [wait] | getlk X rd|wr OFF LEN | stat PATH | mode PATH | waitsize PATH N
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORDS 8

static struct file {
	int fd;
	char *map;
	size_t mapped;
} files[128];

static char answer[70000];

static struct file *file_of(const char *name)
{
	return &files[(unsigned char)name[0] & 127];
}

static long number(const char *word)
{
	return word ? strtol(word, NULL, 0) : 0;
}

static long do_open(char **w)
{
	int flags = strstr(w[2], "rw") ? O_RDWR : strchr(w[2], 'w') ? O_WRONLY : O_RDONLY;

	flags |= strchr(w[2], 'a') ? O_APPEND : 0;
	flags |= strchr(w[2], 'c') ? O_CREAT : 0;
	flags |= strchr(w[2], 'x') ? O_EXCL : 0;
	flags |= strchr(w[2], 't') ? O_TRUNC : 0;
	flags |= strchr(w[2], 'd') ? O_DIRECT : 0;
	flags |= strchr(w[2], 'T') ? O_TMPFILE : 0;
	file_of(w[1])->fd = open(w[3], flags, 0666);
	return file_of(w[1])->fd < 0 ? -1 : 0;
}

static long do_map(struct file *f, size_t size)
{
	f->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	if (f->map == MAP_FAILED)
		f->map = mmap(NULL, size, PROT_READ, MAP_SHARED, f->fd, 0);
	f->mapped = size;
	return f->map == MAP_FAILED ? -1 : 0;
}

static long do_link(struct file *f, const char *path)
{
	char proc[64];

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", f->fd);
	return linkat(AT_FDCWD, proc, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

static long do_lock(struct file *f, char **w)
{
	int op = !strcmp(w[2], "sh") ? LOCK_SH : !strcmp(w[2], "ex") ? LOCK_EX : LOCK_UN;

	return flock(f->fd, op | (w[3] ? 0 : LOCK_NB));
}

static struct flock flock_of(char **w)
{
	struct flock l = { .l_whence = SEEK_SET, .l_start = number(w[3]), .l_len = number(w[4]) };

	l.l_type = !strcmp(w[2], "rd") ? F_RDLCK : !strcmp(w[2], "wr") ? F_WRLCK : F_UNLCK;
	return l;
}

static long do_setlk(struct file *f, char **w, int set, int wait)
{
	struct flock l = flock_of(w);

	return fcntl(f->fd, w[5] ? wait : set, &l);
}

/* "un", or what is in the way: type, offset, length, pid. */
static long do_getlk(struct file *f, char **w)
{
	struct flock l = flock_of(w);

	if (fcntl(f->fd, F_GETLK, &l) < 0)
		return -1;
	if (l.l_type == F_UNLCK)
		snprintf(answer, sizeof(answer), "un");
	else
		snprintf(answer, sizeof(answer), "%s %ld %ld %d", l.l_type == F_RDLCK ? "rd" : "wr",
			 (long)l.l_start, (long)l.l_len, l.l_pid);
	return 0;
}

static long do_read(struct file *f, char **w)
{
	ssize_t n = pread(f->fd, answer, (size_t)number(w[3]), number(w[2]));

	if (n >= 0)
		answer[n] = 0;
	return n < 0 ? -1 : 0;
}

/* What stat says, asked until it is so; the value is how often it was asked. */
static long do_waitsize(char **w)
{
	struct stat st;
	long n = 0;

	do {
		if (stat(w[1], &st) < 0)
			return -1;
		n++;
	} while (st.st_size != number(w[2]) && n < 100000);
	snprintf(answer, sizeof(answer), "%ld", n);
	return 0;
}

static long do_stat(const char *path, bool mode)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -1;
	if (mode)
		snprintf(answer, sizeof(answer), "%o %u %u %s", st.st_mode & 07777u, st.st_uid,
			 st.st_gid, S_ISDIR(st.st_mode) ? "d" : "f");
	else
		snprintf(answer, sizeof(answer), "%ld", (long)st.st_size);
	return 0;
}

static long value(long n)
{
	snprintf(answer, sizeof(answer), "%ld", n);
	return n < 0 ? -1 : 0;
}

static long on_file(struct file *f, char **w)
{
	const char *c = w[0];
	struct stat st = { 0 };
	off_t in, out;

	if (!strcmp(c, "close"))
		return close(f->fd);
	if (!strcmp(c, "read"))
		return do_read(f, w);
	if (!strcmp(c, "write"))
		return value(pwrite(f->fd, w[3], strlen(w[3]), number(w[2])));
	if (!strcmp(c, "append"))
		return value(write(f->fd, w[2], strlen(w[2])));
	if (!strcmp(c, "size"))
		return fstat(f->fd, &st) < 0 ? -1 : value(st.st_size);
	if (!strcmp(c, "nlink"))
		return fstat(f->fd, &st) < 0 ? -1 : value((long)st.st_nlink);
	if (!strcmp(c, "trunc"))
		return ftruncate(f->fd, number(w[2]));
	if (!strcmp(c, "map"))
		return do_map(f, (size_t)number(w[2]));
	if (!strcmp(c, "load"))
		return snprintf(answer, sizeof(answer), "%.*s", (int)number(w[3]),
				f->map + number(w[2])) < 0;
	if (!strcmp(c, "store"))
		return memcpy(f->map + number(w[2]), w[3], strlen(w[3])) ? 0 : -1;
	if (!strcmp(c, "unmap"))
		return munmap(f->map, f->mapped);
	if (!strcmp(c, "sync"))
		return fsync(f->fd);
	if (!strcmp(c, "link"))
		return do_link(f, w[2]);
	if (!strcmp(c, "fallocate"))
		return fallocate(f->fd, (int)number(w[2]), number(w[3]), number(w[4]));
	if (!strcmp(c, "seek"))
		return value(lseek(f->fd, number(w[3]), w[2][0] == 'd' ? SEEK_DATA : SEEK_HOLE));
	if (!strcmp(c, "lock"))
		return do_lock(f, w);
	if (!strcmp(c, "setlk"))
		return do_setlk(f, w, F_SETLK, F_SETLKW);
	if (!strcmp(c, "ofdlk"))
		return do_setlk(f, w, F_OFD_SETLK, F_OFD_SETLKW);
	if (!strcmp(c, "getlk"))
		return do_getlk(f, w);
	if (!strcmp(c, "copy")) {
		in = number(w[2]);
		out = number(w[4]);
		return value(copy_file_range(f->fd, &in, file_of(w[3])->fd, &out,
					     (size_t)number(w[5]), 0));
	}
	errno = ENOSYS;
	return -1;
}

static long run(char **w)
{
	if (!strcmp(w[0], "open"))
		return do_open(w);
	if (!strcmp(w[0], "stat"))
		return do_stat(w[1], false);
	if (!strcmp(w[0], "mode"))
		return do_stat(w[1], true);
	if (!strcmp(w[0], "waitsize"))
		return do_waitsize(w);
	return on_file(file_of(w[1]), w);
}

static void woken(int sig)
{
	(void)sig;
}

int main(void)
{
	struct sigaction act = { .sa_handler = woken };
	char line[70000], *w[WORDS + 1];

	sigaction(SIGUSR1, &act, NULL); /* ends a wait: EINTR */
	while (fgets(line, sizeof(line), stdin)) {
		int n = 0;

		memset(w, 0, sizeof(w));
		for (char *p = strtok(line, " \n"); p && n < WORDS; p = strtok(NULL, " \n"))
			w[n++] = p;
		if (n < 2)
			continue;
		answer[0] = 0;
		errno = 0;
		if (run(w) < 0)
			printf("error %s\n", strerrorname_np(errno));
		else
			printf("ok%s%s\n", answer[0] ? " " : "", answer);
		fflush(stdout);
	}
	return 0;
}
