/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Objects: create, join, leave, destroy, and joining again after a reconnect. The resource's
 * control file is mapped from its beginning to the end of the object's slot, in one piece.
 */
#include "pool/client/object.h"
#include "pool/client/guard.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "pool/transport/xen/bells.h"

/* Joins that wait each hold a lane; above so many they ask in short turns, so that others have one. */
#define PATIENT_JOINS 8
#define IMPATIENT_US  (INT64_C(100) * 1000)

_Static_assert(sizeof(struct vidas_wire_object_create_reply) ==
		       sizeof(struct vidas_wire_object_join_reply),
	       "both are taken as one");

static size_t page_bytes(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static void object_unmap(struct vidas_object *o)
{
	if (o->data_map)
		munmap(o->data_map, o->data_map_bytes);
	if (o->resource_shm) {
		vidas_bells_leave(o->resource_shm);
		munmap(o->resource_shm, o->control_bytes);
	}
	vidas_share_close(&o->data_share);
	vidas_share_close(&o->control_share);
	o->data_map = NULL;
	o->resource_shm = NULL;
}

static void object_free(struct vidas_object *o)
{
	object_unmap(o);
	free(o->resource);
	free(o);
}

static int share_long_enough(const struct vidas_share *share, uint64_t end, const char *what)
{
	struct stat st;

	if (share->fd < 0 || share->granted)
		return 0;
	if (fstat(share->fd, &st) < 0)
		return vidas_fail(-errno, "%s: %s", what, strerror(errno));
	if ((uint64_t)st.st_size < end)
		return vidas_fail(-EIO, "%s was cut short", what);
	return 0;
}

/* Maps the bytes; the share is kept, for looking at its length. */
static int data_map(struct vidas_object *o, struct vidas_channel *ch, struct vidas_share *share)
{
	size_t before = (size_t)(o->offset % page_bytes());
	int err = share_long_enough(share, o->offset + o->size, "the resource");

	if (err < 0)
		return err;
	if (!o->size || o->size > SIZE_MAX / 2)
		return vidas_fail(-EINVAL, "an object of %llu bytes cannot be mapped",
				  (unsigned long long)o->size);
	o->data_map_bytes = before + (size_t)o->size;
	err = vidas_channel_map(ch, share, o->offset - before, o->data_map_bytes,
				o->readonly ? PROT_READ : PROT_READ | PROT_WRITE, &o->data_map);
	if (err < 0)
		return err;
	o->data = (uint8_t *)o->data_map + before;
	o->data_share = *share;
	*share = VIDAS_SHARE_NONE;
	return 0;
}

static int control_map(struct vidas_object *o, struct vidas_channel *ch, struct vidas_share *share)
{
	uint64_t end = VIDAS_SHM_SLOT_OFFSET(o->slot) + sizeof(struct vidas_shm_object);
	void *map;
	int err = share_long_enough(share, end, "the control file");

	if (err < 0)
		return err;
	o->control_bytes = (size_t)end;
	err = vidas_channel_map(ch, share, 0, o->control_bytes,
				o->readonly ? PROT_READ : PROT_READ | PROT_WRITE, &map);
	if (err < 0)
		return err;
	o->resource_shm = map;
	o->control_share = *share;
	*share = VIDAS_SHARE_NONE;
	/* What keeps the memory is the mapping, or the life of the share. */
	if (o->control_share.fd >= 0)
		close(o->control_share.fd);
	o->control_share.fd = -1;
	o->shm = (struct vidas_shm_object *)((uint8_t *)map + VIDAS_SHM_SLOT_OFFSET(o->slot));
	if (vidas_once64(&o->resource_shm->magic) != VIDAS_SHM_CONTROL_MAGIC ||
	    vidas_once32(&o->resource_shm->version) != VIDAS_SHM_VERSION)
		return vidas_fail(-EPROTO, "the control file is of another version");
	return 0;
}

/* Takes over what CREATE or JOIN brought. */
static int object_take(struct vidas_call *call, struct vidas_channel *ch)
{
	const struct vidas_wire_object_join_reply *reply = call->reply;
	struct vidas_object *o = call->arg;
	int err;

	object_unmap(o); /* of a try before */
	if (reply->size > INT64_MAX - o->offset || !reply->object)
		return vidas_fail(-EPROTO, "vidasd sent an object that is none");
	o->size = reply->size;
	o->slot = reply->slot;
	o->inode = reply->inode;
	o->readonly = vidas_container_readonly(o->c);
	vidas_guard_init();
	err = o->offset == VIDAS_MESSAGES ? 0 : data_map(o, ch, &call->share[0]);
	return err < 0 ? err : control_map(o, ch, &call->share[1]);
}

/* Puts it among the joined ones. False: the session in which it was joined is no more. */
static bool object_register(struct vidas_object *o, uint32_t number, unsigned generation)
{
	struct vidas *v = o->v;
	bool current;

	pthread_mutex_lock(&v->index);
	current = generation == v->generation;
	if (current) {
		atomic_store_explicit(&o->number, number, memory_order_release);
		o->generation = generation;
		DL_APPEND(v->objects, o);
		o->c->objects++;
	}
	pthread_mutex_unlock(&v->index);
	return current;
}

static int object_new(struct vidas *v, const char *container, const char *resource, uint64_t offset,
		      struct vidas_object **out)
{
	char path[VIDAS_RESOURCE_MAX + 1];
	struct vidas_object *o;
	int err;

	o = calloc(1, sizeof(*o));
	if (!o)
		return vidas_fail(-ENOMEM, "no memory for an object");
	o->v = v;
	o->data_share = o->control_share = VIDAS_SHARE_NONE;
	o->offset = offset;
	err = vidas_container_get(v, container, &o->c);
	if (err < 0) {
		free(o);
		return err;
	}
	err = vidas_container_resource(o->c, resource, path, sizeof(path));
	if (!err && !(o->resource = strdup(path)))
		err = vidas_fail(-ENOMEM, "no memory for an object");
	if (err < 0) {
		vidas_container_put(o->c);
		object_free(o);
		return err;
	}
	*out = o;
	return 0;
}

static int range_check(uint64_t offset, uint64_t size)
{
	if (offset > INT64_MAX || size > INT64_MAX - offset)
		return vidas_fail(-EINVAL, "offset and size go beyond what a file can have");
	return 0;
}

/* Sends `call` (CREATE or JOIN) for the object until it is joined in the session that lives. */
static int object_call(struct vidas_object *o, struct vidas_call *call)
{
	struct vidas_wire_object_join_reply reply;
	struct vidas_owner me;
	bool current;

	call->number = &o->c->number;
	call->string[0] = o->resource;
	call->shares_wanted = 2;
	call->take = object_take;
	call->arg = o;
	call->reply = &reply;
	call->reply_bytes = sizeof(reply);
	do {
		int err = vidas_call(o->v, call);

		if (err < 0)
			return err;
		vidas_call_close(call);
		current = object_register(o, reply.object, call->generation);
		call->retry = true;
	} while (!current);
	me = vidas_object_owner(o);
	if (o->control_share.granted && !o->readonly)
		vidas_bells_join(o->resource_shm, o->control_bytes, me.id, me.alive, me.arg);
	return 0;
}

int vidas_object_create(struct vidas *v, const char *container, const char *resource,
			uint64_t offset, uint64_t size, struct vidas_object **out)
{
	struct vidas_wire_object_create body = { .offset = offset, .size = size };
	struct vidas_call call = { .type = VIDAS_WIRE_OBJECT_CREATE, .body = &body };
	struct vidas_object *o;
	int err = range_check(offset, size);

	if (!err)
		err = vidas_or_default(&v);
	if (!err)
		err = object_new(v, container, resource, offset, &o);
	if (err < 0)
		return err;
	err = object_call(o, &call);
	if (err < 0) {
		vidas_container_put(o->c);
		object_free(o);
		return err;
	}
	*out = o;
	return 0;
}

/* Asks in turns, each as long as vidasd lets one wait. */
static int object_join_wait(struct vidas_object *o, uint64_t size, int64_t timeout_us)
{
	int64_t deadline_us = vidas_deadline_us(timeout_us);
	int err;

	do {
		struct vidas_wire_object_join body = { .offset = o->offset, .size = size };
		struct vidas_call call = { .type = VIDAS_WIRE_OBJECT_JOIN, .body = &body };
		int64_t left_us = vidas_remaining_us(deadline_us);
		unsigned joins;

		joins = atomic_fetch_add_explicit(&o->v->joins, 1, memory_order_relaxed);
		body.timeout_us = joins < PATIENT_JOINS ? VIDAS_WIRE_WAIT_MAX_US : IMPATIENT_US;
		if (left_us >= 0 && left_us < body.timeout_us)
			body.timeout_us = left_us;
		err = object_call(o, &call);
		atomic_fetch_sub_explicit(&o->v->joins, 1, memory_order_relaxed);
	} while ((err == -ENOENT || err == -ETIMEDOUT) && timeout_us &&
		 atomic_load_explicit(&o->c->number, memory_order_relaxed) &&
		 vidas_remaining_us(deadline_us));
	if (err == -ENOENT && timeout_us && !vidas_remaining_us(deadline_us))
		return vidas_fail(-ETIMEDOUT, "nobody created the object on %s in time",
				  o->resource);
	return err == -ETIMEDOUT && !timeout_us ? -ENOENT : err;
}

int vidas_object_join(struct vidas *v, const char *container, const char *resource, uint64_t offset,
		      uint64_t size, int64_t timeout_us, struct vidas_object **out)
{
	struct vidas_object *o;
	int err = range_check(offset, size);

	if (!err)
		err = vidas_or_default(&v);
	if (!err)
		err = object_new(v, container, resource, offset, &o);
	if (err < 0)
		return err;
	err = object_join_wait(o, size, timeout_us);
	if (err < 0) {
		vidas_container_put(o->c);
		object_free(o);
		return err;
	}
	if (vidas_object_eager(o))
		err = vidas_object_revalidate(o);
	if (err < 0) {
		vidas_object_leave(o);
		return err;
	}
	*out = o;
	return 0;
}

static int object_end(struct vidas_object *o, int err)
{
	int failed = vidas_container_put(o->c);

	object_free(o);
	return err ? err : failed;
}

/* Takes it from the joined ones, so that no replay joins it again. */
static unsigned object_unregister(struct vidas_object *o)
{
	unsigned generation;

	pthread_mutex_lock(&o->v->index);
	DL_DELETE(o->v->objects, o);
	o->c->objects--;
	generation = o->generation;
	pthread_mutex_unlock(&o->v->index);
	return generation;
}

int vidas_object_leave(struct vidas_object *o)
{
	unsigned generation = object_unregister(o);
	struct vidas_wire_object_leave body = {
		.object = atomic_load_explicit(&o->number, memory_order_relaxed),
	};
	struct vidas_call call = {
		.type = VIDAS_WIRE_OBJECT_LEAVE,
		.body = &body,
		.only_generation = generation,
	};

	return object_end(o, body.object ? vidas_call(o->v, &call) : 0);
}

int vidas_object_destroy(struct vidas_object *o)
{
	struct vidas_wire_object_destroy body = { 0 };
	struct vidas_call call = {
		.type = VIDAS_WIRE_OBJECT_DESTROY,
		.body = &body,
		.number = &o->number,
	};
	int err;

	/* It stays among the joined ones until it is done: were vidasd restarted before, the new one
	 * is to know which object is meant. */
	pthread_mutex_lock(&o->v->index);
	o->destroying = true;
	pthread_mutex_unlock(&o->v->index);
	err = vidas_call(o->v, &call);
	if (err == -ENOENT && call.retry)
		err = 0; /* the first try went through */
	object_unregister(o);
	return object_end(o, err);
}

void *vidas_object_data(struct vidas_object *o)
{
	return o->data;
}

uint64_t vidas_object_size(const struct vidas_object *o)
{
	return o->size;
}

/* Replay --------------------------------------------------------------------------------------- */

/* Does the share name the file whose descriptor we have? */
static bool same_file(int fd, const struct vidas_share *share)
{
	struct stat ours, theirs;

	return fd < 0 || share->fd < 0 || share->granted ||
	       (!fstat(fd, &ours) && !fstat(share->fd, &theirs) && ours.st_dev == theirs.st_dev &&
		ours.st_ino == theirs.st_ino);
}

/* Our mappings go on if they are of what vidasd means. */
static int replay_take(struct vidas_call *call, struct vidas_channel *ch)
{
	const struct vidas_wire_object_join_reply *reply = call->reply;
	const struct vidas_object *o = call->arg;

	(void)ch;
	if (reply->slot != o->slot || reply->inode != o->inode || reply->size != o->size ||
	    !same_file(o->data_share.fd, &call->share[0]))
		return vidas_fail(-ESTALE, "another object is in its place");
	return 0;
}

/* JOIN and CREATE begin alike. *status as vidas_lane_exchange(); -errno: the lane is lost. */
static int replay_send(struct vidas_object *o, struct vidas_lane *lane, enum vidas_wire_type type,
		       struct vidas_wire_object_join_reply *reply, int *status)
{
	uint32_t container = atomic_load_explicit(&o->c->number, memory_order_relaxed);
	struct vidas_wire_object_join join = { container, 0, o->offset, o->size, 0 };
	struct vidas_wire_object_create create = { container, 0, o->offset, o->size };
	struct vidas_call call = {
		.type = type,
		.body = type == VIDAS_WIRE_OBJECT_JOIN ? (void *)&join : (void *)&create,
		.string = { o->resource },
		.retry = true,
		.shares_wanted = 2,
		.take = replay_take,
		.arg = o,
		.reply = reply,
		.reply_bytes = sizeof(*reply),
	};
	int err =
		vidas_lane_exchange(o->v, lane, &call, vidas_deadline_us(o->v->timeout_us), status);

	vidas_call_close(&call);
	return err ? vidas_fail(-ECONNRESET, "vidasd hung up while this session resumed") : 0;
}

static int object_replay(struct vidas_object *o, struct vidas_lane *lane, unsigned generation)
{
	struct vidas_wire_object_join_reply reply;
	uint32_t number = 0, state;
	int status = 0, err = 0;

	if (!atomic_load_explicit(&o->c->number, memory_order_relaxed))
		goto out;
	err = replay_send(o, lane, VIDAS_WIRE_OBJECT_JOIN, &reply, &status);
	/* Made again only if it was not to be destroyed, by us or by another. */
	state = atomic_load_explicit(&o->shm->state, memory_order_relaxed);
	if (!err && status == -ENOENT && !o->destroying && state == VIDAS_SHM_OBJECT_LIVE &&
	    !o->readonly)
		err = replay_send(o, lane, VIDAS_WIRE_OBJECT_CREATE, &reply, &status);
	if (err < 0)
		return err;
	if (!status)
		number = reply.object;
	else if (!o->destroying)
		vidas_log(VIDAS_LOG_WARNING, "object on %s/%s: %s", o->c->name, o->resource,
			  vidas_fail_text());
out:
	o->generation = generation;
	atomic_store_explicit(&o->number, number, memory_order_release);
	return 0;
}

int vidas_objects_replay(struct vidas *v, struct vidas_lane *lane, unsigned generation)
{
	struct vidas_object *o;
	int err = 0;

	DL_FOREACH(v->objects, o) {
		if (!err)
			err = object_replay(o, lane, generation);
	}
	return err;
}
