/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NFS version 3: names and attributes. v3io.c has the bytes, the root and listings. */
#include "backends/nfs/v3.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* The calls of libnfs behind one type. */
#define SEND(noun)                                                                         \
	static int send_##noun(struct rpc_context *rpc, rpc_cb cb, void *args, void *slot) \
	{                                                                                  \
		return rpc_nfs3_##noun##_async(rpc, cb, args, slot);                       \
	}
SEND(lookup)
SEND(getattr)
SEND(setattr)
SEND(create)
SEND(mkdir)
SEND(symlink)
SEND(readlink)
SEND(remove)
SEND(rmdir)
SEND(rename)
SEND(link)

void vidas_nfs3_attr(const fattr3 *from, struct vidas_nfs_attr *to)
{
	*to = (struct vidas_nfs_attr){
		.type = from->type == NF3REG ? VIDAS_BACKEND_FILE :
			from->type == NF3DIR ? VIDAS_BACKEND_DIRECTORY :
			from->type == NF3LNK ? VIDAS_BACKEND_SYMLINK :
					       0,
		.mode = from->mode & 07777,
		.uid = from->uid,
		.gid = from->gid,
		.links = from->nlink,
		.owner = true,
		.size = from->size,
		.fileid = from->fileid,
		.mtime = { .tv_sec = from->mtime.seconds, .tv_nsec = from->mtime.nseconds },
		.ctime = { .tv_sec = from->ctime.seconds, .tv_nsec = from->ctime.nseconds },
	};
}

/* libnfs does not check the length. */
int vidas_nfs3_fh_in(const nfs_fh3 *from, struct vidas_nfs_fh *to)
{
	if (!from->data.data_len || from->data.data_len > NFS3_FHSIZE)
		return -EPROTO;
	to->size = from->data.data_len;
	memcpy(to->bytes, from->data.data_val, to->size);
	return 0;
}

nfs_fh3 vidas_nfs3_fh(const struct vidas_nfs_fh *from)
{
	return (nfs_fh3){ .data = { .data_len = from->size,
				    .data_val = (char *)(uintptr_t)from->bytes } };
}

static diropargs3 at(const struct vidas_nfs_fh *dir, const char *name)
{
	return (diropargs3){ .dir = vidas_nfs3_fh(dir), .name = (char *)(uintptr_t)name };
}

int vidas_nfs3_ask(struct vidas_backend *be, struct vidas_nfs_call *call)
{
	return vidas_nfs_ask(be, vidas_nfs_link_of(be), call);
}

/* Replies that are no more than a status have it in front, as all others do. */
static int status_reply(void *data, void *out)
{
	nfsstat3 status;

	(void)out;
	memcpy(&status, data, sizeof(status));
	return vidas_nfs_errno((int)status);
}

static int getattr_reply(void *data, void *out)
{
	GETATTR3res *res = data;

	if (res->status != NFS3_OK)
		return vidas_nfs_errno((int)res->status);
	vidas_nfs3_attr(&res->GETATTR3res_u.resok.obj_attributes, out);
	return 0;
}

int vidas_nfs3_getattr(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		       struct vidas_nfs_attr *attr)
{
	GETATTR3args args = { .object = vidas_nfs3_fh(fh) };
	struct vidas_nfs_call call = VIDAS_NFS_CALL(send_getattr, &args, getattr_reply, attr);

	return vidas_nfs3_ask(be, &call);
}

struct found {
	struct vidas_nfs_node *node;
	bool attr;
};

static int lookup_reply(void *data, void *out)
{
	LOOKUP3res *res = data;
	LOOKUP3resok *ok = &res->LOOKUP3res_u.resok;
	struct found *f = out;

	if (res->status != NFS3_OK)
		return vidas_nfs_errno((int)res->status);
	f->attr = ok->obj_attributes.attributes_follow;
	if (f->attr)
		vidas_nfs3_attr(&ok->obj_attributes.post_op_attr_u.attributes, &f->node->attr);
	return vidas_nfs3_fh_in(&ok->object, &f->node->fh);
}

static int lookup(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		  struct vidas_nfs_node *node)
{
	LOOKUP3args args = { .what = at(dir, name) };
	struct found f = { .node = node };
	struct vidas_nfs_call call = VIDAS_NFS_CALL(send_lookup, &args, lookup_reply, &f);
	int err = vidas_nfs3_ask(be, &call);

	return err || f.attr ? err : vidas_nfs3_getattr(be, &node->fh, &node->attr);
}

int vidas_nfs3_walk(struct vidas_backend *be, const struct vidas_nfs_fh *from, const char *path,
		    struct vidas_nfs_node *parent, struct vidas_nfs_node *last)
{
	char name[NAME_MAX + 1];
	int err;

	*parent = (struct vidas_nfs_node){ .fh = *from, .attr.type = VIDAS_BACKEND_DIRECTORY };
	for (;;) {
		size_t size = strcspn(path, "/");

		if (size > NAME_MAX)
			return -EINVAL;
		memcpy(name, path, size);
		name[size] = '\0';
		err = lookup(be, &parent->fh, name, last);
		path += size;
		if (!*path)
			return err;
		if (!err && last->attr.type != VIDAS_BACKEND_DIRECTORY)
			err = -ENOTDIR;
		if (err) {
			parent->fh.size = 0;
			return err;
		}
		*parent = *last;
		path++;
	}
}

/* Times of version 3 are seconds from 1970 to 2106. */
static nfstime3 time_of(const struct timespec *ts)
{
	uint64_t seconds = ts->tv_sec < 0 ? 0 : (uint64_t)ts->tv_sec;

	return (nfstime3){ .seconds = seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds,
			   .nseconds = (uint32_t)ts->tv_nsec };
}

static int setattr3(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		    const struct vidas_nfs_set *set)
{
	SETATTR3args args = { .object = vidas_nfs3_fh(fh) };
	struct vidas_nfs_call call = VIDAS_NFS_CALL(send_setattr, &args, status_reply, NULL);
	sattr3 *to = &args.new_attributes;

	if (set->valid & VIDAS_BACKEND_MODE) {
		to->mode.set_it = 1;
		to->mode.set_mode3_u.mode = set->mode;
	}
	if (set->valid & VIDAS_BACKEND_OWNER) {
		to->uid.set_it = to->gid.set_it = 1;
		to->uid.set_uid3_u.uid = set->uid;
		to->gid.set_gid3_u.gid = set->gid;
	}
	if (set->now) {
		to->mtime.set_it = SET_TO_SERVER_TIME;
	} else if (set->valid & VIDAS_BACKEND_MTIME) {
		to->mtime.set_it = SET_TO_CLIENT_TIME;
		to->mtime.set_mtime_u.mtime = time_of(&set->mtime);
	}
	return vidas_nfs3_ask(be, &call);
}

/* A new thing's handle, which a server may leave out. */
static int made(const post_op_fh3 *from, struct vidas_nfs_fh *to)
{
	if (from->handle_follows)
		return vidas_nfs3_fh_in(&from->post_op_fh3_u.handle, to);
	to->size = 0;
	return 0;
}

static int create_reply(void *data, void *out)
{
	CREATE3res *res = data;

	return res->status == NFS3_OK ? made(&res->CREATE3res_u.resok.obj, out) :
					vidas_nfs_errno((int)res->status);
}

static int mkdir_reply(void *data, void *out)
{
	MKDIR3res *res = data;

	return res->status == NFS3_OK ? made(&res->MKDIR3res_u.resok.obj, out) :
					vidas_nfs_errno((int)res->status);
}

static int create3(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		   struct vidas_nfs_fh *out)
{
	CREATE3args args = { .where = at(dir, name), .how.mode = GUARDED };
	struct vidas_nfs_call call = VIDAS_NFS_CALL(send_create, &args, create_reply, out);
	struct vidas_nfs_node node;
	int err;

	args.how.createhow3_u.g_obj_attributes.mode =
		(set_mode3){ .set_it = 1, .set_mode3_u.mode = 0600 };
	err = vidas_nfs3_ask(be, &call);
	if (err || out->size)
		return err;
	err = lookup(be, dir, name, &node);
	*out = node.fh;
	return err;
}

static int mkdir3(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		  struct vidas_nfs_fh *out)
{
	MKDIR3args args = { .where = at(dir, name) };
	struct vidas_nfs_call call = VIDAS_NFS_CALL(send_mkdir, &args, mkdir_reply, out);
	struct vidas_nfs_node node;
	int err;

	args.attributes.mode = (set_mode3){ .set_it = 1, .set_mode3_u.mode = 0755 };
	err = vidas_nfs3_ask(be, &call);
	if (err || out->size)
		return err;
	err = lookup(be, dir, name, &node);
	*out = node.fh;
	return err;
}

static int symlink3(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		    const char *target)
{
	SYMLINK3args args = { .where = at(dir, name),
			      .symlink.symlink_data = (char *)(uintptr_t)target };
	struct vidas_nfs_call call = VIDAS_NFS_CALL(send_symlink, &args, status_reply, NULL);
	int err = vidas_nfs3_ask(be, &call);

	return err == -EEXIST && call.resent ? 0 : err;
}

struct target {
	char *to;
	size_t size;
	ssize_t length;
};

static int readlink_reply(void *data, void *out)
{
	READLINK3res *res = data;
	struct target *t = out;
	size_t length;

	if (res->status != NFS3_OK)
		return vidas_nfs_errno((int)res->status);
	length = strlen(res->READLINK3res_u.resok.data);
	if (length >= t->size)
		return -ENAMETOOLONG;
	memcpy(t->to, res->READLINK3res_u.resok.data, length + 1);
	t->length = (ssize_t)length;
	return 0;
}

static ssize_t readlink3(struct vidas_backend *be, const struct vidas_nfs_fh *fh, char *target,
			 size_t size)
{
	READLINK3args args = { .symlink = vidas_nfs3_fh(fh) };
	struct target t = { .to = target, .size = size };
	struct vidas_nfs_call call = VIDAS_NFS_CALL(send_readlink, &args, readlink_reply, &t);
	int err = vidas_nfs3_ask(be, &call);

	return err ? err : t.length;
}

static int remove3(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name)
{
	REMOVE3args args = { .object = at(dir, name) };
	struct vidas_nfs_call call = VIDAS_NFS_CALL(send_remove, &args, status_reply, NULL);
	int err = vidas_nfs3_ask(be, &call);

	return err == -ENOENT && call.resent ? 0 : err;
}

static int rmdir3(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name)
{
	RMDIR3args args = { .object = at(dir, name) };
	struct vidas_nfs_call call = VIDAS_NFS_CALL(send_rmdir, &args, status_reply, NULL);
	int err = vidas_nfs3_ask(be, &call);

	if (err == -ENOENT && call.resent)
		return 0;
	return err == -EEXIST ? -ENOTEMPTY : err;
}

static int rename3(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		   const struct vidas_nfs_fh *new_dir, const char *new_name,
		   const struct vidas_nfs_fh *moved, struct vidas_nfs_attr *attr)
{
	RENAME3args args = { .from = at(dir, name), .to = at(new_dir, new_name) };
	struct vidas_nfs_call call = VIDAS_NFS_CALL(send_rename, &args, status_reply, NULL);
	struct vidas_nfs_node node;
	int err = vidas_nfs3_ask(be, &call);
	bool doubt = err == -ENOENT && call.resent;

	if ((err && !doubt) || (!err && !attr))
		return err;
	err = lookup(be, new_dir, new_name, &node);
	if (!err && doubt && moved && !vidas_nfs_fh_same(&node.fh, moved))
		return -ENOENT;
	if (!err && attr)
		*attr = node.attr;
	return err;
}

static int link3(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		 const struct vidas_nfs_fh *dir, const char *name)
{
	LINK3args args = { .file = vidas_nfs3_fh(fh), .link = at(dir, name) };
	struct vidas_nfs_call call = VIDAS_NFS_CALL(send_link, &args, status_reply, NULL);
	struct vidas_nfs_node node;
	int err = vidas_nfs3_ask(be, &call);

	/* Ours, from the first time? */
	if (err == -EEXIST && call.resent && lookup(be, dir, name, &node) == 0 &&
	    vidas_nfs_fh_same(&node.fh, fh))
		return 0;
	return err;
}

const struct vidas_nfs_dialect vidas_nfs_v3 = {
	.version = 3,
	.root = vidas_nfs3_root,
	.walk = vidas_nfs3_walk,
	.getattr = vidas_nfs3_getattr,
	.setattr = setattr3,
	.create = create3,
	.mkdir = mkdir3,
	.symlink = symlink3,
	.readlink = readlink3,
	.remove = remove3,
	.rmdir = rmdir3,
	.rename = rename3,
	.link = link3,
	.readdir = vidas_nfs3_readdir,
	.commit = vidas_nfs3_commit,
	.send_read = vidas_nfs3_send_read,
	.send_write = vidas_nfs3_send_write,
	.read_reply = vidas_nfs3_read_reply,
	.write_reply = vidas_nfs3_write_reply,
};
