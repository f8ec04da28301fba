/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a benchmark prints: a row for each figure, at once, on standard output and as CSV.
 *
 * A ratio is always of speeds, also where the values are times: above 1 the peer is slower. A row
 * with a goal that could not be measured is SHORT.
 */
#ifndef VIDAS_BENCH_TABLE_H
#define VIDAS_BENCH_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "bench/lib/rounds.h"

enum vidas_goal {
	VIDAS_GOAL_NONE,
	VIDAS_GOAL_RATIO_MIN, /* ratio >= goal */
	VIDAS_GOAL_VALUE_MAX, /* value <= goal, in the row's unit */
};

struct vidas_row {
	const char *group;
	const char *name;
	const char *unit;
	double value;	  /* NAN: could not be measured, `note` says why */
	const char *peer; /* what stands beside it; NULL: nothing */
	double peer_value;
	struct vidas_quartiles ratio; /* paired: how many times as fast as the peer */
	enum vidas_goal kind;
	double goal;
	const char *paper; /* what the paper measured, in microseconds; NULL: nothing */
	const char *note;  /* NULL: none */
};

struct vidas_table {
	FILE *csv;
	unsigned rows, goals, reached;
};

/* `csv`: a file that rows are added to (with a line of headings if it is new), or NULL. */
int vidas_table_open(struct vidas_table *t, const char *csv);
/* Begins a group: a blank line, the text, the headings. */
void vidas_table_head(struct vidas_table *t, const char *text);
void vidas_table_row(struct vidas_table *t, const struct vidas_row *row);
bool vidas_row_reached(const struct vidas_row *row); /* true also without a goal */
/* Closes the CSV file; -EIO if it could not be written. */
int vidas_table_close(struct vidas_table *t);

#endif
