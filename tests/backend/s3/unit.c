/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What of s3:// needs no server but imds.py: names, URLs, answers, credentials. For s3_net.sh. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/s3/s3.h"
#include "unit.h"

static char said[512];

static void on_error(void *host, const char *text)
{
	(void)host;
	snprintf(said, sizeof(said), "%s", text);
}

static const struct vidas_backend_host host = { .struct_size = sizeof(host), .error = on_error };

static void test_names(void)
{
	static const char *const keys[] = {
		"plain",	"a/b c+d%", "\xff\xfe",	    "\xe2\x80\x9b", "\xe2\x80\x9b\x46\x46",
		"\xed\xa0\x80", "\xc0\x80", "\xef\xbf\xbf", "\x01\n\x7f",   "\xf0\x9f\x90\xa7"
	};
	char escaped[256], back[256], encoded[800];

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		CU_ASSERT_EQUAL(vidas_s3_name_escape(keys[i], escaped, sizeof(escaped)), 0);
		CU_ASSERT_EQUAL(vidas_s3_name_unescape(escaped, back, sizeof(back)), 0);
		CU_ASSERT_STRING_EQUAL(back, keys[i]);
	}
	CU_ASSERT_EQUAL(vidas_s3_name_escape("\xff", escaped, sizeof(escaped)), 0);
	CU_ASSERT_STRING_EQUAL(escaped, "\xe2\x80\x9b\x46\x46");
	CU_ASSERT_EQUAL(vidas_s3_percent_encode("a/b +%\xc3", true, encoded, sizeof(encoded)), 15);
	CU_ASSERT_STRING_EQUAL(encoded, "a/b%20%2B%25%C3");
	CU_ASSERT_EQUAL(vidas_s3_percent_encode("a/b", false, encoded, sizeof(encoded)), 5);
	CU_ASSERT_EQUAL(vidas_s3_percent_encode("abcdef", true, encoded, 6), -EINVAL);
	strcpy(encoded, "a+b%2Bc%C3%A4");
	CU_ASSERT_EQUAL(vidas_s3_percent_decode(encoded), 0);
	CU_ASSERT_STRING_EQUAL(encoded, "a b+c\xc3\xa4");
	strcpy(encoded, "%00");
	CU_ASSERT_EQUAL(vidas_s3_percent_decode(encoded), -EINVAL);
}

static void test_urls(void)
{
	static const struct {
		const char *url, *words;
	} bad[] = {
		{ "s3://key:secret@bucket/x", "credentials" },
		{ "s3://b/x", "bucket" },
		{ "s3://bucket/a/../x", "between slashes" },
		{ "s3://bucket/x?colour=red", "no parameter 'colour'; there are endpoint" },
		{ "s3://bucket/x?list=3", "neither 1 nor 2" },
		{ "s3://bucket/x?part=4", "number from 5" },
		{ "s3://bucket/x?style=other", "neither path nor virtual" },
		{ "s3://bucket/x?endpoint=ftp://h/x", "HOST" },
		{ "s3://bucket/x?auth=v3", "neither v4, v2 nor none" },
		{ "s3://bucket/x?part=64&single=32", "larger than single" },
	};
	struct s3_config c;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		said[0] = '\0';
		CU_ASSERT_EQUAL(vidas_s3_config_parse(&host, bad[i].url, &c), -EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(said, bad[i].words));
	}
	CU_ASSERT_EQUAL(vidas_s3_config_parse(&host, "s3://bucket//a/b/?region=x&part=16", &c), 0);
	CU_ASSERT_STRING_EQUAL(c.prefix, "a/b/");
	CU_ASSERT_STRING_EQUAL(c.endpoint, "https://s3.x.amazonaws.com");
	CU_ASSERT_EQUAL(c.path_style, false);
	CU_ASSERT_EQUAL(c.part_bytes, 16 << 20);
	vidas_s3_config_clear(&c);
	CU_ASSERT_EQUAL(vidas_s3_config_parse(&host, "s3://bucket?endpoint=http://h:9/", &c), 0);
	CU_ASSERT_STRING_EQUAL(c.prefix, "");
	CU_ASSERT_STRING_EQUAL(c.endpoint, "http://h:9");
	CU_ASSERT_EQUAL(c.path_style, true);
	vidas_s3_config_clear(&c);
}

static int parse(const char *text, struct s3_answer *a)
{
	return vidas_s3_xml_parse(text, strlen(text), a);
}

static void test_answers(void)
{
	char control[] = "<L><Prefix>&#x01;\x02</Prefix></L>";
	struct s3_answer a;

	CU_ASSERT_EQUAL(parse("<L><IsTruncated>true</IsTruncated><NextContinuationToken>t"
			      "</NextContinuationToken><Contents><Key>k</Key><Size>7</Size>"
			      "<ETag>\"e\"</ETag></Contents><CommonPrefixes><Prefix>d/</Prefix>"
			      "</CommonPrefixes><Contents><Size>1</Size></Contents></L>",
			      &a),
			0);
	CU_ASSERT_EQUAL(a.entries, 2);
	CU_ASSERT_STRING_EQUAL(a.entry[0].name, "k");
	CU_ASSERT_EQUAL(a.entry[0].size, 7);
	CU_ASSERT_EQUAL(a.entry[1].prefix, true);
	CU_ASSERT_EQUAL(a.truncated, true);
	CU_ASSERT_STRING_EQUAL(a.next, "t");
	vidas_s3_answer_clear(&a);
	CU_ASSERT_EQUAL(parse("<!DOCTYPE x><x/>", &a), -EBADMSG);
	vidas_s3_answer_clear(&a);
	CU_ASSERT_EQUAL(parse("<x><y></x>", &a), -EBADMSG);
	vidas_s3_answer_clear(&a);
	CU_ASSERT_EQUAL(parse("", &a), -EBADMSG);
	vidas_s3_answer_clear(&a);
	CU_ASSERT_EQUAL(vidas_s3_xml_cleanse(control), true);
	CU_ASSERT_EQUAL(parse(control, &a), 0);
	vidas_s3_answer_clear(&a);
}

static void file_write(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");

	if (!f)
		abort();
	fputs(text, f);
	fclose(f);
	chmod(path, mode);
}

static void test_files(void)
{
	const char *tmp = getenv("VIDAS_TMP");
	char path[4096], why[256] = "";
	struct s3_key key = { 0 };

	snprintf(path, sizeof(path), "%s/keys", tmp ? tmp : ".");
	file_write(path,
		   "# comment\n[other]\naws_access_key_id=no\n[profile mine]\n"
		   "aws_access_key_id = id\naws_secret_access_key=s3cr=et/+\ns3 =\n"
		   "  aws_access_key_id = nested\naws_session_token=tok\n[last]\nx=y\n",
		   0600);
	CU_ASSERT_EQUAL(vidas_s3_cred_file(path, "mine", true, &key, why), 0);
	CU_ASSERT_STRING_EQUAL(key.id, "id");
	CU_ASSERT_STRING_EQUAL(key.secret, "s3cr=et/+");
	CU_ASSERT_STRING_EQUAL(key.token, "tok");
	memset(&key, 0, sizeof(key));
	CU_ASSERT_EQUAL(vidas_s3_cred_file(path, "other", true, &key, why), -EACCES);
	CU_ASSERT_EQUAL(vidas_s3_cred_file(path, "other", false, &key, why), -ENOENT);
	chmod(path, 0640);
	CU_ASSERT_EQUAL(vidas_s3_cred_file(path, "mine", true, &key, why), -EPERM);
	CU_ASSERT_PTR_NOT_NULL(strstr(why, "chmod 600"));
	CU_ASSERT_PTR_NULL(strstr(why, "s3cr"));
	unlink(path);
	CU_ASSERT_EQUAL(vidas_s3_cred_file(path, "mine", true, &key, why), -EACCES);
	CU_ASSERT_EQUAL(vidas_s3_cred_file(path, "mine", false, &key, why), -ENOENT);
}

/* Keys of the metadata service are good for 301 s, and due 300 s before their end. */
static void test_metadata(void)
{
	struct s3_cred_source source = { 0 };
	struct s3_cred *c;
	struct s3_key key;
	char why[256] = "", first[256];

	if (!getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"))
		return;
	CU_ASSERT_EQUAL_FATAL(vidas_s3_cred_open(&host, &source, &c), 0);
	CU_ASSERT_EQUAL(vidas_s3_cred_due(c), -1);
	CU_ASSERT_EQUAL(vidas_s3_cred_get(c, &key, why), 0);
	CU_ASSERT_EQUAL(strncmp(key.id, "ImdsKey", 7), 0);
	CU_ASSERT_EQUAL(strlen(key.token), 1514);
	CU_ASSERT_TRUE(vidas_s3_cred_due(c) >= 1);
	strcpy(first, key.id);
	vidas_s3_cred_expire(c, "another");
	CU_ASSERT_EQUAL(vidas_s3_cred_get(c, &key, why), 0);
	sleep(3);
	CU_ASSERT_EQUAL(vidas_s3_cred_get(c, &key, why), 0);
	CU_ASSERT_STRING_NOT_EQUAL(first, key.id);
	strcpy(first, key.id);
	vidas_s3_cred_expire(c, first);
	CU_ASSERT_EQUAL(vidas_s3_cred_get(c, &key, why), 0);
	CU_ASSERT_STRING_NOT_EQUAL(first, key.id);
	vidas_s3_cred_close(c);
}

static void test_versions(void)
{
	struct vidas_backend_version v;
	char text[64];

	vidas_s3_version_set(&v, "\"abc-1\"");
	CU_ASSERT_EQUAL(v.size, 5);
	vidas_s3_version_text(&v, text);
	CU_ASSERT_STRING_EQUAL(text, "abc-1");
	vidas_s3_version_set(
		&v, "\"0123456789012345678901234567890123456789012345678901234567890123\"");
	CU_ASSERT_EQUAL(v.size, 0);
	v = (struct vidas_backend_version){ .size = 3, .bytes = "a\r\n" };
	vidas_s3_version_text(&v, text);
	CU_ASSERT_STRING_EQUAL(text, "a??");
	CU_ASSERT_EQUAL(vidas_s3_time_parse("2026-11-20T00:00:01.5Z"), 1795132801);
	CU_ASSERT_EQUAL(vidas_s3_time_parse("tomorrow"), 0);
}

UNIT_MAIN("s3", { "names", test_names }, { "urls", test_urls }, { "answers", test_answers },
	  { "credential-files", test_files }, { "metadata-service", test_metadata },
	  { "versions", test_versions })
