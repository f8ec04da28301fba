/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One thread a connection: HELLO, then request after request until the client goes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "pool/host/container.h"

union buffer {
	uint64_t align;
	struct vidas_wire_header header;
	uint8_t bytes[VIDAS_WIRE_MAX];
};

void vidas_host_lane_unref(struct host_lane *lane)
{
	if (atomic_fetch_sub_explicit(&lane->refs, 1, memory_order_acq_rel) != 1)
		return;
	vidas_channel_close(lane->channel);
	vidas_host_session_unref(lane->session);
	vidas_host_domain_unref(lane->domain);
	pthread_mutex_destroy(&lane->send);
	free(lane);
}

int vidas_host_lane_hopeless(const struct host_lane *lane)
{
	if (atomic_load_explicit(&lane->host->stopping, memory_order_relaxed))
		return vidas_fail(-ESHUTDOWN, "vidasd stops");
	if (atomic_load_explicit(&lane->gone, memory_order_relaxed))
		return -EPIPE;
	return 0;
}

/* `raw_type`: of the request, which may be one that we do not know. */
static int send_reply(struct host_lane *lane, struct vidas_wire_message *m, uint16_t raw_type,
		      const struct vidas_share *shares, unsigned n)
{
	union buffer out;
	int size;

	if (m->status < 0) {
		const char *words = vidas_fail_text();

		m->body = NULL;
		m->blob = words[0] ? words : strerror(-m->status);
		m->blob_bytes = strlen(m->blob);
		n = 0;
	}
	size = vidas_wire_encode(out.bytes, m);
	if (size < 0) {
		vidas_log(VIDAS_LOG_ERR, "a reply to %s cannot be encoded",
			  vidas_wire_name(m->type));
		return size;
	}
	if (m->status < 0)
		out.header.type = raw_type | VIDAS_WIRE_REPLY;
	return vidas_channel_send(lane->channel, out.bytes, (size_t)size, shares, n, HOST_SEND_US);
}

/* A failure that no handler answers. The shape of failed replies is the same for all types. */
static int send_failure(struct host_lane *lane, const union buffer *in, size_t size, int status)
{
	bool whole = size >= sizeof(in->header);
	struct vidas_wire_message m = { .type = VIDAS_WIRE_HELLO,
					.reply = true,
					.id = whole ? in->header.id : 0,
					.status = status };

	return send_reply(lane, &m, whole ? in->header.type : VIDAS_WIRE_HELLO, NULL, 0);
}

/* Receives and decodes; malformed messages are answered here. > 0 a message, 0 go on, < 0 close. */
static int receive(struct host_lane *lane, union buffer *in, struct vidas_wire_message *m,
		   int64_t timeout_us)
{
	const char *wrong = "";
	unsigned none = 0;
	ssize_t size;
	int err;

	size = vidas_channel_recv(lane->channel, in->bytes, sizeof(in->bytes), NULL, &none,
				  timeout_us);
	if (size == -EMSGSIZE) {
		size = 0;
		err = -EBADMSG;
		wrong = "it is too long, or brings descriptors";
	} else if (size <= 0) {
		return size ? (int)size : -EPIPE;
	} else {
		err = vidas_wire_decode(in->bytes, (size_t)size, m, &wrong);
	}
	if (err == 0)
		return 1;
	if (err == -EOPNOTSUPP && !m->reply) {
		vidas_fail(err, "this vidasd knows no request %u", in->header.type);
		return send_failure(lane, in, (size_t)size, err);
	}
	vidas_host_complain(lane->domain, "malformed message: %s", wrong);
	vidas_fail(-EBADMSG, "malformed message: %s", wrong);
	send_failure(lane, in, (size_t)size, -EBADMSG);
	return -EBADMSG;
}

static int greet(struct host_lane *lane, const struct vidas_wire_hello *hello,
		 struct vidas_wire_hello_reply *reply)
{
	if (hello->major != VIDAS_WIRE_MAJOR)
		return vidas_fail(-EPROTO,
				  "vidasd speaks version %d.%d, the client %u.%u: use those of one "
				  "release",
				  VIDAS_WIRE_MAJOR, VIDAS_WIRE_MINOR, hello->major, hello->minor);
	if (lane->refuse) {
		vidas_host_complain(lane->domain, "it has %u connections: one more is refused",
				    HOST_LANES_PER_DOMAIN);
		return vidas_fail(-EUSERS, "domain %u has as many connections as it may: %u",
				  lane->domain->id, HOST_LANES_PER_DOMAIN);
	}
	return vidas_host_session_hello(lane, hello, reply);
}

static int say_hello(struct host_lane *lane, union buffer *in)
{
	struct vidas_wire_hello_reply reply;
	struct vidas_wire_message m;
	int err;

	err = receive(lane, in, &m, HOST_HELLO_US);
	if (err <= 0)
		return err ? err : -EPROTO;
	if (m.type != VIDAS_WIRE_HELLO || m.reply) {
		err = vidas_fail(-EPROTO, "the first message of a connection is HELLO");
		send_failure(lane, in, in->header.size, err);
		return err;
	}
	err = greet(lane, m.body, &reply);
	m = (struct vidas_wire_message){
		.type = VIDAS_WIRE_HELLO, .reply = true, .id = m.id, .status = err, .body = &reply
	};
	/* Others know the lane already, and may have events for it. */
	pthread_mutex_lock(&lane->send);
	lane->greeted = send_reply(lane, &m, VIDAS_WIRE_HELLO, NULL, 0) == 0;
	pthread_mutex_unlock(&lane->send);
	return lane->greeted ? err : -EPIPE;
}

static int answer(struct host_lane *lane, const struct vidas_wire_message *m)
{
	struct host_request rq = { .lane = lane,
				   .session = lane->session,
				   .host = lane->host,
				   .message = m,
				   .retry = m->flags & VIDAS_WIRE_RETRY,
				   .share = { VIDAS_SHARE_NONE, VIDAS_SHARE_NONE } };
	struct vidas_wire_message out = { .type = m->type, .reply = true, .id = m->id };
	int err;

	vidas_fail_clear();
	out.status = vidas_host_request(&rq);
	out.body = &rq.reply;
	out.blob = rq.blob;
	out.blob_bytes = rq.blob_bytes;
	err = send_reply(lane, &out, (uint16_t)m->type, rq.share, rq.shares);
	vidas_host_request_end(&rq);
	atomic_fetch_add_explicit(&lane->domain->requests, 1, memory_order_relaxed);
	return err;
}

static int serve(struct host_lane *lane, union buffer *in)
{
	struct vidas_wire_message m;
	int err;

	do {
		err = receive(lane, in, &m, VIDAS_FOREVER);
		if (err <= 0)
			continue;
		if (lane->events && m.reply && m.type == VIDAS_WIRE_EVENT) {
			vidas_host_recall_answered(lane->session, m.id, m.status);
			continue;
		}
		if (lane->events || m.reply) {
			err = vidas_fail(-EPROTO, "this connection is for %s only",
					 lane->events ? "answers to events" : "requests");
			send_failure(lane, in, in->header.size, err);
			continue;
		}
		atomic_store_explicit(&lane->busy_since_us, vidas_now_us(), memory_order_relaxed);
		err = answer(lane, &m);
		atomic_store_explicit(&lane->busy_since_us, 0, memory_order_relaxed);
	} while (err >= 0);
	return err;
}

static void *lane_main(void *arg)
{
	struct host_lane *lane = arg;
	struct host_domain *d = lane->domain;
	struct host *h = lane->host;
	union buffer in;

	atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
	if (say_hello(lane, &in) >= 0)
		serve(lane, &in);
	vidas_host_session_drop_lane(lane);
	vidas_channel_shutdown(lane->channel);
	vidas_host_lane_unref(lane);
	pthread_mutex_lock(&h->registry);
	d->lanes--;
	if (--h->lanes == 0)
		pthread_cond_signal(&h->lanes_gone);
	pthread_mutex_unlock(&h->registry);
	vidas_host_domain_unref(d);
	return NULL;
}

static void give_up(struct host_domain *d)
{
	pthread_mutex_lock(&d->host->registry);
	d->lanes--;
	d->host->lanes--;
	pthread_mutex_unlock(&d->host->registry);
}

int vidas_host_lane_start(struct host_domain *d, struct vidas_channel *channel,
			  const struct vidas_peer *peer, bool refuse)
{
	struct host_lane *lane = calloc(1, sizeof(*lane));
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	if (!lane) {
		vidas_channel_close(channel);
		give_up(d);
		vidas_host_domain_unref(d);
		return -ENOMEM;
	}
	lane->host = d->host;
	lane->domain = d;
	lane->channel = channel;
	lane->peer = *peer;
	lane->refuse = refuse;
	atomic_init(&lane->refs, 1);
	pthread_mutex_init(&lane->send, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = -pthread_create(&thread, &attr, lane_main, lane);
	pthread_attr_destroy(&attr);
	if (err < 0) {
		vidas_log(VIDAS_LOG_ERR, "cannot start a thread for domain %u: %s", d->id,
			  strerror(-err));
		give_up(d);
		vidas_host_lane_unref(lane);
	}
	return err;
}

/* Of the busy lanes of a session, one whose client has gone; with a reference. */
static struct host_lane *find_gone(struct host_session *s)
{
	int64_t before_us = vidas_now_us() - HOST_TICK_US;
	struct host_lane *lane;

	pthread_mutex_lock(&s->lock);
	DL_FOREACH(s->lanes, lane) {
		int64_t since_us = atomic_load_explicit(&lane->busy_since_us, memory_order_relaxed);

		if (since_us && since_us < before_us && vidas_channel_gone(lane->channel))
			break;
	}
	if (lane)
		atomic_fetch_add_explicit(&lane->refs, 1, memory_order_relaxed);
	pthread_mutex_unlock(&s->lock);
	return lane;
}

/* The lane's thread is in a request; what it gets or sends from now on ends it. */
static void drop_gone(struct host_session *s, void *arg)
{
	struct host_lane *lane;

	(void)arg;
	while ((lane = find_gone(s))) {
		atomic_store_explicit(&lane->gone, true, memory_order_relaxed);
		vidas_host_session_drop_lane(lane);
		vidas_host_lane_unref(lane);
	}
}

void vidas_host_lanes_tick(struct host *h)
{
	vidas_host_sessions_each(h, drop_gone, NULL);
}
