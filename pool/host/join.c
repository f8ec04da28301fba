/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who has joined what: from the object's side under container.lock, from the session's under its
 * own.
 */
#include <stdlib.h>
#include <utlist.h>

#include "pool/host/object.h"

/* The caller holds the attachment, so that its uses do not come to an end here. */
static void give_back(struct host_join *j)
{
	struct host_attachment *a = j->attachment;
	struct host_session *s = a->session;

	pthread_mutex_lock(&s->lock);
	s->joined--;
	if (--a->joins == 0 && !a->left &&
	    atomic_load_explicit(&a->container->dead, memory_order_acquire)) {
		a->left = true;
		a->uses--;
	}
	pthread_mutex_unlock(&s->lock);
	free(j);
}

int vidas_host_join_begin(struct host_attachment *a, struct host_join **out)
{
	struct host_session *s = a->session;
	struct host_join *j = calloc(1, sizeof(*j));
	int err = 0;

	if (!j)
		return vidas_fail(-ENOMEM, "no memory");
	pthread_mutex_lock(&s->lock);
	if (s->joined >= HOST_OBJECTS_PER_SESSION) {
		err = vidas_fail(-EUSERS, "a connection can have %u objects joined at once",
				 HOST_OBJECTS_PER_SESSION);
	} else if (a->left) {
		err = vidas_fail(-ENOTCONN, "the container was left");
	} else {
		s->joined++;
		a->joins++;
	}
	pthread_mutex_unlock(&s->lock);
	if (err < 0) {
		if (err == -EUSERS)
			vidas_host_complain(s->domain, "session %u: %s", s->id, vidas_fail_text());
		free(j);
		return err;
	}
	j->attachment = a;
	*out = j;
	return 0;
}

void vidas_host_join_add(struct host_join *j, struct host_object *o)
{
	j->object = o;
	DL_APPEND(o->joins, j);
	o->resource->joins++;
	if (o->size)
		vidas_host_changes_note(o->resource->container, o->resource->inode);
}

int vidas_host_join_publish(struct host_join *j, uint32_t *number)
{
	struct host_session *s = j->attachment->session;
	struct host_join *other;
	bool ended;

	pthread_mutex_lock(&s->lock);
	ended = s->ended;
	if (!ended) {
		do {
			j->number = ++s->last_number;
			HASH_FIND(hh, s->joins, &j->number, sizeof(j->number), other);
		} while (!j->number || other);
		HASH_ADD(hh, s->joins, number, sizeof(j->number), j);
		*number = j->number;
	}
	pthread_mutex_unlock(&s->lock);
	return ended ? vidas_fail(-ESHUTDOWN, "the session has ended") : 0;
}

struct host_join *vidas_host_join_take(struct host_session *s, uint32_t number)
{
	struct host_join *j;

	pthread_mutex_lock(&s->lock);
	HASH_FIND(hh, s->joins, &number, sizeof(number), j);
	if (j) {
		HASH_DEL(s->joins, j);
		j->attachment->uses++;
	}
	pthread_mutex_unlock(&s->lock);
	return j;
}

/* Under container.lock. An object that lingers is known as such after a restart. */
static void leave_object(struct host_join *j, bool destroy)
{
	struct host_object *o = j->object;
	struct host_resource *r = o->resource;
	bool now = destroy && !o->destroyed;

	DL_DELETE(o->joins, j);
	if (--r->joins == 0)
		vidas_host_resource_suspect(r);
	o->destroyed = o->destroyed || destroy;
	if (vidas_host_object_reap(o) || !now)
		return;
	if (vidas_host_control_slot_state(o, VIDAS_SHM_OBJECT_DESTROYED) < 0)
		vidas_log(VIDAS_LOG_WARNING, "container '%s': %s", r->container->name,
			  vidas_fail_text());
}

void vidas_host_join_end(struct host_join *j, bool destroy)
{
	struct host_attachment *a = j->attachment;
	struct host_container *c = a->container;
	bool writer = atomic_load_explicit(&a->access, memory_order_acquire) != VIDAS_WIRE_RO;

	if (j->object) {
		struct host_handle handle = j->object->resource->handle;
		uint64_t inode = j->object->resource->inode;
		bool bytes = j->object->size > 0;

		pthread_mutex_lock(&c->lock);
		leave_object(j, destroy);
		pthread_mutex_unlock(&c->lock);
		if (writer && bytes)
			vidas_host_resource_touch(c, inode, &handle);
	}
	give_back(j);
}
