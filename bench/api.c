/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/api.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct vidas_bench bench;
static struct api api = { .b = &bench };

static const char *const heads[] = {
	[VIDAS_PLACE_APART] = "Calls that ask vidasd, notify and wait: the ends on two CPUs",
	[VIDAS_PLACE_TOGETHER] = "Calls that ask vidasd, notify and wait: both ends on one CPU",
	[VIDAS_PLACE_FREE] =
		"Calls that ask vidasd, notify and wait: the ends wherever the scheduler puts them",
};

static int take_text(void *arg, const char *value)
{
	*(const char **)arg = value;
	return 0;
}

static int take_pid(void *arg, const char *value)
{
	char *end;
	long pid = strtol(value, &end, 10);

	(void)arg;
	if (*end || pid <= 0 || pid > INT_MAX) {
		vidas_bench_complain(&bench, "--vidasd '%s' is not a process id", value);
		return -EINVAL;
	}
	api.daemon_pid = (int)pid;
	return 0;
}

static const struct vidas_bench_option options[] = {
	{ "socket", "PATH", "the socket of the domain that creates", take_text, &api.address1 },
	{ "peer-socket", "PATH", "the socket of another domain, that joins", take_text,
	  &api.address2 },
	{ "vidasd", "PID", "vidasd: to be placed on the CPU of this program, and beside it",
	  take_pid, NULL },
	{ 0 },
};

int api_failed(const struct api *a, const char *what, int err)
{
	const char *words = vidas_error_text();

	return vidas_bench_complain(a->b, "%s: %s", what, *words ? words : strerror(-err));
}

void api_row(const struct api *a, const struct vidas_rounds *r, double speed_bytes, int err,
	     struct vidas_row row)
{
	double ns = vidas_rounds_median(r, 0), peer_ns = vidas_rounds_median(r, 1);

	row.group = "objects";
	row.unit = speed_bytes > 0 ? "GB/s" : "µs";
	row.value = speed_bytes > 0 ? speed_bytes / ns : ns / 1e3;
	row.peer_value = speed_bytes > 0 ? speed_bytes / peer_ns : peer_ns / 1e3;
	row.ratio = vidas_rounds_ratio(r, 1, 0);
	if (err)
		row.note = strerror(-err);
	vidas_table_row(&a->b->table, &row);
}

int api_compare(const struct api *a, const struct vidas_contender *c, unsigned slices,
		double speed_bytes, struct vidas_row row)
{
	struct vidas_rounds r;
	int err = vidas_rounds_init(&r, 2, a->b->rounds);

	if (err)
		return api_failed(a, row.name, err);
	/* Round 0 warms up and is not counted. */
	for (unsigned round = 0; !err && round <= r.rounds; round++) {
		double ns[2] = { NAN, NAN };

		err = vidas_contenders_race(c, row.peer ? 2 : 1, slices, round, ns);
		if (round)
			memcpy(vidas_rounds_row(&r, round - 1), ns, sizeof(ns));
	}
	api_row(a, &r, speed_bytes, err, row);
	vidas_rounds_free(&r);
	return err ? api_failed(a, row.name, err) : 0;
}

static int connect_both(void)
{
	vidas_domain_id second;
	int err = vidas_open(api.address1, &api.one);

	if (err)
		return api_failed(&api, api.address1, err);
	err = vidas_open(api.address2, &api.two);
	if (err)
		return api_failed(&api, api.address2, err);
	second = vidas_domain(api.two);
	if (second == vidas_domain(api.one))
		return vidas_bench_complain(&bench, "both sockets are of domain %u", second);
	err = vidas_container_create(api.one, api.container, &second, 1);
	if (err)
		return api_failed(&api, api.container, err);
	err = vidas_container_attach(api.two, api.container);
	return err ? api_failed(&api, "attach by the second domain", err) : 0;
}

/* The other domain's sessions have ended, vidasd may take a second to see it. */
static int destroy_patiently(void)
{
	const struct timespec pause = { .tv_nsec = 20000000 };
	int err = -EBUSY;

	for (unsigned i = 0; err == -EBUSY && i < 100; i++) {
		err = vidas_container_destroy(api.one, api.container);
		if (err == -EBUSY)
			nanosleep(&pause, NULL);
	}
	return err ? api_failed(&api, "destroying the container", err) : 0;
}

static int round_trips(void *arg, enum vidas_placement placement)
{
	int ret;

	(void)arg;
	vidas_table_head(&bench.table, heads[placement]);
	ret = api_containers_run(&api, placement);
	if (!ret)
		ret = api_objects_run(&api, placement);
	return ret ? ret : api_notify_run(&api, placement);
}

static int measure(void)
{
	const int others[] = { api.daemon_pid, api.partner_pid, api.bare.echo_pid,
			       api.bare.futex_pid };
	int ret = vidas_place_each(others, api.daemon_pid ? 4 : 0, round_trips, NULL);

	if (ret < 0)
		return vidas_bench_complain(&bench, "placing on CPUs: %s", strerror(-ret));
	if (!ret)
		ret = api_attributes_run(&api);
	return ret ? ret : api_data_run(&api);
}

int main(int argc, char **argv)
{
	int ret;

	vidas_bench_begin(&bench, argc, argv, "Calls of libvidas beside their bare parts.",
			  options);
	if (!api.address1 || !api.address2) {
		vidas_bench_complain(&bench, "needs --socket and --peer-socket; see --help");
		return 2;
	}
	snprintf(api.container, sizeof(api.container), "bench-api-%d", (int)getpid());
	ret = bare_open(&api.bare);
	if (ret)
		return vidas_bench_complain(&bench, "bare parts: %s", strerror(-ret));
	ret = api_partner_start(&api);
	if (ret) {
		ret = vidas_bench_complain(&bench, "partner: %s", strerror(-ret));
		goto out;
	}
	ret = connect_both();
	if (!ret)
		ret = api_partner_meet(&api);
	if (!ret)
		ret = measure();
	api_partner_stop(&api);
	vidas_close(api.two);
	if (!ret)
		ret = destroy_patiently();
	vidas_close(api.one);
out:
	bare_close(&api.bare);
	return ret ? ret : vidas_bench_end(&bench);
}
