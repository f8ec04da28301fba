/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/s3/s3.h"

const struct vidas_backend_ops *vidas_backend_entry(void)
{
	return &vidas_s3_ops;
}
