/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events that vidasd sends to sessions and waits for: to all first, then for all. Who does not
 * answer costs the others nothing but this wait, and no longer than a lease lasts.
 *
 * Each session asked has a target here, on its list of what it owes until it has answered. The
 * thread of its events lane receives the answers. A target is taken off that list under
 * session.lock, so that once the asker has passed that lock nobody knows the target any more.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <utlist.h>

#include "pool/host/container.h"
#include "pool/policy/attr.h"

/* Sending is tried again this often while an events lane has no room, or none is there yet, or its
 * HELLO is not answered yet. */
#define RETRY_US (INT64_C(50) * 1000)

/* Who does not say by then that he only looked counts as one who uses it. */
#define USED_US (INT64_C(2) * 1000 * 1000)

#define NOBODY UINT32_MAX

struct host_recall {
	pthread_mutex_t lock;
	pthread_cond_t done;
	unsigned waiting; /* targets not answered */
	struct vidas_wire_event event;
	uint64_t id;
	int64_t deadline_us;
	struct host_session *refused; /* one that answered with an error, or not at all */
};

struct host_recall_target {
	struct host_recall_target *prev, *next; /* session.owed; under session.lock */
	struct host_recall *recall;
	struct host_session *session; /* a reference */
	uint32_t container;	      /* as the session names it */
	bool owed;		      /* on the list; under session.lock */
	bool sent;
};

static _Atomic uint64_t last_id;

/* Under session.lock. */
static void settle(struct host_recall_target *t)
{
	struct host_recall *r = t->recall;

	DL_DELETE(t->session->owed, t);
	t->session->owed_count--;
	t->owed = false;
	pthread_mutex_lock(&r->lock);
	r->waiting--;
	pthread_cond_signal(&r->done);
	pthread_mutex_unlock(&r->lock);
}

void vidas_host_recall_answered(struct host_session *s, uint64_t id, int status)
{
	struct host_recall_target *t;

	pthread_mutex_lock(&s->lock);
	DL_FOREACH(s->owed, t)
		if (t->recall->id == id)
			break;
	if (t && status < 0)
		t->recall->refused = s;
	if (t)
		settle(t);
	pthread_mutex_unlock(&s->lock);
}

void vidas_host_recall_forget(struct host_session *s)
{
	pthread_mutex_lock(&s->lock);
	while (s->owed)
		settle(s->owed);
	pthread_mutex_unlock(&s->lock);
}

static void recall_init(struct host_recall *r, const struct vidas_wire_event *event,
			int64_t limit_us)
{
	pthread_condattr_t attr;

	*r = (struct host_recall){
		.event = *event,
		.id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1,
		.deadline_us = vidas_deadline_us(limit_us),
	};
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->done, &attr);
	pthread_condattr_destroy(&attr);
}

/* Puts the target on the session's list, unless the session has ended. One that owes too much keeps
 * the recall waiting until the lease is over. */
static void owe(struct host_recall *r, struct host_recall_target *t)
{
	struct host_session *s = t->session;
	bool full = false;

	t->recall = r;
	pthread_mutex_lock(&s->lock);
	if (!s->ended) {
		full = s->owed_count >= HOST_RECALLS_PER_SESSION;
		if (!full) {
			DL_APPEND(s->owed, t);
			s->owed_count++;
			t->owed = true;
		}
		pthread_mutex_lock(&r->lock);
		r->waiting++;
		pthread_mutex_unlock(&r->lock);
	}
	pthread_mutex_unlock(&s->lock);
	if (full)
		vidas_host_complain(s->domain,
				    "session %u does not answer: %u recalls are under way", s->id,
				    HOST_RECALLS_PER_SESSION);
}

/* The events lane of the session, with a reference, while the target is still owed. */
static struct host_lane *lane_for(struct host_recall_target *t)
{
	struct host_session *s = t->session;
	struct host_lane *lane = NULL;

	pthread_mutex_lock(&s->lock);
	if (t->owed && s->events) {
		lane = s->events;
		atomic_fetch_add_explicit(&lane->refs, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&s->lock);
	return lane;
}

static void send_event(struct host_recall_target *t)
{
	_Alignas(8) uint8_t buf[VIDAS_WIRE_MAX];
	struct vidas_wire_event event = t->recall->event;
	struct vidas_wire_message m = { .type = VIDAS_WIRE_EVENT,
					.id = t->recall->id,
					.body = &event };
	struct host_lane *lane = lane_for(t);
	int size;

	if (!lane)
		return;
	event.container = t->container;
	size = vidas_wire_encode(buf, &m);
	pthread_mutex_lock(&lane->send);
	t->sent = size > 0 && lane->greeted &&
		  vidas_channel_send(lane->channel, buf, (size_t)size, NULL, 0, 0) == 0;
	pthread_mutex_unlock(&lane->send);
	vidas_host_lane_unref(lane);
}

/* Sleeps until an answer comes or it is time to try sending again. Returns whether all have
 * answered. */
static bool wait_answers(struct host_recall *r, bool all_sent)
{
	int64_t until_us = r->deadline_us;
	struct timespec ts;
	bool over;

	if (!all_sent && vidas_deadline_us(RETRY_US) < until_us)
		until_us = vidas_deadline_us(RETRY_US);
	ts = (struct timespec){ .tv_sec = (time_t)(until_us / 1000000),
				.tv_nsec = (long)(until_us % 1000000) * 1000 };
	pthread_mutex_lock(&r->lock);
	while (r->waiting && vidas_now_us() < until_us)
		pthread_cond_timedwait(&r->done, &r->lock, &ts);
	over = !r->waiting;
	pthread_mutex_unlock(&r->lock);
	return over;
}

/* Takes back what was not answered; afterwards nobody knows the targets. */
static void take_back(struct host_recall_target *t)
{
	struct host_session *s = t->session;
	bool late;

	pthread_mutex_lock(&s->lock);
	late = t->owed;
	if (late) {
		DL_DELETE(s->owed, t);
		s->owed_count--;
		t->owed = false;
		t->recall->refused = s;
	}
	pthread_mutex_unlock(&s->lock);
	if (late)
		vidas_host_complain(s->domain,
				    "session %u did not answer a recall: its lease has run out",
				    s->id);
}

/* Takes over the targets' references. Returns the domain of one that refused, or NOBODY. */
static vidas_domain_id recall_run(const struct vidas_wire_event *event,
				  struct host_recall_target *targets, unsigned n, int64_t limit_us)
{
	vidas_domain_id refused = NOBODY;
	struct host_recall r;

	recall_init(&r, event, limit_us);
	for (unsigned i = 0; i < n; i++)
		owe(&r, &targets[i]);
	for (;;) {
		bool all_sent = true;

		for (unsigned i = 0; i < n; i++) {
			if (!targets[i].sent)
				send_event(&targets[i]);
			all_sent = all_sent && targets[i].sent;
		}
		if (wait_answers(&r, all_sent) || vidas_now_us() >= r.deadline_us)
			break;
	}
	for (unsigned i = 0; i < n; i++)
		take_back(&targets[i]);
	if (r.refused)
		refused = r.refused->domain->id;
	for (unsigned i = 0; i < n; i++)
		vidas_host_session_unref(targets[i].session);
	pthread_cond_destroy(&r.done);
	pthread_mutex_destroy(&r.lock);
	return refused;
}

/*
 * Slots of the vidasd before this one, whose sessions have not come back yet: they may still
 * answer from what they cache. Waits until they are back, given up, or their leases have run out.
 */
static void wait_unclaimed(struct host_container *c, uint64_t slots)
{
	int64_t deadline_us = vidas_deadline_us(VIDAS_SHM_LEASE_US);
	struct timespec tick = { .tv_nsec = RETRY_US * 1000 };

	for (;;) {
		uint64_t left;

		pthread_mutex_lock(&c->lock);
		left = slots & c->unclaimed;
		pthread_mutex_unlock(&c->lock);
		if (!left || vidas_now_us() >= deadline_us ||
		    atomic_load_explicit(&c->host->stopping, memory_order_relaxed))
			return;
		nanosleep(&tick, NULL);
	}
}

/* Recalls from those of the slots that a session has. Returns those whose session is not back yet. */
static uint64_t recall_slots(struct host_container *c, uint64_t slots,
			     const struct vidas_wire_event *event)
{
	struct host_recall_target targets[VIDAS_SHM_LEASE_SLOTS];
	uint64_t unclaimed;
	unsigned n = 0;

	memset(targets, 0, sizeof(targets));
	pthread_mutex_lock(&c->lock);
	unclaimed = slots & c->unclaimed;
	for (unsigned i = 0; i < VIDAS_SHM_LEASE_SLOTS; i++) {
		struct host_attachment *a = c->slot[i];

		if (!a || !(slots & (UINT64_C(1) << i)))
			continue;
		vidas_host_session_ref(a->session);
		targets[n].session = a->session;
		targets[n++].container = a->number;
	}
	pthread_mutex_unlock(&c->lock);
	if (n)
		(void)recall_run(event, targets, n, VIDAS_SHM_LEASE_US);
	return unclaimed;
}

void vidas_host_recall(struct host_container *c, uint64_t slots, int but, uint64_t inode,
		       uint32_t kinds)
{
	const struct vidas_wire_event event = { .kind = VIDAS_WIRE_EVENT_RECALL,
						.kinds = kinds,
						.inode = inode };

	if (but >= 0)
		slots &= ~(UINT64_C(1) << but);
	if (!slots)
		return;
	slots = recall_slots(c, slots, &event);
	if (!slots)
		return;
	wait_unclaimed(c, slots);
	/* Who is back drops what it had cached when its lane for events is there, which may be later. */
	recall_slots(c, slots, &event);
}

void vidas_host_recall_changed(struct host_container *c, uint64_t inode, uint32_t kinds)
{
	uint64_t slots = vidas_host_lease_cached(c, inode);

	if (slots)
		vidas_host_recall(c, slots, -1, inode, kinds);
}

/* Under container.lock. False: one who gets no events, and so cannot be asked. */
static bool add_other(struct host_attachment *a, struct host_recall_target *t)
{
	bool listens;

	pthread_mutex_lock(&a->session->lock);
	listens = a->session->events && !a->session->ended;
	pthread_mutex_unlock(&a->session->lock);
	vidas_host_session_ref(a->session);
	*t = (struct host_recall_target){ .session = a->session, .container = a->number };
	return listens;
}

bool vidas_host_recall_used(struct host_container *c, vidas_domain_id domain, vidas_domain_id *who)
{
	const struct vidas_wire_event event = { .kind = VIDAS_WIRE_EVENT_USED };
	struct host_recall_target *targets = NULL;
	struct host_attachment *a;
	unsigned n = 0, all;

	*who = NOBODY;
	pthread_mutex_lock(&c->lock);
	DL_COUNT(c->attached, a, all);
	targets = all ? calloc(all, sizeof(*targets)) : NULL;
	DL_FOREACH(c->attached, a) {
		if (a->session->domain->id == domain)
			continue;
		if (!targets || !add_other(a, &targets[n++]))
			*who = a->session->domain->id;
	}
	pthread_mutex_unlock(&c->lock);
	if (*who == NOBODY && n) {
		*who = recall_run(&event, targets, n, USED_US);
	} else {
		for (unsigned i = 0; targets && i < n; i++)
			vidas_host_session_unref(targets[i].session);
	}
	free(targets);
	return *who != NOBODY;
}

/* Who is to hear of something. */
struct audience {
	const vidas_domain_id *domain;
	unsigned n;
	struct host_recall_target *targets;
	unsigned used, room;
};

/* Adds the session, if it takes events. One that is just reconnecting drops all by itself. */
static int add_target(struct audience *a, struct host_session *s, uint32_t container)
{
	bool listens;

	pthread_mutex_lock(&s->lock);
	listens = s->events && !s->ended;
	pthread_mutex_unlock(&s->lock);
	if (!listens)
		return 0;
	if (a->used == a->room) {
		unsigned room = a->room ? 2 * a->room : 16;
		struct host_recall_target *more = realloc(a->targets, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		a->targets = more;
		a->room = room;
	}
	vidas_host_session_ref(s);
	a->targets[a->used++] = (struct host_recall_target){ .session = s, .container = container };
	return 0;
}

static void add_listener(struct host_session *s, void *arg)
{
	struct audience *a = arg;
	bool wanted = s->domain->id == 0;

	for (unsigned i = 0; i < a->n && !wanted; i++)
		wanted = a->domain[i] == s->domain->id;
	if (wanted && add_target(a, s, 0) < 0)
		vidas_log(VIDAS_LOG_WARNING, "no memory to tell domain %u of changed containers",
			  s->domain->id);
}

static void tell_audience(const struct vidas_wire_event *event, struct audience *a)
{
	if (a->used)
		(void)recall_run(event, a->targets, a->used, VIDAS_SHM_LEASE_US);
	free(a->targets);
}

void vidas_host_recall_containers(struct host *h, const vidas_domain_id *domain, unsigned n)
{
	const struct vidas_wire_event event = { .kind = VIDAS_WIRE_EVENT_CONTAINERS };
	struct audience a = { .domain = domain, .n = n };

	vidas_host_sessions_each(h, add_listener, &a);
	tell_audience(&event, &a);
}

int vidas_host_recall_policies(struct host_container *c)
{
	const struct vidas_wire_event event = { .kind = VIDAS_WIRE_EVENT_RECALL,
						.kinds = VIDAS_WIRE_RECALL_NAMES |
							 VIDAS_WIRE_RECALL_ATTRS |
							 VIDAS_WIRE_RECALL_POLICIES };
	struct audience a = { 0 };
	struct host_attachment *at;
	int err = 0;

	/* First, so that who attaches from here on knows it too. */
	if (fsetxattr(c->tree_fd, VIDAS_XATTR_RELAXED, "", 0, 0) < 0)
		return vidas_fail(-errno, "container '%s' cannot be marked: %s", c->name,
				  strerror(errno));
	pthread_mutex_lock(&c->lock);
	DL_FOREACH(c->attached, at)
		if (err == 0)
			err = add_target(&a, at->session, at->number);
	pthread_mutex_unlock(&c->lock);
	tell_audience(&event, &a);
	return err < 0 ? vidas_fail(err, "no memory to tell all domains") : 0;
}
