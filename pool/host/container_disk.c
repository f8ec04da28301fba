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

static int fill(int dir)
{
	if (mkdirat(dir, "tree", 0755) < 0 || mkdirat(dir, "control", 0700) < 0)
		return -errno;
	return vidas_host_leases_make(dir);
}

/* A persistent pool keeps what was acknowledged over a power cut. */
static int sync_directory(int fd)
{
	return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

int vidas_host_disk_make(struct host_container *c)
{
	int trash = c->host->trash_fd, err;

	vidas_host_trash_name(c->made_as, "new");
	if (mkdirat(trash, c->made_as, 0700) < 0)
		return vidas_fail(-errno, "cannot make a container: %s", strerror(errno));
	c->dir_fd = openat(trash, c->made_as, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	err = c->dir_fd < 0 ? -errno : fill(c->dir_fd);
	if (err < 0)
		return vidas_fail(err, "cannot make a container: %s", strerror(-err));
	return vidas_host_disk_open(c);
}

int vidas_host_disk_publish(struct host_container *c, mode_t tree_mode)
{
	struct host *h = c->host;
	int err = 0;

	if (fchmod(c->tree_fd, tree_mode) < 0)
		err = -errno;
	if (err == 0)
		err = vidas_host_meta_begin(c->dir_fd, &c->meta);
	if (err == 0 &&
	    renameat2(h->trash_fd, c->made_as, h->containers_fd, c->name, RENAME_NOREPLACE) < 0)
		err = -errno;
	if (err == -EEXIST)
		return vidas_fail(err, "there is a container '%s' already", c->name);
	if (err < 0)
		return vidas_fail(err, "cannot make the container: %s", strerror(-err));
	c->made_as[0] = '\0';
	return sync_directory(h->containers_fd);
}

int vidas_host_disk_trash(struct host *h, const char *name)
{
	char old[HOST_TRASH_NAME];

	vidas_host_trash_name(old, "old");
	if (renameat(h->containers_fd, name, h->trash_fd, old) < 0)
		return vidas_fail(-errno, "cannot take the container away: %s", strerror(errno));
	sync_directory(h->containers_fd);
	atomic_store_explicit(&h->cleaner_due, true, memory_order_relaxed);
	return 0;
}

int vidas_host_disk_clone(const struct host_container *c, bool readonly)
{
	/* Private: what a domain mounts in it must not appear in the pool of the host. */
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID |
					       (readonly ? MOUNT_ATTR_RDONLY : 0u),
				   .propagation = MS_PRIVATE };
	char path[VIDAS_NAME_MAX + sizeof("containers//tree")];
	int fd, err;

	/* By name, from the pool as it is mounted: only attached mounts can be cloned everywhere. */
	snprintf(path, sizeof(path), "containers/%s/tree", c->name);
	fd = open_tree(c->host->pool_fd, path,
		       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	if (fd >= 0 && mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) == 0)
		return fd;
	err = -errno;
	if (fd >= 0)
		close(fd);
	return vidas_fail(err, "cannot hand over the tree: %s", strerror(-err));
}

static int open_leases(struct host_container *c)
{
	int fd = openat(c->dir_fd, "leases", O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && vidas_host_leases_make(c->dir_fd) == 0)
		fd = openat(c->dir_fd, "leases", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : vidas_host_leases_open(c, fd);
}

/* With dir_fd open already, or by its name. */
int vidas_host_disk_open(struct host_container *c)
{
	const char *what = "its directory";
	struct stat st;
	int err = 0;

	if (c->dir_fd < 0)
		c->dir_fd = openat(c->host->containers_fd, c->name,
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (c->dir_fd < 0) {
		err = -errno;
		goto out;
	}
	what = "tree";
	c->tree_fd = openat(c->dir_fd, what, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (c->tree_fd < 0 || fstat(c->tree_fd, &st) < 0) {
		err = -errno;
		goto out;
	}
	c->tree_inode = st.st_ino;
	what = "control";
	c->control_fd = openat(c->dir_fd, what, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (c->control_fd < 0) {
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
