/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory by grants: the gate's side (grants.c), by /dev/vidas-gnt (kmod/vidas-gnt.h), and the agent's (maps.c),
 * by gntdev. One thread each.
 */
#ifndef VIDAS_GRANTS_H
#define VIDAS_GRANTS_H

#include "pool/transport/transport.h"

struct vidas_grants;

struct vidas_granted {
	uint64_t pages; /* each time one is granted */
	uint64_t held;	/* now; also those that the guest does not give back */
};

/* The device, for one guest alone from now on, which is granted at most `cap_pages` at once (0: no
 * limit but Xen's). -EOPNOTSUPP there is none; with words. */
int vidas_grants_device(uint32_t domid, uint32_t cap_pages, int *fd);

/* `fd` as above, which stays the caller's, or -1: then every share is refused (-EOPNOTSUPP). */
int vidas_grants_new(int fd, uint32_t domid, struct vidas_grants **out);
/* Takes back all that is not mapped; the rest goes with the device's descriptor, and with the guest. */
void vidas_grants_free(struct vidas_grants *g);

/*
 * Grants the range of a share under its number; *refs, one a page, stay where they are until it is
 * released. All or nothing: -ENOSPC Xen has no more grants, -EDQUOT the guest's cap, -EOPNOTSUPP, -ENOMEM;
 * logged with what to do about it.
 */
int vidas_grants_make(struct vidas_grants *g, const struct vidas_share *share,
		      const uint32_t **refs);
/* Takes it back, or tries again later (retry) if it is still mapped. */
void vidas_grants_release(struct vidas_grants *g, uint64_t id);
/* What there was so far. */
struct vidas_granted vidas_grants_so_far(const struct vidas_grants *g);
/* From time to time: what was busy. */
void vidas_grants_retry(struct vidas_grants *g);

/* maps.c: a descriptor whose first mapping, at 0, whole and with PROT_WRITE only if they were
 * granted so, is of the pages that Dom0 granted under `refs`. */
int vidas_maps_fd(const uint32_t *refs, uint32_t pages, int *fd);

#endif
