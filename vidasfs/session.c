/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is agreed on with the kernel when the mount begins, and which operation answers which of its requests. */
#include "vidasfs/far.h"
#include "vidasfs/fs.h"
#include "vidasfs/lane.h"
#include "vidasfs/near.h"

#include <stdio.h>

#define IO_MAX (1u << 20)

static void want(struct fuse_conn_info *conn, uint64_t cap)
{
#if VIDAS_FUSE_PASSTHROUGH
	fuse_set_feature_flag(conn, cap);
#else
	if (conn->capable & cap)
		conn->want |= (unsigned)cap;
#endif
}

static void want_not(struct fuse_conn_info *conn, uint64_t cap)
{
#if VIDAS_FUSE_PASSTHROUGH
	fuse_unset_feature_flag(conn, cap);
#else
	conn->want &= ~(unsigned)cap;
#endif
}

static void want_passthrough(struct fuse_conn_info *conn)
{
	const char *why = NULL;

#if VIDAS_FUSE_PASSTHROUGH
	if (vidas_is_far())
		why = "the mount is in another machine than the pool";
	else if (vidas_fs.options.nopassthrough)
		why = "-o nopassthrough";
	else if (!fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH))
		why = "this kernel, older than 6.9 or without CONFIG_FUSE_PASSTHROUGH, has none";
	/* 0: pools on file systems that are not stacked, and overlayfs on top of us stays possible. */
	conn->max_backing_stack_depth = 0;
#else
	(void)conn;
	why = "built with a libfuse older than 3.17";
#endif
	vidas_fs.passthrough = !why;
#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
	vidas_fs.maps = conn->capable & FUSE_CAP_DIRECT_IO_ALLOW_MMAP;
#endif
	if (why)
		vidas_backing_none(VIDAS_LOG_NOTICE, "all containers", why);
}

/* A kernel that asks us for no locks keeps them to itself: to programs they would seem to hold. */
static void need_locks(const struct fuse_conn_info *conn)
{
	const unsigned both = FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS;

	if ((conn->capable & both) == both)
		return;
	vidas_log(VIDAS_LOG_ERR, "this kernel cannot lock files beyond its own domain: no mount");
	fuse_session_exit(vidas_fs.se);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	static const uint64_t wanted[] = {
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
		FUSE_CAP_HANDLE_KILLPRIV_V2,
#endif
		FUSE_CAP_POSIX_LOCKS,
		FUSE_CAP_FLOCK_LOCKS,
		FUSE_CAP_POSIX_ACL,
		FUSE_CAP_DONT_MASK,
		FUSE_CAP_CACHE_SYMLINKS,
		FUSE_CAP_ATOMIC_O_TRUNC,
		FUSE_CAP_ASYNC_DIO,
		FUSE_CAP_PARALLEL_DIROPS,
		FUSE_CAP_READDIRPLUS,
		FUSE_CAP_READDIRPLUS_AUTO,
#ifdef FUSE_CAP_DIRECT_IO_ALLOW_MMAP
		FUSE_CAP_DIRECT_IO_ALLOW_MMAP,
#endif
#ifdef FUSE_CAP_NO_EXPORT_SUPPORT
		/* A node's id dies with the node: a file handle of it could come to mean another file. */
		FUSE_CAP_NO_EXPORT_SUPPORT,
#endif
	};

	(void)userdata;
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(wanted); i++)
		want(conn, wanted[i]);
	need_locks(conn);
	want_not(conn, FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
			       FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_HANDLE_KILLPRIV);
	want_passthrough(conn);
	conn->max_write = vidas_is_far() ? VIDAS_LANE_IO_MAX : IO_MAX;
	conn->time_gran = 1;
	vidas_lease_init();
}

static const struct fuse_lowlevel_ops operations = {
	.init = op_init,
	.lookup = vidas_op_lookup,
	.forget = vidas_op_forget,
	.forget_multi = vidas_op_forget_multi,
	.getattr = vidas_op_getattr,
	.setattr = vidas_op_setattr,
	.readlink = vidas_op_readlink,
	.mknod = vidas_op_mknod,
	.mkdir = vidas_op_mkdir,
	.unlink = vidas_op_unlink,
	.rmdir = vidas_op_rmdir,
	.symlink = vidas_op_symlink,
	.rename = vidas_op_rename,
	.link = vidas_op_link,
	.open = vidas_op_open,
	.read = vidas_op_read,
	.write_buf = vidas_op_write_buf,
	.flush = vidas_op_flush,
	.release = vidas_op_release,
	.fsync = vidas_op_fsync,
	.opendir = vidas_op_opendir,
	.readdir = vidas_op_readdir,
	.readdirplus = vidas_op_readdirplus,
	.releasedir = vidas_op_releasedir,
	.fsyncdir = vidas_op_fsyncdir,
	.statfs = vidas_op_statfs,
	.setxattr = vidas_op_setxattr,
	.getxattr = vidas_op_getxattr,
	.listxattr = vidas_op_listxattr,
	.removexattr = vidas_op_removexattr,
	.create = vidas_op_create,
#if VIDAS_FUSE_PASSTHROUGH
	.tmpfile = vidas_op_tmpfile,
#endif
	.getlk = vidas_op_getlk,
	.setlk = vidas_op_setlk,
	.flock = vidas_op_flock,
	.fallocate = vidas_op_fallocate,
	.copy_file_range = vidas_op_copy_file_range,
	.lseek = vidas_op_lseek,
	.poll = vidas_op_poll,
};

static void fuse_says(enum fuse_log_level level, const char *fmt, va_list args)
{
	char line[1024];
	int n = vsnprintf(line, sizeof(line), fmt, args);

	if (n > 0 && (size_t)n < sizeof(line) && line[n - 1] == '\n')
		line[n - 1] = 0;
	vidas_log((int)level, "%s", line);
}

int vidas_session_new(struct fuse_args *args)
{
	static const struct fuse_lowlevel_ops none;

	fuse_set_log_func(fuse_says);
	vidas_fs.se = fuse_session_new(args, vidas_is_near() ? &none : &operations,
				       sizeof(operations), NULL);
	return vidas_fs.se ? 0 : vidas_fail(-EIO, "libfuse gives no session");
}
