/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vidas backend: which there are, and what one root can do. Needs no vidasd. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/store.h"
#include "cli/backend_test.h"
#include "cli/cli.h"

#define TEXT(object, key) json_string_value(json_object_get(object, key))

static int collect(void *arg, const struct vidas_backend_ops *ops, const char *file)
{
	json_array_append_new(arg, json_pack("{s:s, s:s, s:s}", "name", ops->name, "summary",
					     ops->summary, "file", file ? file : "built in"));
	return 0;
}

static int collect_filter(void *arg, const char *name, const char *summary)
{
	json_array_append_new(arg, json_pack("{s:s, s:s}", "name", name, "summary", summary));
	return 0;
}

static int list(struct cli *cli)
{
	json_t *backends = json_array(), *filters = json_array(), *b;
	size_t i;
	int err = vidas_store_each(collect, backends);

	if (!err)
		err = vidas_store_each_filter(collect_filter, filters);
	if (cli->json) {
		json_t *both = json_pack("{s:O, s:O}", "backends", backends, "filters", filters);

		json_dumpf(both, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(both);
	} else {
		json_array_foreach(backends, i, b)
			printf("%s://  %s (%s)\n", TEXT(b, "name"), TEXT(b, "summary"),
			       TEXT(b, "file"));
		puts("filters, for vidasd --filters:");
		json_array_foreach(filters, i, b)
			printf("  %-10s %s\n", TEXT(b, "name"), TEXT(b, "summary"));
	}
	json_decref(backends);
	json_decref(filters);
	return err < 0 ? cli_fail(err, "cannot list the backends") : 0;
}

int cli_backend(struct cli *cli, int argc, char **argv)
{
	if (argc == 1 && strcmp(argv[0], "list") == 0)
		return list(cli);
	if (argc == 2 && strcmp(argv[0], "test") == 0)
		return cli_backend_test(cli, argv[1], NULL);
	if (argc == 4 && strcmp(argv[0], "test") == 0 && strcmp(argv[2], "--filters") == 0)
		return cli_backend_test(cli, argv[1], argv[3]);
	return cli_usage("backend", "wants `list` or `test URL [--filters LIST]`");
}
