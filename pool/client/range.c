/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Range locks of a resource: a table of 60 entries under one lock word, which is held only to look
 * and to enter. An entry's owner is written last and cleared first, so one whose owner died over it
 * is free. A writer who has to wait enters a claim, which holds back readers that come later.
 */
#include "pool/client/shm.h"

#include "pool/base/base.h"

enum { RANGE_READ = 0, RANGE_WRITE = 1, RANGE_CLAIM = 2 };

struct wanted {
	uint64_t start, end;
	bool exclusive;
	int claim; /* own entry of that kind, or -1 */
};

static uint32_t entry_owner(const struct vidas_shm_range *e)
{
	return __atomic_load_n(&e->owner, __ATOMIC_ACQUIRE);
}

static void entry_set(struct vidas_shm_range *e, uint32_t owner, const struct wanted *w,
		      uint32_t kind)
{
	__atomic_store_n(&e->owner, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&e->start, w->start, __ATOMIC_RELAXED);
	__atomic_store_n(&e->end, w->end, __ATOMIC_RELAXED);
	__atomic_store_n(&e->exclusive, kind, __ATOMIC_RELAXED);
	__atomic_store_n(&e->owner, owner, __ATOMIC_RELEASE);
}

static bool entry_conflicts(const struct vidas_shm_range *e, const struct wanted *w)
{
	uint32_t kind = vidas_once32(&e->exclusive);

	if (vidas_once64(&e->start) >= w->end || vidas_once64(&e->end) <= w->start)
		return false;
	if (kind == RANGE_READ)
		return w->exclusive;
	return kind == RANGE_CLAIM ? !w->exclusive : true;
}

/* Our claim, unless it was taken from us (who was thought dead) and is another's now. */
static int claim_of(const struct vidas_shm_resource *r, const struct vidas_owner *me,
		    const struct wanted *w)
{
	const struct vidas_shm_range *e = &r->range[w->claim < 0 ? 0 : w->claim];

	return w->claim >= 0 && entry_owner(e) == me->id && vidas_once64(&e->start) == w->start &&
			       vidas_once64(&e->end) == w->end &&
			       vidas_once32(&e->exclusive) == RANGE_CLAIM ?
		       w->claim :
		       -1;
}

/* Under range_lock: enters it if nothing is in the way; its index. Else -1, and *blocker is who is
 * asked about: an owner in the way, or of a full table one, another each time. */
static int range_enter(struct vidas_shm_resource *r, const struct vidas_owner *me, struct wanted *w,
		       unsigned turn, uint32_t *blocker)
{
	int room = w->claim = claim_of(r, me, w);

	*blocker = 0;
	for (int i = 0; i < (int)VIDAS_SHM_RANGES; i++) {
		uint32_t owner = entry_owner(&r->range[i]);

		if (i == w->claim)
			continue;
		if (!owner && room < 0)
			room = i;
		if (owner && entry_conflicts(&r->range[i], w))
			*blocker = owner;
	}
	if (*blocker) {
		if (w->exclusive && w->claim < 0 && room >= 0) {
			entry_set(&r->range[room], me->id, w, RANGE_CLAIM);
			w->claim = room;
		}
		return -1;
	}
	if (room < 0) {
		*blocker = entry_owner(&r->range[turn % VIDAS_SHM_RANGES]);
		return -1;
	}
	entry_set(&r->range[room], me->id, w, w->exclusive ? RANGE_WRITE : RANGE_READ);
	w->claim = -1;
	return room;
}

static void released(struct vidas_shm_resource *r)
{
	atomic_fetch_add_explicit(&r->range_event, 1, memory_order_seq_cst);
	if (atomic_load_explicit(&r->range_waiters, memory_order_seq_cst))
		vidas_futex_wake(&r->range_event, INT32_MAX);
}

/* Frees what a dead owner left. */
static void range_bury(struct vidas_shm_resource *r, const struct vidas_owner *me, uint32_t dead)
{
	if (vidas_lock_take(&r->range_lock, me, "a resource's ranges") < 0)
		return;
	for (unsigned i = 0; i < VIDAS_SHM_RANGES; i++)
		if (entry_owner(&r->range[i]) == dead)
			__atomic_store_n(&r->range[i].owner, 0, __ATOMIC_RELEASE);
	vidas_lock_release(&r->range_lock, me);
	released(r);
}

/* Sleeps until a release, at most a tick; after a whole tick asks about the blocker. */
static void range_sleep(struct vidas_shm_resource *r, const struct vidas_owner *me, uint32_t event,
			uint32_t blocker, int64_t deadline_us)
{
	int64_t tick_us = vidas_deadline_us(VIDAS_TICK_US);

	if (deadline_us < tick_us)
		tick_us = deadline_us;
	if (vidas_futex_wait(&r->range_event, event, tick_us) != -ETIMEDOUT)
		return;
	if (blocker && blocker != me->id && !me->alive(me->arg, blocker))
		range_bury(r, me, blocker);
}

/* One look: the index, -EAGAIN it has to wait, -ETIMEDOUT. *event is of before the look. */
static int range_try(struct vidas_shm_resource *r, const struct vidas_owner *me, struct wanted *w,
		     unsigned turn, uint32_t *blocker, uint32_t *event)
{
	int index, err = vidas_lock_take(&r->range_lock, me, "a resource's ranges");

	if (err < 0)
		return err;
	*event = atomic_load_explicit(&r->range_event, memory_order_seq_cst);
	index = range_enter(r, me, w, turn, blocker);
	vidas_lock_release(&r->range_lock, me);
	return index < 0 ? -EAGAIN : index;
}

int vidas_range_take(struct vidas_shm_resource *r, const struct vidas_owner *me, uint64_t start,
		     uint64_t end, bool exclusive)
{
	struct wanted w = { start, end, exclusive, -1 };
	uint32_t blocker = 0, event;
	int64_t deadline_us;
	int index = range_try(r, me, &w, 0, &blocker, &event);

	if (index != -EAGAIN)
		return index;
	deadline_us = vidas_deadline_us(VIDAS_LOCK_US);
	atomic_fetch_add_explicit(&r->range_waiters, 1, memory_order_seq_cst);
	for (unsigned turn = 1;; turn++) {
		index = range_try(r, me, &w, turn, &blocker, &event);
		if (index != -EAGAIN || !vidas_remaining_us(deadline_us))
			break;
		range_sleep(r, me, event, blocker, deadline_us);
	}
	atomic_fetch_sub_explicit(&r->range_waiters, 1, memory_order_seq_cst);
	if (index >= 0)
		return index;
	if (claim_of(r, me, &w) >= 0)
		vidas_range_release(r, me, w.claim);
	if (index != -EAGAIN)
		return index;
	return vidas_fail(-ETIMEDOUT,
			  "bytes %llu to %llu are locked by session %u and do not come free",
			  (unsigned long long)start, (unsigned long long)end, blocker);
}

void vidas_range_release(struct vidas_shm_resource *r, const struct vidas_owner *me, int index)
{
	uint32_t owner = me->id;

	if (!__atomic_compare_exchange_n(&r->range[index].owner, &owner, 0, false, __ATOMIC_RELEASE,
					 __ATOMIC_RELAXED))
		vidas_log(VIDAS_LOG_WARNING, "a range lock of this session was taken from it");
	released(r);
}
