/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signatures. Those of AWS version 4 are libcurl's, but for one kind of request: until 8.10 it sorts
 * headers by their whole lines, so that "x-amz-copy-source-range: ..." comes before
 * "x-amz-copy-source: ...", and servers refuse the signature. Requests that have a header whose name
 * is the beginning of another's are signed here where libcurl is older. Version 2 (auth=v2), which
 * libcurl never had, is at the end.
 */
#include "backends/s3/s3.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CURL_SORTS_NAMES 0x080a00u
#define HEADERS_MAX	 64u

static const char hexdigits[] = "0123456789abcdef";
static const char *const methods[] = {
	[S3_GET] = "GET",   [S3_HEAD] = "HEAD",	    [S3_PUT] = "PUT",
	[S3_POST] = "POST", [S3_DELETE] = "DELETE",
};

static void hex(const unsigned char *bytes, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++) {
		out[2 * i] = hexdigits[bytes[i] >> 4];
		out[2 * i + 1] = hexdigits[bytes[i] & 15];
	}
	out[2 * n] = '\0';
}

static int sha256(const void *data, size_t size, unsigned char digest[EVP_MAX_MD_SIZE])
{
	unsigned n = 0;

	return EVP_Digest(data, size, digest, &n, EVP_sha256(), NULL) == 1 && n == 32 ? 0 : -EIO;
}

static int sha256_hex(const void *data, size_t size, char out[65])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	int err = sha256(data, size, digest);

	if (!err)
		hex(digest, 32, out);
	return err;
}

/* Small bodies are copied, so that hash and bytes are of one reading; the hash is signed. */
static int payload_hash(struct s3_request *r, char out[65])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	int err;

	snprintf(out, 65, "%s",
		 vidas_s3_sum_framed(r) ? "STREAMING-UNSIGNED-PAYLOAD-TRAILER" :
					  "UNSIGNED-PAYLOAD");
	if (r->body_bytes > S3_SIGNED_MAX)
		return 0;
	r->copy = malloc(r->body_bytes + 1);
	if (!r->copy)
		return -ENOMEM;
	r->at = r->body;
	vidas_s3_cursor_read(&r->at, (char *)r->copy, (size_t)r->body_bytes);
	err = sha256(r->copy, (size_t)r->body_bytes, digest);
	if (err)
		return err;
	hex(digest, 32, out);
	if (!r->sum || r->method != S3_PUT)
		return 0;
	vidas_s3_sum_text(digest, r->sum_text);
	return vidas_s3_request_add(r, "x-amz-checksum-sha256: %s", r->sum_text);
}

static time_t server_time(const struct s3_request *r)
{
	return time(NULL) + (time_t)atomic_load_explicit(&r->be->skew_s, memory_order_relaxed);
}

static void date_text(const struct s3_request *r, char date[32])
{
	time_t now = server_time(r);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(date, 32, "%Y%m%dT%H%M%SZ", &tm);
}

static size_t name_size(const char *line)
{
	return strcspn(line, ":");
}

static int by_name(const void *a, const void *b)
{
	const char *x = *(const char *const *)a, *y = *(const char *const *)b;
	size_t n = name_size(x), m = name_size(y);
	int order = strncasecmp(x, y, n < m ? n : m);

	return order ? order : (n > m) - (n < m);
}

/* Does libcurl get the order of these wrong? Or a '+' in the query: 8.14 signs %2B as %20. */
static bool curl_missigns(const struct s3_request *r)
{
	if (strstr(r->query, "%2B"))
		return true;
	if (curl_version_info(CURLVERSION_NOW)->version_num >= CURL_SORTS_NAMES)
		return false;
	for (const struct curl_slist *a = r->sent_headers; a; a = a->next)
		for (const struct curl_slist *b = r->sent_headers; b; b = b->next)
			if (name_size(a->data) < name_size(b->data) &&
			    strncasecmp(a->data, b->data, name_size(a->data)) == 0)
				return true;
	return false;
}

/* A growing text; an error stays. */
struct text {
	char *at;
	size_t used, room;
	int err;
};

static void add(struct text *t, const char *data, size_t size)
{
	if (!t->err && t->room - t->used < size + 1) {
		size_t room = 2 * (t->room + size) + 1024;
		char *at = realloc(t->at, room);

		t->err = at ? 0 : -ENOMEM;
		t->at = at ? at : t->at;
		t->room = at ? room : t->room;
	}
	if (t->err)
		return;
	memcpy(t->at + t->used, data, size);
	t->used += size;
	t->at[t->used] = '\0';
}

static void add_text(struct text *t, const char *data)
{
	add(t, data, strlen(data));
}

/* "name:value\n", the name in lower case, blanks in a row as one. */
static void add_header(struct text *t, const char *line)
{
	size_t n = name_size(line);
	const char *value = line + n + 1;
	char c;

	for (size_t i = 0; i < n; i++) {
		c = (char)tolower((unsigned char)line[i]);
		add(t, &c, 1);
	}
	add(t, ":", 1);
	for (value += strspn(value, " "); *value; value++)
		if (*value != ' ' || (value[1] && value[1] != ' '))
			add(t, value, 1);
	add(t, "\n", 1);
}

static void add_names(struct text *t, char **line, size_t lines)
{
	for (size_t i = 0; i < lines; i++) {
		if (i)
			add(t, ";", 1);
		for (size_t j = 0; j < name_size(line[i]); j++)
			add(t, &(char){ (char)tolower((unsigned char)line[i][j]) }, 1);
	}
}

/* The request in the one form that both sides hash. */
static int canonical(struct s3_request *r, char **line, size_t lines, const char *payload,
		     struct text *names, char out[65])
{
	struct text t = { 0 };
	char path[S3_PATH_BYTES];
	int err;

	if (vidas_s3_request_path(r, path, sizeof(path)))
		return -EINVAL;
	add_text(&t, methods[r->method]);
	add_text(&t, "\n");
	add_text(&t, path);
	add_text(&t, "\n");
	add_text(&t, r->query);
	add_text(&t, "\n");
	for (size_t i = 0; i < lines; i++)
		add_header(&t, line[i]);
	add_text(&t, "\n");
	add_names(names, line, lines);
	if (!names->err)
		add(&t, names->at, names->used);
	add_text(&t, "\n");
	add_text(&t, payload);
	err = t.err ? t.err : names->err;
	if (!err)
		err = sha256_hex(t.at, t.used, out);
	free(t.at);
	return err;
}

static void hmac(const unsigned char *key, size_t size, const char *text, unsigned char out[32])
{
	unsigned n = 0;

	(void)HMAC(EVP_sha256(), key, (int)size, (const unsigned char *)text, strlen(text), out,
		   &n);
}

/* Over the day, the region and the service to the signature of `what`. */
static void signature(const struct s3_config *c, const struct s3_key *key, const char *date,
		      const char *what, char out[65])
{
	unsigned char k[32];
	char first[sizeof(key->secret) + 4], day[9];
	int n = snprintf(first, sizeof(first), "AWS4%s", key->secret);

	snprintf(day, sizeof(day), "%.8s", date);
	hmac((unsigned char *)first, (size_t)n, day, k);
	hmac(k, sizeof(k), c->region, k);
	hmac(k, sizeof(k), "s3", k);
	hmac(k, sizeof(k), "aws4_request", k);
	hmac(k, sizeof(k), what, k);
	hex(k, sizeof(k), out);
	explicit_bzero(first, sizeof(first));
	explicit_bzero(k, sizeof(k));
}

static int sign_here(struct s3_request *r, const struct s3_key *key, const char *payload)
{
	const struct s3_config *c = &r->be->config;
	struct text names = { 0 };
	char date[32], host[512], hash[65], what[512], signed_as[65], *line[HEADERS_MAX], *header;
	size_t lines = 0;
	int err;

	date_text(r, date);
	err = vidas_s3_request_add(r, "X-Amz-Date: %s", date);
	snprintf(host, sizeof(host), "host:");
	if (!err)
		err = vidas_s3_request_host(r, host + 5, sizeof(host) - 5);
	line[lines++] = host;
	for (struct curl_slist *h = r->sent_headers; h && !err; h = h->next)
		if (lines == HEADERS_MAX)
			err = -EINVAL;
		else
			line[lines++] = h->data;
	qsort(line, lines, sizeof(line[0]), by_name);
	if (!err)
		err = canonical(r, line, lines, payload, &names, hash);
	if (err)
		goto out;
	snprintf(what, sizeof(what), "AWS4-HMAC-SHA256\n%s\n%.8s/%s/s3/aws4_request\n%s", date,
		 date, c->region, hash);
	signature(c, key, date, what, signed_as);
	if (asprintf(&header,
		     "Authorization: AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/s3/aws4_request, "
		     "SignedHeaders=%s, Signature=%s",
		     key->id, date, c->region, names.at, signed_as) < 0) {
		err = -ENOMEM;
		goto out;
	}
	err = vidas_s3_request_add(r, "%s", header);
	free(header);
out:
	free(names.at);
	return err;
}

static int sign_by_curl(struct s3_request *r, const struct s3_key *key)
{
	char provider[128], date[32];

	snprintf(provider, sizeof(provider), "aws:amz:%s:s3", r->be->config.region);
	curl_easy_setopt(r->easy, CURLOPT_AWS_SIGV4, provider);
	curl_easy_setopt(r->easy, CURLOPT_USERNAME, key->id);
	curl_easy_setopt(r->easy, CURLOPT_PASSWORD, key->secret);
	if (!atomic_load_explicit(&r->be->skew_s, memory_order_relaxed))
		return 0;
	date_text(r, date);
	return vidas_s3_request_add(r, "X-Amz-Date: %s", date);
}

/* What of a query is signed: subresources, by their names in order (as r->query has them). */
static bool is_subresource(const char *name, size_t size)
{
	static const char *const names[] = { "delete", "partNumber", "uploadId", "uploads" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == size && memcmp(names[i], name, size) == 0)
			return true;
	return false;
}

/* "/BUCKET/NAME?uploads", whichever style the URL has; values as they are, not encoded. */
static int add_resource(struct text *t, const struct s3_request *r)
{
	char path[S3_PATH_BYTES], query[sizeof(r->query)], *save = NULL, sign = '?';

	if (vidas_s3_request_path(r, path, sizeof(path)))
		return -EINVAL;
	if (!r->be->config.path_style) {
		add_text(t, "/");
		add_text(t, r->be->config.bucket);
	}
	add_text(t, path);
	memcpy(query, r->query, sizeof(query));
	for (char *p = strtok_r(query, "&", &save); p; p = strtok_r(NULL, "&", &save)) {
		size_t size = strcspn(p, "=");

		if (!is_subresource(p, size))
			continue;
		if (vidas_s3_percent_decode(p))
			return -EINVAL;
		add(t, &sign, 1);
		add(t, p, p[size] && !p[size + 1] ? size : strlen(p));
		sign = '&';
	}
	return t->err;
}

/* The date goes as x-amz-date: its own line stays empty. */
static int text_v2(const struct s3_request *r, struct text *t)
{
	char *line[HEADERS_MAX];
	size_t lines = 0;

	add_text(t, methods[r->method]);
	add_text(t, "\n");
	add_text(t, vidas_s3_request_said(r, "Content-MD5"));
	add_text(t, "\n");
	add_text(t, vidas_s3_request_said(r, "Content-Type"));
	add_text(t, "\n\n");
	for (struct curl_slist *h = r->sent_headers; h; h = h->next)
		if (strncasecmp(h->data, "x-amz-", 6) == 0) {
			if (lines == HEADERS_MAX)
				return -EINVAL;
			line[lines++] = h->data;
		}
	qsort(line, lines, sizeof(line[0]), by_name);
	for (size_t i = 0; i < lines; i++)
		add_header(t, line[i]);
	return add_resource(t, r);
}

static int sign_v2(struct s3_request *r, const struct s3_key *key)
{
	unsigned char digest[EVP_MAX_MD_SIZE], base64[2 * EVP_MAX_MD_SIZE];
	struct text t = { 0 };
	char date[64], line[sizeof(key->id) + sizeof(base64) + 32];
	time_t now = server_time(r);
	unsigned n = 0;
	struct tm tm;
	int err;

	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	err = vidas_s3_request_add(r, "x-amz-date: %s", date);
	if (!err)
		err = text_v2(r, &t);
	if (!err && !HMAC(EVP_sha1(), key->secret, (int)strlen(key->secret), (unsigned char *)t.at,
			  t.used, digest, &n))
		err = -EIO;
	if (!err) {
		EVP_EncodeBlock(base64, digest, (int)n);
		snprintf(line, sizeof(line), "Authorization: AWS %s:%s", key->id, base64);
		err = vidas_s3_request_add(r, "%s", line);
	}
	free(t.at);
	return err;
}

static int sign_v4(struct s3_request *r, const struct s3_key *key, const char *payload)
{
	int err = vidas_s3_request_add(r, "x-amz-content-sha256: %s", payload);

	if (err)
		return err;
	return curl_missigns(r) ? sign_here(r, key, payload) : sign_by_curl(r, key);
}

int vidas_s3_sign(struct s3_request *r)
{
	const struct s3_config *c = &r->be->config;
	char payload[65], why[256];
	struct s3_key key;
	int err = payload_hash(r, payload);

	if (err || c->auth == S3_AUTH_NONE)
		return err;
	err = vidas_s3_cred_get(r->be->cred, &key, why);
	if (err)
		return vidas_backend_error(r->be->host, err == -ENOMEM ? err : -EACCES,
					   "s3://%s: %s", c->bucket, why);
	snprintf(r->key_used, sizeof(r->key_used), "%s", key.id);
	if (key.token[0])
		err = vidas_s3_request_add(r, "x-amz-security-token: %s", key.token);
	if (!err)
		err = c->auth == S3_AUTH_V2 ? sign_v2(r, &key) : sign_v4(r, &key, payload);
	explicit_bzero(&key, sizeof(key));
	return err;
}
