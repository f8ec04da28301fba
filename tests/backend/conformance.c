/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vidas-presets: release asan tsan
 * vidas-timeout: 300
 *
 * conformance [URL [FILTERS]]: the suite of lib/suite.h on a root; without one on the built-in
 * backends, alone and under filters that let one call in twenty fail and try again, and on
 * $VIDAS_TEST_URL (under $VIDAS_TEST_FILTERS).
 */
#include "lib/suite.h"

#include <stdlib.h>
#include <unistd.h>

#include "pool/base/base.h"

#define FAULTY "retry=tries:12+first:1ms,fault=rate:5%"

int main(int argc, char **argv)
{
	const char *tmp = getenv("VIDAS_TMP"), *more = getenv("VIDAS_TEST_URL");
	char here[4096], file[4200], files[4200];
	unsigned failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	vidas_log_init("conformance", VIDAS_LOG_WARNING);
	if (argc > 1)
		return suite_run(argv[1], argc > 2 ? argv[2] : NULL) != 0;
	if (!tmp)
		tmp = getcwd(here, sizeof(here));
	snprintf(file, sizeof(file), "file://%s/root%%2Bfiles/of%%20mine?create=1", tmp);
	snprintf(files, sizeof(files), "file://%s/faulty?create=1", tmp);
	failed += suite_run("mem://conformance", NULL);
	failed += suite_run(file, NULL);
	failed += suite_run("mem://faulty", FAULTY);
	failed += suite_run("mem://stacked", "stats,retry=first:1ms,checksum,rate=put:2G");
	failed += suite_run(files, FAULTY);
	if (more && *more)
		failed += suite_run(more, getenv("VIDAS_TEST_FILTERS"));
	printf("%u checks failed\n", failed);
	return failed != 0;
}
