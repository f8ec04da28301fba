/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The near half's connection: finding a far half, and what that asks for. */
#include "vidasfs/near.h"
#include "pool/transport/xen/frame.h"
#include "vidasfs/fs.h"
#include "vidasfs/lane.h"

#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEND_US	 (30 * 1000 * 1000)
#define GREET_US (40 * 1000 * 1000) /* longer than the far half waits for vidasd */
#define END_US	 (60 * 1000 * 1000)
#define SCHEME	 "xen:"

struct vidas_near vidas_near = { .lane = -1 };

/* What the environment says counts where no option does. */
static const char *address(void)
{
	const struct vidas_options *o = &vidas_fs.options;

	return o->socket || o->domain ? o->socket : getenv("VIDAS_SOCKET");
}

bool vidas_is_near(void)
{
	const char *where = address();

	return !vidas_is_far() &&
	       (vidas_fs.options.split || (where && !strncmp(where, SCHEME, strlen(SCHEME))));
}

/* Finding it ------------------------------------------------------------------------------------- */

static int send_message(const void *message, size_t bytes)
{
	const struct iovec iov = { (void *)(uintptr_t)message, bytes };

	return vidas_lane_send(vidas_near.lane, &iov, 1, NULL, SEND_US);
}

/* The child's. */
static void become_far(int fd)
{
	const struct vidas_options *o = &vidas_fs.options;
	char far[32], arg[3 * PATH_MAX];
	sigset_t none;

	snprintf(far, sizeof(far), "--far=%d", fd);
	snprintf(arg, sizeof(arg), "x-far%s%s%s%s%s%s", o->socket ? ",socket=" : "",
		 o->socket ? o->socket : "", o->domain ? ",domain=" : "",
		 o->domain ? o->domain : "", o->log ? ",log=" : "", o->log ? o->log : "");
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	if (fcntl(fd, F_SETFD, 0) == 0)
		execl("/proc/self/exe", "vidasfs-far", far, "-o", arg, (char *)NULL);
	_exit(127);
}

static int start_far(void)
{
	char seconds[16];
	int fd[2], err = vidas_lane_pair(fd);
	pid_t pid;

	if (err)
		return vidas_fail(err, "no sockets: %s", strerror(-err));
	if (vidas_near.pid > 0)
		waitpid(vidas_near.pid, NULL, 0);
	if (vidas_fs.options.timeout_seconds) {
		snprintf(seconds, sizeof(seconds), "%u", vidas_fs.options.timeout_seconds);
		setenv("VIDAS_TIMEOUT", seconds, 1);
	}
	pid = fork();
	if (!pid)
		become_far(fd[1]);
	close(fd[1]);
	if (pid < 0) {
		close(fd[0]);
		return vidas_fail(-errno, "no process for the far half: %s", strerror(errno));
	}
	vidas_near.pid = pid;
	vidas_near.lane = fd[0];
	return 0;
}

/* By way of vidas-agent. */
static int open_lane(void)
{
	struct vidas_channel *ch;
	int err = vidas_frame_connect(address() + strlen(SCHEME), VIDAS_FRAME_FS, &ch);

	if (err)
		return err;
	vidas_near.lane = fcntl(vidas_channel_fd(ch), F_DUPFD_CLOEXEC, 3);
	err = vidas_near.lane < 0 ? vidas_fail(-errno, "no descriptor for a lane") : 0;
	vidas_channel_close(ch);
	if (!err)
		vidas_lane_init(vidas_near.lane);
	return err;
}

static int send_hello(void)
{
	const struct vidas_options *o = &vidas_fs.options;
	size_t container = o->container ? strlen(o->container) : 0;
	size_t subdir = o->subdir ? strlen(o->subdir) : 0;
	struct vidas_lane_hello h = {
		.head = { .bytes = (uint32_t)(sizeof(h) + container + subdir),
			  .kind = VIDAS_LANE_HELLO },
		.version = VIDAS_LANE_VERSION,
		.instance = ++vidas_kept->serials,
		.relaxed_seconds = o->relaxed_seconds,
		.wait_seconds = o->wait_seconds,
		.relaxed = o->consistency && !strcmp(o->consistency, "relaxed"),
		.atime = o->atime,
		.container_bytes = (uint16_t)container,
		.subdir_bytes = (uint16_t)subdir,
	};
	const struct iovec iov[] = { { &h, sizeof(h) },
				     { o->container, container },
				     { o->subdir, subdir } };

	return vidas_lane_send(vidas_near.lane, iov, 3, NULL, SEND_US);
}

static int hear_welcome(void)
{
	struct vidas_lane_welcome w;
	ssize_t got = vidas_lane_wait(vidas_near.lane, GREET_US);

	if (!got)
		got = vidas_lane_recv(vidas_near.lane, &w, sizeof(w), NULL);
	if (got <= 0)
		return vidas_fail(got ? (int)got : -EPIPE,
				  "the far half of vidasfs does not answer");
	if (got != sizeof(w) || w.head.kind != VIDAS_LANE_WELCOME)
		return vidas_fail(-EPROTO, "the far half of vidasfs does not greet: is it of the "
					   "same VIDAS?");
	w.words[sizeof(w.words) - 1] = 0;
	return w.error ? vidas_fail(w.error < 0 ? w.error : -EIO, "%s", w.words) : 0;
}

static void drop_lane(void)
{
	if (vidas_near.lane >= 0)
		close(vidas_near.lane);
	vidas_near.lane = -1;
}

int vidas_near_connect(void)
{
	int err;

	err = vidas_fs.options.split ? start_far() : open_lane();
	if (!err) {
		err = send_hello();
		if (err)
			vidas_fail(err, "the far half of vidasfs is gone: %s", strerror(-err));
	}
	if (!err)
		err = hear_welcome();
	if (err)
		drop_lane();
	return err;
}

/* The kernel has begun already, and takes the answer to that but once. */
static int begin_again(void *buf)
{
	const struct fuse_in_header *in = (const void *)vidas_kept->init;
	const struct fuse_out_header *out = buf;
	struct vidas_share none = VIDAS_SHARE_NONE;
	int64_t deadline_us = vidas_deadline_us(GREET_US);
	int err = send_message(vidas_kept->init, vidas_kept->init_bytes);
	ssize_t got;

	while (!err) {
		err = vidas_lane_wait(vidas_near.lane, vidas_remaining_us(deadline_us));
		got = err ? err :
			    vidas_lane_recv(vidas_near.lane, buf, VIDAS_LANE_MESSAGE_MAX, NULL);
		if (got <= 0)
			return err ? err : -EPIPE;
		if (out->unique == in->unique && !vidas_lane_private((uint32_t)out->error))
			return out->error;
		vidas_near_private(buf, (size_t)got, &none);
	}
	return err;
}

int vidas_near_reconnect(void *buf)
{
	int err = vidas_near_connect();

	if (err)
		return err;
	if (vidas_kept->init_bytes)
		err = begin_again(buf);
	if (err) {
		drop_lane();
		return vidas_fail(err, "the far half of vidasfs does not begin: %s",
				  strerror(-err));
	}
	return 0;
}

static bool is_kept(int fd)
{
	(void)fd;
	return false;
}

int vidas_near_go_on(void)
{
	char mounted_fd[32];

	snprintf(mounted_fd, sizeof(mounted_fd), "/dev/fd/%d", vidas_kept->fuse_fd);
	if (!vidas_kept->init_bytes || fuse_session_mount(vidas_fs.se, mounted_fd) < 0)
		return vidas_fail(-ENOTCONN, "the connection to the kernel is lost");
	/* With the lane: its far half ends. */
	vidas_keeper_sweep(is_kept);
	return 0;
}

void vidas_near_close(void)
{
	int64_t deadline_us = vidas_deadline_us(END_US);
	const struct timespec nap = { .tv_nsec = 20 * 1000 * 1000 };

	drop_lane();
	/* It pushes what is not in the stores yet. */
	while (vidas_near.pid > 0 && waitpid(vidas_near.pid, NULL, WNOHANG) == 0 &&
	       vidas_remaining_us(deadline_us))
		nanosleep(&nap, NULL);
}

/* What it asks for ------------------------------------------------------------------------------- */

/* The kernel's answer to a notice. */
static int write_notice(const void *notice, size_t bytes)
{
	return write(vidas_near.fuse_fd, notice, bytes) < 0 ? -errno : 0;
}

static void noticed(uint64_t token, int err)
{
	const struct vidas_lane_noticed n = {
		.head = { .bytes = sizeof(n), .kind = VIDAS_LANE_NOTICED, .token = token },
		.error = err,
	};

	send_message(&n, sizeof(n));
}

struct late_notice {
	uint64_t token;
	size_t bytes;
	char notice[];
};

static void *late_notice(void *arg)
{
	struct late_notice *l = arg;

	noticed(l->token, write_notice(l->notice, l->bytes));
	free(l);
	return NULL;
}

/* Dropping pages waits for those that are being read, whose replies come after this: by a thread. */
static bool notice_late(uint64_t token, const void *notice, size_t bytes)
{
	const struct fuse_notify_inval_inode_out *out =
		(const void *)((const char *)notice + sizeof(struct fuse_out_header));
	struct late_notice *l;
	pthread_t thread;

	if (((const struct fuse_out_header *)notice)->error != FUSE_NOTIFY_INVAL_INODE ||
	    bytes < sizeof(struct fuse_out_header) + sizeof(*out) || out->off < 0)
		return false;
	l = malloc(sizeof(*l) + bytes);
	if (!l)
		return false;
	*l = (struct late_notice){ token, bytes };
	memcpy(l->notice, notice, bytes);
	if (pthread_create(&thread, NULL, late_notice, l) != 0) {
		free(l);
		return false;
	}
	pthread_detach(thread);
	return true;
}

static void notice(const struct vidas_lane_head *head, size_t bytes)
{
	const void *inner = head + 1;

	bytes -= sizeof(*head);
	if (bytes < sizeof(struct fuse_out_header))
		noticed(head->token, -EINVAL);
	else if (!notice_late(head->token, inner, bytes))
		noticed(head->token, write_notice(inner, bytes));
}

/* "Groups:\t1 2 3" and "CapEff:\t0000..." of a process of this machine. */
static int read_status(pid_t pid, struct vidas_lane_called *c)
{
	char path[64], *line = NULL, *at, *end;
	unsigned long long caps;
	size_t room = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	while (getline(&line, &room, f) > 0) {
		if (sscanf(line, "CapEff: %llx", &caps) == 1)
			c->caps = caps;
		if (strncmp(line, "Groups:", 7) != 0)
			continue;
		for (at = line + 7; c->count < VIDAS_LANE_GROUPS_MAX; at = end) {
			c->groups[c->count] = (uint32_t)strtoul(at, &end, 10);
			if (end == at)
				break;
			c->count++;
		}
	}
	free(line);
	fclose(f);
	return 0;
}

static void caller(const struct vidas_lane_caller *q)
{
	size_t room = sizeof(struct vidas_lane_called) + VIDAS_LANE_GROUPS_MAX * sizeof(uint32_t);
	struct vidas_lane_called *c = calloc(1, room);

	if (!c)
		return;
	c->error = read_status(q->pid, c);
	c->head = (struct vidas_lane_head){
		.bytes = (uint32_t)(sizeof(*c) + c->count * sizeof(c->groups[0])),
		.kind = VIDAS_LANE_CALLED,
		.token = q->head.token,
	};
	send_message(c, c->head.bytes);
	free(c);
}

static void drop(const struct vidas_lane_file *q)
{
	const struct vidas_lane_head answer = { .bytes = sizeof(answer),
						.kind = VIDAS_LANE_DROPPED,
						.token = q->head.token };

	vidas_near_drop(q->nodeid);
	send_message(&answer, sizeof(answer));
}

void vidas_near_private(const void *message, size_t bytes, struct vidas_share *share)
{
	const struct vidas_lane_head *head = message;

	if (head->kind == VIDAS_LANE_MAPPED && bytes == sizeof(struct vidas_lane_mapped)) {
		vidas_near_mapped(message, share);
		return;
	}
	vidas_share_close(share);

	switch (head->kind) {
	case VIDAS_LANE_NOTICE:
		notice(head, bytes);
		break;
	case VIDAS_LANE_CALLER:
		if (bytes == sizeof(struct vidas_lane_caller))
			caller(message);
		break;
	case VIDAS_LANE_DROP:
		if (bytes == sizeof(struct vidas_lane_file))
			drop(message);
		break;
	case VIDAS_LANE_RESEND:
		vidas_near_resend(head->token);
		break;
	default:
		break;
	}
}
