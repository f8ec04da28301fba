/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attributes, reads and writes: calls on shared memory alone.
 */
#include "bench/api.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MIB	     ((size_t)1024 * 1024)
#define OBJECT_BYTES (64 * MIB)
#define QUICK_BYTES  (8 * MIB)
#define ATTR_CALLS   2000u
#define ATTR_GOAL_US 0.5
#define COPY_GOAL    0.95

struct copy {
	struct vidas_object *o;
	char *data, *buf;
	size_t object_bytes, size; /* of one copy */
	unsigned burst;		   /* copies in a slice */
	unsigned slices;
	bool to_object;
};

/* Attributes ---------------------------------------------------------------------------------- */

static long get_user(void *arg, unsigned slice)
{
	uint64_t value;

	(void)slice;
	for (unsigned i = 0; i < ATTR_CALLS; i++) {
		ssize_t n = vidas_object_getattr(arg, "user.step", &value, sizeof(value));

		if (n != sizeof(value))
			return n < 0 ? n : -EIO;
	}
	return ATTR_CALLS;
}

static long get_size(void *arg, unsigned slice)
{
	uint64_t value;

	(void)slice;
	for (unsigned i = 0; i < ATTR_CALLS; i++) {
		ssize_t n = vidas_object_getattr(arg, "size", &value, sizeof(value));

		if (n != sizeof(value))
			return n < 0 ? n : -EIO;
	}
	return ATTR_CALLS;
}

static long set_user(void *arg, unsigned slice)
{
	for (uint64_t i = 0; i < ATTR_CALLS; i++) {
		uint64_t value = i ^ slice;
		int err = vidas_object_setattr(arg, "user.step", &value, sizeof(value));

		if (err)
			return err;
	}
	return ATTR_CALLS;
}

int api_attributes_run(struct api *a)
{
	static const struct {
		const char *name;
		long (*turn)(void *arg, unsigned slice);
		const char *paper;
	} rows[] = {
		{ "set attribute, 8 bytes", set_user, NULL },
		{ "get attribute, 8 bytes", get_user, "2" },
		{ "get attribute \"size\"", get_size, "2" },
	};
	struct vidas_object *o;
	int ret = 0, err = vidas_object_create(a->one, a->container, "attributes", 0, 4096, &o);

	if (err)
		return api_failed(a, "create", err);
	vidas_table_head(&a->b->table, "Attributes of an object");
	for (unsigned i = 0; !ret && i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct vidas_contender one = { .turn = rows[i].turn, .arg = o };

		ret = api_compare(a, &one, 4, 0,
				  (struct vidas_row){ .name = rows[i].name,
						      .kind = VIDAS_GOAL_VALUE_MAX,
						      .goal = ATTR_GOAL_US,
						      .paper = rows[i].paper });
	}
	err = vidas_object_destroy(o);
	return ret ? ret : err ? api_failed(a, "destroy", err) : 0;
}

/* Reads and writes ---------------------------------------------------------------------------- */

/* The two sides work on neighbouring stretches and change places half-way: the same pages. */
static size_t start_of(const struct copy *c, unsigned slice, unsigned side)
{
	unsigned half = c->slices / 2, second = slice >= half;

	return ((size_t)2 * (slice - second * half) + (side ^ second)) * c->burst * c->size;
}

static long by_call(void *arg, unsigned slice)
{
	const struct copy *c = arg;
	size_t at = start_of(c, slice, 0);

	for (unsigned i = 0; i < c->burst; i++, at += c->size) {
		ssize_t n = c->to_object ? vidas_object_write(c->o, c->buf, at, c->size) :
					   vidas_object_read(c->o, c->buf, at, c->size);

		if (n != (ssize_t)c->size)
			return n < 0 ? n : -EIO;
	}
	return c->burst;
}

static long by_memcpy(void *arg, unsigned slice)
{
	const struct copy *c = arg;
	char *at = c->data + start_of(c, slice, 1);

	for (unsigned i = 0; i < c->burst; i++, at += c->size) {
		memcpy(c->to_object ? at : c->buf, c->to_object ? c->buf : at, c->size);
		__asm__ volatile("" ::: "memory"); /* each of them counts */
	}
	return c->burst;
}

static int copy_run(struct api *a, struct copy *c, const char *text, size_t size, bool judged)
{
	const struct vidas_contender pair[2] = { { .turn = by_call, .arg = c },
						 { .turn = by_memcpy, .arg = c } };
	char name[64];
	int ret = 0;

	c->size = size;
	c->burst = (unsigned)(MIB / size);
	c->slices = (unsigned)(c->object_bytes / (c->burst * c->size));
	for (int write = 0; !ret && write < 2; write++) {
		c->to_object = write;
		snprintf(name, sizeof(name), "%s %s", write ? "write" : "read", text);
		ret = api_compare(a, pair, c->slices, (double)size,
				  (struct vidas_row){
					  .name = name,
					  .peer = "memcpy",
					  .kind = judged ? VIDAS_GOAL_RATIO_MIN : VIDAS_GOAL_NONE,
					  .goal = COPY_GOAL,
				  });
	}
	return ret;
}

int api_data_run(struct api *a)
{
	struct copy c = { .object_bytes = a->b->quick ? QUICK_BYTES : OBJECT_BYTES };
	int ret = 0,
	    err = vidas_object_create(a->one, a->container, "data", 0, c.object_bytes, &c.o);

	if (err)
		return api_failed(a, "create", err);
	c.data = vidas_object_data(c.o);
	c.buf = aligned_alloc(4096, MIB);
	if (!c.buf) {
		ret = api_failed(a, "memory", -ENOMEM);
		goto out;
	}
	memset(c.buf, 0x5a, MIB);
	memset(c.data, 0xa5, c.object_bytes);
	vidas_table_head(&a->b->table, "Reads and writes of an object: beside memcpy of its pages");
	ret = copy_run(a, &c, "4 KiB", 4096, true);
	if (!ret)
		ret = copy_run(a, &c, "64 KiB", 65536, true);
	if (!ret)
		ret = copy_run(a, &c, "1 MiB", MIB, true);
	if (ret)
		goto out;
	err = vidas_object_setattr(c.o, "synchronized", "true", 4);
	ret = err ? api_failed(a, "synchronized", err) : 0;
	if (!ret)
		ret = copy_run(a, &c, "4 KiB, synchronized", 4096, false);
out:
	free(c.buf);
	err = vidas_object_destroy(c.o);
	return ret ? ret : err ? api_failed(a, "destroy", err) : 0;
}
