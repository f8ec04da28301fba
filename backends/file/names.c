/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names: remove, list, directories, symlinks, rename. */
#include "backends/file/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "backends/file/beneath.h"

#define LEFTOVER_SECONDS 3600 /* when list removes what a crash left */
#define RMDIR_SECONDS	 2    /* when rmdir does, as else the directory could not go */

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
