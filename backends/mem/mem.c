/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mem://NAME: a root in the memory of this process. The same NAME is the same root, until the
 * process ends. For tests, and the one to start from when writing another: it has every call,
 * each as short as it can be.
 *
 * Bytes are copied from the pool before the lock is taken (they may be slow to come) and belong to
 * one put: nobody ever finds half of them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/builtin.h"
#include "backends/digests.h"
#include "backends/mem/nodes.h"

#ifndef VIDAS_MEM_SCHEME
#define VIDAS_MEM_SCHEME "mem"
#endif

struct vidas_backend {
	const struct vidas_backend_host *host;
	struct vidas_mem_root *root;
};

static int mem_open(const struct vidas_backend_host *host, const char *url,
		    struct vidas_backend **out, uint32_t *caps)
{
	const char *name = url + strlen(VIDAS_MEM_SCHEME "://");
	struct vidas_backend *be;

	if (strpbrk(name, "/?#"))
		return vidas_backend_error(host, -EINVAL, "'%s' is not %s://NAME", url,
					   VIDAS_MEM_SCHEME);
	be = calloc(1, sizeof(*be));
	if (!be)
		return -ENOMEM;
	be->host = host;
	be->root = vidas_mem_root(name);
	if (!be->root) {
		free(be);
		return -ENOMEM;
	}
	*out = be;
	*caps = VIDAS_BACKEND_CONDITIONAL | VIDAS_BACKEND_RANGED_PUT | VIDAS_BACKEND_DIRECTORIES |
		VIDAS_BACKEND_SYMLINKS | VIDAS_BACKEND_ATTRIBUTES | VIDAS_BACKEND_DIGESTS;
	return 0;
}

static void mem_close(struct vidas_backend *be)
{
	free(be);
}

static int mem_stat(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st)
{
	struct vidas_mem_node *n;

	pthread_rwlock_rdlock(&be->root->lock);
	n = vidas_mem_find(be->root, key);
	if (n)
		*st = n->st;
	pthread_rwlock_unlock(&be->root->lock);
	return n ? 0 : -ENOENT;
}

/* The error of working on the bytes of `n`, which may be NULL. */
static int file_error(const struct vidas_mem_node *n)
{
	if (!n)
		return -ENOENT;
	if (n->st.type == VIDAS_BACKEND_FILE)
		return 0;
	return n->st.type == VIDAS_BACKEND_DIRECTORY ? -EISDIR : -EINVAL;
}

static ssize_t mem_get(struct vidas_backend *be, const char *key, uint64_t offset,
		       const struct iovec *iov, int iovcnt,
		       const struct vidas_backend_version *expect,
		       struct vidas_backend_version *seen)
{
	ssize_t ret;
	struct vidas_mem_node *n;

	pthread_rwlock_rdlock(&be->root->lock);
	n = vidas_mem_find(be->root, key);
	ret = file_error(n);
	if (!ret && expect && !vidas_mem_version_is(n, expect))
		ret = -ESTALE;
	for (int i = 0; ret >= 0 && i < iovcnt && offset < n->st.size_bytes; i++) {
		uint64_t left = n->st.size_bytes - offset;
		size_t some = iov[i].iov_len < left ? iov[i].iov_len : (size_t)left;

		if (some)
			memcpy(iov[i].iov_base, n->bytes + offset, some);
		offset += some;
		ret += (ssize_t)some;
	}
	if (ret >= 0 && seen)
		*seen = n->st.version;
	pthread_rwlock_unlock(&be->root->lock);
	return ret;
}

static void iov_copy(uint8_t *to, const struct iovec *iov, int iovcnt)
{
	for (int i = 0; i < iovcnt; to += iov[i++].iov_len)
		if (iov[i].iov_len)
			memcpy(to, iov[i].iov_base, iov[i].iov_len);
}

/* Of our own copy: the pool's memory is read once. */
static int digest_copy(const uint8_t *bytes, size_t size, uint8_t *out)
{
	struct vidas_digest *d;
	int err = vidas_digest_begin(&d);

	if (err)
		return err;
	vidas_digest_feed(d, bytes, size);
	vidas_digest_end(d, out);
	return 0;
}

static int mem_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		   struct vidas_backend_version *now)
{
	uint8_t *bytes = malloc(put->size_bytes + 1);
	struct vidas_mem_node *n, *old;
	int err;

	if (!bytes)
		return vidas_backend_error(be->host, -ENOSPC, "no memory for %llu bytes",
					   (unsigned long long)put->size_bytes);
	iov_copy(bytes, put->iov, put->iovcnt);
	err = put->digest ? digest_copy(bytes, put->size_bytes, put->digest) : 0;
	if (err) {
		free(bytes);
		return err;
	}
	n = vidas_mem_new(key, VIDAS_BACKEND_FILE, bytes, put->size_bytes);
	if (!n)
		return -ENOMEM;
	vidas_mem_set_attrs(n, put->attrs);
	pthread_rwlock_wrlock(&be->root->lock);
	old = vidas_mem_find(be->root, key);
	if (put->must_not_exist && old) {
		err = -EEXIST;
		vidas_mem_free(n);
	} else if (put->expect && !vidas_mem_version_is(old, put->expect)) {
		err = -ESTALE;
		vidas_mem_free(n);
	} else {
		err = vidas_mem_place(be->root, n, old, now);
	}
	pthread_rwlock_unlock(&be->root->lock);
	return err;
}

static int mem_remove(struct vidas_backend *be, const char *key,
		      const struct vidas_backend_version *expect)
{
	struct vidas_mem_node *n;
	int err = 0;

	pthread_rwlock_wrlock(&be->root->lock);
	n = vidas_mem_find(be->root, key);
	if (!n)
		err = -ENOENT;
	else if (n->st.type == VIDAS_BACKEND_DIRECTORY)
		err = -EISDIR;
	else if (expect && !vidas_mem_version_is(n, expect))
		err = -ESTALE;
	else
		vidas_mem_drop(be->root, n);
	pthread_rwlock_unlock(&be->root->lock);
	return err;
}

struct entry {
	char *name;
	struct vidas_backend_stat st;
};

/* The entries are copied first, so that `each` is called without the lock. */
static int mem_list(struct vidas_backend *be, const char *key,
		    int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		    void *arg)
{
	struct vidas_mem_root *r = be->root;
	struct entry *entries = NULL;
	size_t count = 0;
	struct vidas_mem_node *n;
	int ret = 0;

	pthread_rwlock_rdlock(&r->lock);
	n = vidas_mem_find(r, key);
	if (!n)
		ret = -ENOENT;
	else if (n->st.type != VIDAS_BACKEND_DIRECTORY)
		ret = -ENOTDIR;
	else if (!(entries = calloc(HASH_COUNT(r->nodes) + 1, sizeof(*entries))))
		ret = -ENOMEM;
	for (n = r->nodes; !ret && n; n = n->hh.next) {
		const char *name = vidas_mem_name_in(key, n->key);

		if (!name)
			continue;
		entries[count].st = n->st;
		if (!(entries[count++].name = strdup(name)))
			ret = -ENOMEM;
	}
	pthread_rwlock_unlock(&r->lock);
	for (size_t i = 0; !ret && i < count; i++)
		ret = each(arg, entries[i].name, &entries[i].st);
	while (count)
		free(entries[--count].name);
	free(entries);
	return ret;
}

static int mem_mkdir(struct vidas_backend *be, const char *key,
		     const struct vidas_backend_stat *attrs)
{
	struct vidas_mem_node *n = vidas_mem_new(key, VIDAS_BACKEND_DIRECTORY, NULL, 0), *old;
	int err;

	if (!n)
		return -ENOMEM;
	vidas_mem_set_attrs(n, attrs);
	pthread_rwlock_wrlock(&be->root->lock);
	old = vidas_mem_find(be->root, key);
	if (old) {
		err = old->st.type == VIDAS_BACKEND_DIRECTORY ? 0 : -EEXIST;
		vidas_mem_free(n);
	} else {
		err = vidas_mem_place(be->root, n, NULL, NULL);
	}
	pthread_rwlock_unlock(&be->root->lock);
	return err;
}

static int mem_rmdir(struct vidas_backend *be, const char *key)
{
	struct vidas_mem_node *n;
	int err = 0;

	pthread_rwlock_wrlock(&be->root->lock);
	n = vidas_mem_find(be->root, key);
	if (!n)
		err = -ENOENT;
	else if (n->st.type != VIDAS_BACKEND_DIRECTORY)
		err = -ENOTDIR;
	else if (!vidas_mem_empty(be->root, key))
		err = -ENOTEMPTY;
	else
		vidas_mem_drop(be->root, n);
	pthread_rwlock_unlock(&be->root->lock);
	return err;
}

static int mem_symlink(struct vidas_backend *be, const char *key, const char *target)
{
	uint8_t *bytes = (uint8_t *)strdup(target);
	struct vidas_mem_node *n =
		bytes ? vidas_mem_new(key, VIDAS_BACKEND_SYMLINK, bytes, strlen(target)) : NULL;
	int err;

	if (!n)
		return -ENOMEM;
	pthread_rwlock_wrlock(&be->root->lock);
	err = vidas_mem_place(be->root, n, vidas_mem_find(be->root, key), NULL);
	pthread_rwlock_unlock(&be->root->lock);
	return err;
}

static ssize_t mem_readlink(struct vidas_backend *be, const char *key, char *target, size_t size)
{
	struct vidas_mem_node *n;
	ssize_t ret;

	pthread_rwlock_rdlock(&be->root->lock);
	n = vidas_mem_find(be->root, key);
	if (!n)
		ret = -ENOENT;
	else if (n->st.type != VIDAS_BACKEND_SYMLINK)
		ret = -EINVAL;
	else if (n->st.size_bytes >= size)
		ret = -ENAMETOOLONG;
	else
		ret = (ssize_t)strlen(strcpy(target, (const char *)n->bytes));
	pthread_rwlock_unlock(&be->root->lock);
	return ret;
}

/* May `n` take the place of `old`? */
static int rename_check(struct vidas_backend *be, const struct vidas_mem_node *n,
			const struct vidas_mem_node *old, const char *to)
{
	size_t size = n ? strlen(n->key) : 0;

	if (!n)
		return -ENOENT;
	if (n != old && strncmp(to, n->key, size) == 0 && to[size] == '/')
		return -EINVAL;
	if (!old || n == old)
		return 0;
	if (old->st.type != VIDAS_BACKEND_DIRECTORY)
		return n->st.type == VIDAS_BACKEND_DIRECTORY ? -ENOTDIR : 0;
	if (n->st.type != VIDAS_BACKEND_DIRECTORY)
		return -EISDIR;
	return vidas_mem_empty(be->root, to) ? 0 : -ENOTEMPTY;
}

static int mem_rename(struct vidas_backend *be, const char *from, const char *to)
{
	struct vidas_mem_node *n, *old;
	int err;

	pthread_rwlock_wrlock(&be->root->lock);
	n = vidas_mem_find(be->root, from);
	old = vidas_mem_find(be->root, to);
	err = rename_check(be, n, old, to);
	if (!err)
		err = vidas_mem_parents(be->root, to);
	if (!err && n != old) {
		if (old)
			vidas_mem_drop(be->root, old);
		err = vidas_mem_rekey(be->root, from, to);
	}
	pthread_rwlock_unlock(&be->root->lock);
	return err;
}

static ssize_t mem_put_range(struct vidas_backend *be, const char *key, uint64_t offset,
			     const struct iovec *iov, int iovcnt, struct vidas_backend_version *now)
{
	struct vidas_mem_node *n;
	uint64_t size = 0;
	uint8_t *bytes = NULL;
	int err;

	for (int i = 0; i < iovcnt; i++)
		size += iov[i].iov_len;
	pthread_rwlock_wrlock(&be->root->lock);
	n = vidas_mem_find(be->root, key);
	err = file_error(n);
	if (!err && size && offset + size > n->st.size_bytes) {
		bytes = realloc(n->bytes, offset + size);
		if (bytes) {
			memset(bytes + n->st.size_bytes, 0, offset + size - n->st.size_bytes);
			n->bytes = bytes;
			n->st.size_bytes = offset + size;
		} else {
			err = -ENOSPC;
		}
	}
	if (!err) {
		iov_copy(n->bytes + offset, iov, iovcnt);
		clock_gettime(CLOCK_REALTIME, &n->st.mtime);
		vidas_mem_touch(be->root, n);
		if (now)
			*now = n->st.version;
	}
	pthread_rwlock_unlock(&be->root->lock);
	return err ? err : (ssize_t)size;
}

static int mem_set_attrs(struct vidas_backend *be, const char *key,
			 const struct vidas_backend_stat *attrs)
{
	struct vidas_mem_node *n;

	pthread_rwlock_wrlock(&be->root->lock);
	n = vidas_mem_find(be->root, key);
	if (n)
		vidas_mem_set_attrs(n, attrs);
	pthread_rwlock_unlock(&be->root->lock);
	return n ? 0 : -ENOENT;
}

const struct vidas_backend_ops vidas_backend_mem = {
	.struct_size = sizeof(struct vidas_backend_ops),
	.api_version = VIDAS_BACKEND_API,
	.name = VIDAS_MEM_SCHEME,
	.summary = "the memory of vidasd, gone when it ends",
	.open = mem_open,
	.close = mem_close,
	.stat = mem_stat,
	.get = mem_get,
	.put = mem_put,
	.remove = mem_remove,
	.list = mem_list,
	.mkdir = mem_mkdir,
	.rmdir = mem_rmdir,
	.symlink = mem_symlink,
	.readlink = mem_readlink,
	.rename = mem_rename,
	.put_range = mem_put_range,
	.set_attrs = mem_set_attrs,
};

#ifdef VIDAS_BACKEND_MODULE
const struct vidas_backend_ops *vidas_backend_entry(void)
{
	return &vidas_backend_mem;
}
#endif
