/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations on names: in each place a directory of its own, made through that place; all places
 * do each step by turns.
 */
#include "bench/data.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_A_SLICE 25u
#define SLICES	      8u

struct party {
	int fd; /* the directory */
};

static void file_name(char *name, size_t size, unsigned slice, unsigned i)
{
	snprintf(name, size, "file-%u", slice * FILES_A_SLICE + i);
}

/* Does `one` for the slice's files. */
static long each(const struct party *p, unsigned slice, int (*one)(int dir, const char *name))
{
	char name[32];

	for (unsigned i = 0; i < FILES_A_SLICE; i++) {
		file_name(name, sizeof(name), slice, i);
		if (one(p->fd, name))
			return -errno;
	}
	return FILES_A_SLICE;
}

static int create_one(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int stat_one(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, 0);
}

static int open_one(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : close(fd);
}

static int unlink_one(int dir, const char *name)
{
	return unlinkat(dir, name, 0);
}

static long turn_create(void *arg, unsigned slice)
{
	return each(arg, slice, create_one);
}

static long turn_stat(void *arg, unsigned slice)
{
	return each(arg, slice, stat_one);
}

static long turn_open(void *arg, unsigned slice)
{
	return each(arg, slice, open_one);
}

static long turn_unlink(void *arg, unsigned slice)
{
	return each(arg, slice, unlink_one);
}

static const struct step {
	const char *name;
	long (*turn)(void *arg, unsigned slice);
	bool judged;
} steps[] = {
	{ "create", turn_create, true },
	{ "stat", turn_stat, false },
	{ "open and close", turn_open, true },
	{ "unlink", turn_unlink, true },
};
#define STEPS (sizeof(steps) / sizeof(steps[0]))

static int parties_open(struct vidas_bench *b, const struct places *p, struct party *party)
{
	for (unsigned i = 0; i < p->n; i++)
		party[i].fd = -1;
	for (unsigned i = 0; i < p->n; i++) {
		const struct place *place = &p->place[i];

		if (!mkdirat(place->fd, place->name, 0700))
			party[i].fd =
				openat(place->fd, place->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (party[i].fd < 0)
			return vidas_bench_complain(b, "%s/%s/%s: %s", place->dir, p->run,
						    place->name, strerror(errno));
	}
	return 0;
}

/* A round that failed half-way may have left files behind. */
static void parties_close(const struct places *p, struct party *party)
{
	char name[32];

	for (unsigned i = 0; i < p->n; i++) {
		for (unsigned k = 0; party[i].fd >= 0 && k < SLICES * FILES_A_SLICE; k++) {
			file_name(name, sizeof(name), 0, k);
			unlinkat(party[i].fd, name, 0);
		}
		if (party[i].fd >= 0)
			close(party[i].fd);
		unlinkat(p->place[i].fd, p->place[i].name, AT_REMOVEDIR);
	}
}

/* Place `i` of what was measured; beside place `peer` if that is not the same. */
static void print_row(struct vidas_bench *b, const struct places *p, const struct step *step,
		      const struct vidas_rounds *r, unsigned i, unsigned peer,
		      enum vidas_placement placement)
{
	const struct place *place = &p->place[i];
	char name[80];
	struct vidas_row row = {
		.group = "files",
		.name = name,
		.unit = "k/s",
		.value = 1e6 / vidas_rounds_median(r, i),
		.kind = VIDAS_GOAL_NONE,
	};

	snprintf(name, sizeof(name), "%s, %s%s", step->name, place->name,
		 vidas_place_name(placement));
	if (i != peer) {
		row.peer = p->place[peer].name;
		row.peer_value = 1e6 / vidas_rounds_median(r, peer);
		row.ratio = vidas_rounds_ratio(r, peer, i);
	}
	if (place->role == PLACE_JUDGED && p->place[peer].role == PLACE_PEER && step->judged &&
	    vidas_place_judged(placement)) {
		row.kind = VIDAS_GOAL_RATIO_MIN;
		row.goal = 1.0;
	}
	vidas_table_row(&b->table, &row);
}

static void print(struct vidas_bench *b, const struct places *p, const struct step *step,
		  enum vidas_placement placement, const struct vidas_rounds *r)
{
	for (unsigned i = 0; i < p->n; i++) {
		bool alone = true;

		for (unsigned peer = 1; peer < p->n; peer++) {
			bool mount =
				p->place[i].role == PLACE_JUDGED || p->place[i].role == PLACE_OTHER;
			bool is_peer = p->place[peer].role == PLACE_PEER ||
				       p->place[peer].role == PLACE_BESIDE;

			if (!mount || !is_peer)
				continue;
			print_row(b, p, step, r, i, peer, placement);
			alone = false;
		}
		if (alone)
			print_row(b, p, step, r, i, i, placement);
	}
}

struct names {
	struct vidas_bench *b;
	const struct places *p;
	struct party party[PLACES_MAX];
	struct vidas_rounds r[STEPS];
	int err; /* the first there was */
};

static void round_run(struct names *names, unsigned round)
{
	const struct places *p = names->p;

	for (unsigned s = 0; s < STEPS; s++) {
		struct vidas_contender c[PLACES_MAX] = { 0 };
		double ns[PLACES_MAX];
		int err;

		for (unsigned i = 0; i < p->n; i++)
			c[i] = (struct vidas_contender){ .turn = steps[s].turn,
							 .arg = &names->party[i] };
		err = vidas_contenders_race(c, p->n, SLICES, round, ns);
		names->err = names->err ? names->err : err;
		if (round) /* round 0 warms up and is not counted */
			memcpy(vidas_rounds_row(&names->r[s], round - 1), ns, p->n * sizeof(*ns));
	}
}

static int placed_run(void *arg, enum vidas_placement placement)
{
	static const char *const heads[] = {
		[VIDAS_PLACE_APART] =
			"Names, a directory of its own in each place: daemons on a second CPU",
		[VIDAS_PLACE_TOGETHER] =
			"Names, a directory of its own in each place: daemons on the same CPU",
		[VIDAS_PLACE_FREE] = "Names, a directory of its own in each place",
	};
	struct names *names = arg;

	for (unsigned round = 0; round <= names->b->rounds; round++)
		round_run(names, round);
	vidas_table_head(&names->b->table, heads[placement]);
	for (unsigned s = 0; s < STEPS; s++)
		print(names->b, names->p, &steps[s], placement, &names->r[s]);
	/* A file system that cannot make or unlink a file is not slow but broken. */
	return names->err;
}

int data_names_run(struct vidas_bench *b, const struct places *p)
{
	struct names names = { .b = b, .p = p };
	int ret = parties_open(b, p, names.party);

	for (unsigned s = 0; !ret && s < STEPS; s++)
		if (vidas_rounds_init(&names.r[s], p->n, b->rounds))
			ret = vidas_bench_complain(b, "%s", strerror(ENOMEM));
	if (!ret)
		ret = vidas_place_each(p->daemon, p->daemons, placed_run, &names);
	if (ret < 0)
		ret = vidas_bench_complain(b, "names: %s", strerror(-ret));
	for (unsigned s = 0; s < STEPS; s++)
		vidas_rounds_free(&names.r[s]);
	parties_close(p, names.party);
	return ret;
}
