/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Data by read and write, and locks. */
#include "litmus.h"

#include <sched.h>
#include <sys/file.h>

#define ROUNDS 500u

static int fds[3];
static const char *names[2];
static int more[3];

static void open_all(int fd[3], const char *name, int flags)
{
	for (unsigned d = 0; d < domains; d++)
		fd[d] = must_open(in(d, "%s", name), flags);
}

static void close_all(const int fd[3])
{
	for (unsigned d = 0; d < domains; d++)
		close(fd[d]);
}

static void read_after_write(void)
{
	open_all(fds, new_file(), O_RDWR);
	for (unsigned i = 0; i < ROUNDS; i++) {
		off_t at = i * 4000;

		put(fds[i % domains], at, i);
		for (unsigned d = 0; d < domains; d++)
			CHECK(get(fds[d], at) == i, "domain %u does not read what was written", d);
		if (i % 10)
			continue;
		CHECK(!ftruncate(fds[i % domains], at), "ftruncate: %m");
		for (unsigned d = 0; d < domains; d++) {
			uint64_t value = 1;

			CHECK(pread(fds[d], &value, 8, at) == 0, "domain %u reads beyond the end",
			      d);
		}
	}
	close_all(fds);
}

/* Domain 0 writes data, then a flag in another file; who sees the flag sees the data. */
static void pass(unsigned d)
{
	int data = must_open(in(d, "%s", names[0]), O_RDWR);
	int flag = must_open(in(d, "%s", names[1]), O_RDWR);

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		meet();
		if (d == 0) {
			put(data, 8 * (off_t)(i % 600), i);
			put(flag, 0, i);
			continue;
		}
		while (get(flag, 0) != i)
			sched_yield();
		CHECK(get(data, 8 * (off_t)(i % 600)) == i, "the flag without the data");
	}
}

static char two_names[2][64];

static void two_files(void)
{
	for (unsigned i = 0; i < 2; i++) {
		snprintf(two_names[i], sizeof(two_names[i]), "%s", new_file());
		names[i] = two_names[i];
	}
}

static void message_passing(void)
{
	two_files();
	together(pass);
}

/* Domains 0 and 1 each write their own and read the other's: one of them at least sees a new one. */
static void buffer(unsigned d)
{
	int own = must_open(in(d, "%s", names[d % 2]), O_RDWR);
	int other = must_open(in(d, "%s", names[(d + 1) % 2]), O_RDWR);

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		meet();
		if (d < 2) {
			put(own, 0, i);
			outside->word[d] = get(other, 0);
		}
		meet();
		CHECK(outside->word[0] == i || outside->word[1] == i,
		      "neither saw the other's write");
	}
}

static void store_buffering(void)
{
	two_files();
	together(buffer);
}

/* Domain 0 counts up; nobody ever sees it go back. */
static void count_or_look(unsigned d)
{
	int fd = must_open(in(d, "%s", names[0]), O_RDWR);
	int64_t end = now_us() + 200000;
	uint64_t last = 0, now;

	meet();
	while (now_us() < end) {
		if (d == 0)
			put(fd, 0, ++last);
		now = get(fd, 0);
		CHECK(now >= last, "domain %u saw %ju after %ju", d, (uintmax_t)now,
		      (uintmax_t)last);
		last = now;
	}
}

static void coherent(void)
{
	two_files();
	together(count_or_look);
}

/* The first writes and tells the second by a file, the second the third (which with two domains is the
 * first again) by another: that one sees what the first wrote. */
static void tell_on(unsigned d)
{
	int x = must_open(in(d, "%s", names[0]), O_RDWR);
	int y = must_open(in(d, "%s", names[1]), O_RDWR);

	for (uint64_t i = 1; i <= ROUNDS; i++) {
		meet();
		if (d == 0) {
			put(x, 0, i);
			put(y, 0, i);
		} else if (d == 1) {
			while (get(y, 0) != i)
				sched_yield();
			put(y, 8, i);
		}
		if (d != domains - 1 && d != 0)
			continue;
		while (get(y, 8) != i)
			sched_yield();
		CHECK(get(x, 0) == i, "domain %u was told, and sees the old", d);
	}
}

static void transitive(void)
{
	two_files();
	together(tell_on);
}

#define RECORD 100

static void append_some(unsigned d)
{
	int fd = must_open(in(d, "%s", names[0]), O_WRONLY | O_APPEND);
	char record[RECORD + 1];

	meet();
	for (unsigned i = 0; i < ROUNDS; i++) {
		int n = snprintf(record, sizeof(record), "%u %u ", d, i);

		memset(record + n, 'a' + (char)d, (size_t)(RECORD - n));
		record[RECORD - 1] = '\n';
		CHECK(write(fd, record, RECORD) == RECORD, "append: %m");
	}
}

static void append(void)
{
	unsigned next[3] = { 0 }, d, i;
	char record[RECORD];
	int fd;

	two_files();
	together(append_some);
	fd = must_open(in(domains - 1, "%s", names[0]), O_RDONLY);
	for (unsigned n = 0; n < domains * ROUNDS; n++) {
		CHECK(read(fd, record, RECORD) == RECORD && record[RECORD - 1] == '\n' &&
			      sscanf(record, "%u %u", &d, &i) == 2 && d < domains,
		      "record %u is torn", n);
		CHECK(i == next[d], "domain %u's record %u is where %u should be", d, i, next[d]);
		next[d]++;
		for (unsigned k = 8; k < RECORD - 1; k++)
			CHECK(record[k] == 'a' + (char)d, "a record is mixed with another");
	}
	CHECK(read(fd, record, 1) == 0, "there is more than was appended");
	close(fd);
}

#define BLOCK	    (256 << 10)
#define BLOCK_SPLIT (120 << 10) /* vidasfs in two halves has smaller requests */

/* All write the whole range at once: afterwards it is one of theirs. */
static void write_whole(unsigned d)
{
	int fd = must_open(in(d, "%s", names[0]), O_RDWR);
	unsigned bytes = getenv("VIDASFS_SPLIT") ? BLOCK_SPLIT : BLOCK;
	char *block = malloc(bytes);

	for (unsigned i = 0; i < ROUNDS / 4; i++) {
		memset(block, 'a' + (int)((d + 3 * i) % 26), bytes);
		meet();
		CHECK(pwrite(fd, block, bytes, 512) == bytes, "pwrite: %m");
		meet();
		CHECK(pread(fd, block, bytes, 512) == bytes, "pread: %m");
		for (unsigned k = 1; k < bytes; k++)
			CHECK(block[k] == block[0], "two writes are mixed, at %u", k);
	}
	free(block);
}

static void whole_writes(void)
{
	two_files();
	together(write_whole);
}

/* A counter that is read and written under a lock misses no step. */
static void count_locked(unsigned d)
{
	int fd = must_open(in(d, "%s", names[0]), O_RDWR);
	int other = must_open(in(d, "%s", names[1]), O_RDWR);
	struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 8, .l_len = 8 };

	meet();
	for (unsigned i = 0; i < ROUNDS / 4; i++) {
		CHECK(!flock(fd, LOCK_EX), "flock: %m");
		put(fd, 0, get(fd, 0) + 1);
		CHECK(!flock(fd, LOCK_UN), "flock: %m");
		range.l_type = F_WRLCK;
		CHECK(!fcntl(other, F_SETLKW, &range), "fcntl: %m");
		put(other, 8, get(other, 8) + 1);
		range.l_type = F_UNLCK;
		CHECK(!fcntl(other, F_SETLK, &range), "fcntl: %m");
	}
}

static void locked(void)
{
	two_files();
	together(count_locked);
	open_all(fds, names[0], O_RDWR);
	open_all(more, names[1], O_RDWR);
	for (unsigned d = 0; d < domains; d++) {
		CHECK(get(fds[d], 0) == domains * (ROUNDS / 4), "steps were lost under flock");
		CHECK(get(more[d], 8) == domains * (ROUNDS / 4), "steps were lost under fcntl");
	}
	close_all(fds);
	close_all(more);
}

const struct litmus data_tests[] = {
	{ "C20", "a read returns what the last write, wherever, has written", STRICT_ANY | RELAXED,
	  read_after_write },
	{ "C21", "message passing: who sees the flag sees the data", STRICT_ANY | RELAXED,
	  message_passing },
	{ "C22", "store buffering: of two that write and then read each other, one sees the other",
	  STRICT_ANY | RELAXED, store_buffering },
	{ "C23", "nobody who has read a new value reads an older one later", STRICT_ANY | RELAXED,
	  coherent },
	{ "C24", "who is told by one who was told sees what the first wrote", STRICT_ANY | RELAXED,
	  transitive },
	{ "C25", "appends of all domains are whole, in each domain's order, and none is lost", ANY,
	  append },
	{ "C26", "of writes to one range at once one is there afterwards, whole",
	  STRICT_ANY | RELAXED, whole_writes },
	{ "C30", "what is read and written under a lock misses no step", STRICT_ANY | RELAXED,
	  locked },
	{ 0 },
};
