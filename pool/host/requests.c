/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a message's type to what is done.
 */
#include <stdlib.h>

#include "pool/host/container.h"

static int do_session_alive(struct host_request *rq)
{
	const struct vidas_wire_session_alive *b = rq->message->body;
	struct host_session *s = vidas_host_session_find(rq->host, b->session);

	/* In grace nobody is taken for dead: a client of before has time to come back. */
	rq->reply.session_alive.alive = s || vidas_host_grace(rq->host);
	vidas_host_session_unref(s);
	return 0;
}

static int do_recall(struct host_request *rq)
{
	const struct vidas_wire_recall *b = rq->message->body;
	struct host_container *c;
	int err = vidas_host_request_container(rq, b->container, &c);

	if (err == 0 && (b->kinds & VIDAS_WIRE_RECALL_POLICIES))
		err = vidas_host_recall_policies(c);
	else if (err == 0)
		vidas_host_recall(c, b->slots, rq->attachment->slot, b->inode, b->kinds);
	return err;
}

/* HELLO is said before there are requests, EVENT is for us to send. */
static int (*const handlers[])(struct host_request *rq) = {
	[VIDAS_WIRE_CONTAINER_CREATE] = vidas_host_do_container_create,
	[VIDAS_WIRE_CONTAINER_DESTROY] = vidas_host_do_container_destroy,
	[VIDAS_WIRE_CONTAINER_ATTACH] = vidas_host_do_container_attach,
	[VIDAS_WIRE_CONTAINER_LEAVE] = vidas_host_do_container_leave,
	[VIDAS_WIRE_CONTAINER_LIST] = vidas_host_do_container_list,
	[VIDAS_WIRE_OBJECT_CREATE] = vidas_host_do_object_create,
	[VIDAS_WIRE_OBJECT_JOIN] = vidas_host_do_object_join,
	[VIDAS_WIRE_OBJECT_LEAVE] = vidas_host_do_object_leave,
	[VIDAS_WIRE_OBJECT_DESTROY] = vidas_host_do_object_destroy,
	[VIDAS_WIRE_LOCALITY] = vidas_host_do_locality,
	[VIDAS_WIRE_FLUSH] = vidas_host_do_flush,
	[VIDAS_WIRE_UPDATE] = vidas_host_do_update,
	[VIDAS_WIRE_RESIDENT] = vidas_host_do_resident,
	[VIDAS_WIRE_FETCH] = vidas_host_do_fetch,
	[VIDAS_WIRE_IMPORT] = vidas_host_do_import,
	[VIDAS_WIRE_ATTR_GET] = vidas_host_do_attr_get,
	[VIDAS_WIRE_ATTR_SET] = vidas_host_do_attr_set,
	[VIDAS_WIRE_RECALL] = do_recall,
	[VIDAS_WIRE_SESSION_ALIVE] = do_session_alive,
	[VIDAS_WIRE_DOMAIN_ADD] = vidas_host_do_domain_add,
	[VIDAS_WIRE_DOMAIN_REMOVE] = vidas_host_do_domain_remove,
	[VIDAS_WIRE_STATUS] = vidas_host_do_status,
	[VIDAS_WIRE_LOCK_WAIT] = vidas_host_do_lock_wait,
	[VIDAS_WIRE_LOCK_DONE] = vidas_host_do_lock_done,
};

int vidas_host_request(struct host_request *rq)
{
	unsigned type = rq->message->type;
	int err;

	if (type >= VIDAS_ARRAY_SIZE(handlers) || !handlers[type])
		return vidas_fail(-EPROTO, "'%s' is no request for an open connection",
				  vidas_wire_name(rq->message->type));
	err = handlers[type](rq);
	if (rq->borrowed || rq->after) {
		rq->container = rq->attachment->container;
		vidas_host_container_ref(rq->container);
	}
	if (rq->attachment)
		vidas_host_attachment_release(rq->attachment);
	rq->attachment = NULL;
	return err;
}

void vidas_host_request_end(struct host_request *rq)
{
	for (unsigned i = 0; i < VIDAS_WIRE_SHARES; i++)
		if (!(rq->borrowed & (1u << i)))
			vidas_share_close(&rq->share[i]);
	if (rq->after)
		rq->after(rq->container);
	vidas_host_container_unref(rq->container);
	free(rq->blob);
}

int vidas_host_request_container(struct host_request *rq, uint32_t number,
				 struct host_container **out)
{
	struct host_attachment *a = vidas_host_attachment_use(rq->session, number);
	struct host_container *c;

	if (!a)
		return vidas_fail(-ENOTCONN, "the container is not attached");
	rq->attachment = a;
	c = a->container;
	if (!atomic_load_explicit(&a->access, memory_order_acquire) ||
	    atomic_load_explicit(&c->dead, memory_order_acquire))
		return vidas_fail(-ENOENT, "container '%s' is gone", c->name);
	*out = c;
	return 0;
}

bool vidas_host_request_may_write(const struct host_request *rq)
{
	return atomic_load_explicit(&rq->attachment->access, memory_order_acquire) == VIDAS_WIRE_RW;
}
