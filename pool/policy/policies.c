/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Durations, ranges, and policies on the way down a tree. */
#include "pool/policy/attr.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "pool/base/base.h"

int vidas_range_parse(const char *text, uint64_t *offset, uint64_t *size)
{
	char *end = NULL;

	*offset = *size = 0;
	if (strcmp(text, "1") == 0)
		return 0;
	errno = 0;
	if (isdigit((unsigned char)*text))
		*offset = strtoull(text, &end, 10);
	if (end && *end == '+' && isdigit((unsigned char)end[1])) {
		*size = strtoull(end + 1, &end, 10);
		if (!errno && !*end && *size && *offset <= INT64_MAX &&
		    *size <= INT64_MAX - *offset)
			return 0;
	}
	return vidas_fail(-EINVAL, "prefetch takes 1, or OFFSET+LENGTH in bytes");
}

int vidas_duration_parse(const char *text, int64_t *us)
{
	static const struct {
		const char *name;
		int64_t us;
	} units[] = {
		{ "ms", 1000 },
		{ "s", INT64_C(1000000) },
		{ "m", INT64_C(60) * 1000000 },
		{ "h", INT64_C(3600) * 1000000 },
	};
	size_t digits = strspn(text, "0123456789");
	int64_t n = digits && digits < 10 ? strtoll(text, NULL, 10) : -1;

	for (size_t i = 0; n >= 0 && i < VIDAS_ARRAY_SIZE(units); i++) {
		if (strcmp(text + digits, units[i].name) != 0)
			continue;
		if (n * units[i].us < VIDAS_DURATION_MIN_US ||
		    n * units[i].us > VIDAS_DURATION_MAX_US)
			return vidas_fail(-EINVAL, "a time is from 250ms to 24h");
		*us = n * units[i].us;
		return 0;
	}
	return vidas_fail(-EINVAL, "a time is a whole number with ms, s, m or h, such as 30s");
}

static const struct vidas_attr *policy(const char *name)
{
	const struct vidas_attr *a = vidas_attrs;

	while (a->name && strcmp(a->name, name) != 0)
		a++;
	return a;
}

static void set(struct vidas_policies *p, const char *name, const char *value)
{
	if (strcmp(name, "write_policy") == 0)
		p->write = *value == 't' ? VIDAS_WRITE_THROUGH :
			   *value == 'b' ? VIDAS_WRITE_BACK :
					   VIDAS_WRITE_ASYNC;
	else if (strcmp(name, "update_policy") == 0)
		p->eager = *value == 'e';
	else if (strcmp(name, "write_deadline") == 0)
		(void)vidas_duration_parse(value, &p->write_deadline_us);
	else
		(void)vidas_duration_parse(value, &p->update_interval_us);
}

static const char *const names[] = { "write_policy", "write_deadline", "update_policy",
				     "update_interval" };

void vidas_policies_default(struct vidas_policies *p)
{
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(names); i++)
		set(p, names[i], policy(names[i])->fallback);
}

void vidas_policies_override(struct vidas_policies *p, int fd)
{
	char link[32], list[4096], name[64], value[VIDAS_POLICY_BYTES];
	ssize_t size;
	bool all;

	/* Most things have none: then this is the only call. */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	size = listxattr(link, list, sizeof(list));
	all = size < 0 && errno == ERANGE;
	for (size_t i = 0; (size > 0 || all) && i < VIDAS_ARRAY_SIZE(names); i++) {
		snprintf(name, sizeof(name), VIDAS_XATTR_PREFIX "%s", names[i]);
		if ((all || memmem(list, (size_t)size, name, strlen(name) + 1)) &&
		    vidas_policy_stored(fd, policy(names[i]), value) > 0)
			set(p, names[i], value);
	}
}
