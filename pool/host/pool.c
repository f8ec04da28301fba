/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/host/pool.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "pool/host/object.h"

#define MARKER		 "vidas-pool"
#define MARKER_VERSION	 1
#define MARKER_BYTES_MAX 4096

/* As mkdir -p; directories that are there stay as they are. */
static int make_path(const char *path, mode_t mode)
{
	char part[4096];
	int err = 0;

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return -ENAMETOOLONG;
	for (char *at = part + 1; err == 0; at++) {
		char was = *at;

		if (was != '/' && was != '\0')
			continue;
		*at = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			err = -errno;
		*at = was;
		if (was == '\0')
			break;
	}
	return err;
}

static bool is_mount_point(const char *path)
{
	struct statx stx;

	return statx(AT_FDCWD, path, 0, STATX_TYPE, &stx) == 0 &&
	       (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
}

static bool has_marker(const char *path)
{
	char name[4096 + 16];

	snprintf(name, sizeof(name), "%s/" MARKER, path);
	return access(name, F_OK) == 0;
}

static int mount_tmpfs(const char *path, const char *size, const char *huge)
{
	char data[128];

	for (int with_huge = 1; with_huge >= 0; with_huge--) {
		snprintf(data, sizeof(data), "mode=0700,size=%s%s%s", size ? size : "50%",
			 with_huge ? ",huge=" : "", with_huge ? huge : "");
		if (mount("vidas", path, "tmpfs", MS_NODEV | MS_NOSUID, data) == 0) {
			vidas_log(VIDAS_LOG_INFO, "mounted a tmpfs at %s (%s)", path, data);
			return 0;
		}
		if (errno != EINVAL || !with_huge)
			break;
		vidas_log(VIDAS_LOG_NOTICE,
			  "this kernel refuses huge=%s for a tmpfs: the pool gets small pages",
			  huge);
	}
	return vidas_fail(-errno, "cannot mount a tmpfs at %s: %s; give --pool DIR instead", path,
			  strerror(errno));
}

/* The pool's directory is there, and mounted if that is for us to do. */
static int pool_prepare(const struct host_config *cfg, const char *path)
{
	const char *huge = cfg->pool_huge ? cfg->pool_huge : "within_size";
	bool sized = cfg->pool_size || cfg->pool_huge;
	struct stat st;
	int err;

	if (!cfg->pool) {
		err = make_path(path, 0755);
		if (err < 0)
			return vidas_fail(err, "cannot make %s: %s", path, strerror(-err));
	} else if (stat(path, &st) < 0 && errno == ENOENT) {
		return vidas_fail(
			-ENOENT,
			"the pool directory %s does not exist; create it, or leave --pool "
			"out for a tmpfs at " HOST_RUN_DIR "/pool",
			path);
	}
	if (stat(path, &st) < 0)
		return vidas_fail(-errno, "cannot use the pool directory %s: %s", path,
				  strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return vidas_fail(-ENOTDIR, "the pool %s is not a directory", path);
	if (cfg->pool && !sized)
		return 0;
	if (is_mount_point(path) || has_marker(path)) {
		if (sized)
			vidas_log(
				VIDAS_LOG_NOTICE,
				"the pool %s is in use already: pool-size and pool-huge change nothing",
				path);
		return 0;
	}
	return mount_tmpfs(path, cfg->pool_size, huge);
}

/* Who holds the lock on the marker, as the kernel lists it; 0 if it does not say. */
static long lock_holder(int fd)
{
	char line[256], want[64];
	struct stat st;
	long pid = 0;
	FILE *f;

	if (fstat(fd, &st) < 0)
		return 0;
	f = fopen("/proc/locks", "re");
	if (!f)
		return 0;
	snprintf(want, sizeof(want), " %02x:%02x:%llu ", major(st.st_dev), minor(st.st_dev),
		 (unsigned long long)st.st_ino);
	while (!pid && fgets(line, sizeof(line), f))
		if (strstr(line, want) && strstr(line, " FLOCK "))
			if (sscanf(line, "%*s %*s %*s %*s %ld", &pid) != 1)
				pid = 0;
	fclose(f);
	return pid;
}

static int refuse_foreign(struct host *h, const char *path)
{
	int fd = openat(h->pool_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	int err = 0;

	if (!d) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return vidas_fail(err, "cannot read the pool directory %s: %s", path,
				  strerror(-err));
	}
	while (err == 0 && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    strcmp(e->d_name, "lost+found") != 0)
			err = vidas_fail(
				-ENOTEMPTY,
				"%s is not empty and is no VIDAS pool; give an empty directory",
				path);
	closedir(d);
	return err;
}

static int marker_write(int fd)
{
	static const char text[] = "{\"version\": 1}\n";
	int err = vidas_pwrite_all(fd, text, sizeof(text) - 1, 0);

	if (err == 0 && fsync(fd) < 0)
		err = -errno;
	return err;
}

static int marker_check(int fd, const char *path)
{
	char text[MARKER_BYTES_MAX];
	ssize_t n = vidas_pread_all(fd, text, sizeof(text), 0);
	json_t *json;
	json_int_t version;

	if (n < 0)
		return vidas_fail((int)n, "cannot read %s/" MARKER ": %s", path, strerror((int)-n));
	if (n == 0) /* new, or its maker was killed just then */
		return marker_write(fd);
	json = json_loadb(text, (size_t)n, 0, NULL);
	version = json_integer_value(json_object_get(json, "version"));
	json_decref(json);
	if (version == MARKER_VERSION)
		return 0;
	if (version > 0)
		return vidas_fail(-EPROTO,
				  "the pool %s is of version %lld, this vidasd knows version %d; "
				  "use the vidasd that made it",
				  path, (long long)version, MARKER_VERSION);
	return vidas_fail(-EBADMSG, "%s/" MARKER " is not the marker of a VIDAS pool", path);
}

static int pool_lock(struct host *h, const char *path)
{
	int err;

	h->lock_fd = openat(h->pool_fd, MARKER, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (h->lock_fd < 0 && errno == ENOENT) {
		err = refuse_foreign(h, path);
		if (err < 0)
			return err;
		h->lock_fd =
			openat(h->pool_fd, MARKER, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	}
	if (h->lock_fd < 0)
		return vidas_fail(-errno, "cannot open %s/" MARKER ": %s", path, strerror(errno));
	if (flock(h->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		long pid = errno == EWOULDBLOCK ? lock_holder(h->lock_fd) : 0;

		if (errno != EWOULDBLOCK)
			return vidas_fail(-errno, "cannot lock %s/" MARKER ": %s", path,
					  strerror(errno));
		if (pid > 0)
			return vidas_fail(-EBUSY,
					  "the pool %s is in use by another vidasd, process %ld",
					  path, pid);
		return vidas_fail(-EBUSY, "the pool %s is in use by another vidasd", path);
	}
	return marker_check(h->lock_fd, path);
}

/* While the descriptor is open the mount is there, for this process alone. */
static int mount_privately(struct host *h, const char *path)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID |
					       MOUNT_ATTR_NOSYMFOLLOW,
				   .propagation = MS_PRIVATE };

	h->mount_fd =
		open_tree(h->pool_fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (h->mount_fd < 0 ||
	    mount_setattr(h->mount_fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return vidas_fail(-errno,
				  "cannot mount %s privately: %s; vidasd needs CAP_SYS_ADMIN and "
				  "Linux 5.14",
				  path, strerror(errno));
	return 0;
}

static int subdirectory(struct host *h, const char *name, int *fd)
{
	if (mkdirat(h->mount_fd, name, 0700) < 0 && errno != EEXIST)
		return vidas_fail(-errno, "cannot make %s in the pool: %s", name, strerror(errno));
	*fd = openat(h->mount_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0)
		return vidas_fail(-errno, "cannot open %s in the pool: %s", name, strerror(errno));
	return 0;
}

int vidas_host_pool_open(struct host *h)
{
	struct host_handle handle;
	char *path = NULL;
	int err;

	h->pool_fd = h->lock_fd = h->mount_fd = h->containers_fd = h->domains_fd = h->trash_fd = -1;
	err = make_path(h->config.run_dir, 0755);
	if (err < 0)
		return vidas_fail(err, "cannot make the run directory %s: %s", h->config.run_dir,
				  strerror(-err));
	if (h->config.pool)
		path = strdup(h->config.pool);
	else if (asprintf(&path, "%s/pool", h->config.run_dir) < 0)
		path = NULL;
	if (!path)
		return vidas_fail(-ENOMEM, "no memory");
	err = pool_prepare(&h->config, path);
	if (err < 0)
		goto out;
	h->pool_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = h->pool_fd < 0 ? vidas_fail(-errno, "cannot open the pool directory %s: %s", path,
					  strerror(errno)) :
			       pool_lock(h, path);
	if (err == 0)
		err = mount_privately(h, path);
	if (err == 0)
		err = subdirectory(h, "containers", &h->containers_fd);
	if (err == 0)
		err = subdirectory(h, "domains", &h->domains_fd);
	if (err == 0)
		err = subdirectory(h, "trash", &h->trash_fd);
	if (err < 0)
		goto out;
	h->has_handles = vidas_host_handle_get(h->pool_fd, &handle) == 0;
	if (!h->has_handles)
		vidas_log(VIDAS_LOG_NOTICE,
			  "the file system of %s has no file handles: objects of deleted resources "
			  "stay until their container goes",
			  path);
	free(h->config.pool);
	h->config.pool = path;
	return 0;
out:
	free(path);
	return err;
}

void vidas_host_pool_close(struct host *h)
{
	int *const fds[] = { &h->trash_fd, &h->domains_fd, &h->containers_fd,
			     &h->mount_fd, &h->lock_fd,	   &h->pool_fd };

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
