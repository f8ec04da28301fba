/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * posix-random: the same random calls on two file systems, with the same outcome.
 *
 *	posix-random [-k] SEED STEPS REFERENCE HERE [THERE]
 *
 * REFERENCE is an empty directory of a tmpfs, HERE one of the file system in question, THERE the same as HERE
 * by another mount. Each step is one call, by one of three users, on one side, on names and descriptors
 * that earlier steps have left; result, errno and all that is read have to be the same. What differs is
 * printed with the steps before it, which the seed brings again. -k: what needs both sides to have one
 * page cache is left out.
 */
#ifndef VIDAS_TESTS_POSIX_RANDOM_H
#define VIDAS_TESTS_POSIX_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORLDS 2
#define SLOTS  8

/* A file system: its directory by both sides, and the descriptors that are open in it. */
struct world {
	int side[2];
	int fd[SLOTS];
	bool append[SLOTS]; /* opened so */
};

/* What a call is made with; drawn before it is made in each world. */
struct step {
	unsigned op, side, user;
	char path[64], other[64];
	unsigned slot, slot2;
	int flags;
	unsigned mode, id;
	int64_t offset, length;
	unsigned seed; /* of the bytes that are written */
};

/* What comes of it. */
struct outcome {
	int64_t value;
	int error;
	size_t size;
	char bytes[8192];
};

struct op {
	const char *name;
	unsigned weight;
	bool one_cache;
	bool data; /* it may change data: root does it without CAP_FSETID, see main.c */
	void (*run)(struct world *w, const struct step *s, struct outcome *o);
};

extern const struct op random_name_ops[], random_file_ops[]; /* end with one without a name */

/* Adds text to what has to be the same. */
void say(struct outcome *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Adds the attributes of a file that have to be. */
struct stat;
void say_stat(struct outcome *o, const struct stat *st);

#endif
