/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes as a message: decode neither reads beyond them nor accepts what encode would not make.
 * Seeds are in corpus/fuzz_wire/; tests/unit/wire writes them anew, see there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pool/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void decode_one(const void *buf, size_t size)
{
	static _Alignas(8) uint8_t again[VIDAS_WIRE_MAX];
	const char *reason = NULL;
	struct vidas_wire_message m;
	int err = vidas_wire_decode(buf, size, &m, &reason);

	if (err == -EBADMSG) {
		must(reason && reason[0]);
		return;
	}
	if (err == -EOPNOTSUPP) {
		must(!m.type);
		return;
	}
	must(err == 0 && strcmp(vidas_wire_name(m.type), "unknown"));
	for (unsigned i = 0; i < VIDAS_WIRE_STRINGS; i++)
		must(strlen(m.string[i]) == m.string_bytes[i]);
	if (m.type == VIDAS_WIRE_HELLO && !m.reply &&
	    ((const struct vidas_wire_hello *)m.body)->major != VIDAS_WIRE_MAJOR)
		return;
	must(vidas_wire_encode(again, &m) == (int)size && !memcmp(again, buf, size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Exactly as large as the message, so that one byte beyond it is noticed. */
	uint8_t *buf = malloc(size ? size : 1);
	uint32_t says = (uint32_t)size;

	must(buf != NULL);
	if (size)
		memcpy(buf, data, size);
	decode_one(buf, size);
	if (size >= sizeof(says)) {
		memcpy(buf, &says, sizeof(says));
		decode_one(buf, size);
	}
	free(buf);
	return 0;
}
