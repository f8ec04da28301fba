/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/policy/attr.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "pool/base/base.h"

static const char *const write_policies[] = { "through", "back", "async", NULL };
static const char *const update_policies[] = { "lazy", "eager", NULL };
static const char *const consistencies[] = { "strict", "relaxed", NULL };
static const char *const booleans[] = { "true", "false", NULL };
static const char *const go[] = { "1", NULL };
static const char *const nothing[] = { NULL };

static int check_duration(const char *text)
{
	int64_t us;

	return vidas_duration_parse(text, &us);
}

static int check_range(const char *text)
{
	uint64_t offset, size;

	return vidas_range_parse(text, &offset, &size);
}

const struct vidas_attr vidas_attrs[] = {
	{ "write_policy", VIDAS_ATTR_POLICY, write_policies, NULL, "async",
	  "through: close and fsync of a written file push it; back: only flush, fsync and unmounting do; "
	  "async: so does vidasd, within write_deadline" },
	{ "write_deadline", VIDAS_ATTR_POLICY, NULL, check_duration, "30s",
	  "how long vidasd may leave a change unpushed under async: a number with ms, s, m or h" },
	{ "update_policy", VIDAS_ATTR_POLICY, update_policies, NULL, "lazy",
	  "lazy: the pool's copy changes only by update; eager: opening a file takes over a newer version, "
	  "and vidasd looks for them every update_interval" },
	{ "update_interval", VIDAS_ATTR_POLICY, NULL, check_duration, "30s",
	  "how often vidasd looks at the store under eager: a number with ms, s, m or h" },
	{ "synchronized", VIDAS_ATTR_POLICY, booleans, NULL, "false",
	  "default for objects made on the file: reads and writes atomic over their range" },
	{ "consistency", VIDAS_ATTR_POLICY, consistencies, NULL, "strict",
	  "strict: what is done in one domain is seen in all at once; relaxed: names and attributes within a time" },
	{ "state", VIDAS_ATTR_INFO, nothing, NULL, NULL,
	  "clean, dirty, absent, fetching, flushing or conflict" },
	{ "locality", VIDAS_ATTR_INFO, nothing, NULL, NULL,
	  "bytes in the pool, objects, and which domains have them" },
	{ "error", VIDAS_ATTR_INFO, nothing, NULL, NULL,
	  "why the last push or fetch of the file failed; empty if it did not" },
	{ "etag", VIDAS_ATTR_INFO, nothing, NULL, NULL,
	  "the version that pool and store last agreed on" },
	{ "container", VIDAS_ATTR_INFO, nothing, NULL, NULL, "the name of the container" },
	{ "name", VIDAS_ATTR_INFO, nothing, NULL, NULL, "the file's URL in the store" },
	{ "offset", VIDAS_ATTR_INFO, nothing, NULL, NULL,
	  "where the file, as an object, begins in its resource: 0" },
	{ "size", VIDAS_ATTR_INFO, nothing, NULL, NULL, "the file's length in bytes" },
	{ "flush", VIDAS_ATTR_ACTION, go, NULL, NULL,
	  "push what changed; returns when it is there" },
	{ "update", VIDAS_ATTR_ACTION, go, NULL, NULL, "take over what the store has" },
	{ "prefetch", VIDAS_ATTR_ACTION, NULL, check_range, NULL,
	  "fetch what is not in the pool yet: 1, or OFFSET+LENGTH of a file" },
	{ "notify", VIDAS_ATTR_MESSAGE, NULL, NULL, NULL,
	  "send a message: whoever polls the file wakes, and one who waits takes it" },
	{ "wait", VIDAS_ATTR_MESSAGE, nothing, NULL, NULL,
	  "take the oldest message, waiting until there is one" },
	{ "domains", VIDAS_ATTR_CONTAINER, NULL, NULL, NULL,
	  "which domains may attach the container: \"2,3:ro\"" },
	{ "root", VIDAS_ATTR_CONTAINER, nothing, NULL, NULL,
	  "the URL of the store behind the container" },
	{ "initiator", VIDAS_ATTR_CONTAINER, nothing, NULL, NULL,
	  "the domain that created the container" },
	{ 0 },
};

const struct vidas_attr *vidas_attr_find(const char *xattr, bool *ours)
{
	bool has_prefix = strncmp(xattr, VIDAS_XATTR_PREFIX, strlen(VIDAS_XATTR_PREFIX)) == 0;
	const char *name = has_prefix ? xattr + strlen(VIDAS_XATTR_PREFIX) : "";

	if (ours)
		*ours = has_prefix;
	if (strcmp(name, "read_policy") == 0)
		name = "update_policy";
	for (const struct vidas_attr *a = vidas_attrs; has_prefix && a->name; a++)
		if (strcmp(a->name, name) == 0)
			return a;
	return NULL;
}

/* The value, as it may stand in a message: it is any bytes of any length. */
static void value_show(const void *value, size_t bytes, char out[static 40])
{
	const unsigned char *v = value;
	size_t n = bytes < 32 ? bytes : 32;

	for (size_t i = 0; i < n; i++)
		out[i] = isprint(v[i]) ? (char)v[i] : '?';
	strcpy(out + n, bytes > n ? "..." : "");
}

int vidas_attr_check(const struct vidas_attr *attr, const void *value, size_t bytes)
{
	char given[40], right[128] = "", text[VIDAS_POLICY_BYTES];
	size_t used = 0;

	if (!attr->values && !attr->check)
		return 0;
	if (attr->check && bytes < sizeof(text) && !memchr(value, 0, bytes)) {
		memcpy(text, value, bytes);
		text[bytes] = '\0';
		return attr->check(text);
	}
	if (attr->check)
		return vidas_fail(-EINVAL, "%s%s cannot be a value of %zu bytes",
				  VIDAS_XATTR_PREFIX, attr->name, bytes);
	if (!attr->values[0])
		return vidas_fail(-EPERM, "%s%s is read-only", VIDAS_XATTR_PREFIX, attr->name);
	for (const char *const *v = attr->values; *v; v++) {
		if (strlen(*v) == bytes && memcmp(*v, value, bytes) == 0)
			return 0;
		if (used < sizeof(right))
			used += (size_t)snprintf(right + used, sizeof(right) - used, "%s%s",
						 used ? ", " : "", *v);
	}
	value_show(value, bytes, given);
	return vidas_fail(-EINVAL, "%s%s cannot be '%s'; it can be: %s", VIDAS_XATTR_PREFIX,
			  attr->name, given, right);
}
