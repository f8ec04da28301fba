/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/sync/internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Is an xattr that names a key not there, or this very key? */
static bool names_only(int fd, const char *xattr, const char *key)
{
	char link[32], value[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = getxattr(link, xattr, value, sizeof(value));
	if (n < 0)
		return errno == ENODATA;
	return (size_t)n == strlen(key) && memcmp(value, key, (size_t)n) == 0;
}

/* Doubts are not clean: they take time. */
bool sync_is_clean(struct vidas_sync *s, const char *path, const struct stat *st, int fd)
{
	struct sync_record rec;

	return S_ISREG(st->st_mode) && sync_known_get(s, path, &rec) == 0 &&
	       sync_compare(s, &rec, st, fd) == SYNC_SAME && sync_same_attrs(&rec, st) &&
	       names_only(fd, VIDAS_SYNC_ABSENT, path) && names_only(fd, SYNC_PUSHED, path);
}

/* Most files of a tree are clean: that is seen here, without a turn and a worker. */
static bool is_clean(struct vidas_sync *s, int dir, const char *name, const char *path)
{
	int fd = sync_open_at(dir, name, O_PATH);
	struct stat st;
	bool clean;

	if (fd < 0)
		return false;
	clean = fstat(fd, &st) == 0 && sync_is_clean(s, path, &st, fd);
	close(fd);
	return clean;
}

/* The flush of a directory: it makes directories itself, files go to the batch. */
struct walk {
	struct sync_batch *batch;
	struct sync_list *dirs;
	const char *dir;
	int fd;
};

static int walk_each(void *arg, const char *name)
{
	struct walk *w = arg;
	char path[PATH_MAX];
	struct stat st;
	int err;

	err = sync_join(path, w->dir, name);
	if (err) {
		vidas_fail(err, "a path in '%.64s...' is too long for a store", w->dir);
		sync_batch_failed(w->batch, w->dir, err);
		return 0;
	}
	if (fstatat(w->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (S_ISDIR(st.st_mode))
		return sync_list_add(w->dirs, path);
	if (!is_clean(w->batch->s, w->fd, name, path))
		sync_batch_push(w->batch, path);
	return 0;
}

int sync_import_renamed(struct vidas_sync *s, const char *dir, int fd)
{
	char key[PATH_MAX];
	int err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, key);

	if (err)
		return err == -ENODATA ? 0 : err;
	return strcmp(key, dir) == 0 ? 0 : vidas_sync_import(s, dir, 0, NULL);
}

static int walk_directory(struct sync_batch *b, struct sync_list *dirs, const char *dir)
{
	struct walk w = { .batch = b, .dirs = dirs, .dir = dir };
	int err = 0;

	if (*dir)
		err = sync_batch_push_directory(b, dir);
	if (err)
		return err == -ENOENT ? 0 : err;
	w.fd = sync_open_at(b->s->tree, dir, O_RDONLY | O_DIRECTORY);
	if (w.fd < 0)
		return w.fd == -ENOENT || w.fd == -ENOTDIR ? 0 : w.fd;
	if (!sync_batch_gave_up(b))
		err = sync_import_renamed(b->s, dir, w.fd);
	if (!err)
		err = sync_each_entry(w.fd, walk_each, &w);
	close(w.fd);
	return err;
}

/*
 * Everything below `path` is pushed before anything is removed: what was renamed is never gone from
 * both names. `away`: why there is no store just now, or 0.
 */
static int flush_tree(struct vidas_sync *s, const char *path, int away,
		      struct vidas_sync_moved *moved)
{
	struct sync_list dirs = { 0 };
	struct sync_batch b;
	int err;

	sync_batch_begin(&b, s, away);
	err = sync_list_add(&dirs, path);
	if (err)
		sync_batch_failed(&b, path, err);
	for (size_t i = 0; i < dirs.count; i++) {
		err = walk_directory(&b, &dirs, dirs.path[i]);
		if (err)
			sync_batch_failed(&b, dirs.path[i], err);
	}
	sync_batch_finish(&b);
	vidas_fail_clear();
	err = sync_batch_gave_up(&b) ? 0 : sync_remove_gone(s, path, &b.moved);
	if (err)
		sync_batch_failed(&b, path, err);
	sync_list_free(&dirs);
	return sync_batch_end(&b, moved);
}

/* Where the store still has a directory of that name, what was in it is elsewhere now and has to be pushed
 * before: with all the rest, for it may be anywhere. */
static int flush_one(struct vidas_sync *s, const char *path, uint64_t inode,
		     struct vidas_sync_moved *moved)
{
	int err = sync_push(s, path, inode, moved);

	if (err != -EISDIR)
		return err;
	flush_tree(s, "", 0, moved);
	vidas_fail_clear();
	return sync_push(s, path, inode, moved);
}

static void note_no_store(int look, const struct stat *st, int err)
{
	int fd = S_ISREG(st->st_mode) ? sync_reopen(look, O_RDONLY | O_NONBLOCK) : -1;

	if (fd < 0)
		return;
	sync_note_error(fd, err);
	close(fd);
}

int vidas_sync_flush(struct vidas_sync *s, const char *path, uint64_t inode,
		     struct vidas_sync_moved *moved)
{
	struct vidas_sync_moved total = { 0 };
	struct stat st = { 0 };
	int fd, err, away;
	bool gone;

	vidas_fail_clear();
	fd = sync_tree_look(s, path, inode, &st);
	gone = fd == -ENOENT && !inode && *path && sync_known_kind(s, path);
	if (fd < 0 && !gone)
		return fd;
	err = away = sync_need_store(s);
	if (err && fd >= 0)
		note_no_store(fd, &st, err);
	if (fd >= 0)
		close(fd);
	if (!err && gone)
		err = sync_remove_gone(s, path, &total);
	else if (!err)
		err = sync_push_above(s, path);
	if ((!err || away) && S_ISDIR(st.st_mode))
		err = flush_tree(s, path, away, &total);
	else if (!err && !gone)
		err = flush_one(s, path, inode, &total);
	if (moved)
		*moved = total;
	return err;
}
