/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The near half of a vidasfs in two (lane.h): it has the mount, and carries messages between the kernel
 * and the far half. It knows of requests what is under way, and no more: so it is never in doubt what is
 * there, and a far half that dies takes along what is open, not the mount. Then another far half is
 * found; names that are looked up from there on work, what was open before answers ESTALE. A worker that is
 * killed is followed by another (keep.h), which begins with finding another far half. Kept of it is the kernel's
 * first request, as the far half has it, and how many far halves there were.
 *
 * Threads: one carries from the kernel to the far half, one back; the main thread waits for signals.
 */
#ifndef VIDASFS_NEAR_H
#define VIDASFS_NEAR_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fuse_in_header;
struct vidas_lane_map;
struct vidas_lane_mapped;
struct vidas_share;

/* Is this process to be one? */
bool vidas_is_near(void);
/* Finds the far half, and tells it what the mount is to be. -errno with words. */
int vidas_near_connect(void);
/* In place of that and of mounting, where a worker was killed: goes on with its mount, whose far half is lost. */
int vidas_near_go_on(void);
/* Carries messages of the mounted session until it is unmounted, or told to end. 0 or -errno with words. */
int vidas_near_run(const sigset_t *ends);
/* Once unmounted: has the far half end, and waits until it has. */
void vidas_near_close(void);

/* Between near.c, near_pump.c, near_pending.c and near_map.c ------------------------------------------------------- */

struct vidas_near {
	int fuse_fd;
	int lane;  /* -1: there is no far half now */
	pid_t pid; /* of the far half, if we have started it */
};
extern struct vidas_near vidas_near;

/* Another far half in place of the lost one: connected, and told what the kernel has begun with; `buf`
 * has room for a message. -errno with words. */
int vidas_near_reconnect(void *buf);
/* Does what a message of the far half's own asks for; `share` came with it. */
void vidas_near_private(const void *message, size_t bytes, struct vidas_share *share);

/* near_pump.c. resend: has the kernel send again what was not answered; what is on the lane before its answer to
 * `token` is not. */
void vidas_near_resend(uint64_t token);
/* near_pending.c. A request that waited for memory: it goes to the far half after all (copied); it was served; nothing of it
 * will have changed the file. */
void vidas_near_again(const struct fuse_in_header *in);
void vidas_near_served(uint64_t unique);
void vidas_near_unchanged(uint64_t unique);

/* near_map.c. What becomes of a read or write that the kernel has sent: */
enum vidas_near_way {
	VIDAS_NEAR_FORWARD, /* to the far half; if a write, vidas_near_changing() first */
	VIDAS_NEAR_ASK,	    /* with the question *m before it */
	VIDAS_NEAR_PARKED,  /* it waits for memory that was asked for */
	VIDAS_NEAR_SERVED,  /* the kernel has its answer */
};
enum vidas_near_way vidas_near_io(const struct fuse_in_header *in, struct vidas_lane_map *m);
/* The far half hands over memory; has carried out the read or write that had asked; takes it back. */
void vidas_near_mapped(const struct vidas_lane_mapped *m, struct vidas_share *share);
void vidas_near_inline(uint64_t nodeid, uint64_t unique);
void vidas_near_drop(uint64_t nodeid);
/* A request that may change a file's size or its memory passes; has passed. */
void vidas_near_changing(uint64_t nodeid, bool write);
void vidas_near_changed(uint64_t nodeid, bool write);
void vidas_near_forget(uint64_t nodeid);
/* Tells the far half of writes that it does not know of; are there any? */
void vidas_near_touch(void);
bool vidas_near_touched(void);
void vidas_near_reset(void); /* there is another far half, or worker */

#endif
