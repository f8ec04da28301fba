/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/client/tree.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "pool/client/client.h"

/* Nobody's lock depends on these. */
#define LOCK_CALL_US (INT64_C(1000) * 1000)

/* A usable directory descriptor from the O_PATH one of the mount. */
static int tree_open(struct vidas_share *share, uint64_t atime, int *fd)
{
	struct mount_attr attr = { .attr_set = atime, .attr_clr = MOUNT_ATTR__ATIME };
	int err = 0;

	*fd = -1;
	if (share->fd < 0)
		return 0;
	/* Once the share is closed it counts as unmounted, and has no flags to set. */
	if (!atime || mount_setattr(share->fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0)
		*fd = openat(share->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		err = vidas_fail(-errno, "the container's tree: %s", strerror(errno));
	vidas_share_close(share);
	return err;
}

int vidas_tree_attach(struct vidas *v, const char *container, uint64_t atime,
		      struct vidas_tree **out)
{
	struct vidas_share share = VIDAS_SHARE_NONE;
	struct vidas_tree *t = NULL;
	struct vidas_container *c;
	int err = vidas_or_default(&v);

	if (!err)
		err = vidas_container_entry(v, container, &c);
	if (err < 0)
		return err;
	err = vidas_container_bind(c, &share);
	if (err < 0)
		goto out;
	t = calloc(1, sizeof(*t));
	if (!t) {
		vidas_share_close(&share);
		err = vidas_fail(-ENOMEM, "no memory for a tree");
		goto out;
	}
	err = tree_open(&share, atime, &t->fd);
out:
	if (err < 0) {
		free(t);
		vidas_container_put(c);
		return err;
	}
	t->c = c;
	t->refs = 1;
	pthread_mutex_lock(&v->index);
	t->next = c->trees;
	c->trees = t;
	pthread_mutex_unlock(&v->index);
	*out = t;
	return 0;
}

int vidas_tree_unref(struct vidas_tree *t)
{
	struct vidas_container *c = t->c;
	bool last;

	pthread_mutex_lock(&c->v->index);
	last = !--t->refs;
	pthread_mutex_unlock(&c->v->index);
	if (!last)
		return 0;
	if (t->fd >= 0)
		close(t->fd);
	free(t);
	return vidas_container_put(c);
}

int vidas_tree_leave(struct vidas_tree *t)
{
	struct vidas_tree **link;

	pthread_mutex_lock(&t->c->v->index);
	for (link = &t->c->trees; *link != t; link = &(*link)->next)
		;
	*link = t->next;
	pthread_mutex_unlock(&t->c->v->index);
	return vidas_tree_unref(t);
}

const char *vidas_tree_name(const struct vidas_tree *t)
{
	return t->c->name;
}

int vidas_tree_fd(const struct vidas_tree *t)
{
	return t->fd;
}

bool vidas_tree_readonly(const struct vidas_tree *t)
{
	return vidas_container_readonly(t->c);
}

bool vidas_tree_rooted(const struct vidas_tree *t)
{
	return atomic_load_explicit(&t->c->flags, memory_order_relaxed) &
	       VIDAS_WIRE_CONTAINER_ROOTED;
}

bool vidas_tree_relaxed(const struct vidas_tree *t)
{
	return atomic_load_explicit(&t->c->flags, memory_order_relaxed) &
	       VIDAS_WIRE_CONTAINER_RELAXED;
}

static int flush(struct vidas_tree *t, const char *path, uint64_t inode, int64_t timeout_us)
{
	struct vidas_wire_flush body = { .inode = inode };
	struct vidas_call call = {
		.type = VIDAS_WIRE_FLUSH,
		.body = &body,
		.number = &t->c->number,
		.string = { path },
		.timeout_us = timeout_us,
	};

	return vidas_call(t->c->v, &call);
}

int vidas_tree_flush(struct vidas_tree *t, const char *path, uint64_t inode)
{
	return flush(t, path, inode, 0);
}

int vidas_tree_flush_all(struct vidas_tree *t, int64_t timeout_us)
{
	return flush(t, "", 0, timeout_us);
}

int vidas_tree_update(struct vidas_tree *t, const char *path, uint64_t inode)
{
	struct vidas_wire_update body = { .inode = inode };
	struct vidas_call call = {
		.type = VIDAS_WIRE_UPDATE,
		.body = &body,
		.number = &t->c->number,
		.string = { path },
	};

	return vidas_call(t->c->v, &call);
}

int vidas_tree_resident(struct vidas_tree *t, const char *path, uint64_t inode, bool revalidate)
{
	struct vidas_wire_resident body = {
		.flags = revalidate ? VIDAS_WIRE_REVALIDATE : 0,
		.inode = inode,
	};
	struct vidas_call call = {
		.type = VIDAS_WIRE_RESIDENT,
		.body = &body,
		.number = &t->c->number,
		.string = { path },
	};

	return vidas_call(t->c->v, &call);
}

int vidas_tree_fetch(struct vidas_tree *t, const char *key, uint64_t inode,
		     struct vidas_tree_fetch *f)
{
	struct vidas_wire_fetch body = {
		.flags = f->flags,
		.inode = inode,
		.offset = f->offset,
		.size = f->size,
		.timeout_us = f->timeout_us,
	};
	struct vidas_wire_fetch_reply reply;
	struct vidas_call call = {
		.type = VIDAS_WIRE_FETCH,
		.body = &body,
		.number = &t->c->number,
		.string = { key },
		.reply = &reply,
		.reply_bytes = sizeof(reply),
		.reply_blob = f->bits,
		.reply_blob_size = VIDAS_WIRE_BLOB_MAX,
	};
	int err = vidas_call(t->c->v, &call);

	if (err < 0)
		return err;
	f->whole = reply.state & VIDAS_WIRE_FETCH_DONE;
	f->generation = reply.generation;
	f->size_bytes = reply.size_bytes;
	f->shift = reply.shift;
	f->bits_bytes = call.reply_blob_bytes;
	return 0;
}

int vidas_tree_import(struct vidas_tree *t, const char *path, uint64_t inode)
{
	struct vidas_wire_import body = { .inode = inode };
	struct vidas_call call = {
		.type = VIDAS_WIRE_IMPORT,
		.body = &body,
		.number = &t->c->number,
		.string = { path },
	};

	return vidas_call(t->c->v, &call);
}

ssize_t vidas_tree_attr_get(struct vidas_tree *t, const char *path, uint64_t inode,
			    const char *attr, void *value, size_t size)
{
	struct vidas_wire_attr_get body = { .inode = inode };
	struct vidas_call call = {
		.type = VIDAS_WIRE_ATTR_GET,
		.body = &body,
		.number = &t->c->number,
		.string = { path, attr },
		.reply_blob = value,
		.reply_blob_size = size,
	};
	int err = vidas_call(t->c->v, &call);

	if (err < 0)
		return err;
	if (size && call.reply_blob_bytes > size)
		return vidas_fail(-ERANGE, "the value has %zu bytes", call.reply_blob_bytes);
	return (ssize_t)call.reply_blob_bytes;
}

static int attr_change(struct vidas_tree *t, const char *path, uint64_t inode, const char *attr,
		       const void *value, size_t size, bool remove)
{
	struct vidas_wire_attr_set body = { .remove = remove, .inode = inode };
	struct vidas_call call = {
		.type = VIDAS_WIRE_ATTR_SET,
		.body = &body,
		.number = &t->c->number,
		.string = { path, attr },
		.blob = value,
		.blob_bytes = size,
	};

	if (size > VIDAS_WIRE_BLOB_MAX)
		return vidas_fail(-E2BIG, "a value may have %u bytes", VIDAS_WIRE_BLOB_MAX);
	return vidas_call(t->c->v, &call);
}

int vidas_tree_attr_set(struct vidas_tree *t, const char *path, uint64_t inode, const char *attr,
			const void *value, size_t size)
{
	return attr_change(t, path, inode, attr, value, size, false);
}

int vidas_tree_attr_remove(struct vidas_tree *t, const char *path, uint64_t inode, const char *attr)
{
	return attr_change(t, path, inode, attr, NULL, 0, true);
}

static struct vidas_wire_lock lock_on_wire(const struct vidas_tree_lock *l)
{
	return (struct vidas_wire_lock){
		.container = atomic_load_explicit(&l->tree->c->number, memory_order_acquire),
		.exclusive = l->exclusive,
		.inode = l->inode,
		.start = l->start,
		.last = l->last,
	};
}

int vidas_tree_lock_wait(struct vidas *v, const struct vidas_tree_wait *wait,
			 const struct vidas_tree_lock *held, size_t count)
{
	struct vidas_wire_lock locks[VIDAS_TREE_LOCKS_MAX];
	struct vidas_wire_lock_wait body = {
		.number = wait->number,
		.owner = wait->owner,
		.wanted = lock_on_wire(&wait->lock),
	};
	struct vidas_call call = {
		.type = VIDAS_WIRE_LOCK_WAIT,
		.body = &body,
		.blob = locks,
		.blob_bytes = count * sizeof(locks[0]),
		.timeout_us = LOCK_CALL_US,
	};

	_Static_assert(sizeof(locks) <= VIDAS_WIRE_BLOB_MAX, "a message has room for them");
	for (size_t i = 0; i < count; i++)
		locks[i] = lock_on_wire(&held[i]);
	return vidas_call(v, &call);
}

int vidas_tree_lock_done(struct vidas *v, uint64_t number)
{
	struct vidas_wire_lock_done body = { .number = number };
	struct vidas_call call = {
		.type = VIDAS_WIRE_LOCK_DONE,
		.body = &body,
		.timeout_us = LOCK_CALL_US,
	};

	return vidas_call(v, &call);
}

int vidas_tree_events(struct vidas *v, const struct vidas_tree_events *ev)
{
	return vidas_events_start(v, ev);
}
