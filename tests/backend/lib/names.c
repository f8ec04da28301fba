/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names: what they may be, and remove, mkdir, rmdir, symlink, rename, with their errors. */
#include <stdlib.h>
#include <string.h>

#include "pool/base/base.h"
#include "suite.h"

static const char *const odd[] = {
	"with space",
	"100%",
	"%41",
	"a+b",
	"%2F",
	"a&b=c?d#e",
	"~tilde",
	"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\xa7", /* UTF-8 */
	"\xff\xfe not UTF-8",
	"new\nline",
	"tab\t",
	"back\\slash",
	"quote'\"",
	":colon;",
	"-dash",
	".hidden",
	"...",
	"trailing.",
	" blanks ",
	"*?[a]{b}",
	"\x01\x7f",
	"<xml>&amp;",
};

struct odd_seen {
	unsigned times[VIDAS_ARRAY_SIZE(odd)], others;
};

static int odd_each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	struct odd_seen *s = arg;

	(void)st;
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(odd); i++)
		if (strcmp(odd[i], name) == 0) {
			s->times[i]++;
			return 0;
		}
	s->others++;
	return 0;
}

static void odd_names(void)
{
	struct odd_seen seen = { 0 };

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(odd); i++) {
		CHECK_EQ(suite_put_text(suite_key("dir/%s", odd[i]), odd[i]), 0);
		CHECK_EQ(suite_put_text(suite_key("%s/in", odd[i]), "in"), 0);
	}
	CHECK_EQ(vidas_store_list(suite_store, suite_key("dir"), odd_each, &seen), 0);
	CHECK_EQ(seen.others, 0);
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(odd); i++) {
		CHECK_EQ(seen.times[i], 1);
		CHECK_EQ(suite_holds_text(suite_key("dir/%s", odd[i]), odd[i]), true);
		CHECK_EQ(suite_holds_text(suite_key("%s/in", odd[i]), "in"), true);
		CHECK_EQ(vidas_store_remove(suite_store, suite_key("dir/%s", odd[i]), NULL), 0);
	}
}

static void long_names(void)
{
	char name[256], deep[128] = "";

	memset(name, 'n', 255);
	name[255] = '\0';
	CHECK_EQ(suite_put_text(suite_key("%s", name), "long"), 0);
	CHECK_EQ(suite_holds_text(suite_key("%s", name), "long"), true);
	CHECK_EQ(suite_put_text(suite_key("%sn", name), "longer"), -EINVAL);
	/* Each is looked up from the root on, to be removed: 200 of them took half of the suite's time. */
	for (int i = 0; i < 50; i++)
		strcat(deep, "d/");
	strcat(deep, "file");
	CHECK_EQ(suite_put_text(suite_key("%s", deep), "deep"), 0);
	CHECK_EQ(suite_holds_text(suite_key("%s", deep), "deep"), true);
}

static void alike(void)
{
	static const char *const names[] = { "a", "a.b", "ab", "a b", "a-", "A", "a0" };

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(names); i++)
		CHECK_EQ(suite_put_text(suite_key("%s", names[i]), names[i]), 0);
	CHECK_EQ(vidas_store_remove(suite_store, suite_key("a"), NULL), 0);
	for (size_t i = 1; i < VIDAS_ARRAY_SIZE(names); i++)
		CHECK_EQ(suite_holds_text(suite_key("%s", names[i]), names[i]), true);
}

static void refused(void)
{
	static const char *const bad[] = { "",
					   "/",
					   "/a",
					   "a/",
					   "a//b",
					   ".",
					   "..",
					   "./a",
					   "../a",
					   "a/../b",
					   "a/./b",
					   "a/..",
					   "a/b/../../../etc/passwd" };
	struct vidas_backend_stat st;
	char too_long[4200], text[8];

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(bad); i++) {
		CHECK_EQ(suite_put_text(bad[i], "bad"), -EINVAL);
		CHECK_EQ(suite_get(bad[i], text, sizeof(text), 0), -EINVAL);
		CHECK_EQ(vidas_store_remove(suite_store, bad[i], NULL), -EINVAL);
		CHECK_EQ(vidas_store_rename(suite_store, bad[i], "x"), -EINVAL);
		CHECK_EQ(vidas_store_rename(suite_store, "x", bad[i]), -EINVAL);
		if (*bad[i])
			CHECK_EQ(vidas_store_stat(suite_store, bad[i], &st), -EINVAL);
		CHECK_EQ(*vidas_fail_text() != '\0', true);
	}
	memset(too_long, 'x', sizeof(too_long));
	for (size_t i = 200; i < sizeof(too_long); i += 200)
		too_long[i] = '/';
	too_long[sizeof(too_long) - 1] = '\0';
	CHECK_EQ(suite_put_text(too_long, "bad"), -EINVAL);
}

/* Calls that fail say why, those that need nothing else are there at all. */
static void missing(void)
{
	const char *key = suite_key("none"), *below = suite_key("no/such/dir/file");
	struct vidas_backend_stat st;
	char buf[8];

	CHECK_EQ(vidas_store_stat(suite_store, key, &st), -ENOENT);
	CHECK_EQ(*vidas_fail_text() != '\0', true);
	CHECK_EQ(suite_get(key, buf, sizeof(buf), 0), -ENOENT);
	CHECK_EQ(*vidas_fail_text() != '\0', true);
	CHECK_GONE(vidas_store_remove(suite_store, key, NULL));
	CHECK_EQ(*vidas_fail_text() != '\0', true);
	CHECK_EQ(vidas_store_stat(suite_store, below, &st), -ENOENT);
	CHECK_EQ(suite_get(below, buf, sizeof(buf), 0), -ENOENT);
	CHECK_GONE(vidas_store_remove(suite_store, below, NULL));
}

static void removes(void)
{
	const char *key = suite_key("dir/file");
	struct vidas_backend_stat st;

	CHECK_EQ(suite_put_text(key, "x"), 0);
	CHECK_EQ(suite_put_text(suite_key("dir/other"), "y"), 0);
	CHECK_EQ(vidas_store_remove(suite_store, key, NULL), 0);
	CHECK_EQ(vidas_store_stat(suite_store, key, &st), -ENOENT);
	CHECK_GONE(vidas_store_remove(suite_store, key, NULL));
	CHECK_EQ(suite_holds_text(suite_key("dir/other"), "y"), true);
}

static void wrong_kind(void)
{
	const char *dir = suite_key("dir"), *file = suite_key("dir/file");
	struct vidas_backend_stat st;
	char buf[8];

	CHECK_EQ(suite_put_text(file, "x"), 0);
	CHECK_EQ(suite_put_text(dir, "x"), -EISDIR);
	CHECK_EQ(*vidas_fail_text() != '\0', true);
	CHECK_EQ(suite_get(dir, buf, sizeof(buf), 0), -EISDIR);
	CHECK_EQ(vidas_store_remove(suite_store, dir, NULL), -EISDIR);
	CHECK_EQ(vidas_store_rmdir(suite_store, file), -ENOTDIR);
	CHECK_EQ(vidas_store_mkdir(suite_store, file, NULL), -EEXIST);
	CHECK_EQ(suite_put_text(suite_key("dir/file/below"), "y"), -ENOTDIR);
	CHECK_EQ(vidas_store_mkdir(suite_store, suite_key("dir/file/below"), NULL), -ENOTDIR);
	CHECK_EITHER(vidas_store_stat(suite_store, suite_key("dir/file/below"), &st), -ENOTDIR,
		     -ENOENT);
	CHECK_EQ(suite_holds_text(file, "x"), true);
}

static void directories(void)
{
	struct vidas_backend_stat st;

	CHECK_EQ(vidas_store_mkdir(suite_store, suite_key("a"), NULL), 0);
	CHECK_EQ(vidas_store_mkdir(suite_store, suite_key("a"), NULL), 0);
	CHECK_EQ(vidas_store_mkdir(suite_store, suite_key("b/c/d"), NULL), 0);
	CHECK_EQ(vidas_store_stat(suite_store, suite_key("b/c/d"), &st), 0);
	CHECK_EQ(st.type, VIDAS_BACKEND_DIRECTORY);
	CHECK_EQ(vidas_store_rmdir(suite_store, suite_key("b")), -ENOTEMPTY);
	CHECK_EQ(vidas_store_rmdir(suite_store, suite_key("b/c/d")), 0);
	CHECK_EQ(vidas_store_stat(suite_store, suite_key("b/c/d"), &st), -ENOENT);
	CHECK_GONE(vidas_store_rmdir(suite_store, suite_key("b/c/d")));
	CHECK_EQ(suite_put_text(suite_key("b/c/file"), "x"), 0);
	CHECK_EQ(vidas_store_rmdir(suite_store, suite_key("b/c")), -ENOTEMPTY);
	CHECK_EQ(suite_holds_text(suite_key("b/c/file"), "x"), true);
}

static bool links_to(const char *key, const char *want)
{
	char target[4096];
	ssize_t n = vidas_store_readlink(suite_store, key, target, sizeof(target));

	return n == (ssize_t)strlen(want) && strcmp(target, want) == 0;
}

static void symlinks(void)
{
	const char *key = suite_key("sub/link"), *file = suite_key("file");
	struct vidas_backend_stat st;
	char target[8];

	CHECK_EQ(suite_put_text(file, "text"), 0);
	CHECK_EQ(vidas_store_symlink(suite_store, key, "../file"), 0);
	CHECK_EQ(links_to(key, "../file"), true);
	CHECK_EQ(vidas_store_stat(suite_store, key, &st), 0);
	CHECK_EQ(st.type, VIDAS_BACKEND_SYMLINK);
	/* A link is a name of its own: nothing goes through it. */
	CHECK_EQ(suite_get(key, target, sizeof(target), 0), -EINVAL);
	CHECK_EQ(vidas_store_readlink(suite_store, key, target, 7), -ENAMETOOLONG);
	CHECK_EQ(vidas_store_readlink(suite_store, key, target, 8), 7);
	CHECK_EQ(vidas_store_readlink(suite_store, file, target, 8), -EINVAL);
	CHECK_EQ(vidas_store_readlink(suite_store, suite_key("none"), target, 8), -ENOENT);
	CHECK_EQ(vidas_store_symlink(suite_store, key, "/dangling/\xff %"), 0);
	CHECK_EQ(links_to(key, "/dangling/\xff %"), true);
	CHECK_EQ(vidas_store_symlink(suite_store, suite_key("sub"), "x"), -EISDIR);
	CHECK_EQ(vidas_store_symlink(suite_store, key, ""), -EINVAL);
	CHECK_EQ(vidas_store_remove(suite_store, key, NULL), 0);
	CHECK_EQ(vidas_store_stat(suite_store, key, &st), -ENOENT);
	CHECK_EQ(suite_holds_text(file, "text"), true);
}

static void symlinks_and_files(void)
{
	const char *key = suite_key("name"), *file = suite_key("file");
	char buf[8];

	CHECK_EQ(suite_put_text(file, "text"), 0);
	CHECK_EQ(vidas_store_symlink(suite_store, key, "file"), 0);
	CHECK_EQ(suite_put_text(key, "mine"), 0);
	CHECK_EQ(suite_holds_text(key, "mine"), true);
	CHECK_EQ(suite_holds_text(file, "text"), true);
	CHECK_EQ(vidas_store_symlink(suite_store, key, "file"), 0);
	CHECK_EQ(links_to(key, "file"), true);
	/* As a directory on the way: refused. */
	CHECK_EQ(vidas_store_mkdir(suite_store, suite_key("real"), NULL), 0);
	CHECK_EQ(vidas_store_symlink(suite_store, suite_key("way"), "real"), 0);
	CHECK_EQ(suite_put_text(suite_key("way/file"), "x"), -ENOTDIR);
	CHECK_EITHER(suite_get(suite_key("way/file"), buf, 8, 0), -ENOTDIR, -ENOENT);
}

static void renames(void)
{
	const char *from = suite_key("from"), *to = suite_key("new/dir/to");
	struct vidas_backend_stat st;

	CHECK_EQ(suite_put_text(from, "one"), 0);
	CHECK_EQ(vidas_store_rename(suite_store, from, to), 0);
	CHECK_EQ(vidas_store_stat(suite_store, from, &st), -ENOENT);
	CHECK_EQ(suite_holds_text(to, "one"), true);
	CHECK_EQ(suite_put_text(from, "two"), 0);
	CHECK_EQ(vidas_store_rename(suite_store, from, to), 0);
	CHECK_EQ(suite_holds_text(to, "two"), true);
	CHECK_EQ(vidas_store_rename(suite_store, to, to), 0);
	CHECK_EQ(suite_holds_text(to, "two"), true);
	CHECK_GONE(vidas_store_rename(suite_store, from, to));
	CHECK_EQ(suite_holds_text(to, "two"), true);
}

static void renames_directories(void)
{
	struct vidas_backend_stat st;

	CHECK_EQ(suite_put_text(suite_key("a/b/file"), "one"), 0);
	CHECK_EQ(suite_put_text(suite_key("ab/file"), "two"), 0);
	CHECK_EQ(vidas_store_rename(suite_store, suite_key("a"), suite_key("z")), 0);
	CHECK_EQ(vidas_store_stat(suite_store, suite_key("a"), &st), -ENOENT);
	CHECK_EQ(suite_holds_text(suite_key("z/b/file"), "one"), true);
	CHECK_EQ(suite_holds_text(suite_key("ab/file"), "two"), true);
	CHECK_EQ(vidas_store_rename(suite_store, suite_key("z"), suite_key("z/b/c")), -EINVAL);
	CHECK_EQ(vidas_store_rename(suite_store, suite_key("z"), suite_key("ab")), -ENOTEMPTY);
	CHECK_EQ(vidas_store_rename(suite_store, suite_key("ab/file"), suite_key("z")), -EISDIR);
	CHECK_EQ(vidas_store_rename(suite_store, suite_key("z"), suite_key("ab/file")), -ENOTDIR);
	CHECK_EQ(vidas_store_mkdir(suite_store, suite_key("empty"), NULL), 0);
	CHECK_EQ(vidas_store_rename(suite_store, suite_key("z"), suite_key("empty")), 0);
	CHECK_EQ(suite_holds_text(suite_key("empty/b/file"), "one"), true);
}

static int link_if(const char *from, const char *to, const struct vidas_backend_version *version,
		   const struct vidas_backend_version *expect, bool must_not_exist,
		   struct vidas_backend_version *now)
{
	const struct vidas_backend_link link = { .version = version,
						 .expect = expect,
						 .must_not_exist = must_not_exist };

	return vidas_store_link(suite_store, from, to, &link, now);
}

static bool has_version(const char *key, const struct vidas_backend_version *version)
{
	struct vidas_backend_stat st = { 0 };

	return vidas_store_stat(suite_store, key, &st) == 0 &&
	       suite_version_same(&st.version, version);
}

static int count_each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	(void)name;
	(void)st;
	++*(int *)arg;
	return 0;
}

/* Two names of one file have one version; a put takes them apart. */
static void links(void)
{
	const char *a = suite_key("a"), *b = suite_key("new/dir/b"), *c = suite_key("c");
	struct vidas_backend_version now = { 0 };
	struct vidas_backend_stat st;
	int entries = 0;

	CHECK_EQ(suite_put_text(a, "one"), 0);
	CHECK_EQ(link_if(a, b, NULL, NULL, true, &now), 0);
	CHECK_EQ(suite_holds_text(b, "one"), true);
	CHECK_EQ(has_version(a, &now) && has_version(b, &now), true);
	CHECK_EQ(link_if(a, b, NULL, NULL, true, NULL), 0); /* it is already */
	CHECK_EQ(suite_put_text(c, "other"), 0);
	CHECK_EQ(link_if(b, c, NULL, NULL, false, &now), 0);
	CHECK_EQ(suite_holds_text(c, "one"), true);
	CHECK_EQ(has_version(a, &now) && has_version(c, &now), true);
	CHECK_EQ(vidas_store_remove(suite_store, a, NULL), 0);
	CHECK_EQ(vidas_store_stat(suite_store, a, &st), -ENOENT);
	CHECK_EQ(suite_holds_text(b, "one") && suite_holds_text(c, "one"), true);
	CHECK_EQ(suite_put_text(b, "two"), 0);
	CHECK_EQ(suite_holds_text(c, "one"), true);
	CHECK_EQ(vidas_store_list(suite_store, suite_key("new/dir"), count_each, &entries), 0);
	CHECK_EQ(entries, 1); /* nothing temporary */
	CHECK_EQ(link_if(suite_key("none"), a, NULL, NULL, false, NULL), -ENOENT);
	CHECK_EQ(link_if(suite_key("new"), a, NULL, NULL, false, NULL), -EISDIR);
	CHECK_EQ(link_if(c, suite_key("new"), NULL, NULL, false, NULL), -EISDIR);
	CHECK_EQ(link_if(c, suite_key("b"), NULL, NULL, true, NULL), 0);
}

static void links_guarded(void)
{
	const char *a = suite_key("a"), *b = suite_key("b");
	struct vidas_backend_version old, now, there;

	CHECK_EQ(suite_put_if(a, "old", NULL, true, &old), 0);
	CHECK_EQ(suite_put_if(a, "one", &old, false, &now), 0);
	CHECK_EQ(suite_put_if(b, "mine", NULL, true, &there), 0);
	CHECK_EQ(link_if(a, b, NULL, NULL, true, NULL), -EEXIST);
	CHECK_EQ(link_if(a, b, NULL, &old, false, NULL), -ESTALE);
	CHECK_EQ(link_if(a, b, &old, &there, false, NULL), -ESTALE);
	CHECK_EQ(link_if(a, suite_key("c"), &now, &there, false, NULL), -ESTALE);
	CHECK_EQ(suite_holds_text(b, "mine"), true);
	CHECK_EQ(link_if(a, b, &now, &there, false, &now), 0);
	CHECK_EQ(suite_holds_text(b, "one"), true);
	/* Whoever asks again, as no answer came, has the old versions in hand. */
	CHECK_EQ(link_if(a, b, &old, &there, false, &there), 0);
	CHECK_EQ(suite_version_same(&there, &now), true);
}

/* What a root has not got is answered so, and in words. */
static void lacking(void)
{
	const char *key = suite_key("x");
	char target[8];

	if (!(suite_caps & VIDAS_BACKEND_SYMLINKS)) {
		CHECK_EQ(vidas_store_symlink(suite_store, key, "y"), -EOPNOTSUPP);
		CHECK_EQ(vidas_store_readlink(suite_store, key, target, 8), -EOPNOTSUPP);
		CHECK_EQ(*vidas_fail_text() != '\0', true);
	}
	if (!(suite_caps & VIDAS_BACKEND_DIRECTORIES))
		CHECK_EQ(vidas_store_mkdir(suite_store, key, NULL), -EOPNOTSUPP);
	if (!(suite_caps & VIDAS_BACKEND_LINKS))
		CHECK_EQ(link_if(key, suite_key("y"), NULL, NULL, true, NULL), -EOPNOTSUPP);
	if (!(suite_caps & VIDAS_BACKEND_RANGED_PUT))
		CHECK_EQ(vidas_store_put_range(suite_store, key, 0, NULL, 0, NULL), -EOPNOTSUPP);
	CHECK_EQ(strncmp(suite_url, vidas_store_url(suite_store), strcspn(suite_url, ":")), 0);
}

const struct suite_case suite_names[] = {
	{ "odd-names", 0, odd_names },
	{ "long-names", 0, long_names },
	{ "names-alike", 0, alike },
	{ "names-refused", 0, refused },
	{ "missing", 0, missing },
	{ "remove", 0, removes },
	{ "wrong-kind", VIDAS_BACKEND_DIRECTORIES, wrong_kind },
	{ "directories", VIDAS_BACKEND_DIRECTORIES, directories },
	{ "symlinks", VIDAS_BACKEND_SYMLINKS, symlinks },
	{ "symlinks-and-files", VIDAS_BACKEND_SYMLINKS | VIDAS_BACKEND_DIRECTORIES,
	  symlinks_and_files },
	{ "rename", VIDAS_BACKEND_DIRECTORIES, renames },
	{ "rename-directories", VIDAS_BACKEND_DIRECTORIES, renames_directories },
	{ "link", VIDAS_BACKEND_LINKS, links },
	{ "link-guarded", VIDAS_BACKEND_LINKS | VIDAS_BACKEND_CONDITIONAL, links_guarded },
	{ "lacking", 0, lacking },
	{ 0 },
};
