/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside pool/client/ only: copies from and to a mapping that another process may cut short.
 *
 * Reading a mapped page that lies beyond the file's end is a SIGBUS. A copy through the kernel
 * (pread, pwrite) gives a short count instead, but costs 3 times memcpy at 1 MiB on 4 KiB pages;
 * looking at the file's length before each copy costs 0.3 us, 5 times a copy of 4 KiB, and a cut
 * may still come between. So: where the program has left SIGBUS at its default, i.e. would be
 * killed, we take it, and a fault inside such a copy ends the copy; every other one still kills
 * as before. Where the program has a handler of its own it keeps it, and likewise with
 * $VIDAS_COPY=checked: then the length is looked at.
 */
#ifndef VIDAS_GUARD_H
#define VIDAS_GUARD_H

#include <stddef.h>
#include <stdint.h>

/* Before the first copy; any number of times. */
void vidas_guard_init(void);

/*
 * Copies `size` bytes of which [shared, shared + size), one of `to` and `from`, is in a mapping of
 * `fd` (-1: cannot be cut). The mapping's part reaches to `end` in the file. -EIO: it was cut.
 */
int vidas_guard_copy(void *to, const void *from, size_t size, const void *shared, int fd,
		     uint64_t end);

#endif
