/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside vidas-gate only. The gate is where a guest comes in: a parent process, which sees guests come and go
 * in XenStore and starts a process for each; and that process, which has the guest's ring, the
 * right to grant memory to this one guest, and connections to vidasd as its domain. vidasd itself
 * knows nothing of Xen.
 */
#ifndef VIDAS_GATE_H
#define VIDAS_GATE_H

#include <string.h>

#include "pool/transport/xen/mux.h"
#include "pool/wire/wire.h"

struct vidas_gate {
	const char *run_dir;	/* vidasd's */
	const char *vidasfs;	/* program of far halves */
	const char *link;	/* "vchan", "vchan:PATH", "socket:PATH" */
	vidas_domain_id domain; /* with a PATH, or of `guest` */
	uint32_t guest; /* the domid of the one guest that this process serves; 0: the parent */
	int grants_fd;	/* its device, or -1 */
	bool verbose;
	uint32_t cap_pages; /* granted to one guest at once */
	volatile bool stop;
};

/* The PATH of "vchan:PATH", at which Dom0 itself comes in as one domain; NULL otherwise. */
static inline const char *vidas_gate_ring(const struct vidas_gate *g)
{
	return strncmp(g->link, "vchan:", 6) ? NULL : g->link + 6;
}

/* gate_guest.c: serves one guest over a link, which it takes, until that ends or `g->stop`: 0 it was
 * ended in order, -errno with words. One thread; starts far halves as child processes. */
int vidas_gate_serve(struct vidas_gate *g, vidas_domain_id domain, struct vidas_link *link);

/* gate_memory.c: what requests asked for, as far as it tells which part of a file an answer is about. */
#define VIDAS_GATE_ASKED 8u
struct vidas_gate_asked {
	struct {
		uint64_t id, offset;
	} request[VIDAS_GATE_ASKED];
	unsigned next;
};

/* Looks at a message on its way to vidasd. */
void vidas_gate_request(struct vidas_gate_asked *asked, const struct vidas_frame *f);
/* Looks at one on its way from vidasd: gives each share the range that the guest is to have of it; what it
 * is not to have is closed. */
void vidas_gate_reply(const struct vidas_gate_asked *asked, struct vidas_frame *f);
/* The same for one of a far half, which has said the range itself. */
void vidas_gate_fs_reply(struct vidas_frame *f);

/* gate_xen.c, in builds with Xen's libraries: serves all guests that come, each by a process; and what that
 * process does. Until `g->stop`. */
int vidas_gate_guests(struct vidas_gate *g);
int vidas_gate_guest(struct vidas_gate *g);

#endif
