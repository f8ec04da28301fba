/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/policy/attr.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pool/base/base.h"

#define NAME_BYTES 64

static int open_beneath(int dir, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	long fd = syscall(SYS_openat2, dir, *path ? path : ".", &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

ssize_t vidas_policy_stored(int fd, const struct vidas_attr *attr, char value[VIDAS_POLICY_BYTES])
{
	char name[NAME_BYTES], link[32];
	ssize_t n;

	snprintf(name, sizeof(name), "%s%s", VIDAS_XATTR_PREFIX, attr->name);
	/* By its path: `fd` may be O_PATH. */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = getxattr(link, name, value, VIDAS_POLICY_BYTES - 1);
	if (n < 0)
		return -errno;
	value[n] = '\0';
	if (vidas_attr_check(attr, value, (size_t)n) == 0)
		return n;
	vidas_fail_clear();
	return -ENODATA;
}

static ssize_t stored(int tree_fd, const char *path, const struct vidas_attr *attr, char *value)
{
	int fd = open_beneath(tree_fd, path, O_PATH);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return fd;
	n = fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) ?
		    vidas_policy_stored(fd, attr, value) :
		    -ENODATA;
	close(fd);
	return n;
}

static ssize_t answer(const char *found, char *value, size_t size)
{
	size_t n = strlen(found);

	if (n >= size)
		return -ERANGE;
	memcpy(value, found, n + 1);
	return (ssize_t)n;
}

ssize_t vidas_policy_get(int tree_fd, const char *path, const struct vidas_attr *attr, char *value,
			 size_t size, bool *inherited)
{
	char at[PATH_MAX];
	char found[VIDAS_POLICY_BYTES];
	size_t length = strlen(path);

	if (attr->kind != VIDAS_ATTR_POLICY || !vidas_path_ok(path, length))
		return -EINVAL;
	memcpy(at, path, length + 1);
	for (;;) {
		char *slash = strrchr(at, '/');
		ssize_t n = stored(tree_fd, at, attr, found);

		if (n >= 0) {
			if (inherited)
				*inherited = strlen(at) != length;
			return answer(found, value, size);
		}
		if (n != -ENODATA && n != -ENOENT && n != -ENOTDIR && n != -ELOOP && n != -ERANGE &&
		    n != -EOPNOTSUPP)
			return n;
		if (!*at)
			break;
		*(slash ? slash : at) = '\0';
	}
	if (inherited)
		*inherited = true;
	return answer(attr->fallback, value, size);
}

bool vidas_policy_is(int tree_fd, const char *path, const char *name, const char *value)
{
	char have[VIDAS_POLICY_BYTES];

	for (const struct vidas_attr *a = vidas_attrs; a->name; a++)
		if (strcmp(a->name, name) == 0)
			return vidas_policy_get(tree_fd, path, a, have, sizeof(have), NULL) >= 0 &&
			       strcmp(have, value) == 0;
	return false;
}
