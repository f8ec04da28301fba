/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/host/locality.h"

#include <errno.h>
#include <sys/xattr.h>
#include <utlist.h>

#include "pool/host/object.h"

void vidas_host_domains_put(struct host_domains *list, vidas_domain_id domain)
{
	for (uint32_t i = 0; i < list->n; i++)
		if (list->domain[i] == domain)
			return;
	if (list->n < VIDAS_DOMAINS_MAX)
		list->domain[list->n++] = domain;
}

/* Under container.lock. */
static void look_at_objects(struct host_container *c, const struct host_file *f,
			    struct host_locality *out)
{
	struct host_resource *r = vidas_host_resource_find(c, f);
	struct host_object *o;
	struct host_join *j;

	if (!r)
		return;
	DL_FOREACH(r->objects, o) {
		out->objects += !o->destroyed;
		DL_FOREACH(o->joins, j)
			vidas_host_domains_put(&out->joined, j->attachment->session->domain->id);
	}
}

/* Under container.lock. */
static void look_at_writers(const struct host_container *c, uint64_t inode,
			    struct host_locality *out)
{
	uint64_t writers = vidas_host_lease_writers(c, inode);

	for (unsigned i = 0; i < VIDAS_SHM_LEASE_SLOTS; i++)
		if (c->slot[i] && (writers & (UINT64_C(1) << i)))
			vidas_host_domains_put(&out->writing, c->slot[i]->session->domain->id);
}

/* -errno: it is not absent. */
static int look_at_bytes(struct host_container *c, const struct host_file *f,
			 struct host_locality *out)
{
	struct vidas_sync *sync;

	if (vidas_host_container_sync(c, &sync) < 0 || !sync)
		return fgetxattr(f->fd, VIDAS_SYNC_ABSENT, NULL, 0) < 0 ? -errno : 0;
	return vidas_sync_extents(sync, f->fd, &out->resident_bytes, out->part,
				  VIDAS_ARRAY_SIZE(out->part), &out->parts);
}

int vidas_host_locality(struct host_container *c, const char *path, struct host_locality *out)
{
	struct host_file f;
	int err = vidas_host_file_open(c, path, false, NULL, &f);

	*out = (struct host_locality){ 0 };
	if (err < 0)
		return err;
	out->size_bytes = f.size_bytes;
	if (look_at_bytes(c, &f, out) < 0)
		out->resident_bytes = f.size_bytes;
	pthread_mutex_lock(&c->lock);
	look_at_objects(c, &f, out);
	look_at_writers(c, f.inode, out);
	pthread_mutex_unlock(&c->lock);
	vidas_host_file_close(&f);
	return 0;
}
