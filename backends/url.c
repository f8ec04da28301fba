/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/url.h"

#include <errno.h>
#include <stdio.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

static int hex(char c)
{
	const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;

	return at ? (int)(at - digits) : -1;
}

static int percent_decode(char *text, const char **reason)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (*from != '%') {
			*to = *from++;
			continue;
		}
		if (hex(from[1]) < 0 || hex(from[2]) < 0) {
			*reason =
				"a '%' without two hexadecimal digits after it (write %25 for '%')";
			return -EINVAL;
		}
		*to = (char)(hex(from[1]) << 4 | hex(from[2]));
		if (!*to) {
			*reason = "it has a %00";
			return -EINVAL;
		}
		from += 3;
	}
	*to = '\0';
	return 0;
}

static bool scheme_ok(const char *scheme, size_t size)
{
	return size && strspn(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+.-") == size;
}

static int params_parse(char *query, struct vidas_url *out, const char **reason)
{
	char *save = NULL;

	for (char *name = strtok_r(query, "&", &save); name; name = strtok_r(NULL, "&", &save)) {
		char *value = strchr(name, '=');

		if (value)
			*value++ = '\0';
		else
			value = name + strlen(name);
		if (percent_decode(value, reason))
			return -EINVAL;
		if (vidas_url_param(out, name) || out->params == VIDAS_URL_PARAMS) {
			*reason = "a parameter is given twice, or there are over 16";
			return -EINVAL;
		}
		out->param[out->params].name = name;
		out->param[out->params++].value = value;
	}
	return 0;
}

int vidas_url_parse(const char *url, struct vidas_url *out, const char **reason)
{
	const char *mark = strstr(url, "://");
	size_t scheme = mark ? (size_t)(mark - url) : 0, authority;
	char *rest, *query;

	memset(out, 0, sizeof(*out));
	if (!mark || !scheme_ok(url, scheme)) {
		*reason = "it does not begin with SCHEME://";
		return -EINVAL;
	}
	if (strlen(url) > VIDAS_URL_MAX) {
		*reason = "it is longer than 8191 bytes";
		return -EINVAL;
	}
	memcpy(out->text, url, scheme);
	out->scheme = out->text;
	/* One byte further than in `url`, so that the authority's NUL does not lie on the path. */
	rest = out->text + scheme + 1;
	authority = strcspn(mark + 3, "/?");
	memcpy(rest, mark + 3, authority);
	out->authority = rest;
	rest = strcpy(rest + authority + 1, mark + 3 + authority);
	out->path = rest;
	query = strchr(rest, '?');
	if (query)
		*query++ = '\0';
	if (percent_decode(rest, reason))
		return -EINVAL;
	return query ? params_parse(query, out, reason) : 0;
}

const char *vidas_url_param(const struct vidas_url *url, const char *name)
{
	for (unsigned i = 0; i < url->params; i++)
		if (strcmp(url->param[i].name, name) == 0)
			return url->param[i].value;
	return NULL;
}

static bool sounds_secret(const char *param, size_t size)
{
	static const char *const words[] = { "secret", "password", "token", "credential", "key" };
	char name[32];

	snprintf(name, sizeof(name), "%.*s", (int)size, param);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasestr(name, words[i]))
			return true;
	return size >= sizeof(name);
}

/* Appends what fits; `out` stays NUL-terminated. */
static void append(char *out, size_t size, const char *from, size_t bytes)
{
	size_t used = strlen(out);

	if (size - used - 1 < bytes)
		bytes = size - used - 1;
	memcpy(out + used, from, bytes);
	out[used + bytes] = '\0';
}

void vidas_url_redact(const char *url, char *out, size_t size)
{
	const char *from = strstr(url, "://"), *query = url + strcspn(url, "?"), *at;

	out[0] = '\0';
	if (from && from < query) {
		from += 3;
		append(out, size, url, (size_t)(from - url));
		at = memrchr(from, '@', strcspn(from, "/?"));
		from = at ? at + 1 : from;
	} else {
		from = url;
	}
	append(out, size, from, (size_t)(query - from));
	while (*query) {
		size_t name = strcspn(query + 1, "=&") + 1, whole = strcspn(query + 1, "&") + 1;

		if (whole > name && sounds_secret(query + 1, name - 1)) {
			append(out, size, query, name);
			append(out, size, "=***", 4);
		} else {
			append(out, size, query, whole);
		}
		query += whole;
	}
}
