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

/* Who takes part in a race: each domain's mount alone beside the peers, then two domains at once, as
 * what one does may cost the other a recall of what it caches. */
enum race { RACE_ALONE, RACE_SHARED, RACES };

static bool takes_part(enum race race, enum place_role role)
{
	switch (role) {
	case PLACE_OTHER:
		return race == RACE_SHARED;
	case PLACE_DIRECT:
	case PLACE_BESIDE:
		return race == RACE_ALONE;
	case PLACE_JUDGED:
	case PLACE_PEER:
		break;
	}
	return true;
}

struct names {
	struct vidas_bench *b;
	const struct places *p;
	struct party party[PLACES_MAX];
	struct vidas_rounds r[STEPS]; /* a series for each place */
	enum vidas_placement placement;
	enum race race;
	int err; /* the first there was */
};

/* Place `i` of what was measured; beside place `peer` if that is not the same. */
static void print_row(const struct names *names, unsigned s, unsigned i, unsigned peer)
{
	const struct place *place = &names->p->place[i], *other = &names->p->place[peer];
	const struct vidas_rounds *r = &names->r[s];
	char name[80];
	struct vidas_row row = {
		.group = "files",
		.name = name,
		.unit = "k/s",
		.value = 1e6 / vidas_rounds_median(r, i),
		.kind = VIDAS_GOAL_NONE,
	};

	snprintf(name, sizeof(name), "%s, %s%s%s", steps[s].name, place->name,
		 names->race == RACE_SHARED ? ", shared" : "", vidas_place_name(names->placement));
	if (i != peer) {
		row.peer = other->name;
		row.peer_value = 1e6 / vidas_rounds_median(r, peer);
		row.ratio = vidas_rounds_ratio(r, peer, i);
	}
	if (place->role == PLACE_JUDGED && other->role == PLACE_PEER && steps[s].judged &&
	    names->race == RACE_ALONE && vidas_place_judged(names->placement)) {
		row.kind = VIDAS_GOAL_RATIO_MIN;
		row.goal = 1.0;
	}
	vidas_table_row(&names->b->table, &row);
}

/* Domains' mounts have a row for each peer. */
static void print(const struct names *names, unsigned s)
{
	const struct places *p = names->p;

	for (unsigned i = 0; i < p->n; i++) {
		bool domain = p->place[i].role == PLACE_JUDGED || p->place[i].role == PLACE_OTHER;
		bool alone = true;

		if (!takes_part(names->race, p->place[i].role))
			continue;
		for (unsigned peer = 1; domain && peer < p->n; peer++) {
			enum place_role role = p->place[peer].role;

			if (!takes_part(names->race, role) ||
			    (role != PLACE_PEER && role != PLACE_BESIDE))
				continue;
			print_row(names, s, i, peer);
			alone = false;
		}
		if (alone)
			print_row(names, s, i, i);
	}
}

static void round_run(struct names *names, unsigned round)
{
	const struct places *p = names->p;

	for (unsigned s = 0; s < STEPS; s++) {
		struct vidas_contender c[PLACES_MAX] = { 0 };
		unsigned who[PLACES_MAX], n = 0;
		double ns[PLACES_MAX];
		int err;

		for (unsigned i = 0; i < p->n; i++) {
			if (!takes_part(names->race, p->place[i].role))
				continue;
			c[n] = (struct vidas_contender){ .turn = steps[s].turn,
							 .arg = &names->party[i] };
			who[n++] = i;
		}
		err = vidas_contenders_race(c, n, SLICES, round, ns);
		names->err = names->err ? names->err : err;
		for (unsigned i = 0; round && i < n; i++) /* round 0 warms up */
			vidas_rounds_row(&names->r[s], round - 1)[who[i]] = ns[i];
	}
}

static int placed_run(void *arg, enum vidas_placement placement)
{
	static const char *const races[RACES] = {
		[RACE_ALONE] = "Names, a directory of its own in each place",
		[RACE_SHARED] = "Names, two domains at work in one container",
	};
	static const char *const places[] = {
		[VIDAS_PLACE_APART] = ": daemons on a second CPU",
		[VIDAS_PLACE_TOGETHER] = ": daemons on the same CPU",
		[VIDAS_PLACE_FREE] = "",
	};
	struct names *names = arg;
	bool shared = false;

	for (unsigned i = 0; i < names->p->n; i++)
		shared |= names->p->place[i].role == PLACE_OTHER;
	names->placement = placement;
	for (names->race = 0; names->race < (shared ? RACES : RACE_SHARED); names->race++) {
		char head[128];

		for (unsigned round = 0; round <= names->b->rounds; round++)
			round_run(names, round);
		snprintf(head, sizeof(head), "%s%s", races[names->race], places[placement]);
		vidas_table_head(&names->b->table, head);
		for (unsigned s = 0; s < STEPS; s++)
			print(names, s);
	}
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
