/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests of the kernel, and who carries them out.
 *
 * A wake-up of another thread costs more than most requests, so nobody is woken for one that is
 * short: one thread at a time leads. It takes requests and carries out short ones itself, the next
 * one after the other. It steps aside, so that another thread leads, before what may take long or
 * wait for somebody: by the request's kind, or because more of them have been waiting for a while,
 * or when it turns out on the way (vidas_loop_step_aside()).
 *
 * Programs that work on names send one request after the other, with microseconds between them.
 * Falling asleep there and being woken again would be most of the time: so the leader looks for the
 * next request a little longer before it sleeps, as long as that pays: it does not where the two
 * share a CPU, or the machine is busy.
 */
#include "vidasfs/far.h"
#include "vidasfs/fs.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define IDLE	    4u
#define LOOK_US	    40	   /* how long to look for the next request: some wake-ups */
#define SKIP_MAX    1023u  /* after looks in vain: so many chances are left out */
#define SHORT_BYTES 65536u /* of a read or write */
#define CROWD	    16u	   /* requests in succession that had others behind them */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t follow; /* there is nobody who leads, or it has ended */
	pthread_cond_t gone;   /* a worker has ended */
	bool led, ended;
	unsigned workers, idle;
	int err;
	int end_fd;  /* eventfd: readable once it has ended */
	int done_fd; /* eventfd: main is to come back */

	/* The leader's alone. */
	unsigned skip, skip_next; /* chances to leave out now, after the next look in vain */
	bool look;
	unsigned crowd; /* up to CROWD */
} loop = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.follow = PTHREAD_COND_INITIALIZER,
	.gone = PTHREAD_COND_INITIALIZER,
};

static _Thread_local bool leading;

static void *work(void *arg);

/* Under the lock. */
static int worker_start(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	if (loop.workers == VIDAS_WORKERS)
		return -EAGAIN;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = -pthread_create(&thread, &attr, work, NULL);
	pthread_attr_destroy(&attr);
	if (!err)
		loop.workers++;
	return err;
}

void vidas_loop_step_aside(void)
{
	if (!leading)
		return;
	leading = false;
	pthread_mutex_lock(&loop.lock);
	loop.led = false;
	/* Without another one requests wait until somebody is back. */
	if (loop.idle)
		pthread_cond_signal(&loop.follow);
	else
		worker_start();
	pthread_mutex_unlock(&loop.lock);
}

/* Waits until this thread is to lead; false: it is to end. */
static bool follow(void)
{
	bool lead = false;

	if (leading)
		return true;
	pthread_mutex_lock(&loop.lock);
	if (loop.led && loop.idle >= IDLE)
		goto out;
	loop.idle++;
	while (loop.led && !loop.ended)
		pthread_cond_wait(&loop.follow, &loop.lock);
	loop.idle--;
	lead = !loop.ended;
	loop.led |= lead;
out:
	pthread_mutex_unlock(&loop.lock);
	leading = lead;
	return lead;
}

static void end(int err)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&loop.lock);
	loop.ended = true;
	loop.err = loop.err ? loop.err : err;
	if (write(loop.end_fd, &one, sizeof(one)) < 0 || write(loop.done_fd, &one, sizeof(one)) < 0)
		vidas_log(VIDAS_LOG_ERR, "the end cannot be told: %s", strerror(errno));
	pthread_cond_broadcast(&loop.follow);
	pthread_mutex_unlock(&loop.lock);
}

/* Taking requests: the leader's ------------------------------------------------------------------- */

/* The next request as it is now: bytes, 0 unmounted, -EAGAIN there is none. */
static int receive(struct fuse_buf *buf)
{
	int got;

	do
		got = fuse_session_receive_buf(vidas_fs.se, buf);
	while (got == -EINTR || got == -ENOENT); /* interrupted before it was read */
	return got;
}

/* Keeps looking for it. Not giving the CPU away meanwhile: on a busy machine it would be back only
 * when others have used up their time; who has to run here to send the next request is let in by the
 * scheduler, or the look is in vain. */
static int look(struct fuse_buf *buf)
{
	int64_t until_us = vidas_deadline_us(LOOK_US);
	int got;

	do {
		got = receive(buf);
	} while (got == -EAGAIN && vidas_remaining_us(until_us));
	if (got != -EAGAIN) {
		loop.skip_next = loop.skip_next ? loop.skip_next - 1 : 0;
		return got;
	}
	loop.look = false;
	loop.skip = loop.skip_next;
	loop.skip_next = loop.skip_next < SKIP_MAX ? 2 * loop.skip_next + 1 : SKIP_MAX;
	return got;
}

/* Sleeps until there is one; a short sleep would have been better spent looking. */
static int doze(void)
{
	struct pollfd p[] = { { .fd = fuse_session_fd(vidas_fs.se), .events = POLLIN },
			      { .fd = loop.end_fd, .events = POLLIN },
			      { .fd = vidas_far_queue_fd(), .events = POLLIN } };
	int64_t since_us = vidas_now_us();

	if (poll(p, VIDAS_ARRAY_SIZE(p), -1) < 0 && errno != EINTR)
		return -errno;
	if (vidas_now_us() - since_us < LOOK_US) {
		loop.look = !loop.skip;
		loop.skip = loop.skip ? loop.skip - 1 : 0;
	}
	return 0;
}

/* `waited`: it was there before it was asked for. */
static int take(struct fuse_buf *buf, bool *waited)
{
	int got = receive(buf), err = 0;

	*waited = got > 0;
	while (got == -EAGAIN && !err) {
		if (fuse_session_exited(vidas_fs.se))
			return 0;
		if (loop.look)
			got = look(buf);
		if (got == -EAGAIN) {
			err = doze();
			got = receive(buf);
		}
	}
	return err ? err : got;
}

/* Does nobody wait for it? A program's next request comes right behind such a one. */
static bool is_unawaited(const struct fuse_buf *buf)
{
	const struct fuse_in_header *in = buf->mem;

	switch (buf->size < sizeof(*in) ? 0 : in->opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		return true;
	default:
		return false;
	}
}

/*
 * Do several programs send requests faster than one thread carries them out? One program alone now
 * and then has something behind the one in hand for which nobody waits: the kernel lets up to eight
 * requests pass before it goes on to tell what it forgets.
 */
static bool is_crowded(const struct fuse_buf *buf, bool waited)
{
	struct pollfd p = { .fd = fuse_session_fd(vidas_fs.se), .events = POLLIN };

	if (is_unawaited(buf))
		return false;
	if (!waited || poll(&p, 1, 0) <= 0)
		loop.crowd = 0;
	else if (loop.crowd < CROWD)
		loop.crowd++;
	return loop.crowd == CROWD;
}

/* Is it done with some system calls on memory, whatever else happens on this machine? What asks
 * vidasd on the way steps aside then. */
static bool is_short(const struct fuse_buf *buf)
{
	const struct fuse_in_header *in = buf->mem;
	const char *body = (const char *)(in + 1), *name;
	struct vidas_node *n;

	if (buf->size < sizeof(*in))
		return false;
	switch (in->opcode) {
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return true;
	case FUSE_LOOKUP:
	case FUSE_GETATTR:
	case VIDAS_FUSE_STATX:
	case FUSE_READLINK:
	case FUSE_SYMLINK:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_UNLINK:
	case FUSE_RMDIR:
	case FUSE_RENAME:
	case FUSE_RENAME2:
	case FUSE_LINK:
	case FUSE_OPEN:
	case FUSE_CREATE:
	case FUSE_STATFS:
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_OPENDIR:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
	case FUSE_RELEASEDIR:
		break;
	case FUSE_READ:
		if (((const struct fuse_read_in *)body)->size > SHORT_BYTES)
			return false;
		break;
	case FUSE_WRITE:
		if (buf->size > SHORT_BYTES)
			return false;
		break;
	case FUSE_SETATTR:
		if (((const struct fuse_setattr_in *)body)->valid & FATTR_SIZE)
			return false;
		break;
	case FUSE_GETXATTR: /* the kernel's own questions; ours may wait */
		name = body + sizeof(struct fuse_getxattr_in);
		if (strncmp(name, "security.", 9) != 0 && strncmp(name, "system.", 7) != 0)
			return false;
		break;
	default:
		return false;
	}
	n = vidas_node_of(in->nodeid);
	return n->key.branch && n->key.branch->volatile_pool;
}

static void carry_out(struct fuse_buf *buf, bool waited)
{
	if (vidas_is_far() && !vidas_far_enter(buf))
		return;
	if (!is_short(buf) || is_crowded(buf, waited))
		vidas_loop_step_aside();
	vidas_channel_note(buf);
	if (!vidas_statx_serve(buf))
		fuse_session_process_buf(vidas_fs.se, buf);
	if (vidas_is_far())
		vidas_far_leave();
}

static void *work(void *arg)
{
	struct fuse_buf buf = { 0 };
	bool waited;
	int got;

	(void)arg;
	while (follow()) {
		got = take(&buf, &waited);
		if (got <= 0 || fuse_session_exited(vidas_fs.se)) {
			end(got < 0 ? got : 0);
			leading = false;
			break;
		}
		carry_out(&buf, waited);
	}
	free(buf.mem);
	pthread_mutex_lock(&loop.lock);
	loop.workers--;
	pthread_cond_signal(&loop.gone);
	pthread_mutex_unlock(&loop.lock);
	return NULL;
}

/* The main thread ------------------------------------------------------------------------------------ */

void vidas_loop_block_signals(sigset_t *ends)
{
	sigemptyset(ends);
	sigaddset(ends, SIGHUP);
	sigaddset(ends, SIGINT);
	sigaddset(ends, SIGTERM);
	pthread_sigmask(SIG_BLOCK, ends, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* Returns when told to end, by a signal or by the workers. */
static int watch(int signal_fd)
{
	struct pollfd p[] = { { .fd = signal_fd, .events = POLLIN },
			      { .fd = loop.done_fd, .events = POLLIN } };
	struct signalfd_siginfo s;

	while (poll(p, VIDAS_ARRAY_SIZE(p), -1) < 0)
		if (errno != EINTR)
			return -errno;
	if (p[1].revents)
		return 0;
	if (read(signal_fd, &s, sizeof(s)) == sizeof(s))
		vidas_log(VIDAS_LOG_INFO, "told to end: %s", strsignal((int)s.ssi_signo));
	return 0;
}

static void join(void)
{
	pthread_mutex_lock(&loop.lock);
	while (loop.workers)
		pthread_cond_wait(&loop.gone, &loop.lock);
	pthread_mutex_unlock(&loop.lock);
}

int vidas_loop_run(const sigset_t *ends)
{
	int fuse_fd = fuse_session_fd(vidas_fs.se), flags = fcntl(fuse_fd, F_GETFL), err;
	int signal_fd = signalfd(-1, ends, SFD_CLOEXEC);

	loop.end_fd = eventfd(0, EFD_CLOEXEC);
	loop.done_fd = eventfd(0, EFD_CLOEXEC);
	err = flags < 0 || signal_fd < 0 || loop.end_fd < 0 || loop.done_fd < 0 ||
			      fcntl(fuse_fd, F_SETFL, flags | O_NONBLOCK) < 0 ?
		      -errno :
		      0;
	if (!err) {
		pthread_mutex_lock(&loop.lock);
		err = worker_start();
		pthread_mutex_unlock(&loop.lock);
	}
	if (!err) {
		err = watch(signal_fd);
		fuse_session_exit(vidas_fs.se);
		end(err);
		join();
		err = loop.err;
	}
	close(signal_fd);
	close(loop.end_fd);
	close(loop.done_fd);
	return err ? vidas_fail(err, "reading from the kernel: %s", strerror(-err)) : 0;
}
