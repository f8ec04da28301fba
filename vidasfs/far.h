/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The far half (lane.h): vidasfs whose requests come from a lane in place of /dev/fuse. What it lets
 * requests name is what it has told of: a node or an open file is in use for as long as a request names
 * it, whatever else is asked for meanwhile.
 *
 * The kernel is not asked but through the lane: so what is written to it with vidas_channel_write() is
 * answered when the near half has done so, and errors are the near kernel's. Whoever waits for that
 * takes messages from the lane himself; so it may be waited for under locks.
 *
 * Threads: all of this is thread-safe, but vidas_far_greet() and vidas_far_welcome(), which come first.
 */
#ifndef VIDASFS_FAR_H
#define VIDASFS_FAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct fuse_buf;
struct fuse_session;
struct vidas_handle;
struct vidas_options;

/* Before there is a worker: hears what the mount is to be, which becomes `o`. -errno with words. */
int vidas_far_greet(struct vidas_options *o);
/* Tells the near half whether it is, with vidas_fail_text(). */
void vidas_far_welcome(int err);
/* The lane in place of a mount. */
int vidas_far_session(struct fuse_session *se);
/* For vidas_channel_write(): one message for the kernel there. */
int vidas_far_tell(const void *message, size_t bytes);
/* Readable while requests wait that somebody else has taken from the lane; -1: this is no far half. */
int vidas_far_queue_fd(void);

/* About to carry out a request that this thread has read (far_hold.c): true, `buf` is one of FUSE, and leave
 * afterwards; false: it was answered, or has no answer. */
bool vidas_far_enter(struct fuse_buf *buf);
void vidas_far_leave(void);
/* Answers a request with an errno, or 0, by itself. */
struct fuse_in_header;
void vidas_far_answer(const struct fuse_in_header *in, int err);
/* The handle is in use for longer, by a request that waits. */
void vidas_far_hold(struct vidas_handle *h);
void vidas_far_unhold(struct vidas_handle *h);

/* Who a process of the near half's is: its groups (as getgroups(2) counts them), its capabilities.
 * -errno: it is gone, or there is no answer. */
int vidas_far_groups(pid_t pid, int room, gid_t *list);
int vidas_far_caps(pid_t pid, uint64_t *caps);

/* Memory of files (far_map.c). map: answers a read or write by handing over what it asks for; false: it is
 * to be carried out. unmap: returns when the near half uses none of the file; before it gets shorter, or has
 * memory taken out of it. touched: a file was written to. */
struct vidas_lane_map;
struct vidas_node;
bool vidas_far_map(const struct vidas_lane_map *q, const struct fuse_in_header *in);
void vidas_far_unmap(struct vidas_node *n);
void vidas_far_touched(uint64_t id);
/* far.c: tells the near half so, by the node's number. */
void vidas_far_drop(uint64_t id);

/* After a worker died: what was under way comes again. */
int vidas_far_resend(void);

#endif
