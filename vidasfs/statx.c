/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * statx(2) with the time of birth. Linux asks for it by FUSE_STATX (6.6), which libfuse knows from 3.18
 * on: so these requests are answered here, and libfuse does not see them.
 */
#include "vidasfs/fs.h"

#include <linux/fuse.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* As <linux/fuse.h> of 6.6 has it; Debian 12 has an older one. */
struct sx_time {
	int64_t tv_sec;
	uint32_t tv_nsec;
	int32_t reserved;
};

struct statx_reply {
	uint32_t len;
	int32_t error;
	uint64_t unique;
	struct {
		uint64_t attr_valid;
		uint32_t attr_valid_nsec, flags;
		uint64_t spare[2];
		struct {
			uint32_t mask, blksize;
			uint64_t attributes;
			uint32_t nlink, uid, gid;
			uint16_t mode, spare0;
			uint64_t ino, size, blocks, attributes_mask;
			struct sx_time atime, btime, ctime, mtime;
			uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
			uint64_t spare2[14];
		} stat;
	} out;
};
_Static_assert(sizeof(struct statx_reply) == 16 + 32 + 256, "as the kernel has it");

static struct sx_time sx(struct timespec t)
{
	return (struct sx_time){ .tv_sec = t.tv_sec, .tv_nsec = (uint32_t)t.tv_nsec };
}

static void fill(struct statx_reply *r, const struct stat *st, double timeout)
{
	r->out.attr_valid = (uint64_t)timeout;
	r->out.attr_valid_nsec = (uint32_t)((timeout - (double)(uint64_t)timeout) * 1e9);
	r->out.stat.mask = STATX_BASIC_STATS;
	r->out.stat.blksize = (uint32_t)st->st_blksize;
	r->out.stat.nlink = (uint32_t)st->st_nlink;
	r->out.stat.uid = st->st_uid;
	r->out.stat.gid = st->st_gid;
	r->out.stat.mode = (uint16_t)st->st_mode;
	r->out.stat.ino = st->st_ino;
	r->out.stat.size = (uint64_t)st->st_size;
	r->out.stat.blocks = (uint64_t)st->st_blocks;
	r->out.stat.atime = sx(st->st_atim);
	r->out.stat.ctime = sx(st->st_ctim);
	r->out.stat.mtime = sx(st->st_mtim);
	r->out.stat.rdev_major = major(st->st_rdev);
	r->out.stat.rdev_minor = minor(st->st_rdev);
}

static void fill_birth(struct statx_reply *r, int fd)
{
	struct statx x;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &x) < 0 || !(x.stx_mask & STATX_BTIME))
		return;
	r->out.stat.mask |= STATX_BTIME;
	r->out.stat.btime.tv_sec = x.stx_btime.tv_sec;
	r->out.stat.btime.tv_nsec = x.stx_btime.tv_nsec;
}

/* Within a section. */
static int ask(struct vidas_node *n, struct statx_reply *r)
{
	double timeout = 0;
	struct stat st;
	int fd, err;

	if (vidas_node_is_list(n)) {
		timeout = vidas_root_stat(&st);
		fill(r, &st, timeout);
		return 0;
	}
	fd = vidas_fd_get(n);
	if (fd < 0)
		return fd;
	err = vidas_lease_stat(n, fd, &st, &timeout);
	if (!err) {
		fill(r, &st, timeout);
		fill_birth(r, fd);
	}
	vidas_fd_put(n);
	return err;
}

static void answer(const struct fuse_in_header *in)
{
	struct statx_reply r = { .unique = in->unique };
	int err;

	vidas_lease_enter();
	r.error = ask(vidas_node_of(in->nodeid), &r);
	r.len = r.error ? 16 : sizeof(r);
	/* Interrupted, or unmounted: then nobody waits for it. */
	err = vidas_channel_write(&r, r.len);
	if (err && err != -ENOENT && err != -ENODEV)
		vidas_log(VIDAS_LOG_ERR, "answering statx: %s", strerror(-err));
	vidas_lease_leave();
}

bool vidas_statx_serve(const struct fuse_buf *buf)
{
	const struct fuse_in_header *in = buf->mem;

	if (buf->size < sizeof(*in) || in->opcode != VIDAS_FUSE_STATX)
		return false;
	answer(in);
	return true;
}
