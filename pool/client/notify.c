/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Notifications: the ring's two ends, with waiting. */
#include "pool/client/object.h"

#include <limits.h>

/* A place to wait: woken through `event` when `ready` may have become true. */
struct place {
	_Atomic uint32_t *event, *waiters;
	bool (*ready)(struct vidas_shm_object *s, size_t size);
};

static bool any(struct vidas_shm_object *s, size_t size)
{
	(void)size;
	return vidas_ring_any(s);
}

/* Waits at most a tick: a wake-up may have gone to one who died before he used it. */
static void place_wait(const struct place *p, struct vidas_shm_object *s, size_t size,
		       int64_t deadline_us)
{
	int64_t tick_us = vidas_deadline_us(VIDAS_TICK_US);
	uint32_t event;

	for (unsigned i = vidas_spin_count(); i; i--) {
		if (p->ready(s, size))
			return;
		vidas_spin_pause();
	}
	if (deadline_us >= 0 && deadline_us < tick_us)
		tick_us = deadline_us;
	atomic_fetch_add_explicit(p->waiters, 1, memory_order_seq_cst);
	event = atomic_load_explicit(p->event, memory_order_seq_cst);
	if (!p->ready(s, size))
		vidas_futex_wait(p->event, event, tick_us);
	atomic_fetch_sub_explicit(p->waiters, 1, memory_order_seq_cst);
}

static int writable(const struct vidas_object *o)
{
	return o->readonly ?
		       vidas_fail(-EROFS, "the container %s is attached read-only", o->c->name) :
		       0;
}

/* Those who wait for a message to any object of the file. */
static void announce(struct vidas_shm_resource *r)
{
	atomic_fetch_add_explicit(&r->notify_event, 1, memory_order_seq_cst);
	if (atomic_load_explicit(&r->notify_waiters, memory_order_seq_cst))
		vidas_futex_wake(&r->notify_event, INT_MAX);
}

static int put(struct vidas_object *o, const void *msg, size_t size)
{
	struct vidas_owner me = vidas_object_owner(o);
	int err = vidas_ring_put(o->shm, &me, msg, size);

	if (!err)
		announce(o->resource_shm);
	return err;
}

int vidas_object_notify(struct vidas_object *o, const void *msg, size_t size, int64_t timeout_us)
{
	const struct place room = { &o->shm->head_event, &o->shm->head_waiters, vidas_ring_room };
	int64_t deadline_us = VIDAS_FOREVER;
	int err = writable(o);

	if (!err && size > VIDAS_MESSAGE_MAX)
		err = vidas_fail(-EMSGSIZE, "a message may have %d bytes", VIDAS_MESSAGE_MAX);
	if (!err)
		err = put(o, msg, size);
	if (err != -EAGAIN)
		return err;
	if (!timeout_us)
		return vidas_fail(-EAGAIN, "the object's ring is full");
	deadline_us = vidas_deadline_us(timeout_us);
	do {
		place_wait(&room, o->shm, size, deadline_us);
		err = put(o, msg, size);
	} while (err == -EAGAIN && vidas_remaining_us(deadline_us));
	return err == -EAGAIN ? vidas_fail(-ETIMEDOUT, "the object's ring stayed full") : err;
}

ssize_t vidas_object_wait(struct vidas_object *o, void *buf, size_t size, int64_t timeout_us)
{
	const struct place message = { &o->shm->tail_event, &o->shm->tail_waiters, any };
	struct vidas_owner me = vidas_object_owner(o);
	int64_t deadline_us;
	ssize_t n = writable(o);

	if (!n)
		n = vidas_ring_any(o->shm) ? vidas_ring_get(o->shm, &me, buf, size) : -EAGAIN;
	if (n != -EAGAIN)
		return n;
	if (!timeout_us)
		return vidas_fail(-EAGAIN, "no message is there");
	deadline_us = vidas_deadline_us(timeout_us);
	do {
		place_wait(&message, o->shm, 0, deadline_us);
		me = vidas_object_owner(o);
		if (vidas_ring_any(o->shm))
			n = vidas_ring_get(o->shm, &me, buf, size);
	} while (n == -EAGAIN && vidas_remaining_us(deadline_us));
	return n == -EAGAIN ? vidas_fail(-ETIMEDOUT, "no message came") : n;
}
