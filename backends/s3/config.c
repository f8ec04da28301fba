/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/s3/s3.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/url.h"

static const char *const names[] = { "endpoint", "region",  "style",   "auth",	      "list",
				     "cafile",	 "timeout", "connect", "credentials", "profile",
				     "parallel", "part",    "threads", "retries",     "attrs",
				     "probe",	 "verify",  "single",  "atomic",      "checksum" };

struct source {
	const struct vidas_backend_host *host;
	const struct vidas_url *url;
	struct s3_config *c;
};

static int name_unknown(const struct source *s, const char *name)
{
	char known[256] = "";
	size_t used = 0;

	for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++)
		used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", n ? ", " : "",
					 names[n]);
	return vidas_backend_error(s->host, -EINVAL, "s3://%s: no parameter '%.64s'; there are %s",
				   s->url->authority, name, known);
}

static int names_check(const struct source *s)
{
	for (unsigned i = 0; i < s->url->params; i++) {
		size_t n = 0;

		while (n < sizeof(names) / sizeof(names[0]) &&
		       strcmp(names[n], s->url->param[i].name) != 0)
			n++;
		if (n == sizeof(names) / sizeof(names[0]))
			return name_unknown(s, s->url->param[i].name);
	}
	return 0;
}

static int number(const struct source *s, const char *name, unsigned least, unsigned most,
		  unsigned *out)
{
	const char *text = vidas_url_param(s->url, name);
	char *end;
	unsigned long n;

	if (!text)
		return 0;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || n < least || n > most)
		return vidas_backend_error(s->host, -EINVAL,
					   "s3://%s: %s=%.64s is not a number from %u to %u",
					   s->url->authority, name, text, least, most);
	*out = (unsigned)n;
	return 0;
}

/* One of two words. */
static int choice(const struct source *s, const char *name, const char *yes, const char *no,
		  bool *out)
{
	const char *text = vidas_url_param(s->url, name);

	if (!text)
		return 0;
	if (strcmp(text, yes) != 0 && strcmp(text, no) != 0)
		return vidas_backend_error(s->host, -EINVAL,
					   "s3://%s: %s=%.64s is neither %s nor %s",
					   s->url->authority, name, text, yes, no);
	*out = strcmp(text, yes) == 0;
	return 0;
}

static int text(const struct source *s, const char *name, const char *otherwise, char **out)
{
	const char *value = vidas_url_param(s->url, name);

	if (!value || !*value)
		value = otherwise;
	if (!value)
		return 0;
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < 0x20)
			return vidas_backend_error(s->host, -EINVAL,
						   "s3://%s: %s has a control character",
						   s->url->authority, name);
	*out = strdup(value);
	return *out ? 0 : -ENOMEM;
}

static int bucket_set(const struct source *s)
{
	const char *name = s->url->authority;
	size_t size = strlen(name);

	if (strchr(name, '@'))
		return vidas_backend_error(
			s->host, -EINVAL,
			"an s3:// URL has no place for credentials: see the environment, "
			"~/.aws/credentials or credentials=FILE");
	if (size < 3 || size > 255 ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") !=
		    size)
		return vidas_backend_error(s->host, -EINVAL,
					   "'%.80s' is no bucket's name, as in s3://BUCKET/PREFIX",
					   name);
	s->c->bucket = strdup(name);
	return s->c->bucket ? 0 : -ENOMEM;
}

/* Is a component "." or ".."? libcurl takes these out of a path; told not to, 8.14 refuses to sign. Keys have none. */
static bool has_dots(const char *path)
{
	while (*path) {
		size_t size = strcspn(path, "/");

		if (size && size <= 2 && strspn(path, ".") >= size)
			return true;
		path += size + (path[size] != '\0');
	}
	return false;
}

/* The path without '/' around it, and with one at its end. */
static int prefix_set(const struct source *s)
{
	const char *path = s->url->path + strspn(s->url->path, "/");
	size_t size = strlen(path);

	while (size && path[size - 1] == '/')
		size--;
	if (size > S3_KEY_MAX / 2)
		return vidas_backend_error(s->host, -EINVAL, "s3://%s: its prefix is over %u bytes",
					   s->url->authority, S3_KEY_MAX / 2);
	if (has_dots(path))
		return vidas_backend_error(s->host, -EINVAL,
					   "s3://%s: its prefix has a '.' or '..' between slashes",
					   s->url->authority);
	s->c->prefix = malloc(size + 2);
	if (!s->c->prefix)
		return -ENOMEM;
	memcpy(s->c->prefix, path, size);
	if (size)
		s->c->prefix[size++] = '/';
	s->c->prefix[size] = '\0';
	return 0;
}

static int endpoint_set(const struct source *s)
{
	const char *given = vidas_url_param(s->url, "endpoint");
	size_t size;
	char *e;

	if (!given || !*given) {
		if (asprintf(&s->c->endpoint, "https://s3.%s.amazonaws.com", s->c->region) < 0)
			return -ENOMEM;
		return 0;
	}
	if (strncmp(given, "http://", 7) != 0 && strncmp(given, "https://", 8) != 0) {
		if (asprintf(&e, "https://%s", given) < 0)
			return -ENOMEM;
	} else {
		e = strdup(given);
		if (!e)
			return -ENOMEM;
	}
	s->c->endpoint = e;
	size = strlen(e);
	while (size && e[size - 1] == '/')
		e[--size] = '\0';
	if (strpbrk(strstr(e, "://") + 3, "/?#@ \t\r\n") || !strstr(e, "://")[3])
		return vidas_backend_error(s->host, -EINVAL,
					   "endpoint=%.128s is not http[s]://HOST[:PORT]", given);
	return 0;
}

static int verify_set(const struct source *s)
{
	const char *value = vidas_url_param(s->url, "verify");

	if (!value || strcmp(value, "single") == 0)
		s->c->verify = S3_VERIFY_SINGLE;
	else if (strcmp(value, "all") == 0)
		s->c->verify = S3_VERIFY_ALL;
	else if (strcmp(value, "none") == 0)
		s->c->verify = S3_VERIFY_NONE;
	else
		return vidas_backend_error(s->host, -EINVAL,
					   "s3://%s: verify=%.32s is neither none, single nor all",
					   s->url->authority, value);
	return 0;
}

static int numbers_set(const struct source *s)
{
	struct s3_config *c = s->c;
	unsigned part_mib = 8, single_mib = 5120, atomic_mib = 64;
	int err;

	(void)((err = number(s, "timeout", 1, 3600, &c->timeout_s)) ||
	       (err = number(s, "connect", 1, 600, &c->connect_s)) ||
	       (err = number(s, "parallel", 1, 256, &c->parallel)) ||
	       (err = number(s, "part", 5, 5120, &part_mib)) ||
	       (err = number(s, "single", 5, 5120, &single_mib)) ||
	       (err = number(s, "atomic", 0, 5120, &atomic_mib)) ||
	       (err = number(s, "threads", 1, 16, &c->threads)) ||
	       (err = number(s, "retries", 0, 20, &c->retries)) ||
	       (err = choice(s, "attrs", "full", "none", &c->attrs)) ||
	       (err = choice(s, "probe", "yes", "no", &c->probe)) ||
	       (err = choice(s, "checksum", "yes", "no", &c->sums)) || (err = verify_set(s)));
	c->part_bytes = (uint64_t)part_mib << 20;
	c->single_bytes = (uint64_t)single_mib << 20;
	c->atomic_bytes = (uint64_t)(atomic_mib < single_mib ? atomic_mib : single_mib) << 20;
	if (!err && part_mib > single_mib)
		err = vidas_backend_error(s->host, -EINVAL, "s3://%s: part is larger than single",
					  s->url->authority);
	return err;
}

static int auth_set(const struct source *s)
{
	const char *auth = vidas_url_param(s->url, "auth");

	s->c->auth = S3_AUTH_V4;
	if (auth && strcmp(auth, "v2") == 0)
		s->c->auth = S3_AUTH_V2;
	else if (auth && strcmp(auth, "none") == 0)
		s->c->auth = S3_AUTH_NONE;
	else if (auth && strcmp(auth, "v4") != 0)
		return vidas_backend_error(s->host, -EINVAL,
					   "s3://%s: auth=%.32s is neither v4, v2 nor none",
					   s->url->authority, auth);
	s->c->list_old = s->c->auth == S3_AUTH_V2;
	return choice(s, "list", "1", "2", &s->c->list_old);
}

static int all_set(const struct source *s)
{
	const char *region = secure_getenv("AWS_REGION");
	bool path_style = vidas_url_param(s->url, "endpoint") != NULL;
	int err;

	if (!region || !*region)
		region = secure_getenv("AWS_DEFAULT_REGION");
	(void)((err = names_check(s)) || (err = bucket_set(s)) || (err = prefix_set(s)) ||
	       (err = text(s, "region", region && *region ? region : "us-east-1", &s->c->region)) ||
	       (err = endpoint_set(s)) || (err = auth_set(s)) ||
	       (err = choice(s, "style", "path", "virtual", &path_style)) ||
	       (err = text(s, "cafile", NULL, &s->c->cafile)) ||
	       (err = text(s, "profile", NULL, &s->c->profile)) ||
	       (err = text(s, "credentials", NULL, &s->c->credentials)) || (err = numbers_set(s)));
	s->c->path_style = path_style;
	return err;
}

int vidas_s3_config_parse(const struct vidas_backend_host *host, const char *url,
			  struct s3_config *c)
{
	struct vidas_url *parsed = malloc(sizeof(*parsed));
	struct source s = { .host = host, .url = parsed, .c = c };
	const char *reason;
	int err;

	*c = (struct s3_config){ .attrs = true,
				 .probe = true,
				 .sums = true,
				 .parallel = 16,
				 .threads = 4,
				 .retries = 4,
				 .connect_s = 10,
				 .timeout_s = 30 };
	if (!parsed)
		return -ENOMEM;
	err = vidas_url_parse(url, parsed, &reason);
	if (err)
		err = vidas_backend_error(host, err, "a bad s3:// URL: %s", reason);
	else
		err = all_set(&s);
	if (err)
		vidas_s3_config_clear(c);
	free(parsed);
	return err;
}

void vidas_s3_config_clear(struct s3_config *c)
{
	free(c->bucket);
	free(c->prefix);
	free(c->endpoint);
	free(c->region);
	free(c->cafile);
	free(c->profile);
	free(c->credentials);
	*c = (struct s3_config){ 0 };
}
