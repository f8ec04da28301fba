/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may do what: modes, umask, groups of the caller, sgid directories, the sticky bit. */
#include "cases.h"

#include <stdio.h>
#include <string.h>

#define USER  12345
#define OTHER 23456

static void modes(void)
{
	put(here, "f", "f");
	OK(mkdirat(here, "d", 0700));
	put(here, "d/f", "f");
	OK(fchmodat(here, "f", 0600, 0));
	OK(fchmod(here, 0755));
	if (as(USER, USER, 0, NULL)) {
		struct stat st;

		ERR(EACCES, openat(here, "f", O_RDONLY));
		ERR(EACCES, openat(there, "f", O_WRONLY));
		ERR(EACCES, fstatat(here, "d/f", &st, 0));
		ERR(EACCES, openat(here, "d", O_RDONLY | O_DIRECTORY));
		ERR(EACCES, openat(here, "new", O_WRONLY | O_CREAT, 0644));
		ERR(EACCES, mkdirat(here, "new", 0755));
		ERR(EACCES, symlinkat("x", here, "new"));
		ERR(EACCES, unlinkat(here, "f", 0));
		ERR(EACCES, renameat(here, "f", here, "g"));
		ERR(EACCES, faccessat(here, "f", R_OK, 0));
		ERR(EACCES, faccessat(there, ".", W_OK, AT_EACCESS));
		OK(faccessat(there, ".", R_OK | X_OK, AT_EACCESS));
		ERR(EPERM, fchmodat(here, "f", 0666, 0));
		done();
	}
	/* Changed by the other side it holds at once. */
	OK(fchmodat(there, "f", 0604, 0));
	OK(fchmodat(there, "d", 0711, 0));
	if (as(USER, USER, 0, NULL)) {
		HAS(here, "f", "f");
		HAS(here, "d/f", "f");
		ERR(EACCES, openat(here, "d", O_RDONLY | O_DIRECTORY));
		done();
	}
	OK(fchmodat(there, "f", 0600, 0));
	OK(fchmodat(there, "d", 0700, 0));
	if (as(USER, USER, 0, NULL)) {
		ERR(EACCES, openat(here, "f", O_RDONLY));
		ERR(EACCES, openat(here, "d/f", O_RDONLY));
		done();
	}
}

static void masks(void)
{
	OK(fchmod(here, 0777));
	if (as(USER, USER, 0, NULL)) {
		umask(027);
		OK(openat(here, "f", O_WRONLY | O_CREAT, 0666));
		OK(mkdirat(here, "d", 0777));
		OK(mkfifoat(here, "p", 0666));
		umask(0);
		OK(openat(here, "all", O_WRONLY | O_CREAT, 0666));
		OK(openat(here, "suid", O_WRONLY | O_CREAT, 06755));
		OK(mkdirat(here, "sticky", 01777));
		done();
	}
	SAME(0640, stat_of(there, "f").st_mode & 07777);
	SAME(0750, stat_of(there, "d").st_mode & 07777);
	SAME(0640, stat_of(there, "p").st_mode & 07777);
	SAME(0666, stat_of(there, "all").st_mode & 07777);
	SAME(06755, stat_of(there, "suid").st_mode & 07777);
	SAME(01777, stat_of(there, "sticky").st_mode & 07777);
	SAME(USER, stat_of(there, "f").st_uid);
	SAME(USER, stat_of(there, "p").st_gid);
}

/* The kernel sends one group of the caller; he has all of his. */
static void groups(void)
{
	static const gid_t many[] = { 600, 601, 602, 603, 700 };
	const size_t count = sizeof(many) / sizeof(many[0]);

	put(here, "f", "group");
	OK(fchownat(here, "f", 1, 700, 0));
	OK(fchmodat(here, "f", 0660, 0));
	OK(mkdirat(here, "d", 0755));
	OK(fchownat(here, "d", 1, 602, 0));
	OK(fchmodat(here, "d", 02770, 0));
	OK(fchmod(here, 0777));
	if (as(USER, USER, 0, NULL)) {
		ERR(EACCES, openat(there, "f", O_RDONLY));
		ERR(EACCES, openat(here, "d/x", O_WRONLY | O_CREAT, 0644));
		done();
	}
	if (as(USER, USER, count, many)) {
		put(there, "f", "written");
		OK(openat(here, "d/x", O_WRONLY | O_CREAT, 02755));
		OK(mkdirat(here, "d/sub", 0755));
		OK(openat(here, "d", O_TMPFILE | O_RDWR, 0600));
		put(here, "own", "own");
		OK(fchownat(here, "own", (uid_t)-1, 601, 0));
		OK(fchmodat(here, "own", 02711, 0));
		ERR(EPERM, fchownat(here, "own", (uid_t)-1, 999, 0));
		done();
	}
	HAS(here, "f", "written");
	/* In an sgid directory: its group; below it the bit too. */
	SAME(602, stat_of(there, "d/x").st_gid);
	SAME(02755, stat_of(there, "d/x").st_mode & 07777);
	SAME(602, stat_of(there, "d/sub").st_gid);
	SAME(02755, stat_of(there, "d/sub").st_mode & 07777);
	SAME(601, stat_of(there, "own").st_gid);
	SAME(02711, stat_of(there, "own").st_mode & 07777);
	/* Who is not of that group gets a file of it, without the bit. */
	OK(fchmodat(here, "d", 02777, 0));
	if (as(OTHER, OTHER, 0, NULL)) {
		OK(openat(here, "d/y", O_WRONLY | O_CREAT, 02755));
		OK(mknodat(here, "d/n", S_IFREG | 02755, 0));
		done();
	}
	SAME(602, stat_of(there, "d/y").st_gid);
	SAME(0755, stat_of(there, "d/y").st_mode & 07777);
	SAME(0755, stat_of(there, "d/n").st_mode & 07777);
}

static void sticky(void)
{
	OK(mkdirat(here, "t", 0777));
	OK(fchmodat(here, "t", 01777, 0));
	OK(fchmod(here, 0777));
	if (as(USER, USER, 0, NULL)) {
		put(here, "t/mine", "mine");
		OK(mkdirat(here, "t/dir", 0777));
		OK(fchmodat(here, "t/dir", 0777, 0));
		done();
	}
	if (as(OTHER, OTHER, 0, NULL)) {
		ERR(EPERM, unlinkat(there, "t/mine", 0));
		ERR(EPERM, unlinkat(here, "t/dir", AT_REMOVEDIR));
		ERR(EPERM, renameat(there, "t/mine", there, "t/other"));
		put(here, "t/yours", "yours");
		ERR(EPERM, renameat(here, "t/yours", here, "t/mine"));
		ERR(EPERM, renameat2(here, "t/yours", here, "t/mine", RENAME_EXCHANGE));
		put(here, "t/dir/in", "in");
		OK(renameat(here, "t/yours", here, "t/mine2"));
		OK(unlinkat(here, "t/mine2", 0));
		done();
	}
	if (as(USER, USER, 0, NULL)) {
		OK(unlinkat(there, "t/mine", 0));
		OK(unlinkat(here, "t/dir/in", 0));
		OK(unlinkat(here, "t/dir", AT_REMOVEDIR));
		done();
	}
	/* The directory's owner may. */
	put(here, "t/roots", "x");
	OK(fchownat(here, "t", OTHER, OTHER, 0));
	if (as(OTHER, OTHER, 0, NULL)) {
		OK(unlinkat(here, "t/roots", 0));
		done();
	}
}

/* An open descriptor keeps the right that it was opened with. */
static void kept(void)
{
	int in, out;

	put(here, "f", "text");
	OK(fchmodat(here, "f", 0666, 0));
	if (as(USER, USER, 0, NULL)) {
		in = OK(openat(here, "f", O_RDONLY));
		out = OK(openat(here, "f", O_WRONLY));
		if (!start()) {
			/* still USER: cannot change it back */
			ERR(EPERM, fchmodat(there, "f", 0, 0));
			done();
		}
		READS(in, 0, "text");
		SAME(4, OK(pwrite(out, "TEXT", 4, 0)));
		done();
	}
	in = OK(openat(here, "f", O_RDONLY));
	out = OK(openat(here, "f", O_RDWR));
	OK(fchmodat(there, "f", 0, 0));
	OK(fchownat(there, "f", OTHER, OTHER, 0));
	if (as(USER, USER, 0, NULL)) {
		ERR(EACCES, openat(here, "f", O_RDONLY));
		READS(in, 0, "TEXT");
		SAME(4, OK(pwrite(out, "kept", 4, 0)));
		READS(in, 0, "kept");
		OK(ftruncate(out, 2));
		SAME(2, stat_fd(in).st_size);
		OK(fallocate(out, 0, 0, 10));
		SAME(0, OK(lseek(in, 0, SEEK_DATA)));
		done();
	}
}

/* Given away by the other side, at once nothing of it is its former owner's. */
static void given_away(void)
{
	const struct timespec at[2] = { { 1, 0 }, { 2, 0 } };
	_Atomic int *words = shared();
	pid_t pid;
	int fd;

	OK(mkdirat(here, "t", 0777));
	OK(fchmodat(here, "t", 01777, 0));
	put(here, "t/f", "f");
	put(here, "t/g", "g");
	OK(fchownat(here, "t/f", USER, USER, 0));
	OK(fchownat(here, "t/g", USER, USER, 0));
	pid = start();
	if (!pid) {
		fd = OK(openat(here, "t/f", O_RDWR));
		OK(setresgid(USER, USER, USER));
		OK(setresuid(USER, USER, USER));
		OK(fchmod(fd, 0600));
		OK(fchmodat(here, "t/g", 0600, 0));
		meet(&words[0], 2);
		meet(&words[1], 2);
		ERR(EPERM, fchmod(fd, 0666));
		ERR(EPERM, fchown(fd, (uid_t)-1, USER));
		ERR(EPERM, futimens(fd, at));
		ERR(EPERM, unlinkat(here, "t/g", 0));
		ERR(EPERM, renameat(here, "t/g", here, "t/h"));
		done();
	}
	meet(&words[0], 2);
	OK(fchownat(there, "t/f", OTHER, OTHER, 0));
	OK(fchownat(there, "t/g", OTHER, OTHER, 0));
	meet(&words[1], 2);
	join(pid);
	SAME(0600, stat_of(here, "t/f").st_mode & 07777);
}

static const struct posix_case cases[] = { { .name = "modes", .run = modes },
					   { .name = "masks", .run = masks },
					   { .name = "groups", .run = groups },
					   { .name = "sticky", .run = sticky },
					   { .name = "kept", .run = kept },
					   { .name = "given-away", .run = given_away },
					   { .name = NULL } };

const struct posix_group posix_perms = { "perms", cases };
