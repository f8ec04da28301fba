/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A lane with a thread. Every session that attached something has one: it notices at once that
 * vidasd was restarted, so that what this session holds is claimed again before vidasd gives it up.
 * Where somebody wants events (vidasfs), it is an events lane, and takes them.
 */
#include "pool/client/client.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct recall_to {
	struct vidas_tree_events ev;
	struct vidas_tree *tree;
};

static struct vidas_tree_events callbacks(struct vidas *v)
{
	struct vidas_tree_events ev;

	pthread_mutex_lock(&v->lock);
	ev = v->events;
	pthread_mutex_unlock(&v->lock);
	return ev;
}

void vidas_events_waiting(struct vidas *v)
{
	struct vidas_tree_events ev = callbacks(v);

	if (ev.waiting)
		ev.waiting(ev.arg);
}

bool vidas_connected(const struct vidas *v)
{
	return atomic_load_explicit(&v->events_live, memory_order_relaxed);
}

static void recall_one(void *arg, uint64_t inode, uint32_t kinds)
{
	struct recall_to *to = arg;

	if (to->ev.recall)
		to->ev.recall(to->ev.arg, to->tree, inode, kinds);
}

/* The trees of container `number` (0: of all), each with a reference. *n of them; NULL for none. */
static struct vidas_tree **trees_of(struct vidas *v, uint32_t number, size_t *n)
{
	struct vidas_container *c, *next;
	struct vidas_tree **list = NULL;

	*n = 0;
	pthread_mutex_lock(&v->index);
	HASH_ITER(hh, v->containers, c, next) {
		if (number && atomic_load_explicit(&c->number, memory_order_relaxed) != number)
			continue;
		for (struct vidas_tree *t = c->trees; t; t = t->next) {
			struct vidas_tree **more = realloc(list, (*n + 1) * sizeof(*list));

			if (!more)
				break;
			list = more;
			list[(*n)++] = t;
			t->refs++;
		}
	}
	pthread_mutex_unlock(&v->index);
	return list;
}

static void recall(struct vidas *v, uint32_t number, uint64_t inode, uint32_t kinds)
{
	struct recall_to to = { .ev = callbacks(v) };
	size_t n;
	struct vidas_tree **list = trees_of(v, number, &n);

	for (size_t i = 0; i < n; i++) {
		to.tree = list[i];
		vidas_leases_recall(list[i]->c, inode, kinds, recall_one, &to);
		vidas_tree_unref(list[i]);
	}
	free(list);
}

static void containers_changed(struct vidas *v)
{
	struct vidas_tree_events ev = callbacks(v);

	if (ev.containers)
		ev.containers(ev.arg);
}

/* Has the container been attached as a tree alone, all of which say that they are not in use? */
static bool used(struct vidas *v, uint32_t number)
{
	struct vidas_tree_events ev = callbacks(v);
	size_t n;
	struct vidas_tree **list = trees_of(v, number, &n);
	bool yes = !ev.used || !n;

	for (size_t i = 0; i < n; i++) {
		pthread_mutex_lock(&v->index);
		yes = yes || list[i]->c->objects || list[i]->c->attached;
		pthread_mutex_unlock(&v->index);
		yes = yes || ev.used(ev.arg, list[i]);
		vidas_tree_unref(list[i]);
	}
	free(list);
	return yes;
}

static int event_handle(struct vidas *v, const struct vidas_wire_event *e)
{
	if (e->kind == VIDAS_WIRE_EVENT_USED)
		return used(v, e->container) ? -EBUSY : 0;
	if (e->kind == VIDAS_WIRE_EVENT_CONTAINERS)
		containers_changed(v);
	else
		recall(v, e->container, e->inode, e->kinds);
	return 0;
}

/* One event. 0; else the lane is of no more use. */
static int event_take(struct vidas *v, struct vidas_lane *lane)
{
	static const struct vidas_wire_event_reply done;
	struct vidas_wire_message m, answer = { .reply = true };
	const char *reason = "";
	ssize_t size =
		vidas_channel_recv(lane->ch, lane->rx, sizeof(lane->rx), NULL, NULL, VIDAS_FOREVER);
	int err;

	if (size <= 0)
		return size < 0 ? (int)size : -ECONNRESET;
	err = vidas_wire_decode(lane->rx, (size_t)size, &m, &reason);
	if (err == -EBADMSG || (!err && m.reply)) {
		vidas_log(VIDAS_LOG_WARNING, "vidasd sent an event that is none: %s", reason);
		return -EPROTO;
	}
	answer.type = m.type;
	answer.id = m.id;
	answer.body = &done;
	if (!err && m.type == VIDAS_WIRE_EVENT)
		answer.status = event_handle(v, m.body);
	else
		answer.status = -EOPNOTSUPP;
	size = vidas_wire_encode(lane->tx, &answer);
	if (size < 0)
		return (int)size;
	return vidas_channel_send(lane->ch, lane->tx, (size_t)size, NULL, 0, v->timeout_us);
}

/* Publishes the lane's channel, so that its wait can be ended: by vidas_close(), or by one more who
 * wants events after *calls. */
static int lane_publish(struct vidas *v, struct vidas_channel *ch, uint64_t *token, unsigned *calls)
{
	int err = 0;

	pthread_mutex_lock(&v->lock);
	*token = v->token;
	*calls = v->events_calls;
	if (v->closing)
		err = -ENOTCONN;
	else
		v->events_channel = ch;
	pthread_mutex_unlock(&v->lock);
	return err;
}

static void lane_unpublish(struct vidas *v)
{
	pthread_mutex_lock(&v->lock);
	v->events_channel = NULL;
	pthread_mutex_unlock(&v->lock);
}

/* What waits in vidas_events_start() learns how it went with the lane it wants: a lane of before was
 * shut down for its sake, whatever error that gives. */
static void started(struct vidas *v, int err, unsigned calls)
{
	pthread_mutex_lock(&v->lock);
	if (v->events_state == VIDAS_EVENTS_STARTING && calls == v->events_calls) {
		v->events_state = VIDAS_EVENTS_RUNNING;
		v->events_error = err;
		pthread_cond_broadcast(&v->changed);
	}
	pthread_mutex_unlock(&v->lock);
}

/* Recalls reach us from now on. Those of before did not, so nothing that was cached counts. */
static void events_begin(struct vidas *v, bool *served)
{
	if (*served) {
		recall(v, 0, 0, VIDAS_WIRE_RECALL_NAMES | VIDAS_WIRE_RECALL_ATTRS);
		containers_changed(v);
	}
	*served = true;
	atomic_store_explicit(&v->events_live, true, memory_order_seq_cst);
}

/* Connects the lane, and takes events until it breaks. `*served`: this has been so before. `*calls`
 * becomes what the lane is for. */
static int events_serve(struct vidas *v, struct vidas_lane *lane, bool *served, unsigned *calls)
{
	uint32_t session = atomic_load_explicit(&v->session, memory_order_relaxed);
	struct vidas_wire_hello_reply reply;
	uint64_t token;
	int err = lane_publish(v, lane->ch, &token, calls);

	if (!err)
		err = vidas_session_hello(v, lane, *calls ? VIDAS_WIRE_HELLO_EVENTS : 0, session,
					  token, &reply);
	if (!err && *calls)
		events_begin(v, served);
	if (!err)
		started(v, 0, *calls);
	while (!err)
		err = event_take(v, lane);
	atomic_store_explicit(&v->events_live, false, memory_order_seq_cst);
	lane_unpublish(v);
	return err;
}

static bool closing(struct vidas *v, unsigned *calls)
{
	bool yes;

	pthread_mutex_lock(&v->lock);
	yes = v->closing;
	*calls = v->events_calls;
	pthread_mutex_unlock(&v->lock);
	return yes;
}

/* Sleeps as long as the last failures tell, or until the connection is closed. */
static void backoff(struct vidas *v, int64_t *delay_us)
{
	int64_t until_us = vidas_deadline_us(*delay_us);
	struct timespec ts = { until_us / 1000000, until_us % 1000000 * 1000 };

	pthread_mutex_lock(&v->lock);
	while (!v->closing && !pthread_cond_timedwait(&v->changed, &v->lock, &ts))
		;
	pthread_mutex_unlock(&v->lock);
	*delay_us = *delay_us * 2 < VIDAS_BACKOFF_MAX_US ? *delay_us * 2 : VIDAS_BACKOFF_MAX_US;
}

static void *events_main(void *arg)
{
	struct vidas *v = arg;
	int64_t delay_us = VIDAS_BACKOFF_US;
	bool served = false;
	unsigned calls;

	while (!closing(v, &calls)) {
		struct vidas_lane *lane;
		unsigned generation;
		int err = vidas_session_wait(v, vidas_deadline_us(v->timeout_us), &generation);

		if (!err)
			err = vidas_lane_connect(v, &lane);
		if (!err) {
			err = events_serve(v, lane, &served, &calls);
			vidas_lane_free(lane);
		}
		started(v, err, calls);
		if (closing(v, &calls))
			break;
		if (err == -ECONNRESET)
			delay_us = VIDAS_BACKOFF_US;
		/* That this lane broke may be the first sign that vidasd went away: a request finds
		 * out, and has the session resumed. */
		vidas_session_alive(v, atomic_load_explicit(&v->session, memory_order_relaxed));
		backoff(v, &delay_us);
	}
	started(v, -ENOTCONN, calls);
	return NULL;
}

/* The application's signals are not for our thread. */
static int thread_start(struct vidas *v)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&v->events_thread, NULL, events_main, v);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

int vidas_events_start(struct vidas *v, const struct vidas_tree_events *ev)
{
	int err = 0;

	pthread_mutex_lock(&v->lock);
	if (ev)
		err = vidas_age_start(v);
	if (ev && !err) {
		v->events = *ev;
		v->events_calls++;
		/* The thread's lane was none for events: it is to have another. */
		if (v->events_state == VIDAS_EVENTS_RUNNING)
			v->events_state = VIDAS_EVENTS_STARTING;
		if (v->events_channel)
			vidas_channel_shutdown(v->events_channel);
	}
	if (!err && v->events_state == VIDAS_EVENTS_NONE && !v->closing) {
		err = thread_start(v);
		if (err < 0)
			vidas_fail(err, "no thread for events: %s", strerror(-err));
		else
			v->events_state = VIDAS_EVENTS_STARTING;
	}
	while (ev && !err && v->events_state == VIDAS_EVENTS_STARTING)
		pthread_cond_wait(&v->changed, &v->lock);
	if (ev && !err && v->events_error)
		err = vidas_fail(v->events_error, "vidasd gives no events lane: %s",
				 strerror(-v->events_error));
	pthread_mutex_unlock(&v->lock);
	return err;
}

void vidas_events_stop(struct vidas *v)
{
	bool runs;

	pthread_mutex_lock(&v->lock);
	runs = v->events_state != VIDAS_EVENTS_NONE;
	if (v->events_channel)
		vidas_channel_shutdown(v->events_channel);
	pthread_mutex_unlock(&v->lock);
	if (runs)
		pthread_join(v->events_thread, NULL);
}
