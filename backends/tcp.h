/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For plug-ins that speak TCP; depends on nothing of ours. */
#ifndef VIDAS_TCP_H
#define VIDAS_TCP_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44 /* Linux 6.15 */
#endif

/* TCP repeats what is not acknowledged after pauses that double, up to two minutes: who was cut off would not
 * notice for as long again that the net is back. With this it is a second, on kernels that can. */
static inline void vidas_tcp_eager(int fd)
{
	int pause_ms = 1000;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, &pause_ms, sizeof(pause_ms));
}

#endif
