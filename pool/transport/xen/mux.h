/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One link, many lanes: what vidas-agent and a gate's process for a guest have in common. Here
 * frames are moved between the link and the sockets of lanes, and lanes are closed from either side;
 * what frames say is for the two to know (ops).
 *
 * One thread, and nothing waits but poll(). While the link is full nothing is taken from any
 * socket. What a socket does not take is kept, up to a bound: whose bound is exceeded loses its lane, and
 * no lane holds up another.
 *
 * A lane is free, then open, until one side sends CLOSE. Who gets CLOSE delivers what it has for the
 * socket, closes that and answers with CLOSE; when both have gone over the link the number is
 * free again.
 */
#ifndef VIDAS_MUX_H
#define VIDAS_MUX_H

#include "pool/transport/xen/link.h"

/* What waits for a socket: of one lane, and of all. */
#define VIDAS_MUX_LANE_BYTES  (8u << 20)
#define VIDAS_MUX_TOTAL_BYTES (64u << 20)
/* How long one that is closed may take to accept what waits for it. */
#define VIDAS_MUX_DRAIN_US    (INT64_C(5) * 1000 * 1000)
#define VIDAS_MUX_EXTRA	      4u

enum vidas_lane_state {
	VIDAS_LANE_NEW,	    /* nothing of it went over the link */
	VIDAS_LANE_OPENING, /* OPEN went, no answer yet: nothing is taken from its socket */
	VIDAS_LANE_OPEN,
	VIDAS_LANE_DRAINING, /* CLOSE came */
	VIDAS_LANE_CLOSING,  /* CLOSE went: there is no socket any more */
};

struct vidas_mux_packet;

struct vidas_mux_lane {
	uint32_t number;
	enum vidas_lane_state state;
	struct vidas_channel *ch;
	bool raw;	  /* its socket carries messages, not frames */
	int64_t since_us; /* in this state */
	struct vidas_mux_packet *queue;
	size_t queued_bytes;
	void *user;
};

struct vidas_mux;

struct vidas_mux_ops {
	/* From the link, of any type but CLOSE; `lane` NULL: there is none of that number, or it is
	 * closing. The shares are the callee's. Negative: the peer is out of its senses, end the link. */
	int (*link_frame)(struct vidas_mux *m, struct vidas_mux_lane *lane, struct vidas_frame *f);
	/* From a lane's socket (the payload has room for a head before it); as above. Negative: close the lane. */
	int (*lane_frame)(struct vidas_mux *m, struct vidas_mux_lane *lane, struct vidas_frame *f);
	/* `user` is about to be lost. */
	void (*lane_end)(struct vidas_mux *m, struct vidas_mux_lane *lane);
};

struct vidas_mux {
	struct vidas_link *link;
	const struct vidas_mux_ops *ops;
	void *arg;
	struct vidas_mux_lane *lane[VIDAS_FRAME_LANES];
	uint32_t lanes; /* numbers in use are below */
	size_t queued_bytes;
	bool more; /* the link has more for us, which poll() does not know */
	/* After something was moved we look for more a little while before we sleep: an answer that comes
	 * within it costs nobody a wake-up. Where we have a processor alone there is nobody else to wait for. */
	int64_t look_until_us;
	uint64_t moved;				/* frames when we last began to look */
	uint64_t frames_in, frames_out, shares; /* over the link */
	uint64_t payload_in, payload_out;
	uint64_t lanes_open; /* now */
	struct vidas_frame_buffer buffer;
};

/* A lane of that number (0: a free one) for a socket, which it then owns, also on failure. -EMFILE,
 * -EEXIST, -ENOMEM. */
int vidas_mux_lane_new(struct vidas_mux *m, uint32_t number, struct vidas_channel *ch,
		       struct vidas_mux_lane **out);
/* To its socket, now or later; takes the shares. */
void vidas_mux_lane_send(struct vidas_mux *m, struct vidas_mux_lane *lane, struct vidas_frame *f);
/* Ends it from this side. A NEW lane is gone at once. */
void vidas_mux_lane_close(struct vidas_mux *m, struct vidas_mux_lane *lane);
void vidas_mux_lane_state(struct vidas_mux_lane *lane, enum vidas_lane_state state);

/* To the link; `f.lane` is set. Shares stay the caller's. */
int vidas_mux_link_send(struct vidas_mux *m, struct vidas_frame *f);

/*
 * Waits at most `timeout_ms` for something to do, and does it. `extra` are polled as well (at most
 * VIDAS_MUX_EXTRA), and hold what poll() said. Negative: the link has ended (-EPIPE), or has to (-EBADMSG,
 * -ENOMEM); with words.
 */
int vidas_mux_turn(struct vidas_mux *m, struct pollfd *extra, unsigned n, int timeout_ms);

/* Closes all lanes and the link. */
void vidas_mux_end(struct vidas_mux *m);

#endif
