/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Resources as files: opened beneath the container's tree, never through a link, and never anything
 * but a regular file.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/host/object.h"

#define TRIES 16

/* Linux 6.12: has this open made the file? */
#ifndef F_CREATED_QUERY
#define F_CREATED_QUERY (1024 + 4)
#endif

static int open_beneath(int dir, const char *path, int flags, mode_t mode)
{
	struct open_how how = { .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
				.mode = mode,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
					   RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

int vidas_host_path_open(const struct host_container *c, const char *path)
{
	return open_beneath(c->tree_fd, path[0] ? path : ".", O_PATH, 0);
}

int vidas_host_handle_get(int fd, struct host_handle *out)
{
	union {
		struct file_handle handle;
		uint8_t room[sizeof(struct file_handle) + HOST_HANDLE_BYTES];
	} h = { .handle.handle_bytes = HOST_HANDLE_BYTES };
	int mount;

	memset(out, 0, sizeof(*out));
	if (name_to_handle_at(fd, "", &h.handle, &mount, AT_EMPTY_PATH) < 0 ||
	    h.handle.handle_type < 0 || h.handle.handle_type > UINT8_MAX)
		return -ENODATA;
	out->type = (uint8_t)h.handle.handle_type;
	out->bytes = (uint8_t)h.handle.handle_bytes;
	memcpy(out->data, h.handle.f_handle, h.handle.handle_bytes);
	return 0;
}

int vidas_host_handle_open(const struct host_container *c, uint64_t inode,
			   const struct host_handle *handle)
{
	union {
		struct file_handle handle;
		uint8_t room[sizeof(struct file_handle) + HOST_HANDLE_BYTES];
	} h = { .handle.handle_bytes = handle->bytes };
	struct stat st;
	int fd;

	if (!handle->bytes)
		return -ENODATA;
	h.handle.handle_type = handle->type;
	memcpy(h.handle.f_handle, handle->data, handle->bytes);
	fd = open_by_handle_at(c->dir_fd, &h.handle, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_ino != inode || !S_ISREG(st.st_mode)) {
		close(fd);
		return -ESTALE;
	}
	return fd;
}

bool vidas_host_handle_alive(const struct host_container *c, const struct host_resource *r)
{
	int fd = vidas_host_handle_open(c, r->inode, &r->handle);
	struct stat st;
	bool alive = true;

	if (fd >= 0) {
		alive = fstat(fd, &st) < 0 || st.st_nlink > 0;
		close(fd);
	} else if (fd == -ESTALE || fd == -ENOENT) {
		alive = false;
	}
	return alive;
}

/* Entries of `dir` came into being. */
void vidas_host_recall_made(struct host_container *c, int dir)
{
	struct stat st;

	if (fstat(dir, &st) < 0)
		return;
	vidas_host_changes_note(c, st.st_ino);
	vidas_host_recall_changed(c, st.st_ino, VIDAS_WIRE_RECALL_NAMES | VIDAS_WIRE_RECALL_ATTRS);
}

/* The directory `name` of `dir`, made if it is missing. */
static int enter(struct host_container *c, int dir, const char *name, const struct vidas_peer *make)
{
	int fd = open_beneath(dir, name, O_PATH | O_DIRECTORY, 0);
	bool made;

	if (fd != -ENOENT)
		return fd;
	made = mkdirat(dir, name, 0755) == 0;
	if (!made && errno != EEXIST)
		return -errno;
	fd = open_beneath(dir, name, O_PATH | O_DIRECTORY, 0);
	if (made && fd >= 0 && make->uid &&
	    fchownat(fd, "", make->uid, make->gid, AT_EMPTY_PATH) < 0)
		vidas_log(VIDAS_LOG_DEBUG, "a new directory keeps its owner: %m");
	if (made)
		vidas_host_recall_made(c, dir);
	return fd;
}

/* The directory above `path`, made as far as it is missing; *name is what is left of the path. */
static int open_parent(struct host_container *c, const char *path, const struct vidas_peer *make,
		       const char **name)
{
	int dir = open_beneath(c->tree_fd, ".", O_PATH | O_DIRECTORY, 0);
	const char *slash;

	while (dir >= 0 && (slash = strchr(path, '/'))) {
		char part[NAME_MAX + 1];
		size_t bytes = (size_t)(slash - path);
		int next = -ENAMETOOLONG;

		if (bytes < sizeof(part)) {
			memcpy(part, path, bytes);
			part[bytes] = '\0';
			next = enter(c, dir, part, make);
		}
		close(dir);
		dir = next;
		path = slash + 1;
	}
	*name = path;
	return dir;
}

static void own_file(int fd, const struct vidas_peer *make)
{
	if (make->uid && fchown(fd, make->uid, make->gid) < 0)
		vidas_log(VIDAS_LOG_DEBUG, "a new file keeps its owner: %m");
}

/* Right below the tree, and where the kernel says which of the two it did: opens the file, or makes
 * it, in one call. < 0: the long way may go further. */
static int open_or_make(struct host_container *c, const char *path, const struct vidas_peer *make,
			struct host_file *out)
{
	int fd = -EINVAL;

	if (!strchr(path, '/') && fcntl(c->tree_fd, F_CREATED_QUERY) >= 0)
		fd = open_beneath(c->tree_fd, path, O_RDWR | O_CREAT | O_NONBLOCK, 0644);
	if (fd >= 0 && fcntl(fd, F_CREATED_QUERY) > 0) {
		out->made = true;
		out->parent_inode = c->tree_inode;
		own_file(fd, make);
	}
	return fd;
}

static int make_file(struct host_container *c, const char *path, const struct vidas_peer *make,
		     struct host_file *out)
{
	const char *name;
	struct stat st;
	bool deep = strchr(path, '/');
	int dir = c->tree_fd, fd;

	name = path;
	if (deep)
		dir = open_parent(c, path, make, &name);
	if (dir < 0)
		return dir;
	fd = open_beneath(dir, name, O_RDWR | O_CREAT | O_EXCL, 0644);
	if (fd >= 0) {
		out->made = true;
		if (!deep)
			out->parent_inode = c->tree_inode;
		else if (fstat(dir, &st) == 0)
			out->parent_inode = st.st_ino;
		own_file(fd, make);
	}
	if (deep)
		close(dir);
	return fd;
}

int vidas_host_file_open(struct host_container *c, const char *path, bool write,
			 const struct vidas_peer *make, struct host_file *out)
{
	struct stat st;
	int err;

	*out = (struct host_file){ .fd = -ENOENT };
	if (make)
		out->fd = open_or_make(c, path, make, out);
	/* Others may make and remove the name meanwhile. */
	for (int i = 0; i < TRIES && out->fd < 0; i++) {
		/* O_NONBLOCK: a FIFO in its place must not hold us. */
		out->fd =
			open_beneath(c->tree_fd, path, (write ? O_RDWR : O_RDONLY) | O_NONBLOCK, 0);
		if (out->fd != -ENOENT || !make)
			break;
		out->fd = make_file(c, path, make, out);
		if (out->fd != -EEXIST)
			break;
	}
	if (out->fd < 0) {
		if (out->fd == -ELOOP)
			return vidas_fail(-EINVAL, "'%s' is a symbolic link, or goes through one",
					  path);
		return vidas_fail(out->fd, "cannot open '%s': %s", path, strerror(-out->fd));
	}
	err = fstat(out->fd, &st) < 0 ? -errno : 0;
	if (err == 0 && !S_ISREG(st.st_mode))
		err = vidas_fail(S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
				 "'%s' is not a regular file", path);
	if (err < 0) {
		vidas_host_file_close(out);
		return err;
	}
	out->inode = st.st_ino;
	out->size_bytes = (uint64_t)st.st_size;
	return 0;
}

void vidas_host_file_unmake(struct host_container *c, const char *path, const struct host_file *f)
{
	const char *slash = strrchr(path, '/');
	char above[VIDAS_RESOURCE_MAX + 1];
	struct stat st;
	int dir;

	if (!f->made)
		return;
	memcpy(above, path, slash ? (size_t)(slash - path) : 0);
	above[slash ? (size_t)(slash - path) : 0] = '\0';
	dir = open_beneath(c->tree_fd, slash ? above : ".", O_PATH | O_DIRECTORY, 0);
	if (dir < 0)
		return;
	slash = slash ? slash + 1 : path;
	if (fstatat(dir, slash, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == f->inode)
		unlinkat(dir, slash, 0);
	close(dir);
}

void vidas_host_file_close(struct host_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}
