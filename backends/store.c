/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/store.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "backends/filters/filter.h"
#include "backends/registry.h"
#include "backends/url.h"
#include "pool/base/base.h"

/* A put that is under way; lives on its caller's stack. */
struct putting {
	struct putting *prev, *next;
	const char *key;
	uint64_t size_bytes;
	_Atomic uint64_t moved;
};

struct vidas_store {
	pthread_mutex_t lock; /* of the list; nothing is taken under it */
	struct putting *puts;
	struct vidas_layer top;
	struct vidas_backend_host host;
	char scheme[32];
	char url[]; /* redacted */
};

static void host_log(void *host, int level, const char *text)
{
	const struct vidas_store *s = host;

	vidas_log(level, "%s: %s", s->scheme, text);
}

static void host_error(void *host, const char *text)
{
	(void)host;
	(void)vidas_fail(0, "%s", text);
}

/* A backend's promises must have calls behind them. */
static int caps_check(const struct vidas_store *s)
{
	const struct vidas_backend_ops *ops = &s->top.ops;
	uint32_t caps = s->top.caps;

	if (((caps & VIDAS_BACKEND_RANGED_PUT) && !ops->put_range) ||
	    ((caps & VIDAS_BACKEND_DIRECTORIES) && !(ops->mkdir && ops->rmdir)) ||
	    ((caps & VIDAS_BACKEND_SYMLINKS) && !(ops->symlink && ops->readlink)))
		return vidas_fail(-EPROTO, "the backend %s lacks a call that its caps 0x%x promise",
				  s->scheme, caps);
	return 0;
}

/* Words for a failure where the backend left none. */
static ssize_t done(const char *call, ssize_t ret)
{
	const char *text;

	if (ret >= 0 || *vidas_fail_text())
		return ret;
	text = ret > -4096 ? strerrordesc_np((int)-ret) : NULL;
	(void)vidas_fail(0, "%s: %s", call, text ? text : "unknown error");
	return ret;
}

int vidas_store_open(const char *url, const char *filters, struct vidas_store **out)
{
	const char *mark = strstr(url, "://");
	struct vidas_store *s;
	int err;

	vidas_fail_clear();
	if (!mark || mark == url || (size_t)(mark - url) >= sizeof(s->scheme))
		return vidas_fail(-EINVAL, "'%s' is no root URL, as file:///srv/data is", url);
	/* Twice its length: what is blotted out may be longer than it was. */
	s = calloc(1, sizeof(*s) + 2 * strlen(url) + 1);
	if (!s)
		return vidas_fail(-ENOMEM, "no memory");
	pthread_mutex_init(&s->lock, NULL);
	memcpy(s->scheme, url, (size_t)(mark - url));
	vidas_url_redact(url, s->url, 2 * strlen(url) + 1);
	s->host = (struct vidas_backend_host){
		.struct_size = sizeof(s->host), .log = host_log, .error = host_error, .host = s
	};
	err = vidas_registry_find(s->scheme, &s->top.ops);
	if (err)
		goto out;
	err = s->top.ops.open(&s->host, url, &s->top.be, &s->top.caps);
	if (err)
		goto out;
	err = caps_check(s);
	if (err) {
		s->top.ops.close(s->top.be);
		goto out;
	}
	err = vidas_filters_open(&s->host, filters, &s->top);
	if (!err)
		*out = s;
out:
	if (err) {
		pthread_mutex_destroy(&s->lock);
		free(s);
	}
	return (int)done("open", err);
}

void vidas_store_close(struct vidas_store *s)
{
	if (!s)
		return;
	s->top.ops.close(s->top.be);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

uint32_t vidas_store_caps(const struct vidas_store *s)
{
	return s->top.caps;
}

const char *vidas_store_url(const struct vidas_store *s)
{
	return s->url;
}

/* Begins a call on `key`: is it one? */
static int begin(const char *call, const char *key, bool root_too)
{
	vidas_fail_clear();
	if (vidas_path_ok(key, strlen(key)) && (root_too || *key))
		return 0;
	return vidas_fail(-EINVAL, "%s: that is not a key", call);
}

/* As begin(), for a transfer at `offset`; *size is that of the iovecs. */
static int begin_range(const char *call, const char *key, uint64_t offset, const struct iovec *iov,
		       int iovcnt, uint64_t *size)
{
	int err = begin(call, key, false);

	*size = 0;
	for (int i = 0; i < iovcnt; i++)
		if (__builtin_add_overflow(*size, iov[i].iov_len, size))
			*size = UINT64_MAX;
	if (!err && (iovcnt < 0 || *size > SSIZE_MAX || offset > INT64_MAX - *size))
		err = vidas_fail(-EINVAL, "%s: beyond what a file can have", call);
	return err;
}

/* "" is no version: it does not matter. */
static const struct vidas_backend_version *version(const struct vidas_backend_version *v)
{
	return v && v->size ? v : NULL;
}

static bool version_ok(const struct vidas_backend_version *v)
{
	return !v || v->size <= sizeof(v->bytes);
}

int vidas_store_stat(struct vidas_store *s, const char *key, struct vidas_backend_stat *st)
{
	int err = begin("stat", key, true);

	return err ? err : (int)done("stat", s->top.ops.stat(s->top.be, key, st));
}

ssize_t vidas_store_get(struct vidas_store *s, const char *key, uint64_t offset,
			const struct iovec *iov, int iovcnt,
			const struct vidas_backend_version *expect,
			struct vidas_backend_version *seen)
{
	uint64_t size;
	int err = begin_range("get", key, offset, iov, iovcnt, &size);

	if (!err && !version_ok(expect))
		err = vidas_fail(-EINVAL, "get: that is not a version");
	if (err)
		return err;
	return done("get",
		    s->top.ops.get(s->top.be, key, offset, iov, iovcnt, version(expect), seen));
}

static int put_watched(struct vidas_store *s, const char *key, struct vidas_backend_put *put,
		       struct vidas_backend_version *now)
{
	struct putting p = { .key = key, .size_bytes = put->size_bytes };
	int err;

	put->moved = &p.moved;
	pthread_mutex_lock(&s->lock);
	DL_APPEND(s->puts, &p);
	pthread_mutex_unlock(&s->lock);
	err = s->top.ops.put(s->top.be, key, put, now);
	pthread_mutex_lock(&s->lock);
	DL_DELETE(s->puts, &p);
	pthread_mutex_unlock(&s->lock);
	return err;
}

static bool is_below(const char *key, const char *above)
{
	size_t size = strlen(above);

	return !size || (strncmp(key, above, size) == 0 && (!key[size] || key[size] == '/'));
}

int vidas_store_progress(struct vidas_store *s, const char *key, uint64_t *sent_bytes,
			 uint64_t *all_bytes)
{
	struct putting *p;
	int err = -ENOENT;

	*sent_bytes = *all_bytes = 0;
	pthread_mutex_lock(&s->lock);
	DL_FOREACH(s->puts, p) {
		uint64_t moved = atomic_load_explicit(&p->moved, memory_order_relaxed);

		if (!is_below(p->key, key))
			continue;
		*sent_bytes += moved < p->size_bytes ? moved : p->size_bytes;
		*all_bytes += p->size_bytes;
		err = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

int vidas_store_put(struct vidas_store *s, const char *key, const struct vidas_backend_put *put,
		    struct vidas_backend_version *now)
{
	struct vidas_backend_put copy = *put;
	uint64_t size;
	int err = begin_range("put", key, 0, put->iov, put->iovcnt, &size);

	copy.expect = version(put->expect);
	if (!err && (!version_ok(put->expect) || (copy.expect && put->must_not_exist)))
		err = vidas_fail(-EINVAL, "put: that is not what a key can be expected to have");
	if (!err && size != put->size_bytes)
		err = vidas_fail(-EINVAL, "put: the pieces are not as long as the whole");
	return err ? err : (int)done("put", put_watched(s, key, &copy, now));
}

int vidas_store_remove(struct vidas_store *s, const char *key,
		       const struct vidas_backend_version *expect)
{
	int err = begin("remove", key, false);

	if (!err && !version_ok(expect))
		err = vidas_fail(-EINVAL, "remove: that is not a version");
	return err ? err : (int)done("remove", s->top.ops.remove(s->top.be, key, version(expect)));
}

int vidas_store_list(struct vidas_store *s, const char *key,
		     int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		     void *arg)
{
	int err = begin("list", key, true);

	return err ? err : (int)done("list", s->top.ops.list(s->top.be, key, each, arg));
}

int vidas_store_mkdir(struct vidas_store *s, const char *key,
		      const struct vidas_backend_stat *attrs)
{
	int err = begin("mkdir", key, false);

	return err ? err : (int)done("mkdir", vidas_layer_mkdir(&s->top, key, attrs));
}

int vidas_store_rmdir(struct vidas_store *s, const char *key)
{
	int err = begin("rmdir", key, false);

	return err ? err : (int)done("rmdir", vidas_layer_rmdir(&s->top, key));
}

int vidas_store_symlink(struct vidas_store *s, const char *key, const char *target)
{
	int err = begin("symlink", key, false);

	if (!err && (!*target || strlen(target) >= PATH_MAX))
		err = vidas_fail(-EINVAL, "symlink: its target is empty or too long");
	return err ? err : (int)done("symlink", vidas_layer_symlink(&s->top, key, target));
}

ssize_t vidas_store_readlink(struct vidas_store *s, const char *key, char *target, size_t size)
{
	int err = begin("readlink", key, false);

	return err ? err : done("readlink", vidas_layer_readlink(&s->top, key, target, size));
}

int vidas_store_rename(struct vidas_store *s, const char *from, const char *to)
{
	int err = begin("rename", from, false);

	if (!err)
		err = begin("rename", to, false);
	return err ? err : (int)done("rename", vidas_layer_rename(&s->top, from, to));
}

ssize_t vidas_store_put_range(struct vidas_store *s, const char *key, uint64_t offset,
			      const struct iovec *iov, int iovcnt,
			      struct vidas_backend_version *now)
{
	uint64_t size;
	int err = begin_range("put_range", key, offset, iov, iovcnt, &size);

	if (err)
		return err;
	return done("put_range", vidas_layer_put_range(&s->top, key, offset, iov, iovcnt, now));
}

int vidas_store_set_attrs(struct vidas_store *s, const char *key,
			  const struct vidas_backend_stat *attrs)
{
	int err = begin("set_attrs", key, false);

	return err ? err : (int)done("set_attrs", vidas_layer_set_attrs(&s->top, key, attrs));
}

int vidas_store_link(struct vidas_store *s, const char *from, const char *to,
		     const struct vidas_backend_link *link, struct vidas_backend_version *now)
{
	struct vidas_backend_link copy = *link;
	int err = begin("link", from, false);

	if (!err)
		err = begin("link", to, false);
	copy.version = version(link->version);
	copy.expect = version(link->expect);
	if (!err && (!version_ok(link->version) || !version_ok(link->expect) ||
		     (copy.expect && link->must_not_exist)))
		err = vidas_fail(-EINVAL, "link: that is not what a key can be expected to have");
	return err ? err : (int)done("link", vidas_layer_link(&s->top, from, to, &copy, now));
}

void vidas_store_describe(struct vidas_store *s,
			  void (*say)(void *arg, const char *what, const char *how), void *arg)
{
	vidas_fail_clear();
	if (s->top.ops.describe)
		s->top.ops.describe(s->top.be, say, arg);
}

int vidas_store_each(int (*each)(void *arg, const struct vidas_backend_ops *ops, const char *file),
		     void *arg)
{
	return vidas_registry_each(each, arg);
}

int vidas_store_each_filter(int (*each)(void *arg, const char *name, const char *summary),
			    void *arg)
{
	return vidas_filters_each(each, arg);
}
