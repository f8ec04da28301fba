/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* NFS version 3: the root, listings, bytes. */
#include "backends/nfs/v3.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-portmap.h>

#define LIST_BYTES   65536u /* of names and attributes a call */
#define LIST_REPLIES 1000000u

/* The root: asked of the MOUNT service, by a connection of its own. ----------------------------- */

static int send_getport(struct rpc_context *rpc, rpc_cb cb, void *args, void *slot)
{
	(void)args;
	return rpc_pmap2_getport_async(rpc, MOUNT_PROGRAM, MOUNT_V3, IPPROTO_TCP, cb, slot);
}

static int getport_reply(void *data, void *out)
{
	uint32_t port;

	memcpy(&port, data, sizeof(port));
	*(int *)out = (int)port;
	return port && port < 65536 ? 0 : VIDAS_NFS_PATIENCE;
}

static int send_mnt(struct rpc_context *rpc, rpc_cb cb, void *args, void *slot)
{
	return rpc_mount3_mnt_async(rpc, cb, args, slot);
}

static int mnt_reply(void *data, void *out)
{
	mountres3 *res = data;
	const mountres3_ok *ok = &res->mountres3_u.mountinfo;
	nfs_fh3 fh;

	if (res->fhs_status != MNT3_OK)
		return vidas_nfs_errno((int)res->fhs_status);
	fh = (nfs_fh3){ .data = { .data_len = ok->fhandle.fhandle3_len,
				  .data_val = ok->fhandle.fhandle3_val } };
	return vidas_nfs3_fh_in(&fh, out);
}

static int ask_once(struct vidas_backend *be, int port, int program, int version,
		    struct vidas_nfs_call *call)
{
	struct vidas_nfs_peer peer = be->peer;
	struct vidas_nfs_link *link;
	int err;

	peer.port = port;
	peer.program = program;
	peer.version = version;
	err = vidas_nfs_link_open(&peer, &link);
	if (err)
		return err;
	err = vidas_nfs_ask(be, link, call);
	vidas_nfs_link_close(link);
	return err;
}

static int send_fsinfo(struct rpc_context *rpc, rpc_cb cb, void *args, void *slot)
{
	return rpc_nfs3_fsinfo_async(rpc, cb, args, slot);
}

static int fsinfo_reply(void *data, void *out)
{
	FSINFO3res *res = data;
	struct vidas_backend *be = out;

	if (res->status != NFS3_OK)
		return vidas_nfs_errno((int)res->status);
	be->read_max = res->FSINFO3res_u.resok.rtmax;
	be->write_max = res->FSINFO3res_u.resok.wtmax;
	return 0;
}

int vidas_nfs3_root(struct vidas_backend *be)
{
	int port = be->mount_port;
	FSINFO3args args;
	struct vidas_nfs_call getport = VIDAS_NFS_CALL(send_getport, NULL, getport_reply, &port),
			      mnt = VIDAS_NFS_CALL(send_mnt, be->path, mnt_reply, &be->root),
			      fsinfo = VIDAS_NFS_CALL(send_fsinfo, &args, fsinfo_reply, be);
	int err = 0;

	if (!port)
		err = ask_once(be, PMAP_PORT, PMAP_PROGRAM, PMAP_V2, &getport);
	if (err)
		return vidas_nfs_say(be, err, "asking the portmapper for the MOUNT service");
	err = ask_once(be, port, MOUNT_PROGRAM, MOUNT_V3, &mnt);
	if (err)
		return err;
	args.fsroot = vidas_nfs3_fh(&be->root);
	return vidas_nfs3_ask(be, &fsinfo);
}

/* Listings. ----------------------------------------------------------------------------------------- */

struct listing {
	struct vidas_nfs_entries *entries;
	cookie3 cookie;
	cookieverf3 verifier;
	bool eof;
};

static int send_readdirplus(struct rpc_context *rpc, rpc_cb cb, void *args, void *slot)
{
	return rpc_nfs3_readdirplus_async(rpc, cb, args, slot);
}

static int readdirplus_reply(void *data, void *out)
{
	READDIRPLUS3res *res = data;
	READDIRPLUS3resok *ok = &res->READDIRPLUS3res_u.resok;
	struct listing *l = out;
	entryplus3 e;
	int err;

	if (res->status != NFS3_OK)
		return vidas_nfs_errno((int)res->status);
	memcpy(l->verifier, ok->cookieverf, sizeof(l->verifier));
	l->eof = ok->reply.eof;
	/* An answer of nothing that is not the end would be asked for for ever. */
	if (!ok->reply.entries && !l->eof)
		return -EPROTO;
	/* libnfs does not align what it gives. */
	for (const void *at = ok->reply.entries; at; at = e.nextentry) {
		struct vidas_nfs_attr attr;
		bool known;

		memcpy(&e, at, sizeof(e));
		known = e.name_attributes.attributes_follow;
		if (known)
			vidas_nfs3_attr(&e.name_attributes.post_op_attr_u.attributes, &attr);
		err = vidas_nfs_entries_add(l->entries, e.name, strlen(e.name),
					    known ? &attr : NULL);
		if (err)
			return err;
		l->cookie = e.cookie;
	}
	return 0;
}

int vidas_nfs3_readdir(struct vidas_backend *be, const struct vidas_nfs_fh *dir,
		       struct vidas_nfs_entries *out)
{
	struct listing l = { .entries = out };
	int err = 0;

	for (unsigned replies = 0; !l.eof && !err; replies++) {
		READDIRPLUS3args args = { .dir = vidas_nfs3_fh(dir),
					  .cookie = l.cookie,
					  .dircount = LIST_BYTES / 4,
					  .maxcount = LIST_BYTES };
		struct vidas_nfs_call call =
			VIDAS_NFS_CALL(send_readdirplus, &args, readdirplus_reply, &l);

		memcpy(args.cookieverf, l.verifier, sizeof(l.verifier));
		err = replies < LIST_REPLIES ? vidas_nfs3_ask(be, &call) : -EPROTO;
	}
	return err;
}

/* Bytes. -------------------------------------------------------------------------------------------- */

static int send_commit(struct rpc_context *rpc, rpc_cb cb, void *args, void *slot)
{
	return rpc_nfs3_commit_async(rpc, cb, args, slot);
}

static int commit_reply(void *data, void *out)
{
	COMMIT3res *res = data;

	if (res->status != NFS3_OK)
		return vidas_nfs_errno((int)res->status);
	memcpy(out, res->COMMIT3res_u.resok.verf, NFS3_WRITEVERFSIZE);
	return 0;
}

int vidas_nfs3_commit(struct vidas_backend *be, const struct vidas_nfs_fh *fh, char verifier[8])
{
	COMMIT3args args = { .file = vidas_nfs3_fh(fh) };
	struct vidas_nfs_call call = VIDAS_NFS_CALL(send_commit, &args, commit_reply, verifier);

	return vidas_nfs3_ask(be, &call);
}

static int send_read(struct rpc_context *rpc, rpc_cb cb, void *args, void *slot)
{
	return rpc_nfs3_read_async(rpc, cb, args, slot);
}

int vidas_nfs3_send_read(struct vidas_nfs_job *job, const struct vidas_nfs_fh *fh, uint64_t offset,
			 uint32_t size, uint64_t tag)
{
	READ3args args = { .file = vidas_nfs3_fh(fh), .offset = offset, .count = size };

	return vidas_nfs_send(job, send_read, &args, tag);
}

int vidas_nfs3_read_reply(void *data, struct vidas_nfs_piece *out)
{
	READ3res *res = data;
	READ3resok *ok = &res->READ3res_u.resok;

	if (res->status != NFS3_OK)
		return vidas_nfs_errno((int)res->status);
	*out = (struct vidas_nfs_piece){ .data = ok->data.data_val,
					 .count = ok->data.data_len,
					 .eof = ok->eof };
	return 0;
}

static int send_write(struct rpc_context *rpc, rpc_cb cb, void *args, void *slot)
{
	return rpc_nfs3_write_async(rpc, cb, args, slot);
}

int vidas_nfs3_send_write(struct vidas_nfs_job *job, const struct vidas_nfs_fh *fh, uint64_t offset,
			  const char *data, uint32_t size, bool stable, uint64_t tag)
{
	WRITE3args args = { .file = vidas_nfs3_fh(fh),
			    .offset = offset,
			    .count = size,
			    .stable = stable ? FILE_SYNC : UNSTABLE,
			    .data = { .data_len = size, .data_val = (char *)(uintptr_t)data } };

	return vidas_nfs_send(job, send_write, &args, tag);
}

int vidas_nfs3_write_reply(void *data, struct vidas_nfs_piece *out)
{
	WRITE3res *res = data;
	WRITE3resok *ok = &res->WRITE3res_u.resok;

	if (res->status != NFS3_OK)
		return vidas_nfs_errno((int)res->status);
	*out = (struct vidas_nfs_piece){ .count = ok->count, .stable = ok->committed == FILE_SYNC };
	memcpy(out->verifier, ok->verf, sizeof(out->verifier));
	return 0;
}
