/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memory of files, handed to the near half: chunks of the pool's file, and the promise that the file
 * is no shorter than it was, and has no holes, for as long as a lease on its attributes. Who else wants
 * to change that recalls the lease; we ourselves hold window_lock for writing. Either way the near half
 * drops what it has of the file before that is done.
 *
 * The near half asks with the read or write that it has in hand: where no memory can be handed over,
 * that is carried out as any other.
 */
#include "vidasfs/far.h"
#include "vidasfs/fs.h"
#include "vidasfs/lane.h"

#include <linux/fuse.h>
#include <string.h>

#define PAGE 4096u

/* Within a section, under window_lock: what of the file can be handed over. */
static int map_range(struct vidas_node *n, struct vidas_handle *h, uint64_t needed,
		     struct vidas_lane_mapped *m, struct vidas_share *share)
{
	uint64_t end = m->offset + VIDAS_LANE_CHUNK;
	struct stat st;
	int fd;

	fd = vidas_handle_fd(h);
	if (fd < 0)
		return fd;
	if (!vidas_lease_hold(n))
		return -EAGAIN;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* To map a hole is to fill it; what is small is not worth it. */
	if (st.st_size < VIDAS_LANE_MAP_MIN || needed > (uint64_t)st.st_size ||
	    m->offset >= (uint64_t)st.st_size || st.st_blocks * 512 < st.st_size)
		return -EAGAIN;
	if (end > (uint64_t)st.st_size)
		end = ((uint64_t)st.st_size + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	m->bytes = end - m->offset;
	m->size = (uint64_t)st.st_size;
	/* What a write does besides is left to the host where there is any of that. */
	m->writable = (h->flags & O_ACCMODE) == O_RDWR && n->key.branch->volatile_pool &&
		      !(st.st_mode & (S_ISUID | S_ISGID)) &&
		      !(h->flags & (O_SYNC | O_DSYNC | O_APPEND));
	if (needed && !m->writable)
		return -EAGAIN;
	if ((h->flags & O_ACCMODE) == O_WRONLY)
		return -EAGAIN; /* a descriptor that cannot be mapped */
	m->promise_ms = (uint32_t)(vidas_tree_cache_seconds(n->key.branch->tree) * 1000);
	*share = VIDAS_SHARE_NONE;
	share->fd = fd;
	share->readonly = !m->writable;
	share->offset = m->offset;
	share->bytes = m->bytes;
	return 0;
}

bool vidas_far_map(const struct vidas_lane_map *q, const struct fuse_in_header *in)
{
	const struct fuse_read_in *body = (const void *)(in + 1); /* a write's begins alike */
	struct vidas_node *n = vidas_node_of(in->nodeid);
	struct vidas_handle *h = vidas_keep_find(VIDAS_KEPT_HANDLE, body->fh);
	struct vidas_lane_mapped m = {
		.head = { .bytes = sizeof(m), .kind = VIDAS_LANE_MAPPED, .token = in->unique },
		.nodeid = in->nodeid,
		.offset = q->offset,
	};
	const struct iovec iov = { &m, sizeof(m) };
	/* What is written beyond the end makes it longer. */
	uint64_t needed = in->opcode == FUSE_WRITE ? body->offset + body->size : 0;
	struct vidas_share share;
	int err;

	/* Another one was opened while only a part of the file was there. */
	if (vidas_handle_partial(h) || q->offset % VIDAS_LANE_CHUNK || q->offset > INT64_MAX / 2)
		return false;
	vidas_lease_enter();
	pthread_rwlock_rdlock(&n->window_lock);
	err = map_range(n, h, needed, &m, &share);
	if (!err) {
		atomic_store_explicit(&n->mapped, true, memory_order_relaxed);
		err = vidas_lane_send(vidas_fs.options.lane, &iov, 1, q->memory ? &share : NULL,
				      VIDAS_SHM_LEASE_US);
	}
	pthread_rwlock_unlock(&n->window_lock);
	vidas_lease_leave();
	return !err;
}

void vidas_far_unmap(struct vidas_node *n)
{
	if (vidas_is_far() && atomic_exchange_explicit(&n->mapped, false, memory_order_seq_cst))
		vidas_far_drop(vidas_node_id(n));
}

void vidas_far_touched(uint64_t id)
{
	const struct timespec now[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_NOW } };
	struct vidas_node *n = vidas_node_get(id);
	int fd = -1;

	if (!n)
		return;
	if (S_ISREG(n->type) && atomic_load_explicit(&n->writers, memory_order_relaxed))
		fd = vidas_fd_get(n);
	if (fd >= 0) {
		if (utimensat(fd, "", now, AT_EMPTY_PATH) < 0)
			vidas_log(VIDAS_LOG_WARNING, "the time of a write is not noted: %s",
				  strerror(errno));
		vidas_fd_put(n);
	}
	vidas_node_unref(n);
}
