/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * checksum: what comes back must be what was put. Of each put, blocks of 1 MiB are digested and
 * remembered with the version that the store gave; a get of that version whose bytes differ fails
 * with -EIO (so that `retry` above fetches again), whatever damaged them: server, network, memory.
 *
 *	blocks:1M   digests that are remembered, 16 bytes each, for the keys used last
 *
 * Compared are blocks that a get has whole. What others put, and what was put before this root was
 * opened, has no digest here and passes.
 */
#include <stdlib.h>
#include <string.h>

#include "backends/digests.h"
#include "backends/filters/filter.h"
#include "pool/base/base.h"

#define BLOCK_BYTES (UINT64_C(1) << 20)

struct vidas_backend {
	struct vidas_layer next;
	const struct vidas_backend_host *host;
	struct vidas_digests *known;
	_Atomic uint64_t good, bad; /* blocks */
};

static void checksum_close(struct vidas_backend *be)
{
	be->next.ops.close(be->next.be);
	vidas_digests_free(be->known);
	free(be);
}

static uint64_t block_bytes(uint64_t size, size_t block)
{
	uint64_t left = size - block * BLOCK_BYTES;

	return left < BLOCK_BYTES ? left : BLOCK_BYTES;
}

static int digest_all(struct vidas_backend *be, const struct vidas_backend_put *put,
		      XXH128_hash_t **out)
{
	size_t n = vidas_digests_blocks(be->known, put->size_bytes);

	*out = calloc(n + 1, sizeof(**out));
	for (size_t i = 0; *out && i < n; i++)
		(*out)[i] = vidas_digests_of(put->iov, put->iovcnt, i * BLOCK_BYTES,
					     block_bytes(put->size_bytes, i));
	return *out ? 0 : -ENOMEM;
}

/* Is the memory as it was? Another domain may have written to it while it was being sent. */
static bool unchanged(const struct vidas_backend_put *put, const XXH128_hash_t *digest, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!XXH128_isEqual(digest[i],
				    vidas_digests_of(put->iov, put->iovcnt, i * BLOCK_BYTES,
						     block_bytes(put->size_bytes, i))))
			return false;
	return true;
}

static int checksum_put(struct vidas_backend *be, const char *key,
			const struct vidas_backend_put *put, struct vidas_backend_version *now)
{
	struct vidas_backend_version version = { 0 };
	XXH128_hash_t *digest = NULL;
	int err = digest_all(be, put, &digest);

	vidas_digests_forget(be->known, key);
	if (!err)
		err = be->next.ops.put(be->next.be, key, put, &version);
	if (!err && unchanged(put, digest, vidas_digests_blocks(be->known, put->size_bytes)))
		vidas_digests_set(be->known, key, &version, put->size_bytes, digest);
	if (!err && now)
		*now = version;
	free(digest);
	return err;
}

/* Compares the blocks that [offset, offset + bytes) has whole. */
static int compare(struct vidas_backend *be, const char *key, uint64_t offset,
		   const struct iovec *iov, int iovcnt, uint64_t bytes,
		   const struct vidas_backend_version *seen)
{
	size_t block = vidas_digests_blocks(be->known, offset);
	struct vidas_backend_version version;
	XXH128_hash_t known;
	uint64_t size;

	while (vidas_digests_get(be->known, key, &version, &size, block, 1, &known) &&
	       version.size == seen->size && !memcmp(version.bytes, seen->bytes, seen->size)) {
		uint64_t from = block * BLOCK_BYTES - offset, some = block_bytes(size, block);

		if (from + some > bytes)
			break;
		if (!XXH128_isEqual(known, vidas_digests_of(iov, iovcnt, from, some))) {
			atomic_fetch_add_explicit(&be->bad, 1, memory_order_relaxed);
			return vidas_backend_error(
				be->host, -EIO,
				"%s: the bytes at %llu that came are not those that were put", key,
				(unsigned long long)(offset + from));
		}
		atomic_fetch_add_explicit(&be->good, 1, memory_order_relaxed);
		block++;
	}
	return 0;
}

static ssize_t checksum_get(struct vidas_backend *be, const char *key, uint64_t offset,
			    const struct iovec *iov, int iovcnt,
			    const struct vidas_backend_version *expect,
			    struct vidas_backend_version *seen)
{
	struct vidas_backend_version version = { 0 };
	ssize_t ret = be->next.ops.get(be->next.be, key, offset, iov, iovcnt, expect, &version);
	int err = ret > 0 ? compare(be, key, offset, iov, iovcnt, (uint64_t)ret, &version) : 0;

	if (ret >= 0 && seen)
		*seen = version;
	return err ? err : ret;
}

static ssize_t checksum_put_range(struct vidas_backend *be, const char *key, uint64_t offset,
				  const struct iovec *iov, int iovcnt,
				  struct vidas_backend_version *now)
{
	ssize_t ret = vidas_layer_put_range(&be->next, key, offset, iov, iovcnt, now);

	vidas_digests_forget(be->known, key);
	return ret;
}

static int checksum_remove(struct vidas_backend *be, const char *key,
			   const struct vidas_backend_version *expect)
{
	vidas_digests_forget(be->known, key);
	return be->next.ops.remove(be->next.be, key, expect);
}

/* A directory's new name leaves those of its files behind: they are new keys, without digests. */
static int checksum_rename(struct vidas_backend *be, const char *from, const char *to)
{
	int err = vidas_layer_rename(&be->next, from, to);

	vidas_digests_forget(be->known, from);
	vidas_digests_forget(be->known, to);
	return err;
}

/* The bytes may be known by the other name; a new version would leave them unknown anyway. */
static int checksum_link(struct vidas_backend *be, const char *from, const char *to,
			 const struct vidas_backend_link *link, struct vidas_backend_version *now)
{
	vidas_digests_forget(be->known, to);
	return vidas_layer_link(&be->next, from, to, link, now);
}

static void checksum_describe(struct vidas_backend *be,
			      void (*say)(void *arg, const char *what, const char *how), void *arg)
{
	char text[96];

	vidas_filter_pass_describe(be, say, arg);
	snprintf(text, sizeof(text), "%llu blocks compared, %llu damaged",
		 (unsigned long long)atomic_load_explicit(&be->good, memory_order_relaxed),
		 (unsigned long long)atomic_load_explicit(&be->bad, memory_order_relaxed));
	say(arg, "checksum", text);
}

static int checksum_open(const struct vidas_backend_host *host, const struct vidas_layer *next,
			 const char *params, struct vidas_layer *out)
{
	struct vidas_backend *be = calloc(1, sizeof(*be));
	uint64_t blocks = UINT64_C(1) << 20;
	int err;

	if (!be)
		return -ENOMEM;
	be->host = host;
	be->next = *next;
	err = vidas_filter_params("checksum", params,
				  (const struct vidas_filter_param[]){
					  { "blocks", VIDAS_FILTER_NUMBER, &blocks },
				  },
				  1);
	if (!err)
		err = vidas_digests_new(BLOCK_BYTES, (size_t)blocks, &be->known);
	if (err) {
		free(be);
		return err;
	}
	*out = (struct vidas_layer){ .ops = vidas_filter_pass, .be = be, .caps = next->caps };
	out->ops.name = "checksum";
	out->ops.close = checksum_close;
	out->ops.get = checksum_get;
	out->ops.put = checksum_put;
	out->ops.put_range = checksum_put_range;
	out->ops.remove = checksum_remove;
	out->ops.rename = checksum_rename;
	out->ops.link = checksum_link;
	out->ops.describe = checksum_describe;
	return 0;
}

const struct vidas_filter vidas_filter_checksum = {
	.name = "checksum",
	.summary = "compares what is fetched with what was put (blocks)",
	.open = checksum_open,
};
