/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* xattr-schema.md and the table in the code say the same. */
#include "unit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "pool/policy/attr.h"

#define CELLS 5

static char *trim(char *text)
{
	char *end = text + strlen(text);

	while (end > text && (end[-1] == ' ' || end[-1] == '\n'))
		*--end = '\0';
	return text + strspn(text, " ");
}

/* Cuts "| a | b | ... |" into its cells; not a row: false. */
static bool cut_row(char *line, char *cell[CELLS])
{
	char *at = trim(line);

	if (*at++ != '|')
		return false;
	for (int i = 0; i < CELLS; i++) {
		char *end = strchr(at, '|');

		if (!end)
			return false;
		*end = '\0';
		cell[i] = trim(at);
		at = end + 1;
	}
	return !*trim(at);
}

/* "`a`, `b`" to "a b ". */
static void list_words(const char *cell, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	for (const char *at = strchr(cell, '`'); at; at = strchr(at + 1, '`')) {
		const char *end = strchr(at + 1, '`');

		if (!end)
			break;
		used += (size_t)snprintf(out + used, size - used, "%.*s ", (int)(end - at - 1),
					 at + 1);
		at = end;
	}
}

static void expect_row(const struct vidas_attr *attr, char *cell[CELLS])
{
	static const char *const kinds[] = { "policy", "info", "action", "container", "message" };
	char name[64], values[128], have[128] = "", fallback[64];

	list_words(cell[0], name, sizeof(name));
	CU_ASSERT_EQUAL_FATAL(strncmp(name, attr->name, strlen(attr->name)), 0);
	CU_ASSERT_STRING_EQUAL(name + strlen(attr->name), " ");
	CU_ASSERT_STRING_EQUAL(cell[1], kinds[attr->kind]);
	list_words(cell[2], values, sizeof(values));
	for (const char *const *v = attr->values; v && *v; v++)
		snprintf(have + strlen(have), sizeof(have) - strlen(have), "%s ", *v);
	CU_ASSERT_STRING_EQUAL(have, attr->values ? values : "");
	list_words(cell[3], fallback, sizeof(fallback));
	snprintf(have, sizeof(have), "%s%s", attr->fallback ? attr->fallback : "",
		 attr->fallback ? " " : "");
	CU_ASSERT_STRING_EQUAL(have, fallback);
	CU_ASSERT(strlen(cell[4]) > 10);
}

static void test_schema(void)
{
	const char *src = getenv("VIDAS_SRC");
	const struct vidas_attr *attr = vidas_attrs;
	char path[4096], line[1024], *cell[CELLS];
	bool in_table = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/xattr-schema.md", src ? src : ".");
	f = fopen(path, "re");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	while (fgets(line, sizeof(line), f)) {
		bool row = cut_row(line, cell);

		if (!in_table) {
			in_table = row && strcmp(cell[0], "attribute") == 0;
			continue;
		}
		if (!row)
			break;
		if (strspn(cell[0], "-") == strlen(cell[0]))
			continue;
		CU_ASSERT_PTR_NOT_NULL_FATAL(attr->name);
		expect_row(attr++, cell);
	}
	fclose(f);
	CU_ASSERT(in_table);
	/* All rows of the code were there. */
	CU_ASSERT_PTR_NULL(attr->name);
	CU_ASSERT(attr - vidas_attrs > 10);
}

UNIT_MAIN("schema", { "the document and the code", test_schema })
