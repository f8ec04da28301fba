/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Update of a directory: everything below it that differs in the store; and the same without being asked,
 * where the policy is eager. */
#include "pool/sync/internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pool/policy/attr.h"
#include "pool/wire/wire.h"

struct listed {
	UT_hash_handle hh;
	char name[];
};

struct renewal {
	struct vidas_sync *s;
	const char *dir;
	struct stat st;	       /* of dir */
	struct listed *listed; /* what the store has in dir */
	struct sync_list dirs;
	struct vidas_sync_moved *moved;
	bool names_changed;
	bool watch;	   /* only what is eager, and was looked into before */
	unsigned timeouts; /* see SYNC_TIMEOUTS */
	int err, busy;	   /* the first; -EBUSY only if nothing worse was */
};

/* How one file ended. Non-zero: no more of them. */
static int ended(struct renewal *r, int err)
{
	if (err == -EBUSY)
		r->busy = err;
	else if (err && !r->err)
		r->err = err;
	sync_count_timeout(&r->timeouts, err, !err);
	return r->timeouts < SYNC_TIMEOUTS ? 0 : err;
}

static int listed_add(struct renewal *r, const char *name)
{
	struct listed *l = calloc(1, sizeof(*l) + strlen(name) + 1);

	if (!l)
		return -ENOMEM;
	strcpy(l->name, name);
	HASH_ADD_KEYPTR(hh, r->listed, l->name, (unsigned)strlen(name), l);
	if (l->hh.tbl)
		return 0;
	free(l);
	return -ENOMEM;
}

static bool listed_has(struct renewal *r, const char *name)
{
	struct listed *l = NULL;

	HASH_FIND(hh, r->listed, name, (unsigned)strlen(name), l);
	return l != NULL;
}

static void listed_clear(struct renewal *r)
{
	struct listed *l, *next;

	HASH_ITER(hh, r->listed, l, next) {
		HASH_DEL(r->listed, l);
		free(l);
	}
}

/* Is it eager, being in a directory that is, or is not? `look` is O_PATH. */
static bool is_eager(int look, bool above)
{
	struct vidas_policies p = { .eager = above };

	vidas_policies_override(&p, look);
	return p.eager;
}

/* A directory that the store has. */
static int renew_subdirectory(struct renewal *r, const char *path,
			      const struct vidas_backend_stat *there)
{
	struct stat st;
	int fd = sync_tree_look(r->s, path, 0, &st);
	int err;

	if (fd < 0) {
		err = fd == -ENOENT ? sync_import_entry(r->s, path, path, there) : fd;
		if (err > 0)
			r->names_changed = true;
		return err < 0 ? err : 0;
	}
	close(fd);
	return S_ISDIR(st.st_mode) ? sync_list_add(&r->dirs, path) : -EBUSY;
}

static int renew_each(void *arg, const char *name, const struct vidas_backend_stat *there)
{
	struct renewal *r = arg;
	char path[PATH_MAX];
	struct stat st;
	int fd, err;

	if (sync_join(path, r->dir, name))
		return 0; /* import says so, once */
	err = listed_add(r, name);
	if (err)
		return err;
	if (there->type == VIDAS_BACKEND_DIRECTORY)
		return ended(r, renew_subdirectory(r, path, there));
	fd = sync_tree_look(r->s, path, 0, &st);
	if (fd == -ENOENT && !sync_known_kind(r->s, path)) {
		err = sync_import_entry(r->s, path, path, there);
		r->names_changed = r->names_changed || err > 0;
		return ended(r, err > 0 ? 0 : err);
	}
	if (fd >= 0) {
		bool leave = r->watch && S_ISREG(st.st_mode) && !is_eager(fd, true);

		close(fd);
		if (leave)
			return 0;
	}
	return ended(r, sync_update_file(r->s, path, 0, there, false, r->moved));
}

/* What is known in `dir` and was not in the list. */
static int gone_each(void *arg, const char *name)
{
	struct renewal *r = arg;
	char path[PATH_MAX];

	if (listed_has(r, name) || sync_join(path, r->dir, name))
		return 0;
	if (sync_known_kind(r->s, path) == S_IFDIR)
		return sync_list_add(&r->dirs, path);
	return ended(r, sync_update_file(r->s, path, 0, NULL, false, r->moved));
}

/* One entry of a directory that is lazy: it may be eager itself, or have something eager in it. */
static int lazy_each(void *arg, const struct dirent *entry)
{
	struct renewal *r = arg;
	char path[PATH_MAX];
	struct stat st;
	bool eager;
	int fd;

	if (sync_join(path, r->dir, entry->d_name) || entry->d_type == DT_LNK)
		return 0;
	fd = sync_tree_look(r->s, path, 0, &st);
	if (fd < 0)
		return 0;
	eager = S_ISREG(st.st_mode) && is_eager(fd, false);
	close(fd);
	if (S_ISDIR(st.st_mode))
		return sync_list_add(&r->dirs, path);
	return eager ? ended(r, sync_update_file(r->s, path, 0, NULL, true, r->moved)) : 0;
}

/* Its entries; 1: they were not here yet, and are now as the store has them. */
static int renew_entries(struct renewal *r)
{
	uint64_t made = 0;
	int fd, known, err;
	bool absent;

	fd = sync_open_at(r->s->tree, r->dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? 0 : fd;
	err = fstat(fd, &r->st) < 0 ? -errno : 0;
	absent = fgetxattr(fd, VIDAS_SYNC_ABSENT, NULL, 0) >= 0;
	if (!err && r->watch && (absent || !sync_known_imported(r->s, r->dir))) {
		close(fd);
		return 0;
	}
	if (!err && r->watch && !vidas_policy_is(r->s->tree, r->dir, "update_policy", "eager")) {
		err = sync_each_dirent(fd, lazy_each, r);
		close(fd);
		return err;
	}
	close(fd);
	if (err)
		return err;
	if (absent || !sync_known_imported(r->s, r->dir)) {
		err = vidas_sync_import(r->s, r->dir, 0, &made);
		r->moved->files += made;
		if (err || absent)
			return err;
	}
	err = vidas_store_list(r->s->store, r->dir, renew_each, r);
	if (err == -ENOENT || err == -ENOTDIR)
		err = sync_root_is_there(r->s);
	if (err)
		return err;
	known = sync_open_at(r->s->known, r->dir, O_RDONLY | O_DIRECTORY);
	if (known < 0)
		return 0;
	err = sync_each_entry(known, gone_each, r);
	close(known);
	return err;
}

/* A directory that is gone in the store goes here too, once it is empty. */
static int remove_directory(struct renewal *r, const char *path)
{
	struct vidas_backend_stat there;
	struct sync_record rec;
	const char *base;
	struct stat above;
	int parent, err;

	/* One that was only begun to be made there is for the next push. */
	if (sync_known_kind(r->s, path) != S_IFDIR ||
	    (sync_known_get(r->s, path, &rec) == 0 && !(rec.flags & SYNC_AGREED)) ||
	    (r->watch && !vidas_policy_is(r->s->tree, path, "update_policy", "eager")))
		return 0;
	err = vidas_store_stat(r->s->store, path, &there);
	if (err != -ENOENT)
		return err;
	parent = sync_parent(r->s->tree, path, &base);
	if (parent < 0)
		return parent == -ENOENT ? 0 : parent;
	err = unlinkat(parent, base, AT_REMOVEDIR) < 0 ? -errno : 0;
	if (!err && fstat(parent, &above) == 0)
		sync_changed(r->s, above.st_ino, VIDAS_WIRE_RECALL_NAMES);
	close(parent);
	/* Forgotten in any case: what is left in it is to be pushed again. */
	if (!err || err == -ENOENT || err == -ENOTEMPTY || err == -ENOTDIR)
		err = sync_known_drop(r->s, path);
	return err == -ENOTEMPTY ? 0 : err;
}

static int update_tree(struct vidas_sync *s, const char *path, bool watch,
		       struct vidas_sync_moved *moved)
{
	struct renewal r = { .s = s, .moved = moved, .watch = watch };
	int err;

	err = sync_list_add(&r.dirs, path);
	for (size_t i = 0; !err && i < r.dirs.count; i++) {
		if (atomic_load_explicit(&s->ended, memory_order_relaxed))
			break;
		r.dir = r.dirs.path[i];
		r.names_changed = false;
		err = ended(&r, renew_entries(&r));
		listed_clear(&r);
		if (r.names_changed)
			sync_changed(s, r.st.st_ino, VIDAS_WIRE_RECALL_NAMES);
	}
	if (sync_can(s, VIDAS_BACKEND_DIRECTORIES))
		for (size_t i = r.dirs.count; !err && i-- > 0;)
			if (*r.dirs.path[i])
				err = ended(&r, remove_directory(&r, r.dirs.path[i]));
	sync_list_free(&r.dirs);
	if (r.err || err)
		return r.err ? r.err : err;
	return r.busy ? vidas_fail(-EBUSY, "some files have changes that are not pushed") : 0;
}

int vidas_sync_update(struct vidas_sync *s, const char *path, uint64_t inode,
		      struct vidas_sync_moved *moved)
{
	struct vidas_sync_moved total = { 0 };
	struct stat st = { 0 };
	int fd, err;

	vidas_fail_clear();
	fd = sync_tree_look(s, path, inode, &st);
	if (fd >= 0)
		close(fd);
	if (fd < 0 && (fd != -ENOENT || inode))
		return fd;
	err = sync_need_store(s);
	if (err)
		return err;
	if (fd < 0 || !S_ISDIR(st.st_mode))
		err = sync_update_file(s, path, inode, NULL, false, &total);
	else
		err = update_tree(s, path, false, &total);
	if (moved)
		*moved = total;
	return err;
}

int vidas_sync_watch(struct vidas_sync *s, struct vidas_sync_moved *moved)
{
	int err;

	*moved = (struct vidas_sync_moved){ 0 };
	vidas_fail_clear();
	err = sync_need_store(s);
	if (!err)
		err = update_tree(s, "", true, moved);
	/* What is changed here, too, is for the next push to find out. */
	return err == -EBUSY ? 0 : err;
}
