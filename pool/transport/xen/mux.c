/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/transport/xen/mux.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "pool/base/base.h"

/* What a wake-up of the other side takes, about. */
#define LOOK_US	      INT64_C(40)
/* Frames taken from one side in a turn, so that the other has its turn, too. */
#define FRAMES_A_TURN 32

struct vidas_mux_packet {
	struct vidas_mux_packet *next, *prev;
	struct vidas_frame frame;
	_Alignas(8) uint8_t head[VIDAS_FRAME_HEAD_MAX];
	uint8_t payload[];
};

void vidas_mux_lane_state(struct vidas_mux_lane *lane, enum vidas_lane_state state)
{
	lane->state = state;
	lane->since_us = vidas_now_us();
}

int vidas_mux_lane_new(struct vidas_mux *m, uint32_t number, struct vidas_channel *ch,
		       struct vidas_mux_lane **out)
{
	struct vidas_mux_lane *lane = NULL;
	int err = 0;

	for (uint32_t i = 1; !number && i < VIDAS_FRAME_LANES; i++)
		number = m->lane[i] ? 0 : i;
	if (!number)
		err = vidas_fail(-EMFILE, "all %u lanes of this guest are in use",
				 VIDAS_FRAME_LANES - 1);
	else if (m->lane[number])
		err = vidas_fail(-EEXIST, "lane %u is in use", number);
	else if (!(lane = calloc(1, sizeof(*lane))))
		err = vidas_fail(-ENOMEM, "no memory for a lane");
	if (err < 0) {
		vidas_channel_close(ch);
		return err;
	}
	lane->number = number;
	lane->ch = ch;
	vidas_mux_lane_state(lane, VIDAS_LANE_NEW);
	m->lane[number] = lane;
	m->lanes_open++;
	if (m->lanes <= number)
		m->lanes = number + 1;
	*out = lane;
	return 0;
}

static void packet_free(struct vidas_mux *m, struct vidas_mux_lane *lane,
			struct vidas_mux_packet *p)
{
	DL_DELETE(lane->queue, p);
	lane->queued_bytes -= sizeof(*p) + p->frame.payload_bytes;
	m->queued_bytes -= sizeof(*p) + p->frame.payload_bytes;
	vidas_frame_close_shares(&p->frame);
	free(p);
}

/* What it has of a process ends here: socket, queue, the user's part. */
static void lane_shut(struct vidas_mux *m, struct vidas_mux_lane *lane)
{
	while (lane->queue)
		packet_free(m, lane, lane->queue);
	if (lane->ch) {
		m->ops->lane_end(m, lane);
		vidas_channel_close(lane->ch);
	}
	lane->ch = NULL;
}

static void lane_free(struct vidas_mux *m, struct vidas_mux_lane *lane)
{
	lane_shut(m, lane);
	m->lane[lane->number] = NULL;
	m->lanes_open--;
	while (m->lanes && !m->lane[m->lanes - 1])
		m->lanes--;
	free(lane);
}

int vidas_mux_link_send(struct vidas_mux *m, struct vidas_frame *f)
{
	m->frames_out++;
	m->payload_out += f->payload_bytes;
	m->shares += f->shares;
	return vidas_link_send(m->link, f);
}

static void send_close(struct vidas_mux *m, uint32_t number)
{
	_Alignas(8) uint8_t room[VIDAS_FRAME_HEAD_MAX];
	struct vidas_frame f = { .type = VIDAS_FRAME_CLOSE,
				 .lane = number,
				 .payload = room + sizeof(room) };

	vidas_mux_link_send(m, &f);
}

/* As long as the link has no room the lane stays as it is, without a socket; turn comes back to it. */
static void lane_say_close(struct vidas_mux *m, struct vidas_mux_lane *lane)
{
	bool answer = lane->state == VIDAS_LANE_DRAINING;

	if (!vidas_link_room(m->link))
		return;
	send_close(m, lane->number);
	if (answer)
		lane_free(m, lane);
	else
		vidas_mux_lane_state(lane, VIDAS_LANE_CLOSING);
}

void vidas_mux_lane_close(struct vidas_mux *m, struct vidas_mux_lane *lane)
{
	lane_shut(m, lane);
	if (lane->state == VIDAS_LANE_NEW)
		lane_free(m, lane);
	else if (lane->state != VIDAS_LANE_CLOSING)
		lane_say_close(m, lane);
}

static int socket_send(struct vidas_mux_lane *lane, struct vidas_frame *f)
{
	if (lane->raw)
		return vidas_channel_send(lane->ch, f->payload, f->payload_bytes, NULL, 0, 0);
	return vidas_frame_send(lane->ch, f, 0);
}

static int packet_keep(struct vidas_mux *m, struct vidas_mux_lane *lane, struct vidas_frame *f)
{
	struct vidas_mux_packet *p;
	size_t bytes = sizeof(*p) + f->payload_bytes;

	if (lane->queued_bytes + bytes > VIDAS_MUX_LANE_BYTES ||
	    m->queued_bytes + bytes > VIDAS_MUX_TOTAL_BYTES)
		return vidas_fail(-ENOBUFS, "%zu bytes wait for it, %zu for all",
				  lane->queued_bytes, m->queued_bytes);
	p = malloc(bytes);
	if (!p)
		return vidas_fail(-ENOMEM, "no memory for what waits");
	p->frame = *f;
	memcpy(p->payload, f->payload, f->payload_bytes);
	p->frame.payload = p->payload;
	f->shares = 0;
	lane->queued_bytes += bytes;
	m->queued_bytes += bytes;
	DL_APPEND(lane->queue, p);
	return 0;
}

void vidas_mux_lane_send(struct vidas_mux *m, struct vidas_mux_lane *lane, struct vidas_frame *f)
{
	int err = lane->queue ? -ETIMEDOUT : socket_send(lane, f);

	if (err == -ETIMEDOUT)
		err = packet_keep(m, lane, f);
	vidas_frame_close_shares(f);
	if (err >= 0)
		return;
	if (err == -ENOBUFS || err == -ENOMEM)
		vidas_log(VIDAS_LOG_WARNING, "lane %u is closed, as it takes nothing: %s",
			  lane->number, vidas_fail_text());
	vidas_mux_lane_close(m, lane);
}

static void lane_flush(struct vidas_mux *m, struct vidas_mux_lane *lane)
{
	while (lane->queue) {
		int err = socket_send(lane, &lane->queue->frame);

		if (err == -ETIMEDOUT)
			return;
		packet_free(m, lane, lane->queue);
		if (err < 0) {
			vidas_mux_lane_close(m, lane);
			return;
		}
	}
}

static int socket_recv(struct vidas_mux *m, struct vidas_mux_lane *lane, struct vidas_frame *f)
{
	ssize_t size;

	if (!lane->raw)
		return vidas_frame_recv(lane->ch, &m->buffer, f, 0);
	*f = (struct vidas_frame){ .type = VIDAS_FRAME_MESSAGE,
				   .shares = VIDAS_FRAME_SHARES,
				   .payload = m->buffer.payload };
	size = vidas_channel_recv(lane->ch, m->buffer.payload, VIDAS_FRAME_PAYLOAD_MAX, f->share,
				  &f->shares, 0);
	f->payload_bytes = size > 0 ? (size_t)size : 0;
	return size > 0 ? 1 : (int)size;
}

/* One frame of its socket. False: there is none for now, or no lane any more. */
static bool lane_take(struct vidas_mux *m, struct vidas_mux_lane *lane)
{
	struct vidas_frame f;
	int got = socket_recv(m, lane, &f);

	if (got == -ETIMEDOUT)
		return false;
	if (got > 0) {
		f.lane = lane->number;
		got = m->ops->lane_frame(m, lane, &f);
		if (got >= 0)
			return lane->state == VIDAS_LANE_OPEN;
	}
	if (got < 0 && got != -ECONNRESET)
		vidas_log(VIDAS_LOG_NOTICE, "lane %u is closed: %s", lane->number,
			  vidas_fail_text()[0] ? vidas_fail_text() : strerror(-got));
	vidas_mux_lane_close(m, lane);
	return false;
}

/* Link ------------------------------------------------------------------------------------------ */

static void close_came(struct vidas_mux *m, struct vidas_mux_lane *lane)
{
	if (lane->state == VIDAS_LANE_CLOSING) {
		lane_free(m, lane);
		return;
	}
	vidas_mux_lane_state(lane, VIDAS_LANE_DRAINING);
	if (!lane->queue)
		vidas_mux_lane_close(m, lane);
}

static int link_frame(struct vidas_mux *m, struct vidas_frame *f)
{
	struct vidas_mux_lane *lane = f->lane ? m->lane[f->lane] : NULL;

	m->frames_in++;
	m->payload_in += f->payload_bytes;
	m->shares += f->shares;
	if (f->type == VIDAS_FRAME_CLOSE) {
		if (!lane || lane->state == VIDAS_LANE_NEW || lane->state == VIDAS_LANE_DRAINING)
			return vidas_fail(-EBADMSG, "it closes lane %u, which is none", f->lane);
		close_came(m, lane);
		return 0;
	}
	if (lane && (lane->state == VIDAS_LANE_DRAINING || lane->state == VIDAS_LANE_NEW))
		return vidas_fail(-EBADMSG, "it sends on lane %u, which is none", f->lane);
	return m->ops->link_frame(m, lane && lane->ch ? lane : NULL, f);
}

static int link_take(struct vidas_mux *m)
{
	int err = vidas_link_work(m->link);
	struct vidas_frame f;

	m->more = true;
	for (int i = 0; i < FRAMES_A_TURN; i++) {
		int got = vidas_link_recv(m->link, &m->buffer, &f);

		if (got == -EAGAIN) {
			m->more = false;
			return err;
		}
		if (got > 0)
			got = link_frame(m, &f);
		if (got < 0)
			return got;
	}
	return 0;
}

/* Turns --------------------------------------------------------------------------------------- */

static short lane_events(struct vidas_mux *m, const struct vidas_mux_lane *lane, bool room)
{
	bool takes = lane->state == VIDAS_LANE_NEW || lane->state == VIDAS_LANE_OPEN;

	(void)m;
	return (short)((takes && room ? POLLIN : 0) | (lane->queue ? POLLOUT : 0));
}

static void lane_turn(struct vidas_mux *m, struct vidas_mux_lane *lane, short revents)
{
	uint32_t number = lane->number;

	if (revents & POLLOUT)
		lane_flush(m, lane);
	if (m->lane[number] != lane || !lane->ch)
		return;
	if (lane->state == VIDAS_LANE_DRAINING) {
		if (!lane->queue || vidas_now_us() - lane->since_us > VIDAS_MUX_DRAIN_US)
			vidas_mux_lane_close(m, lane);
		return;
	}
	if (!(revents & (POLLIN | POLLHUP | POLLERR)))
		return;
	if (lane->state == VIDAS_LANE_OPENING) {
		vidas_mux_lane_close(m, lane);
		return;
	}
	for (int i = 0; i < FRAMES_A_TURN && vidas_link_room(m->link); i++)
		if (!lane_take(m, lane))
			return;
}

/* Which lanes to poll for; *n of them. A hang-up alone is not to wake us while there is no room. */
static void lanes_poll(struct vidas_mux *m, struct pollfd *fds, uint32_t *numbers, unsigned *n)
{
	bool room = vidas_link_room(m->link);

	for (uint32_t i = 1; i < m->lanes; i++) {
		struct vidas_mux_lane *lane = m->lane[i];
		short events;

		if (!lane)
			continue;
		if (!lane->ch && lane->state != VIDAS_LANE_CLOSING) {
			lane_say_close(m, lane); /* for want of room before */
			continue;
		}
		events = lane->ch ? lane_events(m, lane, room) : 0;
		if (!lane->ch || (!events && !(room && lane->state == VIDAS_LANE_OPENING)))
			continue;
		fds[*n] = (struct pollfd){ .fd = vidas_channel_fd(lane->ch), .events = events };
		numbers[*n] = i;
		++*n;
	}
}

/* May we keep a processor busy while others work? */
static bool may_look(void)
{
	static int yes = -1;
	cpu_set_t set;

	if (yes < 0)
		yes = !sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) > 1;
	return yes;
}

/* How long poll() may wait. */
static int patience_ms(struct vidas_mux *m, int timeout_ms)
{
	uint64_t moved = m->frames_in + m->frames_out;

	if (m->more)
		return 0;
	if (moved != m->moved && may_look())
		m->look_until_us = vidas_now_us() + LOOK_US;
	m->moved = moved;
	if (!m->look_until_us)
		return timeout_ms;
	if (vidas_now_us() < m->look_until_us)
		return 0;
	m->look_until_us = 0;
	return timeout_ms;
}

int vidas_mux_turn(struct vidas_mux *m, struct pollfd *extra, unsigned extras, int timeout_ms)
{
	struct pollfd fds[1 + VIDAS_MUX_EXTRA + VIDAS_FRAME_LANES];
	uint32_t numbers[1 + VIDAS_MUX_EXTRA + VIDAS_FRAME_LANES];
	unsigned first = 1 + extras, n = first;
	int err;

	fds[0] = vidas_link_poll(m->link);
	for (unsigned i = 0; i < extras; i++)
		fds[1 + i] = extra[i];
	lanes_poll(m, fds, numbers, &n);
	if (poll(fds, n, patience_ms(m, timeout_ms)) < 0) {
		for (unsigned i = 0; i < n; i++)
			fds[i].revents = 0;
	}
	for (unsigned i = 0; i < extras; i++)
		extra[i].revents = fds[1 + i].revents;
	err = link_take(m);
	if (err < 0)
		return err;
	for (unsigned i = first; i < n; i++) {
		struct vidas_mux_lane *lane = m->lane[numbers[i]];

		/* What the link said may have closed it, and even given its number to another. */
		if (lane && lane->ch && vidas_channel_fd(lane->ch) == fds[i].fd)
			lane_turn(m, lane, fds[i].revents);
	}
	return 0;
}

void vidas_mux_end(struct vidas_mux *m)
{
	for (uint32_t i = m->lanes; i-- > 1;)
		if (m->lane[i])
			lane_free(m, m->lane[i]);
	vidas_link_close(m->link);
	m->link = NULL;
}
