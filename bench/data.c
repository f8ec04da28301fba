/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/data.h"

#include "bench/names.h"

static struct vidas_bench bench;
static struct places places;

static const struct names_step steps[] = {
	{ "create", NULL, names_create, NULL, 1.0, 0 },
	{ "stat", NULL, names_stat, NULL, 0, 0 },
	{ "open and close", NULL, names_open, NULL, 1.0, 0 },
	{ "unlink", NULL, names_unlink, NULL, 1.0, 0 },
};

int main(int argc, char **argv)
{
	const struct names_work names = { .steps = steps, .count = sizeof(steps) / sizeof(*steps) };
	struct vidas_bench_option options[PLACES_OPTIONS + 1] = { 0 };
	int ret;

	places_options(&bench, &places, options);
	vidas_bench_begin(
		&bench, argc, argv,
		"Reads, writes, mmap faults and names of one directory through its mounts.",
		options);
	ret = places_open(&bench, &places, "bench-data");
	if (!ret)
		ret = data_io_run(&bench, &places);
	if (!ret)
		ret = names_run(&bench, &places, &names);
	places_close(&places);
	if (ret)
		return ret;
	return vidas_bench_end(&bench);
}
