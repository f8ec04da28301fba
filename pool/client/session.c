/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The session with vidasd and its lanes.
 *
 * A session lives in vidasd as long as one lane of it is open, and dies with vidasd. Here it is
 * given up when a new lane cannot be opened for it; then one thread connects anew, asks for the
 * old id (lock words in shared memory bear it), attaches and joins again what was, and only then
 * lets others have lanes. Meanwhile all others wait, until their deadlines.
 */
#include "pool/client/client.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void vidas_lane_free(struct vidas_lane *lane)
{
	vidas_channel_close(lane->ch);
	free(lane);
}

static void lanes_free(struct vidas_lane *list)
{
	while (list) {
		struct vidas_lane *next = list->next;

		vidas_lane_free(list);
		list = next;
	}
}

/* A connected lane that has not said hello. */
int vidas_lane_connect(struct vidas *v, struct vidas_lane **out)
{
	struct vidas_lane *lane = malloc(sizeof(*lane));
	int err;

	if (!lane)
		return vidas_fail(-ENOMEM, "no memory for a connection to vidasd");
	lane->next = NULL;
	lane->generation = 0;
	err = vidas_channel_connect(v->address, &lane->ch);
	if (err < 0) {
		free(lane);
		return err;
	}
	*out = lane;
	return 0;
}

int vidas_session_hello(struct vidas *v, struct vidas_lane *lane, uint32_t flags, uint32_t session,
			uint64_t token, struct vidas_wire_hello_reply *reply)
{
	struct vidas_wire_hello hello = {
		.magic = VIDAS_WIRE_MAGIC,
		.major = VIDAS_WIRE_MAJOR,
		.minor = VIDAS_WIRE_MINOR,
		.flags = flags,
		.token = token,
		.session = session,
	};
	struct vidas_call call = {
		.type = VIDAS_WIRE_HELLO,
		.body = &hello,
		.reply = reply,
		.reply_bytes = sizeof(*reply),
	};
	int status = 0;
	int err = vidas_lane_exchange(v, lane, &call, vidas_deadline_us(v->timeout_us), &status);

	if (err > 0)
		return vidas_fail(-ECONNRESET, "vidasd hung up at hello");
	if (err < 0 || status < 0)
		return err < 0 ? err : status;
	if (reply->major != VIDAS_WIRE_MAJOR)
		return vidas_fail(-EPROTO, "vidasd speaks protocol version %u, this program %u",
				  reply->major, VIDAS_WIRE_MAJOR);
	return 0;
}

/* One more lane for the living session. */
static int lane_open(struct vidas *v, uint32_t session, uint64_t token, unsigned generation,
		     struct vidas_lane **out)
{
	struct vidas_wire_hello_reply reply;
	int err = vidas_lane_connect(v, out);

	if (err < 0)
		return err;
	err = vidas_session_hello(v, *out, 0, session, token, &reply);
	if (!err && reply.session != session)
		err = vidas_fail(-ESTALE, "vidasd no longer knows this session");
	if (err < 0) {
		vidas_lane_free(*out);
		return err;
	}
	(*out)->generation = generation;
	return 0;
}

/* The first lane of a session: the one that was, if vidasd lets us have it again. */
static int session_begin(struct vidas *v, struct vidas_lane **out,
			 struct vidas_wire_hello_reply *reply)
{
	uint32_t old = atomic_load_explicit(&v->session, memory_order_relaxed);
	int err = vidas_lane_connect(v, out);

	if (err < 0)
		return err;
	err = vidas_session_hello(v, *out, old ? VIDAS_WIRE_HELLO_RESUME : 0, old, v->token, reply);
	if (!err)
		return 0;
	vidas_lane_free(*out);
	if (!old || err == -ECONNRESET || err == -EPROTO || err == -ETIMEDOUT)
		return err;
	err = vidas_lane_connect(v, out);
	if (err < 0)
		return err;
	err = vidas_session_hello(v, *out, 0, 0, 0, reply);
	if (err < 0)
		vidas_lane_free(*out);
	return err;
}

/* Publishes a session that is ready for use; under index. */
static void session_publish(struct vidas *v, struct vidas_lane *lane,
			    const struct vidas_wire_hello_reply *reply)
{
	pthread_mutex_lock(&v->lock);
	v->generation = lane->generation;
	v->token = reply->token;
	atomic_store_explicit(&v->domain, reply->domain, memory_order_relaxed);
	v->idle = lane;
	v->lanes = 1;
	v->lanes_max = VIDAS_LANES_MAX;
	v->live = true;
	atomic_store_explicit(&v->lost_us, 0, memory_order_relaxed);
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
}

/* One try to have a session. Only one thread at a time is here. */
static int session_try(struct vidas *v)
{
	uint32_t old = atomic_load_explicit(&v->session, memory_order_relaxed);
	struct vidas_wire_hello_reply reply;
	struct vidas_lane *lane;
	int err = session_begin(v, &lane, &reply);

	if (err < 0)
		return err;
	if (old && reply.session != old)
		vidas_log(VIDAS_LOG_WARNING,
			  "vidasd gave this connection a new session; locks held are lost");
	atomic_store_explicit(&v->session, reply.session, memory_order_relaxed);
	pthread_mutex_lock(&v->index);
	lane->generation = v->generation + 1;
	err = vidas_containers_replay(v, lane, lane->generation);
	if (!err)
		err = vidas_objects_replay(v, lane, lane->generation);
	if (!err)
		session_publish(v, lane, &reply);
	pthread_mutex_unlock(&v->index);
	if (err)
		vidas_lane_free(lane);
	return err;
}

/* Is that what a vidasd gives that is being restarted? */
static bool passing(int err)
{
	switch (err) {
	case -ENOENT:
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -EPIPE:
	case -EAGAIN:
	case -ETIMEDOUT:
	case -EINTR:
	case -ENOTCONN:
	case -ESHUTDOWN:
		return true;
	}
	return false;
}

static void sleep_us(int64_t us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&ts, NULL);
}

/* Tries to have a session until the deadline; `connecting` is ours, no lock is held. */
static int session_connect(struct vidas *v, int64_t deadline_us)
{
	int64_t delay_us = VIDAS_BACKOFF_US;

	for (;;) {
		int err = session_try(v);
		int64_t left_us = vidas_remaining_us(deadline_us);
		bool closing;

		pthread_mutex_lock(&v->lock);
		closing = v->closing;
		pthread_mutex_unlock(&v->lock);
		if (!err || !passing(err) || closing)
			return err;
		if (!left_us)
			return !deadline_us ? err :
					      vidas_fail(-ETIMEDOUT,
							 "vidasd did not come back in time: %s",
							 vidas_fail_text());
		sleep_us(left_us > 0 && left_us < delay_us ? left_us : delay_us);
		delay_us =
			delay_us * 2 < VIDAS_BACKOFF_MAX_US ? delay_us * 2 : VIDAS_BACKOFF_MAX_US;
	}
}

/* Under lock: the session is no more; its lanes that are in use close when they are put back. */
static void session_lost(struct vidas *v)
{
	struct vidas_lane *idle = v->idle, *stuck = v->stuck;

	v->live = false;
	atomic_store_explicit(&v->lost_us, vidas_now_us(), memory_order_relaxed);
	v->lanes = 0;
	v->idle = v->stuck = NULL;
	pthread_cond_broadcast(&v->changed);
	lanes_free(idle);
	lanes_free(stuck);
}

/* Under lock, waits for a change. -ETIMEDOUT. */
static int session_sleep(struct vidas *v, int64_t deadline_us)
{
	struct timespec ts = { deadline_us / 1000000, deadline_us % 1000000 * 1000 };

	if (deadline_us < 0)
		return -pthread_cond_wait(&v->changed, &v->lock);
	return -pthread_cond_timedwait(&v->changed, &v->lock, &ts);
}

/* Under lock: makes the session live, or waits until another thread has tried to. */
static int session_revive(struct vidas *v, int64_t deadline_us)
{
	int err;

	if (v->closing)
		return vidas_fail(-ENOTCONN, "the connection is being closed");
	if (v->connecting) {
		err = session_sleep(v, deadline_us);
		if (err == -ETIMEDOUT)
			return vidas_fail(err, "vidasd did not come back in time");
		return 0;
	}
	v->connecting = true;
	pthread_mutex_unlock(&v->lock);
	err = session_connect(v, deadline_us);
	pthread_mutex_lock(&v->lock);
	v->connecting = false;
	pthread_cond_broadcast(&v->changed);
	return err;
}

/* vidasd is there and knows the session, but gives no lane just now. */
static bool lane_refused(int err)
{
	return err == -EUSERS || err == -ENOMEM || err == -EMFILE || err == -ENFILE ||
	       err == -EAGAIN || err == -ETIMEDOUT;
}

/* Under lock, which it lets go meanwhile: one lane more. 1: look again. */
static int lane_add(struct vidas *v, struct vidas_lane **out)
{
	uint32_t session = atomic_load_explicit(&v->session, memory_order_relaxed);
	unsigned generation = v->generation;
	uint64_t token = v->token;
	int err;

	v->lanes++;
	pthread_mutex_unlock(&v->lock);
	err = lane_open(v, session, token, generation, out);
	pthread_mutex_lock(&v->lock);
	if (!v->live || v->generation != generation) {
		if (!err)
			vidas_lane_free(*out);
		return 1;
	}
	if (!err)
		return 0;
	v->lanes--;
	if (lane_refused(err) && v->lanes)
		v->lanes_max = v->lanes;
	else
		session_lost(v);
	return 1;
}

int vidas_lane_get(struct vidas *v, int64_t deadline_us, struct vidas_lane **out)
{
	int err = 0;

	pthread_mutex_lock(&v->lock);
	for (;;) {
		if (!v->live) {
			err = session_revive(v, deadline_us);
		} else if (v->idle) {
			*out = v->idle;
			v->idle = v->idle->next;
			break;
		} else if (v->lanes < v->lanes_max) {
			err = lane_add(v, out);
			if (!err)
				break;
			err = 0; /* look again */
		} else {
			err = session_sleep(v, deadline_us);
			if (err)
				vidas_fail(err, "all %u connections to vidasd are busy", v->lanes);
		}
		if (err < 0)
			break;
	}
	pthread_mutex_unlock(&v->lock);
	return err;
}

void vidas_lane_put(struct vidas *v, struct vidas_lane *lane)
{
	pthread_mutex_lock(&v->lock);
	if (v->live && lane->generation == v->generation) {
		lane->next = v->idle;
		v->idle = lane;
		if (v->lanes >= v->lanes_max)
			pthread_cond_signal(&v->changed);
		lane = NULL;
	}
	pthread_mutex_unlock(&v->lock);
	if (lane)
		vidas_lane_free(lane);
}

void vidas_lane_drop(struct vidas *v, struct vidas_lane *lane, bool alive)
{
	pthread_mutex_lock(&v->lock);
	if (v->live && lane->generation == v->generation) {
		v->lanes--;
		/* With its last lane the session would end, though vidasd is only slow. */
		if (alive && !v->lanes && !v->stuck) {
			lane->next = NULL;
			v->stuck = lane;
			lane = NULL;
		}
		pthread_cond_signal(&v->changed);
	}
	pthread_mutex_unlock(&v->lock);
	if (lane)
		vidas_lane_free(lane);
}

void vidas_session_end(struct vidas *v)
{
	pthread_mutex_lock(&v->lock);
	session_lost(v);
	pthread_mutex_unlock(&v->lock);
}

int vidas_session_wait(struct vidas *v, int64_t deadline_us, unsigned *generation)
{
	int err = 0;

	pthread_mutex_lock(&v->lock);
	while (!v->live && !err)
		err = session_revive(v, deadline_us);
	*generation = v->generation;
	pthread_mutex_unlock(&v->lock);
	return err;
}

bool vidas_session_alive(void *arg, uint32_t session)
{
	struct vidas *v = arg;
	struct vidas_wire_session_alive body = { .session = session };
	struct vidas_wire_session_alive_reply reply;
	struct vidas_call call = {
		.type = VIDAS_WIRE_SESSION_ALIVE,
		.body = &body,
		.reply = &reply,
		.reply_bytes = sizeof(reply),
		.timeout_us = 1000 * 1000,
	};

	/* Who cannot be asked about is taken to live: only vidasd's word ends a session. */
	return vidas_call(v, &call) < 0 || reply.alive;
}
