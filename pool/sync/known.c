/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/sync/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/* A record as it is in the xattr, followed by the bytes of the version, of the handle and of the
 * digest; in the host's byte order. */
struct known_image {
	uint8_t format;
	uint8_t type;
	uint8_t flags;
	uint8_t version_size;
	uint8_t handle_size;
	uint8_t digest_size; /* 0: not known */
	uint8_t digest_kind; /* that of another kind is not known, either */
	uint8_t spare;
	int32_t handle_type;
	uint32_t mode, uid, gid;
	uint64_t inode, size, push_tag;
	int64_t mtime, push_mtime;
	uint32_t mtime_ns, push_mtime_ns;
};
#define KNOWN_FORMAT 1
#define DIGEST_KIND  1 /* that of <vidas/backend.h>; 0: XXH3 of all bytes at once */
_Static_assert(sizeof(struct known_image) == 72, "layout");

#define IMAGE_MAX (sizeof(struct known_image) + 62 + SYNC_HANDLE_MAX + SYNC_DIGEST_BYTES)

static size_t record_encode(const struct sync_record *rec, uint8_t out[static IMAGE_MAX])
{
	struct known_image image = {
		.format = KNOWN_FORMAT,
		.type = (uint8_t)rec->type,
		.flags = (uint8_t)rec->flags,
		.version_size = (uint8_t)rec->version.size,
		.handle_size = (uint8_t)rec->handle_size,
		.digest_size = rec->digest.known ? SYNC_DIGEST_BYTES : 0,
		.digest_kind = DIGEST_KIND,
		.handle_type = rec->handle_type,
		.mode = rec->mode,
		.uid = rec->uid,
		.gid = rec->gid,
		.inode = rec->inode,
		.size = rec->size,
		.push_tag = rec->push_tag,
		.mtime = rec->mtime.tv_sec,
		.push_mtime = rec->push_mtime.tv_sec,
		.mtime_ns = (uint32_t)rec->mtime.tv_nsec,
		.push_mtime_ns = (uint32_t)rec->push_mtime.tv_nsec,
	};
	size_t used = sizeof(image);

	memcpy(out, &image, sizeof(image));
	memcpy(out + used, rec->version.bytes, rec->version.size);
	used += rec->version.size;
	memcpy(out + used, rec->handle, rec->handle_size);
	used += rec->handle_size;
	memcpy(out + used, rec->digest.bytes, image.digest_size);
	return used + image.digest_size;
}

static int record_decode(const uint8_t *in, size_t size, struct sync_record *rec)
{
	struct known_image image;
	size_t at = sizeof(image);

	if (size < sizeof(image))
		return -ENOENT;
	memcpy(&image, in, sizeof(image));
	if (image.format != KNOWN_FORMAT || image.version_size > sizeof(rec->version.bytes) ||
	    image.handle_size > SYNC_HANDLE_MAX ||
	    (image.digest_size && image.digest_size != SYNC_DIGEST_BYTES) ||
	    size != sizeof(image) + image.version_size + image.handle_size + image.digest_size)
		return -ENOENT;
	*rec = (struct sync_record){
		.type = image.type,
		.flags = image.flags,
		.inode = image.inode,
		.size = image.size,
		.mtime = { .tv_sec = image.mtime, .tv_nsec = image.mtime_ns },
		.mode = image.mode,
		.uid = image.uid,
		.gid = image.gid,
		.version = { .size = image.version_size },
		.digest = { .known = image.digest_size && image.digest_kind == DIGEST_KIND },
		.push_tag = image.push_tag,
		.push_mtime = { .tv_sec = image.push_mtime, .tv_nsec = image.push_mtime_ns },
		.handle_type = image.handle_type,
		.handle_size = image.handle_size,
	};
	memcpy(rec->version.bytes, in + at, image.version_size);
	at += image.version_size;
	memcpy(rec->handle, in + at, image.handle_size);
	at += image.handle_size;
	memcpy(rec->digest.bytes, in + at, image.digest_size);
	return 0;
}

int sync_known_get(struct vidas_sync *s, const char *path, struct sync_record *rec)
{
	uint8_t image[IMAGE_MAX];
	ssize_t n;
	int fd;

	*rec = (struct sync_record){ 0 };
	fd = sync_open_at(s->known, path, O_RDONLY);
	if (fd == -ENOTDIR)
		return -ENOENT;
	if (fd < 0)
		return fd;
	n = fgetxattr(fd, SYNC_KNOWN, image, sizeof(image));
	if (n < 0)
		n = errno == ENODATA || errno == ERANGE ? -ENOENT : -errno;
	close(fd);
	return n < 0 ? (int)n : record_decode(image, (size_t)n, rec);
}

/* Opens known/`path`, a directory or not, with all above it; new where it is not there. */
static int known_make(struct vidas_sync *s, const char *path, bool directory)
{
	const char *next;
	char part[PATH_MAX];

	for (next = strchr(path, '/'); next; next = strchr(next + 1, '/')) {
		memcpy(part, path, (size_t)(next - path));
		part[next - path] = '\0';
		if (mkdirat(s->known, part, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	if (directory && *path && mkdirat(s->known, path, 0700) < 0 && errno != EEXIST)
		return -errno;
	return sync_open_at(s->known, path,
			    directory ? O_RDONLY | O_DIRECTORY : O_RDWR | O_CREAT | O_NONBLOCK);
}

static int known_set(struct vidas_sync *s, const char *path, bool directory, const char *xattr,
		     const void *value, size_t size)
{
	int fd, err;

	fd = sync_open_at(s->known, path, directory ? O_RDONLY | O_DIRECTORY : O_RDWR | O_NONBLOCK);
	if (fd == -ENOENT)
		fd = known_make(s, path, directory);
	if (fd < 0)
		return fd;
	err = fsetxattr(fd, xattr, value, size, 0) < 0 ? -errno : 0;
	close(fd);
	return err;
}

int sync_known_put(struct vidas_sync *s, const char *path, const struct sync_record *rec)
{
	uint8_t image[IMAGE_MAX];
	size_t size = record_encode(rec, image);
	int err;

	err = known_set(s, path, rec->type == VIDAS_BACKEND_DIRECTORY, SYNC_KNOWN, image, size);
	if (err)
		vidas_fail(err, "cannot note in the pool that '%s' was moved: %s", path,
			   strerror(-err));
	return err;
}

int sync_known_drop(struct vidas_sync *s, const char *path)
{
	const char *base;
	int dir, err = 0;

	dir = sync_parent(s->known, path, &base);
	if (dir == -ENOENT || dir == -ENOTDIR)
		return 0;
	if (dir < 0)
		return dir;
	if (unlinkat(dir, base, 0) < 0 &&
	    (errno != EISDIR || unlinkat(dir, base, AT_REMOVEDIR) < 0))
		err = errno == ENOENT ? 0 : -errno;
	close(dir);
	return err;
}

mode_t sync_known_kind(struct vidas_sync *s, const char *path)
{
	int fd = sync_open_at(s->known, path, O_PATH);
	struct stat st;
	mode_t kind = 0;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) == 0)
		kind = st.st_mode & S_IFMT;
	close(fd);
	return kind;
}

bool sync_known_imported(struct vidas_sync *s, const char *path)
{
	int fd = sync_open_at(s->known, path, O_RDONLY | O_DIRECTORY);
	bool imported;

	if (fd < 0)
		return false;
	imported = fgetxattr(fd, SYNC_IMPORTED, NULL, 0) >= 0;
	close(fd);
	return imported;
}

int sync_known_set_imported(struct vidas_sync *s, const char *path)
{
	return known_set(s, path, true, SYNC_IMPORTED, "1", 1);
}

/* Records and files ---------------------------------------------------------------------------- */

union handle {
	struct file_handle h;
	uint8_t room[sizeof(struct file_handle) + SYNC_HANDLE_MAX];
};

void sync_record_agree(struct sync_record *rec, int fd, const struct stat *st,
		       const struct vidas_backend_version *version)
{
	union handle handle = { .h.handle_bytes = SYNC_HANDLE_MAX };
	int mount_id;

	rec->type = S_ISDIR(st->st_mode) ? VIDAS_BACKEND_DIRECTORY :
		    S_ISLNK(st->st_mode) ? VIDAS_BACKEND_SYMLINK :
					   VIDAS_BACKEND_FILE;
	rec->flags |= SYNC_AGREED | (S_ISREG(st->st_mode) && st->st_nlink > 1 ? SYNC_LINKED : 0u);
	rec->inode = st->st_ino;
	rec->size = (uint64_t)st->st_size;
	rec->mtime = st->st_mtim;
	rec->mode = st->st_mode & 07777;
	rec->uid = st->st_uid;
	rec->gid = st->st_gid;
	rec->version = *version;
	rec->digest.known = false;
	rec->handle_size = 0;
	if (name_to_handle_at(fd, "", &handle.h, &mount_id, AT_EMPTY_PATH) == 0) {
		rec->handle_type = handle.h.handle_type;
		rec->handle_size = handle.h.handle_bytes;
		memcpy(rec->handle, handle.h.f_handle, handle.h.handle_bytes);
	}
}

/* The file of a record, whether it has a name in the tree or is only open somewhere. */
static int open_inode(struct vidas_sync *s, const struct sync_record *rec, int flags,
		      struct stat *st)
{
	union handle handle = { .h = { .handle_bytes = rec->handle_size,
				       .handle_type = rec->handle_type } };
	int fd;

	if (!rec->handle_size || rec->type != VIDAS_BACKEND_FILE)
		return -ENOENT;
	memcpy(handle.h.f_handle, rec->handle, rec->handle_size);
	fd = open_by_handle_at(s->tree, &handle.h, flags | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	if (fd < 0)
		return errno == ESTALE ? -ENOENT : -errno;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	close(fd);
	return -ENOENT;
}

/* The same, only if it has a name. */
static int open_recorded(struct vidas_sync *s, const struct sync_record *rec)
{
	struct stat st;
	int fd = open_inode(s, rec, O_RDONLY, &st);

	if (fd < 0 || st.st_nlink > 0)
		return fd;
	close(fd);
	return -ENOENT;
}

int sync_open_key(struct vidas_sync *s, const char *key, uint64_t inode)
{
	struct sync_record rec;
	struct stat st;
	int fd, err;

	err = sync_known_get(s, key, &rec);
	if (err)
		return err;
	fd = rec.inode == inode ? open_inode(s, &rec, O_RDWR, &st) : -ENOENT;
	if (fd < 0 || st.st_ino == inode)
		return fd;
	close(fd);
	return -ENOENT;
}

int sync_open_reader(struct vidas_sync *s, const char *key)
{
	struct sync_record rec;
	char mark[PATH_MAX];
	struct stat st;
	int fd, err;

	err = sync_known_get(s, key, &rec);
	if (err)
		return err;
	fd = open_inode(s, &rec, O_RDONLY, &st);
	if (fd < 0)
		return fd;
	if (!st.st_nlink && fgetxattr(fd, VIDAS_XATTR_FETCH, NULL, 0) >= 0 &&
	    sync_path_xattr(fd, VIDAS_SYNC_ABSENT, mark) == 0 && strcmp(mark, key) == 0)
		return fd;
	close(fd);
	return -ENOENT;
}

bool sync_is_moved(struct vidas_sync *s, const char *path)
{
	struct sync_record rec;
	char key[PATH_MAX];
	bool moved;
	int fd, err;

	if (sync_known_get(s, path, &rec) < 0)
		return false;
	fd = open_recorded(s, &rec);
	if (fd < 0)
		return fd != -ENOENT;
	err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, key);
	if (err == -ENODATA)
		err = sync_path_xattr(fd, SYNC_PUSHED, key);
	moved = err || strcmp(key, path) == 0;
	close(fd);
	return moved;
}

int sync_displaced(struct vidas_sync *s, const char *path, uint64_t inode)
{
	struct sync_record rec;
	char key[PATH_MAX];
	int fd, err;

	err = sync_known_get(s, path, &rec);
	if (err)
		return err;
	if (!(rec.flags & SYNC_AGREED) || rec.inode == inode)
		return -ENOENT;
	fd = open_recorded(s, &rec);
	if (fd < 0)
		return fd;
	if (sync_path_xattr(fd, VIDAS_SYNC_ABSENT, key) == 0 && strcmp(key, path) == 0)
		return fd;
	close(fd);
	return -ENOENT;
}

/* FNV-1a: told apart are the targets that one link had, not what an enemy makes up. */
uint64_t sync_target_hash(const char *target, size_t size)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char)target[i]) * UINT64_C(0x100000001b3);
	return hash;
}

bool sync_same_attrs(const struct sync_record *rec, const struct stat *st)
{
	return !(rec->flags & SYNC_ATTRS) && rec->mode == (st->st_mode & 07777) &&
	       rec->uid == st->st_uid && rec->gid == st->st_gid;
}

bool sync_same_version(const struct vidas_backend_version *a, const struct vidas_backend_version *b)
{
	return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static bool has_bytes_of(const struct vidas_backend_stat *there, uint64_t size,
			 const struct timespec *mtime)
{
	return (there->valid & VIDAS_BACKEND_MTIME) && there->size_bytes == size &&
	       sync_same_time(&there->mtime, mtime);
}

bool sync_is_ours(struct vidas_sync *s, const char *path, const struct sync_record *rec,
		  const struct vidas_backend_stat *there)
{
	char target[PATH_MAX];
	ssize_t n;

	if ((rec->flags & SYNC_AGREED) && sync_same_version(&rec->version, &there->version))
		return true;
	if (!sync_is_unsure(s, rec) || there->type != rec->type)
		return false;
	if (rec->type == VIDAS_BACKEND_SYMLINK) {
		n = vidas_store_readlink(s->store, path, target, sizeof(target));
		return n >= 0 && sync_target_hash(target, (size_t)n) == rec->push_tag;
	}
	return ((rec->flags & SYNC_PUSHING) &&
		has_bytes_of(there, rec->push_tag, &rec->push_mtime)) ||
	       ((rec->flags & (SYNC_ATTRS | SYNC_LINKED)) &&
		has_bytes_of(there, rec->size, &rec->mtime));
}
