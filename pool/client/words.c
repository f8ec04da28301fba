/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copies word by word, each word once. Acquire loads and release stores, because readers decide by
 * a counter read afterwards whether what they copied held still (image.c): so the copy comes before
 * that look, and a writer's words never before the counter that he advanced last.
 */
#include "pool/client/shm.h"

void vidas_words_in(void *to, const void *shared, size_t size)
{
	const uint64_t *from = shared;
	uint64_t *out = to;

	for (size_t i = 0; i < (size + 7) / 8; i++)
		out[i] = __atomic_load_n(&from[i], __ATOMIC_ACQUIRE);
}

void vidas_words_out(void *shared, const void *from, size_t size)
{
	const uint64_t *in = from;
	uint64_t *out = shared;

	for (size_t i = 0; i < (size + 7) / 8; i++)
		__atomic_store_n(&out[i], in[i], __ATOMIC_RELEASE);
}
