/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/base/base.h"

#include <stdlib.h>
#include <string.h>

#define COMPONENT_MAX  255
#define PATH_BYTES_MAX 4095

static bool component_ok(const char *name, size_t bytes)
{
	if (bytes == 0 || bytes > COMPONENT_MAX)
		return false;
	return !(name[0] == '.' && (bytes == 1 || (bytes == 2 && name[1] == '.')));
}

bool vidas_name_ok(const char *name, size_t bytes)
{
	if (!component_ok(name, bytes))
		return false;
	for (size_t i = 0; i < bytes; i++)
		if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || name[i] == '/')
			return false;
	return true;
}

bool vidas_path_ok(const char *path, size_t bytes)
{
	const char *end = path + bytes;

	if (bytes == 0)
		return true;
	if (bytes > PATH_BYTES_MAX || memchr(path, '\0', bytes))
		return false;
	for (;;) {
		const char *slash = memchr(path, '/', (size_t)(end - path));

		if (!component_ok(path, (size_t)((slash ? slash : end) - path)))
			return false;
		if (!slash)
			return true;
		path = slash + 1;
	}
}

int vidas_number(const char *text, uint32_t max, uint32_t *out)
{
	unsigned long n;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || *end || n > max)
		return -EINVAL;
	*out = (uint32_t)n;
	return 0;
}
