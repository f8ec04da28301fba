/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the file backend have in common. */
#ifndef VIDAS_FILE_H
#define VIDAS_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <vidas/backend.h>

struct vidas_backend {
	const struct vidas_backend_host *host;
	int root;	  /* the only descriptor that is kept */
	uint64_t root_id; /* of its inode, so that all who have opened it share the locks below */
	bool owners;	  /* may this process give files to others? */
};

/* Mode 07777 of what is kept: a domain must not plant suid programs on the host. */
#define VIDAS_FILE_MODE 01777u

/* Locks that make "compare the version, then change" one step, for all of this process: by key,
 * of a fixed set. Held over few system calls, and nothing else is locked under them. */
void vidas_file_lock(struct vidas_backend *be, const char *key);
void vidas_file_unlock(struct vidas_backend *be, const char *key);
void vidas_file_lock_two(struct vidas_backend *be, const char *a, const char *b);
void vidas_file_unlock_two(struct vidas_backend *be, const char *a, const char *b);

/* Opens the directory of a key that is to be made or changed; -EINVAL one that cannot be. */
int vidas_file_parent(struct vidas_backend *be, const char *key, bool make, const char **name);

void vidas_file_version(const struct stat *from, struct vidas_backend_version *to);
/* Has `name` this version? -ESTALE; -ENOENT if it is gone. */
int vidas_file_version_check(int dir, const char *name, const struct vidas_backend_version *expect);
/* -EOPNOTSUPP something else than a file, a directory or a symlink. */
int vidas_file_stat(const struct vidas_backend *be, const struct stat *from,
		    struct vidas_backend_stat *to);
int vidas_file_set_attrs_at(const struct vidas_backend *be, int dir, const char *name,
			    const struct vidas_backend_stat *attrs);

/* May `name` be replaced, under the guards of a put or link? -ESTALE, -EEXIST, -EISDIR. */
int vidas_file_replace_check(int dir, const char *name, const struct vidas_backend_version *expect,
			     int must_not_exist);
/* Gives the temporary file its name; with must_not_exist only if nobody else has it. `fd`, if not NULL, is open on it, and
 * is closed (-1) where that takes a second link for a moment. */
int vidas_file_place(int dir, const char *temp, const char *name, int must_not_exist, int *fd);

/* The calls, see <vidas/backend.h>. content.c: */
ssize_t vidas_file_get(struct vidas_backend *be, const char *key, uint64_t offset,
		       const struct iovec *iov, int iovcnt,
		       const struct vidas_backend_version *expect,
		       struct vidas_backend_version *seen);
int vidas_file_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		   struct vidas_backend_version *now);
ssize_t vidas_file_put_range(struct vidas_backend *be, const char *key, uint64_t offset,
			     const struct iovec *iov, int iovcnt,
			     struct vidas_backend_version *now);
/* names.c: */
int vidas_file_remove(struct vidas_backend *be, const char *key,
		      const struct vidas_backend_version *expect);
int vidas_file_list(struct vidas_backend *be, const char *key,
		    int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		    void *arg);
int vidas_file_mkdir(struct vidas_backend *be, const char *key,
		     const struct vidas_backend_stat *attrs);
int vidas_file_rmdir(struct vidas_backend *be, const char *key);
int vidas_file_symlink(struct vidas_backend *be, const char *key, const char *target);
ssize_t vidas_file_readlink(struct vidas_backend *be, const char *key, char *target, size_t size);
int vidas_file_rename(struct vidas_backend *be, const char *from, const char *to);
int vidas_file_link(struct vidas_backend *be, const char *from, const char *to,
		    const struct vidas_backend_link *link, struct vidas_backend_version *now);

#endif
