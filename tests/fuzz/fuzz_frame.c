/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes as a frame: decode reads nothing beyond them, and what it accepts is laid out again as it was,
 * but for lives, which only go with descriptors.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pool/transport/xen/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void decode_one(const void *buf, size_t size)
{
	uint8_t head[VIDAS_FRAME_HEAD_MAX];
	const char *reason = NULL;
	struct vidas_frame f;
	unsigned fds;
	size_t bytes;

	if (size >= sizeof(struct vidas_frame_header))
		vidas_frame_size(buf);
	if (vidas_frame_decode(buf, size, &f, &fds, &reason) < 0) {
		must(reason && reason[0]);
		return;
	}
	must(f.shares <= VIDAS_FRAME_SHARES && fds <= 2 * f.shares);
	must(f.lane < VIDAS_FRAME_LANES);
	bytes = vidas_frame_head(&f, true, head);
	must(bytes + f.payload_bytes == size && !memcmp(head, buf, bytes));
	must((const uint8_t *)f.payload == (const uint8_t *)buf + bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *buf = malloc(size ? size : 1);
	uint32_t says = (uint32_t)size;

	must(buf != NULL);
	if (size)
		memcpy(buf, data, size);
	decode_one(buf, size);
	if (size >= sizeof(says)) {
		memcpy(buf, &says, sizeof(says));
		decode_one(buf, size);
	}
	free(buf);
	return 0;
}
