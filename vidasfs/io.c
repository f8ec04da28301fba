/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads and writes of files that are not in passthrough.
 *
 * Reads are answered from a mapping of the pool's file: the kernel copies from its page cache to
 * the reader, once. A file that is cut short meanwhile would make that copy fail. So it is done
 * only under a lease on attributes, within a section: no other domain has the file open for writing
 * then, and whoever wants to cut it recalls the lease first, which waits for the section. We
 * ourselves cut with window_lock held for writing. Other files, and those with holes (to map a hole
 * is to fill it), are read into a buffer of the thread.
 *
 * Writes never touch a mapping: pwrite gives errors, a store gives signals.
 */
#include "vidasfs/fs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define WINDOW_MIN	 ((size_t)16 << 20)
#define RELATIME_SECONDS (24 * 60 * 60)

/* Grows by being replaced. */
struct vidas_window {
	char *base;
	size_t size; /* may reach beyond the end of the file */
};

struct buffer {
	size_t size;
	char bytes[];
};

static pthread_key_t buffer_key;

int vidas_io_init(void)
{
	return -pthread_key_create(&buffer_key, free);
}

/* The thread's, of at least `size`; NULL: no memory. */
static char *buffer_of(size_t size)
{
	struct buffer *b = pthread_getspecific(buffer_key);

	if (b && b->size >= size)
		return b->bytes;
	free(b);
	b = malloc(sizeof(*b) + size);
	if (b)
		b->size = size;
	if (pthread_setspecific(buffer_key, b) != 0) {
		free(b);
		b = NULL;
	}
	return b ? b->bytes : NULL;
}

void vidas_window_free(struct vidas_node *n)
{
	if (!n->window)
		return;
	munmap(n->window->base, n->window->size);
	free(n->window);
	n->window = NULL;
}

/* Under window_lock for writing. */
static void window_grow(struct vidas_node *n, int fd, size_t end)
{
	struct vidas_window *w = malloc(sizeof(*w));
	size_t size = WINDOW_MIN;

	while (size < end)
		size *= 2;
	if (!w)
		return;
	w->size = size;
	w->base = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (w->base == MAP_FAILED) {
		free(w);
		return;
	}
	vidas_window_free(n);
	n->window = w;
}

/* Locks the window for reading if it reaches to `end`. */
static bool window_get(struct vidas_node *n, int fd, size_t end)
{
	pthread_rwlock_rdlock(&n->window_lock);
	if (n->window && n->window->size >= end)
		return true;
	pthread_rwlock_unlock(&n->window_lock);

	pthread_rwlock_wrlock(&n->window_lock);
	if (!n->window || n->window->size < end)
		window_grow(n, fd, end);
	pthread_rwlock_unlock(&n->window_lock);

	pthread_rwlock_rdlock(&n->window_lock);
	if (n->window && n->window->size >= end)
		return true;
	pthread_rwlock_unlock(&n->window_lock);
	return false;
}

static bool later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

/* By relatime: then it has to be read as from a file. */
static bool moves_atime(const struct vidas_node *n, const struct stat *st)
{
	uint64_t how = vidas_fs.options.atime & MOUNT_ATTR__ATIME;
	struct timespec now;

	if (how || n->key.branch->readonly)
		return how == MOUNT_ATTR_STRICTATIME;
	if (!later(&st->st_atim, &st->st_mtim) || !later(&st->st_atim, &st->st_ctim))
		return true;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return now.tv_sec - st->st_atim.tv_sec >= RELATIME_SECONDS;
}

/* Within a section. */
static bool read_mapped(fuse_req_t req, struct vidas_node *n, int fd, size_t size, off_t off)
{
	struct iovec iov;
	struct stat st;
	bool done = false;

	if (!vidas_lease_hold(n) || !window_get(n, fd, (size_t)off + size))
		return false;
	/* Who has the reply may close the file. */
	vidas_node_ref(n);
	if (fstat(fd, &st) == 0 && off < st.st_size && st.st_blocks * 512 >= st.st_size &&
	    !moves_atime(n, &st)) {
		if ((off_t)size > st.st_size - off)
			size = (size_t)(st.st_size - off);
		iov = (struct iovec){ n->window->base + off, size };
		fuse_reply_iov(req, &iov, 1);
		done = true;
	}
	pthread_rwlock_unlock(&n->window_lock);
	vidas_node_unref(n);
	return done;
}

static void read_buffered(fuse_req_t req, struct vidas_handle *partial, int fd, size_t size,
			  off_t off)
{
	char *buf = buffer_of(size);
	ssize_t got = buf ? pread(fd, buf, size, off) : -1;
	int err = got >= 0 ? 0 : buf ? -errno : -ENOMEM;

	if (!err && partial)
		err = vidas_partial_after(partial, fd);
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_buf(req, buf, (size_t)got);
}

static void read_partial(fuse_req_t req, struct vidas_handle *h, int fd, size_t size, off_t off)
{
	int err = vidas_partial_before(h, fd, req, off, size);

	if (err)
		fuse_reply_err(req, -err);
	else
		read_buffered(req, h, fd, size, off);
}

void vidas_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi)
{
	struct vidas_node *n = vidas_node_of(ino);
	struct vidas_handle *h = vidas_handle_of(fi);
	int fd = vidas_handle_fd(h);
	bool done;

	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	if (vidas_handle_partial(h)) {
		read_partial(req, h, fd, size, off);
		return;
	}
	vidas_lease_enter();
	done = read_mapped(req, n, fd, size, off);
	vidas_lease_leave();
	if (done)
		return;
	read_buffered(req, NULL, fd, size, off);
}

/* Counts what was written before an error. */
static ssize_t write_all(int fd, const char *p, size_t size, off_t off, int flags)
{
	size_t done = 0;

	while (done < size) {
		const struct iovec iov = { (void *)(uintptr_t)(p + done), size - done };
		ssize_t n = pwritev2(fd, &iov, 1, off + (off_t)done, flags);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return done ? (ssize_t)done : n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* The end is where the pool's file ends, whatever our kernel thinks. */
static ssize_t append_once(int fd, const char *p, size_t size)
{
	int64_t n;

	if (vidas_deed_result(&n))
		return (ssize_t)n;
	vidas_deed_begin(0);
	n = write_all(fd, p, size, 0, RWF_APPEND);
	vidas_deed_done(n);
	return (ssize_t)n;
}

void vidas_op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *bufv, off_t off,
			struct fuse_file_info *fi)
{
	struct vidas_handle *h = vidas_handle_of(fi);
	int fd = vidas_handle_fd(h);
	const struct fuse_buf *buf = &bufv->buf[0];
	ssize_t n;

	(void)ino;
	n = fd < 0 ? fd : vidas_partial_whole(h, fd, req);
	if (n < 0)
		; /* it cannot be written to */
	else if (bufv->count != 1 || (buf->flags & FUSE_BUF_IS_FD))
		n = -EIO; /* splicing was not asked for */
	else if (fi->flags & O_APPEND)
		n = append_once(fd, (const char *)buf->mem + bufv->off, buf->size - bufv->off);
	else
		n = write_all(fd, (const char *)buf->mem + bufv->off, buf->size - bufv->off, off,
			      0);
	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
}
