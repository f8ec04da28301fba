/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/s3/s3.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char QUOTE[] = "\xe2\x80\x9b"; /* U+201B */
#define QUOTE_BYTES 3u

/* The length of the well-formed UTF-8 sequence at `s`, or 0: no overlong forms, no surrogates. */
static size_t utf8_bytes(const unsigned char *s)
{
	static const struct {
		unsigned char first_low, first_high, second_low, second_high, bytes;
	} form[] = {
		{ 0x01, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < sizeof(form) / sizeof(form[0]); i++) {
		if (s[0] < form[i].first_low || s[0] > form[i].first_high)
			continue;
		if (form[i].bytes > 1 && (s[1] < form[i].second_low || s[1] > form[i].second_high))
			return 0;
		for (size_t n = 2; n < form[i].bytes; n++)
			if ((s[n] & 0xc0) != 0x80)
				return 0;
		return form[i].bytes;
	}
	return 0;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* U+FFFE and U+FFFF are UTF-8, but XML cannot have them and servers refuse them. */
static bool noncharacter(const unsigned char *s)
{
	return s[0] == 0xef && s[1] == 0xbf && s[2] >= 0xbe;
}

int vidas_s3_name_escape(const char *key, char *out, size_t size)
{
	const unsigned char *s = (const unsigned char *)key;
	size_t used = 0, n;

	while (*s) {
		if (used + 2 * QUOTE_BYTES >= size)
			return -EINVAL;
		n = utf8_bytes(s);
		if (!n || noncharacter(s)) {
			used += (size_t)sprintf(out + used, "%s%02X", QUOTE, *s);
			s++;
			continue;
		}
		if (n == QUOTE_BYTES && memcmp(s, QUOTE, n) == 0) {
			memcpy(out + used, QUOTE, n);
			used += n;
		}
		memcpy(out + used, s, n);
		used += n;
		s += n;
	}
	out[used] = '\0';
	return 0;
}

int vidas_s3_name_unescape(const char *name, char *out, size_t size)
{
	size_t used = 0;

	while (*name) {
		if (used + 1 >= size)
			return -EINVAL;
		if (strncmp(name, QUOTE, QUOTE_BYTES) == 0) {
			const char *after = name + QUOTE_BYTES;

			if (strncmp(after, QUOTE, QUOTE_BYTES) == 0) {
				if (used + QUOTE_BYTES >= size)
					return -EINVAL;
				memcpy(out + used, QUOTE, QUOTE_BYTES);
				used += QUOTE_BYTES;
				name = after + QUOTE_BYTES;
				continue;
			}
			if (hex(after[0]) >= 0 && hex(after[1]) >= 0) {
				out[used++] = (char)(hex(after[0]) << 4 | hex(after[1]));
				if (!out[used - 1])
					return -EINVAL;
				name = after + 2;
				continue;
			}
		}
		out[used++] = *name++;
	}
	out[used] = '\0';
	return 0;
}

static bool literal(char c, bool path)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.' || c == '~' || (path && c == '/');
}

int vidas_s3_percent_encode(const char *text, bool path, char *out, size_t size)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t used = 0;

	for (; *text; text++) {
		if (used + 4 > size)
			return -EINVAL;
		if (literal(*text, path)) {
			out[used++] = *text;
			continue;
		}
		out[used++] = '%';
		out[used++] = digits[(unsigned char)*text >> 4];
		out[used++] = digits[(unsigned char)*text & 15];
	}
	out[used] = '\0';
	return (int)used;
}

int vidas_s3_percent_decode(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (*from == '%') {
			if (hex(from[1]) < 0 || hex(from[2]) < 0)
				return -EINVAL;
			*to = (char)(hex(from[1]) << 4 | hex(from[2]));
			if (!*to)
				return -EINVAL;
			from += 3;
		} else {
			*to = *from == '+' ? ' ' : *from;
			from++;
		}
	}
	*to = '\0';
	return 0;
}
