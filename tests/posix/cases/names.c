/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names: renaming in all its forms, links, special files, lengths, and what "." and ".." refuse. */
#include "cases.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

static void rename_replaces(void)
{
	ino_t moved;
	int fd;

	put(here, "a", "new");
	put(here, "b", "old");
	moved = stat_of(here, "a").st_ino;
	fd = OK(openat(there, "b", O_RDWR));
	OK(renameat(here, "a", here, "b"));
	YES(!exists(here, "a") && !exists(there, "a"));
	HAS(here, "b", "new");
	HAS(there, "b", "new");
	SAME(moved, stat_of(here, "b").st_ino);
	/* What was replaced lives on under its descriptor. */
	READS(fd, 0, "old");
	SAME(0, stat_fd(fd).st_nlink);
	SAME(4, OK(pwrite(fd, "more", 4, 3)));
	READS(fd, 0, "oldmore");
	HAS(there, "b", "new");
	/* Two names of one file: nothing happens. */
	OK(linkat(here, "b", here, "c", 0));
	OK(renameat(here, "b", here, "c"));
	YES(exists(there, "b") && exists(there, "c"));
	SAME(2, stat_of(there, "c").st_nlink);
}

static void rename_noreplace(void)
{
	put(here, "a", "a");
	put(here, "b", "b");
	ERR(EEXIST, renameat2(here, "a", here, "b", RENAME_NOREPLACE));
	OK(unlinkat(there, "b", 0));
	OK(renameat2(here, "a", here, "b", RENAME_NOREPLACE));
	HAS(there, "b", "a");
	put(there, "a", "other");
	ERR(EEXIST, renameat2(here, "b", here, "a", RENAME_NOREPLACE));
	HAS(here, "a", "other");
	ERR(EINVAL, renameat2(here, "b", here, "a", RENAME_NOREPLACE | RENAME_EXCHANGE));
	ERR(EINVAL, renameat2(here, "b", here, "a", 1u << 20));
}

static void rename_exchange(void)
{
	ino_t file, dir;

	OK(mkdirat(here, "x", 0755));
	OK(mkdirat(here, "y", 0755));
	put(here, "x/f", "file");
	OK(mkdirat(here, "y/d", 0755));
	put(here, "y/d/in", "inside");
	file = stat_of(here, "x/f").st_ino;
	dir = stat_of(here, "y/d").st_ino;
	OK(renameat2(here, "x/f", here, "y/d", RENAME_EXCHANGE));
	SAME(dir, stat_of(there, "x/f").st_ino);
	SAME(file, stat_of(there, "y/d").st_ino);
	HAS(there, "x/f/in", "inside");
	HAS(here, "y/d", "file");
	SAME(3, stat_of(there, "x").st_nlink);
	SAME(2, stat_of(there, "y").st_nlink);
	ERR(ENOENT, renameat2(here, "x/f", here, "nothing", RENAME_EXCHANGE));
	OK(renameat2(there, "x/f", there, "y/d", RENAME_EXCHANGE));
	HAS(here, "x/f", "file");
	HAS(here, "y/d/in", "inside");
}

static void rename_directories(void)
{
	struct stat up;
	int fd;

	OK(mkdirat(here, "a", 0755));
	OK(mkdirat(here, "a/b", 0755));
	OK(mkdirat(here, "full", 0755));
	put(here, "full/f", "f");
	OK(mkdirat(here, "empty", 0755));
	put(here, "file", "file");
	ERR(EINVAL, renameat(here, "a", here, "a/b/c"));
	ERR(EINVAL, renameat(here, "a", here, "a/b/../b/d"));
	ERR(ENOTEMPTY, renameat(here, "a/b", here, "full"));
	ERR(ENOTEMPTY, renameat(here, "a/b", here, "a"));
	ERR(ENOTDIR, renameat(here, "a", here, "file"));
	ERR(EISDIR, renameat(here, "file", here, "empty"));
	ERR(ENOENT, renameat(here, "none", here, "a"));
	ERR(ENOTDIR, renameat(here, "file/x", here, "y"));
	ERR(EBUSY, renameat(here, ".", here, "x"));
	ERR(EBUSY, renameat(here, "a", here, "a/."));
	ERR(EBUSY, renameat(here, "a/..", here, "x"));
	OK(renameat(here, "full", here, "empty"));
	HAS(there, "empty/f", "f");
	YES(!exists(there, "full"));

	/* An open directory goes along, and what is below it with it. */
	fd = OK(openat(here, "a/b", O_RDONLY | O_DIRECTORY));
	SAME(3, stat_of(there, "a").st_nlink);
	OK(renameat(here, "a/b", here, "empty/b"));
	SAME(2, stat_of(there, "a").st_nlink);
	SAME(3, stat_of(there, "empty").st_nlink);
	put(fd, "new", "new");
	HAS(there, "empty/b/new", "new");
	OK(fstatat(fd, "..", &up, 0));
	SAME(stat_of(here, "empty").st_ino, up.st_ino);
}

/* By the other side: descriptors stay with what they were opened on. */
static void renamed_while_open(void)
{
	int fd, dir;

	put(here, "f", "text");
	OK(mkdirat(here, "d", 0755));
	OK(mkdirat(here, "e", 0755));
	fd = OK(openat(here, "f", O_RDWR | O_APPEND));
	dir = OK(openat(here, "d", O_RDONLY | O_DIRECTORY));
	OK(renameat(there, "f", there, "e/g"));
	OK(renameat(there, "d", there, "e/d"));
	SAME(4, OK(write(fd, "more", 4)));
	OK(fchmod(fd, 0640));
	SAME(0640, stat_of(there, "e/g").st_mode & 07777);
	HAS(there, "e/g", "textmore");
	put(dir, "in", "in");
	HAS(there, "e/d/in", "in");
	HAS(here, "e/d/in", "in");
	YES(!exists(here, "f") && !exists(here, "d"));
	OK(renameat(dir, "in", here, "out"));
	HAS(there, "out", "in");
}

static void unlinked_while_open(void)
{
	const struct timespec times[2] = { { .tv_sec = 5 }, { .tv_sec = 7 } };
	char path[64], value[8];
	int fd, again;

	put(here, "f", "text");
	fd = OK(openat(here, "f", O_RDWR));
	OK(unlinkat(there, "f", 0));
	YES(!exists(here, "f") && !exists(there, "f"));
	ERR(ENOENT, openat(here, "f", O_RDONLY));
	SAME(0, stat_fd(fd).st_nlink);
	OK(fchmod(fd, 0600));
	OK(fchown(fd, 5, 6));
	OK(futimens(fd, times));
	OK(ftruncate(fd, 2));
	SAME(3, OK(pwrite(fd, "xyz", 3, 2)));
	READS(fd, 0, "texyz");
	OK(fsync(fd));
	OK(fsetxattr(fd, "user.x", "1", 1, 0));
	SAME(1, OK(fgetxattr(fd, "user.x", value, sizeof(value))));
	SAME(0600, stat_fd(fd).st_mode & 07777);
	SAME(5, stat_fd(fd).st_uid);
	SAME(5, stat_fd(fd).st_size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = OK(open(path, O_RDWR));
	READS(again, 0, "texyz");
	OK(truncate(path, 1));
	SAME(1, stat_fd(fd).st_size);
	ERR(ENOENT, linkat(AT_FDCWD, path, here, "g", AT_SYMLINK_FOLLOW));
	put(here, "f", "another");
	READS(fd, 0, "t");
}

static void removed_directories(void)
{
	struct stat st;
	int fd;

	OK(mkdirat(here, "d", 0755));
	fd = OK(openat(here, "d", O_RDONLY | O_DIRECTORY));
	put(there, "d/f", "f");
	ERR(ENOTEMPTY, unlinkat(here, "d", AT_REMOVEDIR));
	ERR(EISDIR, unlinkat(here, "d", 0));
	ERR(ENOTDIR, unlinkat(here, "d/f", AT_REMOVEDIR));
	OK(unlinkat(there, "d/f", 0));
	ERR(EINVAL, unlinkat(here, "d/.", AT_REMOVEDIR));
	ERR(ENOTEMPTY, unlinkat(here, "d/..", AT_REMOVEDIR));
	OK(unlinkat(there, "d", AT_REMOVEDIR));
	ERR(ENOENT, unlinkat(here, "d", AT_REMOVEDIR));
	ERR(ENOENT, openat(fd, "new", O_WRONLY | O_CREAT, 0644));
	ERR(ENOENT, mkdirat(fd, "new", 0755));
	ERR(ENOENT, symlinkat("x", fd, "new"));
	ERR(ENOENT, openat(fd, "none", O_RDONLY));
	OK(fstat(fd, &st));
	SAME(0, st.st_nlink);
	OK(mkdirat(here, "d", 0755));
	YES(stat_of(here, "d").st_ino != st.st_ino || stat_of(there, "d").st_nlink == 2);
	ERR(ENOENT, mkdirat(fd, "new", 0755));
}

static void hard_links(void)
{
	put(here, "f", "f");
	OK(linkat(here, "f", here, "g", 0));
	SAME(2, stat_of(there, "f").st_nlink);
	SAME(stat_of(here, "f").st_ino, stat_of(here, "g").st_ino);
	SAME(stat_of(there, "f").st_ino, stat_of(there, "g").st_ino);
	ERR(EEXIST, linkat(here, "f", here, "g", 0));
	ERR(ENOENT, linkat(here, "none", here, "h", 0));
	OK(mkdirat(here, "d", 0755));
	ERR(EPERM, linkat(here, "d", here, "d2", 0));
	put(there, "g", "changed by its other name");
	HAS(here, "f", "changed by its other name");
	OK(unlinkat(there, "f", 0));
	SAME(1, stat_of(here, "g").st_nlink);
	/* Of a symbolic link: itself, or what it leads to. */
	OK(symlinkat("g", here, "s"));
	OK(linkat(here, "s", here, "s2", 0));
	YES(S_ISLNK(stat_of(there, "s2").st_mode));
	SAME(2, stat_of(there, "s").st_nlink);
	OK(linkat(here, "s", here, "g2", AT_SYMLINK_FOLLOW));
	SAME(stat_of(there, "g").st_ino, stat_of(there, "g2").st_ino);
	OK(linkat(OK(openat(here, "g", O_PATH)), "", here, "g3", AT_EMPTY_PATH));
	SAME(3, stat_of(there, "g").st_nlink);
}

static void symbolic_links(void)
{
	const char *longest = repeated('x', 4095);
	char target[5000];

	OK(symlinkat("f", here, "s"));
	ERR(ENOENT, openat(there, "s", O_RDONLY));
	put(there, "s", "through the link");
	HAS(here, "f", "through the link");
	ERR(ELOOP, openat(here, "s", O_RDONLY | O_NOFOLLOW));
	ERR(EEXIST, openat(here, "s", O_WRONLY | O_CREAT | O_EXCL, 0644));
	ERR(EEXIST, symlinkat("x", here, "s"));
	SAME(1, OK(readlinkat(there, "s", target, sizeof(target))));
	SAME(1, stat_of(here, "s").st_size);
	OK(symlinkat(longest, here, "long"));
	SAME(4095, OK(readlinkat(there, "long", target, sizeof(target))));
	SAME(0, memcmp(target, longest, 4095));
	SAME(10, OK(readlinkat(there, "long", target, 10)));
	ERR(ENAMETOOLONG, symlinkat(repeated('x', 4096), here, "longer"));
	ERR(ENOENT, symlinkat("", here, "nothing"));
	OK(symlinkat("loop", here, "loop"));
	ERR(ELOOP, openat(there, "loop", O_RDONLY));
	ERR(EINVAL, readlinkat(here, "f", target, sizeof(target)));
	OK(renameat(here, "s", here, "t"));
	YES(S_ISLNK(stat_of(there, "t").st_mode) && exists(there, "f"));
	/* Made anew by the other side with another target. */
	OK(unlinkat(there, "t", 0));
	OK(symlinkat("elsewhere", there, "t"));
	SAME(9, OK(readlinkat(here, "t", target, sizeof(target))));
}

static void fifos(void)
{
	char c;

	OK(mkfifoat(here, "p", 0640));
	YES(S_ISFIFO(stat_of(there, "p").st_mode));
	SAME(0640, stat_of(there, "p").st_mode & 07777);
	ERR(EEXIST, mkfifoat(there, "p", 0600));
	ERR(ENXIO, openat(here, "p", O_WRONLY | O_NONBLOCK));
	if (child()) {
		int in = OK(openat(here, "p", O_RDONLY | O_NONBLOCK));
		int out = OK(openat(here, "p", O_WRONLY));

		SAME(1, OK(write(out, "x", 1)));
		SAME(1, OK(read(in, &c, 1)));
		ERR(ESPIPE, lseek(in, 0, SEEK_CUR));
		done();
	}
	OK(renameat(there, "p", there, "q"));
	YES(S_ISFIFO(stat_of(here, "q").st_mode));
	OK(unlinkat(there, "q", 0));
}

static void sockets(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX, .sun_path = "s" };
	int server = OK(socket(AF_UNIX, SOCK_STREAM, 0)),
	    client = OK(socket(AF_UNIX, SOCK_STREAM, 0));

	OK(bind(server, (struct sockaddr *)&at, sizeof(at)));
	OK(listen(server, 1));
	YES(S_ISSOCK(stat_of(there, "s").st_mode));
	OK(connect(client, (struct sockaddr *)&at, sizeof(at)));
	ERR(ENXIO, openat(here, "s", O_RDONLY));
	ERR(EADDRINUSE,
	    bind(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&at, sizeof(at)));
	OK(unlinkat(there, "s", 0));
	ERR(ENOENT,
	    connect(OK(socket(AF_UNIX, SOCK_STREAM, 0)), (struct sockaddr *)&at, sizeof(at)));
	OK(mknodat(here, "m", S_IFSOCK | 0600, 0));
	YES(S_ISSOCK(stat_of(there, "m").st_mode));
}

/* They can be made, as a backup does, and not be opened: nodev. */
static void devices(void)
{
	struct stat st;

	OK(mknodat(here, "null", S_IFCHR | 0666, makedev(1, 3)));
	OK(mknodat(here, "disk", S_IFBLK | 0600, makedev(7, 0)));
	st = stat_of(there, "null");
	YES(S_ISCHR(st.st_mode));
	SAME(makedev(1, 3), st.st_rdev);
	ERR(EACCES, openat(here, "null", O_RDWR));
	ERR(EACCES, openat(there, "disk", O_RDONLY));
	if (as(12345, 12345, 0, NULL)) {
		OK(fchdir(here));
		ERR(EACCES, mknodat(here, "c", S_IFCHR | 0666, makedev(1, 3)));
		done();
	}
	OK(fchmod(here, 0777));
	if (as(12345, 12345, 0, NULL)) {
		ERR(EPERM, mknodat(here, "c", S_IFCHR | 0666, makedev(1, 3)));
		OK(mknodat(here, "file", S_IFREG | 0600, 0));
		done();
	}
	SAME(12345, stat_of(there, "file").st_uid);
}

static void lengths(void)
{
	const char *name = repeated('n', 255);
	char bytes[256], path[PATH_MAX + 16];
	int dir = here;
	size_t at = 0;

	put(here, name, "255");
	HAS(there, name, "255");
	ERR(ENAMETOOLONG, openat(here, repeated('n', 256), O_WRONLY | O_CREAT, 0644));
	ERR(ENAMETOOLONG, mkdirat(here, repeated('n', 256), 0755));
	ERR(ENAMETOOLONG, renameat(here, name, here, repeated('n', 256)));
	ERR(ENAMETOOLONG, symlinkat("x", here, repeated('n', 256)));
	ERR(ENAMETOOLONG, unlinkat(here, repeated('n', 256), 0));
	ERR(ENAMETOOLONG, fstatat(here, repeated('n', 256), &(struct stat){ 0 }, 0));
	OK(unlinkat(there, name, 0));

	/* Any byte but '/' and 0. */
	for (int i = 1; i < 256; i++)
		if (i != '/')
			bytes[at++] = (char)i;
	bytes[at] = 0;
	put(here, bytes, "odd");
	HAS(there, bytes, "odd");
	OK(unlinkat(there, bytes, 0));

	/* A path of 4095 bytes is one, of 4096 is none. */
	for (at = 0; at + 256 < PATH_MAX - 1; at += 256) {
		memset(path + at, 'd', 255);
		path[at + 255] = '/';
		path[at + 256] = 0;
		OK(mkdirat(here, path, 0755));
	}
	memset(path + at, 'f', PATH_MAX - 1 - at);
	path[PATH_MAX - 1] = 0;
	put(here, path, "deep");
	HAS(there, path, "deep");
	path[PATH_MAX - 1] = 'f';
	path[PATH_MAX] = 0;
	ERR(ENAMETOOLONG, openat(here, path, O_RDONLY));

	/* Deeper than any path can say. */
	for (int i = 0; i < 30; i++) {
		OK(mkdirat(dir, "deeper", 0755));
		dir = OK(openat(dir, "deeper", O_RDONLY | O_DIRECTORY));
		OK(mkdirat(dir, repeated('w', 200), 0755));
		dir = OK(openat(dir, repeated('w', 200), O_RDONLY | O_DIRECTORY));
	}
	put(dir, "bottom", "bottom");
	HAS(dir, "bottom", "bottom");
	OK(fchmodat(dir, "bottom", 0600, 0));
	OK(unlinkat(dir, "bottom", 0));
}

static void dots(void)
{
	struct stat st;

	OK(mkdirat(here, "d", 0755));
	put(here, "f", "f");
	ERR(EEXIST, mkdirat(here, "d/.", 0755));
	ERR(EEXIST, mkdirat(here, "d/..", 0755));
	ERR(EISDIR, openat(here, "d/.", O_WRONLY | O_CREAT, 0644));
	ERR(ENOTDIR, fstatat(here, "f/.", &st, 0));
	ERR(ENOTDIR, openat(here, "f/", O_RDONLY));
	ERR(EISDIR, openat(here, "new/", O_WRONLY | O_CREAT, 0644));
	ERR(ENOENT, openat(here, "", O_RDONLY));
	OK(mkdirat(here, "slash/", 0755));
	OK(renameat(here, "slash/", here, "slashed/"));
	ERR(ENOTDIR, renameat(here, "f", here, "g/"));
	OK(fstatat(there, "d/../slashed/.././d/.", &st, 0));
	SAME(stat_of(here, "d").st_ino, st.st_ino);
	OK(fstatat(there, "d/..", &st, 0));
	SAME(stat_fd(here).st_ino, st.st_ino);
}

static const struct posix_case cases[] = {
	{ .name = "rename-replaces", .run = rename_replaces },
	{ .name = "rename-noreplace", .run = rename_noreplace },
	{ .name = "rename-exchange", .run = rename_exchange },
	{ .name = "rename-directories", .run = rename_directories },
	{ .name = "renamed-while-open", .run = renamed_while_open },
	{ .name = "unlinked-while-open", .run = unlinked_while_open },
	{ .name = "removed-directories", .run = removed_directories },
	{ .name = "hard-links", .run = hard_links },
	{ .name = "symbolic-links", .run = symbolic_links },
	{ .name = "fifos", .run = fifos },
	{ .name = "sockets", .run = sockets },
	{ .name = "devices", .run = devices },
	{ .name = "lengths", .run = lengths },
	{ .name = "dots", .run = dots },
	{ .name = NULL }
};

const struct posix_group posix_names = { "names", cases };
