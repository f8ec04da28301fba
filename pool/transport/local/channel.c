/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/transport/local/local.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "pool/base/base.h"

/* Room for several of the largest messages; the kernel counts its own overhead in. */
#define SEND_BUFFER_BYTES (256 * 1024)
/* With a deadline further away than this receiving blocks, too: one system call instead of three. */
#define PATIENCE_S	  2
/* How long connect waits for room in vidasd's queue of new connections. */
#define CONNECT_US	  (INT64_C(10) * 1000 * 1000)

struct local_channel {
	struct vidas_channel base;
	int fd;
	atomic_bool shut;
	bool patient; /* receiving blocks for at most PATIENCE_S; of the thread that receives */
};

/* Descriptors beside a message, aligned as cmsg(3) wants it. */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(VIDAS_CHANNEL_SHARES * sizeof(int))];
};

static struct local_channel *local(struct vidas_channel *ch)
{
	return (struct local_channel *)(void *)ch;
}

static void local_close(struct vidas_channel *ch)
{
	close(local(ch)->fd);
	free(local(ch));
}

/* The flag goes before the shutdown, so that who is woken by the one sees the other. */
static void local_shutdown(struct vidas_channel *ch)
{
	atomic_store_explicit(&local(ch)->shut, true, memory_order_release);
	shutdown(local(ch)->fd, SHUT_RDWR);
}

static bool local_gone(struct vidas_channel *ch)
{
	struct pollfd pfd = { .fd = local(ch)->fd, .events = POLLRDHUP };

	return poll(&pfd, 1, 0) > 0;
}

static int local_fd(const struct vidas_channel *ch)
{
	return ((const struct local_channel *)(const void *)ch)->fd;
}

static bool is_shut(struct local_channel *lc)
{
	return atomic_load_explicit(&lc->shut, memory_order_acquire);
}

/* Until the socket is ready for `events`, or has an end or an error to tell. */
static int wait_ready(int fd, short events, int64_t deadline_us)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	for (;;) {
		int64_t left_us = vidas_remaining_us(deadline_us);
		struct timespec ts = { .tv_sec = (time_t)(left_us / 1000000),
				       .tv_nsec = (long)(left_us % 1000000) * 1000 };
		int ready = ppoll(&pfd, 1, left_us < 0 ? NULL : &ts, NULL);

		if (ready > 0)
			return 0;
		if (ready == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/*
 * One try of sendmsg or recvmsg has failed with `err`: 0 try again, else how the call ends. With a
 * deadline tries do not block, and the wait is here; without one they block, and a message costs
 * one system call.
 */
static int after_failure(int fd, int err, short events, int64_t deadline_us)
{
	switch (err) {
	case EINTR:
		return 0;
	case EAGAIN:
		return wait_ready(fd, events, deadline_us);
	default:
		return -err;
	}
}

static int local_send(struct vidas_channel *ch, const void *msg, size_t size,
		      const struct vidas_share *shares, unsigned n, int64_t timeout_us)
{
	struct local_channel *lc = local(ch);
	struct iovec iov = { .iov_base = (void *)(uintptr_t)msg, .iov_len = size };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	int64_t deadline_us = vidas_deadline_us(timeout_us);
	int flags = MSG_NOSIGNAL | (timeout_us < 0 ? 0 : MSG_DONTWAIT);
	union control control;
	int err;

	if (n) {
		struct cmsghdr *cmsg = &control.align;

		memset(&control, 0, sizeof(control));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
		for (unsigned i = 0; i < n; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &shares[i].fd, sizeof(int));
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(n * sizeof(int));
	}
	do {
		/* A seqpacket message goes out whole or not at all. */
		if (sendmsg(lc->fd, &mh, flags) >= 0)
			return 0;
		err = after_failure(lc->fd, errno, POLLOUT, deadline_us);
	} while (err == 0);
	if (err == -ECONNRESET || err == -ENOTCONN)
		err = -EPIPE;
	if (err == -EPIPE && is_shut(lc))
		err = -ESHUTDOWN;
	return err;
}

/* Takes every descriptor that came; returns how many, of which at most `room` are in `shares`. */
static unsigned take_shares(struct msghdr *mh, struct vidas_share *shares, unsigned room)
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= c->cmsg_len; at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
			if (n < room)
				shares[n] = (struct vidas_share){ .fd = fd };
			else
				close(fd);
			n++;
		}
	}
	return n;
}

/* What recvmsg gave is a message as the caller wants it, or nothing of it is left. */
static ssize_t received(struct msghdr *mh, ssize_t bytes, struct vidas_share *shares, unsigned *n)
{
	unsigned room = *n;
	unsigned came = mh->msg_controllen ? take_shares(mh, shares, room) : 0;

	*n = came;
	if (bytes > 0 && came <= room && !(mh->msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return bytes;
	*n = 0;
	for (unsigned i = 0; i < came && i < room; i++)
		vidas_share_close(&shares[i]);
	if (bytes == 0)
		return 0;
	return vidas_fail(-EMSGSIZE, "the peer's message is too long or brings too many shares");
}

/* Sets how one try to receive waits; its flags. The kernel is told only when that changes. */
static int recv_flags(struct local_channel *lc, int64_t deadline_us)
{
	int64_t left_us = vidas_remaining_us(deadline_us);
	struct timeval limit = { .tv_sec = left_us < 0 ? 0 : PATIENCE_S };

	if (left_us >= 0 && left_us <= PATIENCE_S * INT64_C(1000000))
		return MSG_DONTWAIT;
	if (lc->patient != (left_us >= 0) &&
	    setsockopt(lc->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		return left_us < 0 ? 0 : MSG_DONTWAIT;
	lc->patient = left_us >= 0;
	return 0;
}

static ssize_t local_recv(struct vidas_channel *ch, void *msg, size_t size,
			  struct vidas_share *shares, unsigned *n, int64_t timeout_us)
{
	struct local_channel *lc = local(ch);
	struct iovec iov = { .iov_base = msg, .iov_len = size };
	int64_t deadline_us = vidas_deadline_us(timeout_us);
	unsigned room = *n;
	union control control;
	int err = 0;

	*n = 0;
	do {
		/* Without room for shares the kernel itself drops them, and says MSG_CTRUNC. */
		struct msghdr mh = { .msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = room ? &control : NULL,
				     .msg_controllen = room ? sizeof(control) : 0 };
		int flags = recv_flags(lc, deadline_us);
		ssize_t bytes;

		if (is_shut(lc))
			return -ESHUTDOWN;
		bytes = recvmsg(lc->fd, &mh, flags | MSG_CMSG_CLOEXEC);
		if (bytes >= 0) {
			*n = room;
			bytes = received(&mh, bytes, shares, n);
			return bytes == 0 && is_shut(lc) ? -ESHUTDOWN : bytes;
		}
		/* The peer died before it read all of ours: told once, ahead of what it had sent. */
		if (errno == EAGAIN && !(flags & MSG_DONTWAIT))
			continue;
		if (errno != ECONNRESET)
			err = after_failure(lc->fd, errno, POLLIN, deadline_us);
	} while (err == 0);
	return err;
}

static int local_map(struct vidas_channel *ch, struct vidas_share *share, uint64_t offset,
		     size_t size, int prot, void **out)
{
	void *ptr = mmap(NULL, size, prot, MAP_SHARED, share->fd, (off_t)offset);

	(void)ch;
	if (ptr == MAP_FAILED)
		return vidas_fail(-errno, "cannot map %zu bytes: %s", size, strerror(errno));
	*out = ptr;
	return 0;
}

static void local_unmap(struct vidas_channel *ch, void *ptr, size_t size)
{
	(void)ch;
	munmap(ptr, size);
}

static const struct vidas_channel_ops local_channel_ops = {
	.close = local_close,
	.shutdown = local_shutdown,
	.gone = local_gone,
	.fd = local_fd,
	.send = local_send,
	.recv = local_recv,
	.map = local_map,
	.unmap = local_unmap,
};

int vidas_local_channel(int fd, struct vidas_channel **out)
{
	struct local_channel *lc = calloc(1, sizeof(*lc));
	int bytes = SEND_BUFFER_BYTES;

	if (!lc) {
		close(fd);
		return -ENOMEM;
	}
	/* The kernel may grant less (net.core.wmem_max); 32 KiB are enough to work. */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	lc->base.ops = &local_channel_ops;
	lc->fd = fd;
	*out = &lc->base;
	return 0;
}

int vidas_local_address(const char *path, struct sockaddr_un *sun)
{
	size_t bytes = strlen(path);

	if (!bytes)
		return vidas_fail(-EINVAL, "the path of a socket is missing");
	if (bytes >= sizeof(sun->sun_path))
		return vidas_fail(-ENAMETOOLONG,
				  "'%s': the path of a socket can have %zu bytes, this has %zu",
				  path, sizeof(sun->sun_path) - 1, bytes);
	*sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(sun->sun_path, path, bytes + 1);
	return 0;
}

int vidas_local_connect(const char *path, int64_t timeout_us, struct vidas_channel **out)
{
	/* connect() heeds the send timeout where it waits. */
	const struct timeval patience = { timeout_us / 1000000, timeout_us % 1000000 };
	const struct timeval never = { .tv_sec = 0 };
	int64_t deadline_us = vidas_deadline_us(timeout_us);
	struct sockaddr_un sun;
	int err, fd;

	err = vidas_local_address(path, &sun);
	if (err < 0)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return vidas_fail(-errno, "cannot make a socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	while (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
		err = -errno;
		if (err == -EINTR && vidas_remaining_us(deadline_us) > 0)
			continue;
		close(fd);
		if (err == -EAGAIN || err == -EINTR)
			err = -ETIMEDOUT;
		return vidas_fail(err, "cannot reach vidasd at '%s': %s", path, strerror(-err));
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &never, sizeof(never));
	return vidas_local_channel(fd, out);
}

static int local_connect(const char *path, struct vidas_channel **out)
{
	return vidas_local_connect(path, CONNECT_US, out);
}

const struct vidas_transport vidas_transport_local = {
	.scheme = "local",
	.connect = local_connect,
	.listen = vidas_local_listen,
};
