/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the NFS backend have in common. */
#ifndef VIDAS_NFS_H
#define VIDAS_NFS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <vidas/backend.h>

#include "backends/nfs/link.h"

#define VIDAS_NFS_LINKS_MAX 16u
#define VIDAS_NFS_CHUNK	    (1024u * 1024) /* libnfs takes no more in one request */

struct vidas_nfs_fh {
	uint32_t size; /* 0: none */
	char bytes[128];
};

struct vidas_nfs_attr {
	uint32_t type; /* enum vidas_backend_type; 0: something else */
	uint32_t mode, uid, gid, links;
	bool owner; /* are uid and gid known? */
	uint64_t size, fileid;
	uint64_t change; /* version 4 */
	struct timespec mtime, ctime;
};

struct vidas_nfs_node {
	struct vidas_nfs_fh fh;
	struct vidas_nfs_attr attr;
};

/* A directory's entries, gathered. */
struct vidas_nfs_entry {
	char *name;
	bool known; /* is attr? */
	struct vidas_nfs_attr attr;
};
struct vidas_nfs_entries {
	struct vidas_nfs_entry *entry;
	size_t count, room;
};
int vidas_nfs_entries_add(struct vidas_nfs_entries *e, const char *name, size_t bytes,
			  const struct vidas_nfs_attr *attr);
void vidas_nfs_entries_clear(struct vidas_nfs_entries *e);

/* Which attributes to set; `now`: mtime to the server's clock. */
struct vidas_nfs_set {
	uint32_t valid; /* VIDAS_BACKEND_MODE, _OWNER, _MTIME */
	bool now;
	uint32_t mode, uid, gid;
	struct timespec mtime;
};

/* How a piece of a transfer was answered. */
struct vidas_nfs_piece {
	const char *data; /* reads: until the reply handler returns */
	uint32_t count;
	bool eof;    /* reads */
	bool stable; /* writes: no COMMIT is needed */
	char verifier[8];
};

/*
 * What is said differently in versions 3 and 4. All of it blocks, at most the time-out without an
 * answer, and tries again while the server asks for patience. Errors are those of <vidas/backend.h>, and
 * VIDAS_NFS_STALE: a handle that is no more. What may have been carried out twice succeeds.
 */
#define VIDAS_NFS_STALE (-4097)
struct vidas_nfs_dialect {
	int version;
	/* Finds the root by its path on the server; fills be->root and the limits. */
	int (*root)(struct vidas_backend *be);
	/* Looks up a path below `from`, never through a symlink. *parent is what its last component is in,
	 * its fh.size 0 if that is not there. Not for "". */
	int (*walk)(struct vidas_backend *be, const struct vidas_nfs_fh *from, const char *path,
		    struct vidas_nfs_node *parent, struct vidas_nfs_node *last);
	int (*getattr)(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		       struct vidas_nfs_attr *attr);
	int (*setattr)(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		       const struct vidas_nfs_set *set);
	/* A new empty file, mode 0600; -EEXIST. */
	int (*create)(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		      struct vidas_nfs_fh *out);
	/* -EEXIST whatever is there. */
	int (*mkdir)(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		     struct vidas_nfs_fh *out);
	int (*symlink)(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		       const char *target);
	/* The length, or -ENAMETOOLONG. */
	ssize_t (*readlink)(struct vidas_backend *be, const struct vidas_nfs_fh *fh, char *target,
			    size_t size);
	/* Of what was seen to be no directory; and to be one. */
	int (*remove)(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name);
	int (*rmdir)(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name);
	/* `moved` (or NULL) is what has the name, to know it again when the answer was lost; *attr (if not
	 * NULL) is what now has the new name. */
	int (*rename)(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		      const struct vidas_nfs_fh *new_dir, const char *new_name,
		      const struct vidas_nfs_fh *moved, struct vidas_nfs_attr *attr);
	int (*link)(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		    const struct vidas_nfs_fh *dir, const char *name);
	int (*readdir)(struct vidas_backend *be, const struct vidas_nfs_fh *dir,
		       struct vidas_nfs_entries *out);
	int (*commit)(struct vidas_backend *be, const struct vidas_nfs_fh *fh, char verifier[8]);
	/* For transfers, in a link's thread. */
	int (*send_read)(struct vidas_nfs_job *job, const struct vidas_nfs_fh *fh, uint64_t offset,
			 uint32_t size, uint64_t tag);
	int (*send_write)(struct vidas_nfs_job *job, const struct vidas_nfs_fh *fh, uint64_t offset,
			  const char *data, uint32_t size, bool stable, uint64_t tag);
	int (*read_reply)(void *data, struct vidas_nfs_piece *out);
	int (*write_reply)(void *data, struct vidas_nfs_piece *out);
};
extern const struct vidas_nfs_dialect vidas_nfs_v3, vidas_nfs_v4;

/* A lock that is held over calls, and waited for no longer than the time-out (-ETIMEDOUT). */
struct vidas_nfs_turn {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool taken;
};
#define VIDAS_NFS_TURN                                                     \
	{                                                                  \
		PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false \
	}

struct vidas_nfs4_client; /* client4.c */

struct vidas_backend {
	const struct vidas_backend_host *host;
	const struct vidas_nfs_dialect *dialect;
	char *server, *path;
	struct vidas_nfs_peer peer;
	int mount_port;	 /* version 3; 0: the portmapper knows it */
	unsigned window; /* requests of one transfer on their way */
	unsigned links;
	struct vidas_nfs_link *link[VIDAS_NFS_LINKS_MAX];
	_Atomic unsigned turn;
	uint64_t root_id;	/* a hash of server and path: who has it has the same locks */
	_Atomic bool no_owners; /* the server refused to give files to others */
	struct vidas_nfs4_client *client;

	struct vidas_nfs_turn root_turn; /* guards the rest */
	bool have_root;
	struct vidas_nfs_fh root;
	uint32_t read_max, write_max;
};

/* The least busy connection. */
struct vidas_nfs_link *vidas_nfs_link_of(struct vidas_backend *be);

/*
 * Makes a call for a dialect: again, after a pause, while `reply` gives VIDAS_NFS_PATIENCE, until the
 * time-out; with words for a failure of the connection.
 */
#define VIDAS_NFS_PATIENCE (-4096)
int vidas_nfs_ask(struct vidas_backend *be, struct vidas_nfs_link *link,
		  struct vidas_nfs_call *call);

int vidas_nfs_turn_take(struct vidas_backend *be, struct vidas_nfs_turn *turn);
void vidas_nfs_turn_give(struct vidas_nfs_turn *turn);

/* The root's handle, asked for once. */
int vidas_nfs_root(struct vidas_backend *be, struct vidas_nfs_fh *out);
/* It turned out to be stale: ask anew. */
void vidas_nfs_root_forget(struct vidas_backend *be);

/* Errors of both versions have the same numbers up to 99; NFS3ERR_*, NFS4ERR_* to -errno. */
int vidas_nfs_errno(int status);

static inline bool vidas_nfs_fh_same(const struct vidas_nfs_fh *a, const struct vidas_nfs_fh *b)
{
	return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* transfer.c ------------------------------------------------------------------------------------ */

ssize_t vidas_nfs_read(struct vidas_backend *be, const struct vidas_nfs_fh *fh, uint64_t offset,
		       const struct iovec *iov, int iovcnt);
/* Durably. `moved` as in struct vidas_backend_put, or NULL. */
int vidas_nfs_write(struct vidas_backend *be, const struct vidas_nfs_fh *fh, uint64_t offset,
		    const struct iovec *iov, int iovcnt, _Atomic uint64_t *moved);

/* nfs.c ------------------------------------------------------------------------------------------ */

void vidas_nfs_version(const struct vidas_backend *be, const struct vidas_nfs_attr *from,
		       struct vidas_backend_version *to);
bool vidas_nfs_version_is(const struct vidas_backend *be, const struct vidas_nfs_attr *attr,
			  const struct vidas_backend_version *expect);
/* -EOPNOTSUPP something else than a file, a directory or a symlink. */
int vidas_nfs_stat_of(const struct vidas_backend *be, const struct vidas_nfs_attr *from,
		      struct vidas_backend_stat *to);
/* Words for a failure that has none yet; returns err. */
int vidas_nfs_say(struct vidas_backend *be, int err, const char *what);

/* find.c ---------------------------------------------------------------------------------------- */

/*
 * Looks a key up, "" is the root; parent, last and the errors as walk(). *name (if not NULL) points to the
 * key's last component.
 */
int vidas_nfs_find(struct vidas_backend *be, const char *key, struct vidas_nfs_node *parent,
		   struct vidas_nfs_node *last, const char **name);
/* The directory a key is to be in, made if need be; as find() otherwise (0: there is something). Of the
 * parent only the handle. VIDAS_NFS_STALE: it was removed meanwhile. */
int vidas_nfs_find_made(struct vidas_backend *be, const char *key, struct vidas_nfs_node *parent,
			struct vidas_nfs_node *last, const char **name);

/* New content is written beside the old one under such a name, and renamed when it is whole. */
#define VIDAS_NFS_TEMP	     ".vidas-put-"
#define VIDAS_NFS_TEMP_BYTES 32u
bool vidas_nfs_temp_in(const char *key);
/* A new one, which nobody in this process sweeps until it is released. */
struct vidas_nfs_temp {
	char name[VIDAS_NFS_TEMP_BYTES];
	struct vidas_nfs_temp *prev, *next;
};
void vidas_nfs_temp_new(struct vidas_nfs_temp *temp);
void vidas_nfs_temp_release(struct vidas_nfs_temp *temp);
/* Removes an entry that is such a name, was not changed for so long, and is not this process's. */
void vidas_nfs_sweep(struct vidas_backend *be, const struct vidas_nfs_fh *dir,
		     const struct vidas_nfs_entry *entry, int seconds);

/* Is a call that gave `err` to be made again, as a handle was stale? Ends with -EAGAIN, in words. */
bool vidas_nfs_again(struct vidas_backend *be, int *err, int *tries);

/* Locks that make "compare the version, then change" one step in this process: by key, of a fixed set.
 * -ETIMEDOUT: others had it longer than the time-out. */
int vidas_nfs_lock(struct vidas_backend *be, const char *key);
void vidas_nfs_unlock(struct vidas_backend *be, const char *key);
int vidas_nfs_lock_two(struct vidas_backend *be, const char *a, const char *b);
void vidas_nfs_unlock_two(struct vidas_backend *be, const char *a, const char *b);

/* names.c ---------------------------------------------------------------------------------------- */

int vidas_nfs_stat(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st);
int vidas_nfs_remove(struct vidas_backend *be, const char *key,
		     const struct vidas_backend_version *expect);
int vidas_nfs_list(struct vidas_backend *be, const char *key,
		   int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		   void *arg);
int vidas_nfs_mkdir(struct vidas_backend *be, const char *key,
		    const struct vidas_backend_stat *attrs);
int vidas_nfs_rmdir(struct vidas_backend *be, const char *key);
int vidas_nfs_symlink(struct vidas_backend *be, const char *key, const char *target);
ssize_t vidas_nfs_readlink(struct vidas_backend *be, const char *key, char *target, size_t size);
int vidas_nfs_rename(struct vidas_backend *be, const char *from, const char *to);
int vidas_nfs_link(struct vidas_backend *be, const char *from, const char *to,
		   const struct vidas_backend_link *link, struct vidas_backend_version *now);

/* content.c -------------------------------------------------------------------------------------- */

ssize_t vidas_nfs_get(struct vidas_backend *be, const char *key, uint64_t offset,
		      const struct iovec *iov, int iovcnt,
		      const struct vidas_backend_version *expect,
		      struct vidas_backend_version *seen);
int vidas_nfs_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		  struct vidas_backend_version *now);
ssize_t vidas_nfs_put_range(struct vidas_backend *be, const char *key, uint64_t offset,
			    const struct iovec *iov, int iovcnt, struct vidas_backend_version *now);
/* May what find() gave be replaced, under the guards of a put or link? `found` is what it returned. */
int vidas_nfs_replace_check(const struct vidas_backend *be, int found,
			    const struct vidas_nfs_node *last,
			    const struct vidas_backend_version *expect, int must_not_exist);
int vidas_nfs_set_attrs(struct vidas_backend *be, const char *key,
			const struct vidas_backend_stat *attrs);
/* Sets them at a handle; who must not give files away goes on without. */
int vidas_nfs_set_at(struct vidas_backend *be, const struct vidas_nfs_fh *fh,
		     const struct vidas_backend_stat *attrs, bool now);

extern const struct vidas_backend_ops vidas_nfs_ops;

#endif
