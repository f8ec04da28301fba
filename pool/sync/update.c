/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/sync/partial.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pool/wire/wire.h"

/* One file that may be renewed. */
struct update {
	struct vidas_sync *s;
	const char *path;
	int look, fd; /* O_PATH; a real one, if it is a regular file */
	struct stat st;
	struct sync_record rec;
	struct vidas_backend_stat there;
	struct sync_turn turn;
	bool bytes_only;
	struct vidas_sync_moved *moved;
};

/* Gone in the store ---------------------------------------------------------------------------- */

/* Gives back what was found in the place of the file that was to go. */
static int give_back(struct update *u, int parent, const char *base, const char *stage)
{
	char other[96];
	struct stat st;

	if (renameat2(u->s->stage, stage, parent, base, RENAME_NOREPLACE) == 0)
		return -EBUSY;
	if (fstatat(u->s->stage, stage, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	snprintf(other, sizeof(other), "vidas-recovered-%llu", (unsigned long long)st.st_ino);
	if (renameat2(u->s->stage, stage, u->s->tree, other, RENAME_NOREPLACE) < 0)
		return -errno;
	vidas_log(VIDAS_LOG_WARNING, "two files became '%s' at once: one is '%s' now", u->path,
		  other);
	return -EBUSY;
}

/*
 * Takes the file out of the tree. Not by unlink: another domain may put a new one in its place at
 * any moment, and that one must not go. So it is moved out, and looked at there.
 */
static int remove_here(struct update *u)
{
	const char *base;
	char stage[64];
	struct stat st, above;
	int parent, err = 0;

	parent = sync_parent(u->s->tree, u->path, &base);
	if (parent < 0)
		return parent == -ENOENT ? 0 : parent;
	sync_stage_name(u->s, "gone", stage);
	if (u->fd >= 0 && fsetxattr(u->fd, SYNC_GONE, "1", 1, 0) < 0)
		err = -errno;
	if (!err && renameat2(parent, base, u->s->stage, stage, RENAME_NOREPLACE) < 0)
		err = errno == ENOENT ? -EBUSY : -errno;
	if (!err && fstatat(u->s->stage, stage, &st, AT_SYMLINK_NOFOLLOW) < 0)
		err = -errno;
	if (!err && st.st_ino != u->st.st_ino)
		err = give_back(u, parent, base, stage);
	else if (!err)
		err = unlinkat(u->s->stage, stage, 0) < 0 ? -errno : 0;
	if (u->fd >= 0)
		fremovexattr(u->fd, SYNC_GONE);
	if (!err)
		err = sync_known_drop(u->s, u->path);
	if (!err && fstat(parent, &above) == 0) {
		sync_changed(u->s, above.st_ino, VIDAS_WIRE_RECALL_NAMES);
		sync_changed(u->s, u->st.st_ino, VIDAS_WIRE_RECALL_ATTRS);
		u->moved->files++;
	}
	close(parent);
	return err;
}

/* Newer in the store --------------------------------------------------------------------------- */

static int copy_over(int from, int to, uint64_t size)
{
	uint64_t left = size;

	if (lseek(from, 0, SEEK_SET) < 0 || lseek(to, 0, SEEK_SET) < 0)
		return -errno;
	while (left) {
		ssize_t n = copy_file_range(from, NULL, to, NULL, left, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		left -= (uint64_t)n;
	}
	return ftruncate(to, (off_t)size) < 0 ? -errno : 0;
}

/* With writers, a write since the bytes were looked at last may be in the mtime already. */
static int note_renewed(struct update *u, int fd, const struct sync_digest *digest, bool writers)
{
	struct sync_record rec = { .flags = writers ? SYNC_CHANGED : 0 };
	struct stat now;

	if (fdatasync(fd) < 0 || fstat(fd, &now) < 0)
		return -errno;
	sync_record_agree(&rec, fd, &now, &u->there.version);
	sync_record_links(&rec, &u->there);
	rec.digest = *digest;
	return sync_known_put(u->s, u->path, &rec);
}

/*
 * The new bytes take the place of the old ones in the same inode, so that who has it open or mapped
 * sees them. While they do, the file is marked absent: if we are killed half-way it is fetched
 * again. The mark is on before we look, for the last time, whether anything changed; a domain that
 * opens it looks for the mark after it said that it writes. So nobody writes meanwhile but who had
 * it open before: what he stores in the time of one copy within the pool may be overwritten; what
 * of it is not gives another digest, and counts as a change.
 */
static int renew_bytes(struct update *u, int fd)
{
	struct sync_digest digest = { 0 };
	struct stat st;
	bool writers;
	int private, err;

	private = sync_fetch_private(u->s, u->path, &u->there, &u->turn);
	if (private < 0)
		return private;
	err = sync_digest_file(private, u->there.size_bytes, &u->turn, &digest);
	if (err) {
		close(private);
		return err;
	}
	if (fsetxattr(fd, VIDAS_SYNC_ABSENT, u->path, strlen(u->path), 0) < 0 || fstat(fd, &st) < 0)
		err = -errno;
	writers = sync_open_for_writing(u->s, u->st.st_ino);
	if (!err && sync_is_dirty(u->s, &u->rec, &st, fd, false, &u->turn)) {
		err = vidas_fail(-EBUSY, "'%s' was changed while it was updated", u->path);
		fremovexattr(fd, VIDAS_SYNC_ABSENT);
	}
	if (!err)
		err = sync_note_fetching(u->s, u->path, &u->rec, &st);
	if (!err)
		err = copy_over(private, fd, u->there.size_bytes);
	if (!err)
		err = sync_apply_attrs(fd, &u->there);
	if (!err)
		err = note_renewed(u, fd, &digest, writers);
	if (!err && fremovexattr(fd, VIDAS_SYNC_ABSENT) < 0)
		err = -errno;
	close(private);
	if (!err) {
		u->moved->files++;
		u->moved->bytes += u->there.size_bytes;
	}
	return err;
}

/* An absent file: only what is announced of it. */
static int renew_absent(struct update *u, int fd)
{
	struct sync_record rec = { 0 };
	struct stat now = u->st;
	int err;

	err = sync_partial_outdate(fd);
	if (!err)
		err = sync_note_fetching(u->s, u->path, &u->rec, &now);
	if (err)
		return err;
	if (u->there.size_bytes > INT64_MAX || ftruncate(fd, (off_t)u->there.size_bytes) < 0)
		return -EFBIG;
	err = sync_apply_attrs(fd, &u->there);
	if (err)
		return err;
	if (fstat(fd, &now) < 0)
		return -errno;
	sync_record_agree(&rec, fd, &now, &u->there.version);
	sync_record_links(&rec, &u->there);
	return sync_known_put(u->s, u->path, &rec);
}

static int renew(struct update *u, bool absent, bool awaited)
{
	uint64_t bytes = 0;
	int fd, err;

	fd = sync_reopen(u->look, O_RDWR | O_NONBLOCK);
	if (fd < 0)
		return fd;
	if (awaited)
		err = sync_fetch_absent(u->s, u->path, fd, &u->turn, &bytes);
	else
		err = absent ? renew_absent(u, fd) : renew_bytes(u, fd);
	u->moved->files += awaited && !err;
	u->moved->bytes += bytes;
	if (err != -EBUSY)
		sync_note_error(fd, err);
	close(fd);
	if (!err)
		sync_changed(u->s, u->st.st_ino, VIDAS_WIRE_RECALL_ATTRS);
	return err;
}

/* What to do ----------------------------------------------------------------------------------- */

static int has_changes(struct update *u, bool absent)
{
	int err = 1;

	if (sync_known_get(u->s, u->path, &u->rec) == 0 && fstat(u->look, &u->st) == 0) {
		if (u->fd < 0)
			err = sync_is_dirty(u->s, &u->rec, &u->st, u->look, absent, &u->turn);
		else
			err = sync_settle(u->s, u->path, &u->rec, &u->st, u->fd, absent, &u->turn);
	}
	return err > 0 ? vidas_fail(-EBUSY, "'%s' has changes that are not pushed", u->path) : err;
}

/* Who has it open for writing, or joined, would write to a file that is in no directory. */
static int may_go(struct update *u)
{
	if (u->fd < 0 || !sync_open_for_writing(u->s, u->st.st_ino))
		return 0;
	return vidas_fail(-EBUSY, "'%s' is gone in the store, but open for writing here", u->path);
}

/* Is it another version by its names alone? */
static bool only_names(const struct update *u)
{
	return (u->rec.flags & SYNC_LINKED) && sync_is_ours(u->s, u->path, &u->rec, &u->there) &&
	       (!(u->there.valid & VIDAS_BACKEND_MODE) || u->there.mode == u->rec.mode) &&
	       (!(u->there.valid & VIDAS_BACKEND_OWNER) ||
		(u->there.uid == u->rec.uid && u->there.gid == u->rec.gid));
}

/* SYNC_AGAIN: it is out of the way, the store's is to be imported. */
static int update_turn(struct update *u, const struct vidas_backend_stat *given)
{
	char key[PATH_MAX];
	bool absent = false, awaited;
	int err;

	if (u->fd >= 0) {
		err = sync_path_xattr(u->fd, VIDAS_SYNC_ABSENT, key);
		if (err && err != -ENODATA)
			return err;
		absent = !err;
		if (absent && strcmp(key, u->path) != 0)
			return -EBUSY;
	}
	err = has_changes(u, absent);
	if (err)
		return err;
	if (given && given->version.size)
		u->there = *given;
	else
		err = vidas_store_stat(u->s->store, u->path, &u->there);
	if (err == -ENOENT && !u->bytes_only) {
		err = sync_root_is_there(u->s);
		if (!err)
			err = may_go(u);
		return err ? err : remove_here(u);
	}
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	/* Left absent by a killed update: who had it open then waits for its bytes. */
	awaited = absent && sync_open_for_writing(u->s, u->st.st_ino);
	if (sync_same_version(&u->there.version, &u->rec.version) && u->rec.version.size &&
	    !awaited)
		return 0;
	if (!awaited && only_names(u)) {
		u->rec.version = u->there.version;
		return sync_known_put(u->s, u->path, &u->rec);
	}
	if (u->there.type != VIDAS_BACKEND_FILE || u->fd < 0) {
		if (u->bytes_only)
			return -ESTALE;
		err = may_go(u);
		if (!err)
			err = remove_here(u);
		return err ? err : SYNC_AGAIN;
	}
	return renew(u, absent, awaited);
}

static int update_present(struct update *u, const struct vidas_backend_stat *given)
{
	int err = 0;

	u->fd = -1;
	if (S_ISREG(u->st.st_mode))
		err = u->fd = sync_reopen(u->look, O_RDONLY | O_NONBLOCK);
	else if (!S_ISLNK(u->st.st_mode))
		return -EBUSY;
	if (err >= 0)
		err = sync_turn_inode(u->s, &u->turn, u->st.st_ino, SYNC_FETCH);
	if (!err)
		err = update_turn(u, given);
	sync_turn_give(u->s, &u->turn);
	if (u->fd >= 0)
		close(u->fd);
	return err;
}

int sync_root_is_there(struct vidas_sync *s)
{
	struct vidas_backend_stat root;
	int err = vidas_store_stat(s->store, "", &root);

	if (err == -ENOENT || (!err && root.type != VIDAS_BACKEND_DIRECTORY))
		return vidas_fail(-ENOTCONN, "the root %s is not there", vidas_store_url(s->store));
	return err;
}

int sync_update_file(struct vidas_sync *s, const char *path, uint64_t inode,
		     const struct vidas_backend_stat *given, bool bytes_only,
		     struct vidas_sync_moved *moved)
{
	struct update u = { .s = s, .path = path, .bytes_only = bytes_only, .moved = moved };
	struct vidas_backend_stat there;
	struct sync_turn turn;
	int err;

	err = sync_turn_path(s, &turn, path);
	if (err)
		return err;
	u.look = sync_tree_look(s, path, inode, &u.st);
	if (u.look >= 0) {
		err = update_present(&u, given);
		close(u.look);
	} else if (u.look == -ENOENT && sync_known_kind(s, path)) {
		err = vidas_fail(-EBUSY, "'%s' was deleted here, which is not pushed", path);
	} else {
		err = u.look == -ENOENT ? SYNC_AGAIN : u.look;
	}
	sync_turn_give(s, &turn);
	if (err != SYNC_AGAIN || bytes_only)
		return err == SYNC_AGAIN ? -ESTALE : err;
	err = vidas_store_stat(s->store, path, &there);
	if (!err)
		err = sync_import_entry(s, path, path, &there);
	return err < 0 ? err : 0;
}
