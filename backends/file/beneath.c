/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/file/beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

int vidas_beneath_directory(int root, const char *key)
{
	struct open_how how = {
		.flags = DIRECTORY_FLAGS,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, root, *key ? key : ".", &how, sizeof(how));

	if (fd >= 0)
		return (int)fd;
	return errno == ELOOP ? -ENOTDIR : -errno;
}

int vidas_beneath_check(int root)
{
	int fd = vidas_beneath_directory(root, "");

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int vidas_beneath_sync(int dir)
{
	/* Some file systems have no fsync of directories: their names are as durable as they can be. */
	if (fsync(dir) < 0 && errno != EINVAL && errno != EOPNOTSUPP)
		return -errno;
	return 0;
}

/* Steps from `dir`, which is closed, into its directory `name`, made if need be. */
static int step(int dir, const char *name)
{
	int fd, err = 0;

	if (mkdirat(dir, name, 0755) == 0)
		err = vidas_beneath_sync(dir);
	else if (errno != EEXIST)
		err = -errno;
	fd = err ? err : openat(dir, name, DIRECTORY_FLAGS);
	if (!err && fd < 0)
		fd = errno == ELOOP ? -ENOTDIR : -errno;
	close(dir);
	return fd;
}

static int make_directories(int root, const char *path)
{
	int dir = fcntl(root, F_DUPFD_CLOEXEC, 0);

	if (dir < 0)
		return -errno;
	while (dir >= 0 && *path) {
		size_t size = strcspn(path, "/");
		char name[NAME_MAX + 1];

		if (size > NAME_MAX) {
			close(dir);
			return -ENAMETOOLONG;
		}
		memcpy(name, path, size);
		name[size] = '\0';
		dir = step(dir, name);
		path += size + (path[size] == '/');
	}
	return dir;
}

int vidas_beneath_parent(int root, const char *key, bool make, const char **name)
{
	const char *slash = strrchr(key, '/');
	char path[PATH_MAX];
	int dir;

	*name = slash ? slash + 1 : *key ? key : ".";
	if (slash && (size_t)(slash - key) >= sizeof(path))
		return -ENAMETOOLONG;
	memcpy(path, key, slash ? (size_t)(slash - key) : 0);
	path[slash ? slash - key : 0] = '\0';
	dir = vidas_beneath_directory(root, path);
	/* More than once, as someone may remove an empty directory that was just made. */
	for (int tries = 0; dir == -ENOENT && make && tries < 8; tries++)
		dir = make_directories(root, path);
	return dir;
}

bool vidas_temp_is(const char *name)
{
	return strncmp(name, VIDAS_TEMP_PREFIX, strlen(VIDAS_TEMP_PREFIX)) == 0;
}

bool vidas_temp_in(const char *key)
{
	while (key && !vidas_temp_is(key)) {
		key = strchr(key, '/');
		key = key ? key + 1 : NULL;
	}
	return key != NULL;
}

void vidas_temp_name(char name[VIDAS_TEMP_BYTES])
{
	uint64_t number = 0;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
		number = (uint64_t)clock() ^ (uint64_t)(uintptr_t)name;
	snprintf(name, VIDAS_TEMP_BYTES, VIDAS_TEMP_PREFIX "%016" PRIx64, number);
}

int vidas_temp_create(int dir, char name[VIDAS_TEMP_BYTES])
{
	int fd;

	do {
		vidas_temp_name(name);
		fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	} while (fd < 0 && (errno == EEXIST || errno == EINTR));
	if (fd < 0)
		return -errno;
	/* Only those who sweep try to lock it, and not one so young. Where locks are not to be had
	 * the age alone decides. */
	(void)flock(fd, LOCK_EX | LOCK_NB);
	return fd;
}

static bool old_enough(const struct stat *st, int seconds)
{
	struct timespec now;

	/* ctime: mtime may be set already to what it was in the pool. */
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec - st->st_ctim.tv_sec >= seconds;
}

void vidas_temp_sweep(int dir, const char *name, int seconds)
{
	struct stat st;
	int fd = -1;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !old_enough(&st, seconds))
		return;
	if (S_ISREG(st.st_mode)) {
		fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
			goto out;
	}
	if (!S_ISDIR(st.st_mode))
		(void)unlinkat(dir, name, 0);
out:
	if (fd >= 0)
		close(fd);
}

void vidas_temp_sweep_all(int root, const char *key, int seconds)
{
	int fd = vidas_beneath_directory(root, key);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(dir)))
		if (vidas_temp_is(entry->d_name))
			vidas_temp_sweep(fd, entry->d_name, seconds);
	closedir(dir);
}
