/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container's directory. It is made in trash/ and gets its name by a rename, when everything is
 * in it; it goes by a rename into trash/. So under containers/ there are only whole ones.
 */
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/host/container.h"
#include "pool/host/pool.h"

static int fill(int dir, const struct host_meta *meta, mode_t mode)
{
	int err;

	if (mkdirat(dir, "tree", mode) < 0 || mkdirat(dir, "control", 0700) < 0 ||
	    mkdirat(dir, "known", 0700) < 0)
		return -errno;
	/* The mode of mkdir has no sticky bit everywhere. */
	if (fchmodat(dir, "tree", mode, 0) < 0)
		return -errno;
	err = vidas_host_leases_make(dir);
	return err < 0 ? err : vidas_host_meta_store(dir, meta);
}

/* A persistent pool keeps what was acknowledged over a power cut. */
static int sync_directory(int fd)
{
	return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

int vidas_host_disk_make(struct host *h, const char *name, const struct host_meta *meta,
			 mode_t mode)
{
	char made[HOST_TRASH_NAME], old[HOST_TRASH_NAME];
	int err, dir;

	vidas_host_trash_name(made, "new");
	if (mkdirat(h->trash_fd, made, 0700) < 0)
		return vidas_fail(-errno, "cannot make a container: %s", strerror(errno));
	dir = openat(h->trash_fd, made, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	err = dir < 0 ? -errno : fill(dir, meta, mode);
	if (err == 0 && renameat2(h->trash_fd, made, h->containers_fd, name, RENAME_NOREPLACE) < 0)
		err = -errno;
	if (err == 0)
		err = sync_directory(h->containers_fd);
	else {
		vidas_host_trash_name(old, "old");
		renameat(h->trash_fd, made, h->trash_fd, old);
		vidas_host_cleaner_wake(h);
	}
	if (dir >= 0)
		close(dir);
	if (err == -EEXIST)
		return vidas_fail(err, "there is a container of that name already");
	if (err < 0)
		return vidas_fail(err, "cannot make the container: %s", strerror(-err));
	return 0;
}

int vidas_host_disk_trash(struct host *h, const char *name)
{
	char old[HOST_TRASH_NAME];

	vidas_host_trash_name(old, "old");
	if (renameat(h->containers_fd, name, h->trash_fd, old) < 0)
		return vidas_fail(-errno, "cannot take the container away: %s", strerror(errno));
	sync_directory(h->containers_fd);
	vidas_host_cleaner_wake(h);
	return 0;
}

static int clone_tree(const struct host_container *c, uint64_t attributes)
{
	struct mount_attr attr = { .attr_set = attributes };
	int fd = open_tree(c->dir_fd, "tree", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int vidas_host_disk_clone(const struct host_container *c, bool readonly)
{
	int fd = clone_tree(c, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID |
				       (readonly ? MOUNT_ATTR_RDONLY : 0u));

	if (fd < 0)
		return vidas_fail(fd, "cannot hand over the tree: %s", strerror(-fd));
	return fd;
}

/*
 * Our own way into the tree is such a mount too: a device node or a link that a domain plants does
 * nothing in it.
 */
static int open_tree_directory(const struct host_container *c)
{
	int mnt = clone_tree(c, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOSYMFOLLOW);
	int fd;

	if (mnt < 0)
		return mnt;
	fd = openat(mnt, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	close(mnt);
	return fd;
}

static int open_leases(struct host_container *c)
{
	int fd = openat(c->dir_fd, "leases", O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && vidas_host_leases_make(c->dir_fd) == 0)
		fd = openat(c->dir_fd, "leases", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : vidas_host_leases_open(c, fd);
}

int vidas_host_disk_open(struct host_container *c)
{
	const char *what = "its directory";
	int err;

	c->tree_fd = c->control_fd = c->leases_fd = -1;
	err = c->dir_fd = openat(c->host->containers_fd, c->name,
				 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (err < 0) {
		err = -errno;
		goto out;
	}
	what = "tree";
	err = c->tree_fd = open_tree_directory(c);
	if (err < 0)
		goto out;
	what = "control";
	err = c->control_fd =
		openat(c->dir_fd, what, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (err < 0) {
		err = -errno;
		goto out;
	}
	what = "leases";
	err = open_leases(c);
out:
	if (err < 0) {
		vidas_host_disk_close(c);
		return vidas_fail(err, "cannot open %s: %s", what, strerror(-err));
	}
	return 0;
}

void vidas_host_disk_close(struct host_container *c)
{
	int *const fds[] = { &c->control_fd, &c->tree_fd, &c->dir_fd };

	vidas_host_leases_close(c);
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
