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

int vidas_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_us)
{
	struct timespec ts, *until = NULL;

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

void vidas_futex_wake(_Atomic uint32_t *word, int waiters)
{
	syscall(SYS_futex, word, FUTEX_WAKE, waiters, NULL, NULL, 0);
}
