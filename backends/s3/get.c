/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes straight into the pool, in parallel ranges that must all be of one version. */
#include "backends/s3/s3.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW	 256u /* ranges that are laid out at a time */
#define ATTEMPTS 6

struct fetch {
	struct vidas_backend *be;
	const char *key;
	uint64_t offset, left;
	struct s3_cursor at;
	struct vidas_backend_version version; /* that all of it must have; size 0 not known yet */
	ssize_t total;
	bool ended;
	uint64_t first;	       /* offset of the window */
	XXH128_hash_t *digest; /* of a window's blocks, or NULL: it does not begin with one */
};

uint64_t vidas_s3_iov_bytes(const struct iovec *iov, int iovcnt)
{
	uint64_t size = 0;

	for (int i = 0; i < iovcnt; i++)
		size += iov[i].iov_len;
	return size;
}

static int range_new(struct fetch *f, uint64_t bytes, struct s3_request **out)
{
	char etag[64];
	struct s3_request *r;
	int err = vidas_s3_request_key(f->be, S3_GET, f->key, false, &r);

	if (err)
		return err;
	if (f->version.size) {
		vidas_s3_version_text(&f->version, etag);
		err = vidas_s3_request_header(r, "If-Match: \"%s\"", etag);
	}
	if (!err && f->be->sums && f->offset == 0 && bytes == f->left) {
		r->sum = true;
		err = vidas_s3_request_header(r, "x-amz-checksum-mode: ENABLED");
	}
	r->sink = f->at;
	r->sink_bytes = bytes;
	r->sink_offset = f->offset;
	r->accept = 416;
	r->hash = f->be->etag_is_md5 && f->offset == 0 && bytes == f->left;
	if (f->digest)
		r->digest = &f->digest[(f->offset - f->first) / VIDAS_DIGESTS_BLOCK];
	vidas_s3_cursor_skip(&f->at, bytes);
	f->offset += bytes;
	f->left -= bytes;
	*out = r;
	if (err)
		vidas_s3_request_free(r);
	return err;
}

/* Whole blocks of a large object need not be sent again if they are put back as they came. */
static void range_remember(struct fetch *f, const struct s3_request *r)
{
	uint64_t end = r->sink_offset + r->reply.received;
	size_t n = r->reply.digests;

	if (!r->digest || !r->reply.ranged || r->reply.whole <= 2 * f->be->config.part_bytes)
		return;
	if (n && r->reply.received % VIDAS_DIGESTS_BLOCK && end != r->reply.whole)
		n--; /* a part of a block */
	if (n)
		vidas_digests_add(f->be->sent, f->key, &r->reply.st.version, r->reply.whole,
				  (size_t)(r->sink_offset / VIDAS_DIGESTS_BLOCK), n, r->digest);
}

/* -EAGAIN: the key was replaced meanwhile. */
static int range_take(struct fetch *f, struct s3_request *r)
{
	const struct s3_reply *reply = &r->reply;

	if (reply->http == 416) {
		f->ended = true;
		return 0;
	}
	if (reply->st.type == VIDAS_BACKEND_SYMLINK)
		return vidas_backend_error(f->be->host, -EINVAL, "%s is a symbolic link", f->key);
	if (!f->version.size)
		f->version = reply->st.version;
	if (!vidas_s3_version_same(&f->version, &reply->st.version))
		return -EAGAIN;
	if (f->ended && reply->received)
		return -EAGAIN;
	if (reply->received < r->sink_bytes) {
		f->ended = true;
		if (reply->ranged && r->sink_offset + reply->received != reply->whole)
			return vidas_backend_error(f->be->host, -EIO,
						   "%s: the answer was cut short", f->key);
	}
	if (r->hash && (!reply->ranged || reply->whole == reply->received) && !vidas_s3_md5_same(r))
		return vidas_backend_error(f->be->host, -EIO,
					   "%s: the bytes that came are not those of its ETag",
					   f->key);
	if (!vidas_s3_sum_same(r))
		return vidas_backend_error(f->be->host, -EIO,
					   "%s: the bytes that came are not those of its checksum",
					   f->key);
	f->total += (ssize_t)reply->received;
	range_remember(f, r);
	return 0;
}

/* Without memory for digests nothing is remembered. */
static void window_begin(struct fetch *f)
{
	uint64_t most = WINDOW * f->be->config.part_bytes;

	f->first = f->offset;
	f->digest = NULL;
	if (f->offset % VIDAS_DIGESTS_BLOCK == 0)
		f->digest =
			calloc(vidas_digests_blocks(f->be->sent, f->left < most ? f->left : most),
			       sizeof(*f->digest));
}

static int window_get(struct fetch *f)
{
	struct s3_request *r[WINDOW];
	size_t n = 0;
	int err = 0;

	window_begin(f);
	while (!err && f->left && n < WINDOW) {
		uint64_t part = f->be->config.part_bytes;

		err = range_new(f, f->left < part ? f->left : part, &r[n]);
		n += !err;
	}
	if (!err)
		err = vidas_s3_run_all(f->be, r, n, false);
	for (size_t i = 0; !err && i < n; i++)
		err = range_take(f, r[i]);
	while (n)
		vidas_s3_request_free(r[--n]);
	free(f->digest);
	return err;
}

/* Why is there no such object? */
static int absent(struct vidas_backend *be, const char *key)
{
	enum s3_presence presence;
	int err = vidas_s3_dir_look(be, key, &presence);

	if (err)
		return err;
	if (presence != S3_ABSENT)
		return vidas_backend_error(be->host, -EISDIR, "%s is a directory", key);
	return vidas_backend_error(be->host, -ENOENT, "s3://%s/%s%s: there is no such object",
				   be->config.bucket, be->config.prefix, key);
}

/* Nothing was asked for, or nothing is there that far: still the key and its version count. */
static ssize_t nothing_get(struct fetch *f, const struct vidas_backend_version *expect,
			   struct vidas_backend_version *seen)
{
	struct vidas_backend_stat st;
	int err = vidas_s3_head(f->be, f->key, false, &st, NULL);

	if (err)
		return err == -ENOENT ? absent(f->be, f->key) : err;
	if (st.type == VIDAS_BACKEND_SYMLINK)
		return vidas_backend_error(f->be->host, -EINVAL, "%s is a symbolic link", f->key);
	if (expect && !vidas_s3_version_same(expect, &st.version))
		return vidas_backend_error(f->be->host, -ESTALE, "%s has another version", f->key);
	if (seen)
		*seen = st.version;
	return 0;
}

ssize_t vidas_s3_get(struct vidas_backend *be, const char *key, uint64_t offset,
		     const struct iovec *iov, int iovcnt,
		     const struct vidas_backend_version *expect, struct vidas_backend_version *seen)
{
	uint64_t size = vidas_s3_iov_bytes(iov, iovcnt);
	struct fetch f;
	struct vidas_backend_stat st;
	int err = 0;

	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		f = (struct fetch){ .be = be,
				    .key = key,
				    .offset = offset,
				    .left = size,
				    .at = { .iov = iov, .left = iovcnt } };
		if (expect)
			f.version = *expect;
		for (err = 0; !err && f.left && !f.ended;)
			err = window_get(&f);
		/* Ranges of two versions, or refused because of what our own first one saw. */
		if ((err == -EAGAIN || err == -ESTALE) && expect)
			err = -ESTALE;
		else if (err == -EAGAIN || err == -ESTALE)
			continue;
		/* Swift for a moment has neither the old nor the new of what is being replaced. */
		if (err != -ENOENT || vidas_s3_head(be, key, false, &st, NULL))
			break;
	}
	if (err == -ENOENT)
		return absent(be, key);
	if (err == -ESTALE && expect)
		return vidas_backend_error(be->host, -ESTALE, "%s has another version", key);
	if (err)
		return err == -ESTALE ? -EAGAIN : err;
	if (!f.total)
		return nothing_get(&f, expect, seen);
	if (seen)
		*seen = f.version;
	return f.total;
}
