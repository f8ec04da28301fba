/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What vidas-gate counts of the guests that it serves. vidasd does not know; the gate's files beside its socket do. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "pool/base/base.h"
#include "pool/transport/xen/counts.h"

#define NUMBER "%" JSON_INTEGER_FORMAT

static json_int_t load(const _Atomic uint64_t *n)
{
	return (json_int_t)atomic_load_explicit(n, memory_order_relaxed);
}

static void collect(void *arg, const struct vidas_counts *c)
{
	const struct {
		const char *name;
		json_int_t n;
	} numbers[] = {
		{ "domain", c->domain },
		{ "guest", c->guest },
		{ "pid", c->pid },
		{ "frames_in", load(&c->frames_in) },
		{ "frames_out", load(&c->frames_out) },
		{ "payload_in", load(&c->payload_in) },
		{ "payload_out", load(&c->payload_out) },
		{ "requests", load(&c->requests) },
		{ "fs_requests", load(&c->fs_requests) },
		{ "shares", load(&c->shares) },
		{ "pages_granted", load(&c->pages_granted) },
		{ "pages_held", load(&c->pages_held) },
		{ "lanes", load(&c->lanes) },
		{ "mounts", load(&c->mounts) },
	};
	json_t *guest = json_object();

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(numbers); i++)
		json_object_set_new(guest, numbers[i].name, json_integer(numbers[i].n));
	json_array_append_new(arg, guest);
}

void cli_guests_add(struct cli *cli, json_t *status)
{
	const char *socket = cli_address(cli);
	const char *slash = strrchr(socket, '/');
	json_t *guests = json_array();
	char dir[4096];

	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - socket) : 1, slash ? socket : ".");
	if (vidas_counts_read(dir, collect, guests) < 0)
		fprintf(stderr, "vidas: guests are not shown: %s\n", vidas_fail_text());
	if (json_array_size(guests))
		json_object_set(status, "guests", guests);
	json_decref(guests);
}

static json_int_t number_of(json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

void cli_guests_print(json_t *status)
{
	json_t *g;
	size_t i;

	json_array_foreach(json_object_get(status, "guests"), i, g) {
		if (number_of(g, "guest"))
			printf("guest " NUMBER " is ", number_of(g, "guest"));
		printf("domain " NUMBER "%s: " NUMBER " lane(s), " NUMBER " mount(s), " NUMBER
		       " MiB granted now\n",
		       number_of(g, "domain"), number_of(g, "guest") ? "" : " comes by a gate",
		       number_of(g, "lanes"), number_of(g, "mounts"),
		       number_of(g, "pages_held") >> 8);
		printf("  so far: " NUMBER " request(s) to vidasd, " NUMBER " of mounts, " NUMBER
		       " pages granted in " NUMBER " piece(s), " NUMBER " frames in, " NUMBER
		       " out\n",
		       number_of(g, "requests"), number_of(g, "fs_requests"),
		       number_of(g, "pages_granted"), number_of(g, "shares"),
		       number_of(g, "frames_in"), number_of(g, "frames_out"));
	}
}
