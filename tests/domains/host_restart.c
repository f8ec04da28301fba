/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What survives a kill of vidasd, and how clients come back.
 * vidas-presets: release asan
 */
#include "unit.h"
#include "raw.h"

#include <sys/mman.h>
#include <vidas/shm.h>

#include "pool/host/limits.h"

static struct raw_host host;
static struct raw *one, *two;
static uint32_t session_one, session_two;
static struct vidas_shm_leases *leases;
static int slot_one, slot_two;

/* A file of the pool, as its owner sees it. */
static const char *in_pool(const char *rest)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/pool/%s", host.run, rest);
	return path;
}

static struct raw *resume(uint32_t domain, uint32_t session)
{
	struct vidas_wire_hello hello = { .session = session, .flags = VIDAS_WIRE_HELLO_RESUME };
	struct raw *r = calloc(1, sizeof(*r));

	CU_ASSERT_EQUAL_FATAL(raw_hello(&host, domain, hello, r), 0);
	CU_ASSERT_EQUAL(r->session, session);
	return r;
}

static uint32_t is_alive(struct raw *r, uint32_t session)
{
	struct vidas_wire_session_alive body = { .session = session };

	CU_ASSERT_EQUAL(raw_call(r, VIDAS_WIRE_SESSION_ALIVE, &body, NULL), 0);
	return ((const struct vidas_wire_session_alive_reply *)r->reply.body)->alive;
}

static void write_at(int fd, const char *text)
{
	CU_ASSERT_EQUAL(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
}

static void begin(void)
{
	struct raw *admin;
	int64_t c, o;
	int fd;

	raw_prepare(&host, "restart");
	raw_start(&host, NULL);
	admin = raw_open(&host, 0);
	CU_ASSERT_EQUAL(raw_domain_add(admin, 1), 0);
	CU_ASSERT_EQUAL(raw_domain_add(admin, 2), 0);
	raw_close(admin);
	one = raw_open(&host, 1);
	two = raw_open(&host, 2);
	session_one = one->session;
	session_two = two->session;
	CU_ASSERT_EQUAL(raw_container_create(one, "keep", 2, VIDAS_WIRE_RW, ""), 0);
	CU_ASSERT_EQUAL(raw_container_create(one, "spoilt", 2, VIDAS_WIRE_RW, ""), 0);
	c = raw_attach(one, "keep", 0);
	slot_one = raw_slot(one);
	leases = mmap(NULL, sizeof(*leases), PROT_READ | PROT_WRITE, MAP_SHARED, one->share[0].fd,
		      0);
	CU_ASSERT_TRUE_FATAL(leases != MAP_FAILED);
	CU_ASSERT_TRUE(raw_object_create(one, c, "joined", 0, 4096) >= 0);
	write_at(one->share[0].fd, "kept");
	o = raw_object_create(one, c, "mail", 0, 4096);
	CU_ASSERT_EQUAL(
		pwrite(one->share[1].fd, &(uint64_t){ 24 }, 8,
		       (off_t)(VIDAS_SHM_SLOT_OFFSET(0) + offsetof(struct vidas_shm_object, tail))),
		8);
	CU_ASSERT_EQUAL(raw_object_destroy(one, o), 0);
	o = raw_object_create(one, c, "unlinked", 0, 4096);
	CU_ASSERT_EQUAL(raw_object_leave(one, o), 0);
	raw_attach(two, "keep", 0);
	slot_two = raw_slot(two);
	CU_ASSERT_TRUE(slot_one >= 0 && slot_two >= 0 && slot_one != slot_two);
	atomic_store(&leases->bucket[7].cached,
		     (UINT64_C(1) << slot_one) | (UINT64_C(1) << slot_two));
	CU_ASSERT_EQUAL(raw_stop(&host, SIGKILL), -SIGKILL);
	CU_ASSERT_EQUAL(raw_recv(one, RAW_WAIT_US), 0);

	/* What a domain, or an accident, could leave behind. */
	CU_ASSERT_EQUAL(unlink(in_pool("containers/keep/tree/unlinked")), 0);
	fd = open(in_pool("containers/keep/control/4711"), O_WRONLY | O_CREAT, 0600);
	write_at(fd, "no control file");
	close(fd);
	fd = open(in_pool("containers/spoilt/meta"), O_WRONLY | O_TRUNC, 0600);
	write_at(fd, "{");
	close(fd);
	CU_ASSERT_EQUAL(mkdir(in_pool("trash/new-half"), 0700), 0);
	CU_ASSERT_EQUAL(mkdir(in_pool("trash/new-half/tree"), 0700), 0);
}

static int64_t started_us; /* a little before vidasd did, and with it grace */

static void test_resume(void)
{
	struct vidas_wire_container_attach attach = { .slot = slot_one };
	struct vidas_wire_object_create create = { .size = 4096 };
	int64_t c, c2;
	char text[4] = "";

	raw_close(one);
	started_us = vidas_now_us();
	raw_start(&host, NULL);
	one = resume(1, session_one);
	CU_ASSERT_EQUAL(is_alive(one, session_two), 1); /* it may come back yet */
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_CONTAINER_ATTACH, &attach, "keep"), 0);
	CU_ASSERT_EQUAL(raw_slot(one), slot_one);
	c = ((const struct vidas_wire_container_attach_reply *)one->reply.body)->container;
	/* A create sent again finds its work done; another's does not. */
	create.container = (uint32_t)c;
	CU_ASSERT_EQUAL(raw_object_create(one, c, "joined", 0, 4096), -EEXIST);
	CU_ASSERT_EQUAL(raw_retry(one, VIDAS_WIRE_OBJECT_CREATE, &create, "joined"), 0);
	CU_ASSERT_EQUAL(pread(one->share[0].fd, text, 4, 0), 4);
	CU_ASSERT_EQUAL(memcmp(text, "kept", 4), 0);
	CU_ASSERT_TRUE(raw_object_join(one, c, "joined", 0, 4096, 0) >= 0);
	CU_ASSERT_EQUAL(raw_retry(one, VIDAS_WIRE_CONTAINER_CREATE,
				  &(struct vidas_wire_container_create){ 0 }, "keep"),
			0);
	CU_ASSERT_EQUAL(raw_container_create(one, "keep", 0, 0, ""), -EEXIST);
	CU_ASSERT_EQUAL(raw_container_create(one, "spoilt", 0, 0, ""), -EEXIST);
	CU_ASSERT_EQUAL(raw_attach(one, "spoilt", 0), -ENOENT);
	/* The destroyed object with a notification in it is still there to be read. */
	raw_close(two);
	two = raw_open(&host, 2);
	CU_ASSERT_NOT_EQUAL(two->session, session_two);
	c2 = raw_attach(two, "keep", 0);
	CU_ASSERT_TRUE(raw_slot(two) != slot_one && raw_slot(two) != slot_two);
	CU_ASSERT_TRUE(raw_object_join(two, c2, "mail", 0, 4096, 0) >= 0);
	CU_ASSERT_TRUE(raw_object_create(two, c2, "mail", 0, 4096) >= 0);
}

static void test_grace_ends(void)
{
	/* On a machine so slow that grace may be over by now, what holds in grace cannot be seen. */
	bool slow = vidas_now_us() - started_us > HOST_GRACE_US / 2;
	uint64_t both = (UINT64_C(1) << slot_one) | (UINT64_C(1) << slot_two);

	CU_ASSERT_EQUAL(access(in_pool("containers/keep/control/4711"), F_OK), -1);
	CU_ASSERT_TRUE(slow || atomic_load(&leases->bucket[7].cached) == both);
	CU_ASSERT_EQUAL(raw_container_create(two, "new", 0, 0, ""), 0);
	/* One of before waits for grace to be over, one of now does not. */
	CU_ASSERT_EQUAL(raw_container_destroy(two, "new"), 0);
	CU_ASSERT_TRUE(slow || vidas_now_us() < started_us + HOST_GRACE_US);
	CU_ASSERT_EQUAL(raw_container_destroy(one, "keep"), -EBUSY);
	CU_ASSERT_TRUE(vidas_now_us() >= started_us + HOST_GRACE_US);
	for (int64_t end_us = vidas_now_us() + RAW_WAIT_US;
	     atomic_load(&leases->bucket[7].cached) == both && vidas_now_us() < end_us;)
		raw_sleep_us(HOST_TICK_US);
	CU_ASSERT_EQUAL(is_alive(one, session_two), 0);
	CU_ASSERT_EQUAL(is_alive(one, session_one), 1);
	CU_ASSERT_EQUAL(atomic_load(&leases->bucket[7].cached), UINT64_C(1) << slot_one);
	CU_ASSERT_EQUAL(access(in_pool("trash/new-half"), F_OK), -1);
}

/* Control files are of "joined" and "mail": that of the deleted resource has gone. One that has no
 * header yet waits for the next resource. */
static void test_control_files(void)
{
	char line[64] = "";
	char command[600];
	FILE *f;

	snprintf(command, sizeof(command), "grep -l ^VIDASCTL '%s'/* | wc -l",
		 in_pool("containers/keep/control"));
	f = popen(command, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_ASSERT_PTR_NOT_NULL(fgets(line, sizeof(line), f));
	pclose(f);
	CU_ASSERT_EQUAL(atoi(line), 2);
}

static void test_stop_and_start(void)
{
	CU_ASSERT_EQUAL(raw_stop(&host, SIGTERM), 0);
	raw_start(&host, "--log-level", "debug", NULL);
	raw_close(one);
	raw_close(two);
	one = resume(1, session_one);
	two = raw_open(&host, 2);
	CU_ASSERT_TRUE(raw_attach(two, "keep", 0) >= 0);
	raw_close(two);
	two = NULL;
	CU_ASSERT_EQUAL(raw_container_destroy_in_time(one, "keep"), 0);
}

/* Who is back may cache from before still, until its lane for events is there and it has dropped it. */
static void test_recalled_on_return(void)
{
	struct vidas_wire_recall recall = { .kinds = VIDAS_WIRE_RECALL_NAMES, .inode = 42 };
	struct vidas_wire_message m = { .type = VIDAS_WIRE_RECALL, .body = &recall };
	struct vidas_wire_container_attach attach = { .slot = -1 };
	struct vidas_shm_leases *table;
	struct raw *events;

	CU_ASSERT_EQUAL(raw_container_create(one, "again", 2, VIDAS_WIRE_RW, ""), 0);
	raw_attach(one, "again", 0);
	slot_one = raw_slot(one);
	table = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED, one->share[0].fd, 0);
	CU_ASSERT_TRUE_FATAL(table != MAP_FAILED);
	two = raw_open(&host, 2);
	session_two = two->session;
	raw_attach(two, "again", 0);
	slot_two = raw_slot(two);
	atomic_store(&table->bucket[7].cached, UINT64_C(1) << slot_two);
	munmap(table, sizeof(*table));
	CU_ASSERT_EQUAL(raw_stop(&host, SIGKILL), -SIGKILL);
	raw_close(one);
	raw_close(two);
	raw_start(&host, NULL);
	one = resume(1, session_one);
	attach.slot = slot_one;
	CU_ASSERT_EQUAL(raw_call(one, VIDAS_WIRE_CONTAINER_ATTACH, &attach, "again"), 0);
	recall.container =
		(uint32_t)((const struct vidas_wire_container_attach_reply *)one->reply.body)
			->container;
	recall.slots = UINT64_C(1) << slot_two;
	raw_send(one, &m);
	CU_ASSERT_EQUAL(raw_recv(one, 200000), -ETIMEDOUT);
	two = resume(2, session_two);
	attach.slot = slot_two;
	CU_ASSERT_EQUAL(raw_call(two, VIDAS_WIRE_CONTAINER_ATTACH, &attach, "again"), 0);
	CU_ASSERT_EQUAL(raw_slot(two), slot_two);
	CU_ASSERT_EQUAL(raw_recv(one, 500000), -ETIMEDOUT);
	events = raw_open_events(&host, two);
	CU_ASSERT_EQUAL(raw_next_event(events)->kind, VIDAS_WIRE_EVENT_RECALL);
	raw_answer_event(events);
	CU_ASSERT_TRUE(raw_recv(one, RAW_WAIT_US) > 0);
	raw_close(events);
	raw_close(two);
}

static void end(void)
{
	munmap(leases, sizeof(*leases));
	raw_close(one);
	CU_ASSERT_EQUAL(raw_stop(&host, SIGINT), 0);
	raw_finish(&host);
}

UNIT_MAIN("host_restart", { "begin", begin }, { "resume", test_resume },
	  { "grace ends", test_grace_ends }, { "control files", test_control_files },
	  { "stop and start", test_stop_and_start },
	  { "recalled on return", test_recalled_on_return }, { "end", end })
