/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containers and the lives of objects: calls that ask vidasd, each beside one SEQPACKET round trip
 * with a descriptor, and for objects the mmap or munmap of their one page.
 */
#include "bench/api.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLICES	     12u
#define CONTAINERS   4u /* a slice's; all slices' stay below the quota of a domain */
#define OBJECTS	     16u
#define OBJECT_BYTES 4096u
#define COST	     1.5

struct control {
	struct api *a;
	unsigned round;
	struct vidas_object *created[SLICES * OBJECTS], *joined[SLICES * OBJECTS];
	void *mapped[OBJECTS];
};

struct step {
	const char *name;
	long (*turn)(void *arg, unsigned slice);
	const struct vidas_contender *bare; /* of the tables below */
	const char *paper;
	bool judged;
};

/* Bare parts ---------------------------------------------------------------------------------- */

static long exchange(struct control *c, unsigned n, void **map)
{
	for (unsigned i = 0; i < n; i++) {
		int fd, err = bare_exchange(&c->a->bare, &fd);

		if (err)
			return err;
		if (map) {
			map[i] =
				mmap(NULL, OBJECT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
			if (map[i] == MAP_FAILED)
				err = -errno;
		}
		close(fd);
		if (err)
			return err;
	}
	return n;
}

static void unmap(struct control *c)
{
	for (unsigned i = 0; i < OBJECTS; i++)
		munmap(c->mapped[i], OBJECT_BYTES);
}

static long bare_containers(void *arg, unsigned slice)
{
	(void)slice;
	return exchange(arg, CONTAINERS, NULL);
}

static long bare_map(void *arg, unsigned slice)
{
	struct control *c = arg;

	(void)slice;
	return exchange(c, OBJECTS, c->mapped);
}

static void bare_map_finish(void *arg, unsigned slice)
{
	(void)slice;
	unmap(arg);
}

static int bare_unmap_prepare(void *arg, unsigned slice)
{
	struct control *c = arg;

	(void)slice;
	for (unsigned i = 0; i < OBJECTS; i++) {
		c->mapped[i] = mmap(NULL, OBJECT_BYTES, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (c->mapped[i] == MAP_FAILED)
			return -errno;
	}
	return 0;
}

static long bare_unmap(void *arg, unsigned slice)
{
	long n = exchange(arg, OBJECTS, NULL);

	(void)slice;
	unmap(arg);
	return n;
}

static const struct vidas_contender bare_message = { .turn = bare_containers };
static const struct vidas_contender bare_message_map = { .turn = bare_map,
							 .finish = bare_map_finish };
static const struct vidas_contender bare_message_unmap = { .prepare = bare_unmap_prepare,
							   .turn = bare_unmap };

/* Containers ---------------------------------------------------------------------------------- */

static long each_container(struct control *c, unsigned slice,
			   int (*one)(struct api *a, const char *name))
{
	char name[80];

	for (unsigned i = 0; i < CONTAINERS; i++) {
		int err;

		snprintf(name, sizeof(name), "%s-%u", c->a->container, slice * CONTAINERS + i);
		err = one(c->a, name);
		if (err)
			return err;
	}
	return CONTAINERS;
}

static int create_one(struct api *a, const char *name)
{
	const vidas_domain_id second = vidas_domain(a->two);

	return vidas_container_create(a->one, name, &second, 1);
}

static int attach_one(struct api *a, const char *name)
{
	return vidas_container_attach(a->two, name);
}

static int leave_one(struct api *a, const char *name)
{
	return vidas_container_leave(a->two, name);
}

static int destroy_one(struct api *a, const char *name)
{
	return vidas_container_destroy(a->one, name);
}

static long container_create(void *arg, unsigned slice)
{
	return each_container(arg, slice, create_one);
}

static long container_attach(void *arg, unsigned slice)
{
	return each_container(arg, slice, attach_one);
}

static long container_leave(void *arg, unsigned slice)
{
	return each_container(arg, slice, leave_one);
}

static long container_destroy(void *arg, unsigned slice)
{
	return each_container(arg, slice, destroy_one);
}

static const struct step container_steps[] = {
	{ "container create", container_create, &bare_message, "64-70", true },
	{ "container attach", container_attach, &bare_message, "64-70", true },
	{ "container leave", container_leave, &bare_message, "64-70", true },
	{ "container destroy", container_destroy, &bare_message, "64-70", true },
};

/* Objects ------------------------------------------------------------------------------------- */

static long create_objects(struct control *c, unsigned slice, const char *format, unsigned round)
{
	char name[64];

	for (unsigned i = 0; i < OBJECTS; i++) {
		unsigned at = slice * OBJECTS + i;
		int err;

		snprintf(name, sizeof(name), format, at, round);
		err = vidas_object_create(c->a->one, c->a->container, name, 0, OBJECT_BYTES,
					  &c->created[at]);
		if (err)
			return err;
	}
	return OBJECTS;
}

/* The resources of the first, uncounted round, so that only the object is new. */
static long object_create(void *arg, unsigned slice)
{
	return create_objects(arg, slice, "page-%u", 0);
}

static long object_create_new(void *arg, unsigned slice)
{
	struct control *c = arg;

	return create_objects(c, slice, "new-%u-%u", c->a->fresh);
}

static long object_join(void *arg, unsigned slice)
{
	struct control *c = arg;
	char name[64];

	for (unsigned i = 0; i < OBJECTS; i++) {
		unsigned at = slice * OBJECTS + i;
		int err;

		snprintf(name, sizeof(name), "page-%u", at);
		err = vidas_object_join(c->a->two, c->a->container, name, 0, OBJECT_BYTES, 0,
					&c->joined[at]);
		if (err)
			return err;
	}
	return OBJECTS;
}

static long end_objects(struct vidas_object **object, unsigned slice,
			int (*end)(struct vidas_object *))
{
	for (unsigned i = 0; i < OBJECTS; i++) {
		int err = end(object[slice * OBJECTS + i]);

		if (err)
			return err;
	}
	return OBJECTS;
}

static long object_leave(void *arg, unsigned slice)
{
	return end_objects(((struct control *)arg)->joined, slice, vidas_object_leave);
}

static long object_destroy(void *arg, unsigned slice)
{
	return end_objects(((struct control *)arg)->created, slice, vidas_object_destroy);
}

static const struct step object_steps[] = {
	{ "object create, new resource", object_create_new, &bare_message_map, "207", true },
	{ "object destroy, of a new resource", object_destroy, &bare_message_unmap, NULL, false },
	{ "object create", object_create, &bare_message_map, "207", true },
	{ "object join", object_join, &bare_message_map, "98", true },
	{ "object leave", object_leave, &bare_message_unmap, "82", true },
	{ "object destroy", object_destroy, &bare_message_unmap, NULL, false },
};

/* Runs the steps one after the other in each round. */
#define STEPS_MAX 8u
static int steps_run(struct api *a, const struct step *steps, unsigned n, const char *peer,
		     enum vidas_placement placement)
{
	struct control c = { .a = a };
	struct vidas_rounds r[STEPS_MAX] = { 0 };
	int err = 0;

	for (unsigned s = 0; !err && s < n; s++)
		err = vidas_rounds_init(&r[s], 2, a->b->rounds);
	/* Round 0 warms up and is not counted. */
	for (; !err && c.round <= a->b->rounds; c.round++, a->fresh++) {
		for (unsigned s = 0; !err && s < n; s++) {
			struct vidas_contender pair[2] = { { .turn = steps[s].turn, .arg = &c },
							   *steps[s].bare };
			double ns[2];

			pair[1].arg = &c;
			err = vidas_contenders_race(pair, 2, SLICES, c.round, ns);
			if (c.round)
				memcpy(vidas_rounds_row(&r[s], c.round - 1), ns, sizeof(ns));
			if (err)
				api_failed(a, steps[s].name, err);
		}
	}
	for (unsigned s = 0; s < n; s++) {
		char name[80];

		snprintf(name, sizeof(name), "%s%s", steps[s].name, vidas_place_name(placement));
		api_row(a, &r[s], 0, err,
			(struct vidas_row){
				.name = name,
				.peer = peer,
				.kind = steps[s].judged && vidas_place_judged(placement) ?
						VIDAS_GOAL_RATIO_MIN :
						VIDAS_GOAL_NONE,
				.goal = 1 / COST,
				.paper = steps[s].paper,
			});
		vidas_rounds_free(&r[s]);
	}
	return err ? 1 : 0;
}

int api_containers_run(struct api *a, enum vidas_placement placement)
{
	return steps_run(a, container_steps, sizeof(container_steps) / sizeof(container_steps[0]),
			 "message", placement);
}

int api_objects_run(struct api *a, enum vidas_placement placement)
{
	return steps_run(a, object_steps, sizeof(object_steps) / sizeof(object_steps[0]),
			 "message, (un)map", placement);
}
