/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest that does what it likes with its link to the gate: the link ends, or the lane, and nothing else. It may
 * come again, and vidasd and other domains do not notice.
 * vidas-presets: release asan
 */
#include "unit.h"
#include "api.h"

#include <stdlib.h>
#include <string.h>

#include "pool/transport/local/local.h"
#include "pool/transport/xen/frame.h"

#define LOOK_US (INT64_C(10) * 1000 * 1000)

static struct raw_host host;
static struct vidas *good; /* domain 2, by its own gate and agent */
static char gate_path[340];
static struct vidas_frame_buffer out;
static _Alignas(8) uint8_t in[VIDAS_FRAME_MAX];

static void begin(void)
{
	struct vidas *admin;
	char number[] = "1", link[360];
	const char *gate[] = { "vidas-gate", "--run-dir", host.run, "--domain",
			       number,	     "--link",	  link,	    NULL };

	raw_prepare(&host, "hostile");
	raw_start(&host, NULL);
	admin = api_connect(&host, 0);
	for (vidas_domain_id d = 1; d <= 2; d++)
		CU_ASSERT_EQUAL(vidas_admin_domain_add(admin, d, 0), 0);
	vidas_close(admin);
	snprintf(gate_path, sizeof(gate_path), "%s/gate1", host.dir);
	snprintf(link, sizeof(link), "socket:%s", gate_path);
	raw_spawn(&host, gate);
	setenv("VIDAS_TEST_TRANSPORT", "xen", 1);
	good = api_connect(&host, 2);
	CU_ASSERT_EQUAL(vidas_container_create(good, "mine", NULL, 0), 0);
}

/* What the other domain does goes on, whatever happens here. */
static void others_go_on(void)
{
	struct vidas_object *o = NULL;

	CU_ASSERT_EQUAL_FATAL(vidas_object_create(good, "mine", "f", 0, 4096, &o), 0);
	CU_ASSERT_EQUAL(vidas_object_write(o, "here", 0, 4), 4);
	CU_ASSERT_EQUAL(vidas_object_destroy(o), 0);
}

static int send_frame(struct vidas_channel *ch, enum vidas_frame_type type, uint32_t lane,
		      const void *payload, size_t bytes)
{
	struct vidas_frame f = {
		.type = type, .lane = lane, .payload = out.payload, .payload_bytes = bytes
	};

	if (bytes)
		memmove(out.payload, payload, bytes);
	return vidas_frame_send(ch, &f, LOOK_US);
}

/* The next frame; 0: the gate has ended the link. */
static int next(struct vidas_channel *ch, struct vidas_frame *f)
{
	int got = vidas_frame_recv(ch, in, f, LOOK_US);

	CU_ASSERT_TRUE(got == 0 || got == 1);
	if (got == 1)
		vidas_frame_close_shares(f);
	return got;
}

static struct vidas_channel *linked(bool greet)
{
	const struct vidas_frame_hello hello = { VIDAS_FRAME_MAGIC, VIDAS_FRAME_VERSION };
	struct vidas_channel *ch = NULL;
	struct vidas_frame f;

	for (int64_t end = vidas_now_us() + LOOK_US; vidas_now_us() < end; raw_sleep_us(10000))
		if (vidas_local_connect(gate_path, 10 * 1000 * 1000, &ch) == 0)
			break;
	CU_ASSERT_PTR_NOT_NULL_FATAL(ch);
	if (greet) {
		CU_ASSERT_EQUAL(send_frame(ch, VIDAS_FRAME_HELLO, 0, &hello, sizeof(hello)), 0);
		CU_ASSERT_EQUAL_FATAL(next(ch, &f), 1);
		CU_ASSERT_EQUAL(f.type, VIDAS_FRAME_HELLO);
	}
	return ch;
}

static int open_lane(struct vidas_channel *ch, uint32_t lane, uint32_t kind)
{
	const struct vidas_frame_open open = { kind, VIDAS_FRAME_VERSION };
	struct vidas_frame_opened opened = { .status = 1 };
	struct vidas_frame f;

	CU_ASSERT_EQUAL(send_frame(ch, VIDAS_FRAME_OPEN, lane, &open, sizeof(open)), 0);
	if (next(ch, &f) == 1 && f.type == VIDAS_FRAME_OPENED && f.lane == lane)
		memcpy(&opened, f.payload, sizeof(opened));
	return opened.status;
}

static void ended(struct vidas_channel *ch)
{
	struct vidas_frame f;

	CU_ASSERT_EQUAL(next(ch, &f), 0);
	vidas_channel_close(ch);
	others_go_on();
}

static void test_senseless(void)
{
	const struct vidas_frame_open open = { VIDAS_FRAME_VIDASD, VIDAS_FRAME_VERSION };
	const struct vidas_frame_hello old = { VIDAS_FRAME_MAGIC, 99 };
	const uint64_t number = UINT64_MAX;
	struct vidas_channel *ch;
	struct vidas_frame f;

	ch = linked(false); /* no HELLO */
	CU_ASSERT_EQUAL(send_frame(ch, VIDAS_FRAME_OPEN, 1, &open, sizeof(open)), 0);
	ended(ch);
	ch = linked(false); /* of another version: it is told which, and left */
	CU_ASSERT_EQUAL(send_frame(ch, VIDAS_FRAME_HELLO, 0, &old, sizeof(old)), 0);
	CU_ASSERT_EQUAL(next(ch, &f), 1);
	ended(ch);
	ch = linked(true); /* no frame at all */
	CU_ASSERT_EQUAL(vidas_channel_send(ch, "nonsense", 8, NULL, 0, LOOK_US), 0);
	ended(ch);
	ch = linked(true); /* lanes that are none */
	CU_ASSERT_EQUAL(send_frame(ch, VIDAS_FRAME_MESSAGE, 5, "x", 1), 0);
	ended(ch);
	ch = linked(true);
	CU_ASSERT_EQUAL(send_frame(ch, VIDAS_FRAME_CLOSE, 5, NULL, 0), 0);
	ended(ch);
	ch = linked(true);
	CU_ASSERT_EQUAL(open_lane(ch, 0, VIDAS_FRAME_VIDASD), 1);
	ended(ch);
	ch = linked(true); /* twice the same */
	CU_ASSERT_EQUAL(open_lane(ch, 3, VIDAS_FRAME_VIDASD), 0);
	CU_ASSERT_EQUAL(send_frame(ch, VIDAS_FRAME_OPEN, 3, &open, sizeof(open)), 0);
	ended(ch);
	ch = linked(true); /* what is not an agent's to say */
	CU_ASSERT_EQUAL(open_lane(ch, 3, VIDAS_FRAME_VIDASD), 0);
	CU_ASSERT_EQUAL(send_frame(ch, VIDAS_FRAME_OPENED, 3, &number, 8), 0);
	ended(ch);
	ch = linked(true); /* numbers of shares that are none do no harm */
	for (uint64_t i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL(send_frame(ch, VIDAS_FRAME_RELEASE, 0, &i, sizeof(i)), 0);
	CU_ASSERT_EQUAL(open_lane(ch, 1, VIDAS_FRAME_VIDASD), 0);
	vidas_channel_close(ch);
}

static void test_memory(void)
{
	struct vidas_frame f = { .type = VIDAS_FRAME_MESSAGE, .lane = 1, .shares = 1 };
	struct vidas_channel *ch = linked(true);

	CU_ASSERT_EQUAL(open_lane(ch, 1, VIDAS_FRAME_VIDASD), 0);
	f.payload = out.payload;
	f.payload_bytes = 24;
	f.share[0] = (struct vidas_share){ .fd = 0, .bytes = 4096 };
	CU_ASSERT_EQUAL(vidas_frame_send(ch, &f, LOOK_US), 0);
	ended(ch);
}

/* A lane whose messages vidasd does not take ends alone. */
static void test_malformed(void)
{
	struct vidas_channel *ch = linked(true);
	struct vidas_frame f;
	bool closed = false;

	CU_ASSERT_EQUAL(open_lane(ch, 1, VIDAS_FRAME_VIDASD), 0);
	CU_ASSERT_EQUAL(open_lane(ch, 2, VIDAS_FRAME_VIDASD), 0);
	CU_ASSERT_EQUAL(open_lane(ch, 4, 77), -EPROTONOSUPPORT);
	CU_ASSERT_EQUAL(next(ch, &f), 1);
	CU_ASSERT_TRUE(f.type == VIDAS_FRAME_CLOSE && f.lane == 4);
	CU_ASSERT_EQUAL(send_frame(ch, VIDAS_FRAME_CLOSE, 4, NULL, 0), 0);
	CU_ASSERT_EQUAL(send_frame(ch, VIDAS_FRAME_MESSAGE, 1, "garbage", 7), 0);
	while (!closed && next(ch, &f) == 1) {
		CU_ASSERT_EQUAL(f.lane, 1);
		closed = f.type == VIDAS_FRAME_CLOSE;
	}
	CU_ASSERT_TRUE(closed);
	CU_ASSERT_EQUAL(send_frame(ch, VIDAS_FRAME_CLOSE, 1, NULL, 0), 0);
	CU_ASSERT_EQUAL(open_lane(ch, 1, VIDAS_FRAME_VIDASD), 0);
	vidas_channel_close(ch);
	others_go_on();
}

/* As many lanes as there are numbers, all silent: vidasd has a bound of its own; then gone in one go. */
static void test_many(void)
{
	struct vidas_channel *ch = linked(true);

	for (uint32_t lane = 1; lane < VIDAS_FRAME_LANES; lane++)
		CU_ASSERT_TRUE(open_lane(ch, lane, VIDAS_FRAME_VIDASD) <= 0 || lane > 1);
	others_go_on();
	vidas_channel_close(ch);
	others_go_on();
}

/* Asks, and never takes an answer: what waits for it is bounded, and the link may be had again. */
static void test_deaf(void)
{
	const struct vidas_frame_open open = { VIDAS_FRAME_VIDASD, VIDAS_FRAME_VERSION };
	struct vidas_channel *ch = linked(true);
	int err = 0;

	for (uint32_t i = 0; !err && i < 200000; i++) {
		memcpy(out.payload, &open, sizeof(open));
		err = send_frame(ch, VIDAS_FRAME_RELEASE, 0, &(uint64_t){ i }, 8);
		if (!err && i && i < VIDAS_FRAME_LANES)
			err = send_frame(ch, VIDAS_FRAME_OPEN, i, &open, sizeof(open));
		if (i == 5000)
			break;
	}
	others_go_on();
	vidas_channel_close(ch);
	ch = linked(true);
	CU_ASSERT_EQUAL(open_lane(ch, 1, VIDAS_FRAME_VIDASD), 0);
	vidas_channel_close(ch);
}

static void finish(void)
{
	CU_ASSERT_EQUAL(vidas_container_destroy(good, "mine"), 0);
	vidas_close(good);
	CU_ASSERT_EQUAL(raw_stop(&host, SIGTERM), 0);
	raw_finish(&host);
}

UNIT_MAIN("hostile guest", { "begin", begin }, { "senseless", test_senseless },
	  { "memory", test_memory }, { "malformed", test_malformed }, { "many", test_many },
	  { "deaf", test_deaf }, { "finish", finish })
