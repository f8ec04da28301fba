/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/mem/nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t roots_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vidas_mem_root *roots;

void vidas_mem_free(struct vidas_mem_node *n)
{
	if (!n)
		return;
	free(n->key);
	free(n->bytes);
	free(n);
}

struct vidas_mem_node *vidas_mem_new(const char *key, enum vidas_backend_type type, uint8_t *bytes,
				     size_t size)
{
	struct vidas_mem_node *n = calloc(1, sizeof(*n));

	if (!n || !(n->key = strdup(key))) {
		free(n);
		free(bytes);
		return NULL;
	}
	n->bytes = bytes;
	n->st.type = type;
	n->st.size_bytes = size;
	n->st.valid = VIDAS_BACKEND_MODE | VIDAS_BACKEND_OWNER | VIDAS_BACKEND_MTIME;
	n->st.mode = type == VIDAS_BACKEND_DIRECTORY ? 0755 : 0644;
	clock_gettime(CLOCK_REALTIME, &n->st.mtime);
	return n;
}

struct vidas_mem_node *vidas_mem_find(struct vidas_mem_root *r, const char *key)
{
	struct vidas_mem_node *n;

	HASH_FIND_STR(r->nodes, key, n);
	return n;
}

static int node_add(struct vidas_mem_root *r, struct vidas_mem_node *n)
{
	HASH_ADD_KEYPTR(hh, r->nodes, n->key, strlen(n->key), n);
	return n->hh.tbl ? 0 : -ENOMEM;
}

void vidas_mem_drop(struct vidas_mem_root *r, struct vidas_mem_node *n)
{
	HASH_DEL(r->nodes, n);
	vidas_mem_free(n);
}

void vidas_mem_touch(struct vidas_mem_root *r, struct vidas_mem_node *n)
{
	r->changes++;
	n->st.version.size = sizeof(r->changes);
	memcpy(n->st.version.bytes, &r->changes, sizeof(r->changes));
}

void vidas_mem_set_attrs(struct vidas_mem_node *n, const struct vidas_backend_stat *attrs)
{
	if (!attrs)
		return;
	if (attrs->valid & VIDAS_BACKEND_MODE)
		n->st.mode = attrs->mode;
	if (attrs->valid & VIDAS_BACKEND_OWNER) {
		n->st.uid = attrs->uid;
		n->st.gid = attrs->gid;
	}
	if (attrs->valid & VIDAS_BACKEND_MTIME)
		n->st.mtime = attrs->mtime;
}

bool vidas_mem_version_is(const struct vidas_mem_node *n, const struct vidas_backend_version *v)
{
	return n && n->st.version.size == v->size &&
	       memcmp(n->st.version.bytes, v->bytes, v->size) == 0;
}

int vidas_mem_parents(struct vidas_mem_root *r, const char *key)
{
	char *path = strdup(key);
	int err = path ? 0 : -ENOMEM;

	for (char *slash = path; !err && (slash = strchr(slash, '/')); *slash++ = '/') {
		struct vidas_mem_node *n;

		*slash = '\0';
		n = vidas_mem_find(r, path);
		if (n) {
			err = n->st.type == VIDAS_BACKEND_DIRECTORY ? 0 : -ENOTDIR;
		} else if (!(n = vidas_mem_new(path, VIDAS_BACKEND_DIRECTORY, NULL, 0))) {
			err = -ENOMEM;
		} else if ((err = node_add(r, n))) {
			vidas_mem_free(n);
		}
	}
	free(path);
	return err;
}

int vidas_mem_place(struct vidas_mem_root *r, struct vidas_mem_node *n, struct vidas_mem_node *old,
		    struct vidas_backend_version *now)
{
	int err;

	if (old && old->st.type == VIDAS_BACKEND_DIRECTORY)
		err = -EISDIR;
	else
		err = old ? 0 : vidas_mem_parents(r, n->key);
	if (!err && !old)
		err = node_add(r, n);
	if (err) {
		vidas_mem_free(n);
		return err;
	}
	if (old) {
		free(old->bytes);
		old->bytes = n->bytes;
		old->st = n->st;
		n->bytes = NULL;
		vidas_mem_free(n);
		n = old;
	}
	vidas_mem_touch(r, n);
	if (now)
		*now = n->st.version;
	return 0;
}

int vidas_mem_rekey(struct vidas_mem_root *r, const char *from, const char *to)
{
	size_t prefix = strlen(from);
	struct vidas_mem_node *n, *next;
	int err = 0;

	r->nodes->hh.tbl->noexpand = 1; /* so that adding what was taken out cannot fail */
	HASH_ITER(hh, r->nodes, n, next) {
		char *key;

		if (strncmp(n->key, from, prefix) != 0 || (n->key[prefix] && n->key[prefix] != '/'))
			continue;
		if (asprintf(&key, "%s%s", to, n->key + prefix) < 0) {
			err = -ENOMEM;
			break;
		}
		HASH_DEL(r->nodes, n);
		free(n->key);
		n->key = key;
		(void)node_add(r, n);
	}
	r->nodes->hh.tbl->noexpand = 0;
	return err;
}

const char *vidas_mem_name_in(const char *dir, const char *key)
{
	size_t size = strlen(dir);

	if (!*key) /* the root */
		return NULL;
	if (size && (strncmp(key, dir, size) != 0 || key[size++] != '/'))
		return NULL;
	return strchr(key + size, '/') ? NULL : key + size;
}

bool vidas_mem_empty(struct vidas_mem_root *r, const char *dir)
{
	for (struct vidas_mem_node *n = r->nodes; n; n = n->hh.next)
		if (vidas_mem_name_in(dir, n->key))
			return false;
	return true;
}

/* The node of the root directory is there from the beginning, so that the table never goes. */
static struct vidas_mem_root *root_new(const char *name)
{
	struct vidas_mem_root *r = calloc(1, sizeof(*r));
	struct vidas_mem_node *top;

	if (!r)
		return NULL;
	pthread_rwlock_init(&r->lock, NULL);
	r->name = strdup(name);
	top = vidas_mem_new("", VIDAS_BACKEND_DIRECTORY, NULL, 0);
	if (!r->name || !top || node_add(r, top)) {
		vidas_mem_free(top);
		pthread_rwlock_destroy(&r->lock);
		free(r->name);
		free(r);
		return NULL;
	}
	return r;
}

struct vidas_mem_root *vidas_mem_root(const char *name)
{
	struct vidas_mem_root *r;

	pthread_mutex_lock(&roots_lock);
	for (r = roots; r && strcmp(r->name, name) != 0; r = r->next)
		;
	if (!r && (r = root_new(name))) {
		r->next = roots;
		roots = r;
	}
	pthread_mutex_unlock(&roots_lock);
	return r;
}
