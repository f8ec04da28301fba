/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The border between the halves of vidasfs (lane.h): nothing behind it looks at a request of a near half
 * before it was looked at here. libfuse and the operations believe what a kernel sends; whoever sends
 * on a lane may be no kernel.
 *
 * Threads: no state.
 */
#ifndef VIDASFS_BORDER_H
#define VIDASFS_BORDER_H

#include <stddef.h>
#include <stdint.h>

/*
 * Is `msg`, aligned as malloc(3) does, a FUSE request whose parts are where its sizes say: as long as it says;
 * bodies whole; strings that end, names without '/' that are not "." or ".."; nothing asked for that is larger
 * than a lane carries; no offset that overflows? 0; -ENOSYS a request that vidasfs does not know (it has an
 * answer: the kernel may know more than we); -EPROTO what no kernel sends.
 */
int vidas_border_check(const void *msg, size_t bytes);

/* What a request names, which is beyond a check of itself. */
enum vidas_border_node {
	VIDAS_BORDER_ANY,
	VIDAS_BORDER_DIR,
	VIDAS_BORDER_FILE,
};
struct vidas_border_names {
	unsigned nodes, handles; /* how many of each */
	struct {
		uint64_t id;
		enum vidas_border_node type;
	} node[2];
	/* Of node[i]; one of a directory if that is of type DIR. */
	uint64_t handle[2];
};
/* Of a request that was checked. */
void vidas_border_names(const void *msg, struct vidas_border_names *out);

#endif
