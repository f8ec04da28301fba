/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What was put or fetched, remembered by the digest (XXH3, 128 bits) of each block, for as long as the
 * store says the same version: the filter checksum compares what comes with it, the s3 backend
 * sends again only the blocks that changed. In memory alone: whoever starts anew knows nothing.
 *
 * A digest tells accidents from what was meant; it is no signature. Depends on nothing of ours, so
 * that plug-ins can be built with it. Any number of threads.
 */
#ifndef VIDAS_DIGESTS_H
#define VIDAS_DIGESTS_H

#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

#include <vidas/backend.h>

/* Blocks for that of a whole content, see VIDAS_BACKEND_DIGEST_BYTES. */
#define VIDAS_DIGESTS_BLOCK ((uint64_t)VIDAS_BACKEND_DIGEST_BLOCK)

/* The digest of a content by those of all its blocks, which are in order. */
void vidas_digest_of_blocks(const XXH128_hash_t *block, size_t blocks,
			    uint8_t out[VIDAS_BACKEND_DIGEST_BYTES]);

/* The same of bytes that come piece by piece; -ENOMEM. End frees it, NULL allowed; `out` NULL: it is not wanted. */
struct vidas_digest;
int vidas_digest_begin(struct vidas_digest **out);
void vidas_digest_feed(struct vidas_digest *d, const void *ptr, size_t size);
void vidas_digest_end(struct vidas_digest *d, uint8_t *out);

struct vidas_digests;

/* At most `blocks_max` digests (16 bytes each); the objects unused for longest are forgotten first. */
int vidas_digests_new(uint64_t block_bytes, size_t blocks_max, struct vidas_digests **out);
void vidas_digests_free(struct vidas_digests *d); /* NULL allowed */

/* How many blocks `size_bytes` are; the last one may be short. */
size_t vidas_digests_blocks(const struct vidas_digests *d, uint64_t size_bytes);

/* Remembers `key`, instead of what was known of it. What has no version is not remembered; nor is
 * it when memory is short. `digest` is copied; a digest of zeros is none, and equals none. */
void vidas_digests_set(struct vidas_digests *d, const char *key,
		       const struct vidas_backend_version *version, uint64_t size_bytes,
		       const XXH128_hash_t *digest);
/* Learns blocks from `first` on; what was known stays if it was of that version and size. */
void vidas_digests_add(struct vidas_digests *d, const char *key,
		       const struct vidas_backend_version *version, uint64_t size_bytes,
		       size_t first, size_t count, const XXH128_hash_t *digest);
void vidas_digests_forget(struct vidas_digests *d, const char *key);

/* What is known of `key`: its version, size and digests [first, first + count), of which there are as
 * many as come back; 0 nothing is known. version and size_bytes may be NULL. */
size_t vidas_digests_get(struct vidas_digests *d, const char *key,
			 struct vidas_backend_version *version, uint64_t *size_bytes, size_t first,
			 size_t count, XXH128_hash_t *digest);

/* The digest of `bytes` at `offset` of the iovecs' memory, which is read once. */
XXH128_hash_t vidas_digests_of(const struct iovec *iov, int iovcnt, uint64_t offset,
			       uint64_t bytes);

#endif
