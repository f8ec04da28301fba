/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vidas-presets: release asan
 *
 * Backends that are shared objects: mem built as one runs the whole suite; bad ones are refused,
 * each with one line that says why.
 */
#include "lib/suite.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/base/base.h"
#include "unit.h"

static char modules[PATH_MAX + 16];

static int open_one(const char *url)
{
	struct vidas_store *s = NULL;
	int err = vidas_store_open(url, NULL, &s);

	vidas_store_close(s);
	return err;
}

static void refused(const char *url, int want, const char *words)
{
	CU_ASSERT_EQUAL(open_one(url), want);
	if (!strstr(vidas_fail_text(), words))
		printf("\n    said: %s", vidas_fail_text());
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), words));
	CU_ASSERT_PTR_NULL(strchr(vidas_fail_text(), '\n'));
}

static void test_bad_modules(void)
{
	refused("badversion://x", -EPROTO, "API version 2, this vidas has 1");
	refused("badsize://x", -EPROTO, "struct_size of 16");
	refused("badname://x", -EPROTO, "named 'other', not 'badname'");
	refused("badcall://x", -EPROTO, "lacks a required call");
	refused("badcaps://x", -EPROTO, "caps 0x2");
	refused("badentry://x", -ELIBACC, "vidas_backend_entry");
}

static void test_none(void)
{
	refused("nothing://x", -ENOENT, "no backend for 'nothing://'");
	refused("nothing://x", -ENOENT, "file, mem, ");
	refused("nothing://x", -ENOENT, "plugmem");
	refused("../etc://x", -EINVAL, "scheme");
	refused(".x://x", -EINVAL, "scheme");
	refused("://x", -EINVAL, "root URL");
	refused("file", -EINVAL, "root URL");
	refused("", -EINVAL, "root URL");
	refused("averyveryveryveryverylongschemeindeed://x", -EINVAL, "root URL");
}

static int find_each(void *arg, const struct vidas_backend_ops *ops, const char *file)
{
	char *found = arg;

	CU_ASSERT_PTR_NOT_NULL(ops->summary);
	CU_ASSERT_EQUAL(file == NULL, !strcmp(ops->name, "file") || !strcmp(ops->name, "mem"));
	strcat(strcat(found, ops->name), " ");
	return 0;
}

static void test_each(void)
{
	char found[512] = " ";

	CU_ASSERT_EQUAL(vidas_store_each(find_each, found), 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(found, " file "));
	CU_ASSERT_PTR_NOT_NULL(strstr(found, " mem "));
	CU_ASSERT_PTR_NOT_NULL(strstr(found, " plugmem "));
	CU_ASSERT_PTR_NULL(strstr(found, "badversion"));
	CU_ASSERT_PTR_NULL(strstr(found, "other"));
}

static void copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	struct stat st;

	CU_ASSERT_FATAL(in >= 0 && out >= 0 && fstat(in, &st) == 0);
	for (off_t at = 0; at < st.st_size;)
		if (sendfile(out, in, &at, (size_t)(st.st_size - at)) <= 0)
			CU_FAIL_FATAL("copy");
	close(in);
	close(out);
}

static void test_modes_checked(void)
{
	char from[PATH_MAX + 64], dir[] = "modules-XXXXXX", to[64];

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	snprintf(from, sizeof(from), "%s/vidas-backend-plugmem.so", modules);
	snprintf(to, sizeof(to), "%s/vidas-backend-plugmem.so", dir);
	copy(from, to);
	setenv("VIDAS_BACKEND_DIR", dir, 1);
	CU_ASSERT_EQUAL(open_one("plugmem://modes"), 0);
	CU_ASSERT_EQUAL(chmod(to, 0777), 0);
	refused("plugmem://modes", -EPERM, "chmod o-w");
	if (geteuid() == 0) {
		CU_ASSERT_EQUAL(chmod(to, 0755), 0);
		CU_ASSERT_EQUAL(chown(to, 12345, 12345), 0);
		refused("plugmem://modes", -EPERM, "chown it to root");
	}
	unlink(to);
	refused("plugmem://modes", -ENOENT, "no backend for 'plugmem://'");
	rmdir(dir);
	setenv("VIDAS_BACKEND_DIR", modules, 1);
}

static int unit_main(void)
{
	static const struct unit_case cases[] = { { "bad modules", test_bad_modules },
						  { "none", test_none },
						  { "each", test_each },
						  { "modes checked", test_modes_checked } };

	return unit_run("plugin", cases, VIDAS_ARRAY_SIZE(cases));
}

int main(void)
{
	ssize_t size = readlink("/proc/self/exe", modules, PATH_MAX - 1);
	char *slash;

	if (size < 0)
		return 1;
	modules[size] = '\0';
	slash = strrchr(modules, '/');
	strcpy(slash, "/modules");
	setenv("VIDAS_BACKEND_DIR", modules, 1);
	vidas_log_init("plugin", VIDAS_LOG_ERR); /* not the warnings about the bad ones */
	return unit_main() || suite_run("plugmem://suite", NULL) ||
	       suite_run("plugmem://faulty", "retry=tries:12+first:1ms,fault=rate:5%");
}
