/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A session is what one process has: its lanes, what it attached and joined. It ends with its last
 * lane; then it leaves everything.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <utlist.h>

#include "pool/host/container.h"
#include "pool/host/object.h"

void vidas_host_session_ref(struct host_session *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

void vidas_host_session_unref(struct host_session *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	vidas_host_domain_unref(s->domain);
	pthread_mutex_destroy(&s->lock);
	free(s->status);
	free(s);
}

bool vidas_host_grace(const struct host *h)
{
	return vidas_now_us() < h->grace_end_us;
}

int vidas_host_grace_wait(struct host_lane *lane)
{
	const struct timespec tick = { .tv_nsec = HOST_TICK_US / 5 * 1000 };

	while (vidas_host_grace(lane->host)) {
		int err = vidas_host_lane_hopeless(lane);

		if (err < 0)
			return err;
		nanosleep(&tick, NULL);
	}
	return 0;
}

static uint64_t random_bits(void)
{
	uint64_t bits;

	while (getrandom(&bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
		;
	return bits;
}

/* Under host.registry. */
static struct host_session *find_locked(struct host *h, uint32_t id)
{
	struct host_session *s;

	HASH_FIND(hh, h->sessions, &id, sizeof(id), s);
	return s;
}

struct host_session *vidas_host_session_find(struct host *h, uint32_t id)
{
	struct host_session *s;

	pthread_mutex_lock(&h->registry);
	s = find_locked(h, id);
	if (s)
		vidas_host_session_ref(s);
	pthread_mutex_unlock(&h->registry);
	return s;
}

void vidas_host_sessions_each(struct host *h, void (*each)(struct host_session *s, void *arg),
			      void *arg)
{
	struct host_session **all, *s;
	unsigned n = 0;

	pthread_mutex_lock(&h->registry);
	all = calloc(HASH_COUNT(h->sessions) + 1, sizeof(struct host_session *));
	for (s = h->sessions; all && s; s = s->hh.next) {
		vidas_host_session_ref(s);
		all[n++] = s;
	}
	pthread_mutex_unlock(&h->registry);
	if (!all)
		vidas_log(VIDAS_LOG_WARNING, "no memory to go through the sessions");
	for (unsigned i = 0; i < n; i++) {
		each(all[i], arg);
		vidas_host_session_unref(all[i]);
	}
	free(all);
}

/* Under host.registry; `id` 0: a new one. */
static int session_make(struct host_domain *d, uint32_t id, struct host_session **out)
{
	struct host *h = d->host;
	struct host_session *s;

	if (d->sessions >= HOST_SESSIONS_PER_DOMAIN) {
		vidas_host_complain(d, "it has %u sessions: one more is refused",
				    HOST_SESSIONS_PER_DOMAIN);
		return vidas_fail(-EUSERS, "domain %u has as many sessions as it may: %u", d->id,
				  HOST_SESSIONS_PER_DOMAIN);
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return vidas_fail(-ENOMEM, "no memory");
	while (!id || find_locked(h, id))
		id = (uint32_t)random_bits() & (VIDAS_SHM_WAITERS - 1);
	s->host = h;
	s->id = id;
	s->token = random_bits();
	s->domain = d;
	atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
	atomic_init(&s->refs, 1); /* the table's */
	pthread_mutex_init(&s->lock, NULL);
	/* A number of before a restart must not name something else now. */
	s->last_number = (uint32_t)random_bits();
	HASH_ADD(hh, h->sessions, id, sizeof(s->id), s);
	d->sessions++;
	*out = s;
	return 0;
}

static bool session_ending(struct host_session *s)
{
	bool ended;

	pthread_mutex_lock(&s->lock);
	ended = s->ended;
	pthread_mutex_unlock(&s->lock);
	return ended;
}

/* Under host.registry. -EAGAIN: it is resumed while it ends; once it has, the id is free. */
static int session_choose(struct host_domain *d, const struct vidas_wire_hello *hello,
			  struct host_session **out)
{
	bool resume = hello->flags & VIDAS_WIRE_HELLO_RESUME;
	struct host_session *s;

	if (!d->listener)
		return vidas_fail(-ENOENT, "domain %u was removed", d->id);
	if (!hello->session)
		return session_make(d, 0, out);
	s = find_locked(d->host, hello->session);
	if (s && s->domain == d && s->token == hello->token) {
		*out = s;
		return resume && session_ending(s) ? -EAGAIN : 0;
	}
	if (!s && resume)
		return session_make(d, hello->session, out);
	if (resume)
		return vidas_fail(-EEXIST, "session %u is in use", hello->session);
	if (!s)
		return vidas_fail(-ESTALE, "session %u has ended", hello->session);
	return vidas_fail(-EACCES, "session %u is another's", hello->session);
}

static int session_join(struct host_lane *lane, const struct vidas_wire_hello *hello)
{
	struct host *h = lane->host;
	bool events = hello->flags & VIDAS_WIRE_HELLO_EVENTS;
	struct host_session *s = NULL;
	int err;

	pthread_mutex_lock(&h->registry);
	err = session_choose(lane->domain, hello, &s);
	if (err == 0) {
		pthread_mutex_lock(&s->lock);
		if (s->ended)
			err = vidas_fail(-ESTALE, "session %u has ended", s->id);
		else if (events && s->events)
			err = vidas_fail(-EBUSY, "session %u has a lane for events already", s->id);
		if (err == 0) {
			DL_APPEND(s->lanes, lane);
			if (events)
				s->events = lane;
			vidas_host_session_ref(s);
			lane->session = s;
			lane->events = events;
		}
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_unlock(&h->registry);
	return err;
}

int vidas_host_session_hello(struct host_lane *lane, const struct vidas_wire_hello *hello,
			     struct vidas_wire_hello_reply *reply)
{
	const struct timespec tick = { .tv_nsec = 5 * 1000 * 1000 };
	int64_t deadline_us = vidas_deadline_us(HOST_HELLO_US);
	struct host_session *s;
	int err;

	while ((err = session_join(lane, hello)) == -EAGAIN && vidas_now_us() < deadline_us)
		nanosleep(&tick, NULL);
	s = lane->session;
	if (err < 0)
		return err;
	*reply = (struct vidas_wire_hello_reply){ .major = VIDAS_WIRE_MAJOR,
						  .minor = VIDAS_WIRE_MINOR,
						  .domain = s->domain->id,
						  .token = s->token,
						  .session = s->id };
	return 0;
}

struct host_attachment *vidas_host_attachment_use(struct host_session *s, uint32_t number)
{
	struct host_attachment *a;

	pthread_mutex_lock(&s->lock);
	HASH_FIND(hh, s->attached, &number, sizeof(number), a);
	if (a && a->left)
		a = NULL;
	if (a)
		a->uses++;
	pthread_mutex_unlock(&s->lock);
	return a;
}

void vidas_host_attachment_release(struct host_attachment *a)
{
	struct host_session *s = a->session;
	struct host_container *c = a->container;
	bool last;

	pthread_mutex_lock(&s->lock);
	last = --a->uses == 0;
	if (last)
		HASH_DEL(s->attached, a);
	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	pthread_mutex_lock(&c->lock);
	DL_DELETE(c->attached, a);
	vidas_host_lease_release(a);
	pthread_mutex_unlock(&c->lock);
	vidas_host_container_unref(c);
	free(a);
}

void vidas_host_attachments_retire(struct host_container *c)
{
	struct host_attachment *a, *next, *free_them = NULL;

	pthread_mutex_lock(&c->lock);
	DL_FOREACH_SAFE(c->attached, a, next) {
		struct host_session *s = a->session;
		bool last = false;

		pthread_mutex_lock(&s->lock);
		if (!a->left && !a->joins) {
			a->left = true;
			last = --a->uses == 0;
			if (last)
				HASH_DEL(s->attached, a);
		}
		pthread_mutex_unlock(&s->lock);
		if (last) {
			DL_DELETE(c->attached, a);
			vidas_host_lease_release(a);
			LL_PREPEND(free_them, a);
		}
	}
	pthread_mutex_unlock(&c->lock);
	while (free_them) {
		a = free_them;
		LL_DELETE(free_them, a);
		free(a);
		vidas_host_container_unref(c);
	}
}

static void leave_one(struct host_join *j)
{
	struct host_attachment *a = j->attachment;

	vidas_host_join_end(j, false);
	vidas_host_attachment_release(a);
}

/* Leaves objects, then containers. What a request under way still holds it releases itself. */
static void leave_all(struct host_session *s)
{
	struct host_attachment *a;
	struct host_join *j;

	do {
		pthread_mutex_lock(&s->lock);
		j = s->joins;
		if (j) {
			HASH_DEL(s->joins, j);
			j->attachment->uses++;
		}
		pthread_mutex_unlock(&s->lock);
		if (j)
			leave_one(j);
	} while (j);
	do {
		bool changes = false;

		pthread_mutex_lock(&s->lock);
		for (a = s->attached; a && a->left; a = a->hh.next)
			;
		if (a) {
			a->left = true;
			changes =
				a->tree && atomic_load_explicit(&a->access, memory_order_relaxed) ==
						   VIDAS_WIRE_RW;
		}
		pthread_mutex_unlock(&s->lock);
		/* It may have died between a change and saying so. */
		if (changes)
			vidas_host_changes_lost(a->container);
		if (a)
			vidas_host_attachment_release(a);
	} while (a);
}

static void session_end(struct host_session *s)
{
	struct host *h = s->host;

	vidas_host_recall_forget(s);
	vidas_host_waits_forget(s);
	leave_all(s);
	/* Only now: while something of it is in the index, its id must be no one else's. */
	pthread_mutex_lock(&h->registry);
	HASH_DEL(h->sessions, s);
	s->domain->sessions--;
	pthread_mutex_unlock(&h->registry);
	vidas_log(VIDAS_LOG_DEBUG, "session %u of domain %u ended", s->id, s->domain->id);
	vidas_host_session_unref(s);
}

void vidas_host_session_drop_lane(struct host_lane *lane)
{
	struct host_session *s = lane->session;
	bool last = false;

	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	if (!lane->dropped) {
		lane->dropped = true;
		DL_DELETE(s->lanes, lane);
		if (s->events == lane)
			s->events = NULL;
		last = !s->lanes;
		s->ended = last;
	}
	pthread_mutex_unlock(&s->lock);
	if (last)
		session_end(s);
}
