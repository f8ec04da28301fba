/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What vidas-gate counts for each guest, for `vidas status` and benchmarks: RUN_DIR/gate/DOMAIN, a file that the
 * guest's process of the gate keeps mapped and locked. It is there, and locked, as long as that guest is served.
 * Whoever reads it sees numbers a moment old, each of them whole. One thread writes, any may read.
 */
#ifndef VIDAS_COUNTS_H
#define VIDAS_COUNTS_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include <vidas/vidas.h>

#define VIDAS_COUNTS_MAGIC UINT64_C(0x31544e4344495600) /* "\0VIDCNT1" */

/* Since this process began to serve the guest's agent, but where it says "now". */
struct vidas_counts {
	uint64_t magic;
	uint32_t domain, guest; /* guest: Xen's domid; 0: a container of this host */
	uint32_t pid, spare;	/* of that process */
	_Atomic uint64_t frames_in, frames_out;	  /* over the ring, with what manages it */
	_Atomic uint64_t payload_in, payload_out; /* bytes of them, without their heads */
	_Atomic uint64_t requests;		  /* for vidasd: the host RPCs of libvidas */
	_Atomic uint64_t fs_requests;		  /* for far halves: what /vidas asks Dom0 */
	_Atomic uint64_t shares;	/* pieces of memory handed over; the guest maps each once */
	_Atomic uint64_t pages_granted; /* of 4 KiB, each time it is granted */
	_Atomic uint64_t pages_held;	/* now */
	_Atomic uint64_t lanes, mounts; /* now */
};

/* At the gate. The descriptor that holds the lock, or -errno with words. */
int vidas_counts_open(const char *run_dir, vidas_domain_id domain, uint32_t guest,
		      struct vidas_counts **out);
/* Takes both back; `fd` < 0: there are none. */
void vidas_counts_close(const char *run_dir, struct vidas_counts *counts, int fd);

/* Calls `take` for each guest that is served now, in no order, with a copy. 0, also where there is no gate. */
int vidas_counts_read(const char *run_dir,
		      void (*take)(void *arg, const struct vidas_counts *counts), void *arg);

#endif
