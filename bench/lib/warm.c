/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/lib/rounds.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

int vidas_bench_warm(uint64_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	volatile char *at;

	at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return -errno;
	(void)madvise((void *)(uintptr_t)at, bytes, MADV_HUGEPAGE);
	for (size_t i = 0; i < bytes; i += page)
		at[i] = 1;
	munmap((void *)(uintptr_t)at, bytes);
	return 0;
}
