/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Open files: how they begin and end, and what else has to know. In passthrough the daemon itself has no
 * file open: the node's descriptor is enough. */
#include "vidasfs/fs.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PARTIAL_STEP_NS 1000000
#define PARTIAL_STEPS	100

int vidas_handle_fd(struct vidas_handle *h)
{
	int fd;

	pthread_mutex_lock(&h->lock);
	if (h->fd < 0)
		h->fd = vidas_node_open(h->node, h->flags & (O_ACCMODE | O_SYNC | O_DSYNC));
	fd = h->fd;
	pthread_mutex_unlock(&h->lock);
	return fd;
}

/* The first open for writing of the inode in this domain tells the others, the last close too. */
static void writers_begin(struct vidas_node *n)
{
	struct vidas_branch *b = n->key.branch;

	pthread_mutex_lock(&n->lock);
	if (!atomic_fetch_add_explicit(&n->writers, 1, memory_order_relaxed) && b->tree) {
		vidas_tree_write_begin(b->tree, n->key.ino);
		/* From here on they are not to be cached any more, see vidas_lease_attrs(). */
		if (atomic_load_explicit(&n->cached, memory_order_relaxed))
			vidas_lease_drop_attrs(n);
	}
	pthread_mutex_unlock(&n->lock);
}

static void writers_end(struct vidas_node *n)
{
	struct vidas_branch *b = n->key.branch;

	pthread_mutex_lock(&n->lock);
	if (atomic_fetch_sub_explicit(&n->writers, 1, memory_order_relaxed) == 1 && b->tree)
		vidas_tree_write_end(b->tree, n->key.ino);
	pthread_mutex_unlock(&n->lock);
}

/* A mapping of it may be written to, which needs a descriptor open for both. */
static bool maps_written(const struct vidas_handle *h)
{
	return h->node->key.branch->rooted && (h->flags & O_ACCMODE) == O_RDWR;
}

void vidas_handle_free(struct vidas_handle *h)
{
	struct vidas_node *n = h->node;
	int fd;

	vidas_locks_release(h);
	vidas_notify_release(h);
	if (maps_written(h)) {
		fd = vidas_fd_get(n);
		if (fd >= 0) {
			vidas_file_touched(n, fd);
			vidas_fd_put(n);
		}
	}
	if (h->passthrough)
		vidas_backing_close(n);
	if (h->partial)
		vidas_partial_close(n);
	if (h->writes)
		writers_end(n);
	fd = h->fd;
	h->fd = -1;
	if (fd >= 0)
		close(fd);
	pthread_mutex_destroy(&h->lock);
	vidas_keep_free(VIDAS_KEPT_HANDLE, h);
	vidas_fd_unpin(n);
	vidas_branch_opened(n->key.branch, -1);
	vidas_node_unref(n);
}

void vidas_handle_tell(const struct vidas_handle *h, struct fuse_file_info *fi)
{
	fi->fh = vidas_keep_number(VIDAS_KEPT_HANDLE, h);
	fi->noflush = h->noflush;
	if (h->passthrough) {
		vidas_backing_tell(h->node, fi);
		return;
	}
	fi->direct_io = h->direct;
#if VIDAS_FUSE_PASSTHROUGH
	fi->parallel_direct_writes = h->direct;
#endif
}

void vidas_handle_resume(struct vidas_handle *h)
{
	struct vidas_node *n = h->node;
	struct stat st;

	pthread_mutex_init(&h->lock, NULL);
	h->poller = NULL;
	h->users = 0;
	vidas_node_ref(n);
	vidas_branch_opened(n->key.branch, 1);
	vidas_fd_pin(n);
	if (h->fd >= 0 && (fstat(h->fd, &st) < 0 || st.st_ino != n->key.ino))
		h->fd = -1;
	if (h->writes && !atomic_fetch_add_explicit(&n->writers, 1, memory_order_relaxed) &&
	    n->key.branch->tree)
		vidas_tree_write_take(n->key.branch->tree, n->key.ino);
	n->backing_opens += h->passthrough;
	n->partial_opens += h->partial;
}

/* What is mapped by an open for both is to be the pool's memory. A close that is under way, of a reader
 * from before all of it was there, is waited for; one that stays open is not. */
static void wait_partial(struct vidas_node *n)
{
	const struct timespec t = { .tv_nsec = PARTIAL_STEP_NS };
	unsigned opens = 1;

	for (int i = 0; opens && i < PARTIAL_STEPS; i++) {
		pthread_mutex_lock(&n->lock);
		opens = n->partial_opens;
		pthread_mutex_unlock(&n->lock);
		if (opens)
			nanosleep(&t, NULL);
	}
	if (opens)
		vidas_log(
			VIDAS_LOG_NOTICE,
			"container %s: a file is opened for reading and writing while opens from "
			"before all of it was fetched live: without passthrough, and what it maps "
			"is not coherent with other domains",
			n->key.branch->name);
}

/* In the way in which the file is open already, if it is. */
static int backing_open(struct vidas_handle *h, int fd, const uint64_t *generation)
{
	bool partial = generation;
	int err;

	if (!partial && maps_written(h) && vidas_fs.passthrough)
		wait_partial(h->node);
	err = vidas_backing_open(h->node, fd, &partial);

	if (err == -EAGAIN) {
		err = vidas_file_ready(h->node, fd, NULL);
		partial = false;
		if (!err)
			err = vidas_backing_open(h->node, fd, &partial);
	}
	h->partial = partial;
	h->generation = generation ? *generation : 0;
	atomic_init(&h->whole, !generation);
	return err;
}

int vidas_handle_new(struct vidas_node *n, int fd, struct fuse_file_info *fi,
		     const uint64_t *generation, struct vidas_handle **out)
{
	struct vidas_handle *h = vidas_keep_new(VIDAS_KEPT_HANDLE);
	int err;

	if (!h)
		return -ENOMEM;
	pthread_mutex_init(&h->lock, NULL);
	h->node = n;
	h->flags = fi->flags;
	h->fd = -1;
	vidas_node_ref(n);
	vidas_branch_opened(n->key.branch, 1);
	vidas_fd_pin(n);
	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		h->writes = true;
		writers_begin(n);
	}
	if (maps_written(h))
		vidas_file_touched(n, fd);
	err = backing_open(h, fd, generation);
	h->passthrough = !err;
	h->direct = err && (h->partial || !vidas_relaxed_pages(n, fi->flags));
	if (err && err != -EOPNOTSUPP) {
		vidas_handle_free(h);
		return err;
	}
	/* Closing a reader needs no message, unless the file is one of those that are locked. */
	pthread_mutex_lock(&n->lock);
	h->noflush = !h->writes && !n->posix_locks;
	pthread_mutex_unlock(&n->lock);
	vidas_keep_publish(h);
	vidas_handle_tell(h, fi);
	*out = h;
	return 0;
}
