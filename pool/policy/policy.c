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

/* The longest value that any policy can have, and its NUL. */
#define VALUE_BYTES 32
#define NAME_BYTES  64

static int open_beneath(int dir, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	long fd = syscall(SYS_openat2, dir, *path ? path : ".", &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* The raw xattr of what is at `path`, directory or file. */
static ssize_t stored_raw(int tree_fd, const char *path, const char *name, char *value, size_t size)
{
	char link[32];
	struct stat st;
	ssize_t n;
	int fd;

	fd = open_beneath(tree_fd, path, O_RDONLY | O_DIRECTORY);
	if (fd >= 0) {
		n = fgetxattr(fd, name, value, size);
	} else if (fd == -ENOTDIR) {
		/* Not opened for real: it may be a FIFO or a device. */
		fd = open_beneath(tree_fd, path, O_PATH);
		if (fd < 0)
			return fd;
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
			n = getxattr(link, name, value, size);
		} else {
			n = -1;
			errno = ENODATA;
		}
	} else {
		return fd;
	}
	if (n < 0)
		n = -errno;
	close(fd);
	return n;
}

/* Is a right value of `attr` stored at `path`? Domains can store anything in their own xattrs, and
 * what is no value is as if it were not there. */
static ssize_t stored(int tree_fd, const char *path, const struct vidas_attr *attr, char *value)
{
	char name[NAME_BYTES];
	ssize_t n;

	snprintf(name, sizeof(name), "%s%s", VIDAS_XATTR_PREFIX, attr->name);
	n = stored_raw(tree_fd, path, name, value, VALUE_BYTES - 1);
	if (n < 0)
		return n;
	value[n] = '\0';
	for (const char *const *v = attr->values; v && *v; v++)
		if (strlen(*v) == (size_t)n && memcmp(*v, value, (size_t)n) == 0)
			return n;
	return -ENODATA;
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
	char found[VALUE_BYTES];
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
	char have[VALUE_BYTES];

	for (const struct vidas_attr *a = vidas_attrs; a->name; a++)
		if (strcmp(a->name, name) == 0)
			return vidas_policy_get(tree_fd, path, a, have, sizeof(have), NULL) >= 0 &&
			       strcmp(have, value) == 0;
	return false;
}
