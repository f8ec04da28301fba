/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A message is the payload of a frame (pool/transport/xen/frame.h), so that a gate can carry it on. */
#include "vidasfs/lane.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool/base/base.h"
#include "pool/transport/xen/frame.h"

/* Some of the largest messages on their way. */
#define ROOM_BYTES (1 << 20)
#define IOV_MAX_IN 8
#define FDS	   2u /* of a share: the memory, and its life */

/* Descriptors beside a frame, aligned as cmsg(3) wants it. */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(FDS * sizeof(int))];
};

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

static void put_fd(struct msghdr *m, union control *c, int fd)
{
	memset(c, 0, sizeof(*c));
	c->align.cmsg_level = SOL_SOCKET;
	c->align.cmsg_type = SCM_RIGHTS;
	c->align.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&c->align), &fd, sizeof(fd));
	m->msg_control = c;
	m->msg_controllen = CMSG_SPACE(sizeof(int));
}

int vidas_lane_send(int fd, const struct iovec *iov, int count, const struct vidas_share *share,
		    int64_t timeout_us)
{
	struct vidas_frame f = { .type = VIDAS_FRAME_MESSAGE, .shares = share != NULL };
	uint8_t head[VIDAS_FRAME_HEAD_MAX];
	struct iovec all[IOV_MAX_IN];
	struct msghdr m = { .msg_iov = all, .msg_iovlen = (size_t)count + 1 };
	union control control;
	int64_t deadline_us = 0;
	int err = 0;

	if (count >= IOV_MAX_IN)
		return -EINVAL;
	for (int i = 0; i < count; i++) {
		all[i + 1] = iov[i];
		f.payload_bytes += iov[i].iov_len;
	}
	if (share) {
		f.share[0] = *share;
		put_fd(&m, &control, share->fd);
	}
	all[0] = (struct iovec){ head, vidas_frame_head(&f, true, head) };
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

/* How many came; at most FDS. */
static unsigned take_fds(struct msghdr *m, int fd[FDS])
{
	struct cmsghdr *c = m->msg_controllen ? CMSG_FIRSTHDR(m) : NULL;
	unsigned n;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return 0;
	n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	n = n < FDS ? n : FDS;
	memcpy(fd, CMSG_DATA(c), n * sizeof(int));
	return n;
}

static void close_fds(const int *fd, unsigned n)
{
	while (n)
		close(fd[--n]);
}

/* A frame that brings memory: its records, which are at the front of `buf`, are taken from there. */
static ssize_t take_share(const struct vidas_frame_header *header, char *buf, size_t bytes,
			  const int *fd, unsigned fds, struct vidas_share *share)
{
	const size_t records = sizeof(struct vidas_frame_share);
	/* And one byte for a payload. */
	_Alignas(8) char head[sizeof(*header) + sizeof(struct vidas_frame_share) + 1] = { 0 };
	struct vidas_frame_header one = *header;
	struct vidas_frame f;
	const char *reason;
	unsigned wanted = 0, used = 0;

	/* Decoded without what it carries, which says nothing about it. */
	if (header->shares != 1 || bytes < records || !share)
		return -EBADMSG;
	one.size = sizeof(head);
	memcpy(head, &one, sizeof(one));
	memcpy(head + sizeof(one), buf, records);
	if (vidas_frame_decode(head, sizeof(head), &f, &wanted, &reason) || wanted != fds)
		return -EBADMSG;
	*share = f.share[0];
	if (share->fd >= 0)
		share->fd = fd[used++];
	if (share->lives)
		share->life = fd[used];
	memmove(buf, buf + records, bytes - records);
	return (ssize_t)(bytes - records);
}

static ssize_t received(const struct vidas_frame_header *header, char *buf, size_t got,
			const int *fd, unsigned fds, struct vidas_share *share)
{
	size_t bytes = got - sizeof(*header);

	if (got < sizeof(*header) || header->size != got)
		return -EBADMSG;
	if (header->type == VIDAS_FRAME_CLOSE)
		return 0;
	if (header->type != VIDAS_FRAME_MESSAGE || !bytes)
		return -EBADMSG;
	if (header->shares)
		return take_share(header, buf, bytes, fd, fds, share);
	return fds ? -EBADMSG : (ssize_t)bytes;
}

ssize_t vidas_lane_recv(int fd, void *buf, size_t size, struct vidas_share *share)
{
	struct vidas_frame_header header;
	struct iovec iov[] = { { &header, sizeof(header) }, { buf, size } };
	union control control;
	struct msghdr m = { .msg_iov = iov,
			    .msg_iovlen = 2,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control) };
	int fds[FDS];
	unsigned count;
	ssize_t n;

	if (share)
		*share = VIDAS_SHARE_NONE;
	do
		n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n == 0 || errno == ECONNRESET ? 0 : -errno;
	count = take_fds(&m, fds);
	n = m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ?
		    -EMSGSIZE :
		    received(&header, buf, (size_t)n, fds, count, share);
	if (n <= 0) {
		close_fds(fds, count);
		if (share)
			*share = VIDAS_SHARE_NONE;
	}
	return n;
}

int vidas_lane_wait(int fd, int64_t timeout_us)
{
	return wait_for(fd, POLLIN, vidas_deadline_us(timeout_us));
}
