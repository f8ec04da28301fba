/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guests of a Xen. The parent sees them come and go, and starts a process for each that is a
 * domain of vidasd: itself anew, with the guest's domid and the device to grant memory to that guest,
 * and nothing else of the parent's. A process that ends is followed by another as long as its guest is there.
 */
#include <cap-ng.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>
#include <utlist.h>

#include "pool/base/base.h"
#include "pool/transport/xen/gate.h"
#include "pool/transport/xen/grants.h"
#include "pool/transport/xen/store.h"

#define LOOK_MS	   500
#define AGAIN_US   (INT64_C(1000) * 1000)
#define STOP_US	   (INT64_C(5) * 1000 * 1000)
#define ARG_BYTES  16
#define GUEST_ARGS 16

struct child {
	struct child *next, *prev;
	uint32_t domid;
	vidas_domain_id domain;
	pid_t pid; /* 0: to be started again */
	int64_t since_us;
	bool ending;
};

struct guests {
	struct vidas_gate *gate;
	struct vidas_store *store;
	struct child *children;
	bool no_grants; /* said so */
};

/* Is the guest a domain of vidasd? Its socket's directory is there as long as it is, also while vidasd is not. */
static bool known(const struct guests *gs, vidas_domain_id domain)
{
	char path[4096];
	struct stat st;

	snprintf(path, sizeof(path), "%s/domains/%u", gs->gate->run_dir, domain);
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void child_exec(const struct guests *gs, const struct child *c, int grants)
{
	char domid[ARG_BYTES], domain[ARG_BYTES], device[ARG_BYTES];
	const char *argv[GUEST_ARGS] = { "vidas-gate",	    "--guest",	 domid,
					 "--domain",	    domain,	 "--run-dir",
					 gs->gate->run_dir, "--vidasfs", gs->gate->vidasfs };
	int argc = 9;

	snprintf(domid, sizeof(domid), "%u", c->domid);
	snprintf(domain, sizeof(domain), "%u", c->domain);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (gs->gate->verbose)
		argv[argc++] = "--verbose";
	if (grants >= 0) {
		snprintf(device, sizeof(device), "%d", dup(grants)); /* without close-on-exec */
		argv[argc++] = "--grants";
		argv[argc++] = device;
	}
	execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
	_exit(127);
}

static void child_start(struct guests *gs, struct child *c)
{
	int grants = -1;
	int err = vidas_store_prepare(gs->store, c->domid);

	c->since_us = vidas_now_us();
	if (err < 0) {
		vidas_log(VIDAS_LOG_ERR, "guest %u: %s", c->domid, vidas_fail_text());
		return;
	}
	err = vidas_grants_device(c->domid, gs->gate->cap_pages, &grants);
	if (err < 0 && !gs->no_grants)
		vidas_log(VIDAS_LOG_WARNING,
			  "guests get no shared memory, so only /vidas, and that slowly: %s",
			  vidas_fail_text());
	gs->no_grants = err < 0;
	c->pid = fork();
	if (c->pid == 0)
		child_exec(gs, c, grants);
	if (c->pid < 0) {
		vidas_log(VIDAS_LOG_ERR, "guest %u: %s", c->domid, strerror(errno));
		c->pid = 0;
	}
	if (grants >= 0)
		close(grants);
}

static struct child *child_find(struct guests *gs, uint32_t domid)
{
	struct child *c;

	DL_FOREACH(gs->children, c) {
		if (c->domid == domid)
			return c;
	}
	return NULL;
}

static void child_end(struct guests *gs, struct child *c)
{
	if (c->pid && !c->ending) {
		c->ending = true;
		c->since_us = vidas_now_us();
		kill(c->pid, SIGTERM);
	} else if (c->pid && vidas_now_us() - c->since_us > STOP_US) {
		kill(c->pid, SIGKILL);
	} else if (!c->pid) {
		DL_DELETE(gs->children, c);
		free(c);
	}
}

static void guest_came(struct guests *gs, uint32_t domid)
{
	struct child *c = child_find(gs, domid);
	vidas_domain_id domain;

	if (c)
		return;
	domain = vidas_store_domain(gs->store, domid);
	if (!known(gs, domain))
		return;
	c = calloc(1, sizeof(*c));
	if (!c)
		return;
	c->domid = domid;
	c->domain = domain;
	DL_APPEND(gs->children, c);
	vidas_log(VIDAS_LOG_NOTICE, "guest %u is domain %u", domid, domain);
	child_start(gs, c);
}

static void look(struct guests *gs)
{
	struct child *c, *next;
	uint32_t *domids;
	size_t n;

	if (vidas_store_guests(gs->store, &domids, &n) < 0) {
		vidas_log(VIDAS_LOG_ERR, "%s", vidas_fail_text());
		return;
	}
	for (size_t i = 0; i < n; i++)
		guest_came(gs, domids[i]);
	free(domids);
	DL_FOREACH_SAFE(gs->children, c, next) {
		if (!vidas_store_alive(gs->store, c->domid) || !known(gs, c->domain)) {
			if (!c->ending)
				vidas_log(VIDAS_LOG_NOTICE, "guest %u has gone", c->domid);
			child_end(gs, c);
		} else if (!c->pid && vidas_now_us() - c->since_us > AGAIN_US) {
			child_start(gs, c);
		}
	}
}

static void reap(struct guests *gs)
{
	struct child *c;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		DL_FOREACH(gs->children, c) {
			if (c->pid != pid)
				continue;
			if (!c->ending)
				vidas_log(VIDAS_LOG_WARNING,
					  "guest %u: its process ended with status 0x%x", c->domid,
					  (unsigned)status);
			c->pid = 0;
			if (vidas_store_alive(gs->store, c->domid))
				vidas_store_clear(gs->store, c->domid);
		}
	}
}

static void guests_stop(struct guests *gs)
{
	struct child *c, *next;

	while (gs->children) {
		reap(gs);
		DL_FOREACH_SAFE(gs->children, c, next)
			child_end(gs, c);
		if (gs->children)
			poll(NULL, 0, 20);
	}
}

int vidas_gate_guests(struct vidas_gate *g)
{
	struct guests gs = { .gate = g };
	int err = vidas_store_open(&gs.store);

	if (err < 0)
		return err;
	sd_notify(0, "READY=1");
	while (!g->stop) {
		struct pollfd pfd = { .fd = vidas_store_fd(gs.store), .events = POLLIN };

		reap(&gs);
		look(&gs);
		if (poll(&pfd, 1, LOOK_MS) > 0)
			vidas_store_drain(gs.store);
	}
	guests_stop(&gs);
	vidas_store_close(gs.store);
	return 0;
}

/* The process of one guest ------------------------------------------------------------------------ */

static int ring_serve(struct vidas_gate *g, const char *path)
{
	struct vidas_link *link;
	int err = vidas_link_vchan_server(g->guest, path, g->grants_fd, &link);

	if (err < 0)
		return err;
	do
		err = vidas_link_vchan_wait(link, LOOK_MS);
	while (err == -EAGAIN && !g->stop);
	if (g->stop) {
		vidas_link_close(link);
		return 0;
	}
	vidas_log(VIDAS_LOG_INFO, "guest %u: its agent is here", g->guest);
	vidas_fail_clear();
	err = vidas_gate_serve(g, g->domain, link);
	if (!g->stop)
		vidas_log(err == -EPIPE ? VIDAS_LOG_INFO : VIDAS_LOG_WARNING,
			  "guest %u: its agent has gone: %s", g->guest,
			  vidas_fail_text()[0] ? vidas_fail_text() : strerror(-err));
	return 0;
}

int vidas_gate_guest(struct vidas_gate *g)
{
	const char *ring = vidas_gate_ring(g);
	char path[64];
	int err = 0;

	if (ring && vidas_grants_device(g->guest, g->cap_pages, &g->grants_fd) < 0)
		vidas_log(VIDAS_LOG_WARNING, "no shared memory: %s", vidas_fail_text());
	/* What this process itself does needs none: devices, XenStore and sockets are root's own. The far
	 * halves that it starts get theirs again, as programs of root do. */
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return vidas_fail(-EPERM, "cannot drop capabilities");
	if (g->grants_fd >= 0)
		fcntl(g->grants_fd, F_SETFD, FD_CLOEXEC);
	snprintf(path, sizeof(path), VIDAS_STORE_RING_FMT, g->guest);
	while (!err && !g->stop)
		err = ring_serve(g, ring ? ring : path);
	return err;
}
