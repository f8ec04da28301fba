/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container as a tree of files, for vidasfs and tools: what libvidas knows beyond <vidas/vidas.h>.
 *
 * On the local transport a domain that attaches a container is handed a detached mount of its
 * tree (open_tree(2) OPEN_TREE_CLONE: nodev, nosuid, read-only if it may only read). Names and
 * data are worked on in it with ordinary system calls, without a message; ".." does not lead out.
 * What others must learn of such changes goes through the container's lease table (shm.h).
 * Where a transport cannot hand over a tree, vidas_tree_fd() is -1.
 *
 * Threads: everything here is thread-safe.
 */
#ifndef VIDAS_TREE_H
#define VIDAS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vidas/vidas.h>

struct vidas_tree;

/*
 * Attaches `container` and asks for its tree, a mount of the caller's own. `atime`: MOUNT_ATTR_NOATIME,
 * STRICTATIME, NODIRATIME, when reading in it moves the atime; 0: as the pool's mount has it. Errors as
 * vidas_container_attach().
 */
int vidas_tree_attach(struct vidas *v, const char *container, uint64_t atime,
		      struct vidas_tree **out);
/* Leaves it and closes the tree's descriptor; -errno of the leave, the handle is gone in any case. */
int vidas_tree_leave(struct vidas_tree *t);

/* As vidas_container_destroy(), but -ENOTEMPTY if there is anything in it and no root behind. */
int vidas_tree_rmdir(struct vidas *v, const char *container);

const char *vidas_tree_name(const struct vidas_tree *t);
/* An O_RDONLY directory descriptor, owned by the tree. */
int vidas_tree_fd(const struct vidas_tree *t);
bool vidas_tree_readonly(const struct vidas_tree *t);
bool vidas_tree_rooted(const struct vidas_tree *t); /* a backend is behind it */
/* The policy `consistency` was set on something in it, as far as was known at the (re-)attach. */
bool vidas_tree_relaxed(const struct vidas_tree *t);

/* Leases (shm.h has the protocol). -------------------------------------------------------------- */

/* Announces that this domain's kernel is about to cache names in directory `inode`, or attributes
 * of `inode`. Call BEFORE reading what will be cached. False: it must not be cached (no slot, or,
 * for attributes, open for writing in another session). */
bool vidas_tree_cache_names(struct vidas_tree *t, uint64_t inode);
bool vidas_tree_cache_attrs(struct vidas_tree *t, uint64_t inode);
/* The time-out that goes with a true from these, in seconds; ends before the lease does. */
double vidas_tree_cache_seconds(const struct vidas_tree *t);

/* Announces a change that was just made; returns when no other domain answers from what it cached
 * before. Kinds: enum vidas_wire_recall_kind. Costs a message only if someone caches it. */
void vidas_tree_changed(struct vidas_tree *t, uint64_t inode, uint32_t kinds);

/* A policy was set or removed somewhere in the tree: vidasd looks at all of it anew. No message. */
void vidas_tree_policy_changed(struct vidas_tree *t);

/* That was `consistency`: returns when every session that has attached the container, this one too,
 * was told to drop all that it caches of it (VIDAS_WIRE_RECALL_POLICIES). */
int vidas_tree_recall_all(struct vidas_tree *t);

/* This domain begins to write (first open for writing of the inode) or ends (last close). Counted:
 * each begin has its end. */
void vidas_tree_write_begin(struct vidas_tree *t, uint64_t inode);
void vidas_tree_write_end(struct vidas_tree *t, uint64_t inode);
/* As begin, but what another session of this domain has begun, which has not ended yet: so nobody
 * else caches it, and nobody is asked. */
void vidas_tree_write_take(struct vidas_tree *t, uint64_t inode);

/* Requests to vidasd; `path` relative to the tree, `inode` as in wire.h. ------------------------- */
int vidas_tree_flush(struct vidas_tree *t, const char *path, uint64_t inode);
/* Everything, within that time: -ETIMEDOUT vidasd goes on with it, nobody waits. */
int vidas_tree_flush_all(struct vidas_tree *t, int64_t timeout_us);
int vidas_tree_update(struct vidas_tree *t, const char *path, uint64_t inode);
int vidas_tree_resident(struct vidas_tree *t, const char *path, uint64_t inode, bool revalidate);
int vidas_tree_import(struct vidas_tree *t, const char *path, uint64_t inode);
/* A part of an absent file, by the key of its mark; as FETCH in wire.h. */
struct vidas_tree_fetch {
	uint32_t flags; /* enum vidas_wire_fetch_flag */
	uint64_t offset, size;
	int64_t timeout_us;
	/* The answer; `bits`: room for VIDAS_WIRE_BLOB_MAX bytes. */
	bool whole;
	uint64_t generation, size_bytes;
	unsigned shift;
	uint8_t *bits;
	size_t bits_bytes;
};
int vidas_tree_fetch(struct vidas_tree *t, const char *key, uint64_t inode,
		     struct vidas_tree_fetch *f);
/* Attribute names without "user.vidas.". get returns the full length (size 0 asks), -ERANGE. */
ssize_t vidas_tree_attr_get(struct vidas_tree *t, const char *path, uint64_t inode,
			    const char *attr, void *value, size_t size);
int vidas_tree_attr_set(struct vidas_tree *t, const char *path, uint64_t inode, const char *attr,
			const void *value, size_t size);
int vidas_tree_attr_remove(struct vidas_tree *t, const char *path, uint64_t inode,
			   const char *attr);

/* Locks that must wait --------------------------------------------------------------------------- */

/* What is locked, or wanted: bytes from `start` to `last`. */
struct vidas_tree_lock {
	struct vidas_tree *tree;
	uint64_t inode;
	uint64_t start, last; /* at most INT64_MAX: to the end */
	bool exclusive;
};
struct vidas_tree_wait {
	uint64_t number; /* of the wait, never used twice by this client */
	uint64_t owner;	 /* who waits, as this client calls it */
	struct vidas_tree_lock lock;
};
#define VIDAS_TREE_LOCKS_MAX 200u
/* `wait` has begun, and its owner holds `held` (at most VIDAS_TREE_LOCKS_MAX); or that has changed. Locks
 * themselves are not vidasd's: it only says -EDEADLK if this wait closes a circle of waits that it
 * was told of. Waits of another session are as unknown to it as those of before its own start. */
int vidas_tree_lock_wait(struct vidas *v, const struct vidas_tree_wait *wait,
			 const struct vidas_tree_lock *held, size_t count);
/* It is over. */
int vidas_tree_lock_done(struct vidas *v, uint64_t number);

/* Messages of files ------------------------------------------------------------------------------ */

/*
 * Joins, or makes, the object of the file's own messages (VIDAS_MESSAGES of vidas.h): notify and wait on
 * it are what the attributes of these names do. Ended by vidas_messages_end(). -ESTALE another file is
 * there now; -ENOENT there is none and the container is attached read-only.
 */
int vidas_tree_messages(struct vidas_tree *t, const char *path, uint64_t inode,
			struct vidas_object **out);
/* Leaves it; it goes when nobody has it and no message waits in it. */
void vidas_messages_end(struct vidas_object *o);
/* Does a message wait in it? */
bool vidas_messages_any(const struct vidas_object *o);
/* Takes the first one, as vidas_object_wait() does without waiting, once `give` has handed it on: should we be
 * killed over it, it is still there. An error of `give` is returned, and leaves it there, too. `give` is
 * quick, and calls nothing of this library. */
ssize_t vidas_messages_take(struct vidas_object *o, void *buf, size_t size,
			    int (*give)(void *arg, const void *message, size_t size), void *arg);
/* How many messages were sent to it and to all other objects of its file; goes round. */
uint32_t vidas_messages_sent(const struct vidas_object *o);

struct vidas_messages_watch {
	struct vidas_object *object;
	uint32_t seen; /* of vidas_messages_sent() */
};
/* As many wake at once; more, or a kernel before 5.16, notice within 0.1 s. */
#define VIDAS_MESSAGES_WATCHES 127u
/* Sleeps until more was sent to one of them than was seen, or `kick` is not `kick_seen` any more (whoever
 * changes it wakes it, vidas_futex_wake()), or 0.1 s are over. */
void vidas_messages_wait(const struct vidas_messages_watch *w, size_t n, _Atomic uint32_t *kick,
			 uint32_t kick_seen);

/* Events ---------------------------------------------------------------------------------------- */

struct vidas_tree_events {
	/* Drop what the kernel caches: names in directory `inode`, attributes of `inode` (kinds). When
	 * it returns, vidasd is told that it is done. It may come for an inode that nobody changed
	 * (one that shares a bucket of the lease table), and with inode 0, meaning all that is
	 * cached of this tree: after a reconnect, since recalls may have been missed, and with
	 * VIDAS_WIRE_RECALL_POLICIES. */
	void (*recall)(void *arg, struct vidas_tree *t, uint64_t inode, uint32_t kinds);
	/* Returns when the kernel has all replies that rest on a true from vidas_tree_cache_*() given
	 * before; false: some are still under way after a while. Asked about once a second while
	 * leases have to run out. NULL: it has them at once. */
	bool (*settle)(void *arg);
	/* Is anything of the tree in use (open, mounted by itself), other than having been looked at?
	 * NULL: it is. */
	bool (*used)(void *arg, struct vidas_tree *t);
	/* The containers that this domain may attach have changed. */
	void (*containers)(void *arg);
	/* This thread is about to wait for vidasd's answer. NULL: nobody wants to know. */
	void (*waiting)(void *arg);
	void *arg;
};
/* Has events received, by a thread on a lane of its own; they go on over reconnects. Returns when they
 * arrive, or -errno. Stopped by vidas_close(), which must not be called by a callback. Without it
 * nothing may be cached: vidas_tree_cache_*() say false. */
int vidas_tree_events(struct vidas *v, const struct vidas_tree_events *ev);

/* Is vidasd there, as far as is known without asking it? */
bool vidas_connected(const struct vidas *v);

/* Counters since vidas_open, for tests, benchmarks and `vidas stat`: messages sent to vidasd. */
uint64_t vidas_messages(const struct vidas *v);

#endif
