/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where a resource is, as far as the pool knows; the store is not asked.
 */
#ifndef VIDAS_HOST_LOCALITY_H
#define VIDAS_HOST_LOCALITY_H

#include "pool/host/container.h"

struct host_domains {
	uint32_t n;
	uint32_t domain[VIDAS_DOMAINS_MAX]; /* more than these are not told */
};

#define HOST_LOCALITY_PARTS 16

struct host_locality {
	uint64_t size_bytes, resident_bytes;
	/* Of a file that is in the pool in part: which parts, the first of them. */
	struct vidas_sync_extent part[HOST_LOCALITY_PARTS];
	size_t parts;
	uint32_t objects;	     /* live ones */
	struct host_domains joined;  /* who has an object of it */
	struct host_domains writing; /* who has it open for writing; a bucket of the lease table may
				      * be shared with another file */
};

/* -ENOENT the pool knows nothing of it. */
int vidas_host_locality(struct host_container *c, const char *path, struct host_locality *out);

/* Adds a domain to a list once. */
void vidas_host_domains_put(struct host_domains *list, vidas_domain_id domain);

#endif
