/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * exercise FILE ORACLE OPERATIONS SEED [OPTION...]: works on a file in all the ways there are, and checks
 * every byte it reads against what it should be. Several at once may work on one file, in any domains.
 *
 * ORACLE is a file outside of what is tested, with the content that FILE should have; who works on
 * a range of both has it locked by fcntl on FILE: shared to read, exclusive to write. The length of
 * the file is 8 bytes at the oracle's end, guarded by a lock beyond the end: shared for all that
 * leaves the length alone, exclusive for what changes it.
 *
 * Options: nomap (no shared mappings), nolock (nobody else works on the file), nopunch.
 * Each operation is chosen by the seed; the first difference is printed with what was done last,
 * and ends it with status 1. An error that is not expected: status 2.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE_MAX_BYTES (256 * 1024)
#define RANGE_BYTES    (48 * 1024)
#define LENGTH_LOCK    (UINT64_C(1) << 40)
#define GATE_LOCK      (LENGTH_LOCK + 1) /* held by who waits for the length: the others let it in */
#define HISTORY	       12

struct oracle {
	uint8_t byte[SIZE_MAX_BYTES];
	uint64_t size;
};

enum action {
	READ,
	MAP_READ,
	WRITE,
	MAP_WRITE,
	PUNCH,
	ZERO,
	COPY,
	CUT,
	EXTEND,
	APPEND,
	SYNC,
	REOPEN,
	ACTIONS,
};

static const char *const names[ACTIONS] = { "read",   "map read", "write", "map write",
					    "punch",  "zero",	  "copy",  "cut",
					    "extend", "append",	  "sync",  "reopen" };
/* Of 100. */
static const unsigned weight[ACTIONS] = { 22, 20, 16, 16, 3, 3, 4, 3, 3, 5, 3, 2 };

static const char *path;
static struct oracle *oracle;
static int fd = -1;
static bool no_map, no_lock, no_punch;
static uint64_t random_state;
static uint8_t buffer[SIZE_MAX_BYTES];

static struct event {
	uint64_t number;
	enum action action;
	uint64_t offset, bytes, size;
} history[HISTORY];

static uint64_t random_below(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % n;
}

static void die(const char *what)
{
	fprintf(stderr, "exercise %s: %s: %s\n", path, what, strerror(errno));
	exit(2);
}

static void differs(uint64_t offset, uint8_t got, uint8_t want)
{
	fprintf(stderr, "exercise %s: byte %llu is %02x and should be %02x; last operations:\n",
		path, (unsigned long long)offset, got, want);
	for (unsigned i = 0; i < HISTORY; i++) {
		const struct event *e = &history[i];

		if (e->number)
			fprintf(stderr, "\t%llu %s %llu+%llu, file of %llu\n",
				(unsigned long long)e->number, names[e->action],
				(unsigned long long)e->offset, (unsigned long long)e->bytes,
				(unsigned long long)e->size);
	}
	exit(1);
}

static void lock(short type, uint64_t offset, uint64_t bytes)
{
	struct flock l = { .l_type = type,
			   .l_whence = SEEK_SET,
			   .l_start = (off_t)offset,
			   .l_len = (off_t)bytes };
	int got;

	if (no_lock)
		return;
	do
		got = fcntl(fd, F_SETLKW, &l);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		die("fcntl");
}

static void file_open(void)
{
	fd = open(path, O_RDWR | O_CREAT, 0666);
	if (fd < 0)
		die("open");
}

static void compare(const uint8_t *got, uint64_t offset, uint64_t bytes)
{
	const uint8_t *want = oracle->byte + offset;

	if (memcmp(got, want, bytes) == 0)
		return;
	for (uint64_t i = 0; i < bytes; i++)
		if (got[i] != want[i])
			differs(offset + i, got[i], want[i]);
}

static uint8_t *map(uint64_t offset, uint64_t bytes, int prot, size_t *mapped, uint8_t **base)
{
	uint64_t first = offset & ~UINT64_C(4095);

	*mapped = offset + bytes - first;
	*base = mmap(NULL, *mapped, prot, MAP_SHARED, fd, (off_t)first);
	if (*base == MAP_FAILED)
		die("mmap");
	return *base + (offset - first);
}

static void do_read(uint64_t offset, uint64_t bytes)
{
	ssize_t got = pread(fd, buffer, bytes, (off_t)offset);

	if (got < 0)
		die("pread");
	if ((uint64_t)got != bytes) {
		errno = 0;
		die("a short read");
	}
	compare(buffer, offset, bytes);
}

static void do_map(uint64_t offset, uint64_t bytes, bool write)
{
	size_t mapped;
	uint8_t *base,
		*p = map(offset, bytes, write ? PROT_READ | PROT_WRITE : PROT_READ, &mapped, &base);

	if (write)
		memcpy(p, oracle->byte + offset, bytes);
	else
		compare(p, offset, bytes);
	if (write && random_below(4) == 0 && msync(base, mapped, MS_SYNC) < 0)
		die("msync");
	munmap(base, mapped);
}

static void do_write(uint64_t offset, uint64_t bytes)
{
	ssize_t got = pwrite(fd, oracle->byte + offset, bytes, (off_t)offset);

	if (got != (ssize_t)bytes)
		die("pwrite");
}

static void do_append(uint64_t bytes)
{
	int end = open(path, O_WRONLY | O_APPEND);

	if (end < 0 || write(end, oracle->byte + oracle->size, bytes) != (ssize_t)bytes)
		die("append");
	oracle->size += bytes;
	close(end); /* now, for it ends all locks that the process has on the file */
}

static void new_bytes(uint64_t offset, uint64_t bytes)
{
	uint8_t value = (uint8_t)random_below(256);

	for (uint64_t i = 0; i < bytes; i++)
		oracle->byte[offset + i] = (uint8_t)(value + i * 7 + (i >> 8));
}

static void do_fallocate(int mode, uint64_t offset, uint64_t bytes)
{
	if (fallocate(fd, mode, (off_t)offset, (off_t)bytes) < 0) {
		if (errno != EOPNOTSUPP)
			die("fallocate");
		memset(buffer, 0, bytes);
		if (pwrite(fd, buffer, bytes, (off_t)offset) != (ssize_t)bytes)
			die("pwrite of zeros");
	}
	memset(oracle->byte + offset, 0, bytes);
}

/* Within the file, from another part of it that is read meanwhile. */
static void do_copy(uint64_t from, uint64_t to, uint64_t bytes)
{
	off_t in = (off_t)from, out = (off_t)to;
	uint64_t left = bytes;

	while (left) {
		ssize_t n = copy_file_range(fd, &in, fd, &out, left, 0);

		if (n <= 0)
			die("copy_file_range");
		left -= (uint64_t)n;
	}
	memmove(oracle->byte + to, oracle->byte + from, bytes);
}

static void check_size(void)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		die("fstat");
	if ((uint64_t)st.st_size == oracle->size)
		return;
	fprintf(stderr, "exercise %s: %lld bytes long and should be %llu\n", path,
		(long long)st.st_size, (unsigned long long)oracle->size);
	differs(0, 0, 0);
}

/* What changes the length; the whole is ours. */
static void resize(enum action a, uint64_t bytes)
{
	uint64_t old = oracle->size;

	if (a == APPEND) {
		if (bytes > SIZE_MAX_BYTES - old)
			return;
		new_bytes(old, bytes);
		do_append(bytes);
		return;
	}
	oracle->size =
		a == CUT ? random_below(old + 1) : old + random_below(SIZE_MAX_BYTES - old + 1);
	if (ftruncate(fd, (off_t)oracle->size) < 0)
		die("ftruncate");
	if (a == CUT)
		memset(oracle->byte + oracle->size, 0, SIZE_MAX_BYTES - oracle->size);
}

static void inside(enum action a, uint64_t offset, uint64_t bytes)
{
	switch (a) {
	case READ:
		do_read(offset, bytes);
		break;
	case MAP_READ:
	case MAP_WRITE:
		if (a == MAP_WRITE)
			new_bytes(offset, bytes);
		do_map(offset, bytes, a == MAP_WRITE);
		break;
	case WRITE:
		new_bytes(offset, bytes);
		do_write(offset, bytes);
		break;
	case PUNCH:
		do_fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes);
		break;
	case ZERO:
		do_fallocate(FALLOC_FL_ZERO_RANGE, offset, bytes);
		break;
	case COPY:
		do_copy(offset, offset + bytes / 2, bytes / 2);
		break;
	default:
		break;
	}
}

static enum action choose(void)
{
	uint64_t n = random_below(100);
	unsigned a = 0;

	while (a < ACTIONS - 1 && n >= weight[a])
		n -= weight[a++];
	if (no_map && (a == MAP_READ || a == MAP_WRITE))
		a -= MAP_READ - READ;
	if (no_punch && (a == PUNCH || a == ZERO))
		a = WRITE;
	return a;
}

static void step(uint64_t number)
{
	enum action a = choose();
	bool resizes = a == CUT || a == EXTEND || a == APPEND, reads = a == READ || a == MAP_READ;
	uint64_t offset = 0, bytes = 0;

	lock(F_WRLCK, GATE_LOCK, 1);
	lock(resizes ? F_WRLCK : F_RDLCK, LENGTH_LOCK, 1);
	lock(F_UNLCK, GATE_LOCK, 1);
	check_size();
	if (resizes) {
		bytes = 1 + random_below(RANGE_BYTES);
	} else if (oracle->size) {
		offset = random_below(oracle->size);
		bytes = 1 + random_below(RANGE_BYTES);
		if (bytes > oracle->size - offset)
			bytes = oracle->size - offset;
	}
	history[number % HISTORY] = (struct event){ number, a, offset, bytes, oracle->size };
	if (resizes) {
		resize(a, bytes);
	} else if (a == SYNC) {
		if (fsync(fd) < 0)
			die("fsync");
	} else if (a != REOPEN && bytes) {
		lock(reads ? F_RDLCK : F_WRLCK, offset, bytes);
		inside(a, offset, bytes);
		lock(F_UNLCK, offset, bytes);
	}
	lock(F_UNLCK, LENGTH_LOCK, 1);
	if (a == REOPEN) {
		close(fd);
		file_open();
	}
}

int main(int argc, char **argv)
{
	uint64_t operations;
	int o;

	if (argc < 5) {
		fprintf(stderr,
			"usage: exercise FILE ORACLE OPERATIONS SEED [nomap] [nolock] [nopunch]\n");
		return 2;
	}
	path = argv[1];
	operations = strtoull(argv[3], NULL, 10);
	random_state = strtoull(argv[4], NULL, 10) * UINT64_C(0x9e3779b97f4a7c15) | 1;
	for (int i = 5; i < argc; i++) {
		no_map |= strcmp(argv[i], "nomap") == 0;
		no_lock |= strcmp(argv[i], "nolock") == 0;
		no_punch |= strcmp(argv[i], "nopunch") == 0;
	}
	o = open(argv[2], O_RDWR | O_CREAT, 0666);
	if (o < 0 || ftruncate(o, sizeof(*oracle)) < 0)
		die("the oracle");
	oracle = mmap(NULL, sizeof(*oracle), PROT_READ | PROT_WRITE, MAP_SHARED, o, 0);
	if (oracle == MAP_FAILED)
		die("the oracle");
	file_open();
	for (uint64_t n = 1; n <= operations; n++)
		step(n);
	lock(F_RDLCK, 0, 0);
	check_size();
	do_read(0, oracle->size);
	printf("%llu operations\n", (unsigned long long)operations);
	return 0;
}
