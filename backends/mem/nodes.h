/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tree of a mem:// root: one hash table from key to node, one lock around it. All calls but
 * vidas_mem_root() and those on a node that is in no table yet are made under the lock.
 */
#ifndef VIDAS_MEM_NODES_H
#define VIDAS_MEM_NODES_H

#include <pthread.h>
#include <stdbool.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include <vidas/backend.h>

struct vidas_mem_node {
	char *key;
	struct vidas_backend_stat st;
	uint8_t *bytes; /* content of a file, target of a symlink */
	UT_hash_handle hh;
};

struct vidas_mem_root {
	char *name;
	pthread_rwlock_t lock; /* guards all below */
	struct vidas_mem_node *nodes;
	uint64_t changes; /* counts; each content's version is the count that made it */
	struct vidas_mem_root *next;
};

/* The root of that name, made if it is new; it lives as long as the process. NULL: no memory. */
struct vidas_mem_root *vidas_mem_root(const char *name);

/* A node in no table; `bytes` becomes its own, even if there is no memory (NULL). */
struct vidas_mem_node *vidas_mem_new(const char *key, enum vidas_backend_type type, uint8_t *bytes,
				     size_t size);
void vidas_mem_free(struct vidas_mem_node *n);
void vidas_mem_set_attrs(struct vidas_mem_node *n, const struct vidas_backend_stat *attrs);

struct vidas_mem_node *vidas_mem_find(struct vidas_mem_root *r, const char *key);
/* Puts `n` in the place of `old` (a file or symlink, or NULL), makes the directories above; *now
 * (may be NULL) is its version. On an error `n` is freed and `old` as it was. */
int vidas_mem_place(struct vidas_mem_root *r, struct vidas_mem_node *n, struct vidas_mem_node *old,
		    struct vidas_backend_version *now);
/* Makes the directories above `key`. */
int vidas_mem_parents(struct vidas_mem_root *r, const char *key);
void vidas_mem_drop(struct vidas_mem_root *r, struct vidas_mem_node *n);
/* Gives what is at `from`, and all below it, the key `to`, where nothing is. */
int vidas_mem_rekey(struct vidas_mem_root *r, const char *from, const char *to);

/* The content of `n` changed: it gets a version of its own. */
void vidas_mem_touch(struct vidas_mem_root *r, struct vidas_mem_node *n);
/* `n` may be NULL: what is not there has no version. */
bool vidas_mem_version_is(const struct vidas_mem_node *n, const struct vidas_backend_version *v);

/* What `key` is called in directory `dir`; NULL if it is not directly in it. */
const char *vidas_mem_name_in(const char *dir, const char *key);
bool vidas_mem_empty(struct vidas_mem_root *r, const char *dir);

#endif
