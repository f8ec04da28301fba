/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that wait for a lock. Each has a thread that sleeps in the host's kernel, which gives the
 * lock to whoever came first; a signal ends the sleep when the request is interrupted.
 *
 * The host's kernel does not look for deadlocks between open-file-description locks: their owners are
 * open files, and whose these are only we know. So one more thread tells vidasd of every request that
 * has waited for a while, and of what its owner holds; vidasd sees the waits of all domains, and says
 * which one closes a circle. Nobody needs vidasd to get or to give a lock.
 */
#include "vidasfs/far.h"
#include "vidasfs/lock.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#define WAITERS_MAX 1024u
#define STACK_BYTES ((size_t)256 << 10)
/* Most waits are over before anyone else need know of them. */
#define PATIENCE_US (20 * 1000)
#define RETRY_US    (1000 * 1000)
#define STOP_US	    (2 * 1000 * 1000)
#define WAKE_SIGNAL SIGUSR2

struct waiter {
	struct waiter *prev, *next;
	fuse_req_t req;
	struct vidas_handle *h;
	struct vidas_lock_owner *o; /* NULL: flock */
	struct flock lock;
	int op;
	pthread_t thread;
	uint64_t number;
	int64_t tell_us;       /* when vidasd is to be told; VIDAS_FOREVER: it was */
	bool told;	       /* it may know of it */
	_Atomic int cancel;    /* errno */
	_Atomic bool returned; /* from the kernel: no signal is needed any more */
};

static pthread_mutex_t waits_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t waits_change; /* for the teller; monotonic clock */
static pthread_cond_t waits_none;   /* the same */
static struct waiter *waiters;
static struct waiter *over; /* vidasd is to forget them */
static unsigned waiters_count;
static _Atomic unsigned posix_count;
static uint64_t last_number;
static pthread_t teller;
static bool started, stopping;

static void woken(int sig)
{
	(void)sig;
}

/* The signal may come just before the thread sleeps: so again, until it is seen to have arrived. */
static void cancel(struct waiter *w, int err)
{
	const struct timespec nap = { .tv_nsec = 500 * 1000 };

	atomic_store_explicit(&w->cancel, err, memory_order_release);
	if (pthread_equal(w->thread, pthread_self()))
		return; /* it has not slept yet */
	while (!atomic_load_explicit(&w->returned, memory_order_acquire)) {
		pthread_kill(w->thread, WAKE_SIGNAL);
		nanosleep(&nap, NULL);
	}
}

static void interrupted(fuse_req_t req, void *arg)
{
	(void)req;
	cancel(arg, EINTR);
}

static int sleep_in_kernel(struct waiter *w)
{
	int fd = w->o ? w->o->fd : vidas_handle_fd(w->h);
	struct flock l = w->lock;
	int err;

	l.l_pid = 0;
	for (;;) {
		err = atomic_load_explicit(&w->cancel, memory_order_acquire);
		if (err)
			break;
		if ((w->o ? fcntl(fd, F_OFD_SETLKW, &l) : flock(fd, w->op)) == 0)
			break;
		err = errno;
		if (err != EINTR)
			break;
	}
	atomic_store_explicit(&w->returned, true, memory_order_release);
	return err;
}

static void waiter_enter(struct waiter *w)
{
	w->thread = pthread_self();
	pthread_mutex_lock(&waits_lock);
	if (stopping)
		atomic_store_explicit(&w->cancel, EINTR, memory_order_relaxed);
	DL_APPEND(waiters, w);
	if (w->o) {
		atomic_fetch_add_explicit(&posix_count, 1, memory_order_relaxed);
		pthread_cond_signal(&waits_change);
	}
	pthread_mutex_unlock(&waits_lock);
}

static void waiter_leave(struct waiter *w)
{
	bool told;

	pthread_mutex_lock(&waits_lock);
	DL_DELETE(waiters, w);
	if (w->o)
		atomic_fetch_sub_explicit(&posix_count, 1, memory_order_relaxed);
	told = w->told;
	if (told) {
		LL_PREPEND(over, w);
		pthread_cond_signal(&waits_change);
	}
	pthread_mutex_unlock(&waits_lock);
	if (!told)
		free(w);
}

/* The kernel keeps the file open until it has our reply, and so the handle stays. */
static void *waiter_main(void *arg)
{
	struct waiter *w = arg;
	struct vidas_lock_owner *o = w->o;
	struct vidas_handle *h = w->h;
	pid_t pid = w->lock.l_pid;
	fuse_req_t req = w->req;
	int err;

	waiter_enter(w);
	fuse_req_interrupt_func(req, interrupted, w);
	err = sleep_in_kernel(w);
	/* From here on no interrupt looks at `w`. */
	fuse_req_interrupt_func(req, NULL, NULL);
	/* First: who goes through the list looks at handle and owner. */
	waiter_leave(w);
	if (o)
		vidas_lock_waited(h, o, pid, !err);
	vidas_far_unhold(h);
	fuse_reply_err(req, err);
	pthread_mutex_lock(&waits_lock);
	if (!--waiters_count)
		pthread_cond_broadcast(&waits_none);
	pthread_mutex_unlock(&waits_lock);
	return NULL;
}

/* Telling vidasd ---------------------------------------------------------------------------------- */

/* Under waits_lock: whom vidasd is to be told of next, if anyone. */
static struct waiter *next_due(void)
{
	struct waiter *w, *first = NULL;

	DL_FOREACH(waiters, w)
		if (w->o && w->tell_us >= 0 && (!first || w->tell_us < first->tell_us))
			first = w;
	return first;
}

/* Under waits_lock. */
static struct waiter *find(uint64_t number)
{
	struct waiter *w;

	DL_FOREACH(waiters, w)
		if (w->number == number)
			break;
	return w;
}

/* Once for each reason. */
static void complain(int err)
{
	static int said;

	if (err == said)
		return;
	said = err;
	vidas_log(VIDAS_LOG_WARNING,
		  "vidasd does not look for deadlocks of locks that are waited for: %s",
		  vidas_error_text());
}

static int ask_vidasd(const struct vidas_tree_wait *wait)
{
	static struct vidas_tree_lock held[VIDAS_TREE_LOCKS_MAX];
	static struct vidas_branch *branches[VIDAS_TREE_LOCKS_MAX];
	size_t count = vidas_locks_held(wait->owner, held, branches, VIDAS_TREE_LOCKS_MAX);
	size_t kept = count < VIDAS_TREE_LOCKS_MAX ? count : VIDAS_TREE_LOCKS_MAX;
	int err;

	if (count > kept)
		vidas_log(VIDAS_LOG_WARNING,
			  "who holds %zu locks waits for one: of a deadlock only those by the "
			  "first %zu are found",
			  count, kept);
	err = vidas_tree_lock_wait(vidas_fs.v, wait, held, kept);
	for (size_t i = 0; i < kept; i++)
		vidas_branch_put(branches[i]);
	return err;
}

/* Under waits_lock, which it lets go meanwhile. */
static void tell(struct waiter *w)
{
	struct vidas_branch *b = w->h->node->key.branch;
	const struct vidas_tree_wait wait = {
		.number = w->number,
		.owner = w->o->id,
		.lock = { .tree = b->tree,
			  .inode = w->h->node->key.ino,
			  .start = (uint64_t)w->lock.l_start,
			  .last = w->lock.l_len ? (uint64_t)(w->lock.l_start + w->lock.l_len - 1) :
						  INT64_MAX,
			  .exclusive = w->lock.l_type == F_WRLCK },
	};
	int err;

	w->tell_us = VIDAS_FOREVER;
	if (!b->tree)
		return;
	w->told = true;
	vidas_branch_ref(b);
	pthread_mutex_unlock(&waits_lock);
	err = ask_vidasd(&wait);
	if (err && err != -EDEADLK)
		complain(err);
	vidas_branch_put(b);
	pthread_mutex_lock(&waits_lock);
	w = err ? find(wait.number) : NULL;
	if (w && err == -EDEADLK)
		cancel(w, EDEADLK);
	else if (w)
		w->tell_us = vidas_deadline_us(RETRY_US);
}

/* The same. */
static void tell_over(struct waiter *w)
{
	int err;

	LL_DELETE(over, w);
	pthread_mutex_unlock(&waits_lock);
	err = vidas_tree_lock_done(vidas_fs.v, w->number);
	if (err)
		complain(err); /* a vidasd that cannot be asked has no list of waits */
	free(w);
	pthread_mutex_lock(&waits_lock);
}

static void *teller_main(void *arg)
{
	struct timespec ts;
	struct waiter *w;

	(void)arg;
	pthread_mutex_lock(&waits_lock);
	while (!stopping) {
		w = next_due();
		if (over) {
			tell_over(over);
		} else if (!w) {
			pthread_cond_wait(&waits_change, &waits_lock);
		} else if (vidas_remaining_us(w->tell_us)) {
			ts = (struct timespec){ w->tell_us / 1000000, w->tell_us % 1000000 * 1000 };
			pthread_cond_timedwait(&waits_change, &waits_lock, &ts);
		} else {
			tell(w);
		}
	}
	pthread_mutex_unlock(&waits_lock);
	return NULL;
}

/* Its vidasd, or its session there, is another one: no wait is known to it. */
void vidas_locks_tell_again(void)
{
	struct waiter *w;

	pthread_mutex_lock(&waits_lock);
	DL_FOREACH(waiters, w)
		if (w->told)
			w->tell_us = vidas_now_us();
	if (started)
		pthread_cond_signal(&waits_change);
	pthread_mutex_unlock(&waits_lock);
}

void vidas_lock_wait_changed(uint64_t owner)
{
	struct waiter *w;

	if (!atomic_load_explicit(&posix_count, memory_order_relaxed))
		return;
	pthread_mutex_lock(&waits_lock);
	DL_FOREACH(waiters, w) {
		if (!w->o || w->o->id != owner || !w->told)
			continue;
		w->tell_us = vidas_now_us();
		pthread_cond_signal(&waits_change);
	}
	pthread_mutex_unlock(&waits_lock);
}

/* Beginning and end --------------------------------------------------------------------------------- */

/* Under waits_lock. */
static int start(void)
{
	struct sigaction act = { .sa_handler = woken }; /* no SA_RESTART */
	pthread_condattr_t attr;
	int err;

	if (stopping)
		return -EINTR;
	if (started)
		return 0;
	if (sigaction(WAKE_SIGNAL, &act, NULL) < 0)
		return -errno;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&waits_change, &attr);
	pthread_cond_init(&waits_none, &attr);
	pthread_condattr_destroy(&attr);
	err = -pthread_create(&teller, NULL, teller_main, NULL);
	started = !err;
	return err;
}

/* Under waits_lock. */
static int waiter_start(struct waiter *w)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err = start();

	if (err)
		return err;
	if (waiters_count >= WAITERS_MAX) {
		vidas_log(VIDAS_LOG_WARNING, "%u requests wait for locks: no more may",
			  WAITERS_MAX);
		return -ENOLCK;
	}
	w->number = ++last_number;
	w->tell_us = vidas_deadline_us(PATIENCE_US);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	err = pthread_create(&thread, &attr, waiter_main, w);
	pthread_attr_destroy(&attr);
	if (err) {
		vidas_log(VIDAS_LOG_ERR, "a request that would wait for a lock gets no thread: %s",
			  strerror(err));
		return -ENOLCK;
	}
	waiters_count++;
	return 0;
}

void vidas_lock_wait(fuse_req_t req, struct vidas_handle *h, struct vidas_lock_owner *o,
		     const struct flock *lock, int op)
{
	struct waiter *w = calloc(1, sizeof(*w));
	int err = -ENOMEM;

	if (w) {
		w->req = req;
		w->h = h;
		w->o = o;
		w->op = op;
		if (lock)
			w->lock = *lock;
		vidas_far_hold(h);
		pthread_mutex_lock(&waits_lock);
		err = waiter_start(w);
		pthread_mutex_unlock(&waits_lock);
	}
	if (!err)
		return;
	if (w)
		vidas_far_unhold(h);
	free(w);
	if (o)
		vidas_lock_waited(h, o, 0, false);
	fuse_reply_err(req, -err);
}

void vidas_locks_stop(void)
{
	int64_t deadline_us = vidas_deadline_us(STOP_US);
	const struct timespec ts = { deadline_us / 1000000, deadline_us % 1000000 * 1000 };
	struct waiter *w;
	int err = 0;

	pthread_mutex_lock(&waits_lock);
	stopping = true;
	if (!started) {
		pthread_mutex_unlock(&waits_lock);
		return;
	}
	DL_FOREACH(waiters, w)
		cancel(w, EINTR);
	while (waiters_count && !err)
		err = pthread_cond_timedwait(&waits_none, &waits_lock, &ts);
	if (waiters_count)
		vidas_log(VIDAS_LOG_WARNING, "%u requests still wait for locks", waiters_count);
	pthread_cond_signal(&waits_change);
	pthread_mutex_unlock(&waits_lock);
	pthread_join(teller, NULL);
	while ((w = over)) {
		LL_DELETE(over, w);
		free(w);
	}
}
