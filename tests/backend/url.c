/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vidas-presets: release asan */
#include "backends/url.h"

#include <errno.h>
#include <string.h>

#include "pool/base/base.h"
#include "unit.h"

static struct vidas_url url;
static const char *reason;

static void test_parts(void)
{
	CU_ASSERT_EQUAL_FATAL(
		vidas_url_parse("s3://user:pw@host:80/a%20b/c?x=1&y=%2B+&z", &url, &reason), 0);
	CU_ASSERT_STRING_EQUAL(url.scheme, "s3");
	CU_ASSERT_STRING_EQUAL(url.authority, "user:pw@host:80");
	CU_ASSERT_STRING_EQUAL(url.path, "/a b/c");
	CU_ASSERT_EQUAL(url.params, 3);
	CU_ASSERT_STRING_EQUAL(vidas_url_param(&url, "x"), "1");
	CU_ASSERT_STRING_EQUAL(vidas_url_param(&url, "y"), "++");
	CU_ASSERT_STRING_EQUAL(vidas_url_param(&url, "z"), "");
	CU_ASSERT_PTR_NULL(vidas_url_param(&url, "w"));
}

static void test_empty_parts(void)
{
	CU_ASSERT_EQUAL_FATAL(vidas_url_parse("mem://", &url, &reason), 0);
	CU_ASSERT_STRING_EQUAL(url.authority, "");
	CU_ASSERT_STRING_EQUAL(url.path, "");
	CU_ASSERT_EQUAL_FATAL(vidas_url_parse("x://h?a=b", &url, &reason), 0);
	CU_ASSERT_STRING_EQUAL(url.authority, "h");
	CU_ASSERT_STRING_EQUAL(url.path, "");
	CU_ASSERT_STRING_EQUAL(vidas_url_param(&url, "a"), "b");
	CU_ASSERT_EQUAL_FATAL(vidas_url_parse("file:///p?", &url, &reason), 0);
	CU_ASSERT_EQUAL(url.params, 0);
}

static void test_bad(void)
{
	static const char *const bad[] = { "",
					   "file",
					   "file:/x",
					   "://x",
					   "FILE:///x",
					   "f le:///x",
					   "file:///a%00b",
					   "file:///a%0",
					   "file:///a%zz",
					   "x://h?a=1&a=2",
					   "x://h/?a=%",
					   "../x:///y",
					   "x://?1&2&3&4&5&6&7&8&9&10&11&12&13&14&15&16&17" };
	char text[VIDAS_URL_MAX + 2] = "x://";

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(bad); i++) {
		reason = NULL;
		CU_ASSERT_EQUAL(vidas_url_parse(bad[i], &url, &reason), -EINVAL);
		CU_ASSERT_PTR_NOT_NULL(reason);
	}
	memset(text + 4, 'a', VIDAS_URL_MAX - 4);
	CU_ASSERT_EQUAL(vidas_url_parse(text, &url, &reason), 0);
	strcat(text, "a");
	CU_ASSERT_EQUAL(vidas_url_parse(text, &url, &reason), -EINVAL);
}

static void redacts(const char *from, const char *want)
{
	char out[256];

	vidas_url_redact(from, out, sizeof(out));
	if (strcmp(out, want) != 0)
		printf("\n    %s became %s", from, out);
	CU_ASSERT_STRING_EQUAL(out, want);
}

static void test_redact(void)
{
	char out[8];

	redacts("file:///srv/a@b?create=1", "file:///srv/a@b?create=1");
	redacts("s3://me:pa@ss@host/b@c?r=1", "s3://host/b@c?r=1");
	redacts("s3://host/b?secret_key=abc&region=x&Token=t",
		"s3://host/b?secret_key=***&region=x&Token=***");
	redacts("s3://host?x&password=", "s3://host?x&password=***");
	redacts("not a url", "not a url");
	redacts("?token=a://b@c", "?token=***");
	vidas_url_redact("file:///long/enough", out, sizeof(out));
	CU_ASSERT_STRING_EQUAL(out, "file://");
}

UNIT_MAIN("url", { "parts", test_parts }, { "empty parts", test_empty_parts }, { "bad", test_bad },
	  { "redact", test_redact })
