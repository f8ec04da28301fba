/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Bytes before anybody asks for them: of a file, of a part of one, of all below a directory. */
#include "pool/sync/partial.h"

#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

struct prefetch {
	struct vidas_sync *s;
	const char *dir;
	struct sync_list dirs;
	struct vidas_sync_moved *moved;
	unsigned timeouts; /* see SYNC_TIMEOUTS */
	int err;	   /* the first */
};

static int prefetch_part(struct vidas_sync *s, int fd, uint64_t inode, uint64_t offset,
			 uint64_t size)
{
	struct vidas_sync_fetch f = {
		.offset = offset, .size = size, .exact = true, .deadline_us = VIDAS_FOREVER
	};
	char key[PATH_MAX];
	int err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, key);

	if (!err)
		err = vidas_sync_fetch(s, key, inode, &f);
	/* What has no record of its own comes whole. */
	return err == -ENOENT ? sync_make_resident(s, fd, VIDAS_FOREVER) : err;
}

static int prefetch_file(struct vidas_sync *s, int look, uint64_t inode, uint64_t offset,
			 uint64_t size, struct vidas_sync_moved *moved)
{
	uint64_t before = 0, after;
	struct stat st;
	int fd, err = 0;
	size_t n;

	fd = sync_reopen(look, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return fd;
	if (vidas_sync_extents(s, fd, &before, NULL, 0, &n) == -ENODATA)
		goto out;
	err = size ? prefetch_part(s, fd, inode, offset, size) :
		     sync_make_resident(s, fd, VIDAS_FOREVER);
	if (fstat(fd, &st) < 0 || vidas_sync_extents(s, fd, &after, NULL, 0, &n) == -ENODATA)
		after = (uint64_t)st.st_size;
	moved->files += after > before;
	moved->bytes += after > before ? after - before : 0;
out:
	close(fd);
	return err;
}

/* How one thing ended. Non-zero: no more of them. */
static int ended(struct prefetch *p, int err)
{
	if (err && !p->err)
		p->err = err;
	sync_count_timeout(&p->timeouts, err, !err);
	return p->timeouts < SYNC_TIMEOUTS && err != -ENOSPC ? 0 : err;
}

static int prefetch_each(void *arg, const char *name)
{
	struct prefetch *p = arg;
	char path[PATH_MAX];
	struct stat st;
	int look, err = 0;

	if (sync_join(path, p->dir, name))
		return 0;
	look = sync_tree_look(p->s, path, 0, &st);
	if (look < 0) /* others remove things meanwhile */
		return look == -ENOENT ? 0 : ended(p, look);
	if (S_ISDIR(st.st_mode))
		err = sync_list_add(&p->dirs, path);
	else if (S_ISREG(st.st_mode))
		err = prefetch_file(p->s, look, st.st_ino, 0, 0, p->moved);
	close(look);
	return ended(p, err);
}

static int prefetch_tree(struct vidas_sync *s, const char *path, struct vidas_sync_moved *moved)
{
	struct prefetch p = { .s = s, .moved = moved };
	int fd, err;

	err = sync_list_add(&p.dirs, path);
	for (size_t i = 0; !err && i < p.dirs.count; i++) {
		p.dir = p.dirs.path[i];
		err = ended(&p, vidas_sync_import(s, p.dir, 0, NULL));
		fd = err ? -1 : sync_open_at(s->tree, p.dir, O_RDONLY | O_DIRECTORY);
		if (fd < 0)
			continue;
		err = sync_each_entry(fd, prefetch_each, &p);
		close(fd);
	}
	sync_list_free(&p.dirs);
	return p.err ? p.err : err;
}

int vidas_sync_prefetch(struct vidas_sync *s, const char *path, uint64_t inode, uint64_t offset,
			uint64_t size, struct vidas_sync_moved *moved)
{
	struct vidas_sync_moved total = { 0 };
	struct stat st;
	int look, err;

	vidas_fail_clear();
	look = sync_tree_look(s, path, inode, &st);
	if (look < 0)
		return look;
	if (S_ISDIR(st.st_mode))
		err = size ? vidas_fail(-EISDIR, "a directory is prefetched whole") :
			     prefetch_tree(s, path, &total);
	else if (S_ISREG(st.st_mode))
		err = prefetch_file(s, look, st.st_ino, offset, size, &total);
	else
		err = 0;
	close(look);
	if (moved)
		*moved = total;
	return err;
}
