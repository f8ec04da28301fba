/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between lock.c and lock_wait.c: who holds locks, and who waits for them.
 *
 * A POSIX lock owner (a process, or an open file for OFD locks: FUSE does not tell which) has for each
 * file that it locks one descriptor of the pool's file, and open-file-description locks on it. What
 * it holds is what the host's kernel says of that descriptor; nothing is kept in double.
 *
 * Lock order: node->lock, then the waits' lock (lock_wait.c), then the owners' lock (lock.c).
 */
#ifndef VIDASFS_LOCK_H
#define VIDASFS_LOCK_H

#include "vidasfs/fs.h"

/* Kept (keep.h). */
struct vidas_lock_owner {
	struct vidas_lock_owner *next;		      /* of the node; node->lock */
	struct vidas_lock_owner *all_prev, *all_next; /* of all; owners' lock */
	struct vidas_node *node;
	uint64_t id; /* of the kernel */
	pid_t pid;   /* who locked last, 0: in no pid namespace of ours; node->lock */
	int fd;
	unsigned waits; /* requests that wait on `fd`; node->lock */
	bool closed;	/* to go with the last of them, unless it is given a lock; node->lock */
	const struct vidas_handle *via; /* the open file it was last used through; node->lock */
};

/* What an owner holds, on files of all containers: at most `max` of it in `out`, and for each a
 * reference to its branch in `branches`. Returns how much there is. */
size_t vidas_locks_held(uint64_t owner, struct vidas_tree_lock *out, struct vidas_branch **branches,
			size_t max);

/* Gives back one of the owner's `waits`; `pid` has the lock now, if it was granted. */
void vidas_lock_waited(struct vidas_handle *h, struct vidas_lock_owner *o, pid_t pid, bool granted);

/*
 * Has the request answered when the lock is there, or was interrupted (EINTR), or would wait for
 * ever (EDEADLK). `o` with one of its `waits` taken and `lock`; or, for flock(2), `o` NULL and `op`.
 */
void vidas_lock_wait(fuse_req_t req, struct vidas_handle *h, struct vidas_lock_owner *o,
		     const struct flock *lock, int op);
/* What the owner holds has changed: matters if it waits as well. */
void vidas_lock_wait_changed(uint64_t owner);

#endif
