/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sides: rows of what a script has timed, which it writes to a file, a line each:
 *	time|ROW|UNIT|SIDE|ROUND|VALUE		more is better
 *	compare|ROW|SIDE|PEER[,PEER]...|GOAL	GOAL: the least ratio, or -
 * Peers that have no times are left out; of several the best of each round is compared with, and the one whose
 * median is best is named.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lib/options.h"

#define TIMES_MAX 4096u
#define FIELDS	  6u

struct measured {
	char row[48], unit[16], side[32];
	unsigned round;
	double value;
};

struct sides {
	const char *file;
	struct measured *times;
	unsigned count;
};

/* Cuts a line at its bars; 0 if it has not so many fields. */
static int fields(char *line, unsigned n, char *field[FIELDS])
{
	unsigned got = 0;

	line[strcspn(line, "\n")] = '\0';
	while (got < n && (field[got] = strsep(&line, "|")))
		got++;
	return got == n && !line;
}

static double value_of(const struct sides *s, const char *row, const char *side, unsigned round)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->times[i].round == round && !strcmp(s->times[i].row, row) &&
		    !strcmp(s->times[i].side, side))
			return s->times[i].value;
	return NAN;
}

static double median_of(const struct sides *s, const char *row, const char *side)
{
	double *values = calloc(s->count + 1, sizeof(*values)), median;
	unsigned n = 0;

	if (!values)
		abort();
	for (unsigned i = 0; i < s->count; i++)
		if (!strcmp(s->times[i].row, row) && !strcmp(s->times[i].side, side))
			values[n++] = s->times[i].value;
	median = vidas_quartiles_of(values, n).median;
	free(values);
	return median;
}

static const char *unit_of(const struct sides *s, const char *row)
{
	for (unsigned i = 0; i < s->count; i++)
		if (!strcmp(s->times[i].row, row))
			return s->times[i].unit;
	return "";
}

static unsigned last_round(const struct sides *s)
{
	unsigned last = 0;

	for (unsigned i = 0; i < s->count; i++)
		last = s->times[i].round > last ? s->times[i].round : last;
	return last;
}

/* NAN: none of the peers, which are ended by NULs, has one for this round. */
static double best_of(const struct sides *s, const char *row, char *const *peer, unsigned peers,
		      unsigned round)
{
	double best = NAN;

	for (unsigned i = 0; i < peers; i++)
		best = fmax(best, value_of(s, row, peer[i], round));
	return best;
}

/* "aws, best of 4" */
static double best_name(const struct sides *s, const char *row, char *const *peer, unsigned peers,
			char *name, size_t size)
{
	double best = NAN, median;
	unsigned have = 0;

	for (unsigned i = 0; i < peers; i++) {
		median = median_of(s, row, peer[i]);
		have += isnan(median) ? 0 : 1;
		if (isnan(median) || best >= median)
			continue;
		best = median;
		snprintf(name, size, "%s", peer[i]);
	}
	if (have > 1)
		snprintf(name + strlen(name), size - strlen(name), ", best of %u", have);
	return best;
}

static void compare(const struct sides *s, struct vidas_table *t, char *const field[FIELDS])
{
	unsigned rounds = last_round(s) + 1, peers = 0, n = 0;
	double *ratio = calloc(rounds, sizeof(*ratio));
	char *peer[16], *list = field[3], *each, name[96], best[64] = "";
	struct vidas_row row = { .group = "backends", .name = name, .peer = best };

	if (!ratio)
		abort();
	while (peers < 16 && (each = strsep(&list, ",")))
		peer[peers++] = each;
	snprintf(name, sizeof(name), "%s, %s", field[1], field[2]);
	row.unit = unit_of(s, field[1]);
	row.value = median_of(s, field[1], field[2]);
	row.peer_value = best_name(s, field[1], peer, peers, best, sizeof(best));
	for (unsigned i = 0; i < rounds; i++)
		ratio[n++] =
			value_of(s, field[1], field[2], i) / best_of(s, field[1], peer, peers, i);
	row.ratio = vidas_quartiles_of(ratio, n);
	if (strcmp(field[4], "-") != 0) {
		row.kind = VIDAS_GOAL_RATIO_MIN;
		row.goal = strtod(field[4], NULL);
	}
	if (best[0])
		vidas_table_row(t, &row);
	free(ratio);
}

static int note(struct sides *s, char *const field[FIELDS])
{
	struct measured *m = &s->times[s->count];

	if (s->count == TIMES_MAX)
		return -E2BIG;
	snprintf(m->row, sizeof(m->row), "%s", field[1]);
	snprintf(m->unit, sizeof(m->unit), "%s", field[2]);
	snprintf(m->side, sizeof(m->side), "%s", field[3]);
	m->round = (unsigned)strtoul(field[4], NULL, 10);
	m->value = strtod(field[5], NULL);
	s->count += m->round < TIMES_MAX;
	return 0;
}

/* Comparisons stand behind the times that they are of. */
static int read_all(struct sides *s, struct vidas_table *t, FILE *f)
{
	char line[512], again[512], *field[FIELDS];
	int err = 0;

	while (!err && fgets(line, sizeof(line), f)) {
		snprintf(again, sizeof(again), "%s", line);
		if (fields(line, 6, field) && !strcmp(field[0], "time"))
			err = note(s, field);
		else if (fields(again, 5, field) && !strcmp(field[0], "compare"))
			compare(s, t, field);
		else
			err = -EINVAL;
	}
	return err ? err : ferror(f) ? -EIO : 0;
}

static int take_file(void *arg, const char *value)
{
	*(const char **)arg = value;
	return 0;
}

int main(int argc, char **argv)
{
	struct sides s = { 0 };
	const struct vidas_bench_option own[] = {
		{ "times", "FILE", "what was timed and is to be compared", take_file, &s.file },
		{ 0 }
	};
	struct vidas_bench b = { .program = "sides" };
	FILE *f;
	int err;

	vidas_bench_begin(&b, argc, argv, "rows of what a script has timed", own);
	f = s.file ? fopen(s.file, "re") : NULL;
	if (!f)
		return vidas_bench_complain(&b, "cannot read %s", s.file ? s.file : "no --times");
	s.times = calloc(TIMES_MAX, sizeof(*s.times));
	vidas_table_head(&b.table,
			 "S3 (radosgw), in turns; put: until the store has it; get: from the "
			 "store into a directory");
	err = s.times ? read_all(&s, &b.table, f) : -ENOMEM;
	fclose(f);
	free(s.times);
	if (err)
		return vidas_bench_complain(&b, "%s: %s", s.file, strerror(-err));
	return vidas_bench_end(&b);
}
