/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bytes of files: get, put, put_range; and attributes. */
#include "backends/nfs/nfs.h"

#include <errno.h>
#include <string.h>

#define MODE	     01777u /* of what is kept: a domain must not plant suid programs on a server */
#define CREATE_TRIES 8
#define TICK_US	     1000
#define TICKS	     50

int vidas_nfs_set_at(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		     const struct vidas_backend_stat *attrs, bool now)
{
	struct vidas_nfs_set set = {
		.valid = attrs->valid &
			 (VIDAS_BACKEND_MODE | VIDAS_BACKEND_OWNER | VIDAS_BACKEND_MTIME),
		.now = now,
		.mode = attrs->mode & MODE,
		.uid = attrs->uid,
		.gid = attrs->gid,
		.mtime = attrs->mtime,
	};
	int err;

	if (atomic_load_explicit(&be->no_owners, memory_order_relaxed))
		set.valid &= ~(uint32_t)VIDAS_BACKEND_OWNER;
	err = be->dialect->setattr(be, fh, &set);
	if (err != -EACCES || !(set.valid & VIDAS_BACKEND_OWNER))
		return err;
	set.valid &= ~(uint32_t)VIDAS_BACKEND_OWNER;
	err = be->dialect->setattr(be, fh, &set);
	/* All but the owner may be set: so that is it. */
	if (!err && !atomic_exchange_explicit(&be->no_owners, true, memory_order_relaxed))
		be->host->log(be->host->host, 4,
			      "the server lets us give no files to others: owners are not kept");
	return err;
}

static int file_check(const struct vidas_nfs_node *node)
{
	if (node->attr.type == VIDAS_BACKEND_DIRECTORY)
		return -EISDIR;
	return node->attr.type == VIDAS_BACKEND_FILE ? 0 : -EINVAL;
}

static ssize_t get_once(struct vidas_backend *be, const char *key, uint64_t offset,
			const struct iovec *iov, int iovcnt,
			const struct vidas_backend_version *expect,
			struct vidas_backend_version *seen)
{
	struct vidas_nfs_node parent, node;
	ssize_t size;
	int err = vidas_nfs_find(be, key, &parent, &node, NULL);

	if (!err)
		err = file_check(&node);
	if (!err && expect && !vidas_nfs_version_is(be, &node.attr, expect))
		err = -ESTALE;
	if (err)
		return err;
	/* Beyond the end there is nothing to ask for; and some servers refuse it. */
	size = offset < node.attr.size ? vidas_nfs_read(be, &node.fh, offset, iov, iovcnt) : 0;
	if (size < 0)
		return size;
	if (seen)
		vidas_nfs_version(be, &node.attr, seen);
	/* Someone else may have written in place meanwhile. */
	if (expect) {
		err = be->dialect->getattr(be, &node.fh, &node.attr);
		if (!err && !vidas_nfs_version_is(be, &node.attr, expect))
			err = -ESTALE;
	}
	return err ? err : size;
}

ssize_t vidas_nfs_get(struct vidas_backend *be, const char *key, uint64_t offset,
		      const struct iovec *iov, int iovcnt,
		      const struct vidas_backend_version *expect,
		      struct vidas_backend_version *seen)
{
	int tries = 0, err;
	ssize_t ret;

	do {
		ret = get_once(be, key, offset, iov, iovcnt, expect, seen);
		/* Replaced while it was read. */
		if (ret == VIDAS_NFS_STALE && expect)
			return -ESTALE;
		err = ret < 0 ? (int)ret : 0;
	} while (vidas_nfs_again(be, &err, &tries));
	return err ? err : ret;
}

int vidas_nfs_replace_check(const struct vidas_backend *be, int found,
			    const struct vidas_nfs_node *last,
			    const struct vidas_backend_version *expect, int must_not_exist)
{
	if (expect) {
		if (found == -ENOENT)
			return -ESTALE;
		return found || vidas_nfs_version_is(be, &last->attr, expect) ? found : -ESTALE;
	}
	if (found)
		return found == -ENOENT ? 0 : found;
	if (must_not_exist)
		return -EEXIST;
	return last->attr.type == VIDAS_BACKEND_DIRECTORY ? -EISDIR : 0;
}

/* May the put go ahead, with what find() gave? */
static int put_check(struct vidas_backend *be, const struct vidas_backend_put *put, int found,
		     const struct vidas_nfs_node *last)
{
	return vidas_nfs_replace_check(be, found, last, put->expect, put->must_not_exist);
}

/* Mode, owner and mtime of new content: as given, else as they were, else the usual. */
static int put_attrs(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		     const struct vidas_nfs_attr *old, const struct vidas_backend_stat *given)
{
	struct vidas_backend_stat attrs = { .valid = VIDAS_BACKEND_MODE, .mode = 0644 };

	if (old && old->type == VIDAS_BACKEND_FILE) {
		attrs.mode = old->mode;
		attrs.valid |= old->owner ? VIDAS_BACKEND_OWNER : 0;
		attrs.uid = old->uid;
		attrs.gid = old->gid;
	}
	if (given && (given->valid & VIDAS_BACKEND_MODE))
		attrs.mode = given->mode;
	if (given && (given->valid & VIDAS_BACKEND_OWNER)) {
		attrs.valid |= VIDAS_BACKEND_OWNER;
		attrs.uid = given->uid;
		attrs.gid = given->gid;
	}
	if (given && (given->valid & VIDAS_BACKEND_MTIME)) {
		attrs.valid |= VIDAS_BACKEND_MTIME;
		attrs.mtime = given->mtime;
	}
	return vidas_nfs_set_at(be, fh, &attrs, false);
}

/* A second link is made of a name that must be new: that is atomic for all clients. */
static int place_new(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		     const char *temp, const struct vidas_nfs_fh *fh, struct vidas_nfs_attr *attr)
{
	struct vidas_nfs_node parent, node;
	int err = be->dialect->link(be, fh, dir, name);

	if (err == -EOPNOTSUPP) { /* not for those then: as with `expect` */
		err = be->dialect->walk(be, dir, name, &parent, &node);
		if (err != -ENOENT)
			return err ? err : -EEXIST;
		return be->dialect->rename(be, dir, temp, dir, name, fh, attr);
	}
	if (!err)
		err = be->dialect->remove(be, dir, temp);
	return err ? err : be->dialect->getattr(be, fh, attr);
}

/* Puts the whole temporary file in the place of `name`. */
static int put_place(struct vidas_backend *be, const char *key, const struct vidas_nfs_fh *dir,
		     const char *name, const char *temp, const struct vidas_nfs_fh *fh,
		     const struct vidas_backend_put *put, struct vidas_backend_version *now)
{
	struct vidas_nfs_node parent, node;
	struct vidas_nfs_attr attr;
	int err = vidas_nfs_lock(be, key);

	if (err)
		return err;
	if (put->expect) {
		err = be->dialect->walk(be, dir, name, &parent, &node);
		err = put_check(be, put, err, &node);
	}
	if (!err && put->must_not_exist)
		err = place_new(be, dir, name, temp, fh, &attr);
	else if (!err)
		err = be->dialect->rename(be, dir, temp, dir, name, fh, &attr);
	vidas_nfs_unlock(be, key);
	if (err == -ENOENT)
		return vidas_backend_error(be->host, -EAGAIN,
					   "the unfinished file was removed by someone");
	if (!err && now)
		vidas_nfs_version(be, &attr, now);
	return err;
}

static int create_temp(struct vidas_backend *be, const struct vidas_nfs_fh *dir,
		       struct vidas_nfs_temp *temp, struct vidas_nfs_fh *fh)
{
	int err = -EEXIST;

	for (int tries = 0; err == -EEXIST && tries < CREATE_TRIES; tries++) {
		vidas_nfs_temp_new(temp);
		err = be->dialect->create(be, dir, temp->name, fh);
		/* Nobody else has such a name: it is ours, of a call that was made twice. */
		if (err == -EEXIST)
			(void)be->dialect->remove(be, dir, temp->name);
		if (err)
			vidas_nfs_temp_release(temp);
	}
	return err;
}

static int put_once(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		    struct vidas_backend_version *now)
{
	struct vidas_nfs_node parent, old;
	struct vidas_nfs_temp temp;
	struct vidas_nfs_fh fh;
	const char *name;
	int found = put->expect ? vidas_nfs_find(be, key, &parent, &old, &name) :
				  vidas_nfs_find_made(be, key, &parent, &old, &name);
	int err = put_check(be, put, found, &old);

	if (err)
		return err;
	err = create_temp(be, &parent.fh, &temp, &fh);
	if (err)
		return vidas_nfs_say(be, err, "making a new file");
	err = vidas_nfs_write(be, &fh, 0, put->iov, put->iovcnt, put->moved);
	if (err && err != VIDAS_NFS_STALE)
		err = vidas_nfs_say(be, err, "write");
	if (!err)
		err = put_attrs(be, &fh, found ? NULL : &old.attr, put->attrs);
	if (!err)
		err = put_place(be, key, &parent.fh, name, temp.name, &fh, put, now);
	/* After a time-out that would only take as long again; list sweeps it later. */
	if (err && err != -ETIMEDOUT)
		(void)be->dialect->remove(be, &parent.fh, temp.name);
	vidas_nfs_temp_release(&temp);
	return err;
}

int vidas_nfs_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		  struct vidas_backend_version *now)
{
	int tries = 0, err;

	do {
		err = put_once(be, key, put, now);
		/* The directory was removed between its finding and our file in it. */
		if (err == -ENOENT)
			err = VIDAS_NFS_STALE;
	} while (vidas_nfs_again(be, &err, &tries));
	return err;
}

/* In place two changes may fall into one tick of the server's clock, and have the same version. */
static int advance(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		   const struct vidas_backend_version *before, struct vidas_nfs_attr *attr)
{
	const struct vidas_backend_stat nothing = { .valid = 0 };
	int err = be->dialect->getattr(be, fh, attr);

	for (int i = 0; !err && i < TICKS && vidas_nfs_version_is(be, attr, before); i++) {
		vidas_nfs_pause_us(TICK_US);
		err = vidas_nfs_set_at(be, fh, &nothing, true);
		if (!err)
			err = be->dialect->getattr(be, fh, attr);
	}
	return err;
}

static ssize_t put_range_once(struct vidas_backend *be, const char *key, uint64_t offset,
			      const struct iovec *iov, int iovcnt,
			      struct vidas_backend_version *now)
{
	struct vidas_backend_version before;
	struct vidas_nfs_node parent, node;
	ssize_t size = 0;
	int err = vidas_nfs_find(be, key, &parent, &node, NULL);

	if (!err)
		err = file_check(&node);
	if (err)
		return err;
	for (int i = 0; i < iovcnt; i++)
		size += (ssize_t)iov[i].iov_len;
	vidas_nfs_version(be, &node.attr, &before);
	if (size)
		err = vidas_nfs_write(be, &node.fh, offset, iov, iovcnt, NULL);
	if (!err && size)
		err = advance(be, &node.fh, &before, &node.attr);
	if (!err && now)
		vidas_nfs_version(be, &node.attr, now);
	return err ? err : size;
}

ssize_t vidas_nfs_put_range(struct vidas_backend *be, const char *key, uint64_t offset,
			    const struct iovec *iov, int iovcnt, struct vidas_backend_version *now)
{
	int tries = 0, err = vidas_nfs_lock(be, key);
	ssize_t ret;

	/* Locked throughout, so that a put does not take the file's place meanwhile. */
	if (err)
		return err;
	do {
		ret = put_range_once(be, key, offset, iov, iovcnt, now);
		err = ret < 0 ? (int)ret : 0;
	} while (vidas_nfs_again(be, &err, &tries));
	vidas_nfs_unlock(be, key);
	return err ? err : ret;
}

int vidas_nfs_set_attrs(struct vidas_backend *be, const char *key,
			const struct vidas_backend_stat *attrs)
{
	struct vidas_backend_stat set = *attrs;
	struct vidas_nfs_node parent, node;
	int tries = 0, err;

	do {
		err = vidas_nfs_find(be, key, &parent, &node, NULL);
		if (!err && node.attr.type == VIDAS_BACKEND_SYMLINK)
			set.valid &= ~(uint32_t)VIDAS_BACKEND_MODE; /* they have none */
		if (!err)
			err = vidas_nfs_set_at(be, &node.fh, &set, false);
	} while (vidas_nfs_again(be, &err, &tries));
	return err;
}
