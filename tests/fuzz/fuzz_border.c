/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the far half of vidasfs takes from a lane: any bytes, at exactly their length, so that the
 * sanitizer sees what looks beyond. Seeds are in corpus/fuzz_border/; tests/unit/border writes them anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vidasfs/border.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vidas_border_names names;
	void *msg = malloc(size ? size : 1);
	int err;

	if (!msg)
		abort();
	memcpy(msg, data, size);
	/* The length is right more often than mutations make it. */
	if (size >= 4 && data[0] & 1)
		memcpy(msg, &(uint32_t){ (uint32_t)size }, 4);
	err = vidas_border_check(msg, size);
	if (err && err != -ENOSYS && err != -EPROTO)
		abort();
	if (!err) {
		vidas_border_names(msg, &names);
		if (names.nodes > 2 || names.handles > names.nodes)
			abort();
	}
	free(msg);
	return 0;
}
