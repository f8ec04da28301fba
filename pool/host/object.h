/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Objects: the index in memory, and the control files that make it survive.
 *
 * All calls under container.lock unless said otherwise. What is on disk is a hint that any domain
 * of the container may have changed: it is read only at a restart, and checked then.
 */
#ifndef VIDAS_HOST_OBJECT_H
#define VIDAS_HOST_OBJECT_H

#include "pool/host/container.h"

#define HOST_HANDLE_BYTES 38

/* Tells an inode from a later one of the same number; bytes 0 where the file system has none. As in
 * the header of a control file. */
struct host_handle {
	uint8_t bytes, type;
	uint8_t data[HOST_HANDLE_BYTES];
};

struct host_resource {
	UT_hash_handle hh;
	uint64_t inode;
	struct host_handle handle;
	uint64_t control;		  /* the name of its control file */
	struct host_container *container; /* no reference: it is in the container */
	uint32_t slots;			  /* that the control file has room for */
	uint64_t used[VIDAS_SHM_SLOTS / 64];
	struct host_object *objects;
	unsigned joins;
	bool suspect;
	struct host_resource *prev, *next; /* container.suspects */
};

struct host_object {
	struct host_object *prev, *next; /* resource.objects */
	struct host_resource *resource;
	uint64_t offset, size;
	uint32_t slot;
	uint32_t creator; /* session id */
	bool destroyed;
	bool loaded; /* from a control file: grace holds for it */
	struct host_join *joins;
};

/* One session has joined one object, once. */
struct host_join {
	UT_hash_handle hh; /* session.joins, by number */
	uint32_t number;
	struct host_object *object; /* NULL: not added yet */
	struct host_attachment *attachment;
	struct host_join *prev, *next; /* object.joins; under container.lock */
};

/* An opened resource, before it is looked for in the index. No lock needed. */
struct host_file {
	int fd;
	uint64_t inode, size_bytes;
	bool made;	       /* by this open */
	uint64_t parent_inode; /* valid if made */
};
/* Opens beneath the tree. `make`: missing directories and the file are made, for the peer. */
int vidas_host_file_open(struct host_container *c, const char *path, bool write,
			 const struct vidas_peer *make, struct host_file *out);
/* Takes back what `make` made. */
void vidas_host_file_unmake(struct host_container *c, const char *path, const struct host_file *f);
void vidas_host_file_close(struct host_file *f);

struct host_resource *vidas_host_resource_find(struct host_container *c, const struct host_file *f);
/* A live object of exactly that range; with `lingering` also a destroyed one that is not gone yet.
 * size 0: one that goes to the end of the resource, or any at that offset. */
struct host_object *vidas_host_object_find(struct host_resource *r, uint64_t offset, uint64_t size,
					   uint64_t resource_bytes, bool lingering);
/* Makes the object, its control file and slot; `flags` are its enum vidas_shm_object_flag. Returns a
 * descriptor of the control file. */
int vidas_host_object_make(struct host_container *c, const struct host_file *f, uint64_t offset,
			   uint64_t size, uint32_t creator, uint32_t flags,
			   struct host_object **out);
/* Frees the object if it is destroyed and nothing keeps it, and its resource with the last one.
 * Returns whether it did. */
bool vidas_host_object_reap(struct host_object *o);
/* To be looked at by vidas_host_suspects_check(): it was left by all. */
void vidas_host_resource_suspect(struct host_resource *r);
/* Looks at the resources that were left by all: objects of one that has no name any more are freed.
 * Takes the lock itself. */
void vidas_host_suspects_check(struct host_container *c);
/* Says to the sync part that the file may have been written through a mapping. No lock needed. */
void vidas_host_resource_touch(struct host_container *c, uint64_t inode,
			       const struct host_handle *handle);
/* Has anybody joined an object with bytes on it? Takes the lock itself. */
bool vidas_host_resource_joined(struct host_container *c, uint64_t inode);
/* At a restart; the container is not known to others yet. */
void vidas_host_objects_load(struct host_container *c);
/* Grace is over. */
void vidas_host_objects_settle(struct host_container *c);
/* The container is freed. */
void vidas_host_objects_free(struct host_container *c);

/* Control files (control.c). */
int vidas_host_control_open(const struct host_resource *r, bool write);
/* Makes a blank one for the next resource, if there is none. Takes the lock itself. */
void vidas_host_control_prepare(struct host_container *c);
/* Gives the blank one up; the container is known to nobody any more. */
void vidas_host_control_discard(struct host_container *c);
/* Makes it with its first object, which is in slot 0; returns a descriptor, as open does. */
int vidas_host_control_make(struct host_resource *r, const struct host_object *o, uint32_t flags);
int vidas_host_control_slot_init(int fd, const struct host_object *o, uint32_t flags);
int vidas_host_control_slot_state(const struct host_object *o, uint32_t state);
/* Does a notification wait in the object? */
bool vidas_host_control_undrained(const struct host_object *o);
void vidas_host_control_remove(const struct host_resource *r);
/* Reads one at a restart: the resource with its objects, not yet in the index. -EBADMSG nothing of use:
 * it is gone. */
int vidas_host_control_load(struct host_container *c, uint64_t name, struct host_resource **out);
void vidas_host_resource_free(struct host_resource *r);

/* -ENODATA where the file system has none that fits. */
int vidas_host_handle_get(int fd, struct host_handle *out);
/* Handles come from control files, which domains write: one that leads to another inode is -ESTALE. */
int vidas_host_handle_open(const struct host_container *c, uint64_t inode,
			   const struct host_handle *handle);
/* Does the file still have a name? */
bool vidas_host_handle_alive(const struct host_container *c, const struct host_resource *r);

/*
 * Joins. begin makes room (session and attachment) and end gives it back; both without locks. Between
 * them add, under container.lock, and publish, without: -ESHUTDOWN the session has ended. Once
 * published, it may be taken and ended by another thread.
 */
int vidas_host_join_begin(struct host_attachment *a, struct host_join **out);
void vidas_host_join_add(struct host_join *j, struct host_object *o);
int vidas_host_join_publish(struct host_join *j, uint32_t *number);
/* Takes a join out of the session by its number, its attachment held for the request; NULL: none. */
struct host_join *vidas_host_join_take(struct host_session *s, uint32_t number);
/* Leaves, of a join that is not or no more in session.joins, its attachment held by the caller;
 * `destroy` marks the object. */
void vidas_host_join_end(struct host_join *j, bool destroy);

#endif
