/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench/api: the calls of libvidas beside what their parts cost bare, measured by turns in one run.
 */
#ifndef VIDAS_BENCH_API_H
#define VIDAS_BENCH_API_H

#include <vidas/vidas.h>

#include "bench/lib/options.h"
#include "bench/lib/place.h"

#define API_WAIT_US \
	(INT64_C(10) * 1000 * 1000) /* nothing here takes so long; then it is an error */
#define API_MESSAGE_BYTES 64u

/* The bare parts: a process that answers each datagram with one that carries a descriptor, and one
 * that answers on a futex. Both die with this one. */
struct bare {
	int sock;
	struct futex_pair *words;
	int echo_pid, futex_pid;
};

int bare_open(struct bare *bare); /* 0 or -errno */
void bare_close(struct bare *bare);
int bare_exchange(struct bare *bare,
		  int *fd);	   /* one SEQPACKET round trip; the descriptor that came */
int bare_futex(struct bare *bare); /* one futex round trip */

struct api {
	struct vidas_bench *b;
	int daemon_pid; /* vidasd's, or 0: nothing is placed */
	int partner_pid;
	unsigned fresh;			 /* makes names that no round before had */
	const char *address1, *address2; /* of two domains' sockets */
	struct vidas *one, *two;
	struct vidas_object *there, *back; /* to and from the partner */
	char container[64];
	struct bare bare;
};

/* Measures a contender and, if row.peer is set, a second one over all rounds and prints the row:
 * value is the first's time, or with `speed_bytes` its speed; the peer's likewise. Name, peer, goal
 * and paper are the caller's. */
int api_compare(const struct api *a, const struct vidas_contender *c, unsigned slices,
		double speed_bytes, struct vidas_row row);
/* The row of two series already measured; `err` is said if there is nothing. */
void api_row(const struct api *a, const struct vidas_rounds *r, double speed_bytes, int err,
	     struct vidas_row row);
/* Says what failed, in libvidas's words; returns 1. */
int api_failed(const struct api *a, const char *what, int err);

/* The partner in domain 2 for notify and wait: a process of its own, to be started before this one
 * connects; it attaches `container` once it is there. */
int api_partner_start(struct api *a);
int api_partner_meet(struct api *a); /* makes there and back */
void api_partner_stop(struct api *a);

/* Each prints its rows; 0, or 1 after having said what went wrong. */
int api_containers_run(struct api *a, enum vidas_placement placement);
int api_objects_run(struct api *a, enum vidas_placement placement);
int api_attributes_run(struct api *a);
int api_data_run(struct api *a);
int api_notify_run(struct api *a, enum vidas_placement placement);

#endif
