/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listing directories: every entry once, positions that can be kept, and being told of changes. */
#include "cases.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>

static DIR *listing(int dir, const char *name)
{
	DIR *d = fdopendir(OK(openat(dir, name, O_RDONLY | O_DIRECTORY)));

	YES(d != NULL);
	return d;
}

static void fill(const char *dir, int from, int to)
{
	char name[64];

	for (int i = from; i < to; i++) {
		snprintf(name, sizeof(name), "%s/f%d", dir, i);
		OK(mknodat(here, name, S_IFREG | 0644, 0));
	}
}

/* Marks what a listing shows: seen[N] for fN; anything twice is an error. */
static int list(DIR *d, char *seen, int max)
{
	struct dirent *de;
	int count = 0, n;

	errno = 0;
	while ((de = readdir(d))) {
		if (sscanf(de->d_name, "f%d", &n) != 1)
			continue;
		YES(n >= 0 && n < max);
		SAME(0, seen[n]);
		seen[n] = 1;
		count++;
	}
	SAME(0, errno);
	return count;
}

static void entries(void)
{
	struct dirent *de;
	int seen = 0;
	DIR *d;

	OK(mkdirat(here, "d", 0755));
	put(here, "d/file", "");
	OK(mkdirat(here, "d/dir", 0755));
	OK(symlinkat("x", here, "d/link"));
	OK(mkfifoat(here, "d/fifo", 0600));
	OK(mknodat(here, "d/sock", S_IFSOCK | 0600, 0));
	d = listing(there, "d");
	while ((de = readdir(d))) {
		static const struct {
			const char *name;
			unsigned char type;
		} all[] = { { ".", DT_DIR },	{ "..", DT_DIR },   { "file", DT_REG },
			    { "dir", DT_DIR },	{ "link", DT_LNK }, { "fifo", DT_FIFO },
			    { "sock", DT_SOCK } };
		size_t i = 0;
		struct stat st;

		while (i < 7 && strcmp(all[i].name, de->d_name) != 0)
			i++;
		YES(i < 7);
		SAME(all[i].type, de->d_type);
		OK(fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW));
		if (strcmp(de->d_name, "..") != 0)
			SAME(st.st_ino, de->d_ino);
		seen |= 1 << i;
	}
	SAME(127, seen);
	/* Begun anew it shows what has come. */
	put(here, "d/f0", "");
	rewinddir(d);
	SAME(1, list(d, (char[1]){ 0 }, 1));
	OK(closedir(d));
	ERR(ENOTDIR,
	    syscall(SYS_getdents64, OK(openat(here, "d/file", O_RDONLY)), &seen, sizeof(seen)));
	ERR(EINVAL, syscall(SYS_getdents64, OK(openat(here, "d", O_RDONLY)), &seen, 1));
}

static void positions(void)
{
	const int count = 300;
	long at[300];
	char name[300][256];
	struct dirent *de;
	int n = 0;
	DIR *d;

	OK(mkdirat(here, "d", 0755));
	fill("d", 0, count);
	d = listing(there, "d");
	while (n < count) {
		at[n] = telldir(d);
		de = readdir(d);
		YES(de != NULL);
		if (de->d_name[0] == '.')
			continue;
		snprintf(name[n++], sizeof(name[0]), "%s", de->d_name);
	}
	for (int i = count - 1; i >= 0; i -= 7) {
		seekdir(d, at[i]);
		de = readdir(d);
		YES(de && !strcmp(de->d_name, name[i]));
	}
	/* Positions hold while others come and go on either side. */
	for (int i = 1; i < count; i += 2) {
		char path[300];

		snprintf(path, sizeof(path), "d/%s", name[i]);
		OK(unlinkat(i % 3 ? here : there, path, 0));
	}
	fill("d", count, count + 50);
	for (int i = 0; i < count; i += 10) {
		seekdir(d, at[i]);
		de = readdir(d);
		YES(de && !strcmp(de->d_name, name[i]));
	}
	OK(closedir(d));
}

/* Removing all while listing, as rm -r does; and nothing is left. */
static void removal(void)
{
	struct dirent *de;
	char path[300];
	int n = 0;
	DIR *d;

	OK(mkdirat(here, "d", 0755));
	fill("d", 0, 1000);
	d = listing(here, "d");
	while ((de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "d/%s", de->d_name);
		OK(unlinkat(n++ % 2 ? here : there, path, 0));
	}
	SAME(1000, n);
	OK(closedir(d));
	OK(unlinkat(there, "d", AT_REMOVEDIR));
}

/* While the other side makes and removes: what stays is shown once, each time. */
static void change(void)
{
	_Atomic int *words = shared();
	char seen[2000];
	pid_t pid;

	OK(mkdirat(here, "d", 0755));
	fill("d", 0, 400);
	pid = start();
	if (!pid) {
		char name[32], other[32];

		for (int i = 1000; !atomic_load_explicit(&words[0], memory_order_acquire); i++) {
			snprintf(name, sizeof(name), "d/f%d", 1000 + i % 500);
			snprintf(other, sizeof(other), "d/f%d", 1500 + i % 500);
			OK(mknodat(there, name, S_IFREG | 0644, 0));
			OK(renameat(there, name, there, other));
			OK(unlinkat(there, other, 0));
		}
		done();
	}
	for (int round = 0; round < 15; round++) {
		DIR *d = listing(here, "d");

		memset(seen, 0, sizeof(seen));
		YES(list(d, seen, 2000) >= 400);
		for (int i = 0; i < 400; i++)
			SAME(1, seen[i]);
		OK(closedir(d));
	}
	atomic_store_explicit(&words[0], 1, memory_order_release);
	join(pid);
}

static void small_buffers(void)
{
	char buf[300], seen[100] = { 0 };
	int fd, count = 0, n;
	long got;

	OK(mkdirat(here, "d", 0755));
	fill("d", 0, 100);
	fd = OK(openat(there, "d", O_RDONLY | O_DIRECTORY));
	while ((got = OK(syscall(SYS_getdents64, fd, buf, sizeof(buf)))) > 0) {
		for (long at = 0; at < got;) {
			struct dirent64 *de = (void *)(buf + at);

			if (sscanf(de->d_name, "f%d", &n) == 1) {
				SAME(0, seen[n]);
				seen[n] = 1;
				count++;
			}
			at += de->d_reclen;
		}
	}
	SAME(100, count);
	SAME(0, OK(lseek(fd, 0, SEEK_SET)));
	YES(OK(syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0);
}

static void removed(void)
{
	char buf[1000];
	int fd;

	OK(mkdirat(here, "d", 0755));
	fd = OK(openat(here, "d", O_RDONLY | O_DIRECTORY));
	OK(unlinkat(there, "d", AT_REMOVEDIR));
	ERR(ENOENT, syscall(SYS_getdents64, fd, buf, sizeof(buf)));
}

static bool told(int in, uint32_t mask, const char *name)
{
	static char buf[4096] __attribute__((aligned(8)));
	static ssize_t got, at;

	while (1) {
		const struct inotify_event *e = (const void *)(buf + at);

		if (at >= got) {
			if (poll(&(struct pollfd){ in, POLLIN, 0 }, 1, 2000) != 1)
				return false;
			got = read(in, buf, sizeof(buf));
			at = 0;
			if (got <= 0)
				return false;
			continue;
		}
		at += (ssize_t)(sizeof(*e) + e->len);
		if ((e->mask & mask) && (!name || (e->len && !strcmp(e->name, name))))
			return true;
	}
}

/* What happens on one mount is told on it. */
static void notification(void)
{
	int in = OK(inotify_init1(IN_NONBLOCK)), fd;

	OK(inotify_add_watch(in, ".", IN_ALL_EVENTS));
	fd = OK(openat(here, "f", O_RDWR | O_CREAT, 0644));
	YES(told(in, IN_CREATE, "f"));
	SAME(1, OK(write(fd, "x", 1)));
	YES(told(in, IN_MODIFY, "f"));
	OK(fchmod(fd, 0600));
	YES(told(in, IN_ATTRIB, "f"));
	OK(close(fd));
	YES(told(in, IN_CLOSE_WRITE, "f"));
	OK(renameat(here, "f", here, "g"));
	YES(told(in, IN_MOVED_FROM, "f"));
	YES(told(in, IN_MOVED_TO, "g"));
	OK(inotify_add_watch(in, "g", IN_DELETE_SELF | IN_ATTRIB));
	OK(unlinkat(here, "g", 0));
	YES(told(in, IN_DELETE, "g") || told(in, IN_DELETE_SELF, NULL));
	OK(mkdirat(here, "d", 0755));
	YES(told(in, IN_CREATE, "d"));
}

static const struct posix_case cases[] = { { .name = "entries", .run = entries },
					   { .name = "positions", .run = positions },
					   { .name = "removal", .run = removal },
					   { .name = "change", .run = change },
					   { .name = "small-buffers", .run = small_buffers },
					   { .name = "removed", .run = removed },
					   { .name = "notification", .run = notification },
					   { .name = NULL } };

const struct posix_group posix_dirs = { "dirs", cases };
