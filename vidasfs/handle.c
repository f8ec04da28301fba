/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptors of nodes: a bounded cache, not one per inode that the kernel knows. A node whose
 * descriptor was given up is reopened by its file handle.
 *
 * Each shard queues its nodes that have a descriptor which is not pinned; giving up goes round the
 * shards and takes from the heads, with a second chance for those used since they were last looked at.
 */
#include "vidasfs/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

static _Atomic unsigned open_fds;
static _Atomic unsigned trim_cursor;

/* With room for the largest. */
union handle {
	struct file_handle head;
	unsigned char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

/* That of the inode behind `fd`; false with errno. */
static bool handle_of(int fd, union handle *h)
{
	int mount_id;

	h->head.handle_bytes = MAX_HANDLE_SZ;
	return name_to_handle_at(fd, "", &h->head, &mount_id, AT_EMPTY_PATH) == 0;
}

/* Notes the handle of a node that has a descriptor; false: it can only be kept by that. */
static bool handle_note(struct vidas_node *n)
{
	union handle h;

	if (n->handle.head.handle_bytes)
		return true;
	if (!handle_of(n->fd, &h) || h.head.handle_bytes > VIDAS_HANDLE_BYTES)
		return false;
	n->handle.head.handle_type = h.head.handle_type;
	memcpy(n->handle.head.f_handle, h.head.f_handle, h.head.handle_bytes);
	/* A worker that dies here has not noted it. */
	atomic_signal_fence(memory_order_release);
	n->handle.head.handle_bytes = h.head.handle_bytes;
	return true;
}

bool vidas_fd_same(const struct vidas_node *n, int fd)
{
	const struct file_handle *mine = &n->handle.head;
	union handle h;

	return mine->handle_bytes && handle_of(fd, &h) && h.head.handle_type == mine->handle_type &&
	       h.head.handle_bytes == mine->handle_bytes &&
	       !memcmp(h.head.f_handle, mine->f_handle, mine->handle_bytes);
}

void vidas_fd_attach(struct vidas_node *n, int fd)
{
	struct vidas_shard *s = vidas_shard_of(n->key.ino);

	n->fd = fd;
	n->fd_recent = true;
	if (!n->fd_pins)
		DL_APPEND(s->queue, n);
	atomic_fetch_add_explicit(&open_fds, 1, memory_order_relaxed);
}

int vidas_fd_detach(struct vidas_node *n)
{
	struct vidas_shard *s = vidas_shard_of(n->key.ino);
	int fd = n->fd;

	if (!n->fd_pins)
		DL_DELETE(s->queue, n);
	n->fd = -1;
	atomic_fetch_sub_explicit(&open_fds, 1, memory_order_relaxed);
	return fd;
}

/* Takes one descriptor from a shard; -1 if it has none to give. */
static int give_up(struct vidas_shard *s)
{
	struct vidas_node *n, *count;
	size_t left = 0;
	int fd = -1;

	pthread_mutex_lock(&s->lock);
	DL_COUNT(s->queue, count, left);
	for (left *= 2; left && fd < 0; left--) {
		n = s->queue;
		if (n->fd_users || n->fd_recent ||
		    atomic_load_explicit(&n->key.branch->no_handles, memory_order_relaxed)) {
			n->fd_recent = false;
			DL_DELETE(s->queue, n);
			DL_APPEND(s->queue, n);
			continue;
		}
		if (!handle_note(n)) {
			n->fd_recent = true;
			continue;
		}
		fd = vidas_fd_detach(n);
	}
	pthread_mutex_unlock(&s->lock);
	return fd;
}

void vidas_fd_trim(void)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;
	unsigned dry = 0, limit = vidas_fs.fd_limit;

	if (atomic_load_explicit(&open_fds, memory_order_relaxed) <= limit)
		return;
	/* An eighth at once, so that the queues are not gone through for each new node. */
	limit -= limit / 8;
	while (atomic_load_explicit(&open_fds, memory_order_relaxed) > limit &&
	       dry < VIDAS_SHARDS) {
		unsigned i = atomic_fetch_add_explicit(&trim_cursor, 1, memory_order_relaxed);
		int fd = give_up(&vidas_shards[i % VIDAS_SHARDS]);

		dry = fd < 0 ? dry + 1 : 0;
		if (fd >= 0)
			close(fd);
	}
	if (dry == VIDAS_SHARDS && !atomic_flag_test_and_set(&said))
		vidas_log(
			VIDAS_LOG_WARNING,
			"more than %u descriptors are in use at once; raise the limit (ulimit -n)",
			vidas_fs.fd_limit);
}

int vidas_fd_get(struct vidas_node *n)
{
	struct vidas_shard *s = vidas_shard_of(n->key.ino);
	bool reopened = false;
	int fd;

	if (vidas_node_is_list(n))
		return -EPERM;
	pthread_mutex_lock(&s->lock);
	fd = n->fd;
	if (fd < 0) {
		errno = ESTALE;
		if (n->handle.head.handle_bytes && n->key.branch->tree)
			fd = open_by_handle_at(n->key.branch->fd, &n->handle.head,
					       O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0) {
			fd = -errno;
			pthread_mutex_unlock(&s->lock);
			return fd;
		}
		vidas_fd_attach(n, fd);
		reopened = true;
	}
	n->fd_users++;
	n->fd_recent = true;
	pthread_mutex_unlock(&s->lock);
	if (reopened)
		vidas_fd_trim();
	return fd;
}

void vidas_fd_pin(struct vidas_node *n)
{
	struct vidas_shard *s = vidas_shard_of(n->key.ino);

	pthread_mutex_lock(&s->lock);
	if (!n->fd_pins++ && n->fd >= 0)
		DL_DELETE(s->queue, n);
	pthread_mutex_unlock(&s->lock);
}

void vidas_fd_unpin(struct vidas_node *n)
{
	struct vidas_shard *s = vidas_shard_of(n->key.ino);

	pthread_mutex_lock(&s->lock);
	if (!--n->fd_pins && n->fd >= 0)
		DL_APPEND(s->queue, n);
	pthread_mutex_unlock(&s->lock);
}

const char *vidas_fd_path(int fd, char buf[VIDAS_PROC_PATH_MAX])
{
	snprintf(buf, VIDAS_PROC_PATH_MAX, "/proc/self/fd/%d", fd);
	return buf;
}

int vidas_node_open(struct vidas_node *n, int flags)
{
	char number[VIDAS_PROC_PATH_MAX];
	int fd = vidas_fd_get(n), got;

	if (fd < 0)
		return fd;
	flags = (flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW)) | O_CLOEXEC | O_NOCTTY;
	if (S_ISDIR(n->type)) {
		got = openat(fd, ".", flags);
	} else {
		/* Through the magic link: the path has no say in it. */
		snprintf(number, sizeof(number), "%d", fd);
		got = openat(vidas_fs.proc_fd, number, flags);
	}
	if (got < 0)
		got = -errno;
	vidas_fd_put(n);
	return got;
}

/* What /proc says of a descriptor in the node's tree: "/a/b"; 1 if that name is gone. */
static int path_of(const struct vidas_node *n, int fd, char path[4096])
{
	static const char gone[] = " (deleted)";
	const size_t tail = sizeof(gone) - 1;
	char number[VIDAS_PROC_PATH_MAX], text[4096 + sizeof(gone)];
	struct stat st;
	ssize_t got;

	snprintf(number, sizeof(number), "%d", fd);
	got = readlinkat(vidas_fs.proc_fd, number, text, sizeof(text) - 1);
	if (got < 0)
		return -errno;
	text[got] = 0;
	if (got < 1 || text[0] != '/' || got > 4096)
		return -ENAMETOOLONG;
	/* A name may end like that by itself: then it is there. */
	if ((size_t)got > tail && !strcmp(text + got - tail, gone) &&
	    (fstatat(n->key.branch->fd, text + 1, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	     st.st_ino != n->key.ino))
		return 1;
	memcpy(path, text + 1, (size_t)got);
	return 0;
}

int vidas_node_path(struct vidas_node *n, char path[4096])
{
	int fd = vidas_fd_get(n), other, err;
	union handle h;

	if (fd < 0)
		return fd;
	err = path_of(n, fd, path);
	if (err == 1) {
		/* Perhaps it has another name left: a handle finds it. */
		other = handle_of(fd, &h) ? open_by_handle_at(n->key.branch->fd, &h.head,
							      O_PATH | O_NOFOLLOW | O_CLOEXEC) :
					    -1;
		err = other < 0 ? 1 : path_of(n, other, path);
		if (other >= 0)
			close(other);
	}
	vidas_fd_put(n);
	return err == 1 ? -ENOENT : err;
}

int vidas_node_ask(struct vidas_node *n,
		   int (*ask)(struct vidas_tree *t, const char *path, uint64_t ino, void *arg),
		   void *arg)
{
	char path[4096];
	int err = -ESTALE;

	for (int tries = 0; tries < 10 && err == -ESTALE; tries++) {
		err = vidas_node_path(n, path);
		if (!err)
			err = ask(n->key.branch->tree, path, n->key.ino, arg);
	}
	return err;
}
