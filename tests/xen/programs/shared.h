/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How grants.c (Dom0) and maps.c (a guest) find each other's words: a root page names index pages,
 * which name the data pages, so that one reference on a command line is enough for many pages.
 */
#ifndef VIDAS_TEST_XEN_SHARED_H
#define VIDAS_TEST_XEN_SHARED_H

#include <stdint.h>

#define PAGE  4096u
#define WORDS 1024u /* in a page */

struct root {
	uint32_t pages;
	uint32_t indexes;
	uint32_t me; /* which of the guests */
	uint32_t guests;
	uint32_t refs[1000]; /* of the index pages */
};

/* Words of each data page: who wrote what. */
#define OWNER_WORD		 0u
#define OWNER_VALUE(page)	 (0xd0d00000u + (page))
#define GUEST_WORD(guest)	 (1u + (guest))
#define GUEST_VALUE(guest, page) (0xa0000000u + ((guest) << 24) + (page))
/* Of the first page, written by the owner. */
#define ALL_WROTE_WORD		 100u
#define END_WORD		 101u

#endif
