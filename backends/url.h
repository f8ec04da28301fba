/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Root URLs taken apart: SCHEME://AUTHORITY/PATH?NAME=VALUE&NAME=VALUE. The path keeps its leading
 * '/'; path and values are percent-decoded ("%2B" is '+', a '+' is a '+'), the authority is not.
 * Depends on nothing, so that plug-ins can be built with url.c.
 */
#ifndef VIDAS_URL_H
#define VIDAS_URL_H

#include <stddef.h>

#define VIDAS_URL_MAX	 8191u /* bytes */
#define VIDAS_URL_PARAMS 16u

struct vidas_url {
	const char *scheme, *authority, *path; /* "" where there is none */
	unsigned params;
	struct {
		const char *name, *value; /* "" for a bare NAME */
	} param[VIDAS_URL_PARAMS];
	char text[VIDAS_URL_MAX + 4]; /* what the pointers lead into */
};

/* -EINVAL with *reason, one phrase: no scheme, "%00" or a bad "%", a parameter twice, too long. */
int vidas_url_parse(const char *url, struct vidas_url *out, const char **reason);

/* The value of a parameter; NULL if it is not there. */
const char *vidas_url_param(const struct vidas_url *url, const char *name);

/* Copies a URL for the eyes of others: without what stands before '@' in the authority, and without
 * the values of parameters that sound like secrets. */
void vidas_url_redact(const char *url, char *out, size_t size);

#endif
