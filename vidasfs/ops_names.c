/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names: looking them up, making, moving and removing them. */
#include "vidasfs/fs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAMES_AND_ATTRS (VIDAS_WIRE_RECALL_NAMES | VIDAS_WIRE_RECALL_ATTRS)

#define LARGE_BYTES (16 << 20)

/* A name that stays in its directory; the kernel sends no other, but it is the border. */
static bool plain(const char *name)
{
	return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/');
}

/* Its attributes: what is cached has to be read after the lease was taken. */
static int entry_stat(struct vidas_node *dir, struct vidas_node *n, struct fuse_entry_param *e)
{
	int fd = vidas_fd_get(n), err;

	if (fd < 0) {
		err = fd;
	} else {
		vidas_relaxed_found(dir, n, fd);
		err = vidas_lease_stat(n, fd, &e->attr, &e->attr_timeout);
		vidas_fd_put(n);
	}
	if (err)
		vidas_node_forget(n, 1);
	return err;
}

/* An inode that we had no node of, by its name; `e` has what it was a moment ago. Whether it needs a
 * lease is known once it has a node, if there are relaxed ones. */
static int entry_meet(struct vidas_node *dir, int dirfd, const char *name,
		      struct fuse_entry_param *e)
{
	struct vidas_branch *b = dir->key.branch;
	bool relaxed =
		atomic_load_explicit(&b->relaxed, memory_order_acquire) || vidas_node_relaxed(dir);
	uint64_t ino = e->attr.st_ino;
	bool held = !relaxed && vidas_lease_hold_unknown(b, ino);
	int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), err = 0;
	struct vidas_node *n;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &e->attr) < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	n = vidas_node_enter(b, &e->attr, fd, false);
	if (!n)
		return -ENOMEM;
	e->ino = vidas_node_id(n);
	if (relaxed)
		return entry_stat(dir, n, e);
	e->attr_timeout = vidas_lease_known(n, held && e->attr.st_ino == ino);
	return 0;
}

int vidas_entry_fill(struct vidas_node *dir, int dirfd, const char *name,
		     struct fuse_entry_param *e)
{
	struct vidas_branch *b = dir->key.branch;
	struct vidas_node *n;

	memset(e, 0, sizeof(*e));
	e->entry_timeout = vidas_lease_names(dir);
	if (fstatat(dirfd, name, &e->attr, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	n = vidas_node_enter(b, &e->attr, -1, false);
	if (!n)
		return entry_meet(dir, dirfd, name, e);
	e->ino = vidas_node_id(n);
	return entry_stat(dir, n, e);
}

static void reply_entry(fuse_req_t req, const struct fuse_entry_param *e)
{
	/* Interrupted: the kernel did not take the lookup. */
	if (fuse_reply_entry(req, e) == -ENOENT && e->ino)
		vidas_node_forget(vidas_node_of(e->ino), 1);
}

void vidas_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct vidas_node *dir = vidas_node_of(parent);
	struct fuse_entry_param e;
	bool imported = false;
	int fd, err;

	if (vidas_node_is_list(dir)) {
		vidas_root_lookup(req, name);
		return;
	}
	fd = plain(name) ? vidas_fd_get(dir) : -ENOENT;
	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
again:
	vidas_lease_enter();
	err = vidas_entry_fill(dir, fd, name, &e);
	if (err == -ENOENT && dir->key.branch->rooted && !imported) {
		vidas_lease_leave();
		imported = true;
		err = vidas_dir_import(dir);
		if (!err)
			goto again;
		fuse_reply_err(req, -err);
		goto out;
	}
	if (err == -ENOENT && e.entry_timeout > 0)
		err = 0; /* e.ino is 0: the absence is cached */
	if (err)
		fuse_reply_err(req, -err);
	else
		reply_entry(req, &e);
	vidas_lease_leave();
out:
	vidas_fd_put(dir);
}

void vidas_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	vidas_node_forget(vidas_node_of(ino), nlookup);
	fuse_reply_none(req);
}

void vidas_op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		vidas_node_forget(vidas_node_of(forgets[i].ino), forgets[i].nlookup);
	fuse_reply_none(req);
}

/* What is made of a name that was not there. */
struct making {
	mode_t mode;
	dev_t rdev;
	const char *target; /* symbolic links */
};

static int make_at(fuse_req_t req, int dirfd, const char *name, const struct making *m)
{
	int err;

	if (vidas_deed_made(dirfd, name))
		return 0;
	err = vidas_identity_assume(req, dirfd, m->mode);
	if (err)
		return err;
	vidas_deed_begin(0);
	if (m->target)
		err = symlinkat(m->target, dirfd, name);
	else if (S_ISDIR(m->mode))
		err = mkdirat(dirfd, name, m->mode & 07777);
	else
		err = mknodat(dirfd, name, m->mode, m->rdev);
	err = err < 0 ? -errno : 0;
	vidas_deed_done(err);
	vidas_identity_resume();
	return err;
}

/* mknod(2) makes a file if no kind is given. */
static mode_t made_mode(const struct making *m)
{
	return m->mode & S_IFMT ? m->mode : S_IFREG | m->mode;
}

static void make(fuse_req_t req, fuse_ino_t parent, const char *name, const struct making *m)
{
	struct vidas_node *dir = vidas_node_of(parent);
	struct fuse_entry_param e;
	int fd = plain(name) ? vidas_fd_get(dir) : -EINVAL;
	int err;

	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	err = make_at(req, fd, name, m);
	if (err) {
		fuse_reply_err(req, -err);
	} else {
		vidas_lease_changed(dir->key.branch, dir->key.ino, NAMES_AND_ATTRS);
		vidas_lease_enter();
		err = vidas_entry_fill(dir, fd, name, &e);
		/* Another domain has put something else in its place: the kernel takes no other kind. */
		if (!err && ((e.attr.st_mode ^ made_mode(m)) & S_IFMT)) {
			vidas_node_forget(vidas_node_of(e.ino), 1);
			err = -EEXIST;
		}
		if (!err && S_ISDIR(m->mode))
			vidas_dir_new(dir, vidas_node_of(e.ino));
		if (err)
			fuse_reply_err(req, -err);
		else
			reply_entry(req, &e);
		vidas_lease_leave();
	}
	vidas_fd_put(dir);
}

void vidas_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	const struct making m = { .mode = mode, .rdev = rdev };

	make(req, parent, name, &m);
}

void vidas_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	const struct making m = { .mode = S_IFDIR | mode };

	if (vidas_node_is_list(vidas_node_of(parent)))
		vidas_root_mkdir(req, name);
	else
		make(req, parent, name, &m);
}

void vidas_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	const struct making m = { .mode = S_IFLNK | 0777, .target = target };

	make(req, parent, name, &m);
}

/* An inode that is about to lose a name; known to the kernel or not. */
struct losing {
	struct vidas_node *n;
	int fd;
	uint64_t ino; /* 0: there is nothing of that name */
	bool last;    /* its last name, for all we know */
	uid_t owner;
};

/* A node whose last name goes could not be reopened: so it has its descriptor before. */
static void losing_begin(struct losing *l, struct vidas_branch *b, int dirfd, const char *name)
{
	struct stat st;

	*l = (struct losing){ .fd = -1 };
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	l->ino = st.st_ino;
	l->owner = st.st_uid;
	l->last = st.st_nlink == 1 || S_ISDIR(st.st_mode);
	l->n = vidas_node_find(b, st.st_ino);
	if (!l->n)
		return;
	l->fd = vidas_fd_get(l->n);
	if (st.st_size >= LARGE_BYTES)
		atomic_store_explicit(&l->n->large, true, memory_order_relaxed);
}

static int losing_allowed(const struct losing *l, fuse_req_t req, int dirfd)
{
	return l->ino ? vidas_identity_sticky(req, dirfd, l->owner) : 0;
}

static void losing_announce(const struct losing *l, struct vidas_branch *b)
{
	if (l->ino)
		vidas_lease_changed(b, l->ino, VIDAS_WIRE_RECALL_ATTRS);
}

/* Nobody need wait for this: while the descriptor is in use it is not given up. */
static void losing_end(struct losing *l, bool done)
{
	struct stat st;

	if (l->fd >= 0) {
		if (done && (l->last || fstat(l->fd, &st) < 0 || !st.st_nlink))
			vidas_fd_pin(l->n);
		vidas_fd_put(l->n);
	}
	if (l->n)
		vidas_node_unref(l->n);
}

/* A directory whose entries are still with the backend only looks empty. */
static int complete(const struct losing *l)
{
	return l->n && S_ISDIR(l->n->type) ? vidas_dir_import(l->n) : 0;
}

static int remove_name(int dirfd, const char *name, int flags, struct losing *l)
{
	int err;

	if (vidas_deed_removed(dirfd, name, &l->ino))
		return 0;
	err = complete(l);
	if (err)
		return err;
	vidas_deed_begin(l->ino);
	err = unlinkat(dirfd, name, flags) < 0 ? -errno : 0;
	vidas_deed_done(err);
	return err;
}

static int move_name(int fd, const char *name, int newfd, const char *newname, unsigned flags,
		     uint64_t ino)
{
	int err;

	if (vidas_deed_moved(newfd, newname))
		return 0;
	vidas_deed_begin(ino);
	err = renameat2(fd, name, newfd, newname, flags) < 0 ? -errno : 0;
	vidas_deed_done(err);
	return err;
}

static int add_name(int fd, uint64_t ino, int dirfd, const char *name)
{
	int err;

	if (vidas_deed_moved(dirfd, name))
		return 0;
	vidas_deed_begin(ino);
	err = linkat(fd, "", dirfd, name, AT_EMPTY_PATH) < 0 ? -errno : 0;
	vidas_deed_done(err);
	return err;
}

static void take(fuse_req_t req, fuse_ino_t parent, const char *name, int flags)
{
	struct vidas_node *dir = vidas_node_of(parent);
	struct vidas_branch *b = dir->key.branch;
	int fd = plain(name) ? vidas_fd_get(dir) : -EINVAL;
	struct losing l;
	int err;

	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	losing_begin(&l, b, fd, name);
	err = losing_allowed(&l, req, fd);
	if (!err)
		err = remove_name(fd, name, flags, &l);
	if (!err) {
		losing_announce(&l, b);
		vidas_lease_changed(b, dir->key.ino, NAMES_AND_ATTRS);
	}
	fuse_reply_err(req, -err);
	losing_end(&l, !err);
	vidas_fd_put(dir);
}

void vidas_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	take(req, parent, name, 0);
}

void vidas_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (vidas_node_is_list(vidas_node_of(parent)))
		vidas_root_rmdir(req, name);
	else
		take(req, parent, name, AT_REMOVEDIR);
}

void vidas_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		     const char *newname, unsigned int flags)
{
	struct vidas_node *from = vidas_node_of(parent), *to = vidas_node_of(newparent);
	struct vidas_branch *b = from->key.branch;
	struct losing moved, lost;
	int fd, newfd, err;

	if (b != to->key.branch) {
		fuse_reply_err(req, EXDEV);
		return;
	}
	if (!plain(name) || !plain(newname)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	fd = vidas_fd_get(from);
	newfd = vidas_fd_get(to);
	if (fd < 0 || newfd < 0) {
		err = fd < 0 ? fd : newfd;
		goto out;
	}
	losing_begin(&moved, b, fd, name);
	losing_begin(&lost, b, newfd, newname);
	/* These get another name. */
	moved.last = false;
	lost.last = lost.last && !(flags & RENAME_EXCHANGE);
	err = losing_allowed(&moved, req, fd);
	if (!err)
		err = losing_allowed(&lost, req, newfd);
	if (!err)
		err = complete(&lost);
	if (!err)
		err = move_name(fd, name, newfd, newname, flags, moved.ino);
	losing_end(&moved, !err);
	losing_end(&lost, !err);
	if (!err) {
		losing_announce(&moved, b);
		losing_announce(&lost, b);
		vidas_lease_changed(b, from->key.ino, NAMES_AND_ATTRS);
		if (to != from)
			vidas_lease_changed(b, to->key.ino, NAMES_AND_ATTRS);
	}
out:
	if (fd >= 0)
		vidas_fd_put(from);
	if (newfd >= 0)
		vidas_fd_put(to);
	fuse_reply_err(req, -err);
}

/* The entry that the new name was, for a moment; counts a lookup. */
static int link_replaced(struct vidas_node *n, int fd, struct fuse_entry_param *e)
{
	memset(e, 0, sizeof(*e));
	if (fstat(fd, &e->attr) < 0)
		return -errno;
	if (vidas_node_enter(n->key.branch, &e->attr, -1, false) != n)
		return -ESTALE;
	e->ino = vidas_node_id(n);
	return 0;
}

void vidas_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct vidas_node *n = vidas_node_of(ino), *dir = vidas_node_of(newparent);
	struct vidas_branch *b = dir->key.branch;
	struct fuse_entry_param e;
	int fd, dirfd, err = 0;

	if (n->key.branch != b || !plain(newname)) {
		fuse_reply_err(req, n->key.branch != b ? EXDEV : EINVAL);
		return;
	}
	fd = vidas_fd_get(n);
	dirfd = vidas_fd_get(dir);
	if (fd < 0 || dirfd < 0)
		err = fd < 0 ? fd : dirfd;
	else
		err = add_name(fd, n->key.ino, dirfd, newname);
	if (err) {
		fuse_reply_err(req, -err);
		goto out;
	}
	vidas_lease_changed(b, dir->key.ino, NAMES_AND_ATTRS);
	vidas_lease_changed(b, n->key.ino, VIDAS_WIRE_RECALL_ATTRS);
	vidas_lease_enter();
	err = vidas_entry_fill(dir, dirfd, newname, &e);
	if (err || e.ino != vidas_node_id(n)) {
		/* Another domain has put something else in its place. */
		if (!err)
			vidas_node_forget(vidas_node_of(e.ino), 1);
		err = link_replaced(n, fd, &e);
	}
	/* The kernel takes these over even if they were recalled on the way to it. */
	e.attr_timeout = 0;
	if (err)
		fuse_reply_err(req, -err);
	else
		reply_entry(req, &e);
	vidas_lease_leave();
out:
	if (fd >= 0)
		vidas_fd_put(n);
	if (dirfd >= 0)
		vidas_fd_put(dir);
}

void vidas_op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct vidas_node *n = vidas_node_of(ino);
	char target[4097];
	int fd = vidas_fd_get(n);
	ssize_t got;

	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	got = readlinkat(fd, "", target, sizeof(target) - 1);
	if (got < 0) {
		fuse_reply_err(req, errno);
	} else {
		target[got] = 0;
		fuse_reply_readlink(req, target);
	}
	vidas_fd_put(n);
}
