/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The same files through several paths. Place 0 is the pool's own directory ("direct"), the others
 * are mounts of it.
 */
#ifndef VIDAS_BENCH_PLACES_H
#define VIDAS_BENCH_PLACES_H

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

/* The options that name places and daemons, for vidas_bench_begin(): PLACES_OPTIONS of them. */
#define PLACES_OPTIONS 6u
void places_options(struct vidas_bench *b, struct places *p,
		    struct vidas_bench_option out[PLACES_OPTIONS]);

/* Makes the run's directory, `prefix` and our pid, at place 0, and looks that the others show it, with
 * a file's bytes. 0, or 1 after having said what is wrong. close takes it away again. */
int places_open(struct vidas_bench *b, struct places *p, const char *prefix);
void places_close(struct places *p);

#endif
