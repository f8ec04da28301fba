/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which backends there are: those built in, and the plug-ins vidas-backend-NAME.so of one
 * directory: $VIDAS_BACKEND_DIR, else ../lib/vidas/backends beside the running program's directory,
 * else the one that was set when VIDAS was built.
 */
#ifndef VIDAS_REGISTRY_H
#define VIDAS_REGISTRY_H

#include <vidas/backend.h>

/*
 * The backend for a URL scheme. *ops is a copy, NULL in fields that the plug-in was built without.
 * Plug-ins stay loaded until the process ends. -ENOENT there is none (the reason names those there
 * are), -ELIBACC, -EPERM, -EPROTO one that must not be used, said in words.
 */
int vidas_registry_find(const char *scheme, struct vidas_backend_ops *ops);

/* As vidas_store_each(). */
int vidas_registry_each(int (*each)(void *arg, const struct vidas_backend_ops *ops,
				    const char *file),
			void *arg);

#endif
