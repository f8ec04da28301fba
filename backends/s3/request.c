/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/s3/s3.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ERROR_TEXT_MAX 65536u
#define SLOWEST	       16384u /* bytes a second, for the time a request may take at all */
#define LONG_WAIT_S    600u

struct s3_request *vidas_s3_request_new(struct vidas_backend *be, enum s3_method method,
					const char *name)
{
	struct s3_request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->be = be;
	r->method = method;
	snprintf(r->name, sizeof(r->name), "%s", name);
	return r;
}

void vidas_s3_reply_clear(struct s3_reply *reply)
{
	free(reply->text);
	curl_slist_free_all(reply->keep);
	memset(reply, 0, sizeof(*reply));
}

void vidas_s3_request_free(struct s3_request *r)
{
	if (!r)
		return;
	vidas_s3_reply_clear(&r->reply);
	curl_slist_free_all(r->headers);
	free(r);
}

int vidas_s3_request_header(struct s3_request *r, const char *fmt, ...)
{
	struct curl_slist *more;
	char line[2 * S3_PATH_BYTES];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(line))
		return -EINVAL;
	more = curl_slist_append(r->headers, line);
	if (!more)
		return -ENOMEM;
	r->headers = more;
	return 0;
}

int vidas_s3_request_query(struct s3_request *r, const char *name, const char *value)
{
	size_t used = strlen(r->query);
	int n = snprintf(r->query + used, sizeof(r->query) - used, "%s%s=", used ? "&" : "", name);

	if (n < 0 || (size_t)n >= sizeof(r->query) - used)
		return -EINVAL;
	used += (size_t)n;
	return vidas_s3_percent_encode(value, false, r->query + used, sizeof(r->query) - used) < 0 ?
		       -EINVAL :
		       0;
}

/* Empty pieces are passed. */
static void cursor_settle(struct s3_cursor *c)
{
	while (c->left && c->used == c->iov->iov_len) {
		c->iov++;
		c->left--;
		c->used = 0;
	}
}

void vidas_s3_cursor_skip(struct s3_cursor *c, uint64_t bytes)
{
	for (cursor_settle(c); bytes && c->left; cursor_settle(c)) {
		size_t some = c->iov->iov_len - c->used;

		some = some < bytes ? some : (size_t)bytes;
		c->used += some;
		bytes -= some;
	}
}

/* Copies between the cursor's memory and `buf`, and moves on. */
static void cursor_copy(struct s3_cursor *c, char *buf, size_t bytes, bool into)
{
	for (cursor_settle(c); bytes && c->left; cursor_settle(c)) {
		size_t some = c->iov->iov_len - c->used;
		char *place = (char *)c->iov->iov_base + c->used;

		some = some < bytes ? some : bytes;
		if (into)
			memcpy(place, buf, some);
		else
			memcpy(buf, place, some);
		c->used += some;
		buf += some;
		bytes -= some;
	}
}

void vidas_s3_cursor_read(struct s3_cursor *c, char *buf, size_t bytes)
{
	cursor_copy(c, buf, bytes, false);
}

/* For who looks on: bytes of the put that are on their way; all of this request again. */
static void count(struct s3_request *r, uint64_t bytes)
{
	if (r->moved)
		atomic_fetch_add_explicit(r->moved, bytes, memory_order_relaxed);
	r->counted += bytes;
}

static void count_again(struct s3_request *r)
{
	if (r->moved)
		atomic_fetch_sub_explicit(r->moved, r->counted, memory_order_relaxed);
	r->counted = 0;
}

/* The hash is made of curl's own copy: the pool's memory is read once, others may change it. */
static size_t on_read(char *buf, size_t one, size_t size, void *arg)
{
	struct s3_request *r = arg;
	uint64_t left = r->body_bytes - r->done_bytes;

	size *= one;
	if (vidas_s3_sum_framed(r)) {
		size_t some = vidas_s3_sum_frame(r, buf, size);

		if (some || !left)
			return some;
	}
	if (size > left)
		size = (size_t)left;
	cursor_copy(&r->at, buf, size, false);
	vidas_s3_hash_feed(r, buf, size);
	r->done_bytes += size;
	count(r, size);
	return size;
}

/* A connection that was kept and turned out dead: from the beginning again. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
	struct s3_request *r = arg;

	if (origin != SEEK_SET || offset != 0)
		return CURL_SEEKFUNC_CANTSEEK;
	r->at = r->body;
	r->done_bytes = 0;
	count_again(r);
	return vidas_s3_hash_again(r) ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

static size_t text_append(struct s3_reply *reply, const char *data, size_t size, size_t max)
{
	if (size > max - reply->text_bytes)
		return 0;
	if (reply->text_bytes + size + 1 > reply->text_room) {
		size_t room = 2 * (reply->text_bytes + size + 1);
		char *text = realloc(reply->text, room);

		if (!text)
			return 0;
		reply->text = text;
		reply->text_room = room;
	}
	memcpy(reply->text + reply->text_bytes, data, size);
	reply->text_bytes += size;
	reply->text[reply->text_bytes] = '\0';
	return size;
}

static size_t on_write(char *data, size_t one, size_t size, void *arg)
{
	struct s3_request *r = arg;
	struct s3_reply *reply = &r->reply;
	uint64_t left = r->sink_bytes - r->done_bytes, from = reply->ranged ? reply->from : 0;

	size *= one;
	if (reply->http >= 300) {
		/* What is too long is left out; it would only be words. */
		if (reply->text_bytes < ERROR_TEXT_MAX)
			(void)text_append(reply, data, size, 2 * ERROR_TEXT_MAX);
		return size;
	}
	if (!r->sink.iov)
		return text_append(reply, data, size, S3_ANSWER_MAX);
	/* Another range than was asked for, or more of it: end the transfer. */
	if (from != r->sink_offset || size > left)
		return 0;
	cursor_copy(&r->at, data, size, true);
	vidas_s3_hash_feed(r, data, size);
	r->done_bytes += size;
	return size;
}

static size_t on_header(char *data, size_t one, size_t size, void *arg)
{
	struct s3_request *r = arg;
	char line[4096], *value, *end;
	size_t n = size * one < sizeof(line) - 1 ? size * one : sizeof(line) - 1;

	memcpy(line, data, n);
	line[n] = '\0';
	if (strncmp(line, "HTTP/", 5) == 0) {
		/* Those of an answer before (100, a proxy's) do not count. */
		struct s3_reply *reply = &r->reply;
		const char *blank = strchr(line, ' ');

		vidas_s3_reply_clear(reply);
		reply->st.type = VIDAS_BACKEND_FILE;
		reply->http = blank ? strtol(blank, NULL, 10) : 0;
		return size * one;
	}
	value = strchr(line, ':');
	if (!value || size * one >= sizeof(line))
		return size * one;
	*value++ = '\0';
	value += strspn(value, " \t");
	for (end = value + strlen(value); end > value && strchr(" \t\r\n", end[-1]); end--)
		end[-1] = '\0';
	vidas_s3_meta_line(r, line, value);
	return size * one;
}

/* As it is signed: percent-encoded, from the first '/' on. */
int vidas_s3_request_path(const struct s3_request *r, char *out, size_t size)
{
	const struct s3_config *c = &r->be->config;
	int n = c->path_style ? snprintf(out, size, "/%s%s", c->bucket, r->name[0] ? "/" : "") :
				snprintf(out, size, "/");

	if (n < 0 || (size_t)n >= size)
		return -EINVAL;
	return vidas_s3_percent_encode(r->name, true, out + n, size - (size_t)n) < 0 ? -EINVAL : 0;
}

/* As libcurl says it in "Host:": a port that goes without saying is left out. */
int vidas_s3_request_host(const struct s3_request *r, char *out, size_t size)
{
	const struct s3_config *c = &r->be->config;
	const char *host = strstr(c->endpoint, "://") + 3;
	const char *port = strncmp(c->endpoint, "https", 5) == 0 ? ":443" : ":80";
	size_t bytes = strlen(host), skip = strlen(port);
	int n;

	if (bytes > skip && strcmp(host + bytes - skip, port) == 0)
		bytes -= skip;
	n = snprintf(out, size, "%s%s%.*s", c->path_style ? "" : c->bucket,
		     c->path_style ? "" : ".", (int)bytes, host);
	return n < 0 || (size_t)n >= size ? -EINVAL : 0;
}

static int url_set(struct s3_request *r)
{
	const struct s3_config *c = &r->be->config;
	const char *host = strstr(c->endpoint, "://") + 3;
	char path[S3_PATH_BYTES], *url = NULL;

	if (vidas_s3_request_path(r, path, sizeof(path)))
		return -EINVAL;
	if (asprintf(&url, "%.*s%s%s%s%s%s%s", (int)(host - c->endpoint), c->endpoint,
		     c->path_style ? "" : c->bucket, c->path_style ? "" : ".", host, path,
		     r->query[0] ? "?" : "", r->query) < 0)
		return -ENOMEM;
	curl_easy_setopt(r->easy, CURLOPT_URL, url);
	free(url);
	return 0;
}

int vidas_s3_request_add(struct s3_request *r, const char *fmt, const char *value)
{
	struct curl_slist *more;
	char line[4400];

	snprintf(line, sizeof(line), fmt, value);
	more = curl_slist_append(r->sent_headers, line);
	explicit_bzero(line, sizeof(line));
	if (!more)
		return -ENOMEM;
	r->sent_headers = more;
	return 0;
}

const char *vidas_s3_request_said(const struct s3_request *r, const char *name)
{
	size_t size = strlen(name);

	for (const struct curl_slist *h = r->sent_headers; h; h = h->next)
		if (strncasecmp(h->data, name, size) == 0 && h->data[size] == ':')
			return h->data + size + 1 + strspn(h->data + size + 1, " ");
	return "";
}

static void method_set(struct s3_request *r)
{
	CURL *easy = r->easy;

	switch (r->method) {
	case S3_GET:
		break;
	case S3_HEAD:
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		break;
	case S3_DELETE:
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "DELETE");
		break;
	case S3_POST:
	case S3_PUT:
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, r->method == S3_PUT ? "PUT" : "POST");
		if (r->copy) {
			/* An upload would begin with "Expect: 100-continue", a way more to go. */
			curl_easy_setopt(easy, CURLOPT_POSTFIELDS, r->copy);
			curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
					 (curl_off_t)r->body_bytes);
			break;
		}
		curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
				 (curl_off_t)vidas_s3_sum_wire_bytes(r));
		curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
		curl_easy_setopt(easy, CURLOPT_READDATA, r);
		curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
		curl_easy_setopt(easy, CURLOPT_SEEKDATA, r);
		break;
	}
}

static void limits_set(struct s3_request *r)
{
	const struct s3_config *c = &r->be->config;
	uint64_t bytes = r->body_bytes + r->sink_bytes;
	unsigned stall = c->timeout_s + (r->long_wait ? LONG_WAIT_S : 0);
	bool large = bytes > (1u << 20);

	curl_easy_setopt(r->easy, CURLOPT_CONNECTTIMEOUT, (long)c->connect_s);
	curl_easy_setopt(r->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(r->easy, CURLOPT_LOW_SPEED_TIME, (long)stall);
	curl_easy_setopt(r->easy, CURLOPT_TIMEOUT,
			 (long)(c->connect_s + 2 * stall + bytes / SLOWEST));
	curl_easy_setopt(r->easy, CURLOPT_BUFFERSIZE, large ? 262144L : 16384L);
	if (r->body_bytes)
		curl_easy_setopt(r->easy, CURLOPT_UPLOAD_BUFFERSIZE, large ? 262144L : 65536L);
}

static void options_set(struct s3_request *r)
{
	CURL *easy = r->easy;
	char range[64];

	curl_easy_setopt(easy, CURLOPT_PRIVATE, r);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* no waiting for a resolver's thread */
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "vidas");
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, r->reply.curl_words);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_write);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, r);
	if (r->be->config.cafile)
		curl_easy_setopt(easy, CURLOPT_CAINFO, r->be->config.cafile);
	if (r->sink_bytes) {
		snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)r->sink_offset,
			 (unsigned long long)(r->sink_offset + r->sink_bytes - 1));
		curl_easy_setopt(easy, CURLOPT_RANGE, range);
	}
}

int vidas_s3_request_arm(struct s3_request *r)
{
	int err = -ENOMEM;

	vidas_s3_reply_clear(&r->reply);
	count_again(r);
	r->easy = vidas_s3_easy_take(r->be);
	if (!r->easy)
		goto out;
	for (struct curl_slist *h = r->headers; h; h = h->next)
		if (vidas_s3_request_add(r, "%s", h->data))
			goto out;
	/* libcurl would call it a form's. */
	if ((r->method == S3_PUT || r->method == S3_POST) &&
	    !*vidas_s3_request_said(r, "Content-Type") &&
	    vidas_s3_request_add(r, "%s", "Content-Type: application/octet-stream"))
		goto out;
	err = url_set(r);
	if (!err)
		err = vidas_s3_sum_headers(r);
	if (!err)
		err = vidas_s3_sign(r);
	if (!err)
		err = vidas_s3_hash_begin(r);
	if (err)
		goto out;
	if (r->copy)
		vidas_s3_hash_feed(r, (const char *)r->copy, (size_t)r->body_bytes);
	r->done_bytes = 0;
	r->at = r->sink.iov ? r->sink : r->body;
	method_set(r);
	options_set(r);
	limits_set(r);
	curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->sent_headers);
out:
	if (err)
		vidas_s3_request_land(r, CURLE_FAILED_INIT);
	return err;
}

void vidas_s3_request_land(struct s3_request *r, CURLcode code)
{
	r->reply.curl = code;
	if (r->sink.iov)
		r->reply.received = r->done_bytes;
	vidas_s3_hash_end(r);
	if (r->easy)
		vidas_s3_easy_give(r->be, r->easy);
	r->easy = NULL;
	curl_slist_free_all(r->sent_headers);
	r->sent_headers = NULL;
	free(r->copy);
	r->copy = NULL;
}
