/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vidasfs: the FUSE daemon of a domain. What its files share.
 *
 * One mount a process, in vidas_fs. Everything in a container is done by ordinary system calls
 * beneath the descriptor of its tree (pool/client/tree.h); vidasd is asked only to attach, for what
 * a backend has, and to recall what other domains cache. What must outlive this process is in keep.h.
 *
 * Lock order, outer first:
 *	attach lock (branch.c)		one attach or leave at a time; held over a message to vidasd
 *	list lock (branch.c)		list of attached containers
 *	node->lock			opens, backing id, POSIX lock owners
 *	shard lock (shard.h)		table of nodes, their counts and descriptors
 * A lease section (lease.c) is inside none of them and nothing in it waits for another domain.
 */
#ifndef VIDASFS_FS_H
#define VIDASFS_FS_H

#define FUSE_USE_VERSION 314

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <fuse_lowlevel.h>
#include <uthash.h>

#include "pool/base/base.h"
#include "pool/client/tree.h"
#include "pool/wire/wire.h"
#include "vidasfs/keep.h"
#include <vidas/shm.h>

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
#define VIDAS_FUSE_PASSTHROUGH 1
#else
#define VIDAS_FUSE_PASSTHROUGH 0
#endif

/* Options (options.c) ---------------------------------------------------------------------------- */

struct vidas_options {
	char *socket, *domain; /* where vidasd is; at most one is given */
	char *container, *subdir;
	char *log; /* file for the log once in the background; NULL: the journal */
	unsigned timeout_seconds;
	char *consistency; /* where no policy says otherwise; NULL: strict */
	unsigned relaxed_seconds;
	unsigned wait_seconds; /* for a message */
	int nopassthrough;
	int readonly;
	uint64_t atime; /* MOUNT_ATTR_*, when reading moves it; 0: as the pool's mount has it */
	int lane;	/* the far half's (far.h); -1: we are none */
	int split;	/* both halves on this machine (near.h) */
	int foreground, debug, help, version;
	char *mountpoint;
};

/* 0, or -EINVAL after one line on stderr. What it leaves in `args` is for libfuse. */
int vidas_options_parse(struct fuse_args *args, struct vidas_options *o);
/* Of values that are settled. */
int vidas_options_check(const struct vidas_options *o);
void vidas_options_free(struct vidas_options *o);

/* The mount -------------------------------------------------------------------------------------- */

struct vidas_node;

struct vidas_fs {
	struct vidas_options options;
	struct vidas *v;
	struct fuse_session *se;
	struct vidas_node *root; /* FUSE_ROOT_ID: the list of containers, or a directory in one */
	int proc_fd;		 /* /proc/self/fd */
	unsigned fd_limit;	 /* descriptors that nodes may hold in all */
	bool passthrough;	 /* negotiated with the kernel */
	bool maps;		 /* files that are not in passthrough can be mapped shared */
	_Atomic bool epoch;	 /* the kernel can drop all names without a lock */
};
extern struct vidas_fs vidas_fs;

/* session.c: libfuse's session, vidas_fs.se, with the operations below; without any in a near half, which hands
 * them on. 0 or -EIO. */
int vidas_session_new(struct fuse_args *args);

/* An attached container. Lives as long as a node of it, or a request, has it, and a little longer. Kept
 * (keep.h). */
struct vidas_branch {
	struct vidas_branch *next; /* list lock */
	_Atomic unsigned refs;	   /* 0 is reached under the list lock only */
	_Atomic int opens;	   /* files and directories that are open */
	bool hidden;		   /* list lock; destroyed, or not ours any more */
	bool idling;		   /* list lock; a thread waits whether it stays unused */
	struct vidas_tree *tree;   /* NULL: lost with a worker, and not to be had again */
	int fd;			   /* the tree's */
	uint64_t dev;
	bool readonly, rooted;
	bool volatile_pool;	     /* on a tmpfs: there is nothing to sync to */
	_Atomic bool no_handles;     /* open_by_handle_at is refused: descriptors stay */
	_Atomic bool no_passthrough; /* the kernel refuses its files as backing ones */
	_Atomic bool relaxed;	     /* a policy `consistency` may be found in it */
	_Atomic uint32_t policies;   /* counts what is known to have changed of these; from 1 */
	char name[VIDAS_NAME_MAX + 1];
};

/* branch.c. get: the branch of a container, attached if it is not yet; the caller owns a reference. */
int vidas_branch_get(const char *name, struct vidas_branch **out);
/* A kept one of another worker: attached anew. It has no reference yet. */
void vidas_branch_resume(struct vidas_branch *b);
void vidas_branch_ref(struct vidas_branch *b);
void vidas_branch_put(struct vidas_branch *b);
/* The branch with that tree, with a reference, or NULL. */
struct vidas_branch *vidas_branch_of(struct vidas_tree *t);
/* Any branch, with a reference, or NULL. */
struct vidas_branch *vidas_branch_any(void);
/* Its name does not lead to it any more: it is another's, or nobody's. */
void vidas_branch_hide(struct vidas_branch *b);
void vidas_branches_close(void); /* from here on none is left: vidas_close() leaves them all */
/* Something of it (NULL: of the list) was opened, 1, or closed, -1. */
void vidas_branch_opened(struct vidas_branch *b, int by);
/* For vidas_tree_events: has the mount it open, or as its root? */
bool vidas_branch_used(void *arg, struct vidas_tree *t);
void vidas_branches_keep(char *const *names, size_t count); /* hides all others */
/* Unmounted: pushes what is not in the stores yet, for a while; what is left is said in the log. Called
 * when no request is under way. */
void vidas_branches_flush(void);
/* Enters the node of the container's directory, or of `subdir` in it; counts a lookup. */
int vidas_branch_root(struct vidas_branch *b, const char *subdir, struct vidas_node **out);

/* root.c */
void vidas_root_changed(
	void *arg); /* the list of containers changed: vidas_tree_events.containers */

/* Operations of the directory that lists the containers; the others refuse it. */
void vidas_root_lookup(fuse_req_t req, const char *name);
void vidas_root_getattr(fuse_req_t req);
double vidas_root_stat(struct stat *st); /* its attributes, and for how long they may be cached */
void vidas_root_mkdir(fuse_req_t req, const char *name);
void vidas_root_rmdir(fuse_req_t req, const char *name);
void vidas_root_statfs(fuse_req_t req);
struct vidas_names; /* a snapshot of the list */
int vidas_root_opendir(struct vidas_names **out);
void vidas_root_readdir(fuse_req_t req, const struct vidas_names *n, size_t size, off_t off,
			bool plus);
void vidas_names_free(struct vidas_names *n);

/* Nodes (node.c) --------------------------------------------------------------------------------- */

struct vidas_attr;	 /* pool/policy/attr.h */
struct vidas_lock_owner; /* lock.c */
struct vidas_poller;	 /* notify.c */
struct vidas_window;	 /* io.c */
struct vidas_partial;	 /* partial.c */

struct vidas_node_key {
	struct vidas_branch *branch; /* NULL: the list of containers */
	uint64_t dev, ino;
};

/* Enough for tmpfs, ext4, xfs and btrfs; what has larger ones keeps its descriptors. */
#define VIDAS_HANDLE_BYTES 40u

/* Kept (keep.h): its address is what the kernel calls it by; its number, where a lane is between us
 * and the kernel. */
struct vidas_node {
	struct vidas_node_key key;
	mode_t type;		  /* S_IFMT bits; never changes */
	_Atomic bool imported;	  /* rooted directories: the backend's entries are in the tree */
	_Atomic bool mapped;	  /* the near half may have memory of it, see far_map.c */
	_Atomic bool cached;	  /* the kernel was ever allowed to cache its attributes */
	_Atomic uint32_t relaxed; /* relaxed.c */
	_Atomic bool large;	  /* has lost a name: to let go of its memory may take a while */

	/* Shard lock. */
	UT_hash_handle hh;
	bool hashed;
	uint64_t lookups; /* what the kernel knows it by */
	unsigned refs;	  /* what else keeps it */
	int fd;		  /* O_PATH, or a reader's; -1: reopen by handle */
	unsigned fd_users;
	unsigned fd_pins; /* it may not be given up: no name may lead to the inode */
	bool fd_recent;
	union {
		struct file_handle head; /* handle_bytes 0: not known */
		unsigned char room[sizeof(struct file_handle) + VIDAS_HANDLE_BYTES];
	} handle;
	struct vidas_node *prev, *next; /* the shard's queue of nodes with a descriptor */

	pthread_mutex_t lock;
	_Atomic unsigned writers; /* opens for writing; changed under lock */
	unsigned backing_opens;	  /* opens in passthrough; never at the same time as: */
	unsigned partial_opens;	  /* opens from when it was not all in the pool, and since */
	struct vidas_partial *partial;
	int backing_id;	  /* 0: none */
	bool posix_locks; /* someone has locked it: closes must be heard of */
	struct vidas_lock_owner *owners;
	pthread_rwlock_t window_lock;
	struct vidas_window *window; /* window_lock */
};

/* Is this the far half of a vidasfs in two (far.h)? */
static inline bool vidas_is_far(void)
{
	return vidas_fs.options.lane >= 0;
}

static inline struct vidas_node *vidas_node_of(fuse_ino_t ino)
{
	if (ino == FUSE_ROOT_ID)
		return vidas_fs.root;
	return vidas_is_far() ? vidas_keep_find(VIDAS_KEPT_NODE, ino) : (struct vidas_node *)ino;
}

static inline fuse_ino_t vidas_node_id(const struct vidas_node *n)
{
	if (n == vidas_fs.root)
		return FUSE_ROOT_ID;
	return vidas_is_far() ? vidas_keep_number(VIDAS_KEPT_NODE, n) : (fuse_ino_t)(uintptr_t)n;
}

static inline bool vidas_node_is_list(const struct vidas_node *n)
{
	return n->key.branch == NULL;
}

int vidas_nodes_init(void);
/* The node of the list of containers; it is in no table. */
int vidas_node_list(struct vidas_node **out);
/*
 * Finds the node of an inode by what stat says, and counts a lookup. With `fd` -1: only one that
 * holds a descriptor, so that the inode cannot be another one with a re-used number (NULL if there is none).
 * Else makes it if it is new; `fd` is the node's or closed afterwards, also on error (NULL: no memory).
 * `use`: the caller has its descriptor, n->fd, as from vidas_fd_get(). An inode that may have no name is
 * entered so: once its descriptor were given up it could not be had again.
 */
struct vidas_node *vidas_node_enter(struct vidas_branch *b, const struct stat *st, int fd,
				    bool use);
/* The same without a lookup counted but with a reference; NULL if there is none. */
struct vidas_node *vidas_node_find(struct vidas_branch *b, uint64_t ino);
void vidas_node_forget(struct vidas_node *n, uint64_t lookups);
/* Of a number that may be anything: with a reference, or NULL. */
struct vidas_node *vidas_node_get(uint64_t id);
/* Puts a kept one of another worker into the table, without counts but its lookups. */
void vidas_node_resume(struct vidas_node *n);
bool vidas_node_known(struct vidas_node *n); /* does the kernel have lookups of it? */
void vidas_node_ref(struct vidas_node *n);
void vidas_node_unref(struct vidas_node *n);
/* Waits, not for long, until the memory of files that are gone has been given back. */
void vidas_nodes_settle(void);
/* Calls `each` with every node (referenced meanwhile), without a lock held. */
void vidas_nodes_each(void (*each)(struct vidas_node *n));

/* Descriptors of nodes (handle.c). get: one to use with *at(2) calls until put; or -errno. Until put
 * it also keeps the node, which else may be gone as soon as the kernel has its reply. */
int vidas_fd_get(struct vidas_node *n);
void vidas_fd_put(struct vidas_node *n);
/* Between get and put: it is not given up until unpin. */
void vidas_fd_pin(struct vidas_node *n);
void vidas_fd_unpin(struct vidas_node *n);

/* An ordinary descriptor of the node's inode; never follows a symbolic link. */
int vidas_node_open(struct vidas_node *n, int flags);
/* "/proc/self/fd/N" of a descriptor, for calls that take paths only. */
#define VIDAS_PROC_PATH_MAX 32
const char *vidas_fd_path(int fd, char buf[VIDAS_PROC_PATH_MAX]);
/* The node's present path in its tree, "" for the tree; -ENOENT it has none any more. */
int vidas_node_path(struct vidas_node *n, char path[4096]);
/* Calls `ask` with the present path and inode; again while it answers -ESTALE (renamed meanwhile). */
int vidas_node_ask(struct vidas_node *n,
		   int (*ask)(struct vidas_tree *t, const char *path, uint64_t ino, void *arg),
		   void *arg);

/* Leases (lease.c) ------------------------------------------------------------------------------- */

/*
 * A reply that lets the kernel cache something is made within a section:
 *	enter; ask for the time-outs; read what is cached; reply; leave.
 * A recall waits until the sections that were open when it came are closed, and then invalidates:
 * so no reply older than the recall can reach the kernel after it.
 */
void vidas_lease_enter(void);
void vidas_lease_leave(void);
double vidas_lease_names(struct vidas_node *dir);
double vidas_lease_attrs(struct vidas_node *n);
/* The same of a file that is open for writing but empty, as it was made, and that nobody here can have
 * opened besides: before anything can be stored through a mapping the kernel asks again. */
double vidas_lease_empty(struct vidas_node *n);
/* A lease on the attributes, even where they may be cached without one; until the section is left. */
bool vidas_lease_hold(struct vidas_node *n);
/* The same for an inode that may have no node yet; and, once it has, for how long its attributes may be
 * cached if they were read since. */
bool vidas_lease_hold_unknown(struct vidas_branch *b, uint64_t ino);
double vidas_lease_known(struct vidas_node *n, bool held);
/* The attributes, and for how long they may be cached. */
int vidas_lease_stat(struct vidas_node *n, int fd, struct stat *st, double *timeout);
/* A change that was just made: returns when no other domain answers from before. Not in a section. */
void vidas_lease_changed(struct vidas_branch *b, uint64_t ino, uint32_t kinds);
/* For vidas_tree_events: waits until the replies under way have been sent. */
bool vidas_lease_settle(void *arg);
void vidas_lease_recall(void *arg, struct vidas_tree *t, uint64_t ino, uint32_t kinds);
void vidas_lease_drop_names(void);		   /* all names that the kernel caches */
void vidas_lease_drop_attrs(struct vidas_node *n); /* its attributes */
void vidas_lease_init(void);			   /* finds out what the kernel can; once mounted */

/* Relaxed consistency (relaxed.c) ----------------------------------------------------------------- */

/* The attribute `consistency` as it is on this mount: -o consistency= is its default. */
int vidas_relaxed_init(void);
bool vidas_relaxed_attr(const struct vidas_attr *attr);
/* An attribute of the table, with its default on this mount. */
const struct vidas_attr *vidas_attr_here(const struct vidas_attr *attr);
/*
 * Is the effective consistency of the node `relaxed`? Then the kernel may cache its names and
 * attributes for -o relaxed_timeout=, without a lease. Costs nothing in a container in which the
 * policy was never set.
 */
bool vidas_node_relaxed(struct vidas_node *n);
/* The node was found in `dir`; `fd`: any of its inode. In the section that caches it. */
void vidas_relaxed_found(struct vidas_node *dir, struct vidas_node *n, int fd);
/* An open begins: what the kernel answers from then on is not older than that. */
void vidas_relaxed_open(struct vidas_node *n);
/* May this open, which is not in passthrough, use the kernel's page cache? */
bool vidas_relaxed_pages(struct vidas_node *n, int flags);
/* All is to be looked for again; `any`: it is known that the policy is set on something. */
void vidas_relaxed_renew(struct vidas_branch *b, bool any);

/* The caller (identity.c) ------------------------------------------------------------------------ */

int vidas_identity_init(void); /* drops what capabilities are not needed; before any thread */
/* Makes this thread create files in `dirfd` as the caller would, while keeping its capabilities. */
int vidas_identity_assume(fuse_req_t req, int dirfd, mode_t mode);
/* Is the caller root, or of that group? A request names one group; the others are read from /proc. */
bool vidas_identity_member(fuse_req_t req, gid_t gid);
/*
 * Is the caller the owner, or has he CAP_FOWNER? 0 or -EPERM. The kernel has asked so too, but by what it
 * knows of the owner, and it does not look again where another domain has given the file away.
 */
int vidas_identity_owner(fuse_req_t req, const struct stat *st);
/* The same of a name in a directory: may it be taken from that owner, if the directory is sticky? */
int vidas_identity_sticky(fuse_req_t req, int dirfd, uid_t owner);
/* May the caller do that (R_OK, W_OK) by his user and the one group that the request names? */
bool vidas_identity_may(fuse_req_t req, int fd, int access);
/* Only the group: that of a file lets S_ISGID be set on it. */
void vidas_identity_assume_group(gid_t gid);
/*
 * Before a change of owner, length or allocation, which takes S_ISUID and S_ISGID away: but not from who has
 * CAP_FSETID, nor S_ISGID of a file without execution by the group from who is of its group. That the
 * kernel asks of us.
 */
void vidas_identity_assume_changer(fuse_req_t req, int fd);
void vidas_identity_resume(void);

/* Opened files and directories ------------------------------------------------------------------- */

/* Both are kept (keep.h); the kernel calls them by vidas_keep_number(). */
struct vidas_handle {
	struct vidas_node *node;
	int flags; /* as given to open */
	bool writes, passthrough;
	bool partial; /* counts in the node's partial_opens */
	_Atomic bool whole;
	uint64_t generation;
	bool direct;		     /* the kernel caches no pages of it */
	bool noflush;		     /* the kernel was told to keep closes to itself */
	unsigned users;		     /* requests in hand; far_hold.c */
	struct vidas_poller *poller; /* notify.c */
	pthread_mutex_t lock;
	int fd; /* lock; -1 until vidas_handle_fd() */
};

struct vidas_dir {
	struct vidas_node *node;
	unsigned users;		   /* requests in hand; far_hold.c */
	struct vidas_names *names; /* the list of containers */
	pthread_mutex_t lock;	   /* guards what follows */
	void *stream;		   /* DIR; NULL until it is listed */
	struct dirent *entry;	   /* read, not replied yet */
	off_t next;		   /* where the stream stands, if entry is NULL; else the entry's */
};

static inline struct vidas_handle *vidas_handle_of(const struct fuse_file_info *fi)
{
	return vidas_keep_find(VIDAS_KEPT_HANDLE, fi->fh);
}

/* Those of another worker: into use again. */
void vidas_handle_resume(struct vidas_handle *h);
void vidas_dir_resume(struct vidas_dir *d);

/*
 * opened.c. new: the handle of an open as `fi` says; `generation`: not NULL if only a part of the file is in the
 * pool. `fd` is the node's, in use by the caller. From here on the node keeps its descriptor: by handle it
 * could not be opened again once it has lost its last name. Fills in `fi`, what the kernel is told, as tell
 * does. free: when the kernel has none of it any more.
 */
int vidas_handle_new(struct vidas_node *n, int fd, struct fuse_file_info *fi,
		     const uint64_t *generation, struct vidas_handle **out);
void vidas_handle_tell(const struct vidas_handle *h, struct fuse_file_info *fi);
void vidas_handle_free(struct vidas_handle *h);
/* The descriptor behind an open file, opened when first asked for; owned by the handle. */
int vidas_handle_fd(struct vidas_handle *h);

/* Passthrough (passthrough.c): for an open that is to be in it, if it can. 0 it is; -EOPNOTSUPP
 * it cannot: answer reads and writes; -EAGAIN it cannot be anything else, have all its bytes brought
 * and ask without `partial`; else the errno for the open. `fd`: any of the inode. With `partial`, or
 * where there are others: the open becomes one of those of a partial file, *partial says so. */
int vidas_backing_open(struct vidas_node *n, int fd, bool *partial);
/* What the kernel is told of an open in passthrough. */
void vidas_backing_tell(const struct vidas_node *n, struct fuse_file_info *fi);
void vidas_backing_close(struct vidas_node *n);
/* Are files of its container opened in passthrough, for all we know? */
bool vidas_passes_through(const struct vidas_node *n);
/* Says once for all that there is none, why, and what is lost by it. */
void vidas_backing_none(int level, const char *where, const char *why);

/* statx.c: answers a request for attributes with the time of birth; false: it is another one. */
#define VIDAS_FUSE_STATX 52 /* <linux/fuse.h> of 6.6; Debian 12 has an older one */
bool vidas_statx_serve(const struct fuse_buf *buf);

/* ops_attr.c: sets the length of a file. */
int vidas_file_cut(struct vidas_node *n, int fd, off_t size);

/* Taking requests (loop.c) ----------------------------------------------------------------------- */

#define VIDAS_WORKERS 64u /* threads: some may wait for a backend while others go on */

/* Before there is any other thread: these signals are the main thread's, in vidas_loop_run(). */
void vidas_loop_block_signals(sigset_t *ends);
/* Carries out requests until it is unmounted or one of the signals comes; all threads have ended
 * then. 0 or -errno, with words. */
int vidas_loop_run(const sigset_t *ends);
/* This thread may have to wait now for more than its turn on a CPU: another one takes requests from
 * here on. Nothing, on other threads. Whoever waits without having said so keeps the whole mount
 * waiting. */
void vidas_loop_step_aside(void);

/* io.c */
int vidas_io_init(void);
void vidas_window_free(struct vidas_node *n);

/* lock.c: one of another worker, into use again. */
void vidas_lock_owner_resume(struct vidas_lock_owner *o);
/* A file descriptor is closed by a lock owner; for good by all. */
void vidas_locks_flush(struct vidas_handle *h, uint64_t owner);
void vidas_locks_release(struct vidas_handle *h);
/* lock_wait.c: vidasd may not know any more who waits; who waits is sent away, for good. */
void vidas_locks_tell_again(void);
void vidas_locks_stop(void);

/* ops_names.c: looks a name up within a lease section and fills `e`; counts a lookup on success. */
int vidas_entry_fill(struct vidas_node *dir, int dirfd, const char *name,
		     struct fuse_entry_param *e);
/* Rooted containers (import.c); all of it is 0 or false, and no message, in others. ---------------- */

/* Brings the backend's entries of a directory into the tree, once. */
int vidas_dir_import(struct vidas_node *dir);
/* Returns when the backend has it, and what is below it; what has no name any more has nowhere to go. */
int vidas_node_push(struct vidas_node *n);
/* `dir` was just made in `parent`: the backend has nothing to bring into it. */
void vidas_dir_new(struct vidas_node *parent, struct vidas_node *dir);
/*
 * Bytes that are not in the pool yet (partial.c). `fd`: any of the file's inode; `req`: whose
 * interruption ends the wait (-EINTR), or NULL.
 */
/* Before a file is opened with `flags`. 0: its bytes are there; 1: only some are, those of *generation. */
int vidas_file_open(struct vidas_node *n, int fd, fuse_req_t req, int flags, uint64_t *generation);
/* All of a file's bytes are in the pool. */
int vidas_file_ready(struct vidas_node *n, int fd, fuse_req_t req);
/* It is about to be cut to, or to grow to, that length: no more bytes are needed than stay. */
int vidas_file_discard(struct vidas_node *n, int fd, off_t size);
/* Ends an open that counted as one of a partial file. */
void vidas_partial_close(struct vidas_node *n);
/* Was it opened when only a part of the file was there, which may be so still? */
bool vidas_handle_partial(struct vidas_handle *h);
/* Around a read: has the bytes brought; says whether what was read is of the handle's version. `fd` a
 * real one. -EIO where one is not so. */
int vidas_partial_before(struct vidas_handle *h, int fd, fuse_req_t req, off_t off, size_t size);
int vidas_partial_after(struct vidas_handle *h, int fd);
/* Before a write. */
int vidas_partial_whole(struct vidas_handle *h, int fd, fuse_req_t req);
/* SEEK_DATA and SEEK_HOLE of such a file. */
off_t vidas_partial_seek(int fd, off_t off, int whence);
/* Marks a file that can be written through mappings: those leave no trace in its mtime. */
void vidas_file_touched(struct vidas_node *n, int fd);
/* Is the effective policy `name` of the node `value`? */
bool vidas_node_policy(struct vidas_node *n, const char *name, const char *value);

/* Messages (notify.c): what the attributes `notify` and `wait` do. wait answers the request itself,
 * when a message has come, -o wait_timeout= is over, or the caller is interrupted. */
int vidas_notify_send(struct vidas_node *n, const void *message, size_t size);
void vidas_notify_wait(fuse_req_t req, struct vidas_node *n, size_t size);
void vidas_notify_release(struct vidas_handle *h); /* the last close */
void vidas_notify_stop(void);			   /* nobody is answered any more */

/* Operations, by file */
void vidas_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void vidas_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void vidas_op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void vidas_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void vidas_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void vidas_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void vidas_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void vidas_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void vidas_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		     const char *newname, unsigned int flags);
void vidas_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void vidas_op_readlink(fuse_req_t req, fuse_ino_t ino);

void vidas_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vidas_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		      struct fuse_file_info *fi);
void vidas_op_statfs(fuse_req_t req, fuse_ino_t ino);

void vidas_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vidas_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		      struct fuse_file_info *fi);
void vidas_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			  struct fuse_file_info *fi);
void vidas_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vidas_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

void vidas_op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		     struct fuse_file_info *fi);
void vidas_op_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi);
void vidas_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vidas_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vidas_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vidas_op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void vidas_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
			struct fuse_file_info *fi);
void vidas_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		    struct fuse_file_info *fi);
void vidas_op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			      struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			      struct fuse_file_info *fi_out, size_t len, int flags);

void vidas_op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi);
void vidas_op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *bufv, off_t off,
			struct fuse_file_info *fi);

void vidas_op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		   struct fuse_pollhandle *ph);

void vidas_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void vidas_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		       size_t size, int flags);
void vidas_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void vidas_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

void vidas_op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock);
void vidas_op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
		    int sleep);
void vidas_op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op);

#endif
