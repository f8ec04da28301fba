/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes between a file and iovecs, a window of requests at a time. A piece that was not answered when the
 * connection ended, or is answered in part, is asked for again, wherever it lies.
 */
#include "backends/nfs/nfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 16 /* of a write that has to be done again as the server lost it before COMMIT */

enum chunk_state { UNSENT, SENT, DONE };

struct transfer {
	struct vidas_nfs_job job;
	struct vidas_backend *be;
	const struct vidas_nfs_fh *fh;
	const struct iovec *iov;
	uint64_t *start; /* of each iovec, in the transfer */
	int iovcnt;
	uint64_t offset, size;
	uint32_t chunk; /* bytes */
	bool writing, stable;

	struct chunk {
		uint32_t done; /* bytes */
		uint8_t state;
	} * chunks;
	uint64_t count, next;	 /* before `next` none is UNSENT */
	uint64_t end;		 /* reads: the file's, as seen from `offset` */
	char *bounce;		 /* for pieces that lie in several iovecs */
	_Atomic uint64_t *moved; /* for who looks on, or NULL */
	bool unstable, verified, lost;
	char verifier[8];
};

static struct transfer *transfer_of(struct vidas_nfs_job *job)
{
	return (struct transfer *)(void *)((char *)job - offsetof(struct transfer, job));
}

static uint32_t chunk_size(const struct transfer *t, uint64_t i)
{
	uint64_t left = t->size - i * t->chunk;

	return left < t->chunk ? (uint32_t)left : t->chunk;
}

/* The iovec that has byte `at`. */
static int iov_at(const struct transfer *t, uint64_t at)
{
	int low = 0, high = t->iovcnt - 1;

	while (low < high) {
		int middle = low + (high - low + 1) / 2;

		if (t->start[middle] <= at)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/* Copies between [at, at + size) of the iovecs and `buf`. */
static void copy(const struct transfer *t, uint64_t at, char *buf, uint32_t size, bool in)
{
	for (int i = iov_at(t, at); size; i++) {
		uint64_t skip = at - t->start[i];
		size_t some = t->iov[i].iov_len - skip;
		char *memory = (char *)t->iov[i].iov_base + skip;

		if (some > size)
			some = size;
		if (in)
			memcpy(memory, buf, some);
		else
			memcpy(buf, memory, some);
		buf += some;
		at += some;
		size -= (uint32_t)some;
	}
}

/* The bytes of a piece in a row: in place, or copied together (libnfs copies them once more, at once). */
static const char *gather(struct transfer *t, uint64_t at, uint32_t size)
{
	int i = iov_at(t, at);

	if (at + size <= t->start[i] + t->iov[i].iov_len)
		return (const char *)t->iov[i].iov_base + (at - t->start[i]);
	if (!t->bounce)
		t->bounce = malloc(t->chunk);
	if (t->bounce)
		copy(t, at, t->bounce, size, false);
	return t->bounce;
}

static int send_chunk(struct transfer *t, uint64_t i)
{
	uint32_t done = t->chunks[i].done, size = chunk_size(t, i) - done;
	uint64_t at = i * t->chunk + done;
	const char *data;

	if (!t->writing)
		return t->be->dialect->send_read(&t->job, t->fh, t->offset + at, size, i);
	data = gather(t, at, size);
	return data ? t->be->dialect->send_write(&t->job, t->fh, t->offset + at, data, size,
						 t->stable, i) :
		      -ENOMEM;
}

static int transfer_pump(struct vidas_nfs_job *job)
{
	struct transfer *t = transfer_of(job);
	int err = 0;

	while (!err && job->in_flight < t->be->window && t->next < t->count) {
		struct chunk *c = &t->chunks[t->next];

		if (c->state == UNSENT && (t->writing || t->next * t->chunk + c->done < t->end)) {
			err = send_chunk(t, t->next);
			if (err)
				break;
			c->state = SENT;
		}
		t->next++;
	}
	return err;
}

static void transfer_lost(struct vidas_nfs_job *job, uint64_t i)
{
	struct transfer *t = transfer_of(job);

	t->chunks[i].state = UNSENT;
	if (i < t->next)
		t->next = i;
}

static int read_piece(struct transfer *t, uint64_t i, const struct vidas_nfs_piece *piece)
{
	struct chunk *c = &t->chunks[i];
	uint64_t at = i * t->chunk + c->done;

	if (piece->count > chunk_size(t, i) - c->done || (!piece->count && !piece->eof))
		return -EPROTO;
	copy(t, at, (char *)(uintptr_t)piece->data, piece->count, true);
	c->done += piece->count;
	if (piece->eof && at + piece->count < t->end)
		t->end = at + piece->count;
	return 0;
}

static int written_piece(struct transfer *t, uint64_t i, const struct vidas_nfs_piece *piece)
{
	struct chunk *c = &t->chunks[i];

	if (!piece->count || piece->count > chunk_size(t, i) - c->done)
		return -EPROTO;
	c->done += piece->count;
	if (t->moved)
		atomic_fetch_add_explicit(t->moved, piece->count, memory_order_relaxed);
	if (piece->stable)
		return 0;
	/* Another verifier: the server was started anew, and may have lost what it had before. */
	if (!t->unstable)
		memcpy(t->verifier, piece->verifier, sizeof(t->verifier));
	else if (memcmp(t->verifier, piece->verifier, sizeof(t->verifier)) != 0)
		t->lost = true;
	t->unstable = true;
	return 0;
}

static int transfer_reply(struct vidas_nfs_job *job, uint64_t i, void *data)
{
	const struct vidas_nfs_dialect *dialect = transfer_of(job)->be->dialect;
	struct transfer *t = transfer_of(job);
	struct chunk *c = &t->chunks[i];
	struct vidas_nfs_piece piece;
	int err = (t->writing ? dialect->write_reply : dialect->read_reply)(data, &piece);

	if (!err)
		err = t->writing ? written_piece(t, i, &piece) : read_piece(t, i, &piece);
	c->state =
		!err && (c->done == chunk_size(t, i) || (!t->writing && piece.eof)) ? DONE : UNSENT;
	if (c->state == UNSENT && i < t->next)
		t->next = i;
	return err;
}

static const struct vidas_nfs_job_ops transfer_ops = { transfer_pump, transfer_reply,
						       transfer_lost };

static int transfer_begin(struct transfer *t, const struct iovec *iov, int iovcnt)
{
	uint32_t limit = t->writing ? t->be->write_max : t->be->read_max;

	t->chunk = limit && limit < VIDAS_NFS_CHUNK ? limit : VIDAS_NFS_CHUNK;
	t->iov = iov;
	t->iovcnt = iovcnt;
	t->start = malloc(((size_t)iovcnt + 1) * sizeof(*t->start));
	if (!t->start)
		return -ENOMEM;
	for (int i = 0; i < iovcnt; i++) {
		t->start[i] = t->size;
		t->size += iov[i].iov_len;
	}
	t->end = t->size;
	t->count = t->size / t->chunk + (t->size % t->chunk != 0);
	t->chunks = calloc(t->count + 1, sizeof(*t->chunks));
	return t->chunks ? 0 : -ENOMEM;
}

static void transfer_end(struct transfer *t)
{
	free(t->start);
	free(t->chunks);
	free(t->bounce);
}

/* All that is UNSENT; waits while the server asks for patience. */
static int transfer_run(struct transfer *t)
{
	int64_t until = vidas_nfs_now_us() + t->be->peer.timeout_us;
	int err;

	do {
		t->job = (struct vidas_nfs_job){ .ops = &transfer_ops };
		t->next = 0;
		err = vidas_nfs_run(vidas_nfs_link_of(t->be), &t->job);
		if (err == VIDAS_NFS_PATIENCE)
			vidas_nfs_pause_us(100000);
	} while (err == VIDAS_NFS_PATIENCE && vidas_nfs_now_us() < until);
	if (err == VIDAS_NFS_PATIENCE)
		return vidas_backend_error(
			t->be->host, -ETIMEDOUT,
			"the server asks for patience, longer than the time-out");
	if (err && *t->job.words)
		return vidas_backend_error(t->be->host, err, "%s: %s", t->be->server, t->job.words);
	return err;
}

ssize_t vidas_nfs_read(struct vidas_backend *be, const struct vidas_nfs_fh *fh, uint64_t offset,
		       const struct iovec *iov, int iovcnt)
{
	struct transfer t = { .be = be, .fh = fh, .offset = offset };
	int err = transfer_begin(&t, iov, iovcnt);

	if (!err && t.size)
		err = transfer_run(&t);
	transfer_end(&t);
	return err ? err : (ssize_t)t.end;
}

/* Has the server, by COMMIT, all that it was given? 1: no, it lost some. */
static int commit(struct transfer *t)
{
	char verifier[8];
	int err = t->be->dialect->commit(t->be, t->fh, verifier);

	if (err)
		return err;
	return t->lost || memcmp(verifier, t->verifier, sizeof(verifier)) != 0;
}

int vidas_nfs_write(struct vidas_backend *be, const struct vidas_nfs_fh *fh, uint64_t offset,
		    const struct iovec *iov, int iovcnt, _Atomic uint64_t *moved)
{
	struct transfer t = {
		.be = be, .fh = fh, .offset = offset, .writing = true, .moved = moved
	};
	int err = transfer_begin(&t, iov, iovcnt), rounds = 0;

	if (moved)
		atomic_store_explicit(moved, 0, memory_order_relaxed);

	/* One request is sooner done durably than followed by a COMMIT. */
	t.stable = t.count == 1;
	while (!err && t.size) {
		err = transfer_run(&t);
		if (!err && t.unstable)
			err = commit(&t);
		if (err != 1)
			break;
		err = ++rounds < ROUNDS ?
			      0 :
			      vidas_backend_error(be->host, -EAGAIN,
						  "the server lost the data %d times before "
						  "it was committed",
						  ROUNDS);
		t.unstable = t.lost = false;
		if (moved)
			atomic_store_explicit(moved, 0, memory_order_relaxed);
		memset(t.chunks, 0, t.count * sizeof(*t.chunks));
	}
	transfer_end(&t);
	return err;
}
