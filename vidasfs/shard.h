/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between node.c and handle.c: the table of nodes in shards, so that two containers hardly ever
 * meet at a lock. All functions here are called under the shard's lock.
 */
#ifndef VIDASFS_SHARD_H
#define VIDASFS_SHARD_H

#include "vidasfs/fs.h"

#define VIDAS_SHARDS 64u

struct vidas_shard {
	pthread_mutex_t lock;
	struct vidas_node *table;
	struct vidas_node *queue; /* nodes with a descriptor; the head is looked at first */
} __attribute__((aligned(64)));

extern struct vidas_shard vidas_shards[VIDAS_SHARDS];

static inline struct vidas_shard *vidas_shard_of(uint64_t ino)
{
	return &vidas_shards[(ino * UINT64_C(0x9e3779b97f4a7c15)) >> 58];
}

/* The node owns `fd` from here on; the caller runs vidas_fd_trim() once the lock is gone. */
void vidas_fd_attach(struct vidas_node *n, int fd);
/* Takes the descriptor from the node; the caller closes it. */
int vidas_fd_detach(struct vidas_node *n);
/* Is `fd` open on the inode of which the node knows the handle? */
bool vidas_fd_same(const struct vidas_node *n, int fd);

/* Without a shard's lock: gives descriptors up while there are too many. */
void vidas_fd_trim(void);

#endif
