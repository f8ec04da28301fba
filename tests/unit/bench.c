/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the benchmarks' verdicts rest on: quartiles, paired ratios, fair turns, goals. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/lib/table.h"
#include "unit.h"

static int near(double a, double b)
{
	return fabs(a - b) < 1e-9;
}

static void test_quartiles(void)
{
	double odd[] = { 5, 1, 4, 2, 3 }, even[] = { 4, 1, 3, 2 }, holes[] = { NAN, 7, NAN };
	struct vidas_quartiles q = vidas_quartiles_of(odd, 5);

	CU_ASSERT(near(q.q1, 2) && near(q.median, 3) && near(q.q3, 4));
	q = vidas_quartiles_of(even, 4);
	CU_ASSERT(near(q.q1, 1.75) && near(q.median, 2.5) && near(q.q3, 3.25));
	q = vidas_quartiles_of(holes, 3);
	CU_ASSERT(near(q.q1, 7) && near(q.median, 7) && near(q.q3, 7));
	q = vidas_quartiles_of(holes, 0);
	CU_ASSERT(isnan(q.median));
}

/* What hits few slices hard, as another process does, is not in it. */
static void test_midmean(void)
{
	double values[] = { 10, 900, 11, 1, 12, 13, 14, 12 };

	CU_ASSERT(near(vidas_midmean_of(values, 8), (11 + 12 + 12 + 13) / 4.0));
	CU_ASSERT(near(vidas_midmean_of(values, 1), 1));
	CU_ASSERT(isnan(vidas_midmean_of(values, 0)));
}

/* A ratio is of two times of one round: the drift of the machine from round to round is not in it. */
static void test_paired(void)
{
	struct vidas_rounds r;
	struct vidas_quartiles q;

	CU_ASSERT_EQUAL_FATAL(vidas_rounds_init(&r, 2, 5), 0);
	for (unsigned i = 0; i < 5; i++) {
		double *row = vidas_rounds_row(&r, i);

		row[0] = 100.0 * (i + 1);
		row[1] = 50.0 * (i + 1);
	}
	vidas_rounds_row(&r, 4)[1] = NAN; /* a round without its peer does not count */
	q = vidas_rounds_ratio(&r, 0, 1);
	CU_ASSERT(near(q.q1, 2) && near(q.median, 2) && near(q.q3, 2));
	CU_ASSERT(near(vidas_rounds_median(&r, 0), 300));
	CU_ASSERT(near(vidas_rounds_median(&r, 1), 125));
	vidas_rounds_free(&r);
}

struct runner {
	unsigned id, prepared, turns, finished, first;
	long give;
	useconds_t us, prepare_us;
};
static unsigned last_slice, turns_in_slice;

static int prepare(void *arg, unsigned slice)
{
	struct runner *r = arg;

	(void)slice;
	r->prepared++;
	usleep(r->prepare_us);
	return 0;
}

static long turn(void *arg, unsigned slice)
{
	struct runner *r = arg;

	if (slice != last_slice) {
		last_slice = slice;
		turns_in_slice = 0;
	}
	r->first += turns_in_slice++ == 0;
	r->turns++;
	if (r->us)
		usleep(r->us);
	return r->give;
}

static void finish(void *arg, unsigned slice)
{
	(void)slice;
	((struct runner *)arg)->finished++;
}

static void test_turns(void)
{
	struct runner r[3] = { { .id = 0, .give = 2 },
			       { .id = 1, .give = 2 },
			       { .id = 2, .give = 2 } };
	struct vidas_contender c[3];
	double ns[3];

	for (unsigned i = 0; i < 3; i++)
		c[i] = (struct vidas_contender){ prepare, turn, finish, &r[i] };
	last_slice = ~0u;
	CU_ASSERT_EQUAL(vidas_contenders_race(c, 3, 60, 0, ns), 0);
	for (unsigned i = 0; i < 3; i++) {
		CU_ASSERT_EQUAL(r[i].turns, 60);
		CU_ASSERT_EQUAL(r[i].finished, 60);
		CU_ASSERT_EQUAL(r[i].first, 20); /* nobody is favoured by going first */
	}
	CU_ASSERT_EQUAL(vidas_contenders_race(c, VIDAS_CONTENDERS_MAX + 1, 1, 0, ns), -EINVAL);
}

static void test_time(void)
{
	struct runner r[2] = { { .give = 10, .us = 2000 },
			       { .give = 10, .us = 0, .prepare_us = 2000 } };
	struct vidas_contender c[2] = { { prepare, turn, finish, &r[0] },
					{ prepare, turn, finish, &r[1] } };
	double ns[2];

	CU_ASSERT_EQUAL(vidas_contenders_race(c, 2, 4, 1, ns), 0);
	CU_ASSERT(ns[0] >= 200000); /* 2 ms a turn of ten operations */
	CU_ASSERT(ns[1] < 200000);  /* what prepare takes is not counted */
}

static void test_failure(void)
{
	struct runner r[2] = { { .give = -ENOSPC }, { .give = 1 } };
	struct vidas_contender c[2] = { { prepare, turn, finish, &r[0] },
					{ prepare, turn, finish, &r[1] } };
	double ns[2];

	CU_ASSERT_EQUAL(vidas_contenders_race(c, 2, 5, 0, ns), -ENOSPC);
	CU_ASSERT(isnan(ns[0]) && !isnan(ns[1]));
	CU_ASSERT_EQUAL(r[0].turns, 1);
	CU_ASSERT_EQUAL(r[0].finished, 1); /* what was prepared is always cleaned up */
	CU_ASSERT_EQUAL(r[1].turns, 5);
}

static void test_goals(void)
{
	struct vidas_row row = { .kind = VIDAS_GOAL_NONE,
				 .value = NAN,
				 .ratio = { NAN, NAN, NAN } };

	CU_ASSERT(vidas_row_reached(&row));
	for (enum vidas_goal kind = VIDAS_GOAL_RATIO_MIN; kind <= VIDAS_GOAL_VALUE_MAX; kind++) {
		row.kind = kind;
		CU_ASSERT_FALSE(vidas_row_reached(&row)); /* not measured is not reached */
	}
	row = (struct vidas_row){ .value = 0.5, .ratio.median = 0.97, .goal = 0.97 };
	row.kind = VIDAS_GOAL_RATIO_MIN;
	CU_ASSERT(vidas_row_reached(&row));
	row.ratio.median = 0.9699;
	CU_ASSERT_FALSE(vidas_row_reached(&row));
	row.goal = 0.9;
	row.kind = VIDAS_GOAL_VALUE_MAX;
	CU_ASSERT(vidas_row_reached(&row));
	row.value = 0.91;
	CU_ASSERT_FALSE(vidas_row_reached(&row));
}

static void test_csv(void)
{
	char path[] = "/tmp/vidas-bench-csv-XXXXXX", text[1024] = "";
	const struct vidas_row row = { .group = "g",
				       .name = "a, \"b\"",
				       .unit = "k/s",
				       .value = 2,
				       .peer = "p",
				       .peer_value = 4,
				       .ratio = { .q1 = 0.25, .median = 0.5, .q3 = 0.75 },
				       .kind = VIDAS_GOAL_RATIO_MIN,
				       .goal = 0.8 };
	struct vidas_table t;
	FILE *f;
	int fd = mkstemp(path);

	CU_ASSERT_FATAL(fd >= 0);
	close(fd);
	for (unsigned i = 0; i < 2; i++) { /* the second time it has its headings already */
		CU_ASSERT_EQUAL_FATAL(vidas_table_open(&t, path), 0);
		vidas_table_row(&t, &row);
		CU_ASSERT_EQUAL(t.goals - t.reached, 1);
		CU_ASSERT_EQUAL(vidas_table_close(&t), 0);
	}
	f = fopen(path, "re");
	CU_ASSERT_FATAL(f != NULL);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	unlink(path);
	CU_ASSERT_STRING_EQUAL(
		text,
		"group,name,value,unit,peer,peer_value,ratio,q1,q3,goal_kind,goal,verdict,paper_us,note\n"
		"g,\"a, \"\"b\"\"\",2,k/s,p,4,0.5,0.25,0.75,ratio_min,0.8,SHORT,,\n"
		"g,\"a, \"\"b\"\"\",2,k/s,p,4,0.5,0.25,0.75,ratio_min,0.8,SHORT,,\n");
	CU_ASSERT(vidas_table_open(&t, "/nonexistent/x") < 0);
}

UNIT_MAIN("bench", { "quartiles", test_quartiles }, { "middle mean", test_midmean },
	  { "paired ratios", test_paired }, { "turns", test_turns }, { "time", test_time },
	  { "failure", test_failure }, { "goals", test_goals }, { "csv", test_csv })
