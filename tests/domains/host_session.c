/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connections, sessions and events: who may, who may not, and what happens to messages that no
 * decent client sends.
 * vidas-presets: release asan tsan
 */
#include "unit.h"
#include "raw.h"

#include <vidas/shm.h>

#include "pool/host/limits.h"

#define LEASE_US ((int64_t)VIDAS_SHM_LEASE_US)

static struct raw_host host;
static struct raw *admin;

static void begin(void)
{
	raw_prepare(&host, "session");
	raw_start(&host, NULL);
	admin = raw_open(&host, 0);
	for (uint32_t d = 1; d <= 4; d++)
		CU_ASSERT_EQUAL(raw_domain_add(admin, d), 0);
}

static void test_hello(void)
{
	struct vidas_wire_hello again = { .magic = VIDAS_WIRE_MAGIC, .major = VIDAS_WIRE_MAJOR };
	struct vidas_wire_status status = { 0 };
	struct raw r;

	CU_ASSERT_EQUAL(raw_hello(&host, 1, (struct vidas_wire_hello){ .major = 7 }, &r), -EPROTO);
	CU_ASSERT_TRUE(memmem(r.reply.blob, r.reply.blob_bytes, "version", 7) != NULL);
	CU_ASSERT_EQUAL(raw_hello(&host, 1, (struct vidas_wire_hello){ .minor = 9 }, &r), 0);
	CU_ASSERT_EQUAL(raw_call(&r, VIDAS_WIRE_HELLO, &again, NULL), -EPROTO);
	vidas_channel_close(r.channel);
	/* Anything else first. */
	memset(&r, 0, sizeof(r));
	CU_ASSERT_EQUAL_FATAL(vidas_channel_connect(raw_socket(&host, 0), &r.channel), 0);
	CU_ASSERT_EQUAL(raw_call(&r, VIDAS_WIRE_STATUS, &status, NULL), -EPROTO);
	CU_ASSERT_EQUAL(raw_recv(&r, RAW_WAIT_US), 0);
	vidas_channel_close(r.channel);
	CU_ASSERT_EQUAL(raw_hello(&host, 77, (struct vidas_wire_hello){ 0 }, &r), -ENOENT);
}

static void test_lanes(void)
{
	struct raw *first = raw_open(&host, 1), *other = raw_open(&host, 2), more;
	struct vidas_wire_hello hello = { .session = first->session, .token = first->token };

	CU_ASSERT_EQUAL(raw_hello(&host, 1, hello, &more), 0);
	CU_ASSERT_EQUAL(more.session, first->session);
	/* What one lane attached, the other one uses. */
	CU_ASSERT_EQUAL(raw_container_create(first, "lanes", 0, 0, ""), 0);
	CU_ASSERT_TRUE(raw_object_create(&more, raw_attach(first, "lanes", 0), "x", 0, 1) >= 0);
	vidas_channel_close(more.channel);
	hello.token++;
	CU_ASSERT_EQUAL(raw_hello(&host, 1, hello, &more), -EACCES);
	hello.token--;
	CU_ASSERT_EQUAL(raw_hello(&host, 2, hello, &more), -EACCES);
	hello.flags = VIDAS_WIRE_HELLO_RESUME;
	CU_ASSERT_EQUAL(raw_hello(&host, 2, hello, &more), -EEXIST);
	hello = (struct vidas_wire_hello){ .session = 12345 };
	CU_ASSERT_EQUAL(raw_hello(&host, 1, hello, &more), -ESTALE);
	raw_close(first);
	raw_close(other);
}

/* Sends bytes as they are; the status of the reply. */
static int send_bytes(struct raw *r, const void *bytes, size_t size, int fd)
{
	struct vidas_share share = { .fd = fd };

	if (vidas_channel_send(r->channel, bytes, size, &share, fd >= 0, RAW_WAIT_US) < 0 ||
	    raw_recv(r, RAW_WAIT_US) <= 0)
		return -EPIPE;
	return r->reply.status;
}

static void test_malformed(void)
{
	struct raw *good = raw_open(&host, 1), *bad;
	struct vidas_wire_hello hello = { .session = good->session, .token = good->token };
	struct vidas_wire_message m = { .type = VIDAS_WIRE_CONTAINER_LIST,
					.body = &(struct vidas_wire_container_list){ 0 } };
	struct vidas_wire_header unknown = { .size = sizeof(unknown), .type = 999, .id = 5 };
	uint8_t huge[VIDAS_WIRE_MAX + 8] = { 0 };
	int size;

	for (int i = 0; i < 4; i++) {
		bad = calloc(1, sizeof(*bad));
		CU_ASSERT_EQUAL_FATAL(raw_hello(&host, 1, hello, bad), 0);
		size = vidas_wire_encode(bad->out, &m);
		if (i == 0)
			CU_ASSERT_EQUAL(send_bytes(bad, bad->out, (size_t)size - 1, -1), -EBADMSG);
		if (i == 1)
			CU_ASSERT_EQUAL(send_bytes(bad, "x", 1, -1), -EBADMSG);
		if (i == 2)
			CU_ASSERT_EQUAL(send_bytes(bad, huge, sizeof(huge), -1), -EBADMSG);
		if (i == 3)
			CU_ASSERT_EQUAL(send_bytes(bad, bad->out, (size_t)size, 0), -EBADMSG);
		CU_ASSERT_TRUE(bad->reply.blob_bytes > 0);
		CU_ASSERT_EQUAL(raw_recv(bad, RAW_WAIT_US), 0);
		raw_close(bad);
		/* Its session and everyone else go on. */
		CU_ASSERT_EQUAL(raw_call_message(good, &m), 0);
	}
	CU_ASSERT_EQUAL(send_bytes(good, &unknown, sizeof(unknown), -1), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(good->reply.id, 5);
	CU_ASSERT_EQUAL(raw_call(good, VIDAS_WIRE_EVENT,
				 &(struct vidas_wire_event){ .kind = VIDAS_WIRE_EVENT_CONTAINERS },
				 NULL),
			-EPROTO);
	CU_ASSERT_EQUAL(raw_call_message(good, &m), 0);
	raw_close(good);
}

/* vidasd takes a moment to see that others are gone. */
static struct raw *open_in_time(uint32_t domain)
{
	struct raw *r = calloc(1, sizeof(*r));
	int64_t end_us = vidas_now_us() + RAW_WAIT_US;
	int err;

	while ((err = raw_hello(&host, domain, (struct vidas_wire_hello){ 0 }, r)) == -EUSERS &&
	       vidas_now_us() < end_us)
		raw_sleep_us(20000);
	CU_ASSERT_EQUAL_FATAL(err, 0);
	return r;
}

static void test_caps(void)
{
	struct raw *first = raw_open(&host, 3), *more[HOST_LANES_PER_DOMAIN] = { 0 }, extra;
	struct vidas_wire_hello hello = { .session = first->session, .token = first->token };
	struct raw *session[HOST_SESSIONS_PER_DOMAIN] = { 0 };

	for (unsigned i = 1; i < HOST_LANES_PER_DOMAIN; i++) {
		more[i] = calloc(1, sizeof(*more[i]));
		CU_ASSERT_EQUAL_FATAL(raw_hello(&host, 3, hello, more[i]), 0);
	}
	CU_ASSERT_EQUAL(raw_hello(&host, 3, hello, &extra), -EUSERS);
	for (unsigned i = 1; i < HOST_LANES_PER_DOMAIN; i++)
		raw_close(more[i]);
	/* Others are not touched by that, and it gets better. */
	raw_close(raw_open(&host, 4));
	for (unsigned i = 1; i < HOST_SESSIONS_PER_DOMAIN; i++)
		session[i] = open_in_time(3);
	CU_ASSERT_EQUAL(raw_hello(&host, 3, (struct vidas_wire_hello){ 0 }, &extra), -EUSERS);
	for (unsigned i = 1; i < HOST_SESSIONS_PER_DOMAIN; i++)
		raw_close(session[i]);
	CU_ASSERT_EQUAL(raw_container_create(first, "short", 0, 0, ""), 0);
	for (unsigned i = 1; i < HOST_CONTAINERS_PER_DOMAIN; i++) {
		char name[128];

		/* Long, so that the status has more than a page. */
		snprintf(name, sizeof(name), "cap%060u", i);
		CU_ASSERT_EQUAL(raw_container_create(first, name, 0, 0, ""), 0);
	}
	CU_ASSERT_EQUAL(raw_container_create(first, "toomany", 0, 0, ""), -ENOSPC);
	CU_ASSERT_EQUAL(raw_container_destroy(first, "short"), 0);
	CU_ASSERT_EQUAL(raw_container_create(first, "enough", 0, 0, ""), 0);
	raw_close(first);
}

static void test_wrong_user(void)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		struct raw r;
		int err = setgid(65534) < 0 || setuid(65534) < 0 ?
				  -EIO :
				  raw_hello(&host, 1, (struct vidas_wire_hello){ 0 }, &r);

		_exit(err == -EACCES ? 0 : 1);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_EQUAL(status, 0);
}

/* An events lane beside the session of `r`. */
static void test_recall(void)
{
	struct raw *a = raw_open(&host, 1), *b = raw_open(&host, 2), *mute = raw_open(&host, 2);
	struct raw *b_events = raw_open_events(&host, b),
		   *mute_events = raw_open_events(&host, mute);
	struct vidas_wire_recall body = { .kinds = VIDAS_WIRE_RECALL_NAMES, .inode = 42 };
	struct vidas_wire_message m = { .type = VIDAS_WIRE_RECALL, .body = &body };
	const struct vidas_wire_event *event;
	int64_t start, cb;
	int slots[2];

	m.type = VIDAS_WIRE_CONTAINER_CREATE;
	m.string[0] = "recall";
	m.body = &(struct vidas_wire_container_create){ .domains = 1,
							.domain = { { 2, VIDAS_WIRE_RW } } };
	raw_send(a, &m);
	/* Those concerned are told, and waited for. */
	CU_ASSERT_EQUAL(raw_next_event(b_events)->kind, VIDAS_WIRE_EVENT_CONTAINERS);
	CU_ASSERT_EQUAL(raw_next_event(mute_events)->kind, VIDAS_WIRE_EVENT_CONTAINERS);
	raw_answer_event(b_events);
	CU_ASSERT_EQUAL(raw_recv(a, 100000), -ETIMEDOUT);
	raw_answer_event(mute_events);
	CU_ASSERT_TRUE_FATAL(raw_recv(a, RAW_WAIT_US) > 0);
	CU_ASSERT_EQUAL(a->reply.status, 0);

	body.container = (uint32_t)raw_attach(a, "recall", 0);
	CU_ASSERT_TRUE(raw_slot(a) >= 0);
	cb = raw_attach(b, "recall", 0);
	slots[0] = raw_slot(b);
	raw_attach(mute, "recall", 0);
	slots[1] = raw_slot(mute);
	CU_ASSERT_TRUE_FATAL(slots[0] >= 0 && slots[1] >= 0 && slots[0] != slots[1]);
	/* Nobody, one who answers, all with one who does not. */
	m = (struct vidas_wire_message){ .type = VIDAS_WIRE_RECALL, .body = &body };
	body.slots = UINT64_C(1) << 40;
	CU_ASSERT_EQUAL(raw_call_message(a, &m), 0);
	body.slots = UINT64_C(1) << slots[0];
	raw_send(a, &m);
	event = raw_next_event(b_events);
	CU_ASSERT_TRUE(event->kind == VIDAS_WIRE_EVENT_RECALL && event->container == (uint32_t)cb &&
		       event->inode == 42 && event->kinds == VIDAS_WIRE_RECALL_NAMES);
	CU_ASSERT_EQUAL(raw_recv(a, 100000), -ETIMEDOUT);
	raw_answer_event(b_events);
	CU_ASSERT_TRUE(raw_recv(a, RAW_WAIT_US) > 0);
	body.slots |= UINT64_C(1) << slots[1];
	start = vidas_now_us();
	raw_send(a, &m);
	raw_next_event(mute_events);
	raw_next_event(b_events);
	CU_ASSERT_TRUE(vidas_now_us() - start < LEASE_US); /* before the other's was over */
	raw_answer_event(b_events);
	CU_ASSERT_TRUE(raw_recv(a, RAW_WAIT_US) > 0);
	CU_ASSERT_TRUE(vidas_now_us() - start >= LEASE_US);
	CU_ASSERT_TRUE(vidas_now_us() - start < 2 * LEASE_US);
	/* One that dies meanwhile is not waited for. */
	start = vidas_now_us();
	raw_send(a, &m);
	raw_next_event(b_events);
	raw_answer_event(b_events);
	raw_close(mute);
	raw_close(mute_events);
	CU_ASSERT_TRUE(raw_recv(a, RAW_WAIT_US) > 0);
	CU_ASSERT_TRUE(vidas_now_us() - start < LEASE_US);
	raw_close(a);
	raw_close(b);
	raw_close(b_events);
}

static void test_remove(void)
{
	struct raw *r = raw_open(&host, 4), again;
	struct vidas_wire_domain_remove body = { .domain = 4 };
	struct vidas_wire_status status = { 0 };

	CU_ASSERT_EQUAL(raw_call(admin, VIDAS_WIRE_DOMAIN_REMOVE, &body, NULL), 0);
	CU_ASSERT_EQUAL(raw_call(admin, VIDAS_WIRE_DOMAIN_REMOVE, &body, NULL), -ENOENT);
	CU_ASSERT_EQUAL(raw_retry(admin, VIDAS_WIRE_DOMAIN_REMOVE, &body, NULL), 0);
	CU_ASSERT_TRUE(raw_recv(r, RAW_WAIT_US) <= 0);
	CU_ASSERT_EQUAL(raw_hello(&host, 4, (struct vidas_wire_hello){ 0 }, &again), -ENOENT);
	raw_close(r);
	CU_ASSERT_EQUAL(raw_call(admin, VIDAS_WIRE_STATUS, &status, NULL), 0);
	CU_ASSERT_TRUE(admin->reply.blob_bytes > 0);
	status.offset = ((const struct vidas_wire_status_reply *)admin->reply.body)->next;
	CU_ASSERT_TRUE(status.offset > 0); /* of some 60 containers */
	CU_ASSERT_EQUAL(raw_call(admin, VIDAS_WIRE_STATUS, &status, NULL), 0);
	CU_ASSERT_EQUAL(((const char *)admin->reply.blob)[admin->reply.blob_bytes - 1], '}');
}

static void end(void)
{
	raw_close(admin);
	CU_ASSERT_EQUAL(raw_stop(&host, SIGTERM), 0);
	raw_finish(&host);
}

UNIT_MAIN("host_session", { "begin", begin }, { "hello", test_hello }, { "lanes", test_lanes },
	  { "malformed", test_malformed }, { "caps", test_caps }, { "wrong user", test_wrong_user },
	  { "recall", test_recall }, { "remove", test_remove }, { "end", end })
