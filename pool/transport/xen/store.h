/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The gate's nodes in XenStore. For each guest it serves:
 *
 *   /local/domain/DOMID/vidas          made by the gate; Dom0's, the guest may read it
 *   /local/domain/DOMID/vidas/domain   by the administrator, if at all: the id of the domain that the guest is to vidasd;
 *                                      without it that is its domid
 *   /local/domain/DOMID/vidas/ring     the nodes of libxenvchan: ring-ref, event-channel
 *
 * A guest writes none of them. One thread.
 */
#ifndef VIDAS_STORE_H
#define VIDAS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vidas/vidas.h>

struct vidas_store;

/* Where a guest finds its ring: from itself, and for Dom0 (printf of the domid). */
#define VIDAS_STORE_RING     "vidas/ring"
#define VIDAS_STORE_RING_FMT "/local/domain/%u/vidas/ring"

/* Watches guests come and go. With words. */
int vidas_store_open(struct vidas_store **out);
void vidas_store_close(struct vidas_store *s);
/* For poll(): readable when guests may have come or gone. */
int vidas_store_fd(const struct vidas_store *s);
/* After that. */
void vidas_store_drain(struct vidas_store *s);

/* The guests that are there now; the caller's to free. */
int vidas_store_guests(struct vidas_store *s, uint32_t **domids, size_t *n);
bool vidas_store_alive(struct vidas_store *s, uint32_t domid);
/* Which domain it is to vidasd. */
vidas_domain_id vidas_store_domain(struct vidas_store *s, uint32_t domid);
/* Makes its nodes, without a ring. */
int vidas_store_prepare(struct vidas_store *s, uint32_t domid);
/* Takes away a ring that nobody serves any more. */
void vidas_store_clear(struct vidas_store *s, uint32_t domid);

#endif
