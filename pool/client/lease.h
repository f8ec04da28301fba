/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside lease*.c only: what a session knows of the leases of one container, beside the words that
 * it shares with others (shm.h, where the protocol is).
 *
 * For each bucket the inodes that its kernel may cache just now, so that a recall drops all that the
 * bit stands for; and how many inodes of it are open for writing. Our bit of a bucket is set before
 * anything is cached, and cleared when what was on the list has been dropped, or has run out;
 * nothing is entered meanwhile. All under the bucket's stripe.
 *
 * Running out. Time goes in epochs of about a second (vidas.epoch). A bucket that has our bit, or has
 * had it, is on the stripe's list of the epoch in which something of it was cached first, or of a
 * later one; lease_age.c walks the list of an epoch when all leases of that epoch have run out, and
 * takes buckets of which something was cached later to the list of then.
 */
#ifndef VIDAS_CLIENT_LEASE_H
#define VIDAS_CLIENT_LEASE_H

#include "pool/client/client.h"

#include <stdlib.h>
#include <sys/types.h>

#define VIDAS_LEASE_STRIPES 64u
/* Epochs that can have leases at once: more than a lease lasts. */
#define VIDAS_LEASE_EPOCHS  8u

struct vidas_cached {
	struct vidas_cached *next;
	uint64_t inode;
	uint32_t epoch; /* when last */
	uint32_t kinds;
};

struct vidas_lease_bucket {
	struct vidas_cached *cached;
	uint32_t writers;
	uint32_t next;	  /* of the stripe's list: 1 + the bucket's number, 0 the end */
	uint32_t epoch;	  /* when something was cached last */
	uint16_t recalls; /* under way */
	bool aging;	  /* it is on a list; always so while `cached` is not empty */
};

struct vidas_lease_stripe {
	pthread_mutex_t lock;
	unsigned recalls;		    /* of everything, under way */
	uint32_t aging[VIDAS_LEASE_EPOCHS]; /* lists, by epoch */
};

struct vidas_leases {
	struct vidas_shm_leases *table;
	dev_t dev;
	ino_t ino;
	atomic_bool writable;
	atomic_uint writing; /* buckets with writers */
	struct vidas_lease_stripe stripe[VIDAS_LEASE_STRIPES];
	/* Pages of it that no bucket was used of take no memory. */
	struct vidas_lease_bucket bucket[VIDAS_SHM_LEASE_BUCKETS];
};

static inline struct vidas_leases *vidas_leases_of(const struct vidas_container *c)
{
	return atomic_load_explicit(&c->leases, memory_order_acquire);
}

/* In the slot we have now; 0 without one. */
static inline uint64_t vidas_lease_bit(const struct vidas_container *c)
{
	int32_t slot = atomic_load_explicit(&c->slot, memory_order_seq_cst);

	return slot < 0 ? 0 : UINT64_C(1) << slot;
}

static inline struct vidas_lease_stripe *vidas_lease_stripe(struct vidas_leases *l, uint32_t bucket)
{
	return &l->stripe[bucket % VIDAS_LEASE_STRIPES];
}

static inline bool vidas_leases_writable(const struct vidas_leases *l)
{
	return atomic_load_explicit(&l->writable, memory_order_relaxed);
}

static inline void vidas_cached_free(struct vidas_cached *list)
{
	while (list) {
		struct vidas_cached *next = list->next;

		free(list);
		list = next;
	}
}

/* Under the stripe: puts a bucket on the list of its epoch. */
static inline void vidas_lease_list(struct vidas_leases *l, uint32_t bucket)
{
	struct vidas_lease_bucket *b = &l->bucket[bucket];
	uint32_t *head = &vidas_lease_stripe(l, bucket)->aging[b->epoch % VIDAS_LEASE_EPOCHS];

	b->next = *head;
	*head = bucket + 1;
}

/* Under the stripe: clears our bit, unless a recall is to do so. */
static inline void vidas_lease_clear(struct vidas_container *c, struct vidas_leases *l,
				     uint32_t bucket)
{
	_Atomic uint64_t *word = &l->table->bucket[bucket].cached;
	uint64_t bit = vidas_lease_bit(c);

	if (!l->bucket[bucket].recalls && !vidas_lease_stripe(l, bucket)->recalls &&
	    (atomic_load_explicit(word, memory_order_seq_cst) & bit))
		atomic_fetch_and_explicit(word, ~bit, memory_order_seq_cst);
}

/* Under the stripe: something of the bucket is cached from now on. */
void vidas_lease_granted(struct vidas *v, struct vidas_leases *l, uint32_t bucket);

#endif
