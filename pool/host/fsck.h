/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is a pool what it should be? For `vidas fsck`: looks at the directory itself, needs no vidasd, and
 * does not disturb one that runs. Everything in the pool that domains can write is taken for hostile.
 *
 * Without a vidasd the pool's marker is locked meanwhile, so that none starts. With one, the pool is
 * only looked at, twice, and what was wrong both times counts: half-way states come and go.
 *
 * Two kinds of findings. A problem is what no vidasd leaves, alive or killed. A leftover is what a
 * killed one leaves and the next one would clean up or go on with by itself. Repair is made of what
 * cannot lose a byte: leftovers are removed, marks and records that contradict each other are taken
 * off, upon which the file counts as changed and is pushed, and what the store has is kept.
 */
#ifndef VIDAS_FSCK_H
#define VIDAS_FSCK_H

#include <stdbool.h>
#include <stdint.h>

struct vidas_fsck {
	const char *pool; /* its directory */
	bool repair;	  /* -EBUSY with a vidasd */
	bool data;	  /* reads all files, to see whether their bytes are those agreed on */
	/* One finding or summary, a line without its end. */
	void (*say)(void *arg, const char *line);
	void *arg;

	/* Results. */
	bool online;		     /* a vidasd has the pool */
	unsigned problems, repaired; /* repaired ones are among the problems */
	unsigned leftovers;
};

/* 0 it was checked, whatever was found; -errno it could not be, in words. One thread. */
int vidas_fsck(struct vidas_fsck *f);

#endif
