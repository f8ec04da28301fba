/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls on open files. */
#include "random.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define OP(name) static void name(struct world *w, const struct step *s, struct outcome *o)
#define AT	 w->side[s->side]
#define FD	 w->fd[s->slot]

static void result(struct outcome *o, int64_t value)
{
	o->value = value < 0 ? -1 : value;
	o->error = value < 0 ? errno : 0;
}

/* The file, and where its descriptor stands. */
static void look(int fd, struct outcome *o)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	say_stat(o, &st);
	if (S_ISREG(st.st_mode))
		say(o, "at %ld\n", (long)lseek(fd, 0, SEEK_CUR));
}

/* The descriptor's number may differ: whether it is one is what counts. */
static void opened(struct world *w, const struct step *s, struct outcome *o, int fd)
{
	result(o, fd < 0 ? -1 : 0);
	if (fd < 0)
		return;
	if (FD >= 0)
		close(FD);
	FD = fd;
	w->append[s->slot] = fcntl(fd, F_GETFL) & O_APPEND;
	look(fd, o);
}

OP(op_open)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR };
	int flags = modes[s->flags & 3] | O_NONBLOCK;
	struct stat st;

	/* Each mount has its own pipe behind a FIFO. */
	if (fstatat(AT, s->path, &st, 0) == 0 && S_ISFIFO(st.st_mode))
		return;
	flags |= s->flags & 4 ? O_CREAT : 0;
	flags |= (s->flags & 030) == 030 ? O_EXCL : 0;
	flags |= (s->flags & 0140) == 0140 ? O_TRUNC : 0;
	flags |= (s->flags & 0600) == 0600 ? O_APPEND : 0;
	flags |= (s->flags & 03000) == 03000 ? O_NOFOLLOW : 0;
	flags |= (s->flags & 014000) == 014000 ? O_DIRECTORY : 0;
	flags |= (s->flags & 060000) == 060000 ? O_SYNC : 0;
	if (s->seed % 12 == 0)
		flags = O_PATH | (flags & O_NOFOLLOW);
	if (s->seed % 12 == 1)
		flags = O_TMPFILE | (flags & (O_ACCMODE | O_EXCL));
	opened(w, s, o, openat(AT, s->path, flags, s->mode));
}

OP(op_close)
{
	result(o, FD < 0 ? 0 : close(FD));
	FD = -1;
}

static void text(const struct step *s, char *buf, size_t size)
{
	for (size_t i = 0; i < size; i++)
		buf[i] = (char)('a' + (i * 7 + s->seed) % 26);
}

static char buffer[32768];

OP(op_pwrite)
{
	text(s, buffer, (size_t)s->length);
	result(o, pwrite(FD, buffer, (size_t)s->length, s->offset));
	look(FD, o);
}

OP(op_write)
{
	text(s, buffer, (size_t)s->length);
	result(o, write(FD, buffer, (size_t)s->length));
	look(FD, o);
}

static void bytes(struct outcome *o, ssize_t got)
{
	unsigned long sum = 0;

	for (ssize_t i = 0; i < got; i++)
		sum = sum * 31 + (unsigned char)buffer[i];
	say(o, "sum %lx\n", sum);
}

OP(op_pread)
{
	ssize_t got = pread(FD, buffer, (size_t)s->length, s->offset);

	result(o, got);
	bytes(o, got);
}

OP(op_read)
{
	ssize_t got = read(FD, buffer, (size_t)s->length);

	result(o, got);
	bytes(o, got);
	look(FD, o);
}

OP(op_seek)
{
	static const int whence[] = { SEEK_SET, SEEK_CUR, SEEK_END, 77 };
	struct stat st;

	/* In directories every file system has its own. */
	if (fstat(FD, &st) == 0 && S_ISDIR(st.st_mode))
		return;
	result(o, lseek(FD, s->flags & 8 ? -s->offset : s->offset, whence[s->seed % 4]));
}

OP(op_holes)
{
	struct stat st;

	if (fstat(FD, &st) < 0 || !S_ISDIR(st.st_mode))
		result(o, lseek(FD, s->offset, s->seed % 2 ? SEEK_DATA : SEEK_HOLE));
}

OP(op_ftruncate)
{
	result(o, ftruncate(FD, s->offset));
	look(FD, o);
}

OP(op_fallocate)
{
	static const int modes[] = { 0,
				     FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				     FALLOC_FL_PUNCH_HOLE,
				     FALLOC_FL_COLLAPSE_RANGE };

	result(o, fallocate(FD, modes[s->seed % 6], s->offset, s->length));
	look(FD, o);
}

OP(op_copy)
{
	off_t in = s->offset, out = s->flags & 0xffff;
	struct stat a, b;

	/* One file by two mounts is two for the kernel; and it copies up to the end that it knows of, which
	 * looking brings up to date (docs/posix.md). */
	if (fstat(FD, &a) == 0 && fstat(w->fd[s->slot2], &b) == 0 && a.st_ino == b.st_ino)
		return;
	result(o, copy_file_range(FD, &in, w->fd[s->slot2], &out, (size_t)s->length, 0));
	look(w->fd[s->slot2], o);
}

OP(op_fchmod)
{
	result(o, fchmod(FD, s->mode));
	look(FD, o);
}

OP(op_fchown)
{
	if (s->user && !(s->flags & 3)) /* as chown */
		return;
	result(o, fchown(FD, s->flags & 1 ? s->id : (uid_t)-1, s->flags & 2 ? s->id : (gid_t)-1));
	look(FD, o);
}

OP(op_fstat)
{
	struct stat st;

	result(o, fstat(FD, &st));
	if (!o->value)
		say_stat(o, &st);
}

OP(op_linkfd)
{
	char proc[64];
	struct stat st;

	/* Across mounts it is refused: only where the descriptor is of this side. */
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", FD);
	if (FD < 0 || fstat(FD, &st) < 0)
		return;
	for (int side = 0; side < 2; side++) {
		int err = linkat(AT_FDCWD, proc, w->side[side], s->path, AT_SYMLINK_FOLLOW);

		if (err < 0 && errno == EXDEV)
			continue;
		result(o, err);
		look(FD, o);
		return;
	}
	result(o, -1);
}

OP(op_at)
{
	struct stat st;

	/* In an open directory; that one removed on the other side is refused before rights are looked at
	 * is not for sure. */
	if (s->user && fstat(FD, &st) == 0 && !st.st_nlink)
		return;
	result(o, mkdirat(FD, "d", 0755));
	if (!o->value)
		result(o, unlinkat(FD, "d", AT_REMOVEDIR));
	look(FD, o);
}

OP(op_fsync)
{
	result(o, s->flags & 1 ? fsync(FD) : fdatasync(FD));
}

OP(op_setfl)
{
	/* In passthrough it stays what it was opened as (docs/posix.md). */
	if (w->append[s->slot])
		return;
	result(o, fcntl(FD, F_SETFL, s->flags & 1 ? O_APPEND : 0));
	o->value = o->error ? -1 : fcntl(FD, F_GETFL) & (O_APPEND | O_ACCMODE);
}

OP(op_map)
{
	struct stat st;
	size_t at;
	char *p;

	/* Beyond its end there is nothing to touch. */
	if (FD < 0 || fstat(FD, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size < 10)
		return;
	at = (size_t)s->offset % (size_t)(st.st_size - 8);
	/* With a descriptor for reading a hole is filled, and others may not notice its blocks. */
	p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, FD, 0);
	result(o, p == MAP_FAILED ? -1 : 0);
	if (p == MAP_FAILED)
		return;
	if (s->flags & 1)
		text(s, p + at, 8);
	say(o, "%.8s\n", p[at] ? p + at : "");
	munmap(p, (size_t)st.st_size);
	look(FD, o);
}

const struct op random_file_ops[] = {
	{ .name = "open", .weight = 25, .data = true, .run = op_open },
	{ .name = "close", .weight = 4, .run = op_close },
	{ .name = "pwrite", .weight = 8, .data = true, .run = op_pwrite },
	{ .name = "write", .weight = 6, .one_cache = true, .data = true, .run = op_write },
	{ .name = "pread", .weight = 8, .run = op_pread },
	{ .name = "read", .weight = 5, .run = op_read },
	{ .name = "seek", .weight = 6, .run = op_seek },
	{ .name = "holes", .weight = 4, .one_cache = true, .run = op_holes },
	{ .name = "ftruncate", .weight = 4, .data = true, .run = op_ftruncate },
	{ .name = "fallocate", .weight = 5, .data = true, .run = op_fallocate },
	{ .name = "copy", .weight = 4, .data = true, .run = op_copy },
	{ .name = "fchmod", .weight = 3, .run = op_fchmod },
	{ .name = "fchown", .weight = 3, .run = op_fchown },
	{ .name = "fstat", .weight = 3, .run = op_fstat },
	{ .name = "linkfd", .weight = 3, .run = op_linkfd },
	{ .name = "at", .weight = 2, .run = op_at },
	{ .name = "fsync", .weight = 1, .run = op_fsync },
	{ .name = "setfl", .weight = 2, .run = op_setfl },
	{ .name = "map", .weight = 4, .one_cache = true, .data = true, .run = op_map },
	{ .name = NULL }
};
