/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A link over a socket: packets are frames, and shares are the files themselves. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "pool/base/base.h"
#include "pool/transport/xen/link.h"

struct socket_link {
	struct vidas_link base;
	struct vidas_channel *ch;
	/* A frame that the socket had no room for. */
	bool waits;
	struct vidas_frame frame;
	struct vidas_frame_buffer out;
};

static struct socket_link *socket_link(struct vidas_link *l)
{
	return (struct socket_link *)(void *)l;
}

static const struct socket_link *socket_link_const(const struct vidas_link *l)
{
	return (const struct socket_link *)(const void *)l;
}

static void socket_close(struct vidas_link *l)
{
	struct socket_link *s = socket_link(l);

	if (s->waits)
		vidas_frame_close_shares(&s->frame);
	vidas_channel_close(s->ch);
	free(s);
}

static int socket_fd(const struct vidas_link *l)
{
	return vidas_channel_fd(socket_link_const(l)->ch);
}

static short socket_events(const struct vidas_link *l)
{
	return socket_link_const(l)->waits ? POLLIN | POLLOUT : POLLIN;
}

static bool socket_room(const struct vidas_link *l)
{
	return !socket_link_const(l)->waits;
}

static int socket_work(struct vidas_link *l)
{
	struct socket_link *s = socket_link(l);
	int err;

	if (!s->waits)
		return 0;
	err = vidas_frame_send(s->ch, &s->frame, 0);
	if (err == -ETIMEDOUT)
		return 0;
	s->waits = false;
	vidas_frame_close_shares(&s->frame);
	return err < 0 ? -EPIPE : 0;
}

/* Keeps a copy of the frame, which has descriptors of its own. */
static int socket_keep(struct socket_link *s, const struct vidas_frame *f)
{
	s->frame = *f;
	memcpy(s->out.payload, f->payload, f->payload_bytes);
	s->frame.payload = s->out.payload;
	for (unsigned i = 0; i < f->shares; i++) {
		struct vidas_share *share = &s->frame.share[i];

		share->lives = false;
		share->fd = share->fd < 0 ? -1 : fcntl(share->fd, F_DUPFD_CLOEXEC, 3);
		if (f->share[i].fd >= 0 && share->fd < 0)
			share->status = -ENOMEM;
	}
	s->waits = true;
	return 0;
}

static int socket_send(struct vidas_link *l, struct vidas_frame *f)
{
	struct socket_link *s = socket_link(l);
	int err;

	if (s->waits)
		return vidas_fail(-ENOMEM, "a second frame waits for the link");
	err = vidas_frame_send(s->ch, f, 0);
	if (err == -ETIMEDOUT)
		return socket_keep(s, f);
	return err == -ENOMEM || err == -ENOBUFS ? -ENOMEM : 0; /* gone: recv tells */
}

static int socket_recv(struct vidas_link *l, void *buf, struct vidas_frame *f)
{
	int err = vidas_frame_recv(socket_link(l)->ch, buf, f, 0);

	if (err == -ETIMEDOUT)
		return -EAGAIN;
	if (err == -EMSGSIZE)
		return -EBADMSG;
	return err == 0 || (err < 0 && err != -EBADMSG) ? -EPIPE : err;
}

static void socket_release(struct vidas_link *l, uint64_t id)
{
	(void)l;
	(void)id;
}

static struct vidas_granted socket_granted(const struct vidas_link *l)
{
	(void)l;
	return (struct vidas_granted){ 0 };
}

static const struct vidas_link_ops socket_ops = {
	.close = socket_close,
	.fd = socket_fd,
	.events = socket_events,
	.work = socket_work,
	.room = socket_room,
	.send = socket_send,
	.recv = socket_recv,
	.release = socket_release,
	.granted = socket_granted,
};

int vidas_link_socket(struct vidas_channel *ch, struct vidas_link **out)
{
	struct socket_link *s = calloc(1, sizeof(*s));

	if (!s) {
		vidas_channel_close(ch);
		return vidas_fail(-ENOMEM, "no memory for a link");
	}
	s->base.ops = &socket_ops;
	s->ch = ch;
	*out = &s->base;
	return 0;
}
