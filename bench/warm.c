/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* warm MEGABYTES: vidas_bench_warm(), for scripts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lib/rounds.h"

int main(int argc, char **argv)
{
	unsigned long megabytes = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
	int err;

	if (!megabytes) {
		fputs("usage: warm MEGABYTES\n", stderr);
		return 2;
	}
	err = vidas_bench_warm(megabytes * 1000000ull);
	if (err)
		fprintf(stderr, "warm: %s\n", strerror(-err));
	return err ? 1 : 0;
}
