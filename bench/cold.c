/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * cold: the first sequential read of a large file of a backend directory on a disk, through /vidas,
 * beside cp(1) of such a file from that directory itself. Nothing is in any cache: before each turn
 * the kernel's are dropped, and each turn of either side has a file that was never read before. What
 * memory it takes is there.
 *	cold --store DIR --mount DIR --memory DIR
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/lib/options.h"
#include "bench/lib/rounds.h"

#define PIECE (1u << 20)

extern char **environ;

struct cold {
	const char *store, *mount, *memory;
	uint64_t bytes;
	bool to_memory, quick;
	unsigned next, bare; /* of the files that were not read yet */
};

struct side {
	struct cold *c;
	bool ours;
	char from[512];
};

static int say(int err, const char *what)
{
	fprintf(stderr, "cold: %s: %s\n", what, strerror(-err));
	return err;
}

/* No block like another, so that no disk is clever about it. */
static int make(const struct cold *c, const char *name)
{
	static uint64_t piece[PIECE / 8];
	static uint64_t seed = 88172645463325252u;
	char path[512];
	int fd, err = 0;

	snprintf(path, sizeof(path), "%s/%s", c->store, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return say(-errno, path);
	for (uint64_t at = 0; !err && at < c->bytes; at += PIECE) {
		for (size_t i = 0; i < PIECE / 8; i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			piece[i] = seed;
		}
		if (write(fd, piece, PIECE) != PIECE)
			err = say(errno ? -errno : -EIO, path);
	}
	if (!err && fsync(fd) < 0)
		err = say(-errno, path);
	close(fd);
	return err;
}

static int drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC), err = 0;

	sync();
	if (fd < 0 || write(fd, "3\n", 2) != 2)
		err = say(-errno, "/proc/sys/vm/drop_caches");
	if (fd >= 0)
		close(fd);
	return err;
}

static int prepare(void *arg, unsigned slice)
{
	struct side *s = arg;
	struct cold *c = s->c;
	int err;

	(void)slice;
	if (s->ours)
		snprintf(s->from, sizeof(s->from), "%s/cold.%u", c->mount, c->next++);
	else
		snprintf(s->from, sizeof(s->from), "%s/bare.%u", c->store, c->bare++);
	/* A quick run leaves the machine's caches alone. */
	if (c->quick)
		return 0;
	err = drop_caches();
	return err ? err : vidas_bench_warm(6 * c->bytes);
}

static int copy(const char *from, const char *to)
{
	char *argv[] = { (char *)(uintptr_t) "cp", (char *)(uintptr_t)from, (char *)(uintptr_t)to,
			 NULL };
	int status, err;
	pid_t pid;

	err = posix_spawnp(&pid, "cp", NULL, NULL, argv, environ);
	if (err)
		return -err;
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
		return -EIO;
	return 0;
}

static long turn(void *arg, unsigned slice)
{
	struct side *s = arg;
	char to[512] = "/dev/null";
	int err;

	(void)slice;
	if (s->c->to_memory)
		snprintf(to, sizeof(to), "%s/copy", s->c->memory);
	err = copy(s->from, to);
	return err ? err : 1;
}

static void finish(void *arg, unsigned slice)
{
	struct side *s = arg;
	char to[512];

	(void)slice;
	snprintf(to, sizeof(to), "%s/copy", s->c->memory);
	unlink(to);
	if (s->ours)
		unlink(s->from);
}

static int row(struct vidas_bench *b, struct cold *c, bool to_memory)
{
	struct side ours = { .c = c, .ours = true }, bare = { .c = c };
	const struct vidas_contender contender[2] = { { prepare, turn, finish, &ours },
						      { prepare, turn, finish, &bare } };
	struct vidas_rounds rounds;
	char name[64];
	int err = vidas_rounds_init(&rounds, 2, b->rounds);

	c->to_memory = to_memory;
	for (unsigned r = 0; !err && r < b->rounds; r++)
		err = vidas_contenders_race(contender, 2, 1, r, vidas_rounds_row(&rounds, r));
	snprintf(name, sizeof(name), "cold cp of %llu MiB to %s",
		 (unsigned long long)(c->bytes >> 20), to_memory ? "a tmpfs" : "/dev/null");
	if (!err) {
		const struct vidas_row figure = {
			.group = "cold",
			.name = name,
			.unit = "MB/s",
			.value = (double)c->bytes * 1e3 / vidas_rounds_median(&rounds, 0),
			.peer = "the store's own file",
			.peer_value = (double)c->bytes * 1e3 / vidas_rounds_median(&rounds, 1),
			.ratio = vidas_rounds_ratio(&rounds, 1, 0),
			.kind = VIDAS_GOAL_RATIO_MIN,
			.goal = 0.9,
		};

		vidas_table_row(&b->table, &figure);
	}
	vidas_rounds_free(&rounds);
	return err;
}

static int take_text(void *arg, const char *value)
{
	*(const char **)arg = value;
	return 0;
}

int main(int argc, char **argv)
{
	struct cold c = { 0 };
	struct vidas_bench b;
	const struct vidas_bench_option own[] = {
		{ "store", "DIR", "the backend's directory, on a disk", take_text, &c.store },
		{ "mount", "DIR", "the container with that root, as mounted", take_text, &c.mount },
		{ "memory", "DIR", "a directory on a tmpfs", take_text, &c.memory },
		{ 0 },
	};
	char name[32];
	int err = 0;

	vidas_bench_begin(&b, argc, argv, "the first read of a large file, beside cp", own);
	if (!c.store || !c.mount || !c.memory)
		return vidas_bench_complain(&b, "--store, --mount and --memory are needed");
	c.quick = b.quick;
	c.bytes = b.quick ? UINT64_C(64) << 20 : UINT64_C(1) << 30;
	for (unsigned i = 0; !err && i < 4 * b.rounds; i++) {
		snprintf(name, sizeof(name), "%s.%u", i % 2 ? "cold" : "bare", i / 2);
		err = make(&c, name);
	}
	if (err)
		return vidas_bench_complain(&b, "the files cannot be made");
	vidas_table_head(&b.table, "cold: the first read of a file of a backend on a disk");
	err = row(&b, &c, true);
	if (!err)
		err = row(&b, &c, false);
	if (err)
		return vidas_bench_complain(&b, "%s", strerror(-err));
	return vidas_bench_end(&b);
}
