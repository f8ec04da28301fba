/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vidasfs: mounts the containers of this domain. Start here: main() goes into the background, the keeper
 * (keeper.c) runs serve() in a worker, which connects to vidasd, attaches and mounts, or goes on
 * where a worker was killed; the operations are in the files that their names say.
 */
#include "vidasfs/far.h"
#include "vidasfs/fs.h"
#include "vidasfs/near.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>

#define EXIT_USAGE   2
/* Descriptors that are not files: each worker's lane to vidasd, the log and so on. */
#define FDS_RESERVED (VIDAS_WORKERS + 64u)

struct vidas_fs vidas_fs = { .proc_fd = -1 };

static const char usage[] =
	"usage: vidasfs [options] MOUNTPOINT\n"
	"Mounts the containers that this domain may attach (also: mount -t vidas vidas MOUNTPOINT).\n"
	"  -o socket=PATH     vidasd's socket (default: $VIDAS_SOCKET, or /run/vidas/domain/sock);\n"
	"                     in a Xen guest xen: for its vidas-agent, or xen:PATH\n"
	"  -o domain=ID       the socket of that domain, /run/vidas/domains/ID/sock\n"
	"  -o container=NAME  this container alone is the mount's root (a comma in it: '\\,')\n"
	"  -o subdir=PATH     or this directory in it\n"
	"  -o ro              read-only\n"
	"  -o consistency=relaxed       where no policy says otherwise (docs/consistency.md)\n"
	"  -o relaxed_timeout=SECONDS  for how long names and attributes that are relaxed are cached (10)\n"
	"  -o wait_timeout=SECONDS     how long `getfattr -n user.vidas.wait` waits for a message (3600)\n"
	"  -o nopassthrough   reads and writes go through vidasfs\n"
	"  -o split           as in a Xen guest, in two halves: this one, and one beside vidasd\n"
	"  -o timeout=SECONDS how long a request waits for a vidasd that does not answer (30)\n"
	"  -o log=FILE        the log, once in the background (default: the journal)\n"
	"  and suid, dev, noexec, noatime, ... as in mount(8)\n"
	"  -f                 stay in the foreground\n"
	"  -d                 the same, log each request, and end when killed\n"
	"  -h, -V             this help, the version\n";

/* vidasd's side ----------------------------------------------------------------------------------- */

static void step_aside(void *arg)
{
	(void)arg;
	vidas_loop_step_aside();
}

/* Has it tell us what others do. */
static int hear_vidasd(void)
{
	static const struct vidas_tree_events events = { .recall = vidas_lease_recall,
							 .settle = vidas_lease_settle,
							 .used = vidas_branch_used,
							 .containers = vidas_root_changed,
							 .waiting = step_aside };

	return vidas_tree_events(vidas_fs.v, &events);
}

static int connect_vidasd(const struct vidas_options *o)
{
	char path[PATH_MAX], seconds[16], reason[1024];
	const char *address = o->socket;
	int err;

	if (o->domain) {
		snprintf(path, sizeof(path), "/run/vidas/domains/%s/sock", o->domain);
		address = path;
	}
	if (o->timeout_seconds) {
		snprintf(seconds, sizeof(seconds), "%u", o->timeout_seconds);
		setenv("VIDAS_TIMEOUT", seconds, 1);
	}
	err = vidas_open(address, &vidas_fs.v);
	if (!err)
		return 0;
	snprintf(reason, sizeof(reason), "%s", vidas_error_text());
	return vidas_fail(err,
			  "%s; start vidasd, and name this domain's socket by -o domain=ID or "
			  "-o socket=PATH",
			  *reason ? reason : strerror(-err));
}

/* What the mount's root is. */
static int find_root(const struct vidas_options *o)
{
	struct vidas_branch *b;
	int err;

	if (!o->container)
		return vidas_node_list(&vidas_fs.root);
	err = vidas_branch_get(o->container, &b);
	if (err)
		return vidas_fail(err, "container %s: %s", o->container, strerror(-err));
	err = vidas_branch_root(b, o->subdir, &vidas_fs.root);
	if (err)
		vidas_fail(err, "%s in container %s: %s", o->subdir ? o->subdir : "/", o->container,
			   strerror(-err));
	vidas_branch_put(b);
	return err;
}

static void limits(void)
{
	struct rlimit rl = { .rlim_cur = 1024, .rlim_max = 1024 };

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
	/* The other half is for open files, which keep theirs. Connections and workers come first. */
	vidas_fs.fd_limit = rl.rlim_cur > 1u << 20 ? 1u << 19 : (unsigned)rl.rlim_cur / 2;
	if (vidas_fs.fd_limit < 2 * FDS_RESERVED)
		vidas_fs.fd_limit = rl.rlim_cur < FDS_RESERVED + 32 ?
					    16 :
					    (unsigned)(rl.rlim_cur - FDS_RESERVED) / 2;
}

/* Who waits for us waits as for a vidasd that is restarted. -EINTR: told to end. */
static int connect_again(const struct vidas_options *o, const sigset_t *ends)
{
	const struct timespec nap = { .tv_nsec = 250 * 1000 * 1000 };
	int sig;

	for (unsigned tries = 0; connect_vidasd(o) < 0; tries++) {
		if (tries % 120 == 0)
			vidas_log(VIDAS_LOG_WARNING, "%s", vidas_fail_text());
		sig = sigtimedwait(ends, NULL, &nap);
		if (sig > 0)
			return vidas_fail(-EINTR, "told to end: %s", strsignal(sig));
	}
	return 0;
}

static int prepare(const struct vidas_options *o, bool first, const sigset_t *ends)
{
	int err;

	vidas_fs.proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (vidas_fs.proc_fd < 0)
		return vidas_fail(-errno, "/proc must be mounted: %s", strerror(errno));
	limits();
	err = vidas_identity_init();
	if (!err)
		err = vidas_relaxed_init();
	if (!err)
		err = vidas_nodes_init();
	if (!err)
		err = vidas_io_init();
	if (err)
		return err;
	if (!first) {
		vidas_keep_resume();
		err = connect_again(o, ends);
		if (!err)
			vidas_resume();
		return err;
	}
	err = connect_vidasd(o);
	if (!err)
		err = hear_vidasd();
	if (!err)
		err = find_root(o);
	vidas_kept->root = vidas_fs.root;
	return err;
}

/* The process -------------------------------------------------------------------------------------- */

/* Lets the log know that `fd`, where it goes, is the journal. */
static void log_to_journal(int fd)
{
	char stream[64];
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
}

static int open_log(const struct vidas_options *o)
{
	int fd = open(o->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

	if (fd < 0)
		vidas_log(VIDAS_LOG_WARNING, "log=%s: %s: there is no log", o->log,
			  strerror(errno));
	return fd;
}

/* Lets go of the terminal and tells who waits in background() that the mount is there. */
static void detach(const struct vidas_options *o, int ready_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), log = -1;

	if (ready_fd < 0) {
		sd_notify(0, "READY=1\nSTATUS=mounted");
		goto out;
	}
	if (o->log)
		log = open_log(o);
	else
		log = sd_journal_stream_fd("vidasfs", LOG_INFO, 1);
	if (log >= 0 && !o->log) {
		log_to_journal(log);
		vidas_kept->journal = true;
	}
	if (chdir("/") < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
	    dup2(log >= 0 ? log : null, 2) < 0)
		vidas_log(VIDAS_LOG_WARNING, "leaving the terminal: %s", strerror(errno));
	if (log >= 0)
		close(log);
	vidas_log_init("vidasfs", VIDAS_LOG_INFO);
	if (write(ready_fd, "", 1) < 0)
		vidas_log(VIDAS_LOG_WARNING, "nobody waits for the mount");
	close(ready_fd);
out:
	if (null >= 0)
		close(null);
}

/* Mounts. */
static int begin(const struct vidas_options *o, int ready_fd)
{
	/* Before the mount: to resolve it afterwards is to ask ourselves. */
	if (!*vidas_kept->mountpoint && !realpath(o->mountpoint, vidas_kept->mountpoint))
		return vidas_fail(-errno, "cannot mount on %s: %s", o->mountpoint, strerror(errno));
	if (fuse_session_mount(vidas_fs.se, vidas_kept->mountpoint) < 0)
		return vidas_fail(-EIO, "cannot mount on %s: see the line above", o->mountpoint);
	vidas_kept->fuse_fd = fuse_session_fd(vidas_fs.se);
	if (!vidas_kept->detached)
		detach(o, ready_fd);
	vidas_kept->detached = true;
	return 0;
}

/* Goes on with the mount that another worker had. */
static int go_on(void)
{
	int err = vidas_channel_resume(vidas_fs.se);

	if (err)
		return vidas_fail(err, "the connection to the kernel is lost: %s", strerror(-err));
	err = hear_vidasd();
	if (err)
		return err;
	vidas_resumed();
	vidas_log(VIDAS_LOG_NOTICE, "another worker goes on");
	return 0;
}

/* Another machine has the mount. */
static int begin_far(void)
{
	int err = vidas_far_session(vidas_fs.se);

	if (err)
		return vidas_fail(err, "no session on the lane: %s", strerror(-err));
	vidas_far_welcome(0);
	return 0;
}

/* What libfuse does in the worker that has mounted. */
static void unmount(void)
{
	struct pollfd p = { .fd = vidas_kept->fuse_fd };

	/* An error: it is unmounted. */
	if (poll(&p, 1, 0) == 1 && (p.revents & POLLERR))
		return;
	if (umount2(vidas_kept->mountpoint, MNT_DETACH) < 0)
		vidas_log(VIDAS_LOG_WARNING, "unmounting %s: %s", vidas_kept->mountpoint,
			  strerror(errno));
}

struct start {
	struct fuse_args args;
	int ready_fd;
};

/* A worker, until it is unmounted or told to end. */
static int serve(void *arg)
{
	const struct vidas_options *o = &vidas_fs.options;
	bool first = atomic_load_explicit(&vidas_kept->workers, memory_order_relaxed) < 2;
	bool near = vidas_is_near();
	struct start *s = arg;
	sigset_t ends;
	int err;

	if (vidas_kept->journal)
		log_to_journal(STDERR_FILENO);
	vidas_log_init("vidasfs", o->debug ? VIDAS_LOG_DEBUG : VIDAS_LOG_INFO);
	vidas_loop_block_signals(&ends);
	if (!near)
		err = prepare(o, first, &ends);
	else
		err = first ? vidas_near_connect() : 0;
	if (err)
		goto out;
	err = vidas_session_new(&s->args);
	if (err)
		goto out;
	if (!first)
		err = near ? vidas_near_go_on() : go_on();
	else
		err = vidas_is_far() ? begin_far() : begin(o, s->ready_fd);
	if (err)
		goto out;
	atomic_store_explicit(&vidas_kept->mounted, true, memory_order_release);
	err = near ? vidas_near_run(&ends) : vidas_loop_run(&ends);
	sd_notify(0, "STOPPING=1");
	atomic_store_explicit(&vidas_kept->ending, true, memory_order_release);
	if (first)
		fuse_session_unmount(vidas_fs.se);
	else if (!vidas_is_far())
		unmount();
	vidas_notify_stop();
	vidas_branches_flush();
out:
	if (err)
		vidas_log(VIDAS_LOG_ERR, "%s", vidas_fail_text());
	if (err && vidas_is_far())
		vidas_far_welcome(err);
	if (near)
		vidas_near_close();
	vidas_locks_stop();
	vidas_branches_close();
	vidas_close(vidas_fs.v); /* leaves what is attached */
	if (vidas_fs.se)
		fuse_session_destroy(vidas_fs.se);
	vidas_keep_end();
	return err ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Goes on in a child; the parent exits as it did, or once it has mounted. */
static int background(void)
{
	int ready[2], status;
	pid_t pid;
	char c;

	if (pipe2(ready, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		vidas_log(VIDAS_LOG_ERR, "going into the background: %s", strerror(errno));
		exit(EXIT_FAILURE);
	}
	if (!pid) {
		close(ready[0]);
		setsid();
		return ready[1];
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) == 1)
		_exit(EXIT_SUCCESS);
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		_exit(EXIT_FAILURE);
	_exit(WEXITSTATUS(status));
}

/* A far half: who has the mount says what it is to be. */
static int greet(struct vidas_options *o)
{
	int log = o->log ? open_log(o) : -1, err;

	if (log >= 0 && dup2(log, STDERR_FILENO) >= 0)
		close(log);
	err = vidas_far_greet(o);
	if (err) {
		vidas_log(VIDAS_LOG_ERR, "%s", vidas_fail_text());
		vidas_far_welcome(err);
	}
	return err;
}

int main(int argc, char **argv)
{
	struct start s = { .args = FUSE_ARGS_INIT(argc, argv), .ready_fd = -1 };
	struct vidas_options *o = &vidas_fs.options;
	int status = EXIT_USAGE;

	if (vidas_options_parse(&s.args, o) < 0)
		goto out;
	if (o->help || o->version) {
		if (o->help)
			fputs(usage, stdout);
		else
			printf("vidasfs %s, libfuse %s\n", VIDAS_VERSION_STRING, fuse_pkgversion());
		status = EXIT_SUCCESS;
		goto out;
	}
	vidas_log_init("vidasfs", o->debug ? VIDAS_LOG_DEBUG : VIDAS_LOG_INFO);
	/* First, so that the user's fsname= is the last word. */
	if (fuse_opt_insert_arg(&s.args, 1,
				"-odefault_permissions,allow_other,subtype=vidas,fsname=vidas") <
		    0 ||
	    (o->debug && fuse_opt_add_arg(&s.args, "-odebug") < 0) || vidas_keep_init() < 0)
		goto out;
	if (vidas_is_far() && greet(o) < 0)
		goto out;
	if (!o->foreground && !o->debug && !vidas_is_far())
		s.ready_fd = background();
	status = o->debug ? serve(&s) : vidas_keeper_run(serve, &s, argc, argv);
out:
	fuse_opt_free_args(&s.args);
	vidas_options_free(o);
	return status;
}
