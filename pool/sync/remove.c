/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was deleted in the tree goes from the store. Only what is known is ever removed. */
#include "pool/sync/internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int sync_list_add(struct sync_list *l, const char *path)
{
	char **more;
	char *copy;

	if (l->count == l->room) {
		size_t room = l->room ? l->room * 2 : 64;

		more = reallocarray(l->path, room, sizeof(*more));
		if (!more)
			return -ENOMEM;
		l->path = more;
		l->room = room;
	}
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	l->path[l->count++] = copy;
	return 0;
}

void sync_list_free(struct sync_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		free(l->path[i]);
	free(l->path);
	*l = (struct sync_list){ 0 };
}

/* May the key be removed, and as which version? 1: it is not what was agreed on, and stays. */
static int expect_removal(struct vidas_sync *s, const char *path, const struct sync_record *rec,
			  struct vidas_backend_version *expect)
{
	struct vidas_backend_stat there;
	int err;

	*expect = rec->version;
	if ((rec->flags & SYNC_AGREED) && !sync_is_unsure(s, rec) &&
	    sync_can(s, VIDAS_BACKEND_CONDITIONAL) && rec->version.size)
		return 0;
	err = vidas_store_stat(s->store, path, &there);
	if (err) /* what was begun under a name that the store cannot have never came to be there */
		return err == -EINVAL ? -ENOENT : err;
	*expect = there.version;
	return !sync_is_ours(s, path, rec, &there);
}

int sync_remove_one(struct vidas_sync *s, const char *path, struct vidas_sync_moved *moved)
{
	struct vidas_backend_version expect;
	struct sync_record rec;
	int err;

	/* After it was seen that it is not in the tree: see vidas_sync_end(). */
	if (atomic_load_explicit(&s->ended, memory_order_seq_cst))
		return vidas_fail(-ESHUTDOWN, "the container is destroyed");
	err = sync_known_get(s, path, &rec);
	if (err && err != -ENOENT)
		return err;
	if (err || !(rec.flags & (SYNC_AGREED | SYNC_PUSHING)))
		return sync_known_drop(s, path);
	err = expect_removal(s, path, &rec, &expect);
	if (!err)
		err = vidas_store_remove(s->store, path, expect.size ? &expect : NULL);
	if (err == 1 || err == -ESTALE || err == -EISDIR) {
		vidas_log(VIDAS_LOG_NOTICE,
			  "'%s' was deleted here, but changed in the store since: it stays there",
			  path);
		err = 0;
	} else if (!err) {
		moved->files++;
	}
	if (err && err != -ENOENT && err != -ENOTDIR)
		return err;
	return sync_known_drop(s, path);
}

/* Is there something in the tree that is a directory, or is not, as asked? */
static bool in_tree(struct vidas_sync *s, const char *path, bool directory)
{
	struct stat st;
	int fd = sync_tree_look(s, path, 0, &st);

	/* What cannot be looked at for another reason may be there. */
	if (fd < 0)
		return fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP;
	close(fd);
	return S_ISDIR(st.st_mode) == directory;
}

/* One file that was not seen in the tree: looked for again, now that nobody else moves it. */
static int remove_file(struct vidas_sync *s, const char *path, struct vidas_sync_moved *moved)
{
	struct sync_turn turn;
	int err;

	sync_save_reader(s, path);
	err = sync_turn_path(s, &turn, path);
	if (!err && !in_tree(s, path, false) && !sync_is_moved(s, path))
		err = sync_remove_one(s, path, moved);
	sync_turn_give(s, &turn);
	return err;
}

static int any_entry(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	(void)arg;
	(void)name;
	(void)st;
	return 1;
}

static int remove_directory(struct vidas_sync *s, const char *path)
{
	int err = 0;

	if (in_tree(s, path, true))
		return 0;
	if (atomic_load_explicit(&s->ended, memory_order_seq_cst))
		return -ESHUTDOWN;
	if (sync_can(s, VIDAS_BACKEND_DIRECTORIES))
		err = vidas_store_rmdir(s->store, path);
	/* What shows in it was never known here, or is kept: the directory stays with it. What does not
	 * show may be on its way out: the next flush tries again. */
	if (err == -ENOTEMPTY && vidas_store_list(s->store, path, any_entry, NULL) == 0)
		return 0;
	if (err && err != -ENOENT && err != -ENOTEMPTY && err != -ENOTDIR && err != -EINVAL)
		return err;
	err = sync_known_drop(s, path);
	return err == -ENOTEMPTY ? 0 : err;
}

struct removal {
	struct vidas_sync *s;
	const char *dir;
	int known, tree; /* of dir; tree -1: there is no such directory any more */
	struct sync_list *dirs;
	struct vidas_sync_moved *moved;
	unsigned timeouts;
	int err; /* the first */
};

static int removal_each(void *arg, const char *name)
{
	struct removal *r = arg;
	char path[PATH_MAX];
	struct stat st;
	int err;

	err = sync_join(path, r->dir, name);
	if (err || fstatat(r->known, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err;
	if (S_ISDIR(st.st_mode))
		return sync_list_add(r->dirs, path);
	if (r->tree >= 0 && fstatat(r->tree, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !S_ISDIR(st.st_mode))
		return 0;
	err = remove_file(r->s, path, r->moved);
	sync_count_timeout(&r->timeouts, err, !err);
	if (err && !r->err)
		r->err = err;
	return r->timeouts < SYNC_TIMEOUTS ? 0 : err;
}

static int removal_directory(struct removal *r)
{
	int err;

	r->known = sync_open_at(r->s->known, r->dir, O_RDONLY | O_DIRECTORY);
	if (r->known < 0)
		return r->known == -ENOENT ? 0 : r->known;
	r->tree = sync_open_at(r->s->tree, r->dir, O_PATH | O_DIRECTORY);
	err = sync_each_entry(r->known, removal_each, r);
	if (r->tree >= 0)
		close(r->tree);
	close(r->known);
	return err;
}

int sync_remove_gone(struct vidas_sync *s, const char *path, struct vidas_sync_moved *moved)
{
	struct sync_list dirs = { 0 };
	struct removal r = { .s = s, .dirs = &dirs, .moved = moved };
	mode_t kind = *path ? sync_known_kind(s, path) : S_IFDIR;
	int err;

	if (!kind)
		return 0;
	if (!S_ISDIR(kind))
		return in_tree(s, path, false) ? 0 : remove_file(s, path, moved);
	/* The list grows while it is gone through: first above, then below. Backwards that is the
	 * order for rmdir. */
	err = sync_list_add(&dirs, path);
	for (size_t i = 0; !err && i < dirs.count; i++) {
		r.dir = dirs.path[i];
		err = removal_directory(&r);
	}
	for (size_t i = dirs.count; !err && i-- > 0;)
		if (*dirs.path[i])
			err = remove_directory(s, dirs.path[i]);
	sync_list_free(&dirs);
	return err ? err : r.err;
}
