/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vidasd as a test sees it without libvidas: started in a private directory, spoken to in raw
 * messages. One thread; what fails here ends the test program.
 */
#ifndef VIDAS_TESTS_RAW_H
#define VIDAS_TESTS_RAW_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pool/base/base.h"
#include "pool/transport/transport.h"
#include "pool/wire/wire.h"

#define RAW_WAIT_US (INT64_C(20) * 1000 * 1000)

struct raw_host {
	pid_t pid;
	char dir[256];
	char run[300];
	char log[300];
};

/* A connection. After a call: the decoded reply, which lives until the next one, and its shares. */
struct raw {
	struct vidas_channel *channel;
	uint32_t session, domain;
	uint64_t token;
	uint64_t last_id;
	_Alignas(8) uint8_t out[VIDAS_WIRE_MAX];
	_Alignas(8) uint8_t in[VIDAS_WIRE_MAX];
	struct vidas_wire_message reply;
	struct vidas_share share[VIDAS_WIRE_SHARES];
	unsigned shares;
};

static inline void raw_die(const char *what)
{
	fprintf(stderr, "raw: %s: %s (%s)\n", what, strerror(errno), vidas_fail_text());
	exit(1);
}

static inline void raw_sleep_us(int64_t us)
{
	struct timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	nanosleep(&ts, NULL);
}

/* A program that ends when we do. */
static inline void raw_spawn(const struct raw_host *h, const char *const *argv)
{
	pid_t parent = getpid();
	int fd;

	if (fork() != 0)
		return;
	fd = open(h->log, O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (fd >= 0)
		dup2(fd, STDERR_FILENO);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		execvp(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

/* The way of a guest: the address of an agent, which is joined to a gate by a socket, or by Xen's ring.
 * Both are started when they are first asked for. */
static inline void raw_agent(const struct raw_host *h, uint32_t domain, bool by_ring, char *path,
			     size_t size)
{
	char number[16], agent[320], link_path[320], link[340];
	const char *gate_argv[] = { "vidas-gate", "--run-dir", h->run, "--domain",
				    number,	  "--link",    link,   NULL };
	const char *agent_argv[] = { "vidas-agent", "--socket", agent, "--link", link, NULL };

	snprintf(number, sizeof(number), "%u", domain);
	snprintf(agent, sizeof(agent), "%s/agent%u", h->dir, domain);
	snprintf(link_path, sizeof(link_path), "%s/gate%u", h->dir, domain);
	snprintf(link, sizeof(link), "%s:%s", by_ring ? "vchan" : "socket", link_path);
	snprintf(path, size, "xen:%s", agent);
	if (access(agent, F_OK) == 0)
		return;
	raw_spawn(h, gate_argv);
	raw_spawn(h, agent_argv);
	for (int64_t end = vidas_now_us() + RAW_WAIT_US;
	     vidas_now_us() < end &&
	     (access(agent, F_OK) || (!by_ring && access(link_path, F_OK)));)
		raw_sleep_us(10000);
}

/* Does memory come as granted pages? These stay when a resource is cut short (docs/xen.md). */
static inline bool raw_granted(void)
{
	const char *transport = getenv("VIDAS_TEST_TRANSPORT");

	return transport && !strcmp(transport, "vchan");
}

/* The path of a domain's socket. */
static inline const char *raw_local(const struct raw_host *h, uint32_t domain)
{
	static char path[400];

	if (domain)
		snprintf(path, sizeof(path), "%s/domains/%u/sock", h->run, domain);
	else
		snprintf(path, sizeof(path), "%s/vidasd.sock", h->run);
	return path;
}

/* The address of a domain: its socket, or with $VIDAS_TEST_TRANSPORT=xen or =vchan its agent. */
static inline const char *raw_socket(const struct raw_host *h, uint32_t domain)
{
	static char path[400];
	const char *transport = getenv("VIDAS_TEST_TRANSPORT");

	if (!domain || !transport)
		return raw_local(h, domain);
	raw_agent(h, domain, raw_granted(), path, sizeof(path));
	return path;
}

/* Starts vidasd (again) and waits until it answers. Further options may follow, ended by NULL. */
static inline void raw_start(struct raw_host *h, ...)
{
	const char *argv[16] = { "vidasd", "--run-dir", h->run };
	int argc = 3;
	va_list args;

	va_start(args, h);
	while (argc < 15 && (argv[argc] = va_arg(args, const char *)))
		argc++;
	va_end(args);
	h->pid = fork();
	if (h->pid == 0) {
		int fd = open(h->log, O_WRONLY | O_CREAT | O_APPEND, 0644);

		if (fd >= 0)
			dup2(fd, STDERR_FILENO);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	for (int64_t end = vidas_now_us() + RAW_WAIT_US; vidas_now_us() < end;
	     raw_sleep_us(10000)) {
		struct vidas_channel *ch;

		if (vidas_channel_connect(raw_socket(h, 0), &ch) == 0) {
			vidas_channel_close(ch);
			return;
		}
		if (waitpid(h->pid, NULL, WNOHANG) == h->pid)
			break;
	}
	raw_die("vidasd does not start; see its log");
}

/* Private directories under $VIDAS_TMP. */
static inline void raw_prepare(struct raw_host *h, const char *name)
{
	const char *tmp = getenv("VIDAS_TMP");

	if (geteuid() != 0) {
		printf("needs root\n");
		exit(77);
	}
	*h = (struct raw_host){ 0 };
	snprintf(h->dir, sizeof(h->dir), "%s/%s", tmp ? tmp : "/tmp", name);
	snprintf(h->run, sizeof(h->run), "%s/run", h->dir);
	snprintf(h->log, sizeof(h->log), "%s/vidasd.log", h->dir);
	mkdir(h->dir, 0755);
}

/* Returns the exit status, or -signal. */
static inline int raw_stop(struct raw_host *h, int sig)
{
	int status = 0;

	kill(h->pid, sig);
	while (waitpid(h->pid, &status, 0) < 0 && errno == EINTR)
		;
	h->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Shows the log of vidasd, for who reads a failure, and unmounts the pool. */
static inline void raw_finish(struct raw_host *h)
{
	char path[400], line[1024];
	FILE *f = fopen(h->log, "r");

	while (f && fgets(line, sizeof(line), f))
		fputs(line, stdout);
	if (f)
		fclose(f);
	unlink(h->log);
	snprintf(path, sizeof(path), "%s/pool", h->run);
	umount2(path, MNT_DETACH);
}

static inline void raw_drop_shares(struct raw *r)
{
	for (unsigned i = 0; i < r->shares; i++)
		vidas_share_close(&r->share[i]);
	r->shares = 0;
}

/* Receives a message; its length, 0 closed, or -errno. */
static inline ssize_t raw_recv(struct raw *r, int64_t timeout_us)
{
	const char *reason = "";
	ssize_t n;

	raw_drop_shares(r);
	r->shares = VIDAS_WIRE_SHARES;
	n = vidas_channel_recv(r->channel, r->in, sizeof(r->in), r->share, &r->shares, timeout_us);
	if (n <= 0)
		r->shares = 0;
	if (n > 0 && vidas_wire_decode(r->in, (size_t)n, &r->reply, &reason) == -EBADMSG) {
		fprintf(stderr, "raw: vidasd sent a malformed message: %s\n", reason);
		exit(1);
	}
	return n;
}

static inline void raw_send(struct raw *r, struct vidas_wire_message *m)
{
	int size;

	m->id = ++r->last_id;
	size = vidas_wire_encode(r->out, m);
	if (size < 0 ||
	    vidas_channel_send(r->channel, r->out, (size_t)size, NULL, 0, RAW_WAIT_US) < 0)
		raw_die("cannot send");
}

/* One request and its reply: the status. */
static inline int raw_call_message(struct raw *r, struct vidas_wire_message *m)
{
	ssize_t n;

	raw_send(r, m);
	n = raw_recv(r, RAW_WAIT_US);
	if (n < 0)
		fprintf(stderr, "raw: no reply to %s: %s (%s)\n", vidas_wire_name(m->type),
			strerror((int)-n), vidas_fail_text());
	if (n <= 0)
		return -EPIPE;
	if (!r->reply.reply || r->reply.id != r->last_id) {
		fprintf(stderr, "raw: the reply to request %llu is to another: %llu, %s\n",
			(unsigned long long)r->last_id, (unsigned long long)r->reply.id,
			vidas_wire_name(r->reply.type));
		exit(1);
	}
	return r->reply.status;
}

#define raw_call(r, TYPE, body_, ...)                     \
	raw_call_message(r, &(struct vidas_wire_message){ \
				    .type = (TYPE), .body = (body_), .string = { __VA_ARGS__ } })
#define raw_retry(r, TYPE, body_, ...)                                               \
	raw_call_message(r, &(struct vidas_wire_message){ .type = (TYPE),            \
							  .flags = VIDAS_WIRE_RETRY, \
							  .body = (body_),           \
							  .string = { __VA_ARGS__ } })

/* Connects and says `hello`, of which magic and version are filled in. */
static inline int raw_hello(const struct raw_host *h, uint32_t domain,
			    struct vidas_wire_hello hello, struct raw *r)
{
	const struct vidas_wire_hello_reply *reply;
	int err;

	memset(r, 0, sizeof(*r));
	err = vidas_channel_connect(raw_socket(h, domain), &r->channel);
	if (err < 0)
		return err;
	hello.magic = VIDAS_WIRE_MAGIC;
	if (!hello.major)
		hello.major = VIDAS_WIRE_MAJOR;
	err = raw_call(r, VIDAS_WIRE_HELLO, &hello, NULL);
	if (err < 0) {
		vidas_channel_close(r->channel);
		r->channel = NULL;
		return err;
	}
	reply = r->reply.body;
	r->session = reply->session;
	r->token = reply->token;
	r->domain = reply->domain;
	return 0;
}

/* A new session. */
static inline struct raw *raw_open(const struct raw_host *h, uint32_t domain)
{
	struct raw *r = calloc(1, sizeof(*r));

	errno = 0;
	if (!r || raw_hello(h, domain, (struct vidas_wire_hello){ 0 }, r) < 0)
		raw_die("cannot open a session");
	return r;
}

static inline void raw_close(struct raw *r)
{
	if (!r)
		return;
	raw_drop_shares(r);
	if (r->channel)
		vidas_channel_close(r->channel);
	free(r);
}

/* Requests that tests make often. ------------------------------------------------------------- */

static inline int raw_domain_add(struct raw *admin, uint32_t domain)
{
	return raw_call(admin, VIDAS_WIRE_DOMAIN_ADD,
			&(struct vidas_wire_domain_add){ .domain = domain }, NULL);
}

static inline int raw_container_create(struct raw *r, const char *name, uint32_t other,
				       uint32_t access, const char *root)
{
	struct vidas_wire_container_create body = { .domains = access ? 1 : 0 };

	if (access)
		body.domain[0] = (struct vidas_wire_domain_entry){ other, access };
	return raw_call(r, VIDAS_WIRE_CONTAINER_CREATE, &body, name, root);
}

/* The container's number, or -errno; numbers beyond INT32_MAX are as good as others. */
static inline int64_t raw_attach(struct raw *r, const char *name, uint32_t flags)
{
	struct vidas_wire_container_attach body = { .flags = flags, .slot = -1 };
	int err = raw_call(r, VIDAS_WIRE_CONTAINER_ATTACH, &body, name);

	if (err < 0)
		return err;
	return ((const struct vidas_wire_container_attach_reply *)r->reply.body)->container;
}

static inline int64_t raw_object_create(struct raw *r, int64_t container, const char *path,
					uint64_t offset, uint64_t size)
{
	struct vidas_wire_object_create body = { .container = (uint32_t)container,
						 .offset = offset,
						 .size = size };
	int err = raw_call(r, VIDAS_WIRE_OBJECT_CREATE, &body, path);

	if (err < 0)
		return err;
	return ((const struct vidas_wire_object_create_reply *)r->reply.body)->object;
}

static inline int64_t raw_object_join(struct raw *r, int64_t container, const char *path,
				      uint64_t offset, uint64_t size, int64_t timeout_us)
{
	struct vidas_wire_object_join body = { .container = (uint32_t)container,
					       .offset = offset,
					       .size = size,
					       .timeout_us = timeout_us };
	int err = raw_call(r, VIDAS_WIRE_OBJECT_JOIN, &body, path);

	if (err < 0)
		return err;
	return ((const struct vidas_wire_object_join_reply *)r->reply.body)->object;
}

static inline int raw_object_leave(struct raw *r, int64_t object)
{
	return raw_call(r, VIDAS_WIRE_OBJECT_LEAVE,
			&(struct vidas_wire_object_leave){ .object = (uint32_t)object }, NULL);
}

static inline int raw_object_destroy(struct raw *r, int64_t object)
{
	return raw_call(r, VIDAS_WIRE_OBJECT_DESTROY,
			&(struct vidas_wire_object_destroy){ .object = (uint32_t)object }, NULL);
}

static inline int raw_container_leave(struct raw *r, int64_t container)
{
	return raw_call(r, VIDAS_WIRE_CONTAINER_LEAVE,
			&(struct vidas_wire_container_leave){ .container = (uint32_t)container },
			NULL);
}

static inline int raw_container_destroy(struct raw *r, const char *name)
{
	return raw_call(r, VIDAS_WIRE_CONTAINER_DESTROY,
			&(struct vidas_wire_container_destroy){ 0 }, name);
}

/* After the end of another's session, which vidasd may have yet to hear of. */
static inline int raw_container_destroy_in_time(struct raw *r, const char *name)
{
	int64_t end_us = vidas_now_us() + RAW_WAIT_US;
	int err;

	while ((err = raw_container_destroy(r, name)) == -EBUSY && vidas_now_us() < end_us)
		raw_sleep_us(20000);
	return err;
}

/* A descriptor out of the last reply, which the caller then owns. */
static inline int raw_take(struct raw *r, unsigned i)
{
	int fd = i < r->shares ? r->share[i].fd : -1;

	if (i < r->shares)
		r->share[i].fd = -1;
	return fd;
}

/* The session's lane for events; what comes on it next, and the answer to that. */
static inline struct raw *raw_open_events(const struct raw_host *h, const struct raw *r)
{
	struct vidas_wire_hello hello = { .session = r->session,
					  .token = r->token,
					  .flags = VIDAS_WIRE_HELLO_EVENTS };
	struct raw *e = calloc(1, sizeof(*e));

	CU_ASSERT_EQUAL_FATAL(raw_hello(h, r->domain, hello, e), 0);
	return e;
}

static inline const struct vidas_wire_event *raw_next_event(struct raw *e)
{
	CU_ASSERT_TRUE_FATAL(raw_recv(e, RAW_WAIT_US) > 0);
	CU_ASSERT_EQUAL_FATAL(e->reply.type, VIDAS_WIRE_EVENT);
	return e->reply.body;
}

static inline void raw_answer_event(struct raw *e)
{
	struct vidas_wire_message m = vidas_wire_reply(&e->reply, 0);
	int size = vidas_wire_encode(e->out, &m);

	CU_ASSERT_EQUAL(vidas_channel_send(e->channel, e->out, (size_t)size, NULL, 0, RAW_WAIT_US),
			0);
}

/* The lease slot that the reply to an attach gave. */
static inline int raw_slot(const struct raw *r)
{
	return ((const struct vidas_wire_container_attach_reply *)r->reply.body)->slot;
}

#endif
