/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * S3's own checksums (x-amz-checksum-sha256), where the server knows them (probe.c): sent with the bytes of a put,
 * so that it refuses what was damaged on the way, and keeps the checksum; compared with what comes of an
 * object in one request. Of a small body, which is copied, it is a header. Else it stands behind
 * the body, as a trailer of aws-chunked, so that the pool's memory is read once: the body is one
 * chunk of that encoding.
 */
#include "backends/s3/s3.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define SHA256_BYTES 32
/* "\r\n0\r\nx-amz-checksum-sha256:" + base64 + "\r\n\r\n" */
#define TAIL_FORMAT  "\r\n0\r\nx-amz-checksum-sha256:%s\r\n\r\n"
#define TAIL_BYTES   (5u + 22u + 44u + 4u)

void vidas_s3_sum_text(const unsigned char *sha256, char text[S3_SUM_BYTES])
{
	EVP_EncodeBlock((unsigned char *)text, sha256, SHA256_BYTES);
}

bool vidas_s3_sum_framed(const struct s3_request *r)
{
	return r->sum && r->method == S3_PUT && r->body_bytes > S3_SIGNED_MAX;
}

static size_t head(const struct s3_request *r, char out[32])
{
	return (size_t)snprintf(out, 32, "%llx\r\n", (unsigned long long)r->body_bytes);
}

uint64_t vidas_s3_sum_wire_bytes(const struct s3_request *r)
{
	char text[32];

	return vidas_s3_sum_framed(r) ? head(r, text) + r->body_bytes + TAIL_BYTES : r->body_bytes;
}

int vidas_s3_sum_headers(struct s3_request *r)
{
	char bytes[32];
	int err;

	if (!vidas_s3_sum_framed(r))
		return 0;
	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)r->body_bytes);
	err = vidas_s3_request_add(r, "Content-Encoding: %s", "aws-chunked");
	if (!err)
		err = vidas_s3_request_add(r, "x-amz-decoded-content-length: %s", bytes);
	return err ? err : vidas_s3_request_add(r, "x-amz-trailer: %s", "x-amz-checksum-sha256");
}

static size_t piece(struct s3_request *r, const char *text, size_t from, size_t bytes, char *buf,
		    size_t size)
{
	size_t left = bytes - (size_t)(r->framed - from);

	size = size < left ? size : left;
	memcpy(buf, text + (r->framed - from), size);
	r->framed += size;
	return size;
}

size_t vidas_s3_sum_frame(struct s3_request *r, char *buf, size_t size)
{
	char front[32], tail[TAIL_BYTES + 1];
	size_t front_bytes = head(r, front);

	if (r->framed < front_bytes)
		return piece(r, front, 0, front_bytes, buf, size);
	if (r->done_bytes < r->body_bytes)
		return 0;
	vidas_s3_hash_sum(r);
	snprintf(tail, sizeof(tail), TAIL_FORMAT, r->sum_text);
	return piece(r, tail, front_bytes, TAIL_BYTES, buf, size);
}

bool vidas_s3_sum_same(const struct s3_request *r)
{
	const struct s3_reply *reply = &r->reply;
	bool whole = !reply->ranged || (reply->from == 0 && reply->received == reply->whole);

	/* One of parts is a checksum of checksums: "...-3". */
	if (!r->sum || !whole || strlen(reply->sum) != S3_SUM_BYTES - 1)
		return true;
	return strcmp(reply->sum, r->sum_text) == 0;
}
