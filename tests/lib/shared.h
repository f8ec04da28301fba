/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shared memory of an object as tests of pool/client/shm.h want it, and processes that work on it. */
#ifndef VIDAS_TESTS_SHARED_H
#define VIDAS_TESTS_SHARED_H

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool/base/base.h"
#include "pool/client/shm.h"

#define WORKERS	      4
#define REPEAT	      4000
#define KILL_ROUNDS   40
#define RESOURCE_SIZE 4096u

/* One object's control file, and what the tests guard with it. */
struct shared {
	struct vidas_shm_resource r;
	struct vidas_shm_object o;
	uint64_t counter; /* guarded by r.range_lock */
	uint32_t inside;  /* who is in r.range_lock */
	_Atomic uint64_t received, sum;
	uint8_t data[RESOURCE_SIZE];
};

static inline struct shared *share_new(void)
{
	void *p = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

static inline void share_free(struct shared *s)
{
	munmap(s, sizeof(*s));
}

/* Sessions of these tests have their process's id; a thread of it the same one. */
static inline bool process_alive(void *arg, uint32_t id)
{
	(void)arg;
	return !kill((pid_t)id, 0);
}

static inline struct vidas_owner owner(void)
{
	return (struct vidas_owner){ (uint32_t)getpid(), process_alive, NULL };
}

static inline pid_t spawn(void (*run)(struct shared *s, unsigned seed), struct shared *s,
			  unsigned seed)
{
	pid_t pid = fork();

	if (!pid) {
		run(s, seed);
		_exit(0);
	}
	return pid;
}

static inline int reap(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return status;
}

static inline void pause_us(long us)
{
	struct timespec ts = { 0, us * 1000 };

	nanosleep(&ts, NULL);
}

#endif
