/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/sync/internal.h"

#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "pool/wire/wire.h"

#define SUFFIX_BYTES 64

/* `path` with the suffix; what is too long for a name loses bytes at the end, whole characters of
 * UTF-8. */
static int name_with(const char *path, const char *suffix, char out[static PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t start = slash ? (size_t)(slash - path) + 1 : 0;
	size_t length = strlen(path), more = strlen(suffix);

	while (length > start + 1 &&
	       (length - start + more > NAME_MAX || length + more >= PATH_MAX))
		do {
			length--;
		} while (length > start + 1 && ((unsigned char)path[length] & 0xc0) == 0x80);
	if (length - start + more > NAME_MAX || length + more >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(out, path, length);
	memcpy(out + length, suffix, more + 1);
	return 0;
}

static int free_name(struct vidas_sync *s, const char *path, char out[static PATH_MAX])
{
	struct vidas_backend_stat st;
	char when[32], suffix[SUFFIX_BYTES];
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
	for (unsigned n = 1; n < 1000; n++) {
		int err;

		snprintf(suffix, sizeof(suffix),
			 n > 1 ? ".vidas-conflict-%s-%u" : ".vidas-conflict-%s", when, n);
		err = name_with(path, suffix, out);
		if (!err)
			err = vidas_store_stat(s->store, out, &st);
		if (err)
			return err == -ENOENT ? 0 : err;
	}
	return -EEXIST;
}

static int copy_file(struct vidas_sync *s, const char *from, const char *to,
		     struct vidas_backend_stat *st)
{
	struct vidas_backend_put put = { .attrs = st, .must_not_exist = 1 };
	struct vidas_map map = { 0 };
	struct iovec iov;
	int fd, err = 0;

	fd = sync_fetch_private(s, from, st, NULL);
	if (fd < 0)
		return fd;
	put.size_bytes = st->size_bytes;
	if (put.size_bytes) {
		err = vidas_map_open(fd, 0, put.size_bytes, PROT_READ, &map);
		iov = (struct iovec){ .iov_base = map.ptr, .iov_len = map.size };
		put.iov = &iov;
		put.iovcnt = 1;
	}
	if (!err)
		err = vidas_store_put(s->store, to, &put, NULL);
	vidas_map_close(&map);
	close(fd);
	return err;
}

static int copy_symlink(struct vidas_sync *s, const char *from, const char *to)
{
	char target[PATH_MAX];
	ssize_t n = vidas_store_readlink(s->store, from, target, sizeof(target));

	return n < 0 ? (int)n : vidas_store_symlink(s->store, to, target);
}

/* The copy becomes visible beside the file. It is safe in the store in any case: what fails here
 * comes with the next update. */
static void show(struct vidas_sync *s, const char *path)
{
	struct vidas_backend_stat st;
	const char *base;
	struct stat above;
	int dir;

	if (vidas_store_stat(s->store, path, &st) < 0 || sync_import_entry(s, path, path, &st) <= 0)
		return;
	dir = sync_parent(s->tree, path, &base);
	if (dir < 0)
		return;
	if (fstat(dir, &above) == 0)
		sync_changed(s, above.st_ino, VIDAS_WIRE_RECALL_NAMES);
	close(dir);
}

int sync_conflict_keep(struct vidas_sync *s, const char *path, struct vidas_backend_stat *st)
{
	char kept[PATH_MAX];
	int err;

	err = free_name(s, path, kept);
	if (err)
		return err;
	err = vidas_store_rename(s->store, path, kept);
	if (!err || err == -ENOENT) {
		st->type = 0;
		st->version.size = 0;
	} else if (err == -EOPNOTSUPP) {
		err = st->type == VIDAS_BACKEND_SYMLINK ? copy_symlink(s, path, kept) :
							  copy_file(s, path, kept, st);
	}
	if (err)
		return err == -ENOENT ? 0 : err;
	vidas_log(VIDAS_LOG_WARNING,
		  "'%s' was changed here and in the store: what the store had is '%s' now", path,
		  kept);
	show(s, kept);
	return 0;
}
