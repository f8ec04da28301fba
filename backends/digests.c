/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define XXH_STATIC_LINKING_ONLY /* its state on the stack; the layout is fixed since 0.8 */
#include "backends/digests.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct object {
	UT_hash_handle hh; /* the table's order is that of use */
	struct vidas_backend_version version;
	uint64_t size_bytes;
	size_t blocks;
	XXH128_hash_t *digest; /* behind the key */
	char key[];
};

struct vidas_digests {
	uint64_t block_bytes;
	size_t blocks, blocks_max;
	pthread_mutex_t lock; /* taken last */
	struct object *objects;
};

/* One content --------------------------------------------------------------------------------- */

struct vidas_digest {
	XXH3_state_t block, whole;
	uint64_t in_block; /* bytes */
};

static void whole_feed(XXH3_state_t *whole, XXH128_hash_t block)
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, block);
	XXH3_128bits_update(whole, &canonical, sizeof(canonical));
}

static void whole_end(const XXH3_state_t *whole, uint8_t out[VIDAS_BACKEND_DIGEST_BYTES])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(whole));
	memcpy(out, &canonical, sizeof(canonical));
}

void vidas_digest_of_blocks(const XXH128_hash_t *block, size_t blocks,
			    uint8_t out[VIDAS_BACKEND_DIGEST_BYTES])
{
	XXH3_state_t whole;

	XXH3_INITSTATE(&whole);
	XXH3_128bits_reset(&whole);
	for (size_t i = 0; i < blocks; i++)
		whole_feed(&whole, block[i]);
	whole_end(&whole, out);
}

int vidas_digest_begin(struct vidas_digest **out)
{
	struct vidas_digest *d = NULL;

	/* The states are aligned for vector instructions. */
	if (posix_memalign((void **)&d, _Alignof(struct vidas_digest), sizeof(*d)))
		return -ENOMEM;
	XXH3_INITSTATE(&d->block);
	XXH3_INITSTATE(&d->whole);
	XXH3_128bits_reset(&d->block);
	XXH3_128bits_reset(&d->whole);
	d->in_block = 0;
	*out = d;
	return 0;
}

static void block_end(struct vidas_digest *d)
{
	whole_feed(&d->whole, XXH3_128bits_digest(&d->block));
	XXH3_128bits_reset(&d->block);
	d->in_block = 0;
}

void vidas_digest_feed(struct vidas_digest *d, const void *ptr, size_t size)
{
	const char *at = ptr;

	while (size) {
		uint64_t room = VIDAS_DIGESTS_BLOCK - d->in_block;
		size_t some = size < room ? size : (size_t)room;

		XXH3_128bits_update(&d->block, at, some);
		d->in_block += some;
		at += some;
		size -= some;
		if (d->in_block == VIDAS_DIGESTS_BLOCK)
			block_end(d);
	}
}

void vidas_digest_end(struct vidas_digest *d, uint8_t *out)
{
	if (d && out) {
		if (d->in_block)
			block_end(d);
		whole_end(&d->whole, out);
	}
	free(d);
}

/* What is remembered -------------------------------------------------------------------------- */

int vidas_digests_new(uint64_t block_bytes, size_t blocks_max, struct vidas_digests **out)
{
	struct vidas_digests *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->block_bytes = block_bytes;
	d->blocks_max = blocks_max;
	pthread_mutex_init(&d->lock, NULL);
	*out = d;
	return 0;
}

static void drop(struct vidas_digests *d, struct object *o)
{
	HASH_DEL(d->objects, o);
	d->blocks -= o->blocks;
	free(o->digest);
	free(o);
}

void vidas_digests_free(struct vidas_digests *d)
{
	if (!d)
		return;
	while (d->objects)
		drop(d, d->objects);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

size_t vidas_digests_blocks(const struct vidas_digests *d, uint64_t size_bytes)
{
	return (size_t)(size_bytes / d->block_bytes + (size_bytes % d->block_bytes != 0));
}

/* An empty object counts as a block, so that there is an end to those too. */
static struct object *object_new(const struct vidas_digests *d, const char *key,
				 const struct vidas_backend_version *version, uint64_t size_bytes,
				 const XXH128_hash_t *digest)
{
	size_t blocks = vidas_digests_blocks(d, size_bytes), name = strlen(key) + 1;
	struct object *o;

	if (!version->size || blocks >= d->blocks_max)
		return NULL;
	o = malloc(sizeof(*o) + name);
	if (!o)
		return NULL;
	*o = (struct object){ .version = *version, .size_bytes = size_bytes };
	o->blocks = blocks ? blocks : 1;
	o->digest = calloc(o->blocks, sizeof(*o->digest));
	if (!o->digest) {
		free(o);
		return NULL;
	}
	if (digest)
		memcpy(o->digest, digest, blocks * sizeof(*digest));
	memcpy(o->key, key, name);
	return o;
}

/* Under the lock: `o` (or nothing) instead of what is there. */
static void replace(struct vidas_digests *d, const char *key, struct object *o)
{
	struct object *old;

	HASH_FIND_STR(d->objects, key, old);
	if (old)
		drop(d, old);
	while (o && d->objects && d->blocks + o->blocks > d->blocks_max)
		drop(d, d->objects);
	if (o) {
		HASH_ADD_STR(d->objects, key, o);
		d->blocks += o->blocks;
	}
}

void vidas_digests_set(struct vidas_digests *d, const char *key,
		       const struct vidas_backend_version *version, uint64_t size_bytes,
		       const XXH128_hash_t *digest)
{
	struct object *o = object_new(d, key, version, size_bytes, digest);

	pthread_mutex_lock(&d->lock);
	replace(d, key, o);
	pthread_mutex_unlock(&d->lock);
}

static bool is_of(const struct object *o, const struct vidas_backend_version *version,
		  uint64_t size_bytes)
{
	return o && o->size_bytes == size_bytes && o->version.size == version->size &&
	       memcmp(o->version.bytes, version->bytes, version->size) == 0;
}

void vidas_digests_add(struct vidas_digests *d, const char *key,
		       const struct vidas_backend_version *version, uint64_t size_bytes,
		       size_t first, size_t count, const XXH128_hash_t *digest)
{
	struct object *o;

	pthread_mutex_lock(&d->lock);
	HASH_FIND_STR(d->objects, key, o);
	if (!is_of(o, version, size_bytes)) {
		o = object_new(d, key, version, size_bytes, NULL);
		replace(d, key, o);
	}
	for (size_t i = 0; o && i < count && first + i < o->blocks; i++)
		o->digest[first + i] = digest[i];
	pthread_mutex_unlock(&d->lock);
}

void vidas_digests_forget(struct vidas_digests *d, const char *key)
{
	struct object *o;

	pthread_mutex_lock(&d->lock);
	HASH_FIND_STR(d->objects, key, o);
	if (o)
		drop(d, o);
	pthread_mutex_unlock(&d->lock);
}

size_t vidas_digests_get(struct vidas_digests *d, const char *key,
			 struct vidas_backend_version *version, uint64_t *size_bytes, size_t first,
			 size_t count, XXH128_hash_t *digest)
{
	struct object *o;
	size_t have = 0;

	pthread_mutex_lock(&d->lock);
	HASH_FIND_STR(d->objects, key, o);
	if (o) {
		HASH_DEL(d->objects, o);
		HASH_ADD_STR(d->objects, key, o);
		if (version)
			*version = o->version;
		if (size_bytes)
			*size_bytes = o->size_bytes;
		have = vidas_digests_blocks(d, o->size_bytes);
		have = first < have ? have - first : 0;
		have = have < count ? have : count;
		if (have)
			memcpy(digest, o->digest + first, have * sizeof(*digest));
	}
	pthread_mutex_unlock(&d->lock);
	return have;
}

XXH128_hash_t vidas_digests_of(const struct iovec *iov, int iovcnt, uint64_t offset, uint64_t bytes)
{
	XXH3_state_t state;

	XXH3_INITSTATE(&state);
	XXH3_128bits_reset(&state);
	for (int i = 0; i < iovcnt && bytes; i++) {
		uint64_t some = iov[i].iov_len;

		if (offset >= some) {
			offset -= some;
			continue;
		}
		some -= offset;
		some = some < bytes ? some : bytes;
		XXH3_128bits_update(&state, (const char *)iov[i].iov_base + offset, (size_t)some);
		offset = 0;
		bytes -= some;
	}
	return XXH3_128bits_digest(&state);
}
