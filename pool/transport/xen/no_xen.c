/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In place of what needs Xen's libraries, in builds without them. */
#include <errno.h>

#include "pool/base/base.h"
#include "pool/transport/xen/gate.h"

static int none(void)
{
	return vidas_fail(-EPROTONOSUPPORT, "this build is without Xen's libraries (VIDAS_XEN)");
}

int vidas_link_vchan_client(const char *path, struct vidas_link **out)
{
	(void)path;
	(void)out;
	return none();
}

int vidas_gate_guests(struct vidas_gate *g)
{
	(void)g;
	return none();
}

int vidas_gate_guest(struct vidas_gate *g)
{
	(void)g;
	return none();
}
