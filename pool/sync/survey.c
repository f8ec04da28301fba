/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What of a container the store does not have yet. Times and records tell; no file is read. */
#include "pool/sync/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CONFLICT_INFIX ".vidas-conflict-"

struct survey {
	struct vidas_sync *s;
	struct vidas_sync_survey *out;
	struct sync_list dirs;
	const char *dir;
	int fd; /* of dir, in the tree */
	int64_t deadline_us;
};

static bool moved(int fd, const char *path)
{
	char link[32], key[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = getxattr(link, VIDAS_SYNC_ABSENT, key, sizeof(key));
	return n >= 0 && ((size_t)n != strlen(path) || memcmp(key, path, (size_t)n) != 0);
}

static enum sync_change look(struct survey *v, const char *path, const struct stat *st, int fd)
{
	struct sync_record rec;

	if (sync_known_get(v->s, path, &rec) < 0)
		return SYNC_DIFFERS;
	if (S_ISDIR(st->st_mode))
		return rec.type == VIDAS_BACKEND_DIRECTORY && sync_same_attrs(&rec, st) ?
			       SYNC_SAME :
			       SYNC_DIFFERS;
	if (S_ISREG(st->st_mode) && (!sync_same_attrs(&rec, st) || moved(fd, path)))
		return SYNC_DIFFERS;
	return sync_compare(v->s, &rec, st, fd);
}

static void add(struct survey *v, const char *path, const struct stat *st, int fd)
{
	struct vidas_sync_survey *out = v->out;
	char text[sizeof(out->error_text)];
	int err;

	out->changed++;
	if (!S_ISREG(st->st_mode))
		return;
	out->bytes += (uint64_t)st->st_size;
	err = sync_read_error(fd, text, sizeof(text));
	if (!err)
		return;
	if (!out->failed++) {
		memcpy(out->error_text, text, sizeof(text));
		snprintf(out->error_path, sizeof(out->error_path), "%s", path);
	}
}

static int entry(struct survey *v, const char *name)
{
	char path[PATH_MAX];
	enum sync_change change;
	struct stat st;
	int fd, err = 0;

	if (vidas_now_us() > v->deadline_us)
		return -ETIMEDOUT;
	if (sync_join(path, v->dir, name))
		return 0;
	fd = sync_open_at(v->fd, name, O_PATH);
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) == 0 &&
	    (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode))) {
		v->out->conflicts += strstr(name, CONFLICT_INFIX) != NULL;
		change = look(v, path, &st, fd);
		if (change == SYNC_DIFFERS)
			add(v, path, &st, fd);
		else if (change == SYNC_DOUBT)
			v->out->open++;
		if (S_ISDIR(st.st_mode))
			err = sync_list_add(&v->dirs, path);
	}
	close(fd);
	return err;
}

static int tree_each(void *arg, const char *name)
{
	return entry(arg, name);
}

static int known_each(void *arg, const char *name)
{
	struct survey *v = arg;
	struct stat st;

	v->out->removed += fstatat(v->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
	return vidas_now_us() > v->deadline_us ? -ETIMEDOUT : 0;
}

static int directory(struct survey *v)
{
	int known, err;

	v->fd = sync_open_at(v->s->tree, v->dir, O_RDONLY | O_DIRECTORY);
	if (v->fd < 0)
		return 0;
	err = sync_each_entry(v->fd, tree_each, v);
	known = sync_open_at(v->s->known, v->dir, O_RDONLY | O_DIRECTORY);
	if (known >= 0) {
		if (!err)
			err = sync_each_entry(known, known_each, v);
		close(known);
	}
	close(v->fd);
	return err;
}

int vidas_sync_survey(struct vidas_sync *s, int64_t deadline_us, struct vidas_sync_survey *out)
{
	struct survey v = { .s = s, .out = out, .deadline_us = deadline_us };
	int err;

	*out = (struct vidas_sync_survey){ 0 };
	err = sync_list_add(&v.dirs, "");
	for (size_t i = 0; !err && i < v.dirs.count; i++) {
		v.dir = v.dirs.path[i];
		err = directory(&v);
	}
	sync_list_free(&v.dirs);
	out->whole = !err;
	return err == -ETIMEDOUT ? 0 : err;
}
