/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vidas-gate: start, options, and the link over a socket. */
#include "pool/transport/xen/gate.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <systemd/sd-daemon.h>

#include <vidas/version.h>

#include "pool/base/base.h"

/* One mapping of the greatest size, and half as much again. */
#define CAP_PAGES_DEFAULT (384u * 256u)

static struct vidas_gate gate = {
	.run_dir = "/run/vidas",
	.vidasfs = "vidasfs",
	.link = "vchan",
	.cap_pages = CAP_PAGES_DEFAULT,
	.grants_fd = -1,
};

static void on_stop(int sig)
{
	(void)sig;
	gate.stop = true;
}

static void usage(FILE *to)
{
	fprintf(to,
		"Usage: vidas-gate [OPTION...]\n"
		"In Dom0: lets guests in to vidasd, each as the domain of its domid.\n\n"
		"  -r, --run-dir DIR   vidasd's (/run/vidas)\n"
		"  -c, --cap MIB       granted to one guest at once (%u)\n"
		"  -l, --link LINK     vchan: all guests of this Xen (default);\n"
		"                      socket:PATH: one agent at a time on this host, as --domain;\n"
		"                      vchan:PATH: the same, in Dom0, by a ring at PATH in XenStore\n"
		"  -d, --domain ID     who comes over the socket, or over that one ring\n"
		"      --vidasfs PROG  what far halves of mounts are (vidasfs)\n"
		"  -v, --verbose       log more\n"
		"  -V, --version       and -h, --help\n",
		CAP_PAGES_DEFAULT / 256);
}

static int option(int c)
{
	uint32_t n;

	switch (c) {
	case 'r':
		gate.run_dir = optarg;
		return 0;
	case 'c':
		if (vidas_number(optarg, 1u << 20, &n) < 0)
			return -EINVAL;
		gate.cap_pages = n * 256u;
		return 0;
	case 'l':
		gate.link = optarg;
		return 0;
	case 'd':
		return vidas_number(optarg, UINT32_MAX, &gate.domain);
	case 'f':
		gate.vidasfs = optarg;
		return 0;
	case 'v':
		gate.verbose = true;
		vidas_log_threshold(VIDAS_LOG_DEBUG);
		return 0;
	case 'g':
		return vidas_number(optarg, UINT16_MAX, &gate.guest);
	case 'G':
		if (vidas_number(optarg, INT32_MAX, &n) < 0)
			return -EINVAL;
		gate.grants_fd = (int)n;
		return 0;
	case 'V':
		puts("vidas-gate " VIDAS_VERSION_STRING);
		exit(0);
	case 'h':
		usage(stdout);
		exit(0);
	default:
		return -EINVAL;
	}
}

static int options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "run-dir", required_argument, NULL, 'r' },
		{ "cap", required_argument, NULL, 'c' },
		{ "link", required_argument, NULL, 'l' },
		{ "domain", required_argument, NULL, 'd' },
		{ "vidasfs", required_argument, NULL, 'f' },
		{ "guest", required_argument, NULL, 'g' },  /* from the parent to its */
		{ "grants", required_argument, NULL, 'G' }, /* children */
		{ "verbose", no_argument, NULL, 'v' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	bool is_one;
	int c;

	while ((c = getopt_long(argc, argv, "r:c:l:d:vVh", known, NULL)) >= 0)
		if (option(c) < 0)
			return -EINVAL;
	is_one = !strncmp(gate.link, "socket:", 7) || vidas_gate_ring(&gate);
	if (optind < argc || (!is_one && strcmp(gate.link, "vchan")) ||
	    (is_one || gate.guest) != (gate.domain != 0))
		return -EINVAL;
	return 0;
}

/* One agent after the other. Who may connect is said by the socket's mode: root. */
static int serve_socket(void)
{
	struct vidas_listener *l;
	int err = vidas_listener_open(gate.link + 7, gate.domain, 0, &l);

	if (err < 0)
		return err;
	sd_notify(0, "READY=1");
	while (!gate.stop) {
		struct pollfd pfd = { .fd = vidas_listener_fd(l), .events = POLLIN };
		struct vidas_channel *ch;
		struct vidas_peer peer;
		struct vidas_link *link;

		if (poll(&pfd, 1, -1) <= 0 || vidas_listener_accept(l, &ch, &peer) < 0 ||
		    vidas_link_socket(ch, &link) < 0)
			continue;
		err = vidas_gate_serve(&gate, gate.domain, link);
		vidas_log(VIDAS_LOG_NOTICE, "the agent of domain %u has gone: %s", gate.domain,
			  err < 0 && vidas_fail_text()[0] ? vidas_fail_text() : strerror(-err));
	}
	vidas_listener_close(l);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction stop = { .sa_handler = on_stop };
	int err;

	vidas_log_init("vidas-gate", VIDAS_LOG_INFO);
	prctl(PR_SET_NAME, "vidas-gate"); /* a guest's process was started as /proc/self/exe */
	if (options(argc, argv) < 0) {
		usage(stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	if (gate.guest || vidas_gate_ring(&gate))
		err = vidas_gate_guest(&gate);
	else if (gate.domain)
		err = serve_socket();
	else
		err = vidas_gate_guests(&gate);
	if (err < 0)
		vidas_log(VIDAS_LOG_ERR, "%s", vidas_fail_text());
	return err < 0 ? 1 : 0;
}
