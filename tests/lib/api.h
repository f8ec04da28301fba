/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvidas against a vidasd of the test's own (raw.h). What fails here ends the test program. */
#ifndef VIDAS_TESTS_API_H
#define VIDAS_TESTS_API_H

#include "raw.h"

#include <vidas/vidas.h>

#include "pool/client/admin.h"
#include "pool/client/tree.h"

static inline void api_die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, vidas_error_text());
	exit(1);
}

static inline struct vidas *api_connect(const struct raw_host *host, vidas_domain_id domain)
{
	struct vidas *v = NULL;
	int err = vidas_open(raw_socket(host, domain), &v);

	if (err < 0)
		api_die("connect");
	return v;
}

static inline struct vidas_object *api_create(struct vidas *v, const char *container,
					      const char *resource, uint64_t offset, uint64_t size)
{
	struct vidas_object *o = NULL;
	int err = vidas_object_create(v, container, resource, offset, size, &o);

	if (err < 0)
		api_die("create");
	return o;
}

static inline struct vidas_object *api_join(struct vidas *v, const char *container,
					    const char *resource, uint64_t offset, uint64_t size)
{
	struct vidas_object *o = NULL;
	int err = vidas_object_join(v, container, resource, offset, size, 5000000, &o);

	if (err < 0)
		api_die("join");
	return o;
}

#endif
