/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files: making and opening them, closing, and what is done to an open one beside reading and
 * writing. */
#include "vidasfs/far.h"
#include "vidasfs/fs.h"

#include <string.h>
#include <unistd.h>

#define COPY_MAX ((size_t)8 << 20) /* at once, of a file that may have to be fetched for it */

/* A file that was there; *out is NULL, or its handle if a worker died over its open. */
static int open_ready(fuse_req_t req, struct vidas_node *n, int fd, struct fuse_file_info *fi,
		      struct vidas_handle **out)
{
	uint64_t generation;
	int err = 0;

	if (*out)
		vidas_handle_tell(*out, fi);
	else
		err = vidas_file_open(n, fd, req, fi->flags, &generation);
	if (!*out && err >= 0) {
		vidas_relaxed_open(n);
		err = vidas_handle_new(n, fd, fi, err ? &generation : NULL, out);
	}
	if (!err && (fi->flags & O_TRUNC)) {
		vidas_identity_assume_changer(req, fd);
		err = vidas_file_cut(n, fd, 0);
		vidas_identity_resume();
	}
	return err;
}

void vidas_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vidas_handle *h = vidas_keep_again(VIDAS_KEPT_HANDLE);
	struct vidas_node *n = vidas_node_of(ino);
	int fd = vidas_fd_get(n), err = 0;

	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	if (n->key.branch->readonly &&
	    ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC)))
		err = -EROFS;
	if (!err)
		err = open_ready(req, n, fd, fi, &h);
	vidas_fd_put(n);
	if (!err) {
		if (fuse_reply_open(req, fi) == -ENOENT)
			vidas_handle_free(h);
		return;
	}
	if (h)
		vidas_handle_free(h);
	fuse_reply_err(req, -err);
}

/* The new file's descriptor, only for reading: writing goes by the backing id, or reopens. */
static int make_file(fuse_req_t req, int dirfd, const char *name, mode_t mode, int flags)
{
	int err, fd = -1;

	if (name && vidas_deed_made(dirfd, name)) {
		fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	err = vidas_identity_assume(req, dirfd, mode);
	if (err)
		return err;
	vidas_deed_begin(0);
	if (name)
		fd = openat(dirfd, name, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    mode & 07777);
	else
		fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC | (flags & O_EXCL),
			    mode & 07777);
	err = fd < 0 ? -errno : 0;
	vidas_deed_done(err);
	vidas_identity_resume();
	return err ? err : fd;
}

/*
 * Another domain was first with a name that need not be new: a descriptor (O_PATH) of its file. What the
 * caller may, which the kernel has not checked, is told by his user and one group; if that is not
 * enough, -ESTALE has the kernel look again. It does so once only, and may be too late once more.
 */
static int first_file(fuse_req_t req, int dirfd, const char *name, int flags)
{
	int access = (flags & O_ACCMODE) == O_RDONLY ? R_OK :
		     (flags & O_ACCMODE) == O_WRONLY ? W_OK :
						       R_OK | W_OK;
	int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat dir, st;

	if (fd < 0)
		return -errno;
	if (flags & O_TRUNC)
		access |= W_OK;
	/* In sticky directories the kernel may forbid it (fs.protected_regular). */
	if (fstat(dirfd, &dir) == 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (!(dir.st_mode & S_ISVTX) || st.st_uid == fuse_req_ctx(req)->uid) &&
	    vidas_identity_may(req, fd, access))
		return fd;
	close(fd);
	return -ESTALE;
}

/* Within a section: by its name, so that this one look after the leases is good for both. */
static void created_fill(struct vidas_node *dir, int dirfd, const char *name, struct vidas_node *n,
			 int fd, bool made, struct fuse_entry_param *e)
{
	e->ino = vidas_node_id(n);
	if (name)
		e->entry_timeout = vidas_lease_names(dir);
	vidas_relaxed_found(dir, n, fd);
	e->attr_timeout = made ? vidas_lease_empty(n) : vidas_lease_attrs(n);
	if (name && fstatat(dirfd, name, &e->attr, AT_SYMLINK_NOFOLLOW) == 0 &&
	    e->attr.st_ino == n->key.ino)
		goto out;
	/* Another domain has renamed or removed it. */
	e->entry_timeout = 0;
	if (fstat(fd, &e->attr) < 0)
		vidas_log(VIDAS_LOG_ERR, "fstat of a new file: %s", strerror(errno));
out:
	if ((e->attr.st_mode & (S_ISUID | S_ISGID)) || (made && e->attr.st_size))
		e->attr_timeout = 0;
}

/* A descriptor of the file that is to be created; `made`: it is new. */
static int make_or_find(fuse_req_t req, int dirfd, const char *name, mode_t mode, int flags,
			bool *made)
{
	int fd = -ESTALE;

	for (int tries = 0; tries < 100; tries++) {
		fd = make_file(req, dirfd, name, mode, flags);
		*made = fd != -EEXIST || (flags & O_EXCL);
		if (!*made)
			fd = first_file(req, dirfd, name, flags);
		if (*made || fd != -ENOENT) /* it was removed again */
			break;
	}
	return fd;
}

/* Makes the file, looks it up and opens it. */
static int create_new(fuse_req_t req, struct vidas_node *dir, int dirfd, const char *name,
		      mode_t mode, struct fuse_file_info *fi, struct vidas_handle **h, bool *made)
{
	int fd = make_or_find(req, dirfd, name, mode, fi->flags, made), err;
	struct vidas_node *n;
	struct stat st;

	if (fd < 0)
		return fd;
	if (name && *made)
		vidas_lease_changed(dir->key.branch, dir->key.ino,
				    VIDAS_WIRE_RECALL_NAMES | VIDAS_WIRE_RECALL_ATTRS);
	if (fstat(fd, &st) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	n = vidas_node_enter(dir->key.branch, &st, fd, true);
	if (!n)
		return -ENOMEM;
	err = *made ? vidas_handle_new(n, n->fd, fi, NULL, h) : open_ready(req, n, n->fd, fi, h);
	if (!err && !name)
		vidas_fd_pin(n);
	vidas_fd_put(n);
	if (err && *h)
		vidas_handle_free(*h);
	if (err)
		vidas_node_forget(n, 1);
	return err;
}

static void create(fuse_req_t req, struct vidas_node *dir, const char *name, mode_t mode,
		   struct fuse_file_info *fi)
{
	struct vidas_handle *h = vidas_keep_again(VIDAS_KEPT_HANDLE);
	struct fuse_entry_param e = { 0 };
	int dirfd = vidas_fd_get(dir), fd, err = 0;
	struct vidas_node *n;
	bool made = false;

	if (dirfd < 0) {
		fuse_reply_err(req, -dirfd);
		return;
	}
	if (h)
		vidas_handle_tell(h, fi);
	else
		err = create_new(req, dir, dirfd, name, mode, fi, &h, &made);
	if (err) {
		fuse_reply_err(req, -err);
		goto out;
	}
	n = h->node;
	fd = vidas_fd_get(n); /* pinned by `h` */
	vidas_lease_enter();
	created_fill(dir, dirfd, name, n, fd, made, &e);
	err = fuse_reply_create(req, &e, fi);
	vidas_lease_leave();
	vidas_fd_put(n);
	if (err == -ENOENT) { /* nobody takes it */
		vidas_handle_free(h);
		vidas_node_forget(n, 1);
	}
out:
	vidas_fd_put(dir);
}

void vidas_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		     struct fuse_file_info *fi)
{
	if (strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		fuse_reply_err(req, EINVAL);
	else
		create(req, vidas_node_of(parent), name, mode, fi);
}

void vidas_op_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
	create(req, vidas_node_of(parent), NULL, mode, fi);
}

void vidas_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vidas_node *n = vidas_node_of(ino);
	struct vidas_handle *h = vidas_handle_of(fi);
	int err = 0;

	vidas_locks_flush(h, fi->lock_owner);
	if (h->writes && vidas_node_policy(n, "write_policy", "through"))
		err = vidas_node_push(n);
	fuse_reply_err(req, -err);
}

void vidas_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vidas_handle *h = vidas_handle_of(fi);

	(void)ino;
	if (h) /* else it was done already, by a worker that died */
		vidas_handle_free(h);
	fuse_reply_err(req, 0);
}

void vidas_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct vidas_node *n = vidas_node_of(ino);
	int fd, err = 0;

	if (n->key.branch->rooted) {
		err = vidas_node_push(n);
	} else if (!n->key.branch->volatile_pool) {
		fd = vidas_handle_fd(vidas_handle_of(fi));
		err = fd < 0 ? fd : (datasync ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
	}
	fuse_reply_err(req, -err);
}

void vidas_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
			struct fuse_file_info *fi)
{
	struct vidas_node *n = vidas_node_of(ino);
	struct vidas_handle *h = vidas_handle_of(fi);
	int fd = vidas_handle_fd(h), err;

	err = fd < 0 ? fd : vidas_partial_whole(h, fd, req);
	if (!err) {
		vidas_identity_assume_changer(req, fd);
		pthread_rwlock_wrlock(&n->window_lock);
		vidas_far_unmap(n);
		err = fallocate(fd, mode, offset, length) < 0 ? -errno : 0;
		pthread_rwlock_unlock(&n->window_lock);
		vidas_identity_resume();
	}
	fuse_reply_err(req, -err);
}

void vidas_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		    struct fuse_file_info *fi)
{
	struct vidas_handle *h = vidas_handle_of(fi);
	off_t at = vidas_handle_fd(h);

	(void)ino;
	if (at >= 0 && vidas_handle_partial(h)) {
		at = vidas_partial_seek((int)at, off, whence);
	} else if (at >= 0) {
		at = lseek((int)at, off, whence);
		at = at < 0 ? -errno : at;
	}
	if (at < 0)
		fuse_reply_err(req, (int)-at);
	else
		fuse_reply_lseek(req, at);
}

void vidas_op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			      struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			      struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct vidas_handle *from = vidas_handle_of(fi_in), *to = vidas_handle_of(fi_out);
	int in = vidas_handle_fd(from), out = vidas_handle_fd(to), err;
	ssize_t n;

	(void)ino_in;
	(void)ino_out;
	if (in < 0 || out < 0) {
		fuse_reply_err(req, in < 0 ? -in : -out);
		return;
	}
	/* The caller comes again for the rest. */
	if (vidas_handle_partial(from) && len > COPY_MAX)
		len = COPY_MAX;
	err = vidas_partial_whole(to, out, req);
	if (!err)
		err = vidas_partial_before(from, in, req, off_in, len);
	n = err ? -1 : copy_file_range(in, &off_in, out, &off_out, len, (unsigned)flags);
	if (!err && n < 0)
		err = -errno;
	if (!err)
		err = vidas_partial_after(from, in);
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_write(req, (size_t)n);
}
