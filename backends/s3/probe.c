/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What can this server do? A small object of a name that nothing else has is put, put again under
 * conditions that do not hold, and removed. A server that is not there, or a bucket that is not
 * to be written, leaves the root without conditions: it works, and checks before it puts.
 */
#include "backends/s3/s3.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define PROBE_S 5u /* for each limit of a probe's requests */

struct probe {
	struct vidas_backend *be;
	char name[S3_NAME_BYTES];
	struct vidas_backend_version version;
};

/* PUT of these bytes with one more header, NULL none; the HTTP status or a negative errno. */
static long probe_put_bytes(struct probe *p, const struct iovec *data, const char *header, bool sum)
{
	struct s3_request *r;
	long ret = vidas_s3_small_new(p->be, p->name, data, NULL, &r);

	if (ret)
		return ret;
	r->hash = true;
	r->sum = sum;
	if (header)
		ret = vidas_s3_request_header(r, "%s", header);
	if (!ret)
		ret = vidas_s3_run(r);
	if (!ret) {
		p->version = r->reply.st.version;
		if (!header && !sum)
			p->be->etag_is_md5 = p->be->config.verify != S3_VERIFY_NONE &&
					     p->version.size == 32 && !r->reply.foreign_hash &&
					     vidas_s3_md5_same(r);
	}
	ret = r->reply.http ? r->reply.http : ret;
	vidas_s3_request_free(r);
	return ret;
}

static long probe_put(struct probe *p, const char *header)
{
	struct iovec data = { .iov_base = (char[]){ "vidas probe" }, .iov_len = 11 };

	return probe_put_bytes(p, &data, header, false);
}

/*
 * Who refuses a wrong checksum knows them. Who knows no trailers could take all of the encoding for the
 * object: so one is put that has them, and looked at.
 */
static void sums_find(struct probe *p)
{
	static const char zeros[S3_SIGNED_MAX + 1];
	struct iovec data = { .iov_base = (void *)(uintptr_t)zeros, .iov_len = sizeof(zeros) };
	struct vidas_backend_stat st;
	long http;

	if (!p->be->config.sums || p->be->config.auth != S3_AUTH_V4)
		return;
	http = probe_put(p, "x-amz-checksum-sha256: "
			    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
	if (http != 400)
		return;
	http = probe_put_bytes(p, &data, NULL, true);
	p->be->sums = http >= 200 && http < 300 && !vidas_s3_head_name(p->be, p->name, &st, NULL) &&
		      st.size_bytes == sizeof(zeros);
	if (!p->be->sums)
		vidas_s3_log(p->be, 5,
			     "s3://%s at %s knows checksums, but not as trailers: none are sent",
			     p->be->config.bucket, p->be->config.endpoint);
}

static bool probe_quoting(struct probe *p, const char *quote)
{
	char etag[64], line[96];
	long http;

	vidas_s3_version_text(&p->version, etag);
	snprintf(line, sizeof(line), "If-Match: %s%s%s", quote, etag, quote);
	http = probe_put(p, line);
	return http >= 200 && http < 300;
}

static void conditions_find(struct probe *p)
{
	long http;

	http = probe_put(p, "If-None-Match: *");
	if (http != 412)
		return;
	http = probe_put(p, "If-Match: 00000000000000000000000000000000");
	if (http != 412)
		return;
	if (probe_quoting(p, "\""))
		p->be->conditions = S3_QUOTED;
	else if (probe_quoting(p, ""))
		p->be->conditions = S3_UNQUOTED;
}

static void probe_name(const struct vidas_backend *be, char name[S3_NAME_BYTES])
{
	uint64_t number = (uint64_t)vidas_s3_now_us();

	(void)!getrandom(&number, sizeof(number), GRND_NONBLOCK);
	snprintf(name, S3_NAME_BYTES, "%s.vidas-s3-probe-%016llx", be->config.prefix,
		 (unsigned long long)number);
}

static void probe_delete(struct vidas_backend *be, const char *name)
{
	struct s3_request *r = vidas_s3_request_new(be, S3_DELETE, name);

	if (r)
		(void)vidas_s3_run(r);
	vidas_s3_request_free(r);
}

static void probe_run(struct probe *p)
{
	struct vidas_backend *be = p->be;
	long http;

	probe_name(be, p->name);
	http = probe_put(p, NULL);
	if (http < 200 || http >= 300) {
		vidas_s3_log(
			be, 4,
			"s3://%s at %s could not be asked what it can do (%s %ld): no conditional "
			"puts, no check of ETags until it is opened again",
			be->config.bucket, be->config.endpoint,
			http < 0 ? strerrordesc_np((int)-http) : "HTTP", http);
		return;
	}
	conditions_find(p);
	sums_find(p);
	probe_delete(be, p->name);
	vidas_s3_log(be, 6, "s3://%s at %s: %s conditional puts, ETags %s checked, checksums %s",
		     be->config.bucket, be->config.endpoint,
		     be->conditions == S3_NO_CONDITIONS ? "no" : "has",
		     be->etag_is_md5 ? "are" : "are not", be->sums ? "are sent" : "are not sent");
}

void vidas_s3_probe(struct vidas_backend *be)
{
	struct s3_config before = be->config;
	struct probe p = { .be = be };

	if (!be->config.probe || be->config.auth == S3_AUTH_NONE)
		return;
	/* Whoever opens a root must not wait long for a server that is away. */
	be->config.retries = 0;
	be->config.connect_s = before.connect_s < PROBE_S ? before.connect_s : PROBE_S;
	be->config.timeout_s = before.timeout_s < PROBE_S ? before.timeout_s : PROBE_S;
	probe_run(&p);
	be->config.retries = before.retries;
	be->config.connect_s = before.connect_s;
	be->config.timeout_s = before.timeout_s;
}

/* An upload with a condition that cannot hold: is it refused? */
static bool upload_refused(struct vidas_backend *be)
{
	const struct vidas_backend_version none = { .size = 32,
						    .bytes = "00000000000000000000000000000000" };
	const struct vidas_backend_put never = { .expect = &none };
	struct iovec byte = { .iov_base = (char[]){ "x" }, .iov_len = 1 };
	struct s3_cursor at = { .iov = &byte, .left = 1 };
	struct vidas_backend_version now;
	struct s3_request *r = NULL;
	char condition[96], name[S3_NAME_BYTES];
	struct s3_upload u = { .be = be };
	int err;

	probe_name(be, name);
	vidas_s3_condition(be, &never, condition);
	err = vidas_s3_upload_begin(&u, be, name, NULL, NULL);
	if (!err)
		err = vidas_s3_upload_part(&u, 1, &at, 1, &r);
	if (!err)
		err = vidas_s3_run(r);
	if (!err)
		err = vidas_s3_upload_take(&u, r);
	vidas_s3_request_free(r);
	if (!err)
		err = vidas_s3_upload_complete(&u, condition, false, &now);
	if (err)
		vidas_s3_upload_drop(&u);
	else
		probe_delete(be, name);
	vidas_s3_upload_clear(&u);
	return err == -ESTALE || err == -ENOENT;
}

bool vidas_s3_parts_conditional(struct vidas_backend *be)
{
	int known = atomic_load_explicit(&be->complete_conditions, memory_order_relaxed);

	if (!known) {
		known = upload_refused(be) ? 1 : -1;
		atomic_store_explicit(&be->complete_conditions, known, memory_order_relaxed);
		if (known < 0)
			vidas_s3_log(
				be, 5,
				"s3://%s at %s obeys no conditions when an upload is completed: "
				"puts of over %llu MiB look just before whether the object is still "
				"as expected; what others put there after that look is lost",
				be->config.bucket, be->config.endpoint,
				(unsigned long long)be->config.atomic_bytes >> 20);
	}
	return known > 0;
}

void vidas_s3_describe(struct vidas_backend *be,
		       void (*say)(void *arg, const char *what, const char *how), void *arg)
{
	static const char *const auths[] = {
		[S3_AUTH_NONE] = "none", [S3_AUTH_V2] = "version 2 (HMAC-SHA1)", [S3_AUTH_V4] = "version 4"
	};
	int64_t skew = atomic_load_explicit(&be->skew_s, memory_order_relaxed), due;
	char text[192];

	say(arg, "signatures", auths[be->config.auth]);
	if (be->conditions == S3_NO_CONDITIONS) {
		say(arg, "If-Match on PUT",
		    "not obeyed, or could not be asked: looked just before instead");
	} else if (vidas_s3_parts_conditional(be)) {
		say(arg, "If-Match on PUT", "obeyed, of uploads in parts too");
	} else {
		snprintf(text, sizeof(text),
			 "obeyed, but not of uploads in parts: over %llu MiB (atomic=) looked just "
			 "before instead",
			 (unsigned long long)be->config.atomic_bytes >> 20);
		say(arg, "If-Match on PUT", text);
	}
	say(arg, "ETags",
	    be->etag_is_md5 ? "MD5: what is put and fetched in one request is compared with it" :
			      "no MD5: nothing is compared with them");
	say(arg, "checksums",
	    be->sums ?
		    "SHA-256 with what is put; what is fetched in one request is compared with it" :
	    be->config.sums ? "the server knows none, or could not be asked" :
			      "none (checksum=no)");
	if (skew) {
		snprintf(text, sizeof(text), "the server's is %lld s %s ours: signed by its time",
			 (long long)(skew < 0 ? -skew : skew), skew < 0 ? "behind" : "ahead of");
		say(arg, "clock", text);
	}
	due = be->config.auth == S3_AUTH_NONE ? -1 : vidas_s3_cred_due(be->cred);
	if (due >= 0) {
		snprintf(text, sizeof(text), "fetched anew in %lld s", (long long)due);
		say(arg, "credentials", text);
	}
}
