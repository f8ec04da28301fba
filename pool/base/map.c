/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/base/map.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * The handler looks ranges up without a lock: they are in blocks that are only ever added, at the
 * end of a list. A range is free while `start` is 0. Who takes one (under range_lock) writes `end`
 * before `start`; who frees one clears `start` before the memory is unmapped.
 */
struct vidas_map_range {
	_Atomic uintptr_t start;
	_Atomic uintptr_t end; /* of the last page */
	_Atomic int prot;
	atomic_bool cut;
};

#define BLOCK_RANGES 64

struct range_block {
	struct vidas_map_range range[BLOCK_RANGES];
	struct range_block *_Atomic next;
};

static struct range_block first_block;
static pthread_mutex_t range_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t handler_once = PTHREAD_ONCE_INIT;
static int handler_error;
static struct sigaction action_before;
static uintptr_t page_size;

static struct vidas_map_range *range_of(uintptr_t address)
{
	struct range_block *block = &first_block;

	for (; block; block = atomic_load_explicit(&block->next, memory_order_acquire)) {
		for (unsigned i = 0; i < BLOCK_RANGES; i++) {
			struct vidas_map_range *r = &block->range[i];
			uintptr_t start = atomic_load_explicit(&r->start, memory_order_acquire);

			if (start && address >= start &&
			    address < atomic_load_explicit(&r->end, memory_order_relaxed))
				return r;
		}
	}
	return NULL;
}

/* Async-signal-safe: atomics, mmap, sigaction, raise. */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t address = (uintptr_t)info->si_addr;
	struct vidas_map_range *r = info->si_code > 0 ? range_of(address) : NULL;
	int saved = errno;

	(void)context;
	if (r) {
		uintptr_t page = address & ~(page_size - 1);
		uintptr_t end = atomic_load_explicit(&r->end, memory_order_relaxed);
		int prot = atomic_load_explicit(&r->prot, memory_order_relaxed);

		atomic_store_explicit(&r->cut, true, memory_order_release);
		if (mmap((void *)page, end - page, prot,
			 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			 0) != MAP_FAILED) {
			errno = saved;
			return;
		}
	}
	/* Not ours: as if we had never been here. A fault comes again at once, a kill() must be
	 * raised anew. */
	sigaction(SIGBUS, &action_before, NULL);
	if (info->si_code <= 0)
		raise(sig);
	errno = saved;
}

static void install_handler(void)
{
	struct sigaction action = { .sa_sigaction = on_sigbus,
				    .sa_flags = SA_SIGINFO | SA_NODEFER };

	page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, &action_before) < 0)
		handler_error = -errno;
}

/* Under range_lock. */
static struct vidas_map_range *range_take(void)
{
	struct range_block *block = &first_block;

	for (;;) {
		struct range_block *next;

		for (unsigned i = 0; i < BLOCK_RANGES; i++)
			if (!atomic_load_explicit(&block->range[i].end, memory_order_relaxed))
				return &block->range[i];
		next = atomic_load_explicit(&block->next, memory_order_relaxed);
		if (!next) {
			next = calloc(1, sizeof(*next));
			if (!next)
				return NULL;
			atomic_store_explicit(&block->next, next, memory_order_release);
		}
		block = next;
	}
}

int vidas_map_open(int fd, uint64_t offset, size_t size, int prot, struct vidas_map *out)
{
	struct vidas_map_range *r;
	size_t whole;
	void *ptr;

	pthread_once(&handler_once, install_handler);
	if (handler_error)
		return handler_error;
	if (!size || size > SIZE_MAX - page_size || offset > INT64_MAX)
		return -EINVAL;
	whole = (size + page_size - 1) & ~(page_size - 1);
	ptr = mmap(NULL, size, prot, MAP_SHARED, fd, (off_t)offset);
	if (ptr == MAP_FAILED)
		return -errno;
	pthread_mutex_lock(&range_lock);
	r = range_take();
	if (r) {
		atomic_store_explicit(&r->prot, prot, memory_order_relaxed);
		atomic_store_explicit(&r->cut, false, memory_order_relaxed);
		atomic_store_explicit(&r->end, (uintptr_t)ptr + whole, memory_order_relaxed);
		atomic_store_explicit(&r->start, (uintptr_t)ptr, memory_order_release);
	}
	pthread_mutex_unlock(&range_lock);
	if (!r) {
		munmap(ptr, size);
		return -ENOMEM;
	}
	*out = (struct vidas_map){ .ptr = ptr, .size = size, .range = r };
	return 0;
}

bool vidas_map_cut(const struct vidas_map *map)
{
	return map->range && atomic_load_explicit(&map->range->cut, memory_order_acquire);
}

void vidas_map_close(struct vidas_map *map)
{
	struct vidas_map_range *r;

	if (!map || !map->range)
		return;
	r = map->range;
	/* Unmapped only after `start` is gone: the handler must not cover what others map there
	 * next. The range can be taken again once `end` is 0. */
	atomic_store_explicit(&r->start, 0, memory_order_seq_cst);
	munmap(map->ptr, map->size);
	atomic_store_explicit(&r->end, 0, memory_order_release);
	*map = (struct vidas_map){ 0 };
}
