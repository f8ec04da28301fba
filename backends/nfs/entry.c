/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/nfs/nfs.h"

const struct vidas_backend_ops *vidas_backend_entry(void)
{
	return &vidas_nfs_ops;
}
