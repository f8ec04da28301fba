/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* bench/data: what the data path costs. */
#ifndef VIDAS_BENCH_DATA_H
#define VIDAS_BENCH_DATA_H

#include "bench/places.h"

/* Reads, writes, mmap: prints its rows and returns 0, or 1 after having said what went wrong. */
int data_io_run(struct vidas_bench *b, const struct places *p);

#endif
