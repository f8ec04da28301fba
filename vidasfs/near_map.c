/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads and writes of memory that the far half has handed over (far_map.c). Chunks are asked for by the
 * first read or write of them, which waits meanwhile, as do those that come after it. What is read goes
 * from the mapping to the kernel, which copies it to the reader; what is written is copied to the
 * mapping. All else about a file goes to the far half, which is told of writes before.
 *
 * Copies are made by the kernel, also from one place of ours to another: it answers EFAULT where a
 * mapping has no memory behind it any more, and there would be a signal.
 */
#include "vidasfs/fs.h"
#include "vidasfs/lane.h"
#include "vidasfs/near.h"
#include "pool/transport/xen/frame.h"

#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utlist.h>

#define CHUNKS_MAX  128u /* hot ones; the coldest goes for one more */
#define REFUSED_US  (200 * 1000)
#define NO_SHARE_US (10 * 1000 * 1000)
#define SEND_US	    (30 * 1000 * 1000)

/* A request that waits for a chunk. */
struct parked {
	struct parked *prev, *next;
	struct fuse_in_header in; /* and the rest of it */
};

struct chunk {
	UT_hash_handle hh;	   /* of the file */
	struct chunk *prev, *next; /* of all, coldest first */
	struct file *file;
	uint64_t offset;
	size_t bytes;
	char *base;
	bool writable;
	struct vidas_share share;
};

struct file {
	UT_hash_handle hh;
	uint64_t nodeid;
	uint64_t generation; /* of what we know of its size */
	uint64_t size;
	int64_t until_us; /* until then that is so */
	int64_t refused_us;
	/* The request that asks for a chunk, and what was known then. */
	uint64_t asking;
	uint64_t asked_generation;
	int64_t asked_us;
	bool asked_write;
	struct parked *parked;
	unsigned inline_writes;
	bool touched; /* written, and the far half does not know */
	struct chunk *chunks;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *files;
static struct chunk *chunks;
static unsigned chunk_count, touched_count;

static const struct fuse_read_in *body_of(const struct fuse_in_header *in)
{
	return (const void *)(in + 1); /* a write's begins alike */
}

/* All of these under the lock ---------------------------------------------------------------------- */

static struct file *file_find(uint64_t nodeid)
{
	struct file *f;

	HASH_FIND(hh, files, &nodeid, sizeof(nodeid), f);
	return f;
}

static struct file *file_get(uint64_t nodeid)
{
	struct file *f = file_find(nodeid);

	if (f)
		return f;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->nodeid = nodeid;
	HASH_ADD(hh, files, nodeid, sizeof(f->nodeid), f);
	return f;
}

static void chunk_drop(struct chunk *c)
{
	munmap(c->base, c->bytes);
	vidas_share_close(&c->share);
	HASH_DEL(c->file->chunks, c);
	DL_DELETE(chunks, c);
	chunk_count--;
	free(c);
}

static void file_unmap(struct file *f)
{
	struct chunk *c, *next;

	HASH_ITER(hh, f->chunks, c, next)
		chunk_drop(c);
	f->until_us = 0;
	f->generation++;
}

/* It is read and written through the far half for a while. */
static void file_refused(struct file *f, int64_t us)
{
	f->refused_us = vidas_deadline_us(us);
	f->until_us = 0;
}

/* There is no memory behind its mappings. */
static void file_spoilt(struct file *f)
{
	vidas_log(VIDAS_LOG_WARNING, "memory that the far half has handed over is gone: %s",
		  strerror(errno));
	file_unmap(f);
	file_refused(f, NO_SHARE_US);
}

static void touch(struct file *f)
{
	const struct vidas_lane_file m = {
		.head = { .bytes = sizeof(m), .kind = VIDAS_LANE_TOUCH },
		.nodeid = f->nodeid,
	};
	const struct iovec iov = { (void *)(uintptr_t)&m, sizeof(m) };

	if (!f->touched)
		return;
	f->touched = false;
	touched_count--;
	vidas_lane_send(vidas_near.lane, &iov, 1, NULL, SEND_US);
}

static void file_free(struct file *f)
{
	file_unmap(f);
	touch(f);
	HASH_DEL(files, f);
	free(f);
}

static struct chunk *chunk_find(struct file *f, uint64_t offset)
{
	struct chunk *c;

	offset &= ~(uint64_t)(VIDAS_LANE_CHUNK - 1);
	HASH_FIND(hh, f->chunks, &offset, sizeof(offset), c);
	return c;
}

/* Serving ----------------------------------------------------------------------------------------- */

static bool is_write(const struct fuse_in_header *in)
{
	return in->opcode == FUSE_WRITE;
}

static ssize_t reply(const struct fuse_in_header *in, struct iovec *iov, int count, size_t bytes)
{
	struct fuse_out_header out = { .len = (uint32_t)(sizeof(out) + bytes),
				       .unique = in->unique };

	iov[0] = (struct iovec){ &out, sizeof(out) };
	return writev(vidas_near.fuse_fd, iov, count);
}

/* Describes [offset, offset + bytes) of a file by one chunk or two; how many, 0: they are not all here. */
static int gather(struct file *f, uint64_t offset, size_t bytes, bool write, struct iovec *iov)
{
	int count = 0;

	while (bytes) {
		struct chunk *c = chunk_find(f, offset);
		size_t in, n;

		if (!c || (write && !c->writable) || offset - c->offset >= c->bytes)
			return 0;
		in = (size_t)(offset - c->offset);
		n = c->bytes - in < bytes ? c->bytes - in : bytes;
		/* It ends before its place does: the file was shorter when it came. */
		if (n < bytes && c->bytes < VIDAS_LANE_CHUNK)
			return 0;
		iov[count++] = (struct iovec){ c->base + in, n };
		DL_DELETE(chunks, c);
		DL_APPEND(chunks, c);
		offset += n;
		bytes -= n;
	}
	return count;
}

static bool read_mapped(struct file *f, const struct fuse_in_header *in, size_t bytes)
{
	struct iovec iov[4];
	int count = gather(f, body_of(in)->offset, bytes, false, iov + 1);

	if (bytes && !count)
		return false;
	if (reply(in, iov, count + 1, bytes) >= 0 || errno == ENOENT || errno == ENODEV)
		return true;
	file_spoilt(f);
	return false;
}

static bool write_mapped(struct file *f, const struct fuse_in_header *in, size_t bytes)
{
	struct iovec from = { (char *)(uintptr_t)(in + 1) + sizeof(struct fuse_write_in), bytes };
	struct fuse_write_out out = { .size = (uint32_t)bytes };
	struct iovec to[3], iov[2] = { [1] = { &out, sizeof(out) } };
	int count = gather(f, body_of(in)->offset, bytes, true, to);

	if (!count)
		return false;
	/* Part of it may be written: the far half writes all of it then. */
	if (process_vm_writev(getpid(), &from, 1, to, (unsigned long)count, 0) != (ssize_t)bytes) {
		file_spoilt(f);
		return false;
	}
	touched_count += !f->touched;
	f->touched = true;
	reply(in, iov, 2, sizeof(out));
	return true;
}

/* From mapped memory, if that may be now. */
static bool serve(struct file *f, const struct fuse_in_header *in)
{
	uint64_t offset = body_of(in)->offset;
	size_t bytes = body_of(in)->size;

	if (vidas_now_us() >= f->until_us)
		return false;
	if (is_write(in))
		return bytes && offset + bytes <= f->size && !f->inline_writes &&
		       write_mapped(f, in, bytes);
	if (offset >= f->size)
		bytes = 0;
	else if (bytes > f->size - offset)
		bytes = (size_t)(f->size - offset);
	return read_mapped(f, in, bytes);
}

/* Asking ------------------------------------------------------------------------------------------ */

static bool park(struct file *f, const struct fuse_in_header *in)
{
	struct parked *p = malloc(offsetof(struct parked, in) + in->len);

	if (!p)
		return false;
	memcpy(&p->in, in, in->len);
	DL_APPEND(f->parked, p);
	return true;
}

static void changing(struct file *f, bool write)
{
	f->generation++;
	f->until_us = 0;
	f->inline_writes += write;
}

/* What of it is not here: the place of the first chunk that is to be asked for. */
static void question(struct file *f, const struct fuse_in_header *in, struct vidas_lane_map *m)
{
	uint64_t offset = body_of(in)->offset, end = offset + body_of(in)->size;
	struct chunk *c;

	m->head.bytes = (uint32_t)sizeof(*m) + in->len;
	m->head.kind = VIDAS_LANE_MAP;
	m->head.token = in->unique;
	c = chunk_find(f, offset);
	/* The second, if the first is here as far as it goes. */
	if (c && c->bytes == VIDAS_LANE_CHUNK && (c->writable || !is_write(in)) &&
	    end > c->offset + c->bytes)
		offset = c->offset + c->bytes;
	m->offset = offset & ~(uint64_t)(VIDAS_LANE_CHUNK - 1);
	/* It may be only the promise that has run out. */
	c = chunk_find(f, m->offset);
	end = end < m->offset + VIDAS_LANE_CHUNK ? end : m->offset + VIDAS_LANE_CHUNK;
	if (!is_write(in) && end > f->size)
		end = f->size;
	m->memory = !c || (is_write(in) && !c->writable) || end > c->offset + c->bytes;
	f->asking = in->unique;
	f->asked_write = is_write(in);
	if (is_write(in))
		changing(f, true);
	f->asked_generation = f->generation;
	f->asked_us = vidas_now_us();
}

static bool may_map(const struct file *f, const struct fuse_in_header *in)
{
	const struct fuse_write_in *w = (const void *)(in + 1);

	if (vidas_now_us() < f->refused_us)
		return false;
	return !is_write(in) || (!(w->write_flags & ~(uint32_t)FUSE_WRITE_LOCKOWNER) &&
				 !(w->flags & O_APPEND) && !f->inline_writes);
}

/* A write beyond the end is the far half's; and what was just found spoilt. */
static bool may_ask(const struct file *f, const struct fuse_in_header *in)
{
	if (vidas_now_us() < f->refused_us)
		return false;
	return !is_write(in) || vidas_now_us() >= f->until_us ||
	       body_of(in)->offset + body_of(in)->size <= f->size;
}

enum vidas_near_way vidas_near_io(const struct fuse_in_header *in, struct vidas_lane_map *m)
{
	enum vidas_near_way way = VIDAS_NEAR_FORWARD;
	struct file *f;

	pthread_mutex_lock(&lock);
	f = file_get(in->nodeid);
	if (f && may_map(f, in)) {
		if (serve(f, in))
			way = VIDAS_NEAR_SERVED;
		else if (may_ask(f, in) && park(f, in))
			way = f->asking ? VIDAS_NEAR_PARKED : VIDAS_NEAR_ASK;
		if (way == VIDAS_NEAR_ASK)
			question(f, in, m);
	}
	pthread_mutex_unlock(&lock);
	return way;
}

/* What the far half says, and what passes ---------------------------------------------------------- */

static void chunk_add(struct file *f, uint64_t offset, const struct vidas_share *share,
		      bool writable)
{
	struct chunk *c = chunk_find(f, offset);
	void *base;

	if (c)
		chunk_drop(c);
	c = calloc(1, sizeof(*c));
	if (!c)
		return;
	c->share = *share;
	if (vidas_frame_map(&c->share, writable ? PROT_READ | PROT_WRITE : PROT_READ, &base)) {
		file_refused(f, NO_SHARE_US);
		free(c);
		return;
	}
	/* All at once is cheaper than a fault a page. */
	madvise(base, share->bytes, writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
	c->file = f;
	c->base = base;
	c->bytes = share->bytes;
	c->offset = offset;
	c->writable = writable;
	HASH_ADD(hh, f->chunks, offset, sizeof(c->offset), c);
	DL_APPEND(chunks, c);
	if (++chunk_count > CHUNKS_MAX)
		chunk_drop(chunks);
}

/* Under the lock: it has an answer. */
static void serve_parked(struct file *f)
{
	struct parked *p, *next;

	f->asking = 0;
	DL_FOREACH_SAFE(f->parked, p, next) {
		DL_DELETE(f->parked, p);
		if (serve(f, &p->in))
			vidas_near_served(p->in.unique);
		else
			vidas_near_again(&p->in);
		free(p);
	}
}

void vidas_near_mapped(const struct vidas_lane_mapped *m, struct vidas_share *share)
{
	struct file *f;

	pthread_mutex_lock(&lock);
	f = file_find(m->nodeid);
	if (!f || !f->asking || f->asking != m->head.token) {
		vidas_share_close(share);
		goto out;
	}
	if (f->asked_write) {
		f->inline_writes--;
		vidas_near_unchanged(m->head.token);
	}
	if (share->status < 0)
		file_refused(f, NO_SHARE_US);
	else if (share->fd >= 0 && share->bytes == m->bytes)
		chunk_add(f, m->offset, share, m->writable);
	else
		vidas_share_close(share);
	if (f->generation == f->asked_generation && vidas_now_us() >= f->refused_us) {
		f->size = m->size;
		f->until_us = f->asked_us + m->promise_ms * INT64_C(1000);
	}
	serve_parked(f);
out:
	pthread_mutex_unlock(&lock);
}

void vidas_near_inline(uint64_t nodeid, uint64_t unique)
{
	struct parked *p, *next;
	struct file *f;

	pthread_mutex_lock(&lock);
	f = file_find(nodeid);
	if (f && f->asking == unique) {
		DL_FOREACH_SAFE(f->parked, p, next) {
			if (p->in.unique != unique)
				continue;
			DL_DELETE(f->parked, p);
			free(p);
		}
		file_refused(f, REFUSED_US);
		serve_parked(f);
	}
	pthread_mutex_unlock(&lock);
}

void vidas_near_drop(uint64_t nodeid)
{
	struct file *f;

	pthread_mutex_lock(&lock);
	f = file_find(nodeid);
	if (f) {
		file_unmap(f);
		touch(f);
	}
	pthread_mutex_unlock(&lock);
}

void vidas_near_changing(uint64_t nodeid, bool write)
{
	struct file *f;

	pthread_mutex_lock(&lock);
	f = write ? file_get(nodeid) : file_find(nodeid);
	if (f)
		changing(f, write);
	pthread_mutex_unlock(&lock);
}

void vidas_near_changed(uint64_t nodeid, bool write)
{
	struct file *f;

	pthread_mutex_lock(&lock);
	f = file_find(nodeid);
	if (f) {
		changing(f, false);
		f->inline_writes -= write && f->inline_writes;
	}
	pthread_mutex_unlock(&lock);
}

void vidas_near_forget(uint64_t nodeid)
{
	struct file *f;

	pthread_mutex_lock(&lock);
	f = file_find(nodeid);
	if (f && !f->asking && !f->inline_writes)
		file_free(f);
	pthread_mutex_unlock(&lock);
}

void vidas_near_touch(void)
{
	struct file *f, *next;

	pthread_mutex_lock(&lock);
	if (touched_count)
		HASH_ITER(hh, files, f, next)
			touch(f);
	pthread_mutex_unlock(&lock);
}

bool vidas_near_touched(void)
{
	bool any;

	pthread_mutex_lock(&lock);
	any = touched_count;
	pthread_mutex_unlock(&lock);
	return any;
}

void vidas_near_reset(void)
{
	struct parked *p, *next_parked;
	struct file *f, *next;

	pthread_mutex_lock(&lock);
	HASH_ITER(hh, files, f, next) {
		DL_FOREACH_SAFE(f->parked, p, next_parked)
			free(p);
		f->parked = NULL;
		if (f->touched)
			touched_count--;
		f->touched = false;
		file_free(f);
	}
	pthread_mutex_unlock(&lock);
}
