/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * flock(2) and POSIX locks across domains: the host's kernel arbitrates, for every domain's vidasfs
 * locks the same inode of the pool. An flock is one on the open file's own descriptor. A POSIX lock
 * owner has a descriptor of its own for each file it locks, and open-file-description locks on it:
 * so its locks are dropped by closing that descriptor, and with the daemon if that dies.
 *
 * Locks that must wait are tried again by one thread in turns, oldest first, until they are had or
 * interrupted. A circle of waiters is not found out (EDEADLK): it waits until one is interrupted.
 */
#include "vidasfs/fs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#define WAITERS_MAX 1024u
#define TRY_MIN_NS  200000L
#define TRY_MAX_NS  10000000L

struct vidas_lock_owner {
	struct vidas_lock_owner *next;
	uint64_t id; /* of the kernel */
	int fd;
	const struct vidas_handle *via; /* the open file it was last used through */
};

struct waiter {
	struct waiter *prev, *next;
	fuse_req_t req;
	struct vidas_handle *h;
	uint64_t owner;
	struct flock lock; /* POSIX */
	int op;		   /* flock; else 0 */
	int err;
	_Atomic bool interrupted;
};

static pthread_mutex_t waiters_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t waiters_come = PTHREAD_COND_INITIALIZER;
static struct waiter *waiters;
static unsigned waiters_count;
static bool waiters_thread;

/* Under node->lock. */
static void owner_free(struct vidas_node *n, struct vidas_lock_owner *o)
{
	LL_DELETE(n->owners, o);
	close(o->fd);
	free(o);
}

/* Under node->lock: the owner's entry, made if `make`. */
static int owner_get(struct vidas_handle *h, uint64_t id, bool make, struct vidas_lock_owner **out)
{
	struct vidas_node *n = h->node;
	struct vidas_lock_owner *o;

	LL_FOREACH(n->owners, o)
		if (o->id == id)
			break;
	*out = o;
	if (o || !make)
		return 0;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->id = id;
	o->fd = vidas_node_open(n, n->key.branch->readonly ? O_RDONLY : O_RDWR);
	if (o->fd < 0) {
		int err = o->fd;

		free(o);
		return err;
	}
	LL_PREPEND(n->owners, o);
	/* Opens from here on tell of each close. */
	n->posix_locks = true;
	*out = o;
	return 0;
}

static int try_posix(struct vidas_handle *h, uint64_t id, const struct flock *lock)
{
	struct flock l = *lock;
	struct vidas_lock_owner *o;
	int err;

	pthread_mutex_lock(&h->node->lock);
	err = owner_get(h, id, l.l_type != F_UNLCK, &o);
	if (!err && o) {
		o->via = h;
		l.l_pid = 0;
		err = fcntl(o->fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
	}
	pthread_mutex_unlock(&h->node->lock);
	return err == -EACCES ? -EAGAIN : err;
}

static int try_flock(struct vidas_handle *h, int op)
{
	int fd = vidas_handle_fd(h);

	return fd < 0 ? fd : flock(fd, op | LOCK_NB) < 0 ? -errno : 0;
}

static int try_waiter(struct waiter *w)
{
	if (atomic_load_explicit(&w->interrupted, memory_order_acquire))
		return -EINTR;
	return w->op ? try_flock(w->h, w->op) : try_posix(w->h, w->owner, &w->lock);
}

/* One turn over all waiters; those that have their answer leave. Returns how many did. */
static unsigned turn(void)
{
	struct waiter *w, *tmp, *done = NULL;
	unsigned n = 0;

	DL_FOREACH_SAFE(waiters, w, tmp) {
		int err = try_waiter(w);

		if (err == -EAGAIN)
			continue;
		DL_DELETE(waiters, w);
		waiters_count--;
		w->err = -err;
		LL_PREPEND(done, w);
	}
	pthread_mutex_unlock(&waiters_lock);
	LL_FOREACH_SAFE(done, w, tmp) {
		fuse_reply_err(w->req, w->err);
		free(w);
		n++;
	}
	pthread_mutex_lock(&waiters_lock);
	return n;
}

static void *waiters_main(void *arg)
{
	struct timespec nap = { .tv_nsec = TRY_MIN_NS };

	(void)arg;
	pthread_mutex_lock(&waiters_lock);
	for (;;) {
		while (!waiters) {
			pthread_cond_wait(&waiters_come, &waiters_lock);
			nap.tv_nsec = TRY_MIN_NS;
		}
		if (turn())
			nap.tv_nsec = TRY_MIN_NS;
		pthread_mutex_unlock(&waiters_lock);
		nanosleep(&nap, NULL);
		if (nap.tv_nsec < TRY_MAX_NS)
			nap.tv_nsec += nap.tv_nsec / 2;
		pthread_mutex_lock(&waiters_lock);
	}
	return NULL;
}

static void interrupt(fuse_req_t req, void *arg)
{
	struct waiter *w = arg;

	(void)req;
	atomic_store_explicit(&w->interrupted, true, memory_order_release);
}

static int waiters_start(void)
{
	pthread_t thread;
	int err;

	if (waiters_thread)
		return 0;
	err = pthread_create(&thread, NULL, waiters_main, NULL);
	if (err)
		return -err;
	pthread_detach(thread);
	waiters_thread = true;
	return 0;
}

/* The kernel keeps the file open while the request is under way, so the handle stays. */
static void wait_for(fuse_req_t req, const struct waiter *what)
{
	struct waiter *w = malloc(sizeof(*w));
	int err = w ? 0 : -ENOMEM;

	pthread_mutex_lock(&waiters_lock);
	if (!err)
		err = waiters_start();
	if (!err && waiters_count >= WAITERS_MAX) {
		vidas_log(VIDAS_LOG_WARNING, "%u requests wait for locks: no more may",
			  WAITERS_MAX);
		err = -ENOLCK;
	}
	if (!err) {
		*w = *what;
		w->req = req;
		DL_APPEND(waiters, w);
		waiters_count++;
		fuse_req_interrupt_func(req, interrupt, w);
		pthread_cond_signal(&waiters_come);
	}
	pthread_mutex_unlock(&waiters_lock);
	if (err) {
		free(w);
		fuse_reply_err(req, -err);
	}
}

void vidas_op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
		    int sleep)
{
	struct waiter w = { .h = vidas_handle_of(fi), .owner = fi->lock_owner, .lock = *lock };
	int err = try_posix(w.h, w.owner, lock);

	(void)ino;
	if (err == -EAGAIN && sleep)
		wait_for(req, &w);
	else
		fuse_reply_err(req, -err);
}

void vidas_op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	struct waiter w = { .h = vidas_handle_of(fi), .op = op & ~LOCK_NB };
	int err = try_flock(w.h, op);

	(void)ino;
	if (err == -EAGAIN && !(op & LOCK_NB))
		wait_for(req, &w);
	else
		fuse_reply_err(req, -err);
}

void vidas_op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
	struct vidas_handle *h = vidas_handle_of(fi);
	struct vidas_lock_owner *o;
	int err;

	(void)ino;
	pthread_mutex_lock(&h->node->lock);
	err = owner_get(h, fi->lock_owner, true, &o);
	if (!err) {
		o->via = h;
		lock->l_pid = 0;
		err = fcntl(o->fd, F_OFD_GETLK, lock) < 0 ? -errno : 0;
	}
	pthread_mutex_unlock(&h->node->lock);
	/* The holder is perhaps in another domain, where its number means something else. */
	lock->l_pid = 0;
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_lock(req, lock);
}

void vidas_locks_flush(struct vidas_handle *h, uint64_t owner)
{
	struct vidas_node *n = h->node;
	struct vidas_lock_owner *o, *tmp;

	pthread_mutex_lock(&n->lock);
	LL_FOREACH_SAFE(n->owners, o, tmp)
		if (o->id == owner)
			owner_free(n, o);
	pthread_mutex_unlock(&n->lock);
}

/* A file opened for reading before anyone had locked it does not tell of its closes, only of the
 * last one: so a read lock taken through it stays until then, also if the owner closes it earlier and
 * a child still has it. */
void vidas_locks_release(struct vidas_handle *h)
{
	struct vidas_node *n = h->node;
	struct vidas_lock_owner *o, *tmp;

	pthread_mutex_lock(&n->lock);
	LL_FOREACH_SAFE(n->owners, o, tmp)
		if (o->via == h)
			owner_free(n, o);
	pthread_mutex_unlock(&n->lock);
}
