/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/nfs/link.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "backends/tcp.h"

/* libnfs keeps counters of its own without a lock while it makes and connects contexts, and uses
 * getservbyport(). */
static pthread_mutex_t libnfs_lock = PTHREAD_MUTEX_INITIALIZER;

/* libnfs would look the name up under that lock, however long it takes. */
static int look_up(const char *server, char *address, size_t size, char *words, size_t words_size)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
	int err = getaddrinfo(server, NULL, &hints, &found);

	if (!err)
		err = getnameinfo(found->ai_addr, found->ai_addrlen, address, (socklen_t)size, NULL,
				  0, NI_NUMERICHOST);
	if (found)
		freeaddrinfo(found);
	if (!err)
		return 0;
	snprintf(words, words_size, "the address of '%.60s': %s", server, gai_strerror(err));
	return -EHOSTUNREACH;
}

int vidas_nfs_connect(const struct vidas_nfs_peer *peer, rpc_cb cb, void *arg,
		      struct rpc_context **out, char *words, size_t size)
{
	char address[NI_MAXHOST];
	struct rpc_context *rpc;
	int err = look_up(peer->server, address, sizeof(address), words, size);

	if (err)
		return err;
	pthread_mutex_lock(&libnfs_lock);
	rpc = rpc_init_context();
	if (!rpc) {
		snprintf(words, size, "no memory");
		err = -ENOMEM;
		goto out;
	}
	if (peer->uid >= 0)
		rpc_set_uid(rpc, peer->uid);
	if (peer->gid >= 0)
		rpc_set_gid(rpc, peer->gid);
	if (rpc_connect_port_async(rpc, address, peer->port, peer->program, peer->version, cb,
				   arg) != 0) {
		snprintf(words, size, "%.150s", rpc_get_error(rpc));
		rpc_destroy_context(rpc);
		err = -ENOTCONN;
		goto out;
	}
	*out = rpc;
out:
	pthread_mutex_unlock(&libnfs_lock);
	return err;
}

void vidas_nfs_connected(struct rpc_context *rpc, int64_t timeout_us)
{
	int fd = rpc_get_fd(rpc), on = 1, idle = 10, every = 5, probes = 3;
	unsigned dead_ms = (unsigned)(timeout_us / 2000);

	/* Requests are small and many are on their way: none must wait for another's acknowledgement. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof(dead_ms));
	vidas_tcp_eager(fd);
}
