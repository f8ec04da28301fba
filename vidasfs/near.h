/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The near half of a vidasfs in two (lane.h): it has the mount, and carries messages between the kernel
 * and the far half. It knows of requests what is under way, and no more: so it is never in doubt what is
 * there, and a far half that dies takes along what is open, not the mount. Then another far half is
 * found; names that are looked up from there on work, what was open before answers ESTALE.
 *
 * Threads: one carries from the kernel to the far half, one back; the main thread waits for signals.
 */
#ifndef VIDASFS_NEAR_H
#define VIDASFS_NEAR_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vidas_options;

/* Is this process to be one? */
bool vidas_is_near(void);
/* Finds the far half, and tells it what the mount is to be. -errno with words. */
int vidas_near_connect(void);
/* Carries messages of the mounted session until it is unmounted, or told to end. 0 or -errno with words. */
int vidas_near_run(const sigset_t *ends);
/* Once unmounted: has the far half end, and waits until it has. */
void vidas_near_close(void);

/* Between near.c and near_pump.c ------------------------------------------------------------------ */

struct vidas_near {
	int fuse_fd;
	int lane;	     /* -1: there is no far half now */
	uint32_t instance;   /* of far halves so far */
	pid_t pid;	     /* of the far half, if we have started it */
	uint32_t init_bytes; /* the kernel's first request, as the far half has it */
	_Alignas(8) char init[256];
};
extern struct vidas_near vidas_near;

/* Another far half in place of the lost one: connected, and told what the kernel has begun with; `buf`
 * has room for a message. -errno with words. */
int vidas_near_reconnect(void *buf);
/* Does what a message of the far half's own asks for. */
void vidas_near_private(const void *message, size_t bytes);
/* near_pump.c: has the kernel send again what was not answered; what is on the lane before its answer to
 * `token` is not. */
void vidas_near_resend(uint64_t token);

#endif
