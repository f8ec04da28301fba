/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In a guest: maps what grants.c shared in Dom0.
 *   maps all REF [SECONDS]    all pages behind the root page REF: checks, writes, checks what the other guests wrote,
 *                             keeps them until the owner says so, or that long, and checks again
 *   maps one REF [WORD]       one page: prints its first word; WORD: writes that there first
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <xengnttab.h>

#include "shared.h"

#define DEADLINE_S 60

static xengnttab_handle *gnt;

static void until(volatile uint32_t *word, const char *what)
{
	time_t end = time(NULL) + DEADLINE_S;

	while (*word == 0) {
		if (time(NULL) > end)
			errx(1, "nobody told me that %s", what);
		usleep(20000);
	}
}

static uint32_t bad_of(const volatile uint32_t *data, uint32_t pages, uint32_t word, uint32_t value)
{
	uint32_t bad = 0;

	for (uint32_t i = 0; i < pages; i++)
		bad += data[i * WORDS + word] != value + i;
	return bad;
}

static int map_all(uint32_t ref, unsigned seconds)
{
	struct root *root = xengnttab_map_grant_ref(gnt, 0, ref, PROT_READ);
	volatile uint32_t *data;
	uint32_t *index, bad;

	if (!root)
		err(1, "cannot map the root page");
	index = xengnttab_map_domain_grant_refs(gnt, root->indexes, 0, root->refs, PROT_READ);
	if (!index)
		err(1, "cannot map %u index pages", root->indexes);
	data = xengnttab_map_domain_grant_refs(gnt, root->pages, 0, index, PROT_READ | PROT_WRITE);
	if (!data)
		err(1, "cannot map %u pages", root->pages);
	bad = bad_of(data, root->pages, OWNER_WORD, OWNER_VALUE(0));
	for (uint32_t i = 0; i < root->pages; i++)
		data[i * WORDS + GUEST_WORD(root->me)] = GUEST_VALUE(root->me, i);
	printf("%u pages mapped\n", root->pages);
	fflush(stdout);
	until(&data[ALL_WROTE_WORD], "all have written");
	for (uint32_t g = 0; g < root->guests; g++)
		bad += bad_of(data, root->pages, GUEST_WORD(g), GUEST_VALUE(g, 0));
	if (seconds > 0)
		sleep(seconds);
	else
		until(&data[END_WORD], "this is the end");
	bad += bad_of(data, root->pages, OWNER_WORD, OWNER_VALUE(0));
	printf("%u bad\n", bad);
	return bad != 0;
}

static int map_one(uint32_t ref, const char *word)
{
	int prot = word ? PROT_READ | PROT_WRITE : PROT_READ;
	volatile uint32_t *page = xengnttab_map_grant_ref(gnt, 0, ref, prot);

	if (!page)
		err(1, "cannot map %u", ref);
	if (word)
		page[0] = (uint32_t)strtoul(word, NULL, 0);
	printf("%#x\n", page[0]);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		errx(2, "usage: maps all REF [SECONDS] | one REF [WORD]");
	gnt = xengnttab_open(NULL, 0);
	if (!gnt)
		err(1, "xengnttab_open");
	if (strcmp(argv[1], "all") == 0)
		return map_all((uint32_t)strtoul(argv[2], NULL, 0),
			       argc > 3 ? (unsigned)atoi(argv[3]) : 0);
	return map_one((uint32_t)strtoul(argv[2], NULL, 0), argc > 3 ? argv[3] : NULL);
}
