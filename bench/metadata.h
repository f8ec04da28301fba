/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench/metadata: what names and attributes cost, and how often vidasd is asked for them. */
#ifndef VIDAS_BENCH_METADATA_H
#define VIDAS_BENCH_METADATA_H

#include <vidas/vidas.h>

#include "bench/names.h"

struct metadata {
	struct vidas_bench *b;
	const struct places *p;
	struct vidas *v;	/* vidasd, as the administrator */
	vidas_domain_id domain; /* the judged mount's */
	const char *rooted; /* directory of a container with a root, in that mount; NULL: none */
	const char *repository; /* for git clone; NULL: none */
	const char *archive;	/* for tar x; NULL: none */
};

/* Each prints its rows and returns 0, or 1 after having said what went wrong. */
int metadata_names_run(struct metadata *m);    /* small operations, raced */
int metadata_messages_run(struct metadata *m); /* how many messages to vidasd they are */
int metadata_trees_run(struct metadata *m); /* long listings; programs that walk and make trees */

/* The steps that names and messages have in common. */
extern const struct names_step metadata_steps[];
extern const unsigned metadata_steps_count;

#endif
