/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names: stat, remove, list, directories, symlinks, rename, link. */
#include "backends/nfs/nfs.h"

#include <errno.h>
#include <string.h>

#define LEFTOVER_SECONDS 3600 /* when list removes what a crash left */
#define RMDIR_SECONDS	 60   /* when rmdir does, as else the directory could not go */

/* Makes a call again while handles turn out to be stale. */
#define AGAIN(be, ret, invocation)                            \
	do {                                                  \
		int tries_ = 0;                               \
		do {                                          \
			ret = (invocation);                   \
		} while (vidas_nfs_again(be, &ret, &tries_)); \
	} while (0)

int vidas_nfs_stat(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st)
{
	struct vidas_nfs_node parent, node;
	int err;

	if (vidas_nfs_temp_in(key))
		return -ENOENT;
	AGAIN(be, err, vidas_nfs_find(be, key, &parent, &node, NULL));
	return err ? err : vidas_nfs_stat_of(be, &node.attr, st);
}

static int remove_once(struct vidas_backend *be, const char *key,
		       const struct vidas_backend_version *expect)
{
	struct vidas_nfs_node parent, node;
	const char *name;
	int err = vidas_nfs_find(be, key, &parent, &node, &name);

	if (err)
		return err;
	if (node.attr.type == VIDAS_BACKEND_DIRECTORY)
		return -EISDIR;
	if (expect && !vidas_nfs_version_is(be, &node.attr, expect))
		return -ESTALE;
	return be->dialect->remove(be, &parent.fh, name);
}

int vidas_nfs_remove(struct vidas_backend *be, const char *key,
		     const struct vidas_backend_version *expect)
{
	int err = vidas_nfs_lock(be, key);

	if (err)
		return err;
	AGAIN(be, err, remove_once(be, key, expect));
	vidas_nfs_unlock(be, key);
	return err;
}

static int list_once(struct vidas_backend *be, const char *key, struct vidas_nfs_fh *dir,
		     struct vidas_nfs_entries *entries)
{
	struct vidas_nfs_node parent, node;
	int err = vidas_nfs_find(be, key, &parent, &node, NULL);

	vidas_nfs_entries_clear(entries);
	if (err)
		return err;
	if (node.attr.type != VIDAS_BACKEND_DIRECTORY)
		return -ENOTDIR;
	*dir = node.fh;
	err = be->dialect->readdir(be, dir, entries);
	return err == -EOVERFLOW ? vidas_backend_error(be->host, err,
						       "the directory has over 4194304 entries") :
				   err;
}

/* Tells of one entry; 0: there is none any more, or nothing we know. */
static int tell(struct vidas_backend *be, const struct vidas_nfs_fh *dir,
		struct vidas_nfs_entry *entry,
		int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		void *arg)
{
	struct vidas_nfs_node parent, node;
	struct vidas_backend_stat st;
	int err;

	if (!entry->known) {
		err = be->dialect->walk(be, dir, entry->name, &parent, &node);
		if (err)
			return err == -ENOENT || err == VIDAS_NFS_STALE ? 0 : err;
		entry->attr = node.attr;
	}
	return vidas_nfs_stat_of(be, &entry->attr, &st) == 0 ? each(arg, entry->name, &st) : 0;
}

/* Gathered before the first is told: a listing may have to begin anew. */
int vidas_nfs_list(struct vidas_backend *be, const char *key,
		   int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		   void *arg)
{
	struct vidas_nfs_entries entries = { 0 };
	struct vidas_nfs_fh dir;
	int ret;

	if (vidas_nfs_temp_in(key))
		return -ENOENT;
	AGAIN(be, ret, list_once(be, key, &dir, &entries));
	for (size_t i = 0; !ret && i < entries.count; i++) {
		if (vidas_nfs_temp_in(entries.entry[i].name))
			vidas_nfs_sweep(be, &dir, &entries.entry[i], LEFTOVER_SECONDS);
		else
			ret = tell(be, &dir, &entries.entry[i], each, arg);
	}
	vidas_nfs_entries_clear(&entries);
	return ret;
}

static int mkdir_once(struct vidas_backend *be, const char *key,
		      const struct vidas_backend_stat *attrs)
{
	struct vidas_nfs_node parent, node;
	struct vidas_nfs_fh made;
	const char *name;
	int err = vidas_nfs_find_made(be, key, &parent, &node, &name);

	if (err == -ENOENT) {
		err = be->dialect->mkdir(be, &parent.fh, name, &made);
		if (!err)
			return attrs ? vidas_nfs_set_at(be, &made, attrs, false) : 0;
		/* Another was quicker; or we were, and the answer was lost. */
		if (err == -EEXIST)
			err = be->dialect->walk(be, &parent.fh, name, &parent, &node);
	}
	if (err)
		return err;
	return node.attr.type == VIDAS_BACKEND_DIRECTORY ? 0 : -EEXIST;
}

int vidas_nfs_mkdir(struct vidas_backend *be, const char *key,
		    const struct vidas_backend_stat *attrs)
{
	int err;

	AGAIN(be, err, mkdir_once(be, key, attrs));
	return err;
}

static void sweep_all(struct vidas_backend *be, const struct vidas_nfs_fh *dir)
{
	struct vidas_nfs_entries entries = { 0 };

	if (be->dialect->readdir(be, dir, &entries) == 0)
		for (size_t i = 0; i < entries.count; i++)
			vidas_nfs_sweep(be, dir, &entries.entry[i], RMDIR_SECONDS);
	vidas_nfs_entries_clear(&entries);
}

static int rmdir_once(struct vidas_backend *be, const char *key)
{
	struct vidas_nfs_node parent, node;
	const char *name;
	int err = vidas_nfs_find(be, key, &parent, &node, &name);

	if (err)
		return err;
	if (node.attr.type != VIDAS_BACKEND_DIRECTORY)
		return -ENOTDIR;
	err = be->dialect->rmdir(be, &parent.fh, name);
	if (err == -ENOTEMPTY) {
		sweep_all(be, &node.fh);
		err = be->dialect->rmdir(be, &parent.fh, name);
	}
	return err;
}

int vidas_nfs_rmdir(struct vidas_backend *be, const char *key)
{
	int err;

	AGAIN(be, err, rmdir_once(be, key));
	return err;
}

static int symlink_once(struct vidas_backend *be, const char *key, const char *target)
{
	struct vidas_nfs_node parent, node;
	struct vidas_nfs_temp temp;
	const char *name;
	int err = vidas_nfs_find_made(be, key, &parent, &node, &name);

	if (err && err != -ENOENT)
		return err;
	if (!err && node.attr.type == VIDAS_BACKEND_DIRECTORY)
		return -EISDIR;
	vidas_nfs_temp_new(&temp);
	err = be->dialect->symlink(be, &parent.fh, temp.name, target);
	if (!err) {
		err = be->dialect->rename(be, &parent.fh, temp.name, &parent.fh, name, NULL, NULL);
		if (err && err != -ETIMEDOUT)
			(void)be->dialect->remove(be, &parent.fh, temp.name);
	}
	vidas_nfs_temp_release(&temp);
	return err;
}

int vidas_nfs_symlink(struct vidas_backend *be, const char *key, const char *target)
{
	int err = vidas_nfs_lock(be, key);

	if (err)
		return err;
	AGAIN(be, err, symlink_once(be, key, target));
	vidas_nfs_unlock(be, key);
	return err;
}

static ssize_t readlink_once(struct vidas_backend *be, const char *key, char *target, size_t size)
{
	struct vidas_nfs_node parent, node;
	int err = vidas_nfs_find(be, key, &parent, &node, NULL);

	if (!err && node.attr.type != VIDAS_BACKEND_SYMLINK)
		err = -EINVAL;
	return err ? err : be->dialect->readlink(be, &node.fh, target, size);
}

ssize_t vidas_nfs_readlink(struct vidas_backend *be, const char *key, char *target, size_t size)
{
	int ret; /* a length is at most PATH_MAX */

	AGAIN(be, ret, (int)readlink_once(be, key, target, size));
	return ret;
}

/* Servers do not agree in what they answer to these. */
static int rename_check(const struct vidas_nfs_node *from, const struct vidas_nfs_node *to)
{
	bool directory = from->attr.type == VIDAS_BACKEND_DIRECTORY;

	if (directory == (to->attr.type == VIDAS_BACKEND_DIRECTORY))
		return 0;
	return directory ? -ENOTDIR : -EISDIR;
}

static int rename_once(struct vidas_backend *be, const char *from, const char *to)
{
	struct vidas_nfs_node parent, node, new_parent, there;
	const char *name, *new_name;
	size_t size = strlen(from);
	int err = vidas_nfs_find(be, from, &parent, &node, &name);

	if (err)
		return err;
	if (strncmp(from, to, size) == 0 && (!to[size] || to[size] == '/'))
		return !to[size]				 ? 0 :
		       node.attr.type == VIDAS_BACKEND_DIRECTORY ? -EINVAL :
								   -ENOTDIR;
	err = vidas_nfs_find_made(be, to, &new_parent, &there, &new_name);
	if (!err)
		err = rename_check(&node, &there);
	else if (err == -ENOENT)
		err = 0;
	if (!err)
		err = be->dialect->rename(be, &parent.fh, name, &new_parent.fh, new_name, &node.fh,
					  NULL);
	return err == -EEXIST ? -ENOTEMPTY : err;
}

int vidas_nfs_rename(struct vidas_backend *be, const char *from, const char *to)
{
	int err = vidas_nfs_lock_two(be, from, to);

	if (err)
		return err;
	AGAIN(be, err, rename_once(be, from, to));
	vidas_nfs_unlock_two(be, from, to);
	return err;
}

/* One more name of what `node` is: beside the old one first, if that is to be replaced. */
static int link_place(struct vidas_backend *be, const struct vidas_nfs_node *node,
		      const struct vidas_nfs_fh *dir, const char *name, bool replace)
{
	struct vidas_nfs_temp temp;
	int err;

	if (!replace)
		return be->dialect->link(be, &node->fh, dir, name);
	vidas_nfs_temp_new(&temp);
	err = be->dialect->link(be, &node->fh, dir, temp.name);
	if (!err) {
		err = be->dialect->rename(be, dir, temp.name, dir, name, &node->fh, NULL);
		if (err && err != -ETIMEDOUT)
			(void)be->dialect->remove(be, dir, temp.name);
	}
	vidas_nfs_temp_release(&temp);
	return err;
}

static int link_once(struct vidas_backend *be, const char *from, const char *to,
		     const struct vidas_backend_link *link, struct vidas_backend_version *now)
{
	struct vidas_nfs_node parent, node, new_parent, there;
	const char *name;
	int found, err = vidas_nfs_find(be, from, &parent, &node, NULL);

	if (err)
		return err;
	if (node.attr.type != VIDAS_BACKEND_FILE)
		return node.attr.type == VIDAS_BACKEND_DIRECTORY ? -EISDIR : -EINVAL;
	found = vidas_nfs_find_made(be, to, &new_parent, &there, &name);
	if (found || !vidas_nfs_fh_same(&node.fh, &there.fh)) {
		if (link->version && !vidas_nfs_version_is(be, &node.attr, link->version))
			return -ESTALE;
		err = vidas_nfs_replace_check(be, found, &there, link->expect,
					      link->must_not_exist);
		if (!err)
			err = link_place(be, &node, &new_parent.fh, name, found == 0);
		if (!err)
			err = be->dialect->getattr(be, &node.fh, &node.attr);
	}
	if (!err && now)
		vidas_nfs_version(be, &node.attr, now);
	return err;
}

int vidas_nfs_link(struct vidas_backend *be, const char *from, const char *to,
		   const struct vidas_backend_link *link, struct vidas_backend_version *now)
{
	int err = vidas_nfs_lock_two(be, from, to);

	if (err)
		return err;
	AGAIN(be, err, link_once(be, from, to, link, now));
	vidas_nfs_unlock_two(be, from, to);
	return err;
}
