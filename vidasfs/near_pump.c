/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The near half's messages: from the kernel to the far half, and back. */
#include "vidasfs/fs.h"
#include "vidasfs/lane.h"
#include "vidasfs/near.h"

#include <linux/fuse.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of requests and the replies that are expected, on the lane at once. */
#define UNDER_WAY_BYTES (4u << 20)
#define SEND_US		(30 * 1000 * 1000)
#define LOOK_MS		250 /* how often something is looked for that wakes nobody */
#define AGAIN_MS	250
#define PATIENCE_S	30

/* What two kernels would have to share memory, or the pool's files, for. */
#define INIT_NOT   (FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE | FUSE_SPLICE_READ)
#define INIT_NOT_2 (1u << (37 - 32) | 1u << (41 - 32)) /* PASSTHROUGH, OVER_IO_URING */

#define NOTIFY_RESEND 7 /* Linux 6.9 */

struct pending {
	UT_hash_handle hh;
	uint64_t unique;
	uint32_t opcode, cost;
};

static struct {
	/* Held while a request is taken from the kernel and put on the lane. */
	pthread_mutex_t out;
	pthread_cond_t change; /* of what is below; lock */
	pthread_mutex_t lock;
	struct pending *pending;
	size_t under_way;
	bool connected, ended;
	int64_t lost_us;
	int err;
	int end_fd; /* readable once it has ended */
} pump = {
	.out = PTHREAD_MUTEX_INITIALIZER,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.change = PTHREAD_COND_INITIALIZER,
};

static void end(int err)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&pump.lock);
	pump.ended = true;
	pump.err = pump.err ? pump.err : err;
	if (vidas_near.lane >= 0)
		shutdown(vidas_near.lane, SHUT_RDWR);
	pthread_cond_broadcast(&pump.change);
	pthread_mutex_unlock(&pump.lock);
	if (write(pump.end_fd, &one, sizeof(one)) < 0)
		vidas_log(VIDAS_LOG_ERR, "eventfd: %s", strerror(errno));
}

static bool has_ended(void)
{
	bool is;

	pthread_mutex_lock(&pump.lock);
	is = pump.ended;
	pthread_mutex_unlock(&pump.lock);
	return is;
}

/* What is under way ------------------------------------------------------------------------------- */

static bool has_reply(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

static uint32_t cost_of(const struct fuse_in_header *in)
{
	const struct fuse_read_in *body = (const void *)(in + 1);

	switch (in->opcode) {
	case FUSE_READ:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		return in->len + body->size;
	}
	return in->len;
}

static int pending_add(const struct fuse_in_header *in)
{
	struct pending *p = malloc(sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->unique = in->unique;
	p->opcode = in->opcode;
	p->cost = cost_of(in);
	pthread_mutex_lock(&pump.lock);
	HASH_ADD(hh, pump.pending, unique, sizeof(p->unique), p);
	pump.under_way += p->cost;
	pthread_mutex_unlock(&pump.lock);
	return 0;
}

/* Under the lock. */
static void pending_drop(struct pending *p)
{
	HASH_DEL(pump.pending, p);
	pump.under_way -= p->cost;
	free(p);
	pthread_cond_broadcast(&pump.change);
}

static void pending_done(uint64_t unique)
{
	struct pending *p;

	pthread_mutex_lock(&pump.lock);
	HASH_FIND(hh, pump.pending, &unique, sizeof(unique), p);
	if (p)
		pending_drop(p);
	pthread_mutex_unlock(&pump.lock);
}

static void answer(uint64_t unique, int err)
{
	const struct fuse_out_header out = { .len = sizeof(out), .error = err, .unique = unique };

	if (write(vidas_near.fuse_fd, &out, sizeof(out)) < 0 && errno != ENOENT && errno != ENODEV)
		vidas_log(VIDAS_LOG_ERR, "answering the kernel: %s", strerror(errno));
}

/* Nobody knows whether it was done, but of what only asks: there the kernel may look once more. */
static int lost_error(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_LOOKUP:
	case FUSE_GETATTR:
	case VIDAS_FUSE_STATX:
	case FUSE_READLINK:
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
	case FUSE_OPEN:
	case FUSE_OPENDIR:
	case FUSE_STATFS:
		return -ESTALE;
	}
	return -EIO;
}

/* Under the lock. */
static void pending_fail(bool answered)
{
	struct pending *p, *next;

	HASH_ITER(hh, pump.pending, p, next) {
		if (answered)
			answer(p->unique, lost_error(p->opcode));
		pending_drop(p);
	}
}

/* From the kernel --------------------------------------------------------------------------------- */

static void note_init(struct fuse_in_header *in)
{
	struct fuse_init_in *init = (void *)(in + 1);

	if (in->len >= sizeof(*in) + sizeof(*init)) {
		init->flags &= ~(uint32_t)INIT_NOT;
		init->flags2 &= ~INIT_NOT_2;
	}
	if (in->len <= sizeof(vidas_near.init)) {
		memcpy(vidas_near.init, in, in->len);
		vidas_near.init_bytes = in->len;
	}
}

/* Under `out`. */
static void forward(struct fuse_in_header *in)
{
	const struct iovec iov = { in, in->len };
	int err;

	if (in->opcode == FUSE_INIT)
		note_init(in);
	err = has_reply(in->opcode) ? pending_add(in) : 0;
	if (err) {
		answer(in->unique, err);
		return;
	}
	err = vidas_lane_send(vidas_near.lane, &iov, 1, SEND_US);
	/* Its other thread finds it closed, and answers. */
	if (err)
		shutdown(vidas_near.lane, SHUT_RDWR);
}

/* Is there somebody to have the next request, or nobody for too long? Under the lock. */
static bool taken(void)
{
	unsigned patience_s = vidas_fs.options.timeout_seconds;

	if (pump.connected)
		return pump.under_way <= UNDER_WAY_BYTES;
	patience_s = patience_s ? patience_s : PATIENCE_S;
	return vidas_now_us() - pump.lost_us >= patience_s * INT64_C(1000000);
}

/* One request. False: unmounted. */
static bool from_kernel(void *buf)
{
	struct fuse_in_header *in = buf;
	bool connected, may;
	ssize_t got = 0;

	pthread_mutex_lock(&pump.out);
	pthread_mutex_lock(&pump.lock);
	connected = pump.connected;
	may = taken();
	pthread_mutex_unlock(&pump.lock);
	if (may)
		got = read(vidas_near.fuse_fd, buf, VIDAS_LANE_MESSAGE_MAX);
	if (got >= (ssize_t)sizeof(*in)) {
		if (connected)
			forward(in);
		else if (has_reply(in->opcode))
			answer(in->unique, -EIO);
	}
	pthread_mutex_unlock(&pump.out);
	if (got < 0 && errno != EAGAIN && errno != EINTR && errno != ENOENT) {
		end(errno == ENODEV ? 0 : -errno);
		return false;
	}
	return true;
}

/* Until the next request may be taken. False: it has ended. */
static bool may_take(void)
{
	struct pollfd p = { .fd = vidas_near.fuse_fd };
	struct timespec until;
	bool may = false;

	while (!may && !has_ended()) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += LOOK_MS * 1000000L;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_mutex_lock(&pump.lock);
		may = taken();
		if (!may)
			pthread_cond_timedwait(&pump.change, &pump.lock, &until);
		pthread_mutex_unlock(&pump.lock);
		/* An error: it is unmounted. */
		if (!may && poll(&p, 1, 0) == 1 && (p.revents & POLLERR))
			end(0);
	}
	return may;
}

static void *from_kernel_main(void *arg)
{
	struct pollfd p[] = { { .fd = vidas_near.fuse_fd, .events = POLLIN },
			      { .fd = pump.end_fd, .events = POLLIN } };
	void *buf = malloc(VIDAS_LANE_MESSAGE_MAX);

	(void)arg;
	if (!buf)
		end(-ENOMEM);
	while (buf && may_take()) {
		if (poll(p, VIDAS_ARRAY_SIZE(p), -1) < 0 && errno != EINTR)
			end(-errno);
		if (p[1].revents || !from_kernel(buf))
			break;
	}
	free(buf);
	return NULL;
}

/* From the far half ------------------------------------------------------------------------------- */

void vidas_near_resend(uint64_t token)
{
	const struct vidas_lane_head head = { .bytes = sizeof(head),
					      .kind = VIDAS_LANE_RESENT,
					      .token = token };
	const struct iovec iov = { (void *)(uintptr_t)&head, sizeof(head) };
	const struct fuse_out_header notice = { .len = sizeof(notice), .error = NOTIFY_RESEND };

	pthread_mutex_lock(&pump.out);
	pthread_mutex_lock(&pump.lock);
	pending_fail(false);
	pthread_mutex_unlock(&pump.lock);
	if (vidas_lane_send(vidas_near.lane, &iov, 1, SEND_US) ||
	    write(vidas_near.fuse_fd, &notice, sizeof(notice)) < 0)
		vidas_log(VIDAS_LOG_ERR, "what was under way is not sent again: %s",
			  strerror(errno));
	pthread_mutex_unlock(&pump.out);
}

static void deliver(const struct fuse_out_header *out, size_t bytes)
{
	if (out->unique)
		pending_done(out->unique);
	if (write(vidas_near.fuse_fd, out, bytes) < 0 && errno != ENOENT && errno != ENODEV)
		vidas_log(VIDAS_LOG_ERR, "the kernel does not take a reply: %s", strerror(errno));
}

static void lost(void)
{
	pthread_mutex_lock(&pump.out);
	pthread_mutex_lock(&pump.lock);
	pump.connected = false;
	pump.lost_us = vidas_now_us();
	close(vidas_near.lane);
	vidas_near.lane = -1;
	if (!pump.ended)
		pending_fail(true);
	pthread_mutex_unlock(&pump.lock);
	pthread_mutex_unlock(&pump.out);
}

/* False: it has ended before there was another one. */
static bool find_another(void *buf)
{
	struct pollfd p = { .fd = pump.end_fd, .events = POLLIN };

	vidas_log(VIDAS_LOG_ERR, "the far half of vidasfs is gone: what was open here is lost "
				 "(ESTALE), and with it locks; another one is looked for");
	for (unsigned tries = 0; poll(&p, 1, tries ? AGAIN_MS : 0) == 0; tries++) {
		if (vidas_near_reconnect(buf) == 0) {
			pthread_mutex_lock(&pump.lock);
			pump.connected = true;
			pthread_cond_broadcast(&pump.change);
			pthread_mutex_unlock(&pump.lock);
			vidas_log(VIDAS_LOG_NOTICE, "another far half goes on");
			return true;
		}
		if (tries % 120 == 0)
			vidas_log(VIDAS_LOG_WARNING, "%s", vidas_fail_text());
	}
	return false;
}

static void *from_far_main(void *arg)
{
	struct vidas_lane_head *head = malloc(VIDAS_LANE_MESSAGE_MAX);
	ssize_t got;

	(void)arg;
	if (!head)
		end(-ENOMEM);
	while (head && !has_ended()) {
		got = vidas_lane_wait(vidas_near.lane, VIDAS_FOREVER);
		if (!got)
			got = vidas_lane_recv(vidas_near.lane, head, VIDAS_LANE_MESSAGE_MAX);
		if (got == -EAGAIN)
			continue;
		if (got < (ssize_t)sizeof(*head)) {
			lost();
			if (has_ended() || !find_another(head))
				break;
		} else if (vidas_lane_private(head->kind)) {
			vidas_near_private(head, (size_t)got);
		} else {
			deliver((const void *)head, (size_t)got);
		}
	}
	free(head);
	return NULL;
}

/* The main thread --------------------------------------------------------------------------------- */

static void watch(int signal_fd)
{
	struct pollfd p[] = { { .fd = signal_fd, .events = POLLIN },
			      { .fd = pump.end_fd, .events = POLLIN } };
	struct signalfd_siginfo s;

	while (poll(p, VIDAS_ARRAY_SIZE(p), -1) < 0 && errno == EINTR)
		;
	if (!p[1].revents && read(signal_fd, &s, sizeof(s)) == sizeof(s))
		vidas_log(VIDAS_LOG_INFO, "told to end: %s", strsignal((int)s.ssi_signo));
}

int vidas_near_run(const sigset_t *ends)
{
	int fuse_fd = fuse_session_fd(vidas_fs.se), flags = fcntl(fuse_fd, F_GETFL), err = 0;
	int signal_fd = signalfd(-1, ends, SFD_CLOEXEC);
	pthread_t in, out;

	vidas_near.fuse_fd = fuse_fd;
	pump.connected = true;
	pump.end_fd = eventfd(0, EFD_CLOEXEC);
	if (flags < 0 || signal_fd < 0 || pump.end_fd < 0 ||
	    fcntl(fuse_fd, F_SETFL, flags | O_NONBLOCK) < 0)
		err = -errno;
	if (!err)
		err = -pthread_create(&in, NULL, from_far_main, NULL);
	if (!err) {
		err = -pthread_create(&out, NULL, from_kernel_main, NULL);
		if (!err) {
			watch(signal_fd);
			end(0);
			pthread_join(out, NULL);
		}
		end(err);
		pthread_join(in, NULL);
		err = pump.err;
	}
	close(signal_fd);
	close(pump.end_fd);
	return err ? vidas_fail(err, "carrying the kernel's requests: %s", strerror(-err)) : 0;
}
