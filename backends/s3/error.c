/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What went wrong, as errno and in words. */
#include "backends/s3/s3.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* S3's codes that the HTTP status does not tell apart, and advice. */
static const struct {
	const char *code;
	int err;
	const char *advice;
} codes[] = {
	/* Not -ENOENT: that would say that a file is gone. */
	{ "NoSuchBucket", -EACCES, "there is no such bucket; make it, or correct the URL" },
	{ "NoSuchUpload", -ESTALE, NULL },
	{ "InvalidAccessKeyId", -EACCES, "the server does not know this access key" },
	{ "SignatureDoesNotMatch", -EACCES,
	  "the secret key is wrong (or a proxy changes requests)" },
	{ "AuthorizationHeaderMalformed", -EACCES, "wrong region" },
	{ "IllegalLocationConstraintException", -EACCES, "wrong region" },
	{ "PermanentRedirect", -EACCES, "wrong endpoint or region" },
	{ "TemporaryRedirect", -EAGAIN, NULL },
	{ "RequestTimeTooSkewed", -EACCES, "the clocks of server and host differ too much" },
	{ "ExpiredToken", -EACCES, "the credentials have expired" },
	{ "TokenRefreshRequired", -EACCES, "the credentials have expired" },
	{ "InvalidToken", -EACCES, "the session token is not valid" },
	{ "AccessDenied", -EACCES, "access denied: the key may not do this" },
	{ "QuotaExceeded", -EDQUOT, NULL },
	{ "TooManyBuckets", -EDQUOT, NULL },
	{ "EntityTooLarge", -EFBIG, NULL },
	{ "EntityTooSmall", -EINVAL, NULL },
	{ "KeyTooLongError", -EINVAL, "the name is too long for the server" },
	{ "InvalidURI", -EINVAL, "the server cannot have such a name" },
	{ "InvalidDigest", -EIO, NULL },
	{ "BadDigest", -EIO, "the bytes were damaged on their way" },
	{ "XAmzContentSHA256Mismatch", -EIO, "the bytes were damaged on their way" },
	{ "XAmzContentChecksumMismatch", -EIO, "the bytes were damaged on their way" },
	{ "IncompleteBody", -ECONNRESET, NULL },
	{ "RequestTimeout", -ETIMEDOUT, NULL },
	{ "OperationAborted", -EAGAIN, NULL },
	{ "ConditionalRequestConflict", -EAGAIN, NULL },
	{ "SlowDown", -EAGAIN, NULL },
	{ "ServiceUnavailable", -EAGAIN, NULL },
	{ "InternalError", -EIO, NULL },
	{ "NotImplemented", -EOPNOTSUPP, NULL },
};

static int status_error(long http)
{
	switch (http) {
	case 301:
	case 307:
	case 308:
	case 401:
	case 403:
	case 407:
		return -EACCES;
	case 404:
		return -ENOENT;
	case 405:
	case 501:
		return -EOPNOTSUPP;
	case 408:
		return -ETIMEDOUT;
	case 409:
	case 429:
	case 503:
		return -EAGAIN;
	case 412:
		return -ESTALE;
	case 413:
		return -EFBIG;
	case 416:
		return -ERANGE;
	case 507:
		return -ENOSPC;
	default:
		return http >= 500 ? -EIO : -EINVAL;
	}
}

static int transfer_error(CURLcode code)
{
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_COULDNT_CONNECT:
		return -ENOTCONN;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_SEND_FAIL_REWIND:
		return -ECONNRESET;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_ISSUER_ERROR:
		return -EACCES;
	case CURLE_ABORTED_BY_CALLBACK:
		return -ECANCELED;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

int vidas_s3_error(const struct s3_request *r)
{
	const struct s3_reply *reply = &r->reply;

	/* A refusal may come before all was sent: its status says more than the broken transfer. */
	if (reply->http >= 300) {
		for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
			if (strcmp(codes[i].code, reply->code) == 0)
				return codes[i].err;
		return status_error(reply->http);
	}
	if (reply->curl != CURLE_OK)
		return transfer_error(reply->curl);
	return reply->http >= 200 ? 0 : -EIO;
}

static const char *advice(const struct s3_reply *reply)
{
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(codes[i].code, reply->code) == 0)
			return codes[i].advice;
	if (reply->http == 301 || reply->http == 307)
		return "wrong endpoint or region";
	if (reply->http == 401 || reply->http == 403)
		return "access denied";
	return NULL;
}

static const char *transfer_words(const struct s3_request *r)
{
	switch (r->reply.curl) {
	case CURLE_COULDNT_RESOLVE_HOST:
		return "the server's name is not known";
	case CURLE_COULDNT_CONNECT:
		return "no connection to the server";
	case CURLE_OPERATION_TIMEDOUT:
		return "the server did not answer in time";
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
		return "the server's certificate is not trusted (cafile= names a CA)";
	case CURLE_ABORTED_BY_CALLBACK:
		return "called off";
	default:
		return curl_easy_strerror(r->reply.curl);
	}
}

int vidas_s3_say(const struct s3_request *r)
{
	const struct s3_reply *reply = &r->reply;
	const struct s3_config *c = &r->be->config;
	const char *words = reply->http >= 300 ? advice(reply) : NULL;
	/* A proxy's refusal is no S3 error; libcurl tells it from the server's. */
	const char *proxy = !reply->code[0] && reply->curl != CURLE_OK ? reply->curl_words : "";
	char where[128] = "";

	if (reply->region[0] && strcmp(reply->region, c->region) != 0)
		snprintf(where, sizeof(where), "; the bucket is in region=%s, not %s",
			 reply->region, c->region);
	if (reply->http >= 300)
		return vidas_backend_error(r->be->host, r->err,
					   "s3://%s/%.200s: %s%s%s%s%s%s (HTTP %ld)%s", c->bucket,
					   r->name, words ? words : "",
					   words && reply->code[0] ? ": " : "", reply->code,
					   reply->message[0] ? ": " : "", reply->message, proxy,
					   reply->http, where);
	if (reply->curl != CURLE_OK)
		return vidas_backend_error(r->be->host, r->err, "s3://%s/%.200s at %s: %s%s%s%s",
					   c->bucket, r->name, c->endpoint, transfer_words(r),
					   reply->curl_words[0] ? " (" : "", reply->curl_words,
					   reply->curl_words[0] ? ")" : "");
	return vidas_backend_error(r->be->host, r->err, "s3://%s/%.200s: %s", c->bucket, r->name,
				   strerrordesc_np(-r->err));
}
