/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The far half's end of the lane. */
#include "vidasfs/far.h"
#include "vidasfs/border.h"
#include "vidasfs/fs.h"
#include "vidasfs/lane.h"

#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#define SEND_US	      (30 * 1000 * 1000)
#define GREET_US      (30 * 1000 * 1000)
#define GLANCE_US     2000 /* others may have taken our answer from the lane */
#define ATIMES	      (MOUNT_ATTR_NOATIME | MOUNT_ATTR_STRICTATIME | MOUNT_ATTR_NODIRATIME)
#define QUEUE_BYTES   (16u << 20) /* many times what a near half has under way */
/* Notices of FUSE that do not change what the kernel answers by itself. */
#define NOTIFY_POLL   1
#define NOTIFY_RESEND 7

/* A request that was taken by somebody who waits for an answer. */
struct queued {
	struct queued *prev, *next;
	size_t bytes;
	char message[];
};

struct question {
	struct question *prev, *next;
	uint64_t token;
	bool done;
	void *answer;
	size_t room, bytes;
};

static struct {
	pthread_mutex_t lock;	 /* what is below, and taking messages from the lane */
	pthread_cond_t answered; /* monotonic clock */
	struct queued *queue;
	size_t queued_bytes;
	struct question *questions;
	uint64_t token;
	bool ended;
	int queue_fd;
} far = { .lock = PTHREAD_MUTEX_INITIALIZER, .queue_fd = -1 };

static int lane(void)
{
	return vidas_fs.options.lane;
}

/* Greeting --------------------------------------------------------------------------------------- */

static int take_text(const char *text, size_t bytes, bool (*ok)(const char *, size_t), char **out)
{
	if (!bytes)
		return 0;
	if (memchr(text, 0, bytes) || !ok(text, bytes))
		return vidas_fail(-EINVAL, "the near half asks for what is no name");
	*out = strndup(text, bytes);
	return *out ? 0 : -ENOMEM;
}

static int take_hello(const struct vidas_lane_hello *h, size_t bytes, struct vidas_options *o)
{
	size_t text;
	int err;

	if (bytes < sizeof(*h) || h->head.bytes != bytes || h->head.kind != VIDAS_LANE_HELLO)
		return vidas_fail(-EPROTO, "the near half does not begin with a greeting");
	if (h->version != VIDAS_LANE_VERSION)
		return vidas_fail(-EPROTONOSUPPORT,
				  "the near half speaks version %u of the lane, this one %u: "
				  "install the same VIDAS on both sides",
				  h->version, VIDAS_LANE_VERSION);
	text = bytes - sizeof(*h);
	if (text != (size_t)h->container_bytes + h->subdir_bytes ||
	    (h->subdir_bytes && !h->container_bytes) || (h->atime & ~(uint64_t)ATIMES))
		return vidas_fail(-EPROTO, "the near half's greeting is not sound");
	err = take_text(h->text, h->container_bytes, vidas_name_ok, &o->container);
	if (!err)
		err = take_text(h->text + h->container_bytes, h->subdir_bytes, vidas_path_ok,
				&o->subdir);
	o->relaxed_seconds = h->relaxed_seconds;
	o->wait_seconds = h->wait_seconds;
	o->atime = h->atime;
	if (!err && h->relaxed)
		o->consistency = strdup("relaxed");
	return err ? err : vidas_options_check(o);
}

int vidas_far_greet(struct vidas_options *o)
{
	union {
		struct vidas_lane_hello hello;
		char bytes[8192];
	} m;
	ssize_t got;
	int err;

	vidas_lane_init(o->lane);
	err = vidas_lane_wait(o->lane, GREET_US);
	if (err)
		return vidas_fail(err, "no greeting from the near half: %s", strerror(-err));
	got = vidas_lane_recv(o->lane, &m, sizeof(m), NULL);
	if (got <= 0)
		return vidas_fail(got ? (int)got : -EPIPE, "no greeting from the near half");
	vidas_keep_serials(m.hello.instance << 16);
	return take_hello(&m.hello, (size_t)got, o);
}

void vidas_far_welcome(int err)
{
	struct vidas_lane_welcome w = {
		.head = { .bytes = sizeof(w), .kind = VIDAS_LANE_WELCOME },
		.error = err,
		.version = VIDAS_LANE_VERSION,
	};
	const struct iovec iov = { &w, sizeof(w) };

	if (err)
		snprintf(w.words, sizeof(w.words), "%.*s", (int)sizeof(w.words) - 1,
			 vidas_fail_text());
	vidas_lane_send(lane(), &iov, 1, NULL, SEND_US);
}

void vidas_far_answer(const struct fuse_in_header *in, int err)
{
	struct fuse_out_header out = { .len = sizeof(out), .error = err, .unique = in->unique };
	const struct iovec iov = { &out, sizeof(out) };

	vidas_lane_send(lane(), &iov, 1, NULL, SEND_US);
}

/* Taking messages -------------------------------------------------------------------------------- */

/* Under the lock. */
static void drop_queue(void)
{
	struct queued *q, *next;
	uint64_t count;

	/* What has no answer is not sent again. */
	DL_FOREACH_SAFE(far.queue, q, next) {
		uint32_t opcode = ((const struct fuse_in_header *)(const void *)q->message)->opcode;

		if (opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET)
			continue;
		DL_DELETE(far.queue, q);
		far.queued_bytes -= sizeof(*q) + q->bytes;
		free(q);
		if (read(far.queue_fd, &count, sizeof(count)) < 0)
			break;
	}
}

/* Under the lock. */
static void take_answer(const struct vidas_lane_head *head)
{
	struct question *q;

	DL_FOREACH(far.questions, q)
		if (q->token == head->token)
			break;
	if (!q || q->done)
		return;
	q->bytes = head->bytes < q->room ? head->bytes : q->room;
	memcpy(q->answer, head, q->bytes);
	q->done = true;
	pthread_cond_broadcast(&far.answered);
	if (head->kind == VIDAS_LANE_RESENT)
		drop_queue();
}

/* Under the lock: a message of the near half's own. Its length if it is to be carried out, 0 if it is done. */
static ssize_t take_private(const void *message, size_t bytes)
{
	const struct vidas_lane_head *head = message;
	const struct vidas_lane_map *m = message;
	const struct fuse_in_header *in = (const void *)(m + 1);

	switch (head->kind) {
	case VIDAS_LANE_TOUCH:
		if (bytes != sizeof(struct vidas_lane_file))
			return -EPROTO;
		vidas_far_touched(((const struct vidas_lane_file *)message)->nodeid);
		return 0;
	case VIDAS_LANE_MAP:
		if (bytes < sizeof(*m) || vidas_border_check(in, bytes - sizeof(*m)) ||
		    (in->opcode != FUSE_READ && in->opcode != FUSE_WRITE))
			return -EPROTO;
		return (ssize_t)bytes;
	default:
		take_answer(head);
		return 0;
	}
}

static ssize_t take_request(const void *message, size_t bytes)
{
	int err = vidas_border_check(message, bytes);

	if (err == -ENOSYS)
		vidas_far_answer(message, err);
	return !err ? (ssize_t)bytes : err == -ENOSYS ? 0 : err;
}

/* Under the lock: one message. 0: nothing is left to do for it; -EAGAIN there is none; -EPIPE no more
 * come. */
static ssize_t take(void *buf, size_t size)
{
	struct vidas_lane_head head;
	ssize_t got, err = -EPROTO;

	if (far.ended)
		return -EPIPE;
	got = vidas_lane_recv(lane(), buf, size, NULL);
	if (got == -EAGAIN)
		return got;
	if (got >= (ssize_t)sizeof(head)) {
		memcpy(&head, buf, sizeof(head));
		if (vidas_lane_private(head.kind))
			err = head.bytes == (size_t)got ? take_private(buf, (size_t)got) : -EPROTO;
		else
			err = take_request(buf, (size_t)got);
		if (err >= 0)
			return err;
	}
	if (got)
		vidas_log(VIDAS_LOG_ERR, "what comes from the near half is no request: its mount "
					 "ends here");
	far.ended = true;
	return -EPIPE;
}

/* Under the lock. */
static void enqueue(const void *message, size_t bytes)
{
	struct queued *q = far.queued_bytes < QUEUE_BYTES ? malloc(sizeof(*q) + bytes) : NULL;
	const uint64_t one = 1;

	if (!q) {
		vidas_log(VIDAS_LOG_ERR, "no room for requests: the mount ends here");
		far.ended = true;
		return;
	}
	q->bytes = bytes;
	memcpy(q->message, message, bytes);
	DL_APPEND(far.queue, q);
	far.queued_bytes += sizeof(*q) + bytes;
	if (write(far.queue_fd, &one, sizeof(one)) < 0)
		vidas_log(VIDAS_LOG_ERR, "eventfd: %s", strerror(errno));
}

/* Under the lock. */
static size_t dequeue(void *buf)
{
	struct queued *q = far.queue;
	size_t bytes = q->bytes;
	uint64_t one;

	DL_DELETE(far.queue, q);
	far.queued_bytes -= sizeof(*q) + bytes;
	memcpy(buf, q->message, bytes);
	free(q);
	if (read(far.queue_fd, &one, sizeof(one)) < 0)
		vidas_log(VIDAS_LOG_ERR, "eventfd: %s", strerror(errno));
	return bytes;
}

/* libfuse's, for the next request. */
static ssize_t session_read(int fd, void *buf, size_t size, void *userdata)
{
	ssize_t got = 0;

	(void)fd;
	(void)userdata;
	if (size < VIDAS_LANE_MESSAGE_MAX) {
		errno = EINVAL;
		return -1;
	}
	pthread_mutex_lock(&far.lock);
	while (!got)
		got = far.queue ? (ssize_t)dequeue(buf) : take(buf, VIDAS_LANE_MESSAGE_MAX);
	pthread_mutex_unlock(&far.lock);
	if (got > 0)
		return got;
	errno = got == -EPIPE ? ENODEV : (int)-got;
	return -1;
}

/* Asking ----------------------------------------------------------------------------------------- */

/* Under the lock: until somebody has taken an answer, or it is time to look oneself. */
static void doze(void)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += GLANCE_US * 1000L;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&far.answered, &far.lock, &until);
}

/* Until it is answered, or the deadline. Who takes requests takes answers too; but he may be
 * waiting for what we hold, so after a while we take what comes, and queue the requests. */
static int await(struct question *q, int64_t deadline_us)
{
	void *buf = malloc(VIDAS_LANE_MESSAGE_MAX);
	ssize_t got = buf ? -EAGAIN : -ENOMEM;

	pthread_mutex_lock(&far.lock);
	while (!q->done && (got >= 0 || got == -EAGAIN)) {
		if (got == -EAGAIN && !vidas_remaining_us(deadline_us)) {
			got = -ETIMEDOUT;
			break;
		}
		if (got == -EAGAIN)
			doze();
		got = q->done ? 0 : take(buf, VIDAS_LANE_MESSAGE_MAX);
		if (got > 0)
			enqueue(buf, (size_t)got);
	}
	pthread_mutex_unlock(&far.lock);
	free(buf);
	return q->done ? 0 : (int)got;
}

/* `iov[0]` is left for the head. */
static int ask(uint32_t kind, struct iovec *iov, int count, void *answer, size_t room)
{
	struct vidas_lane_head head = { .kind = kind, .bytes = sizeof(head) };
	struct question q = { .answer = answer, .room = room };
	int64_t deadline_us = vidas_deadline_us(VIDAS_SHM_LEASE_US);
	int err;

	iov[0] = (struct iovec){ &head, sizeof(head) };
	for (int i = 1; i < count; i++)
		head.bytes += (uint32_t)iov[i].iov_len;
	pthread_mutex_lock(&far.lock);
	q.token = head.token = ++far.token;
	DL_APPEND(far.questions, &q);
	pthread_mutex_unlock(&far.lock);
	vidas_loop_step_aside();
	err = vidas_lane_send(lane(), iov, count, NULL, VIDAS_SHM_LEASE_US);
	if (!err)
		err = await(&q, deadline_us);
	pthread_mutex_lock(&far.lock);
	DL_DELETE(far.questions, &q);
	pthread_mutex_unlock(&far.lock);
	if (err == -ETIMEDOUT)
		vidas_log(VIDAS_LOG_WARNING, "the near half does not answer");
	return err;
}

static int notice(const struct iovec *iov, int count)
{
	struct vidas_lane_noticed answer = { .error = -EIO };
	struct iovec all[4];
	int err;

	if (count > (int)VIDAS_ARRAY_SIZE(all) - 1)
		return -EINVAL;
	memcpy(all + 1, iov, (size_t)count * sizeof(*iov));
	err = ask(VIDAS_LANE_NOTICE, all, count + 1, &answer, sizeof(answer));
	if (err == -EPIPE)
		return -ENODEV;
	return err ? err : answer.error > 0 ? -EIO : answer.error;
}

static ssize_t session_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	const struct fuse_out_header *out = iov[0].iov_base;
	ssize_t bytes = 0;
	int err;

	(void)fd;
	(void)userdata;
	for (int i = 0; i < count; i++)
		bytes += (ssize_t)iov[i].iov_len;
	if (out->unique || out->error == NOTIFY_POLL) {
		err = vidas_lane_send(lane(), iov, count, NULL, SEND_US);
		/* Nobody takes it any more. */
		err = err ? -ENOENT : 0;
	} else {
		err = notice(iov, count);
	}
	errno = -err;
	return err ? -1 : bytes;
}

void vidas_far_drop(uint64_t nodeid)
{
	struct vidas_lane_head answer;
	struct iovec iov[2] = { [1] = { &nodeid, sizeof(nodeid) } };

	ask(VIDAS_LANE_DROP, iov, 2, &answer, sizeof(answer));
}

int vidas_far_tell(const void *message, size_t bytes)
{
	struct iovec iov = { (void *)(uintptr_t)message, bytes };

	return session_writev(lane(), &iov, 1, NULL) < 0 ? -errno : 0;
}

int vidas_far_session(struct fuse_session *se)
{
	static const struct fuse_custom_io io = { .read = session_read, .writev = session_writev };
	pthread_condattr_t attr;
	int err;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&far.answered, &attr);
	pthread_condattr_destroy(&attr);
	far.queue_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
	if (far.queue_fd < 0)
		return -errno;
	/* An answer to a worker that died is none to the next. */
	far.token = (uint64_t)atomic_load_explicit(&vidas_kept->workers, memory_order_relaxed)
		    << 40;
	err = fuse_session_custom_io(se, &io, lane());
	if (!err)
		vidas_kept->fuse_fd = lane();
	return err;
}

int vidas_far_queue_fd(void)
{
	return far.queue_fd;
}

/* Who asks, by his number there ------------------------------------------------------------------ */

static int caller(pid_t pid, struct vidas_lane_called *c, size_t room)
{
	int32_t question[2] = { (int32_t)pid, 0 };
	struct iovec iov[2] = { [1] = { question, sizeof(question) } };
	int err;

	c->error = -EIO;
	c->head.bytes = 0;
	err = ask(VIDAS_LANE_CALLER, iov, 2, c, room);
	if (!err && (c->head.bytes < sizeof(*c) || c->count > VIDAS_LANE_GROUPS_MAX ||
		     c->head.bytes != sizeof(*c) + c->count * sizeof(c->groups[0])))
		err = -EPROTO;
	return err ? err : c->error > 0 ? -EIO : c->error;
}

int vidas_far_caps(pid_t pid, uint64_t *caps)
{
	struct vidas_lane_called c = { .error = -EIO };
	int32_t question[2] = { (int32_t)pid, 0 };
	struct iovec iov[2] = { [1] = { question, sizeof(question) } };
	int err;

	err = ask(VIDAS_LANE_CALLER, iov, 2, &c, sizeof(c));
	*caps = c.caps;
	return err ? err : c.error > 0 ? -EIO : c.error;
}

int vidas_far_groups(pid_t pid, int room, gid_t *list)
{
	size_t bytes = sizeof(struct vidas_lane_called) + VIDAS_LANE_GROUPS_MAX * sizeof(gid_t);
	struct vidas_lane_called *c = malloc(bytes);
	int n = c ? caller(pid, c, bytes) : -ENOMEM;

	if (!n)
		n = (int)c->count;
	for (int i = 0; i < n && i < room; i++)
		list[i] = c->groups[i];
	free(c);
	return n;
}

/* Going on --------------------------------------------------------------------------------------- */

int vidas_far_resend(void)
{
	struct vidas_lane_head answer;
	struct iovec iov[1];

	return ask(VIDAS_LANE_RESEND, iov, 1, &answer, sizeof(answer));
}
