/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench/metadata.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static struct vidas_bench bench;
static struct places places;
static struct metadata metadata = { .b = &bench, .p = &places };
static const char *socket_path;

static int take_text(void *arg, const char *value)
{
	*(const char **)arg = value;
	return 0;
}

static int take_domain(void *arg, const char *value)
{
	char *end;
	unsigned long id = strtoul(value, &end, 10);

	(void)arg;
	if (*end || end == value || id > UINT32_MAX) {
		vidas_bench_complain(&bench, "--domain '%s' is not the id of a domain", value);
		return -EINVAL;
	}
	metadata.domain = (vidas_domain_id)id;
	return 0;
}

static const struct vidas_bench_option own[] = {
	{ "socket", "PATH", "vidasd's socket for the administrator, to count messages", take_text,
	  &socket_path },
	{ "domain", "ID", "the domain of the mount that has the goals", take_domain, NULL },
	{ "rooted", "DIR", "in that mount: of a container with a root, to count messages in",
	  take_text, &metadata.rooted },
	{ "repository", "DIR", "a git repository to clone", take_text, &metadata.repository },
	{ "archive", "FILE", "a tar archive to unpack", take_text, &metadata.archive },
};
#define OWN (sizeof(own) / sizeof(own[0]))

int main(int argc, char **argv)
{
	struct vidas_bench_option options[PLACES_OPTIONS + OWN + 1] = { 0 };
	int ret;

	places_options(&bench, &places, options);
	memcpy(options + PLACES_OPTIONS, own, sizeof(own));
	vidas_bench_begin(&bench, argc, argv, "Names, attributes and trees through several mounts.",
			  options);
	if (metadata.repository)
		setenv("REPOSITORY", metadata.repository, 1);
	if (metadata.archive)
		setenv("ARCHIVE", metadata.archive, 1);
	ret = places_open(&bench, &places, "bench-metadata");
	if (!ret)
		ret = metadata_names_run(&metadata);
	if (!ret && socket_path) {
		int err = vidas_open(socket_path, &metadata.v);

		ret = err < 0 ?
			      vidas_bench_complain(&bench, "%s: %s", socket_path, strerror(-err)) :
			      metadata_messages_run(&metadata);
		vidas_close(metadata.v);
	}
	if (!ret)
		ret = metadata_trees_run(&metadata);
	places_close(&places);
	return ret ? ret : vidas_bench_end(&bench);
}
