/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attributes of files, and of the file system. */
#include "vidasfs/far.h"
#include "vidasfs/fs.h"

#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Within a section. */
static int attr_fill(struct vidas_node *n, struct stat *st, double *timeout)
{
	int fd = vidas_fd_get(n), err;

	if (fd < 0)
		return fd;
	err = vidas_lease_stat(n, fd, st, timeout);
	vidas_fd_put(n);
	return err;
}

void vidas_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vidas_node *n = vidas_node_of(ino);
	double timeout;
	struct stat st;
	int err;

	(void)fi;
	if (vidas_node_is_list(n)) {
		vidas_root_getattr(req);
		return;
	}
	vidas_lease_enter();
	err = attr_fill(n, &st, &timeout);
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_attr(req, &st, timeout);
	vidas_lease_leave();
}

static int set_mode(int fd, mode_t mode)
{
	char path[VIDAS_PROC_PATH_MAX];
	struct stat st;
	int err;

	if (fstat(fd, &st) < 0)
		return -errno;
	/* The kernel has decided about S_ISGID by the caller's groups; ours have no say in it. */
	if (mode & S_ISGID)
		vidas_identity_assume_group(st.st_gid);
	err = chmod(vidas_fd_path(fd, path), mode) < 0 ? -errno : 0;
	vidas_identity_resume();
	return err;
}

/* Whoever reads it from a mapping (io.c) holds a lease, which ends before the file gets shorter; or,
 * here, the lock of its window. */
int vidas_file_cut(struct vidas_node *n, int fd, off_t size)
{
	struct vidas_branch *b = n->key.branch;
	char path[VIDAS_PROC_PATH_MAX];
	int err = vidas_file_discard(n, fd, size);

	if (err)
		return err;
	vidas_tree_write_begin(b->tree, n->key.ino);
	pthread_rwlock_wrlock(&n->window_lock);
	vidas_far_unmap(n);
	err = truncate(vidas_fd_path(fd, path), size) < 0 ? -errno : 0;
	pthread_rwlock_unlock(&n->window_lock);
	vidas_tree_write_end(b->tree, n->key.ino);
	return err;
}

static int set_times(int fd, const struct stat *attr, int to_set)
{
	struct timespec ts[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };

	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		ts[0].tv_nsec = UTIME_NOW;
	else if (to_set & FUSE_SET_ATTR_ATIME)
		ts[0] = attr->st_atim;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		ts[1].tv_nsec = UTIME_NOW;
	else if (to_set & FUSE_SET_ATTR_MTIME)
		ts[1] = attr->st_mtim;
	return utimensat(fd, "", ts, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int set_owner(int fd, uid_t uid, gid_t gid)
{
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* So comes chown(2) with -1 for both, which moves the ctime and takes the suid and sgid bits. And so does
 * the kernel's wish to take them before a write: that write will. */
static int set_nothing(fuse_req_t req, int fd)
{
	uid_t uid = fuse_req_ctx(req)->uid;
	struct stat st;

	if (uid && (fstat(fd, &st) < 0 || st.st_uid != uid))
		return 0;
	return set_owner(fd, (uid_t)-1, (gid_t)-1);
}

/* What only the owner may; vidas_identity_owner() says why it is asked once more. */
static int may_set(fuse_req_t req, int fd, int to_set)
{
	const int owners = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID |
			   FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME;
	const int now = FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;
	struct stat st;

	/* Both to now: who may write. */
	if (!fuse_req_ctx(req)->uid || !(to_set & owners) || (to_set & now) == now)
		return 0;
	return fstat(fd, &st) < 0 ? -errno : vidas_identity_owner(req, &st);
}

static int set_attrs(struct vidas_node *n, int fd, const struct stat *attr, int to_set)
{
	const int times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |
			  FUSE_SET_ATTR_MTIME_NOW;
	int err = 0;

	if (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		err = set_owner(fd, to_set & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1,
				to_set & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1);
	if (!err && (to_set & FUSE_SET_ATTR_MODE))
		err = set_mode(fd, attr->st_mode & 07777);
	if (!err && (to_set & FUSE_SET_ATTR_SIZE))
		err = vidas_file_cut(n, fd, attr->st_size);
	if (!err && (to_set & times))
		err = set_times(fd, attr, to_set);
	return err;
}

void vidas_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		      struct fuse_file_info *fi)
{
	struct vidas_node *n = vidas_node_of(ino);
	int fd = vidas_fd_get(n), err;
	struct stat st;

	(void)fi;
	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	err = may_set(req, fd, to_set);
	if (!err &&
	    (!to_set || (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_SIZE))))
		vidas_identity_assume_changer(req, fd);
	if (!err)
		err = to_set ? set_attrs(n, fd, attr, to_set) : set_nothing(req, fd);
	vidas_identity_resume();
	vidas_lease_changed(n->key.branch, n->key.ino, VIDAS_WIRE_RECALL_ATTRS);
	if (!err && fstat(fd, &st) < 0)
		err = -errno;
	/* The kernel takes these over even if they were recalled on the way to it: not cached. */
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_attr(req, &st, 0);
	vidas_fd_put(n);
}

void vidas_op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct vidas_node *n = vidas_node_of(ino);
	struct statvfs st;

	vidas_nodes_settle();
	if (vidas_node_is_list(n))
		vidas_root_statfs(req);
	else if (fstatvfs(n->key.branch->fd, &st) < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &st);
}
