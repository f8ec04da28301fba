/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * store: one file to or from a root, by its backend and nothing else, as `curl` would do it:
 *	store put URL NAME FILE
 *	store get URL NAME FILE
 * The file is mapped, as vidasd has the pool's. Who times it counts start and connection too.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/store.h"
#include "pool/base/base.h"

static int say(const char *what, int err)
{
	fprintf(stderr, "store: %s: %s (%s)\n", what, strerror(-err), vidas_fail_text());
	return 1;
}

/* `bytes` of the file; grown to that if it is to be written to. */
static int map(const char *path, bool write, size_t bytes, struct iovec *out)
{
	int fd = open(path, write ? O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC : O_RDONLY | O_CLOEXEC,
		      0600);
	struct stat st;
	void *at;

	if (fd < 0 || (write && ftruncate(fd, (off_t)bytes) < 0) || fstat(fd, &st) < 0)
		return -errno;
	out->iov_len = (size_t)st.st_size;
	at = mmap(NULL, out->iov_len, write ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd,
		  0);
	close(fd);
	if (at == MAP_FAILED)
		return -errno;
	out->iov_base = at;
	return 0;
}

static int put(struct vidas_store *s, const char *name, const char *path)
{
	struct iovec iov;
	struct vidas_backend_put p = { .iov = &iov, .iovcnt = 1 };
	int err = map(path, false, 0, &iov);

	if (err)
		return err;
	p.size_bytes = iov.iov_len;
	return vidas_store_put(s, name, &p, NULL);
}

static int get(struct vidas_store *s, const char *name, const char *path)
{
	struct vidas_backend_stat st;
	struct iovec iov;
	ssize_t got;
	int err = vidas_store_stat(s, name, &st);

	if (!err)
		err = map(path, true, st.size_bytes, &iov);
	if (err)
		return err;
	got = vidas_store_get(s, name, 0, &iov, 1, NULL, NULL);
	return got == (ssize_t)iov.iov_len ? 0 : got < 0 ? (int)got : -EIO;
}

int main(int argc, char **argv)
{
	struct vidas_store *s;
	bool putting = argc == 5 && !strcmp(argv[1], "put");
	int err;

	if (argc != 5 || (!putting && strcmp(argv[1], "get") != 0)) {
		fputs("usage: store put|get URL NAME FILE\n", stderr);
		return 2;
	}
	err = vidas_store_open(argv[2], NULL, &s);
	if (err)
		return say(argv[2], err);
	err = putting ? put(s, argv[3], argv[4]) : get(s, argv[3], argv[4]);
	if (err)
		return say(argv[3], err);
	vidas_store_close(s);
	return 0;
}
