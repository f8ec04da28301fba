/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/client/client.h"

#include <string.h>

static int64_t reply_limit_us(const struct vidas *v, const struct vidas_call *call)
{
	if (call->timeout_us)
		return call->timeout_us;
	switch (call->type) {
	case VIDAS_WIRE_CONTAINER_DESTROY:
	case VIDAS_WIRE_OBJECT_CREATE:
	case VIDAS_WIRE_FLUSH:
	case VIDAS_WIRE_UPDATE:
	case VIDAS_WIRE_RESIDENT:
	case VIDAS_WIRE_IMPORT:
	case VIDAS_WIRE_ATTR_SET:
		return VIDAS_MOVE_US;
	case VIDAS_WIRE_OBJECT_JOIN:
	case VIDAS_WIRE_FETCH:
		return v->timeout_us + VIDAS_WIRE_WAIT_MAX_US;
	default:
		return v->timeout_us;
	}
}

void vidas_call_close(struct vidas_call *call)
{
	for (unsigned i = 0; i < call->shares; i++)
		vidas_share_close(&call->share[i]);
	call->shares = 0;
}

static int lane_send(struct vidas *v, struct vidas_lane *lane, const struct vidas_call *call,
		     uint64_t id, int64_t deadline_us)
{
	struct vidas_wire_message m = {
		.type = call->type,
		.flags = call->retry ? VIDAS_WIRE_RETRY : 0,
		.id = id,
		.body = call->body,
		.string = { call->string[0], call->string[1] },
		.blob = call->blob,
		.blob_bytes = call->blob_bytes,
	};
	int size = vidas_wire_encode(lane->tx, &m);

	if (size < 0)
		return vidas_fail(size, "the request %s is too long", vidas_wire_name(call->type));
	atomic_fetch_add_explicit(&v->messages, 1, memory_order_relaxed);
	return vidas_channel_send(lane->ch, lane->tx, (size_t)size, NULL, 0,
				  vidas_remaining_us(deadline_us));
}

/* The next message of the lane, checked. 0 with `m`; 1 the peer is gone; -errno. */
static int lane_recv(struct vidas_lane *lane, struct vidas_call *call, int64_t deadline_us,
		     struct vidas_wire_message *m)
{
	const char *reason = "it is malformed";
	ssize_t size;
	int err;

	call->shares = VIDAS_WIRE_SHARES;
	size = vidas_channel_recv(lane->ch, lane->rx, sizeof(lane->rx), call->share, &call->shares,
				  vidas_remaining_us(deadline_us));
	if (size <= 0)
		call->shares = 0;
	if (!size || size == -ECONNRESET || size == -EPIPE || size == -ESHUTDOWN)
		return 1;
	if (size == -ETIMEDOUT)
		return vidas_fail(-ETIMEDOUT, "vidasd did not answer %s in time",
				  vidas_wire_name(call->type));
	if (size < 0)
		return (int)size;
	err = vidas_wire_decode(lane->rx, (size_t)size, m, &reason);
	if (err < 0 || !m->reply) {
		vidas_call_close(call);
		return vidas_fail(-EPROTO, "vidasd answered %s with what is no answer: %s",
				  vidas_wire_name(call->type), reason);
	}
	return 0;
}

/* Takes over what a good answer brought. */
static int reply_take(struct vidas_call *call, const struct vidas_wire_message *m,
		      struct vidas_channel *ch)
{
	if (call->shares < call->shares_wanted)
		return vidas_fail(-EPROTO, "vidasd's answer to %s came without its memory",
				  vidas_wire_name(call->type));
	if (call->reply)
		memcpy(call->reply, m->body, call->reply_bytes);
	call->reply_blob_bytes = m->blob_bytes;
	if (call->reply_blob && m->blob_bytes)
		memcpy(call->reply_blob, m->blob,
		       m->blob_bytes < call->reply_blob_size ? m->blob_bytes :
							       call->reply_blob_size);
	return call->take ? call->take(call, ch) : 0;
}

int vidas_lane_exchange(struct vidas *v, struct vidas_lane *lane, struct vidas_call *call,
			int64_t deadline_us, int *status)
{
	uint64_t id = 1 + atomic_fetch_add_explicit(&v->ids, 1, memory_order_relaxed);
	struct vidas_wire_message m;
	int err;

	call->shares = 0;
	err = lane_send(v, lane, call, id, deadline_us);
	if (err == -EPIPE || err == -ECONNRESET || err == -ESHUTDOWN || err == -ENOTCONN)
		return 1;
	if (err < 0)
		return err;
	err = lane_recv(lane, call, deadline_us, &m);
	if (err)
		return err;
	if (m.id != id || m.type != call->type) {
		vidas_call_close(call);
		return vidas_fail(-EPROTO, "vidasd answered something else than %s",
				  vidas_wire_name(call->type));
	}
	call->generation = lane->generation;
	*status = m.status < 0 ? m.status : reply_take(call, &m, lane->ch);
	if (*status < 0)
		vidas_call_close(call);
	if (m.status < 0 && m.blob_bytes)
		vidas_fail(m.status, "%.*s", (int)m.blob_bytes, (const char *)m.blob);
	else if (m.status < 0)
		vidas_fail(m.status, "%s: %s", vidas_wire_name(call->type), strerror(-m.status));
	return 0;
}

/* One try. 0 done, with *status; 1 try again; -errno. */
static int call_try(struct vidas *v, struct vidas_call *call, int64_t deadline_us,
		    int64_t connect_us, int *status)
{
	struct vidas_lane *lane;
	int err = vidas_lane_get(v, connect_us, &lane);

	if (err < 0)
		return err;
	*status = 0;
	if (call->only_generation && lane->generation != call->only_generation)
		goto put;
	if (call->number) {
		/* Read with the lane in hand: a replay renews numbers before it gives out lanes. */
		uint32_t number = atomic_load_explicit(call->number, memory_order_acquire);

		memcpy(call->body, &number, sizeof(number));
		if (!number)
			*status = vidas_fail(-ENOENT, "that is no more at vidasd, or no more "
						      "open to this domain");
		if (!number)
			goto put;
	}
	err = vidas_lane_exchange(v, lane, call, deadline_us, status);
	if (!err)
		goto put;
	vidas_lane_drop(v, lane, err < 0);
	return err;
put:
	vidas_lane_put(v, lane);
	return 0;
}

int vidas_call(struct vidas *v, struct vidas_call *call)
{
	int64_t limit_us = reply_limit_us(v, call);
	int64_t end_us = call->timeout_us ? vidas_deadline_us(call->timeout_us) : VIDAS_FOREVER;
	int err = 0, status = 0;

	vidas_events_waiting(v);
	for (int i = 0; i < VIDAS_TRIES; i++) {
		int64_t deadline_us = end_us >= 0 ? end_us : vidas_deadline_us(limit_us);
		int64_t connect_us = vidas_deadline_us(v->timeout_us);

		if (end_us >= 0 && connect_us > end_us)
			connect_us = end_us;
		err = call_try(v, call, deadline_us, connect_us, &status);
		if (err <= 0)
			return err < 0 ? err : status;
		call->retry = true;
	}
	return vidas_fail(-EIO, "vidasd went away over %s, %d times", vidas_wire_name(call->type),
			  VIDAS_TRIES);
}
