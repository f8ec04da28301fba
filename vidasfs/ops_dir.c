/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Directories: listing them, with offsets that are the host's own, so that they stay valid while
 * entries come and go. */
#include "vidasfs/fs.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct vidas_dir *dir_of(const struct fuse_file_info *fi)
{
	return vidas_keep_find(VIDAS_KEPT_DIR, fi->fh);
}

static void dir_free(struct vidas_dir *d)
{
	struct vidas_node *n = d->node;

	if (d->stream)
		closedir(d->stream);
	vidas_names_free(d->names);
	pthread_mutex_destroy(&d->lock);
	vidas_keep_free(VIDAS_KEPT_DIR, d);
	vidas_branch_opened(n->key.branch, -1);
	vidas_node_unref(n);
}

/* What it lists, if it is not open yet. */
static int dir_fill(struct vidas_dir *d)
{
	int fd, err = 0;

	if (d->stream || d->names)
		return 0;
	if (vidas_node_is_list(d->node))
		return vidas_root_opendir(&d->names);
	fd = vidas_node_open(d->node, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	d->stream = fdopendir(fd);
	if (!d->stream) {
		err = -errno;
		close(fd);
	}
	return err;
}

static int dir_open(struct vidas_node *n, struct vidas_dir **out)
{
	struct vidas_dir *d = vidas_keep_new(VIDAS_KEPT_DIR);
	int err = 0;

	if (!d)
		return -ENOMEM;
	pthread_mutex_init(&d->lock, NULL);
	d->node = n;
	vidas_node_ref(n);
	vidas_branch_opened(n->key.branch, 1);
	if (!vidas_node_is_list(n))
		err = vidas_dir_import(n);
	if (!err)
		err = dir_fill(d);
	if (err) {
		dir_free(d);
		return err;
	}
	vidas_keep_publish(d);
	*out = d;
	return 0;
}

void vidas_dir_resume(struct vidas_dir *d)
{
	d->names = NULL;
	d->stream = NULL;
	d->entry = NULL;
	d->next = 0;
	d->users = 0;
	pthread_mutex_init(&d->lock, NULL);
	vidas_node_ref(d->node);
	vidas_branch_opened(d->node->key.branch, 1);
}

void vidas_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vidas_dir *d = vidas_keep_again(VIDAS_KEPT_DIR);
	int err = 0;

	if (!d)
		err = dir_open(vidas_node_of(ino), &d);
	if (err) {
		fuse_reply_err(req, -err);
		return;
	}
	fi->fh = vidas_keep_number(VIDAS_KEPT_DIR, d);
	if (fuse_reply_open(req, fi) == -ENOENT)
		dir_free(d);
}

void vidas_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct vidas_dir *d = dir_of(fi);

	(void)ino;
	if (d) /* else it was done already, by a worker that died */
		dir_free(d);
	fuse_reply_err(req, 0);
}

/* A reply in the making; `lookups` are those that it counts. */
struct listing {
	fuse_req_t req;
	bool plus;
	char *buf;
	size_t size, used;
	struct vidas_node **lookups;
	size_t count;
};

/* Smaller than any entry of a readdirplus reply. */
#define ENTRY_MIN 128u

/* Adds one entry; 1 if it does not fit any more. */
static int add(struct listing *l, struct vidas_dir *d, const struct dirent *de)
{
	bool dots = !strcmp(de->d_name, ".") || !strcmp(de->d_name, "..");
	struct fuse_entry_param e = { .attr.st_ino = de->d_ino,
				      .attr.st_mode = (mode_t)DTTOIF(de->d_type) };
	size_t left = l->size - l->used, need;
	int err;

	if (!l->plus) {
		need = fuse_add_direntry(l->req, l->buf + l->used, left, de->d_name, &e.attr,
					 de->d_off);
	} else {
		if (!dots) {
			err = vidas_entry_fill(d->node, dirfd(d->stream), de->d_name, &e);
			if (err) /* gone meanwhile */
				return err == -ENOENT ? 0 : err;
		}
		need = fuse_add_direntry_plus(l->req, l->buf + l->used, left, de->d_name, &e,
					      de->d_off);
		if (need > left && !dots)
			vidas_node_forget(vidas_node_of(e.ino), 1);
		else if (!dots)
			l->lookups[l->count++] = vidas_node_of(e.ino);
	}
	if (need > left)
		return 1;
	l->used += need;
	return 0;
}

/* readdir(3) takes it for the end. */
static int removed(struct vidas_dir *d)
{
	struct stat st;

	return fstat(dirfd(d->stream), &st) < 0 ? -errno : st.st_nlink ? 0 : -ENOENT;
}

static int fill(struct listing *l, struct vidas_dir *d, off_t off)
{
	int err;

	if (off != d->next) {
		seekdir(d->stream, off);
		d->entry = NULL;
		d->next = off;
	}
	for (;;) {
		if (!d->entry) {
			errno = 0;
			d->entry = readdir(d->stream);
			if (!d->entry)
				return errno ? -errno : removed(d);
		}
		err = add(l, d, d->entry);
		if (err)
			return err == 1 ? 0 : err;
		d->next = d->entry->d_off;
		d->entry = NULL;
	}
}

static void list(fuse_req_t req, size_t size, off_t off, struct vidas_dir *d, bool plus)
{
	struct listing l = { .req = req, .plus = plus, .size = size };
	int err;

	pthread_mutex_lock(&d->lock);
	err = dir_fill(d);
	pthread_mutex_unlock(&d->lock);
	if (err) {
		fuse_reply_err(req, -err);
		return;
	}
	if (d->names) {
		vidas_root_readdir(req, d->names, size, off, plus);
		return;
	}
	l.buf = malloc(size);
	l.lookups = plus ? calloc(size / ENTRY_MIN + 1, sizeof(struct vidas_node *)) : NULL;
	if (!l.buf || (plus && !l.lookups)) {
		fuse_reply_err(req, ENOMEM);
		goto out;
	}
	pthread_mutex_lock(&d->lock);
	vidas_lease_enter();
	err = fill(&l, d, off);
	pthread_mutex_unlock(&d->lock);
	/* From the reply on `d` may be closed. An error after some entries is met again by the next call. */
	if (err && !l.used)
		fuse_reply_err(req, -err);
	else if (fuse_reply_buf(req, l.buf, l.used) == -ENOENT)
		while (l.count)
			vidas_node_forget(l.lookups[--l.count], 1);
	vidas_lease_leave();
out:
	free(l.lookups);
	free(l.buf);
}

void vidas_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi)
{
	(void)ino;
	list(req, size, off, dir_of(fi), false);
}

void vidas_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			  struct fuse_file_info *fi)
{
	(void)ino;
	list(req, size, off, dir_of(fi), true);
}

static int sync_dir(struct vidas_dir *d)
{
	int err;

	pthread_mutex_lock(&d->lock);
	err = dir_fill(d);
	if (!err && fsync(dirfd(d->stream)) < 0)
		err = -errno;
	pthread_mutex_unlock(&d->lock);
	return err;
}

void vidas_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct vidas_node *n = vidas_node_of(ino);
	struct vidas_dir *d = dir_of(fi);
	int err = 0;

	(void)datasync;
	if (vidas_node_is_list(n))
		;
	else if (n->key.branch->rooted)
		err = vidas_node_push(n);
	else if (!n->key.branch->volatile_pool)
		err = sync_dir(d);
	fuse_reply_err(req, err == -ENOENT ? 0 : -err);
}
