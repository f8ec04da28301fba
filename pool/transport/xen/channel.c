/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The channel of a program in a guest: a lane to vidasd, by way of vidas-agent. Needs no right on Xen's
 * devices, and no library of Xen: granted memory comes as a descriptor.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pool/base/base.h"
#include "pool/transport/transport_ops.h"
#include "pool/transport/xen/frame.h"

struct xen_channel {
	struct vidas_channel base;
	struct vidas_channel *agent; /* frames */
	struct vidas_frame_buffer out;
	_Alignas(8) uint8_t in[VIDAS_FRAME_MAX];
};

static struct xen_channel *xen(struct vidas_channel *ch)
{
	return (struct xen_channel *)(void *)ch;
}

static void xen_close(struct vidas_channel *ch)
{
	vidas_channel_close(xen(ch)->agent);
	free(ch);
}

static void xen_shutdown(struct vidas_channel *ch)
{
	vidas_channel_shutdown(xen(ch)->agent);
}

static bool xen_gone(struct vidas_channel *ch)
{
	return vidas_channel_gone(xen(ch)->agent);
}

static int xen_fd(const struct vidas_channel *ch)
{
	return vidas_channel_fd(((const struct xen_channel *)(const void *)ch)->agent);
}

static int xen_send(struct vidas_channel *ch, const void *msg, size_t size,
		    const struct vidas_share *shares, unsigned n, int64_t timeout_us)
{
	struct xen_channel *xc = xen(ch);
	struct vidas_frame f = { .type = VIDAS_FRAME_MESSAGE,
				 .payload = xc->out.payload,
				 .payload_bytes = size };

	(void)shares;
	if (n)
		return vidas_fail(-EOPNOTSUPP, "a guest has no memory to share");
	if (size > VIDAS_FRAME_PAYLOAD_MAX)
		return vidas_fail(-EMSGSIZE, "%zu bytes are too many for one message", size);
	memcpy(xc->out.payload, msg, size);
	return vidas_frame_send(xc->agent, &f, timeout_us);
}

static ssize_t xen_recv(struct vidas_channel *ch, void *msg, size_t size,
			struct vidas_share *shares, unsigned *n, int64_t timeout_us)
{
	struct xen_channel *xc = xen(ch);
	unsigned room = *n;
	struct vidas_frame f;
	int got;

	*n = 0;
	got = vidas_frame_recv(xc->agent, xc->in, &f, timeout_us);
	if (got <= 0)
		return got == -EBADMSG ? vidas_fail(-EIO, "vidas-agent: %s", vidas_fail_text()) :
					 got;
	if (f.type == VIDAS_FRAME_CLOSE)
		return 0;
	if (f.type != VIDAS_FRAME_MESSAGE || f.payload_bytes > size || f.shares > room) {
		vidas_frame_close_shares(&f);
		return vidas_fail(-EMSGSIZE, "the message is too long or brings too many shares");
	}
	memcpy(msg, f.payload, f.payload_bytes);
	for (unsigned i = 0; i < f.shares; i++)
		shares[i] = f.share[i];
	*n = f.shares;
	return (ssize_t)f.payload_bytes;
}

static int xen_map(struct vidas_channel *ch, struct vidas_share *share, uint64_t offset,
		   size_t size, int prot, void **out)
{
	(void)ch;
	if (share->bytes && (offset != share->offset || size > share->bytes ||
			     share->bytes - size >= VIDAS_FRAME_PAGE))
		return vidas_fail(-EINVAL, "the host shared another range than is to be mapped");
	return vidas_frame_map(share, prot, out);
}

static void xen_unmap(struct vidas_channel *ch, void *ptr, size_t size)
{
	(void)ch;
	munmap(ptr, size);
}

static const struct vidas_channel_ops xen_channel_ops = {
	.close = xen_close,
	.shutdown = xen_shutdown,
	.gone = xen_gone,
	.fd = xen_fd,
	.send = xen_send,
	.recv = xen_recv,
	.map = xen_map,
	.unmap = xen_unmap,
};

static int xen_connect(const char *where, struct vidas_channel **out)
{
	struct xen_channel *xc = calloc(1, sizeof(*xc));
	int err;

	if (!xc)
		return vidas_fail(-ENOMEM, "no memory for a connection to vidas-agent");
	err = vidas_frame_connect(where, VIDAS_FRAME_VIDASD, &xc->agent);
	if (err < 0) {
		free(xc);
		return err;
	}
	xc->base.ops = &xen_channel_ops;
	*out = &xc->base;
	return 0;
}

/* vidasd has no end of its own here: a guest comes to it by its gate, as the domain that it is. */
static int xen_listen(const char *where, vidas_domain_id domain, uid_t uid,
		      struct vidas_listener **out)
{
	(void)domain;
	(void)uid;
	(void)out;
	return vidas_fail(-EPROTONOSUPPORT, "'xen:%s': vidas-gate listens to guests, not vidasd",
			  where);
}

const struct vidas_transport vidas_transport_xen = {
	.scheme = "xen",
	.connect = xen_connect,
	.listen = xen_listen,
};
