/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The threads that fetch chunks, and who waits for them. */
#include "pool/sync/partial.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utlist.h>

/* The file itself ------------------------------------------------------------------------------ */

/*
 * Stores through a mapping move the mtime of some file systems; it is not the domains' business, and
 * is put back. A kill meanwhile: the record says that the time is ours.
 */
static int time_keep(struct vidas_sync *s, struct sync_partial *p)
{
	struct sync_record rec;
	struct stat st;
	int err;

	if (s->quiet_maps)
		return 0;
	if (fstat(p->fd, &st) < 0)
		return -errno;
	err = sync_known_get(s, p->key, &rec);
	if (err)
		return err;
	p->mtime = rec.push_mtime = st.st_mtim;
	rec.flags |= SYNC_FETCHING;
	return sync_known_put(s, p->key, &rec);
}

static void time_restore(struct vidas_sync *s, struct sync_partial *p)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, p->mtime };
	struct sync_record rec;
	int err;

	if (s->quiet_maps)
		return;
	err = futimens(p->fd, times) < 0 ? -errno : sync_known_get(s, p->key, &rec);
	if (!err) {
		rec.flags &= ~(uint32_t)SYNC_FETCHING;
		err = sync_known_put(s, p->key, &rec);
	}
	if (err)
		vidas_log(VIDAS_LOG_WARNING, "the time of '%s' is that of its fetch: %s", p->key,
			  strerror(-err));
}

static int file_use(struct vidas_sync *s, struct sync_partial *p, int fd)
{
	int err = 0;

	pthread_mutex_lock(&p->io_lock);
	if (!atomic_load_explicit(&p->users, memory_order_relaxed)) {
		err = p->fd = sync_reopen(fd, O_RDWR | O_NONBLOCK);
		if (err >= 0)
			err = time_keep(s, p);
		if (err < 0 && p->fd >= 0)
			close(p->fd);
	}
	if (err >= 0)
		atomic_fetch_add_explicit(&p->users, 1, memory_order_relaxed);
	pthread_mutex_unlock(&p->io_lock);
	return err < 0 ? err : 0;
}

static void file_unuse(struct vidas_sync *s, struct sync_partial *p)
{
	pthread_mutex_lock(&p->io_lock);
	if (atomic_fetch_sub_explicit(&p->users, 1, memory_order_relaxed) == 1) {
		time_restore(s, p);
		close(p->fd);
		p->fd = -1;
	}
	pthread_mutex_unlock(&p->io_lock);
}

/* One get -------------------------------------------------------------------------------------- */

/*
 * Room for a mapped piece, now: later, a full pool would show as a SIGBUS. Where reading the mapping
 * gives it memory of its own (tmpfs), stores into that leave the file's times as they are.
 */
static int piece_room(struct vidas_sync *s, int fd, uint64_t offset, const struct vidas_map *map)
{
	int err;

	if (s->quiet_maps)
		err = madvise(map->ptr, map->size, MADV_POPULATE_READ) < 0 ? errno : 0;
	else
		err = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)map->size) < 0 ?
			      errno :
			      0;
	if (err == EFAULT || err == ENOSPC || err == EDQUOT || err == ENOMEM)
		return vidas_fail(-ENOSPC, "the pool has no room for %zu bytes", map->size);
	return -err;
}

static int piece_get(struct vidas_sync *s, struct sync_partial *p, uint64_t offset,
		     struct vidas_map *map, const struct vidas_backend_version *expect,
		     struct vidas_backend_version *seen)
{
	struct iovec iov = { .iov_base = map->ptr, .iov_len = map->size };
	ssize_t n;

	n = vidas_store_get(s->store, p->key, offset, &iov, 1, expect->size ? expect : NULL, seen);
	if (vidas_map_cut(map) || n == -EFAULT)
		return vidas_fail(-EIO, "'%s' was cut short while it was fetched", p->key);
	if (n < 0)
		return (int)n;
	if (expect->size && seen->size && !sync_same_version(expect, seen))
		return -ESTALE;
	return (size_t)n == map->size ? 0 : -ESTALE;
}

static int run_get(struct vidas_sync *s, const struct sync_run *run,
		   const struct vidas_backend_version *expect, struct vidas_backend_version *seen)
{
	struct sync_partial *p = run->partial;
	uint64_t offset = (uint64_t)run->first << p->shift;
	uint64_t size = (uint64_t)run->count << p->shift;
	struct vidas_map map = { 0 };
	int err;

	if (size > p->size_bytes - offset)
		size = p->size_bytes - offset;
	err = vidas_map_open(p->fd, offset, size, PROT_READ | PROT_WRITE, &map);
	if (!err)
		err = piece_room(s, p->fd, offset, &map);
	if (!err)
		err = piece_get(s, p, offset, &map, expect, seen);
	vidas_map_close(&map);
	return err;
}

/* Under s->lock. */
static void run_failed(struct sync_run *run, int err)
{
	struct sync_partial *p = run->partial;

	p->bad_first = run->first;
	p->bad_end = run->first + run->count;
	p->error = err;
	p->failures++;
	snprintf(p->reason, sizeof(p->reason), "%s", vidas_fail_text());
}

/* Under s->lock. */
static void run_end(struct vidas_sync *s, struct sync_run *run)
{
	struct sync_partial *p = run->partial;

	for (uint32_t c = run->first; c < run->first + run->count; c++)
		p->busy[c / 8] &= (uint8_t) ~(1u << c % 8);
	p->active--;
	p->refs--; /* whoever waits for the turn, or for the chunk, has another */
	atomic_store_explicit(&p->moved_us, vidas_now_us(), memory_order_relaxed);
	pthread_cond_broadcast(&s->turn_over);
	free(run);
}

static void run_carry_out(struct vidas_sync *s, struct sync_run *run)
{
	struct vidas_backend_version expect, seen = { 0 };
	struct sync_partial *p = run->partial;
	int err;

	pthread_mutex_lock(&s->lock);
	expect = p->version;
	pthread_mutex_unlock(&s->lock);
	vidas_fail_clear();
	err = run_get(s, run, &expect, &seen);
	file_unuse(s, p);
	pthread_mutex_lock(&s->lock);
	if (!err && !expect.size && seen.size) {
		/* The first of several that were under way tells for all. */
		if (!p->version.size)
			sync_partial_adopt(p, &seen);
		else if (!sync_same_version(&p->version, &seen))
			err = -ESTALE;
	}
	for (uint32_t c = run->first; !err && c < run->first + run->count; c++)
		sync_partial_set(p, c);
	if (err)
		run_failed(run, err);
	run_end(s, run);
	pthread_mutex_unlock(&s->lock);
}

/* Threads -------------------------------------------------------------------------------------- */

/* Under s->lock: what somebody waits for is in front. */
static bool may_run(const struct vidas_sync *s)
{
	return s->runs && (!s->runs->ahead || s->aheads < SYNC_AHEADS);
}

/* Under s->lock: something to do, or false: end. */
static bool fetcher_wait(struct vidas_sync *s)
{
	int64_t end = vidas_deadline_us(SYNC_FETCHER_US);
	const struct timespec until = { end / 1000000, end % 1000000 * 1000 };
	int err = 0;

	s->fetchers_idle++;
	while (!may_run(s) && !s->fetchers_stop && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&s->fetch_work, &s->lock, &until);
	s->fetchers_idle--;
	return may_run(s) && !s->fetchers_stop;
}

static void *fetcher(void *arg)
{
	struct vidas_sync *s = arg;
	struct sync_run *run;
	bool ahead;

	pthread_mutex_lock(&s->lock);
	while (fetcher_wait(s)) {
		run = s->runs;
		DL_DELETE(s->runs, run);
		s->runs_queued--;
		s->aheads += ahead = run->ahead;
		pthread_mutex_unlock(&s->lock);
		run_carry_out(s, run);
		pthread_mutex_lock(&s->lock);
		s->aheads -= ahead;
		if (ahead)
			pthread_cond_signal(&s->fetch_work);
	}
	s->fetchers--;
	pthread_cond_broadcast(&s->turn_over);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* Under s->lock. Without a single thread the runs are the failure of who waits for them. */
static int fetchers_call(struct vidas_sync *s)
{
	pthread_t thread;
	int err = 0;

	while (!err && s->fetchers < SYNC_FETCHERS && s->runs_queued > s->fetchers_idle) {
		err = pthread_create(&thread, NULL, fetcher, s);
		if (err)
			break;
		pthread_detach(thread);
		s->fetchers++;
		if (s->fetchers >= s->runs_queued)
			break;
	}
	pthread_cond_broadcast(&s->fetch_work);
	return s->fetchers ? 0 : -err;
}

void sync_fetchers_stop(struct vidas_sync *s)
{
	struct sync_partial *p, *next_partial;
	struct sync_run *run, *next;

	pthread_mutex_lock(&s->lock);
	s->fetchers_stop = true;
	DL_FOREACH_SAFE(s->runs, run, next) {
		DL_DELETE(s->runs, run);
		pthread_mutex_unlock(&s->lock);
		file_unuse(s, run->partial);
		pthread_mutex_lock(&s->lock);
		run_end(s, run);
	}
	pthread_cond_broadcast(&s->fetch_work);
	while (s->fetchers)
		pthread_cond_wait(&s->turn_over, &s->lock);
	HASH_ITER(hh, s->partials, p, next_partial)
		sync_partial_drop(s, p);
	pthread_mutex_unlock(&s->lock);
}

/* Who wants chunks ----------------------------------------------------------------------------- */

static bool is_busy(const struct sync_partial *p, uint32_t chunk)
{
	return p->busy[chunk / 8] & 1u << chunk % 8;
}

/* Under s->lock, by who is active. */
static int queue_run(struct vidas_sync *s, struct sync_partial *p, uint32_t first, uint32_t count,
		     bool ahead)
{
	struct sync_run *run = calloc(1, sizeof(*run));

	if (!run)
		return -ENOMEM;
	*run = (struct sync_run){ .partial = p, .first = first, .count = count, .ahead = ahead };
	for (uint32_t c = first; c < first + count; c++)
		p->busy[c / 8] |= (uint8_t)(1u << c % 8);
	p->active++;
	p->refs++;
	atomic_fetch_add_explicit(&p->users, 1, memory_order_relaxed);
	if (ahead)
		DL_APPEND(s->runs, run);
	else
		DL_PREPEND(s->runs, run);
	s->runs_queued++;
	return 0;
}

/* Under s->lock: all in [first, end) that are neither here nor on their way. */
static int queue_missing(struct vidas_sync *s, struct sync_partial *p, uint32_t first, uint32_t end,
			 uint32_t most, bool ahead)
{
	int err = 0;

	while (!err && first < end) {
		uint32_t count = 0;

		while (first + count < end && count < most && !sync_partial_has(p, first + count) &&
		       !is_busy(p, first + count))
			count++;
		if (count)
			err = queue_run(s, p, first, count, ahead);
		first += count ? count : 1;
	}
	return err;
}

static uint32_t chunks_in(const struct sync_partial *p, uint64_t bytes)
{
	return bytes >> p->shift ? (uint32_t)(bytes >> p->shift) : 1;
}

/* Under s->lock: how far to fetch beyond `end`, by what was asked for before. */
static uint32_t look_ahead(struct sync_partial *p, uint32_t first, uint32_t end,
			   enum sync_ahead ahead)
{
	uint32_t most = chunks_in(p, SYNC_AHEAD_BYTES);

	if (ahead != SYNC_AHEAD_GUESS)
		return ahead == SYNC_AHEAD_MOST ? most : 0;
	if (first > p->next + p->window || end < p->next)
		p->window = 0;
	else
		p->window = p->window ? 2 * p->window : 4;
	if (p->window > most)
		p->window = most;
	p->next = end;
	return p->window;
}

/* Under s->lock: has what is wanted queued, and what is likely to be wanted next. */
static int queue_all(struct vidas_sync *s, struct sync_partial *p, uint32_t first, uint32_t end,
		     uint32_t ahead)
{
	uint32_t run = chunks_in(p, SYNC_RUN_BYTES), small = ahead / SYNC_FETCHERS;
	uint32_t until = ahead < p->chunks - end ? end + ahead : p->chunks;
	int err;

	if (small < 1)
		small = 1;
	err = queue_missing(s, p, first, end, small < run ? small : run, false);
	if (!err)
		err = queue_missing(s, p, end, until, small < run ? small : run, true);
	if (!err || s->runs)
		err = fetchers_call(s);
	return err;
}

static int wait_change(struct vidas_sync *s, const struct sync_partial *p, int64_t deadline_us)
{
	int64_t end = atomic_load_explicit(&p->moved_us, memory_order_relaxed) + SYNC_PATIENCE_US;
	struct timespec until;
	bool ours = deadline_us >= 0 && deadline_us < end;

	if (ours)
		end = deadline_us;
	until.tv_sec = end / 1000000;
	until.tv_nsec = end % 1000000 * 1000;
	if (vidas_now_us() < end) {
		pthread_cond_timedwait(&s->turn_over, &s->lock, &until);
		return 0;
	}
	return ours ? -EAGAIN : vidas_fail(-ETIMEDOUT, "the fetch of '%s' does not get on", p->key);
}

/* Under s->lock, active. */
static int wait_chunks(struct vidas_sync *s, struct sync_partial *p, uint32_t first, uint32_t end,
		       int64_t deadline_us)
{
	unsigned failures = p->failures;
	uint32_t c = first;
	int err = 0;

	while (!err) {
		while (c < end && sync_partial_has(p, c))
			c++;
		if (c == end)
			return 0;
		if (p->failures != failures && p->bad_first < end && p->bad_end > first)
			return p->error == -ESTALE ? p->error :
						     vidas_fail(p->error, "%s", p->reason);
		failures = p->failures;
		/* What failed for others is tried again for us. */
		err = queue_missing(s, p, c, end, chunks_in(p, SYNC_RUN_BYTES), false);
		if (!err)
			err = fetchers_call(s);
		if (!err)
			err = wait_change(s, p, deadline_us);
	}
	return err;
}

/* Under s->lock. 1: outdated. */
static int become_active(struct vidas_sync *s, struct sync_partial *p, bool turn,
			 int64_t deadline_us)
{
	int err = 0;

	if (!p->active)
		atomic_store_explicit(&p->moved_us, vidas_now_us(), memory_order_relaxed);
	while (!err && !turn && !p->dead && (p->turns || sync_inode_held(s, p->inode)))
		err = wait_change(s, p, deadline_us);
	if (err || p->dead)
		return err ? err : 1;
	p->active++;
	return 0;
}

int sync_partial_want(struct vidas_sync *s, struct sync_partial *p, int fd, uint32_t first,
		      uint32_t end, bool turn, enum sync_ahead ahead, int64_t deadline_us)
{
	int err;

	pthread_mutex_lock(&s->lock);
	err = become_active(s, p, turn, deadline_us);
	pthread_mutex_unlock(&s->lock);
	if (err)
		return err;
	err = file_use(s, p, fd);
	pthread_mutex_lock(&s->lock);
	if (!err) {
		err = queue_all(s, p, first, end, look_ahead(p, first, end, ahead));
		if (!err)
			err = wait_chunks(s, p, first, end, deadline_us);
		pthread_mutex_unlock(&s->lock);
		file_unuse(s, p);
		pthread_mutex_lock(&s->lock);
	}
	p->active--;
	pthread_cond_broadcast(&s->turn_over);
	pthread_mutex_unlock(&s->lock);
	return err;
}

void sync_partial_settle(struct vidas_sync *s, const struct sync_partial *p)
{
	pthread_mutex_lock(&s->lock);
	while (p->active)
		pthread_cond_wait(&s->turn_over, &s->lock);
	pthread_mutex_unlock(&s->lock);
}
