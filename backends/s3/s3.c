/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/s3/s3.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGESTS_MAX (1u << 21) /* of blocks; at most 32 MiB, for 2 TiB of objects */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready = CURLE_FAILED_INIT;

/* Never undone: a plug-in stays loaded, and others in the process may use libcurl. */
static void curl_begin(void)
{
	curl_ready = curl_global_init(CURL_GLOBAL_ALL);
}

void vidas_s3_log(struct vidas_backend *be, int level, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	if (vsnprintf(text, sizeof(text), fmt, args) >= 0)
		be->host->log(be->host->host, level, text);
	va_end(args);
}

int64_t vidas_s3_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int vidas_s3_name(struct vidas_backend *be, const char *key, bool dir, char name[S3_NAME_BYTES])
{
	size_t used = strlen(be->config.prefix);

	memcpy(name, be->config.prefix, used + 1);
	if (vidas_s3_name_escape(key, name + used, S3_KEY_MAX - used))
		return vidas_backend_error(
			be->host, -EINVAL,
			"%.200s...: a name of more than %u bytes is too long for S3", key,
			S3_KEY_MAX);
	if (dir && *key)
		strcat(name, "/");
	return 0;
}

int vidas_s3_request_key(struct vidas_backend *be, enum s3_method method, const char *key, bool dir,
			 struct s3_request **out)
{
	char name[S3_NAME_BYTES];
	int err = vidas_s3_name(be, key, dir, name);

	if (err)
		return err;
	*out = vidas_s3_request_new(be, method, name);
	return *out ? 0 : -ENOMEM;
}

static void s3_close(struct vidas_backend *be)
{
	vidas_s3_keeper_stop(be);
	vidas_s3_engines_close(be);
	vidas_s3_cred_close(be->cred);
	vidas_s3_dirs_forget(be);
	vidas_s3_known_clear(be);
	vidas_digests_free(be->sent);
	vidas_s3_config_clear(&be->config);
	pthread_mutex_destroy(&be->easy_lock);
	pthread_mutex_destroy(&be->dirs_lock);
	pthread_mutex_destroy(&be->known_lock);
	pthread_mutex_destroy(&be->keeper_lock);
	pthread_cond_destroy(&be->keeper_wake);
	free(be);
}

static void locks_init(struct vidas_backend *be)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&be->easy_lock, NULL);
	pthread_mutex_init(&be->dirs_lock, NULL);
	pthread_mutex_init(&be->known_lock, NULL);
	pthread_mutex_init(&be->keeper_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&be->keeper_wake, &attr);
	pthread_condattr_destroy(&attr);
}

static int s3_open(const struct vidas_backend_host *host, const char *url,
		   struct vidas_backend **out, uint32_t *caps)
{
	struct vidas_backend *be;
	struct s3_cred_source source;
	int err;

	pthread_once(&curl_once, curl_begin);
	if (curl_ready != CURLE_OK)
		return vidas_backend_error(host, -EIO, "libcurl: %s",
					   curl_easy_strerror(curl_ready));
	be = calloc(1, sizeof(*be));
	if (!be)
		return -ENOMEM;
	be->host = host;
	locks_init(be);
	err = vidas_s3_config_parse(host, url, &be->config);
	if (err)
		goto out;
	source = (struct s3_cred_source){ .file = be->config.credentials,
					  .profile = be->config.profile };
	err = vidas_s3_cred_open(host, &source, &be->cred);
	if (!err)
		err = vidas_digests_new(VIDAS_DIGESTS_BLOCK, DIGESTS_MAX, &be->sent);
	if (!err)
		err = vidas_s3_engines_open(be);
	if (err)
		goto out;
	vidas_s3_probe(be);
	err = vidas_s3_keeper_start(be);
	if (err)
		goto out;
	*caps = VIDAS_BACKEND_DIRECTORIES | VIDAS_BACKEND_DIGESTS;
	if (be->config.attrs)
		*caps |= VIDAS_BACKEND_SYMLINKS | VIDAS_BACKEND_ATTRIBUTES;
	if (be->conditions != S3_NO_CONDITIONS)
		*caps |= VIDAS_BACKEND_CONDITIONAL;
	*out = be;
out:
	if (err)
		s3_close(be);
	return err;
}

const struct vidas_backend_ops vidas_s3_ops = {
	.struct_size = sizeof(struct vidas_backend_ops),
	.api_version = VIDAS_BACKEND_API,
	.name = "s3",
	.summary = "objects of a bucket: s3://BUCKET/PREFIX?endpoint=URL&region=NAME",
	.open = s3_open,
	.close = s3_close,
	.stat = vidas_s3_stat,
	.get = vidas_s3_get,
	.put = vidas_s3_put,
	.remove = vidas_s3_remove,
	.list = vidas_s3_list,
	.mkdir = vidas_s3_mkdir,
	.rmdir = vidas_s3_rmdir,
	.symlink = vidas_s3_symlink,
	.readlink = vidas_s3_readlink,
	.rename = vidas_s3_rename,
	.set_attrs = vidas_s3_set_attrs,
	.describe = vidas_s3_describe,
};
