/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is to be pushed without being asked for. Every directory of the tree is listed, which tells
 * the inodes of its entries; only what may have changed is looked at. What is below a directory that
 * was moved changed as a whole, though nobody touched it: it has other keys now.
 */
#include "pool/sync/internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/policy/attr.h"

/* A directory on the way. */
struct owed_dir {
	char *path;
	struct vidas_policies policies; /* of what is in it, without its own */
	int64_t moved_us;		/* not 0: its keys are new since then */
	int64_t above_us;		/* not 0: names above it changed; was it moved? */
};

/* One whose names changed: what is gone from it goes from the store, at the end. */
struct owed_names {
	char *path;
	uint64_t inode;
	int64_t changed_us, due_us;
};

struct owed_walk {
	struct vidas_sync *s;
	struct vidas_sync_owed *o;
	struct sync_batch batch;
	struct owed_dir *dir;
	size_t dirs, dirs_room;
	struct owed_names *names;
	size_t names_count, names_room;

	/* Of the directory that is gone through. */
	const char *path;
	int fd;
	struct vidas_policies policies;
	int64_t moved_us, names_us;
	bool above_known;
};

static int64_t earlier(int64_t a, int64_t b)
{
	return !a || (b && b < a) ? b : a;
}

static void *room_for(void *array, size_t count, size_t *room, size_t size)
{
	void *more;

	if (count < *room)
		return array;
	more = reallocarray(array, *room ? 2 * *room : 64, size);
	if (more)
		*room = *room ? 2 * *room : 64;
	return more;
}

static int add_dir(struct owed_walk *w, const char *path)
{
	struct owed_dir *more = room_for(w->dir, w->dirs, &w->dirs_room, sizeof(*more));
	char *copy = strdup(path);

	if (more)
		w->dir = more;
	if (!more || !copy) {
		free(copy);
		return -ENOMEM;
	}
	w->dir[w->dirs++] = (struct owed_dir){ .path = copy,
					       .policies = w->policies,
					       .moved_us = w->moved_us,
					       .above_us = w->names_us };
	return 0;
}

static int add_names(struct owed_walk *w, uint64_t inode, int64_t due_us)
{
	struct owed_names *more = room_for(w->names, w->names_count, &w->names_room, sizeof(*more));
	char *copy = strdup(w->path);

	if (more)
		w->names = more;
	if (!more || !copy) {
		free(copy);
		return -ENOMEM;
	}
	w->names[w->names_count++] = (struct owed_names){
		.path = copy, .inode = inode, .changed_us = w->names_us, .due_us = due_us
	};
	return 0;
}

static void note_policies(struct vidas_sync_owed *o, const struct vidas_policies *p)
{
	if (p->write != VIDAS_WRITE_BACK && p->write_deadline_us < o->least_us)
		o->least_us = p->write_deadline_us;
	if (p->eager && p->update_interval_us < o->watch_us)
		o->watch_us = p->update_interval_us;
}

/* When what changed at `since_us` is to be pushed. */
static int64_t due(const struct vidas_policies *p, int64_t since_us)
{
	return p->write == VIDAS_WRITE_BACK ? INT64_MAX : since_us + p->write_deadline_us;
}

/* Is it due? If not, it is remembered, unless it never is. */
static bool is_due(struct vidas_sync_owed *o, int64_t due_us, uint64_t inode, int64_t since_us)
{
	if (due_us == INT64_MAX)
		return false;
	if (due_us <= o->now_us)
		return true;
	o->not_due(o->arg, inode, since_us);
	if (due_us < o->next_us)
		o->next_us = due_us;
	return false;
}

/* What is above goes first, though it may not be due itself. */
static int push_above(struct owed_walk *w, const char *path)
{
	int err = 0;

	if (!w->above_known && !sync_batch_gave_up(&w->batch))
		err = sync_push_above(w->s, path);
	w->above_known = !err;
	return err == -ENOENT ? 0 : err;
}

static int owed_file(struct owed_walk *w, const char *path, const char *name, uint64_t inode)
{
	struct vidas_policies policies = w->policies;
	int64_t since = earlier(w->names_us, w->o->changed_us(w->o->arg, inode));
	struct stat st;
	int fd, err = 0;
	bool push;

	if (!since)
		return 0;
	fd = sync_open_at(w->fd, name, O_PATH);
	if (fd < 0)
		return 0; /* renamed or deleted since: the directory will be looked at again */
	push = fstat(fd, &st) == 0;
	if (push && S_ISREG(st.st_mode)) {
		vidas_policies_override(&policies, fd);
		note_policies(w->o, &policies);
	}
	push = push && is_due(w->o, due(&policies, since), st.st_ino, since) &&
	       !sync_is_clean(w->s, path, &st, fd);
	close(fd);
	if (push)
		err = push_above(w, path);
	if (push && !err)
		sync_batch_push(&w->batch, path);
	return err;
}

static int owed_entry(void *arg, const struct dirent *entry)
{
	struct owed_walk *w = arg;
	char path[PATH_MAX];
	struct stat st;
	bool directory = entry->d_type == DT_DIR;
	int err;

	err = sync_join(path, w->path, entry->d_name);
	if (err) {
		vidas_fail(err, "a path in '%.64s...' is too long for a store", w->path);
		sync_batch_failed(&w->batch, w->path, err);
		return 0;
	}
	if (entry->d_type == DT_UNKNOWN)
		directory = fstatat(w->fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			    S_ISDIR(st.st_mode);
	if (directory)
		return add_dir(w, path);
	err = owed_file(w, path, entry->d_name, entry->d_ino);
	if (err)
		sync_batch_failed(&w->batch, path, err);
	return 0;
}

/* The directory itself: is it known to be what it was? Then only its own names count. */
static void look_for_moves(struct owed_walk *w, const struct owed_dir *d, uint64_t inode)
{
	struct sync_record rec;

	w->moved_us = d->moved_us;
	if (!w->moved_us && d->above_us && *d->path &&
	    (sync_known_get(w->s, d->path, &rec) < 0 || rec.inode != inode))
		w->moved_us = d->above_us;
	w->names_us = earlier(w->moved_us, w->o->changed_us(w->o->arg, inode));
}

static int owed_directory(struct owed_walk *w, const struct owed_dir *d)
{
	int64_t since, due_us;
	struct stat st;
	int err = 0;

	w->path = d->path;
	w->policies = d->policies;
	w->above_known = false;
	w->fd = sync_open_at(w->s->tree, d->path, O_RDONLY | O_DIRECTORY);
	if (w->fd < 0)
		return w->fd == -ENOENT || w->fd == -ENOTDIR ? 0 : w->fd;
	if (fstat(w->fd, &st) < 0) {
		err = -errno;
		goto out;
	}
	vidas_policies_override(&w->policies, w->fd);
	note_policies(w->o, &w->policies);
	look_for_moves(w, d, st.st_ino);
	since = earlier(w->names_us, d->above_us);
	due_us = due(&w->policies, since);
	if (since && is_due(w->o, due_us, st.st_ino, since)) {
		if (*d->path)
			err = push_above(w, d->path);
		if (!err && *d->path)
			err = sync_batch_push_directory(&w->batch, d->path);
		w->above_known = !err;
		if (!err && !sync_batch_gave_up(&w->batch))
			err = sync_import_renamed(w->s, d->path, w->fd);
	}
	if (!err && w->names_us && due_us != INT64_MAX)
		err = add_names(w, st.st_ino, due(&w->policies, w->names_us));
	if (!err)
		err = sync_each_dirent(w->fd, owed_entry, w);
out:
	close(w->fd);
	return err == -ENOENT ? 0 : err;
}

/* What is known in a directory and not in it any more. */
struct owed_removal {
	struct owed_walk *w;
	const char *path;
	int tree;
	int err;
};

static int remove_each(void *arg, const char *name)
{
	struct owed_removal *r = arg;
	char path[PATH_MAX];
	struct stat st;
	int err;

	if (sync_join(path, r->path, name) ||
	    fstatat(r->tree, name, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
		return 0;
	vidas_fail_clear();
	err = sync_remove_gone(r->w->s, path, &r->w->batch.moved);
	if (err)
		sync_batch_failed(&r->w->batch, path, err);
	sync_count_timeout(&r->w->batch.timeouts, err, !err);
	return sync_batch_gave_up(&r->w->batch) ? err : 0;
}

static void remove_names(struct owed_walk *w, const struct owed_names *n)
{
	struct owed_removal r = { .w = w, .path = n->path };
	int known;

	if (sync_batch_gave_up(&w->batch) || !is_due(w->o, n->due_us, n->inode, n->changed_us))
		return;
	known = sync_open_at(w->s->known, n->path, O_RDONLY | O_DIRECTORY);
	r.tree = sync_open_at(w->s->tree, n->path, O_PATH | O_DIRECTORY);
	/* A directory that went meanwhile is missed by the one above. */
	if (known >= 0 && r.tree >= 0)
		(void)sync_each_entry(known, remove_each, &r);
	if (known >= 0)
		close(known);
	if (r.tree >= 0)
		close(r.tree);
}

int vidas_sync_push_owed(struct vidas_sync *s, struct vidas_sync_owed *o)
{
	struct owed_walk w = { .s = s, .o = o };
	int err;

	vidas_fail_clear();
	o->next_us = o->least_us = o->watch_us = INT64_MAX;
	o->moved = (struct vidas_sync_moved){ 0 };
	vidas_policies_default(&w.policies);
	sync_batch_begin(&w.batch, s, sync_need_store(s));
	err = add_dir(&w, "");
	for (size_t i = 0; i < w.dirs; i++) {
		struct owed_dir d = w.dir[i]; /* the array may move */

		vidas_fail_clear();
		err = owed_directory(&w, &d);
		if (err)
			sync_batch_failed(&w.batch, d.path, err);
	}
	sync_batch_finish(&w.batch);
	for (size_t i = 0; i < w.names_count; i++) {
		remove_names(&w, &w.names[i]);
		free(w.names[i].path);
	}
	for (size_t i = 0; i < w.dirs; i++)
		free(w.dir[i].path);
	free(w.names);
	free(w.dir);
	o->failed = w.batch.failed;
	return sync_batch_end(&w.batch, &o->moved);
}
