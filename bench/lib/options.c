/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/lib/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_DEFAULT 21u
#define ROUNDS_QUICK   3u
#define ROUNDS_MAX     1001u

int vidas_bench_complain(const struct vidas_bench *b, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s: ", b->program);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 1;
}

static void usage(FILE *to, const struct vidas_bench *b, const char *summary,
		  const struct vidas_bench_option *own)
{
	char text[64];

	fprintf(to, "usage: %s [options]\n%s\n", b->program, summary);
	for (; own->name; own++) {
		snprintf(text, sizeof(text), "--%s %s", own->name, own->value);
		fprintf(to, "  %-22s %s\n", text, own->help);
	}
	fprintf(to,
		"  --rounds N             measure N times (default %u)\n"
		"  --quick                a smoke run: %u rounds, little data\n"
		"  --csv FILE             add the rows to FILE\n"
		"  --strict               exit 1 if a row is SHORT\n",
		ROUNDS_DEFAULT, ROUNDS_QUICK);
}

static int take_rounds(struct vidas_bench *b, const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (*end || !n || n > ROUNDS_MAX) {
		vidas_bench_complain(b, "--rounds '%s' is not a number from 1 to %u", value,
				     ROUNDS_MAX);
		return -EINVAL;
	}
	b->rounds = (unsigned)n;
	return 0;
}

/* 1: a flag of ours; 0: not one */
static int take_flag(struct vidas_bench *b, const char *name)
{
	if (!strcmp(name, "quick"))
		b->quick = true;
	else if (!strcmp(name, "strict"))
		b->strict = true;
	else
		return 0;
	return 1;
}

static int take_value(struct vidas_bench *b, const char *name, const char *value,
		      const struct vidas_bench_option *own)
{
	const struct vidas_bench_option *o = own;
	bool ours = !strcmp(name, "rounds") || !strcmp(name, "csv");

	while (o->name && strcmp(o->name, name) != 0)
		o++;
	if (!o->name && !ours) {
		vidas_bench_complain(b, "unknown option --%s; see %s --help", name, b->program);
		return -EINVAL;
	}
	if (!value) {
		vidas_bench_complain(b, "--%s needs a value; see %s --help", name, b->program);
		return -EINVAL;
	}
	if (o->name)
		return o->take(o->arg, value);
	if (!strcmp(name, "rounds"))
		return take_rounds(b, value);
	b->csv = value;
	return 0;
}

void vidas_bench_begin(struct vidas_bench *b, int argc, char **argv, const char *summary,
		       const struct vidas_bench_option *own)
{
	const char *slash = strrchr(argv[0], '/');
	int err;

	*b = (struct vidas_bench){ .program = slash ? slash + 1 : argv[0] };
	for (int i = 1; i < argc; i++) {
		const char *name = argv[i] + 2;

		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
			usage(stdout, b, summary, own);
			exit(0);
		}
		if (strncmp(argv[i], "--", 2) != 0) {
			vidas_bench_complain(b, "unexpected '%s'; see %s --help", argv[i],
					     b->program);
			exit(2);
		}
		if (take_flag(b, name))
			continue;
		if (take_value(b, name, argv[i + 1], own))
			exit(2);
		i++;
	}
	if (!b->rounds)
		b->rounds = b->quick ? ROUNDS_QUICK : ROUNDS_DEFAULT;
	err = vidas_table_open(&b->table, b->csv);
	if (err) {
		vidas_bench_complain(b, "cannot write %s: %s", b->csv, strerror(-err));
		exit(1);
	}
}

int vidas_bench_end(struct vidas_bench *b)
{
	struct vidas_table *t = &b->table;
	unsigned missed = t->goals - t->reached;

	printf("\n%u rows, %u of %u goals reached%s\n", t->rows, t->reached, t->goals,
	       b->quick ? " (a quick run: too short to judge by)" : "");
	if (vidas_table_close(t))
		return vidas_bench_complain(b, "cannot write %s", b->csv);
	return b->strict && missed;
}
