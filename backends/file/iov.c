/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/file/iov.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define WINDOW 128 /* pieces a system call */
#define PAGE   4096u
#define HOLE   (64u << 10) /* zeros that are worth a hole */
#define STEP   (8u << 20)  /* bytes between two words to who looks on */

struct cursor {
	const struct iovec *iov;
	int left;    /* pieces, the present one included */
	size_t used; /* bytes of the present piece */
};

/* Lays out what is next; the number of pieces, 0 at the end. */
static int cursor_window(struct cursor *c, struct iovec window[WINDOW])
{
	int n = 0;

	while (c->left && c->used == c->iov->iov_len) {
		c->iov++;
		c->left--;
		c->used = 0;
	}
	for (; n < WINDOW && n < c->left; n++)
		window[n] = c->iov[n];
	if (n) {
		window[0].iov_base = (char *)window[0].iov_base + c->used;
		window[0].iov_len -= c->used;
	}
	return n;
}

static void cursor_advance(struct cursor *c, size_t bytes)
{
	while (bytes) {
		size_t some = c->iov->iov_len - c->used;

		if (some > bytes) {
			c->used += bytes;
			return;
		}
		bytes -= some;
		c->iov++;
		c->left--;
		c->used = 0;
	}
}

/* The first byte of `piece` cannot be read: zeros for the rest of its page. */
static ssize_t write_zeros(int fd, uint64_t offset, const struct iovec *piece)
{
	static const char zeros[PAGE];
	size_t some = PAGE - ((uintptr_t)piece->iov_base & (PAGE - 1));

	return pwrite(fd, zeros, some < piece->iov_len ? some : piece->iov_len, (off_t)offset);
}

int vidas_iov_write(int fd, uint64_t offset, const struct iovec *iov, int iovcnt)
{
	struct cursor c = { .iov = iov, .left = iovcnt };
	struct iovec window[WINDOW];
	int n;

	while ((n = cursor_window(&c, window))) {
		ssize_t done = pwritev(fd, window, n, (off_t)offset);

		if (done < 0 && errno == EFAULT)
			done = write_zeros(fd, offset, &window[0]);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		cursor_advance(&c, (size_t)done);
		offset += (uint64_t)done;
	}
	return 0;
}

static bool all_zero(const char *p, size_t size)
{
	return !*p && memcmp(p, p + 1, size - 1) == 0;
}

/* Bytes from `p` on up to where a hole begins or ends; *hole says which of the two they are. */
static size_t run_of(const char *p, size_t size, bool *hole)
{
	size_t run = 0;

	while (run < size) {
		size_t some = size - run < HOLE ? size - run : HOLE;
		bool zero = some == HOLE && all_zero(p + run, some);

		if (!run)
			*hole = zero;
		else if (zero != *hole)
			break;
		run += some;
	}
	return run;
}

int vidas_iov_write_new(int fd, const struct iovec *iov, int iovcnt, _Atomic uint64_t *moved)
{
	uint64_t offset = 0;

	for (int i = 0; i < iovcnt; i++) {
		for (size_t at = 0; at < iov[i].iov_len;) {
			char *p = (char *)iov[i].iov_base + at;
			bool hole = false;
			size_t left = iov[i].iov_len - at;
			size_t run = run_of(p, left < STEP ? left : STEP, &hole);
			const struct iovec piece = { p, run };
			int err = hole ? 0 : vidas_iov_write(fd, offset, &piece, 1);

			if (err < 0)
				return err;
			at += run;
			offset += run;
			if (moved)
				atomic_store_explicit(moved, offset, memory_order_relaxed);
		}
	}
	return ftruncate(fd, (off_t)offset) < 0 ? -errno : 0;
}

ssize_t vidas_iov_read(int fd, uint64_t offset, const struct iovec *iov, int iovcnt)
{
	struct cursor c = { .iov = iov, .left = iovcnt };
	struct iovec window[WINDOW];
	ssize_t total = 0;
	int n;

	while ((n = cursor_window(&c, window))) {
		ssize_t done = preadv(fd, window, n, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0)
			break;
		cursor_advance(&c, (size_t)done);
		offset += (uint64_t)done;
		total += done;
	}
	return total;
}
