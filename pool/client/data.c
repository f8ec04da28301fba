/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes of an object: read, write, and to and from the backend. How they are copied: guard.h. */
#include "pool/client/object.h"

#include "pool/client/guard.h"

/* What of [offset, offset + size) is in the object. */
static size_t clip(const struct vidas_object *o, uint64_t offset, size_t size)
{
	if (offset >= o->size)
		return 0;
	return size < o->size - offset ? size : (size_t)(o->size - offset);
}

/* The range lock of an access, where there is to be one; -1: none. */
static int access_begin(struct vidas_object *o, struct vidas_owner *me, uint64_t offset,
			size_t size, bool exclusive, int *lock)
{
	uint32_t flags = atomic_load_explicit(&o->shm->flags, memory_order_relaxed);

	*lock = -1;
	/* Who may only read cannot enter a lock either: vidas.h says so. */
	if (!(flags & VIDAS_SHM_SYNCHRONIZED) || o->readonly)
		return 0;
	*me = vidas_object_owner(o);
	*lock = vidas_range_take(o->resource_shm, me, o->offset + offset, o->offset + offset + size,
				 exclusive);
	return *lock < 0 ? *lock : 0;
}

static void access_end(struct vidas_object *o, const struct vidas_owner *me, int lock)
{
	if (lock >= 0)
		vidas_range_release(o->resource_shm, me, lock);
}

ssize_t vidas_object_read(struct vidas_object *o, void *buf, uint64_t offset, size_t size)
{
	struct vidas_owner me;
	int lock, err;

	size = clip(o, offset, size);
	if (!size)
		return 0;
	err = access_begin(o, &me, offset, size, false, &lock);
	if (err < 0)
		return err;
	err = vidas_guard_copy(buf, o->data + offset, size, o->data + offset, o->data_share.fd,
			       o->offset + offset + size);
	access_end(o, &me, lock);
	return err < 0 ? err : (ssize_t)size;
}

ssize_t vidas_object_write(struct vidas_object *o, const void *buf, uint64_t offset, size_t size)
{
	struct vidas_owner me;
	int lock, err;

	if (o->readonly)
		return vidas_fail(-EROFS, "the container %s is attached read-only", o->c->name);
	size = clip(o, offset, size);
	if (!size)
		return 0;
	err = access_begin(o, &me, offset, size, true, &lock);
	if (err < 0)
		return err;
	err = vidas_guard_copy(o->data + offset, buf, size, o->data + offset, o->data_share.fd,
			       o->offset + offset + size);
	access_end(o, &me, lock);
	if (!err &&
	    (atomic_load_explicit(&o->shm->flags, memory_order_relaxed) & VIDAS_SHM_WRITE_THROUGH))
		err = vidas_object_flush(o);
	return err < 0 ? err : (ssize_t)size;
}

int vidas_object_flush(struct vidas_object *o)
{
	struct vidas_wire_flush body = { .inode = o->inode };
	struct vidas_call call = {
		.type = VIDAS_WIRE_FLUSH,
		.body = &body,
		.number = &o->c->number,
		.string = { o->resource },
	};

	return vidas_call(o->v, &call);
}

int vidas_object_update(struct vidas_object *o)
{
	struct vidas_wire_update body = { .inode = o->inode };
	struct vidas_call call = {
		.type = VIDAS_WIRE_UPDATE,
		.body = &body,
		.number = &o->c->number,
		.string = { o->resource },
	};

	return vidas_call(o->v, &call);
}

int vidas_object_revalidate(struct vidas_object *o)
{
	struct vidas_wire_resident body = {
		.flags = VIDAS_WIRE_REVALIDATE,
		.inode = o->inode,
	};
	struct vidas_call call = {
		.type = VIDAS_WIRE_RESIDENT,
		.body = &body,
		.number = &o->c->number,
		.string = { o->resource },
	};

	return vidas_call(o->v, &call);
}

int vidas_object_get_locality(struct vidas *v, const char *container, const char *resource,
			      struct vidas_locality *out)
{
	char path[VIDAS_RESOURCE_MAX + 1];
	struct vidas_wire_locality body = { 0 };
	struct vidas_wire_locality_reply reply;
	struct vidas_call call = {
		.type = VIDAS_WIRE_LOCALITY,
		.body = &body,
		.string = { path },
		.reply = &reply,
		.reply_bytes = sizeof(reply),
	};
	struct vidas_container *c;
	int err = vidas_or_default(&v);

	if (!err)
		err = vidas_container_get(v, container, &c);
	if (err < 0)
		return err;
	call.number = &c->number;
	err = vidas_container_resource(c, resource, path, sizeof(path));
	if (!err)
		err = vidas_call(v, &call);
	vidas_container_put(c);
	if (err < 0)
		return err;
	*out = (struct vidas_locality){
		.size_bytes = reply.size_bytes,
		.resident_bytes = reply.resident_bytes,
		.objects = reply.objects,
		.domains = reply.domains,
	};
	for (uint32_t i = 0; i < reply.domains; i++)
		out->domain[i] = reply.domain[i];
	return 0;
}
