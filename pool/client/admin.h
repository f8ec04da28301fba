/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the administrator of a host asks of vidasd, through the socket of domain 0. Called by any
 * other domain: -EPERM.
 */
#ifndef VIDAS_ADMIN_H
#define VIDAS_ADMIN_H

#include <stdbool.h>
#include <sys/types.h>

#include <vidas/vidas.h>

/* Makes a domain and its socket, <run directory>/domains/ID/sock, kept over restarts. Besides root
 * only processes of `uid` may connect to it. -EEXIST. */
int vidas_admin_domain_add(struct vidas *v, vidas_domain_id domain, uid_t uid);

/* Takes it away again: its connections end, its containers stay. -ENOENT. */
int vidas_admin_domain_remove(struct vidas *v, vidas_domain_id domain);

/* As vidas_container_create(), with an access for each domain and with a root URL (NULL: none). */
struct vidas_admin_access {
	vidas_domain_id domain;
	bool readonly;
};
int vidas_admin_container_create(struct vidas *v, const char *name,
				 const struct vidas_admin_access *list, size_t n, const char *root);

/* What vidasd is and has, as JSON text; free() it. */
int vidas_admin_status(struct vidas *v, char **json);

#endif
