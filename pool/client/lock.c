/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lock words: 0 free, else the session id of the owner, with VIDAS_SHM_WAITERS if someone sleeps.
 * What they guard is published by a single store each, so a word may be taken over from a dead
 * owner without repairing anything.
 */
#include "pool/client/shm.h"

#include <sched.h>

#include "pool/base/base.h"

#define SPINS 100u

void vidas_spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

unsigned vidas_spin_count(void)
{
	static _Atomic int cpus;
	int n = atomic_load_explicit(&cpus, memory_order_relaxed);
	cpu_set_t set;

	if (!n) {
		/* As this process may use them: the owner cannot run while we spin on the only one. */
		n = sched_getaffinity(0, sizeof(set), &set) || CPU_COUNT(&set) > 1 ? 2 : 1;
		atomic_store_explicit(&cpus, n, memory_order_relaxed);
	}
	return n > 1 ? SPINS : 0;
}

static bool lock_try(_Atomic uint32_t *word, uint32_t expected, uint32_t wanted)
{
	return atomic_compare_exchange_strong_explicit(word, &expected, wanted,
						       memory_order_acquire, memory_order_relaxed);
}

/* Sleeps until the word may have changed, at most a tick. 1: it was free or its owner dead, and is
 * ours now. */
static int lock_sleep(_Atomic uint32_t *word, const struct vidas_owner *me, int64_t deadline_us)
{
	uint32_t value = atomic_load_explicit(word, memory_order_relaxed), owner;
	int64_t tick_us = vidas_deadline_us(VIDAS_TICK_US);

	/* Others may sleep too: who takes it after a sleep has to wake one when he is done. */
	if (!value)
		return lock_try(word, 0, me->id | VIDAS_SHM_WAITERS);
	owner = value & ~VIDAS_SHM_WAITERS;
	if (!(value & VIDAS_SHM_WAITERS) && !lock_try(word, value, value | VIDAS_SHM_WAITERS))
		return 0;
	value |= VIDAS_SHM_WAITERS;
	if (deadline_us < tick_us)
		tick_us = deadline_us;
	if (vidas_futex_wait(word, value, tick_us) != -ETIMEDOUT || owner == me->id)
		return 0;
	if (owner && me->alive(me->arg, owner))
		return 0;
	return lock_try(word, value, me->id | VIDAS_SHM_WAITERS);
}

int vidas_lock_take(_Atomic uint32_t *word, const struct vidas_owner *me, const char *what)
{
	int64_t deadline_us;

	if (lock_try(word, 0, me->id))
		return 0;
	for (unsigned i = vidas_spin_count(); i; i--) {
		vidas_spin_pause();
		if (!atomic_load_explicit(word, memory_order_relaxed) && lock_try(word, 0, me->id))
			return 0;
	}
	deadline_us = vidas_deadline_us(VIDAS_LOCK_US);
	do {
		if (lock_sleep(word, me, deadline_us))
			return 0;
	} while (vidas_remaining_us(deadline_us));
	return vidas_fail(-ETIMEDOUT, "the lock of %s is held by session %u and does not come free",
			  what,
			  atomic_load_explicit(word, memory_order_relaxed) & ~VIDAS_SHM_WAITERS);
}

bool vidas_lock_release(_Atomic uint32_t *word, const struct vidas_owner *me)
{
	uint32_t value = me->id;

	while (!atomic_compare_exchange_weak_explicit(word, &value, 0, memory_order_release,
						      memory_order_relaxed))
		if ((value & ~VIDAS_SHM_WAITERS) != me->id)
			return false;
	if (value & VIDAS_SHM_WAITERS)
		vidas_futex_wake(word, 1);
	return true;
}
