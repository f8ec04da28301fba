/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/names.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "file"

long names_each(const struct names_party *p, unsigned slice, const char *prefix,
		int (*one)(int dir, const char *name))
{
	char name[64];

	for (unsigned i = 0; i < NAMES_A_SLICE; i++) {
		snprintf(name, sizeof(name), "%s-%u", prefix, slice * NAMES_A_SLICE + i);
		if (one(p->fd, name))
			return -errno;
	}
	return NAMES_A_SLICE;
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

long names_create(void *party, unsigned slice)
{
	return names_each(party, slice, PREFIX, create_one);
}

long names_stat(void *party, unsigned slice)
{
	return names_each(party, slice, PREFIX, stat_one);
}

long names_open(void *party, unsigned slice)
{
	return names_each(party, slice, PREFIX, open_one);
}

long names_unlink(void *party, unsigned slice)
{
	return names_each(party, slice, PREFIX, unlink_one);
}

int names_party_open(struct vidas_bench *b, const struct places *p, unsigned i,
		     struct names_party *party)
{
	const struct place *place = &p->place[i];
	const int how = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

	*party = (struct names_party){ .fd = -1, .direct_fd = -1 };
	if (!mkdirat(place->fd, place->name, 0700)) {
		party->fd = openat(place->fd, place->name, how);
		party->direct_fd = openat(p->place[0].fd, place->name, how);
	}
	if (party->fd < 0 || party->direct_fd < 0)
		return vidas_bench_complain(b, "%s/%s/%s: %s", place->dir, p->run, place->name,
					    strerror(errno));
	return 0;
}

/* A round that failed half-way may have left files behind. */
void names_party_close(const struct places *p, unsigned i, struct names_party *party)
{
	for (unsigned s = 0; party->fd >= 0 && s < NAMES_SLICES; s++)
		for (unsigned k = 0; k < NAMES_A_SLICE; k++) {
			char name[32];

			snprintf(name, sizeof(name), PREFIX "-%u", s * NAMES_A_SLICE + k);
			unlinkat(party->fd, name, 0);
		}
	if (party->fd >= 0)
		close(party->fd);
	if (party->direct_fd >= 0)
		close(party->direct_fd);
	unlinkat(p->place[i].fd, p->place[i].name, AT_REMOVEDIR);
}

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
	const struct names_work *work;
	struct names_party party[PLACES_MAX];
	struct vidas_rounds *r; /* for each step: a series for each place */
	enum vidas_placement placement;
	enum race race;
	int err; /* the first there was */
};

/* What place `i` has to reach beside place `peer`; 0: nothing. */
static double goal_of(const struct names *names, const struct names_step *step, unsigned i,
		      unsigned peer)
{
	const struct place *place = names->p->place;

	if (place[i].role != PLACE_JUDGED || !vidas_place_judged(names->placement) ||
	    (names->race == RACE_SHARED && !names->work->shared_judged))
		return 0;
	return place[peer].role == PLACE_PEER	? step->of_peer :
	       place[peer].role == PLACE_DIRECT ? step->of_direct :
						  0;
}

/* Place `i` of what was measured; beside place `peer` if that is not the same. */
static void print_row(const struct names *names, unsigned s, unsigned i, unsigned peer)
{
	const struct place *place = &names->p->place[i], *other = &names->p->place[peer];
	const struct names_step *step = &names->work->steps[s];
	const struct vidas_rounds *r = &names->r[s];
	char name[80];
	struct vidas_row row = {
		.group = "files",
		.name = name,
		.unit = "k/s",
		.value = 1e6 / vidas_rounds_median(r, i),
		.kind = VIDAS_GOAL_NONE,
	};

	snprintf(name, sizeof(name), "%s, %s%s%s", step->name, place->name,
		 names->race == RACE_SHARED ? ", shared" : "", vidas_place_name(names->placement));
	if (i != peer) {
		row.peer = other->name;
		row.peer_value = 1e6 / vidas_rounds_median(r, peer);
		row.ratio = vidas_rounds_ratio(r, peer, i);
		row.goal = goal_of(names, step, i, peer);
		row.kind = row.goal > 0 ? VIDAS_GOAL_RATIO_MIN : VIDAS_GOAL_NONE;
	}
	vidas_table_row(&names->b->table, &row);
}

/* Is a mount of a domain put beside this place in a step? */
static bool stands_beside(const struct names *names, const struct names_step *step, unsigned peer)
{
	enum place_role role = names->p->place[peer].role;

	return takes_part(names->race, role) && (role == PLACE_PEER || role == PLACE_BESIDE ||
						 (role == PLACE_DIRECT && step->of_direct > 0));
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
		for (unsigned peer = 0; domain && peer < p->n; peer++) {
			if (!stands_beside(names, &names->work->steps[s], peer))
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

	for (unsigned s = 0; s < names->work->count; s++) {
		const struct names_step *step = &names->work->steps[s];
		struct vidas_contender c[PLACES_MAX] = { 0 };
		unsigned who[PLACES_MAX], n = 0;
		double ns[PLACES_MAX];
		int err;

		for (unsigned i = 0; i < p->n; i++) {
			if (!takes_part(names->race, p->place[i].role))
				continue;
			c[n] = (struct vidas_contender){ .prepare = step->prepare,
							 .turn = step->turn,
							 .finish = step->finish,
							 .arg = &names->party[i] };
			names->party[i].run++;
			who[n++] = i;
		}
		err = vidas_contenders_race(c, n, NAMES_SLICES, round, ns);
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
	static const char *const placed[] = {
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
		snprintf(head, sizeof(head), "%s%s", races[names->race], placed[placement]);
		vidas_table_head(&names->b->table, head);
		for (unsigned s = 0; s < names->work->count; s++)
			print(names, s);
	}
	/* A file system that cannot make or unlink a file is not slow but broken. */
	return names->err;
}

int names_run(struct vidas_bench *b, const struct places *p, const struct names_work *work)
{
	struct names names = { .b = b, .p = p, .work = work };
	unsigned opened = 0;
	int ret = 0;

	names.r = calloc(work->count, sizeof(*names.r));
	if (!names.r)
		return vidas_bench_complain(b, "%s", strerror(ENOMEM));
	for (; !ret && opened < p->n; opened++)
		ret = names_party_open(b, p, opened, &names.party[opened]);
	for (unsigned s = 0; !ret && s < work->count; s++)
		if (vidas_rounds_init(&names.r[s], p->n, b->rounds))
			ret = vidas_bench_complain(b, "%s", strerror(ENOMEM));
	if (!ret)
		ret = vidas_place_each(p->daemon, p->daemons, placed_run, &names);
	if (ret < 0)
		ret = vidas_bench_complain(b, "names: %s", strerror(-ret));
	for (unsigned s = 0; s < work->count; s++)
		vidas_rounds_free(&names.r[s]);
	free(names.r);
	for (unsigned i = 0; i < opened; i++)
		names_party_close(p, i, &names.party[i]);
	return ret;
}
