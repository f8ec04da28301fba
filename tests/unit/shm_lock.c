/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lock words and range locks: under threads, and under processes that are killed at any instruction.
 * vidas-presets: release asan tsan
 */
#include "shared.h"
#include "unit.h"

/* Lock words ------------------------------------------------------------------------------------ */

static void count_under_lock(struct shared *s, unsigned seed)
{
	struct vidas_owner me = owner();

	(void)seed;
	for (int i = 0; i < REPEAT; i++) {
		if (vidas_lock_take(&s->r.range_lock, &me, "a test"))
			abort();
		s->counter++;
		if (!vidas_lock_release(&s->r.range_lock, &me))
			abort();
	}
}

static void *count_thread(void *arg)
{
	count_under_lock(arg, 0);
	return NULL;
}

static void test_lock_threads(void)
{
	struct shared *s = share_new();
	pthread_t t[WORKERS];

	for (int i = 0; i < WORKERS; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, count_thread, s), 0);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(t[i], NULL);
	CU_ASSERT_EQUAL(s->counter, WORKERS * REPEAT);
	CU_ASSERT_EQUAL(s->r.range_lock, 0);
	share_free(s);
}

static void test_lock_processes(void)
{
	struct shared *s = share_new();
	pid_t pid[WORKERS];

	for (unsigned i = 0; i < WORKERS; i++)
		pid[i] = spawn(count_under_lock, s, i);
	for (int i = 0; i < WORKERS; i++)
		CU_ASSERT_EQUAL(reap(pid[i]), 0);
	CU_ASSERT_EQUAL(s->counter, WORKERS * REPEAT);
	CU_ASSERT_EQUAL(s->r.range_lock, 0);
	share_free(s);
}

/* Who is in leaves his name; whose name is still there has to be dead. */
static void enter(struct shared *s, const struct vidas_owner *me)
{
	uint32_t before;

	if (vidas_lock_take(&s->r.range_lock, me, "a test"))
		abort();
	before = __atomic_exchange_n(&s->inside, me->id, __ATOMIC_ACQ_REL);
	if (before && process_alive(NULL, before))
		abort();
}

static void leave(struct shared *s, const struct vidas_owner *me)
{
	__atomic_store_n(&s->inside, 0, __ATOMIC_RELEASE);
	if (!vidas_lock_release(&s->r.range_lock, me))
		abort();
}

static void lock_for_ever(struct shared *s, unsigned seed)
{
	struct vidas_owner me = owner();

	(void)seed;
	for (;;) {
		enter(s, &me);
		leave(s, &me);
	}
}

/* Whoever is killed, also while he holds the lock or sleeps for it: others go on. */
static void test_lock_killed(void)
{
	struct shared *s = share_new();
	struct vidas_owner me = owner();
	pid_t other = spawn(lock_for_ever, s, 0);

	srand(1);
	for (int i = 0; i < KILL_ROUNDS; i++) {
		pid_t victim = spawn(lock_for_ever, s, 0);
		int64_t before;

		pause_us(rand() % 3000);
		kill(victim, SIGKILL);
		CU_ASSERT_TRUE(WIFSIGNALED(reap(victim)));
		before = vidas_now_us();
		enter(s, &me);
		leave(s, &me);
		CU_ASSERT_TRUE(vidas_now_us() - before < 2 * 1000 * 1000);
	}
	kill(other, SIGKILL);
	CU_ASSERT_EQUAL(reap(other), SIGKILL);
	share_free(s);
}

static void die_with_range(struct shared *s, unsigned seed)
{
	struct vidas_owner me = owner();

	(void)seed;
	vidas_range_take(&s->r, &me, 0, 100, true);
}

/* A lock that its dead owner holds comes free within a second; one of a living owner never does. */
static void test_lock_taken_over(void)
{
	struct shared *s = share_new();
	struct vidas_owner me = owner();
	int64_t before = vidas_now_us();
	uint32_t init = 1; /* lives longer than any test */

	CU_ASSERT_EQUAL(reap(spawn(die_with_range, s, 0)), 0);
	CU_ASSERT_NOT_EQUAL(s->r.range[0].owner, 0);
	CU_ASSERT_TRUE(vidas_range_take(&s->r, &me, 50, 60, false) >= 0);
	CU_ASSERT_TRUE(vidas_now_us() - before < 1000 * 1000);
	s->o.attr_lock = init;
	before = vidas_now_us();
	CU_ASSERT_EQUAL(vidas_lock_take(&s->o.attr_lock, &me, "a test"), -ETIMEDOUT);
	CU_ASSERT_TRUE(vidas_now_us() - before < VIDAS_LOCK_US + 1000 * 1000);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "session 1"));
	CU_ASSERT_EQUAL(s->o.attr_lock & ~VIDAS_SHM_WAITERS, init);
	CU_ASSERT_FALSE(vidas_lock_release(&s->o.attr_lock, &me));
	share_free(s);
}

/* Range locks ----------------------------------------------------------------------------------- */

/* Writers fill a range with one byte, readers see one byte only. */
static void ranges(struct shared *s, unsigned seed)
{
	struct vidas_owner me = owner();

	for (int i = 0; i < REPEAT / 4; i++) {
		uint64_t start = (uint64_t)rand_r(&seed) % (RESOURCE_SIZE - 64);
		uint64_t end = start + 1 + (uint64_t)rand_r(&seed) % 64;
		bool write = rand_r(&seed) & 1;
		int lock = vidas_range_take(&s->r, &me, start, end, write);

		if (lock < 0)
			abort();
		for (uint64_t at = start; at < end; at++) {
			uint8_t was = s->data[at];

			if (write) {
				s->data[at] = (uint8_t)(was + 1);
				if (s->data[at] != (uint8_t)(was + 1))
					abort();
			} else if (s->data[at] != was) {
				abort();
			}
		}
		if (write)
			atomic_fetch_add(&s->sum, end - start);
		vidas_range_release(&s->r, &me, lock);
	}
}

struct ranges_arg {
	struct shared *s;
	unsigned seed;
};

static void *ranges_thread(void *arg)
{
	struct ranges_arg *a = arg;

	ranges(a->s, a->seed);
	return NULL;
}

static void ranges_verify(struct shared *s)
{
	uint64_t sum = 0;

	/* Every increment of every byte arrived, modulo 256. */
	for (unsigned i = 0; i < RESOURCE_SIZE; i++)
		sum += s->data[i];
	CU_ASSERT_EQUAL(sum % 256, s->sum % 256);
	for (unsigned i = 0; i < VIDAS_SHM_RANGES; i++)
		CU_ASSERT_EQUAL(s->r.range[i].owner, 0);
	CU_ASSERT_EQUAL(s->r.range_waiters, 0);
}

static void test_range_threads(void)
{
	struct shared *s = share_new();
	struct ranges_arg arg[WORKERS];
	pthread_t t[WORKERS];

	for (unsigned i = 0; i < WORKERS; i++) {
		arg[i] = (struct ranges_arg){ s, i };
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, ranges_thread, &arg[i]), 0);
	}
	for (int i = 0; i < WORKERS; i++)
		pthread_join(t[i], NULL);
	ranges_verify(s);
	share_free(s);
}

static void test_range_processes(void)
{
	struct shared *s = share_new();
	pid_t pid[WORKERS];

	for (unsigned i = 0; i < WORKERS; i++)
		pid[i] = spawn(ranges, s, i);
	for (int i = 0; i < WORKERS; i++)
		CU_ASSERT_EQUAL(reap(pid[i]), 0);
	ranges_verify(s);
	share_free(s);
}

/* Readers share, writers do not, disjoint ranges do not meet; a writer's claim stops new readers. */
static void test_range_rules(void)
{
	struct shared *s = share_new();
	struct vidas_owner me = owner();
	int a = vidas_range_take(&s->r, &me, 0, 100, false);
	int b = vidas_range_take(&s->r, &me, 50, 150, false);
	int c = vidas_range_take(&s->r, &me, 150, 200, true);
	int64_t before;

	CU_ASSERT_TRUE(a >= 0 && b >= 0 && c >= 0 && a != b && b != c);
	before = vidas_now_us();
	CU_ASSERT_EQUAL(vidas_range_take(&s->r, &me, 99, 100, true), -ETIMEDOUT);
	CU_ASSERT_TRUE(vidas_now_us() - before >= VIDAS_LOCK_US);
	vidas_range_release(&s->r, &me, a);
	vidas_range_release(&s->r, &me, b);
	vidas_range_release(&s->r, &me, c);
	for (unsigned i = 0; i < VIDAS_SHM_RANGES; i++)
		CU_ASSERT_EQUAL(s->r.range[i].owner, 0);
	/* A writer who waits is entered as a claim. */
	s->r.range[7].start = 10;
	s->r.range[7].end = 20;
	s->r.range[7].exclusive = 2;
	s->r.range[7].owner = me.id;
	CU_ASSERT_EQUAL(vidas_range_take(&s->r, &me, 15, 16, false), -ETIMEDOUT);
	a = vidas_range_take(&s->r, &me, 15, 16, true);
	CU_ASSERT_TRUE(a >= 0 && a != 7);
	share_free(s);
}

static void *release_later(void *arg)
{
	struct shared *s = arg;
	struct vidas_owner me = owner();

	pause_us(20000);
	vidas_range_release(&s->r, &me, 30);
	return NULL;
}

static void test_range_full(void)
{
	struct shared *s = share_new();
	struct vidas_owner me = owner();
	pthread_t t;

	for (unsigned i = 0; i < VIDAS_SHM_RANGES; i++)
		CU_ASSERT_EQUAL(vidas_range_take(&s->r, &me, i, i + 1, true), (int)i);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, release_later, s), 0);
	CU_ASSERT_EQUAL(vidas_range_take(&s->r, &me, 1000, 2000, true), 30);
	pthread_join(t, NULL);
	/* All of a dead session's: one after the other is asked about, all are freed. */
	for (unsigned i = 0; i < VIDAS_SHM_RANGES; i++)
		s->r.range[i].owner = (1u << 31) - 2;
	CU_ASSERT_TRUE(vidas_range_take(&s->r, &me, 5000, 6000, false) >= 0);
	share_free(s);
}

UNIT_MAIN("locks in shared memory", { "lock: threads", test_lock_threads },
	  { "lock: processes", test_lock_processes }, { "lock: killed owners", test_lock_killed },
	  { "lock: taken over, or not", test_lock_taken_over },
	  { "ranges: threads", test_range_threads }, { "ranges: processes", test_range_processes },
	  { "ranges: who excludes whom", test_range_rules },
	  { "ranges: full table", test_range_full })
