/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The near half's messages: from the kernel to the far half, and back. */
#include "vidasfs/fs.h"
#include "vidasfs/lane.h"
#include "vidasfs/near_pending.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOUCH_MS   100 /* how long others may wait to hear of a write */
#define SEND_US	   (30 * 1000 * 1000)
#define LOOK_MS	   250 /* how often something is looked for that wakes nobody */
#define AGAIN_MS   250
#define PATIENCE_S 30

/* What two kernels would have to share memory, or the pool's files, for. */
#define INIT_NOT   (FUSE_SPLICE_WRITE | FUSE_SPLICE_MOVE | FUSE_SPLICE_READ)
#define INIT_NOT_2 (1u << (37 - 32) | 1u << (41 - 32)) /* PASSTHROUGH, OVER_IO_URING */

#define NOTIFY_RESEND 7 /* Linux 6.9 */

static struct {
	/* Held while a request is taken from the kernel and put on the lane. */
	pthread_mutex_t out;
	pthread_mutex_t lock;
	bool connected, ended;
	int64_t lost_us;
	int err;
	int end_fd; /* readable once it has ended */
	int wake_fd;
} pump = {
	.out = PTHREAD_MUTEX_INITIALIZER,
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

static void end(int err)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&pump.lock);
	pump.ended = true;
	pump.err = pump.err ? pump.err : err;
	if (vidas_near.lane >= 0)
		shutdown(vidas_near.lane, SHUT_RDWR);
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

static void answer(uint64_t unique, int err)
{
	const struct fuse_out_header out = { .len = sizeof(out), .error = err, .unique = unique };

	if (write(vidas_near.fuse_fd, &out, sizeof(out)) < 0 && errno != ENOENT && errno != ENODEV)
		vidas_log(VIDAS_LOG_ERR, "answering the kernel: %s", strerror(errno));
}

/* What may make a file longer or shorter, or take memory out of it. */
static uint64_t changes(const struct fuse_in_header *in)
{
	const struct fuse_copy_file_range_in *copy = (const void *)(in + 1);

	switch (in->opcode) {
	case FUSE_SETATTR:
	case FUSE_FALLOCATE:
	case FUSE_OPEN: /* perhaps with O_TRUNC */
	case FUSE_WRITE:
		return in->nodeid;
	case FUSE_COPY_FILE_RANGE:
		return copy->nodeid_out;
	}
	return 0;
}

/* From the kernel --------------------------------------------------------------------------------- */

static void note_init(struct fuse_in_header *in)
{
	struct fuse_init_in *init = (void *)(in + 1);

	if (in->len >= sizeof(*in) + sizeof(*init)) {
		init->flags &= ~(uint32_t)INIT_NOT;
		init->flags2 &= ~INIT_NOT_2;
	}
	if (in->len <= sizeof(vidas_kept->init)) {
		memcpy(vidas_kept->init, in, in->len);
		vidas_kept->init_bytes = in->len;
	}
}

static void forget(const struct fuse_in_header *in)
{
	const struct fuse_batch_forget_in *batch = (const void *)(in + 1);
	const struct fuse_forget_one *one = (const void *)(batch + 1);

	if (in->opcode == FUSE_FORGET)
		vidas_near_forget(in->nodeid);
	else
		for (uint32_t i = 0; i < batch->count; i++)
			vidas_near_forget(one[i].nodeid);
}

/* Under `out`: with a question before it, or NULL. */
static void put(const struct fuse_in_header *in, const struct vidas_lane_map *m)
{
	struct iovec iov[2];
	int n = 0;

	if (m)
		iov[n++] = (struct iovec){ (void *)(uintptr_t)m, sizeof(*m) };
	iov[n++] = (struct iovec){ (void *)(uintptr_t)in, in->len };
	/* The thread that receives finds it closed, and answers. */
	if (vidas_lane_send(vidas_near.lane, iov, n, NULL, SEND_US))
		shutdown(vidas_near.lane, SHUT_RDWR);
}

/* Under `out`: one that is pending. */
static void route(const struct fuse_in_header *in, bool may_ask)
{
	enum vidas_near_way way = VIDAS_NEAR_FORWARD;
	uint64_t nodeid = changes(in);
	struct vidas_lane_map m = { .memory = 0 };

	if (may_ask && (in->opcode == FUSE_READ || in->opcode == FUSE_WRITE))
		way = vidas_near_io(in, &m);
	else if (in->opcode != FUSE_READ && in->opcode != FUSE_WRITE)
		vidas_near_touch();
	switch (way) {
	case VIDAS_NEAR_SERVED:
		vidas_near_served(in->unique);
		break;
	case VIDAS_NEAR_PARKED:
		break;
	case VIDAS_NEAR_ASK:
		if (nodeid)
			vidas_pending_changes(in->unique, nodeid);
		put(in, &m);
		break;
	case VIDAS_NEAR_FORWARD:
		if (nodeid) {
			vidas_pending_changes(in->unique, nodeid);
			vidas_near_changing(nodeid, in->opcode == FUSE_WRITE);
		}
		put(in, NULL);
		break;
	}
}

/* Under `out`. */
static void forward(struct fuse_in_header *in)
{
	int err;

	if (in->opcode == FUSE_INIT)
		note_init(in);
	if (!has_reply(in->opcode)) {
		if (in->opcode != FUSE_INTERRUPT)
			forget(in);
		put(in, NULL);
		return;
	}
	err = vidas_pending_add(in);
	if (err)
		answer(in->unique, err);
	else
		route(in, true);
}

/* Is there somebody to have the next request, or nobody for too long? Under the lock. */
static bool taken(void)
{
	unsigned patience_s = vidas_fs.options.timeout_seconds;

	if (pump.connected)
		return vidas_pending_room();
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

/* Waits for what is next; false: it has ended. */
static bool next(void)
{
	struct pollfd p[] = { { .fd = pump.end_fd, .events = POLLIN },
			      { .fd = pump.wake_fd, .events = POLLIN },
			      { .fd = vidas_near.fuse_fd } };
	bool may;
	int n;

	pthread_mutex_lock(&pump.lock);
	may = taken();
	pthread_mutex_unlock(&pump.lock);
	if (may)
		p[2].events = POLLIN;
	n = poll(p, VIDAS_ARRAY_SIZE(p), vidas_near_touched() ? TOUCH_MS : may ? -1 : LOOK_MS);
	if (n < 0 && errno != EINTR)
		end(-errno);
	pthread_mutex_lock(&pump.out);
	if (n == 0)
		vidas_near_touch();
	if (n > 0 && p[1].revents)
		vidas_pending_again(route);
	pthread_mutex_unlock(&pump.out);
	/* An error: it is unmounted. */
	if (n > 0 && !may && (p[2].revents & POLLERR))
		end(0);
	return n < 0 || !p[0].revents;
}

static void *from_kernel_main(void *arg)
{
	void *buf = malloc(VIDAS_LANE_MESSAGE_MAX);

	(void)arg;
	if (!buf)
		end(-ENOMEM);
	while (buf && !has_ended() && next() && from_kernel(buf))
		;
	free(buf);
	return NULL;
}

/* From the far half ------------------------------------------------------------------------------- */

static void resend(void)
{
	const struct fuse_out_header notice = { .len = sizeof(notice), .error = NOTIFY_RESEND };

	if (write(vidas_near.fuse_fd, &notice, sizeof(notice)) < 0)
		vidas_log(VIDAS_LOG_ERR, "what was under way is not sent again: %s",
			  strerror(errno));
}

void vidas_near_resend(uint64_t token)
{
	const struct vidas_lane_head head = { .bytes = sizeof(head),
					      .kind = VIDAS_LANE_RESENT,
					      .token = token };
	const struct iovec iov = { (void *)(uintptr_t)&head, sizeof(head) };

	pthread_mutex_lock(&pump.out);
	vidas_pending_fail(NULL);
	vidas_near_reset();
	vidas_lane_send(vidas_near.lane, &iov, 1, NULL, SEND_US);
	resend();
	pthread_mutex_unlock(&pump.out);
}

static void deliver(const struct fuse_out_header *out, size_t bytes)
{
	if (out->unique)
		vidas_pending_done(out->unique);
	if (write(vidas_near.fuse_fd, out, bytes) < 0 && errno != ENOENT && errno != ENODEV)
		vidas_log(VIDAS_LOG_ERR, "the kernel does not take a reply: %s", strerror(errno));
}

static void lost(void)
{
	bool ended;

	pthread_mutex_lock(&pump.out);
	pthread_mutex_lock(&pump.lock);
	pump.connected = false;
	pump.lost_us = vidas_now_us();
	close(vidas_near.lane);
	vidas_near.lane = -1;
	ended = pump.ended;
	pthread_mutex_unlock(&pump.lock);
	vidas_pending_fail(ended ? NULL : answer);
	vidas_near_reset();
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
			pthread_mutex_unlock(&pump.lock);
			vidas_pending_wake();
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
	struct vidas_share share = VIDAS_SHARE_NONE;
	ssize_t got;

	(void)arg;
	if (!head)
		end(-ENOMEM);
	/* What another worker had under way. */
	if (head && vidas_near.lane < 0 && find_another(head))
		resend();
	while (head && !has_ended()) {
		got = vidas_lane_wait(vidas_near.lane, VIDAS_FOREVER);
		if (!got)
			got = vidas_lane_recv(vidas_near.lane, head, VIDAS_LANE_MESSAGE_MAX,
					      &share);
		if (got == -EAGAIN)
			continue;
		if (got < (ssize_t)sizeof(*head)) {
			lost();
			if (has_ended() || !find_another(head))
				break;
		} else if (vidas_lane_private(head->kind)) {
			vidas_near_private(head, (size_t)got, &share);
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
	pump.connected = vidas_near.lane >= 0;
	pump.lost_us = vidas_now_us();
	pump.end_fd = eventfd(0, EFD_CLOEXEC);
	pump.wake_fd = vidas_pending_init();
	if (flags < 0 || signal_fd < 0 || pump.end_fd < 0 || pump.wake_fd < 0 ||
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
	close(pump.wake_fd);
	return err ? vidas_fail(err, "carrying the kernel's requests: %s", strerror(-err)) : 0;
}
