/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One guest. All that comes over its link is hostile: what it opens is counted, what it sends to
 * vidasd is checked there, as from any domain, and what it sends to a far half there.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/base/base.h"
#include "pool/transport/local/local.h"
#include "pool/transport/xen/counts.h"
#include "pool/transport/xen/gate.h"

#define HELLO_US   (INT64_C(10) * 1000 * 1000)
#define TURN_MS	   250
/* All lanes of the guest wait meanwhile; who opens one asks again where that was too short. */
#define CONNECT_US (INT64_C(100) * 1000)
/* Far halves at once: each is two processes of Dom0. */
#define FARS_MAX   16u

struct guest {
	struct vidas_mux mux;
	struct vidas_gate *gate;
	vidas_domain_id domain;
	char socket[108]; /* of vidasd for this domain */
	uint64_t shares;  /* their numbers */
	unsigned fars;
	bool greeted;
	uint64_t requests, fs_requests;
	struct vidas_counts *counts;
	int counts_fd; /* -1: they cannot be shown */
};

struct guest_lane {
	uint32_t kind;
	struct vidas_gate_asked asked;
};

static struct guest *guest_of(struct vidas_mux *m)
{
	return m->arg;
}

/* Far halves ------------------------------------------------------------------------------------ */

static void far_exec(const struct guest *g, int fd)
{
	char far[32], options[160];
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setpgid(0, 0);
	snprintf(far, sizeof(far), "--far=%d", fd);
	snprintf(options, sizeof(options), "socket=%s", g->socket);
	execlp(g->gate->vidasfs, "vidasfs", far, "-o", options, (char *)NULL);
	_exit(127);
}

static int far_start(struct guest *g, struct vidas_channel **out)
{
	int ends[2];
	pid_t pid;

	if (g->fars >= FARS_MAX)
		return vidas_fail(-EUSERS, "a guest mounts %u times at most", FARS_MAX);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return vidas_fail(-errno, "no socket for a mount: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		int fd = dup(ends[1]); /* without close-on-exec */

		far_exec(g, fd);
	}
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return vidas_fail(-errno, "no process for a mount: %s", strerror(errno));
	}
	g->fars++;
	return vidas_local_channel(ends[0], out);
}

/* Those that have ended; they do so by themselves when their lane does. */
static void fars_reap(struct guest *g)
{
	int status;
	pid_t pid;

	while (g->fars && (pid = waitpid(-1, &status, WNOHANG)) > 0) {
		g->fars--;
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			vidas_log(VIDAS_LOG_WARNING, "domain %u: vidasfs %d ended with status 0x%x",
				  g->domain, (int)pid, (unsigned)status);
	}
}

/* Frames of the guest --------------------------------------------------------------------------- */

/* The answer to OPEN; a lane that was not opened is closed behind it. */
static int opened(struct guest *g, uint32_t number, int status)
{
	struct {
		_Alignas(8) uint8_t head[VIDAS_FRAME_HEAD_MAX];
		struct vidas_frame_opened body;
		char words[VIDAS_FRAME_WORDS_MAX];
	} b = { .body = { .status = status, .guest = g->gate->guest } };
	struct vidas_frame f = { .type = VIDAS_FRAME_OPENED, .lane = number, .payload = &b.body };
	int words = status < 0 ? snprintf(b.words, sizeof(b.words), "%s", vidas_fail_text()) : 0;

	if (words >= (int)sizeof(b.words))
		words = (int)sizeof(b.words) - 1;
	f.payload_bytes = sizeof(b.body) + (size_t)words;
	return vidas_mux_link_send(&g->mux, &f);
}

static int lane_connect(struct guest *g, const struct vidas_frame *f, uint32_t *kind,
			struct vidas_channel **out)
{
	struct vidas_frame_open open;

	memcpy(&open, f->payload, sizeof(open));
	*kind = open.kind;
	if (open.version != VIDAS_FRAME_VERSION)
		return vidas_fail(-EPROTO, "the host speaks version %u of frames, this program %u",
				  VIDAS_FRAME_VERSION, open.version);
	switch (open.kind) {
	case VIDAS_FRAME_VIDASD:
		return vidas_local_connect(g->socket, CONNECT_US, out);
	case VIDAS_FRAME_FS:
		return far_start(g, out);
	default:
		return vidas_fail(-EPROTONOSUPPORT, "the host has no lanes of kind %u", open.kind);
	}
}

static void guest_lane_end(struct vidas_mux *m, struct vidas_mux_lane *lane)
{
	(void)m;
	free(lane->user);
	lane->user = NULL;
}

static int open_came(struct guest *g, struct vidas_frame *f)
{
	struct guest_lane *user = calloc(1, sizeof(*user));
	struct vidas_channel *ch = NULL;
	struct vidas_mux_lane *lane;
	uint32_t number = f->lane;
	int status, err;

	if (!user)
		return vidas_fail(-ENOMEM, "no memory for a lane");
	if (!number || g->mux.lane[number]) {
		free(user);
		return vidas_fail(-EBADMSG, "it opens lane %u, which is not free", number);
	}
	status = lane_connect(g, f, &user->kind, &ch);
	err = opened(g, number, status);
	if (!err)
		err = vidas_mux_lane_new(&g->mux, number, ch, &lane);
	else
		vidas_channel_close(ch);
	if (err < 0) {
		free(user);
		return err;
	}
	lane->raw = user->kind == VIDAS_FRAME_VIDASD;
	lane->user = user;
	vidas_mux_lane_state(lane, VIDAS_LANE_OPEN);
	/* One that could not be connected is there, as the guest counts, until both have closed it. */
	if (status < 0) {
		guest_lane_end(&g->mux, lane);
		vidas_mux_lane_close(&g->mux, lane);
	}
	return 0;
}

static int hello_came(struct guest *g, const struct vidas_frame *f)
{
	struct {
		_Alignas(8) uint8_t head[VIDAS_FRAME_HEAD_MAX];
		struct vidas_frame_hello hello;
	} b = { .hello = { VIDAS_FRAME_MAGIC, VIDAS_FRAME_VERSION } };
	struct vidas_frame answer = { .type = VIDAS_FRAME_HELLO,
				      .payload = &b.hello,
				      .payload_bytes = sizeof(b.hello) };
	struct vidas_frame_hello hello;
	int err;

	memcpy(&hello, f->payload, sizeof(hello));
	if (g->greeted || hello.magic != VIDAS_FRAME_MAGIC)
		return vidas_fail(-EBADMSG, "its HELLO is none");
	err = vidas_mux_link_send(&g->mux, &answer);
	if (!err && hello.version != VIDAS_FRAME_VERSION)
		err = vidas_fail(-EPROTO, "its agent speaks version %u of frames, this gate %u",
				 hello.version, VIDAS_FRAME_VERSION);
	g->greeted = true;
	return err;
}

static void request_came(struct guest *g, struct vidas_mux_lane *lane, const struct vidas_frame *f)
{
	if (lane->raw)
		vidas_gate_request(&((struct guest_lane *)lane->user)->asked, f);
	if (lane->raw)
		g->requests++;
	else
		g->fs_requests++;
}

static int guest_link_frame(struct vidas_mux *m, struct vidas_mux_lane *lane, struct vidas_frame *f)
{
	struct guest *g = guest_of(m);
	struct vidas_frame_release release;

	if (f->shares) {
		vidas_frame_close_shares(f);
		return vidas_fail(-EBADMSG, "it sends memory");
	}
	if (g->greeted == (f->type == VIDAS_FRAME_HELLO))
		return vidas_fail(-EBADMSG, "HELLO comes first, and once");
	switch (f->type) {
	case VIDAS_FRAME_HELLO:
		return hello_came(g, f);
	case VIDAS_FRAME_OPEN:
		return open_came(g, f);
	case VIDAS_FRAME_RELEASE:
		memcpy(&release, f->payload, sizeof(release));
		vidas_link_release(m->link, release.id);
		return 0;
	case VIDAS_FRAME_MESSAGE:
		if (!m->lane[f->lane])
			return vidas_fail(-EBADMSG, "it sends on lane %u, which is none", f->lane);
		if (lane) {
			request_came(g, lane, f);
			vidas_mux_lane_send(m, lane, f);
		}
		return 0;
	default:
		return vidas_fail(-EBADMSG, "frames of type %u are not for a gate", f->type);
	}
}

/* To the guest ---------------------------------------------------------------------------------- */

static int guest_lane_frame(struct vidas_mux *m, struct vidas_mux_lane *lane, struct vidas_frame *f)
{
	struct guest_lane *user = lane->user;
	struct guest *g = guest_of(m);
	int err = 0;

	if (f->type == VIDAS_FRAME_CLOSE)
		return -ECONNRESET; /* it ends */
	if (f->type != VIDAS_FRAME_MESSAGE)
		err = vidas_fail(-EPROTO, "a far half sent a frame of type %u", f->type);
	if (!err && lane->raw)
		vidas_gate_reply(&user->asked, f);
	else if (!err)
		vidas_gate_fs_reply(f);
	for (unsigned i = 0; i < f->shares; i++)
		f->share[i].id = ++g->shares;
	if (!err)
		err = vidas_mux_link_send(m, f);
	vidas_frame_close_shares(f);
	return err;
}

static const struct vidas_mux_ops guest_ops = {
	.link_frame = guest_link_frame,
	.lane_frame = guest_lane_frame,
	.lane_end = guest_lane_end,
};

static void count(_Atomic uint64_t *where, uint64_t n)
{
	atomic_store_explicit(where, n, memory_order_relaxed);
}

static void counts_show(struct guest *g)
{
	const struct vidas_granted granted = vidas_link_granted(g->mux.link);
	struct vidas_counts *c = g->counts;

	if (g->counts_fd < 0)
		return;
	count(&c->frames_in, g->mux.frames_in);
	count(&c->frames_out, g->mux.frames_out);
	count(&c->payload_in, g->mux.payload_in);
	count(&c->payload_out, g->mux.payload_out);
	count(&c->requests, g->requests);
	count(&c->fs_requests, g->fs_requests);
	count(&c->shares, g->mux.shares);
	count(&c->pages_granted, granted.pages);
	count(&c->pages_held, granted.held);
	count(&c->lanes, g->mux.lanes_open);
	count(&c->mounts, g->fars);
}

int vidas_gate_serve(struct vidas_gate *gate, vidas_domain_id domain, struct vidas_link *link)
{
	struct guest *g = calloc(1, sizeof(*g));
	int64_t hello_us = vidas_deadline_us(HELLO_US);
	int err = 0;

	if (!g) {
		vidas_link_close(link);
		return vidas_fail(-ENOMEM, "no memory for a guest");
	}
	g->gate = gate;
	g->domain = domain;
	g->mux = (struct vidas_mux){ .link = link, .ops = &guest_ops, .arg = g };
	snprintf(g->socket, sizeof(g->socket), "%s/domains/%u/sock", gate->run_dir, domain);
	g->counts_fd = vidas_counts_open(gate->run_dir, domain, gate->guest, &g->counts);
	if (g->counts_fd < 0)
		vidas_log(VIDAS_LOG_WARNING, "domain %u: `vidas status` will not show it: %s",
			  domain, vidas_fail_text());
	while (!err && !gate->stop) {
		err = vidas_mux_turn(&g->mux, NULL, 0, TURN_MS);
		fars_reap(g);
		counts_show(g);
		if (!err && !g->greeted && !vidas_remaining_us(hello_us))
			err = vidas_fail(-ETIMEDOUT, "its agent says nothing");
	}
	vidas_log(VIDAS_LOG_INFO,
		  "domain %u: link ends after %llu frames in, %llu out, %llu shares", domain,
		  (unsigned long long)g->mux.frames_in, (unsigned long long)g->mux.frames_out,
		  (unsigned long long)g->mux.shares);
	vidas_counts_close(gate->run_dir, g->counts, g->counts_fd);
	vidas_mux_end(&g->mux);
	free(g);
	return err;
}
