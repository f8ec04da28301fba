/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* `vidas fsck`: the exit status is that of fsck(8). */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "pool/base/base.h"
#include "pool/host/fsck.h"

#define DEFAULT_POOL "/run/vidas/pool"

enum { FSCK_CLEAN = 0, FSCK_CORRECTED = 1, FSCK_LEFT = 4, FSCK_FAILED = 8, FSCK_USAGE = 16 };

static void say(void *arg, const char *line)
{
	json_t *lines = arg;

	if (lines)
		json_array_append_new(lines, json_string_nocheck(line));
	else
		puts(line);
}

static void summary(const struct vidas_fsck *f, json_t *lines)
{
	if (lines) {
		json_t *all =
			json_pack("{s:s, s:b, s:i, s:i, s:i, s:O}", "pool", f->pool, "online",
				  f->online, "problems", (int)f->problems, "leftovers",
				  (int)f->leftovers, "repaired", (int)f->repaired, "lines", lines);

		json_dumpf(all, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(all);
		return;
	}
	printf("pool %s%s: %u problems, %u leftovers", f->pool, f->online ? ", in use" : "",
	       f->problems, f->leftovers);
	if (f->repair)
		printf(", %u repaired", f->repaired);
	putchar('\n');
}

int cli_fsck(struct cli *cli, int argc, char **argv)
{
	struct vidas_fsck f = { .pool = DEFAULT_POOL, .say = say };
	int err;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--repair") == 0) {
			f.repair = true;
		} else if (strcmp(argv[i], "--data") == 0) {
			f.data = true;
		} else if (strcmp(argv[i], "--pool") == 0 && i + 1 < argc) {
			f.pool = argv[++i];
		} else {
			cli_usage("fsck", "does not understand '%s'", argv[i]);
			return FSCK_USAGE;
		}
	}
	f.arg = cli->json ? json_array() : NULL;
	err = vidas_fsck(&f);
	if (err < 0)
		cli_fail(err, "the pool was not checked");
	else
		summary(&f, f.arg);
	json_decref(f.arg);
	if (err < 0)
		return FSCK_FAILED;
	if (f.problems + (f.repair ? f.leftovers : 0) > f.repaired)
		return FSCK_LEFT;
	return f.repaired ? FSCK_CORRECTED : FSCK_CLEAN;
}
