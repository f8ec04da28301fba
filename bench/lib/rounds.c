/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/lib/rounds.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

int64_t vidas_bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

struct tally {
	double *ns; /* per operation, of each slice done */
	unsigned slices;
	int err;
};

static void take_turn(const struct vidas_contender *c, unsigned slice, struct tally *t)
{
	int64_t start, end;
	long ops;

	if (c->prepare && (t->err = c->prepare(c->arg, slice)))
		return;
	start = vidas_bench_now();
	ops = c->turn(c->arg, slice);
	end = vidas_bench_now();
	if (c->finish)
		c->finish(c->arg, slice);
	if (ops <= 0)
		t->err = ops ? (int)ops : -EIO;
	else
		t->ns[t->slices++] = (double)(end - start) / (double)ops;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double vidas_midmean_of(double *values, unsigned n)
{
	unsigned skip = n / 4;
	double sum = 0;

	if (!n)
		return NAN;
	qsort(values, n, sizeof(*values), compare);
	for (unsigned i = skip; i < n - skip; i++)
		sum += values[i];
	return sum / (n - 2 * skip);
}

int vidas_contenders_race(const struct vidas_contender *contenders, unsigned n, unsigned slices,
			  unsigned round, double *ns)
{
	struct tally tally[VIDAS_CONTENDERS_MAX] = { 0 };
	double *all;
	int ret = 0;

	if (n > VIDAS_CONTENDERS_MAX)
		return -EINVAL;
	all = calloc((size_t)n * slices, sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		tally[i].ns = all + (size_t)i * slices;
	for (unsigned slice = 0; slice < slices; slice++) {
		/* Forwards and backwards from a start that moves: nobody always follows the same one. */
		unsigned first = (slice / 2 + round) % n;
		bool backwards = (slice + round) & 1;

		for (unsigned i = 0; i < n; i++) {
			unsigned who = (first + (backwards ? n - i : i)) % n;

			if (!tally[who].err)
				take_turn(&contenders[who], slice, &tally[who]);
		}
	}
	for (unsigned i = 0; i < n; i++) {
		ns[i] = tally[i].err ? NAN : vidas_midmean_of(tally[i].ns, tally[i].slices);
		if (!ret)
			ret = tally[i].err;
	}
	free(all);
	return ret;
}

int vidas_rounds_init(struct vidas_rounds *r, unsigned series, unsigned rounds)
{
	r->series = series;
	r->rounds = rounds;
	r->ns = malloc((size_t)series * rounds * sizeof(*r->ns));
	if (!r->ns)
		return -ENOMEM;
	for (size_t i = 0; i < (size_t)series * rounds; i++)
		r->ns[i] = NAN;
	return 0;
}

void vidas_rounds_free(struct vidas_rounds *r)
{
	free(r->ns);
	r->ns = NULL;
}

double *vidas_rounds_row(struct vidas_rounds *r, unsigned round)
{
	return r->ns + (size_t)round * r->series;
}

static double quantile(const double *sorted, unsigned n, double q)
{
	double at = q * (double)(n - 1);
	unsigned below = (unsigned)at;

	if (below + 1 >= n)
		return sorted[n - 1];
	return sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]);
}

struct vidas_quartiles vidas_quartiles_of(double *values, unsigned n)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++)
		if (!isnan(values[i]))
			values[kept++] = values[i];
	if (!kept)
		return (struct vidas_quartiles){ NAN, NAN, NAN };
	qsort(values, kept, sizeof(*values), compare);
	return (struct vidas_quartiles){
		.q1 = quantile(values, kept, 0.25),
		.median = quantile(values, kept, 0.5),
		.q3 = quantile(values, kept, 0.75),
	};
}

double vidas_rounds_median(const struct vidas_rounds *r, unsigned series)
{
	double values[r->rounds];

	for (unsigned i = 0; i < r->rounds; i++)
		values[i] = r->ns[(size_t)i * r->series + series];
	return vidas_quartiles_of(values, r->rounds).median;
}

struct vidas_quartiles vidas_rounds_ratio(const struct vidas_rounds *r, unsigned over,
					  unsigned under)
{
	double values[r->rounds];

	for (unsigned i = 0; i < r->rounds; i++) {
		const double *row = r->ns + (size_t)i * r->series;

		values[i] = row[over] / row[under];
	}
	return vidas_quartiles_of(values, r->rounds);
}
