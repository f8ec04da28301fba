/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vidasfs/lane.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "pool/base/base.h"

/* Some of the largest messages on their way. */
#define ROOM_BYTES (1 << 20)

void vidas_lane_init(int fd)
{
	int bytes = ROOM_BYTES;

	/* Who may not have as much has what the system allows; one message fits into that, too. */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

int vidas_lane_pair(int fd[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0)
		return -errno;
	vidas_lane_init(fd[0]);
	vidas_lane_init(fd[1]);
	return 0;
}

static int wait_for(int fd, short events, int64_t deadline_us)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left_us = vidas_remaining_us(deadline_us);
	int n;

	do
		n = poll(&p, 1, left_us < 0 ? -1 : (int)(left_us / 1000) + 1);
	while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : n < 0 ? -errno : -ETIMEDOUT;
}

int vidas_lane_send(int fd, const struct iovec *iov, int count, int64_t timeout_us)
{
	const struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)iov,
				  .msg_iovlen = (size_t)count };
	int64_t deadline_us = 0;
	int err = 0;

	while (sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && !err) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return errno == ECONNRESET || errno == ENOTCONN ? -EPIPE : -errno;
		if (!deadline_us)
			deadline_us = vidas_deadline_us(timeout_us);
		err = wait_for(fd, POLLOUT, deadline_us);
	}
	return err;
}

ssize_t vidas_lane_recv(int fd, void *buf, size_t size)
{
	ssize_t n;

	do
		n = recv(fd, buf, size, MSG_DONTWAIT | MSG_TRUNC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	return (size_t)n > size ? -EMSGSIZE : n;
}

int vidas_lane_wait(int fd, int64_t timeout_us)
{
	return wait_for(fd, POLLIN, vidas_deadline_us(timeout_us));
}
