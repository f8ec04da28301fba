/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attributes and the notification ring: under threads, under processes that are killed at any
 * instruction, and against contents that make no sense.
 * vidas-presets: release asan tsan
 */
#include "shared.h"
#include "unit.h"

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

/* The message is still there while it is handed on, and stays if it could not be. */
static int look_and_fail(void *arg, const void *msg, size_t size)
{
	struct shared *s = arg;

	CU_ASSERT_EQUAL(size, 3);
	CU_ASSERT_EQUAL(memcmp(msg, "one", 3), 0);
	CU_ASSERT_TRUE(vidas_ring_any(&s->o));
	return -ENOENT;
}

static void test_ring_give(void)
{
	struct shared *s = share_new();
	struct vidas_owner me = owner();
	char buf[VIDAS_MESSAGE_MAX];

	CU_ASSERT_EQUAL(vidas_ring_put(&s->o, &me, "one", 3), 0);
	CU_ASSERT_EQUAL(vidas_ring_give(&s->o, &me, buf, sizeof(buf), look_and_fail, s), -ENOENT);
	CU_ASSERT_EQUAL(vidas_ring_get(&s->o, &me, buf, sizeof(buf)), 3);
	CU_ASSERT_EQUAL(vidas_ring_give(&s->o, &me, buf, sizeof(buf), look_and_fail, s), -EAGAIN);
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

UNIT_MAIN("data in shared memory", { "attributes", test_image },
	  { "attributes: threads", test_image_threads },
	  { "attributes: killed writers", test_image_killed }, { "ring", test_ring },
	  { "a message is handed on, then taken", test_ring_give },
	  { "ring: damaged", test_ring_damaged }, { "ring: threads", test_ring_threads },
	  { "ring: killed", test_ring_killed })
