/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/s3/s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool vidas_s3_md5_same(const struct s3_request *r)
{
	const struct vidas_backend_version *v = &r->reply.st.version;
	char hex[33];

	if (r->reply.foreign_hash || v->size != 32)
		return true;
	for (size_t i = 0; i < 16; i++)
		sprintf(hex + 2 * i, "%02x", r->reply.md5[i]);
	return memcmp(hex, v->bytes, 32) == 0;
}

void vidas_s3_condition(const struct vidas_backend *be, const struct vidas_backend_put *put,
			char line[96])
{
	const char *quote = be->conditions == S3_QUOTED ? "\"" : "";
	char etag[64];

	line[0] = '\0';
	if (be->conditions == S3_NO_CONDITIONS)
		return;
	if (put->must_not_exist) {
		snprintf(line, 96, "If-None-Match: *");
	} else if (put->expect) {
		vidas_s3_version_text(put->expect, etag);
		snprintf(line, 96, "If-Match: %s%s%s", quote, etag, quote);
	}
}

int vidas_s3_check(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		   struct vidas_backend_stat *there)
{
	int err = vidas_s3_head(be, key, false, there, NULL);

	if (err && err != -ENOENT)
		return err;
	if (err)
		*there = (struct vidas_backend_stat){ 0 };
	if (put->must_not_exist && !err)
		return vidas_backend_error(be->host, -EEXIST, "%s exists", key);
	if (put->expect && (err || !vidas_s3_version_same(&there->version, put->expect)))
		return vidas_backend_error(be->host, -ESTALE, "%s has another version", key);
	return 0;
}

int vidas_s3_small_new(struct vidas_backend *be, const char *name, const struct iovec *data,
		       const struct vidas_backend_stat *st, struct s3_request **out)
{
	struct s3_request *r = vidas_s3_request_new(be, S3_PUT, name);
	int err;

	if (!r)
		return -ENOMEM;
	err = vidas_s3_request_header(r, "Content-Type: %s",
				      st && st->type == VIDAS_BACKEND_DIRECTORY ?
					      "application/x-directory" :
					      "application/octet-stream");
	if (!err && st && be->config.attrs)
		err = vidas_s3_meta_headers(r, st);
	if (data->iov_len) {
		r->body = (struct s3_cursor){ .iov = data, .left = 1 };
		r->body_bytes = data->iov_len;
	}
	if (err)
		vidas_s3_request_free(r);
	else
		*out = r;
	return err;
}

/* A put that seemed to fail and then found its condition broken: by itself? */
static bool was_ours(struct vidas_backend *be, const char *key, struct s3_request *r)
{
	struct vidas_backend_stat st;

	if (!r->tries || !r->hash || vidas_s3_head(be, key, false, &st, NULL))
		return false;
	r->reply.st.version = st.version;
	return st.version.size == 32 && vidas_s3_md5_same(r);
}

static int refused(const struct vidas_backend *be, const char *key,
		   const struct vidas_backend_put *put, int err)
{
	if (put->must_not_exist && err == -ESTALE)
		return vidas_backend_error(be->host, -EEXIST, "%s exists", key);
	/* Some servers answer 404 where the condition names a version of nothing. */
	if (put->expect && (err == -ENOENT || err == -ESTALE))
		return vidas_backend_error(be->host, -ESTALE, "%s has another version", key);
	return err;
}

static int whole_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		     const char *condition, struct vidas_backend_version *now)
{
	static const struct iovec nothing;
	size_t blocks = put->digest ? vidas_digests_blocks(be->sent, put->size_bytes) : 0;
	XXH128_hash_t *digest = blocks ? calloc(blocks, sizeof(*digest)) : NULL;
	struct vidas_backend_stat st = { 0 };
	char name[S3_NAME_BYTES];
	struct s3_request *r = NULL;
	int err = blocks && !digest ? -ENOMEM : vidas_s3_name(be, key, false, name);

	if (put->attrs)
		st = *put->attrs;
	st.type = VIDAS_BACKEND_FILE;
	if (!err)
		err = vidas_s3_small_new(be, name, &nothing, &st, &r);
	if (!err && condition[0])
		err = vidas_s3_request_header(r, "%s", condition);
	if (err)
		goto out;
	r->body = (struct s3_cursor){ .iov = put->iov, .left = put->iovcnt };
	r->body_bytes = put->size_bytes;
	r->moved = put->moved;
	r->digest = digest;
	r->sum = be->sums;
	r->hash = be->etag_is_md5 && (be->config.verify == S3_VERIFY_ALL ||
				      put->size_bytes <= 2 * be->config.part_bytes);
	err = vidas_s3_run(r);
	if (err == -ESTALE && was_ours(be, key, r))
		err = 0;
	if (!err && ((r->hash && !vidas_s3_md5_same(r)) || !vidas_s3_sum_same(r)))
		err = vidas_backend_error(be->host, -EIO, "%s: it arrived damaged", key);
	if (!err && now)
		*now = r->reply.st.version;
	if (!err && put->digest)
		vidas_digest_of_blocks(digest, blocks, put->digest);
	err = refused(be, key, put, err);
out:
	free(digest);
	vidas_s3_request_free(r);
	return err;
}

static int content_put(struct vidas_backend *be, const char *key,
		       const struct vidas_backend_put *put, struct vidas_backend_version *now)
{
	bool parts = put->size_bytes > 2 * be->config.part_bytes;
	struct vidas_backend_stat there;
	char condition[96];
	int err = 0;

	vidas_s3_condition(be, put, condition);
	/* One conditional PUT is atomic, where completing an upload is not; but takes one stream, and all. */
	if (parts && condition[0] && !vidas_s3_parts_conditional(be)) {
		parts = put->size_bytes > be->config.atomic_bytes;
		if (parts)
			condition[0] = '\0';
	}
	/* Parts are not sent in vain; what counts is the look before they are completed. */
	if (!condition[0] && (put->must_not_exist || put->expect))
		err = vidas_s3_check(be, key, put, &there);
	if (err)
		return err;
	if (!parts)
		return whole_put(be, key, put, condition, now);
	return refused(be, key, put, vidas_s3_parts_put(be, key, put, condition, now));
}

int vidas_s3_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		 struct vidas_backend_version *now)
{
	struct vidas_backend_version version = { 0 };
	int err = 0;

	/* What is expected to be a file is one, in a directory. */
	if (!put->expect) {
		err = vidas_s3_dir_refuse(be, key);
		if (!err)
			err = vidas_s3_dir_parents(be, key);
	}
	if (!err)
		err = content_put(be, key, put, &version);
	if (err)
		return err;
	vidas_s3_dirs_note(be, key, S3_FILE);
	if (now)
		*now = version;
	return 0;
}
