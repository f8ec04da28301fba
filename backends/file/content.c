/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bytes of files: get, put, put_range. */
#include "backends/file/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "backends/file/beneath.h"
#include "backends/file/iov.h"

#define DIRECT_MIN  (1u << 20)
#define DIRECT_UNIT 4096u /* what disks and pages are aligned to, or a multiple of it */

static int say(const struct vidas_backend *be, int err, const char *what)
{
	return err ? vidas_backend_error(be->host, err, "%s: %s", what, strerrordesc_np(-err)) : 0;
}

/* Opens a regular file and tells of it; never blocks on a FIFO, never follows a symlink. */
static int open_file(struct vidas_backend *be, const char *key, int flags, struct stat *st)
{
	const char *name;
	int dir = vidas_file_parent(be, key, false, &name), fd, err = 0;

	if (dir < 0)
		return dir;
	fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		err = errno == ELOOP || errno == ENXIO ? -EINVAL : -errno;
	close(dir);
	if (err == -EMFILE || err == -ENFILE)
		return vidas_backend_error(be->host, -EAGAIN, "too many open files");
	if (err)
		return err;
	if (fstat(fd, st) < 0)
		err = -errno;
	else if (S_ISDIR(st->st_mode))
		err = -EISDIR;
	else if (!S_ISREG(st->st_mode))
		err = -EINVAL;
	if (!err)
		return fd;
	close(fd);
	return err;
}

static bool version_is(const struct stat *st, const struct vidas_backend_version *expect)
{
	struct vidas_backend_version version;

	vidas_file_version(st, &version);
	return version.size == expect->size &&
	       memcmp(version.bytes, expect->bytes, version.size) == 0;
}

/* <linux/mman.h> of 6.5; Debian 12 has an older one. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
struct cached_range {
	uint64_t offset, size;
};
struct cached {
	uint64_t pages, dirty, writeback, evicted, recently_evicted;
};

/* Is it worth asking the disk itself, past the page cache? */
static bool is_uncached(int fd, uint64_t offset, size_t size)
{
	struct cached_range range = { offset, size };
	struct cached cached = { 0 };

	return syscall(SYS_cachestat, fd, &range, &cached, 0) == 0 &&
	       cached.pages * DIRECT_UNIT <= size / 8;
}

/*
 * The pool is the cache of what is read: bytes that no other cache has yet go there from the disk
 * directly, which takes half the memory and a third of the work. As far as it goes; 0: not at all.
 */
static size_t read_direct(int fd, uint64_t offset, const struct iovec *iov, int iovcnt)
{
	size_t size = iov->iov_len & ~(size_t)(DIRECT_UNIT - 1), done = 0;
	int flags = fcntl(fd, F_GETFL);

	if (iovcnt != 1 || size < DIRECT_MIN || offset % DIRECT_UNIT ||
	    (uintptr_t)iov->iov_base % DIRECT_UNIT || !is_uncached(fd, offset, size) || flags < 0 ||
	    fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
		return 0;
	while (done < size) {
		ssize_t n = pread(fd, (char *)iov->iov_base + done, size - done,
				  (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break; /* the usual way gives its error, or its end */
		done += (size_t)n;
	}
	if (fcntl(fd, F_SETFL, flags) < 0)
		return 0;
	return done & ~(size_t)(DIRECT_UNIT - 1);
}

static ssize_t read_all(int fd, uint64_t offset, const struct iovec *iov, int iovcnt)
{
	size_t done = iovcnt ? read_direct(fd, offset, iov, iovcnt) : 0;
	struct iovec rest;
	ssize_t n;

	if (!done)
		return vidas_iov_read(fd, offset, iov, iovcnt);
	rest = (struct iovec){ (char *)iov->iov_base + done, iov->iov_len - done };
	n = rest.iov_len ? vidas_iov_read(fd, offset + done, &rest, 1) : 0;
	return n < 0 ? n : (ssize_t)done + n;
}

ssize_t vidas_file_get(struct vidas_backend *be, const char *key, uint64_t offset,
		       const struct iovec *iov, int iovcnt,
		       const struct vidas_backend_version *expect,
		       struct vidas_backend_version *seen)
{
	struct stat st;
	ssize_t ret;
	int fd = open_file(be, key, O_RDONLY, &st);

	if (fd < 0)
		return fd;
	if (expect && !version_is(&st, expect)) {
		ret = -ESTALE;
		goto out;
	}
	ret = read_all(fd, offset, iov, iovcnt);
	if (ret < 0) {
		(void)say(be, (int)ret, "read");
		goto out;
	}
	if (seen)
		vidas_file_version(&st, seen);
	/* Someone else may have written in place meanwhile. */
	if (expect && (fstat(fd, &st) < 0 || !version_is(&st, expect)))
		ret = -ESTALE;
out:
	close(fd);
	return ret;
}

/* Mode, owner and mtime of new content: as given, else as they were, else the usual. */
static int set_attrs(const struct vidas_backend *be, int dir, const char *name, int fd,
		     const struct vidas_backend_stat *given)
{
	struct vidas_backend_stat attrs = { .valid = VIDAS_BACKEND_MODE, .mode = 0644 };
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	struct stat old;

	if (fstatat(dir, name, &old, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(old.st_mode)) {
		attrs.valid |= VIDAS_BACKEND_OWNER;
		attrs.mode = old.st_mode;
		attrs.uid = old.st_uid;
		attrs.gid = old.st_gid;
	}
	if (given && (given->valid & VIDAS_BACKEND_MODE))
		attrs.mode = given->mode;
	if (given && (given->valid & VIDAS_BACKEND_OWNER)) {
		attrs.valid |= VIDAS_BACKEND_OWNER;
		attrs.uid = given->uid;
		attrs.gid = given->gid;
	}
	if (fchmod(fd, attrs.mode & VIDAS_FILE_MODE) < 0)
		return -errno;
	if (given && (given->valid & VIDAS_BACKEND_MTIME)) {
		times[1] = given->mtime;
		if (futimens(fd, times) < 0)
			return -errno;
	}
	if ((attrs.valid & VIDAS_BACKEND_OWNER) && be->owners &&
	    fchown(fd, attrs.uid, attrs.gid) < 0)
		return -errno;
	return 0;
}

/* Asked before anything is written, and again under the lock. */
static int put_check(int dir, const char *name, const struct vidas_backend_put *put)
{
	return vidas_file_replace_check(dir, name, put->expect, put->must_not_exist);
}

/* Puts the whole temporary file in the place of `name`. */
static int put_place(struct vidas_backend *be, const char *key, int dir, const char *name,
		     const char *temp, int *fd, const struct vidas_backend_put *put,
		     struct vidas_backend_version *now)
{
	struct stat st, there;
	int err;

	vidas_file_lock(be, key);
	err = put_check(dir, name, put);
	if (!err && fstat(*fd, &st) < 0)
		err = -errno;
	if (!err)
		err = vidas_file_place(dir, temp, name, put->must_not_exist, fd);
	/* The rename changed it once more. What stands there if it is not ours is not of our version. */
	if (!err && *fd >= 0 && fstat(*fd, &st) < 0)
		err = -errno;
	else if (!err && *fd < 0 && fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
		 there.st_ino == st.st_ino)
		st = there;
	vidas_file_unlock(be, key);
	if (!err && now)
		vidas_file_version(&st, now);
	return err;
}

static int put_in(struct vidas_backend *be, const char *key, int dir, const char *name,
		  const struct vidas_backend_put *put, struct vidas_backend_version *now)
{
	char temp[VIDAS_TEMP_BYTES];
	int err = put_check(dir, name, put), fd;

	if (err)
		return err;
	fd = vidas_temp_create(dir, temp);
	if (fd < 0)
		return say(be, fd, "making a new file");
	err = say(be, vidas_iov_write_new(fd, put->iov, put->iovcnt, put->moved), "write");
	if (!err)
		err = say(be, set_attrs(be, dir, name, fd, put->attrs), "setting attributes");
	if (!err && fsync(fd) < 0)
		err = say(be, -errno, "fsync");
	if (!err)
		err = put_place(be, key, dir, name, temp, &fd, put, now);
	if (err)
		(void)unlinkat(dir, temp, 0);
	else
		err = say(be, vidas_beneath_sync(dir), "fsync of the directory");
	if (fd >= 0)
		close(fd);
	return err;
}

int vidas_file_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		   struct vidas_backend_version *now)
{
	int err = 0, dir;

	/* -ENOENT: the directory was removed between its opening and our file in it. */
	for (int tries = 0; tries < 8; tries++) {
		const char *name;

		dir = vidas_file_parent(be, key, !put->expect, &name);
		if (dir == -ENOENT && put->expect)
			return -ESTALE;
		if (dir == -ENOENT)
			continue;
		if (dir < 0)
			return dir;
		err = put_in(be, key, dir, name, put, now);
		close(dir);
		if (err != -ENOENT)
			return err;
	}
	return vidas_backend_error(be->host, -EAGAIN, "the directory is removed again and again");
}

/* In place two changes may fall into one tick of the kernel's clock, and have the same times. */
static int advance_version(int fd, const struct vidas_backend_version *before,
			   struct vidas_backend_version *now)
{
	const struct timespec tick = { .tv_nsec = 1000 * 1000 };
	struct stat st;

	for (int tries = 0; tries < 50; tries++) {
		if (fstat(fd, &st) < 0)
			return -errno;
		if (!version_is(&st, before))
			break;
		nanosleep(&tick, NULL);
		if (futimens(fd, NULL) < 0)
			return -errno;
	}
	vidas_file_version(&st, now);
	return 0;
}

ssize_t vidas_file_put_range(struct vidas_backend *be, const char *key, uint64_t offset,
			     const struct iovec *iov, int iovcnt, struct vidas_backend_version *now)
{
	struct vidas_backend_version before, after;
	ssize_t size = 0;
	struct stat st;
	int fd, err;

	for (int i = 0; i < iovcnt; i++)
		size += (ssize_t)iov[i].iov_len;
	/* Locked throughout, so that a put does not take the file's place meanwhile. */
	vidas_file_lock(be, key);
	fd = open_file(be, key, O_WRONLY, &st);
	if (fd < 0) {
		err = fd;
		goto out;
	}
	vidas_file_version(&st, &before);
	err = say(be, vidas_iov_write(fd, offset, iov, iovcnt), "write");
	if (!err && size)
		err = advance_version(fd, &before, &after);
	else
		after = before;
	if (!err && fsync(fd) < 0)
		err = say(be, -errno, "fsync");
	close(fd);
out:
	vidas_file_unlock(be, key);
	if (!err && now)
		*now = after;
	return err ? err : size;
}
