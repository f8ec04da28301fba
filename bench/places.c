/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/places.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARKER "marker"

/* Options are read once, by one program. */
static struct vidas_bench *bench;
static struct places *places;

static int take_direct(void *arg, const char *value)
{
	struct place *p = &places->place[0];

	(void)arg;
	p->dir = value;
	p->role = PLACE_DIRECT;
	strcpy(p->name, "direct");
	return 0;
}

static int take_mount(void *arg, const char *value)
{
	const enum place_role *role = arg;
	const char *equals = strchr(value, '=');
	struct place *p = &places->place[places->n];

	if (!equals || equals == value || (size_t)(equals - value) >= sizeof(p->name)) {
		vidas_bench_complain(bench, "'%s' is not NAME=DIR (names up to %zu bytes)", value,
				     sizeof(p->name) - 1);
		return -EINVAL;
	}
	if (places->n == PLACES_MAX) {
		vidas_bench_complain(bench, "more than %u mounts", PLACES_MAX - 1);
		return -EINVAL;
	}
	memcpy(p->name, value, (size_t)(equals - value));
	p->dir = equals + 1;
	p->role = *role;
	places->n++;
	return 0;
}

static int take_daemon(void *arg, const char *value)
{
	char *end;
	long pid = strtol(value, &end, 10);

	(void)arg;
	if (*end || pid <= 0 || pid > INT_MAX || places->daemons == PLACES_MAX) {
		vidas_bench_complain(bench, "--daemon '%s' is not one of up to %u process ids",
				     value, PLACES_MAX);
		return -EINVAL;
	}
	places->daemon[places->daemons++] = (int)pid;
	return 0;
}

void places_options(struct vidas_bench *b, struct places *p,
		    struct vidas_bench_option out[PLACES_OPTIONS])
{
	static enum place_role judged = PLACE_JUDGED, peer = PLACE_PEER, beside = PLACE_BESIDE,
			       other = PLACE_OTHER;
	const struct vidas_bench_option all[PLACES_OPTIONS] = {
		{ "direct", "DIR", "the directory itself, beside which all else is put",
		  take_direct, NULL },
		{ "mount", "NAME=DIR", "a mount of it that has to reach the goals", take_mount,
		  &judged },
		{ "peer", "NAME=DIR", "a mount whose speed with names is a goal", take_mount,
		  &peer },
		{ "beside", "NAME=DIR", "a mount to compare such operations with, without goals",
		  take_mount, &beside },
		{ "other", "NAME=DIR", "a mount of another domain, to show without goals",
		  take_mount, &other },
		{ "daemon", "PID", "of a mount: to be placed on CPUs for names' operations",
		  take_daemon, NULL },
	};

	bench = b;
	places = p;
	p->n = 1;
	for (unsigned i = 0; i < PLACES_MAX; i++)
		p->place[i].fd = -1;
	memcpy(out, all, sizeof(all));
}

int places_open(struct vidas_bench *b, struct places *p, const char *prefix)
{
	if (!p->place[0].dir || p->n < 2) {
		vidas_bench_complain(b, "needs --direct and at least one mount; see --help");
		exit(2);
	}
	snprintf(p->run, sizeof(p->run), "%s-%d", prefix, (int)getpid());
	for (unsigned i = 0; i < p->n; i++) {
		struct place *at = &p->place[i];
		char path[4096], byte = 0;
		int fd;

		snprintf(path, sizeof(path), "%s/%s", at->dir, p->run);
		if (i == 0 && mkdir(path, 0700))
			return vidas_bench_complain(b, "mkdir %s: %s", path, strerror(errno));
		at->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (at->fd < 0)
			return vidas_bench_complain(b, "%s: %s; is it a mount of %s?", path,
						    strerror(errno), p->place[0].dir);
		fd = openat(at->fd, MARKER, i ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC,
			    0600);
		if (fd < 0 || (i == 0 && pwrite(fd, "x", 1, 0) != 1) ||
		    pread(fd, &byte, 1, 0) != 1 || byte != 'x')
			return vidas_bench_complain(b, "%s/%s does not show what %s has", path,
						    MARKER, p->place[0].dir);
		close(fd);
	}
	return 0;
}

void places_close(struct places *p)
{
	char path[4096];

	for (unsigned i = 0; i < p->n; i++)
		if (p->place[i].fd >= 0)
			close(p->place[i].fd);
	snprintf(path, sizeof(path), "%s/%s/%s", p->place[0].dir, p->run, MARKER);
	unlink(path);
	snprintf(path, sizeof(path), "%s/%s", p->place[0].dir, p->run);
	rmdir(path);
}
