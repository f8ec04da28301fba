/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * DeleteObjects: a thousand names in one request. Servers that do not know it are asked once, and
 * names that it leaves, or that XML cannot have, are deleted one by one.
 */
#include "backends/s3/s3.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BULK_MAX 1000u
#define WINDOW	 256u

/* Names are UTF-8 (encode.c); of that XML 1.0 lacks most control characters, U+FFFE and U+FFFF. */
static bool xml_can(const char *name)
{
	for (const unsigned char *c = (const unsigned char *)name; *c; c++)
		if ((*c < 0x20 && !strchr("\t\n\r", *c)) ||
		    (c[0] == 0xef && c[1] == 0xbf && (c[2] == 0xbe || c[2] == 0xbf)))
			return false;
	return true;
}

static int xml_print(FILE *to, const char *name)
{
	fputs("<Object><Key>", to);
	for (; *name; name++)
		if (strchr("<>&\"'\t\n\r", *name))
			fprintf(to, "&#%d;", *name);
		else
			fputc(*name, to);
	fputs("</Key></Object>", to);
	return ferror(to) ? -ENOMEM : 0;
}

static int body_make(char *const *name, size_t names, char **out, size_t *size)
{
	FILE *to = open_memstream(out, size);
	int err = to ? 0 : -ENOMEM;

	if (!to)
		return err;
	fputs("<Delete><Quiet>true</Quiet>", to);
	for (size_t i = 0; i < names && !err; i++)
		if (xml_can(name[i]))
			err = xml_print(to, name[i]);
	fputs("</Delete>", to);
	return fclose(to) || err ? -ENOMEM : 0;
}

/* Older servers insist on it. */
static int md5_header(struct s3_request *r, const char *body, size_t size)
{
	unsigned char digest[EVP_MAX_MD_SIZE], text[2 * EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (EVP_Digest(body, size, digest, &n, EVP_md5(), NULL) != 1)
		return -EOPNOTSUPP;
	EVP_EncodeBlock(text, digest, (int)n);
	return vidas_s3_request_header(r, "Content-MD5: %s", text);
}

static int single(struct vidas_backend *be, char *const *name, size_t names)
{
	struct s3_request *r[WINDOW];
	int err = 0;

	for (size_t done = 0; !err && done < names;) {
		size_t n = 0;

		while (!err && n < WINDOW && done < names) {
			r[n] = vidas_s3_request_new(be, S3_DELETE, name[done++]);
			err = r[n] ? 0 : -ENOMEM;
			if (r[n])
				r[n++]->accept = 404;
		}
		if (!err)
			err = vidas_s3_run_all(be, r, n, false);
		while (n)
			vidas_s3_request_free(r[--n]);
	}
	return err;
}

/* What was left: whatever the reason, asking for it alone tells it, or deletes it. */
static int leftovers(struct vidas_backend *be, char *const *name, size_t names,
		     const struct s3_request *r)
{
	struct s3_answer a = { 0 };
	int err = 0;

	for (size_t i = 0; i < names && !err; i++)
		if (!xml_can(name[i]))
			err = single(be, &name[i], 1);
	if (!err && r->reply.text && r->reply.text_bytes)
		err = vidas_s3_xml_parse(r->reply.text, r->reply.text_bytes, &a);
	if (err == -EBADMSG)
		err = single(be, name, names);
	for (size_t i = 0; i < a.entries && !err; i++)
		if (strlen(a.entry[i].name) <= S3_KEY_MAX + 1)
			err = single(be, &a.entry[i].name, 1);
	vidas_s3_answer_clear(&a);
	return err;
}

static bool unknown_there(const struct s3_request *r)
{
	return r->reply.http == 400 || r->reply.http == 405 || r->reply.http == 411 ||
	       r->reply.http == 501;
}

static int bulk(struct vidas_backend *be, char *const *name, size_t names)
{
	struct s3_request *r = vidas_s3_request_new(be, S3_POST, "");
	struct iovec iov = { 0 };
	char *body = NULL;
	size_t size = 0;
	int err = r ? vidas_s3_request_query(r, "delete", "") : -ENOMEM;

	if (!err)
		err = body_make(name, names, &body, &size);
	if (!err)
		err = vidas_s3_request_header(r, "Content-Type: application/xml");
	if (!err)
		err = md5_header(r, body, size);
	if (!err) {
		iov = (struct iovec){ .iov_base = body, .iov_len = size };
		r->body = (struct s3_cursor){ .iov = &iov, .left = 1 };
		r->body_bytes = size;
		r->long_wait = true;
		(void)vidas_s3_run_all(be, &r, 1, true);
		err = r->err;
		if (!err)
			err = leftovers(be, name, names, r);
		else if (unknown_there(r))
			err = -EOPNOTSUPP;
		else
			(void)vidas_s3_say(r);
	}
	vidas_s3_request_free(r);
	free(body);
	return err;
}

int vidas_s3_delete_names(struct vidas_backend *be, char *const *name, size_t names)
{
	bool known = atomic_load_explicit(&be->bulk, memory_order_relaxed) >= 0;
	int err = 0;

	for (size_t done = 0, n; done < names && !err; done += n) {
		n = names - done < BULK_MAX ? names - done : BULK_MAX;
		err = known && n > 1 ? bulk(be, name + done, n) : -EOPNOTSUPP;
		if (err != -EOPNOTSUPP)
			continue;
		if (known && n > 1) {
			known = false;
			atomic_store_explicit(&be->bulk, -1, memory_order_relaxed);
			vidas_s3_log(be, 6, "this server has no bulk delete: one request a name");
		}
		err = single(be, name + done, n);
	}
	return err;
}
