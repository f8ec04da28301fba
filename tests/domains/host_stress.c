/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clients that do everything at once, in random order, and are killed at random moments: vidasd must
 * neither die nor hang, and nothing of theirs may stay.
 * vidas-presets: release asan tsan
 */
#include "unit.h"
#include "raw.h"

#include <pthread.h>

#define CLIENTS	   6
#define SECONDS	   4
#define CONTAINERS 3
#define HELD	   8

static struct raw_host host;

/* One client ----------------------------------------------------------------------------------- */

struct client {
	struct raw *r;
	unsigned seed;
	int64_t container[CONTAINERS]; /* < 0: not attached */
	int64_t object[HELD];
};

static unsigned pick(struct client *c, unsigned n)
{
	return (unsigned)rand_r(&c->seed) % n;
}

static const char *container_name(unsigned i)
{
	static const char *const names[CONTAINERS] = { "red", "green", "blue" };

	return names[i];
}

static void *answer_events(void *arg)
{
	struct raw *e = arg;

	while (raw_recv(e, VIDAS_FOREVER) > 0) {
		struct vidas_wire_message m = vidas_wire_reply(&e->reply, 0);
		int size = vidas_wire_encode(e->out, &m);

		if (size < 0 ||
		    vidas_channel_send(e->channel, e->out, (size_t)size, NULL, 0, RAW_WAIT_US) < 0)
			break;
	}
	return NULL;
}

static void start_events(struct client *c)
{
	struct vidas_wire_hello hello = { .session = c->r->session,
					  .token = c->r->token,
					  .flags = VIDAS_WIRE_HELLO_EVENTS };
	struct raw *e = calloc(1, sizeof(*e));
	pthread_t thread;

	if (raw_hello(&host, c->r->domain, hello, e) < 0 ||
	    pthread_create(&thread, NULL, answer_events, e) != 0)
		_exit(3);
}

static int set_domains(struct client *c, int64_t container)
{
	struct vidas_wire_attr_set body = { .container = (uint32_t)container };
	struct vidas_wire_message m = { .type = VIDAS_WIRE_ATTR_SET,
					.body = &body,
					.string = { "", "domains" },
					.blob = pick(c, 4) ? "1,2,3" : "1,2:ro",
					.blob_bytes = 0 };

	m.blob_bytes = strlen(m.blob);
	return raw_call_message(c->r, &m);
}

static int recall(struct client *c, int64_t container)
{
	struct vidas_wire_recall body = { .container = (uint32_t)container,
					  .kinds = VIDAS_WIRE_RECALL_ATTRS,
					  .inode = 1,
					  .slots = ((uint64_t)pick(c, 65536) << 16) |
						   pick(c, 65536) };

	return raw_call(c->r, VIDAS_WIRE_RECALL, &body, NULL);
}

static void attach(struct client *c, unsigned i)
{
	int64_t number =
		raw_attach(c->r, container_name(i), pick(c, 2) ? VIDAS_WIRE_ATTACH_TREE : 0);

	if (number >= 0)
		c->container[i] = number;
}

static void create_or_join(struct client *c, unsigned i)
{
	unsigned held = pick(c, HELD);
	uint64_t size = 4096u * (1 + pick(c, 3));
	char path[32];
	int64_t o;

	if (c->object[held] >= 0)
		return;
	snprintf(path, sizeof(path), "%s%u", pick(c, 3) ? "" : "dir/", pick(c, 4));
	if (pick(c, 2))
		o = raw_object_create(c->r, c->container[i], path, 0, size);
	else
		o = raw_object_join(c->r, c->container[i], path, 0, size, pick(c, 3) * 5000);
	if (o >= 0)
		c->object[held] = o;
}

static void leave_or_destroy(struct client *c)
{
	unsigned held = pick(c, HELD);

	if (c->object[held] < 0)
		return;
	if (pick(c, 2))
		raw_object_leave(c->r, c->object[held]);
	else
		raw_object_destroy(c->r, c->object[held]);
	c->object[held] = -1;
}

static void step(struct client *c)
{
	unsigned i = pick(c, CONTAINERS);
	struct vidas_wire_container_list list = { 0 };

	switch (pick(c, 24)) {
	case 0:
		raw_container_create(c->r, container_name(i), 1 + pick(c, 3), VIDAS_WIRE_RW, "");
		break;
	case 1:
		if (!pick(c, 4))
			raw_container_destroy(c->r, container_name(i));
		break;
	case 2:
		if (raw_container_leave(c->r, c->container[i]) == 0)
			c->container[i] = -1;
		break;
	case 3:
		set_domains(c, c->container[i]);
		break;
	case 4:
		raw_call(c->r, VIDAS_WIRE_CONTAINER_LIST, &list, NULL);
		break;
	case 5:
		recall(c, c->container[i]);
		break;
	case 6:
	case 7:
	case 8:
		attach(c, i);
		break;
	default:
		if (pick(c, 2))
			create_or_join(c, i);
		else
			leave_or_destroy(c);
	}
}

static void client_main(unsigned number, unsigned seed)
{
	struct client c = { .seed = seed };

	c.r = raw_open(&host, 1 + number % 3);
	for (unsigned i = 0; i < CONTAINERS; i++)
		c.container[i] = -1;
	for (unsigned i = 0; i < HELD; i++)
		c.object[i] = -1;
	start_events(&c);
	for (;;)
		step(&c);
}

/* The parent ----------------------------------------------------------------------------------- */

static pid_t start_client(unsigned number, unsigned seed)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		client_main(number, seed);
	return pid;
}

static void begin(void)
{
	struct raw *admin;

	raw_prepare(&host, "stress");
	raw_start(&host, NULL);
	admin = raw_open(&host, 0);
	for (uint32_t d = 1; d <= 3; d++)
		CU_ASSERT_EQUAL(raw_domain_add(admin, d), 0);
	raw_close(admin);
}

static void test_storm(void)
{
	unsigned seed = (unsigned)time(NULL);
	int64_t until = vidas_now_us() + SECONDS * INT64_C(1000000);
	pid_t client[CLIENTS];

	printf("seed %u\n", seed);
	for (unsigned i = 0; i < CLIENTS; i++)
		client[i] = start_client(i, seed++);
	while (vidas_now_us() < until) {
		unsigned i = (unsigned)rand_r(&seed) % CLIENTS;
		int status;

		raw_sleep_us(rand_r(&seed) % 60000);
		kill(client[i], SIGKILL);
		CU_ASSERT_EQUAL(waitpid(client[i], &status, 0), client[i]);
		CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		client[i] = start_client(i, seed++);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		kill(client[i], SIGKILL);
		waitpid(client[i], NULL, 0);
	}
	CU_ASSERT_EQUAL(kill(host.pid, 0), 0);
}

/* How many domains are connected; the reply says more. */
static int connected(struct raw *admin)
{
	struct vidas_wire_status status = { 0 };
	int domains = 0;

	CU_ASSERT_EQUAL(raw_call(admin, VIDAS_WIRE_STATUS, &status, NULL), 0);
	for (const char *at = admin->reply.blob;
	     (at = memmem(at,
			  (size_t)((const char *)admin->reply.blob + admin->reply.blob_bytes - at),
			  "\"connected\":true", 16));
	     at++)
		domains++;
	return domains;
}

/* Soon everything of theirs is gone, and the containers can go too. */
static void test_nothing_stays(void)
{
	struct raw *admin = raw_open(&host, 0);
	int64_t end_us = vidas_now_us() + RAW_WAIT_US;

	while (connected(admin) > 1 && vidas_now_us() < end_us)
		raw_sleep_us(100000);
	CU_ASSERT_EQUAL(connected(admin), 1); /* the administrator's own */
	CU_ASSERT_PTR_NULL(
		memmem(admin->reply.blob, admin->reply.blob_bytes, "\"attached\":[0", 13));
	for (unsigned i = 0; i < CONTAINERS; i++) {
		int err = raw_container_destroy(admin, container_name(i));

		CU_ASSERT_TRUE(err == 0 || err == -ENOENT);
	}
	raw_close(admin);
}

static void end(void)
{
	CU_ASSERT_EQUAL(raw_stop(&host, SIGTERM), 0);
	raw_finish(&host);
}

UNIT_MAIN("host_stress", { "begin", begin }, { "storm", test_storm },
	  { "nothing stays", test_nothing_stays }, { "end", end })
