/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Multipart uploads, whatever their parts come from: begun, completed, or aborted. */
#include "backends/s3/s3.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_XML 256u /* bytes of one part in the list that completes */

static void upload_init(struct s3_upload *u, struct vidas_backend *be, const char *name)
{
	*u = (struct s3_upload){ .be = be };
	snprintf(u->name, sizeof(u->name), "%s", name);
	u->md = be->etag_is_md5 ? EVP_MD_CTX_new() : NULL;
	if (u->md && EVP_DigestInit_ex(u->md, EVP_md5(), NULL) != 1) {
		EVP_MD_CTX_free(u->md);
		u->md = NULL;
	}
}

void vidas_s3_upload_clear(struct s3_upload *u)
{
	free(u->xml);
	EVP_MD_CTX_free(u->md);
}

static int id_take(struct s3_upload *u, const struct s3_request *r)
{
	struct s3_answer a = { 0 };
	int err = r->reply.text ? vidas_s3_xml_parse(r->reply.text, r->reply.text_bytes, &a) :
				  -EBADMSG;

	if (!err && !a.upload_id[0])
		err = -EBADMSG;
	if (err)
		err = vidas_backend_error(u->be->host, -EIO,
					  "%s: the server began an upload without an id", u->name);
	snprintf(u->id, sizeof(u->id), "%s", a.upload_id);
	vidas_s3_answer_clear(&a);
	return err;
}

int vidas_s3_upload_begin(struct s3_upload *u, struct vidas_backend *be, const char *name,
			  const struct vidas_backend_stat *st, const struct curl_slist *keep)
{
	struct s3_request *r = vidas_s3_request_new(be, S3_POST, name);
	int err = r ? 0 : -ENOMEM;

	upload_init(u, be, name);
	if (!err)
		err = vidas_s3_request_query(r, "uploads", "");
	if (!err && !keep)
		err = vidas_s3_request_header(r, "Content-Type: application/octet-stream");
	if (!err && be->sums)
		err = vidas_s3_request_header(r, "x-amz-checksum-algorithm: SHA256");
	for (; !err && keep; keep = keep->next)
		err = vidas_s3_request_header(r, "%s", keep->data);
	if (!err && st && be->config.attrs)
		err = vidas_s3_meta_headers(r, st);
	if (!err)
		err = vidas_s3_run(r);
	if (!err)
		err = id_take(u, r);
	vidas_s3_request_free(r);
	return err;
}

int vidas_s3_upload_abort(struct vidas_backend *be, const char *name, const char *id)
{
	struct s3_request *r = vidas_s3_request_new(be, S3_DELETE, name);
	int err = r ? vidas_s3_request_query(r, "uploadId", id) : -ENOMEM;

	if (!err)
		err = vidas_s3_run(r);
	vidas_s3_request_free(r);
	return err;
}

void vidas_s3_upload_drop(struct s3_upload *u)
{
	struct s3_request *r = u->id[0] ? vidas_s3_request_new(u->be, S3_DELETE, u->name) : NULL;

	if (r && !vidas_s3_request_query(r, "uploadId", u->id))
		(void)vidas_s3_run_all(u->be, &r, 1, true);
	vidas_s3_request_free(r);
}

static int part_new(struct s3_upload *u, unsigned number, struct s3_request **out)
{
	struct s3_request *r = vidas_s3_request_new(u->be, S3_PUT, u->name);
	char text[16];
	int err = r ? 0 : -ENOMEM;

	snprintf(text, sizeof(text), "%u", number);
	if (!err)
		err = vidas_s3_request_query(r, "partNumber", text);
	if (!err)
		err = vidas_s3_request_query(r, "uploadId", u->id);
	if (err)
		vidas_s3_request_free(r);
	else
		*out = r;
	return err;
}

int vidas_s3_upload_part(struct s3_upload *u, unsigned number, const struct s3_cursor *at,
			 uint64_t bytes, struct s3_request **out)
{
	int err = part_new(u, number, out);

	if (err)
		return err;
	(*out)->body = *at;
	(*out)->body_bytes = bytes;
	(*out)->sum = u->be->sums;
	(*out)->hash = u->be->etag_is_md5 && u->be->config.verify == S3_VERIFY_ALL;
	return 0;
}

int vidas_s3_upload_copy(struct s3_upload *u, unsigned number, const char *from, uint64_t offset,
			 uint64_t bytes, struct s3_request **out)
{
	char source[S3_PATH_BYTES];
	struct s3_request *r;
	int err = part_new(u, number, &r);

	if (err)
		return err;
	if (vidas_s3_percent_encode(from, true, source, sizeof(source)) < 0)
		err = -EINVAL;
	if (!err)
		err = vidas_s3_request_header(r, "x-amz-copy-source: /%s/%s", u->be->config.bucket,
					      source);
	if (!err)
		err = vidas_s3_request_header(r, "x-amz-copy-source-range: bytes=%llu-%llu",
					      (unsigned long long)offset,
					      (unsigned long long)(offset + bytes - 1));
	r->long_wait = true;
	if (err)
		vidas_s3_request_free(r);
	else
		*out = r;
	return err;
}

static int xml_add(struct s3_upload *u, unsigned number,
		   const struct vidas_backend_version *version, const char *sum)
{
	char etag[64], element[128] = "";

	if (u->room - u->used < PART_XML) {
		size_t room = 2 * u->room + 64 * PART_XML;
		char *xml = realloc(u->xml, room);

		if (!xml)
			return -ENOMEM;
		u->xml = xml;
		u->room = room;
	}
	vidas_s3_version_text(version, etag);
	if (*sum)
		snprintf(element, sizeof(element), "<ChecksumSHA256>%s</ChecksumSHA256>", sum);
	if (!etag[0] || strpbrk(etag, "<>&") || strpbrk(sum, "<>&"))
		return vidas_backend_error(u->be->host, -EIO, "%s: a part has no ETag", u->name);
	u->used += (size_t)snprintf(
		u->xml + u->used, u->room - u->used,
		"<Part><PartNumber>%u</PartNumber><ETag>&quot;%s&quot;</ETag>%s</Part>", number,
		etag, element);
	return 0;
}

/* A part's ETag goes into that of the whole as the MD5 that it is. */
static void etag_add(struct s3_upload *u, const struct vidas_backend_version *v)
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

/* A copy says its ETag, and its checksum, in the body. */
static void copy_read(struct s3_request *r)
{
	struct s3_answer a = { 0 };

	if (!r->reply.st.version.size && r->reply.text &&
	    vidas_s3_xml_parse(r->reply.text, r->reply.text_bytes, &a) == 0) {
		vidas_s3_version_set(&r->reply.st.version, a.etag);
		snprintf(r->reply.sum, sizeof(r->reply.sum), "%s", a.sum);
	}
	vidas_s3_answer_clear(&a);
}

int vidas_s3_upload_take(struct s3_upload *u, struct s3_request *r)
{
	if ((r->hash && !vidas_s3_md5_same(r)) || !vidas_s3_sum_same(r))
		return vidas_backend_error(u->be->host, -EIO, "%s: a part arrived damaged",
					   u->name);
	copy_read(r);
	etag_add(u, &r->reply.st.version);
	u->parts++;
	return xml_add(u, u->parts, &r->reply.st.version, r->sum ? r->sum_text : r->reply.sum);
}

/* An upload that is gone when it is completed the second time was completed the first time; one whose
 * answer did not come may be. */
static bool was_completed(struct s3_upload *u, const struct s3_request *r,
			  struct vidas_backend_version *now)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	struct vidas_backend_stat st;
	char want[48] = "", have[64];
	unsigned n = 0;

	if ((!r->tries && !r->once) || !u->md || EVP_DigestFinal_ex(u->md, digest, &n) != 1 ||
	    n != 16)
		return false;
	for (size_t i = 0; i < 16; i++)
		sprintf(want + 2 * i, "%02x", digest[i]);
	sprintf(want + 32, "-%u", u->parts);
	if (vidas_s3_head_name(u->be, u->name, &st, NULL))
		return false;
	vidas_s3_version_text(&st.version, have);
	*now = st.version;
	return strcmp(want, have) == 0;
}

int vidas_s3_upload_complete(struct s3_upload *u, const char *condition, bool once,
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

	*now = (struct vidas_backend_version){ 0 };
	if (!err && condition[0])
		err = vidas_s3_request_header(r, "%s", condition);
	if (!err)
		err = vidas_s3_request_header(r, "Content-Type: application/xml");
	if (err)
		goto out;
	r->body = (struct s3_cursor){ .iov = body, .left = 3 };
	r->body_bytes = vidas_s3_iov_bytes(body, 3);
	r->long_wait = true;
	r->once = once;
	err = vidas_s3_run(r);
	if (err) {
		if (was_completed(u, r, now))
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
