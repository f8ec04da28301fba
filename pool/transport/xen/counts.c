/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/transport/xen/counts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/base/base.h"

#define PATH_BYTES 4096

static int file_path(char *path, const char *run_dir, vidas_domain_id domain)
{
	int n = snprintf(path, PATH_BYTES, "%s/gate", run_dir);

	if (n < 0 || n >= PATH_BYTES - 16)
		return vidas_fail(-ENAMETOOLONG, "the run directory's path is too long");
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return vidas_fail(-errno, "%s: %s", path, strerror(errno));
	snprintf(path + n, 16, "/%u", domain);
	return 0;
}

int vidas_counts_open(const char *run_dir, vidas_domain_id domain, uint32_t guest,
		      struct vidas_counts **out)
{
	struct vidas_counts *c = MAP_FAILED;
	char path[PATH_BYTES];
	int fd = -1, err = file_path(path, run_dir, domain);

	if (err < 0)
		return err;
	unlink(path); /* of one that was killed: it has readers at most */
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0 && flock(fd, LOCK_EX) == 0 && ftruncate(fd, sizeof(*c)) == 0)
		c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (c == MAP_FAILED) {
		err = vidas_fail(-errno, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return err;
	}
	c->domain = domain;
	c->guest = guest;
	c->pid = (uint32_t)getpid();
	c->magic = VIDAS_COUNTS_MAGIC;
	*out = c;
	return fd;
}

void vidas_counts_close(const char *run_dir, struct vidas_counts *counts, int fd)
{
	char path[PATH_BYTES];

	if (fd < 0)
		return;
	if (file_path(path, run_dir, counts->domain) == 0)
		unlink(path);
	munmap(counts, sizeof(*counts));
	close(fd);
}

static bool read_one(int dir, const char *name, struct vidas_counts *c)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool served;

	if (fd < 0)
		return false;
	served = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK &&
		 vidas_pread_all(fd, c, sizeof(*c), 0) == (ssize_t)sizeof(*c) &&
		 c->magic == VIDAS_COUNTS_MAGIC;
	close(fd);
	return served;
}

int vidas_counts_read(const char *run_dir,
		      void (*take)(void *arg, const struct vidas_counts *counts), void *arg)
{
	char path[PATH_BYTES];
	struct vidas_counts c;
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/gate", run_dir);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0 : vidas_fail(-errno, "%s: %s", path, strerror(errno));
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.' && read_one(dirfd(dir), e->d_name, &c))
			take(arg, &c);
	closedir(dir);
	return 0;
}
