/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One thing of the tree to the store: a symbolic link, a directory, or by put.c a file. */
#include "pool/sync/internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

static int note(struct vidas_sync *s, const char *path, int fd, const struct stat *st,
		const struct vidas_backend_version *version)
{
	struct sync_record rec = { 0 };

	sync_record_agree(&rec, fd, st, version);
	return sync_known_put(s, path, &rec);
}

/* Directories ---------------------------------------------------------------------------------- */

static int make_directory(struct vidas_sync *s, const char *path,
			  const struct vidas_backend_stat *attrs)
{
	struct vidas_backend_stat there;
	int err;

	err = vidas_store_mkdir(s->store, path, attrs);
	if (err != -EEXIST && err != -ENOTDIR)
		return err;
	err = vidas_store_stat(s->store, path, &there);
	if (!err && there.type != VIDAS_BACKEND_DIRECTORY)
		err = sync_conflict_keep(s, path, &there);
	if (!err && there.type != VIDAS_BACKEND_DIRECTORY && there.type)
		err = vidas_store_remove(s->store, path, &there.version);
	if (err && err != -ENOENT)
		return err;
	return vidas_store_mkdir(s->store, path, attrs);
}

/* With the intent first: should the directory go here before it is noted, it goes there, too. */
static int begin_directory(struct vidas_sync *s, const char *path,
			   const struct vidas_backend_stat *attrs, struct sync_record *rec)
{
	int err = 0;

	if (!rec->type) {
		rec->type = VIDAS_BACKEND_DIRECTORY;
		rec->flags = SYNC_PUSHING;
		err = sync_known_put(s, path, rec);
	}
	return err ? err : make_directory(s, path, attrs);
}

static int push_directory(struct vidas_sync *s, const char *path, int fd, const struct stat *st)
{
	const struct vidas_backend_version none = { 0 };
	struct vidas_backend_stat attrs;
	struct sync_record rec;
	bool known;
	int err;

	err = sync_known_get(s, path, &rec);
	if (err && err != -ENOENT)
		return err;
	known = rec.flags & SYNC_AGREED;
	if (known && sync_same_attrs(&rec, st))
		return 0;
	sync_attrs_of(st, &attrs);
	attrs.valid &= ~(uint32_t)VIDAS_BACKEND_MTIME; /* changes with every entry */
	err = 0;
	if (known && sync_can(s, VIDAS_BACKEND_ATTRIBUTES)) {
		rec.flags |= SYNC_ATTRS;
		err = sync_known_put(s, path, &rec);
		if (!err)
			err = vidas_store_set_attrs(s->store, path, &attrs);
		if (err == -EOPNOTSUPP)
			err = 0;
		known = err != -ENOENT;
	}
	if (!known)
		err = sync_can(s, VIDAS_BACKEND_DIRECTORIES) ?
			      begin_directory(s, path, &attrs, &rec) :
			      0;
	return err ? err : note(s, path, fd, st, &none);
}

/* Symbolic links ------------------------------------------------------------------------------- */

/* 1: the store has just this link. 0: it can be put. */
static int compare_link(struct vidas_sync *s, const char *path, const char *target,
			const struct sync_record *rec, struct vidas_backend_stat *there)
{
	char other[PATH_MAX];
	ssize_t n;
	int err;

	err = vidas_store_stat(s->store, path, there);
	if (err)
		return err == -ENOENT ? 0 : err;
	if (there->type == VIDAS_BACKEND_DIRECTORY)
		return vidas_fail(-EISDIR, "the store has a directory '%s'", path);
	if (there->type == VIDAS_BACKEND_SYMLINK) {
		n = vidas_store_readlink(s->store, path, other, sizeof(other));
		if (n >= 0 && (size_t)n == strlen(target) && memcmp(other, target, (size_t)n) == 0)
			return 1;
	}
	return sync_is_ours(s, path, rec, there) ? 0 : sync_conflict_keep(s, path, there);
}

static int push_symlink(struct vidas_sync *s, const char *path, int fd, const struct stat *st,
			struct vidas_sync_moved *moved)
{
	struct vidas_backend_stat there = { 0 };
	char target[PATH_MAX];
	struct sync_record rec;
	ssize_t n;
	int err;

	err = sync_known_get(s, path, &rec);
	if (err && err != -ENOENT)
		return err;
	if (!sync_is_dirty(s, &rec, st, fd, false, NULL))
		return 0;
	if (!sync_can(s, VIDAS_BACKEND_SYMLINKS)) {
		if (sync_tell_once(s, SYNC_TOLD_SYMLINK))
			vidas_log(VIDAS_LOG_WARNING,
				  "the store has no symbolic links: '%s' and others stay in "
				  "the pool only",
				  path);
		return 0;
	}
	n = readlinkat(fd, "", target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	err = compare_link(s, path, target, &rec, &there);
	if (!err) {
		/* With the intent of this push that of an earlier one is forgotten: so which
		 * version is there is noted as well. */
		if (there.type)
			sync_record_agree(&rec, fd, st, &there.version);
		rec.type = VIDAS_BACKEND_SYMLINK;
		rec.flags |= SYNC_PUSHING;
		rec.push_tag = sync_target_hash(target, (size_t)n);
		err = sync_known_put(s, path, &rec);
		if (!err)
			err = vidas_store_symlink(s->store, path, target);
		if (!err)
			err = vidas_store_stat(s->store, path, &there);
		moved->files += !err;
	}
	return err < 0 ? err : note(s, path, fd, st, &there.version);
}

/* Any ------------------------------------------------------------------------------------------ */

/* 0: what no store has. */
static enum vidas_backend_type type_of(mode_t mode)
{
	return S_ISREG(mode) ? VIDAS_BACKEND_FILE :
	       S_ISDIR(mode) ? VIDAS_BACKEND_DIRECTORY :
	       S_ISLNK(mode) ? VIDAS_BACKEND_SYMLINK :
			       0;
}

/* What was agreed on as something else goes from the store first. With the turn on `path`. */
static int clear_other(struct vidas_sync *s, const char *path, mode_t mode,
		       struct vidas_sync_moved *moved)
{
	mode_t kind = sync_known_kind(s, path);
	struct sync_record rec;

	if (!kind || (S_ISDIR(mode) && S_ISDIR(kind)))
		return 0;
	if (S_ISDIR(kind))
		return sync_remove_gone(s, path, moved);
	if (!S_ISDIR(mode) && (sync_known_get(s, path, &rec) < 0 || rec.type == type_of(mode)))
		return 0;
	return sync_remove_one(s, path, moved);
}

/*
 * A pipe, a socket, a device: what had its name goes from the store all the same. A directory's time
 * is when all else is pushed; what was changed there meanwhile is kept, under another name.
 */
static int leave_here(struct vidas_sync *s, const char *path, mode_t mode,
		      struct vidas_sync_moved *moved)
{
	struct vidas_backend_stat there;
	int err;

	if (sync_tell_once(s, SYNC_TOLD_SPECIAL))
		vidas_log(VIDAS_LOG_NOTICE,
			  "pipes, sockets and devices, like '%s', stay in the pool only", path);
	if (!S_ISREG(sync_known_kind(s, path)))
		return 0;
	err = clear_other(s, path, mode, moved);
	if (!err)
		err = vidas_store_stat(s->store, path, &there);
	if (!err && there.type != VIDAS_BACKEND_DIRECTORY)
		err = sync_conflict_keep(s, path, &there);
	return err == -ENOENT ? 0 : err;
}

static int push_turn(struct vidas_sync *s, const char *path, const char *from, uint64_t inode,
		     struct vidas_sync_moved *moved)
{
	struct stat st;
	int fd, displaced, err;

	fd = sync_tree_look(s, path, inode, &st);
	if (fd < 0)
		return fd;
	displaced = sync_displaced(s, path, st.st_ino);
	if (displaced >= 0)
		close(displaced);
	if (displaced != -ENOENT) {
		close(fd);
		return displaced < 0 ? displaced : SYNC_AGAIN;
	}
	if (!type_of(st.st_mode))
		err = leave_here(s, path, st.st_mode, moved);
	else
		err = clear_other(s, path, st.st_mode, moved);
	if (!err && S_ISDIR(st.st_mode))
		err = push_directory(s, path, fd, &st);
	else if (!err && S_ISLNK(st.st_mode))
		err = push_symlink(s, path, fd, &st, moved);
	else if (!err && S_ISREG(st.st_mode))
		err = sync_put_file(s, path, from, fd, moved);
	close(fd);
	return err;
}

/*
 * Bytes that must come before anything is held: those of this file, if it was renamed while it was
 * absent, and cannot `stay` in the store; and those of a file that had this name, was absent and is elsewhere now: what is pushed
 * here would take their place in the store.
 */
static int fetch_before(struct vidas_sync *s, const char *path, uint64_t inode, bool stay)
{
	char key[PATH_MAX];
	struct stat st;
	int fd, look, err = 0;

	look = sync_tree_look(s, path, inode, &st);
	if (look < 0)
		return look;
	sync_save_reader(s, path);
	fd = sync_displaced(s, path, st.st_ino);
	if (fd >= 0) {
		err = sync_make_resident(s, fd, VIDAS_FOREVER);
		close(fd);
	} else if (fd != -ENOENT) {
		err = fd;
	}
	if (!err && S_ISREG(st.st_mode)) {
		err = fd = sync_reopen(look, O_RDONLY | O_NONBLOCK);
		if (fd >= 0) {
			err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, key);
			if (err == -ENODATA)
				err = 0;
			else if (!err && strcmp(key, path) != 0 &&
				 !(stay && sync_link_stays(s, fd, &st)))
				err = sync_make_resident(s, fd, VIDAS_FOREVER);
			close(fd);
		}
	}
	close(look);
	return err;
}

int sync_push(struct vidas_sync *s, const char *path, uint64_t inode,
	      struct vidas_sync_moved *moved)
{
	struct sync_link_turns turns;
	int err = SYNC_AGAIN;

	for (int tries = 0; err == SYNC_AGAIN && tries < SYNC_TRIES; tries++) {
		err = fetch_before(s, path, inode, !tries);
		if (err)
			return err;
		err = sync_link_turns(s, &turns, path, inode);
		if (!err)
			err = push_turn(s, path, turns.from, inode, moved);
		sync_link_give(s, &turns);
	}
	if (err == SYNC_AGAIN)
		err = vidas_fail(-EBUSY, "'%s' is renamed again and again", path);
	return err;
}

int sync_push_above(struct vidas_sync *s, const char *path)
{
	struct vidas_sync_moved moved = { 0 };
	struct sync_record rec;
	char part[PATH_MAX];
	int err;

	for (const char *next = strchr(path, '/'); next; next = strchr(next + 1, '/')) {
		memcpy(part, path, (size_t)(next - path));
		part[next - path] = '\0';
		if (sync_known_get(s, part, &rec) == 0 && rec.type == VIDAS_BACKEND_DIRECTORY &&
		    (rec.flags & SYNC_AGREED))
			continue;
		err = sync_push(s, part, 0, &moved);
		if (err)
			return err;
	}
	return 0;
}
