/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inside pool/transport/local/ only: AF_UNIX SOCK_SEQPACKET; shares are descriptors (SCM_RIGHTS). */
#ifndef VIDAS_LOCAL_H
#define VIDAS_LOCAL_H

#include <sys/socket.h>
#include <sys/un.h>

#include "pool/transport/transport_ops.h"

/* Makes a channel of a connected, blocking socket, which it then owns; closed on error. */
int vidas_local_channel(int fd, struct vidas_channel **out);

/* -ENAMETOOLONG, -EINVAL with words. */
int vidas_local_address(const char *path, struct sockaddr_un *sun);

/* Waits at most `timeout_us` (not 0) for a listener whose queue is full: -ETIMEDOUT. Errors else as
 * vidas_channel_connect(). */
int vidas_local_connect(const char *path, int64_t timeout_us, struct vidas_channel **out);
int vidas_local_listen(const char *path, vidas_domain_id domain, uid_t uid,
		       struct vidas_listener **out);

#endif
