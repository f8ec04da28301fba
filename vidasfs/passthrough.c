/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * FUSE passthrough (Linux 6.9): read, write and mmap of an open file run on the pool's own page
 * cache, without the daemon. The kernel wants one backing id an inode while any open of it lives.
 */
#include "vidasfs/fs.h"

#include <string.h>
#include <sys/ioctl.h>

void vidas_backing_none(int level, const char *where, const char *why)
{
	vidas_log(level,
		  "%s: no passthrough (%s): reads and writes go through vidasfs, and files %s",
		  where, why,
		  vidas_fs.maps ? "that are mapped are not coherent between domains" :
				  "cannot be mapped for writing by several (MAP_SHARED)");
}

bool vidas_passes_through(const struct vidas_node *n)
{
	return vidas_fs.passthrough &&
	       !atomic_load_explicit(&n->key.branch->no_passthrough, memory_order_relaxed);
}

#if VIDAS_FUSE_PASSTHROUGH

/* <linux/fuse.h> of 6.9; Debian 12 has an older one. */
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define BACKING_OPEN  _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

static int refused(struct vidas_branch *b, int err)
{
	switch (err) {
	case EPERM:
	case ELOOP:
	case ENOTTY:
	case EINVAL:
	case EOPNOTSUPP:
		break;
	default:
		return -err;
	}
	if (!atomic_exchange_explicit(&b->no_passthrough, true, memory_order_relaxed))
		vidas_backing_none(VIDAS_LOG_WARNING, b->name,
				   err == EPERM ? "it takes CAP_SYS_ADMIN on the host" :
						  strerror(err));
	return -EOPNOTSUPP;
}

/* Under n->lock. */
static int backing_get(struct vidas_node *n, int fd)
{
	struct vidas_branch *b = n->key.branch;
	struct backing_map map = { .fd = fd };
	struct stat st;
	int err = 0, id;

	if (!vidas_fs.passthrough || atomic_load_explicit(&b->no_passthrough, memory_order_relaxed))
		return -EOPNOTSUPP;
	if (!n->backing_id) {
		/* What is written there is written by us as we are now: as one of the file's group, for
		 * whom a file without execution by the group keeps S_ISGID. */
		if (fstat(fd, &st) == 0)
			vidas_identity_assume_group(st.st_gid);
		id = ioctl(fuse_session_fd(vidas_fs.se), BACKING_OPEN, &map);
		if (id > 0)
			n->backing_id = id;
		else
			err = refused(b, id < 0 ? errno : EINVAL);
		vidas_identity_resume();
	}
	n->backing_opens += !err;
	return err;
}

int vidas_backing_open(struct vidas_node *n, int fd, bool *partial)
{
	int err = 0;

	pthread_mutex_lock(&n->lock);
	if (*partial && n->backing_opens) {
		err = -EAGAIN;
	} else if (*partial || n->partial_opens) {
		*partial = true;
		n->partial_opens++;
		err = -EOPNOTSUPP;
	} else {
		err = backing_get(n, fd);
	}
	pthread_mutex_unlock(&n->lock);
	return err;
}

void vidas_backing_tell(const struct vidas_node *n, struct fuse_file_info *fi)
{
	fi->backing_id = n->backing_id;
}

void vidas_backing_close(struct vidas_node *n)
{
	uint32_t id;

	pthread_mutex_lock(&n->lock);
	if (!--n->backing_opens) {
		id = (uint32_t)n->backing_id;
		n->backing_id = 0; /* first: a worker that dies must not leave an id that is free */
		if (id && ioctl(fuse_session_fd(vidas_fs.se), BACKING_CLOSE, &id) < 0 &&
		    errno != ENODEV)
			vidas_log(VIDAS_LOG_ERR, "a backing id cannot be closed: %s",
				  strerror(errno));
	}
	pthread_mutex_unlock(&n->lock);
}

#else

int vidas_backing_open(struct vidas_node *n, int fd, bool *partial)
{
	(void)fd;
	pthread_mutex_lock(&n->lock);
	n->partial_opens += *partial;
	pthread_mutex_unlock(&n->lock);
	return -EOPNOTSUPP;
}

void vidas_backing_tell(const struct vidas_node *n, struct fuse_file_info *fi)
{
	(void)n;
	(void)fi;
}

void vidas_backing_close(struct vidas_node *n)
{
	(void)n;
}

#endif
