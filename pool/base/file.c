/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/base/base.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

ssize_t vidas_pread_all(int fd, void *buf, size_t size, uint64_t offset)
{
	size_t done = 0;

	if (size > SSIZE_MAX || offset > INT64_MAX - (uint64_t)size)
		return -EINVAL;
	while (done < size) {
		ssize_t n = pread(fd, (char *)buf + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int vidas_pwrite_all(int fd, const void *buf, size_t size, uint64_t offset)
{
	size_t done = 0;

	if (size > SSIZE_MAX || offset > INT64_MAX - (uint64_t)size)
		return -EINVAL;
	while (done < size) {
		ssize_t n =
			pwrite(fd, (const char *)buf + done, size - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		done += (size_t)n;
	}
	return 0;
}

/*
 * Opens and locks the temporary file. Its name is fixed, so that what a killed process left is used
 * again and never piles up; the lock keeps writers of one name apart. Who waited for the lock may
 * hold a file that was renamed into place meanwhile: then it opens anew.
 */
static int temporary_open(int dir, const char *temporary)
{
	for (;;) {
		struct stat opened, named;
		int fd;

		fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0)
			return -errno;
		while (flock(fd, LOCK_EX) < 0) {
			if (errno != EINTR) {
				int err = -errno;

				close(fd);
				return err;
			}
		}
		if (fstat(fd, &opened) == 0 &&
		    fstatat(dir, temporary, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
		    opened.st_dev == named.st_dev && opened.st_ino == named.st_ino)
			return fd;
		close(fd);
	}
}

/* Makes the rename durable; `dir` itself may be AT_FDCWD or O_PATH, which cannot be synced. */
static int directory_sync(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0 && errno != EINVAL)
		err = -errno;
	close(fd);
	return err;
}

int vidas_file_replace(int dir, const char *name, const void *data, size_t size)
{
	char temporary[NAME_MAX + 1];
	int fd = -1;
	int err;

	if (strchr(name, '/') || !vidas_path_ok(name, strlen(name)) || !name[0])
		return vidas_fail(-EINVAL, "'%s' is not a file's name", name);
	if (snprintf(temporary, sizeof(temporary), ".%s.new", name) >= (int)sizeof(temporary))
		return vidas_fail(-ENAMETOOLONG, "'%s' is too long a name", name);
	err = fd = temporary_open(dir, temporary);
	if (fd < 0)
		goto out;
	err = ftruncate(fd, 0) < 0 ? -errno : 0;
	if (err == 0)
		err = vidas_pwrite_all(fd, data, size, 0);
	if (err == 0 && fsync(fd) < 0)
		err = -errno;
	if (err == 0 && renameat(dir, temporary, dir, name) < 0)
		err = -errno;
	if (err == 0)
		err = directory_sync(dir);
	else
		unlinkat(dir, temporary, 0);
out:
	if (fd >= 0)
		close(fd);
	if (err < 0)
		vidas_fail(err, "cannot write '%s': %s", name, strerror(-err));
	return err;
}

/* Reads to the end, whatever fstat() says (files of /proc have no size); -EFBIG beyond `max`. */
static int read_to_end(int fd, size_t max, char **out, size_t *size)
{
	size_t room = 0, used = 0;
	char *buf = NULL;
	int err = 0;

	for (;;) {
		ssize_t n;

		if (used + 1 >= room) {
			size_t more = room ? room * 2 : 4096;
			char *bigger = realloc(buf, more);

			if (!bigger) {
				err = -ENOMEM;
				break;
			}
			buf = bigger;
			room = more;
		}
		n = read(fd, buf + used, room - used - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			err = -errno;
		if (n <= 0)
			break;
		used += (size_t)n;
		if (used > max) {
			err = -EFBIG;
			break;
		}
	}
	if (err < 0) {
		free(buf);
		return err;
	}
	buf[used] = '\0';
	*out = buf;
	if (size)
		*size = used;
	return 0;
}

int vidas_file_read(int dir, const char *name, size_t max, char **out, size_t *size)
{
	struct stat st;
	int err = 0;
	int fd;

	/* O_NONBLOCK: a FIFO in the file's place must not hold us. */
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		err = -errno;
	else if (S_ISDIR(st.st_mode))
		err = -EISDIR;
	else if (!S_ISREG(st.st_mode))
		err = -EINVAL;
	else
		err = read_to_end(fd, max, out, size);
	if (fd >= 0)
		close(fd);
	if (err == -EFBIG)
		vidas_fail(err, "'%s' is longer than %zu bytes", name, max);
	else if (err < 0)
		vidas_fail(err, "cannot read '%s': %s", name, strerror(-err));
	return err;
}
