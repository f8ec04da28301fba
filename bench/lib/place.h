/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the two ends of a round trip run. A wake-up costs a few microseconds on one CPU and ten
 * times that across two; which of them it is the scheduler decides, anew for each pair of processes.
 * Left to that, a ratio of two round trips says more of luck than of what is measured.
 */
#ifndef VIDAS_BENCH_PLACE_H
#define VIDAS_BENCH_PLACE_H

#include <stdbool.h>

enum vidas_placement {
	VIDAS_PLACE_APART, /* this process on the first CPU it may use, all others on the second */
	VIDAS_PLACE_TOGETHER, /* everybody on the first */
	VIDAS_PLACE_FREE,     /* as the scheduler likes */
};

/* Moves this thread, and all threads of the other processes and of their children. -ENXIO there are not
 * so many CPUs. */
int vidas_place(enum vidas_placement placement, const int *others, unsigned n);

/* For the end of a row's name: ", two CPUs", ", one CPU", "". */
const char *vidas_place_name(enum vidas_placement placement);

/* Are round trips so placed what goals are for: ends on CPUs of their own, as domains have, or
 * whatever there is on a machine with one CPU. */
bool vidas_place_judged(enum vidas_placement placement);

/*
 * Calls `run` once for each placement that the machine has, or, with no others to be placed, once
 * for VIDAS_PLACE_FREE; ends with VIDAS_PLACE_FREE. Returns what `run` gives if that is not 0, or
 * -errno if it could not place.
 */
int vidas_place_each(const int *others, unsigned n,
		     int (*run)(void *arg, enum vidas_placement placement), void *arg);

#endif
