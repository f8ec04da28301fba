/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NFS version 4: the root, listings, bytes. */
#include "backends/nfs/v4.h"

#include <errno.h>
#include <string.h>

#define LIST_BYTES   65536u
#define LIST_REPLIES 1000000u

/* From the server's own root down to be->path, a few names a call. */
int vidas_nfs4_root(struct vidas_backend *be)
{
	struct vidas_nfs4_compound c = { .count = 0 };
	struct vidas_nfs4_answer a = { 0 };
	const char *path = be->path;
	int err;

	(void)vidas_nfs4_op(&c, OP_PUTROOTFH);
	for (;;) {
		size_t size;

		path += strspn(path, "/");
		size = strcspn(path, "/");
		if (size && c.count < VIDAS_NFS4_OPS - 3) {
			vidas_nfs4_lookup(&c, path, size);
			path += size;
			continue;
		}
		(void)vidas_nfs4_op(&c, OP_GETFH);
		if (!size)
			vidas_nfs4_getattr(&c, &vidas_nfs4_asked_limits);
		a.limits = true;
		err = vidas_nfs4_ask(be, &c, &a, NULL);
		if (err)
			return err == -EPROTO ? err : vidas_nfs_say(be, err, be->path);
		be->root = a.got.fh[0];
		if (!size)
			break;
		c.count = 0;
		vidas_nfs4_putfh(&c, &be->root);
	}
	be->read_max = a.read_max < UINT32_MAX ? (uint32_t)a.read_max : UINT32_MAX;
	be->write_max = a.write_max < UINT32_MAX ? (uint32_t)a.write_max : UINT32_MAX;
	return 0;
}

int vidas_nfs4_readdir(struct vidas_backend *be, const struct vidas_nfs_fh *dir,
		       struct vidas_nfs_entries *out)
{
	struct vidas_nfs4_answer a = { .entries = out };
	int err = 0;

	for (unsigned replies = 0; !a.eof && !err; replies++) {
		struct vidas_nfs4_compound c = { .count = 0 };
		READDIR4args *args;

		vidas_nfs4_putfh(&c, dir);
		args = &vidas_nfs4_op(&c, OP_READDIR)->nfs_argop4_u.opreaddir;
		args->cookie = a.cookie;
		memcpy(args->cookieverf, a.verifier, sizeof(args->cookieverf));
		args->dircount = LIST_BYTES / 4;
		args->maxcount = LIST_BYTES;
		args->attr_request = vidas_nfs4_asked_entry;
		err = replies < LIST_REPLIES ? vidas_nfs4_ask(be, &c, &a, NULL) : -EPROTO;
	}
	return err;
}

int vidas_nfs4_commit(struct vidas_backend *be, const struct vidas_nfs_fh *fh, char verifier[8])
{
	struct vidas_nfs4_compound c = { .count = 0 };
	struct vidas_nfs4_answer a = { 0 };
	int err;

	vidas_nfs4_putfh(&c, fh);
	(void)vidas_nfs4_op(&c, OP_COMMIT); /* all of it */
	err = vidas_nfs4_ask(be, &c, &a, NULL);
	memcpy(verifier, a.verifier, sizeof(a.verifier));
	return err;
}

static int send(struct vidas_nfs_job *job, struct vidas_nfs4_compound *c, uint64_t tag)
{
	c->args.argarray.argarray_len = c->count;
	c->args.argarray.argarray_val = c->op;
	return vidas_nfs_send(job, vidas_nfs4_send, &c->args, tag);
}

/* The state id is the anonymous one, all zeros. */
int vidas_nfs4_send_read(struct vidas_nfs_job *job, const struct vidas_nfs_fh *fh, uint64_t offset,
			 uint32_t size, uint64_t tag)
{
	struct vidas_nfs4_compound c;
	READ4args *args;

	memset(&c.args, 0, sizeof(c.args));
	c.count = 0;
	vidas_nfs4_putfh(&c, fh);
	args = &vidas_nfs4_op(&c, OP_READ)->nfs_argop4_u.opread;
	args->offset = offset;
	args->count = size;
	return send(job, &c, tag);
}

int vidas_nfs4_send_write(struct vidas_nfs_job *job, const struct vidas_nfs_fh *fh, uint64_t offset,
			  const char *data, uint32_t size, bool stable, uint64_t tag)
{
	struct vidas_nfs4_compound c;
	WRITE4args *args;

	memset(&c.args, 0, sizeof(c.args));
	c.count = 0;
	vidas_nfs4_putfh(&c, fh);
	args = &vidas_nfs4_op(&c, OP_WRITE)->nfs_argop4_u.opwrite;
	args->offset = offset;
	args->stable = stable ? FILE_SYNC4 : UNSTABLE4;
	args->data.data_len = size;
	args->data.data_val = (char *)(uintptr_t)data;
	return send(job, &c, tag);
}

/* The last operation's result, of an answer to two. */
static int last_of(const COMPOUND4res *res, nfs_opnum4 op, nfs_resop4 *out)
{
	if (res->status != NFS4_OK)
		return vidas_nfs_errno((int)res->status);
	if (res->resarray.resarray_len != 2)
		return -EPROTO;
	vidas_nfs4_result(res, 1, out);
	return out->resop == op ? 0 : -EPROTO;
}

int vidas_nfs4_read_reply(void *data, struct vidas_nfs_piece *out)
{
	nfs_resop4 res;
	const READ4resok *ok = &res.nfs_resop4_u.opread.READ4res_u.resok4;
	int err = last_of(data, OP_READ, &res);

	if (err)
		return err;
	*out = (struct vidas_nfs_piece){ .data = ok->data.data_val,
					 .count = ok->data.data_len,
					 .eof = ok->eof };
	return 0;
}

int vidas_nfs4_write_reply(void *data, struct vidas_nfs_piece *out)
{
	nfs_resop4 res;
	const WRITE4resok *ok = &res.nfs_resop4_u.opwrite.WRITE4res_u.resok4;
	int err = last_of(data, OP_WRITE, &res);

	if (err)
		return err;
	*out = (struct vidas_nfs_piece){ .count = ok->count,
					 .stable = ok->committed == FILE_SYNC4 };
	memcpy(out->verifier, ok->writeverf, sizeof(out->verifier));
	return 0;
}
