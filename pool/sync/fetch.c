/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/sync/partial.h"

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
	struct sync_fetching fetching;
	uint64_t offset = 0;
	int err = 0;

	sync_fetching_begin(s, &fetching, key, st->size_bytes);
	while (!err && offset < st->size_bytes) {
		struct vidas_map map = { 0 };
		uint64_t left = st->size_bytes - offset;
		size_t piece = left < SYNC_PIECE_BYTES ? (size_t)left : SYNC_PIECE_BYTES;

		err = vidas_map_open(fd, offset, piece, PROT_READ | PROT_WRITE, &map);
		if (!err)
			err = get_piece(s, key, offset, &map, &st->version);
		vidas_map_close(&map);
		offset += piece;
		atomic_store_explicit(&fetching.here_bytes, offset, memory_order_relaxed);
		sync_turn_moved(turn);
	}
	sync_fetching_end(s, &fetching);
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
	sync_partial_forget(s, key, st->st_ino);
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

int sync_take_marks(struct vidas_sync *s, const char *key, int fd)
{
	struct stat st;

	/* Where its other names, and later ones, find it in the store. Without room for that they are files
	 * of their own there. */
	(void)fsetxattr(fd, SYNC_PUSHED, key, strlen(key), XATTR_CREATE);
	/* The generation stays: there may be opens of one before. */
	if (fstat(fd, &st) < 0 || fremovexattr(fd, VIDAS_SYNC_ABSENT) < 0)
		return -errno;
	sync_partial_forget(s, key, st.st_ino);
	return 0;
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
		rec.flags |= f->rec.flags & (SYNC_ATTRS | SYNC_LINKED);
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
	if (!err)
		err = sync_take_marks(f->s, f->key, f->fd);
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

static int fetch_whole(struct vidas_sync *s, const char *key, int fd, struct sync_turn *turn,
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
	if (err)
		fetch_undo(&f);
	else
		*bytes += f.st.size_bytes;
	return err;
}

/* All chunks are here: what was agreed on when they were begun is so still. */
static int finish_chunks(struct vidas_sync *s, const char *key, int fd, struct sync_turn *turn,
			 const struct sync_partial *p)
{
	struct fetch f = { .s = s, .key = key, .fd = fd, .resumed = p->doubt };
	int err;

	if (fstat(fd, &f.was) < 0)
		return -errno;
	err = sync_known_get(s, key, &f.rec);
	if (err)
		return err;
	f.known = f.rec.flags & SYNC_AGREED;
	f.st.size_bytes = p->size_bytes;
	f.st.version = p->version;
	return fetch_finish(&f, turn);
}

static int fetch_chunks(struct vidas_sync *s, const char *key, int fd, struct sync_turn *turn,
			uint64_t *bytes)
{
	struct sync_partial *p;
	int err = -ESTALE;

	for (int tries = 0; err == -ESTALE && tries < SYNC_TRIES; tries++) {
		err = sync_partial_get(s, key, fd, true, &p);
		if (err)
			return err;
		for (uint32_t c = 0; !err && c < p->chunks; c++) {
			err = sync_partial_want(s, p, fd, c, c + 1, true, SYNC_AHEAD_MOST,
						VIDAS_FOREVER);
			sync_turn_moved(turn);
		}
		sync_partial_settle(s, p);
		if (!err) {
			*bytes += p->size_bytes;
			err = finish_chunks(s, key, fd, turn, p);
		} else if (err == -ESTALE && tries < SYNC_TRIES - 1) {
			err = sync_partial_restart(s, key, fd, p);
			err = err ? err : -ESTALE;
		}
		sync_partial_put(s, p);
	}
	if (err == -ESTALE)
		err = vidas_fail(-EBUSY, "'%s' is changed again and again while it is fetched",
				 key);
	return err;
}

int sync_fetch_absent(struct vidas_sync *s, const char *key, int fd, struct sync_turn *turn,
		      uint64_t *bytes)
{
	struct sync_record rec;
	struct stat st;
	int err;

	if (fstat(fd, &st) < 0)
		return -errno;
	err = sync_known_get(s, key, &rec);
	if (sync_in_chunks(!err && (rec.flags & SYNC_AGREED) ? rec.size : (uint64_t)st.st_size))
		err = fetch_chunks(s, key, fd, turn, bytes);
	else
		err = fetch_whole(s, key, fd, turn, bytes);
	return sync_note_error(fd, err);
}
