/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trees, leases and events (tree.h) between domains, and all of libvidas over a vidasd that is
 * killed and started again.
 * vidas-presets: release asan tsan
 */
#include "unit.h"
#include "api.h"

#include <pthread.h>

#include "pool/client/lease.h"
#include "pool/client/object.h"

/* What one connection is told. */
struct told {
	_Atomic unsigned recalls, containers;
	_Atomic uint64_t inode, bits; /* of the last recall; the OR of 1 << inode % 64 of all */
	_Atomic uint32_t kinds;
	_Atomic int64_t slow_us;
};

static struct raw_host host;
static struct vidas *one, *two, *three;
static struct vidas_tree *tree1, *tree2, *tree3;
static struct told told1, told2;
static atomic_bool unsettled;

static void recall(void *arg, struct vidas_tree *t, uint64_t inode, uint32_t kinds)
{
	struct told *told = arg;

	if (told->slow_us)
		raw_sleep_us(told->slow_us);
	CU_ASSERT_TRUE(t == tree1 || t == tree2);
	told->inode = inode;
	told->kinds = kinds;
	atomic_fetch_or(&told->bits, UINT64_C(1) << inode % 64);
	told->recalls++;
}

static bool settle(void *arg)
{
	(void)arg;
	return !unsettled;
}

static void containers(void *arg)
{
	struct told *told = arg;

	told->containers++;
}

static struct vidas_tree *attach(struct vidas *v, const char *container)
{
	struct vidas_tree *t = NULL;

	if (vidas_tree_attach(v, container, 0, &t) < 0)
		api_die("attach");
	return t;
}

static void begin(void)
{
	const vidas_domain_id others[] = { 2, 3 };
	struct vidas_tree_events ev = { recall, settle, NULL, containers, NULL, &told1 };
	struct vidas *admin;

	raw_prepare(&host, "api_tree");
	raw_start(&host, NULL);
	admin = api_connect(&host, 0);
	for (vidas_domain_id d = 1; d <= 3; d++)
		CU_ASSERT_EQUAL(vidas_admin_domain_add(admin, d, 0), 0);
	vidas_close(admin);
	one = api_connect(&host, 1);
	two = api_connect(&host, 2);
	three = api_connect(&host, 3);
	CU_ASSERT_EQUAL(vidas_tree_events(one, &ev), 0);
	ev.arg = &told2;
	CU_ASSERT_EQUAL(vidas_container_create(one, "con", others, 2), 0);
	/* An attach before: the lane that waits for vidasd to go becomes one for events. */
	CU_ASSERT_EQUAL(vidas_container_attach(two, "con"), 0);
	CU_ASSERT_EQUAL(vidas_tree_events(two, &ev), 0);
	tree1 = attach(one, "con");
	tree2 = attach(two, "con");
	tree3 = attach(three, "con");
}

/* Waits up to 5 s. */
static bool becomes(_Atomic unsigned *counter, unsigned at_least)
{
	for (int i = 0; i < 500 && *counter < at_least; i++)
		raw_sleep_us(10000);
	return *counter >= at_least;
}

/* The lane of who attached a moment ago is still being set up when events are asked for. */
static void test_events_at_once(void)
{
	struct vidas_tree_events ev = { recall, settle, NULL, containers, NULL, &told2 };

	for (int i = 0; i < 50; i++) {
		struct vidas *v = api_connect(&host, 2);

		CU_ASSERT_EQUAL(vidas_container_attach(v, "con"), 0);
		CU_ASSERT_EQUAL(vidas_tree_events(v, &ev), 0);
		CU_ASSERT_EQUAL(vidas_tree_events(v, &ev), 0);
		vidas_close(v);
	}
}

static void test_tree(void)
{
	int fd = openat(vidas_tree_fd(tree1), "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	CU_ASSERT_TRUE(fd >= 0 && write(fd, "bytes", 5) == 5);
	close(fd);
	CU_ASSERT_EQUAL(faccessat(vidas_tree_fd(tree2), "file", F_OK, 0), 0);
	CU_ASSERT_EQUAL(openat(vidas_tree_fd(tree2), "../meta", O_RDONLY), -1);
	CU_ASSERT_EQUAL(vidas_tree_flush(tree1, "file", 0), 0);
	CU_ASSERT_EQUAL(vidas_tree_resident(tree1, "file", 0, false), 0);
}

static void test_attrs(void)
{
	char value[300] = "";
	ssize_t n = vidas_tree_attr_get(tree2, "", 0, "domains", value, sizeof(value) - 1);

	CU_ASSERT_TRUE(n > 0 && strstr(value, "2") && strstr(value, "3"));
	CU_ASSERT_EQUAL(vidas_tree_attr_get(tree2, "", 0, "domains", value, 0), n);
	CU_ASSERT_EQUAL(vidas_tree_attr_get(tree2, "", 0, "domains", value, 1), -ERANGE);
	CU_ASSERT_EQUAL(vidas_tree_attr_set(tree2, "", 0, "domains", "2", 1), -EPERM);
	CU_ASSERT_EQUAL(vidas_tree_attr_get(tree2, "file", 0, "container", value, 3), 3);
	CU_ASSERT_EQUAL(memcmp(value, "con", 3), 0);
}

/* A change is acknowledged only when nobody caches what was; and only the first one asks. */
static void test_recall(void)
{
	uint64_t messages;

	CU_ASSERT_FALSE(vidas_tree_cache_names(tree3, 100)); /* takes no events */
	CU_ASSERT_TRUE(vidas_tree_cache_names(tree2, 100));
	CU_ASSERT_TRUE(vidas_tree_cache_seconds(tree2) * 1e6 < VIDAS_SHM_LEASE_US);
	vidas_tree_changed(tree2, 100, VIDAS_WIRE_RECALL_NAMES); /* one's own is one's own */
	CU_ASSERT_EQUAL(told2.recalls, 0);
	vidas_tree_changed(tree1, 100, VIDAS_WIRE_RECALL_NAMES);
	CU_ASSERT_EQUAL(told2.recalls, 1);
	CU_ASSERT_EQUAL(told2.inode, 100);
	CU_ASSERT_EQUAL(told2.kinds, VIDAS_WIRE_RECALL_NAMES);
	messages = vidas_messages(one);
	vidas_tree_changed(tree1, 100, VIDAS_WIRE_RECALL_NAMES);
	CU_ASSERT_EQUAL(vidas_messages(one), messages);
	CU_ASSERT_EQUAL(told2.recalls, 1);
	/* Who has no events and so caches nothing still has the others recalled. */
	CU_ASSERT_TRUE(vidas_tree_cache_attrs(tree2, 100));
	CU_ASSERT_TRUE(vidas_tree_cache_attrs(tree1, 100));
	vidas_tree_changed(tree3, 100, VIDAS_WIRE_RECALL_ATTRS);
	CU_ASSERT_EQUAL(told1.recalls, 1);
	CU_ASSERT_EQUAL(told2.recalls, 2);
	CU_ASSERT_EQUAL(told2.kinds, VIDAS_WIRE_RECALL_ATTRS);
}

/* What else is cached in the bucket of what is recalled goes too, or a change of it would find no
 * bit any more. */
static void test_bucket(void)
{
	uint64_t other = 1001;

	while (vidas_shm_lease_bucket(other) != vidas_shm_lease_bucket(1000) ||
	       other % 64 == 1000 % 64)
		other++;
	CU_ASSERT_TRUE(vidas_tree_cache_names(tree2, 1000));
	CU_ASSERT_TRUE(vidas_tree_cache_attrs(tree2, 1000));
	CU_ASSERT_TRUE(vidas_tree_cache_attrs(tree2, other));
	told2.bits = 0;
	vidas_tree_changed(tree1, other, VIDAS_WIRE_RECALL_NAMES);
	CU_ASSERT_EQUAL(told2.bits, UINT64_C(1) << other % 64 | UINT64_C(1) << 1000 % 64);
	CU_ASSERT_EQUAL(told2.inode, other);
	CU_ASSERT_EQUAL(told2.kinds, VIDAS_WIRE_RECALL_NAMES | VIDAS_WIRE_RECALL_ATTRS);
}

static void test_writers(void)
{
	unsigned before = told2.recalls;

	CU_ASSERT_TRUE(vidas_tree_cache_attrs(tree2, 200));
	vidas_tree_write_begin(tree1, 200);
	CU_ASSERT_EQUAL(told2.recalls, before + 1);
	vidas_tree_write_begin(tree1, 200);
	CU_ASSERT_FALSE(vidas_tree_cache_attrs(tree2, 200));
	CU_ASSERT_TRUE(vidas_tree_cache_names(tree2, 200));
	vidas_tree_write_end(tree1, 200);
	CU_ASSERT_FALSE(vidas_tree_cache_attrs(tree2, 200));
	vidas_tree_write_end(tree1, 200);
	CU_ASSERT_TRUE(vidas_tree_cache_attrs(tree2, 200));
}

static bool bit_set(struct vidas_tree *t, uint64_t inode)
{
	const struct vidas_leases *l = vidas_leases_of(t->c);

	return l->table->bucket[vidas_shm_lease_bucket(inode)].cached & vidas_lease_bit(t->c);
}

/* Until the bit of `inode` goes; that of `renewed` stays meanwhile. When it went. */
static int64_t wait_out(uint64_t inode, uint64_t renewed)
{
	int64_t end_us = vidas_now_us() + 60 * INT64_C(1000000), granted_us;

	do {
		bool set;

		granted_us = vidas_now_us();
		CU_ASSERT_TRUE(vidas_tree_cache_names(tree2, renewed));
		raw_sleep_us(100000);
		set = bit_set(tree2, renewed);
		CU_ASSERT_TRUE(set || vidas_now_us() - granted_us >= VIDAS_SHM_LEASE_US);
	} while (bit_set(tree2, inode) && vidas_now_us() < end_us);
	return vidas_now_us();
}

/* What is not cached any more costs who changes it nothing. */
static void test_run_out(void)
{
	unsigned recalls = told2.recalls;
	int64_t start_us;
	uint64_t messages;

	/* As long as a reply may be under way nothing runs out. */
	unsettled = true;
	CU_ASSERT_TRUE(vidas_tree_cache_names(tree2, 250));
	raw_sleep_us(VIDAS_SHM_LEASE_US + 2500000);
	CU_ASSERT_TRUE(bit_set(tree2, 250));
	start_us = vidas_now_us();
	unsettled = false;
	CU_ASSERT_TRUE(vidas_tree_cache_attrs(tree2, 251));
	CU_ASSERT_TRUE(wait_out(251, 252) - start_us >= VIDAS_SHM_LEASE_US);
	CU_ASSERT_FALSE(bit_set(tree2, 251));
	CU_ASSERT_FALSE(bit_set(tree2, 250));
	messages = vidas_messages(one);
	vidas_tree_changed(tree1, 250, VIDAS_WIRE_RECALL_NAMES);
	vidas_tree_changed(tree1, 251, VIDAS_WIRE_RECALL_ATTRS);
	CU_ASSERT_EQUAL(vidas_messages(one), messages);
	CU_ASSERT_EQUAL(told2.recalls, recalls);
	CU_ASSERT_TRUE(vidas_tree_cache_names(tree2, 251));
	vidas_tree_changed(tree1, 251, VIDAS_WIRE_RECALL_NAMES);
	CU_ASSERT_EQUAL(told2.recalls, recalls + 1);
	CU_ASSERT_EQUAL(told2.inode, 251);
}

static void *change_300(void *arg)
{
	(void)arg;
	vidas_tree_changed(tree3, 300, VIDAS_WIRE_RECALL_ATTRS);
	return NULL;
}

/* Two change the same at once: neither is acknowledged before the holder has dropped it. */
static void test_slow_holder(void)
{
	int64_t before = vidas_now_us();
	unsigned recalls = told2.recalls;
	pthread_t t;

	told2.slow_us = 200000;
	CU_ASSERT_TRUE(vidas_tree_cache_attrs(tree2, 300));
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, change_300, NULL), 0);
	raw_sleep_us(50000);
	vidas_tree_changed(tree1, 300, VIDAS_WIRE_RECALL_ATTRS);
	CU_ASSERT_TRUE(told2.recalls > recalls);
	CU_ASSERT_TRUE(vidas_now_us() - before >= 200000);
	pthread_join(t, NULL);
	told2.slow_us = 0;
}

static void test_containers(void)
{
	const vidas_domain_id both[] = { 2 };
	unsigned before = told2.containers;

	CU_ASSERT_EQUAL(vidas_container_create(one, "new", both, 1), 0);
	CU_ASSERT_TRUE(becomes(&told2.containers, before + 1));
	CU_ASSERT_EQUAL(vidas_container_destroy(one, "new"), 0);
	CU_ASSERT_TRUE(becomes(&told2.containers, before + 2));
}

/* Restarts -------------------------------------------------------------------------------------- */

static void kill_host(void)
{
	CU_ASSERT_EQUAL(raw_stop(&host, SIGKILL), -SIGKILL);
}

static void *start_later(void *arg)
{
	(void)arg;
	raw_sleep_us(300000);
	raw_start(&host, NULL);
	return NULL;
}

static int nothing(const char *name, void *arg)
{
	(void)name;
	(void)arg;
	return 0;
}

/* vidasd is killed and away for a while; calls wait, and everything goes on. */
static void test_restart(void)
{
	struct vidas_object *a = api_create(one, "con", "obj", 4096, 8192), *b, *c;
	uint32_t session1 = one->session, session2 = two->session;
	unsigned recalls = told2.recalls, lists = told2.containers;
	char buf[32] = "";
	pthread_t t;

	b = api_join(two, "con", "obj", 4096, 8192);
	CU_ASSERT_EQUAL(vidas_object_write(a, "before", 0, 6), 6);
	CU_ASSERT_EQUAL(vidas_object_setattr(a, "k", "v", 1), 0);
	CU_ASSERT_EQUAL(vidas_object_notify(a, "msg", 3, 0), 0);
	vidas_tree_write_begin(tree1, 400);
	CU_ASSERT_TRUE(vidas_tree_cache_names(tree2, 500));
	kill_host();
	/* Memory needs no vidasd. */
	CU_ASSERT_EQUAL(vidas_object_write(a, "while!", 0, 6), 6);
	CU_ASSERT_EQUAL(vidas_object_wait(b, buf, sizeof(buf), 0), 3);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, start_later, NULL), 0);
	CU_ASSERT_EQUAL(vidas_container_list(one, nothing, NULL), 0);
	CU_ASSERT_EQUAL(vidas_container_list(two, nothing, NULL), 0);
	pthread_join(t, NULL);
	CU_ASSERT_EQUAL(one->session, session1);
	CU_ASSERT_EQUAL(two->session, session2);
	CU_ASSERT_EQUAL(vidas_object_read(b, buf, 0, 6), 6);
	CU_ASSERT_EQUAL(memcmp(buf, "while!", 6), 0);
	CU_ASSERT_EQUAL(vidas_object_getattr(b, "k", buf, 1), 1);
	c = api_join(three, "con", "obj", 4096, 8192);
	CU_ASSERT_EQUAL(vidas_object_data(c) != NULL && *(char *)vidas_object_data(c), 1);
	CU_ASSERT_EQUAL(*(char *)vidas_object_data(c), 'w');
	CU_ASSERT_EQUAL(vidas_object_flush(a), 0);
	/* What was cached was dropped; caching and recalls go on. */
	CU_ASSERT_TRUE(becomes(&told2.recalls, recalls + 1));
	CU_ASSERT_TRUE(becomes(&told2.containers, lists + 1));
	for (int i = 0; i < 500 && !vidas_tree_cache_names(tree2, 600); i++)
		raw_sleep_us(10000);
	recalls = told2.recalls;
	vidas_tree_changed(tree1, 600, VIDAS_WIRE_RECALL_NAMES);
	CU_ASSERT_EQUAL(told2.recalls, recalls + 1);
	CU_ASSERT_FALSE(vidas_tree_cache_attrs(tree2, 400));
	vidas_tree_write_end(tree1, 400);
	CU_ASSERT_TRUE(vidas_tree_cache_attrs(tree2, 400));
	CU_ASSERT_EQUAL(vidas_object_leave(c), 0);
	CU_ASSERT_EQUAL(vidas_object_leave(b), 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(a), 0);
	CU_ASSERT_EQUAL(faccessat(vidas_tree_fd(tree2), "file", F_OK, 0), 0);
}

/* An idle session is back by itself, before its locks and objects are given up. */
static void test_idle_session(void)
{
	struct vidas_object *a = api_create(one, "con", "idle", 0, 100), *b;
	uint32_t session = one->session;

	kill_host();
	raw_start(&host, NULL);
	raw_sleep_us(4500000); /* longer than vidasd waits for sessions of before */
	CU_ASSERT_EQUAL(one->session, session);
	/* Destroyed in the restart test: nobody of before has come back for it. */
	CU_ASSERT_EQUAL(vidas_object_join(two, "con", "obj", 4096, 8192, 0, &b), -ENOENT);
	CU_ASSERT_EQUAL(vidas_object_create(two, "con", "idle", 0, 100, &b), -EEXIST);
	b = api_join(two, "con", "idle", 0, 100);
	CU_ASSERT_EQUAL(vidas_object_leave(b), 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(a), 0);
}

static void *busy(void *arg)
{
	struct vidas *v = arg;
	struct vidas_object *o;
	char name[32];

	snprintf(name, sizeof(name), "busy-%lx", (unsigned long)pthread_self());
	for (int i = 0; i < 60; i++) {
		if (vidas_object_create(v, "con", name, 0, 4096, &o) < 0)
			return "create";
		if (vidas_object_write(o, name, 0, sizeof(name)) < 0)
			return "write";
		if (i % 2 ? vidas_object_destroy(o) : vidas_object_leave(o) < 0)
			return "leave";
		if (i % 2)
			continue;
		if (vidas_object_join(v, "con", name, 0, 4096, 0, &o) < 0)
			return "join";
		if (vidas_object_destroy(o) < 0)
			return "destroy";
	}
	return NULL;
}

/* More threads than lanes, while vidasd is killed again and again: no call fails. */
static void test_storm(void)
{
	pthread_t t[24];

	for (int i = 0; i < 24; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, busy, i % 2 ? one : two), 0);
	for (int i = 0; i < 4; i++) {
		raw_sleep_us(20000);
		kill_host();
		raw_start(&host, NULL);
	}
	for (int i = 0; i < 24; i++) {
		void *failed;

		pthread_join(t[i], &failed);
		CU_ASSERT_PTR_NULL(failed);
		if (failed)
			printf("a thread failed at %s\n", (const char *)failed);
	}
}

static void test_timeout(void)
{
	struct vidas *v, *patient = api_connect(&host, 1);
	struct vidas_object *o, *left;
	int64_t before;
	char c = 'x';

	setenv("VIDAS_TIMEOUT", "0.7", 1);
	v = api_connect(&host, 1);
	unsetenv("VIDAS_TIMEOUT");
	CU_ASSERT_EQUAL(vidas_container_attach(v, "con"), 0);
	o = api_create(v, "con", "timeout", 0, 100);
	CU_ASSERT_EQUAL(vidas_container_attach(patient, "con"), 0);
	left = api_create(patient, "con", "left", 0, 100);
	CU_ASSERT_EQUAL(vidas_object_write(left, &c, 0, 1), 1);
	kill_host();
	before = vidas_now_us();
	CU_ASSERT_EQUAL(vidas_object_flush(o), -ETIMEDOUT);
	CU_ASSERT_TRUE(vidas_now_us() - before > 500000);
	CU_ASSERT_TRUE(vidas_now_us() - before < VIDAS_TIMEOUT_US / 2);
	CU_ASSERT_TRUE(strlen(vidas_error_text()) > 10);
	CU_ASSERT_EQUAL(vidas_object_write(o, &c, 0, 1), 1);
	vidas_close(v);
	/* An end waits for nobody. */
	before = vidas_now_us();
	vidas_close(patient);
	CU_ASSERT_TRUE(vidas_now_us() - before < VIDAS_TIMEOUT_US / 2);
	raw_start(&host, NULL);
}

static void finish(void)
{
	CU_ASSERT_EQUAL(vidas_tree_leave(tree3), 0);
	CU_ASSERT_EQUAL(vidas_tree_leave(tree2), 0);
	vidas_close(three);
	vidas_close(two);
	vidas_close(one); /* with its tree */
	CU_ASSERT_EQUAL(raw_stop(&host, SIGTERM), 0);
	raw_finish(&host);
}

UNIT_MAIN("libvidas: trees, leases, restarts", { "begin", begin },
	  { "events at once", test_events_at_once }, { "tree", test_tree },
	  { "attributes", test_attrs }, { "recall", test_recall }, { "bucket", test_bucket },
	  { "writers", test_writers }, { "run out", test_run_out },
	  { "slow holder", test_slow_holder }, { "containers", test_containers },
	  { "restart", test_restart }, { "idle session", test_idle_session },
	  { "storm", test_storm }, { "timeout", test_timeout }, { "finish", finish })
