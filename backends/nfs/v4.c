/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NFS version 4.0: names and attributes, each call one COMPOUND. */
#include "backends/nfs/v4.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static int getattr4(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		    struct vidas_nfs_attr *attr)
{
	struct vidas_nfs4_compound c = { .count = 0 };
	struct vidas_nfs4_answer a = { 0 };
	int err;

	vidas_nfs4_putfh(&c, fh);
	vidas_nfs4_getattr(&c, &vidas_nfs4_asked);
	err = vidas_nfs4_ask(be, &c, &a, NULL);
	*attr = a.got.attr[0];
	return err;
}

/* As much of a path as fits into one call; steps *path on. Sets parent once its last name is asked for. */
static int walk_some(struct vidas_backend *be, const struct vidas_nfs_fh *from, const char **path,
		     struct vidas_nfs_node *parent, struct vidas_nfs_node *last)
{
	struct vidas_nfs4_compound c = { .count = 0 };
	struct vidas_nfs4_answer a = { 0 };
	bool whole;
	int err;

	vidas_nfs4_putfh(&c, from);
	do {
		size_t size = strcspn(*path, "/");

		if (size > NAME_MAX)
			return -EINVAL;
		whole = !(*path)[size];
		if (whole) {
			(void)vidas_nfs4_op(&c, OP_GETFH);
			vidas_nfs4_getattr(&c, &vidas_nfs4_asked);
		}
		vidas_nfs4_lookup(&c, *path, size);
		*path += size + !whole;
	} while (!whole && c.count < VIDAS_NFS4_OPS - 6);
	(void)vidas_nfs4_op(&c, OP_GETFH);
	vidas_nfs4_getattr(&c, &vidas_nfs4_asked);
	err = vidas_nfs4_ask(be, &c, &a, NULL);
	if (whole && a.got.attrs) {
		parent->fh = a.got.fh[0];
		parent->attr = a.got.attr[0];
	}
	if (err)
		return err;
	last->fh = a.got.fh[whole];
	last->attr = a.got.attr[whole];
	return whole ? 0 : 1;
}

static int walk4(struct vidas_backend *be, const struct vidas_nfs_fh *from, const char *path,
		 struct vidas_nfs_node *parent, struct vidas_nfs_node *last)
{
	struct vidas_nfs_node on_the_way = { .fh = *from };
	int err;

	parent->fh.size = 0;
	do {
		err = walk_some(be, &on_the_way.fh, &path, parent, last);
		on_the_way = *last;
	} while (err == 1);
	return err;
}

static int setattr4(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		    const struct vidas_nfs_set *set)
{
	struct vidas_nfs4_compound c = { .count = 0 };
	struct vidas_nfs4_answer a = { 0 };
	struct vidas_nfs4_packed packed;

	vidas_nfs4_pack(set, &packed);
	vidas_nfs4_putfh(&c, fh);
	vidas_nfs4_op(&c, OP_SETATTR)->nfs_argop4_u.opsetattr.obj_attributes = packed.attr;
	return vidas_nfs4_ask(be, &c, &a, NULL);
}

/* CREATE, of all but files. */
static int make(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		const createtype4 *type, uint32_t mode, struct vidas_nfs_fh *out, bool *resent)
{
	const struct vidas_nfs_set set = { .valid = VIDAS_BACKEND_MODE, .mode = mode };
	struct vidas_nfs4_compound c = { .count = 0 };
	struct vidas_nfs4_answer a = { 0 };
	struct vidas_nfs4_packed packed;
	CREATE4args *create;
	int err;

	vidas_nfs4_pack(&set, &packed);
	vidas_nfs4_putfh(&c, dir);
	create = &vidas_nfs4_op(&c, OP_CREATE)->nfs_argop4_u.opcreate;
	create->objtype = *type;
	create->objname = vidas_nfs4_text(name, strlen(name));
	create->createattrs = packed.attr;
	(void)vidas_nfs4_op(&c, OP_GETFH);
	err = vidas_nfs4_ask(be, &c, &a, resent);
	if (out)
		*out = a.got.fh[0];
	return err;
}

static int mkdir4(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		  struct vidas_nfs_fh *out)
{
	const createtype4 type = { .type = NF4DIR };

	return make(be, dir, name, &type, 0755, out, NULL);
}

static int symlink4(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		    const char *target)
{
	createtype4 type = { .type = NF4LNK };
	bool resent;
	int err;

	type.createtype4_u.linkdata = vidas_nfs4_text(target, strlen(target));
	err = make(be, dir, name, &type, 0777, NULL, &resent);
	return err == -EEXIST && resent ? 0 : err;
}

static ssize_t readlink4(struct vidas_backend *be, const struct vidas_nfs_fh *fh, char *target,
			 size_t size)
{
	struct vidas_nfs4_compound c = { .count = 0 };
	struct vidas_nfs4_answer a = { .target = target, .target_size = size };
	int err;

	vidas_nfs4_putfh(&c, fh);
	(void)vidas_nfs4_op(&c, OP_READLINK);
	err = vidas_nfs4_ask(be, &c, &a, NULL);
	return err ? err : a.target_length;
}

/* REMOVE takes both kinds; who calls has looked what it is. Another client that puts an empty directory in a
 * file's place meanwhile loses that. */
static int remove4(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name)
{
	struct vidas_nfs4_compound c = { .count = 0 };
	struct vidas_nfs4_answer a = { 0 };
	bool resent;
	int err;

	vidas_nfs4_putfh(&c, dir);
	vidas_nfs4_op(&c, OP_REMOVE)->nfs_argop4_u.opremove.target =
		vidas_nfs4_text(name, strlen(name));
	err = vidas_nfs4_ask(be, &c, &a, &resent);
	return err == -ENOENT && resent ? 0 : err;
}

static int rmdir4(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name)
{
	int err = remove4(be, dir, name);

	return err == -EEXIST ? -ENOTEMPTY : err;
}

static int rename4(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		   const struct vidas_nfs_fh *new_dir, const char *new_name,
		   const struct vidas_nfs_fh *moved, struct vidas_nfs_attr *attr)
{
	struct vidas_nfs4_compound c = { .count = 0 };
	struct vidas_nfs4_answer a = { 0 };
	struct vidas_nfs_node parent, node;
	RENAME4args *args;
	bool resent;
	int err;

	vidas_nfs4_putfh(&c, dir);
	(void)vidas_nfs4_op(&c, OP_SAVEFH);
	vidas_nfs4_putfh(&c, new_dir);
	args = &vidas_nfs4_op(&c, OP_RENAME)->nfs_argop4_u.oprename;
	args->oldname = vidas_nfs4_text(name, strlen(name));
	args->newname = vidas_nfs4_text(new_name, strlen(new_name));
	if (attr) {
		vidas_nfs4_lookup(&c, new_name, strlen(new_name));
		vidas_nfs4_getattr(&c, &vidas_nfs4_asked);
	}
	err = vidas_nfs4_ask(be, &c, &a, &resent);
	if (err == -ENOENT && resent) {
		err = walk4(be, new_dir, new_name, &parent, &node);
		if (!err && moved && !vidas_nfs_fh_same(&node.fh, moved))
			err = -ENOENT;
		a.got.attr[0] = node.attr;
	}
	if (!err && attr)
		*attr = a.got.attr[0];
	return err;
}

static int link4(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		 const struct vidas_nfs_fh *dir, const char *name)
{
	struct vidas_nfs4_compound c = { .count = 0 };
	struct vidas_nfs4_answer a = { 0 };
	struct vidas_nfs_node parent, node;
	bool resent;
	int err;

	vidas_nfs4_putfh(&c, fh);
	(void)vidas_nfs4_op(&c, OP_SAVEFH);
	vidas_nfs4_putfh(&c, dir);
	vidas_nfs4_op(&c, OP_LINK)->nfs_argop4_u.oplink.newname =
		vidas_nfs4_text(name, strlen(name));
	err = vidas_nfs4_ask(be, &c, &a, &resent);
	/* Ours, from the first time? */
	if (err == -EEXIST && resent && walk4(be, dir, name, &parent, &node) == 0 &&
	    vidas_nfs_fh_same(&node.fh, fh))
		return 0;
	return err;
}

const struct vidas_nfs_dialect vidas_nfs_v4 = {
	.version = 4,
	.root = vidas_nfs4_root,
	.walk = walk4,
	.getattr = getattr4,
	.setattr = setattr4,
	.create = vidas_nfs4_create,
	.mkdir = mkdir4,
	.symlink = symlink4,
	.readlink = readlink4,
	.remove = remove4,
	.rmdir = rmdir4,
	.rename = rename4,
	.link = link4,
	.readdir = vidas_nfs4_readdir,
	.commit = vidas_nfs4_commit,
	.send_read = vidas_nfs4_send_read,
	.send_write = vidas_nfs4_send_write,
	.read_reply = vidas_nfs4_read_reply,
	.write_reply = vidas_nfs4_write_reply,
};
