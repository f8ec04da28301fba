/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Notify and wait there and back between two processes of two domains, beside a futex there and
 * back between two processes.
 */
#include "bench/api.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THERE	     "there" /* messages to the partner */
#define BACK	     "back"
#define OBJECT_BYTES 4096u
#define TURNS	     20u
#define SLICES	     20u
#define COST	     1.5

static int attach_patiently(struct vidas *v, const char *container)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	int err = -ENOENT;

	for (unsigned i = 0; err == -ENOENT && i < 2000; i++) {
		err = vidas_container_attach(v, container);
		if (err == -ENOENT)
			nanosleep(&pause, NULL);
	}
	return err;
}

/* The partner: every message that comes is sent back. Ends with its parent, by a signal. */
static int partner(const struct api *a)
{
	char msg[API_MESSAGE_BYTES];
	struct vidas_object *there, *back;
	struct vidas *v;
	int err = vidas_open(a->address2, &v);

	if (err)
		return err;
	err = attach_patiently(v, a->container);
	if (err)
		return err;
	err = vidas_object_join(v, a->container, THERE, 0, OBJECT_BYTES, API_WAIT_US, &there);
	if (err)
		return err;
	err = vidas_object_join(v, a->container, BACK, 0, OBJECT_BYTES, API_WAIT_US, &back);
	while (!err) {
		ssize_t n = vidas_object_wait(there, msg, sizeof(msg), VIDAS_FOREVER);

		err = n < 0 ? (int)n : vidas_object_notify(back, msg, (size_t)n, API_WAIT_US);
	}
	return err;
}

int api_partner_start(struct api *a)
{
	pid_t parent = getpid();
	int err;

	a->partner_pid = fork();
	if (a->partner_pid < 0)
		return -errno;
	if (a->partner_pid)
		return 0;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
		_exit(1);
	err = partner(a);
	api_failed(a, "partner", err);
	_exit(1);
}

void api_partner_stop(struct api *a)
{
	if (a->partner_pid <= 0)
		return;
	kill(a->partner_pid, SIGKILL);
	waitpid(a->partner_pid, NULL, 0);
}

static long by_notify(void *arg, unsigned slice)
{
	const struct api *a = arg;
	char msg[API_MESSAGE_BYTES] = { 0 };

	(void)slice;
	for (unsigned i = 0; i < TURNS; i++) {
		int err = vidas_object_notify(a->there, msg, sizeof(msg), API_WAIT_US);
		ssize_t n;

		if (err)
			return err;
		n = vidas_object_wait(a->back, msg, sizeof(msg), API_WAIT_US);
		if (n != sizeof(msg))
			return n < 0 ? n : -EIO;
	}
	return TURNS;
}

static long by_futex(void *arg, unsigned slice)
{
	struct api *a = arg;

	(void)slice;
	for (unsigned i = 0; i < TURNS; i++) {
		int err = bare_futex(&a->bare);

		if (err)
			return err;
	}
	return TURNS;
}

int api_partner_meet(struct api *a)
{
	int err = vidas_object_create(a->one, a->container, BACK, 0, OBJECT_BYTES, &a->back);

	if (!err)
		err = vidas_object_create(a->one, a->container, THERE, 0, OBJECT_BYTES, &a->there);
	return err ? api_failed(a, "create", err) : 0;
}

int api_notify_run(struct api *a, enum vidas_placement placement)
{
	const struct vidas_contender pair[2] = { { .turn = by_notify, .arg = a },
						 { .turn = by_futex, .arg = a } };
	char name[64];

	snprintf(name, sizeof(name), "notify and wait%s", vidas_place_name(placement));
	return api_compare(a, pair, SLICES, 0,
			   (struct vidas_row){ .name = name,
					       .peer = "futex",
					       .kind = vidas_place_judged(placement) ?
							       VIDAS_GOAL_RATIO_MIN :
							       VIDAS_GOAL_NONE,
					       .goal = 1 / COST,
					       .paper = "6" });
}
