/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The notification ring: records of {uint32_t size; bytes; padding to 8} between `head` and `tail`,
 * which count bytes for ever. A record is written before `tail` covers it and read before `head`
 * leaves it, so whoever dies half-way has put or taken nothing.
 */
#include "pool/client/shm.h"

#include <limits.h>
#include <string.h>

#include "pool/base/base.h"

#define RECORD_MAX ((sizeof(uint32_t) + VIDAS_MESSAGE_MAX + 7) / 8 * 8)

_Static_assert(RECORD_MAX <= VIDAS_SHM_RING_BYTES, "a message fits");

static uint64_t record_bytes(uint64_t size)
{
	return (sizeof(uint32_t) + size + 7) / 8 * 8;
}

/* Copies from or to the ring, around its end; `size` is a multiple of 8. */
static void ring_in(const struct vidas_shm_object *s, uint64_t at, void *to, size_t size)
{
	size_t begin = (size_t)(at % VIDAS_SHM_RING_BYTES), first = VIDAS_SHM_RING_BYTES - begin;

	if (first > size)
		first = size;
	vidas_words_in(to, s->ring + begin, first);
	vidas_words_in((uint8_t *)to + first, s->ring, size - first);
}

static void ring_out(struct vidas_shm_object *s, uint64_t at, const void *from, size_t size)
{
	size_t begin = (size_t)(at % VIDAS_SHM_RING_BYTES), first = VIDAS_SHM_RING_BYTES - begin;

	if (first > size)
		first = size;
	vidas_words_out(s->ring + begin, from, first);
	vidas_words_out(s->ring, (const uint8_t *)from + first, size - first);
}

/* The bytes between two positions that make sense; -1. */
static int64_t ring_used(uint64_t head, uint64_t tail)
{
	uint64_t used = tail - head;

	return used <= VIDAS_SHM_RING_BYTES && !(used % 8) && !(head % 8) ? (int64_t)used : -1;
}

bool vidas_ring_room(struct vidas_shm_object *s, size_t size)
{
	uint64_t tail = atomic_load_explicit(&s->tail, memory_order_seq_cst);
	uint64_t head = atomic_load_explicit(&s->head, memory_order_seq_cst);

	return tail - head + record_bytes(size) <= VIDAS_SHM_RING_BYTES;
}

bool vidas_ring_any(struct vidas_shm_object *s)
{
	return atomic_load_explicit(&s->tail, memory_order_seq_cst) !=
	       atomic_load_explicit(&s->head, memory_order_seq_cst);
}

/* A change of `event` for `n` of those who sleep on it. */
static void announce(_Atomic uint32_t *event, _Atomic uint32_t *waiters, int n)
{
	atomic_fetch_add_explicit(event, 1, memory_order_seq_cst);
	if (atomic_load_explicit(waiters, memory_order_seq_cst))
		vidas_futex_wake(event, n);
}

int vidas_ring_put(struct vidas_shm_object *s, const struct vidas_owner *me, const void *msg,
		   size_t size)
{
	_Alignas(8) uint8_t record[RECORD_MAX];
	uint32_t size32 = (uint32_t)size;
	uint64_t bytes = record_bytes(size), tail;
	int64_t used;
	int err;

	memset(record + bytes - 8, 0, 8);
	memcpy(record, &size32, sizeof(size32));
	if (size)
		memcpy(record + sizeof(size32), msg, size);
	err = vidas_lock_take(&s->tail_lock, me, "an object's messages");
	if (err < 0)
		return err;
	tail = atomic_load_explicit(&s->tail, memory_order_relaxed);
	used = ring_used(atomic_load_explicit(&s->head, memory_order_acquire), tail);
	if (used < 0) {
		err = vidas_fail(-EBADMSG, "an object's messages are damaged");
	} else if ((uint64_t)used + bytes > VIDAS_SHM_RING_BYTES) {
		err = -EAGAIN;
	} else {
		ring_out(s, tail, record, (size_t)bytes);
		atomic_store_explicit(&s->tail, tail + bytes, memory_order_seq_cst);
	}
	vidas_lock_release(&s->tail_lock, me);
	if (!err)
		announce(&s->tail_event, &s->tail_waiters, 1);
	return err;
}

/* Under head_lock: the ring makes no sense, so it becomes an empty one. Lock order: head, tail. */
static int ring_reset(struct vidas_shm_object *s, const struct vidas_owner *me)
{
	int err = vidas_lock_take(&s->tail_lock, me, "an object's messages");

	if (err < 0)
		return err;
	atomic_store_explicit(&s->tail, 0, memory_order_seq_cst);
	atomic_store_explicit(&s->head, 0, memory_order_seq_cst);
	vidas_lock_release(&s->tail_lock, me);
	return vidas_fail(-EBADMSG, "an object's messages were damaged, and are dropped");
}

/* Under head_lock: takes the record at the head. */
static ssize_t ring_take(struct vidas_shm_object *s, const struct vidas_owner *me, void *buf,
			 size_t size, int (*give)(void *arg, const void *msg, size_t size),
			 void *arg)
{
	_Alignas(8) uint8_t record[RECORD_MAX];
	uint64_t head = atomic_load_explicit(&s->head, memory_order_relaxed), bytes;
	int64_t used = ring_used(head, atomic_load_explicit(&s->tail, memory_order_acquire));
	uint32_t length;
	int err;

	if (!used)
		return -EAGAIN;
	if (used < 0)
		return ring_reset(s, me);
	ring_in(s, head, record, 8);
	memcpy(&length, record, sizeof(length));
	bytes = record_bytes(length);
	if (length > VIDAS_MESSAGE_MAX || bytes > (uint64_t)used)
		return ring_reset(s, me);
	if (length > size)
		return vidas_fail(-EMSGSIZE, "the message has %u bytes", length);
	/* The first word is not read a second time: its length could be another then. */
	ring_in(s, head + 8, record + 8, (size_t)bytes - 8);
	if (length)
		memcpy(buf, record + sizeof(length), length);
	err = give ? give(arg, buf, length) : 0;
	if (err)
		return err;
	atomic_store_explicit(&s->head, head + bytes, memory_order_seq_cst);
	return (ssize_t)length;
}

ssize_t vidas_ring_give(struct vidas_shm_object *s, const struct vidas_owner *me, void *buf,
			size_t size, int (*give)(void *arg, const void *msg, size_t size),
			void *arg)
{
	ssize_t n = vidas_lock_take(&s->head_lock, me, "an object's messages");

	if (n < 0)
		return n;
	n = ring_take(s, me, buf, size, give, arg);
	vidas_lock_release(&s->head_lock, me);
	/* All who wait for room: the room may do for one of them and not for another. And a message
	 * that is too long for us may fit the next one. */
	if (n >= 0 || n == -EBADMSG)
		announce(&s->head_event, &s->head_waiters, INT_MAX);
	else if (n == -EMSGSIZE)
		announce(&s->tail_event, &s->tail_waiters, 1);
	return n;
}

ssize_t vidas_ring_get(struct vidas_shm_object *s, const struct vidas_owner *me, void *buf,
		       size_t size)
{
	return vidas_ring_give(s, me, buf, size, NULL, NULL);
}
