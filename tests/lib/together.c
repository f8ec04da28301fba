/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * together CONTAINER RESOURCE MIB RANK RANKS [DOMAIN...]: several domains map one object whole, each writes its pages
 * and waits until it sees the others'. Rank 0 makes container (for the DOMAINs) and object. Prints how many messages to
 * vidasd it took to create or join, and for ten rounds of the six operations on shared memory. At last rank 1 sleeps
 * until rank 0 wakes it, five times, and tells how: by a ring of an event channel, or by looking.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vidas/vidas.h>

#include "pool/base/base.h"
#include "pool/client/tree.h"
#include "pool/transport/xen/bells.h"

#define PAGE	4096u
#define WAIT_US (INT64_C(90) * 1000 * 1000)

static const char *container, *resource;
static uint64_t pages;
static unsigned rank, ranks;
static struct vidas *v;

static int failed(const char *what)
{
	fprintf(stderr, "together %u: %s: %s\n", rank, what, vidas_error_text());
	return 1;
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 20 * 1000 * 1000 }, NULL);
}

static int attach(char **ids, int n)
{
	vidas_domain_id domain[VIDAS_DOMAINS_MAX];
	int64_t end_us = vidas_now_us() + WAIT_US;
	int err;

	if (rank == 0) {
		for (int i = 0; i < n; i++)
			domain[i] = (vidas_domain_id)atoi(ids[i]);
		return vidas_container_create(v, container, domain, (unsigned)n);
	}
	while ((err = vidas_container_attach(v, container)) == -ENOENT && vidas_now_us() < end_us)
		nap();
	return err;
}

static uint8_t pattern(uint64_t page)
{
	return (uint8_t)(page * 7 + page % ranks + 1);
}

static bool all_written(const volatile uint8_t *data)
{
	for (uint64_t p = 0; p < pages; p++)
		if (data[p * PAGE] != pattern(p) || data[p * PAGE + PAGE - 1] != pattern(p))
			return false;
	return true;
}

static int six_operations(struct vidas_object *o)
{
	uint64_t at = rank * 64;
	char buf[64] = "value";

	for (int i = 0; i < 10; i++) {
		memset(buf, pattern(0), sizeof(buf));
		if (vidas_object_setattr(o, "mine", "value", 5) < 0 ||
		    vidas_object_getattr(o, "mine", buf, sizeof(buf)) != 5 ||
		    vidas_object_read(o, buf, at, sizeof(buf)) != sizeof(buf) ||
		    vidas_object_write(o, buf, at, sizeof(buf)) != sizeof(buf) ||
		    vidas_object_notify(o, "m", 1, WAIT_US) < 0 ||
		    vidas_object_wait(o, buf, sizeof(buf), WAIT_US) != 1)
			return -1;
	}
	return 0;
}

static int run(struct vidas_object *o)
{
	volatile uint8_t *data = vidas_object_data(o);
	int64_t end_us = vidas_now_us() + WAIT_US;
	uint64_t before;

	for (uint64_t p = rank; p < pages; p += ranks)
		memset((void *)(uintptr_t)(data + p * PAGE), pattern(p), PAGE);
	while (!all_written(data)) {
		if (vidas_now_us() > end_us)
			return failed("what the others write is not seen");
		nap();
	}
	before = vidas_messages(v);
	if (six_operations(o) < 0)
		return failed("operations");
	printf("rank %u: sees %llu pages of %u; six operations, ten times: %llu messages\n", rank,
	       (unsigned long long)pages, ranks, (unsigned long long)(vidas_messages(v) - before));
	return 0;
}

static int ring(struct vidas_object *o)
{
	struct vidas_bells_count count;
	char buf[8];

	for (int i = 0; i < 5 && rank < 2; i++) {
		if (rank == 1 && vidas_object_wait(o, buf, sizeof(buf), WAIT_US) != 1)
			return failed("waiting");
		for (int n = 0; rank == 0 && n < 25; n++)
			nap();
		if (rank == 0 && vidas_object_notify(o, "r", 1, WAIT_US) < 0)
			return failed("notifying");
	}
	count = vidas_bells_so_far();
	if (rank == 1)
		printf("rank 1: woken five times: by a ring %llu, by looking %llu\n",
		       (unsigned long long)count.heard, (unsigned long long)count.missed);
	return 0;
}

/* What a session says once, whatever it does, is said now: then an object's own messages are counted. */
static int warm_up(void)
{
	struct vidas_object *o;
	char name[32];
	int err;

	snprintf(name, sizeof(name), "warm%u", rank);
	err = vidas_object_create(v, container, name, 0, PAGE, &o);
	if (!err)
		err = vidas_object_destroy(o);
	for (int i = 0; i < 10; i++)
		nap();
	return err;
}

int main(int argc, char **argv)
{
	struct vidas_object *o;
	uint64_t before;
	int err;

	if (argc < 6)
		return 2;
	container = argv[1];
	resource = argv[2];
	pages = strtoull(argv[3], NULL, 10) * 256;
	rank = (unsigned)atoi(argv[4]);
	ranks = (unsigned)atoi(argv[5]);
	if (vidas_open(NULL, &v) < 0 || attach(argv + 6, argc - 6) < 0)
		return failed("attach");
	if (warm_up() < 0)
		return failed("an object of its own");
	before = vidas_messages(v);
	if (rank == 0)
		err = vidas_object_create(v, container, resource, 0, pages * PAGE, &o);
	else
		err = vidas_object_join(v, container, resource, 0, pages * PAGE, WAIT_US, &o);
	if (err < 0)
		return failed(rank ? "join" : "create");
	printf("rank %u: %s: %llu messages\n", rank, rank ? "join" : "create",
	       (unsigned long long)(vidas_messages(v) - before));
	fflush(stdout);
	err = run(o);
	if (!err)
		err = ring(o);
	vidas_object_leave(o);
	vidas_close(v);
	return err;
}
