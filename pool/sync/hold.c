/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/sync/internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ZERO_BYTES   (64u << 20) /* read for holes, so that reading them does not fill them */
#define IOV_COUNT    1000
#define COPY_BYTES   (UINT64_C(64) << 20)
#define COPIES_BYTES (UINT64_C(256) << 20)

struct sync_held {
	struct iovec iov[IOV_COUNT];
	int count;
	struct vidas_map map;
	uint8_t *copy;
	uint64_t copy_bytes;
	bool cut;
};

static pthread_once_t zero_once = PTHREAD_ONCE_INIT;
static uint8_t *zeros;

static void make_zeros(void)
{
	void *ptr = mmap(NULL, ZERO_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			 -1, 0);

	zeros = ptr == MAP_FAILED ? NULL : ptr;
}

static void add_bytes(struct sync_held *h, uint8_t *ptr, uint64_t size)
{
	if (size)
		h->iov[h->count++] = (struct iovec){ .iov_base = ptr, .iov_len = size };
}

/* A file of many holes ends as one piece, holes and all. */
static void lay_out(struct sync_held *h, int fd)
{
	uint64_t at = 0, end = h->map.size;

	while (at < end && h->count < IOV_COUNT - 2) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA);
		off_t hole;
		uint64_t until;

		if (data < 0 && errno != ENXIO)
			break;
		until = data < 0 || (uint64_t)data > end ? end : (uint64_t)data;
		while (at < until && h->count < IOV_COUNT - 2) {
			uint64_t n = until - at < ZERO_BYTES ? until - at : ZERO_BYTES;

			add_bytes(h, zeros, n);
			at += n;
		}
		if (at < until || at == end)
			break;
		hole = lseek(fd, (off_t)at, SEEK_HOLE);
		until = hole < 0 || (uint64_t)hole > end ? end : (uint64_t)hole;
		add_bytes(h, h->map.ptr + at, until - at);
		at = until;
	}
	add_bytes(h, h->map.ptr + at, end - at);
}

static _Atomic uint64_t copies_bytes;

static uint8_t *copy_take(uint64_t size)
{
	uint8_t *copy = NULL;

	if (size > COPY_BYTES)
		return NULL;
	if (atomic_fetch_add_explicit(&copies_bytes, size, memory_order_relaxed) + size <=
	    COPIES_BYTES)
		copy = malloc(size);
	if (!copy)
		atomic_fetch_sub_explicit(&copies_bytes, size, memory_order_relaxed);
	return copy;
}

static int hold_copy(struct sync_held *h, int fd, uint64_t size, struct sync_digest *digest)
{
	ssize_t n = vidas_pread_all(fd, h->copy, size, 0);

	if (n < 0)
		return (int)n;
	h->cut = (uint64_t)n < size;
	memset(h->copy + n, 0, size - (uint64_t)n);
	add_bytes(h, h->copy, size);
	return sync_digest_bytes(h->copy, size, digest);
}

static int hold_map(struct sync_held *h, int fd, uint64_t size)
{
	int err;

	pthread_once(&zero_once, make_zeros);
	err = zeros ? vidas_map_open(fd, 0, size, PROT_READ, &h->map) : -ENOMEM;
	if (!err)
		lay_out(h, fd);
	return err;
}

int sync_hold(int fd, uint64_t size, struct sync_digest *copy, struct sync_held **out)
{
	struct sync_held *h = calloc(1, sizeof(*h));
	int err = 0;

	if (!h)
		return -ENOMEM;
	h->copy_bytes = size;
	h->copy = copy && size ? copy_take(size) : NULL;
	if (h->copy)
		err = hold_copy(h, fd, size, copy);
	else if (size)
		err = hold_map(h, fd, size);
	if (err)
		sync_release(h);
	else
		*out = h;
	return err;
}

const struct iovec *sync_held_bytes(const struct sync_held *h, int *count)
{
	*count = h->count;
	return h->iov;
}

bool sync_held_cut(const struct sync_held *h)
{
	return h->cut || vidas_map_cut(&h->map);
}

void sync_release(struct sync_held *h)
{
	if (!h)
		return;
	vidas_map_close(&h->map);
	if (h->copy)
		atomic_fetch_sub_explicit(&copies_bytes, h->copy_bytes, memory_order_relaxed);
	free(h->copy);
	free(h);
}
