/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attributes: times, modes and owners, what clears the suid and sgid bits, statx. */
#include "cases.h"

#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <time.h>

static int64_t ns(struct timespec t)
{
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static void times_set(void)
{
	const struct timespec at[2] = { { 1000000000, 123456789 }, { 2000000000, 987654321 } };
	const struct timespec old[2] = { { -5, 7 }, { -1000000, 1 } };
	const struct timespec omit[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };
	const struct timespec half[2] = { { 0, UTIME_OMIT }, { 3, 4 } };
	const struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_OMIT } };
	struct stat st, before;

	put(here, "f", "f");
	OK(symlinkat("f", here, "s"));
	OK(utimensat(here, "f", at, 0));
	st = stat_of(there, "f");
	SAME(ns(at[0]), ns(st.st_atim));
	SAME(ns(at[1]), ns(st.st_mtim));
	before = st;
	pause_ms(20);
	OK(utimensat(here, "f", omit, 0));
	st = stat_of(there, "f");
	SAME(ns(before.st_ctim), ns(st.st_ctim));
	OK(utimensat(there, "f", half, 0));
	st = stat_of(here, "f");
	SAME(ns(at[0]), ns(st.st_atim));
	SAME(3000000004, ns(st.st_mtim));
	YES(ns(st.st_ctim) > ns(before.st_ctim));
	OK(utimensat(here, "f", now, 0));
	st = stat_of(there, "f");
	SAME(3000000004, ns(st.st_mtim));
	YES(ns(st.st_atim) > ns(before.st_ctim));
	OK(utimensat(here, "f", NULL, 0));
	YES(ns(stat_of(there, "f").st_mtim) > ns(before.st_ctim));
	OK(utimensat(here, "f", old, 0));
	SAME(ns(old[0]), ns(stat_of(there, "f").st_atim));
	SAME(ns(old[1]), ns(stat_of(there, "f").st_mtim));
	OK(utimensat(here, "s", at, AT_SYMLINK_NOFOLLOW));
	SAME(ns(at[1]), ns(stat_of(there, "s").st_mtim));
	SAME(ns(old[1]), ns(stat_of(there, "f").st_mtim));
	OK(utimensat(here, "s", at, 0));
	SAME(ns(at[1]), ns(stat_of(there, "f").st_mtim));
	ERR(EINVAL, utimensat(here, "f", (struct timespec[2]){ { 0, -1 }, { 0, 0 } }, 0));
}

static void times_by_others(void)
{
	const struct timespec at[2] = { { 1, 0 }, { 2, 0 } };
	const struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
	const struct timespec one[2] = { { 0, UTIME_NOW }, { 0, UTIME_OMIT } };

	put(here, "f", "f");
	OK(fchmodat(here, "f", 0666, 0));
	if (as(12345, 12345, 0, NULL)) {
		OK(utimensat(there, "f", NULL, 0));
		OK(utimensat(there, "f", now, 0));
		ERR(EPERM, utimensat(here, "f", at, 0));
		ERR(EPERM, utimensat(there, "f", one, 0));
		done();
	}
	OK(fchmodat(here, "f", 0644, 0));
	if (as(12345, 12345, 0, NULL)) {
		ERR(EACCES, utimensat(there, "f", NULL, 0));
		done();
	}
}

/* Which of the three times an operation moves. */
#define A 1
#define M 2
#define C 4
static void moved(const char *file, int line, const char *what, const struct stat *before,
		  struct stat now, int must, int may)
{
	int got = (ns(now.st_atim) > ns(before->st_atim) ? A : 0) |
		  (ns(now.st_mtim) > ns(before->st_mtim) ? M : 0) |
		  (ns(now.st_ctim) > ns(before->st_ctim) ? C : 0);

	if ((got & must) != must || (got & ~(must | may)))
		posix_failed(file, line, what, "moved times %d (atime 1, mtime 2, ctime 4), not %d",
			     got, must);
}
#define MOVES(name, must, may, call)                                                         \
	do {                                                                                 \
		struct stat before_ = stat_of(there, name);                                  \
		pause_ms(12);                                                                \
		OK(call);                                                                    \
		moved(__FILE__, __LINE__, #call, &before_, stat_of(there, name), must, may); \
	} while (0)

static void times_moved(void)
{
	int fd;
	char c;

	put(here, "f", "f");
	OK(mkdirat(here, "d", 0755));
	fd = OK(openat(here, "f", O_RDWR));
	MOVES("f", M | C, 0, pwrite(fd, "x", 1, 0));
	MOVES("f", 0, A, pread(fd, &c, 1, 0));
	MOVES("f", M | C, 0, ftruncate(fd, 100));
	MOVES("f", M | C, 0, truncate("f", 50));
	MOVES("f", C, 0, fchmod(fd, 0600));
	MOVES("f", C, 0, fchown(fd, 1, 1));
	MOVES("f", M | C, 0, fallocate(fd, 0, 0, 5000));
	MOVES("f", M | C, 0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 10));
	MOVES("f", C, 0, fsetxattr(fd, "user.x", "1", 1, 0));
	MOVES("f", C, 0, linkat(here, "f", here, "g", 0));
	MOVES("f", C, 0, unlinkat(here, "g", 0));
	MOVES("f", C, 0, renameat(here, "f", here, "g") < 0 ? -1 : renameat(here, "g", here, "f"));
	MOVES("f", M | C, 0, close(OK(openat(here, "f", O_WRONLY | O_TRUNC))));
	MOVES("d", M | C, 0, mkdirat(here, "d/e", 0755));
	MOVES("d", M | C, 0, symlinkat("x", here, "d/s"));
	MOVES("d", M | C, 0, close(OK(openat(here, "d/f", O_WRONLY | O_CREAT, 0644))));
	MOVES("d", M | C, 0, linkat(here, "f", here, "d/l", 0));
	MOVES("d", M | C, 0, renameat(here, "d/l", here, "d/m"));
	MOVES("d", M | C, 0, unlinkat(here, "d/m", 0));
	MOVES("d", M | C, 0, unlinkat(here, "d/e", AT_REMOVEDIR));
	MOVES("d", 0, A, faccessat(here, "d/f", R_OK, 0));
}

/* As relatime has it: by the first read after a change. Other domains need not see it at once. */
static void times_read(void)
{
	struct stat st;
	char c;
	int fd;

	put(here, "f", "f");
	fd = OK(openat(here, "f", O_RDWR));
	for (int i = 0; i < 3; i++) {
		st = stat_of(here, "f");
		pause_ms(12);
		OK(pread(fd, &c, 1, 0));
		moved(__FILE__, __LINE__, "first read", &st, stat_of(here, "f"), A, 0);
		st = stat_of(here, "f");
		pause_ms(12);
		OK(pread(fd, &c, 1, 0));
		moved(__FILE__, __LINE__, "second read", &st, stat_of(here, "f"), 0, 0);
		OK(pwrite(fd, "x", 1, 0));
	}
}

static void owners(void)
{
	put(here, "f", "f");
	OK(symlinkat("f", here, "s"));
	OK(fchownat(here, "f", 5, 6, 0));
	SAME(5, stat_of(there, "f").st_uid);
	SAME(6, stat_of(there, "f").st_gid);
	OK(fchownat(there, "f", (uid_t)-1, 7, 0));
	SAME(5, stat_of(here, "f").st_uid);
	SAME(7, stat_of(here, "f").st_gid);
	OK(fchownat(here, "s", 8, 9, AT_SYMLINK_NOFOLLOW));
	SAME(8, stat_of(there, "s").st_uid);
	SAME(5, stat_of(there, "f").st_uid);
	OK(fchownat(here, "f", 0xfffffffe, 0xfffffffe, 0));
	SAME(0xfffffffe, stat_of(there, "f").st_uid);
	if (as(12345, 12345, 0, NULL)) {
		ERR(EPERM, fchownat(here, "f", 12345, (gid_t)-1, 0));
		ERR(EPERM, fchmodat(there, "f", 0777, 0));
		done();
	}
}

static mode_t bits(const char *name)
{
	return stat_of(there, name).st_mode & 07777;
}

/* By a user who may write the file but is neither its owner nor privileged. */
static void privileges_written(void)
{
	int fd;

	put(here, "f", "0123456789");
	for (int i = 0; i < 7; i++) {
		OK(fchownat(here, "f", 1, 1, 0));
		OK(fchmodat(here, "f", 06777, 0));
		SAME(06777, bits("f"));
		if (!as(12345, 12345, 0, NULL)) {
			SAME(0777, bits("f"));
			continue;
		}
		fd = i == 4 ? -1 : OK(openat(i == 5 ? there : here, "f", O_RDWR));
		if (i == 0)
			SAME(1, OK(write(fd, "x", 1)));
		else if (i == 1)
			OK(ftruncate(fd, 5));
		else if (i == 2)
			OK(fallocate(fd, 0, 0, 8192));
		else if (i == 3)
			OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
		else if (i == 4)
			OK(openat(here, "f", O_WRONLY | O_TRUNC));
		else if (i == 6)
			OK(truncate("f", 3));
		else
			SAME(1, OK(pwrite(fd, "x", 1, 100)));
		done();
	}
	/* Without the right to execute, sgid once meant mandatory locking: who is of the group leaves it. */
	for (int i = 0; i < 8; i++) {
		gid_t gid = i % 2 ? 12345 : 1;

		OK(fchownat(here, "f", i < 4 ? 1 : 12345, 1, 0));
		OK(fchmodat(here, "f", 06666, 0));
		if (as(12345, gid, 0, NULL)) {
			fd = OK(openat(here, "f", O_RDWR));
			if (i / 2 % 2)
				OK(fallocate(fd, 0, 0, 8192));
			else
				OK(ftruncate(fd, 5));
			done();
		}
		SAME(gid == 1 ? 02666 : 0666, bits("f"));
	}
	OK(fchmodat(here, "f", 02666, 0));
	if (as(12345, 1, 0, NULL)) {
		OK(write(OK(openat(here, "f", O_WRONLY)), "x", 1));
		done();
	}
	/* What deviates: who writes, nobody is told in passthrough, and without it is not asked. */
	SAME(0666 | (bits("f") & S_ISGID), bits("f"));
	/* By root all stay, but when root writes. */
	OK(fchmodat(here, "f", 06777, 0));
	fd = OK(openat(here, "f", O_RDWR));
	OK(fallocate(fd, 0, 0, 8192));
	OK(ftruncate(fd, 5));
	close(OK(openat(here, "f", O_WRONLY | O_TRUNC)));
	SAME(06777, bits("f"));
	/* What makes a program's file capabilities. */
	{
		/* VFS_CAP_REVISION_2, cap_net_raw permitted */
		const uint32_t cap[5] = { 0x02000001, 1u << 13, 0, 0, 0 };
		char got[64];

		OK(fchmodat(here, "f", 0777, 0));
		OK(setxattr("f", "security.capability", cap, sizeof(cap), 0));
		YES(OK(getxattr("f", "security.capability", got, sizeof(got))) > 0);
		if (as(12345, 12345, 0, NULL)) {
			OK(write(OK(openat(here, "f", O_WRONLY)), "x", 1));
			done();
		}
		ERR(ENODATA, getxattr("f", "security.capability", got, sizeof(got)));
	}
}

static void privileges_changed(void)
{
	const gid_t group = 777;

	put(here, "f", "f");
	/* By the owner, of another group of his: both bits go. */
	OK(fchownat(here, "f", 12345, 12345, 0));
	OK(fchmodat(here, "f", 06755, 0));
	if (as(12345, 12345, 1, &group)) {
		OK(fchownat(here, "f", (uid_t)-1, 777, 0));
		SAME(0755, bits("f"));
		/* Of a group of his he may give it, */
		OK(fchmodat(here, "f", 02755, 0));
		SAME(02755, bits("f"));
		OK(fchmodat(there, "f", 04755, 0));
		SAME(04755, stat_of(here, "f").st_mode & 07777);
		/* not to a group that he is not of. */
		ERR(EPERM, fchownat(here, "f", (uid_t)-1, 888, 0));
		ERR(EPERM, fchownat(here, "f", 1, (gid_t)-1, 0));
		done();
	}
	OK(fchownat(here, "f", 12345, 888, 0));
	if (as(12345, 12345, 1, &group)) {
		OK(fchmodat(here, "f", 02755, 0));
		SAME(0755, bits("f"));
		done();
	}
	/* By root. */
	OK(fchmodat(here, "f", 06755, 0));
	SAME(06755, bits("f"));
	OK(fchownat(here, "f", 0, 0, 0));
	SAME(0755, bits("f"));
	OK(mkdirat(here, "d", 0755));
	OK(fchmodat(here, "d", 06755, 0));
	OK(fchownat(here, "d", 5, 5, 0));
	SAME(06755, bits("d"));
}

static void birth(void)
{
	struct statx x, y;
	struct timespec now;

	OK(clock_gettime(CLOCK_REALTIME, &now));
	put(here, "f", "f");
	OK(statx(here, "f", 0, STATX_BTIME | STATX_BASIC_STATS, &x));
	if (!(x.stx_mask & STATX_BTIME)) {
		/* Then it is not said, and not said wrongly. */
		SAME(0, x.stx_btime.tv_sec);
		return;
	}
	YES(x.stx_btime.tv_sec >= now.tv_sec - 1 && x.stx_btime.tv_sec < now.tv_sec + 60);
	pause_ms(20);
	OK(fchmodat(there, "f", 0600, 0));
	put(there, "f", "again");
	OK(statx(here, "f", 0, STATX_BTIME | STATX_BASIC_STATS, &y));
	SAME(x.stx_btime.tv_nsec, y.stx_btime.tv_nsec);
	SAME(x.stx_btime.tv_sec, y.stx_btime.tv_sec);
	SAME(5, y.stx_size);
}

static void statx_fields(void)
{
	struct statx x;
	struct stat st;

	put(here, "f", "text");
	OK(statx(there, "f", AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &x));
	st = stat_of(there, "f");
	SAME(STATX_BASIC_STATS, x.stx_mask & STATX_BASIC_STATS);
	SAME(st.st_ino, x.stx_ino);
	SAME(st.st_mode, x.stx_mode);
	SAME(4, x.stx_size);
	SAME(1, x.stx_nlink);
	SAME(ns(st.st_mtim) % 1000000000, x.stx_mtime.tv_nsec);
	OK(statx(OK(openat(here, "f", O_RDONLY)), "", AT_EMPTY_PATH, STATX_SIZE, &x));
	SAME(4, x.stx_size);
	ERR(ENOENT, statx(here, "none", 0, STATX_SIZE, &x));
}

static void free_space(void)
{
	struct statvfs v, w;

	OK(fstatvfs(here, &v));
	OK(fstatvfs(there, &w));
	SAME(v.f_blocks, w.f_blocks);
	SAME(255, v.f_namemax);
	YES(v.f_bfree <= v.f_blocks && v.f_files > 0 && v.f_bsize > 0);
}

static const struct posix_case cases[] = {
	{ .name = "times-set", .run = times_set },
	{ .name = "times-by-others", .run = times_by_others },
	{ .name = "times-moved", .run = times_moved },
	{ .name = "times-read", .run = times_read },
	{ .name = "owners", .run = owners },
	{ .name = "privileges-written", .run = privileges_written },
	{ .name = "privileges-changed", .run = privileges_changed },
	{ .name = "birth", .run = birth },
	{ .name = "statx-fields", .run = statx_fields },
	{ .name = "free-space", .run = free_space },
	{ .name = NULL }
};

const struct posix_group posix_attr = { "attr", cases };
