/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who waits for a lock of whom. Locks are the host kernel's; here is only what sessions say of waits
 * that last, so that a circle of them is found: every member of a circle waits, so all that need be
 * known is what those who wait hold. What a session says counts only for containers that it has
 * attached: nobody can be made a member of a circle by who does not share the file with him.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "pool/host/container.h"

struct lock {
	uint64_t container; /* host_container.seq */
	uint64_t inode, start, last;
	bool exclusive;
};

struct host_wait {
	struct host_wait *prev, *next;
	struct host_wait *found; /* of a search */
	uint64_t search;	 /* the last one that found it */
	uint32_t session;
	uint64_t number, owner;
	struct lock wanted;
	unsigned count;
	struct lock held[];
};

static bool conflict(const struct lock *a, const struct lock *b)
{
	return a->inode == b->inode && a->container == b->container && a->start <= b->last &&
	       b->start <= a->last && (a->exclusive || b->exclusive);
}

static bool same_owner(const struct host_wait *a, const struct host_wait *b)
{
	return a->owner == b->owner && a->session == b->session;
}

static bool stands_in_way(const struct host_wait *of, const struct host_wait *w, unsigned *steps)
{
	for (unsigned i = 0; i < w->count; i++) {
		(*steps)++;
		if (conflict(&of->wanted, &w->held[i]))
			return true;
	}
	return false;
}

/* Under host.waits_lock: does one for whom `w` waits, or for whom that one waits and so on, wait for
 * w's owner? -EDEADLK. */
static int search(struct host *h, struct host_wait *w)
{
	struct host_wait *end = w, *at, *e;
	unsigned steps = 0;

	w->search = ++h->wait_searches;
	w->found = NULL;
	for (at = w; at; at = at->found) {
		if (at != w && stands_in_way(at, w, &steps))
			return vidas_fail(-EDEADLK, "who waits would wait for himself");
		DL_FOREACH(h->waits, e) {
			if (e->search == h->wait_searches || same_owner(e, w) ||
			    !stands_in_way(at, e, &steps))
				continue;
			e->search = h->wait_searches;
			e->found = NULL;
			end->found = e;
			end = e;
		}
		if (steps > HOST_WAIT_STEPS)
			return 1;
	}
	return 0;
}

/* Under host.waits_lock. `count`: of the session. */
static struct host_wait *find(struct host *h, uint32_t session, uint64_t number, unsigned *count)
{
	struct host_wait *w, *found = NULL;

	*count = 0;
	DL_FOREACH(h->waits, w) {
		if (w->session != session)
			continue;
		++*count;
		if (w->number == number)
			found = w;
	}
	return found;
}

/* The seq of a container that the session has attached; 0: none. */
static uint64_t container_of_number(struct host_session *s, uint32_t number)
{
	struct host_attachment *a = vidas_host_attachment_use(s, number);
	uint64_t seq = a ? a->container->seq : 0;

	if (a)
		vidas_host_attachment_release(a);
	return seq;
}

static bool lock_take(struct host_session *s, const void *from, struct lock *out)
{
	struct vidas_wire_lock l;

	memcpy(&l, from, sizeof(l));
	*out = (struct lock){ .container = container_of_number(s, l.container),
			      .inode = l.inode,
			      .start = l.start,
			      .last = l.last,
			      .exclusive = l.exclusive };
	return out->container;
}

static int wait_make(const struct host_request *rq, struct host_wait **out)
{
	const struct vidas_wire_lock_wait *b = rq->message->body;
	const uint8_t *blob = rq->message->blob;
	size_t n = rq->message->blob_bytes / sizeof(struct vidas_wire_lock);
	struct host_wait *w = calloc(1, sizeof(*w) + n * sizeof(w->held[0]));

	if (!w)
		return vidas_fail(-ENOMEM, "no memory");
	w->session = rq->session->id;
	w->number = b->number;
	w->owner = b->owner;
	if (!lock_take(rq->session, &b->wanted, &w->wanted)) {
		free(w);
		return vidas_fail(-ENOTCONN, "the container is not attached");
	}
	/* One that was left or destroyed meanwhile is nobody's concern. */
	for (size_t i = 0; i < n; i++)
		if (lock_take(rq->session, blob + i * sizeof(struct vidas_wire_lock),
			      &w->held[w->count]))
			w->count++;
	*out = w;
	return 0;
}

int vidas_host_do_lock_wait(struct host_request *rq)
{
	struct host *h = rq->host;
	struct host_wait *w = NULL, *old;
	unsigned count;
	int err = wait_make(rq, &w);

	if (err < 0)
		return err;
	pthread_mutex_lock(&h->waits_lock);
	old = find(h, w->session, w->number, &count);
	if (old) {
		DL_DELETE(h->waits, old);
		free(old);
	} else if (count >= HOST_WAITS_PER_SESSION) {
		err = vidas_fail(-EUSERS, "this session has said %u waits", count);
	}
	if (!err)
		err = search(h, w);
	if (err >= 0)
		DL_APPEND(h->waits, w);
	pthread_mutex_unlock(&h->waits_lock);
	if (err == -EUSERS)
		vidas_host_complain(rq->session->domain,
				    "%u requests of one session wait for locks: of one more no "
				    "deadlock is found",
				    HOST_WAITS_PER_SESSION);
	else if (err > 0)
		vidas_host_complain(rq->session->domain,
				    "too many wait for too many locks to find a deadlock");
	if (err < 0)
		free(w);
	return err < 0 ? err : 0;
}

int vidas_host_do_lock_done(struct host_request *rq)
{
	const struct vidas_wire_lock_done *b = rq->message->body;
	struct host *h = rq->host;
	struct host_wait *w;
	unsigned count;

	pthread_mutex_lock(&h->waits_lock);
	w = find(h, rq->session->id, b->number, &count);
	if (w)
		DL_DELETE(h->waits, w);
	pthread_mutex_unlock(&h->waits_lock);
	free(w);
	return 0;
}

void vidas_host_waits_forget(struct host_session *s)
{
	struct host *h = s->host;
	struct host_wait *w, *next;

	pthread_mutex_lock(&h->waits_lock);
	DL_FOREACH_SAFE(h->waits, w, next) {
		if (w->session != s->id)
			continue;
		DL_DELETE(h->waits, w);
		free(w);
	}
	pthread_mutex_unlock(&h->waits_lock);
}
