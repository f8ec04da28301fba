/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rename and new attributes, by copies that the server makes. S3 has no rename: for a moment, or
 * after a crash, both names are there; no name is ever gone before the other is there whole.
 */
#include "backends/s3/s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 512u

static int too_large(struct vidas_backend *be, const char *name)
{
	return vidas_backend_error(be->host, -EFBIG,
				   "%s is over 5 GiB, more than S3 copies in one request", name);
}

/* A COPY of object names. */
static int copy_new(struct vidas_backend *be, const char *from, const char *to,
		    struct s3_request **out)
{
	struct s3_request *r = vidas_s3_request_new(be, S3_PUT, to);
	char source[S3_PATH_BYTES];
	int err = r ? 0 : -ENOMEM;

	if (!err && vidas_s3_percent_encode(from, true, source, sizeof(source)) < 0)
		err = -EINVAL;
	if (!err)
		err = vidas_s3_request_header(r, "x-amz-copy-source: /%s/%s", be->config.bucket,
					      source);
	if (err) {
		vidas_s3_request_free(r);
		return err;
	}
	r->long_wait = true;
	*out = r;
	return 0;
}

/* Up to WINDOW names that are copied, then removed. */
struct tree {
	struct vidas_backend *be;
	const char *from, *to; /* object names, ending in '/' */
	char **name;	       /* behind `from` */
	size_t names, room;
};

static int tree_add(struct tree *t, const struct s3_entry *e)
{
	if (e->size > S3_SINGLE_MAX)
		return too_large(t->be, e->name);
	if (strlen(e->name) - strlen(t->from) + strlen(t->to) > S3_KEY_MAX)
		return vidas_backend_error(t->be->host, -EINVAL,
					   "the new name of %s is too long for S3", e->name);
	if (t->names == t->room) {
		size_t room = 2 * t->room + 64;
		char **name = reallocarray(t->name, room, sizeof(*name));

		if (!name)
			return -ENOMEM;
		t->name = name;
		t->room = room;
	}
	t->name[t->names] = strdup(e->name + strlen(t->from));
	return t->name[t->names++] ? 0 : -ENOMEM;
}

static int tree_read(struct tree *t)
{
	char *token = NULL;
	struct s3_answer a;
	int err;

	do {
		err = vidas_s3_page(t->be, t->from, false, 1000, &token, &a);
		for (size_t i = 0; !err && i < a.entries; i++)
			err = strncmp(a.entry[i].name, t->from, strlen(t->from)) == 0 ?
				      tree_add(t, &a.entry[i]) :
				      -EIO;
		vidas_s3_answer_clear(&a);
	} while (!err && token);
	free(token);
	return err;
}

static int tree_request(const struct tree *t, size_t i, bool copy, struct s3_request **out)
{
	char from[2 * S3_NAME_BYTES], to[2 * S3_NAME_BYTES];

	snprintf(from, sizeof(from), "%s%s", t->from, t->name[i]);
	snprintf(to, sizeof(to), "%s%s", t->to, t->name[i]);
	if (copy)
		return copy_new(t->be, from, to, out);
	*out = vidas_s3_request_new(t->be, S3_DELETE, from);
	if (!*out)
		return -ENOMEM;
	(*out)->accept = 404;
	return 0;
}

/* Copies all of it, or deletes all of it. */
static int tree_run(const struct tree *t, bool copy)
{
	struct s3_request *r[WINDOW];
	int err = 0;

	for (size_t done = 0; !err && done < t->names;) {
		size_t n = 0;

		while (!err && n < WINDOW && done < t->names) {
			err = tree_request(t, done++, copy, &r[n]);
			n += !err;
		}
		if (!err)
			err = vidas_s3_run_all(t->be, r, n, false);
		while (n)
			vidas_s3_request_free(r[--n]);
	}
	return err;
}

static int tree_rename(struct vidas_backend *be, const char *from, const char *to)
{
	char from_name[S3_NAME_BYTES], to_name[S3_NAME_BYTES];
	struct tree t = { .be = be, .from = from_name, .to = to_name };
	int err = vidas_s3_name(be, from, true, from_name);

	if (!err)
		err = vidas_s3_name(be, to, true, to_name);
	if (!err)
		err = tree_read(&t);
	if (!err)
		err = tree_run(&t, true);
	if (!err)
		err = tree_run(&t, false);
	vidas_s3_dirs_forget(be);
	while (t.names)
		free(t.name[--t.names]);
	free(t.name);
	return err;
}

static int file_rename(struct vidas_backend *be, const char *from, const char *to,
		       const struct vidas_backend_stat *st)
{
	char from_name[S3_NAME_BYTES], to_name[S3_NAME_BYTES];
	struct s3_request *r = NULL;
	int err = vidas_s3_name(be, from, false, from_name);

	if (st->size_bytes > S3_SINGLE_MAX)
		return too_large(be, from);
	if (!err)
		err = vidas_s3_name(be, to, false, to_name);
	if (!err)
		err = copy_new(be, from_name, to_name, &r);
	if (!err)
		err = vidas_s3_run(r);
	vidas_s3_request_free(r);
	if (err)
		return err;
	vidas_s3_dirs_note(be, to, S3_FILE);
	return vidas_s3_remove(be, from, NULL);
}

/* May `from` take the place of what is at `to`? */
static int place_check(struct vidas_backend *be, const struct vidas_backend_stat *st,
		       const char *to)
{
	enum s3_presence presence;
	struct vidas_backend_stat there;
	bool empty, dir = st->type == VIDAS_BACKEND_DIRECTORY;
	int err = vidas_s3_stat(be, to, &there);

	if (err)
		return err == -ENOENT ? 0 : err;
	if (there.type != VIDAS_BACKEND_DIRECTORY)
		return dir ? vidas_backend_error(be->host, -ENOTDIR, "%s is not a directory", to) :
			     0;
	if (!dir)
		return vidas_backend_error(be->host, -EISDIR, "%s is a directory", to);
	err = vidas_s3_dir_empty(be, to, &presence, &empty);
	if (!err && !empty)
		err = vidas_backend_error(be->host, -ENOTEMPTY, "%s is not empty", to);
	return err;
}

int vidas_s3_rename(struct vidas_backend *be, const char *from, const char *to)
{
	size_t size = strlen(from);
	struct vidas_backend_stat st;
	int err = vidas_s3_stat(be, from, &st);

	if (err || strcmp(from, to) == 0)
		return err;
	if (strncmp(to, from, size) == 0 && to[size] == '/')
		return st.type == VIDAS_BACKEND_DIRECTORY ?
			       vidas_backend_error(be->host, -EINVAL, "%s is below %s", to, from) :
			       vidas_backend_error(be->host, -ENOTDIR, "%s is not a directory",
						   from);
	err = place_check(be, &st, to);
	if (!err)
		err = vidas_s3_dir_parents(be, to);
	if (!err)
		err = vidas_s3_dir_keep(be, from);
	if (err)
		return err;
	return st.type == VIDAS_BACKEND_DIRECTORY ? tree_rename(be, from, to) :
						    file_rename(be, from, to, &st);
}

static void merge(struct vidas_backend_stat *st, const struct vidas_backend_stat *attrs)
{
	if (attrs->valid & VIDAS_BACKEND_MODE)
		st->mode = attrs->mode;
	if (attrs->valid & VIDAS_BACKEND_OWNER) {
		st->uid = attrs->uid;
		st->gid = attrs->gid;
	}
	if (attrs->valid & VIDAS_BACKEND_MTIME)
		st->mtime = attrs->mtime;
	st->valid |=
		attrs->valid & (VIDAS_BACKEND_MODE | VIDAS_BACKEND_OWNER | VIDAS_BACKEND_MTIME);
}

/* What is said again when all metadata is replaced. */
static int metadata_add(struct s3_request *r, const struct vidas_backend_stat *st,
			const struct curl_slist *keep)
{
	int err = vidas_s3_meta_headers(r, st);

	for (; !err && keep; keep = keep->next)
		err = vidas_s3_request_header(r, "%s", keep->data);
	if (!err)
		err = vidas_s3_request_header(r, "x-amz-metadata-directive: REPLACE");
	return err;
}

int vidas_s3_set_attrs(struct vidas_backend *be, const char *key,
		       const struct vidas_backend_stat *attrs)
{
	struct curl_slist *keep = NULL;
	char name[S3_NAME_BYTES];
	struct vidas_backend_stat st;
	struct s3_request *r = NULL;
	int err;

	if (!be->config.attrs)
		return vidas_backend_error(be->host, -EOPNOTSUPP,
					   "s3://%s has attrs=none: it keeps no attributes",
					   be->config.bucket);
	err = vidas_s3_head(be, key, false, &st, &keep);
	if (err == -ENOENT) {
		err = vidas_s3_stat(be, key, &st);
		if (err)
			return err;
		merge(&st, attrs);
		return vidas_s3_dir_make(be, key, &st);
	}
	if (!err && st.size_bytes > S3_SINGLE_MAX)
		err = too_large(be, key);
	if (!err)
		err = vidas_s3_name(be, key, false, name);
	if (!err)
		err = copy_new(be, name, name, &r);
	if (!err) {
		merge(&st, attrs);
		err = metadata_add(r, &st, keep);
	}
	if (!err)
		err = vidas_s3_run(r);
	curl_slist_free_all(keep);
	vidas_s3_request_free(r);
	return err;
}
