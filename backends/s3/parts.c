/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Large puts: parts in parallel straight from the pool, nothing left after a failure. Parts whose
 * blocks are those that the key had when we last put or fetched it are copied by the server. The
 * key is looked at once more before the upload is completed: had it changed, parts may have been
 * copied of another version, and everything is sent. By the same look the put's conditions are
 * checked where the server does not: what another client puts between that look and the server's
 * completing of the upload is lost, a time as long as one request.
 */
#include "backends/s3/s3.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WINDOW	   256u
#define PART_LARGE (UINT64_C(32) << 20)

struct sending {
	struct s3_upload u;
	const char *key;
	const struct vidas_backend_put *put;
	struct s3_cursor cursor;
	uint64_t part_bytes, offset; /* sent so far */
	XXH128_hash_t *digest;	     /* of the blocks of the whole */
	/* What the key had when we last saw it, and how much of that was copied. */
	bool reuse, refused;
	struct vidas_backend_version before;
	uint64_t before_bytes, copied_bytes;
};

/* Digests a block of ours; is it the one that the server has? */
static bool block_same(struct sending *s, size_t block, uint64_t bytes)
{
	XXH128_hash_t there;

	s->digest[block] =
		vidas_digests_of(s->put->iov, s->put->iovcnt, block * VIDAS_DIGESTS_BLOCK, bytes);
	return vidas_digests_get(s->u.be->sent, s->key, NULL, NULL, block, 1, &there) == 1 &&
	       XXH128_isEqual(there, s->digest[block]);
}

/* The last block of either may be short: then both must be. */
static bool part_same(struct sending *s, uint64_t bytes)
{
	uint64_t block_bytes = VIDAS_DIGESTS_BLOCK, end = s->offset + bytes;

	if (!s->reuse || end > s->before_bytes || (end % block_bytes && end != s->before_bytes))
		return false;
	for (uint64_t at = s->offset; at < end; at += block_bytes)
		if (!block_same(s, (size_t)(at / block_bytes),
				end - at < block_bytes ? end - at : block_bytes))
			return false;
	return true;
}

static int part_new(struct sending *s, unsigned number, struct s3_request **out)
{
	uint64_t left = s->put->size_bytes - s->offset;
	uint64_t bytes = left < s->part_bytes ? left : s->part_bytes;
	int err;

	if (part_same(s, bytes)) {
		err = vidas_s3_upload_copy(&s->u, number, s->u.name, s->offset, bytes, out);
		s->copied_bytes += bytes;
		if (s->put->moved) /* what is there needs no way */
			atomic_fetch_add_explicit(s->put->moved, bytes, memory_order_relaxed);
	} else {
		err = vidas_s3_upload_part(&s->u, number, &s->cursor, bytes, out);
		if (!err)
			(*out)->digest = &s->digest[s->offset / VIDAS_DIGESTS_BLOCK];
		if (!err)
			(*out)->moved = s->put->moved;
	}
	vidas_s3_cursor_skip(&s->cursor, bytes);
	s->offset += bytes;
	return err;
}

/* Up to WINDOW parts. */
static int window_put(struct sending *s)
{
	struct s3_request *r[WINDOW];
	size_t n = 0;
	int err = 0;

	while (!err && s->offset < s->put->size_bytes && n < WINDOW) {
		err = part_new(s, s->u.parts + (unsigned)n + 1, &r[n]);
		n += !err;
	}
	if (!err)
		err = vidas_s3_run_all(s->u.be, r, n, false);
	for (size_t i = 0; !err && i < n; i++)
		err = vidas_s3_upload_take(&s->u, r[i]);
	while (n)
		vidas_s3_request_free(r[--n]);
	return err;
}

/* As many as may fly at a time are enough; larger ones cost the server less. */
uint64_t vidas_s3_part_bytes(const struct vidas_backend *be, uint64_t size, uint64_t most)
{
	uint64_t block = be->config.part_bytes;
	uint64_t least = (size / (S3_PARTS_MAX - 1) / block + 1) * block;
	uint64_t share = (size / be->config.parallel / block + 1) * block;

	most = most / block * block;
	share = share < most ? share : most;
	share = share > block ? share : block;
	return share > least ? share : least;
}

static void begin_known(struct sending *s)
{
	struct vidas_backend *be = s->u.be;
	XXH128_hash_t first;

	s->reuse = vidas_digests_get(be->sent, s->key, &s->before, &s->before_bytes, 0, 1,
				     &first) == 1;
}

/* Before the upload is completed: what was copied was of one version, and the conditions hold. */
static int look_again(struct sending *s, bool guarded)
{
	static const struct vidas_backend_put whatever;
	struct vidas_backend_stat there;
	int err;

	if (!guarded && !s->copied_bytes)
		return 0;
	err = vidas_s3_check(s->u.be, s->key, guarded ? s->put : &whatever, &there);
	s->refused = err == -ESTALE || err == -EEXIST;
	if (err || !s->copied_bytes)
		return err;
	return vidas_s3_version_same(&there.version, &s->before) ? 0 : -ESTALE;
}

/* A look is good for one request. */
static int complete(struct sending *s, const char *condition, struct vidas_backend_version *now)
{
	bool guarded = !condition[0] && (s->put->expect || s->put->must_not_exist);
	unsigned tries = 0;
	int err;

	for (;; tries++) {
		err = look_again(s, guarded);
		if (!err)
			err = vidas_s3_upload_complete(&s->u, condition, guarded, now);
		if (!guarded || !vidas_s3_may_pass(err) || tries >= s->u.be->config.retries)
			return err;
		usleep((useconds_t)vidas_s3_pause_us(tries));
	}
}

/* One try. */
static int parts_try(struct sending *s, const struct vidas_backend_stat *st, const char *condition,
		     struct vidas_backend_version *now)
{
	struct vidas_backend *be = s->u.be;
	char name[S3_NAME_BYTES];
	int err = vidas_s3_name(be, s->key, false, name);

	s->cursor = (struct s3_cursor){ .iov = s->put->iov, .left = s->put->iovcnt };
	s->offset = s->copied_bytes = 0;
	if (s->put->moved)
		atomic_store_explicit(s->put->moved, 0, memory_order_relaxed);
	s->u = (struct s3_upload){ .be = be };
	if (!err)
		err = vidas_s3_upload_begin(&s->u, be, name, st, NULL);
	while (!err && s->offset < s->put->size_bytes)
		err = window_put(s);
	if (!err)
		err = complete(s, condition, now);
	if (err)
		vidas_s3_upload_drop(&s->u);
	vidas_s3_upload_clear(&s->u);
	s->u = (struct s3_upload){ .be = be };
	return err;
}

int vidas_s3_parts_put(struct vidas_backend *be, const char *key,
		       const struct vidas_backend_put *put, const char *condition,
		       struct vidas_backend_version *now)
{
	size_t blocks = vidas_digests_blocks(be->sent, put->size_bytes);
	struct vidas_backend_stat st = put->attrs ? *put->attrs : (struct vidas_backend_stat){ 0 };
	struct sending s = { .u.be = be, .key = key, .put = put };
	int err;

	st.type = VIDAS_BACKEND_FILE;
	s.part_bytes = vidas_s3_part_bytes(be, put->size_bytes, PART_LARGE);
	s.digest = calloc(blocks, sizeof(*s.digest));
	if (!s.digest)
		return -ENOMEM;
	begin_known(&s);
	err = parts_try(&s, &st, condition, now);
	/* The key may have changed under the copies. */
	if (err && s.copied_bytes && !s.refused) {
		s.reuse = false;
		err = parts_try(&s, &st, condition, now);
	}
	if (!err && !now->size) {
		struct vidas_backend_stat there;

		err = vidas_s3_head(be, key, false, &there, NULL);
		if (!err)
			*now = there.version;
	}
	if (err)
		vidas_digests_forget(be->sent, key);
	else
		vidas_digests_set(be->sent, key, now, put->size_bytes, s.digest);
	if (!err && put->digest)
		vidas_digest_of_blocks(s.digest, blocks, put->digest);
	if (!err && s.copied_bytes)
		vidas_s3_log(be, 7, "%s: %llu of %llu MiB were there already", key,
			     (unsigned long long)s.copied_bytes >> 20,
			     (unsigned long long)put->size_bytes >> 20);
	free(s.digest);
	return err;
}
