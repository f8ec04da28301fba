/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containers before they have a name and after they are nobody's: making and freeing one costs some
 * forty system calls that are kept off the way of requests. Spares are made by the cleaner, in trash/ under
 * a name "new-…", whole but for their meta; so creating one is writing that and a rename.
 */
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "pool/host/container.h"
#include "pool/host/object.h"

/* Made in advance, each some 10 KiB of the pool's memory and four descriptors: as many as a domain
 * may have. Who wants more in a burst makes them on the way. */
#define SPARES HOST_CONTAINERS_PER_DOMAIN

struct host_container *vidas_host_container_alloc(struct host *h)
{
	struct host_container *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;

	if (!c)
		return NULL;
	c->host = h;
	atomic_init(&c->refs, 1);
	c->dir_fd = c->tree_fd = c->control_fd = c->leases_fd = c->blank_fd = -1;
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->sync_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->changed, &attr);
	pthread_condattr_destroy(&attr);
	return c;
}

void vidas_host_container_free(struct host_container *c)
{
	vidas_sync_close(c->sync);
	vidas_host_push_free(c);
	vidas_host_control_discard(c);
	vidas_host_objects_free(c);
	vidas_host_disk_close(c);
	if (c->made_as[0])
		vidas_host_trash_discard(c->host, c->made_as);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->sync_lock);
	pthread_cond_destroy(&c->changed);
	free(c->meta.root);
	free(c->name);
	free(c);
}

static int spare_make(struct host *h, struct host_container **out)
{
	struct host_container *c = vidas_host_container_alloc(h);
	int err = c ? vidas_host_disk_make(c) : vidas_fail(-ENOMEM, "no memory");

	if (err < 0 && c)
		vidas_host_container_free(c);
	if (err == 0)
		*out = c;
	return err;
}

int vidas_host_container_spare(struct host *h, struct host_container **out)
{
	struct host_container *c;
	bool low;

	pthread_mutex_lock(&h->cleaner_lock);
	c = h->spares;
	if (c) {
		LL_DELETE(h->spares, c);
		h->spare_count--;
	}
	low = h->spare_count == SPARES / 2;
	pthread_mutex_unlock(&h->cleaner_lock);
	/* The next tick does, but in a burst. */
	if (low)
		vidas_host_cleaner_wake(h);
	else
		atomic_store_explicit(&h->cleaner_due, true, memory_order_relaxed);
	if (!c)
		return spare_make(h, out);
	*out = c;
	return 0;
}

void vidas_host_container_retire(struct host_container *c)
{
	struct host *h = c->host;

	pthread_mutex_lock(&h->cleaner_lock);
	LL_PREPEND(h->retired, c);
	pthread_mutex_unlock(&h->cleaner_lock);
	atomic_store_explicit(&h->cleaner_due, true, memory_order_relaxed);
}

static void free_retired(struct host *h)
{
	struct host_container *list, *c;

	pthread_mutex_lock(&h->cleaner_lock);
	list = h->retired;
	h->retired = NULL;
	pthread_mutex_unlock(&h->cleaner_lock);
	while ((c = list)) {
		list = c->next;
		vidas_host_container_free(c);
	}
}

static void make_spares(struct host *h)
{
	struct host_container *c;
	bool enough;

	do {
		pthread_mutex_lock(&h->cleaner_lock);
		enough = h->spare_count >= SPARES || h->cleaner_stop;
		pthread_mutex_unlock(&h->cleaner_lock);
		/* One that cannot be made (no room) is tried again when it is asked for. */
		if (enough || spare_make(h, &c) < 0)
			break;
		pthread_mutex_lock(&h->cleaner_lock);
		LL_PREPEND(h->spares, c);
		h->spare_count++;
		pthread_mutex_unlock(&h->cleaner_lock);
	} while (!atomic_load_explicit(&h->stopping, memory_order_relaxed));
}

/* All containers, each with a reference; ended by NULL. */
static struct host_container **all_containers(struct host *h)
{
	struct host_container **all, *c;
	size_t n = 0;

	pthread_rwlock_rdlock(&h->index);
	all = calloc(HASH_COUNT(h->containers) + 1, sizeof(struct host_container *));
	for (c = h->containers; all && c; c = c->hh.next) {
		vidas_host_container_ref(c);
		all[n++] = c;
	}
	pthread_rwlock_unlock(&h->index);
	return all;
}

void vidas_host_containers_each(struct host *h, void (*each)(struct host_container *c, void *arg),
				void *arg)
{
	struct host_container **all = all_containers(h);

	for (size_t i = 0; all && all[i]; i++) {
		each(all[i], arg);
		vidas_host_container_unref(all[i]);
	}
	free(all);
}

static void check_suspects(struct host_container *c, void *arg)
{
	(void)arg;
	vidas_host_suspects_check(c);
}

void vidas_host_containers_clean(struct host *h)
{
	vidas_host_containers_each(h, check_suspects, NULL);
	free_retired(h);
	make_spares(h);
}

void vidas_host_spares_free(struct host *h)
{
	struct host_container *c;

	while ((c = h->spares)) {
		LL_DELETE(h->spares, c);
		vidas_host_container_free(c);
	}
	free_retired(h);
}
