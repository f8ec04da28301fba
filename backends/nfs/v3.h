/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between v3.c and v3io.c. */
#ifndef VIDAS_NFS3_H
#define VIDAS_NFS3_H

#include <nfsc/libnfs-raw-nfs.h>

#include "backends/nfs/nfs.h"

void vidas_nfs3_attr(const fattr3 *from, struct vidas_nfs_attr *to);
int vidas_nfs3_fh_in(const nfs_fh3 *from, struct vidas_nfs_fh *to); /* -EPROTO */
nfs_fh3 vidas_nfs3_fh(const struct vidas_nfs_fh *from);
int vidas_nfs3_ask(struct vidas_backend *be, struct vidas_nfs_call *call);

int vidas_nfs3_getattr(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		       struct vidas_nfs_attr *attr);
int vidas_nfs3_walk(struct vidas_backend *be, const struct vidas_nfs_fh *from, const char *path,
		    struct vidas_nfs_node *parent, struct vidas_nfs_node *last);
int vidas_nfs3_root(struct vidas_backend *be);
int vidas_nfs3_readdir(struct vidas_backend *be, const struct vidas_nfs_fh *dir,
		       struct vidas_nfs_entries *out);
int vidas_nfs3_commit(struct vidas_backend *be, const struct vidas_nfs_fh *fh, char verifier[8]);
int vidas_nfs3_send_read(struct vidas_nfs_job *job, const struct vidas_nfs_fh *fh, uint64_t offset,
			 uint32_t size, uint64_t tag);
int vidas_nfs3_send_write(struct vidas_nfs_job *job, const struct vidas_nfs_fh *fh, uint64_t offset,
			  const char *data, uint32_t size, bool stable, uint64_t tag);
int vidas_nfs3_read_reply(void *data, struct vidas_nfs_piece *out);
int vidas_nfs3_write_reply(void *data, struct vidas_nfs_piece *out);

#endif
