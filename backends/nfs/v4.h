/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between the parts of NFS version 4.0. */
#ifndef VIDAS_NFS4_H
#define VIDAS_NFS4_H

#include <nfsc/libnfs-raw-nfs4.h>

#include "backends/nfs/nfs.h"

/* attr4.c: attributes as NFSv4 packs them. ------------------------------------------------------- */

/* What is asked for wherever attributes are; `asked_entry` also for entries of a directory. */
extern const bitmap4 vidas_nfs4_asked, vidas_nfs4_asked_entry;
/* -EPROTO. *known (if not NULL): false, the server could not tell of this entry. */
int vidas_nfs4_attr(const fattr4 *from, struct vidas_nfs_attr *to, bool *known);
/* Maxread and maxwrite. */
extern const bitmap4 vidas_nfs4_asked_limits;
int vidas_nfs4_limits(const fattr4 *from, uint64_t *read_max, uint64_t *write_max);

struct vidas_nfs4_packed {
	uint32_t mask[2];
	char bytes[96];
	fattr4 attr; /* points to the above */
};
void vidas_nfs4_pack(const struct vidas_nfs_set *set, struct vidas_nfs4_packed *out);

/* compound4.c: several operations in one call. ------------------------------------------------------ */

#define VIDAS_NFS4_OPS 48u

struct vidas_nfs4_compound {
	COMPOUND4args args;
	nfs_argop4 op[VIDAS_NFS4_OPS];
	unsigned count;
};

/* What was answered, copied out of libnfs's memory. Of attributes and handles, those that were asked for, in
 * order; of the rest the last. */
struct vidas_nfs4_answer {
	/* Set before: */
	struct vidas_nfs_entries *entries; /* READDIR */
	char *target;			   /* READLINK */
	size_t target_size;
	const struct vidas_nfs4_compound *asked; /* by vidas_nfs4_ask() */
	/* Set by the answer: */
	unsigned status, done; /* operations that succeeded */
	struct {
		unsigned handles, attrs;
		struct vidas_nfs_fh fh[2];
		struct vidas_nfs_attr attr[2];
	} got;
	stateid4 stateid;
	uint32_t rflags;
	uint64_t clientid;
	verifier4 verifier; /* COMMIT, SETCLIENTID, READDIR */
	uint64_t cookie;
	bool eof;
	ssize_t target_length;
	uint64_t read_max, write_max;
	bool limits; /* the last GETATTR asked for those */
};

/* Each appends one operation and returns it, zeroed. What it points to must live until the answer. */
nfs_argop4 *vidas_nfs4_op(struct vidas_nfs4_compound *c, nfs_opnum4 op);
void vidas_nfs4_putfh(struct vidas_nfs4_compound *c, const struct vidas_nfs_fh *fh);
void vidas_nfs4_lookup(struct vidas_nfs4_compound *c, const char *name, size_t bytes);
void vidas_nfs4_getattr(struct vidas_nfs4_compound *c, const bitmap4 *asked);
utf8string vidas_nfs4_text(const char *text, size_t bytes);

/* The number of the first operation that failed is answer->done. */
int vidas_nfs4_ask(struct vidas_backend *be, struct vidas_nfs4_compound *c,
		   struct vidas_nfs4_answer *answer, bool *resent);
/* The send function of compounds; args are a COMPOUND4args. */
int vidas_nfs4_send(struct rpc_context *rpc, rpc_cb cb, void *args, void *slot);

/* The i-th result. */
void vidas_nfs4_result(const COMPOUND4res *res, unsigned i, nfs_resop4 *out);

/* client4.c: who we are to the server, and new files, which only OPEN makes. ---------------------- */

int vidas_nfs4_client_new(struct vidas_nfs4_client **out);
void vidas_nfs4_client_free(struct vidas_nfs4_client *client); /* NULL allowed */
int vidas_nfs4_create(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		      struct vidas_nfs_fh *out);

/* io4.c ---------------------------------------------------------------------------------------------- */

int vidas_nfs4_root(struct vidas_backend *be);
int vidas_nfs4_readdir(struct vidas_backend *be, const struct vidas_nfs_fh *dir,
		       struct vidas_nfs_entries *out);
int vidas_nfs4_commit(struct vidas_backend *be, const struct vidas_nfs_fh *fh, char verifier[8]);
int vidas_nfs4_send_read(struct vidas_nfs_job *job, const struct vidas_nfs_fh *fh, uint64_t offset,
			 uint32_t size, uint64_t tag);
int vidas_nfs4_send_write(struct vidas_nfs_job *job, const struct vidas_nfs_fh *fh, uint64_t offset,
			  const char *data, uint32_t size, bool stable, uint64_t tag);
int vidas_nfs4_read_reply(void *data, struct vidas_nfs_piece *out);
int vidas_nfs4_write_reply(void *data, struct vidas_nfs_piece *out);

#endif
