/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages of files: the attributes `notify` and `wait`, and poll(2), which has POLLPRI when a message
 * waits, or when one was sent to any object of the file since this open file was polled last.
 *
 * A file that somebody polls, or waits for a message of, is watched: one thread sleeps on the counts of
 * all watched files (vidas_messages_wait()), wakes pollers, and answers the requests that wait. So a
 * wait takes no thread. A watch goes when nobody needs it; only the thread frees one.
 */
#include "vidasfs/fs.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define WAITERS_MAX 1024u
#define READY	    (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)

/* A request that waits for a message. */
struct parked {
	struct parked *prev, *next;
	fuse_req_t req;
	size_t size;
	int64_t deadline_us;
	_Atomic bool interrupted;
	bool answered;
};

struct vidas_poller {
	struct vidas_poller *prev, *next;
	struct watch *watch;
	struct fuse_pollhandle *ph; /* the kernel wants to hear of it, or NULL */
	uint32_t seen;		    /* of what was sent, by the last poll */
};

struct watch {
	struct watch *prev, *next;
	struct vidas_node *n; /* a reference */
	struct vidas_object *o;
	uint32_t seen; /* by the thread */
	unsigned users;
	struct vidas_poller *pollers;
	struct parked *parked;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct watch *watches;
static unsigned parked_count;
static bool started, ending;
static pthread_t thread;
static _Atomic uint32_t kick;

static void kick_thread(void)
{
	atomic_fetch_add_explicit(&kick, 1, memory_order_seq_cst);
	vidas_futex_wake(&kick, 1);
}

/* The thread ------------------------------------------------------------------------------------- */

/* What was written before the message is what is read after it, also where pages are cached. */
static void forget_pages(struct vidas_node *n)
{
	if (vidas_node_relaxed(n) && !vidas_passes_through(n))
		fuse_lowlevel_notify_inval_inode(vidas_fs.se, vidas_node_id(n), 0, 0);
}

/* From here on no interrupt looks at the request. */
static int give(void *arg, const void *message, size_t size)
{
	struct parked *p = arg;

	fuse_req_interrupt_func(p->req, NULL, NULL);
	p->answered = true;
	return fuse_reply_buf(p->req, message, size);
}

/* True: it was answered. Under lock, as all of these. */
static bool serve_parked(struct watch *w, struct parked *p)
{
	char message[VIDAS_MESSAGE_MAX];
	size_t size = p->size < sizeof(message) ? p->size : sizeof(message);
	ssize_t n = -EAGAIN;

	if (atomic_load_explicit(&p->interrupted, memory_order_acquire))
		n = -EINTR;
	else if (vidas_messages_any(w->o))
		n = vidas_messages_take(w->o, message, size, give, p);
	if (p->answered)
		return true;
	if (n == -EAGAIN && !vidas_remaining_us(p->deadline_us))
		n = -ETIMEDOUT;
	if (n == -EAGAIN)
		return false;
	fuse_req_interrupt_func(p->req, NULL, NULL);
	fuse_reply_err(p->req, n == -EMSGSIZE ? ERANGE : (int)-n);
	return true;
}

static void serve(struct watch *w)
{
	uint32_t sent = vidas_messages_sent(w->o);
	struct vidas_poller *poller;
	struct parked *p, *next;

	if (sent != w->seen)
		forget_pages(w->n);
	DL_FOREACH_SAFE(w->parked, p, next) {
		if (!serve_parked(w, p))
			continue;
		DL_DELETE(w->parked, p);
		parked_count--;
		free(p);
	}
	if (sent == w->seen)
		return;
	w->seen = sent;
	DL_FOREACH(w->pollers, poller) {
		if (!poller->ph)
			continue;
		fuse_lowlevel_notify_poll(poller->ph);
		fuse_pollhandle_destroy(poller->ph);
		poller->ph = NULL;
	}
}

/* Takes those that nobody needs from the list, and lists the others in *out (grown as need be). */
static size_t gather(struct vidas_messages_watch **out, size_t *room, struct watch **unused)
{
	struct watch *w, *next;
	size_t n = 0;

	*unused = NULL;
	DL_FOREACH_SAFE(watches, w, next) {
		if (!w->users && !w->pollers && !w->parked) {
			DL_DELETE(watches, w);
			DL_APPEND(*unused, w);
			continue;
		}
		if (n == *room) {
			struct vidas_messages_watch *more =
				realloc(*out, (2 * n + 16) * sizeof(*more));

			if (!more)
				break; /* what is beyond is looked at in time */
			*out = more;
			*room = 2 * n + 16;
		}
		(*out)[n++] = (struct vidas_messages_watch){ w->o, w->seen };
	}
	return n;
}

static void *watch_main(void *arg)
{
	struct vidas_messages_watch *list = NULL;
	struct watch *unused, *w, *next;
	size_t room = 0, n;
	uint32_t kicked;

	(void)arg;
	for (;;) {
		kicked = atomic_load_explicit(&kick, memory_order_seq_cst);
		pthread_mutex_lock(&lock);
		if (ending) {
			pthread_mutex_unlock(&lock);
			break;
		}
		DL_FOREACH(watches, w)
			serve(w);
		n = gather(&list, &room, &unused);
		pthread_mutex_unlock(&lock);
		DL_FOREACH_SAFE(unused, w, next) {
			vidas_messages_end(w->o);
			vidas_node_unref(w->n);
			free(w);
		}
		if (n)
			vidas_messages_wait(list, n, &kick, kicked);
		else
			vidas_futex_wait(&kick, kicked, VIDAS_FOREVER);
	}
	free(list);
	return NULL;
}

/* Under lock. */
static int thread_start(void)
{
	sigset_t all, before;
	int err;

	if (started)
		return 0;
	if (ending)
		return -ENOTCONN;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&thread, NULL, watch_main, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return -err;
	started = true;
	return 0;
}

void vidas_notify_stop(void)
{
	bool runs;

	pthread_mutex_lock(&lock);
	ending = true;
	runs = started;
	pthread_mutex_unlock(&lock);
	kick_thread();
	if (runs)
		pthread_join(thread, NULL);
}

/* Watches ---------------------------------------------------------------------------------------- */

static int ask_messages(struct vidas_tree *t, const char *path, uint64_t ino, void *arg)
{
	return vidas_tree_messages(t, path, ino, arg);
}

/* Under lock. */
static struct watch *watch_find(struct vidas_node *n)
{
	struct watch *w;

	DL_FOREACH(watches, w)
		if (w->n == n)
			break;
	if (w)
		w->users++;
	return w;
}

/* Under lock. */
static struct watch *watch_add(struct vidas_node *n, struct vidas_object *o)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	vidas_node_ref(n);
	w->n = n;
	w->o = o;
	w->seen = vidas_messages_sent(o);
	w->users = 1;
	DL_APPEND(watches, w);
	return w;
}

/* The file's watch, made if there is none, and kept until watch_put(). */
static int watch_get(struct vidas_node *n, struct watch **out)
{
	struct vidas_object *o = NULL;
	int err;

	pthread_mutex_lock(&lock);
	err = thread_start();
	*out = err ? NULL : watch_find(n);
	pthread_mutex_unlock(&lock);
	if (err || *out)
		return err;
	err = vidas_node_ask(n, ask_messages, &o);
	if (err)
		return err == -ENOENT && n->key.branch->readonly ? -EROFS : err;
	pthread_mutex_lock(&lock);
	*out = watch_find(n);
	if (!*out) {
		*out = watch_add(n, o);
		o = *out ? NULL : o;
	}
	pthread_mutex_unlock(&lock);
	if (o)
		vidas_messages_end(o);
	return *out ? 0 : -ENOMEM;
}

/* The thread looks at it again: it has something new to wait for, or is to be freed. */
static void watch_put(struct watch *w)
{
	pthread_mutex_lock(&lock);
	w->users--;
	pthread_mutex_unlock(&lock);
	kick_thread();
}

/* Attributes ------------------------------------------------------------------------------------- */

int vidas_notify_send(struct vidas_node *n, const void *message, size_t size)
{
	struct vidas_object *o;
	int64_t before;
	int err;

	if (!S_ISREG(n->type))
		return S_ISDIR(n->type) ? -EISDIR : -EINVAL;
	if (size > VIDAS_MESSAGE_MAX)
		return -E2BIG;
	/* A worker that died over this request may have sent it. */
	if (vidas_deed_result(&before))
		return (int)before;
	err = vidas_node_ask(n, ask_messages, &o);
	if (err)
		return err == -ENOENT && n->key.branch->readonly ? -EROFS : err;
	vidas_deed_begin(0);
	err = vidas_object_notify(o, message, size, 0);
	/* EAGAIN is a word of the kernel's own in setxattr, and becomes another. */
	if (err == -EAGAIN)
		err = -ENOBUFS;
	vidas_deed_done(err);
	vidas_messages_end(o);
	return err;
}

static void interrupted(fuse_req_t req, void *arg)
{
	struct parked *p = arg;

	(void)req;
	atomic_store_explicit(&p->interrupted, true, memory_order_release);
	kick_thread();
}

static int park(fuse_req_t req, struct watch *w, size_t size)
{
	struct parked *p = calloc(1, sizeof(*p));
	bool room;

	if (!p)
		return -ENOMEM;
	p->req = req;
	p->size = size;
	p->deadline_us = vidas_deadline_us((int64_t)vidas_fs.options.wait_seconds * 1000 * 1000);
	pthread_mutex_lock(&lock);
	room = parked_count < WAITERS_MAX;
	parked_count += room;
	pthread_mutex_unlock(&lock);
	if (!room) {
		vidas_log(VIDAS_LOG_WARNING, "%u wait for messages already", WAITERS_MAX);
		free(p);
		return -EUSERS;
	}
	fuse_req_interrupt_func(req, interrupted, p);
	pthread_mutex_lock(&lock);
	DL_APPEND(w->parked, p);
	pthread_mutex_unlock(&lock);
	return 0;
}

void vidas_notify_wait(fuse_req_t req, struct vidas_node *n, size_t size)
{
	struct watch *w;
	int err;

	if (!S_ISREG(n->type) || !size) {
		/* Who asks for the size gets that of the longest one: another may take a message
		 * before he comes back. */
		if (S_ISREG(n->type))
			fuse_reply_xattr(req, VIDAS_MESSAGE_MAX);
		else
			fuse_reply_err(req, ENODATA);
		return;
	}
	if (n->key.branch->readonly) {
		fuse_reply_err(req, EROFS);
		return;
	}
	err = watch_get(n, &w);
	if (!err) {
		err = park(req, w, size);
		watch_put(w);
	}
	if (err)
		fuse_reply_err(req, -err);
}

/* poll ------------------------------------------------------------------------------------------- */

/* The poller of an open file. A file that was never polled has none. */
static int poller_get(struct vidas_handle *h, struct vidas_poller **out)
{
	struct vidas_poller *p;
	struct watch *w;
	int err;

	pthread_mutex_lock(&lock);
	*out = h->poller;
	pthread_mutex_unlock(&lock);
	if (*out)
		return 0;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	err = watch_get(h->node, &w);
	if (err) {
		free(p);
		return err;
	}
	pthread_mutex_lock(&lock);
	if (!h->poller) {
		p->watch = w;
		p->seen = vidas_messages_sent(w->o);
		DL_APPEND(w->pollers, p);
		h->poller = p;
		p = NULL;
	}
	*out = h->poller;
	pthread_mutex_unlock(&lock);
	free(p);
	watch_put(w);
	return 0;
}

static unsigned poller_look(struct vidas_poller *p, struct fuse_pollhandle *ph)
{
	uint32_t sent;
	bool any;

	pthread_mutex_lock(&lock);
	if (ph) {
		if (p->ph)
			fuse_pollhandle_destroy(p->ph);
		p->ph = ph;
	}
	sent = vidas_messages_sent(p->watch->o);
	any = sent != p->seen || vidas_messages_any(p->watch->o);
	p->seen = sent;
	pthread_mutex_unlock(&lock);
	return any ? POLLPRI : 0;
}

void vidas_op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		   struct fuse_pollhandle *ph)
{
	struct vidas_handle *h = vidas_handle_of(fi);
	struct vidas_poller *p;
	int err;

	(void)ino;
	if (!(fi->poll_events & POLLPRI)) {
		if (ph)
			fuse_pollhandle_destroy(ph);
		fuse_reply_poll(req, READY);
		return;
	}
	err = poller_get(h, &p);
	if (!err) {
		fuse_reply_poll(req, READY | poller_look(p, ph));
		return;
	}
	if (ph)
		fuse_pollhandle_destroy(ph);
	fuse_reply_err(req, -err);
}

void vidas_notify_release(struct vidas_handle *h)
{
	struct vidas_poller *p = h->poller;

	if (!p)
		return;
	pthread_mutex_lock(&lock);
	DL_DELETE(p->watch->pollers, p);
	if (p->ph)
		fuse_pollhandle_destroy(p->ph);
	pthread_mutex_unlock(&lock);
	free(p);
	h->poller = NULL;
	kick_thread();
}
