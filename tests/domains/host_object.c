/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containers and objects between two domains, in raw messages to a real vidasd.
 * vidas-presets: release asan tsan
 */
#include "unit.h"
#include "raw.h"

#include <sys/mman.h>
#include <vidas/shm.h>

static struct raw_host host;
static struct raw *one, *two, *three;

static void begin(void)
{
	struct raw *admin;

	raw_prepare(&host, "object");
	raw_start(&host, NULL);
	admin = raw_open(&host, 0);
	for (uint32_t d = 1; d <= 3; d++)
		CU_ASSERT_EQUAL(raw_domain_add(admin, d), 0);
	CU_ASSERT_EQUAL(raw_domain_add(admin, 1), -EEXIST);
	raw_close(admin);
	one = raw_open(&host, 1);
	two = raw_open(&host, 2);
	three = raw_open(&host, 3);
	CU_ASSERT_EQUAL(one->domain, 1);
	CU_ASSERT_EQUAL(raw_container_create(one, "demo", 2, VIDAS_WIRE_RW, ""), 0);
}

static void test_foreign(void)
{
	struct vidas_wire_container_list list = { 0 };

	CU_ASSERT_EQUAL(raw_attach(three, "demo", 0), -ENOENT);
	CU_ASSERT_EQUAL(raw_container_destroy(three, "demo"), -ENOENT);
	CU_ASSERT_EQUAL(raw_container_destroy(two, "demo"), -EPERM);
	CU_ASSERT_EQUAL(raw_container_create(three, "demo", 0, 0, ""), -EEXIST);
	CU_ASSERT_EQUAL(raw_call(three, VIDAS_WIRE_CONTAINER_LIST, &list, NULL), 0);
	CU_ASSERT_EQUAL(three->reply.blob_bytes, 0);
	CU_ASSERT_EQUAL(raw_call(two, VIDAS_WIRE_CONTAINER_LIST, &list, NULL), 0);
	CU_ASSERT_EQUAL(two->reply.blob_bytes, 5);
	CU_ASSERT_STRING_EQUAL(two->reply.blob, "demo");
	CU_ASSERT_EQUAL(raw_container_create(one, "mine", 0, 0, "file:///tmp"), -EPERM);
	CU_ASSERT_EQUAL(raw_domain_add(one, 9), -EPERM);
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_STATUS, &(struct vidas_wire_status){ 0 }, NULL),
			-EPERM);
	/* Numbers of others mean nothing. */
	CU_ASSERT_EQUAL(raw_object_create(three, 1, "x", 0, 4096), -ENOTCONN);
	CU_ASSERT_EQUAL(raw_object_leave(three, 1), -EBADF);
}

static void test_shared_memory(void)
{
	int64_t c1 = raw_attach(one, "demo", 0), c2 = raw_attach(two, "demo", 0), o1, o2;
	uint8_t *a, *b;
	int fd1, fd2;

	CU_ASSERT_TRUE(c1 >= 0 && c2 >= 0);
	CU_ASSERT_EQUAL(raw_object_join(two, c2, "dir/x", 0, 8192, 0), -ENOENT);
	o1 = raw_object_create(one, c1, "dir/x", 0, 8192);
	CU_ASSERT_TRUE_FATAL(o1 >= 0);
	CU_ASSERT_EQUAL(one->shares, 2);
	fd1 = raw_take(one, 0);
	CU_ASSERT_EQUAL(raw_object_create(one, c1, "dir/x", 0, 8192), -EEXIST);
	CU_ASSERT_EQUAL(raw_object_create(two, c2, "dir/x", 0, 8192), -EEXIST);
	CU_ASSERT_EQUAL(raw_object_create(one, c1, "empty", 0, 0), -EINVAL);
	CU_ASSERT_EQUAL(raw_object_join(two, c2, "empty", 0, 0, 0), -ENOENT);
	o2 = raw_object_join(two, c2, "dir/x", 0, 8192, 0);
	CU_ASSERT_TRUE_FATAL(o2 >= 0);
	fd2 = raw_take(two, 0);
	a = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd1, 0);
	b = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd2, 0);
	CU_ASSERT_TRUE_FATAL(a != MAP_FAILED && b != MAP_FAILED);
	a[5000] = 77;
	CU_ASSERT_EQUAL(b[5000], 77);
	munmap(a, 8192);
	munmap(b, 8192);
	close(fd1);
	close(fd2);
	/* Another view of the same resource, and the whole of it. */
	CU_ASSERT_TRUE(raw_object_create(two, c2, "dir/x", 4096, 8192) >= 0);
	CU_ASSERT_TRUE(raw_object_create(two, c2, "dir/x", 0, 0) >= 0);
	CU_ASSERT_EQUAL(((const struct vidas_wire_object_create_reply *)two->reply.body)->size,
			12288);
	CU_ASSERT_EQUAL(raw_container_leave(one, c1), -EBUSY);
	CU_ASSERT_EQUAL(raw_object_leave(one, o1), 0);
	CU_ASSERT_EQUAL(raw_object_leave(one, o1), -EBADF);
	CU_ASSERT_EQUAL(raw_container_leave(one, c1), 0);
	CU_ASSERT_EQUAL(raw_container_leave(one, c1), -ENOTCONN);
	CU_ASSERT_EQUAL(raw_container_destroy(one, "demo"), -EBUSY);
}

/* The control page of an object is initialised, and the notification in it keeps it. */
static void test_lingers(void)
{
	int64_t c1 = raw_attach(one, "demo", 0), c2, o;
	struct vidas_shm_object *slot;
	int control;

	c2 = raw_attach(two, "demo", 0);
	o = raw_object_create(one, c1, "mail", 0, 4096);
	CU_ASSERT_TRUE_FATAL(o >= 0);
	control = raw_take(one, 1);
	slot = mmap(NULL, sizeof(*slot), PROT_READ | PROT_WRITE, MAP_SHARED, control,
		    VIDAS_SHM_SLOT_OFFSET(0));
	CU_ASSERT_TRUE_FATAL(slot != MAP_FAILED);
	CU_ASSERT_EQUAL(atomic_load(&slot->state), VIDAS_SHM_OBJECT_LIVE);
	CU_ASSERT_EQUAL(slot->size, 4096);
	CU_ASSERT_EQUAL(slot->creator, one->session);
	atomic_store(&slot->tail, 16);
	CU_ASSERT_EQUAL(raw_object_destroy(one, o), 0);
	CU_ASSERT_EQUAL(atomic_load(&slot->state), VIDAS_SHM_OBJECT_DESTROYED);
	o = raw_object_join(two, c2, "mail", 0, 4096, 0);
	CU_ASSERT_TRUE(o >= 0);
	atomic_store(&slot->head, 16);
	CU_ASSERT_EQUAL(raw_object_leave(two, o), 0);
	CU_ASSERT_EQUAL(raw_object_join(two, c2, "mail", 0, 4096, 0), -ENOENT);
	/* Cutting the control file under vidasd harms nobody. */
	o = raw_object_create(one, c1, "mail", 0, 4096);
	CU_ASSERT_TRUE(o >= 0);
	CU_ASSERT_EQUAL(ftruncate(one->share[1].fd, 0), 0);
	CU_ASSERT_EQUAL(raw_object_destroy(one, o), 0);
	CU_ASSERT_EQUAL(raw_object_join(two, c2, "mail", 0, 4096, 0), -ENOENT);
	munmap(slot, sizeof(*slot));
	close(control);
}

static void test_join_waits(void)
{
	int64_t c1 = raw_attach(one, "demo", 0), c2 = raw_attach(two, "demo", 0);
	struct vidas_wire_object_join body = { .container = (uint32_t)c2,
					       .size = 4096,
					       .timeout_us = 5000000 };
	struct vidas_wire_message m = { .type = VIDAS_WIRE_OBJECT_JOIN,
					.body = &body,
					.string = { "later" } };
	int64_t start = vidas_now_us();

	CU_ASSERT_EQUAL(raw_object_join(two, c2, "later", 0, 4096, 200000), -ETIMEDOUT);
	CU_ASSERT_TRUE(vidas_now_us() - start >= 200000);
	raw_send(two, &m);
	raw_sleep_us(100000);
	CU_ASSERT_TRUE(raw_object_create(one, c1, "later", 0, 4096) >= 0);
	CU_ASSERT_TRUE(raw_recv(two, RAW_WAIT_US) > 0);
	CU_ASSERT_EQUAL(two->reply.status, 0);
	CU_ASSERT_EQUAL(two->shares, 2);
}

static void test_readonly(void)
{
	int64_t c, o;
	int fd, tree;

	CU_ASSERT_EQUAL(raw_container_create(one, "paper", 2, VIDAS_WIRE_RO, ""), 0);
	c = raw_attach(one, "paper", 0);
	CU_ASSERT_TRUE(raw_object_create(one, c, "text", 0, 4096) >= 0);
	c = raw_attach(two, "paper", VIDAS_WIRE_ATTACH_TREE);
	CU_ASSERT_TRUE_FATAL(c >= 0);
	CU_ASSERT_EQUAL(((const struct vidas_wire_container_attach_reply *)two->reply.body)->slot,
			-1);
	CU_ASSERT_EQUAL(two->shares, 2);
	CU_ASSERT_TRUE(ftruncate(two->share[0].fd, 0) < 0);
	tree = openat(two->share[1].fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CU_ASSERT_TRUE(tree >= 0);
	CU_ASSERT_TRUE(openat(tree, "new", O_WRONLY | O_CREAT, 0644) < 0 && errno == EROFS);
	fd = openat(tree, "text", O_RDONLY);
	CU_ASSERT_TRUE(fd >= 0);
	close(fd);
	close(tree);
	CU_ASSERT_EQUAL(raw_object_create(two, c, "text", 0, 100), -EROFS);
	o = raw_object_join(two, c, "text", 0, 4096, 0);
	CU_ASSERT_TRUE_FATAL(o >= 0);
	for (unsigned i = 0; i < 2; i++)
		CU_ASSERT_EQUAL(fcntl(two->share[i].fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	CU_ASSERT_EQUAL(raw_object_destroy(two, o), -EROFS);
	CU_ASSERT_TRUE(raw_object_join(two, c, "text", 0, 4096, 0) >= 0);
}

/* Links that a domain plants lead nowhere, and what is no file is no resource. */
static void test_planted(void)
{
	int64_t c = raw_attach(one, "demo", VIDAS_WIRE_ATTACH_TREE);
	int tree;

	CU_ASSERT_TRUE_FATAL(c >= 0 && one->shares == 2);
	tree = openat(one->share[1].fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CU_ASSERT_TRUE_FATAL(tree >= 0);
	CU_ASSERT_EQUAL(symlinkat("/etc/passwd", tree, "link"), 0);
	CU_ASSERT_EQUAL(symlinkat("/etc", tree, "etc"), 0);
	CU_ASSERT_EQUAL(mkfifoat(tree, "fifo", 0666), 0);
	CU_ASSERT_EQUAL(mknodat(tree, "null", S_IFCHR | 0666, 0x103), 0);
	CU_ASSERT_EQUAL(raw_object_create(one, c, "link", 0, 4096), -EINVAL);
	CU_ASSERT_EQUAL(raw_object_create(one, c, "etc/vidas", 0, 4096), -EINVAL);
	CU_ASSERT_EQUAL(raw_object_create(one, c, "fifo", 0, 4096), -EINVAL);
	CU_ASSERT_EQUAL(raw_object_create(one, c, "null", 0, 4096), -EACCES);
	CU_ASSERT_EQUAL(raw_object_create(one, c, "dir", 0, 4096), -EISDIR);
	close(tree);
}

static void test_attributes(void)
{
	int64_t c = raw_attach(one, "demo", 0), c2;
	struct vidas_wire_attr_get get = { .container = (uint32_t)c };
	struct vidas_wire_attr_set set = { .container = (uint32_t)c };
	struct vidas_wire_message m = { .type = VIDAS_WIRE_ATTR_SET,
					.body = &set,
					.string = { "", "domains" },
					.blob = "2,3:ro",
					.blob_bytes = 6 };

	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_ATTR_GET, &get, "", "domains"), 0);
	CU_ASSERT_TRUE(one->reply.blob_bytes == 1 && memcmp(one->reply.blob, "2", 1) == 0);
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_ATTR_GET, &get, "", "initiator"), 0);
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_ATTR_GET, &get, "", "root"), -ENODATA);
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_ATTR_GET, &get, "dir/x", "locality"), 0);
	CU_ASSERT_TRUE(one->reply.blob_bytes > 8 && memcmp(one->reply.blob, "resident", 8) == 0);
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_ATTR_GET, &get, "nowhere", "locality"), -ENOENT);
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_ATTR_GET, &get, "dir/x", "state"), 0);
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_ATTR_GET, &get, "dir/x", "domains"), -ENODATA);
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_ATTR_GET, &get, "dir/x", "nonsense"), -ENODATA);
	CU_ASSERT_EQUAL(raw_call_message(one, &m), 0);
	c2 = raw_attach(three, "demo", 0);
	CU_ASSERT_TRUE(c2 >= 0);
	set.container = (uint32_t)c2;
	CU_ASSERT_EQUAL(raw_call_message(three, &m), -EPERM);
	set.container = (uint32_t)c;
	m.blob = "2,2";
	m.blob_bytes = 3;
	CU_ASSERT_EQUAL(raw_call_message(one, &m), -EINVAL);
	m.blob = "2";
	m.blob_bytes = 1;
	CU_ASSERT_EQUAL(raw_call_message(one, &m), 0);
	/* Taken off the list: the container is gone for it, under its number too. */
	CU_ASSERT_EQUAL(raw_object_join(three, c2, "dir/x", 0, 4096, 0), -ENOENT);
	CU_ASSERT_EQUAL(raw_attach(three, "demo", 0), -ENOENT);
	m.string[1] = "locality";
	CU_ASSERT_EQUAL(raw_call_message(one, &m), -EPERM);
}

/* A client that dies leaves everything within a second, even in the middle of a request. */
static void test_death(void)
{
	struct raw *r = raw_open(&host, 2);
	int64_t c = raw_attach(r, "demo", 0);
	struct vidas_wire_object_join body = { .container = (uint32_t)c,
					       .size = 4096,
					       .timeout_us = VIDAS_WIRE_WAIT_MAX_US };
	struct vidas_wire_message m = { .type = VIDAS_WIRE_OBJECT_JOIN,
					.body = &body,
					.string = { "never" } };
	struct vidas_wire_session_alive alive = { .session = r->session };
	int64_t end = vidas_now_us() + VIDAS_WIRE_WAIT_MAX_US / 2; /* long before the join ends */
	bool ended = false;

	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_SESSION_ALIVE, &alive, NULL), 0);
	CU_ASSERT_EQUAL(((const struct vidas_wire_session_alive_reply *)one->reply.body)->alive, 1);
	raw_send(r, &m);
	raw_sleep_us(50000);
	raw_close(r);
	while (!ended && vidas_now_us() < end) {
		CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_SESSION_ALIVE, &alive, NULL), 0);
		ended = !((const struct vidas_wire_session_alive_reply *)one->reply.body)->alive;
		raw_sleep_us(20000);
	}
	CU_ASSERT_TRUE(ended);
}

static void test_destroy(void)
{
	int64_t c = raw_attach(one, "paper", 0);

	CU_ASSERT_EQUAL(raw_container_destroy(one, "paper"), -EBUSY);
	raw_close(two);
	two = raw_open(&host, 2);
	CU_ASSERT_EQUAL(raw_container_destroy_in_time(one, "paper"), 0);
	CU_ASSERT_EQUAL(raw_container_destroy(one, "paper"), -ENOENT);
	CU_ASSERT_EQUAL(raw_retry(one, VIDAS_WIRE_CONTAINER_DESTROY,
				  &(struct vidas_wire_container_destroy){ 0 }, "paper"),
			0);
	CU_ASSERT_EQUAL(raw_object_create(one, c, "text", 0, 4096), -ENOENT);
	CU_ASSERT_EQUAL(raw_container_create(one, "paper", 0, 0, ""), 0);
	CU_ASSERT_EQUAL(raw_container_create(one, "paper", 0, 0, ""), -EEXIST);
	CU_ASSERT_EQUAL(raw_retry(one, VIDAS_WIRE_CONTAINER_CREATE,
				  &(struct vidas_wire_container_create){ 0 }, "paper"),
			0);
}

static void end(void)
{
	raw_close(one);
	raw_close(two);
	raw_close(three);
	CU_ASSERT_EQUAL(raw_stop(&host, SIGTERM), 0);
	raw_finish(&host);
}

UNIT_MAIN("host_object", { "begin", begin }, { "foreign", test_foreign },
	  { "shared memory", test_shared_memory }, { "lingers", test_lingers },
	  { "join waits", test_join_waits }, { "readonly", test_readonly },
	  { "planted", test_planted }, { "attributes", test_attributes }, { "death", test_death },
	  { "destroy", test_destroy }, { "end", end })
