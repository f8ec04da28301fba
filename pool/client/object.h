/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside pool/client/ only: a joined object, and what works on its shared memory alone.
 */
#ifndef VIDAS_OBJECT_H
#define VIDAS_OBJECT_H

#include "pool/client/client.h"
#include "pool/client/shm.h"

struct vidas_object {
	struct vidas *v;
	struct vidas_container *c;	  /* a reference */
	struct vidas_object *next, *prev; /* vidas.objects, under vidas.index */
	char *resource;			  /* path within the container */
	uint64_t offset, size;
	uint64_t inode;
	uint32_t slot;
	bool readonly;
	bool destroying; /* under index: not to be created again by a replay */

	_Atomic uint32_t number; /* 0: gone at vidasd */
	unsigned generation;	 /* under index: the session in which `number` is right */

	/* What is kept of the shares: the data's file, to look at its length; lives. */
	struct vidas_share data_share, control_share;
	uint8_t *data;
	void *data_map; /* begins on a page */
	size_t data_map_bytes;
	struct vidas_shm_resource *resource_shm; /* begins a mapping of */
	size_t control_bytes;
	struct vidas_shm_object *shm;
};

/* attr.c: is its update policy eager? data.c: takes over a newer version of the store. */
bool vidas_object_eager(struct vidas_object *o);
int vidas_object_revalidate(struct vidas_object *o);

/* Who we are to lock words, now. */
static inline struct vidas_owner vidas_object_owner(const struct vidas_object *o)
{
	return (struct vidas_owner){
		.id = atomic_load_explicit(&o->v->session, memory_order_relaxed),
		.alive = vidas_session_alive,
		.arg = o->v,
	};
}

#endif
