/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/vidas-gnt: grants pages of files to Xen domains, each page to as many as wanted (gntalloc of
 * the stock kernel: to one, and only pages of its own). Dom0 alone needs it. It knows grants, not
 * who may have them: that is for user space.
 *
 * Opening takes CAP_SYS_ADMIN; the descriptor may then be handed to a process without it, bound to
 * one domain before (VIDAS_GNT_BIND). References belong to the open file that made them: only it
 * takes them back, and its last close takes back all. A page stays in memory, and is not used for
 * anything else, from its grant until its reference is taken back; also when the file is truncated
 * (the page then is no part of the file any more) or deleted.
 *
 * A reference cannot be taken back while the domain has it mapped ("busy"). On close those are
 * "deferred": the module keeps page and reference, tries again until the domain has unmapped or is
 * no more, and cannot be unloaded until then.
 *
 * All calls may be used by several threads at once. -EFAULT an address is bad, -EINVAL an argument,
 * -ENOTTY no such call.
 */
#ifndef VIDAS_GNT_H
#define VIDAS_GNT_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define VIDAS_GNT_DEVICE  "/dev/vidas-gnt"
#define VIDAS_GNT_VERSION 1

#define VIDAS_GNT_PAGE_BYTES 4096u
#define VIDAS_GNT_PAGES_MAX  65536u /* of one VIDAS_GNT_GRANT or _REVOKE */
#define VIDAS_GNT_DOMID_MAX  0x7fefu

/*
 * Grants `pages` pages of the file `fd`, from `offset` on, to `domid`; holes are allocated. The
 * references are written to refs[0..granted), in the order of the pages. A page that is granted
 * twice has two references.
 *
 * The file is one of a tmpfs (or a memfd), open for reading, and for writing if not READONLY:
 * -EBADF, -EOPNOTSUPP another file system, -EPERM a seal forbids writing.
 *
 * What succeeds in part returns 0, `granted` says how much, and `error` why not all (positive, 0
 * for all). Nothing granted: -1 and that error in errno:
 *   ENOBUFS  no grant reference is free: Xen's boot parameter gnttab_max_frames
 *   EDQUOT   the cap of the domain (VIDAS_GNT_CAP)
 *   ENXIO    the file ends there
 *   ENOSPC   the file system is full; ENOMEM no memory; EINTR a signal
 * -EPERM the open file is bound to another domain.
 */
struct vidas_gnt_grant {
	__s32 fd;
	__u16 domid;
	__u16 flags;
	__u64 offset;  /* a multiple of VIDAS_GNT_PAGE_BYTES */
	__u32 pages;   /* 1..VIDAS_GNT_PAGES_MAX */
	__u32 granted; /* out */
	__u64 refs;    /* user address of __u32[pages] */
	__s32 error;   /* out */
	__u32 spare;   /* 0 */
};
#define VIDAS_GNT_READONLY 1u

/*
 * Takes references back. In refs[] those taken back become 0; zeros are passed over. `busy` of them
 * are still mapped and stay as they are, `unknown` are not of this open file (taken back before).
 */
struct vidas_gnt_revoke {
	__u64 refs;    /* user address of __u32[count] */
	__u32 count;   /* 0..VIDAS_GNT_PAGES_MAX */
	__u32 busy;    /* out */
	__u32 unknown; /* out */
	__u32 spare;   /* 0 */
};

/* Takes back all that this open file granted to a domain, and tries what is deferred for it. */
struct vidas_gnt_revoke_domid {
	__u16 domid;
	__u16 spare; /* 0 */
	__u32 busy;  /* out: of this open file, still mapped */
};

/* How things stand for a domain, by all open files. Counts are of references. */
struct vidas_gnt_stat {
	__u16 domid;
	__u16 version;	  /* out: VIDAS_GNT_VERSION of the module */
	__u32 granted;	  /* out: held by open files; with the busy ones */
	__u32 busy;	  /* out: of these, found mapped when they should have been taken back */
	__u32 deferred;	  /* out: closed while mapped */
	__u32 cap;	  /* out: 0: none */
	__u32 total;	  /* out: granted and deferred, for all domains */
	__u32 max_frames; /* out: of Xen's grant table for this domain, 512 references each */
	__u32 spare;	  /* 0 */
};

/* At most `pages` references granted and deferred for the domain at a time; 0: as many as there
 * are. Stays until it is changed or the module unloaded. -EPERM the open file is bound. */
struct vidas_gnt_cap {
	__u16 domid;
	__u16 spare; /* 0 */
	__u32 pages;
};

/* From now on this open file grants to, revokes and tells of this domain only, for good. -EPERM it
 * is bound already. */
struct vidas_gnt_bind {
	__u16 domid;
	__u16 spare; /* 0 */
};

#define VIDAS_GNT_GRANT	       _IOWR('V', 0xd0, struct vidas_gnt_grant)
#define VIDAS_GNT_REVOKE       _IOWR('V', 0xd1, struct vidas_gnt_revoke)
#define VIDAS_GNT_REVOKE_DOMID _IOWR('V', 0xd2, struct vidas_gnt_revoke_domid)
#define VIDAS_GNT_STAT	       _IOWR('V', 0xd3, struct vidas_gnt_stat)
#define VIDAS_GNT_CAP	       _IOW('V', 0xd4, struct vidas_gnt_cap)
#define VIDAS_GNT_BIND	       _IOW('V', 0xd5, struct vidas_gnt_bind)

#endif
