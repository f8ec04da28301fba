/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/sync/internal.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

int sync_open_at(int dir, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
		.mode = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? 0600 : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	long fd = syscall(SYS_openat2, dir, *path ? path : ".", &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int sync_parent(int dir, const char *path, const char **base)
{
	const char *slash = strrchr(path, '/');
	char above[PATH_MAX];

	*base = slash ? slash + 1 : path;
	if (!slash)
		return sync_open_at(dir, "", O_PATH | O_DIRECTORY);
	memcpy(above, path, (size_t)(slash - path));
	above[slash - path] = '\0';
	return sync_open_at(dir, above, O_PATH | O_DIRECTORY);
}

int sync_reopen(int fd, int flags)
{
	char link[32];
	int real;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	real = open(link, flags | O_CLOEXEC);
	return real < 0 ? -errno : real;
}

int sync_tree_look(struct vidas_sync *s, const char *path, uint64_t inode, struct stat *st)
{
	int fd = sync_open_at(s->tree, path, O_PATH);
	int err = 0;

	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0)
		err = -errno;
	else if (inode && st->st_ino != inode)
		err = -ESTALE;
	if (!err)
		return fd;
	close(fd);
	return err;
}

int sync_join(char out[static PATH_MAX], const char *dir, const char *name)
{
	size_t a = strlen(dir), b = strlen(name);

	if (b > NAME_MAX || a + b + 2 > PATH_MAX)
		return -ENAMETOOLONG;
	if (!b || strchr(name, '/') || !vidas_path_ok(name, b))
		return -EINVAL;
	memcpy(out, dir, a);
	if (a)
		out[a++] = '/';
	memcpy(out + a, name, b + 1);
	return 0;
}

int sync_path_xattr(int fd, const char *xattr, char out[static PATH_MAX])
{
	ssize_t n = fgetxattr(fd, xattr, out, PATH_MAX - 1);

	if (n < 0)
		return -errno;
	out[n] = '\0';
	return vidas_path_ok(out, (size_t)n) ? 0 : -EINVAL;
}

int sync_apply_attrs(int fd, const struct vidas_backend_stat *from)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, from->mtime };

	/* The mode after the owner: a change of owner takes bits away. */
	if ((from->valid & VIDAS_BACKEND_OWNER) && fchown(fd, from->uid, from->gid) < 0)
		return -errno;
	if ((from->valid & VIDAS_BACKEND_MODE) && fchmod(fd, from->mode & 07777) < 0)
		return -errno;
	if ((from->valid & VIDAS_BACKEND_MTIME) && futimens(fd, times) < 0)
		return -errno;
	return 0;
}

void sync_attrs_of(const struct stat *st, struct vidas_backend_stat *out)
{
	*out = (struct vidas_backend_stat){
		.type = S_ISDIR(st->st_mode) ? VIDAS_BACKEND_DIRECTORY : VIDAS_BACKEND_FILE,
		.valid = VIDAS_BACKEND_MODE | VIDAS_BACKEND_OWNER | VIDAS_BACKEND_MTIME,
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.mtime = st->st_mtim,
		.size_bytes = (uint64_t)st->st_size,
	};
}

int sync_each_dirent(int dir, int (*each)(void *arg, const struct dirent *entry), void *arg)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *entry;
	int err = 0;
	DIR *d;

	if (fd < 0)
		return -errno;
	d = fdopendir(fd);
	if (!d) {
		err = -errno;
		close(fd);
		return err;
	}
	while (!err) {
		errno = 0;
		entry = readdir(d);
		if (!entry) {
			err = -errno;
			break;
		}
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			err = each(arg, entry);
	}
	closedir(d);
	return err;
}

struct by_name {
	int (*each)(void *arg, const char *name);
	void *arg;
};

static int each_name(void *arg, const struct dirent *entry)
{
	const struct by_name *by = arg;

	return by->each(by->arg, entry->d_name);
}

int sync_each_entry(int dir, int (*each)(void *arg, const char *name), void *arg)
{
	struct by_name by = { each, arg };

	return sync_each_dirent(dir, each_name, &by);
}

void sync_stage_name(struct vidas_sync *s, const char *what, char out[static 64])
{
	snprintf(out, 64, "%s-%llu", what,
		 (unsigned long long)atomic_fetch_add_explicit(&s->stage_next, 1,
							       memory_order_relaxed));
}
