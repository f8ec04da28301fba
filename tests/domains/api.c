/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvidas between domains, over a real vidasd: what vidas.h and tree.h promise.
 * vidas-presets: release asan tsan
 */
#include "unit.h"
#include "api.h"

#include <pthread.h>

#include "pool/client/object.h"

#define SIZE 10000u

static struct raw_host host;
static struct vidas *admin, *one, *two, *three;

static void begin(void)
{
	const vidas_domain_id others[] = { 2, 2 };

	raw_prepare(&host, "api");
	raw_start(&host, NULL);
	admin = api_connect(&host, 0);
	for (vidas_domain_id d = 1; d <= 3; d++)
		CU_ASSERT_EQUAL(vidas_admin_domain_add(admin, d, 0), 0);
	CU_ASSERT_EQUAL(vidas_admin_domain_add(admin, 1, 0), -EEXIST);
	one = api_connect(&host, 1);
	two = api_connect(&host, 2);
	three = api_connect(&host, 3);
	CU_ASSERT_EQUAL(vidas_domain(admin), 0);
	CU_ASSERT_EQUAL(vidas_domain(one), 1);
	CU_ASSERT_EQUAL(vidas_domain(three), 3);
	CU_ASSERT_EQUAL(vidas_container_create(one, "con", others, 2), 0);
	CU_ASSERT_EQUAL(vidas_container_attach(two, "con"), 0);
}

static void test_open(void)
{
	struct vidas *v = NULL;

	CU_ASSERT_EQUAL(vidas_open("/nowhere/sock", &v), -ENOENT);
	CU_ASSERT_PTR_NULL(v);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_error_text(), "/nowhere/sock"));
	setenv("VIDAS_TIMEOUT", "soon", 1);
	CU_ASSERT_EQUAL(vidas_open(raw_socket(&host, 1), &v), -EINVAL);
	unsetenv("VIDAS_TIMEOUT");
	vidas_close(NULL);
}

/* Containers ------------------------------------------------------------------------------------ */

static int count_name(const char *name, void *arg)
{
	int *n = arg;

	*n += !strcmp(name, "con");
	return 0;
}

static int stop(const char *name, void *arg)
{
	(void)name;
	(void)arg;
	return 42;
}

static void test_containers(void)
{
	const vidas_domain_id many[VIDAS_DOMAINS_MAX + 1] = { 0 };
	int n = 0;

	CU_ASSERT_EQUAL(vidas_container_create(three, "con", NULL, 0), -EEXIST);
	CU_ASSERT_EQUAL(vidas_container_create(one, "a/b", NULL, 0), -EINVAL);
	CU_ASSERT_EQUAL(vidas_container_create(one, "many", many, VIDAS_DOMAINS_MAX + 1), -EINVAL);
	CU_ASSERT_EQUAL(vidas_container_attach(three, "con"), -ENOENT);
	CU_ASSERT_EQUAL(vidas_container_leave(three, "con"), -ENOTCONN);
	CU_ASSERT_EQUAL(vidas_container_destroy(three, "con"), -ENOENT);
	CU_ASSERT_EQUAL(vidas_container_destroy(two, "con"), -EPERM);
	CU_ASSERT_EQUAL(vidas_container_destroy(one, "con"), -EBUSY);
	CU_ASSERT_EQUAL(vidas_container_attach(two, "con"), 0);
	CU_ASSERT_EQUAL(vidas_container_list(two, count_name, &n), 0);
	CU_ASSERT_EQUAL(n, 1);
	CU_ASSERT_EQUAL(vidas_container_list(three, count_name, &n), 0);
	CU_ASSERT_EQUAL(n, 1);
	CU_ASSERT_EQUAL(vidas_container_list(two, stop, NULL), 42);
	CU_ASSERT_EQUAL(vidas_container_leave(two, "con"), 0);
	CU_ASSERT_EQUAL(vidas_container_leave(two, "con"), -ENOTCONN);
	CU_ASSERT_EQUAL(vidas_container_attach(two, "con"), 0);
	/* Created, left, attached, destroyed; and once more under the same name. */
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(vidas_container_create(one, "short", NULL, 0), 0);
		CU_ASSERT_EQUAL(vidas_container_leave(one, "short"), 0);
		CU_ASSERT_EQUAL(vidas_container_attach(one, "short"), 0);
		CU_ASSERT_EQUAL(vidas_container_destroy(one, "short"), 0);
		CU_ASSERT_EQUAL(vidas_container_attach(one, "short"), -ENOENT);
	}
}

/* Objects --------------------------------------------------------------------------------------- */

static void test_objects(void)
{
	struct vidas_object *a, *b, *o = NULL;
	char buf[SIZE], got[SIZE];
	int64_t before;

	memset(buf, 'x', sizeof(buf));
	CU_ASSERT_EQUAL(vidas_object_create(three, "con", "f", 0, 1, &o), -ENOTCONN);
	CU_ASSERT_EQUAL(vidas_object_join(two, "con", "dir/f", 100, SIZE, 0, &o), -ENOENT);
	before = vidas_now_us();
	CU_ASSERT_EQUAL(vidas_object_join(two, "con", "dir/f", 100, SIZE, 50000, &o), -ETIMEDOUT);
	CU_ASSERT_TRUE(vidas_now_us() - before >= 50000);
	CU_ASSERT_EQUAL(vidas_object_create(one, "con", "../f", 0, 1, &o), -EINVAL);
	CU_ASSERT_EQUAL(vidas_object_create(one, "con", "empty", 0, 0, &o), -EINVAL);
	CU_ASSERT_EQUAL(vidas_object_create(one, "con", "f", INT64_MAX, 1, &o), -EINVAL);
	CU_ASSERT_PTR_NULL(o);
	a = api_create(one, "con", "dir/f", 100, SIZE);
	CU_ASSERT_EQUAL(vidas_object_create(one, "con", "dir/f", 100, SIZE, &o), -EEXIST);
	CU_ASSERT_EQUAL(vidas_object_create(two, "con", "dir/f", 100, SIZE, &o), -EEXIST);
	b = api_join(two, "con", "dir/f", 100, SIZE);
	CU_ASSERT_EQUAL(vidas_object_size(b), SIZE);
	CU_ASSERT_EQUAL(vidas_object_write(a, buf, 0, SIZE), SIZE);
	CU_ASSERT_EQUAL(vidas_object_read(b, got, 0, SIZE + 5), SIZE);
	CU_ASSERT_EQUAL(memcmp(buf, got, SIZE), 0);
	CU_ASSERT_EQUAL(vidas_object_read(b, got, SIZE - 3, 10), 3);
	CU_ASSERT_EQUAL(vidas_object_read(b, got, SIZE, 10), 0);
	CU_ASSERT_EQUAL(vidas_object_write(b, "abc", UINT64_MAX, 3), 0);
	/* Zero-copy, both ways, and an object that overlaps. */
	((char *)vidas_object_data(b))[5] = 'B';
	CU_ASSERT_EQUAL(((char *)vidas_object_data(a))[5], 'B');
	o = api_create(two, "con", "dir/f", 105, 10);
	CU_ASSERT_EQUAL(*(char *)vidas_object_data(o), 'B');
	CU_ASSERT_EQUAL(vidas_container_leave(two, "con"), -EBUSY);
	CU_ASSERT_EQUAL(vidas_object_leave(o), 0);
	CU_ASSERT_EQUAL(vidas_object_leave(b), 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(a), 0);
	CU_ASSERT_EQUAL(vidas_object_join(two, "con", "dir/f", 100, SIZE, 0, &o), -ENOENT);
	/* The bytes stay. */
	o = api_create(two, "con", "dir/f", 0, 0);
	CU_ASSERT_EQUAL(vidas_object_size(o), 100 + SIZE);
	CU_ASSERT_EQUAL(((char *)vidas_object_data(o))[105], 'B');
	CU_ASSERT_EQUAL(((char *)vidas_object_data(o))[99], 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(o), 0);
}

static void *create_later(void *arg)
{
	(void)arg;
	raw_sleep_us(100000);
	return api_create(one, "con", "later", 0, 64);
}

static void test_join_waits(void)
{
	struct vidas_object *a = NULL, *b = NULL;
	pthread_t t;

	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, create_later, NULL), 0);
	b = api_join(two, "con", "later", 0, 64);
	pthread_join(t, (void **)&a);
	CU_ASSERT_EQUAL(vidas_object_leave(b), 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(a), 0);
}

/* The paper's Listing 1: destroyed right after notify, joined and read after that. */
static void test_destroyed_lingers(void)
{
	struct vidas_object *o = api_create(one, "con", "linger", 0, 64);
	char buf[8];

	CU_ASSERT_EQUAL(vidas_object_write(o, "content", 0, 7), 7);
	CU_ASSERT_EQUAL(vidas_object_notify(o, NULL, 0, 0), 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(o), 0);
	o = api_join(two, "con", "linger", 0, 64);
	CU_ASSERT_EQUAL(vidas_object_wait(o, buf, sizeof(buf), 1000000), 0);
	CU_ASSERT_EQUAL(vidas_object_read(o, buf, 0, 7), 7);
	CU_ASSERT_EQUAL(memcmp(buf, "content", 7), 0);
	CU_ASSERT_EQUAL(vidas_object_leave(o), 0);
	CU_ASSERT_EQUAL(vidas_object_join(two, "con", "linger", 0, 64, 0, &o), -ENOENT);
}

static void text(struct vidas_object *o, const char *name, const char *expected)
{
	char value[64] = "";
	ssize_t n = vidas_object_getattr(o, name, value, sizeof(value));

	CU_ASSERT_EQUAL(n, (ssize_t)strlen(expected));
	CU_ASSERT_STRING_EQUAL(value, expected);
}

static void test_attributes(void)
{
	struct vidas_object *a = api_create(one, "con", "attr", 8, 64), *b;
	char value[VIDAS_ATTR_VALUE_MAX + 1] = { 0 };
	uint64_t number = 0;
	void *data = NULL;

	b = api_join(two, "con", "attr", 8, 64);
	text(b, "name", "attr");
	text(b, "container", "con");
	text(b, "synchronized", "false");
	text(b, "write policy", "back");
	text(b, "read_policy", "lazy");
	CU_ASSERT_EQUAL(vidas_object_getattr(b, "offset", &number, 8), 8);
	CU_ASSERT_EQUAL(number, 8);
	CU_ASSERT_EQUAL(vidas_object_getattr(b, "size", &number, 8), 8);
	CU_ASSERT_EQUAL(number, 64);
	CU_ASSERT_EQUAL(vidas_object_getattr(b, "data", &data, sizeof(data)), sizeof(data));
	CU_ASSERT_PTR_EQUAL(data, vidas_object_data(b));
	CU_ASSERT_EQUAL(vidas_object_setattr(a, "size", "1", 1), -EPERM);
	CU_ASSERT_EQUAL(vidas_object_setattr(a, "synchronized", "maybe", 5), -EINVAL);
	CU_ASSERT_EQUAL(vidas_object_setattr(a, "synchronized", "true", 5), 0);
	text(b, "synchronized", "true");
	CU_ASSERT_EQUAL(vidas_object_setattr(a, "synchronized", "false", 5), 0);
	CU_ASSERT_EQUAL(vidas_object_getattr(b, "mine", NULL, 0), -ENODATA);
	CU_ASSERT_EQUAL(vidas_object_setattr(a, "mine", "value", 5), 0);
	CU_ASSERT_EQUAL(vidas_object_getattr(b, "mine", NULL, 0), 5);
	text(b, "mine", "value");
	CU_ASSERT_EQUAL(vidas_object_setattr(b, "", "value", 5), -EINVAL);
	CU_ASSERT_EQUAL(vidas_object_setattr(b, "long", value, sizeof(value)), -EINVAL);
	for (int i = 0; i < 3; i++)
		CU_ASSERT_EQUAL(
			vidas_object_setattr(b, (char[]){ (char)('0' + i), 0 }, value, 1024), 0);
	CU_ASSERT_EQUAL(vidas_object_setattr(b, "4", value, 1024), -ENOSPC);
	text(a, "mine", "value");
	CU_ASSERT_EQUAL(vidas_object_leave(b), 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(a), 0);
}

static void *send_hundred(void *arg)
{
	struct vidas_object *o = arg;
	char msg[1000];

	for (int i = 0; i < 100; i++) {
		memset(msg, i, sizeof(msg));
		if (vidas_object_notify(o, msg, sizeof(msg), 5000000))
			return "failed";
	}
	return NULL;
}

static void test_notify(void)
{
	struct vidas_object *a = api_create(one, "con", "ring", 0, 64), *b;
	char msg[VIDAS_MESSAGE_MAX];
	void *failed;
	pthread_t t;

	b = api_join(two, "con", "ring", 0, 64);
	CU_ASSERT_EQUAL(vidas_object_wait(b, msg, 8, 0), -EAGAIN);
	CU_ASSERT_EQUAL(vidas_object_wait(b, msg, 8, 30000), -ETIMEDOUT);
	CU_ASSERT_EQUAL(vidas_object_notify(a, msg, VIDAS_MESSAGE_MAX + 1, 0), -EMSGSIZE);
	CU_ASSERT_EQUAL(vidas_object_notify(a, "0123456789", 10, 0), 0);
	CU_ASSERT_EQUAL(vidas_object_wait(b, msg, 8, 0), -EMSGSIZE);
	CU_ASSERT_EQUAL(vidas_object_wait(b, msg, 10, 0), 10);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&t, NULL, send_hundred, a), 0);
	for (int i = 0; i < 100; i++) {
		CU_ASSERT_EQUAL(vidas_object_wait(b, msg, sizeof(msg), 5000000), 1000);
		CU_ASSERT_EQUAL(msg[0], (char)i);
		CU_ASSERT_EQUAL(msg[999], (char)i);
	}
	pthread_join(t, &failed);
	CU_ASSERT_PTR_NULL(failed);
	memset(msg, 0, sizeof(msg));
	for (int i = 0; i < 7; i++)
		CU_ASSERT_EQUAL(vidas_object_notify(b, msg, sizeof(msg), 0), 0);
	CU_ASSERT_EQUAL(vidas_object_notify(b, msg, sizeof(msg), 0), -EAGAIN);
	CU_ASSERT_EQUAL(vidas_object_notify(b, msg, sizeof(msg), 30000), -ETIMEDOUT);
	CU_ASSERT_EQUAL(vidas_object_leave(b), 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(a), 0);
}

/* Synchronized: whoever reads sees one write whole. */
struct player {
	struct vidas_object *o;
	int seed;
};

static void *play(void *arg)
{
	struct player *p = arg;
	char buf[512];

	for (int i = 0; i < 2000; i++) {
		if (i % 2) {
			memset(buf, p->seed + i, sizeof(buf));
			if (vidas_object_write(p->o, buf, 1000, sizeof(buf)) != sizeof(buf))
				return "write";
			continue;
		}
		if (vidas_object_read(p->o, buf, 1000, sizeof(buf)) != sizeof(buf))
			return "read";
		for (size_t j = 1; j < sizeof(buf); j++)
			if (buf[j] != buf[0])
				return "torn";
	}
	return NULL;
}

static void test_synchronized(void)
{
	struct player p[4] = { { api_create(one, "con", "sync", 0, 4096), 1 } };
	pthread_t t[4];

	CU_ASSERT_EQUAL(vidas_object_setattr(p[0].o, "synchronized", "true", 4), 0);
	p[1] = (struct player){ api_join(two, "con", "sync", 0, 4096), 50 };
	p[2] = (struct player){ p[0].o, 90 };
	p[3] = (struct player){ p[1].o, 130 };
	for (int i = 0; i < 4; i++)
		CU_ASSERT_EQUAL_FATAL(pthread_create(&t[i], NULL, play, &p[i]), 0);
	for (int i = 0; i < 4; i++) {
		void *wrong;

		pthread_join(t[i], &wrong);
		CU_ASSERT_PTR_NULL(wrong);
	}
	CU_ASSERT_EQUAL(vidas_object_leave(p[1].o), 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(p[0].o), 0);
}

static void test_locality(void)
{
	struct vidas_object *a = api_create(one, "con", "where", 0, 5000), *b, *c;
	struct vidas_locality l;

	CU_ASSERT_EQUAL(vidas_object_get_locality(one, "con", "nothing", &l), 0);
	CU_ASSERT_EQUAL(l.size_bytes + l.objects + l.domains, 0);
	b = api_join(two, "con", "where", 0, 5000);
	c = api_create(two, "con", "where", 10, 20);
	CU_ASSERT_EQUAL(vidas_object_get_locality(one, "con", "where", &l), 0);
	CU_ASSERT_EQUAL(l.size_bytes, 5000);
	CU_ASSERT_EQUAL(l.resident_bytes, 5000);
	CU_ASSERT_EQUAL(l.objects, 2);
	CU_ASSERT_EQUAL(l.domains, 2);
	CU_ASSERT_EQUAL(vidas_object_get_locality(three, "con", "where", &l), -ENOTCONN);
	CU_ASSERT_EQUAL(vidas_object_destroy(c), 0);
	CU_ASSERT_EQUAL(vidas_object_leave(b), 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(a), 0);
}

static void test_readonly(void)
{
	const struct vidas_admin_access list[] = { { 1, false }, { 3, true } };
	struct vidas_object *a, *b, *none = NULL;
	char buf[8];

	CU_ASSERT_EQUAL(vidas_admin_container_create(admin, "ro", list, 2, NULL), 0);
	CU_ASSERT_EQUAL(vidas_admin_container_create(one, "no", list, 0, "file:///tmp"), -EPERM);
	CU_ASSERT_EQUAL(vidas_container_attach(one, "ro"), 0);
	CU_ASSERT_EQUAL(vidas_container_attach(three, "ro"), 0);
	a = api_create(one, "ro", "f", 0, 100);
	CU_ASSERT_EQUAL(vidas_object_setattr(a, "synchronized", "true", 4), 0);
	b = api_join(three, "ro", "f", 0, 100);
	CU_ASSERT_EQUAL(vidas_object_write(a, "hello", 0, 5), 5);
	CU_ASSERT_EQUAL(vidas_object_read(b, buf, 0, 5), 5);
	CU_ASSERT_EQUAL(memcmp(buf, "hello", 5), 0);
	text(b, "synchronized", "true");
	CU_ASSERT_EQUAL(vidas_object_write(b, "x", 0, 1), -EROFS);
	CU_ASSERT_EQUAL(vidas_object_setattr(b, "x", "y", 1), -EROFS);
	CU_ASSERT_EQUAL(vidas_object_notify(b, "x", 1, 0), -EROFS);
	CU_ASSERT_EQUAL(vidas_object_wait(b, buf, 1, 0), -EROFS);
	CU_ASSERT_EQUAL(vidas_object_create(three, "ro", "g", 0, 1, &none), -EROFS);
	CU_ASSERT_EQUAL(vidas_object_leave(b), 0);
	CU_ASSERT_EQUAL(vidas_container_leave(three, "ro"), 0);
	CU_ASSERT_EQUAL(vidas_object_destroy(a), 0);
}

/* Another domain cuts the resource short: an error, no signal. */
static void test_cut(void)
{
	struct vidas_object *o = api_create(one, "con", "cut", 0, 3 * 65536);
	struct vidas_tree *t = NULL;
	struct vidas *local = NULL;
	char buf[65536] = { 0 };
	int fd;

	/* A guest's programs have no trees. */
	CU_ASSERT_EQUAL_FATAL(vidas_open(raw_local(&host, 2), &local), 0);
	CU_ASSERT_EQUAL_FATAL(vidas_tree_attach(local, "con", 0, &t), 0);
	CU_ASSERT_STRING_EQUAL(vidas_tree_name(t), "con");
	CU_ASSERT_FALSE(vidas_tree_readonly(t));
	CU_ASSERT_FALSE(vidas_tree_rooted(t));
	fd = openat(vidas_tree_fd(t), "cut", O_RDWR | O_CLOEXEC);
	CU_ASSERT_TRUE_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(vidas_object_write(o, buf, 65536, sizeof(buf)), sizeof(buf));
	CU_ASSERT_EQUAL(ftruncate(fd, 65536), 0);
	if (!raw_granted()) {
		CU_ASSERT_EQUAL(vidas_object_write(o, buf, 65536, sizeof(buf)), -EIO);
		CU_ASSERT_EQUAL(vidas_object_read(o, buf, 2 * 65536, 5), -EIO);
	}
	CU_ASSERT_EQUAL(vidas_object_read(o, buf, 0, sizeof(buf)), sizeof(buf));
	CU_ASSERT_EQUAL(ftruncate(fd, 3 * 65536), 0);
	CU_ASSERT_EQUAL(vidas_object_write(o, buf, 65536, sizeof(buf)), sizeof(buf));
	close(fd);
	CU_ASSERT_EQUAL(vidas_tree_leave(t), 0);
	vidas_close(local);
	CU_ASSERT_EQUAL(vidas_object_destroy(o), 0);
}

/* In a process of its own (see test_owner_dies): takes every lock there is, says so, and waits. */
static __attribute__((constructor)) void hold_locks(void)
{
	const char *socket = getenv("API_HOLD_LOCKS");
	struct vidas_object *o = NULL;
	struct vidas_owner me;
	struct vidas *v;

	if (!socket)
		return;
	if (vidas_open(socket, &v) || vidas_container_attach(v, "con") ||
	    vidas_object_join(v, "con", "dead", 0, 4096, 5000000, &o))
		api_die("hold locks");
	me = vidas_object_owner(o);
	if (vidas_range_take(o->resource_shm, &me, 0, 100, true) < 0 ||
	    vidas_lock_take(&o->shm->attr_lock, &me, "a test") ||
	    vidas_lock_take(&o->shm->tail_lock, &me, "a test") ||
	    vidas_lock_take(&o->shm->head_lock, &me, "a test"))
		api_die("hold locks");
	if (write(STDOUT_FILENO, "", 1) == 1)
		pause();
	_exit(1);
}

/* A process that dies with lock words in hand holds nobody up. */
static void test_owner_dies(void)
{
	struct vidas_object *o = api_create(one, "con", "dead", 0, 4096);
	int64_t before;
	pid_t pid;
	int status, ready[2];
	char c;

	CU_ASSERT_EQUAL(vidas_object_setattr(o, "synchronized", "true", 4), 0);
	CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
	setenv("API_HOLD_LOCKS", raw_socket(&host, 2), 1);
	pid = fork();
	if (!pid) {
		dup2(ready[1], STDOUT_FILENO);
		execl("/proc/self/exe", "api", NULL);
		_exit(127);
	}
	unsetenv("API_HOLD_LOCKS");
	close(ready[1]);
	CU_ASSERT_EQUAL_FATAL(read(ready[0], &c, 1), 1);
	kill(pid, SIGKILL);
	before = vidas_now_us();
	CU_ASSERT_EQUAL(vidas_object_write(o, "x", 50, 1), 1);
	CU_ASSERT_EQUAL(vidas_object_setattr(o, "x", "y", 1), 0);
	CU_ASSERT_EQUAL(vidas_object_notify(o, "x", 1, 0), 0);
	CU_ASSERT_EQUAL(vidas_object_wait(o, &c, 1, 0), 1);
	CU_ASSERT_TRUE(vidas_now_us() - before < 20 * 1000 * 1000); /* not a time-out each */
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, SIGKILL);
	close(ready[0]);
	CU_ASSERT_EQUAL(vidas_object_destroy(o), 0);
}

/* With a root ----------------------------------------------------------------------------------- */

static void put_file(const char *path, const char *content)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	CU_ASSERT_TRUE(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content));
	close(fd);
}

static void expect_file(const char *path, const char *content)
{
	char buf[64] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	CU_ASSERT_TRUE(fd >= 0 && read(fd, buf, sizeof(buf) - 1) == (ssize_t)strlen(content));
	CU_ASSERT_STRING_EQUAL(buf, content);
	close(fd);
}

static void test_rooted(void)
{
	const struct vidas_admin_access list[] = { { 1, false }, { 3, true } };
	struct vidas *local = NULL;
	struct vidas_tree *t;
	char root[300], url[400], path[400], buf[16] = "";
	struct vidas_object *o, *none;

	snprintf(root, sizeof(root), "%s/root", host.dir);
	mkdir(root, 0755);
	snprintf(url, sizeof(url), "file://%s", root);
	snprintf(path, sizeof(path), "%s/f", root);
	put_file(path, "from the store");
	CU_ASSERT_EQUAL_FATAL(vidas_admin_container_create(admin, "rooted", list, 2, url), 0);
	CU_ASSERT_EQUAL_FATAL(vidas_container_attach(one, "rooted"), 0);
	snprintf(url, sizeof(url), "file://%s/f", root);
	o = api_create(one, "rooted", url, 0, 0);
	CU_ASSERT_EQUAL(vidas_object_create(one, "rooted", "file:///elsewhere/f", 0, 0, &none),
			-EINVAL);
	CU_ASSERT_EQUAL(vidas_object_read(o, buf, 0, sizeof(buf)), 14);
	CU_ASSERT_STRING_EQUAL(buf, "from the store");
	CU_ASSERT_EQUAL(vidas_object_write(o, "FROM", 0, 4), 4);
	expect_file(path, "from the store");
	CU_ASSERT_EQUAL(vidas_object_update(o), -EBUSY);
	CU_ASSERT_EQUAL(vidas_object_flush(o), 0);
	expect_file(path, "FROM the store");
	CU_ASSERT_EQUAL(vidas_object_write(o, "more", 0, 4), 4);
	CU_ASSERT_EQUAL(vidas_object_setattr(o, "write_policy", "through", 7), 0);
	expect_file(path, "more the store");
	CU_ASSERT_EQUAL(vidas_object_write(o, "thru", 0, 4), 4);
	expect_file(path, "thru the store");
	/* What the store has is taken over once no writer may have changes. */
	CU_ASSERT_EQUAL(vidas_object_leave(o), 0);
	CU_ASSERT_EQUAL_FATAL(vidas_open(raw_local(&host, 1), &local), 0);
	CU_ASSERT_EQUAL_FATAL(vidas_tree_attach(local, "rooted", 0, &t), 0);
	CU_ASSERT_TRUE(vidas_tree_rooted(t));
	CU_ASSERT_EQUAL(vidas_tree_flush(t, "f", 0), 0);
	put_file(path, "new! the store");
	CU_ASSERT_EQUAL(vidas_tree_update(t, "f", 0), 0);
	CU_ASSERT_EQUAL(vidas_tree_leave(t), 0);
	vidas_close(local);
	CU_ASSERT_EQUAL(vidas_container_attach(three, "rooted"), 0);
	o = api_join(three, "rooted", "f", 0, 14);
	CU_ASSERT_EQUAL(vidas_object_update(o), -EROFS);
	CU_ASSERT_EQUAL(vidas_object_read(o, buf, 0, 14), 14);
	CU_ASSERT_STRING_EQUAL(buf, "new! the store");
	CU_ASSERT_EQUAL(vidas_object_leave(o), 0);
	CU_ASSERT_EQUAL(vidas_container_leave(three, "rooted"), 0);
	CU_ASSERT_EQUAL(vidas_container_destroy(admin, "rooted"), -EBUSY);
	CU_ASSERT_EQUAL(vidas_container_leave(one, "rooted"), 0);
	CU_ASSERT_EQUAL(vidas_container_destroy(admin, "rooted"), 0);
	expect_file(path, "new! the store");
}

static void finish(void)
{
	CU_ASSERT_EQUAL(vidas_container_leave(two, "con"), 0);
	vidas_close(two);
	vidas_close(three);
	CU_ASSERT_EQUAL(vidas_container_destroy(one, "con"), 0);
	vidas_close(one);
	vidas_close(admin);
	CU_ASSERT_EQUAL(raw_stop(&host, SIGTERM), 0);
	raw_finish(&host);
}

UNIT_MAIN("libvidas", { "begin", begin }, { "open", test_open }, { "containers", test_containers },
	  { "objects", test_objects }, { "join waits", test_join_waits },
	  { "destroyed, yet read", test_destroyed_lingers }, { "attributes", test_attributes },
	  { "notify and wait", test_notify }, { "synchronized", test_synchronized },
	  { "locality", test_locality }, { "read-only", test_readonly }, { "cut short", test_cut },
	  { "owner dies", test_owner_dies }, { "with a root", test_rooted }, { "finish", finish })
