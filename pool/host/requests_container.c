/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests on containers: what they ask of container_life.c, attaching, and the list.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <utlist.h>

#include "pool/host/container.h"
#include "pool/policy/attr.h"

int vidas_host_do_container_create(struct host_request *rq)
{
	const struct vidas_wire_message *m = rq->message;

	return vidas_host_container_create(rq->lane, m->string[0], m->body, m->string[1],
					   rq->retry);
}

int vidas_host_do_container_destroy(struct host_request *rq)
{
	const struct vidas_wire_container_destroy *b = rq->message->body;
	int err = vidas_host_container_destroy(rq->lane, rq->message->string[0], b->flags);

	return err == -ENOENT && rq->retry ? 0 : err;
}

/* One that the session has already; held for the request. Under session.lock. */
static struct host_attachment *attached_before(struct host_session *s,
					       const struct host_container *c)
{
	struct host_attachment *a;

	for (a = s->attached; a; a = a->hh.next)
		if (a->container == c && !a->left)
			break;
	return a;
}

/* Under session.lock: a number that nothing of the session has; 0 is that of no container. */
static uint32_t new_number(struct host_session *s)
{
	struct host_attachment *other;
	uint32_t number;

	do {
		number = ++s->last_number;
		HASH_FIND(hh, s->attached, &number, sizeof(number), other);
	} while (!number || other);
	return number;
}

/* Under container.lock. */
static int enter(struct host_container *c, struct host_attachment *a, int slot)
{
	uint32_t access = 0;

	if (!c->dying && !atomic_load_explicit(&c->dead, memory_order_relaxed))
		access = vidas_host_container_access(c, a->session->domain->id);
	if (!access)
		return vidas_fail(-ENOENT, "there is no container '%s'", c->name);
	atomic_init(&a->access, access);
	vidas_host_lease_grant(a, slot);
	DL_APPEND(c->attached, a);
	return 0;
}

static int number_it(struct host_session *s, struct host_attachment *a)
{
	int err = 0;

	pthread_mutex_lock(&s->lock);
	if (HASH_COUNT(s->attached) >= HOST_ATTACHED_PER_SESSION)
		err = vidas_fail(-EUSERS, "a connection can have %u containers attached at once",
				 HOST_ATTACHED_PER_SESSION);
	a->number = new_number(s);
	pthread_mutex_unlock(&s->lock);
	if (err < 0)
		vidas_host_complain(s->domain, "session %u: %s", s->id, vidas_fail_text());
	return err;
}

/*
 * In the container first, then in the session: who finds it by number finds it whole. Takes over
 * the reference to the container.
 */
static int attach_anew(struct host_request *rq, struct host_container *c, int slot)
{
	struct host_session *s = rq->session;
	struct host_attachment *a = calloc(1, sizeof(*a));
	int err = -ENOMEM;

	if (!a)
		goto out;
	a->session = s;
	a->container = c;
	a->times = 1;
	a->uses = 2; /* until it is left, and this request's */
	err = number_it(s, a);
	if (err < 0)
		goto out;
	pthread_mutex_lock(&c->lock);
	err = enter(c, a, slot);
	pthread_mutex_unlock(&c->lock);
	if (err < 0)
		goto out;
	pthread_mutex_lock(&s->lock);
	if (s->ended) { /* nobody will leave for it */
		err = vidas_fail(-ESHUTDOWN, "the session has ended");
		a->left = true;
		a->uses--;
	}
	HASH_ADD(hh, s->attached, number, sizeof(a->number), a);
	pthread_mutex_unlock(&s->lock);
	rq->attachment = a;
	return err;
out:
	free(a);
	vidas_host_container_unref(c);
	return err;
}

/* The request holds the attachment still. */
static int leave(struct host_attachment *a)
{
	struct host_session *s = a->session;
	int err = 0;

	pthread_mutex_lock(&s->lock);
	if (a->left)
		err = vidas_fail(-ENOTCONN, "the container is not attached");
	else if (a->times == 1 && a->joins)
		err = vidas_fail(-EBUSY, "%u objects of the container are joined", a->joins);
	if (err == 0 && --a->times == 0) {
		a->left = true;
		a->uses--;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* Who may only read gets a descriptor that can do no more. */
static int share_leases(struct host_request *rq, uint32_t access)
{
	struct host_container *c = rq->attachment->container;

	if (access == VIDAS_WIRE_RW) {
		rq->share[0].fd = c->leases_fd;
		rq->borrowed = 1u << 0;
	} else {
		rq->share[0].fd = openat(c->dir_fd, "leases", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (rq->share[0].fd < 0)
			return vidas_fail(-errno, "cannot open the lease table: %s",
					  strerror(errno));
	}
	rq->shares = 1;
	return 0;
}

static int share_all(struct host_request *rq, uint32_t access, bool with_tree)
{
	int tree, err = share_leases(rq, access);

	if (err < 0 || !with_tree)
		return err;
	err = vidas_host_leases_reserve(rq->attachment->container);
	if (err < 0)
		return err;
	tree = vidas_host_disk_clone(rq->attachment->container, access == VIDAS_WIRE_RO);
	if (tree < 0)
		return tree;
	pthread_mutex_lock(&rq->session->lock);
	rq->attachment->tree = true;
	pthread_mutex_unlock(&rq->session->lock);
	rq->share[1].fd = tree;
	rq->shares = 2;
	return 0;
}

static uint32_t flags_of(const struct host_container *c)
{
	uint32_t flags = c->meta.root ? VIDAS_WIRE_CONTAINER_ROOTED : 0;

	if (fgetxattr(c->tree_fd, VIDAS_XATTR_RELAXED, NULL, 0) >= 0)
		flags |= VIDAS_WIRE_CONTAINER_RELAXED;
	return flags;
}

int vidas_host_do_container_attach(struct host_request *rq)
{
	const struct vidas_wire_container_attach *b = rq->message->body;
	const char *name = rq->message->string[0];
	struct host_session *s = rq->session;
	struct host_attachment *a;
	struct host_container *c;
	uint32_t access;
	int err = 0;

	c = vidas_host_container_find(rq->host, name, s->domain->id);
	if (!c)
		return vidas_fail(-ENOENT, "there is no container '%s'", name);
	pthread_mutex_lock(&s->lock);
	a = attached_before(s, c);
	if (a) {
		a->uses++;
		a->times += !rq->retry;
		rq->attachment = a;
	}
	pthread_mutex_unlock(&s->lock);
	if (a)
		vidas_host_container_unref(c);
	else
		err = attach_anew(rq, c, b->slot);
	if (err < 0)
		return err;
	a = rq->attachment;
	access = atomic_load_explicit(&a->access, memory_order_acquire);
	err = access ? share_all(rq, access, b->flags & VIDAS_WIRE_ATTACH_TREE) :
		       vidas_fail(-ENOENT, "there is no container '%s'", name);
	if (err < 0) {
		char reason[256];

		snprintf(reason, sizeof(reason), "%s", vidas_fail_text());
		leave(a);
		return vidas_fail(err, "%s", reason);
	}
	rq->reply.container_attach = (struct vidas_wire_container_attach_reply){
		.container = a->number,
		.access = access,
		.slot = a->slot,
		.flags = flags_of(c),
	};
	return 0;
}

int vidas_host_do_container_leave(struct host_request *rq)
{
	const struct vidas_wire_container_leave *b = rq->message->body;

	rq->attachment = vidas_host_attachment_use(rq->session, b->container);
	if (!rq->attachment)
		return rq->retry ? 0 : vidas_fail(-ENOTCONN, "the container is not attached");
	return leave(rq->attachment);
}

int vidas_host_do_container_list(struct host_request *rq)
{
	const struct vidas_wire_container_list *b = rq->message->body;
	vidas_domain_id domain = rq->session->domain->id;
	struct host *h = rq->host;
	struct host_container *c;
	char *at = malloc(VIDAS_WIRE_BLOB_MAX);
	uint64_t last = b->cursor;

	if (!at)
		return vidas_fail(-ENOMEM, "no memory");
	rq->blob = at;
	pthread_rwlock_rdlock(&h->index);
	for (c = h->containers; c; c = c->hh.next) {
		size_t bytes = strlen(c->name) + 1;
		bool visible;

		if (c->seq <= b->cursor)
			continue;
		pthread_mutex_lock(&c->lock);
		visible = vidas_host_container_access(c, domain) && !c->dying;
		pthread_mutex_unlock(&c->lock);
		if (!visible)
			continue;
		if (rq->blob_bytes + bytes > VIDAS_WIRE_BLOB_MAX) {
			rq->reply.container_list.next = last;
			break;
		}
		memcpy(at + rq->blob_bytes, c->name, bytes);
		rq->blob_bytes += bytes;
		last = c->seq;
	}
	pthread_rwlock_unlock(&h->index);
	return 0;
}
