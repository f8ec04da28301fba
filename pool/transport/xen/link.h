/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What joins vidas-agent and vidas-gate: frames of all lanes, in order, reliably, and memory beside
 * them. Two implementations: a libxenvchan ring with grants (link_vchan.c), and a socket, for a
 * guest that is a container of the same host, which is also how all of this is tested without Xen.
 *
 * For one thread, with poll(): it waits for vidas_link_poll(), calls work(), then recv() until
 * -EAGAIN. Nothing here blocks, but accept and connect.
 */
#ifndef VIDAS_LINK_H
#define VIDAS_LINK_H

#include <poll.h>

#include "pool/transport/xen/frame.h"
#include "pool/transport/xen/grants.h"

struct vidas_link;

struct vidas_link_ops {
	void (*close)(struct vidas_link *l);
	int (*fd)(const struct vidas_link *l);
	short (*events)(const struct vidas_link *l);
	int (*work)(struct vidas_link *l);
	bool (*room)(const struct vidas_link *l);
	int (*send)(struct vidas_link *l, struct vidas_frame *f);
	int (*recv)(struct vidas_link *l, void *buf, struct vidas_frame *f);
	void (*release)(struct vidas_link *l, uint64_t id);
	struct vidas_granted (*granted)(const struct vidas_link *l);
};

struct vidas_link {
	const struct vidas_link_ops *ops;
};

static inline void vidas_link_close(struct vidas_link *l)
{
	if (l)
		l->ops->close(l);
}

/* What to poll for now. */
static inline struct pollfd vidas_link_poll(const struct vidas_link *l)
{
	return (struct pollfd){ .fd = l->ops->fd(l), .events = l->ops->events(l) };
}

/* Sends what waits, sees what came. -EPIPE the other end is gone (what came is received first). */
static inline int vidas_link_work(struct vidas_link *l)
{
	return l->ops->work(l);
}

/* Is there room for one more frame, whatever its length? */
static inline bool vidas_link_room(const struct vidas_link *l)
{
	return l->ops->room(l);
}

/*
 * Sends, or keeps until it can be sent; memory has to have room for it, so it is -ENOMEM, or 0. The
 * payload has VIDAS_FRAME_HEAD_MAX bytes before it that may be overwritten. Shares are files with their
 * range and a number; they stay the caller's. A share that cannot be handed over goes with a status that says why.
 */
static inline int vidas_link_send(struct vidas_link *l, struct vidas_frame *f)
{
	return l->ops->send(l, f);
}

/* 1 a frame, in `buf` (VIDAS_FRAME_MAX, aligned to 8), with shares that can be mapped; -EAGAIN none yet;
 * -EPIPE the link ended; -EBADMSG what came is no frame, and nothing more is to be had. */
static inline int vidas_link_recv(struct vidas_link *l, void *buf, struct vidas_frame *f)
{
	return l->ops->recv(l, buf, f);
}

/* At the gate: what was handed over under that number is taken back, as soon as it is not mapped
 * any more. Numbers that are none are not an error: a guest chose them. */
static inline void vidas_link_release(struct vidas_link *l, uint64_t id)
{
	l->ops->release(l, id);
}

/* At the gate: how much was, and is, handed over by grants. */
static inline struct vidas_granted vidas_link_granted(const struct vidas_link *l)
{
	return l->ops->granted(l);
}

/* link_socket.c: a connected channel, which the link then owns. */
int vidas_link_socket(struct vidas_channel *ch, struct vidas_link **out);

/*
 * link_vchan.c, in builds with Xen's libraries. The ring's nodes are below `path` in XenStore.
 * The gate offers one to guest `domid`, whose memory is granted by `grants_fd` (grants.h; it stays the
 * caller's), and waits until its agent has come (-EAGAIN: not in that time).
 */
int vidas_link_vchan_server(uint32_t domid, const char *path, int grants_fd,
			    struct vidas_link **out);
int vidas_link_vchan_wait(struct vidas_link *l, int timeout_ms);
/* The agent takes what Dom0 offers; -ENOENT nothing is offered. */
int vidas_link_vchan_client(const char *path, struct vidas_link **out);

#endif
