/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Multipart uploads: parts in parallel straight from the pool, nothing left after a failure. */
#include "backends/s3/s3.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW	   256u
#define PART_XML   160u /* bytes of one part in the list that completes */
#define PART_LARGE (UINT64_C(32) << 20)
#define PART_ROUND (UINT64_C(1) << 20)

struct upload {
	struct vidas_backend *be;
	char name[S3_NAME_BYTES];
	char id[1024];
	uint64_t part_bytes;
	unsigned parts; /* that are there */
	char *xml;	/* "<CompleteMultipartUpload>..." */
	size_t used, room;
	EVP_MD_CTX *md; /* of the parts' MD5s: the ETag of the whole, as most servers have it */
};

static int upload_begin(struct upload *u, const struct vidas_backend_stat *st)
{
	struct s3_request *r = vidas_s3_request_new(u->be, S3_POST, u->name);
	struct s3_answer a = { 0 };
	int err = r ? 0 : -ENOMEM;

	if (!err)
		err = vidas_s3_request_query(r, "uploads", "");
	if (!err)
		err = vidas_s3_request_header(r, "Content-Type: application/octet-stream");
	if (!err && st && u->be->config.attrs)
		err = vidas_s3_meta_headers(r, st);
	if (!err)
		err = vidas_s3_run(r);
	if (!err) {
		err = r->reply.text ? vidas_s3_xml_parse(r->reply.text, r->reply.text_bytes, &a) :
				      -EBADMSG;
		if (!err && !a.upload_id[0])
			err = -EBADMSG;
		if (err)
			err = vidas_backend_error(u->be->host, -EIO,
						  "%s: the server began an upload without an id",
						  u->name);
		snprintf(u->id, sizeof(u->id), "%s", a.upload_id);
		vidas_s3_answer_clear(&a);
	}
	vidas_s3_request_free(r);
	return err;
}

int vidas_s3_parts_abort(struct vidas_backend *be, const char *name, const char *id)
{
	struct s3_request *r = vidas_s3_request_new(be, S3_DELETE, name);
	int err = r ? vidas_s3_request_query(r, "uploadId", id) : -ENOMEM;

	if (!err)
		err = vidas_s3_run(r);
	vidas_s3_request_free(r);
	return err;
}

static int part_new(struct upload *u, unsigned number, const struct s3_cursor *at, uint64_t bytes,
		    struct s3_request **out)
{
	struct s3_request *r = vidas_s3_request_new(u->be, S3_PUT, u->name);
	char text[16];
	int err = r ? 0 : -ENOMEM;

	snprintf(text, sizeof(text), "%u", number);
	if (!err)
		err = vidas_s3_request_query(r, "partNumber", text);
	if (!err)
		err = vidas_s3_request_query(r, "uploadId", u->id);
	if (err) {
		vidas_s3_request_free(r);
		return err;
	}
	r->body = *at;
	r->body_bytes = bytes;
	r->hash = u->be->etag_is_md5 && u->be->config.verify == S3_VERIFY_ALL;
	*out = r;
	return 0;
}

static int xml_add(struct upload *u, unsigned number, const struct vidas_backend_version *version)
{
	char etag[64];

	if (u->room - u->used < PART_XML) {
		size_t room = 2 * u->room + 64 * PART_XML;
		char *xml = realloc(u->xml, room);

		if (!xml)
			return -ENOMEM;
		u->xml = xml;
		u->room = room;
	}
	vidas_s3_version_text(version, etag);
	if (!etag[0] || strpbrk(etag, "<>&"))
		return vidas_backend_error(u->be->host, -EIO, "%s: a part has no ETag", u->name);
	u->used += (size_t)snprintf(
		u->xml + u->used, u->room - u->used,
		"<Part><PartNumber>%u</PartNumber><ETag>&quot;%s&quot;</ETag></Part>", number,
		etag);
	return 0;
}

/* A part's ETag goes into that of the whole as the MD5 that it is. */
static void etag_add(struct upload *u, const struct vidas_backend_version *v)
{
	unsigned char digest[16];
	char text[64];
	unsigned byte;

	vidas_s3_version_text(v, text);
	for (size_t i = 0; u->md && i < sizeof(digest); i++) {
		if (v->size != 32 || sscanf(text + 2 * i, "%2x", &byte) != 1)
			return;
		digest[i] = (unsigned char)byte;
	}
	if (u->md)
		EVP_DigestUpdate(u->md, digest, sizeof(digest));
}

static int part_take(struct upload *u, struct s3_request *r)
{
	if (r->hash && !vidas_s3_md5_same(r))
		return vidas_backend_error(u->be->host, -EIO, "%s: a part arrived damaged",
					   u->name);
	etag_add(u, &r->reply.st.version);
	u->parts++;
	return xml_add(u, u->parts, &r->reply.st.version);
}

/* Up to WINDOW parts. */
static int window_put(struct upload *u, struct s3_cursor *at, uint64_t *left)
{
	struct s3_request *r[WINDOW];
	size_t n = 0;
	int err = 0;

	while (!err && *left && n < WINDOW) {
		uint64_t bytes = *left < u->part_bytes ? *left : u->part_bytes;

		err = part_new(u, u->parts + (unsigned)n + 1, at, bytes, &r[n]);
		if (err)
			break;
		vidas_s3_cursor_skip(at, bytes);
		*left -= bytes;
		n++;
	}
	if (!err)
		err = vidas_s3_run_all(u->be, r, n, false);
	for (size_t i = 0; !err && i < n; i++)
		err = part_take(u, r[i]);
	while (n)
		vidas_s3_request_free(r[--n]);
	return err;
}

/* An upload that is gone when it is completed the second time was completed the first time. */
static bool was_completed(struct upload *u, const struct s3_request *r, const char *key,
			  struct vidas_backend_version *now)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	struct vidas_backend_stat st;
	char want[48] = "", have[64];
	unsigned n = 0;

	if (!r->tries || !u->md || !key || EVP_DigestFinal_ex(u->md, digest, &n) != 1 || n != 16)
		return false;
	for (size_t i = 0; i < 16; i++)
		sprintf(want + 2 * i, "%02x", digest[i]);
	sprintf(want + 32, "-%u", u->parts);
	if (vidas_s3_head(u->be, key, false, &st, NULL))
		return false;
	vidas_s3_version_text(&st.version, have);
	*now = st.version;
	return strcmp(want, have) == 0;
}

static int upload_complete(struct upload *u, const char *key, const char *condition,
			   struct vidas_backend_version *now)
{
	static const char head[] = "<CompleteMultipartUpload>",
			  tail[] = "</CompleteMultipartUpload>";
	struct iovec body[3] = { { .iov_base = (void *)(uintptr_t)head, .iov_len = strlen(head) },
				 { .iov_base = u->xml, .iov_len = u->used },
				 { .iov_base = (void *)(uintptr_t)tail, .iov_len = strlen(tail) } };
	struct s3_request *r = vidas_s3_request_new(u->be, S3_POST, u->name);
	struct s3_answer a = { 0 };
	int err = r ? vidas_s3_request_query(r, "uploadId", u->id) : -ENOMEM;

	if (!err && condition[0])
		err = vidas_s3_request_header(r, "%s", condition);
	if (!err)
		err = vidas_s3_request_header(r, "Content-Type: application/xml");
	if (err)
		goto out;
	r->body = (struct s3_cursor){ .iov = body, .left = 3 };
	r->body_bytes = vidas_s3_iov_bytes(body, 3);
	r->long_wait = true;
	err = vidas_s3_run(r);
	if (err) {
		if (was_completed(u, r, key, now))
			err = 0;
		goto out;
	}
	if (r->reply.text && vidas_s3_xml_parse(r->reply.text, r->reply.text_bytes, &a) == 0)
		vidas_s3_version_set(now, a.etag);
	vidas_s3_answer_clear(&a);
out:
	vidas_s3_request_free(r);
	return err;
}

static void upload_clear(struct upload *u)
{
	free(u->xml);
	EVP_MD_CTX_free(u->md);
}

static void upload_init(struct upload *u, struct vidas_backend *be)
{
	*u = (struct upload){ .be = be };
	u->md = be->etag_is_md5 ? EVP_MD_CTX_new() : NULL;
	if (u->md && EVP_DigestInit_ex(u->md, EVP_md5(), NULL) != 1) {
		EVP_MD_CTX_free(u->md);
		u->md = NULL;
	}
}

/* Larger parts cost the server less; as many as may fly at a time are enough. */
static uint64_t part_bytes(const struct vidas_backend *be, uint64_t size)
{
	uint64_t least = (size / (S3_PARTS_MAX - 1) + PART_ROUND) & ~(PART_ROUND - 1);
	uint64_t share = (size / be->config.parallel + PART_ROUND) & ~(PART_ROUND - 1);
	uint64_t part = share < PART_LARGE ? share : PART_LARGE;

	part = part > be->config.part_bytes ? part : be->config.part_bytes;
	return part > least ? part : least;
}

int vidas_s3_parts_put(struct vidas_backend *be, const char *key,
		       const struct vidas_backend_put *put, const char *condition,
		       struct vidas_backend_version *now)
{
	struct s3_cursor at = { .iov = put->iov, .left = put->iovcnt };
	uint64_t left = put->size_bytes;
	struct vidas_backend_stat st = { 0 };
	struct upload u;
	int err;

	upload_init(&u, be);
	if (put->attrs)
		st = *put->attrs;
	st.type = VIDAS_BACKEND_FILE;
	u.part_bytes = part_bytes(be, left);
	err = vidas_s3_name(be, key, false, u.name);
	if (!err)
		err = upload_begin(&u, &st);
	if (err)
		goto out;
	while (!err && left)
		err = window_put(&u, &at, &left);
	if (!err)
		err = upload_complete(&u, key, condition, now);
	/* The words are those of the failure; what cannot be aborted now, the keeper will find. */
	if (err) {
		struct s3_request *r = vidas_s3_request_new(be, S3_DELETE, u.name);

		if (r && !vidas_s3_request_query(r, "uploadId", u.id))
			(void)vidas_s3_run_all(be, &r, 1, true);
		vidas_s3_request_free(r);
	} else if (!now->size) {
		struct vidas_backend_stat there;

		err = vidas_s3_head(be, key, false, &there, NULL);
		if (!err)
			*now = there.version;
	}
out:
	upload_clear(&u);
	return err;
}

/* An upload with a condition that cannot hold: is it refused? */
static bool conditions_ask(struct vidas_backend *be)
{
	const struct vidas_backend_version none = { .size = 32,
						    .bytes = "00000000000000000000000000000000" };
	const struct vidas_backend_put never = { .expect = &none };
	struct iovec byte = { .iov_base = (char[]){ "x" }, .iov_len = 1 };
	struct s3_cursor at = { .iov = &byte, .left = 1 };
	struct vidas_backend_version now;
	char condition[96];
	struct upload u;
	uint64_t left = 1;
	bool refused;
	int err;

	upload_init(&u, be);
	vidas_s3_condition(be, &never, condition);
	snprintf(u.name, sizeof(u.name), "%s.vidas-s3-probe-%llx", be->config.prefix,
		 (unsigned long long)vidas_s3_now_us());
	u.part_bytes = be->config.part_bytes;
	err = upload_begin(&u, NULL);
	if (!err)
		err = window_put(&u, &at, &left);
	if (!err)
		err = upload_complete(&u, NULL, condition, &now);
	refused = err == -ESTALE || err == -ENOENT;
	if (u.id[0] && err)
		(void)vidas_s3_parts_abort(be, u.name, u.id);
	if (u.id[0] && !err) {
		struct s3_request *r = vidas_s3_request_new(be, S3_DELETE, u.name);

		if (r)
			(void)vidas_s3_run(r);
		vidas_s3_request_free(r);
	}
	upload_clear(&u);
	return refused;
}

bool vidas_s3_parts_conditional(struct vidas_backend *be)
{
	int known = atomic_load_explicit(&be->complete_conditions, memory_order_relaxed);

	if (!known) {
		known = conditions_ask(be) ? 1 : -1;
		atomic_store_explicit(&be->complete_conditions, known, memory_order_relaxed);
		if (known < 0)
			vidas_s3_log(
				be, 6,
				"this server has no conditional multipart uploads: conditional "
				"puts up to 5 GiB are made in one piece, above that checked first");
	}
	return known > 0;
}
