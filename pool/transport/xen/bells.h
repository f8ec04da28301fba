/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Waking who sleeps in another guest. A futex does not reach there; an event channel does, and Dom0 has no part in
 * that. The table is in the resource's control page (struct vidas_shm_bell): each process of a guest that has it mapped
 * has a slot. Who is about to sleep puts into its slot an event channel's port for each other slot, which by Xen's word
 * only that one's guest can bind; who changes a word that others sleep on binds the port that is for it, once, and
 * rings. So the first ring of a pair of processes takes two system calls, others one.
 *
 * What is in the table anyone may have written: the worst that comes of it is a ring too many, or one that is not heard,
 * and then the sleeper looks by itself, after 0.1 s at most. A sleeper that finds a word changed without having heard a
 * ring (by a program of the host, by one without a slot or without the right to open /dev/xen/evtchn) looks each 2 ms
 * from then on, until it hears one. A port that a third domain offers to this one for something else could be taken up
 * by who names it in the table: not Dom0's, which are never bound; but a guest that is itself a backend of others
 * should share containers with those that it trusts. Ports are the process's, and end with it.
 *
 * Any thread may call these functions.
 */
#ifndef VIDAS_BELLS_H
#define VIDAS_BELLS_H

#include <stdbool.h>
#include <stdint.h>

#include <vidas/shm.h>

/* Words that this process waits for may be changed by other kernels from now on. */
void vidas_bells_apart(void);
/* This process is in the guest of that domid, as the gate has said (0: in none). */
void vidas_bells_guest(uint32_t domid);

/* Takes a slot for who maps `bytes` of a control file at `r`, writable, as that session; `alive` tells whether the
 * session of another slot lives, and is asked only if there is no free one. Without a slot, or a device, waits are
 * naps. Ended by leave, before it is unmapped. */
void vidas_bells_join(struct vidas_shm_resource *r, size_t bytes, uint32_t session,
		      bool (*alive)(void *arg, uint32_t session), void *arg);
void vidas_bells_leave(struct vidas_shm_resource *r);

/* Of this process, so far. */
struct vidas_bells_count {
	uint64_t rung;	 /* others, by us */
	uint64_t heard;	 /* waits that a ring ended */
	uint64_t missed; /* waits that ended by a look of our own, after a nap */
};
struct vidas_bells_count vidas_bells_so_far(void);

#endif
