/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/lib/table.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* Widths of the columns; negative: left-justified. */
enum {
	NAME = -43,
	VALUE = 9,
	UNIT = -5,
	PEER = -24,
	RATIO = 20,
	GOAL = 9,
	VERDICT = -5,
	PAPER = 8
};

/* Pads by characters, not bytes: there are signs like µ in the cells. */
static void put_cell(int width, const char *text)
{
	int chars = 0, left = width < 0;

	for (const char *p = text; *p; p++)
		chars += ((unsigned char)*p & 0xc0) != 0x80;
	width = (left ? -width : width) - chars;
	printf("%*s%s%*s ", left || width < 0 ? 0 : width, "", text, left && width > 0 ? width : 0,
	       "");
}

static void put_number(int width, double x)
{
	char text[32];

	if (isnan(x))
		snprintf(text, sizeof(text), "-");
	else
		snprintf(text, sizeof(text), "%.*f",
			 x < 10	  ? 3 :
			 x < 100  ? 2 :
			 x < 1000 ? 1 :
				    0,
			 x);
	put_cell(width, text);
}

int vidas_table_open(struct vidas_table *t, const char *csv)
{
	*t = (struct vidas_table){ 0 };
	if (!csv)
		return 0;
	t->csv = fopen(csv, "ae");
	if (!t->csv)
		return -errno;
	fseek(t->csv, 0, SEEK_END);
	if (ftell(t->csv) == 0)
		fprintf(t->csv, "group,name,value,unit,peer,peer_value,ratio,q1,q3,goal_kind,goal,"
				"verdict,paper_us,note\n");
	return 0;
}

void vidas_table_head(struct vidas_table *t, const char *text)
{
	(void)t;
	printf("\n%s\n", text);
	put_cell(NAME, "");
	put_cell(VALUE, "value");
	put_cell(UNIT, "");
	put_cell(VALUE, "peer");
	put_cell(PEER, "");
	put_cell(RATIO, "speed ratio (q1-q3)");
	put_cell(GOAL, "goal");
	put_cell(VERDICT, "");
	put_cell(PAPER, "paper µs");
	printf("\n");
}

bool vidas_row_reached(const struct vidas_row *row)
{
	switch (row->kind) {
	case VIDAS_GOAL_NONE:
		return true;
	case VIDAS_GOAL_RATIO_MIN:
		return row->ratio.median >= row->goal;
	case VIDAS_GOAL_VALUE_MAX:
		return row->value <= row->goal;
	}
	return false;
}

static const char *verdict(const struct vidas_row *row)
{
	if (row->kind == VIDAS_GOAL_NONE)
		return "";
	return vidas_row_reached(row) ? "ok" : "SHORT";
}

static void goal_text(const struct vidas_row *row, char *text, size_t size)
{
	switch (row->kind) {
	case VIDAS_GOAL_NONE:
		snprintf(text, size, "-");
		break;
	case VIDAS_GOAL_RATIO_MIN:
		snprintf(text, size, "≥ %.2f", row->goal);
		break;
	case VIDAS_GOAL_VALUE_MAX:
		snprintf(text, size, "≤ %g %s", row->goal, row->unit);
		break;
	}
}

static void csv_text(FILE *f, const char *text)
{
	if (!text)
		return;
	if (!strpbrk(text, ",\"\n")) {
		fputs(text, f);
		return;
	}
	fputc('"', f);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', f);
		fputc(*text, f);
	}
	fputc('"', f);
}

static void csv_number(FILE *f, double x)
{
	fputc(',', f);
	if (!isnan(x))
		fprintf(f, "%.6g", x);
}

static void csv_row(FILE *f, const struct vidas_row *row)
{
	static const char *const kinds[] = {
		[VIDAS_GOAL_NONE] = "",
		[VIDAS_GOAL_RATIO_MIN] = "ratio_min",
		[VIDAS_GOAL_VALUE_MAX] = "value_max",
	};

	csv_text(f, row->group);
	fputc(',', f);
	csv_text(f, row->name);
	csv_number(f, row->value);
	fputc(',', f);
	csv_text(f, row->unit);
	fputc(',', f);
	csv_text(f, row->peer);
	csv_number(f, row->peer ? row->peer_value : NAN);
	csv_number(f, row->peer ? row->ratio.median : NAN);
	csv_number(f, row->peer ? row->ratio.q1 : NAN);
	csv_number(f, row->peer ? row->ratio.q3 : NAN);
	fprintf(f, ",%s", kinds[row->kind]);
	csv_number(f, row->kind == VIDAS_GOAL_NONE ? NAN : row->goal);
	fprintf(f, ",%s,", verdict(row));
	csv_text(f, row->paper);
	fputc(',', f);
	csv_text(f, row->note);
	fputc('\n', f);
}

void vidas_table_row(struct vidas_table *t, const struct vidas_row *row)
{
	char text[64];

	put_cell(NAME, row->name);
	put_number(VALUE, row->value);
	put_cell(UNIT, row->unit);
	put_number(VALUE, row->peer ? row->peer_value : NAN);
	put_cell(PEER, row->peer ? row->peer : "");
	if (row->peer && !isnan(row->ratio.median))
		snprintf(text, sizeof(text), "%.3f (%.2f-%.2f)", row->ratio.median, row->ratio.q1,
			 row->ratio.q3);
	else
		snprintf(text, sizeof(text), "-");
	put_cell(RATIO, text);
	goal_text(row, text, sizeof(text));
	put_cell(GOAL, text);
	put_cell(VERDICT, verdict(row));
	put_cell(PAPER, row->paper ? row->paper : "");
	printf("%s\n", row->note ? row->note : "");
	fflush(stdout);
	if (t->csv)
		csv_row(t->csv, row);
	t->rows++;
	if (row->kind != VIDAS_GOAL_NONE) {
		t->goals++;
		t->reached += vidas_row_reached(row);
	}
}

int vidas_table_close(struct vidas_table *t)
{
	int err = 0;

	if (t->csv) {
		err = ferror(t->csv);
		err |= fclose(t->csv);
		t->csv = NULL;
	}
	return err ? -EIO : 0;
}
