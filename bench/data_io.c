/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads, writes and mmap faults: for each mount a file of its own, opened at the pool's directory
 * and at the mount, both used by turns. Within a round each side works on all pages of the file
 * that the other works on, so a ratio is of the same pages.
 */
#include "bench/data.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB	    ((size_t)1024 * 1024)
#define PAGE	    ((size_t)4096)
#define FILE_BYTES  (512 * MIB) /* beyond the caches of most machines */
#define QUICK_BYTES (32 * MIB)
#define QUICK_SMALL (2 * MIB)
#define FIRST_BYTES (256 * MIB) /* a first write fills so much, from an empty file */
#define FIRST_SMALL (16 * MIB)
#define BURST	    64u	       /* 4 KiB operations in a slice: a clock read each would show */
#define WINDOW	    (8 * MIB)  /* mapped at once for faults */
#define REGION	    (64 * MIB) /* read after an open: the release of the one before runs beside it */
#define SLICES	    128u       /* at most, in a round; even */
#define FILLS	    8u	       /* of an empty file, in a round */

struct side {
	const struct place *place;
	unsigned which; /* its place in the pair: 0 direct, 1 mount */
	int fd;
	size_t file_bytes, first_bytes, first_small;
	size_t blocks;
	unsigned slices;
	size_t start;	       /* of the present round */
	char *buf;	       /* 1 MiB */
	char *map;	       /* of the present slice */
	const uint32_t *order; /* a random order of the file's pages */
};

struct work {
	const char *name;
	const char *unit;
	double scale; /* unit = scale * operations per nanosecond */
	double goal;
	bool from_empty; /* works on a file of its own that is cut to nothing before each slice */
	int (*prepare)(void *arg, unsigned slice);
	long (*turn)(void *arg, unsigned slice);
	void (*finish)(void *arg, unsigned slice);
	size_t block_bytes; /* what a slice works on; 0: all of the file that it fills */
};

/*
 * A round's slices go twice over the same blocks, pair by pair; in the second half the sides change
 * places. The next round goes on from there, so that in time all of the file is used.
 */
static size_t block_of(const struct side *s, unsigned slice)
{
	unsigned half = s->slices / 2, second = slice >= half;

	return (s->start + (size_t)2 * (slice - second * half) + (s->which ^ second)) % s->blocks;
}

/* A quick run's file has less than a region. */
static size_t region_bytes(const struct side *s)
{
	return s->file_bytes < 2 * REGION ? s->file_bytes / 2 : REGION;
}

static void plan(struct side *s, const struct work *w)
{
	size_t block_bytes = w->block_bytes == REGION ? region_bytes(s) : w->block_bytes;

	s->blocks = block_bytes ? s->file_bytes / block_bytes : 0;
	s->slices = s->blocks ? SLICES : FILLS;
	if (s->blocks && s->blocks < s->slices)
		s->slices = (unsigned)s->blocks;
}

static int read_at(const struct side *s, size_t size, size_t at)
{
	ssize_t n = pread(s->fd, s->buf, size, (off_t)at);

	return n == (ssize_t)size ? 0 : n < 0 ? -errno : -EIO;
}

static int write_at(const struct side *s, size_t size, size_t at)
{
	ssize_t n = pwrite(s->fd, s->buf, size, (off_t)at);

	return n == (ssize_t)size ? 0 : n < 0 ? -errno : -EIO;
}

/* 1 MiB --------------------------------------------------------------------------------------- */

static long bulk_write(void *arg, unsigned slice)
{
	const struct side *s = arg;
	int err = write_at(s, MIB, block_of(s, slice) * MIB);

	return err ? err : 1;
}

static long bulk_read(void *arg, unsigned slice)
{
	const struct side *s = arg;
	int err = read_at(s, MIB, block_of(s, slice) * MIB);

	return err ? err : 1;
}

static int file_open(void *arg, unsigned slice)
{
	struct side *s = arg;
	int fd = openat(s->place->fd, "again", O_RDWR | O_CLOEXEC);

	(void)slice;
	if (fd < 0)
		return -errno;
	close(s->fd);
	s->fd = fd;
	return 0;
}

static long region_read(void *arg, unsigned slice)
{
	const struct side *s = arg;
	size_t bytes = region_bytes(s), start = block_of(s, slice) * bytes;

	for (size_t at = 0; at < bytes; at += MIB) {
		int err = read_at(s, MIB, start + at);

		if (err)
			return err;
	}
	return (long)(bytes / MIB);
}

/* 4 KiB --------------------------------------------------------------------------------------- */

static long small_write(void *arg, unsigned slice)
{
	const struct side *s = arg;
	const uint32_t *page = s->order + block_of(s, slice) * BURST;

	for (unsigned i = 0; i < BURST; i++) {
		int err = write_at(s, PAGE, page[i] * PAGE);

		if (err)
			return err;
	}
	return BURST;
}

static long small_read(void *arg, unsigned slice)
{
	const struct side *s = arg;
	const uint32_t *page = s->order + block_of(s, slice) * BURST;

	for (unsigned i = 0; i < BURST; i++) {
		int err = read_at(s, PAGE, page[i] * PAGE);

		if (err)
			return err;
	}
	return BURST;
}

/* From an empty file -------------------------------------------------------------------------- */

/* The same for both sides: pages are freed here, on this CPU, and then the mount is told. */
static int file_empty(void *arg, unsigned slice)
{
	const struct side *s = arg, *direct = s - s->which;

	(void)slice;
	return ftruncate(direct[0].fd, 0) || ftruncate(direct[1].fd, 0) ? -errno : 0;
}

static long fill(const struct side *s, size_t total, size_t step)
{
	for (size_t at = 0; at < total; at += step) {
		int err = write_at(s, step, at);

		if (err)
			return err;
	}
	return (long)(total / step);
}

static long first_bulk(void *arg, unsigned slice)
{
	(void)slice;
	return fill(arg, ((struct side *)arg)->first_bytes, MIB);
}

static long first_small(void *arg, unsigned slice)
{
	(void)slice;
	return fill(arg, ((struct side *)arg)->first_small, PAGE);
}

/* mmap ---------------------------------------------------------------------------------------- */

static int window_map(void *arg, unsigned slice)
{
	struct side *s = arg;

	s->map = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd,
		      (off_t)(block_of(s, slice) * WINDOW));
	return s->map == MAP_FAILED ? -errno : 0;
}

static void window_unmap(void *arg, unsigned slice)
{
	const struct side *s = arg;

	(void)slice;
	munmap(s->map, WINDOW);
}

static long window_load(void *arg, unsigned slice)
{
	const struct side *s = arg;

	(void)slice;
	for (size_t at = 0; at < WINDOW; at += PAGE)
		(void)*(volatile char *)(s->map + at);
	return WINDOW / PAGE;
}

static long window_store(void *arg, unsigned slice)
{
	const struct side *s = arg;

	(void)slice;
	for (size_t at = 0; at < WINDOW; at += PAGE)
		*(volatile char *)(s->map + at) = 1;
	return WINDOW / PAGE;
}

#define BULK   .unit = "GB/s", .scale = MIB, .goal = 0.97
#define SMALL  .unit = "k/s", .scale = 1e6, .goal = 0.80
#define FAULTS .unit = "k/s", .scale = 1e6, .goal = 0.95

static const struct work works[] = {
	{ "write 1 MiB first", BULK, true, file_empty, first_bulk, NULL, 0 },
	{ "write 1 MiB again", BULK, false, NULL, bulk_write, NULL, MIB },
	{ "read 1 MiB after open", BULK, false, file_open, region_read, NULL, REGION },
	{ "read 1 MiB again", BULK, false, NULL, bulk_read, NULL, MIB },
	{ "write 4 KiB first", SMALL, true, file_empty, first_small, NULL, 0 },
	{ "write 4 KiB again", SMALL, false, NULL, small_write, NULL, BURST *PAGE },
	{ "read 4 KiB again", SMALL, false, NULL, small_read, NULL, BURST *PAGE },
	{ "mmap load faults", FAULTS, false, window_map, window_load, window_unmap, WINDOW },
	{ "mmap store faults", FAULTS, false, window_map, window_store, window_unmap, WINDOW },
};
#define WORKS (sizeof(works) / sizeof(works[0]))

/* The two sides of one mount, and what they are measured on. */
struct pair {
	int err; /* why there is none */
	struct side side[2];
};

static void random_order(uint32_t *order, size_t n)
{
	uint64_t x = UINT64_C(88172645463325252); /* xorshift: the same order in every run */

	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	for (size_t i = n - 1; i > 0; i--) {
		size_t j;
		uint32_t keep = order[i];

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		j = x % (i + 1);
		order[i] = order[j];
		order[j] = keep;
	}
}

/* A new file at place 0, filled, and opened there and at the mount. */
static int pair_open(struct pair *pair, const struct work *w)
{
	const char *name = w->from_empty ? "first" : "again";
	struct side *direct = &pair->side[0], *mount = &pair->side[1];
	int err = 0;

	direct->fd = openat(direct->place->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (direct->fd < 0)
		return -errno;
	if (!w->from_empty)
		err = (int)fill(direct, direct->file_bytes, MIB);
	if (err < 0)
		goto fail;
	mount->fd = openat(mount->place->fd, name, O_RDWR | O_CLOEXEC);
	if (mount->fd >= 0)
		return 0;
	err = -errno;
fail:
	close(direct->fd);
	unlinkat(direct->place->fd, name, 0);
	return err;
}

/* Unlinked through the mount, so that it holds no stale name when the next file is made. */
static void pair_close(struct pair *pair, const struct work *w)
{
	if (pair->err)
		return;
	close(pair->side[0].fd);
	close(pair->side[1].fd);
	unlinkat(pair->side[1].place->fd, w->from_empty ? "first" : "again", 0);
}

static int pair_measure(struct pair *pair, const struct work *w, struct vidas_rounds *r)
{
	struct vidas_contender c[2];
	int err = pair_open(pair, w);

	pair->err = err;
	for (unsigned i = 0; i < 2; i++) {
		plan(&pair->side[i], w);
		c[i] = (struct vidas_contender){ w->prepare, w->turn, w->finish, &pair->side[i] };
	}
	/* Round 0 warms up and is not counted. */
	for (unsigned round = 0; !err && round <= r->rounds; round++) {
		double ns[2];

		for (unsigned i = 0; i < 2; i++)
			pair->side[i].start = (size_t)round * pair->side[i].slices;
		err = vidas_contenders_race(c, 2, pair->side[0].slices, round, ns);
		if (round)
			memcpy(vidas_rounds_row(r, round - 1), ns, sizeof(ns));
	}
	pair_close(pair, w);
	return err;
}

static void print(struct vidas_bench *b, const struct work *w, const struct place *place, int err,
		  const struct vidas_rounds *r)
{
	char name[80];
	struct vidas_row row = {
		.group = "files",
		.name = name,
		.unit = w->unit,
		.value = w->scale / vidas_rounds_median(r, 1),
		.peer = "direct",
		.peer_value = w->scale / vidas_rounds_median(r, 0),
		.ratio = vidas_rounds_ratio(r, 0, 1), /* of speeds: the times the other way round */
		.kind = place->role == PLACE_JUDGED ? VIDAS_GOAL_RATIO_MIN : VIDAS_GOAL_NONE,
		.goal = w->goal,
		.note = err ? strerror(-err) : NULL,
	};

	snprintf(name, sizeof(name), "%s, %s", w->name, place->name);
	vidas_table_row(&b->table, &row);
}

static int work_run(struct vidas_bench *b, const struct places *p, const struct work *w,
		    const struct side *model)
{
	for (unsigned i = 1; i < p->n; i++) {
		struct vidas_rounds r;
		struct pair pair = { .side = { *model, *model } };
		int err;

		if (p->place[i].role == PLACE_BESIDE)
			continue;
		err = vidas_rounds_init(&r, 2, b->rounds);
		if (err)
			return vidas_bench_complain(b, "%s", strerror(-err));
		pair.side[0].place = &p->place[0];
		pair.side[1].place = &p->place[i];
		pair.side[1].which = 1;
		err = pair_measure(&pair, w, &r);
		print(b, w, &p->place[i], err, &r);
		vidas_rounds_free(&r);
	}
	return 0;
}

int data_io_run(struct vidas_bench *b, const struct places *p)
{
	struct side model = { .fd = -1,
			      .file_bytes = b->quick ? QUICK_BYTES : FILE_BYTES,
			      .first_bytes = b->quick ? QUICK_BYTES : FIRST_BYTES,
			      .first_small = b->quick ? QUICK_SMALL : FIRST_SMALL };
	uint32_t *order = malloc(model.file_bytes / PAGE * sizeof(*order));
	int ret = 1;

	model.buf = aligned_alloc(PAGE, MIB);
	if (!order || !model.buf) {
		vidas_bench_complain(b, "%s", strerror(ENOMEM));
		goto out;
	}
	memset(model.buf, 0x5a, MIB);
	random_order(order, model.file_bytes / PAGE);
	model.order = order;
	vidas_table_head(&b->table,
			 "Data: the mount against the same pages of the pool's own file");
	ret = 0;
	for (unsigned i = 0; !ret && i < WORKS; i++)
		ret = work_run(b, p, &works[i], &model);
out:
	free(model.buf);
	free(order);
	return ret;
}
