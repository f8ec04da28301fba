/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pool/base/base.h"
#include "pool/policy/attr.h"

static void test_find(void)
{
	const struct vidas_attr *a;
	bool ours;

	for (a = vidas_attrs; a->name; a++) {
		char full[128];

		snprintf(full, sizeof(full), "%s%s", VIDAS_XATTR_PREFIX, a->name);
		CU_ASSERT_PTR_EQUAL(vidas_attr_find(full, &ours), a);
		CU_ASSERT(ours);
		CU_ASSERT_PTR_NULL(vidas_attr_find(a->name, &ours));
		CU_ASSERT(!ours);
		CU_ASSERT((a->kind == VIDAS_ATTR_POLICY) == (a->fallback != NULL));
		if (a->fallback)
			CU_ASSERT_EQUAL(vidas_attr_check(a, a->fallback, strlen(a->fallback)), 0);
	}
	a = vidas_attr_find("user.vidas.read_policy", NULL);
	CU_ASSERT_PTR_NOT_NULL_FATAL(a);
	CU_ASSERT_STRING_EQUAL(a->name, "update_policy");
	CU_ASSERT_PTR_NULL(vidas_attr_find("user.vidas.", &ours));
	CU_ASSERT(ours);
	CU_ASSERT_PTR_NULL(vidas_attr_find("user.vidas.nonsense", &ours));
	CU_ASSERT(ours);
	CU_ASSERT_PTR_NULL(vidas_attr_find("user.vidas", &ours));
	CU_ASSERT(!ours);
}

static void test_check(void)
{
	const struct vidas_attr *w = vidas_attr_find("user.vidas.write_policy", NULL);
	const struct vidas_attr *flush = vidas_attr_find("user.vidas.flush", NULL);

	CU_ASSERT_PTR_NOT_NULL_FATAL(w);
	CU_ASSERT_PTR_NOT_NULL_FATAL(flush);
	CU_ASSERT_EQUAL(vidas_attr_check(w, "through", 7), 0);
	CU_ASSERT_EQUAL(vidas_attr_check(w, "throug", 6), -EINVAL);
	CU_ASSERT_EQUAL(vidas_attr_check(w, "through", 8), -EINVAL);
	CU_ASSERT_EQUAL(vidas_attr_check(w, "", 0), -EINVAL);
	CU_ASSERT_EQUAL(vidas_attr_check(w, "Back\n\x01 and much more of it than there should be",
					 47),
			-EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "'Back?? and"));
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "through, back, async"));
	CU_ASSERT_EQUAL(vidas_attr_check(flush, "1", 1), 0);
	CU_ASSERT_EQUAL(vidas_attr_check(flush, "0", 1), -EINVAL);
	CU_ASSERT_EQUAL(vidas_attr_check(vidas_attr_find("user.vidas.state", NULL), "clean", 5),
			-EPERM);
	CU_ASSERT_EQUAL(vidas_attr_check(vidas_attr_find("user.vidas.root", NULL), "x", 1), -EPERM);
	CU_ASSERT_EQUAL(vidas_attr_check(vidas_attr_find("user.vidas.domains", NULL), "2,3:ro", 6),
			0);
}

static void test_ranges(void)
{
	static const char *const wrong[] = { "",
					     "0",
					     "2",
					     "+",
					     "5+",
					     "+5",
					     "5+0",
					     "1+-1",
					     "-1+1",
					     "5+5x",
					     " 1",
					     "9223372036854775807+1",
					     "99999999999999999999+1",
					     "1+99999999999999999999",
					     "0x10+1" };
	uint64_t offset = 7, size = 7;

	CU_ASSERT_EQUAL(vidas_range_parse("1", &offset, &size), 0);
	CU_ASSERT(offset == 0 && size == 0);
	CU_ASSERT_EQUAL(vidas_range_parse("4096+1048576", &offset, &size), 0);
	CU_ASSERT(offset == 4096 && size == 1048576);
	CU_ASSERT_EQUAL(vidas_range_parse("0+9223372036854775807", &offset, &size), 0);
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(wrong); i++)
		CU_ASSERT_EQUAL(vidas_range_parse(wrong[i], &offset, &size), -EINVAL);
}

static void test_durations(void)
{
	static const char *const wrong[] = { "",      "30",	     "s",   "-1s",  "1.5s",
					     "249ms", "0s",	     "25h", "30 s", "30S",
					     "30sec", "9999999999h", "1s\n" };
	const struct vidas_attr *a = vidas_attr_find("user.vidas.write_deadline", NULL);
	int64_t us = 0;

	CU_ASSERT_EQUAL(vidas_duration_parse("250ms", &us), 0);
	CU_ASSERT_EQUAL(us, 250000);
	CU_ASSERT_EQUAL(vidas_duration_parse("30s", &us), 0);
	CU_ASSERT_EQUAL(us, 30000000);
	CU_ASSERT_EQUAL(vidas_duration_parse("90m", &us), 0);
	CU_ASSERT_EQUAL(us, INT64_C(5400000000));
	CU_ASSERT_EQUAL(vidas_duration_parse("24h", &us), 0);
	CU_ASSERT_EQUAL(us, VIDAS_DURATION_MAX_US);
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(wrong); i++) {
		CU_ASSERT_EQUAL(vidas_duration_parse(wrong[i], &us), -EINVAL);
		CU_ASSERT_EQUAL(vidas_attr_check(a, wrong[i], strlen(wrong[i])), -EINVAL);
	}
	CU_ASSERT_EQUAL(vidas_attr_check(a, "5s and more\0", 12), -EINVAL);
	CU_ASSERT_EQUAL(vidas_attr_check(a, "5sss", 2), 0);
	CU_ASSERT_EQUAL(vidas_attr_check(a, "5s\0", 3), -EINVAL);
}

static int top;

static void set(const char *path, const char *value)
{
	int fd = openat(top, *path ? path : ".", O_RDONLY | O_CLOEXEC);

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(fsetxattr(fd, "user.vidas.write_policy", value, strlen(value), 0), 0);
	close(fd);
}

static void expect(const char *path, const char *value, bool inherited)
{
	const struct vidas_attr *w = vidas_attr_find("user.vidas.write_policy", NULL);
	char have[32] = "";
	bool other = !inherited;

	CU_ASSERT_EQUAL(vidas_policy_get(top, path, w, have, sizeof(have), &other),
			(ssize_t)strlen(value));
	CU_ASSERT_STRING_EQUAL(have, value);
	CU_ASSERT_EQUAL(other, inherited);
	CU_ASSERT(vidas_policy_is(top, path, "write_policy", value));
	CU_ASSERT(!vidas_policy_is(top, path, "write_policy", "other"));
}

static void test_inherit(void)
{
	const struct vidas_attr *w = vidas_attr_find("user.vidas.write_policy", NULL);
	char dir[] = "vidas-policy-XXXXXX", have[8];
	char command[64];

	CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
	top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CU_ASSERT_FATAL(top >= 0);
	CU_ASSERT_EQUAL(mkdirat(top, "a", 0755), 0);
	CU_ASSERT_EQUAL(mkdirat(top, "a/b", 0755), 0);
	CU_ASSERT_EQUAL(mkdirat(top, "c", 0755), 0);
	CU_ASSERT_EQUAL(mkfifoat(top, "a/pipe", 0644), 0);
	CU_ASSERT_EQUAL(symlinkat("../c", top, "a/link"), 0);
	close(openat(top, "a/b/f", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	expect("a/b/f", "async", true);
	expect("", "async", true);
	set("", "through");
	expect("a/b/f", "through", true);
	expect("", "through", false);
	set("a", "back");
	expect("a/b/f", "back", true);
	expect("a", "back", false);
	expect("a/new", "back", true);
	expect("c/new/deeper", "through", true);
	expect("a/pipe", "back", true);
	set("a/b/f", "through");
	expect("a/b/f", "through", false);
	/* Never by way of a link: a/link leads to c, but stands in a. */
	set("c", "through");
	expect("a/link", "back", true);
	expect("a/link/x", "back", true);
	/* What is no value is not set. */
	set("a/b/f", "thr");
	expect("a/b/f", "back", true);
	set("a/b/f", "through\x01 and a value that is longer than any that there can be");
	expect("a/b/f", "back", true);
	CU_ASSERT_EQUAL(vidas_policy_get(top, "c", w, have, 8, NULL), 7);
	CU_ASSERT_EQUAL(vidas_policy_get(top, "c", w, have, 7, NULL), -ERANGE);
	CU_ASSERT_EQUAL(vidas_policy_get(top, "../c", w, have, 8, NULL), -EINVAL);
	CU_ASSERT_EQUAL(vidas_policy_get(top, "c", vidas_attr_find("user.vidas.state", NULL), have,
					 8, NULL),
			-EINVAL);
	CU_ASSERT(!vidas_policy_is(top, "c", "nonsense", "through"));
	close(top);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	CU_ASSERT_EQUAL(system(command), 0); /* NOLINT(cert-env33-c) */
}

static void test_override(void)
{
	char dir[] = "vidas-policies-XXXXXX";
	struct vidas_policies p;
	int fd;

	CU_ASSERT_FATAL(mkdtemp(dir) != NULL);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CU_ASSERT_FATAL(fd >= 0);
	vidas_policies_default(&p);
	CU_ASSERT(p.write == VIDAS_WRITE_ASYNC && !p.eager);
	CU_ASSERT_EQUAL(p.write_deadline_us, 30000000);
	CU_ASSERT_EQUAL(p.update_interval_us, 30000000);
	CU_ASSERT_EQUAL(fsetxattr(fd, "user.vidas.update_policy", "eager", 5, 0), 0);
	CU_ASSERT_EQUAL(fsetxattr(fd, "user.vidas.write_deadline", "2s", 2, 0), 0);
	CU_ASSERT_EQUAL(fsetxattr(fd, "user.vidas.update_interval", "soon", 4, 0), 0);
	vidas_policies_override(&p, fd);
	CU_ASSERT(p.write == VIDAS_WRITE_ASYNC && p.eager);
	CU_ASSERT_EQUAL(p.write_deadline_us, 2000000);
	CU_ASSERT_EQUAL(p.update_interval_us, 30000000);
	CU_ASSERT_EQUAL(fsetxattr(fd, "user.vidas.write_policy", "back", 4, 0), 0);
	CU_ASSERT_EQUAL(fremovexattr(fd, "user.vidas.write_deadline"), 0);
	vidas_policies_override(&p, fd);
	CU_ASSERT(p.write == VIDAS_WRITE_BACK && p.eager);
	CU_ASSERT_EQUAL(p.write_deadline_us, 2000000);
	close(fd);
	CU_ASSERT_EQUAL(rmdir(dir), 0);
}

UNIT_MAIN("policy", { "names", test_find }, { "values", test_check },
	  { "durations", test_durations }, { "ranges", test_ranges }, { "inherited", test_inherit },
	  { "on the way down", test_override })
