/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every benchmark program understands, beside options of its own:
 *	--rounds N	how often all is measured (odd numbers have a real median)
 *	--quick		few rounds and little data: does it work, not how fast is it
 *	--csv FILE	add the rows to a file
 *	--strict	exit 1 if a row is SHORT
 */
#ifndef VIDAS_BENCH_OPTIONS_H
#define VIDAS_BENCH_OPTIONS_H

#include <stdbool.h>

#include "bench/lib/table.h"

struct vidas_bench {
	const char *program;
	unsigned rounds;
	bool quick, strict;
	const char *csv;
	struct vidas_table table;
};

struct vidas_bench_option {
	const char *name;  /* "direct" for --direct VALUE */
	const char *value; /* what to call it in the usage, "DIR" */
	const char *help;
	int (*take)(void *arg, const char *value); /* 0, or -EINVAL after having said why */
	void *arg;
};

/* Reads the command line. `own` ends with one whose name is NULL. Returns 0; on a bad line exits 2
 * with a line that says so, on --help 0. Opens the table. */
void vidas_bench_begin(struct vidas_bench *b, int argc, char **argv, const char *summary,
		       const struct vidas_bench_option *own);

/* "program: text" on standard error; returns 1, to exit with. */
int vidas_bench_complain(const struct vidas_bench *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The last line, and the program's exit status: 1 if something is short and --strict was given. */
int vidas_bench_end(struct vidas_bench *b);

#endif
