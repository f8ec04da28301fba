/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files fsck*.c share: fsck.c the pool, fsck_container.c a container, fsck_tree.c its files. */
#ifndef VIDAS_FSCK_INTERNAL_H
#define VIDAS_FSCK_INTERNAL_H

#include "pool/host/fsck.h"
#include "pool/sync/internal.h"

struct fsck_inode {
	UT_hash_handle hh;
	uint64_t inode;
	unsigned controls; /* control files that name it */
};

struct fsck {
	struct vidas_fsck *f;
	int pool;
	bool again;		/* the second look at a pool in use: what is found now counts */
	struct sync_list found; /* in the first one */
	unsigned trash;

	/* Of the container that is looked at. */
	const char *name;
	int dir;
	bool rooted;
	struct vidas_sync sync;	   /* only its directories, for records and marks */
	struct fsck_inode *inodes; /* regular files of its tree */
	uint64_t files, absent, changed;
};

enum fsck_kind { FSCK_PROBLEM, FSCK_LEFTOVER };

/*
 * Says "PLACE: TEXT", PLACE relative to the pool. True: repair it, and tell how that went by
 * fsck_repaired(). In the first look at a pool in use it is only remembered.
 */
bool fsck_find(struct fsck *k, enum fsck_kind kind, const char *place, const char *fmt, ...)
	VIDAS_PRINTF(4, 5);
void fsck_repaired(struct fsck *k, const char *place, int err);
/* Removes a finding that is a file or an empty directory. */
void fsck_remove(struct fsck *k, int dir, const char *name, const char *place);
/* Text of at most `max` bytes that must be a JSON object; NULL: it is none, or not there. */
bool fsck_is_json(int dir, const char *name, size_t max);

/* Has it a control file? Then it may have been joined when all was killed. */
bool fsck_has_objects(struct fsck *k, uint64_t inode);

void fsck_container(struct fsck *k, const char *name);
void fsck_tree(struct fsck *k);	 /* every file; fills inodes and counts */
void fsck_known(struct fsck *k); /* every record */

#endif
