/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is under way between the kernel and the far half, for near_pump.c. Threads: all of this is thread-safe, but that
 * only one adds requests.
 */
#ifndef VIDASFS_NEAR_PENDING_H
#define VIDASFS_NEAR_PENDING_H

#include <linux/fuse.h>

#include "vidasfs/near.h"

/* A descriptor that is readable when there may be room again, or something to go on with; or -errno. */
int vidas_pending_init(void);
void vidas_pending_wake(void);
/* May one more request be taken? */
bool vidas_pending_room(void);

/* A request that will have a reply. -ENOMEM. */
int vidas_pending_add(const struct fuse_in_header *in);
/* It may change that file; see vidas_near_changed(). */
void vidas_pending_changes(uint64_t unique, uint64_t nodeid);
/* Its reply has come. */
void vidas_pending_done(uint64_t unique);
/* None will have one: forgets them all, and has each answered (NULL: not) with the errno for it. */
void vidas_pending_fail(void (*answer)(uint64_t unique, int err));
/* Calls `route` for those that go on, see vidas_near_again(); `may_ask`: not too often yet. */
void vidas_pending_again(void (*route)(const struct fuse_in_header *in, bool may_ask));

#endif
