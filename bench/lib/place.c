/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/lib/place.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What this process might use before it was placed. */
static const cpu_set_t *allowed(void)
{
	static cpu_set_t cpus;
	static bool known;

	if (!known)
		sched_getaffinity(0, sizeof(cpus), &cpus);
	known = true;
	return &cpus;
}

/* The nth CPU of those allowed, CPU_SETSIZE if there are not so many. */
static size_t nth_cpu(unsigned n)
{
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, allowed()) && n-- == 0)
			return cpu;
	return CPU_SETSIZE;
}

/* All threads of a process; those it makes later are where their makers are. */
static int move(int pid, const cpu_set_t *cpus)
{
	char path[64];
	struct dirent *e;
	DIR *dir;
	int err = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((e = readdir(dir))) {
		int tid = (int)strtol(e->d_name, NULL, 10);

		/* A thread may have ended meanwhile. */
		if (tid > 0 && sched_setaffinity(tid, sizeof(*cpus), cpus) && errno != ESRCH)
			err = -errno;
	}
	closedir(dir);
	return err;
}

static int parent_of(int pid)
{
	char path[64], line[512] = "";
	const char *after;
	int parent = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	after = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	return after && sscanf(after, ") %*c %d", &parent) == 1 ? parent : 0;
}

/* The process, and what it has started: who answers for a mount may be its child. */
static int move_all(int pid, const cpu_set_t *cpus)
{
	int err = move(pid, cpus), child;
	DIR *dir = err ? NULL : opendir("/proc");
	struct dirent *e;

	if (!err && !dir)
		return -errno;
	while (!err && (e = readdir(dir))) {
		child = (int)strtol(e->d_name, NULL, 10);
		if (child > 0 && parent_of(child) == pid)
			err = move_all(child, cpus);
	}
	if (dir)
		closedir(dir);
	return err == -ENOENT ? 0 : err; /* it has ended */
}

int vidas_place(enum vidas_placement placement, const int *others, unsigned n)
{
	cpu_set_t here = *allowed(), there = here;
	int err;

	if (placement != VIDAS_PLACE_FREE) {
		size_t first = nth_cpu(0), second = nth_cpu(placement == VIDAS_PLACE_APART);

		if (second == CPU_SETSIZE)
			return -ENXIO;
		CPU_ZERO(&here);
		CPU_SET(first, &here);
		CPU_ZERO(&there);
		CPU_SET(second, &there);
	}
	err = sched_setaffinity(0, sizeof(here), &here) ? -errno : 0;
	for (unsigned i = 0; !err && i < n; i++)
		err = move_all(others[i], &there);
	return err;
}

const char *vidas_place_name(enum vidas_placement placement)
{
	static const char *const names[] = {
		[VIDAS_PLACE_APART] = ", two CPUs",
		[VIDAS_PLACE_TOGETHER] = ", one CPU",
		[VIDAS_PLACE_FREE] = "",
	};

	return names[placement];
}

bool vidas_place_judged(enum vidas_placement placement)
{
	return placement != VIDAS_PLACE_TOGETHER || nth_cpu(1) == CPU_SETSIZE;
}

int vidas_place_each(const int *others, unsigned n,
		     int (*run)(void *arg, enum vidas_placement placement), void *arg)
{
	int ret = 0, err;

	if (!n)
		return run(arg, VIDAS_PLACE_FREE);
	for (unsigned i = 0; !ret && i < VIDAS_PLACE_FREE; i++) {
		ret = vidas_place(i, others, n);
		if (ret == -ENXIO) {
			ret = 0;
			continue;
		}
		if (!ret)
			ret = run(arg, i);
	}
	err = vidas_place(VIDAS_PLACE_FREE, others, n);
	return ret ? ret : err;
}
