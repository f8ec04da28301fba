/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside pool/client/ only: what works on the shared memory of vidas/shm.h and on nothing else, so
 * that it can be tested and fuzzed on any memory. All of it holds against memory that another
 * process changes at any moment to any value: the worst that comes of that is an error.
 */
#ifndef VIDAS_CLIENT_SHM_H
#define VIDAS_CLIENT_SHM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vidas/shm.h>
#include <vidas/vidas.h>

/* How long a lock word or a range is waited for; honest owners hold them for microseconds. */
#define VIDAS_LOCK_US (INT64_C(5) * 1000 * 1000)
/* After so long who waits looks again by itself, and asks whether the owner lives. */
#define VIDAS_TICK_US (INT64_C(100) * 1000)

/* Who takes a lock word, and whom he asks whether another owner lives (not asked about himself). */
struct vidas_owner {
	uint32_t id;
	bool (*alive)(void *arg, uint32_t id);
	void *arg;
};

/* lock.c --------------------------------------------------------------------------------------- */

/*
 * A lock word. An owner that is dead is taken over from. Threads of one session exclude each other
 * as sessions do. -ETIMEDOUT after VIDAS_LOCK_US, in words; `what` names it there.
 */
int vidas_lock_take(_Atomic uint32_t *word, const struct vidas_owner *me, const char *what);
/* False: it was not ours any more. */
bool vidas_lock_release(_Atomic uint32_t *word, const struct vidas_owner *me);

/* A pause of a spinning thread; how many of them are worth it here before one sleeps. */
void vidas_spin_pause(void);
unsigned vidas_spin_count(void);

/* range.c -------------------------------------------------------------------------------------- */

/*
 * A range lock on [start, end) of the resource. Returns its index; -ETIMEDOUT. Readers share.
 */
int vidas_range_take(struct vidas_shm_resource *r, const struct vidas_owner *me, uint64_t start,
		     uint64_t end, bool exclusive);
void vidas_range_release(struct vidas_shm_resource *r, const struct vidas_owner *me, int index);

/* image.c: attributes --------------------------------------------------------------------------- */

/* An image out of shared memory: a copy, whose form is checked. */
struct vidas_image {
	uint32_t used;
	_Alignas(8) uint8_t bytes[VIDAS_SHM_ATTR_BYTES];
};

/* Is that an image? -EBADMSG. */
int vidas_image_check(const struct vidas_image *image);
/* The value of `name` in a checked image; its length, -ENODATA. */
ssize_t vidas_image_find(const struct vidas_image *image, const char *name, const void **value);
/* Sets one in a checked image. -ENOSPC. */
int vidas_image_set(struct vidas_image *image, const char *name, const void *value, size_t size);
/* The object's present attributes, checked. No lock. -EBADMSG, -EIO (they never stand still). */
int vidas_image_load(struct vidas_shm_object *s, struct vidas_image *image);
/* Makes `image` the object's attributes; under attr_lock. */
void vidas_image_store(struct vidas_shm_object *s, const struct vidas_image *image);

/* ring.c: notifications ------------------------------------------------------------------------- */

/* Appends a message: 0; -EAGAIN no room now; -EBADMSG the ring makes no sense. Takes tail_lock. */
int vidas_ring_put(struct vidas_shm_object *s, const struct vidas_owner *me, const void *msg,
		   size_t size);
/* Takes the oldest one: its length; -EAGAIN none; -EMSGSIZE; -EBADMSG: what made no sense was
 * dropped, the ring is empty now. Takes head_lock. */
ssize_t vidas_ring_get(struct vidas_shm_object *s, const struct vidas_owner *me, void *buf,
		       size_t size);
/* The same, but it is taken only when `give` has had it, under head_lock; an error of `give` is returned. */
ssize_t vidas_ring_give(struct vidas_shm_object *s, const struct vidas_owner *me, void *buf,
			size_t size, int (*give)(void *arg, const void *msg, size_t size),
			void *arg);
/* Could put (of `size` bytes) or get succeed? Without a lock, so only a hint. */
bool vidas_ring_room(struct vidas_shm_object *s, size_t size);
bool vidas_ring_any(struct vidas_shm_object *s);

/* words.c: memory that others write ---------------------------------------------------------------- */

/* Copies between private memory and shared words: `shared` aligned to 8; whole words are moved,
 * so both have room up to the next multiple of 8. Acquire from, release to. */
void vidas_words_in(void *to, const void *shared, size_t size);
void vidas_words_out(void *shared, const void *from, size_t size);

static inline uint32_t vidas_once32(const uint32_t *shared)
{
	return __atomic_load_n(shared, __ATOMIC_RELAXED);
}

static inline uint64_t vidas_once64(const uint64_t *shared)
{
	return __atomic_load_n(shared, __ATOMIC_RELAXED);
}

#endif
