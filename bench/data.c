/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/data.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MARKER "marker"

static struct vidas_bench bench;
static struct places places;

static int take_direct(void *arg, const char *value)
{
	struct place *p = &places.place[0];

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
	struct place *p = &places.place[places.n];

	if (!equals || equals == value || (size_t)(equals - value) >= sizeof(p->name)) {
		vidas_bench_complain(&bench, "'%s' is not NAME=DIR (names up to %zu bytes)", value,
				     sizeof(p->name) - 1);
		return -EINVAL;
	}
	if (places.n == PLACES_MAX) {
		vidas_bench_complain(&bench, "more than %u mounts", PLACES_MAX - 1);
		return -EINVAL;
	}
	memcpy(p->name, value, (size_t)(equals - value));
	p->dir = equals + 1;
	p->role = *role;
	places.n++;
	return 0;
}

static int take_daemon(void *arg, const char *value)
{
	char *end;
	long pid = strtol(value, &end, 10);

	(void)arg;
	if (*end || pid <= 0 || pid > INT_MAX || places.daemons == PLACES_MAX) {
		vidas_bench_complain(&bench, "--daemon '%s' is not one of up to %u process ids",
				     value, PLACES_MAX);
		return -EINVAL;
	}
	places.daemon[places.daemons++] = (int)pid;
	return 0;
}

static const struct vidas_bench_option options[] = {
	{ "direct", "DIR", "the directory itself, beside which all else is put", take_direct,
	  NULL },
	{ "mount", "NAME=DIR", "a mount of it that has to reach the goals", take_mount,
	  &(enum place_role){ PLACE_JUDGED } },
	{ "peer", "NAME=DIR", "a mount whose create, open and unlink are a goal", take_mount,
	  &(enum place_role){ PLACE_PEER } },
	{ "beside", "NAME=DIR", "a mount to compare such operations with, without goals",
	  take_mount, &(enum place_role){ PLACE_BESIDE } },
	{ "other", "NAME=DIR", "a mount to show without goals", take_mount,
	  &(enum place_role){ PLACE_OTHER } },
	{ "daemon", "PID", "of a mount: to be placed on CPUs for names' operations", take_daemon,
	  NULL },
	{ 0 },
};

/* Makes the run's directory at place 0 and looks that the others show it, with a file's bytes. */
static int open_places(void)
{
	snprintf(places.run, sizeof(places.run), "bench-data-%d", (int)getpid());
	for (unsigned i = 0; i < places.n; i++) {
		struct place *p = &places.place[i];
		char path[4096], byte = 0;
		int fd;

		snprintf(path, sizeof(path), "%s/%s", p->dir, places.run);
		if (i == 0 && mkdir(path, 0700))
			return vidas_bench_complain(&bench, "mkdir %s: %s", path, strerror(errno));
		p->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (p->fd < 0)
			return vidas_bench_complain(&bench, "%s: %s; is it a mount of %s?", path,
						    strerror(errno), places.place[0].dir);
		fd = openat(p->fd, MARKER, i ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CREAT | O_CLOEXEC,
			    0600);
		if (fd < 0 || (i == 0 && pwrite(fd, "x", 1, 0) != 1) ||
		    pread(fd, &byte, 1, 0) != 1 || byte != 'x')
			return vidas_bench_complain(&bench, "%s/%s does not show what %s has", path,
						    MARKER, places.place[0].dir);
		close(fd);
	}
	return 0;
}

static void close_places(void)
{
	char path[4096];

	for (unsigned i = 0; i < places.n; i++)
		if (places.place[i].fd >= 0)
			close(places.place[i].fd);
	snprintf(path, sizeof(path), "%s/%s/%s", places.place[0].dir, places.run, MARKER);
	unlink(path);
	snprintf(path, sizeof(path), "%s/%s", places.place[0].dir, places.run);
	rmdir(path);
}

int main(int argc, char **argv)
{
	int ret;

	for (unsigned i = 0; i < PLACES_MAX; i++)
		places.place[i].fd = -1;
	places.n = 1;
	vidas_bench_begin(
		&bench, argc, argv,
		"Reads, writes, mmap faults and names of one directory through its mounts.",
		options);
	if (!places.place[0].dir || places.n < 2) {
		vidas_bench_complain(&bench, "needs --direct and at least one mount; see --help");
		return 2;
	}
	ret = open_places();
	if (!ret)
		ret = data_io_run(&bench, &places);
	if (!ret)
		ret = data_names_run(&bench, &places);
	close_places();
	if (ret)
		return ret;
	return vidas_bench_end(&bench);
}
