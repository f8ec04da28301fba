/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The index of objects of a container: resources by inode, objects of a resource in a list.
 */
#include "pool/host/object.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utlist.h>

#define SUSPECTS_AT_ONCE 64u

void vidas_host_resource_free(struct host_resource *r)
{
	struct host_object *o, *next;

	DL_FOREACH_SAFE(r->objects, o, next)
		free(o);
	free(r);
}

/* Takes the resource and what is left of its objects out of the index. */
static void resource_drop(struct host_resource *r)
{
	struct host_container *c = r->container;
	struct host_object *o;
	unsigned count;

	DL_COUNT(r->objects, o, count);
	c->objects -= count;
	if (r->suspect)
		DL_DELETE(c->suspects, r);
	HASH_DEL(c->resources, r);
	vidas_host_control_remove(r);
	vidas_host_resource_free(r);
}

static struct host_resource *resource_by_inode(struct host_container *c, uint64_t inode)
{
	struct host_resource *r;

	HASH_FIND(hh, c->resources, &inode, sizeof(inode), r);
	return r;
}

/* Who has it joined holds the inode; else the number may be another file's by now. */
static bool same_file(const struct host_resource *r, const struct host_file *f)
{
	struct host_handle handle;

	if (r->joins || !r->handle.bytes || vidas_host_handle_get(f->fd, &handle) < 0)
		return true;
	return r->handle.bytes == handle.bytes && r->handle.type == handle.type &&
	       memcmp(r->handle.data, handle.data, handle.bytes) == 0;
}

struct host_resource *vidas_host_resource_find(struct host_container *c, const struct host_file *f)
{
	struct host_resource *r = resource_by_inode(c, f->inode);

	if (r && !same_file(r, f)) {
		resource_drop(r);
		r = NULL;
	}
	return r;
}

bool vidas_host_resource_joined(struct host_container *c, uint64_t inode)
{
	struct host_resource *r;
	struct host_object *o;
	bool joined = false;

	pthread_mutex_lock(&c->lock);
	r = resource_by_inode(c, inode);
	if (r)
		DL_FOREACH(r->objects, o)
			joined = joined || (o->size && o->joins);
	pthread_mutex_unlock(&c->lock);
	return joined;
}

struct host_object *vidas_host_object_find(struct host_resource *r, uint64_t offset, uint64_t size,
					   uint64_t resource_bytes, bool lingering)
{
	struct host_object *o, *found = NULL;

	DL_FOREACH(r->objects, o) {
		bool whole = !size && o->offset + o->size == resource_bytes;

		if (o->offset != offset || (size && o->size != size))
			continue;
		if (o->destroyed && !lingering)
			continue;
		/* A live one before a lingering one, one to the end before any other. */
		if (!found || (found->destroyed && !o->destroyed) ||
		    (whole && found->destroyed == o->destroyed))
			found = o;
	}
	return found;
}

static int slot_take(struct host_resource *r)
{
	for (uint32_t i = 0; i < VIDAS_SHM_SLOTS; i++) {
		if (r->used[i / 64] & (UINT64_C(1) << (i % 64)))
			continue;
		r->used[i / 64] |= UINT64_C(1) << (i % 64);
		return (int)i;
	}
	return vidas_fail(-ENOSPC, "the resource has %u objects, as many as it can",
			  VIDAS_SHM_SLOTS);
}

/* The object and its slot are in the resource; `fd`: its control file. */
static void object_add(struct host_object *o)
{
	struct host_container *c = o->resource->container;

	DL_APPEND(o->resource->objects, o);
	c->objects++;
	c->created++;
	pthread_cond_broadcast(&c->changed);
}

/* A resource with its first object. */
static int make_first(struct host_container *c, const struct host_file *f, struct host_object *o,
		      uint32_t flags)
{
	struct host_resource *r = calloc(1, sizeof(*r));
	int fd;

	if (!r)
		return vidas_fail(-ENOMEM, "no memory");
	r->inode = f->inode;
	r->container = c;
	if (c->host->has_handles)
		vidas_host_handle_get(f->fd, &r->handle);
	fd = vidas_host_control_make(r, o, flags);
	if (fd < 0) {
		free(r);
		return fd;
	}
	r->used[0] = 1;
	o->resource = r;
	HASH_ADD(hh, c->resources, inode, sizeof(r->inode), r);
	return fd;
}

static int make_further(struct host_resource *r, struct host_object *o, uint32_t flags)
{
	int err, fd, slot = slot_take(r);

	if (slot < 0)
		return slot;
	o->resource = r;
	o->slot = (uint32_t)slot;
	fd = vidas_host_control_open(r, true);
	err = fd < 0 ? fd : vidas_host_control_slot_init(fd, o, flags);
	if (err == 0)
		return fd;
	r->used[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
	if (fd >= 0)
		close(fd);
	return err;
}

int vidas_host_object_make(struct host_container *c, const struct host_file *f, uint64_t offset,
			   uint64_t size, uint32_t creator, uint32_t flags,
			   struct host_object **out)
{
	struct host_resource *r = vidas_host_resource_find(c, f);
	struct host_object *o;
	int fd;

	if (c->objects >= HOST_OBJECTS_PER_CONTAINER)
		return vidas_fail(-ENOSPC, "it has as many objects as it may: %u",
				  HOST_OBJECTS_PER_CONTAINER);
	o = calloc(1, sizeof(*o));
	if (!o)
		return vidas_fail(-ENOMEM, "no memory");
	*o = (struct host_object){ .offset = offset, .size = size, .creator = creator };
	fd = r ? make_further(r, o, flags) : make_first(c, f, o, flags);
	if (fd < 0) {
		free(o);
		return fd;
	}
	object_add(o);
	*out = o;
	return fd;
}

bool vidas_host_object_reap(struct host_object *o)
{
	struct host_resource *r = o->resource;
	struct host_container *c = r->container;

	if (!o->destroyed || o->joins || (o->loaded && vidas_host_grace(c->host)) ||
	    vidas_host_control_undrained(o))
		return false;
	if (r->objects == o && !o->next) {
		resource_drop(r);
		return true;
	}
	if (vidas_host_control_slot_state(o, VIDAS_SHM_OBJECT_FREE) < 0)
		vidas_log(VIDAS_LOG_WARNING, "container '%s': %s", c->name, vidas_fail_text());
	r->used[o->slot / 64] &= ~(UINT64_C(1) << (o->slot % 64));
	DL_DELETE(r->objects, o);
	c->objects--;
	free(o);
	return true;
}

void vidas_host_resource_suspect(struct host_resource *r)
{
	struct host_container *c = r->container;

	if (r->suspect)
		return;
	r->suspect = true;
	DL_APPEND(c->suspects, r);
	atomic_store_explicit(&c->host->cleaner_due, true, memory_order_relaxed);
}

static bool lost_name(const struct host_resource *r)
{
	struct host_container *c = r->container;

	return !r->joins && r->handle.bytes && !(c->loaded && vidas_host_grace(c->host)) &&
	       !vidas_host_handle_alive(c, r);
}

void vidas_host_suspects_check(struct host_container *c)
{
	bool more = true;

	while (more) {
		/* Not all at once: requests want the lock too. */
		pthread_mutex_lock(&c->lock);
		for (unsigned i = 0; i < SUSPECTS_AT_ONCE && c->suspects; i++) {
			struct host_resource *r = c->suspects;

			DL_DELETE(c->suspects, r);
			r->suspect = false;
			if (lost_name(r))
				resource_drop(r);
		}
		more = c->suspects != NULL;
		pthread_mutex_unlock(&c->lock);
	}
}

void vidas_host_objects_load(struct host_container *c)
{
	int fd = openat(c->control_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (!d) {
		vidas_log(VIDAS_LOG_ERR, "container '%s': cannot read its control files: %m",
			  c->name);
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d))) {
		struct host_resource *r;
		struct host_object *o;
		unsigned count;
		char *end;
		uint64_t name = strtoull(e->d_name, &end, 10);

		if (*end)
			continue;
		if (name > c->last_control && name < INT64_MAX)
			c->last_control = name;
		if (vidas_host_control_load(c, name, &r) < 0)
			continue;
		if (resource_by_inode(c, r->inode)) {
			/* Only a domain can have written that. */
			vidas_host_control_remove(r);
			vidas_host_resource_free(r);
			continue;
		}
		HASH_ADD(hh, c->resources, inode, sizeof(r->inode), r);
		DL_COUNT(r->objects, o, count);
		c->objects += count;
	}
	closedir(d);
}

void vidas_host_resource_touch(struct host_container *c, uint64_t inode,
			       const struct host_handle *handle)
{
	int fd;

	if (!c->meta.root)
		return;
	vidas_host_changes_note(c, inode);
	fd = vidas_host_handle_open(c, inode, handle);
	if (fd < 0)
		return;
	if (fsetxattr(fd, VIDAS_SYNC_TOUCHED, "", 0, 0) < 0)
		vidas_log(VIDAS_LOG_WARNING,
			  "container '%s': a file written by an object cannot be marked so: %m",
			  c->name);
	close(fd);
}

void vidas_host_objects_settle(struct host_container *c)
{
	struct host_resource *r, *next_r;

	HASH_ITER(hh, c->resources, r, next_r) {
		struct host_object *o, *next;
		unsigned left;

		if (!r->joins) {
			vidas_host_resource_touch(c, r->inode, &r->handle);
			if (lost_name(r)) {
				resource_drop(r);
				continue;
			}
		}
		/* The resource goes with the last object. */
		DL_COUNT(r->objects, o, left);
		for (o = r->objects; left--; o = next) {
			next = o->next;
			vidas_host_object_reap(o);
		}
	}
}

void vidas_host_objects_free(struct host_container *c)
{
	struct host_resource *r, *next;

	HASH_ITER(hh, c->resources, r, next) {
		HASH_DEL(c->resources, r);
		vidas_host_resource_free(r);
	}
}
