/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pool/transport over the local transport: messages, shares, deadlines, deaths, who may come in. */
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/base/base.h"
#include "pool/transport/transport.h"
#include "unit.h"

#define LARGE  16384u
#define NOBODY 65534u

static char scratch[] = "/tmp/vidas-transport-XXXXXX";
static char address[100];

/* A listener, and one connection through it: `domain` is its near end, `host` the far one. */
static struct vidas_listener *listener;
static struct vidas_channel *domain, *host;
static struct vidas_peer peer;

static void listen_at(const char *path)
{
	CU_ASSERT_EQUAL_FATAL(vidas_listener_open(path, 7, geteuid(), &listener), 0);
}

static int accept_one(struct vidas_channel **out)
{
	struct pollfd pfd = { .fd = vidas_listener_fd(listener), .events = POLLIN };

	CU_ASSERT_EQUAL_FATAL(poll(&pfd, 1, 10000), 1);
	return vidas_listener_accept(listener, out, &peer);
}

static void set_up(void)
{
	listen_at(address);
	CU_ASSERT_EQUAL_FATAL(vidas_channel_connect(address, &domain), 0);
	CU_ASSERT_EQUAL_FATAL(accept_one(&host), 0);
}

static void tear_down(void)
{
	vidas_channel_close(domain);
	vidas_channel_close(host);
	vidas_listener_close(listener);
	domain = host = NULL;
	listener = NULL;
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_identity(void)
{
	struct vidas_channel *none = NULL;
	struct stat st;

	set_up();
	CU_ASSERT_EQUAL(peer.domain, 7);
	CU_ASSERT_EQUAL(peer.uid, geteuid());
	CU_ASSERT_EQUAL(peer.pid, getpid());
	CU_ASSERT_EQUAL(vidas_listener_accept(listener, &none, &peer), -EAGAIN);
	CU_ASSERT_PTR_NULL(none);
	CU_ASSERT_EQUAL(stat(address, &st), 0);
	CU_ASSERT(S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0660 && st.st_uid == geteuid());
	tear_down();
	CU_ASSERT_EQUAL(access(address, F_OK), -1);
}

static void test_addresses(void)
{
	struct vidas_channel *none = NULL;
	struct vidas_listener *nothing = NULL;
	char text[256];
	int fd;

	CU_ASSERT_EQUAL(vidas_channel_connect("", &none), -EINVAL);
	CU_ASSERT_EQUAL(vidas_channel_connect(NULL, &none), -EINVAL);
	CU_ASSERT_EQUAL(vidas_channel_connect("local:", &none), -EINVAL);
	CU_ASSERT_EQUAL(vidas_channel_connect("smoke:3", &none), -EPROTONOSUPPORT);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "'smoke'"));
	CU_ASSERT_EQUAL(vidas_channel_connect(address, &none), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), address));
	snprintf(text, sizeof(text), "%s/%0120d", scratch, 0);
	vidas_fail_clear();
	CU_ASSERT_EQUAL(vidas_channel_connect(text, &none), -ENAMETOOLONG);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "107"));
	vidas_fail_clear();
	CU_ASSERT_EQUAL(vidas_listener_open(text, 1, 0, &nothing), -ENAMETOOLONG);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "107"));
	snprintf(text, sizeof(text), "%s/none/sock", scratch);
	CU_ASSERT_EQUAL(vidas_listener_open(text, 1, geteuid(), &nothing), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), text));
	CU_ASSERT_EQUAL(vidas_listener_open(scratch, 1, geteuid(), &nothing), -EEXIST);
	snprintf(text, sizeof(text), "%s/", scratch);
	CU_ASSERT_EQUAL(vidas_listener_open(text, 1, geteuid(), &nothing), -EINVAL);
	/* What is no socket is not replaced. */
	fd = open(address, O_WRONLY | O_CREAT, 0600);
	close(fd);
	CU_ASSERT_EQUAL(vidas_listener_open(address, 1, geteuid(), &nothing), -EEXIST);
	CU_ASSERT_EQUAL(unlink(address), 0);

	/* With its scheme, and as long as a path may be. */
	snprintf(text, sizeof(text), "local:%s/%0*d", scratch, 107 - (int)strlen(scratch) - 1, 0);
	listen_at(text);
	CU_ASSERT_EQUAL_FATAL(vidas_channel_connect(text + 6, &domain), 0);
	CU_ASSERT_EQUAL_FATAL(accept_one(&host), 0);
	tear_down();
	CU_ASSERT(!none && !nothing);
}

static void exchange(struct vidas_channel *from, struct vidas_channel *to, size_t size)
{
	static char out[LARGE], in[LARGE];
	unsigned n = 0;

	memset(out, (int)(size % 251), size);
	CU_ASSERT_EQUAL(vidas_channel_send(from, out, size, NULL, 0, VIDAS_FOREVER), 0);
	CU_ASSERT_EQUAL(vidas_channel_recv(to, in, sizeof(in), NULL, &n, VIDAS_FOREVER),
			(ssize_t)size);
	CU_ASSERT_EQUAL(memcmp(in, out, size), 0);
}

static void test_messages(void)
{
	char buf[64];
	unsigned n = 0;

	set_up();
	exchange(domain, host, 1);
	exchange(host, domain, LARGE);
	exchange(domain, host, LARGE);
	/* In order, each by itself. */
	for (const char *c = "abcde"; *c; c++)
		CU_ASSERT_EQUAL(vidas_channel_send(domain, c, 1, NULL, 0, 0), 0);
	for (const char *c = "abcde"; *c; c++)
		CU_ASSERT(vidas_channel_recv(host, buf, sizeof(buf), NULL, &n, 0) == 1 &&
			  buf[0] == *c);
	/* Too long: it is gone, the next one is not. */
	CU_ASSERT_EQUAL(vidas_channel_send(domain, "123456789", 9, NULL, 0, VIDAS_FOREVER), 0);
	CU_ASSERT_EQUAL(vidas_channel_send(domain, "next", 4, NULL, 0, VIDAS_FOREVER), 0);
	CU_ASSERT_EQUAL(vidas_channel_recv(host, buf, 8, NULL, &n, VIDAS_FOREVER), -EMSGSIZE);
	CU_ASSERT_EQUAL(vidas_channel_recv(host, buf, 8, NULL, NULL, VIDAS_FOREVER), 4);
	CU_ASSERT_EQUAL(vidas_channel_send(domain, "", 0, NULL, 0, VIDAS_FOREVER), -EINVAL);
	tear_down();
}

static struct vidas_share memory(char c)
{
	struct vidas_share share = { .fd = memfd_create("share", MFD_CLOEXEC) };

	CU_ASSERT_FATAL(share.fd >= 0 && ftruncate(share.fd, 8192) == 0);
	CU_ASSERT_EQUAL(pwrite(share.fd, &c, 1, 4096), 1);
	return share;
}

/* Two shares arrive, close-on-exec, and are the same memory; the sender's are untouched. */
static void pass_shares(struct vidas_channel *from, struct vidas_channel *to)
{
	struct vidas_share out[2] = { memory('x'), memory('y') };
	struct vidas_share in[3] = { VIDAS_SHARE_NONE, VIDAS_SHARE_NONE, VIDAS_SHARE_NONE };
	unsigned n = 3;
	char c = 0, *ptr;
	void *map = NULL;

	CU_ASSERT_EQUAL(vidas_channel_send(from, "m", 1, out, 2, VIDAS_FOREVER), 0);
	CU_ASSERT_EQUAL_FATAL(vidas_channel_recv(to, &c, 1, in, &n, VIDAS_FOREVER), 1);
	CU_ASSERT_FATAL(c == 'm' && n == 2);
	CU_ASSERT(in[0].fd != out[0].fd && fcntl(in[0].fd, F_GETFD) == FD_CLOEXEC);
	CU_ASSERT_EQUAL_FATAL(
		vidas_channel_map(to, &in[1], 4096, 4096, PROT_READ | PROT_WRITE, &map), 0);
	ptr = map;
	CU_ASSERT_EQUAL(ptr[0], 'y');
	ptr[0] = 'z';
	CU_ASSERT(pread(out[1].fd, &c, 1, 4096) == 1 && c == 'z');
	vidas_channel_unmap(to, map, 4096);
	CU_ASSERT_EQUAL(vidas_channel_map(to, &in[1], 1, 4096, PROT_READ, &map), -EINVAL);
	CU_ASSERT_EQUAL(vidas_channel_map(to, &in[1], 0, 0, PROT_READ, &map), -EINVAL);
	CU_ASSERT_EQUAL(vidas_channel_map(to, &in[1], UINT64_MAX - 4095, 4096, PROT_READ, &map),
			-EINVAL);
	for (unsigned i = 0; i < 2; i++) {
		vidas_share_close(&in[i]);
		CU_ASSERT_EQUAL(in[i].fd, -1);
		vidas_share_close(&in[i]);
		CU_ASSERT_EQUAL(vidas_channel_map(to, &in[i], 0, 4096, PROT_READ, &map), -EBADF);
		vidas_share_close(&out[i]);
	}
}

static void test_shares(void)
{
	int before = count_fds();

	set_up();
	pass_shares(domain, host);
	pass_shares(host, domain);
	tear_down();
	CU_ASSERT_EQUAL(count_fds(), before);
}

/* More shares than asked for: all of the message is dropped, no descriptor stays. */
static void test_shares_not_wanted(void)
{
	struct vidas_share out[VIDAS_CHANNEL_SHARES + 1], in[VIDAS_CHANNEL_SHARES];
	int before;
	char c;

	for (unsigned i = 0; i < VIDAS_ARRAY_SIZE(out); i++)
		out[i] = memory('s');
	set_up();
	before = count_fds();
	for (unsigned room = 0; room < VIDAS_CHANNEL_SHARES; room++) {
		for (unsigned sent = room + 1; sent <= VIDAS_CHANNEL_SHARES; sent++) {
			unsigned n = room;

			CU_ASSERT_EQUAL(
				vidas_channel_send(domain, "a", 1, out, sent, VIDAS_FOREVER), 0);
			CU_ASSERT_EQUAL(vidas_channel_recv(host, &c, 1, in, &n, VIDAS_FOREVER),
					-EMSGSIZE);
			CU_ASSERT_EQUAL(n, 0);
			CU_ASSERT_EQUAL(count_fds(), before);
		}
	}
	CU_ASSERT_EQUAL(vidas_channel_send(domain, "a", 1, out, VIDAS_CHANNEL_SHARES + 1, 0),
			-EINVAL);
	/* Too long, with shares that would have fitted. */
	for (unsigned i = 0; i < 2; i++) {
		unsigned n = VIDAS_CHANNEL_SHARES;

		CU_ASSERT_EQUAL(vidas_channel_send(domain, "abc", 3, out, 1 + i, VIDAS_FOREVER), 0);
		CU_ASSERT_EQUAL(vidas_channel_recv(host, &c, 1, in, &n, VIDAS_FOREVER), -EMSGSIZE);
		CU_ASSERT(n == 0 && count_fds() == before);
	}
	exchange(domain, host, 10);
	tear_down();
	for (unsigned i = 0; i < VIDAS_ARRAY_SIZE(out); i++)
		vidas_share_close(&out[i]);
}

/* What only a hand-made peer sends: very many descriptors; nothing, with a descriptor. */
static void test_hostile_peer(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct vidas_share in[2];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(200 * sizeof(int))];
	} control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = (char[]){ "x" }, .iov_len = 1 };
	struct msghdr mh = { .msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control) };
	unsigned n = 2;
	int before, fd;
	char c;

	listen_at(address);
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", address);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	CU_ASSERT_EQUAL_FATAL(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	CU_ASSERT_EQUAL_FATAL(accept_one(&host), 0);
	before = count_fds();
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(200 * sizeof(int));
	CU_ASSERT_EQUAL(sendmsg(fd, &mh, 0), 1); /* 200 times descriptor 0 */
	CU_ASSERT_EQUAL(vidas_channel_recv(host, &c, 1, in, &n, VIDAS_FOREVER), -EMSGSIZE);
	CU_ASSERT(n == 0 && count_fds() == before);

	control.align.cmsg_len = CMSG_LEN(sizeof(int));
	mh.msg_controllen = CMSG_SPACE(sizeof(int));
	iov.iov_len = 0;
	n = 2;
	CU_ASSERT_EQUAL(sendmsg(fd, &mh, 0), 0);
	CU_ASSERT_EQUAL(vidas_channel_recv(host, &c, 1, in, &n, VIDAS_FOREVER), 0);
	CU_ASSERT(n == 0 && count_fds() == before);
	close(fd);
	tear_down();
}

static void test_timeouts(void)
{
	static char block[LARGE];
	int64_t begin, took;
	unsigned n = 0, sent = 0;
	int err;

	set_up();
	begin = vidas_now_us();
	CU_ASSERT_EQUAL(vidas_channel_recv(host, block, sizeof(block), NULL, &n, 0), -ETIMEDOUT);
	CU_ASSERT_EQUAL(vidas_channel_recv(host, block, sizeof(block), NULL, &n, 30000),
			-ETIMEDOUT);
	took = vidas_now_us() - begin;
	CU_ASSERT(took >= 30000 && took < 5000000);

	while ((err = vidas_channel_send(domain, block, sizeof(block), NULL, 0, 0)) == 0)
		sent++;
	CU_ASSERT_EQUAL(err, -ETIMEDOUT);
	CU_ASSERT(sent >= 1);
	begin = vidas_now_us();
	CU_ASSERT_EQUAL(vidas_channel_send(domain, block, sizeof(block), NULL, 0, 30000),
			-ETIMEDOUT);
	CU_ASSERT(vidas_now_us() - begin >= 30000);
	/* What was sent is all there, and there is room again. */
	while (sent--)
		CU_ASSERT_EQUAL(vidas_channel_recv(host, block, sizeof(block), NULL, &n, 0), LARGE);
	CU_ASSERT_EQUAL(vidas_channel_recv(host, block, sizeof(block), NULL, &n, 0), -ETIMEDOUT);
	CU_ASSERT_EQUAL(vidas_channel_send(domain, block, sizeof(block), NULL, 0, 0), 0);
	tear_down();
}

static void test_peer_closes(void)
{
	char buf[8];
	unsigned n = 0;

	set_up();
	/* What it sent before is still delivered, though it never read what we sent. */
	CU_ASSERT_EQUAL(vidas_channel_send(host, "unread", 6, NULL, 0, VIDAS_FOREVER), 0);
	CU_ASSERT_EQUAL(vidas_channel_send(domain, "last", 4, NULL, 0, VIDAS_FOREVER), 0);
	vidas_channel_close(domain);
	domain = NULL;
	CU_ASSERT_EQUAL(vidas_channel_recv(host, buf, sizeof(buf), NULL, &n, VIDAS_FOREVER), 4);
	CU_ASSERT_EQUAL(vidas_channel_recv(host, buf, sizeof(buf), NULL, &n, VIDAS_FOREVER), 0);
	CU_ASSERT_EQUAL(vidas_channel_recv(host, buf, sizeof(buf), NULL, &n, 1000), 0);
	CU_ASSERT_EQUAL(vidas_channel_send(host, "more", 4, NULL, 0, VIDAS_FOREVER), -EPIPE);
	CU_ASSERT_EQUAL(vidas_channel_send(host, "more", 4, NULL, 0, 1000), -EPIPE);
	tear_down();

	/* The same told to who sends first: one errno for a peer that is gone. */
	set_up();
	CU_ASSERT_EQUAL(vidas_channel_send(host, "unread", 6, NULL, 0, VIDAS_FOREVER), 0);
	vidas_channel_close(domain);
	domain = NULL;
	CU_ASSERT_EQUAL(vidas_channel_send(host, "more", 4, NULL, 0, VIDAS_FOREVER), -EPIPE);
	CU_ASSERT_EQUAL(vidas_channel_send(host, "more", 4, NULL, 0, VIDAS_FOREVER), -EPIPE);
	tear_down();
}

/* A process that is killed while we wait for it: the wait ends. */
static void test_peer_is_killed(void)
{
	char buf[8];
	unsigned n = 0;
	pid_t child;

	listen_at(address);
	child = fork();
	if (child == 0) {
		struct vidas_channel *ch;

		if (vidas_channel_connect(address, &ch) == 0)
			vidas_channel_send(ch, "hello", 5, NULL, 0, VIDAS_FOREVER);
		pause();
		_exit(1);
	}
	CU_ASSERT_EQUAL_FATAL(accept_one(&host), 0);
	CU_ASSERT_EQUAL(peer.pid, child);
	CU_ASSERT_EQUAL(vidas_channel_recv(host, buf, sizeof(buf), NULL, &n, VIDAS_FOREVER), 5);
	kill(child, SIGKILL);
	CU_ASSERT_EQUAL(vidas_channel_recv(host, buf, sizeof(buf), NULL, &n, VIDAS_FOREVER), 0);
	waitpid(child, NULL, 0);
	tear_down();
}

static void *recv_for_ever(void *arg)
{
	char buf[8];
	unsigned n = 0;
	int64_t timeout_us = arg ? VIDAS_FOREVER : 60000000;

	return (void *)(intptr_t)vidas_channel_recv(host, buf, sizeof(buf), NULL, &n, timeout_us);
}

static void test_shutdown(void)
{
	for (uintptr_t forever = 0; forever < 2; forever++) {
		pthread_t thread;
		void *result = NULL;
		char buf[8];
		unsigned n = 0;

		set_up();
		pthread_create(&thread, NULL, recv_for_ever, (void *)forever);
		usleep(20000);
		vidas_channel_shutdown(host);
		pthread_join(thread, &result);
		CU_ASSERT_EQUAL((intptr_t)result, -ESHUTDOWN);
		CU_ASSERT_EQUAL(vidas_channel_recv(host, buf, sizeof(buf), NULL, &n, 0),
				-ESHUTDOWN);
		CU_ASSERT_EQUAL(vidas_channel_send(host, "x", 1, NULL, 0, 0), -ESHUTDOWN);
		CU_ASSERT_EQUAL(
			vidas_channel_recv(domain, buf, sizeof(buf), NULL, &n, VIDAS_FOREVER), 0);
		tear_down();
	}
}

/* Also with messages waiting: the end that was shut has no more use for them. */
static void test_shutdown_with_messages(void)
{
	char buf[8];
	unsigned n = 0;

	set_up();
	CU_ASSERT_EQUAL(vidas_channel_send(domain, "x", 1, NULL, 0, VIDAS_FOREVER), 0);
	vidas_channel_shutdown(host);
	CU_ASSERT_EQUAL(vidas_channel_recv(host, buf, sizeof(buf), NULL, &n, VIDAS_FOREVER),
			-ESHUTDOWN);
	tear_down();
}

/* A vidasd that was killed leaves its socket; the next one takes its place, a living one keeps it. */
static void test_stale_socket(void)
{
	struct vidas_listener *second = NULL;
	struct vidas_channel *none = NULL;
	struct stat old, new;
	pid_t child = fork();

	if (child == 0)
		_exit(vidas_listener_open(address, 1, geteuid(), &second) ? 1 : 0);
	waitpid(child, NULL, 0);
	CU_ASSERT_EQUAL_FATAL(lstat(address, &old), 0);
	CU_ASSERT_EQUAL(vidas_channel_connect(address, &none), -ECONNREFUSED);
	set_up();
	exchange(domain, host, 100);
	CU_ASSERT_EQUAL(lstat(address, &new), 0);
	CU_ASSERT_EQUAL(vidas_listener_open(address, 1, geteuid(), &second), -EADDRINUSE);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), address));
	CU_ASSERT_EQUAL(lstat(address, &old), 0);
	CU_ASSERT_EQUAL(old.st_ino, new.st_ino);
	/* Closing takes away only what is ours. */
	CU_ASSERT_EQUAL(unlink(address), 0);
	CU_ASSERT_EQUAL(close(open(address, O_WRONLY | O_CREAT | O_EXCL, 0600)), 0);
	tear_down();
	CU_ASSERT_EQUAL(unlink(address), 0);
	CU_ASSERT(!second && !none);
}

/* What a process of uid NOBODY and group `gid` meets; its exit status is the errno. */
static pid_t connect_as_nobody(gid_t gid)
{
	pid_t child = fork();

	if (child == 0) {
		struct vidas_channel *ch;
		char c;
		unsigned n = 0;
		int err;

		if (setgroups(0, NULL) || setresgid(gid, gid, gid) ||
		    setresuid(NOBODY, NOBODY, NOBODY))
			_exit(255);
		err = vidas_channel_connect(address, &ch);
		if (err == 0 && vidas_channel_recv(ch, &c, 1, NULL, &n, 10000000) == 0)
			_exit(254);
		_exit(-err);
	}
	return child;
}

static int exit_of(pid_t child)
{
	int status = -1;

	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_wrong_user(void)
{
	struct vidas_channel *none = NULL;
	pid_t child;

	if (geteuid() != 0) {
		CU_PASS("only root can become another user");
		return;
	}
	CU_ASSERT_EQUAL(chmod(scratch, 0755), 0);
	listen_at(address);
	CU_ASSERT_EQUAL(exit_of(connect_as_nobody(NOBODY)), EACCES);
	CU_ASSERT_EQUAL(vidas_listener_accept(listener, &none, &peer), -EAGAIN);
	/* Past the mode of the socket, by root's group: turned away at accept. */
	child = connect_as_nobody(0);
	CU_ASSERT_EQUAL(accept_one(&none), -EACCES);
	CU_ASSERT(peer.uid == NOBODY && peer.pid == child && peer.domain == 7);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "uid 65534"));
	CU_ASSERT_EQUAL(exit_of(child), 254);
	tear_down();

	/* The domain's own user, and root, may come in. */
	CU_ASSERT_EQUAL_FATAL(vidas_listener_open(address, 8, NOBODY, &listener), 0);
	child = connect_as_nobody(NOBODY);
	CU_ASSERT_EQUAL_FATAL(accept_one(&host), 0);
	CU_ASSERT(peer.uid == NOBODY && peer.domain == 8);
	vidas_channel_close(host);
	CU_ASSERT_EQUAL(exit_of(child), 254);
	CU_ASSERT_EQUAL_FATAL(vidas_channel_connect(address, &domain), 0);
	CU_ASSERT_EQUAL_FATAL(accept_one(&host), 0);
	CU_ASSERT_EQUAL(peer.uid, 0);
	CU_ASSERT_PTR_NULL(none);
	tear_down();
}

/* Who is not root cannot listen for another user; no temporary name is left of the try. */
static void test_not_root(void)
{
	pid_t child;

	if (geteuid() != 0) {
		CU_PASS("only root can become another user");
		return;
	}
	CU_ASSERT_EQUAL(chmod(scratch, 0777), 0);
	child = fork();
	if (child == 0) {
		struct vidas_listener *l;

		if (setresuid(NOBODY, NOBODY, NOBODY))
			_exit(255);
		_exit(-vidas_listener_open(address, 1, 1, &l));
	}
	CU_ASSERT_EQUAL(exit_of(child), EPERM);
	CU_ASSERT_EQUAL(chmod(scratch, 0755), 0);
	CU_ASSERT_EQUAL(access(address, F_OK), -1);
}

static void test_begin(void)
{
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(scratch));
	snprintf(address, sizeof(address), "%s/sock", scratch);
}

/* Every test has taken away its socket, and no temporary name is left. */
static void test_end(void)
{
	CU_ASSERT_EQUAL(rmdir(scratch), 0);
}

UNIT_MAIN("transport", { "begin", test_begin }, { "identity", test_identity },
	  { "addresses", test_addresses }, { "messages", test_messages }, { "shares", test_shares },
	  { "shares not wanted", test_shares_not_wanted }, { "hostile peer", test_hostile_peer },
	  { "timeouts", test_timeouts }, { "peer closes", test_peer_closes },
	  { "peer is killed", test_peer_is_killed }, { "shutdown", test_shutdown },
	  { "shutdown with messages", test_shutdown_with_messages },
	  { "stale socket", test_stale_socket }, { "wrong user", test_wrong_user },
	  { "not root", test_not_root }, { "end", test_end })
