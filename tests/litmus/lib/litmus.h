/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Litmus tests: what docs/consistency.md promises, statement by statement. A test has the number of
 * its statement ([C12] there, "C12" here), and runs in one directory that is seen through the mounts of
 * two or three domains: dir[0], dir[1], ... Whatever a test calls on dir[i] is done in domain i.
 *
 * Many of them are one process that does one thing after the other in different domains: what has
 * returned in one must be seen by the next call in another. Where things are done at once there is
 * a process for each domain (together()), and a barrier (meet()) to begin at the same time.
 */
#ifndef LITMUS_H
#define LITMUS_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Where a statement holds. */
enum {
	STRICT = 1,	/* all domains in passthrough */
	STRICT_NOT = 2, /* not all in passthrough */
	RELAXED = 4,
	RELAXED_NOT = 8,
	PASSTHROUGH = STRICT | RELAXED,
	NOT = STRICT_NOT | RELAXED_NOT,
	STRICT_ANY = STRICT | STRICT_NOT,
	RELAXED_ANY = RELAXED | RELAXED_NOT,
	ANY = 15,
};

struct litmus {
	const char *tag; /* NULL ends a list */
	const char *what;
	unsigned where;
	void (*run)(void);
};
extern const struct litmus names_tests[], attr_tests[], data_tests[], map_tests[], relaxed_tests[];

extern unsigned mode;		 /* one of the first four above */
extern unsigned domains;	 /* 2 or 3 */
extern const char *dir[3];	 /* the same directory in each */
extern unsigned relaxed_seconds; /* of the mounts */

/* Ends the test as failed. */
__attribute__((format(printf, 1, 2), noreturn)) void fail(const char *fmt, ...);
#define CHECK(cond, ...)                   \
	do {                               \
		if (!(cond))               \
			fail(__VA_ARGS__); \
	} while (0)

/* "DIR/NAME" in domain d; good until the eighth call after it. */
const char *in(unsigned d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Opens or ends the test. */
int must_open(const char *path, int flags);
/* An empty file, made in domain 0 and removed by nobody: its name. */
const char *new_file(void);
void put(int fd, off_t at, uint64_t value);
uint64_t get(int fd, off_t at);

/* Memory that all processes of the test share outside of the domains. */
extern struct outside {
	_Atomic unsigned arrived, round, winners;
	_Atomic uint64_t word[8];
} * outside;

/* Runs one process a domain, and waits for all; fails if one of them failed. */
void together(void (*each)(unsigned d));
/* In together(): waits until all domains are here. */
void meet(void);
int64_t now_us(void);

#endif
