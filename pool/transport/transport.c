/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/transport/transport_ops.h"

#include <string.h>
#include <unistd.h>

#include "pool/base/base.h"

static const struct vidas_transport *const transports[] = {
	&vidas_transport_local, /* the first one has the addresses without a scheme */
	&vidas_transport_xen,
};

/* "SCHEME:WHERE", or a path: then no ':' comes before its first '/'. NULL: `err` says why. */
static const struct vidas_transport *transport_find(const char *address, const char **where,
						    int *err)
{
	size_t scheme_bytes;

	if (!address || !address[0]) {
		*err = vidas_fail(-EINVAL, "an address is missing");
		return NULL;
	}
	scheme_bytes = strcspn(address, ":/");
	if (address[scheme_bytes] != ':') {
		*where = address;
		return transports[0];
	}
	*where = address + scheme_bytes + 1;
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(transports); i++) {
		const char *scheme = transports[i]->scheme;

		if (strlen(scheme) == scheme_bytes && !memcmp(scheme, address, scheme_bytes))
			return transports[i];
	}
	*err = vidas_fail(-EPROTONOSUPPORT, "'%s': this build has no transport '%.*s'", address,
			  (int)scheme_bytes, address);
	return NULL;
}

int vidas_channel_connect(const char *address, struct vidas_channel **out)
{
	const struct vidas_transport *t;
	const char *where;
	int err = -EPROTONOSUPPORT;

	t = transport_find(address, &where, &err);
	return t ? t->connect(where, out) : err;
}

void vidas_channel_close(struct vidas_channel *ch)
{
	if (ch)
		ch->ops->close(ch);
}

void vidas_channel_shutdown(struct vidas_channel *ch)
{
	ch->ops->shutdown(ch);
}

bool vidas_channel_gone(struct vidas_channel *ch)
{
	return ch->ops->gone(ch);
}

int vidas_channel_fd(const struct vidas_channel *ch)
{
	return ch->ops->fd(ch);
}

int vidas_channel_send(struct vidas_channel *ch, const void *msg, size_t size,
		       const struct vidas_share *shares, unsigned n, int64_t timeout_us)
{
	if (!size || n > VIDAS_CHANNEL_SHARES)
		return vidas_fail(-EINVAL, "%zu bytes with %u shares is not a message", size, n);
	return ch->ops->send(ch, msg, size, shares, n, timeout_us);
}

ssize_t vidas_channel_recv(struct vidas_channel *ch, void *msg, size_t size,
			   struct vidas_share *shares, unsigned *n, int64_t timeout_us)
{
	unsigned none = 0;

	return ch->ops->recv(ch, msg, size, shares, n ? n : &none, timeout_us);
}

int vidas_channel_map(struct vidas_channel *ch, struct vidas_share *share, uint64_t offset,
		      size_t size, int prot, void **out)
{
	if (!size || offset > INT64_MAX - (uint64_t)size ||
	    offset % (uint64_t)sysconf(_SC_PAGESIZE))
		return vidas_fail(-EINVAL, "a mapping needs a size, and an offset of whole pages");
	return ch->ops->map(ch, share, offset, size, prot, out);
}

void vidas_channel_unmap(struct vidas_channel *ch, void *ptr, size_t size)
{
	ch->ops->unmap(ch, ptr, size);
}

void vidas_share_close(struct vidas_share *share)
{
	if (share->fd >= 0)
		close(share->fd);
	if (share->lives)
		close(share->life);
	*share = VIDAS_SHARE_NONE;
}

int vidas_listener_open(const char *address, vidas_domain_id domain, uid_t uid,
			struct vidas_listener **out)
{
	const struct vidas_transport *t;
	const char *where;
	int err = -EPROTONOSUPPORT;

	t = transport_find(address, &where, &err);
	return t ? t->listen(where, domain, uid, out) : err;
}

void vidas_listener_close(struct vidas_listener *l)
{
	if (l)
		l->ops->close(l);
}

int vidas_listener_fd(const struct vidas_listener *l)
{
	return l->ops->fd(l);
}

int vidas_listener_accept(struct vidas_listener *l, struct vidas_channel **out,
			  struct vidas_peer *peer)
{
	return l->ops->accept(l, out, peer);
}
