/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside pool/transport/ only: what an implementation gives to transport.c. Its channels and
 * listeners begin with the structs below; calls arrive with arguments checked as far as transport.h
 * says how. Contracts are those of the functions in transport.h.
 */
#ifndef VIDAS_TRANSPORT_OPS_H
#define VIDAS_TRANSPORT_OPS_H

#include "pool/transport/transport.h"

struct vidas_channel_ops {
	void (*close)(struct vidas_channel *ch);
	void (*shutdown)(struct vidas_channel *ch);
	bool (*gone)(struct vidas_channel *ch);
	int (*fd)(const struct vidas_channel *ch);
	int (*send)(struct vidas_channel *ch, const void *msg, size_t size,
		    const struct vidas_share *shares, unsigned n, int64_t timeout_us);
	ssize_t (*recv)(struct vidas_channel *ch, void *msg, size_t size,
			struct vidas_share *shares, unsigned *n, int64_t timeout_us);
	int (*map)(struct vidas_channel *ch, struct vidas_share *share, uint64_t offset,
		   size_t size, int prot, void **out);
	void (*unmap)(struct vidas_channel *ch, void *ptr, size_t size);
};

struct vidas_channel {
	const struct vidas_channel_ops *ops;
};

struct vidas_listener_ops {
	void (*close)(struct vidas_listener *l);
	int (*fd)(const struct vidas_listener *l);
	int (*accept)(struct vidas_listener *l, struct vidas_channel **out,
		      struct vidas_peer *peer);
};

struct vidas_listener {
	const struct vidas_listener_ops *ops;
};

/* `where` is the address after "SCHEME:". */
struct vidas_transport {
	const char *scheme;
	int (*connect)(const char *where, struct vidas_channel **out);
	int (*listen)(const char *where, vidas_domain_id domain, uid_t uid,
		      struct vidas_listener **out);
};

extern const struct vidas_transport vidas_transport_local;
extern const struct vidas_transport vidas_transport_xen;

#endif
