/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inside pool/wire/ only: the values of a message whose form has been taken apart. */
#ifndef VIDAS_WIRE_CHECK_H
#define VIDAS_WIRE_CHECK_H

#include "pool/wire/wire.h"

/* `m` is complete: body, strings and blob are where they are said to be. NULL: all values may
 * stand; else what is wrong, as a static string. */
const char *vidas_wire_check(const struct vidas_wire_message *m);

#endif
