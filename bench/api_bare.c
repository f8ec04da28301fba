/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a call cannot be cheaper than: a request and a reply with a descriptor between two
 * processes, and a wake-up there and back.
 */
#include "bench/api.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REQUEST_BYTES 128u /* about what the calls measured here send and get */
#define REPLY_BYTES   96u
#define WAIT_SECONDS  10

struct futex_pair {
	_Alignas(64) _Atomic uint32_t there;
	_Alignas(64) _Atomic uint32_t back;
};

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static int send_bytes(int sock, const void *bytes, size_t size, int fd)
{
	union control control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The length; 0 the peer is gone. *fd, if one came, is the receiver's. */
static ssize_t receive_bytes(int sock, void *bytes, size_t size, int *fd)
{
	union control control;
	struct iovec iov = { .iov_base = bytes, .iov_len = size };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;

	*fd = -1;
	if (n < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return n;
}

/* The second process: a reply with a descriptor for each request. */
static void echo(int sock)
{
	char bytes[REQUEST_BYTES] = { 0 };
	int memory = memfd_create("bench", MFD_CLOEXEC), fd;

	if (memory < 0 || ftruncate(memory, 4096))
		_exit(1);
	while (receive_bytes(sock, bytes, sizeof(bytes), &fd) > 0)
		if (send_bytes(sock, bytes, REPLY_BYTES, memory))
			break;
	_exit(0);
}

int bare_exchange(struct bare *bare, int *fd)
{
	char bytes[REQUEST_BYTES] = { 0 };
	ssize_t n;
	int err = send_bytes(bare->sock, bytes, sizeof(bytes), -1);

	if (err)
		return err;
	n = receive_bytes(bare->sock, bytes, sizeof(bytes), fd);
	if (n < 0)
		return (int)n;
	return n == REPLY_BYTES && *fd >= 0 ? 0 : -EPIPE;
}

static int wake(_Atomic uint32_t *word)
{
	atomic_fetch_add_explicit(word, 1, memory_order_release);
	return syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0) < 0 ? -errno : 0;
}

static int wait_beyond(_Atomic uint32_t *word, uint32_t seen, time_t seconds)
{
	const struct timespec limit = { .tv_sec = seconds };

	while (atomic_load_explicit(word, memory_order_acquire) == seen)
		if (syscall(SYS_futex, word, FUTEX_WAIT, seen, seconds ? &limit : NULL, NULL, 0) <
			    0 &&
		    errno != EAGAIN && errno != EINTR)
			return -errno;
	return 0;
}

static void answer_futex(struct futex_pair *words)
{
	for (uint32_t seen = 0;; seen++)
		if (wait_beyond(&words->there, seen, 0) || wake(&words->back))
			_exit(1);
}

int bare_futex(struct bare *bare)
{
	uint32_t seen = atomic_load_explicit(&bare->words->back, memory_order_relaxed);
	int err = wake(&bare->words->there);

	return err ? err : wait_beyond(&bare->words->back, seen, WAIT_SECONDS);
}

/* A child that ends with its parent, even a killed one. */
static int child(int *pid)
{
	pid_t parent = getpid();

	*pid = fork();
	if (*pid < 0)
		return -errno;
	if (*pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent))
		_exit(1);
	return 0;
}

int bare_open(struct bare *bare)
{
	const struct timeval limit = { .tv_sec = WAIT_SECONDS };
	int pair[2], err;

	*bare = (struct bare){ .sock = -1, .echo_pid = -1, .futex_pid = -1 };
	bare->words = mmap(NULL, sizeof(*bare->words), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (bare->words == MAP_FAILED)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	bare->sock = pair[0];
	setsockopt(bare->sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	err = child(&bare->echo_pid);
	if (bare->echo_pid == 0) {
		close(pair[0]);
		echo(pair[1]);
	}
	close(pair[1]);
	if (!err)
		err = child(&bare->futex_pid);
	if (bare->futex_pid == 0)
		answer_futex(bare->words);
	if (err)
		bare_close(bare);
	return err;
}

void bare_close(struct bare *bare)
{
	const int pids[] = { bare->echo_pid, bare->futex_pid };

	for (unsigned i = 0; i < 2; i++) {
		if (pids[i] <= 0)
			continue;
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	if (bare->sock >= 0)
		close(bare->sock);
	munmap(bare->words, sizeof(*bare->words));
	*bare = (struct bare){ .sock = -1, .echo_pid = -1, .futex_pid = -1 };
}
