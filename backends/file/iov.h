/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whole transfers between a file and memory in pieces. */
#ifndef VIDAS_IOV_H
#define VIDAS_IOV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Writes all; where the memory has no bytes any more (a mapping of a file that was cut) zeros. */
int vidas_iov_write(int fd, uint64_t offset, const struct iovec *iov, int iovcnt);

/* The same into an empty file, from its begin; long runs of zeros become holes. The memory is read here, and so
 * must be of a kind that can be (map.h). *moved, if not NULL, is how far it is. */
int vidas_iov_write_new(int fd, const struct iovec *iov, int iovcnt, _Atomic uint64_t *moved);

/* Reads up to the end of the file; the count. -EFAULT the memory is gone. */
ssize_t vidas_iov_read(int fd, uint64_t offset, const struct iovec *iov, int iovcnt);

#endif
