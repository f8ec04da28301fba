/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How far pushes and fetches of whole files are, for who looks on. */
#include "pool/sync/internal.h"

#include <string.h>
#include <utlist.h>

void sync_fetching_begin(struct vidas_sync *s, struct sync_fetching *f, const char *key,
			 uint64_t size_bytes)
{
	*f = (struct sync_fetching){ .key = key, .size_bytes = size_bytes };
	pthread_mutex_lock(&s->lock);
	DL_APPEND(s->fetching, f);
	pthread_mutex_unlock(&s->lock);
}

void sync_fetching_end(struct vidas_sync *s, struct sync_fetching *f)
{
	pthread_mutex_lock(&s->lock);
	DL_DELETE(s->fetching, f);
	pthread_mutex_unlock(&s->lock);
}

int vidas_sync_fetched(struct vidas_sync *s, const char *path, uint64_t *here_bytes,
		       uint64_t *all_bytes)
{
	size_t size = strlen(path);
	struct sync_fetching *f;
	int err = -ENOENT;

	*here_bytes = *all_bytes = 0;
	pthread_mutex_lock(&s->lock);
	DL_FOREACH(s->fetching, f) {
		if (size &&
		    (strncmp(f->key, path, size) != 0 || (f->key[size] && f->key[size] != '/')))
			continue;
		*here_bytes += atomic_load_explicit(&f->here_bytes, memory_order_relaxed);
		*all_bytes += f->size_bytes;
		err = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* While somebody opens the store, which may take its time, nothing is pushed. */
int vidas_sync_pushed(struct vidas_sync *s, const char *path, uint64_t *sent_bytes,
		      uint64_t *all_bytes)
{
	struct vidas_store *store;

	if (pthread_mutex_trylock(&s->open_lock))
		return -ENOENT;
	store = s->store;
	pthread_mutex_unlock(&s->open_lock);
	return store ? vidas_store_progress(store, path, sent_bytes, all_bytes) : -ENOENT;
}
