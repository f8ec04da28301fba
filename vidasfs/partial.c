/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files of a container with a root whose bytes are not all in the pool yet.
 *
 * Who only reads such a file need not wait for all of it: its reads come here (direct I/O), and have
 * vidasd fetch what they touch. A copy of vidasd's map of what is there spares the question; it is
 * good for as long as the file's generation is the same after the bytes were read. A handle belongs to
 * the generation of its open: when the store's file is another by now, reads of it fail rather than
 * mix two versions. A handle that is only written to waits for all bytes at its first write; one
 * that may do both waits at the open, so that what it maps is the pool's memory.
 *
 * The kernel refuses an inode that is mapped through direct I/O a backing file, and one that has a
 * backing file such mappings. So as long as a file is open in one of the two ways it is opened in
 * the same.
 */
#include "vidasfs/fs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pool/policy/attr.h"

#define SLICE_US (INT64_C(200) * 1000) /* of a wait, between looks whether the caller is gone */
#define TRIES	 10

/* What vidasd said last; under node->lock. */
struct vidas_partial {
	uint64_t generation, size_bytes;
	unsigned shift;
	size_t bits_bytes;
	uint8_t bits[VIDAS_WIRE_BLOB_MAX];
};

static int key_of(int fd, char key[4096])
{
	char path[VIDAS_PROC_PATH_MAX];
	ssize_t n = getxattr(vidas_fd_path(fd, path), VIDAS_XATTR_ABSENT, key, 4095);

	if (n < 0)
		return -errno;
	key[n] = 0;
	return 0;
}

static int ask_resident(struct vidas_tree *t, const char *path, uint64_t ino, void *arg)
{
	return vidas_tree_resident(t, path, ino, *(bool *)arg);
}

/* Asks until it is there. What vidasd does not know by its key it may know by its path. */
static int ask(struct vidas_node *n, int fd, fuse_req_t req, struct vidas_tree_fetch *f)
{
	struct vidas_tree *t = n->key.branch->tree;
	char key[4096], now[4096];
	bool no = false;
	int err = -EAGAIN, tries = 0;

	f->timeout_us = SLICE_US;
	while (err == -EAGAIN || (err == -ESTALE && tries++ < TRIES)) {
		err = key_of(fd, key);
		if (err == -ENODATA) {
			f->whole = true;
			return 0;
		}
		if (!err)
			err = vidas_tree_fetch(t, key, n->key.ino, f);
		if (err == -ENOENT && (key_of(fd, now) < 0 || strcmp(now, key) != 0))
			err = -ESTALE; /* renamed in the store meanwhile */
		f->flags &= ~(uint32_t)VIDAS_WIRE_FETCH_REVALIDATE;
		if (err == -EAGAIN && req && fuse_req_interrupted(req))
			return -EINTR;
	}
	if (err == -ENOENT && (f->size || !(f->flags & VIDAS_WIRE_FETCH_DISCARD))) {
		err = vidas_node_ask(n, ask_resident, &no);
		f->whole = !err;
	}
	if (err)
		vidas_log(VIDAS_LOG_WARNING, "container %s: fetching a file: %s",
			  n->key.branch->name, vidas_error_text());
	return err;
}

static int ask_all(struct vidas_node *n, int fd, fuse_req_t req, uint32_t flags, uint64_t size)
{
	uint8_t bits[VIDAS_WIRE_BLOB_MAX];
	struct vidas_tree_fetch f = { .flags = flags, .size = size, .bits = bits };

	return ask(n, fd, req, &f);
}

/* Asks for a part, and notes what is here then. 1: it is not absent any more. */
static int ask_part(struct vidas_node *n, int fd, fuse_req_t req, uint32_t flags, uint64_t offset,
		    uint64_t size, uint64_t *generation)
{
	struct vidas_partial *p = calloc(1, sizeof(*p)), *old;
	struct vidas_tree_fetch f = { .flags = flags, .offset = offset, .size = size };
	int err;

	if (!p)
		return -ENOMEM;
	f.bits = p->bits;
	err = ask(n, fd, req, &f);
	if (err || f.whole) {
		free(p);
		return err ? err : 1;
	}
	p->generation = *generation = f.generation;
	p->size_bytes = f.size_bytes;
	p->shift = f.shift;
	p->bits_bytes = f.bits_bytes;
	pthread_mutex_lock(&n->lock);
	old = n->partial;
	n->partial = p;
	pthread_mutex_unlock(&n->lock);
	free(old);
	return 0;
}

/* Under n->lock: are the chunks of these bytes here, as far as there are any? */
static bool covers(const struct vidas_partial *p, uint64_t offset, uint64_t size)
{
	uint64_t chunk, last;

	if (!size || offset >= p->size_bytes)
		return true;
	if (size > p->size_bytes - offset)
		size = p->size_bytes - offset;
	last = (offset + size - 1) >> p->shift;
	for (chunk = offset >> p->shift; chunk <= last; chunk++)
		if (chunk / 8 >= p->bits_bytes || !(p->bits[chunk / 8] & 1u << chunk % 8))
			return false;
	return true;
}

/* Opening -------------------------------------------------------------------------------------- */

/* A newer version of a file that is all here. */
static int revalidate(struct vidas_node *n)
{
	bool yes = true;
	int err = vidas_node_ask(n, ask_resident, &yes);

	/* Unlinked: it is all there is. */
	if (err && err != -ENOENT)
		vidas_log(VIDAS_LOG_WARNING, "container %s: asking for a newer version: %s",
			  n->key.branch->name, vidas_error_text());
	return err == -ENOENT ? 0 : err;
}

static bool is_absent(int fd)
{
	char path[VIDAS_PROC_PATH_MAX];

	return getxattr(vidas_fd_path(fd, path), VIDAS_XATTR_ABSENT, NULL, 0) >= 0;
}

int vidas_file_ready(struct vidas_node *n, int fd, fuse_req_t req)
{
	if (!n->key.branch->rooted || !S_ISREG(n->type) || !is_absent(fd))
		return 0;
	return ask_all(n, fd, req, VIDAS_WIRE_FETCH_ALL, 0);
}

int vidas_file_discard(struct vidas_node *n, int fd, off_t size)
{
	if (!n->key.branch->rooted || !S_ISREG(n->type) || !is_absent(fd))
		return 0;
	return ask_all(n, fd, NULL, VIDAS_WIRE_FETCH_DISCARD, (uint64_t)size);
}

int vidas_file_open(struct vidas_node *n, int fd, fuse_req_t req, int flags, uint64_t *generation)
{
	bool eager;
	int err;

	if (!n->key.branch->rooted || !S_ISREG(n->type))
		return 0;
	if (flags & O_TRUNC)
		return vidas_file_discard(n, fd, 0);
	eager = vidas_node_policy(n, "update_policy", "eager");
	if (!is_absent(fd))
		return eager ? revalidate(n) : 0;
	if ((flags & O_ACCMODE) == O_RDWR)
		return ask_all(n, fd, req, VIDAS_WIRE_FETCH_ALL, 0);
	err = ask_part(n, fd, req, eager ? VIDAS_WIRE_FETCH_REVALIDATE : 0, 0, 0, generation);
	return err < 0 ? err : !err;
}

void vidas_partial_close(struct vidas_node *n)
{
	struct vidas_partial *p = NULL;
	int fd;

	pthread_mutex_lock(&n->lock);
	if (!--n->partial_opens) {
		p = n->partial;
		n->partial = NULL;
	}
	pthread_mutex_unlock(&n->lock);
	/* Only now, so that its ctime stays while it is read. */
	if (p && covers(p, 0, p->size_bytes)) {
		fd = vidas_fd_get(n);
		if (fd >= 0) {
			(void)ask_all(n, fd, NULL, VIDAS_WIRE_FETCH_ALL, 0);
			vidas_fd_put(n);
		}
	}
	free(p);
}

/* Reading and writing -------------------------------------------------------------------------- */

static void set_whole(struct vidas_handle *h)
{
	atomic_store_explicit(&h->whole, true, memory_order_release);
}

bool vidas_handle_partial(struct vidas_handle *h)
{
	return h->partial && !atomic_load_explicit(&h->whole, memory_order_acquire);
}

static int other_version(const struct vidas_handle *h)
{
	vidas_log(VIDAS_LOG_WARNING,
		  "container %s: a file that is being read has another version in its store by "
		  "now: opens from before get EIO",
		  h->node->key.branch->name);
	return -EIO;
}

int vidas_partial_before(struct vidas_handle *h, int fd, fuse_req_t req, off_t off, size_t size)
{
	struct vidas_node *n = h->node;
	uint64_t generation = 0;
	bool here;
	int err;

	if (!vidas_handle_partial(h))
		return 0;
	pthread_mutex_lock(&n->lock);
	here = n->partial && n->partial->generation == h->generation &&
	       covers(n->partial, (uint64_t)off, size);
	pthread_mutex_unlock(&n->lock);
	if (here)
		return 0;
	err = ask_part(n, fd, req, 0, (uint64_t)off, size, &generation);
	if (err > 0)
		return 0;
	if (!err && generation != h->generation)
		return other_version(h);
	/* Why it is not to be had is in the file's user.vidas.error. */
	return err && err != -EINTR && err != -ENOMEM ? -EIO : err;
}

int vidas_partial_after(struct vidas_handle *h, int fd)
{
	uint64_t generation;
	ssize_t n;

	if (!vidas_handle_partial(h))
		return 0;
	n = fgetxattr(fd, VIDAS_XATTR_FETCH, &generation, sizeof(generation));
	if (n != sizeof(generation) || generation != h->generation)
		return other_version(h);
	/* From now on it is like any other file. */
	if (!is_absent(fd))
		set_whole(h);
	return 0;
}

int vidas_partial_whole(struct vidas_handle *h, int fd, fuse_req_t req)
{
	int err = vidas_handle_partial(h) ? vidas_file_ready(h->node, fd, req) : 0;

	return err ? err : vidas_partial_after(h, fd);
}

off_t vidas_partial_seek(int fd, off_t off, int whence)
{
	struct stat st;

	/* What is not here yet is no hole. */
	if (fstat(fd, &st) < 0)
		return -errno;
	if (off < 0 || off >= st.st_size)
		return -ENXIO;
	return whence == SEEK_DATA ? off : st.st_size;
}
