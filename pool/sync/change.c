/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Was a file changed since it was last agreed on? Its mtime and size tell, but for stores through a
 * mapping: where there may have been some, the digest of its bytes tells.
 *
 * The digest (that of <vidas/backend.h>) runs at the speed of memory. It tells apart what happens, not what an
 * enemy makes up: a domain that forges a collision hides its own change from its own container.
 */
#include "pool/sync/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "backends/digests.h"

#define FILE_PIECE_BYTES  (256u << 10) /* stays in the processor's cache */
#define STORE_PIECE_BYTES (8u << 20)   /* a request each */

/* Digests -------------------------------------------------------------------------------------- */

int sync_digest_bytes(const void *ptr, size_t size, struct sync_digest *out)
{
	struct vidas_digest *d;
	int err = vidas_digest_begin(&d);

	out->known = false;
	if (err)
		return err;
	vidas_digest_feed(d, ptr, size);
	vidas_digest_end(d, out->bytes);
	out->known = true;
	return 0;
}

/* A file of the pool, or with `key` what the store has. */
struct source {
	struct vidas_sync *s;
	const char *key;
	const struct vidas_backend_version *version;
	int fd;
};

static ssize_t source_read(const struct source *from, void *buf, size_t size, uint64_t at)
{
	struct iovec iov = { .iov_base = buf, .iov_len = size };

	if (!from->key)
		return vidas_pread_all(from->fd, buf, size, at);
	return vidas_store_get(from->s->store, from->key, at, &iov, 1, from->version, NULL);
}

static int digest_source(const struct source *from, uint64_t size, struct sync_turn *turn,
			 struct sync_digest *out)
{
	size_t room = from->key ? STORE_PIECE_BYTES : FILE_PIECE_BYTES;
	uint8_t *buf = malloc(room);
	struct vidas_digest *d = NULL;
	uint64_t at = 0;
	int err = buf ? vidas_digest_begin(&d) : -ENOMEM;

	out->known = false;
	while (!err && at < size) {
		size_t n = size - at < room ? (size_t)(size - at) : room;
		ssize_t got = source_read(from, buf, n, at);

		if (got == (ssize_t)n)
			vidas_digest_feed(d, buf, n);
		else
			err = got < 0 ? (int)got : -ESTALE;
		at += n;
		sync_turn_moved(turn);
	}
	vidas_digest_end(d, err ? NULL : out->bytes);
	out->known = !err;
	free(buf);
	return err;
}

int sync_digest_file(int fd, uint64_t size, struct sync_turn *turn, struct sync_digest *out)
{
	const struct source from = { .fd = fd };

	return digest_source(&from, size, turn, out);
}

int sync_digest_store(struct vidas_sync *s, const char *key,
		      const struct vidas_backend_version *version, uint64_t size,
		      struct sync_turn *turn, struct sync_digest *out)
{
	const struct source from = { .s = s, .key = key, .version = version, .fd = -1 };

	return digest_source(&from, size, turn, out);
}

/* What changed --------------------------------------------------------------------------------- */

static bool has_mark(int fd, const char *xattr)
{
	char link[32];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return getxattr(link, xattr, NULL, 0) >= 0;
}

enum sync_change sync_compare(struct vidas_sync *s, const struct sync_record *rec,
			      const struct stat *st, int fd)
{
	bool fetching = rec->flags & SYNC_FETCHING;

	if (!(rec->flags & SYNC_AGREED) || (rec->flags & SYNC_PUSHING))
		return SYNC_DIFFERS;
	if (fetching && !has_mark(fd, VIDAS_SYNC_ABSENT))
		return SYNC_DIFFERS;
	if (rec->inode != st->st_ino ||
	    !sync_same_time(&rec->mtime, fetching ? &rec->push_mtime : &st->st_mtim))
		return SYNC_DIFFERS;
	if (!S_ISREG(st->st_mode))
		return rec->type == VIDAS_BACKEND_FILE || (rec->flags & SYNC_CHANGED) ?
			       SYNC_DIFFERS :
			       SYNC_SAME;
	if (rec->type != VIDAS_BACKEND_FILE || (rec->size != (uint64_t)st->st_size && !fetching))
		return SYNC_DIFFERS;
	if ((rec->flags & SYNC_CHANGED) || sync_open_for_writing(s, st->st_ino) ||
	    has_mark(fd, VIDAS_SYNC_TOUCHED))
		return SYNC_DOUBT;
	return SYNC_SAME;
}

/* Has the file the very bytes that were agreed on? */
static bool same_digest(const struct sync_record *rec, int fd, struct sync_turn *turn)
{
	struct sync_digest now = { 0 };
	int real;

	if (!rec->digest.known)
		return false;
	real = sync_reopen(fd, O_RDONLY | O_NONBLOCK);
	if (real < 0)
		return false;
	(void)sync_digest_file(real, rec->size, turn, &now);
	close(real);
	return now.known && memcmp(now.bytes, rec->digest.bytes, sizeof(now.bytes)) == 0;
}

bool sync_is_dirty(struct vidas_sync *s, const struct sync_record *rec, const struct stat *st,
		   int fd, bool absent, struct sync_turn *turn)
{
	enum sync_change change = sync_compare(s, rec, st, fd);

	if (change != SYNC_DOUBT)
		return change == SYNC_DIFFERS;
	return !absent && !same_digest(rec, fd, turn);
}

/*
 * SYNC_CHANGED stands for the mark, from before that is taken off until the digest is known to be
 * the same: who touches the file meanwhile puts the mark on again, and a kill loses neither. The
 * mark is one for all names of a file: where there are several it stays.
 */
int sync_settle(struct vidas_sync *s, const char *path, struct sync_record *rec,
		const struct stat *st, int fd, bool absent, struct sync_turn *turn)
{
	bool alone = st->st_nlink == 1 && !sync_open_for_writing(s, st->st_ino);
	int err = 0;

	if (sync_compare(s, rec, st, fd) != SYNC_DOUBT || absent || !alone || !rec->digest.known)
		return sync_is_dirty(s, rec, st, fd, absent, turn);
	if (!(rec->flags & SYNC_CHANGED)) {
		rec->flags |= SYNC_CHANGED;
		err = sync_known_put(s, path, rec);
	}
	if (!err && fremovexattr(fd, VIDAS_SYNC_TOUCHED) < 0 && errno != ENODATA)
		err = -errno;
	if (err)
		return err;
	if (!same_digest(rec, fd, turn))
		return 1;
	if (sync_open_for_writing(s, st->st_ino))
		return 0;
	rec->flags &= ~(uint32_t)SYNC_CHANGED;
	return sync_known_put(s, path, rec);
}
