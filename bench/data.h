/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench/data: the same files through several paths. Place 0 is the pool's own directory ("direct"),
 * the others are mounts of it.
 */
#ifndef VIDAS_BENCH_DATA_H
#define VIDAS_BENCH_DATA_H

#include "bench/lib/options.h"
#include "bench/lib/place.h"

#define PLACES_MAX 6u

enum place_role {
	PLACE_DIRECT, /* what everything is compared with */
	PLACE_JUDGED, /* has the goals */
	PLACE_PEER,   /* whose names' operations are the goal of the judged one */
	PLACE_BESIDE, /* another peer for names, without goals */
	PLACE_OTHER,
};

struct place {
	enum place_role role;
	char name[32];
	const char *dir;
	int fd; /* of a directory of this run's own below dir, the same one at all places */
};

struct places {
	struct place place[PLACES_MAX];
	unsigned n;
	char run[64];		/* name of this run's directory */
	int daemon[PLACES_MAX]; /* processes that answer for the mounts */
	unsigned daemons;
};

/* Both print their rows and return 0, or 1 after having said what went wrong. */
int data_io_run(struct vidas_bench *b, const struct places *p);	   /* reads, writes, mmap */
int data_names_run(struct vidas_bench *b, const struct places *p); /* create, stat, open, unlink */

#endif
