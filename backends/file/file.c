/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * file:///DIRECTORY: a directory of the host as the root. README.md beside this file has what it
 * promises and what it cannot. This part: open, stat, attributes, versions.
 */
#include "backends/file/file.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/builtin.h"
#include "backends/file/beneath.h"
#include "backends/url.h"

#define LOCKS 256u

static pthread_mutex_t locks[LOCKS] = { [0 ... LOCKS - 1] = PTHREAD_MUTEX_INITIALIZER };

static unsigned lock_of(const struct vidas_backend *be, const char *key)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ be->root_id; /* FNV-1a */

	while (*key)
		hash = (hash ^ (uint8_t)*key++) * UINT64_C(0x100000001b3);
	return (unsigned)(hash >> 32) % LOCKS;
}

void vidas_file_lock(struct vidas_backend *be, const char *key)
{
	pthread_mutex_lock(&locks[lock_of(be, key)]);
}

void vidas_file_unlock(struct vidas_backend *be, const char *key)
{
	pthread_mutex_unlock(&locks[lock_of(be, key)]);
}

/* In the order of their numbers, so that two renames crosswise do not wait for each other. */
void vidas_file_lock_two(struct vidas_backend *be, const char *a, const char *b)
{
	unsigned i = lock_of(be, a), j = lock_of(be, b);

	pthread_mutex_lock(&locks[i < j ? i : j]);
	if (i != j)
		pthread_mutex_lock(&locks[i < j ? j : i]);
}

void vidas_file_unlock_two(struct vidas_backend *be, const char *a, const char *b)
{
	unsigned i = lock_of(be, a), j = lock_of(be, b);

	pthread_mutex_unlock(&locks[i]);
	if (i != j)
		pthread_mutex_unlock(&locks[j]);
}

int vidas_file_parent(struct vidas_backend *be, const char *key, bool make, const char **name)
{
	int dir;

	if (vidas_temp_in(key))
		return vidas_backend_error(be->host, -EINVAL,
					   "names that begin with " VIDAS_TEMP_PREFIX
					   " are kept for unfinished files");
	dir = vidas_beneath_parent(be->root, key, make, name);
	if (dir == -EMFILE || dir == -ENFILE)
		return vidas_backend_error(be->host, -EAGAIN, "too many open files");
	return dir;
}

void vidas_file_version(const struct stat *from, struct vidas_backend_version *to)
{
	struct {
		int64_t modified, changed;
		uint32_t modified_ns, changed_ns;
		uint64_t size, inode;
	} v = {
		.modified = from->st_mtim.tv_sec,
		.changed = from->st_ctim.tv_sec,
		.modified_ns = (uint32_t)from->st_mtim.tv_nsec,
		.changed_ns = (uint32_t)from->st_ctim.tv_nsec,
		.size = (uint64_t)from->st_size,
		.inode = from->st_ino,
	};

	_Static_assert(sizeof(v) <= sizeof(to->bytes), "no padding, and it fits");
	memset(to, 0, sizeof(*to));
	to->size = sizeof(v);
	memcpy(to->bytes, &v, sizeof(v));
}

int vidas_file_version_check(int dir, const char *name, const struct vidas_backend_version *expect)
{
	struct vidas_backend_version version;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	vidas_file_version(&st, &version);
	if (version.size != expect->size || memcmp(version.bytes, expect->bytes, version.size) != 0)
		return -ESTALE;
	return 0;
}

int vidas_file_stat(const struct vidas_backend *be, const struct stat *from,
		    struct vidas_backend_stat *to)
{
	struct vidas_backend_stat st = {
		.valid = VIDAS_BACKEND_MODE | VIDAS_BACKEND_MTIME,
		.mode = from->st_mode & 07777,
		.uid = from->st_uid,
		.gid = from->st_gid,
		.links = from->st_nlink < UINT32_MAX ? (uint32_t)from->st_nlink : UINT32_MAX,
		.mtime = from->st_mtim,
	};

	if (be->owners)
		st.valid |= VIDAS_BACKEND_OWNER;
	switch (from->st_mode & S_IFMT) {
	case S_IFREG:
		st.type = VIDAS_BACKEND_FILE;
		break;
	case S_IFDIR:
		st.type = VIDAS_BACKEND_DIRECTORY;
		break;
	case S_IFLNK:
		st.type = VIDAS_BACKEND_SYMLINK;
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (st.type != VIDAS_BACKEND_DIRECTORY) {
		st.size_bytes = (uint64_t)from->st_size;
		vidas_file_version(from, &st.version);
	}
	*to = st;
	return 0;
}

static int file_stat(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st)
{
	const char *name;
	struct stat found;
	int dir, err;

	if (vidas_temp_in(key))
		return -ENOENT;
	dir = vidas_file_parent(be, key, false, &name);
	if (dir < 0)
		return dir;
	if (fstatat(dir, name, &found, AT_SYMLINK_NOFOLLOW) < 0)
		err = -errno;
	else if (S_ISDIR(found.st_mode) && !found.st_nlink)
		err = -ENOENT; /* the root was removed; what is open of it is no root any more */
	else
		err = vidas_file_stat(be, &found, st);
	close(dir);
	return err;
}

int vidas_file_set_attrs_at(const struct vidas_backend *be, int dir, const char *name,
			    const struct vidas_backend_stat *attrs)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, attrs->mtime };

	/* The owner last: afterwards only a privileged process could set the others. */
	if ((attrs->valid & VIDAS_BACKEND_MODE) &&
	    fchmodat(dir, name, attrs->mode & VIDAS_FILE_MODE, AT_SYMLINK_NOFOLLOW) < 0) {
		struct stat st;
		int err = -errno;

		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISLNK(st.st_mode))
			return err;
	}
	if ((attrs->valid & VIDAS_BACKEND_MTIME) &&
	    utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if ((attrs->valid & VIDAS_BACKEND_OWNER) && be->owners &&
	    fchownat(dir, name, attrs->uid, attrs->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int file_set_attrs(struct vidas_backend *be, const char *key,
			  const struct vidas_backend_stat *attrs)
{
	const char *name;
	int dir = vidas_file_parent(be, key, false, &name), err;

	if (dir < 0)
		return dir;
	err = vidas_file_set_attrs_at(be, dir, name, attrs);
	close(dir);
	return err;
}

static int make_root(const char *path)
{
	const char *name;
	int top = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir, err = 0;

	if (top < 0)
		return -errno;
	while (*path == '/')
		path++;
	dir = vidas_beneath_parent(top, path, true, &name);
	if (dir < 0)
		err = dir;
	else if (mkdirat(dir, name, 0755) == 0)
		err = vidas_beneath_sync(dir);
	else if (errno != EEXIST)
		err = -errno;
	if (dir >= 0)
		close(dir);
	close(top);
	return err;
}

/* The path of the root and whether it may be made. */
static int url_check(const struct vidas_backend_host *host, const char *text, struct vidas_url *url,
		     bool *create)
{
	const char *reason = NULL;

	*create = false;
	if (vidas_url_parse(text, url, &reason))
		return vidas_backend_error(host, -EINVAL, "bad URL '%s': %s", text, reason);
	if (*url->authority || *url->path != '/')
		return vidas_backend_error(host, -EINVAL,
					   "bad URL '%s': it must be file:///PATH, three slashes",
					   text);
	for (unsigned i = 0; i < url->params; i++) {
		const char *value = url->param[i].value;

		if (strcmp(url->param[i].name, "create") != 0)
			return vidas_backend_error(host, -EINVAL,
						   "bad URL '%s': no parameter '%s', only create",
						   text, url->param[i].name);
		if (strcmp(value, "0") != 0 && strcmp(value, "1") != 0)
			return vidas_backend_error(host, -EINVAL,
						   "bad URL '%s': create must be 0 or 1", text);
		*create = *value == '1';
	}
	return 0;
}

static int file_open(const struct vidas_backend_host *host, const char *text,
		     struct vidas_backend **out, uint32_t *caps)
{
	struct vidas_backend *be = calloc(1, sizeof(*be));
	struct vidas_url *url = malloc(sizeof(*url));
	struct stat st;
	bool create;
	int err;

	if (!be || !url) {
		err = -ENOMEM;
		goto out;
	}
	be->host = host;
	be->root = -1;
	err = url_check(host, text, url, &create);
	if (err)
		goto out;
	be->root = open(url->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (be->root < 0 && errno == ENOENT && create) {
		err = make_root(url->path);
		if (!err)
			be->root = open(url->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		else
			errno = -err;
	}
	if (be->root < 0 || fstat(be->root, &st) < 0) {
		err = -errno;
		(void)vidas_backend_error(host, err, "the directory %s of '%s': %s%s", url->path,
					  text, strerrordesc_np(-err),
					  err == -ENOENT ? "; make it, or add ?create=1" : "");
		goto out;
	}
	err = vidas_beneath_check(be->root);
	if (err) {
		(void)vidas_backend_error(host, err, "the directory %s of '%s': %s%s", url->path,
					  text, strerrordesc_np(-err),
					  err == -ENOSYS ? "; Linux 5.6 is needed" : "");
		goto out;
	}
	be->root_id = st.st_ino ^ (uint64_t)st.st_dev << 40;
	be->owners = capng_have_capability(CAPNG_EFFECTIVE, CAP_CHOWN);
	*caps = VIDAS_BACKEND_CONDITIONAL | VIDAS_BACKEND_RANGED_PUT | VIDAS_BACKEND_DIRECTORIES |
		VIDAS_BACKEND_SYMLINKS | VIDAS_BACKEND_ATTRIBUTES | VIDAS_BACKEND_LINKS;
	*out = be;
out:
	free(url);
	if (err && be) {
		if (be->root >= 0)
			close(be->root);
		free(be);
	}
	return err;
}

static void file_close(struct vidas_backend *be)
{
	close(be->root);
	free(be);
}

const struct vidas_backend_ops vidas_backend_file = {
	.struct_size = sizeof(struct vidas_backend_ops),
	.api_version = VIDAS_BACKEND_API,
	.name = "file",
	.summary = "a directory of the host: file:///PATH[?create=1]",
	.open = file_open,
	.close = file_close,
	.stat = file_stat,
	.get = vidas_file_get,
	.put = vidas_file_put,
	.remove = vidas_file_remove,
	.list = vidas_file_list,
	.mkdir = vidas_file_mkdir,
	.rmdir = vidas_file_rmdir,
	.symlink = vidas_file_symlink,
	.readlink = vidas_file_readlink,
	.rename = vidas_file_rename,
	.put_range = vidas_file_put_range,
	.set_attrs = file_set_attrs,
	.link = vidas_file_link,
};

#ifdef VIDAS_BACKEND_MODULE
const struct vidas_backend_ops *vidas_backend_entry(void)
{
	return &vidas_backend_file;
}
#endif
