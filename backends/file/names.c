/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names: remove, list, directories, symlinks, rename, link. */
#include "backends/file/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "backends/file/beneath.h"

#define LEFTOVER_SECONDS 3600 /* when list removes what a crash left */
#define RMDIR_SECONDS	 2    /* when rmdir does, as else the directory could not go */

int vidas_file_replace_check(int dir, const char *name, const struct vidas_backend_version *expect,
			     int must_not_exist)
{
	struct stat st;

	if (expect) {
		int err = vidas_file_version_check(dir, name, expect);

		return err == -ENOENT ? -ESTALE : err;
	}
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (must_not_exist)
		return -EEXIST;
	return S_ISDIR(st.st_mode) ? -EISDIR : 0;
}

int vidas_file_place(int dir, const char *temp, const char *name, int must_not_exist, int *fd)
{
	if (!must_not_exist)
		return renameat(dir, temp, dir, name) < 0 ? -errno : 0;
	if (renameat2(dir, temp, dir, name, RENAME_NOREPLACE) == 0)
		return 0;
	/* Where the file system cannot rename without replacing, a second link does it. */
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	/* A client of NFS keeps the old name of a file that is open, and takes it away some time after its close: which
	 * changes the file. */
	if (fd) {
		close(*fd);
		*fd = -1;
	}
	if (linkat(dir, temp, dir, name, 0) < 0)
		return -errno;
	return unlinkat(dir, temp, 0) < 0 ? -errno : 0;
}

int vidas_file_remove(struct vidas_backend *be, const char *key,
		      const struct vidas_backend_version *expect)
{
	const char *name;
	int dir = vidas_file_parent(be, key, false, &name), err = 0;

	if (dir < 0)
		return dir;
	vidas_file_lock(be, key);
	if (expect)
		err = vidas_file_version_check(dir, name, expect);
	if (!err && unlinkat(dir, name, 0) < 0)
		err = -errno;
	vidas_file_unlock(be, key);
	if (!err)
		err = vidas_beneath_sync(dir);
	close(dir);
	return err;
}

int vidas_file_list(struct vidas_backend *be, const char *key,
		    int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		    void *arg)
{
	int fd = vidas_temp_in(key) ? -ENOENT : vidas_beneath_directory(be->root, key), ret = 0;
	struct vidas_backend_stat st;
	struct dirent *entry;
	struct stat found;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		ret = -errno;
		close(fd);
		return ret;
	}
	while (!ret) {
		errno = 0;
		entry = readdir(dir);
		if (!entry) {
			ret = -errno;
			break;
		}
		if (vidas_temp_is(entry->d_name)) {
			vidas_temp_sweep(fd, entry->d_name, LEFTOVER_SECONDS);
			continue;
		}
		if (entry->d_name[0] == '.' &&
		    (!entry->d_name[1] || (entry->d_name[1] == '.' && !entry->d_name[2])))
			continue;
		if (fstatat(fd, entry->d_name, &found, AT_SYMLINK_NOFOLLOW) < 0)
			ret = errno == ENOENT ? 0 : -errno;
		else if (vidas_file_stat(be, &found, &st) == 0)
			ret = each(arg, entry->d_name, &st);
	}
	closedir(dir);
	return ret;
}

int vidas_file_mkdir(struct vidas_backend *be, const char *key,
		     const struct vidas_backend_stat *attrs)
{
	const char *name;
	int dir = vidas_file_parent(be, key, true, &name), err = 0;
	struct stat st;

	if (dir < 0)
		return dir;
	if (mkdirat(dir, name, 0755) == 0) {
		if (attrs)
			err = vidas_file_set_attrs_at(be, dir, name, attrs);
		if (!err)
			err = vidas_beneath_sync(dir);
	} else {
		err = -errno;
		if (err == -EEXIST && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISDIR(st.st_mode))
			err = 0;
	}
	close(dir);
	return err;
}

static int rmdir_once(int dir, const char *name)
{
	if (unlinkat(dir, name, AT_REMOVEDIR) == 0)
		return 0;
	return errno == EEXIST ? -ENOTEMPTY : -errno;
}

int vidas_file_rmdir(struct vidas_backend *be, const char *key)
{
	const char *name;
	int dir = vidas_file_parent(be, key, false, &name), err;

	if (dir < 0)
		return dir;
	err = rmdir_once(dir, name);
	if (err == -ENOTEMPTY) {
		vidas_temp_sweep_all(be->root, key, RMDIR_SECONDS);
		err = rmdir_once(dir, name);
	}
	if (!err)
		err = vidas_beneath_sync(dir);
	close(dir);
	return err;
}

int vidas_file_symlink(struct vidas_backend *be, const char *key, const char *target)
{
	char temp[VIDAS_TEMP_BYTES];
	const char *name;
	int dir = vidas_file_parent(be, key, true, &name), err = 0;

	if (dir < 0)
		return dir;
	vidas_temp_name(temp);
	if (symlinkat(target, dir, temp) < 0) {
		err = -errno;
		goto out;
	}
	vidas_file_lock(be, key);
	if (renameat(dir, temp, dir, name) < 0)
		err = -errno;
	vidas_file_unlock(be, key);
	if (err)
		(void)unlinkat(dir, temp, 0);
	else
		err = vidas_beneath_sync(dir);
out:
	close(dir);
	return err;
}

ssize_t vidas_file_readlink(struct vidas_backend *be, const char *key, char *target, size_t size)
{
	const char *name;
	int dir = vidas_file_parent(be, key, false, &name);
	ssize_t ret;

	if (dir < 0)
		return dir;
	ret = readlinkat(dir, name, target, size);
	if (ret < 0)
		ret = -errno;
	else if ((size_t)ret == size)
		ret = -ENAMETOOLONG;
	else
		target[ret] = '\0';
	close(dir);
	return ret;
}

int vidas_file_rename(struct vidas_backend *be, const char *from, const char *to)
{
	const char *name, *new_name;
	int dir = vidas_file_parent(be, from, false, &name), new_dir = -1, err = 0;
	struct stat st;

	if (dir < 0)
		return dir;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		err = -errno;
		goto out;
	}
	new_dir = vidas_file_parent(be, to, true, &new_name);
	if (new_dir < 0) {
		err = new_dir;
		goto out;
	}
	vidas_file_lock_two(be, from, to);
	if (renameat(dir, name, new_dir, new_name) < 0)
		err = errno == EEXIST ? -ENOTEMPTY : -errno;
	vidas_file_unlock_two(be, from, to);
	/* The new name first: a crash between the two leaves the file with both, not with none. */
	if (!err)
		err = vidas_beneath_sync(new_dir);
	if (!err)
		err = vidas_beneath_sync(dir);
out:
	if (new_dir >= 0)
		close(new_dir);
	close(dir);
	return err;
}

/* The file that is to have one more name; 1: it has that name already. */
static int link_check(int dir, const char *name, int new_dir, const char *new_name,
		      const struct vidas_backend_link *link, struct stat *st)
{
	struct stat there;

	if (fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(st->st_mode))
		return S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL;
	if (fstatat(new_dir, new_name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    there.st_ino == st->st_ino && there.st_dev == st->st_dev)
		return 1;
	if (link->version)
		return vidas_file_version_check(dir, name, link->version);
	return 0;
}

/* A rename over another name of the same file does nothing, and link_check() has seen to that. */
static int link_place(int dir, const char *name, int new_dir, const char *new_name,
		      const struct vidas_backend_link *link, const struct stat *st)
{
	char temp[VIDAS_TEMP_BYTES];
	struct stat now;
	int err;

	err = vidas_file_replace_check(new_dir, new_name, link->expect, link->must_not_exist);
	if (err)
		return err;
	vidas_temp_name(temp);
	if (linkat(dir, name, new_dir, temp, 0) < 0)
		return -errno;
	/* Who is not of this process knows no locks of ours. */
	if (fstatat(new_dir, temp, &now, AT_SYMLINK_NOFOLLOW) < 0)
		err = -errno;
	else if (now.st_ino != st->st_ino || now.st_size != st->st_size ||
		 now.st_mtim.tv_sec != st->st_mtim.tv_sec ||
		 now.st_mtim.tv_nsec != st->st_mtim.tv_nsec)
		err = -ESTALE;
	if (!err)
		err = vidas_file_place(new_dir, temp, new_name, link->must_not_exist, NULL);
	if (err)
		(void)unlinkat(new_dir, temp, 0);
	return err;
}

int vidas_file_link(struct vidas_backend *be, const char *from, const char *to,
		    const struct vidas_backend_link *link, struct vidas_backend_version *now)
{
	const char *name, *new_name;
	int dir = vidas_file_parent(be, from, false, &name), new_dir, err;
	struct stat st;

	if (dir < 0)
		return dir;
	new_dir = vidas_file_parent(be, to, true, &new_name);
	if (new_dir < 0) {
		close(dir);
		return new_dir;
	}
	vidas_file_lock_two(be, from, to);
	err = link_check(dir, name, new_dir, new_name, link, &st);
	if (!err)
		err = link_place(dir, name, new_dir, new_name, link, &st);
	else if (err == 1)
		err = 0;
	if (!err && fstatat(new_dir, new_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		err = -errno;
	vidas_file_unlock_two(be, from, to);
	if (!err)
		err = vidas_beneath_sync(new_dir);
	if (!err && now)
		vidas_file_version(&st, now);
	close(new_dir);
	close(dir);
	return err;
}
