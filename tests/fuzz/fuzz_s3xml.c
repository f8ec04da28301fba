/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes as an S3 server's answer, and as names of objects: what is read is bounded, what is
 * escaped comes back.
 * vidas-needs: s3
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/s3/s3.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void names(const char *text)
{
	char escaped[8 * S3_NAME_BYTES], back[8 * S3_NAME_BYTES], encoded[24 * S3_NAME_BYTES];
	char *copy = strdup(text);

	must(copy != NULL);
	if (vidas_s3_name_escape(text, escaped, sizeof(escaped)) == 0) {
		must(vidas_s3_name_unescape(escaped, back, sizeof(back)) == 0);
		must(strcmp(back, text) == 0);
		must(vidas_s3_percent_encode(escaped, true, encoded, sizeof(encoded)) >= 0);
		must(vidas_s3_percent_decode(encoded) == 0);
		must(strcmp(encoded, escaped) == 0);
	}
	(void)vidas_s3_name_unescape(text, back, sizeof(back));
	(void)vidas_s3_percent_decode(copy);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	struct s3_answer a;
	int err;

	must(text != NULL);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	(void)vidas_s3_xml_cleanse(text);
	err = vidas_s3_xml_parse(text, size, &a);
	must(err == 0 || err == -EBADMSG || err == -ENOMEM);
	for (size_t i = 0; i < a.entries; i++) {
		must(a.entry[i].name && strlen(a.entry[i].name) < 8192);
		(void)vidas_s3_percent_decode(a.entry[i].name);
		names(a.entry[i].name);
	}
	vidas_s3_answer_clear(&a);
	names(text);
	free(text);
	return 0;
}
