/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In Dom0: pages granted through /dev/vidas-gnt.
 *   grants share PAGES DOMID...   grants a file's pages to all of them; prints "root DOMID REF" for each (maps all REF),
 *                                 then does what standard input says, a line each: written (waits until all guests
 *                                 wrote, checks it, tells them), end (tells them to unmap), revoke (prints how many
 *                                 are busy)
 *   grants one DOMID [ro]         one page, whose first word is 0x5eed; prints its reference; stays until input ends
 *   grants stat DOMID             prints "GRANTED BUSY DEFERRED TOTAL"
 *   grants open                   does nothing else
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kmod/vidas-gnt.h"
#include "shared.h"

#define GUESTS_MAX 8u
#define DEADLINE_S 60

static int device;
static uint32_t pages, guests;
static uint16_t domids[GUESTS_MAX];
static uint32_t *refs[GUESTS_MAX];
static volatile uint32_t *data;

static void grant(int fd, uint32_t first, uint32_t n, uint16_t domid, uint16_t flags, uint32_t *to)
{
	struct vidas_gnt_grant g = { .fd = fd,
				     .domid = domid,
				     .flags = flags,
				     .offset = (uint64_t)first * PAGE,
				     .pages = n,
				     .refs = (uintptr_t)to };

	if (ioctl(device, VIDAS_GNT_GRANT, &g))
		err(1, "VIDAS_GNT_GRANT of %u pages", n);
	if (g.granted != n)
		errx(1, "%u of %u pages granted: %s", g.granted, n, strerror(g.error));
}

static void *file(uint32_t n, int *fd)
{
	void *at;

	*fd = memfd_create("pool", MFD_CLOEXEC);
	if (*fd < 0 || ftruncate(*fd, (off_t)n * PAGE))
		err(1, "memfd");
	at = mmap(NULL, (size_t)n * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (at == MAP_FAILED)
		err(1, "mmap");
	return at;
}

/* Grants all to guest `g`, and what it needs to find it: a root page and index pages of its own. */
static void share_with(int fd, uint32_t g)
{
	uint32_t indexes = (pages + WORDS - 1) / WORDS, ref;
	int index_fd;
	uint32_t *index = file(indexes + 1, &index_fd);
	struct root *root = (struct root *)(index + (size_t)indexes * WORDS);

	refs[g] = calloc(pages, sizeof(**refs));
	if (!refs[g])
		err(1, "memory");
	grant(fd, 0, pages, domids[g], 0, refs[g]);
	memcpy(index, refs[g], pages * sizeof(**refs));
	*root = (struct root){ pages, indexes, g, guests, { 0 } };
	grant(index_fd, 0, indexes, domids[g], VIDAS_GNT_READONLY, root->refs);
	grant(index_fd, indexes, 1, domids[g], VIDAS_GNT_READONLY, &ref);
	printf("root %u %u\n", domids[g], ref);
}

static void all_written(void)
{
	time_t end = time(NULL) + DEADLINE_S;
	uint32_t bad = 0;

	for (uint32_t g = 0; g < guests; g++) {
		while (data[(pages - 1) * WORDS + GUEST_WORD(g)] == 0) {
			if (time(NULL) > end)
				errx(1, "guest %u did not write", g);
			usleep(20000);
		}
		for (uint32_t i = 0; i < pages; i++)
			bad += data[i * WORDS + GUEST_WORD(g)] != GUEST_VALUE(g, i);
	}
	data[ALL_WROTE_WORD] = 1;
	printf("written, %u bad\n", bad);
}

static void take_back(void)
{
	uint32_t busy = 0;

	for (uint32_t g = 0; g < guests; g++) {
		struct vidas_gnt_revoke r = { .refs = (uintptr_t)refs[g], .count = pages };

		if (ioctl(device, VIDAS_GNT_REVOKE, &r) || r.unknown)
			err(1, "VIDAS_GNT_REVOKE: %u unknown", r.unknown);
		busy += r.busy;
	}
	printf("busy %u\n", busy);
}

static int share(int n, char **who)
{
	char line[64];
	int fd;

	guests = (uint32_t)n;
	data = file(pages, &fd);
	for (uint32_t i = 0; i < pages; i++)
		data[i * WORDS + OWNER_WORD] = OWNER_VALUE(i);
	for (uint32_t g = 0; g < guests; g++) {
		domids[g] = (uint16_t)atoi(who[g]);
		share_with(fd, g);
	}
	while (fgets(line, sizeof(line), stdin)) {
		if (strcmp(line, "written\n") == 0)
			all_written();
		else if (strcmp(line, "end\n") == 0)
			printf("end %u\n", data[END_WORD] = 1);
		else if (strcmp(line, "revoke\n") == 0)
			take_back();
	}
	return 0;
}

static int one(uint16_t domid, uint16_t flags)
{
	uint32_t ref;
	int fd;

	data = file(1, &fd);
	data[0] = 0x5eed;
	grant(fd, 0, 1, domid, flags, &ref);
	printf("%u\n", ref);
	while (getchar() != EOF)
		;
	return 0;
}

static int stat_of(uint16_t domid)
{
	struct vidas_gnt_stat s = { .domid = domid };

	if (ioctl(device, VIDAS_GNT_STAT, &s))
		err(1, "VIDAS_GNT_STAT");
	printf("%u %u %u %u\n", s.granted, s.busy, s.deferred, s.total);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	device = open(VIDAS_GNT_DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0)
		err(1, VIDAS_GNT_DEVICE);
	if (strcmp(what, "open") == 0)
		return 0;
	if (argc > 2 && strcmp(what, "stat") == 0)
		return stat_of((uint16_t)atoi(argv[2]));
	if (argc > 2 && strcmp(what, "one") == 0)
		return one((uint16_t)atoi(argv[2]), argc > 3 ? VIDAS_GNT_READONLY : 0);
	if (argc < 4 || argc - 3 > (int)GUESTS_MAX || strcmp(what, "share") != 0)
		errx(2, "usage: grants share PAGES DOMID... | one DOMID [ro] | stat DOMID | open");
	pages = (uint32_t)atoi(argv[2]);
	return share(argc - 3, argv + 3);
}
