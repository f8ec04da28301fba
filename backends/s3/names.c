/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What works on one name. */
#include "backends/s3/s3.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void vidas_s3_stat_of(const struct s3_request *r, struct vidas_backend_stat *st)
{
	*st = r->reply.st;
	st->size_bytes = r->reply.ranged ? r->reply.whole : r->reply.length;
	/* Only a name that ends in '/' is a directory's, whatever its mode says. */
	if (st->type != VIDAS_BACKEND_SYMLINK || !r->be->config.attrs)
		st->type = VIDAS_BACKEND_FILE;
	if (!r->be->config.attrs)
		st->valid &= VIDAS_BACKEND_MTIME;
}

/* HEAD has no body and so no reason: a GET of a byte has. */
static int reason_ask(struct s3_request *head)
{
	struct s3_request *r = vidas_s3_request_new(head->be, S3_GET, head->name);
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	int err = head->err;

	if (!r)
		return err;
	r->sink = (struct s3_cursor){ .iov = &iov, .left = 1 };
	r->sink_bytes = 1;
	r->accept = 416;
	if (vidas_s3_run(r))
		err = r->err;
	vidas_s3_request_free(r);
	return err;
}

int vidas_s3_head_name(struct vidas_backend *be, const char *name, struct vidas_backend_stat *st,
		       struct curl_slist **keep)
{
	struct s3_request *r = vidas_s3_request_new(be, S3_HEAD, name);
	int err;

	if (!r)
		return -ENOMEM;
	r->accept = 404;
	r->keep = keep != NULL;
	err = vidas_s3_run(r);
	if (!err && r->reply.http == 404) {
		err = vidas_backend_error(be->host, -ENOENT, "s3://%s/%s: there is no such object",
					  be->config.bucket, name);
	} else if (!err) {
		vidas_s3_stat_of(r, st);
		if (keep) {
			*keep = r->reply.keep;
			r->reply.keep = NULL;
		}
	} else if (r->reply.http == 301 || r->reply.http == 400 || r->reply.http == 403) {
		err = reason_ask(r);
	}
	vidas_s3_request_free(r);
	return err;
}

int vidas_s3_head(struct vidas_backend *be, const char *key, bool dir,
		  struct vidas_backend_stat *st, struct curl_slist **keep)
{
	char name[S3_NAME_BYTES];
	int err = vidas_s3_name(be, key, dir, name);

	if (!err)
		err = vidas_s3_head_name(be, name, st, keep);
	if (!err && dir)
		st->type = VIDAS_BACKEND_DIRECTORY;
	return err;
}

static int directory_stat(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st)
{
	enum s3_presence presence;
	int err = vidas_s3_dir_look(be, key, &presence);

	if (err)
		return err;
	*st = (struct vidas_backend_stat){ .type = VIDAS_BACKEND_DIRECTORY };
	if (!*key)
		return 0;
	if (presence == S3_ABSENT)
		return vidas_backend_error(be->host, -ENOENT,
					   "s3://%s/%s%s: there is no such object",
					   be->config.bucket, be->config.prefix, key);
	if (presence == S3_MARKER && be->config.attrs)
		err = vidas_s3_head(be, key, true, st, NULL);
	if (err == -ENOENT)
		err = 0;
	st->type = VIDAS_BACKEND_DIRECTORY;
	st->size_bytes = 0;
	st->version = (struct vidas_backend_version){ 0 };
	return err;
}

int vidas_s3_stat(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st)
{
	int err = *key ? vidas_s3_head(be, key, false, st, NULL) : -ENOENT;

	return err == -ENOENT ? directory_stat(be, key, st) : err;
}

/* DELETE; `expect` goes along for servers that look at it, the caller has checked it before. */
static int delete (struct vidas_backend *be, const char *key, bool dir,
		   const struct vidas_backend_version *expect)
{
	struct s3_request *r;
	char etag[64];
	int err = vidas_s3_request_key(be, S3_DELETE, key, dir, &r);

	if (err)
		return err;
	if (expect && be->conditions != S3_NO_CONDITIONS) {
		vidas_s3_version_text(expect, etag);
		err = vidas_s3_request_header(r, "If-Match: \"%s\"", etag);
	}
	r->accept = expect ? 0 : 404;
	if (!err)
		err = vidas_s3_run(r);
	vidas_s3_dirs_note(be, key, S3_ABSENT);
	vidas_s3_request_free(r);
	return err;
}

int vidas_s3_remove(struct vidas_backend *be, const char *key,
		    const struct vidas_backend_version *expect)
{
	struct vidas_backend_stat st;
	int err = vidas_s3_stat(be, key, &st);

	if (err)
		return err;
	if (st.type == VIDAS_BACKEND_DIRECTORY)
		return vidas_backend_error(be->host, -EISDIR, "%s is a directory", key);
	if (expect && !vidas_s3_version_same(&st.version, expect))
		return vidas_backend_error(be->host, -ESTALE, "%s has another version", key);
	err = vidas_s3_dir_keep(be, key);
	return err ? err : delete (be, key, false, expect);
}

int vidas_s3_mkdir(struct vidas_backend *be, const char *key,
		   const struct vidas_backend_stat *attrs)
{
	struct vidas_backend_stat st;
	int err = vidas_s3_stat(be, key, &st);

	if (!err && st.type != VIDAS_BACKEND_DIRECTORY)
		return vidas_backend_error(be->host, -EEXIST, "%s exists and is no directory", key);
	if (err != -ENOENT)
		return err;
	err = vidas_s3_dir_parents(be, key);
	return err ? err : vidas_s3_dir_make(be, key, attrs);
}

int vidas_s3_rmdir(struct vidas_backend *be, const char *key)
{
	enum s3_presence presence;
	struct vidas_backend_stat st;
	bool empty;
	int err = vidas_s3_dir_empty(be, key, &presence, &empty);

	if (err)
		return err;
	if (presence == S3_ABSENT) {
		err = vidas_s3_head(be, key, false, &st, NULL);
		return err ? err :
			     vidas_backend_error(be->host, -ENOTDIR, "%s is not a directory", key);
	}
	if (!empty)
		return vidas_backend_error(be->host, -ENOTEMPTY, "%s is not empty", key);
	err = vidas_s3_dir_keep(be, key);
	return err ? err : delete (be, key, true, NULL);
}

int vidas_s3_symlink(struct vidas_backend *be, const char *key, const char *target)
{
	struct vidas_backend_stat st = { .type = VIDAS_BACKEND_SYMLINK };
	struct iovec data = { .iov_base = (void *)(uintptr_t)target, .iov_len = strlen(target) };
	char name[S3_NAME_BYTES];
	struct s3_request *r = NULL;
	int err = vidas_s3_name(be, key, false, name);

	if (!err)
		err = vidas_s3_dir_refuse(be, key);
	if (!err)
		err = vidas_s3_dir_parents(be, key);
	if (!err)
		err = vidas_s3_small_new(be, name, &data, &st, &r);
	if (!err)
		err = vidas_s3_run(r);
	vidas_s3_request_free(r);
	if (!err)
		vidas_s3_dirs_note(be, key, S3_FILE);
	return err;
}

static ssize_t target_take(const struct s3_request *r, const char *key, const char *text,
			   char *target, size_t size)
{
	const struct vidas_backend_host *host = r->be->host;
	size_t n = (size_t)r->reply.received;

	if (r->reply.http == 416 || r->reply.st.type != VIDAS_BACKEND_SYMLINK)
		return vidas_backend_error(host, -EINVAL, "%s is not a symbolic link", key);
	if (n == PATH_MAX || memchr(text, '\0', n))
		return vidas_backend_error(host, -EINVAL, "%s: its target is none", key);
	if (n >= size)
		return vidas_backend_error(host, -ENAMETOOLONG, "%s: its target is %zu bytes long",
					   key, n);
	memcpy(target, text, n);
	target[n] = '\0';
	return (ssize_t)n;
}

ssize_t vidas_s3_readlink(struct vidas_backend *be, const char *key, char *target, size_t size)
{
	struct vidas_backend_stat st;
	char text[PATH_MAX];
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
	struct s3_request *r;
	ssize_t ret = vidas_s3_request_key(be, S3_GET, key, false, &r);

	if (ret)
		return ret;
	r->sink = (struct s3_cursor){ .iov = &iov, .left = 1 };
	r->sink_bytes = sizeof(text);
	r->accept = 416;
	ret = vidas_s3_run(r);
	if (!ret)
		ret = target_take(r, key, text, target, size);
	vidas_s3_request_free(r);
	if (ret == -ENOENT && vidas_s3_stat(be, key, &st) == 0)
		ret = vidas_backend_error(be->host, -EINVAL, "%s is not a symbolic link", key);
	return ret;
}
