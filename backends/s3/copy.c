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

#define WINDOW	   512u
#define PART_LARGE (UINT64_C(512) << 20) /* the server copies it by itself */

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

/* The bytes of a large object in parts; `u` is begun. */
static int large_parts(struct s3_upload *u, const char *from, const struct vidas_backend_stat *st)
{
	const struct s3_config *c = &u->be->config;
	uint64_t most = c->single_bytes < PART_LARGE ? c->single_bytes : PART_LARGE;
	uint64_t part = vidas_s3_part_bytes(u->be, st->size_bytes, most), at = 0;
	struct s3_request *r[WINDOW];
	int err = 0;

	while (!err && at < st->size_bytes) {
		size_t n = 0;

		while (!err && at < st->size_bytes && n < WINDOW) {
			uint64_t left = st->size_bytes - at, bytes = left < part ? left : part;

			err = vidas_s3_upload_copy(u, u->parts + (unsigned)n + 1, from, at, bytes,
						   &r[n]);
			n += !err;
			at += bytes;
		}
		if (!err)
			err = vidas_s3_run_all(u->be, r, n, false);
		for (size_t i = 0; !err && i < n; i++)
			err = vidas_s3_upload_take(u, r[i]);
		while (n)
			vidas_s3_request_free(r[--n]);
	}
	return err;
}

/* What COPY does with up to 5 GiB, for more; `attrs` instead of those there are, or NULL. */
static int large_copy(struct vidas_backend *be, const char *from, const char *to,
		      const struct vidas_backend_stat *attrs)
{
	struct vidas_backend_stat st, after;
	struct vidas_backend_version now;
	struct curl_slist *keep = NULL;
	struct s3_upload u = { .be = be };
	int err = vidas_s3_head_name(be, from, &st, &keep);

	if (!err)
		err = vidas_s3_upload_begin(&u, be, to, attrs ? attrs : &st, keep);
	curl_slist_free_all(keep);
	if (!err)
		err = large_parts(&u, from, &st);
	if (!err)
		err = vidas_s3_head_name(be, from, &after, NULL);
	/* Were all parts of one version? */
	if (!err && !vidas_s3_version_same(&st.version, &after.version))
		err = -ESTALE;
	if (!err)
		err = vidas_s3_upload_complete(&u, "", false, &now);
	if (err)
		vidas_s3_upload_drop(&u);
	vidas_s3_upload_clear(&u);
	return err == -ESTALE ? vidas_backend_error(be->host, -EAGAIN,
						    "%s was replaced while it was copied", from) :
				err;
}

/* What is copied, then removed. */
struct tree {
	struct vidas_backend *be;
	const char *from, *to; /* object names, ending in '/' */
	struct {
		char *name; /* begins with `from` */
		bool large; /* more than one COPY takes */
	} * entry;
	size_t entries, room;
};

static int tree_add(struct tree *t, const struct s3_entry *e)
{
	if (strlen(e->name) - strlen(t->from) + strlen(t->to) > S3_KEY_MAX)
		return vidas_backend_error(t->be->host, -EINVAL,
					   "the new name of %s is too long for S3", e->name);
	if (t->entries == t->room) {
		size_t room = 2 * t->room + 64;
		void *entry = reallocarray(t->entry, room, sizeof(*t->entry));

		if (!entry)
			return -ENOMEM;
		t->entry = entry;
		t->room = room;
	}
	t->entry[t->entries].name = strdup(e->name);
	t->entry[t->entries].large = e->size > t->be->config.single_bytes;
	return t->entry[t->entries++].name ? 0 : -ENOMEM;
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

static void to_name(const struct tree *t, size_t i, char name[2 * S3_NAME_BYTES])
{
	snprintf(name, 2 * S3_NAME_BYTES, "%s%s", t->to, t->entry[i].name + strlen(t->from));
}

static int tree_copy(const struct tree *t)
{
	struct s3_request *r[WINDOW];
	char to[2 * S3_NAME_BYTES];
	int err = 0;

	for (size_t done = 0; !err && done < t->entries;) {
		size_t n = 0;

		for (; !err && n < WINDOW && done < t->entries; done++) {
			to_name(t, done, to);
			if (t->entry[done].large)
				err = large_copy(t->be, t->entry[done].name, to, NULL);
			else
				err = copy_new(t->be, t->entry[done].name, to, &r[n]);
			n += !err && !t->entry[done].large;
		}
		if (!err)
			err = vidas_s3_run_all(t->be, r, n, false);
		while (n)
			vidas_s3_request_free(r[--n]);
	}
	return err;
}

static int tree_delete(const struct tree *t)
{
	char **name = calloc(t->entries + 1, sizeof(*name));
	int err;

	if (!name)
		return -ENOMEM;
	for (size_t i = 0; i < t->entries; i++)
		name[i] = t->entry[i].name;
	err = vidas_s3_delete_names(t->be, name, t->entries);
	free(name);
	return err;
}

static int tree_rename(struct vidas_backend *be, const char *from, const char *to)
{
	char old[S3_NAME_BYTES], new[S3_NAME_BYTES];
	struct tree t = { .be = be, .from = old, .to = new };
	int err = vidas_s3_name(be, from, true, old);

	if (!err)
		err = vidas_s3_name(be, to, true, new);
	if (!err)
		err = tree_read(&t);
	if (!err)
		err = tree_copy(&t);
	if (!err)
		err = tree_delete(&t);
	vidas_s3_dirs_forget(be);
	while (t.entries)
		free(t.entry[--t.entries].name);
	free(t.entry);
	return err;
}

static int file_rename(struct vidas_backend *be, const char *from, const char *to,
		       const struct vidas_backend_stat *st)
{
	char old[S3_NAME_BYTES], new[S3_NAME_BYTES];
	bool large = st->size_bytes > be->config.single_bytes;
	struct s3_request *r = NULL;
	int err = vidas_s3_name(be, from, false, old);

	if (!err)
		err = vidas_s3_name(be, to, false, new);
	if (!err)
		err = large ? large_copy(be, old, new, NULL) : copy_new(be, old, new, &r);
	if (!err && !large)
		err = vidas_s3_run(r);
	vidas_s3_request_free(r);
	vidas_digests_forget(be->sent, to);
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
	if (!err)
		err = vidas_s3_name(be, key, false, name);
	if (err)
		goto out;
	merge(&st, attrs);
	if (st.size_bytes > be->config.single_bytes) {
		err = large_copy(be, name, name, &st);
		goto out;
	}
	err = copy_new(be, name, name, &r);
	if (!err)
		err = metadata_add(r, &st, keep);
	if (!err)
		err = vidas_s3_run(r);
out:
	curl_slist_free_all(keep);
	vidas_s3_request_free(r);
	return err;
}
