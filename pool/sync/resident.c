/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The public calls that bring bytes: a whole file, a part of one, and none at all. */
#include "pool/sync/partial.h"

#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pool/wire/wire.h"

/* Does something with the turns on `key` and the inode, if the file is still absent under that key.
 * 1: it is not, look again. */
static int with_turns(struct vidas_sync *s, const char *key, int fd,
		      int (*act)(struct vidas_sync *s, const char *key, int fd,
				 struct sync_turn *turn, void *arg),
		      void *arg)
{
	struct sync_turn by_path, by_inode = { 0 };
	char now[PATH_MAX];
	struct stat st;
	int err;

	if (fstat(fd, &st) < 0)
		return -errno;
	err = sync_turn_path(s, &by_path, key);
	if (!err)
		err = sync_turn_inode(s, &by_inode, st.st_ino, SYNC_FETCH);
	if (!err)
		err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, now);
	if (err == -ENODATA || (!err && strcmp(now, key) != 0))
		err = 1;
	else if (!err)
		err = act(s, key, fd, &by_inode, arg);
	sync_turn_give(s, &by_inode);
	sync_turn_give(s, &by_path);
	return err;
}

static int act_absent(struct vidas_sync *s, const char *key, int fd, struct sync_turn *turn,
		      void *arg)
{
	return sync_fetch_absent(s, key, fd, turn, arg);
}

static int act_begin(struct vidas_sync *s, const char *key, int fd, struct sync_turn *turn,
		     void *arg)
{
	(void)turn;
	return sync_partial_get(s, key, fd, true, arg);
}

static int act_restart(struct vidas_sync *s, const char *key, int fd, struct sync_turn *turn,
		       void *arg)
{
	struct sync_partial *p = arg;
	bool dead;

	(void)turn;
	pthread_mutex_lock(&s->lock);
	dead = p->dead;
	pthread_mutex_unlock(&s->lock);
	return dead ? 0 : sync_partial_restart(s, key, fd, p);
}

/* Chunks --------------------------------------------------------------------------------------- */

/* The chunks that have the bytes [offset, offset + size). */
static void chunks_of(const struct sync_partial *p, uint64_t offset, uint64_t size, uint32_t *first,
		      uint32_t *end)
{
	uint64_t last;

	if (!size || offset >= p->size_bytes) {
		*first = *end = 0;
		return;
	}
	last = size > p->size_bytes - offset ? p->size_bytes - 1 : offset + size - 1;
	*first = (uint32_t)(offset >> p->shift);
	*end = (uint32_t)(last >> p->shift) + 1;
}

/* A stretch at a time: what is queued for others gets its turn in between. */
static int want(struct vidas_sync *s, struct sync_partial *p, int fd, uint64_t offset,
		uint64_t size, bool exact, int64_t deadline_us)
{
	uint32_t first, end, step = SYNC_RUN_BYTES >> SYNC_CHUNK_SHIFT;
	enum sync_ahead ahead;
	int err = 0;

	chunks_of(p, offset, size, &first, &end);
	ahead = size == UINT64_MAX ? SYNC_AHEAD_MOST : exact ? SYNC_AHEAD_NONE : SYNC_AHEAD_GUESS;
	for (; !err && first < end; first += step)
		err = sync_partial_want(s, p, fd, first, end - first > step ? first + step : end,
					false, ahead, deadline_us);
	return err;
}

/* 1: look again. */
static int range_once(struct vidas_sync *s, const char *key, int fd, struct vidas_sync_fetch *f,
		      int64_t deadline_us)
{
	struct vidas_backend_stat there = { 0 };
	struct sync_partial *p = NULL;
	int err;

	err = sync_partial_get(s, key, fd, false, &p);
	if (err > 0)
		err = with_turns(s, key, fd, act_begin, &p);
	if (!err && f->revalidate)
		err = vidas_store_stat(s->store, key, &there);
	if (!err && there.version.size && !sync_same_version(&there.version, &p->version))
		err = -ESTALE;
	f->revalidate = false;
	if (!err)
		err = want(s, p, fd, f->offset, f->size, f->exact, deadline_us);
	if (err == -ESTALE) {
		err = with_turns(s, key, fd, act_restart, p);
		err = err ? err : 1;
	}
	if (!err) {
		pthread_mutex_lock(&s->lock);
		f->generation = p->generation;
		f->size_bytes = p->size_bytes;
		f->shift = p->shift;
		f->complete = !p->dead && sync_partial_complete(p);
		f->bits_bytes =
			f->bits && !p->dead ? sync_partial_bits(p, f->bits, f->bits_room) : 0;
		err = p->dead;
		pthread_mutex_unlock(&s->lock);
	}
	if (p)
		sync_partial_put(s, p);
	return err;
}

static int range(struct vidas_sync *s, const char *key, int fd, struct vidas_sync_fetch *f,
		 int64_t deadline_us)
{
	char now[PATH_MAX];
	int err = 1;

	for (int tries = 0; err > 0 && tries < 2 * SYNC_TRIES; tries++) {
		err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, now);
		if (err == -ENODATA) {
			f->whole = true;
			return 0;
		}
		if (!err && strcmp(now, key) != 0)
			err = -ESTALE;
		if (!err)
			err = range_once(s, key, fd, f, deadline_us);
	}
	if (err > 0)
		err = vidas_fail(-EBUSY, "'%s' is changed again and again while it is fetched",
				 key);
	return err;
}

/* Whole files ---------------------------------------------------------------------------------- */

static int make_once(struct vidas_sync *s, const char *key, int fd, int64_t deadline_us)
{
	struct vidas_sync_fetch f = { .size = UINT64_MAX };
	uint64_t bytes = 0;
	struct stat st;
	int real, err = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	real = sync_reopen(fd, O_RDWR | O_NONBLOCK);
	if (real < 0)
		return real;
	/* With no turn held, so that others can read what is here already. */
	if (sync_in_chunks((uint64_t)st.st_size))
		err = range(s, key, real, &f, deadline_us);
	if (!err)
		err = with_turns(s, key, real, act_absent, &bytes);
	close(real);
	return err;
}

int sync_make_resident(struct vidas_sync *s, int fd, int64_t deadline_us)
{
	char key[PATH_MAX];
	int err;

	err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, key);
	if (err == -ENODATA)
		return 0;
	err = sync_need_store(s);
	if (err)
		return sync_note_error(fd, err);
	err = 1;
	for (int tries = 0; err > 0 && tries < SYNC_TRIES; tries++) {
		err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, key);
		if (err == -ENODATA)
			return 0;
		if (!err)
			err = make_once(s, key, fd, deadline_us);
	}
	if (err > 0)
		err = -EBUSY;
	return err == -EAGAIN ? err : sync_note_error(fd, err);
}

void sync_save_reader(struct vidas_sync *s, const char *key)
{
	int fd = sync_open_reader(s, key);

	if (fd < 0)
		return;
	if (sync_make_resident(s, fd, VIDAS_FOREVER) < 0)
		vidas_log(VIDAS_LOG_WARNING,
			  "who still reads '%s', which was deleted, cannot have the rest of it: %s",
			  key, vidas_fail_text());
	close(fd);
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
	err = absent ? sync_make_resident(s, fd, VIDAS_FOREVER) : 0;
	close(fd);
	if (err || absent || !revalidate)
		return err;
	err = sync_need_store(s);
	if (!err)
		err = sync_update_file(s, path, st.st_ino, NULL, true, &moved);
	/* What is newer here stays; what is gone here or there is for the opener to find out. */
	return err == -EBUSY || err == -ESTALE || err == -ENOENT ? 0 : err;
}

/* What is asked for by key --------------------------------------------------------------------- */

/* Are the first *size bytes here? Then the others are not needed: its user cuts them off. That is a
 * change, of what was agreed on. SYNC_AGAIN: they are not, or not of this version. */
static int act_discard(struct vidas_sync *s, const char *key, int fd, struct sync_turn *turn,
		       void *arg)
{
	const uint64_t *size = arg;
	struct sync_partial *p = NULL;
	uint32_t first, end;
	int err = 0;

	(void)turn;
	if (*size)
		err = sync_partial_get(s, key, fd, true, &p);
	if (err)
		return err;
	if (p) {
		pthread_mutex_lock(&s->lock);
		chunks_of(p, 0, *size, &first, &end);
		for (; !err && first < end; first++)
			err = sync_partial_has(p, first) ? 0 : SYNC_AGAIN;
		pthread_mutex_unlock(&s->lock);
		sync_partial_put(s, p);
	}
	if (err)
		return err;
	if (ftruncate(fd, (off_t)*size) < 0 || futimens(fd, NULL) < 0)
		return -errno;
	return sync_take_marks(s, key, fd);
}

static int discard(struct vidas_sync *s, const char *key, int fd, struct vidas_sync_fetch *f)
{
	char now[PATH_MAX];
	uint64_t size = f->size;
	int err = SYNC_AGAIN;

	f->exact = true;
	for (int tries = 0; err == SYNC_AGAIN && tries < SYNC_TRIES; tries++) {
		err = size ? range(s, key, fd, f, f->deadline_us) : 0;
		if (!err && !f->whole)
			err = with_turns(s, key, fd, act_discard, &size);
	}
	/* It has another key, or is not absent any more: then nothing is to be done about it. */
	if (err == SYNC_AGAIN && sync_path_xattr(fd, VIDAS_SYNC_ABSENT, now) == 0 &&
	    strcmp(now, key) != 0)
		err = -ESTALE;
	else if (err == SYNC_AGAIN)
		err = size ? vidas_fail(-EBUSY, "'%s' changes again and again", key) : 0;
	f->whole = !err;
	return err;
}

static int fetch_file(struct vidas_sync *s, const char *key, int fd, struct vidas_sync_fetch *f)
{
	struct stat st;
	int err = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (f->all || !sync_in_chunks((uint64_t)st.st_size) ||
	    (f->discard && f->size >= (uint64_t)st.st_size)) {
		err = sync_make_resident(s, fd, f->deadline_us);
		f->whole = !err;
		return err;
	}
	err = sync_need_store(s);
	if (!err)
		err = f->discard ? discard(s, key, fd, f) : range(s, key, fd, f, f->deadline_us);
	return err == -EAGAIN || f->whole ? err : sync_note_error(fd, err);
}

int vidas_sync_fetch(struct vidas_sync *s, const char *key, uint64_t inode,
		     struct vidas_sync_fetch *f)
{
	int fd, err;

	vidas_fail_clear();
	fd = sync_open_key(s, key, inode);
	if (fd < 0)
		return fd;
	err = f->discard && !f->size ? discard(s, key, fd, f) : fetch_file(s, key, fd, f);
	close(fd);
	return err;
}
