/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes: holes, lengths and their limits, space that is taken and given back, copies in the kernel. */
#include "cases.h"

#include <linux/falloc.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>

static void lengths(void)
{
	char zeros[64] = { 0 }, got[64];
	int fd;

	put(here, "f", "0123456789");
	fd = OK(openat(here, "f", O_RDWR));
	OK(ftruncate(fd, 4));
	SAME(4, stat_of(there, "f").st_size);
	OK(truncate("f", 64));
	/* What was cut off does not come back. */
	SAME(64, OK(pread(fd, got, 64, 0)));
	SAME(0, memcmp(got, "0123", 4));
	SAME(0, memcmp(got + 4, zeros, 60));
	SAME(0, OK(pread(fd, got, 64, 64)));
	SAME(0, OK(pread(fd, got, 64, 1 << 20)));
	/* By the other side: what is read and where the end is follow at once. */
	put(there, "f", "short");
	SAME(5, OK(pread(fd, got, 64, 0)));
	SAME(5, OK(lseek(fd, 0, SEEK_END)));
	SAME(2, OK(pwrite(OK(openat(there, "f", O_WRONLY)), "yz", 2, 5)));
	SAME(7, OK(pread(fd, got, 64, 0)));
	SAME(7, OK(lseek(fd, 0, SEEK_END)));
	ERR(EINVAL, ftruncate(fd, -1));
	ERR(EINVAL, lseek(fd, -1, SEEK_SET));
	ERR(EINVAL, pread(fd, got, 1, -1));
	ERR(EISDIR, truncate(".", 0));
	SAME(7, stat_fd(fd).st_size);
	OK(ftruncate(fd, (off_t)1 << 40));
	SAME((off_t)1 << 40, stat_of(there, "f").st_size);
	SAME(3, OK(pwrite(fd, "far", 3, ((off_t)1 << 40) - 1)));
	READS(OK(openat(there, "f", O_RDONLY)), ((off_t)1 << 40) - 1, "far");
}

/* The limit on the size of files that a process has. */
static void size_limit(void)
{
	const struct rlimit limit = { 8192, 8192 };
	char block[8192] = { 1 };
	int fd;

	if (!child())
		return;
	OK(setrlimit(RLIMIT_FSIZE, &limit));
	signal(SIGXFSZ, SIG_IGN);
	fd = OK(openat(here, "f", O_RDWR | O_CREAT, 0644));
	SAME(8000, OK(pwrite(fd, block, 8000, 0)));
	SAME(192, OK(pwrite(fd, block, 4096, 8000)));
	ERR(EFBIG, pwrite(fd, block, 1, 8192));
	ERR(EFBIG, ftruncate(fd, 8193));
	ERR(EFBIG, fallocate(fd, 0, 8000, 1000));
	SAME(8192, stat_of(there, "f").st_size);
	done();
}

static void allocation(void)
{
	const blkcnt_t mib = (1 << 20) / 512;
	int fd = OK(openat(here, "f", O_RDWR | O_CREAT, 0644));
	char byte = 'x';

	OK(fallocate(fd, 0, 0, 1 << 20));
	SAME(1 << 20, stat_of(there, "f").st_size);
	YES(stat_of(there, "f").st_blocks >= mib);
	OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 1 << 20, 1 << 20));
	SAME(1 << 20, stat_of(there, "f").st_size);
	SAME(1, OK(pwrite(fd, "y", 1, 500000)));
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 499999, 3));
	SAME(1, OK(pread(OK(openat(there, "f", O_RDONLY)), &byte, 1, 500000)));
	SAME(0, byte);
	SAME(1 << 20, stat_of(there, "f").st_size);
	ERR(EOPNOTSUPP, fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
	/* What tmpfs has not. */
	ERR(EOPNOTSUPP, fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096));
	ERR(EOPNOTSUPP, fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
	ERR(EOPNOTSUPP, fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 4096));
	ERR(EINVAL, fallocate(fd, 0, -1, 10));
	ERR(EINVAL, fallocate(fd, 0, 0, 0));
	ERR(EFBIG, fallocate(fd, 0, INT64_MAX - 1, 10));
	ERR(EBADF, fallocate(OK(openat(here, "f", O_RDONLY)), 0, 0, 1));
	SAME(0, posix_fallocate(fd, 3 << 20, 10));
	SAME((3 << 20) + 10, stat_of(there, "f").st_size);
	OK(ftruncate(fd, 0));
	YES(stat_of(there, "f").st_blocks < mib);
	/* More than there is: no space, and nothing is changed. */
	ERR(ENOSPC, fallocate(fd, 0, 0, (off_t)1 << 40));
	SAME(0, stat_of(there, "f").st_size);
}

static void holes(void)
{
	const off_t big = 8 << 20;
	int fd = OK(openat(here, "f", O_RDWR | O_CREAT, 0644)), other;

	SAME(1, OK(pwrite(fd, "a", 1, 0)));
	SAME(1, OK(pwrite(fd, "b", 1, big)));
	OK(ftruncate(fd, 2 * big));
	other = OK(openat(there, "f", O_RDONLY));
	SAME(0, OK(lseek(other, 0, SEEK_DATA)));
	YES(OK(lseek(other, 0, SEEK_HOLE)) < big);
	YES(OK(lseek(other, big / 2, SEEK_DATA)) > big / 2);
	YES(OK(lseek(other, big / 2, SEEK_DATA)) <= big);
	SAME(big / 2, OK(lseek(other, big / 2, SEEK_HOLE)));
	YES(OK(lseek(other, big, SEEK_HOLE)) > big);
	ERR(ENXIO, lseek(other, big + big / 2, SEEK_DATA));
	ERR(ENXIO, lseek(other, 2 * big, SEEK_DATA));
	ERR(ENXIO, lseek(other, 2 * big, SEEK_HOLE));
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * big));
	ERR(ENXIO, lseek(other, 0, SEEK_DATA));
	SAME(0, OK(lseek(other, 0, SEEK_HOLE)));
	SAME(0, stat_of(there, "f").st_blocks);
	ERR(EINVAL, lseek(fd, 0, 99));
}

static void copies(void)
{
	loff_t in, out;
	int a, b, ends[2];
	char got[16];

	put(here, "a", "0123456789");
	a = OK(openat(here, "a", O_RDWR));
	b = OK(openat(here, "b", O_RDWR | O_CREAT, 0644));
	in = 2;
	out = 5;
	SAME(4, OK(copy_file_range(a, &in, b, &out, 4, 0)));
	SAME(6, in);
	SAME(9, out);
	SAME(9, stat_of(there, "b").st_size);
	READS(OK(openat(there, "b", O_RDONLY)), 5, "2345");
	SAME(0, OK(lseek(a, 0, SEEK_CUR)));
	SAME(10, OK(copy_file_range(a, NULL, b, NULL, 100, 0)));
	SAME(10, OK(lseek(b, 0, SEEK_CUR)));
	SAME(0, OK(copy_file_range(a, NULL, b, NULL, 100, 0)));
	HAS(there, "b", "0123456789");
	in = 0;
	out = 3;
	ERR(EINVAL, copy_file_range(a, &in, a, &out, 5, 0));
	out = 10;
	SAME(10, OK(copy_file_range(a, &in, a, &out, 10, 0)));
	HAS(there, "a", "01234567890123456789");
	ERR(EBADF, copy_file_range(a, NULL, OK(openat(here, "b", O_RDONLY)), NULL, 1, 0));
	ERR(EBADF,
	    copy_file_range(a, NULL, OK(openat(here, "b", O_WRONLY | O_APPEND)), NULL, 1, 0));
	ERR(EINVAL, copy_file_range(a, NULL, b, NULL, 1, 1));
	ERR(EISDIR, copy_file_range(here, NULL, b, NULL, 1, 0));

	in = 0;
	OK(lseek(b, 0, SEEK_SET));
	SAME(20, OK(sendfile(b, a, &in, 100)));
	HAS(there, "b", "01234567890123456789");
	OK(pipe(ends));
	in = 10;
	SAME(5, OK(splice(a, &in, ends[1], NULL, 5, 0)));
	SAME(5, OK(read(ends[0], got, sizeof(got))));
	SAME(0, memcmp(got, "01234", 5));
	SAME(3, OK(write(ends[1], "pip", 3)));
	out = 0;
	SAME(3, OK(splice(ends[0], NULL, b, &out, 3, 0)));
	HAS(there, "b", "pip34567890123456789");
}

static void vectors(void)
{
	void *bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char one[3] = "one", two[3] = "two", x[2], y[4];
	const struct iovec out[2] = { { one, 3 }, { two, 3 } };
	const struct iovec in[2] = { { x, 2 }, { y, 4 } };
	int fd = OK(openat(here, "f", O_RDWR | O_CREAT, 0644));

	SAME(6, OK(writev(fd, out, 2)));
	SAME(6, OK(pwritev(fd, out, 2, 6)));
	SAME(6, OK(preadv(OK(openat(there, "f", O_RDONLY)), in, 2, 1)));
	SAME(0, memcmp(x, "ne", 2));
	SAME(0, memcmp(y, "twoo", 4));
	SAME(6, OK(pwritev2(fd, out, 2, 0, RWF_APPEND)));
	HAS(there, "f", "onetwoonetwoonetwo");
	SAME(6, OK(pwritev2(fd, out, 2, 3, RWF_SYNC)));
	HAS(there, "f", "oneonetwotwoonetwo");
	SAME(0, OK(writev(fd, out, 0)));
	SAME(0, OK(write(fd, one, 0)));
	ERR(EFAULT, write(fd, bad, 4));
	ERR(EFAULT, read(fd, bad, 4));
	HAS(there, "f", "oneonetwotwoonetwo");
}

static void syncing(void)
{
	int fd, dir = OK(openat(here, ".", O_RDONLY | O_DIRECTORY));

	put(here, "f", "text");
	fd = OK(openat(here, "f", O_RDWR));
	SAME(1, OK(write(fd, "T", 1)));
	OK(fsync(fd));
	OK(fdatasync(fd));
	OK(sync_file_range(fd, 0, 4, SYNC_FILE_RANGE_WRITE));
	OK(fsync(dir));
	OK(syncfs(fd));
	OK(syncfs(dir));
	SAME(0, posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	OK(readahead(fd, 0, 4));
	HAS(there, "f", "Text");
	OK(fsync(OK(openat(here, "f", O_RDONLY))));
}

static void *map_of(int fd, size_t size, int prot, int flags)
{
	void *p = mmap(NULL, size, prot, flags, fd, 0);

	YES(p != MAP_FAILED);
	return p;
}

static void mapping(void)
{
	char *ours, *theirs, *own;
	int fd, other, status = 0;

	put(here, "f", "text");
	fd = OK(openat(here, "f", O_RDWR));
	other = OK(openat(there, "f", O_RDWR));
	OK(ftruncate(fd, 8192));
	ours = map_of(fd, 8192, PROT_READ | PROT_WRITE, MAP_SHARED);
	theirs = map_of(other, 8192, PROT_READ | PROT_WRITE, MAP_SHARED);
	own = map_of(other, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	memcpy(ours + 4090, "stored", 6);
	SAME(0, memcmp(theirs + 4090, "stored", 6));
	own[0] = 'X';
	SAME('t', theirs[0]);
	SAME(7, OK(pwrite(other, "written", 7, 100)));
	SAME(0, memcmp(ours + 100, "written", 7));
	memcpy(theirs, "Text", 4);
	READS(fd, 0, "Text");
	/* It stays without a descriptor and without a name. */
	OK(close(fd));
	OK(unlinkat(there, "f", 0));
	ours[8191] = '!';
	READS(other, 8191, "!");
	OK(msync(ours, 8192, MS_SYNC));
	/* Beyond the end there is nothing. */
	OK(ftruncate(other, 4096));
	if (child()) {
		alarm(5);
		if (fork() == 0) {
			signal(SIGBUS, SIG_DFL);
			_exit(((volatile char *)ours)[5000]);
		}
		OK(waitpid(-1, &status, 0));
		YES(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
		done();
	}
	SAME('T', ours[0]);
}

static const struct posix_case cases[] = { { .name = "lengths", .run = lengths },
					   { .name = "size-limit", .run = size_limit },
					   { .name = "allocation", .run = allocation },
					   { .name = "holes", .run = holes },
					   { .name = "copies", .run = copies },
					   { .name = "vectors", .run = vectors },
					   { .name = "syncing", .run = syncing },
					   { .name = "mapping", .run = mapping, .one_cache = true },
					   { .name = NULL } };

const struct posix_group posix_data = { "data", cases };
