/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a benchmark measures: contenders take turns on slices of the same work within one process, in
 * an order that changes from slice to slice and from round to round, so that what the machine does
 * meanwhile hits them alike. A round gives one time for each; ratios are taken within a round, and
 * what is reported are medians and quartiles over the rounds.
 *
 * Not thread-safe; times are nanoseconds.
 */
#ifndef VIDAS_BENCH_ROUNDS_H
#define VIDAS_BENCH_ROUNDS_H

#include <stdint.h>

int64_t vidas_bench_now(void);

/* Touches so much memory, in huge pages, and gives it back. In a virtual machine what is free may be with its host; what
 * was just given back is not yet, so that who comes next does not wait for it to be had anew. 0 or -errno. */
int vidas_bench_warm(uint64_t bytes);

/* Someone who does slice 0..n-1 of a work. Of the three only `turn` is timed. */
struct vidas_contender {
	int (*prepare)(void *arg, unsigned slice); /* 0 or -errno; may be NULL */
	long (*turn)(void *arg, unsigned slice);   /* operations done, or -errno */
	void (*finish)(void *arg, unsigned slice); /* after every successful prepare; may be NULL */
	void *arg;
};

/* Lets `n` contenders (at most VIDAS_CONTENDERS_MAX) do all slices by turns; ns[i] is then contender
 * i's time per operation: the mean over its slices without the fastest and the slowest quarter, as
 * whatever else runs on the machine hits a few of them hard. NAN if one of its calls failed: it then
 * misses the rest of the round. Returns 0, or the first -errno; the others' times are good in any case. */
#define VIDAS_CONTENDERS_MAX 8u
int vidas_contenders_race(const struct vidas_contender *contenders, unsigned n, unsigned slices,
			  unsigned round, double *ns);

/* Times of a number of series over the rounds. */
struct vidas_rounds {
	unsigned series, rounds;
	double *ns; /* [round * series + i]; NAN: not measured */
};

struct vidas_quartiles {
	double q1, median, q3; /* NAN if nothing was measured */
};

int vidas_rounds_init(struct vidas_rounds *r, unsigned series, unsigned rounds);
void vidas_rounds_free(struct vidas_rounds *r);
double *vidas_rounds_row(struct vidas_rounds *r, unsigned round); /* the times of one round */

/* The median of a series. */
double vidas_rounds_median(const struct vidas_rounds *r, unsigned series);

/* Of time(over) / time(under) within each round, over the rounds that have both. */
struct vidas_quartiles vidas_rounds_ratio(const struct vidas_rounds *r, unsigned over,
					  unsigned under);

/* The mean of values[0..n) without the lowest and the highest quarter; sorts them; NAN if n is 0. */
double vidas_midmean_of(double *values, unsigned n);

/* Quartiles of values[0..n), by linear interpolation; sorts them; NANs are left out. */
struct vidas_quartiles vidas_quartiles_of(double *values, unsigned n);

#endif
