/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The backends that are part of every vidasd. All others are plug-ins; these could be: built with
 * VIDAS_BACKEND_MODULE each is one.
 */
#ifndef VIDAS_BUILTIN_H
#define VIDAS_BUILTIN_H

#include <vidas/backend.h>

extern const struct vidas_backend_ops vidas_backend_file;
extern const struct vidas_backend_ops vidas_backend_mem;

#endif
