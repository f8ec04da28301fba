/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What vidasd moves by itself: pushes (write_policy=async, and what is left over of through): when to look,
 * and what for. Domains leave their changes in the lease table (shm.h); the main thread takes them
 * from there at every tick and notes since when; a pass (vidas_sync_push_owed) has a thread of its
 * own, as a store may take its time. A container has one pass at a time. Beside it there may be a look
 * at the store (vidas_sync_watch), where something is eager.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pool/host/object.h"
#include "pool/policy/attr.h"

/* After a pass that failed, the next one: twice as late each time. */
#define AGAIN_US     (INT64_C(1) * 1000 * 1000)
#define AGAIN_MAX_US (INT64_C(60) * 1000 * 1000)

/* Of a container with a root. It is the main thread's; that of the pass while one runs. */
struct host_owed {
	atomic_bool running;
	bool last;	  /* vidasd stops: everything is due */
	int64_t next_us;  /* when the next pass is to be */
	int64_t least_us; /* the least write_deadline in the container */
	int64_t all_us;	  /* since when anything may have changed, 0: what did is known */
	int64_t some_us;  /* since when the first bucket below has it, 0: none has */
	unsigned failures, failed;
	atomic_bool watching;
	bool watch_failed; /* the last one; of the thread that watches */
	int64_t watch_us;  /* the least update_interval of what is eager, INT64_MAX: nothing is */
	int64_t watch_next_us;
	/* By bucket of the inode: since when it may have changed, 0: it has not. */
	int64_t since_us[VIDAS_SHM_LEASE_BUCKETS];
	uint64_t kept[VIDAS_SHM_LEASE_BUCKETS / 64]; /* a bit each: it is not due */
};

static struct host_owed *owed_of(struct host_container *c)
{
	if (c->owed || !c->meta.root)
		return c->owed;
	c->owed = calloc(1, sizeof(*c->owed));
	if (!c->owed)
		return NULL;
	/* The first look tells which deadlines there are; and what the vidasd before left, once domains
	 * have had the time to come back. */
	c->owed->least_us = c->owed->watch_us = INT64_MAX;
	c->owed->all_us = vidas_now_us();
	c->owed->next_us = c->loaded ? c->host->grace_end_us : c->owed->all_us;
	return c->owed;
}

static void sooner(struct host_owed *o, int64_t at_us)
{
	if (at_us < o->next_us)
		o->next_us = at_us;
}

static int64_t next_look(const struct host_owed *o)
{
	return o->least_us == INT64_MAX ? INT64_MAX : vidas_deadline_us(o->least_us);
}

static void note_bucket(uint32_t bucket, void *arg)
{
	struct host_owed *o = arg;

	if (!o->since_us[bucket])
		o->since_us[bucket] = vidas_now_us();
	if (!o->some_us)
		o->some_us = o->since_us[bucket];
	sooner(o, next_look(o));
}

static void tell_oldest(struct host_container *c, const struct host_owed *o)
{
	int64_t oldest_us = o->some_us;

	if (o->all_us && (!oldest_us || o->all_us < oldest_us))
		oldest_us = o->all_us;
	pthread_mutex_lock(&c->lock);
	c->push.oldest_us = oldest_us;
	pthread_mutex_unlock(&c->lock);
}

static void take_changes(struct host_container *c, struct host_owed *o)
{
	bool all = false;

	if (!vidas_host_changes_take(c, note_bucket, o, &all) || !all)
		return;
	if (!o->all_us)
		o->all_us = vidas_now_us();
	/* A deadline may be shorter than all that were. */
	sooner(o, vidas_now_us());
}

/* Of what is open for writing, or joined, nobody tells each change. */
static void note_writers(struct host_container *c, struct host_owed *o)
{
	struct host_resource *r;

	vidas_host_leases_writing(c, note_bucket, o);
	pthread_mutex_lock(&c->lock);
	for (r = c->resources; r; r = r->hh.next)
		if (r->joins)
			note_bucket(vidas_shm_lease_bucket(r->inode), o);
	pthread_mutex_unlock(&c->lock);
}

/* A pass --------------------------------------------------------------------------------------- */

static int64_t changed_us(void *arg, uint64_t inode)
{
	const struct host_owed *o = arg;
	int64_t since = o->since_us[vidas_shm_lease_bucket(inode)];

	return !o->all_us || (since && since < o->all_us) ? since : o->all_us;
}

static void not_due(void *arg, uint64_t inode, int64_t since_us)
{
	struct host_owed *o = arg;
	uint32_t bucket = vidas_shm_lease_bucket(inode);

	o->kept[bucket / 64] |= UINT64_C(1) << bucket % 64;
	if (!o->since_us[bucket] || since_us < o->since_us[bucket])
		o->since_us[bucket] = since_us;
}

/* The next look may have been put off by a longer interval. */
static void watch_every(struct host_owed *o, int64_t interval_us)
{
	int64_t next_us = interval_us == INT64_MAX ? INT64_MAX : vidas_deadline_us(interval_us);

	o->watch_us = interval_us;
	if (next_us < o->watch_next_us)
		o->watch_next_us = next_us;
}

/* Which policies there are the pass has seen, whatever became of its pushes. */
static void learn(struct host_owed *o, const struct vidas_sync_owed *s)
{
	if (o->all_us || s->least_us < o->least_us)
		o->least_us = s->least_us;
	if (o->all_us || s->watch_us < o->watch_us)
		watch_every(o, s->watch_us);
}

static void pass_failed(struct host_container *c, const struct vidas_sync_owed *s)
{
	struct host_owed *o = c->owed;
	int64_t again_us = AGAIN_US << (o->failures < 6 ? o->failures : 6);

	if (!o->failures++)
		vidas_log(VIDAS_LOG_WARNING,
			  "container '%s': %u things cannot be pushed, which is tried again: %s",
			  c->name, s->failed, vidas_fail_text());
	o->failed = s->failed;
	pthread_mutex_lock(&c->lock);
	if (!c->push.failing_us)
		c->push.failing_us = vidas_now_us();
	c->push.failed = s->failed;
	snprintf(c->push.text, sizeof(c->push.text), "%s", vidas_fail_text());
	pthread_mutex_unlock(&c->lock);
	o->next_us = vidas_deadline_us(again_us < AGAIN_MAX_US ? again_us : AGAIN_MAX_US);
}

static void pass_done(struct host_container *c, const struct vidas_sync_owed *s)
{
	struct host_owed *o = c->owed;

	if (o->failures)
		vidas_log(VIDAS_LOG_NOTICE, "container '%s': all is pushed again", c->name);
	o->failures = o->failed = 0;
	o->some_us = 0;
	for (uint32_t b = 0; b < VIDAS_SHM_LEASE_BUCKETS; b++) {
		if (!(o->kept[b / 64] & UINT64_C(1) << b % 64))
			o->since_us[b] = 0;
		else if (!o->some_us || o->since_us[b] < o->some_us)
			o->some_us = o->since_us[b];
	}
	pthread_mutex_lock(&c->lock);
	c->push.failing_us = 0;
	c->push.failed = 0;
	pthread_mutex_unlock(&c->lock);
	o->all_us = 0;
	o->next_us = s->next_us;
	note_writers(c, o);
}

static void pass(struct host_container *c)
{
	struct host_owed *o = c->owed;
	struct vidas_sync_owed s = { .changed_us = changed_us,
				     .not_due = not_due,
				     .arg = o,
				     .now_us = o->last ? INT64_MAX : vidas_now_us() };
	struct vidas_sync *sync;
	int err;

	vidas_fail_clear();
	memset(o->kept, 0, sizeof(o->kept));
	err = vidas_host_container_sync(c, &sync);
	if (err == 0) {
		err = vidas_sync_push_owed(sync, &s);
		learn(o, &s);
	}
	/* A destroyed container was flushed as a whole. */
	if (err < 0 && !atomic_load_explicit(&c->dead, memory_order_relaxed))
		pass_failed(c, &s);
	else
		pass_done(c, &s);
}

static void watch(struct host_container *c)
{
	struct host_owed *o = c->owed;
	struct vidas_sync_moved moved;
	struct vidas_sync *sync;
	int err;

	vidas_fail_clear();
	err = vidas_host_container_sync(c, &sync);
	if (err == 0)
		err = vidas_sync_watch(sync, &moved);
	if (err < 0 && !o->watch_failed)
		vidas_log(
			VIDAS_LOG_WARNING,
			"container '%s': cannot look whether the store has anything newer, which is "
			"tried again: %s",
			c->name, vidas_fail_text());
	o->watch_failed = err < 0;
	pthread_mutex_lock(&c->lock);
	snprintf(c->push.watch, sizeof(c->push.watch), "%s", err < 0 ? vidas_fail_text() : "");
	pthread_mutex_unlock(&c->lock);
}

/* Threads --------------------------------------------------------------------------------------- */

static void thread_end(struct host_container *c, atomic_bool *flag)
{
	struct host *h = c->host;

	atomic_store_explicit(flag, false, memory_order_release);
	vidas_host_container_unref(c);
	atomic_fetch_sub_explicit(&h->passes, 1, memory_order_release);
}

static void *pass_main(void *arg)
{
	struct host_container *c = arg;

	pass(c);
	thread_end(c, &c->owed->running);
	return NULL;
}

static void *watch_main(void *arg)
{
	struct host_container *c = arg;

	watch(c);
	thread_end(c, &c->owed->watching);
	return NULL;
}

/* Where there is no thread to be had: at the next tick. */
static void thread_start(struct host_container *c, void *(*run)(void *arg), atomic_bool *flag)
{
	struct host *h = c->host;
	pthread_t thread;

	if (atomic_load_explicit(&h->passes, memory_order_relaxed) >= HOST_PASSES)
		return;
	vidas_host_container_ref(c);
	atomic_fetch_add_explicit(&h->passes, 1, memory_order_relaxed);
	atomic_store_explicit(flag, true, memory_order_relaxed);
	if (pthread_create(&thread, NULL, run, c) == 0)
		pthread_detach(thread);
	else
		thread_end(c, flag);
}

/* One that is not being destroyed, and that nobody else works on; NULL: none, or not now. */
static struct host_owed *idle(struct host_container *c)
{
	struct host_owed *o;

	if (!c->meta.root || atomic_load_explicit(&c->dead, memory_order_relaxed))
		return NULL;
	o = owed_of(c);
	return o && !atomic_load_explicit(&o->running, memory_order_acquire) ? o : NULL;
}

static void tick(struct host_container *c, void *arg)
{
	struct host_owed *o = idle(c);

	(void)arg;
	if (!o)
		return;
	take_changes(c, o);
	tell_oldest(c, o);
	if (o->watch_us != INT64_MAX && vidas_now_us() >= o->watch_next_us &&
	    !atomic_load_explicit(&o->watching, memory_order_acquire)) {
		o->watch_next_us = vidas_deadline_us(o->watch_us);
		thread_start(c, watch_main, &o->watching);
	}
	if (vidas_now_us() >= o->next_us)
		thread_start(c, pass_main, &o->running);
}

void vidas_host_push_tick(struct host *h)
{
	vidas_host_containers_each(h, tick, NULL);
}

void vidas_host_push_free(struct host_container *c)
{
	free(c->owed);
}

/* The stop ------------------------------------------------------------------------------------- */

static bool owes(const struct host_owed *o)
{
	if (o->all_us)
		return true;
	for (uint32_t b = 0; b < VIDAS_SHM_LEASE_BUCKETS; b++)
		if (o->since_us[b])
			return true;
	return false;
}

static void last_pass(struct host_container *c, void *arg)
{
	struct host_owed *o = idle(c);
	unsigned *waiting = arg;

	if (!c->meta.root || (o && o->last))
		return;
	if (!o) {
		++*waiting; /* a pass is under way */
		return;
	}
	take_changes(c, o);
	note_writers(c, o);
	if (!owes(o)) {
		o->last = true;
		return;
	}
	if (atomic_load_explicit(&c->host->passes, memory_order_relaxed) >= HOST_PASSES) {
		++*waiting;
		return;
	}
	o->last = true;
	thread_start(c, pass_main, &o->running);
}

static void say_left(struct host_container *c, void *arg)
{
	struct host_owed *o = c->owed;

	(void)arg;
	if (!o || atomic_load_explicit(&c->dead, memory_order_relaxed))
		return;
	if (atomic_load_explicit(&o->running, memory_order_acquire))
		vidas_log(VIDAS_LOG_WARNING,
			  "container '%s': not all is pushed, the store takes too long; the next "
			  "vidasd goes on",
			  c->name);
	else if (o->failed)
		vidas_log(VIDAS_LOG_WARNING,
			  "container '%s': %u things are not pushed; the next vidasd tries again",
			  c->name, o->failed);
}

bool vidas_host_push_stop(struct host *h, bool (*hurry)(void *arg), void *arg)
{
	const struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };
	int64_t deadline_us = vidas_deadline_us(HOST_PUSH_STOP_US);
	unsigned waiting, passes;

	do {
		waiting = 0;
		vidas_host_containers_each(h, last_pass, &waiting);
		passes = atomic_load_explicit(&h->passes, memory_order_acquire);
		if (waiting || passes)
			nanosleep(&pause, NULL);
	} while ((waiting || passes) && vidas_now_us() < deadline_us && !hurry(arg));
	vidas_host_containers_each(h, say_left, NULL);
	return !waiting && !passes;
}
