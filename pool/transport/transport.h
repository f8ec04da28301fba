/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a domain and vidasd reach each other: connect, know the peer, send and receive a message,
 * hand over memory. Two implementations (local/ and xen/), the same tests over both.
 *
 * An address is "local:PATH" (a plain path means the same), or "xen:PATH", in a guest, PATH being the
 * socket of its vidas-agent ("xen:" alone: the usual one). A channel carries whole messages,
 * in order, reliably. It is used by one thread at a time in each direction.
 *
 * A share is memory handed over beside a message: on the local transport a file's descriptor, on Xen
 * one of gntdev, with granted pages behind it. Who receives one owns it.
 */
#ifndef VIDAS_TRANSPORT_H
#define VIDAS_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <vidas/vidas.h>

struct vidas_share {
	int fd; /* the file; granted: of gntdev, to be mapped once; -1: none came, `status` says why */
	/* On xen only: */
	bool granted, readonly;
	bool lives; /* `life` is a descriptor to be kept open for as long as the memory is used */
	int life;
	int status;		/* 0, or why the memory was not handed over */
	uint64_t id;		/* between agent and gate: its number */
	uint64_t offset, bytes; /* the range of the file that it is, in whole pages; 0: all */
};
#define VIDAS_SHARE_NONE ((struct vidas_share){ .fd = -1 })

/* Shares beside one message, at most. */
#define VIDAS_CHANNEL_SHARES 4u

struct vidas_channel;
struct vidas_listener;

/* Who is at the other end, as the transport itself attests it: the socket, the kernel, Xen. */
struct vidas_peer {
	vidas_domain_id domain;
	uid_t uid;
	gid_t gid;
	pid_t pid;
};

/* The domain's end: -ENOENT, -ECONNREFUSED nobody there, -EACCES not allowed, -ETIMEDOUT vidasd did
 * not get to us in 10 s, -ENAMETOOLONG (a socket's path: 107 bytes), -EPROTONOSUPPORT no such
 * transport in this build; with words. */
int vidas_channel_connect(const char *address, struct vidas_channel **out);
void vidas_channel_close(struct vidas_channel *ch);

/* Makes all present and future waits on the channel end with -ESHUTDOWN; any thread may. */
void vidas_channel_shutdown(struct vidas_channel *ch);

/* For poll() by who has the channel: readable when recv has something, or the peer is gone. */
int vidas_channel_fd(const struct vidas_channel *ch);

/* Has the peer closed the channel, or died? Takes nothing out of it; any thread may. */
bool vidas_channel_gone(struct vidas_channel *ch);

/*
 * Sends one message with `n` shares (kept by the caller). Waits at most `timeout_us`
 * (VIDAS_FOREVER allowed) for room: -ETIMEDOUT. -EPIPE the peer is gone. A message is sent whole or
 * not at all.
 */
int vidas_channel_send(struct vidas_channel *ch, const void *msg, size_t size,
		       const struct vidas_share *shares, unsigned n, int64_t timeout_us);

/*
 * Receives one message of at most `size` bytes, and up to *n shares (`n` NULL: none); *n is then
 * their number.
 * Returns its length; 0 the peer closed; -EMSGSIZE it was longer, or brought more shares than
 * that (all of it is dropped); -ETIMEDOUT. A length of 0 is never sent. What the peer sent before
 * it closed or died is received first.
 */
ssize_t vidas_channel_recv(struct vidas_channel *ch, void *msg, size_t size,
			   struct vidas_share *shares, unsigned *n, int64_t timeout_us);

/*
 * Maps `size` bytes from `offset` (a multiple of the page size) of a share; PROT_* as in mmap. A
 * granted share is mapped once and whole, so this has to be its range (-EINVAL), and its `fd` is then
 * closed: what is left is its `life`, which ends at vidas_share_close().
 */
int vidas_channel_map(struct vidas_channel *ch, struct vidas_share *share, uint64_t offset,
		      size_t size, int prot, void **out);
void vidas_channel_unmap(struct vidas_channel *ch, void *ptr, size_t size);
void vidas_share_close(struct vidas_share *share);

/*
 * vidasd's end. Everyone who reaches the listener is `domain`; besides root only processes of
 * `uid` are let in. A stale socket left at the address by a killed vidasd is replaced.
 * -EADDRINUSE a living one answers there, -EEXIST something that is no socket is there; with words.
 *
 * The local socket belongs to `uid` and root's group with mode 0660, so that others get -EACCES from
 * connect already; credentials are checked at accept in any case. It appears under its name when
 * it listens, by a rename, and is taken away by close if it is still the same.
 */
int vidas_listener_open(const char *address, vidas_domain_id domain, uid_t uid,
			struct vidas_listener **out);
void vidas_listener_close(struct vidas_listener *l);

/* For poll(): readable when accept has something. */
int vidas_listener_fd(const struct vidas_listener *l);

/* Does not block. -EAGAIN nothing waits; -EACCES someone who may not was turned away (peer and words
 * say who). The channel is for blocking use. */
int vidas_listener_accept(struct vidas_listener *l, struct vidas_channel **out,
			  struct vidas_peer *peer);

#endif
