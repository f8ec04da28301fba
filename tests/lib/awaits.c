/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * awaits poll|select|epoll SECONDS FILE...: waits for POLLPRI on the files. Prints "ready" when it has looked once
 * (what was to be told before is said then), then a line for each wake-up, "told FILE", until the time is over.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#define FILES 16

static const char *how;
static int fds[FILES], count, epoll_fd = -1;

/* Waits `ms` at most; fills told[]. */
static bool wait_once(int ms, bool told[FILES])
{
	struct pollfd p[FILES];
	struct epoll_event e[FILES];
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };
	fd_set set;
	int n;

	memset(told, 0, FILES * sizeof(*told));
	if (!strcmp(how, "epoll")) {
		n = epoll_wait(epoll_fd, e, FILES, ms);
		for (int i = 0; i < n; i++)
			told[e[i].data.u32] = e[i].events & EPOLLPRI;
		return n > 0;
	}
	if (!strcmp(how, "select")) {
		FD_ZERO(&set);
		for (int i = 0; i < count; i++)
			FD_SET(fds[i], &set);
		n = select(1024, NULL, NULL, &set, &tv);
		for (int i = 0; i < count; i++)
			told[i] = n > 0 && FD_ISSET(fds[i], &set);
		return n > 0;
	}
	for (int i = 0; i < count; i++)
		p[i] = (struct pollfd){ .fd = fds[i], .events = POLLPRI };
	n = poll(p, (nfds_t)count, ms);
	for (int i = 0; i < count; i++) {
		told[i] = p[i].revents & POLLPRI;
		if (p[i].revents & POLLERR) {
			printf("error\n");
			exit(1);
		}
	}
	return n > 0;
}

static void tell(char **names, const bool told[FILES])
{
	for (int i = 0; i < count; i++)
		if (told[i])
			printf("told %s\n",
			       strrchr(names[i], '/') ? strrchr(names[i], '/') + 1 : names[i]);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	bool told[FILES];
	time_t end;

	if (argc < 4 || argc - 3 > FILES)
		return 2;
	how = argv[1];
	end = time(NULL) + atoi(argv[2]);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 3; i < argc; i++, count++) {
		struct epoll_event e = { .events = EPOLLPRI, .data.u32 = (uint32_t)count };

		fds[count] = open(argv[i], O_RDONLY | O_CLOEXEC);
		if (fds[count] < 0 || (!strcmp(how, "epoll") &&
				       epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[count], &e) < 0)) {
			perror(argv[i]);
			return 1;
		}
	}
	if (wait_once(0, told))
		tell(argv + 3, told);
	printf("ready\n");
	fflush(stdout);
	while (time(NULL) <= end) {
		if (!wait_once(500, told))
			continue;
		tell(argv + 3, told);
		usleep(1000);
	}
	return 0;
}
