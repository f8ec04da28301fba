/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests on where bytes are: what the sync part does, for containers that have a root. Others
 * have everything in the pool, and nothing to move.
 */
#include <stdlib.h>
#include <string.h>

#include "pool/host/locality.h"
#include "pool/host/object.h"

/* The container of a request, and its way to the store (NULL: none). */
static int open_sync(struct host_request *rq, uint32_t number, bool write,
		     struct host_container **c, struct vidas_sync **sync)
{
	int err = vidas_host_request_container(rq, number, c);

	if (err == 0 && write && !vidas_host_request_may_write(rq))
		err = vidas_fail(-EROFS, "container '%s' is attached read-only", (*c)->name);
	return err < 0 ? err : vidas_host_container_sync(*c, sync);
}

int vidas_host_do_flush(struct host_request *rq)
{
	const struct vidas_wire_flush *b = rq->message->body;
	struct vidas_sync_moved moved = { 0 };
	struct host_container *c;
	struct vidas_sync *sync;
	int err = open_sync(rq, b->container, false, &c, &sync);

	if (err == 0 && sync)
		err = vidas_sync_flush(sync, rq->message->string[0], b->inode, &moved);
	rq->reply.flush.files = moved.files;
	rq->reply.flush.bytes = moved.bytes;
	return err;
}

int vidas_host_do_update(struct host_request *rq)
{
	const struct vidas_wire_update *b = rq->message->body;
	struct vidas_sync_moved moved = { 0 };
	struct host_container *c;
	struct vidas_sync *sync;
	int err = open_sync(rq, b->container, true, &c, &sync);

	if (err == 0 && sync)
		err = vidas_sync_update(sync, rq->message->string[0], b->inode, &moved);
	rq->reply.update.files = moved.files;
	rq->reply.update.bytes = moved.bytes;
	return err;
}

int vidas_host_do_resident(struct host_request *rq)
{
	const struct vidas_wire_resident *b = rq->message->body;
	struct host_container *c;
	struct vidas_sync *sync;
	struct host_file f;
	int err = open_sync(rq, b->container, false, &c, &sync);

	if (err == 0 && sync)
		err = vidas_sync_resident(sync, rq->message->string[0], b->inode,
					  b->flags & VIDAS_WIRE_REVALIDATE);
	if (err == 0)
		err = vidas_host_file_open(c, rq->message->string[0], false, NULL, &f);
	if (err < 0)
		return err;
	if (b->inode && f.inode != b->inode)
		err = vidas_fail(-ESTALE, "another file is there now");
	rq->reply.resident.size_bytes = f.size_bytes;
	vidas_host_file_close(&f);
	return err;
}

int vidas_host_do_fetch(struct host_request *rq)
{
	const struct vidas_wire_fetch *b = rq->message->body;
	struct vidas_wire_fetch_reply *reply = &rq->reply.fetch;
	struct vidas_sync_fetch f = {
		.offset = b->offset,
		.size = b->size,
		.all = b->flags & VIDAS_WIRE_FETCH_ALL,
		.discard = b->flags & VIDAS_WIRE_FETCH_DISCARD,
		.revalidate = b->flags & VIDAS_WIRE_FETCH_REVALIDATE,
		.deadline_us = vidas_deadline_us(b->timeout_us),
		.bits_room = VIDAS_WIRE_BLOB_MAX,
	};
	struct host_container *c;
	struct vidas_sync *sync;
	int err = open_sync(rq, b->container, f.discard, &c, &sync);

	if (err < 0)
		return err;
	if (!sync)
		return vidas_fail(-ENOENT, "the container has no root");
	f.bits = malloc(f.bits_room);
	if (!f.bits)
		return vidas_fail(-ENOMEM, "no memory");
	err = vidas_sync_fetch(sync, rq->message->string[0], b->inode, &f);
	rq->blob = f.bits;
	rq->blob_bytes = err < 0 ? 0 : f.bits_bytes;
	reply->state = f.whole ? VIDAS_WIRE_FETCH_DONE : 0;
	reply->generation = f.generation;
	reply->size_bytes = f.size_bytes;
	reply->shift = f.shift;
	return err;
}

int vidas_host_do_import(struct host_request *rq)
{
	const struct vidas_wire_import *b = rq->message->body;
	struct host_container *c;
	struct vidas_sync *sync;
	uint64_t entries = 0;
	int err = open_sync(rq, b->container, false, &c, &sync);

	if (err == 0 && sync)
		err = vidas_sync_import(sync, rq->message->string[0], b->inode, &entries);
	rq->reply.import.entries = entries;
	return err;
}

int vidas_host_do_locality(struct host_request *rq)
{
	const struct vidas_wire_locality *b = rq->message->body;
	struct vidas_wire_locality_reply *reply = &rq->reply.locality;
	struct host_locality found;
	struct host_container *c;
	int err = vidas_host_request_container(rq, b->container, &c);

	if (err < 0)
		return err;
	err = vidas_host_locality(c, rq->message->string[0], &found);
	if (err == -ENOENT)
		return 0; /* a resource of which the pool knows nothing */
	reply->size_bytes = found.size_bytes;
	reply->resident_bytes = found.resident_bytes;
	reply->objects = found.objects;
	for (unsigned i = 0; i < found.writing.n; i++)
		vidas_host_domains_put(&found.joined, found.writing.domain[i]);
	reply->domains = found.joined.n;
	memcpy(reply->domain, found.joined.domain, sizeof(reply->domain));
	return err;
}
