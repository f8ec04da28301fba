/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What works on shared memory alone: lock words, range locks, attributes, the ring. Under threads,
 * under processes that are killed at any instruction, and against contents that make no sense.
 * vidas-presets: release asan tsan
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/base/base.h"
#include "pool/client/shm.h"
#include "unit.h"

#define WORKERS	      4
#define REPEAT	      4000
#define KILL_ROUNDS   40
#define RESOURCE_SIZE 4096u

/* One object's control file, and what the tests guard with it. */
struct shared {
	struct vidas_shm_resource r;
	struct vidas_shm_object o;
	uint64_t counter; /* guarded by r.range_lock */
	uint32_t inside;  /* who is in r.range_lock */
	_Atomic uint64_t received, sum;
	uint8_t data[RESOURCE_SIZE];
};

static struct shared *share_new(void)
{
	void *p = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static void share_free(struct shared *s)
{
	munmap(s, sizeof(*s));
}

/* Sessions of these tests have their process's id; a thread of it the same one. */
static bool process_alive(void *arg, uint32_t id)
{
	(void)arg;
	return !kill((pid_t)id, 0);
}

static struct vidas_owner owner(void)
{
	return (struct vidas_owner){ (uint32_t)getpid(), process_alive, NULL };
}

static pid_t spawn(void (*run)(struct shared *s, unsigned seed), struct shared *s, unsigned seed)
{
	pid_t pid = fork();

	if (!pid) {
		run(s, seed);
		_exit(0);
	}
	return pid;
}

static int reap(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return status;
}

static void pause_us(long us)
{
	struct timespec ts = { 0, us * 1000 };

	nanosleep(&ts, NULL);
}

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

/* Attributes ------------------------------------------------------------------------------------ */

static void set(struct vidas_image *image, const char *name, const char *value)
{
	CU_ASSERT_EQUAL(vidas_image_set(image, name, value, strlen(value)), 0);
}

static void expect(const struct vidas_image *image, const char *name, const char *value)
{
	const void *found = NULL;
	ssize_t n = vidas_image_find(image, name, &found);

	CU_ASSERT_EQUAL(n, (ssize_t)strlen(value));
	if (n == (ssize_t)strlen(value))
		CU_ASSERT_EQUAL(memcmp(found, value, strlen(value)), 0);
}

static void test_image(void)
{
	static struct vidas_image image;
	const void *found;
	char name[16], value[100];
	int n = 0;

	image.used = 0;
	set(&image, "a", "one");
	set(&image, "bb", "");
	set(&image, "c", "three");
	set(&image, "a", "a longer one");
	expect(&image, "a", "a longer one");
	expect(&image, "bb", "");
	expect(&image, "c", "three");
	CU_ASSERT_EQUAL(vidas_image_find(&image, "b", &found), -ENODATA);
	CU_ASSERT_EQUAL(vidas_image_check(&image), 0);
	memset(value, 'x', sizeof(value));
	for (;; n++) {
		snprintf(name, sizeof(name), "n%d", n);
		if (vidas_image_set(&image, name, value, sizeof(value)))
			break;
	}
	CU_ASSERT_TRUE(n > 30 && n < 41);
	CU_ASSERT_EQUAL(vidas_image_set(&image, name, value, sizeof(value)), -ENOSPC);
	CU_ASSERT_EQUAL(vidas_image_set(&image, "n3", value, 50), 0);
	CU_ASSERT_EQUAL(vidas_image_check(&image), 0);
	expect(&image, "c", "three");
	image.bytes[2] = 0xff; /* a value's length */
	image.bytes[3] = 0xff;
	CU_ASSERT_EQUAL(vidas_image_check(&image), -EBADMSG);
	image.used = VIDAS_SHM_ATTR_BYTES + 1;
	CU_ASSERT_EQUAL(vidas_image_check(&image), -EBADMSG);
}

/* Two attributes always change together; no reader sees one without the other. */
static void image_writer(struct shared *s, unsigned seed)
{
	struct vidas_owner me = owner();
	struct vidas_image image;

	for (unsigned i = 0; i < REPEAT || seed == ~0u; i++) {
		uint64_t value[20];

		if (vidas_lock_take(&s->o.attr_lock, &me, "a test"))
			abort();
		for (int j = 0; j < 20; j++)
			value[j] = i ^ seed;
		if (vidas_image_load(&s->o, &image) ||
		    vidas_image_set(&image, i & 1 ? "x" : "y", value, i % sizeof(value)) ||
		    vidas_image_set(&image, "first", value, sizeof(value)) ||
		    vidas_image_set(&image, "second", value, sizeof(value)))
			abort();
		vidas_image_store(&s->o, &image);
		vidas_lock_release(&s->o.attr_lock, &me);
	}
}

static void image_reader(struct shared *s)
{
	struct vidas_image image;
	const void *first, *second;

	for (int i = 0; i < REPEAT; i++) {
		if (vidas_image_load(&s->o, &image))
			abort();
		if (!image.used)
			continue;
		if (vidas_image_find(&image, "first", &first) != 160 ||
		    vidas_image_find(&image, "second", &second) != 160 ||
		    memcmp(first, second, 160))
			abort();
	}
}

static void *image_writer_thread(void *arg)
{
	image_writer(arg, 1);
	return NULL;
}

static void *image_reader_thread(void *arg)
{
	image_reader(arg);
	return NULL;
}

static void test_image_threads(void)
{
	struct shared *s = share_new();
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL_FATAL(
			pthread_create(&t[i], NULL,
				       i & 1 ? image_writer_thread : image_reader_thread, s),
			0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	CU_ASSERT_EQUAL(s->o.attr_active, 2 * REPEAT);
	share_free(s);
}

static void test_image_killed(void)
{
	struct shared *s = share_new();

	for (int i = 0; i < KILL_ROUNDS; i++) {
		pid_t victim = spawn(image_writer, s, ~0u);

		pause_us(rand() % 2000);
		image_reader(s);
		kill(victim, SIGKILL);
		CU_ASSERT_TRUE(WIFSIGNALED(reap(victim)));
		image_reader(s);
	}
	CU_ASSERT_TRUE(s->o.attr_active > 0);
	share_free(s);
}

/* The ring -------------------------------------------------------------------------------------- */

static void test_ring(void)
{
	struct shared *s = share_new();
	struct vidas_owner me = owner();
	char msg[VIDAS_MESSAGE_MAX], buf[VIDAS_MESSAGE_MAX];

	/* Many times around, with lengths that fall on every place of its end. */
	for (unsigned i = 0; i < 5000; i++) {
		size_t size = (i * 37) % (VIDAS_MESSAGE_MAX + 1);

		memset(msg, (int)i, size);
		CU_ASSERT_EQUAL_FATAL(vidas_ring_put(&s->o, &me, msg, size), 0);
		CU_ASSERT_TRUE(vidas_ring_any(&s->o));
		if (size)
			CU_ASSERT_EQUAL(vidas_ring_get(&s->o, &me, buf, size - 1), -EMSGSIZE);
		CU_ASSERT_EQUAL_FATAL(vidas_ring_get(&s->o, &me, buf, sizeof(buf)), (ssize_t)size);
		CU_ASSERT_EQUAL(memcmp(msg, buf, size), 0);
	}
	CU_ASSERT_EQUAL(vidas_ring_get(&s->o, &me, buf, sizeof(buf)), -EAGAIN);
	for (unsigned i = 0; i < VIDAS_SHM_RING_BYTES / 72; i++)
		CU_ASSERT_EQUAL(vidas_ring_put(&s->o, &me, msg, 64), 0);
	CU_ASSERT_EQUAL(vidas_ring_put(&s->o, &me, msg, 64), -EAGAIN);
	CU_ASSERT_FALSE(vidas_ring_room(&s->o, 64));
	CU_ASSERT_EQUAL(vidas_ring_get(&s->o, &me, buf, sizeof(buf)), 64);
	CU_ASSERT_EQUAL(vidas_ring_put(&s->o, &me, msg, 64), 0);
	share_free(s);
}

static void damaged(struct shared *s, uint64_t head, uint64_t tail, uint32_t size)
{
	struct vidas_owner me = owner();
	char buf[VIDAS_MESSAGE_MAX];

	s->o.head = head;
	s->o.tail = tail;
	memcpy(s->o.ring + head % VIDAS_SHM_RING_BYTES / 8 * 8, &size, sizeof(size));
	CU_ASSERT_EQUAL(vidas_ring_get(&s->o, &me, buf, sizeof(buf)), -EBADMSG);
	CU_ASSERT_EQUAL(vidas_ring_get(&s->o, &me, buf, sizeof(buf)), -EAGAIN);
	CU_ASSERT_EQUAL(vidas_ring_put(&s->o, &me, "ok", 2), 0);
	CU_ASSERT_EQUAL(vidas_ring_get(&s->o, &me, buf, sizeof(buf)), 2);
}

static void test_ring_damaged(void)
{
	struct shared *s = share_new();
	struct vidas_owner me = owner();

	damaged(s, 0, 8, 5);			      /* longer than what is there */
	damaged(s, 32760, 32760 + 32768, 0xffffffff); /* longer than anything */
	damaged(s, 0, 32768, VIDAS_MESSAGE_MAX + 1);
	damaged(s, 8, 0, 0);		      /* backwards */
	damaged(s, 0, 32776, 0);	      /* more than the ring holds */
	damaged(s, 3, 19, 0);		      /* crooked */
	damaged(s, UINT64_MAX - 7, 64, 4096); /* over the end of counting */
	s->o.head = 1;
	CU_ASSERT_EQUAL(vidas_ring_put(&s->o, &me, "no", 2), -EBADMSG);
	share_free(s);
}

static void put_many(struct shared *s, unsigned seed)
{
	struct vidas_owner me = owner();

	for (unsigned i = 0; i < REPEAT || seed == ~0u; i++) {
		uint64_t msg[9];
		size_t words = 1 + i % 9;

		for (size_t j = 0; j < words; j++)
			msg[j] = i * words;
		while (vidas_ring_put(&s->o, &me, msg, words * 8) == -EAGAIN)
			pause_us(50);
		atomic_fetch_add(&s->sum, msg[0]);
	}
}

/* One message, whole. False: none there. */
static bool get_one(struct shared *s)
{
	struct vidas_owner me = owner();
	uint64_t msg[9];
	ssize_t n = vidas_ring_get(&s->o, &me, msg, sizeof(msg));

	if (n == -EAGAIN)
		return false;
	if (n <= 0 || n % 8 || msg[0] % ((uint64_t)n / 8))
		abort();
	for (ssize_t j = 1; j < n / 8; j++)
		if (msg[j] != msg[0])
			abort();
	atomic_fetch_sub(&s->sum, msg[0]);
	atomic_fetch_add(&s->received, 1);
	return true;
}

static void *put_thread(void *arg)
{
	put_many(arg, 0);
	return NULL;
}

static void *get_thread(void *arg)
{
	struct shared *s = arg;

	while (atomic_load(&s->received) < 2 * REPEAT)
		if (!get_one(s))
			pause_us(50);
	return NULL;
}

static void test_ring_threads(void)
{
	struct shared *s = share_new();
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL_FATAL(
			pthread_create(&t[i], NULL, i & 1 ? put_thread : get_thread, s), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	CU_ASSERT_EQUAL(s->received, 2 * REPEAT);
	CU_ASSERT_EQUAL(s->sum, 0);
	share_free(s);
}

static void get_for_ever(struct shared *s, unsigned seed)
{
	(void)seed;
	for (;;)
		if (!get_one(s))
			pause_us(20);
}

static void test_ring_killed(void)
{
	struct shared *s = share_new();
	pid_t putter = spawn(put_many, s, ~0u), getter = spawn(get_for_ever, s, 0);
	uint64_t before = 0;

	for (int i = 0; i < KILL_ROUNDS; i++) {
		pid_t *victim = i & 1 ? &putter : &getter;

		pause_us(rand() % 3000);
		kill(*victim, SIGKILL);
		CU_ASSERT_TRUE_FATAL(WIFSIGNALED(reap(*victim)));
		*victim = i & 1 ? spawn(put_many, s, ~0u) : spawn(get_for_ever, s, 0);
		/* Things go on: a message comes through within a second. */
		before = s->received;
		for (int j = 0; j < 1000 && s->received == before; j++)
			pause_us(1000);
		CU_ASSERT_TRUE(s->received > before);
	}
	kill(putter, SIGKILL);
	kill(getter, SIGKILL);
	CU_ASSERT_TRUE(WIFSIGNALED(reap(putter)));
	CU_ASSERT_TRUE(WIFSIGNALED(reap(getter)));
	share_free(s);
}

UNIT_MAIN("shared memory", { "lock: threads", test_lock_threads },
	  { "lock: processes", test_lock_processes }, { "lock: killed owners", test_lock_killed },
	  { "lock: taken over, or not", test_lock_taken_over },
	  { "ranges: threads", test_range_threads }, { "ranges: processes", test_range_processes },
	  { "ranges: who excludes whom", test_range_rules },
	  { "ranges: full table", test_range_full }, { "attributes", test_image },
	  { "attributes: threads", test_image_threads },
	  { "attributes: killed writers", test_image_killed }, { "ring", test_ring },
	  { "ring: damaged", test_ring_damaged }, { "ring: threads", test_ring_threads },
	  { "ring: killed", test_ring_killed })
