/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/nfs/v4.h"

#include <errno.h>
#include <string.h>

nfs_argop4 *vidas_nfs4_op(struct vidas_nfs4_compound *c, nfs_opnum4 op)
{
	nfs_argop4 *arg = &c->op[c->count++];

	memset(arg, 0, sizeof(*arg));
	arg->argop = op;
	return arg;
}

void vidas_nfs4_putfh(struct vidas_nfs4_compound *c, const struct vidas_nfs_fh *fh)
{
	nfs_argop4 *arg = vidas_nfs4_op(c, OP_PUTFH);

	arg->nfs_argop4_u.opputfh.object =
		(nfs_fh4){ .nfs_fh4_len = fh->size, .nfs_fh4_val = (char *)(uintptr_t)fh->bytes };
}

utf8string vidas_nfs4_text(const char *text, size_t bytes)
{
	return (utf8string){ .utf8string_len = (unsigned)bytes,
			     .utf8string_val = (char *)(uintptr_t)text };
}

void vidas_nfs4_lookup(struct vidas_nfs4_compound *c, const char *name, size_t bytes)
{
	nfs_argop4 *arg = vidas_nfs4_op(c, OP_LOOKUP);

	arg->nfs_argop4_u.oplookup.objname = vidas_nfs4_text(name, bytes);
}

void vidas_nfs4_getattr(struct vidas_nfs4_compound *c, const bitmap4 *asked)
{
	nfs_argop4 *arg = vidas_nfs4_op(c, OP_GETATTR);

	arg->nfs_argop4_u.opgetattr.attr_request = *asked;
}

int vidas_nfs4_send(struct rpc_context *rpc, rpc_cb cb, void *args, void *slot)
{
	COMPOUND4args *compound = args;
	const nfs_argop4 *last =
		&compound->argarray.argarray_val[compound->argarray.argarray_len - 1];
	size_t hint = 8192; /* long names, and targets of symlinks */

	if (last->argop == OP_WRITE)
		hint += last->nfs_argop4_u.opwrite.data.data_len;
	return rpc_nfs4_compound_async2(rpc, cb, compound, slot, hint);
}

/* libnfs does not align what it gives. */
void vidas_nfs4_result(const COMPOUND4res *res, unsigned i, nfs_resop4 *out)
{
	const char *array = (const void *)res->resarray.resarray_val;

	memcpy(out, array + i * sizeof(*out), sizeof(*out));
}

static int take_fh(const GETFH4res *res, struct vidas_nfs4_answer *a)
{
	const nfs_fh4 *fh = &res->GETFH4res_u.resok4.object;
	struct vidas_nfs_fh *to = &a->got.fh[a->got.handles];

	if (a->got.handles == 2 || !fh->nfs_fh4_len || fh->nfs_fh4_len > sizeof(to->bytes))
		return -EPROTO;
	to->size = fh->nfs_fh4_len;
	memcpy(to->bytes, fh->nfs_fh4_val, to->size);
	a->got.handles++;
	return 0;
}

static int take_attr(const GETATTR4res *res, struct vidas_nfs4_answer *a)
{
	const fattr4 *attr = &res->GETATTR4res_u.resok4.obj_attributes;

	if (a->limits)
		return vidas_nfs4_limits(attr, &a->read_max, &a->write_max);
	if (a->got.attrs == 2)
		return -EPROTO;
	return vidas_nfs4_attr(attr, &a->got.attr[a->got.attrs++], NULL);
}

static int take_entries(READDIR4res *res, struct vidas_nfs4_answer *a)
{
	READDIR4resok *ok = &res->READDIR4res_u.resok4;
	entry4 e;
	int err;

	memcpy(a->verifier, ok->cookieverf, sizeof(a->verifier));
	a->eof = ok->reply.eof;
	if (!ok->reply.entries && !a->eof)
		return -EPROTO;
	for (const void *at = ok->reply.entries; at; at = e.nextentry) {
		struct vidas_nfs_attr attr;
		bool known;

		memcpy(&e, at, sizeof(e));
		err = vidas_nfs4_attr(&e.attrs, &attr, &known);
		if (!err)
			err = vidas_nfs_entries_add(a->entries, e.name.utf8string_val,
						    e.name.utf8string_len, known ? &attr : NULL);
		if (err)
			return err;
		a->cookie = e.cookie;
	}
	return 0;
}

static int take_target(const READLINK4res *res, struct vidas_nfs4_answer *a)
{
	const linktext4 *link = &res->READLINK4res_u.resok4.link;

	if (link->utf8string_len >= a->target_size)
		return -ENAMETOOLONG;
	if (memchr(link->utf8string_val, 0, link->utf8string_len))
		return -EPROTO;
	memcpy(a->target, link->utf8string_val, link->utf8string_len);
	a->target[link->utf8string_len] = '\0';
	a->target_length = (ssize_t)link->utf8string_len;
	return 0;
}

/* One operation that succeeded. */
static int take(nfs_resop4 *res, struct vidas_nfs4_answer *a)
{
	switch (res->resop) {
	case OP_GETFH:
		return take_fh(&res->nfs_resop4_u.opgetfh, a);
	case OP_GETATTR:
		return take_attr(&res->nfs_resop4_u.opgetattr, a);
	case OP_READDIR:
		return take_entries(&res->nfs_resop4_u.opreaddir, a);
	case OP_READLINK:
		return take_target(&res->nfs_resop4_u.opreadlink, a);
	case OP_OPEN:
		a->stateid = res->nfs_resop4_u.opopen.OPEN4res_u.resok4.stateid;
		a->rflags = res->nfs_resop4_u.opopen.OPEN4res_u.resok4.rflags;
		return 0;
	case OP_OPEN_CONFIRM:
		a->stateid =
			res->nfs_resop4_u.opopen_confirm.OPEN_CONFIRM4res_u.resok4.open_stateid;
		return 0;
	case OP_COMMIT:
		memcpy(a->verifier, res->nfs_resop4_u.opcommit.COMMIT4res_u.resok4.writeverf,
		       sizeof(a->verifier));
		return 0;
	case OP_SETCLIENTID: {
		SETCLIENTID4resok *ok = &res->nfs_resop4_u.opsetclientid.SETCLIENTID4res_u.resok4;

		a->clientid = ok->clientid;
		memcpy(a->verifier, ok->setclientid_confirm, sizeof(a->verifier));
		return 0;
	}
	default:
		return 0;
	}
}

static int compound_reply(void *data, void *out)
{
	COMPOUND4res *res = data;
	struct vidas_nfs4_answer *a = out;
	unsigned count = res->resarray.resarray_len;

	memset(&a->got, 0,
	       sizeof(a->got)); /* it may be the second answer, after one for patience */
	a->status = res->status;
	a->done = res->status == NFS4_OK || !count ? count : count - 1;
	if (count > a->asked->count)
		return -EPROTO;
	for (unsigned i = 0; i < a->done; i++) {
		nfs_resop4 one;
		int err;

		vidas_nfs4_result(res, i, &one);
		err = one.resop == a->asked->op[i].argop ? take(&one, a) : -EPROTO;
		if (err)
			return err;
	}
	return vidas_nfs_errno((int)res->status);
}

int vidas_nfs4_ask(struct vidas_backend *be, struct vidas_nfs4_compound *c,
		   struct vidas_nfs4_answer *answer, bool *resent)
{
	struct vidas_nfs_call call =
		VIDAS_NFS_CALL(vidas_nfs4_send, &c->args, compound_reply, answer);
	int err;

	c->args.argarray.argarray_len = c->count;
	c->args.argarray.argarray_val = c->op;
	answer->asked = c;
	err = vidas_nfs_ask(be, vidas_nfs_link_of(be), &call);
	if (resent)
		*resent = call.resent;
	/* A server that says yes to less than it was asked. */
	return !err && answer->done != c->count ? -EPROTO : err;
}
