/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/base/base.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(_Atomic uint32_t) == 4 && ATOMIC_INT_LOCK_FREE == 2, "futex words");

int64_t vidas_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t vidas_deadline_us(int64_t timeout_us)
{
	int64_t deadline;

	if (timeout_us < 0 || __builtin_add_overflow(vidas_now_us(), timeout_us, &deadline))
		return -1;
	return deadline;
}

int64_t vidas_remaining_us(int64_t deadline_us)
{
	int64_t now;

	if (deadline_us < 0)
		return -1;
	now = vidas_now_us();
	return deadline_us > now ? deadline_us - now : 0;
}

/* Looks, naps, looks; naps grow from what a wake-up would take to what an idle waiter may cost. */
#define NAP_MIN_US INT64_C(20)
#define NAP_MAX_US INT64_C(2000)
#define LOOKS	   200

static _Atomic(const struct vidas_futex_far *) apart;

void vidas_futex_apart(const struct vidas_futex_far *far)
{
	atomic_store_explicit(&apart, far, memory_order_release);
}

static int look_out(const struct vidas_futex_far *far, _Atomic uint32_t *word, uint32_t expected,
		    int64_t deadline_us)
{
	int64_t nap_us = NAP_MIN_US;
	int err;

	for (int i = 0; i < LOOKS; i++)
		if (atomic_load_explicit(word, memory_order_acquire) != expected)
			return 0;
	err = far->wait(word, expected, deadline_us);
	if (err != -ENOSYS)
		return err;
	for (;;) {
		int64_t left_us = vidas_remaining_us(deadline_us);
		struct timespec ts;

		if (!left_us)
			return -ETIMEDOUT;
		if (left_us > 0 && nap_us > left_us)
			nap_us = left_us;
		ts = (struct timespec){ .tv_nsec = (long)nap_us * 1000 };
		if (nanosleep(&ts, NULL) < 0)
			return -errno;
		if (atomic_load_explicit(word, memory_order_acquire) != expected)
			return 0;
		nap_us = nap_us * 2 < NAP_MAX_US ? nap_us * 2 : NAP_MAX_US;
	}
}

int vidas_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_us)
{
	const struct vidas_futex_far *far = atomic_load_explicit(&apart, memory_order_acquire);
	struct timespec ts, *until = NULL;

	if (far)
		return look_out(far, word, expected, deadline_us);
	/* FUTEX_WAIT_BITSET, because plain FUTEX_WAIT takes a relative time only. */
	if (deadline_us >= 0) {
		ts.tv_sec = (time_t)(deadline_us / 1000000);
		ts.tv_nsec = (long)(deadline_us % 1000000) * 1000;
		until = &ts;
	}
	if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, until, NULL,
		    FUTEX_BITSET_MATCH_ANY) == 0 ||
	    errno == EAGAIN)
		return 0;
	return -errno;
}

/* Who is apart wakes nobody by the word but waiters of its own kernel, who look out themselves. */
void vidas_futex_wake(_Atomic uint32_t *word, int waiters)
{
	const struct vidas_futex_far *far = atomic_load_explicit(&apart, memory_order_acquire);

	if (far) {
		far->wake(word);
		return;
	}
	syscall(SYS_futex, word, FUTEX_WAKE, waiters, NULL, NULL, 0);
}
