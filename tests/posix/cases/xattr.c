/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Extended attributes to the limits of the host, and POSIX ACLs. */
#include "cases.h"

#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#define USER  12345
#define OTHER 23456

static char path_there[4200];

/* xattr calls take paths: the same file by the other side. */
static const char *other(const char *name)
{
	snprintf(path_there, sizeof(path_there), "/proc/self/fd/%d/%s", there, name);
	return path_there;
}

static void values(void)
{
	char got[64];

	put(here, "f", "f");
	OK(setxattr("f", "user.a", "one", 3, XATTR_CREATE));
	ERR(EEXIST, setxattr("f", "user.a", "two", 3, XATTR_CREATE));
	OK(setxattr("f", "user.a", "three", 5, XATTR_REPLACE));
	ERR(ENODATA, setxattr("f", "user.b", "x", 1, XATTR_REPLACE));
	SAME(5, OK(getxattr(other("f"), "user.a", got, sizeof(got))));
	SAME(0, memcmp(got, "three", 5));
	SAME(5, OK(getxattr("f", "user.a", NULL, 0)));
	ERR(ERANGE, getxattr("f", "user.a", got, 4));
	OK(setxattr(other("f"), "user.empty", NULL, 0, 0));
	SAME(0, OK(getxattr("f", "user.empty", got, sizeof(got))));
	SAME(7 + 11, OK(listxattr("f", NULL, 0)));
	ERR(ERANGE, listxattr("f", got, 5));
	OK(removexattr(other("f"), "user.empty"));
	ERR(ENODATA, getxattr("f", "user.empty", got, sizeof(got)));
	ERR(ENODATA, removexattr("f", "user.empty"));
	SAME(7, OK(listxattr("f", got, sizeof(got))));
	OK(setxattr("f", "user.nul", "a\0b", 3, 0));
	SAME(3, OK(getxattr(other("f"), "user.nul", got, sizeof(got))));
	SAME(0, memcmp(got, "a\0b", 3));
	ERR(EOPNOTSUPP, setxattr("f", "nonsense.x", "1", 1, 0));
	ERR(EOPNOTSUPP, setxattr("f", "none", "1", 1, 0));
}

static void limits(void)
{
	const char *name = repeated('n', XATTR_NAME_MAX), *value = repeated('v', XATTR_SIZE_MAX);
	char *got = malloc(XATTR_SIZE_MAX + 1), key[32];

	put(here, "f", "f");
	memcpy((char *)(uintptr_t)name, "user.", 5);
	OK(setxattr("f", name, "x", 1, 0));
	SAME(1, OK(getxattr(other("f"), name, got, 1)));
	ERR(ERANGE, setxattr("f", repeated('n', XATTR_NAME_MAX + 1), "x", 1, 0));
	ERR(ERANGE, setxattr("f", "", "x", 1, 0));
	OK(setxattr("f", "user.big", value, XATTR_SIZE_MAX, 0));
	SAME(XATTR_SIZE_MAX, OK(getxattr(other("f"), "user.big", got, XATTR_SIZE_MAX + 1)));
	SAME(0, memcmp(got, value, XATTR_SIZE_MAX));
	SAME(XATTR_SIZE_MAX, OK(getxattr("f", "user.big", NULL, 0)));
	ERR(E2BIG, setxattr("f", "user.big", value, XATTR_SIZE_MAX + 1, 0));
	OK(setxattr("f", "user.big", "small", 5, 0));
	SAME(5, OK(getxattr(other("f"), "user.big", got, XATTR_SIZE_MAX)));
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "user.k%02d", i);
		OK(setxattr("f", key, key, strlen(key), 0));
	}
	SAME(XATTR_NAME_MAX + 1 + 9 + 100 * 9, OK(listxattr(other("f"), NULL, 0)));
	free(got);
}

static void kinds(void)
{
	char got[64];

	put(here, "f", "f");
	OK(mkdirat(here, "d", 0755));
	OK(symlinkat("f", here, "s"));
	OK(mkfifoat(here, "p", 0644));
	OK(setxattr("d", "user.x", "dir", 3, 0));
	SAME(3, OK(getxattr(other("d"), "user.x", got, sizeof(got))));
	ERR(EPERM, lsetxattr("s", "user.x", "1", 1, 0));
	ERR(EPERM, setxattr("p", "user.x", "1", 1, 0));
	OK(setxattr("s", "user.x", "by-link", 7, 0));
	SAME(7, OK(getxattr(other("f"), "user.x", got, sizeof(got))));
	OK(lsetxattr("s", "trusted.x", "link", 4, 0));
	SAME(4, OK(lgetxattr(other("s"), "trusted.x", got, sizeof(got))));
	ERR(ENODATA, getxattr("f", "trusted.x", got, sizeof(got)));
	OK(setxattr("f", "trusted.f", "1", 1, 0));
	OK(renameat(there, "f", there, "g"));
	SAME(7, OK(getxattr("g", "user.x", got, sizeof(got))));
	if (as(USER, USER, 0, NULL)) {
		ERR(EACCES, setxattr("g", "user.y", "1", 1, 0));
		SAME(7, OK(getxattr("g", "user.x", got, sizeof(got))));
		ERR(EPERM, setxattr("g", "trusted.y", "1", 1, 0));
		ERR(ENODATA, getxattr("g", "trusted.f", got, sizeof(got)));
		SAME(7, OK(listxattr("g", got, sizeof(got)))); /* user.x */
		done();
	}
	/* In a sticky directory: its owner alone. */
	OK(fchmodat(here, "d", 01777, 0));
	if (as(USER, USER, 0, NULL)) {
		ERR(EPERM, setxattr("d", "user.y", "1", 1, 0));
		done();
	}
}

/* ACLs as the kernel takes them: u32 version, then (u16 tag, u16 perm, u32 id) each. ------------- */

struct ace {
	uint16_t tag, perm;
	uint32_t id;
};
struct acl {
	uint32_t version;
	struct ace e[8];
};
#define OWNER(p)                    \
	{                           \
		0x01, p, UINT32_MAX \
	}
#define NAMED(id, p)        \
	{                   \
		0x02, p, id \
	}
#define GROUP(p)                    \
	{                           \
		0x04, p, UINT32_MAX \
	}
#define GNAMED(id, p)       \
	{                   \
		0x08, p, id \
	}
#define MASK(p)                     \
	{                           \
		0x10, p, UINT32_MAX \
	}
#define OTHERS(p)                   \
	{                           \
		0x20, p, UINT32_MAX \
	}
static const char access_acl[] = "system.posix_acl_access",
		  default_acl[] = "system.posix_acl_default";

static int set_acl(const char *path, const char *which, size_t count, const struct ace *e)
{
	struct acl a = { .version = 2 };

	memcpy(a.e, e, count * sizeof(*e));
	return setxattr(path, which, &a, 4 + count * sizeof(*e), 0);
}
#define ACL(path, which, ...)                                                            \
	set_acl(path, which, sizeof((struct ace[]){ __VA_ARGS__ }) / sizeof(struct ace), \
		(struct ace[]){ __VA_ARGS__ })

/* The permissions of an entry of that tag and id; -1: there is none. */
static int entry(const char *path, const char *which, unsigned tag, uint32_t id)
{
	struct acl a;
	ssize_t got = OK(getxattr(path, which, &a, sizeof(a)));

	for (size_t i = 0; 4 + i * 8 < (size_t)got; i++)
		if (a.e[i].tag == tag && a.e[i].id == id)
			return a.e[i].perm;
	return -1;
}

static bool no_acls(void)
{
	char x[4];

	return getxattr(".", access_acl, x, sizeof(x)) < 0 && errno == EOPNOTSUPP;
}

static void acl_access(void)
{
	static const gid_t group = 700;

	if (no_acls())
		return;
	put(here, "f", "f");
	OK(fchmodat(here, "f", 0600, 0));
	OK(ACL("f", access_acl, OWNER(6), NAMED(USER, 4), GROUP(0), GNAMED(700, 6), MASK(6),
	       OTHERS(0)));
	SAME(0660, stat_of(there, "f").st_mode & 07777);
	if (as(USER, USER, 0, NULL)) {
		HAS(there, "f", "f");
		HAS(here, "f", "f");
		ERR(EACCES, openat(here, "f", O_WRONLY));
		ERR(EPERM, ACL("f", access_acl, OWNER(6), GROUP(0), OTHERS(7)));
		done();
	}
	if (as(OTHER, OTHER, 0, NULL)) {
		ERR(EACCES, openat(there, "f", O_RDONLY));
		done();
	}
	if (as(OTHER, OTHER, 1, &group)) {
		OK(openat(there, "f", O_RDWR));
		done();
	}
	/* chmod sets the mask. */
	OK(fchmodat(there, "f", 0640, 0));
	SAME(4, entry("f", access_acl, 0x10, UINT32_MAX));
	SAME(6, entry(other("f"), access_acl, 0x08, 700));
	if (as(OTHER, OTHER, 1, &group)) {
		ERR(EACCES, openat(here, "f", O_RDWR));
		OK(openat(there, "f", O_RDONLY));
		done();
	}
	/* Removed by the other side nobody is let in any more. */
	OK(removexattr(other("f"), access_acl));
	if (as(USER, USER, 0, NULL)) {
		ERR(EACCES, openat(here, "f", O_RDONLY));
		done();
	}
	OK(ACL(other("f"), access_acl, OWNER(6), NAMED(USER, 4), GROUP(0), MASK(4), OTHERS(0)));
	if (as(USER, USER, 0, NULL)) {
		HAS(here, "f", "f");
		done();
	}
	/* One that says no more than the mode is the mode. */
	OK(ACL("f", access_acl, OWNER(6), GROUP(4), OTHERS(4)));
	SAME(0644, stat_of(there, "f").st_mode & 07777);
	ERR(ENODATA, getxattr("f", access_acl, NULL, 0));
	ERR(EINVAL, setxattr("f", access_acl, "\2\0\0\0rubbish", 11, 0));
	ERR(EINVAL, ACL("f", access_acl, OWNER(6), OTHERS(4)));
	ERR(EACCES, ACL("f", default_acl, OWNER(6), GROUP(4), OTHERS(4)));
}

static void acl_default(void)
{
	struct acl a;
	char proc[64];

	if (no_acls())
		return;
	OK(mkdirat(here, "d", 0777));
	OK(fchmodat(here, "d", 0777, 0));
	OK(ACL("d", default_acl, OWNER(7), NAMED(OTHER, 7), GROUP(5), MASK(7), OTHERS(0)));
	SAME(0777, stat_of(there, "d").st_mode & 07777);
	if (as(USER, USER, 0, NULL)) {
		umask(077);
		put(here, "d/f", "f");
		OK(mkdirat(here, "d/sub", 0770));
		OK(openat(here, "d/ro", O_WRONLY | O_CREAT, 0600));
		OK(mknodat(here, "d/p", S_IFIFO | 0666, 0));
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d",
			 OK(openat(here, "d", O_TMPFILE | O_RDWR, 0666)));
		OK(linkat(AT_FDCWD, proc, here, "d/t", AT_SYMLINK_FOLLOW));
		done();
	}
	/* The umask has no say: the mode that was asked for is the mask. */
	SAME(7, entry(other("d/f"), access_acl, 0x02, OTHER));
	SAME(4, entry("d/f", access_acl, 0x10, UINT32_MAX));
	SAME(0640, stat_of(there, "d/f").st_mode & 07777);
	SAME(0770, stat_of(there, "d/sub").st_mode & 07777);
	SAME(0600, stat_of(there, "d/ro").st_mode & 07777);
	SAME(0660, stat_of(there, "d/p").st_mode & 07777);
	SAME(0660, stat_of(there, "d/t").st_mode & 07777);
	SAME(7, entry("d/sub", default_acl, 0x02, OTHER));
	SAME(USER, stat_of(there, "d/f").st_uid);
	if (as(OTHER, OTHER, 0, NULL)) {
		HAS(there, "d/f", "f");
		ERR(EACCES, openat(here, "d/f", O_WRONLY));
		ERR(EACCES, openat(here, "d/ro", O_RDONLY));
		put(here, "d/sub/x", "x");
		done();
	}
	OK(removexattr("d", default_acl));
	ERR(ENODATA, getxattr(other("d"), default_acl, &a, sizeof(a)));
	OK(mkdirat(here, "d/plain", 0755));
	ERR(ENODATA, getxattr(other("d/plain"), default_acl, &a, sizeof(a)));
}

/* The sgid bit of a shared directory outlives setfacl by one who is of its group, or root. */
static void acl_sgid(void)
{
	static const gid_t group = 700;

	if (no_acls())
		return;
	OK(mkdirat(here, "d", 0755));
	OK(fchownat(here, "d", USER, 700, 0));
	OK(fchmodat(here, "d", 02770, 0));
	OK(ACL("d", access_acl, OWNER(7), NAMED(OTHER, 7), GROUP(7), MASK(7), OTHERS(0)));
	SAME(02770, stat_of(there, "d").st_mode & 07777);
	OK(ACL(other("d"), default_acl, OWNER(7), NAMED(OTHER, 7), GROUP(7), MASK(7), OTHERS(0)));
	SAME(02770, stat_of(here, "d").st_mode & 07777);
	if (as(USER, USER, 1, &group)) {
		OK(ACL("d", access_acl, OWNER(7), NAMED(OTHER, 5), GROUP(7), MASK(7), OTHERS(0)));
		done();
	}
	SAME(02770, stat_of(there, "d").st_mode & 07777);
	OK(removexattr(other("d"), access_acl));
	SAME(02770, stat_of(here, "d").st_mode & 07777);
	if (as(USER, USER, 0, NULL)) {
		OK(ACL("d", access_acl, OWNER(7), NAMED(OTHER, 7), GROUP(7), MASK(7), OTHERS(0)));
		done();
	}
	SAME(0770, stat_of(there, "d").st_mode & 07777);
}

static const struct posix_case cases[] = { { .name = "values", .run = values },
					   { .name = "limits", .run = limits },
					   { .name = "kinds", .run = kinds },
					   { .name = "acl-access", .run = acl_access },
					   { .name = "acl-default", .run = acl_default },
					   { .name = "acl-sgid", .run = acl_sgid },
					   { .name = NULL } };

const struct posix_group posix_xattr = { "xattr", cases };
