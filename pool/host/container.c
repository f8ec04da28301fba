/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The index of containers, their lifetime and who may know of them.
 */
#include "pool/host/container.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/host/object.h"

/* By a file of the mount, or by an object. */
static bool open_for_writing(void *arg, uint64_t inode)
{
	struct host_container *c = arg;

	return vidas_host_lease_writers(c, inode) || vidas_host_resource_joined(c, inode);
}

static void changed(void *arg, uint64_t inode, uint32_t kinds)
{
	vidas_host_recall_changed(arg, inode, kinds);
}

void vidas_host_container_ref(struct host_container *c)
{
	atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

/* Freeing unmaps and closes, which takes its time: the cleaner does it. */
void vidas_host_container_unref(struct host_container *c)
{
	if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
		vidas_host_container_retire(c);
}

/* Destroyed when it was empty, by a vidasd that was killed before the container's directory was away. */
static bool was_removed(struct host *h, const char *name)
{
	int dir = openat(h->containers_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct host_meta meta = { 0 };
	bool gone = dir >= 0 && faccessat(dir, "tree", F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
		    errno == ENOENT && vidas_host_meta_load(dir, &meta) == 0 && !meta.root;

	free(meta.root);
	if (dir >= 0)
		close(dir);
	return gone && vidas_host_disk_trash(h, name) == 0;
}

static int container_load(struct host *h, const char *name, struct host_container **out)
{
	struct host_container *c = vidas_host_container_alloc(h);
	int err;

	if (!c)
		return -ENOMEM;
	c->loaded = true;
	c->name = strdup(name);
	err = c->name ? vidas_host_disk_open(c) : -ENOMEM;
	if (err == -ENOENT && was_removed(h, name))
		err = -ESTALE;
	if (err == 0)
		err = vidas_host_meta_load(c->dir_fd, &c->meta);
	if (err < 0) {
		vidas_host_container_free(c);
		return err;
	}
	vidas_host_objects_load(c);
	*out = c;
	return 0;
}

/* Under host.index, for writing; the index takes over the reference. */
void vidas_host_container_index(struct host *h, struct host_container *c)
{
	c->seq = ++h->last_seq;
	HASH_ADD_KEYPTR(hh, h->containers, c->name, strlen(c->name), c);
}

int vidas_host_containers_load(struct host *h)
{
	int fd = openat(h->containers_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;

	if (!d) {
		int err = -errno;

		if (fd >= 0)
			close(fd);
		return vidas_fail(err, "cannot read the containers: %s", strerror(-err));
	}
	while ((e = readdir(d))) {
		struct host_container *c;
		int err;

		if (!vidas_name_ok(e->d_name, strlen(e->d_name)))
			continue;
		vidas_fail_clear();
		err = container_load(h, e->d_name, &c);
		if (err == -ESTALE)
			continue;
		if (err < 0) {
			vidas_log(VIDAS_LOG_ERR,
				  "container '%s' is left out, its files stay as they are: %s",
				  e->d_name, vidas_fail_text());
			continue;
		}
		vidas_host_container_index(h, c);
	}
	closedir(d);
	return 0;
}

void vidas_host_containers_close(struct host *h)
{
	struct host_container *c, *next;

	pthread_rwlock_wrlock(&h->index);
	HASH_ITER(hh, h->containers, c, next) {
		HASH_DEL(h->containers, c);
		vidas_host_container_unref(c);
	}
	pthread_rwlock_unlock(&h->index);
}

void vidas_host_containers_settle(struct host *h)
{
	struct host_container *c, *next;

	pthread_rwlock_rdlock(&h->index);
	HASH_ITER(hh, h->containers, c, next) {
		if (!c->loaded)
			continue;
		pthread_mutex_lock(&c->lock);
		vidas_host_lease_settle(c);
		vidas_host_objects_settle(c);
		pthread_mutex_unlock(&c->lock);
	}
	pthread_rwlock_unlock(&h->index);
}

uint32_t vidas_host_container_access(const struct host_container *c, vidas_domain_id domain)
{
	if (domain == 0 || domain == c->meta.initiator)
		return VIDAS_WIRE_RW;
	for (unsigned i = 0; i < c->meta.domains; i++)
		if (c->meta.domain[i].domain == domain)
			return c->meta.domain[i].access;
	return 0;
}

struct host_container *vidas_host_container_find(struct host *h, const char *name,
						 vidas_domain_id domain)
{
	struct host_container *c;
	uint32_t access = 0;

	pthread_rwlock_rdlock(&h->index);
	HASH_FIND_STR(h->containers, name, c);
	if (c)
		vidas_host_container_ref(c);
	pthread_rwlock_unlock(&h->index);
	if (!c)
		return NULL;
	pthread_mutex_lock(&c->lock);
	if (!c->dead)
		access = vidas_host_container_access(c, domain);
	pthread_mutex_unlock(&c->lock);
	if (access)
		return c;
	vidas_host_container_unref(c);
	return NULL;
}

int vidas_host_container_sync(struct host_container *c, struct vidas_sync **out)
{
	const struct vidas_sync_hooks hooks = { .open_for_writing = open_for_writing,
						.changed = changed,
						.arg = c };
	int err = 0;

	*out = NULL;
	if (!c->meta.root)
		return 0;
	pthread_mutex_lock(&c->sync_lock);
	if (!c->sync)
		err = vidas_sync_open(c->tree_fd, c->dir_fd, c->meta.root, c->host->config.filters,
				      &hooks, &c->sync);
	*out = c->sync;
	pthread_mutex_unlock(&c->sync_lock);
	return err;
}
