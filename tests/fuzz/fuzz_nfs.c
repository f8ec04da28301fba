/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What nfs:// reads by itself: attributes as an NFSv4 server packs them (the rest of an answer is libnfs's), names
 * of its directories, and root URLs. The first byte says which.
 * vidas-needs: nfs
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/nfs/v4.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void no_log(void *host, int level, const char *text)
{
	(void)host;
	(void)level;
	(void)text;
}

static void no_words(void *host, const char *text)
{
	(void)host;
	must(strlen(text) < 1024);
}

/* Masks of up to four words, then the packed values. */
static void attributes(const uint8_t *data, size_t size)
{
	uint32_t mask[4] = { 0 };
	size_t words = size ? data[0] % 5u : 0, used = 1 + words * sizeof(mask[0]);
	struct vidas_nfs_attr attr;
	uint64_t read_max, write_max;
	bool known = false;
	char *packed;
	fattr4 from;
	int err;

	if (size < used)
		return;
	memcpy(mask, data + 1, words * sizeof(mask[0]));
	packed = malloc(size - used + 1);
	must(packed != NULL);
	memcpy(packed, data + used, size - used);
	from = (fattr4){ .attrmask = { .bitmap4_len = (unsigned)words, .bitmap4_val = mask },
			 .attr_vals = { .attrlist4_len = (unsigned)(size - used),
					.attrlist4_val = packed } };
	err = vidas_nfs4_attr(&from, &attr, &known);
	must(err == 0 || err == -EPROTO);
	if (!err) {
		must(attr.mtime.tv_nsec >= 0 && attr.mtime.tv_nsec < 1000000000);
		must(attr.mode <= 07777);
	}
	err = vidas_nfs4_limits(&from, &read_max, &write_max);
	must(err == 0 || err == -EPROTO);
	free(packed);
}

/* A name of any bytes is taken as a file could have it, or not at all. */
static void name(const uint8_t *data, size_t size)
{
	struct vidas_nfs_entries entries = { 0 };
	char *text = malloc(size + 1);

	must(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0'; /* not needed; but ASan's strndup() wants it */
	if (vidas_nfs_entries_add(&entries, text, size, NULL) == 0 && entries.count) {
		const char *kept = entries.entry[0].name;

		must(*kept && !strchr(kept, '/') && strlen(kept) == size);
		must(strcmp(kept, ".") != 0 && strcmp(kept, "..") != 0);
	}
	vidas_nfs_entries_clear(&entries);
	free(text);
}

static void url(const uint8_t *data, size_t size)
{
	static const struct vidas_backend_host host = { .struct_size = sizeof(host),
							.log = no_log,
							.error = no_words };
	struct vidas_backend *be;
	char *text = malloc(size + 1);
	uint32_t caps;
	int err;

	must(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	err = vidas_nfs_ops.open(&host, text, &be, &caps);
	must(err == 0 || err == -EINVAL || err == -ENOMEM);
	if (!err)
		vidas_nfs_ops.close(be);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(const uint8_t *, size_t) = { attributes, name, url };

	if (size)
		readers[data[0] % 3](data + 1, size - 1);
	return 0;
}
