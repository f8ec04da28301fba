/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Our bits go when what they stand for has run out: else a bucket that is cached once would cost
 * each later change of it by others a message, for as long as this session lives.
 *
 * A thread ends the epoch about once a second while there is anything to run out. Who is given a
 * lease takes the number of the epoch under the stripe, while its reply is still to be sent; so the
 * epoch's leases begin at the latest when all replies under way at its end have been sent
 * (vidas_tree_events.settle), and last VIDAS_SHM_LEASE_US from there.
 */
#include "pool/client/lease.h"

#include <signal.h>
#include <string.h>

#define EPOCH_US (INT64_C(1000) * 1000)

void vidas_lease_granted(struct vidas *v, struct vidas_leases *l, uint32_t bucket)
{
	struct vidas_lease_bucket *b = &l->bucket[bucket];

	b->epoch = atomic_load_explicit(&v->epoch, memory_order_seq_cst);
	if (b->aging)
		return;
	b->aging = true;
	vidas_lease_list(l, bucket);
	if (atomic_fetch_add_explicit(&v->aging, 1, memory_order_relaxed))
		return;
	/* The first one: the thread sleeps until it is woken. */
	pthread_mutex_lock(&v->age_lock);
	pthread_cond_signal(&v->age_wake);
	pthread_mutex_unlock(&v->age_lock);
}

static void age_bucket(struct vidas_container *c, struct vidas_leases *l, uint32_t bucket,
		       uint32_t epoch)
{
	struct vidas_lease_bucket *b = &l->bucket[bucket];

	if (b->epoch != epoch) {
		vidas_lease_list(l, bucket);
		return;
	}
	vidas_cached_free(b->cached);
	b->cached = NULL;
	b->aging = false;
	atomic_fetch_sub_explicit(&c->v->aging, 1, memory_order_relaxed);
	vidas_lease_clear(c, l, bucket);
}

static void age_container(struct vidas_container *c, uint32_t epoch)
{
	struct vidas_leases *l = vidas_leases_of(c);

	for (unsigned i = 0; l && i < VIDAS_LEASE_STRIPES; i++) {
		struct vidas_lease_stripe *s = &l->stripe[i];
		uint32_t *head = &s->aging[epoch % VIDAS_LEASE_EPOCHS], at, next;

		pthread_mutex_lock(&s->lock);
		at = *head;
		*head = 0;
		for (; at; at = next) {
			next = l->bucket[at - 1].next;
			age_bucket(c, l, at - 1, epoch);
		}
		pthread_mutex_unlock(&s->lock);
	}
}

static void age_all(struct vidas *v, uint32_t epoch)
{
	struct vidas_container *c, *next;

	pthread_mutex_lock(&v->index);
	HASH_ITER(hh, v->containers, c, next)
		age_container(c, epoch);
	pthread_mutex_unlock(&v->index);
}

static bool settled(struct vidas *v)
{
	struct vidas_tree_events ev;

	pthread_mutex_lock(&v->lock);
	ev = v->events;
	pthread_mutex_unlock(&v->lock);
	return !ev.settle || ev.settle(ev.arg);
}

/* What the thread knows. Epochs from vidas.epoch_oldest up to `ended` run out at over_us[]. */
struct ager {
	uint32_t ended;
	int64_t over_us[VIDAS_LEASE_EPOCHS];
};

/* Ends the epoch, and when its replies have been sent knows when its leases are over. */
static void epoch_end(struct vidas *v, struct ager *a)
{
	uint32_t epoch = atomic_load_explicit(&v->epoch, memory_order_relaxed);
	uint32_t oldest = atomic_load_explicit(&v->epoch_oldest, memory_order_relaxed);

	/* Not while the replies of the last one are still under way, nor into a list in use. */
	if (epoch == a->ended && epoch - oldest < VIDAS_LEASE_EPOCHS - 1)
		atomic_store_explicit(&v->epoch, ++epoch, memory_order_seq_cst);
	if (epoch != a->ended && settled(v))
		a->over_us[a->ended++ % VIDAS_LEASE_EPOCHS] = vidas_deadline_us(VIDAS_SHM_LEASE_US);
}

static void epochs_age(struct vidas *v, const struct ager *a)
{
	uint32_t oldest = atomic_load_explicit(&v->epoch_oldest, memory_order_relaxed);

	while (oldest != a->ended && !vidas_remaining_us(a->over_us[oldest % VIDAS_LEASE_EPOCHS])) {
		age_all(v, oldest++);
		atomic_store_explicit(&v->epoch_oldest, oldest, memory_order_relaxed);
	}
}

/* Sleeps until there is something to run out, and then for an epoch. False: the thread is to end. */
static bool age_sleep(struct vidas *v)
{
	struct timespec ts;
	int64_t until_us;
	bool go_on;

	pthread_mutex_lock(&v->age_lock);
	while (!v->age_stop && !atomic_load_explicit(&v->aging, memory_order_relaxed))
		pthread_cond_wait(&v->age_wake, &v->age_lock);
	until_us = vidas_deadline_us(EPOCH_US);
	ts = (struct timespec){ until_us / 1000000, until_us % 1000000 * 1000 };
	while (!v->age_stop && !pthread_cond_timedwait(&v->age_wake, &v->age_lock, &ts))
		;
	go_on = !v->age_stop;
	pthread_mutex_unlock(&v->age_lock);
	return go_on;
}

static void *age_main(void *arg)
{
	struct vidas *v = arg;
	struct ager a = { 0 };

	while (age_sleep(v)) {
		epoch_end(v, &a);
		epochs_age(v, &a);
	}
	return NULL;
}

int vidas_age_start(struct vidas *v)
{
	sigset_t all, before;
	int err = 0;

	if (v->age_runs)
		return 0;
	/* The application's signals are not for our thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&v->age_thread, NULL, age_main, v);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err < 0)
		return vidas_fail(err, "no thread for leases: %s", strerror(-err));
	v->age_runs = true;
	return 0;
}

void vidas_age_stop(struct vidas *v)
{
	pthread_mutex_lock(&v->age_lock);
	v->age_stop = true;
	pthread_cond_signal(&v->age_wake);
	pthread_mutex_unlock(&v->age_lock);
	if (v->age_runs)
		pthread_join(v->age_thread, NULL);
}
