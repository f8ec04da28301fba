/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vidas-agent: in a guest, the way of its programs to vidasd. It has the guest's end of the ring, and
 * the right to map what Dom0 grants; its programs need neither.
 *
 * Each connection is a lane. Memory that comes is a descriptor when it gets here; beside it a program
 * is given the writing end of a pipe, its life: when the last copy of that is closed, by whom or however
 * the program ends, the memory is not mapped any more, and the gate is told.
 */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#include <vidas/version.h>

#include "pool/base/base.h"
#include "pool/transport/local/local.h"
#include "pool/transport/xen/mux.h"
#include "pool/transport/xen/store.h"

#define HELLO_US       (INT64_C(5) * 1000 * 1000)
#define BACKOFF_MIN_US (INT64_C(20) * 1000)
#define BACKOFF_MAX_US (INT64_C(1000) * 1000)
#define TURN_MS	       1000

struct life {
	struct life *next, *prev;
	uint64_t id;
	int fd; /* the pipe's reading end; -1: it is over */
};

struct agent {
	struct vidas_mux mux;
	struct vidas_listener *listener;
	const char *link;
	int lives_fd; /* epoll */
	struct life *lives, *over;
	bool greeted;
};

static volatile sig_atomic_t stopped;

static struct agent *agent_of(struct vidas_mux *m)
{
	return m->arg;
}

/* Lives --------------------------------------------------------------------------------------- */

static void life_over(struct agent *a, struct life *life)
{
	if (life->fd >= 0)
		close(life->fd);
	life->fd = -1;
	DL_DELETE(a->lives, life);
	DL_APPEND(a->over, life);
}

/* Gives a share its life, or ends it: without one nobody would know when it is done with. */
static void life_begin(struct agent *a, struct vidas_share *share)
{
	struct epoll_event event = { .events = EPOLLHUP };
	struct life *life = malloc(sizeof(*life));
	int ends[2] = { -1, -1 };

	if (!life) {
		/* The gate takes it back when the link ends. */
		vidas_log(VIDAS_LOG_ERR, "no memory: a share is lost until the link ends");
		goto refuse;
	}
	*life = (struct life){ .id = share->id, .fd = -1 };
	event.data.ptr = life;
	DL_APPEND(a->lives, life);
	if (share->fd < 0) {
		life_over(a, life); /* it could not be mapped here */
		return;
	}
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0 ||
	    epoll_ctl(a->lives_fd, EPOLL_CTL_ADD, ends[0], &event) < 0) {
		vidas_log(VIDAS_LOG_ERR, "a share is refused: %s", strerror(errno));
		if (ends[0] >= 0) {
			close(ends[0]);
			close(ends[1]);
		}
		life_over(a, life);
		goto refuse;
	}
	life->fd = ends[0];
	share->life = ends[1];
	share->lives = true;
	return;
refuse:
	vidas_share_close(share);
	share->status = -ENOMEM;
}

static void lives_look(struct agent *a)
{
	struct epoll_event events[64];
	int n = epoll_wait(a->lives_fd, events, VIDAS_ARRAY_SIZE(events), 0);

	for (int i = 0; i < n; i++)
		life_over(a, events[i].data.ptr);
	while (a->over && vidas_link_room(a->mux.link)) {
		struct life *life = a->over;
		struct vidas_frame_release release = { .id = life->id };
		struct {
			_Alignas(8) uint8_t head[VIDAS_FRAME_HEAD_MAX];
			struct vidas_frame_release body;
		} b = { .body = release };
		struct vidas_frame f = { .type = VIDAS_FRAME_RELEASE,
					 .payload = &b.body,
					 .payload_bytes = sizeof(b.body) };

		vidas_mux_link_send(&a->mux, &f);
		DL_DELETE(a->over, life);
		free(life);
	}
}

/* With the link all that the gate handed over is its own to take back. */
static void lives_end(struct agent *a)
{
	struct life *life, *next;

	DL_FOREACH_SAFE(a->lives, life, next)
		life_over(a, life);
	DL_FOREACH_SAFE(a->over, life, next)
		free(life);
	a->over = NULL;
}

/* Frames --------------------------------------------------------------------------------------- */

static int hello_came(struct agent *a, const struct vidas_frame *f)
{
	struct vidas_frame_hello hello;

	memcpy(&hello, f->payload, sizeof(hello));
	if (hello.magic != VIDAS_FRAME_MAGIC || hello.version != VIDAS_FRAME_VERSION)
		return vidas_fail(-EPROTO, "the gate speaks version %u of frames, this agent %u",
				  hello.version, VIDAS_FRAME_VERSION);
	a->greeted = true;
	return 0;
}

static int opened_came(struct vidas_mux *m, struct vidas_mux_lane *lane, struct vidas_frame *f)
{
	struct vidas_frame_opened opened;

	if (lane->state != VIDAS_LANE_OPENING)
		return vidas_fail(-EBADMSG, "lane %u is open already", lane->number);
	memcpy(&opened, f->payload, sizeof(opened));
	vidas_mux_lane_state(lane, VIDAS_LANE_OPEN);
	vidas_mux_lane_send(m, lane, f);
	(void)opened; /* a failed one is closed by the gate, after these words */
	return 0;
}

static int agent_link_frame(struct vidas_mux *m, struct vidas_mux_lane *lane, struct vidas_frame *f)
{
	struct agent *a = agent_of(m);

	if (!a->greeted && f->type != VIDAS_FRAME_HELLO)
		return vidas_fail(-EPROTO, "the gate did not say HELLO");
	for (unsigned i = 0; i < f->shares; i++)
		if (f->share[i].bytes)
			life_begin(a, &f->share[i]);
	switch (f->type) {
	case VIDAS_FRAME_HELLO:
		return hello_came(a, f);
	case VIDAS_FRAME_OPENED:
		return lane ? opened_came(m, lane, f) : 0;
	case VIDAS_FRAME_MESSAGE:
		if (lane)
			vidas_mux_lane_send(m, lane, f);
		else
			vidas_frame_close_shares(f);
		return 0;
	default:
		vidas_frame_close_shares(f);
		return vidas_fail(-EBADMSG, "frames of type %u are not for an agent", f->type);
	}
}

static int agent_lane_frame(struct vidas_mux *m, struct vidas_mux_lane *lane, struct vidas_frame *f)
{
	bool first = lane->state == VIDAS_LANE_NEW;

	if (f->shares) {
		vidas_frame_close_shares(f);
		return vidas_fail(-EPROTO, "a program sent memory");
	}
	if (f->type == VIDAS_FRAME_CLOSE)
		return -ECONNRESET; /* it ends */
	if (f->type != (first ? VIDAS_FRAME_OPEN : VIDAS_FRAME_MESSAGE))
		return vidas_fail(-EPROTO, "a program sent a frame of type %u", f->type);
	if (first)
		vidas_mux_lane_state(lane, VIDAS_LANE_OPENING);
	return vidas_mux_link_send(m, f);
}

static void agent_lane_end(struct vidas_mux *m, struct vidas_mux_lane *lane)
{
	(void)m;
	(void)lane;
}

static const struct vidas_mux_ops agent_ops = {
	.link_frame = agent_link_frame,
	.lane_frame = agent_lane_frame,
	.lane_end = agent_lane_end,
};

/* The link ------------------------------------------------------------------------------------- */

static int link_open(const char *where, struct vidas_link **out)
{
	struct vidas_channel *ch;
	int err;

	if (!strncmp(where, "socket:", 7)) {
		err = vidas_local_connect(where + 7, HELLO_US, &ch);
		return err < 0 ? err : vidas_link_socket(ch, out);
	}
	return vidas_link_vchan_client(where[5] ? where + 6 : VIDAS_STORE_RING, out);
}

static int greet(struct agent *a)
{
	struct {
		_Alignas(8) uint8_t head[VIDAS_FRAME_HEAD_MAX];
		struct vidas_frame_hello hello;
	} b = { .hello = { VIDAS_FRAME_MAGIC, VIDAS_FRAME_VERSION } };
	struct vidas_frame f = { .type = VIDAS_FRAME_HELLO,
				 .payload = &b.hello,
				 .payload_bytes = sizeof(b.hello) };
	int64_t deadline_us = vidas_deadline_us(HELLO_US);
	int err = vidas_mux_link_send(&a->mux, &f);

	a->greeted = false;
	while (!err && !a->greeted && !stopped) {
		if (!vidas_remaining_us(deadline_us))
			return vidas_fail(-ETIMEDOUT, "the gate says nothing");
		err = vidas_mux_turn(&a->mux, NULL, 0, 100);
	}
	return err;
}

static void accept_one(struct agent *a)
{
	struct vidas_mux_lane *lane;
	struct vidas_channel *ch;
	struct vidas_peer peer;
	int err = vidas_listener_accept(a->listener, &ch, &peer);

	if (!err)
		err = vidas_mux_lane_new(&a->mux, 0, ch, &lane);
	if (err < 0 && err != -EAGAIN)
		vidas_log(VIDAS_LOG_NOTICE, "no lane: %s", vidas_fail_text());
}

/* Until the link ends. */
static int agent_serve(struct agent *a)
{
	int err = greet(a);

	if (!err) {
		vidas_log(VIDAS_LOG_INFO, "linked to the gate");
		sd_notify(0, "READY=1\nSTATUS=linked to the gate");
	}
	while (!err && !stopped) {
		struct pollfd extra[] = {
			{ .fd = vidas_listener_fd(a->listener), .events = POLLIN },
			{ .fd = a->lives_fd, .events = vidas_link_room(a->mux.link) ? POLLIN : 0 },
		};

		err = vidas_mux_turn(&a->mux, extra, 2, TURN_MS);
		if (!err && extra[0].revents)
			accept_one(a);
		if (!err && (extra[1].revents || a->over))
			lives_look(a);
	}
	return err;
}

static void pause_us(int64_t us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&ts, NULL);
}

static void agent_run(struct agent *a)
{
	int64_t backoff_us = BACKOFF_MIN_US;
	int last = 0;

	while (!stopped) {
		int err = link_open(a->link, &a->mux.link);

		vidas_fail_clear();
		if (!err) {
			err = agent_serve(a);
			if (a->greeted)
				backoff_us = BACKOFF_MIN_US;
			vidas_mux_end(&a->mux);
			lives_end(a);
			last = 0;
		}
		if (stopped)
			break;
		if (err != last)
			vidas_log(VIDAS_LOG_NOTICE, "no link to the gate: %s",
				  vidas_fail_text()[0] ? vidas_fail_text() : strerror(-err));
		last = err;
		pause_us(backoff_us);
		backoff_us = backoff_us * 2 < BACKOFF_MAX_US ? backoff_us * 2 : BACKOFF_MAX_US;
	}
}

/* Start ---------------------------------------------------------------------------------------- */

static void on_stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static void prepare_process(void)
{
	struct sigaction stop = { .sa_handler = on_stop };
	struct rlimit limit;

	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	/* A share is two descriptors. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void usage(FILE *to)
{
	fprintf(to,
		"Usage: vidas-agent [OPTION...]\n"
		"In a Xen guest: takes its programs to vidasd in Dom0, by vidas-gate there.\n\n"
		"  -s, --socket PATH   where programs connect (%s)\n"
		"  -u, --uid UID       who besides root may (root alone)\n"
		"  -l, --link LINK     vchan: Xen's ring (default); vchan:PATH: one at PATH in XenStore;\n"
		"                      socket:PATH: of a gate on this host\n"
		"  -v, --verbose       log more\n"
		"  -V, --version       and -h, --help\n",
		VIDAS_FRAME_PATH);
}

static int options(struct agent *a, int argc, char **argv, const char **socket, uid_t *uid)
{
	static const struct option known[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "uid", required_argument, NULL, 'u' },
		{ "link", required_argument, NULL, 'l' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:u:l:vVh", known, NULL)) >= 0) {
		switch (c) {
		case 's':
			*socket = optarg;
			break;
		case 'u':
			if (vidas_number(optarg, UINT32_MAX - 1, uid) < 0)
				return -EINVAL;
			break;
		case 'l':
			a->link = optarg;
			break;
		case 'v':
			vidas_log_threshold(VIDAS_LOG_DEBUG);
			break;
		case 'V':
			puts("vidas-agent " VIDAS_VERSION_STRING);
			exit(0);
		case 'h':
			usage(stdout);
			exit(0);
		default:
			return -EINVAL;
		}
	}
	if (optind < argc || (strncmp(a->link, "socket:", 7) && strncmp(a->link, "vchan:", 6) &&
			      strcmp(a->link, "vchan")))
		return -EINVAL;
	return 0;
}

int main(int argc, char **argv)
{
	struct agent *a = calloc(1, sizeof(*a));
	const char *socket = VIDAS_FRAME_PATH;
	uid_t uid = 0;
	int err;

	vidas_log_init("vidas-agent", VIDAS_LOG_INFO);
	if (!a)
		return 1;
	a->link = "vchan";
	a->mux.ops = &agent_ops;
	a->mux.arg = a;
	if (options(a, argc, argv, &socket, &uid) < 0) {
		usage(stderr);
		return 2;
	}
	prepare_process();
	a->lives_fd = epoll_create1(EPOLL_CLOEXEC);
	err = a->lives_fd < 0 ? -errno : vidas_listener_open(socket, 0, uid, &a->listener);
	if (err < 0) {
		vidas_log(VIDAS_LOG_ERR, "%s", vidas_fail_text());
		return 1;
	}
	agent_run(a);
	vidas_listener_close(a->listener);
	close(a->lives_fd);
	free(a);
	return 0;
}
