/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The far half of a vidasfs against a near half that is no kernel: numbers of nodes and open files that are
 * wrong, of another kind, gone; closing what is being read; forgetting what is open; answers to
 * questions that were not asked; and messages that are none. It answers, or ends that mount; it does not crash, and
 * another domain's mount of the same container goes on.
 * vidas-presets: release asan
 */
#include "unit.h"
#include "raw.h"

#include <linux/fuse.h>
#include <sys/socket.h>

#include "vidasfs/lane.h"

#define STORM_US (3 * 1000 * 1000)

static struct raw_host host;

/* A near half of our own. */
struct near {
	int lane;
	pid_t pid;
	uint64_t unique;
	uint64_t dir, file, other; /* nodes */
	uint64_t fh, other_fh, dir_fh;
	_Alignas(8) char in[VIDAS_LANE_MESSAGE_MAX];
};

static void far_exec(int fd)
{
	char far[32], options[512];

	snprintf(far, sizeof(far), "--far=%d", fd);
	snprintf(options, sizeof(options), "socket=%s", raw_local(&host, 1));
	fcntl(fd, F_SETFD, 0);
	execlp("vidasfs", "vidasfs", far, "-o", options, (char *)NULL);
	_exit(127);
}

static void put(struct near *n, const void *msg, size_t bytes)
{
	const struct iovec iov = { (void *)(uintptr_t)msg, bytes };

	vidas_lane_send(n->lane, &iov, 1, NULL, RAW_WAIT_US);
}

static ssize_t get(struct near *n)
{
	return vidas_lane_wait(n->lane, RAW_WAIT_US) ?
		       -ETIMEDOUT :
		       vidas_lane_recv(n->lane, n->in, sizeof(n->in), NULL);
}

/* Sends a request: a body and then a string or bytes. */
static uint64_t request(struct near *n, uint32_t opcode, uint64_t nodeid, const void *body,
			size_t body_bytes, const void *tail, size_t tail_bytes)
{
	struct fuse_in_header in = { .opcode = opcode, .unique = n->unique += 2, .nodeid = nodeid };
	char msg[1024];

	in.len = (uint32_t)(sizeof(in) + body_bytes + tail_bytes);
	memcpy(msg, &in, sizeof(in));
	if (body_bytes)
		memcpy(msg + sizeof(in), body, body_bytes);
	if (tail_bytes)
		memcpy(msg + sizeof(in) + body_bytes, tail, tail_bytes);
	put(n, msg, in.len);
	return in.unique;
}

/* The kernel's part of notices: done. */
static void answer(struct near *n, const struct vidas_lane_head *head)
{
	struct vidas_lane_noticed a = { .head = { sizeof(a), VIDAS_LANE_NOTICED, head->token } };

	if (head->kind == VIDAS_LANE_DROP)
		a.head =
			(struct vidas_lane_head){ sizeof(a.head), VIDAS_LANE_DROPPED, head->token };
	if (head->kind == VIDAS_LANE_NOTICE || head->kind == VIDAS_LANE_DROP)
		put(n, &a, a.head.bytes);
}

/* Waits for the reply; its error, with the body at *out. */
static int reply(struct near *n, uint64_t unique, const void **out)
{
	const struct fuse_out_header *h = (const void *)n->in;

	for (;;) {
		if (get(n) <= 0)
			return -ENOTCONN;
		if (vidas_lane_private((uint32_t)h->error))
			answer(n, (const void *)n->in);
		else if (h->unique == unique)
			break;
	}
	if (out)
		*out = h + 1;
	return h->error;
}

static uint64_t lookup(struct near *n, uint64_t dir, const char *name)
{
	const struct fuse_entry_out *e;
	const void *out;

	if (reply(n, request(n, FUSE_LOOKUP, dir, NULL, 0, name, strlen(name) + 1), &out))
		return 0;
	e = out;
	return e->nodeid;
}

static uint64_t create(struct near *n, const char *name, uint64_t *fh)
{
	struct fuse_create_in c = { .flags = O_RDWR, .mode = 0100644 };
	const struct fuse_entry_out *e;
	const void *out;

	if (reply(n, request(n, FUSE_CREATE, n->dir, &c, sizeof(c), name, strlen(name) + 1), &out))
		return 0;
	e = out;
	*fh = ((const struct fuse_open_out *)(e + 1))->fh;
	return e->nodeid;
}

static int io(struct near *n, uint32_t opcode, uint64_t nodeid, uint64_t fh, uint64_t offset)
{
	struct fuse_write_in w = { .fh = fh, .offset = offset, .size = 8 };
	struct fuse_read_in r = { .fh = fh, .offset = offset, .size = 4096 };

	if (opcode == FUSE_WRITE)
		return reply(n, request(n, opcode, nodeid, &w, sizeof(w), "12345678", 8), NULL);
	return reply(n, request(n, opcode, nodeid, &r, sizeof(r), NULL, 0), NULL);
}

static void begin(struct near *n)
{
	struct vidas_lane_hello hello = {
		.head = { .bytes = sizeof(hello), .kind = VIDAS_LANE_HELLO },
		.version = VIDAS_LANE_VERSION,
		.instance = 1,
		.relaxed_seconds = 10,
		.wait_seconds = 10,
	};
	struct fuse_open_in o = { .flags = O_RDONLY };
	uint32_t init[16] = { 7, 38, 65536, FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS };
	const struct fuse_open_out *opened;
	const void *out;
	int fd[2];

	memset(n, 0, sizeof(*n));
	CU_ASSERT_EQUAL_FATAL(vidas_lane_pair(fd), 0);
	n->lane = fd[0];
	n->pid = fork();
	if (!n->pid) {
		close(fd[0]);
		far_exec(fd[1]);
	}
	close(fd[1]);
	put(n, &hello, sizeof(hello));
	CU_ASSERT_TRUE_FATAL(get(n) == sizeof(struct vidas_lane_welcome));
	CU_ASSERT_EQUAL_FATAL(((const struct vidas_lane_welcome *)(const void *)n->in)->error, 0);
	CU_ASSERT_EQUAL_FATAL(reply(n, request(n, FUSE_INIT, 0, init, sizeof(init), NULL, 0), NULL),
			      0);
	n->dir = lookup(n, FUSE_ROOT_ID, "c");
	CU_ASSERT_TRUE_FATAL(n->dir != 0);
	n->file = create(n, "file", &n->fh);
	n->other = create(n, "other", &n->other_fh);
	CU_ASSERT_TRUE_FATAL(n->file && n->other);
	CU_ASSERT_EQUAL(reply(n, request(n, FUSE_OPENDIR, n->dir, &o, sizeof(o), NULL, 0), &out),
			0);
	opened = out;
	n->dir_fh = opened->fh;
}

/* It ends by itself, and not by a signal. */
static void end(struct near *n)
{
	int status = -1;
	pid_t got = 0;

	close(n->lane);
	for (int64_t until = vidas_now_us() + RAW_WAIT_US; !got && vidas_now_us() < until;) {
		got = waitpid(n->pid, &status, WNOHANG);
		if (!got)
			raw_sleep_us(10000);
	}
	CU_ASSERT_EQUAL(got, n->pid);
	CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void remove_files(struct near *n)
{
	reply(n, request(n, FUSE_UNLINK, n->dir, NULL, 0, "file", 5), NULL);
	reply(n, request(n, FUSE_UNLINK, n->dir, NULL, 0, "other", 6), NULL);
}

static void test_numbers(void)
{
	static const uint64_t bad[] = { 0, 2, 0x7f0000001234, UINT64_MAX, UINT64_C(9) << 48 };
	struct fuse_release_in r = { 0 };
	struct fuse_forget_in f = { .nlookup = UINT64_MAX };
	static struct near n;

	begin(&n);
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(bad); i++) {
		CU_ASSERT_EQUAL(lookup(&n, bad[i], "file"), 0);
		CU_ASSERT_EQUAL(io(&n, FUSE_READ, bad[i], n.fh, 0), -ESTALE);
		CU_ASSERT_EQUAL(io(&n, FUSE_READ, n.file, bad[i], 0), -ESTALE);
		CU_ASSERT_EQUAL(io(&n, FUSE_WRITE, n.file, bad[i], 0), -ESTALE);
	}
	/* Of another file, and of another kind. */
	CU_ASSERT_EQUAL(io(&n, FUSE_READ, n.file, n.other_fh, 0), -ESTALE);
	CU_ASSERT_EQUAL(io(&n, FUSE_READ, n.dir, n.dir_fh, 0), -EINVAL);
	CU_ASSERT_EQUAL(io(&n, FUSE_READDIR, n.file, n.fh, 0), -EINVAL);
	CU_ASSERT_EQUAL(lookup(&n, n.file, "x"), 0);
	/* Forgotten while it is open, more often than it was looked up; then closed, twice. */
	request(&n, FUSE_FORGET, n.other, &f, sizeof(f), NULL, 0);
	CU_ASSERT_EQUAL(io(&n, FUSE_WRITE, n.other, n.other_fh, 0), 0);
	r.fh = n.other_fh;
	CU_ASSERT_EQUAL(reply(&n, request(&n, FUSE_RELEASE, n.other, &r, sizeof(r), NULL, 0), NULL),
			0);
	CU_ASSERT_EQUAL(reply(&n, request(&n, FUSE_RELEASE, n.other, &r, sizeof(r), NULL, 0), NULL),
			0);
	CU_ASSERT_EQUAL(io(&n, FUSE_READ, n.other, n.other_fh, 0), -ESTALE);
	CU_ASSERT_EQUAL(io(&n, FUSE_WRITE, n.file, n.fh, 0), 0);
	remove_files(&n);
	end(&n);
}

/* One of what it may name, or nearly so. */
static uint64_t some(const struct near *n, unsigned *seed, bool handle)
{
	const uint64_t nodes[] = { n->dir, n->file, n->other, FUSE_ROOT_ID, n->file + 1 };
	const uint64_t handles[] = { n->fh, n->other_fh, n->dir_fh, n->fh + 1, n->fh + 2 };
	unsigned i = (unsigned)rand_r(seed) % 5;

	return handle ? handles[i] : nodes[i];
}

static void storm_one(struct near *n, unsigned *seed)
{
	struct fuse_lk_in lk = { .fh = some(n, seed, true),
				 .owner = (uint64_t)rand_r(seed) % 3,
				 .lk = { .start = 0, .end = 9, .type = F_WRLCK } };
	uint64_t body[8] = { some(n, seed, true), (uint64_t)rand_r(seed) % 300000, 4096 };
	struct fuse_create_in c = { .flags = O_RDWR, .mode = 0100644 };
	struct fuse_open_in o = { .flags = O_RDWR };
	struct vidas_lane_head stray = { sizeof(stray), VIDAS_LANE_NOTICED, body[1] % 9 };
	uint64_t node = some(n, seed, false);

	switch (rand_r(seed) % 16) {
	case 0:
		request(n, FUSE_READ, node, body, 40, NULL, 0);
		break;
	case 1:
		body[2] = 8;
		request(n, FUSE_WRITE, node, body, 40, "12345678", 8);
		break;
	case 2:
		request(n, FUSE_RELEASE, node, body, 24, NULL, 0);
		break;
	case 3:
		request(n, FUSE_FORGET, node, body, 8, NULL, 0);
		break;
	case 4:
		request(n, FUSE_OPEN, node, &o, sizeof(o), NULL, 0);
		break;
	case 5:
		request(n, FUSE_LOOKUP, node, NULL, 0, "file", 5);
		break;
	case 6:
		request(n, FUSE_CREATE, node, &c, sizeof(c), "file", 5);
		break;
	case 7:
		request(n, FUSE_UNLINK, node, NULL, 0, "file", 5);
		break;
	case 8:
		request(n, FUSE_FLUSH, node, body, 24, NULL, 0);
		break;
	case 9:
		request(n, FUSE_READDIRPLUS, node, body, 40, NULL, 0);
		break;
	case 10:
		request(n, FUSE_RELEASEDIR, node, body, 24, NULL, 0);
		break;
	case 11:
		request(n, FUSE_OPENDIR, node, &o, sizeof(o), NULL, 0);
		break;
	case 12:
		request(n, FUSE_SETLKW, node, &lk, sizeof(lk), NULL, 0);
		break;
	case 13:
		body[0] = n->unique - 2 * body[1] % 64;
		request(n, FUSE_INTERRUPT, 0, body, 8, NULL, 0);
		break;
	case 14:
		put(n, &stray, sizeof(stray));
		break;
	default:
		request(n, FUSE_LINK, node, body, 8, "file", 5);
		break;
	}
}

/* Takes what is there; opened files and nodes are named from then on. */
static void drain(struct near *n, unsigned *seed)
{
	const struct fuse_out_header *h = (const void *)n->in;
	const uint64_t *first = (const void *)(h + 1);
	ssize_t got;

	while ((got = vidas_lane_recv(n->lane, n->in, sizeof(n->in), NULL)) > 0) {
		if (vidas_lane_private((uint32_t)h->error))
			answer(n, (const void *)n->in);
		else if (h->len == sizeof(*h) + sizeof(struct fuse_open_out))
			*(rand_r(seed) % 2 ? &n->fh : &n->dir_fh) = *first;
		else if (h->len == sizeof(*h) + sizeof(struct fuse_entry_out))
			n->file = *first;
	}
}

static void test_storm(void)
{
	static struct near n;
	unsigned seed = (unsigned)vidas_now_us();
	int64_t until;

	printf("seed %u ", seed);
	begin(&n);
	until = vidas_now_us() + STORM_US;
	for (unsigned i = 0; vidas_now_us() < until; i++) {
		storm_one(&n, &seed);
		if (i % 16 == 0)
			drain(&n, &seed);
	}
	CU_ASSERT_EQUAL(reply(&n, request(&n, FUSE_STATFS, FUSE_ROOT_ID, NULL, 0, NULL, 0), NULL),
			0);
	n.dir = lookup(&n, FUSE_ROOT_ID, "c");
	remove_files(&n);
	end(&n);
}

static void test_garbage(void)
{
	static const char *const garbage[] = { "x", "0123456789012345678901234567890123456789" };
	static struct near n, m;

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(garbage); i++) {
		begin(&n);
		remove_files(&n);
		put(&n, garbage[i], strlen(garbage[i]));
		/* It ends; another is not touched by that. */
		while (get(&n) > 0)
			;
		begin(&m);
		CU_ASSERT_EQUAL(io(&m, FUSE_WRITE, m.file, m.fh, 0), 0);
		remove_files(&m);
		end(&m);
		end(&n);
	}
}

/* Of the far half, keeper and worker, in KiB. */
static long memory(const struct near *n)
{
	long kib = 0;
	char command[128];
	FILE *f;

	snprintf(command, sizeof(command),
		 "ps -o rss= -p %d --ppid %d | awk '{ n += $1 } END { print n + 0 }'", (int)n->pid,
		 (int)n->pid);
	f = popen(command, "r");
	CU_ASSERT_FATAL(f && fscanf(f, "%ld", &kib) == 1);
	pclose(f);
	return kib;
}

/* What a kernel would take back, for requests that are none: they are not kept without end. */
static void test_interrupts(void)
{
	const char *preset = getenv("VIDAS_PRESET");
	struct fuse_interrupt_in in = { 0 };
	static struct near n;
	long before;

	begin(&n);
	before = memory(&n);
	for (unsigned i = 0; i < 60000; i++) {
		in.unique = 1000000001 + 2 * (uint64_t)i;
		request(&n, FUSE_INTERRUPT, 0, &in, sizeof(in), NULL, 0);
	}
	/* Each other request drops one, so that none is left at the end. */
	for (unsigned i = 0; i < 1100; i++)
		CU_ASSERT_EQUAL(io(&n, FUSE_WRITE, n.file, n.fh, 0), 0);
	/* The address sanitizer keeps what is free. */
	CU_ASSERT((preset && strcmp(preset, "release") != 0) || memory(&n) < before + 5 * 1024);
	remove_files(&n);
	end(&n);
}

static void test_all(void)
{
	struct raw *admin, *r;

	signal(SIGPIPE, SIG_IGN);
	raw_prepare(&host, "far");
	raw_start(&host, NULL);
	admin = raw_open(&host, 0);
	CU_ASSERT_EQUAL(raw_domain_add(admin, 1), 0);
	r = raw_open(&host, 1);
	CU_ASSERT_EQUAL(raw_container_create(r, "c", 0, 0, ""), 0);
	test_numbers();
	test_garbage();
	test_interrupts();
	test_storm();
	raw_close(r);
	raw_close(admin);
	CU_ASSERT_EQUAL(raw_stop(&host, SIGTERM), 0);
	raw_finish(&host);
}

UNIT_MAIN("far_hostile", { "numbers, garbage, a storm", test_all })
