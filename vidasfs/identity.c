/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whose files are made. The kernel has checked what the caller may (default_permissions); the
 * daemon stays root, but takes the caller's fsuid and fsgid while it makes a file: so owner, group,
 * sgid inheritance, default ACLs and umask come out as the host's own file system does them.
 */
#include "vidasfs/far.h"
#include "vidasfs/fs.h"

#include <cap-ng.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct __user_cap_data_struct effective[_LINUX_CAPABILITY_U32S_3];

/* We have none that root was of, so none that could let a caller in. */
static bool groupless;

/* CAP_FSETID can be taken up for a caller who has it. */
static bool fsetid;

static int caps(long call, struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };

	return syscall(call, &head, data) < 0 ? -errno : 0;
}

/*
 * CAP_FSETID is laid down, for the kernel writes to backing files with our credentials: without it a write
 * clears the suid and sgid bits of the pool's file, as it must for most callers. It can be taken up again
 * only where the kernel does not do so by itself at each return to fsuid 0.
 */
int vidas_identity_init(void)
{
	static const unsigned keep[] = {
		CAP_SYS_ADMIN,	     /* mount, backing ids, trusted xattrs */
		CAP_DAC_OVERRIDE,    /* the kernel has checked */
		CAP_DAC_READ_SEARCH, /* open_by_handle_at */
		CAP_CHOWN,	     CAP_FOWNER, CAP_MKNOD, CAP_SETUID, CAP_SETGID, CAP_SETFCAP,
	};
	unsigned i;

	if (capng_get_caps_process() < 0)
		return vidas_fail(-EPERM, "cannot read the process's capabilities");
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN) ||
	    !capng_have_capability(CAPNG_EFFECTIVE, CAP_DAC_OVERRIDE))
		return vidas_fail(-EPERM, "needs root: mounting takes CAP_SYS_ADMIN, other users' "
					  "files CAP_DAC_OVERRIDE");
	fsetid = capng_have_capability(CAPNG_EFFECTIVE, CAP_FSETID) &&
		 prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0;
	for (i = 0; i <= CAP_LAST_CAP; i++) {
		unsigned k = 0;

		while (k < VIDAS_ARRAY_SIZE(keep) && keep[k] != i)
			k++;
		if (k == VIDAS_ARRAY_SIZE(keep))
			capng_update(CAPNG_DROP,
				     CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE, i);
	}
	if (fsetid)
		capng_update(CAPNG_ADD, CAPNG_PERMITTED, CAP_FSETID);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return vidas_fail(-EPERM, "cannot drop capabilities");
	umask(0);
	groupless = setgroups(0, NULL) == 0 || getgroups(0, NULL) == 0;
	return caps(SYS_capget, effective);
}

/* Threads share the umask until they ask for their own. */
static void own_umask(mode_t mask)
{
	static _Thread_local mode_t now;
	static _Thread_local bool own;

	if (own && mask == now)
		return;
	if (!own && unshare(CLONE_FS) < 0) {
		vidas_log(VIDAS_LOG_ERR, "a thread gets no umask of its own: %s", strerror(errno));
		return;
	}
	own = true;
	now = mask;
	umask(mask);
}

static _Thread_local bool assumed;
static _Thread_local bool raised; /* CAP_FSETID */

int vidas_identity_assume(fuse_req_t req, int dirfd, mode_t mode)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	gid_t gid = ctx->gid;
	struct stat dir;
	int err = 0;

	own_umask(ctx->umask);
	/* The kernel has taken S_ISGID from the mode if the caller is not of the group that an sgid
	 * directory gives; we, who do not know all groups of the caller, must not do it again. */
	if ((mode & S_ISGID) && fstat(dirfd, &dir) == 0 && (dir.st_mode & S_ISGID))
		gid = dir.st_gid;
	vidas_identity_assume_group(gid);
	if (ctx->uid) {
		assumed = true;
		syscall(SYS_setfsuid, ctx->uid);
		/* Leaving fsuid 0 took the capabilities that concern files. */
		err = caps(SYS_capset, effective);
		if (err)
			vidas_identity_resume();
	}
	return err;
}

/* Of a process that we cannot see: as the kernel has decided. */
static bool caller_has(pid_t pid, unsigned cap)
{
	unsigned long long have = 0;
	char path[64], line[256];
	bool seen = false;
	uint64_t there;
	FILE *f;

	if (vidas_is_far())
		return vidas_far_caps(pid, &there) || (there >> cap & 1);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f && !seen && fgets(line, sizeof(line), f))
		seen = sscanf(line, "CapEff: %llx", &have) == 1;
	if (f)
		fclose(f);
	return !seen || (have >> cap & 1);
}

int vidas_identity_owner(fuse_req_t req, const struct stat *st)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return !ctx->uid || ctx->uid == st->st_uid || caller_has(ctx->pid, CAP_FOWNER) ? 0 : -EPERM;
}

int vidas_identity_sticky(fuse_req_t req, int dirfd, uid_t owner)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct stat dir;

	if (!ctx->uid || ctx->uid == owner || fstat(dirfd, &dir) < 0 || !(dir.st_mode & S_ISVTX) ||
	    ctx->uid == dir.st_uid)
		return 0;
	return caller_has(ctx->pid, CAP_FOWNER) ? 0 : -EPERM;
}

static int groups_of(fuse_req_t req, int room, gid_t *list)
{
	return vidas_is_far() ? vidas_far_groups(fuse_req_ctx(req)->pid, room, list) :
				fuse_req_getgroups(req, room, list);
}

bool vidas_identity_member(fuse_req_t req, gid_t gid)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	int count, room = 0;
	gid_t *list = NULL;
	bool member = !ctx->uid || ctx->gid == gid;

	while (!member) {
		count = groups_of(req, room, list);
		/* Of a process that we cannot see none is known. */
		if (count <= 0)
			break;
		if (count <= room) {
			while (count > 0 && list[count - 1] != gid)
				count--;
			member = count > 0;
			break;
		}
		free(list);
		room = count;
		list = calloc((size_t)room, sizeof(*list));
		if (!list)
			break;
	}
	free(list);
	return member;
}

bool vidas_identity_may(fuse_req_t req, int fd, int access)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];
	bool may;

	if (!groupless)
		return false;
	memcpy(none, effective, sizeof(none));
	for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		none[i].effective = 0;
	assumed = true;
	syscall(SYS_setfsgid, ctx->gid);
	syscall(SYS_setfsuid, ctx->uid);
	may = !caps(SYS_capset, none) && !faccessat(fd, "", access, AT_EMPTY_PATH | AT_EACCESS);
	if (caps(SYS_capset, effective))
		vidas_log(VIDAS_LOG_ERR, "a thread does not get its capabilities back");
	vidas_identity_resume();
	return may;
}

void vidas_identity_assume_group(gid_t gid)
{
	if (!gid)
		return;
	assumed = true;
	syscall(SYS_setfsgid, gid);
}

static void raise_fsetid(void)
{
	struct __user_cap_data_struct more[_LINUX_CAPABILITY_U32S_3];

	memcpy(more, effective, sizeof(more));
	more[CAP_TO_INDEX(CAP_FSETID)].effective |= CAP_TO_MASK(CAP_FSETID);
	raised = caps(SYS_capset, more) == 0;
}

void vidas_identity_assume_changer(fuse_req_t req, int fd)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct stat st;

	if (fstat(fd, &st) < 0 || !(st.st_mode & (S_ISUID | S_ISGID)))
		return;
	/* Others have it in user namespaces of their own, where it does not count. */
	if (fsetid && !ctx->uid && caller_has(ctx->pid, CAP_FSETID))
		raise_fsetid();
	else if ((st.st_mode & (S_ISGID | S_IXGRP)) == S_ISGID)
		vidas_identity_assume_group(vidas_identity_member(req, st.st_gid) ? st.st_gid :
										    ctx->gid);
}

void vidas_identity_resume(void)
{
	if (raised && caps(SYS_capset, effective))
		vidas_log(VIDAS_LOG_ERR, "a thread does not lay CAP_FSETID down");
	raised = false;
	if (!assumed)
		return;
	syscall(SYS_setfsuid, 0);
	syscall(SYS_setfsgid, 0);
	assumed = false;
}
