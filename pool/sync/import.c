/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/sync/internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pool/wire/wire.h"

#define MODE_FILE 0644u
#define MODE_DIR  0755u

/* One entry on its way from the store into the tree. */
struct arrival {
	struct vidas_sync *s;
	const char *path, *key;
	const char *base; /* last component of path */
	int parent;
	struct vidas_backend_stat st; /* with what the store does not know filled in */
	struct sync_record rec;
};

static int record_of(struct arrival *a, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	sync_record_agree(&a->rec, fd, &st, &a->st.version);
	sync_record_links(&a->rec, &a->st);
	return 0;
}

/* Made whole without a name, then given one. */
static int arrive_file(struct arrival *a)
{
	int fd, err;

	if (a->st.size_bytes > INT64_MAX)
		return -EFBIG;
	fd = sync_open_at(a->s->stage, "", O_TMPFILE | O_RDWR);
	if (fd < 0)
		return fd;
	err = ftruncate(fd, (off_t)a->st.size_bytes) < 0 ? -errno : 0;
	if (!err && fsetxattr(fd, VIDAS_SYNC_ABSENT, a->key, strlen(a->key), 0) < 0)
		err = -errno;
	if (!err)
		err = sync_apply_attrs(fd, &a->st);
	if (!err)
		err = record_of(a, fd);
	if (!err && linkat(fd, "", a->parent, a->base, AT_EMPTY_PATH) < 0)
		err = -errno;
	close(fd);
	return err;
}

static int arrive_directory(struct arrival *a)
{
	char name[64];
	int fd, err = 0;

	sync_stage_name(a->s, "new", name);
	if (mkdirat(a->s->stage, name, 0700) < 0)
		return -errno;
	fd = sync_open_at(a->s->stage, name, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		err = fd;
	else if (fsetxattr(fd, VIDAS_SYNC_ABSENT, a->key, strlen(a->key), 0) < 0)
		err = -errno;
	if (!err)
		err = sync_apply_attrs(fd, &a->st);
	if (!err)
		err = record_of(a, fd);
	if (!err && renameat2(a->s->stage, name, a->parent, a->base, RENAME_NOREPLACE) < 0)
		err = -errno;
	if (err)
		unlinkat(a->s->stage, name, AT_REMOVEDIR);
	if (fd >= 0)
		close(fd);
	return err;
}

static int arrive_symlink(struct arrival *a)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, a->st.mtime };
	char target[PATH_MAX], name[64];
	ssize_t n;
	int fd = -1, err = 0;

	n = vidas_store_readlink(a->s->store, a->key, target, sizeof(target));
	if (n < 0)
		return (int)n;
	sync_stage_name(a->s, "new", name);
	if (symlinkat(target, a->s->stage, name) < 0)
		return -errno;
	if (fchownat(a->s->stage, name, a->st.uid, a->st.gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    utimensat(a->s->stage, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		err = -errno;
	if (!err)
		err = fd = sync_open_at(a->s->stage, name, O_PATH);
	if (err >= 0)
		err = record_of(a, fd);
	if (!err && renameat2(a->s->stage, name, a->parent, a->base, RENAME_NOREPLACE) < 0)
		err = -errno;
	if (err)
		unlinkat(a->s->stage, name, 0);
	if (fd >= 0)
		close(fd);
	return err;
}

/* Owner, mode and time, where the store does not keep them: as of the directory above, and now. */
static int fill_in(struct arrival *a)
{
	struct stat above;

	if (fstat(a->parent, &above) < 0)
		return -errno;
	if (!(a->st.valid & VIDAS_BACKEND_OWNER)) {
		a->st.uid = above.st_uid;
		a->st.gid = above.st_gid;
	}
	if (!(a->st.valid & VIDAS_BACKEND_MODE))
		a->st.mode = a->st.type == VIDAS_BACKEND_DIRECTORY ? MODE_DIR : MODE_FILE;
	if (!(a->st.valid & VIDAS_BACKEND_MTIME))
		a->st.mtime = (struct timespec){ .tv_nsec = UTIME_NOW };
	a->st.valid = VIDAS_BACKEND_OWNER | VIDAS_BACKEND_MODE | VIDAS_BACKEND_MTIME;
	return 0;
}

/* There is something of that name in the tree. If it is what a killed import put there, and did not
 * come to note, it is noted now; anything else is the domains' own. */
static int arrive_again(struct arrival *a)
{
	char mark[PATH_MAX];
	struct stat st;
	int fd, look, err = 0;

	look = sync_tree_look(a->s, a->path, 0, &st);
	if (look < 0)
		return look == -ENOENT ? 0 : look;
	fd = S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ? sync_reopen(look, O_RDONLY | O_NONBLOCK) :
							  -EINVAL;
	if (fd >= 0 && sync_path_xattr(fd, VIDAS_SYNC_ABSENT, mark) == 0 &&
	    strcmp(mark, a->key) == 0) {
		/* Of which version it is was forgotten: fetching finds out. */
		a->rec = (struct sync_record){ 0 };
		sync_record_agree(&a->rec, fd, &st, &(struct vidas_backend_version){ 0 });
		err = sync_known_put(a->s, a->key, &a->rec);
	}
	if (fd >= 0)
		close(fd);
	close(look);
	return err;
}

int sync_import_entry(struct vidas_sync *s, const char *path, const char *key,
		      const struct vidas_backend_stat *st)
{
	struct arrival a = { .s = s, .path = path, .key = key, .st = *st };
	struct sync_record rec;
	struct sync_turn turn;
	int err;

	err = sync_turn_path(s, &turn, key);
	if (err)
		return err;
	a.parent = sync_parent(s->tree, path, &a.base);
	err = a.parent < 0 ? a.parent : fill_in(&a);
	if (err)
		goto out;
	err = sync_known_get(s, key, &rec);
	if (err != -ENOENT)
		goto out; /* here already, or deleted here, or an error */
	switch (st->type) {
	case VIDAS_BACKEND_FILE:
		err = arrive_file(&a);
		break;
	case VIDAS_BACKEND_DIRECTORY:
		err = arrive_directory(&a);
		break;
	case VIDAS_BACKEND_SYMLINK:
		err = arrive_symlink(&a);
		break;
	default:
		err = vidas_fail(-EINVAL, "the store has '%s' as something unknown", key);
	}
	if (err == -EEXIST) {
		err = arrive_again(&a);
	} else if (!err) {
		/* Only now: a record without a name in the tree would mean "deleted here". */
		err = sync_known_put(s, key, &a.rec);
		err = err ? err : 1;
	}
out:
	if (a.parent >= 0)
		close(a.parent);
	sync_turn_give(s, &turn);
	return err;
}

/* A directory ---------------------------------------------------------------------------------- */

struct import {
	struct vidas_sync *s;
	const char *path, *key;
	struct sync_turn *turn;
	uint64_t made;
};

static int import_each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	struct import *im = arg;
	char path[PATH_MAX], key[PATH_MAX];
	int err;

	sync_turn_moved(im->turn);
	err = sync_join(path, im->path, name);
	if (!err)
		err = sync_join(key, im->key, name);
	if (err) {
		if (sync_tell_once(im->s, SYNC_TOLD_NAME))
			vidas_log(VIDAS_LOG_WARNING,
				  "the store has names that cannot be files here, like '%.64s' "
				  "in '%s'; they are left out",
				  name, im->key);
		return 0;
	}
	err = sync_import_entry(im->s, path, key, st);
	if (err > 0)
		im->made++;
	return err < 0 ? err : 0;
}

/* The key of a directory whose entries are to come; -EALREADY they came before. */
static int import_key(struct vidas_sync *s, const char *path, int fd, char key[static PATH_MAX])
{
	int err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, key);

	if (err != -ENODATA)
		return err;
	if (sync_known_imported(s, path) || (*path && sync_known_kind(s, path) != S_IFDIR))
		return -EALREADY;
	memcpy(key, path, strlen(path) + 1);
	return 0;
}

/* Domains see by it that they need not ask: also while there is no vidasd. */
static int import_mark(int fd)
{
	return fsetxattr(fd, VIDAS_XATTR_IMPORTED, "", 0, 0) < 0 ? -errno : 0;
}

static int import_into(struct vidas_sync *s, const char *path, int fd, const struct stat *st,
		       struct sync_turn *turn, uint64_t *entries)
{
	char key[PATH_MAX];
	struct import im = { .s = s, .path = path, .key = key, .turn = turn };
	int err;

	err = import_key(s, path, fd, key);
	if (err == -EALREADY)
		return import_mark(fd);
	if (!err)
		err = sync_need_store(s);
	if (err)
		return err;
	err = vidas_store_list(s->store, key, import_each, &im);
	if (err == -ENOENT || err == -ENOTDIR)
		err = sync_root_is_there(s);
	if (!err)
		err = sync_known_set_imported(s, key);
	if (!err && fremovexattr(fd, VIDAS_SYNC_ABSENT) < 0 && errno != ENODATA)
		err = -errno;
	if (!err)
		err = import_mark(fd);
	if (im.made)
		sync_changed(s, st->st_ino, VIDAS_WIRE_RECALL_NAMES | VIDAS_WIRE_RECALL_ATTRS);
	*entries += im.made;
	return err;
}

int vidas_sync_import(struct vidas_sync *s, const char *path, uint64_t inode, uint64_t *entries)
{
	struct sync_turn turn;
	uint64_t made = 0;
	struct stat st;
	int look, fd, err;

	look = sync_tree_look(s, path, inode, &st);
	if (look < 0)
		return look;
	fd = S_ISDIR(st.st_mode) ? sync_reopen(look, O_RDONLY | O_DIRECTORY) : -ENOTDIR;
	close(look);
	if (fd < 0)
		return fd;
	/* By inode: the same directory under another name is the same one. */
	err = sync_turn_inode(s, &turn, st.st_ino, SYNC_LOOKING);
	if (!err)
		err = import_into(s, path, fd, &st, &turn, &made);
	sync_turn_give(s, &turn);
	close(fd);
	if (!err && entries)
		*entries = made;
	return err;
}

/* One name ------------------------------------------------------------------------------------- */

/* Makes sure that `name`, in the directory `dir` of the tree, is there if the store has it. */
static int find_in(struct vidas_sync *s, const char *dir, const char *path)
{
	const char *name = *dir ? path + strlen(dir) + 1 : path;
	char dir_key[PATH_MAX], key[PATH_MAX];
	struct vidas_backend_stat st;
	struct stat above;
	int fd, err;

	fd = sync_open_at(s->tree, dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, dir_key);
	if (!err)
		err = sync_join(key, dir_key, name);
	else if (err == -ENODATA)
		err = sync_join(key, dir, name);
	if (!err && fstat(fd, &above) < 0)
		err = -errno;
	close(fd);
	if (err)
		return err;
	if (sync_known_kind(s, key))
		return -ENOENT; /* deleted here; the store does not know yet */
	err = sync_need_store(s);
	if (!err)
		err = vidas_store_stat(s->store, key, &st);
	if (!err)
		err = sync_import_entry(s, path, key, &st);
	if (err > 0)
		sync_changed(s, above.st_ino, VIDAS_WIRE_RECALL_NAMES);
	return err < 0 ? err : 0;
}

int vidas_sync_find(struct vidas_sync *s, const char *path)
{
	char dir[PATH_MAX] = "", part[PATH_MAX];
	const char *end = path;

	while (*end) {
		size_t length;
		struct stat st;
		int fd, err;

		length = (size_t)(strchrnul(end, '/') - path);
		memcpy(part, path, length);
		part[length] = '\0';
		fd = sync_tree_look(s, part, 0, &st);
		if (fd >= 0) {
			close(fd);
		} else {
			err = fd == -ENOENT ? find_in(s, dir, part) : fd;
			if (err)
				return err;
		}
		memcpy(dir, part, length + 1);
		end = path + length + (path[length] == '/');
	}
	return 0;
}
