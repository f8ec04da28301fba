/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The instance metadata service, version 2: a token, the role's name, the role's keys. */
#include "backends/s3/s3.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 1000L
#define TOTAL_MS   1300L /* each of three requests, so that a caller waits 4 s at most */
#define BODY_MAX   16384u
#define TTL	   "X-aws-ec2-metadata-token-ttl-seconds: 21600"

struct body {
	char text[BODY_MAX];
	size_t used;
};

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
	struct body *b = arg;

	(void)one;
	if (size >= sizeof(b->text) - b->used)
		return 0;
	memcpy(b->text + b->used, data, size);
	b->used += size;
	b->text[b->used] = '\0';
	return size;
}

/* One small request; the service is beside us: no proxy, no redirection. */
static int ask(const char *base, const char *path, bool put, const char *header, struct body *b)
{
	struct curl_slist *headers = curl_slist_append(NULL, header);
	CURL *easy = curl_easy_init();
	char url[512];
	long http = 0;
	int err = -EHOSTUNREACH;

	b->used = 0;
	b->text[0] = '\0';
	if (!easy || !headers)
		goto out;
	snprintf(url, sizeof(url), "%s%s", base, path);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, TOTAL_MS);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, b);
	if (put)
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PUT");
	if (curl_easy_perform(easy) == CURLE_OK) {
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &http);
		err = http == 200 ? 0 : http == 404 ? -ENOENT : -EACCES;
	}
out:
	curl_easy_cleanup(easy);
	curl_slist_free_all(headers);
	return err;
}

static int take(json_t *root, const char *name, char *out, size_t size)
{
	json_t *value = json_object_get(root, name);
	size_t n = json_string_length(value);

	if (!json_is_string(value) || !n || n >= size ||
	    strpbrk(json_string_value(value), "\r\n \t"))
		return -EBADMSG;
	memcpy(out, json_string_value(value), n + 1);
	/* jansson frees without wiping. */
	explicit_bzero((char *)(uintptr_t)json_string_value(value), n);
	return 0;
}

static int keys_parse(const struct body *b, struct s3_key *out)
{
	char expiration[64];
	json_t *root = json_loadb(b->text, b->used, JSON_REJECT_DUPLICATES, NULL);
	int err;

	(void)((err = take(root, "AccessKeyId", out->id, sizeof(out->id))) ||
	       (err = take(root, "SecretAccessKey", out->secret, sizeof(out->secret))) ||
	       (err = take(root, "Token", out->token, sizeof(out->token))) ||
	       (err = take(root, "Expiration", expiration, sizeof(expiration))));
	if (!err) {
		out->expires_s = (int64_t)vidas_s3_time_parse(expiration);
		if (out->expires_s <= 0)
			err = -EBADMSG;
	}
	json_decref(root);
	return err;
}

int vidas_s3_imds_fetch(struct s3_key *out, char why[256])
{
	static const char creds[] = "/latest/meta-data/iam/security-credentials/";
	const char *base = secure_getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	char header[1100], path[256];
	struct body *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	if (!base || !*base)
		base = "http://169.254.169.254";
	snprintf(why, 256,
		 "no keys in the environment, ~/.aws/credentials or from the instance's metadata");
	err = ask(base, "/latest/api/token", true, TTL, b);
	if (err || !b->used || b->used > 1000 || strpbrk(b->text, "\r\n"))
		goto out;
	snprintf(header, sizeof(header), "X-aws-ec2-metadata-token: %.1000s", b->text);
	err = ask(base, creds, false, header, b);
	if (err)
		goto out;
	b->text[strcspn(b->text, "\r\n")] = '\0';
	if (!b->text[0] || strlen(b->text) > 128 || strpbrk(b->text, "/?#% ")) {
		err = -EBADMSG;
		goto out;
	}
	snprintf(path, sizeof(path), "%s%.128s", creds, b->text);
	err = ask(base, path, false, header, b);
	if (!err)
		err = keys_parse(b, out);
	if (err)
		snprintf(why, 256, "the instance's metadata service gave no keys that can be used");
out:
	explicit_bzero(header, sizeof(header));
	explicit_bzero(b, sizeof(*b));
	free(b);
	if (err)
		explicit_bzero(out, sizeof(*out));
	return err || !out->id[0] ? -EACCES : 0;
}
