/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/host/sync_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pool/wire/wire.h"

/* Room for all of it now: later, a full pool would show as a SIGBUS. */
static int make_room(int fd, uint64_t size)
{
	if (size > INT64_MAX)
		return -EFBIG;
	if (ftruncate(fd, (off_t)size) < 0)
		return -errno;
	if (!size || fallocate(fd, 0, 0, (off_t)size) == 0)
		return 0;
	if (errno != ENOSPC && errno != EDQUOT)
		return -errno;
	return vidas_fail(-errno, "the pool has no room for %llu bytes", (unsigned long long)size);
}

/* Fills the mapped piece at `offset`. -ESTALE: it was cut meanwhile, or what is in the store
 * changed; begin anew. */
static int get_piece(struct vidas_sync *s, const char *key, uint64_t offset, struct vidas_map *map,
		     struct vidas_backend_version *version)
{
	struct vidas_backend_version seen = { 0 };
	struct iovec iov = { .iov_base = map->ptr, .iov_len = map->size };
	ssize_t n;

	n = vidas_store_get(s->store, key, offset, &iov, 1, version->size ? version : NULL, &seen);
	if (vidas_map_cut(map) || n == -EFAULT)
		return -ESTALE;
	if (n < 0)
		return (int)n;
	if (version->size && seen.size && !sync_same_version(version, &seen))
		return -ESTALE;
	if (!version->size)
		*version = seen;
	return (size_t)n == map->size ? 0 : -ESTALE;
}

static int get_all(struct vidas_sync *s, const char *key, struct vidas_backend_stat *st, int fd,
		   struct sync_turn *turn)
{
	uint64_t offset = 0;
	int err = 0;

	while (!err && offset < st->size_bytes) {
		struct vidas_map map = { 0 };
		uint64_t left = st->size_bytes - offset;
		size_t piece = left < SYNC_PIECE_BYTES ? (size_t)left : SYNC_PIECE_BYTES;

		err = vidas_map_open(fd, offset, piece, PROT_READ | PROT_WRITE, &map);
		if (!err)
			err = get_piece(s, key, offset, &map, &st->version);
		vidas_map_close(&map);
		offset += piece;
		sync_turn_moved(turn);
	}
	return err;
}

int sync_fetch_bytes(struct vidas_sync *s, const char *key, struct vidas_backend_stat *st, int fd,
		     bool stay, struct sync_turn *turn)
{
	int err = 0;

	for (int tries = 0; tries < SYNC_TRIES; tries++) {
		if (tries || !stay) {
			err = vidas_store_stat(s->store, key, st);
			if (err)
				return err;
			if (st->type != VIDAS_BACKEND_FILE)
				return vidas_fail(-EINVAL, "'%s' is no file in the store", key);
		}
		err = make_room(fd, st->size_bytes);
		if (!err)
			err = get_all(s, key, st, fd, turn);
		/* No room for what was announced: it may be smaller by now. */
		if (err == -ENOSPC && stay && !tries)
			continue;
		if (err != -ESTALE)
			break;
		st->version.size = 0;
	}
	if (err == -ESTALE)
		err = vidas_fail(-EBUSY, "'%s' is changed again and again while it is fetched",
				 key);
	return err;
}

int sync_fetch_private(struct vidas_sync *s, const char *key, struct vidas_backend_stat *st,
		       struct sync_turn *turn)
{
	int fd = sync_open_at(s->stage, "", O_TMPFILE | O_RDWR);
	int err;

	if (fd < 0)
		return fd;
	err = sync_fetch_bytes(s, key, st, fd, true, turn);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* A fetch in place: what was agreed before, and what the file looked like. */
struct fetch {
	struct vidas_sync *s;
	const char *key;
	int fd;
	bool known, resumed;
	struct sync_record rec;
	struct stat was;
	struct vidas_backend_stat st;
};

int sync_note_fetching(struct vidas_sync *s, const char *key, struct sync_record *rec,
		       struct stat *st)
{
	if (rec->flags & SYNC_FETCHING) {
		/* A killed predecessor had begun. */
		st->st_mtim = rec->push_mtime;
		return 0;
	}
	rec->flags |= SYNC_FETCHING;
	rec->push_mtime = st->st_mtim;
	return sync_known_put(s, key, rec);
}

/* What was noted at the import saves asking; where that is outdated, get says so. */
static int fetch_begin(struct fetch *f)
{
	int err;

	f->st.type = VIDAS_BACKEND_FILE;
	if (fstat(f->fd, &f->was) < 0)
		return -errno;
	err = sync_known_get(f->s, f->key, &f->rec);
	if (err && err != -ENOENT)
		return err;
	f->known = f->rec.flags & SYNC_AGREED;
	if (!f->known)
		return 0;
	f->resumed = f->rec.flags & SYNC_FETCHING;
	f->st.size_bytes = f->rec.size;
	f->st.version = f->rec.version;
	return sync_note_fetching(f->s, f->key, &f->rec, &f->was);
}

/*
 * What is agreed now is noted before the mark is off: from then on domains may write. What they
 * changed while the file was absent (owner, mode, times) stays, and stays to be pushed: so it
 * is not part of what is agreed. A newer version has times of its own.
 */
static int fetch_finish(struct fetch *f, struct sync_turn *turn)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, f->was.st_mtim };
	struct sync_record rec = { 0 };
	struct stat now;
	bool newer = (f->st.valid & VIDAS_BACKEND_MTIME) &&
		     !(f->known && sync_same_time(&f->st.mtime, &f->rec.mtime));
	int err;

	if (newer)
		times[1] = f->st.mtime;
	/* On a persistent pool the mark must not be off on disk before the bytes are there. */
	if (futimens(f->fd, times) < 0 || fdatasync(f->fd) < 0 || fstat(f->fd, &now) < 0)
		return -errno;
	sync_record_agree(&rec, f->fd, &now, &f->st.version);
	if (f->known) {
		rec.flags |= f->rec.flags & SYNC_ATTRS;
		rec.mode = f->rec.mode;
		rec.uid = f->rec.uid;
		rec.gid = f->rec.gid;
		if (!newer)
			rec.mtime = f->rec.mtime;
	}
	/* Nobody writes to an absent file, but where an update of one that is mapped was killed: then
	 * what is here may not be what came. Without a digest it counts as changed in any doubt. */
	if (!f->resumed)
		(void)sync_digest_file(f->fd, (uint64_t)now.st_size, turn, &rec.digest);
	err = sync_known_put(f->s, f->key, &rec);
	if (!err && fremovexattr(f->fd, VIDAS_SYNC_ABSENT) < 0)
		err = -errno;
	if (!err && (now.st_size != f->was.st_size || newer))
		sync_changed(f->s, now.st_ino, VIDAS_WIRE_RECALL_ATTRS);
	return err;
}

/* After a failure it is as it was: sparse, and of the size and time that were announced. */
static void fetch_undo(const struct fetch *f)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, f->was.st_mtim };

	if (ftruncate(f->fd, 0) < 0 || ftruncate(f->fd, f->was.st_size) < 0 ||
	    futimens(f->fd, times) < 0)
		vidas_log(VIDAS_LOG_WARNING, "cannot undo a failed fetch of '%s': %s", f->key,
			  strerror(errno));
}

int sync_fetch_absent(struct vidas_sync *s, const char *key, int fd, struct sync_turn *turn,
		      uint64_t *bytes)
{
	struct fetch f = { .s = s, .key = key, .fd = fd };
	int err;

	err = fetch_begin(&f);
	if (err)
		return err;
	err = sync_fetch_bytes(s, key, &f.st, fd, f.st.version.size != 0, turn);
	if (!err)
		err = fetch_finish(&f, turn);
	sync_note_error(fd, err);
	if (err)
		fetch_undo(&f);
	else
		*bytes += f.st.size_bytes;
	return err;
}

/* The public call ------------------------------------------------------------------------------ */

/* With the turns on `key` and the inode. 1: the mark has changed meanwhile, look again. */
static int resident_turn(struct vidas_sync *s, const char *key, int fd, uint64_t inode)
{
	struct sync_turn by_path, by_inode = { 0 };
	char now[PATH_MAX];
	uint64_t bytes = 0;
	int real, err;

	err = sync_turn_path(s, &by_path, key);
	if (!err)
		err = sync_turn_inode(s, &by_inode, inode, SYNC_FETCH);
	if (!err)
		err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, now);
	if (err == -ENODATA) {
		err = 0;
	} else if (!err && strcmp(now, key) != 0) {
		err = 1;
	} else if (!err) {
		err = real = sync_reopen(fd, O_RDWR | O_NONBLOCK);
		if (real >= 0) {
			err = sync_fetch_absent(s, key, real, &by_inode, &bytes);
			close(real);
		}
	}
	sync_turn_give(s, &by_inode);
	sync_turn_give(s, &by_path);
	return err;
}

int sync_make_resident(struct vidas_sync *s, int fd)
{
	char key[PATH_MAX];
	struct stat st;
	int err;

	if (fstat(fd, &st) < 0)
		return -errno;
	err = sync_need_store(s);
	if (err)
		return sync_note_error(fd, err);
	err = 1;
	for (int tries = 0; err > 0 && tries < SYNC_TRIES; tries++) {
		err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, key);
		if (!err)
			err = resident_turn(s, key, fd, st.st_ino);
		else if (err == -ENODATA)
			return 0;
	}
	return err > 0 ? -EBUSY : err;
}

int vidas_sync_resident(struct vidas_sync *s, const char *path, uint64_t inode, bool revalidate)
{
	struct vidas_sync_moved moved = { 0 };
	struct stat st;
	int look, fd, err;
	bool absent;

	vidas_fail_clear();
	look = sync_tree_look(s, path, inode, &st);
	if (look < 0)
		return look;
	if (S_ISREG(st.st_mode))
		fd = sync_reopen(look, O_RDONLY | O_NONBLOCK);
	else
		fd = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	close(look);
	if (fd < 0)
		return fd;
	absent = fgetxattr(fd, VIDAS_SYNC_ABSENT, NULL, 0) >= 0;
	err = absent ? sync_make_resident(s, fd) : 0;
	close(fd);
	if (err || absent || !revalidate)
		return err;
	err = sync_need_store(s);
	if (!err)
		err = sync_update_file(s, path, st.st_ino, NULL, true, &moved);
	/* What is newer here stays; what is gone here or there is for the opener to find out. */
	return err == -EBUSY || err == -ESTALE || err == -ENOENT ? 0 : err;
}
