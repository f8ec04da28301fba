/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/host/sync_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Files of one flush that are pushed at a time. A store that makes each put durable takes many in
 * the time of one. */
#define WORKERS 4u
#define QUEUE	64u

/* A flush of a directory. The walker makes directories and hands files to the workers; where they
 * are all busy it pushes itself. */
struct flush {
	struct vidas_sync *s;
	struct sync_list dirs; /* the walker's own */

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t more;
	char *queue[QUEUE];
	unsigned head, tail;
	bool done;
	struct sync_list again; /* names that are still taken by another kind of thing in the store */
	struct vidas_sync_moved moved;
	unsigned timeouts; /* see SYNC_TIMEOUTS */
	int err;	   /* the first, and its reason */
	char text[256];

	pthread_t worker[WORKERS];
	unsigned workers;
};

static void flush_failed(struct flush *f, int err)
{
	pthread_mutex_lock(&f->lock);
	if (err && !f->err) {
		f->err = err;
		snprintf(f->text, sizeof(f->text), "%s", vidas_fail_text());
	}
	pthread_mutex_unlock(&f->lock);
}

static bool gave_up(struct flush *f)
{
	bool yes;

	pthread_mutex_lock(&f->lock);
	yes = f->timeouts >= SYNC_TIMEOUTS;
	pthread_mutex_unlock(&f->lock);
	return yes;
}

static void flush_one(struct flush *f, const char *path)
{
	struct vidas_sync_moved moved = { 0 };
	int err;

	if (gave_up(f))
		return;
	vidas_fail_clear();
	err = sync_push(f->s, path, 0, &moved);
	if (err == -ENOENT)
		err = 0; /* deleted since it was listed */
	pthread_mutex_lock(&f->lock);
	f->moved.files += moved.files;
	f->moved.bytes += moved.bytes;
	sync_count_timeout(&f->timeouts, err, moved.files);
	if (err == -EISDIR && sync_list_add(&f->again, path) == 0)
		err = 0;
	pthread_mutex_unlock(&f->lock);
	if (err)
		flush_failed(f, err);
}

static void *work(void *arg)
{
	struct flush *f = arg;
	char *path;

	pthread_mutex_lock(&f->lock);
	for (;;) {
		while (f->head == f->tail && !f->done)
			pthread_cond_wait(&f->more, &f->lock);
		if (f->head == f->tail)
			break;
		path = f->queue[f->head++ % QUEUE];
		pthread_mutex_unlock(&f->lock);
		flush_one(f, path);
		free(path);
		pthread_mutex_lock(&f->lock);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static void hand_over(struct flush *f, const char *path)
{
	char *copy = strdup(path);
	bool taken = false;

	pthread_mutex_lock(&f->lock);
	if (copy && f->workers < WORKERS && f->tail - f->head >= f->workers &&
	    pthread_create(&f->worker[f->workers], NULL, work, f) == 0)
		f->workers++;
	if (copy && f->workers && f->tail - f->head < QUEUE) {
		f->queue[f->tail++ % QUEUE] = copy;
		pthread_cond_signal(&f->more);
		taken = true;
	}
	pthread_mutex_unlock(&f->lock);
	if (taken)
		return;
	free(copy);
	flush_one(f, path);
}

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

/* Most files of a tree are clean: that is seen here, without a turn and a worker. Doubts are not:
 * they take time. */
static bool is_clean(struct vidas_sync *s, int dir, const char *name, const char *path)
{
	int fd = sync_open_at(dir, name, O_PATH);
	struct sync_record rec;
	struct stat st;
	bool clean;

	if (fd < 0)
		return false;
	clean = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && sync_known_get(s, path, &rec) == 0 &&
		sync_compare(s, &rec, &st, fd) == SYNC_SAME && sync_same_attrs(&rec, &st) &&
		names_only(fd, VIDAS_SYNC_ABSENT, path) && names_only(fd, SYNC_PUSHED, path);
	close(fd);
	return clean;
}

struct walk {
	struct flush *f;
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
		flush_failed(w->f, vidas_fail(err, "a path in '%.64s...' is too long for a store",
					      w->dir));
		return 0;
	}
	if (fstatat(w->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (S_ISDIR(st.st_mode))
		return sync_list_add(&w->f->dirs, path);
	if (!is_clean(w->f->s, w->fd, name, path))
		hand_over(w->f, path);
	return 0;
}

/* A directory that was renamed before its entries came: they are listed under the old key. */
static int import_renamed(struct vidas_sync *s, const char *dir, int fd)
{
	char key[PATH_MAX];
	int err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, key);

	if (err)
		return err == -ENODATA ? 0 : err;
	return strcmp(key, dir) == 0 ? 0 : vidas_sync_import(s, dir, 0, NULL);
}

static int walk_directory(struct flush *f, const char *dir)
{
	struct vidas_sync_moved moved = { 0 };
	struct walk w = { .f = f, .dir = dir };
	int err = 0;

	vidas_fail_clear();
	if (*dir)
		err = sync_push(f->s, dir, 0, &moved);
	if (err) {
		pthread_mutex_lock(&f->lock);
		sync_count_timeout(&f->timeouts, err, false);
		pthread_mutex_unlock(&f->lock);
		return err == -ENOENT ? 0 : err;
	}
	w.fd = sync_open_at(f->s->tree, dir, O_RDONLY | O_DIRECTORY);
	if (w.fd < 0)
		return w.fd == -ENOENT || w.fd == -ENOTDIR ? 0 : w.fd;
	err = import_renamed(f->s, dir, w.fd);
	if (!err)
		err = sync_each_entry(w.fd, walk_each, &w);
	close(w.fd);
	return err;
}

static void finish_workers(struct flush *f)
{
	pthread_mutex_lock(&f->lock);
	f->done = true;
	pthread_cond_broadcast(&f->more);
	pthread_mutex_unlock(&f->lock);
	for (unsigned i = 0; i < f->workers; i++)
		pthread_join(f->worker[i], NULL);
}

/*
 * Everything below `path` is pushed before anything is removed: what was renamed is never gone from
 * both names.
 */
static int flush_tree(struct vidas_sync *s, const char *path, struct vidas_sync_moved *moved)
{
	struct flush f = { .s = s };
	int err;

	pthread_mutex_init(&f.lock, NULL);
	pthread_cond_init(&f.more, NULL);
	flush_failed(&f, sync_list_add(&f.dirs, path));
	for (size_t i = 0; i < f.dirs.count && !gave_up(&f); i++)
		flush_failed(&f, walk_directory(&f, f.dirs.path[i]));
	finish_workers(&f);
	for (size_t i = 0; i < f.again.count && !gave_up(&f); i++) {
		vidas_fail_clear();
		err = sync_push(s, f.again.path[i], 0, &f.moved);
		flush_failed(&f, err == -ENOENT ? 0 : err);
	}
	vidas_fail_clear();
	if (!gave_up(&f))
		flush_failed(&f, sync_remove_gone(s, path, &f.moved));
	if (f.err && f.text[0])
		vidas_fail(f.err, "%s", f.text);
	moved->files += f.moved.files;
	moved->bytes += f.moved.bytes;
	sync_list_free(&f.dirs);
	sync_list_free(&f.again);
	pthread_cond_destroy(&f.more);
	pthread_mutex_destroy(&f.lock);
	return f.err;
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
	struct stat st;
	int fd, err;
	bool gone;

	vidas_fail_clear();
	fd = sync_tree_look(s, path, inode, &st);
	gone = fd == -ENOENT && !inode && *path && sync_known_kind(s, path);
	if (fd < 0 && !gone)
		return fd;
	err = sync_need_store(s);
	if (err && fd >= 0)
		note_no_store(fd, &st, err);
	if (fd >= 0)
		close(fd);
	if (!err && gone)
		err = sync_remove_gone(s, path, &total);
	else if (!err)
		err = sync_push_above(s, path);
	if (!err && !gone)
		err = S_ISDIR(st.st_mode) ? flush_tree(s, path, &total) :
					    sync_push(s, path, inode, &total);
	if (moved)
		*moved = total;
	return err;
}
