/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Guarded mappings: a mapping of a pool file stays readable and writable whatever domains do to
 * the file. Where another cut the file short (or the pool has no memory left for a page of it),
 * touching the mapping would be SIGBUS and the end of the process; here the rest of the mapping,
 * from the fault on, becomes zero pages of this process alone, and the mapping remembers it.
 *
 * System calls that are given such memory do not fault but give -EFAULT or a short count: callers
 * treat both as "cut".
 *
 * Threads: mappings may be opened, closed and touched in parallel; one of them is closed by one
 * thread, when nobody touches it any more. No thread may block SIGBUS (the kernel then ends the
 * process at such a fault). Faults outside of guarded mappings keep the action that was installed
 * before the first mapping was made.
 */
#ifndef VIDAS_MAP_H
#define VIDAS_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vidas_map_range;

struct vidas_map {
	uint8_t *ptr;
	size_t size; /* bytes asked for */
	struct vidas_map_range *range;
};

/* Maps [offset, offset + size) of `fd` shared; `offset` a multiple of the page size, `size` not 0,
 * `prot` as in mmap. */
int vidas_map_open(int fd, uint64_t offset, size_t size, int prot, struct vidas_map *out);

/* Have zeros taken the place of bytes of the file? */
bool vidas_map_cut(const struct vidas_map *map);

/* A map that is all zeros, and NULL, are allowed. */
void vidas_map_close(struct vidas_map *map);

#endif
