/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* notices SECONDS DIR: prints what inotify tells of a directory, a line each: "create NAME" and so on. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

static const struct {
	unsigned mask;
	const char *word;
} words[] = {
	{ IN_CREATE, "create" },
	{ IN_DELETE, "delete" },
	{ IN_MODIFY, "modify" },
	{ IN_ATTRIB, "attrib" },
	{ IN_OPEN, "open" },
	{ IN_CLOSE_WRITE, "close_write" },
	{ IN_MOVED_FROM, "moved_from" },
	{ IN_MOVED_TO, "moved_to" },
};

static void tell(const struct inotify_event *e)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (e->mask & words[i].mask)
			printf("%s %s\n", words[i].word, e->len ? e->name : "");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	_Alignas(struct inotify_event) char buf[65536];
	struct pollfd p = { .fd = inotify_init1(IN_CLOEXEC), .events = POLLIN };
	time_t end;

	if (argc != 3 || p.fd < 0 || inotify_add_watch(p.fd, argv[2], IN_ALL_EVENTS) < 0) {
		perror("notices");
		return 1;
	}
	printf("watching\n");
	fflush(stdout);
	end = time(NULL) + atoi(argv[1]);
	while (time(NULL) <= end) {
		ssize_t n = poll(&p, 1, 200) > 0 ? read(p.fd, buf, sizeof(buf)) : 0;
		ssize_t at = 0;

		while (at < n) {
			const struct inotify_event *e = (const void *)(buf + at);

			tell(e);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
	}
	return 0;
}
