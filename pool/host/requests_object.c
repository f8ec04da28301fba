/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests on objects.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "pool/host/object.h"
#include "pool/policy/attr.h"

/* The resource as the store has it: its name is in the tree, and if they are of use its bytes in the
 * pool. -ENOENT: new. */
static int fetch(struct host_container *c, const char *path, bool bytes)
{
	struct vidas_sync *sync;
	int err = vidas_host_container_sync(c, &sync);

	if (err == 0 && sync) {
		err = vidas_sync_find(sync, path);
		if (err == 0 && bytes)
			err = vidas_sync_resident(sync, path, 0, false);
	}
	return err;
}

struct target {
	const char *path;
	uint64_t offset, size;
	struct host_file file;
	struct host_join *join;
	int control;
	uint32_t slot, number;
};

/* Has it no policy at all? */
static bool is_plain(int fd)
{
	char list[1024];
	ssize_t n = flistxattr(fd, list, sizeof(list));

	for (const char *name = list; n > 0 && name < list + n; name += strlen(name) + 1)
		if (strncmp(name, VIDAS_XATTR_PREFIX, strlen(VIDAS_XATTR_PREFIX)) == 0)
			return false;
	return n >= 0;
}

/* What the policies of the file say of objects made on it; none of these is a default. */
static uint32_t object_flags(const struct host_container *c, const struct target *t)
{
	uint32_t flags = 0;

	/* Right below the container, with none set, it takes no walk. */
	if (!strchr(t->path, '/') && is_plain(c->tree_fd) && (t->file.made || is_plain(t->file.fd)))
		return 0;
	if (vidas_policy_is(c->tree_fd, t->path, "synchronized", "true"))
		flags |= VIDAS_SHM_SYNCHRONIZED;
	if (vidas_policy_is(c->tree_fd, t->path, "write_policy", "through"))
		flags |= VIDAS_SHM_WRITE_THROUGH;
	return flags;
}

/* What has its memory stays as it is: allocating would give the file a new mtime, and so a change that
 * is none. */
static int allocate_range(const struct target *t)
{
	off_t hole = lseek(t->file.fd, (off_t)t->offset, SEEK_HOLE);
	int err;

	if (hole >= 0 && (uint64_t)hole >= t->offset + t->size &&
	    t->offset + t->size <= t->file.size_bytes)
		return 0;
	do
		err = fallocate(t->file.fd, 0, (off_t)t->offset, (off_t)t->size) < 0 ? -errno : 0;
	while (err == -EINTR);
	return err;
}

/* Memory for the range, now: a store to it can never fail later. */
static int allocate(struct host_container *c, const struct target *t)
{
	int err = allocate_range(t);

	if (err == -ENOSPC) {
		/* Containers that were destroyed may not be removed yet. */
		vidas_host_trash_clean(c->host);
		err = allocate_range(t);
	}
	if (err == 0)
		return 0;
	vidas_host_file_unmake(c, t->path, &t->file);
	if (err == -ENOSPC || err == -EDQUOT)
		return vidas_fail(err, "the pool has no room for %llu bytes",
				  (unsigned long long)t->size);
	return vidas_fail(err, "cannot allocate %llu bytes: %s", (unsigned long long)t->size,
			  strerror(-err));
}

/* Under container.lock: joins the live object that is there. -ENOENT there is none. */
static int create_existing(struct host_request *rq, struct host_container *c, struct target *t)
{
	struct host_resource *r = vidas_host_resource_find(c, &t->file);
	struct host_object *o = NULL;

	if (r)
		o = vidas_host_object_find(r, t->offset, t->size, t->file.size_bytes, false);
	if (!o)
		return -ENOENT;
	if (!rq->retry || o->creator != rq->session->id)
		return vidas_fail(-EEXIST, "that object exists already");
	t->control = vidas_host_control_open(r, true);
	if (t->control < 0)
		return t->control;
	t->slot = o->slot;
	vidas_host_join_add(t->join, o);
	return 0;
}

static int create_new(struct host_request *rq, struct host_container *c, struct target *t,
		      uint32_t flags)
{
	struct host_object *o;
	int err;

	pthread_mutex_lock(&c->lock);
	err = create_existing(rq, c, t); /* another may have been faster */
	if (err == -ENOENT) {
		err = t->control = vidas_host_object_make(c, &t->file, t->offset, t->size,
							  rq->session->id, flags, &o);
		if (err >= 0) {
			t->slot = o->slot;
			vidas_host_join_add(t->join, o);
			err = 0;
		}
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}

/* Others may have cached that the name is not there, or the size that was. */
static void tell(struct host_container *c, const struct target *t)
{
	if (t->file.made) {
		vidas_host_changes_note(c, t->file.parent_inode);
		vidas_host_recall_changed(c, t->file.parent_inode,
					  VIDAS_WIRE_RECALL_NAMES | VIDAS_WIRE_RECALL_ATTRS);
	} else if (t->offset + t->size > t->file.size_bytes) {
		vidas_host_recall_changed(c, t->file.inode, VIDAS_WIRE_RECALL_ATTRS);
	}
}

/* An object on the file that has nothing to do with its bytes. */
static bool is_messages(const struct target *t)
{
	return t->offset == VIDAS_MESSAGES;
}

static int range_check(const struct target *t)
{
	if (t->size || is_messages(t))
		return 0;
	return vidas_fail(-EINVAL,
			  "the resource has %llu bytes: nothing is left from there to its end",
			  (unsigned long long)t->file.size_bytes);
}

/* The file is open; makes the object and joins it. */
static int create_on(struct host_request *rq, struct host_container *c, struct target *t)
{
	int err;

	if (!t->size && t->file.size_bytes > t->offset)
		t->size = t->file.size_bytes - t->offset;
	err = range_check(t);
	if (err == 0)
		err = vidas_host_join_begin(rq->attachment, &t->join);
	if (err < 0) {
		vidas_host_file_unmake(c, t->path, &t->file);
		return err;
	}
	pthread_mutex_lock(&c->lock);
	err = create_existing(rq, c, t);
	pthread_mutex_unlock(&c->lock);
	if (err == -ENOENT) {
		err = is_messages(t) ? 0 : allocate(c, t);
		if (err == 0)
			err = create_new(rq, c, t, object_flags(c, t));
	}
	if (err == 0) {
		tell(c, t);
		err = vidas_host_join_publish(t->join, &t->number);
	}
	if (err < 0)
		vidas_host_join_end(t->join, false);
	if (err == -ENOSPC)
		vidas_host_complain(rq->session->domain, "container '%s': %s", c->name,
				    vidas_fail_text());
	return err;
}

/* Also after a failure: what is open is closed with the request. */
static void share_object(struct host_request *rq, struct target *t)
{
	rq->share[0].fd = t->file.fd;
	rq->share[1].fd = t->control;
	rq->shares = 2;
}

int vidas_host_do_object_create(struct host_request *rq)
{
	const struct vidas_wire_object_create *b = rq->message->body;
	struct target t = {
		.path = rq->message->string[0], .offset = b->offset, .size = b->size, .control = -1
	};
	struct host_container *c;
	int err;

	err = vidas_host_request_container(rq, b->container, &c);
	if (err == 0 && !vidas_host_request_may_write(rq))
		err = vidas_fail(-EROFS, "container '%s' is attached read-only", c->name);
	if (err < 0)
		return err;
	err = fetch(c, t.path, !is_messages(&t));
	if (err == 0 || err == -ENOENT)
		err = vidas_host_file_open(c, t.path, true,
					   is_messages(&t) ? NULL : &rq->lane->peer, &t.file);
	if (err < 0)
		return err;
	err = create_on(rq, c, &t);
	rq->after = vidas_host_control_prepare;
	share_object(rq, &t);
	rq->reply.object_create = (struct vidas_wire_object_create_reply){
		.object = t.number, .slot = t.slot, .size = t.size, .inode = t.file.inode
	};
	return err;
}

/* Under container.lock; a destroyed one lingers while someone has it or a notification waits. */
static struct host_object *join_find(struct host_container *c, const struct target *t)
{
	for (int reaped = 0;; reaped++) {
		struct host_resource *r = vidas_host_resource_find(c, &t->file);
		struct host_object *o = NULL;

		if (r)
			o = vidas_host_object_find(r, t->offset, t->size, t->file.size_bytes, true);
		if (!o || !o->destroyed || reaped)
			return o;
		vidas_host_object_reap(o);
	}
}

/* Under container.lock. -ENOENT there is none yet. */
static int join_locked(struct host_container *c, struct target *t, bool write)
{
	struct host_object *o = join_find(c, t);

	if (!o)
		return -ENOENT;
	t->control = vidas_host_control_open(o->resource, write);
	if (t->control < 0)
		return t->control;
	t->slot = o->slot;
	t->size = o->size;
	vidas_host_join_add(t->join, o);
	return 0;
}

/* One look. -ENOENT there is no such object yet; t->join stays for the next look. */
static int join_try(struct host_request *rq, struct host_container *c, struct target *t)
{
	bool write = vidas_host_request_may_write(rq);
	int err;

	err = vidas_host_file_open(c, t->path, write, NULL, &t->file);
	if (err < 0)
		return err;
	pthread_mutex_lock(&c->lock);
	err = join_locked(c, t, write);
	pthread_mutex_unlock(&c->lock);
	if (err < 0)
		vidas_host_file_close(&t->file);
	return err;
}

/* Sleeps until an object was created since `seen`. */
static int join_wait(struct host_request *rq, struct host_container *c, uint64_t seen,
		     int64_t deadline_us)
{
	int err = 0;

	pthread_mutex_lock(&c->lock);
	while (err == 0 && c->created == seen) {
		int64_t now_us = vidas_now_us(), until_us = now_us + HOST_TICK_US;
		struct timespec ts;

		if (until_us > deadline_us)
			until_us = deadline_us;
		ts = (struct timespec){ .tv_sec = (time_t)(until_us / 1000000),
					.tv_nsec = (long)(until_us % 1000000) * 1000 };
		if (now_us >= deadline_us)
			err = vidas_fail(-ETIMEDOUT, "the object was not created in time");
		else if (atomic_load_explicit(&c->dead, memory_order_relaxed) ||
			 !atomic_load_explicit(&rq->attachment->access, memory_order_relaxed))
			err = vidas_fail(-ENOENT, "container '%s' is gone", c->name);
		else
			err = vidas_host_lane_hopeless(rq->lane);
		if (err == 0)
			pthread_cond_timedwait(&c->changed, &c->lock, &ts);
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}

static int join_until(struct host_request *rq, struct host_container *c, struct target *t,
		      int64_t timeout_us)
{
	int64_t deadline_us = vidas_deadline_us(timeout_us);
	uint64_t seen;
	int err;

	for (;;) {
		pthread_mutex_lock(&c->lock);
		seen = c->created;
		pthread_mutex_unlock(&c->lock);
		err = join_try(rq, c, t);
		if (err != -ENOENT)
			return err;
		if (!timeout_us)
			return vidas_fail(-ENOENT, "there is no such object");
		err = join_wait(rq, c, seen, deadline_us);
		if (err < 0)
			return err;
	}
}

int vidas_host_do_object_join(struct host_request *rq)
{
	const struct vidas_wire_object_join *b = rq->message->body;
	struct target t = {
		.path = rq->message->string[0], .offset = b->offset, .size = b->size, .control = -1
	};
	struct host_container *c;
	int err;

	err = vidas_host_request_container(rq, b->container, &c);
	if (err < 0)
		return err;
	err = fetch(c, t.path, !is_messages(&t));
	if (err < 0 && err != -ENOENT)
		return err;
	err = vidas_host_join_begin(rq->attachment, &t.join);
	if (err < 0)
		return err;
	err = join_until(rq, c, &t, b->timeout_us);
	if (err < 0) {
		vidas_host_join_end(t.join, false);
		return err;
	}
	share_object(rq, &t);
	err = vidas_host_join_publish(t.join, &t.number);
	if (err < 0) {
		vidas_host_join_end(t.join, false);
		return err;
	}
	rq->reply.object_join = (struct vidas_wire_object_join_reply){
		.object = t.number, .slot = t.slot, .size = t.size, .inode = t.file.inode
	};
	return 0;
}

static int leave(struct host_request *rq, uint32_t number, bool destroy)
{
	struct host_join *j = vidas_host_join_take(rq->session, number);
	bool writer;

	if (!j)
		return rq->retry ? 0 : vidas_fail(-EBADF, "this connection has no such object");
	rq->attachment = j->attachment;
	writer = vidas_host_request_may_write(rq);
	vidas_host_join_end(j, destroy && writer);
	if (destroy && !writer)
		return vidas_fail(-EROFS,
				  "the container is attached read-only: the object was only left");
	return 0;
}

int vidas_host_do_object_leave(struct host_request *rq)
{
	const struct vidas_wire_object_leave *b = rq->message->body;

	return leave(rq, b->object, false);
}

int vidas_host_do_object_destroy(struct host_request *rq)
{
	const struct vidas_wire_object_destroy *b = rq->message->body;

	return leave(rq, b->object, true);
}
