/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Directories: listing them, with offsets that are the host's own, so that they stay valid while
 * entries come and go. */
#include "vidasfs/fs.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dir {
	struct vidas_node *node;
	struct vidas_names *names; /* the list of containers */
	pthread_mutex_t lock;	   /* guards what follows */
	DIR *dp;
	struct dirent *entry; /* read, not replied yet */
	off_t next;	      /* where dp stands, if entry is NULL; else the entry's */
};

static struct dir *dir_of(const struct fuse_file_info *fi)
{
	return (struct dir *)(uintptr_t)fi->fh;
}

static void dir_free(struct dir *d)
{
	if (d->dp)
		closedir(d->dp);
	vidas_names_free(d->names);
	pthread_mutex_destroy(&d->lock);
	vidas_node_unref(d->node);
	free(d);
}

static int dir_open(struct vidas_node *n, struct dir **out)
{
	struct dir *d = calloc(1, sizeof(*d));
	int fd, err = 0;

	if (!d)
		return -ENOMEM;
	pthread_mutex_init(&d->lock, NULL);
	d->node = n;
	vidas_node_ref(n);
	if (vidas_node_is_list(n)) {
		err = vidas_root_opendir(&d->names);
		goto out;
	}
	err = vidas_dir_import(n);
	if (err)
		goto out;
	fd = vidas_node_open(n, O_RDONLY | O_DIRECTORY);
	if (fd < 0) {
		err = fd;
		goto out;
	}
	d->dp = fdopendir(fd);
	if (!d->dp) {
		err = -errno;
		close(fd);
	}
out:
	if (err)
		dir_free(d);
	else
		*out = d;
	return err;
}

void vidas_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct dir *d = NULL;
	int err = dir_open(vidas_node_of(ino), &d);

	if (err) {
		fuse_reply_err(req, -err);
		return;
	}
	fi->fh = (uintptr_t)d;
	if (fuse_reply_open(req, fi) == -ENOENT)
		dir_free(d);
}

void vidas_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	dir_free(dir_of(fi));
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
static int add(struct listing *l, struct dir *d, const struct dirent *de)
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
			err = vidas_entry_fill(d->node, dirfd(d->dp), de->d_name, &e);
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
static int removed(struct dir *d)
{
	struct stat st;

	return fstat(dirfd(d->dp), &st) < 0 ? -errno : st.st_nlink ? 0 : -ENOENT;
}

static int fill(struct listing *l, struct dir *d, off_t off)
{
	int err;

	if (off != d->next) {
		seekdir(d->dp, off);
		d->entry = NULL;
		d->next = off;
	}
	for (;;) {
		if (!d->entry) {
			errno = 0;
			d->entry = readdir(d->dp);
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

static void list(fuse_req_t req, size_t size, off_t off, struct dir *d, bool plus)
{
	struct listing l = { .req = req, .plus = plus, .size = size };
	int err = 0;

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

static int ask_flush(struct vidas_tree *t, const char *path, uint64_t ino, void *arg)
{
	(void)arg;
	return vidas_tree_flush(t, path, ino);
}

void vidas_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct vidas_node *n = vidas_node_of(ino);
	struct dir *d = dir_of(fi);
	int err = 0;

	(void)datasync;
	if (vidas_node_is_list(n))
		;
	else if (n->key.branch->rooted)
		err = vidas_node_ask(n, ask_flush, NULL);
	else if (!n->key.branch->volatile_pool && fsync(dirfd(d->dp)) < 0)
		err = -errno;
	fuse_reply_err(req, err == -ENOENT ? 0 : -err);
}
