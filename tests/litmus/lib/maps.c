/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mapped files (MAP_SHARED). */
#include "litmus.h"

#include <linux/futex.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>

#define ROUNDS 200u
#define PAGE   4096u
#define LENGTH (16 * PAGE)

static const char *name;

static void *map(int fd)
{
	void *p = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(p != MAP_FAILED, "mmap: %m");
	return p;
}

static int fds[3];
static _Atomic uint64_t *mapped[3];

static void map_all(void)
{
	name = new_file();
	CHECK(!truncate(in(0, "%s", name), LENGTH), "truncate: %m");
	for (unsigned d = 0; d < domains; d++) {
		fds[d] = must_open(in(d, "%s", name), O_RDWR);
		mapped[d] = map(fds[d]);
	}
}

static void unmap_all(void)
{
	for (unsigned d = 0; d < domains; d++) {
		munmap((void *)(uintptr_t)mapped[d], LENGTH);
		close(fds[d]);
	}
}

static void store_seen(void)
{
	map_all();
	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t at = i * 37 % (LENGTH / 8);
		unsigned d = i % domains;

		atomic_store_explicit(&mapped[d][at], i, memory_order_relaxed);
		for (unsigned e = 0; e < domains; e++) {
			CHECK(mapped[e][at] == i, "domain %u does not load what was stored", e);
			CHECK(get(fds[e], 8 * (off_t)at) == i, "domain %u does not read it", e);
		}
		put(fds[d], 8 * (off_t)at, i + 1000);
		for (unsigned e = 0; e < domains; e++)
			CHECK(mapped[e][at] == i + 1000, "domain %u does not load what was written",
			      e);
	}
	unmap_all();
}

static void add(unsigned d)
{
	meet();
	for (unsigned i = 0; i < 100 * ROUNDS; i++)
		atomic_fetch_add(&mapped[d][7], 1);
}

static void atomics(void)
{
	map_all();
	together(add);
	for (unsigned d = 0; d < domains; d++)
		CHECK(mapped[d][7] == domains * 100 * ROUNDS, "additions were lost");
	unmap_all();
}

static void pass(unsigned d)
{
	for (uint64_t i = 1; i <= ROUNDS; i++) {
		meet();
		if (d == 0) {
			atomic_store_explicit(&mapped[d][100], i, memory_order_relaxed);
			atomic_store_explicit(&mapped[d][3000], i, memory_order_release);
			continue;
		}
		while (atomic_load_explicit(&mapped[d][3000], memory_order_acquire) != i)
			;
		CHECK(atomic_load_explicit(&mapped[d][100], memory_order_relaxed) == i,
		      "the flag without the data");
	}
}

static void release_acquire(void)
{
	map_all();
	together(pass);
	unmap_all();
}

static long futex(_Atomic uint64_t *word, int op, uint32_t value)
{
	const struct timespec deadline = { .tv_sec = 20 };

	return syscall(SYS_futex, word, op, value, op == FUTEX_WAIT ? &deadline : NULL, NULL, 0);
}

/* Domain 0 wakes the others. */
static void sleep_or_wake(unsigned d)
{
	for (uint64_t i = 1; i <= 20; i++) {
		meet();
		if (d == 0) {
			atomic_store(&mapped[0][50], i);
			futex(&mapped[0][50], FUTEX_WAKE, INT32_MAX);
			continue;
		}
		while (atomic_load(&mapped[d][50]) < i)
			CHECK(!futex(&mapped[d][50], FUTEX_WAIT, (uint32_t)i - 1) ||
				      errno == EAGAIN || errno == EINTR,
			      "domain %u was not woken: %m", d);
	}
}

static void futexes(void)
{
	map_all();
	together(sleep_or_wake);
	unmap_all();
}

static sigjmp_buf out;

static void on_bus(int sig)
{
	(void)sig;
	siglongjmp(out, 1);
}

/* Does a load of it give SIGBUS? */
static bool bus(unsigned d, size_t at)
{
	volatile uint64_t got;

	if (sigsetjmp(out, 1))
		return true;
	got = mapped[d][at];
	(void)got;
	return false;
}

static void cut_while_mapped(void)
{
	const struct sigaction sa = { .sa_handler = on_bus }, none = { .sa_handler = SIG_DFL };

	map_all();
	sigaction(SIGBUS, &sa, NULL);
	for (unsigned i = 0; i < 20; i++) {
		unsigned by = i % domains;

		for (unsigned d = 0; d < domains; d++)
			mapped[d][PAGE / 8 * (d + 2)] = 1;
		CHECK(!ftruncate(fds[by], PAGE + 100), "ftruncate: %m");
		for (unsigned d = 0; d < domains; d++) {
			CHECK(!bus(d, 0), "domain %u lost what is left of the file", d);
			CHECK(bus(d, PAGE / 8 * 2), "domain %u still loads what was cut off", d);
		}
		CHECK(!ftruncate(fds[by], LENGTH), "ftruncate: %m");
		for (unsigned d = 0; d < domains; d++)
			CHECK(!bus(d, PAGE / 8 * 2) && mapped[d][PAGE / 8 * (d + 2)] == 0,
			      "domain %u sees no zeros where the file was extended", d);
	}
	sigaction(SIGBUS, &none, NULL);
	unmap_all();
}

/* In nobody's case has a mapping without passthrough anything to do with the pool until msync. */
static void msync_seen(void)
{
	name = new_file();
	CHECK(!truncate(in(0, "%s", name), LENGTH), "truncate: %m");
	for (unsigned i = 1; i <= 20; i++) {
		unsigned d = i % domains;
		int fd = must_open(in(d, "%s", name), O_RDWR);
		uint64_t *p = map(fd);

		p[600] = i;
		CHECK(!msync(p, LENGTH, MS_SYNC), "msync: %m");
		for (unsigned e = 0; e < domains; e++) {
			int other = must_open(in(e, "%s", name), O_RDWR);
			uint64_t *q;

			CHECK(get(other, 600 * 8) == i, "domain %u does not read what was synced",
			      e);
			q = map(other);
			CHECK(q[600] == i, "a new mapping in domain %u does not have it", e);
			munmap(q, LENGTH);
			close(other);
		}
		munmap(p, LENGTH);
		close(fd);
	}
}

const struct litmus map_tests[] = {
	{ "C40", "a store is what all domains load and read next, a write what they load",
	  PASSTHROUGH, store_seen },
	{ "C41", "atomic operations of all domains count", PASSTHROUGH, atomics },
	{ "C42", "message passing by release and acquire", PASSTHROUGH, release_acquire },
	{ "C43", "a futex in a mapped file wakes across domains", PASSTHROUGH, futexes },
	{ "C44", "beyond a truncate a load is a SIGBUS in all domains, and zeros once extended",
	  PASSTHROUGH, cut_while_mapped },
	{ "C45", "after msync all domains read the stores, and map them anew", ANY, msync_seen },
	{ 0 },
};
