/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/client/guard.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "pool/base/base.h"

/* What __builtin_setjmp saves takes 2 ns, and there is no signal mask to be saved: the handler runs
 * without one. */
#if defined(__x86_64__)
typedef void *jump[5];
#define JUMP_SET(j) __builtin_setjmp(j)
#define JUMP_TO(j)  __builtin_longjmp((j), 1)
#else
typedef sigjmp_buf jump;
#define JUMP_SET(j) sigsetjmp((j), 0)
#define JUMP_TO(j)  siglongjmp((j), 1)
#endif

/* The copy under way in this thread; `start` is NULL if there is none. */
static _Thread_local struct {
	const uint8_t *volatile start;
	const uint8_t *volatile end;
	jump out;
} copy __attribute__((tls_model("initial-exec")));

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_bool guarded;

static void bus(int sig, siginfo_t *info, void *context)
{
	const uint8_t *at = info->si_addr;

	(void)context;
	if (info->si_code > 0 && copy.start && at >= copy.start && at < copy.end) {
		copy.start = NULL;
		JUMP_TO(copy.out);
	}
	/* Not ours: as if we had never been here. A fault happens again, a kill() is sent again. */
	signal(sig, SIG_DFL);
	if (info->si_code <= 0)
		raise(sig);
}

static void guard_install(void)
{
	struct sigaction now,
		ours = { .sa_sigaction = bus, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
	const char *how = getenv("VIDAS_COPY");

	if (how && !strcmp(how, "checked"))
		return;
	if (sigaction(SIGBUS, NULL, &now) || (now.sa_flags & SA_SIGINFO) ||
	    now.sa_handler != SIG_DFL)
		return;
	sigemptyset(&ours.sa_mask);
	if (!sigaction(SIGBUS, &ours, NULL))
		atomic_store_explicit(&guarded, true, memory_order_relaxed);
}

void vidas_guard_init(void)
{
	pthread_once(&once, guard_install);
}

/* Where SIGBUS is not ours, or the memory cannot be cut. */
static __attribute__((noinline)) int checked_copy(void *to, const void *from, size_t size, int fd,
						  uint64_t end)
{
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) < 0)
		return vidas_fail(-errno, "the resource: %s", strerror(errno));
	if (fd >= 0 && (uint64_t)st.st_size < end)
		return vidas_fail(-EIO, "the resource was cut short");
	memcpy(to, from, size);
	return 0;
}

static __attribute__((noinline)) int copy_cut(void)
{
	return vidas_fail(-EIO, "the resource was cut short");
}

/* Alone in its function, as all that it returns twice into has to be in memory. */
__attribute__((noinline)) int vidas_guard_copy(void *to, const void *from, size_t size,
					       const void *shared, int fd, uint64_t end)
{
	if (fd < 0 || !atomic_load_explicit(&guarded, memory_order_relaxed))
		return checked_copy(to, from, size, fd, end);
	copy.end = (const uint8_t *)shared + size;
	if (JUMP_SET(copy.out))
		return copy_cut();
	copy.start = shared;
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(to, from, size);
	atomic_signal_fence(memory_order_seq_cst);
	copy.start = NULL;
	return 0;
}
