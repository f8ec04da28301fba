/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls on names. */
#include "random.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OP(name) static void name(struct world *w, const struct step *s, struct outcome *o)
#define AT	 w->side[s->side]

static void result(struct outcome *o, int64_t value)
{
	o->value = value < 0 ? -1 : value;
	o->error = value < 0 ? errno : 0;
}

/* What is to be seen of both names, and of the directory, after a call. */
static void look(struct world *w, const struct step *s, struct outcome *o)
{
	const char *const names[] = { s->path, s->other, "." };

	for (int i = 0; i < 3; i++) {
		struct stat st;

		/* By the other side. */
		if (fstatat(w->side[!s->side], names[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			say(o, "%s: %s\n", names[i], strerrorname_np(errno));
		else
			say_stat(o, &st);
	}
}

OP(op_mkdir)
{
	result(o, mkdirat(AT, s->path, s->mode));
	look(w, s, o);
}

OP(op_mknod)
{
	static const mode_t kinds[] = { S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, 0, S_IFDIR };

	result(o, mknodat(AT, s->path, kinds[s->seed % 7] | s->mode, makedev(1, s->id)));
	look(w, s, o);
}

OP(op_symlink)
{
	/* None leads out of the directory. */
	static const char *const targets[] = { "f", "a", "b", "b/c", "nothing", "s" };

	result(o, symlinkat(targets[s->seed % 6], AT, s->seed % 3 ? "s" : s->path));
	look(w, s, o);
}

OP(op_link)
{
	result(o, linkat(AT, s->path, AT, s->other, s->flags & 1 ? AT_SYMLINK_FOLLOW : 0));
	look(w, s, o);
}

OP(op_unlink)
{
	result(o, unlinkat(AT, s->path, 0));
	look(w, s, o);
}

OP(op_rmdir)
{
	result(o, unlinkat(AT, s->path, AT_REMOVEDIR));
	look(w, s, o);
}

OP(op_rename)
{
	static const unsigned flags[] = { 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE, 3, 8 };

	result(o, renameat2(AT, s->path, AT, s->other, flags[s->seed % 7]));
	look(w, s, o);
}

OP(op_chmod)
{
	result(o, fchmodat(AT, s->path, s->mode, 0));
	look(w, s, o);
}

OP(op_chown)
{
	uid_t uid = s->flags & 1 ? s->id : (uid_t)-1;
	gid_t gid = s->flags & 2 ? s->id + (s->flags & 4 ? 1 : 0) : (gid_t)-1;

	/* Changing neither is refused for a suid file of another, which FUSE does not do. */
	if (s->user && !(s->flags & 3))
		return;
	result(o, fchownat(AT, s->path, uid, gid, s->flags & 8 ? AT_SYMLINK_NOFOLLOW : 0));
	look(w, s, o);
}

OP(op_truncate)
{
	char proc[128];

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d/%s", AT, s->path);
	result(o, truncate(proc, s->offset));
	look(w, s, o);
}

OP(op_utimens)
{
	struct timespec t[2] = { { s->offset, s->length }, { -s->offset, s->seed } };
	struct stat st;

	if (s->flags & 1)
		t[0].tv_nsec = UTIME_OMIT;
	if (s->flags & 2)
		t[1].tv_nsec = UTIME_OMIT;
	result(o, utimensat(AT, s->path, s->flags & 4 ? NULL : t,
			    s->flags & 8 ? AT_SYMLINK_NOFOLLOW : 0));
	if (!o->value && !(s->flags & 7) &&
	    fstatat(w->side[!s->side], s->path, &st, s->flags & 8 ? AT_SYMLINK_NOFOLLOW : 0) == 0)
		say(o, "%ld.%09ld %ld.%09ld\n", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
		    (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

OP(op_access)
{
	result(o, faccessat(AT, s->path, s->flags & 7, s->flags & 8 ? AT_EACCESS : 0));
}

OP(op_stat)
{
	struct stat st;

	result(o, fstatat(AT, s->path, &st, s->flags & 1 ? AT_SYMLINK_NOFOLLOW : 0));
	if (!o->value)
		say_stat(o, &st);
}

OP(op_readlink)
{
	char target[64];
	ssize_t got = readlinkat(AT, s->path, target, sizeof(target));

	result(o, got);
	say(o, "%.*s", got < 0 ? 0 : (int)got, target);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

OP(op_list)
{
	int fd = openat(AT, s->path, O_RDONLY | O_DIRECTORY), n = 0;
	char *names[100];
	struct dirent *de;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	result(o, d ? 0 : -1);
	if (!d)
		return;
	while (n < 100 && (de = readdir(d))) {
		names[n] = malloc(300);
		if (names[n])
			snprintf(names[n++], 300, "%s %u\n", de->d_name, de->d_type);
	}
	closedir(d);
	qsort(names, (size_t)n, sizeof(names[0]), by_name);
	for (int i = 0; i < n; i++) {
		say(o, "%s", names[i]);
		free(names[i]);
	}
}

/* xattrs take paths. */
static const char *by_proc(struct world *w, const struct step *s, char proc[128])
{
	snprintf(proc, 128, "/proc/self/fd/%d/%s", AT, s->path);
	return proc;
}

static const char *xattr_name(const struct step *s)
{
	static const char *const names[] = { "user.x",	       "user.longer",
					     "trusted.t",      "system.posix_acl_access",
					     "user.x",	       "system.posix_acl_default",
					     "security.other", "nonsense" };

	return names[s->seed % 8];
}

OP(op_setxattr)
{
	struct {
		uint32_t version;
		struct {
			uint16_t tag, perm;
			uint32_t id;
		} e[5];
	} acl = { 2,
		  { { 1, (uint16_t)(s->mode >> 6 & 7), UINT32_MAX },
		    { 2, (uint16_t)(s->id & 7), 501 },
		    { 4, (uint16_t)(s->mode >> 3 & 7), UINT32_MAX },
		    { 0x10, (uint16_t)((s->flags & 7) | 1), UINT32_MAX },
		    { 0x20, (uint16_t)(s->mode & 7), UINT32_MAX } } };
	const char *name = xattr_name(s);
	bool is_acl = strstr(name, "acl");
	char proc[128];

	result(o, lsetxattr(by_proc(w, s, proc), name, is_acl ? (void *)&acl : (void *)s->other,
			    is_acl ? sizeof(acl) : strlen(s->other),
			    s->flags & 64 ? 0 : (s->flags >> 4) & 3));
	look(w, s, o);
}

OP(op_getxattr)
{
	char proc[128], value[256];
	ssize_t got = lgetxattr(by_proc(w, s, proc), xattr_name(s), value, s->flags & 1 ? 256 : 5);

	result(o, got);
	for (ssize_t i = 0; i < got; i++)
		say(o, "%02x", (unsigned char)value[i]);
}

OP(op_removexattr)
{
	char proc[128];

	result(o, lremovexattr(by_proc(w, s, proc), xattr_name(s)));
	look(w, s, o);
}

OP(op_listxattr)
{
	char proc[128], list[1024], *names[32];
	ssize_t got = llistxattr(by_proc(w, s, proc), list, sizeof(list));
	int n = 0;

	result(o, got);
	for (ssize_t at = 0; at < got && n < 32; at += (ssize_t)strlen(list + at) + 1)
		names[n++] = list + at;
	qsort(names, (size_t)n, sizeof(names[0]), by_name);
	for (int i = 0; i < n; i++)
		say(o, "%s\n", names[i]);
}

const struct op random_name_ops[] = {
	{ .name = "mkdir", .weight = 6, .run = op_mkdir },
	{ .name = "mknod", .weight = 4, .run = op_mknod },
	{ .name = "symlink", .weight = 3, .run = op_symlink },
	{ .name = "link", .weight = 6, .run = op_link },
	{ .name = "unlink", .weight = 6, .run = op_unlink },
	{ .name = "rmdir", .weight = 3, .run = op_rmdir },
	{ .name = "rename", .weight = 12, .run = op_rename },
	{ .name = "chmod", .weight = 5, .run = op_chmod },
	{ .name = "chown", .weight = 5, .run = op_chown },
	{ .name = "truncate", .weight = 4, .data = true, .run = op_truncate },
	{ .name = "utimens", .weight = 4, .run = op_utimens },
	{ .name = "access", .weight = 4, .run = op_access },
	{ .name = "stat", .weight = 4, .run = op_stat },
	{ .name = "readlink", .weight = 2, .run = op_readlink },
	{ .name = "list", .weight = 3, .run = op_list },
	{ .name = "setxattr", .weight = 6, .run = op_setxattr },
	{ .name = "getxattr", .weight = 5, .run = op_getxattr },
	{ .name = "removexattr", .weight = 3, .run = op_removexattr },
	{ .name = "listxattr", .weight = 2, .run = op_listxattr },
	{ .name = NULL }
};
