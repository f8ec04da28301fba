/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations on names, raced: in each place a directory of its own, made through that place; all
 * places do each step by turns. First each domain's mount alone beside the peers, then two domains
 * at once, as what one of them does may cost the other a recall of what it caches.
 */
#ifndef VIDAS_BENCH_NAMES_H
#define VIDAS_BENCH_NAMES_H

#include "bench/places.h"

#define NAMES_A_SLICE 25u
#define NAMES_SLICES  8u

/* A place at work. */
struct names_party {
	int fd;	       /* its directory, through the place */
	int direct_fd; /* the same directory, through place 0 */
	unsigned run;  /* counts the times that all slices were begun: for names used once only */
};

/* Steps follow each other: what one makes the next ones find. */
struct names_step {
	const char *name;
	int (*prepare)(void *party, unsigned slice); /* NULL: nothing */
	long (*turn)(void *party, unsigned slice);   /* names worked on, or -errno */
	void (*finish)(void *party, unsigned slice); /* NULL: nothing */
	double of_peer;	  /* goal: this share of the peer's speed; 0: none */
	double of_direct; /* goal: this share of place 0's; 0: not put beside it */
};

struct names_work {
	const struct names_step *steps;
	unsigned count;
	bool shared_judged; /* goals are for two domains at work, too */
};

/* Steps that several works have, on the files file-0... */
long names_create(void *party, unsigned slice);
long names_stat(void *party, unsigned slice);
long names_open(void *party, unsigned slice);
long names_unlink(void *party, unsigned slice);

/* Does `one` for all of a slice's files; their names are `prefix` and a number. -errno. */
long names_each(const struct names_party *p, unsigned slice, const char *prefix,
		int (*one)(int dir, const char *name));

/* A place's directory. open: 0, or 1 after having said why; close removes the files file-N too. */
int names_party_open(struct vidas_bench *b, const struct places *p, unsigned place,
		     struct names_party *party);
void names_party_close(const struct places *p, unsigned place, struct names_party *party);

/* Prints the rows; 0, or 1 after having said what went wrong. */
int names_run(struct vidas_bench *b, const struct places *p, const struct names_work *work);

#endif
