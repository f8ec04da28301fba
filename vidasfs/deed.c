/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is done once, though the request for it may come twice: each thread notes what it is about to
 * do and how it went. Of each worker the notes stay until some fifteen others have come after it.
 */
#include "vidasfs/fs.h"
#include "vidasfs/keep.h"

#include <time.h>

#define THREADS 64u

static _Atomic bool taken[THREADS];
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local struct vidas_deed *mine;
static _Thread_local bool looked;

static void give_back(void *arg)
{
	_Atomic bool *t = arg;

	atomic_store_explicit(t, false, memory_order_release);
}

static void make_key(void)
{
	if (pthread_key_create(&key, give_back) != 0)
		vidas_log(VIDAS_LOG_WARNING, "no thread keys left: if this process is killed, "
					     "what was under way may be done twice");
}

/* This thread's place for notes; without one what it does is not noted. */
static struct vidas_deed *place(void)
{
	unsigned worker = atomic_load_explicit(&vidas_kept->workers, memory_order_relaxed);

	if (looked)
		return mine;
	looked = true;
	pthread_once(&once, make_key);
	for (unsigned i = 0; i < THREADS; i++) {
		if (atomic_exchange_explicit(&taken[i], true, memory_order_acq_rel))
			continue;
		if (pthread_setspecific(key, &taken[i]) != 0)
			give_back(&taken[i]);
		else
			mine = &vidas_kept->deed[(worker * THREADS + i) % VIDAS_KEPT_DEEDS];
		break;
	}
	return mine;
}

static int64_t real_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}

void vidas_deed_begin(uint64_t ino)
{
	struct vidas_deed *d = place();

	if (!d)
		return;
	atomic_store_explicit(&d->unique, 0, memory_order_relaxed);
	atomic_store_explicit(&d->done, false, memory_order_release);
	d->ino = ino;
	d->begun_us = real_us();
	atomic_store_explicit(&d->unique, vidas_request.unique, memory_order_release);
}

void vidas_deed_done(int64_t result)
{
	struct vidas_deed *d = place();

	if (!d)
		return;
	d->result = result;
	atomic_store_explicit(&d->done, true, memory_order_release);
}

/* The note of the request in hand, if it comes again. */
static const struct vidas_deed *past(void)
{
	for (unsigned i = 0; vidas_request.again && i < VIDAS_KEPT_DEEDS; i++) {
		const struct vidas_deed *d = &vidas_kept->deed[i];

		if (atomic_load_explicit(&d->unique, memory_order_acquire) == vidas_request.unique)
			return d;
	}
	return NULL;
}

static bool is_done(const struct vidas_deed *d)
{
	return atomic_load_explicit(&d->done, memory_order_acquire);
}

bool vidas_deed_result(int64_t *result)
{
	const struct vidas_deed *d = past();

	if (!d || !is_done(d))
		return false;
	*result = d->result;
	return true;
}

bool vidas_deed_doubt(void)
{
	const struct vidas_deed *d = past();

	return d && !is_done(d);
}

bool vidas_deed_made(int dirfd, const char *name)
{
	const struct vidas_deed *d = past();
	const struct statx_timestamp *t;
	struct statx st;

	if (!d || is_done(d))
		return d && !d->result;
	if (statx(dirfd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
		return false;
	t = st.stx_mask & STATX_BTIME ? &st.stx_btime : &st.stx_ctime;
	return t->tv_sec * INT64_C(1000000) + t->tv_nsec / 1000 >= d->begun_us;
}

static bool leads_to(int dirfd, const char *name, uint64_t ino)
{
	struct stat st;

	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == ino;
}

bool vidas_deed_moved(int dirfd, const char *name)
{
	const struct vidas_deed *d = past();

	if (!d || is_done(d))
		return d && !d->result;
	return leads_to(dirfd, name, d->ino);
}

bool vidas_deed_removed(int dirfd, const char *name, uint64_t *ino)
{
	const struct vidas_deed *d = past();
	bool removed = d && (is_done(d) ? !d->result : !leads_to(dirfd, name, d->ino));

	if (removed)
		*ino = d->ino;
	return removed;
}
