/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * turmoil SHARED OWN SECONDS SEED: works on the names and files of a tree in all the ways there are.
 *
 * In the directory SHARED it is in the way of others who do the same: there a name may be gone, or there, or
 * another kind of thing, but no other error is ever right. In the directory OWN nobody else works, and
 * each answer must be what its own book says; at the end everything in the book is looked at once
 * more: what was acknowledged is there.
 *
 * Prints the number of operations. Status 1: something was not as it should be, said in words.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define DIRS	  5
#define NAMES	  40
#define SIZE_MOST 20000

/* What is at own/dI/nJ. A file's bytes are made of `stamp`, so that they need not be kept. */
struct entry {
	enum { NONE, FILE_, LINK } kind;
	uint32_t stamp, size, mode, xattr;
};

static struct entry book[DIRS][NAMES];
static uint64_t random_state, operations;

static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 11) % n;
}

__attribute__((format(printf, 1, 2))) static void wrong(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "turmoil, operation %llu: ", (unsigned long long)operations);
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(1);
}

static void fill(uint8_t *p, uint32_t stamp, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		p[i] = (uint8_t)(stamp + i + (i >> 8) * stamp);
}

/* Shared: all may be in each other's way ----------------------------------------------------------- */

static void shared_result(long got, const char *what, const char *name)
{
	static const int right[] = { ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY,
				     EINVAL, ELOOP,  EBUSY,  ENODATA };

	if (got >= 0)
		return;
	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		if (errno == right[i])
			return;
	wrong("%s %s: %s", what, name, strerror(errno));
}

/* A file is replaced as a whole, by rename: so whoever reads one finds it whole. */
static void shared_replace(int dir, const char *name)
{
	uint8_t bytes[4096];
	char temp[64];
	int fd;

	snprintf(temp, sizeof(temp), "t%d", getpid());
	fd = openat(dir, temp, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		wrong("create %s: %s", temp, strerror(errno));
	bytes[0] = (uint8_t)random_below(256);
	fill(bytes + 1, bytes[0], sizeof(bytes) - 1);
	if (write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
		wrong("write %s: %s", temp, strerror(errno));
	close(fd);
	shared_result(renameat(dir, temp, dir, name), "rename to", name);
}

static void shared_read(int dir, const char *name)
{
	uint8_t bytes[4096], want[4096];
	int fd = openat(dir, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
	struct stat st;
	ssize_t got;

	shared_result(fd, "open", name);
	if (fd < 0)
		return;
	if (fstat(fd, &st) < 0)
		wrong("fstat %s: %s", name, strerror(errno));
	if (S_ISREG(st.st_mode)) {
		got = read(fd, bytes, sizeof(bytes));
		fill(want + 1, bytes[0], sizeof(want) - 1);
		if (got != (ssize_t)sizeof(bytes) ||
		    memcmp(bytes + 1, want + 1, sizeof(bytes) - 1) != 0)
			wrong("read %s: not a whole file (%zd)", name, got);
	}
	close(fd);
}

static void shared_step(int dir)
{
	char name[16], other[16];

	snprintf(name, sizeof(name), "n%u", random_below(NAMES));
	snprintf(other, sizeof(other), "n%u", random_below(NAMES));
	switch (random_below(12)) {
	case 0:
	case 1:
		shared_replace(dir, name);
		break;
	case 2:
	case 3:
		shared_read(dir, name);
		break;
	case 4:
		shared_result(mkdirat(dir, name, 0755), "mkdir", name);
		break;
	case 5:
		shared_result(unlinkat(dir, name, AT_REMOVEDIR), "rmdir", name);
		break;
	case 6:
		shared_result(unlinkat(dir, name, 0), "unlink", name);
		break;
	case 7:
		shared_result(renameat(dir, name, dir, other), "rename", name);
		break;
	case 8:
		if (linkat(dir, name, dir, other, 0) < 0 && errno != EPERM) /* a directory */
			shared_result(-1, "link", name);
		break;
	case 9:
		shared_result(symlinkat(other, dir, name), "symlink", name);
		break;
	case 10:
		shared_result(renameat2(dir, name, dir, other, RENAME_EXCHANGE), "exchange", name);
		break;
	default:
		shared_result(fchmodat(dir, name, 0700 | random_below(64), 0), "chmod", name);
		break;
	}
}

/* Own: it is as the book says ------------------------------------------------------------------- */

static const char *own_name(unsigned d, unsigned n)
{
	static char names[2][32];
	static unsigned turn;

	turn ^= 1;
	snprintf(names[turn], sizeof(names[turn]), "d%u/n%u", d, n);
	return names[turn];
}

static void must(long got, const char *what, const char *name)
{
	if (got < 0)
		wrong("own %s: %s: %s", name, what, strerror(errno));
}

static void own_check(int own, unsigned d, unsigned n)
{
	static uint8_t have[SIZE_MOST + 1], want[SIZE_MOST];
	const struct entry *e = &book[d][n];
	const char *name = own_name(d, n);
	struct stat st;
	ssize_t got;
	int fd;

	if (fstatat(own, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT || e->kind != NONE)
			wrong("own %s: stat: %s", name, strerror(errno));
		return;
	}
	if (e->kind == NONE)
		wrong("own %s was removed, and is there", name);
	if (e->kind == LINK) {
		if (!S_ISLNK(st.st_mode) || readlinkat(own, name, (char *)have, 16) != 5)
			wrong("own %s is not the link that was made", name);
		return;
	}
	if (!S_ISREG(st.st_mode) || st.st_size != (off_t)e->size || (st.st_mode & 0777) != e->mode)
		wrong("own %s: mode %o size %lld, should be %o and %u", name, st.st_mode,
		      (long long)st.st_size, e->mode, e->size);
	fd = openat(own, name, O_RDONLY);
	must(fd, "open", name);
	got = pread(fd, have, sizeof(have), 0);
	fill(want, e->stamp, e->size);
	if (got != (ssize_t)e->size || memcmp(have, want, e->size) != 0)
		wrong("own %s: not the bytes that were written (%zd of %u)", name, got, e->size);
	if (e->xattr &&
	    (fgetxattr(fd, "user.turmoil", have, 4) != 4 || memcmp(have, &e->xattr, 4) != 0))
		wrong("own %s: not the attribute that was set", name);
	close(fd);
}

static void own_write(int own, unsigned d, unsigned n)
{
	static uint8_t bytes[SIZE_MOST];
	struct entry *e = &book[d][n];
	const char *name = own_name(d, n);
	int fd;

	if (e->kind == LINK)
		must(unlinkat(own, name, 0), "unlink", name);
	if (e->kind != FILE_)
		*e = (struct entry){ FILE_, 0, 0, 0644, 0 };
	e->stamp = random_below(1u << 30);
	e->size = random_below(SIZE_MOST);
	fill(bytes, e->stamp, e->size);
	fd = openat(own, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	must(fd, "create", name);
	if (pwrite(fd, bytes, e->size, 0) != (ssize_t)e->size)
		wrong("own %s: write: %s", name, strerror(errno));
	if (random_below(8) == 0)
		must(fsync(fd), "fsync", name);
	must(close(fd), "close", name);
}

static void own_attr(int own, unsigned d, unsigned n)
{
	struct entry *e = &book[d][n];
	const char *name = own_name(d, n);
	int fd;

	if (e->kind != FILE_)
		return;
	e->mode = 0600 | random_below(64);
	must(fchmodat(own, name, e->mode, 0), "chmod", name);
	e->xattr = 1 + random_below(1u << 30);
	fd = openat(own, name, O_RDONLY);
	must(fd, "open", name);
	must(fsetxattr(fd, "user.turmoil", &e->xattr, sizeof(e->xattr), 0), "setxattr", name);
	close(fd);
}

static void own_cut(int own, unsigned d, unsigned n)
{
	struct entry *e = &book[d][n];
	const char *name = own_name(d, n);
	int fd;

	if (e->kind != FILE_)
		return;
	e->size = random_below(e->size + 1);
	fd = openat(own, name, O_WRONLY);
	must(fd, "open", name);
	must(ftruncate(fd, (off_t)e->size), "cut", name);
	close(fd);
}

static void own_remove(int own, unsigned d, unsigned n)
{
	struct entry *e = &book[d][n];
	const char *name = own_name(d, n);
	int got = unlinkat(own, name, 0);

	if ((got < 0) != (e->kind == NONE) || (got < 0 && errno != ENOENT))
		wrong("own %s: unlink: %s", name,
		      got < 0 ? strerror(errno) : "was not there, and is removed");
	e->kind = NONE;
}

static void own_rename(int own, unsigned d, unsigned n)
{
	unsigned d2 = random_below(DIRS), n2 = random_below(NAMES);
	const char *from = own_name(d, n), *to = own_name(d2, n2);
	int got = renameat(own, from, own, to);

	if ((got < 0) != (book[d][n].kind == NONE) || (got < 0 && errno != ENOENT))
		wrong("own %s: rename: %s", from, strerror(errno));
	if (got < 0 || (d == d2 && n == n2))
		return;
	book[d2][n2] = book[d][n];
	book[d][n].kind = NONE;
}

static void own_symlink(int own, unsigned d, unsigned n)
{
	const char *name = own_name(d, n);
	int got = symlinkat("where", own, name);

	if ((got < 0) != (book[d][n].kind != NONE) || (got < 0 && errno != EEXIST))
		wrong("own %s: symlink: %s", name, strerror(errno));
	if (got == 0)
		book[d][n].kind = LINK;
}

static void own_step(int own)
{
	unsigned d = random_below(DIRS), n = random_below(NAMES);

	switch (random_below(10)) {
	case 0:
	case 1:
	case 2:
		own_write(own, d, n);
		break;
	case 3:
		own_remove(own, d, n);
		break;
	case 4:
		own_rename(own, d, n);
		break;
	case 5:
		own_symlink(own, d, n);
		break;
	case 6:
		own_attr(own, d, n);
		break;
	case 7:
		own_cut(own, d, n);
		break;
	default:
		own_check(own, d, n);
		break;
	}
}

int main(int argc, char **argv)
{
	int shared, own;
	time_t end;

	if (argc != 5) {
		fprintf(stderr, "usage: turmoil SHARED OWN SECONDS SEED\n");
		return 2;
	}
	random_state = strtoull(argv[4], NULL, 10) * UINT64_C(0x9e3779b97f4a7c15) | 1;
	shared = open(argv[1], O_RDONLY | O_DIRECTORY);
	own = open(argv[2], O_RDONLY | O_DIRECTORY);
	if (shared < 0 || own < 0)
		wrong("%s, %s: %s", argv[1], argv[2], strerror(errno));
	for (unsigned d = 0; d < DIRS; d++) {
		char name[16];

		snprintf(name, sizeof(name), "d%u", d);
		must(mkdirat(own, name, 0755), "mkdir", name);
	}
	for (end = time(NULL) + strtol(argv[3], NULL, 10); time(NULL) < end; operations += 2) {
		shared_step(shared);
		own_step(own);
	}
	for (unsigned d = 0; d < DIRS; d++)
		for (unsigned n = 0; n < NAMES; n++)
			own_check(own, d, n);
	printf("%llu operations\n", (unsigned long long)operations);
	return 0;
}
