/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is computed of bytes while they pass, of the one copy of them that was sent or came. */
#include "backends/s3/s3.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

int vidas_s3_hash_begin(struct s3_request *r)
{
	if (r->hash) {
		r->md = EVP_MD_CTX_new();
		/* Where policy forbids MD5 nothing is verified by it. */
		if (r->md && EVP_DigestInit_ex(r->md, EVP_md5(), NULL) != 1) {
			EVP_MD_CTX_free(r->md);
			r->md = NULL;
		}
	}
	/* That of a small body is known with its signature. */
	if (r->sum && (r->method != S3_PUT || vidas_s3_sum_framed(r))) {
		r->sum_text[0] = '\0';
		r->framed = 0;
		r->sum_md = EVP_MD_CTX_new();
		if (!r->sum_md || EVP_DigestInit_ex(r->sum_md, EVP_sha256(), NULL) != 1)
			return -ENOMEM;
	}
	r->digested = 0;
	r->xxh = r->digest ? XXH3_createState() : NULL;
	if (r->digest && !r->xxh)
		return -ENOMEM;
	if (r->xxh)
		XXH3_128bits_reset(r->xxh);
	return 0;
}

bool vidas_s3_hash_again(struct s3_request *r)
{
	r->sum_text[0] = '\0';
	r->framed = 0;
	if (r->sum_md && EVP_DigestInit_ex(r->sum_md, EVP_sha256(), NULL) != 1)
		return false;
	r->digested = 0;
	if (r->xxh)
		XXH3_128bits_reset(r->xxh);
	return !r->md || EVP_DigestInit_ex(r->md, EVP_md5(), NULL) == 1;
}

/* The block of the last byte that was fed. The reply is no place to count them: it begins anew with its headers. */
static void block_end(struct s3_request *r)
{
	r->digest[(r->digested - 1) / VIDAS_DIGESTS_BLOCK] = XXH3_128bits_digest(r->xxh);
	XXH3_128bits_reset(r->xxh);
}

/* Never more blocks than there were asked for: on_write() ends what is longer. */
static void blocks_feed(struct s3_request *r, const char *data, size_t size)
{
	while (size) {
		uint64_t room = VIDAS_DIGESTS_BLOCK - r->digested % VIDAS_DIGESTS_BLOCK;
		size_t some = size < room ? size : (size_t)room;

		XXH3_128bits_update(r->xxh, data, some);
		r->digested += some;
		data += some;
		size -= some;
		if (r->digested % VIDAS_DIGESTS_BLOCK == 0)
			block_end(r);
	}
}

void vidas_s3_hash_feed(struct s3_request *r, const char *data, size_t size)
{
	if (r->md)
		EVP_DigestUpdate(r->md, data, size);
	if (r->sum_md)
		EVP_DigestUpdate(r->sum_md, data, size);
	if (r->xxh)
		blocks_feed(r, data, size);
}

void vidas_s3_hash_sum(struct s3_request *r)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (r->sum_md && !r->sum_text[0] && EVP_DigestFinal_ex(r->sum_md, digest, &n) == 1 &&
	    n == 32)
		vidas_s3_sum_text(digest, r->sum_text);
}

void vidas_s3_hash_end(struct s3_request *r)
{
	unsigned n = 0;

	vidas_s3_hash_sum(r);
	EVP_MD_CTX_free(r->sum_md);
	r->sum_md = NULL;

	if (r->md) {
		if (EVP_DigestFinal_ex(r->md, r->reply.md5, &n) != 1)
			memset(r->reply.md5, 0, sizeof(r->reply.md5));
		EVP_MD_CTX_free(r->md);
		r->md = NULL;
	}
	if (r->xxh) {
		if (r->digested % VIDAS_DIGESTS_BLOCK)
			block_end(r);
		r->reply.digests = vidas_digests_blocks(r->be->sent, r->digested);
		XXH3_freeState(r->xxh);
		r->xxh = NULL;
	}
}
