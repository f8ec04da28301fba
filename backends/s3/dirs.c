/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Directories: a marker "name/" or a prefix that objects have. What was found out is remembered
 * for a minute, so that a put does not ask for every directory above it; others may change a
 * bucket, and what they do in that minute costs an error's exactness, never bytes.
 */
#include "backends/s3/s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define BELIEVE_US  (60 * INT64_C(1000000))
#define KNOWN_MAX   65536u
#define MISSING_MAX (S3_KEY_MAX / 2)

struct s3_dir {
	UT_hash_handle hh;
	int64_t until_us;
	enum s3_presence presence;
	char key[];
};

static enum s3_presence remembered(struct vidas_backend *be, const char *key)
{
	enum s3_presence presence = S3_ABSENT;
	struct s3_dir *d;

	pthread_mutex_lock(&be->dirs_lock);
	HASH_FIND_STR(be->dirs, key, d);
	if (d && d->until_us > vidas_s3_now_us())
		presence = d->presence;
	pthread_mutex_unlock(&be->dirs_lock);
	return presence;
}

/* The table keeps the order in which keys came: the oldest ones go first. */
void vidas_s3_dirs_note(struct vidas_backend *be, const char *key, enum s3_presence presence)
{
	size_t size = strlen(key) + 1;
	struct s3_dir *d;

	pthread_mutex_lock(&be->dirs_lock);
	HASH_FIND_STR(be->dirs, key, d);
	if (d || HASH_COUNT(be->dirs) >= KNOWN_MAX) {
		d = d ? d : be->dirs;
		HASH_DEL(be->dirs, d);
		free(d);
	}
	d = presence != S3_ABSENT ? malloc(sizeof(*d) + size) : NULL;
	if (d) {
		d->until_us = vidas_s3_now_us() + BELIEVE_US;
		d->presence = presence;
		memcpy(d->key, key, size);
		HASH_ADD_STR(be->dirs, key, d);
	}
	pthread_mutex_unlock(&be->dirs_lock);
}

void vidas_s3_dirs_forget(struct vidas_backend *be)
{
	struct s3_dir *d, *next;

	pthread_mutex_lock(&be->dirs_lock);
	HASH_ITER(hh, be->dirs, d, next) {
		HASH_DEL(be->dirs, d);
		free(d);
	}
	pthread_mutex_unlock(&be->dirs_lock);
}

int vidas_s3_dir_empty(struct vidas_backend *be, const char *key, enum s3_presence *out,
		       bool *empty)
{
	char name[S3_NAME_BYTES], *token = NULL;
	struct s3_answer a;
	int err = vidas_s3_name(be, key, true, name);

	if (!err)
		err = vidas_s3_page(be, name, false, 2, &token, &a);
	free(token);
	if (err)
		return err;
	/* A marker is the shortest name of all that begin so, and comes first. */
	*out = !a.entries ? S3_ABSENT : strcmp(a.entry[0].name, name) == 0 ? S3_MARKER : S3_PREFIX;
	*empty = a.entries == (*out == S3_MARKER ? 1 : 0);
	vidas_s3_answer_clear(&a);
	return 0;
}

int vidas_s3_dir_look(struct vidas_backend *be, const char *key, enum s3_presence *out)
{
	bool empty;
	int err = vidas_s3_dir_empty(be, key, out, &empty);

	if (!err && *out != S3_ABSENT)
		vidas_s3_dirs_note(be, key, *out);
	return err;
}

int vidas_s3_dir_refuse(struct vidas_backend *be, const char *key)
{
	enum s3_presence presence = remembered(be, key);
	int err = 0;

	if (presence == S3_FILE)
		return 0;
	if (presence == S3_ABSENT)
		err = vidas_s3_dir_look(be, key, &presence);
	if (!err && presence != S3_ABSENT)
		err = vidas_backend_error(be->host, -EISDIR, "s3://%s/%s%s is a directory",
					  be->config.bucket, be->config.prefix, key);
	return err;
}

static int marker_new(struct vidas_backend *be, const char *key,
		      const struct vidas_backend_stat *attrs, struct s3_request **out)
{
	static const struct iovec nothing;
	struct vidas_backend_stat st = { 0 };
	char name[S3_NAME_BYTES];
	int err = vidas_s3_name(be, key, true, name);

	if (attrs)
		st = *attrs;
	st.type = VIDAS_BACKEND_DIRECTORY;
	return err ? err : vidas_s3_small_new(be, name, &nothing, &st, out);
}

int vidas_s3_dir_make(struct vidas_backend *be, const char *key,
		      const struct vidas_backend_stat *attrs)
{
	struct s3_request *r = NULL;
	int err = marker_new(be, key, attrs, &r);

	if (!err)
		err = vidas_s3_run(r);
	vidas_s3_request_free(r);
	if (!err)
		vidas_s3_dirs_note(be, key, S3_MARKER);
	return err;
}

/* Is it there? 1; else 0, or -ENOTDIR if a file is in its place. */
static int parent_there(struct vidas_backend *be, const char *key)
{
	enum s3_presence presence = remembered(be, key);
	struct vidas_backend_stat st;
	int err = 0;

	if (presence == S3_FILE)
		presence = S3_ABSENT;
	if (presence == S3_ABSENT)
		err = vidas_s3_dir_look(be, key, &presence);
	if (err)
		return err;
	if (presence != S3_ABSENT)
		return 1;
	err = vidas_s3_head(be, key, false, &st, NULL);
	if (!err)
		return vidas_backend_error(be->host, -ENOTDIR, "s3://%s/%s%s is not a directory",
					   be->config.bucket, be->config.prefix, key);
	return err == -ENOENT ? 0 : err;
}

int vidas_s3_dir_parents(struct vidas_backend *be, const char *key)
{
	struct s3_request *missing[MISSING_MAX];
	char above[4096], *slash;
	size_t n = 0;
	int err = 0;

	snprintf(above, sizeof(above), "%s", key);
	while (!err && (slash = strrchr(above, '/'))) {
		*slash = '\0';
		err = parent_there(be, above);
		if (err) {
			err = err < 0 ? err : 0;
			break;
		}
		err = n == MISSING_MAX ? -EINVAL : marker_new(be, above, NULL, &missing[n]);
		n += !err;
	}
	if (!err)
		err = vidas_s3_run_all(be, missing, n, false);
	while (n)
		vidas_s3_request_free(missing[--n]);
	return err;
}

int vidas_s3_dir_keep(struct vidas_backend *be, const char *key)
{
	enum s3_presence presence;
	char above[4096], *slash;
	int err = 0;

	snprintf(above, sizeof(above), "%s", key);
	slash = strrchr(above, '/');
	if (!slash)
		return 0;
	*slash = '\0';
	presence = remembered(be, above);
	if (presence != S3_MARKER)
		err = vidas_s3_dir_look(be, above, &presence);
	if (!err && presence == S3_PREFIX)
		err = vidas_s3_dir_make(be, above, NULL);
	return err;
}
