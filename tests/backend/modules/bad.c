/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plug-ins that must not be loaded; which one is said by a BAD_ definition. */
#include <errno.h>
#include <stddef.h>

#include <vidas/backend.h>

static int bad_open(const struct vidas_backend_host *host, const char *url,
		    struct vidas_backend **out, uint32_t *caps)
{
	(void)host;
	(void)url;
	*out = NULL;
#ifdef BAD_CAPS
	*caps = VIDAS_BACKEND_RANGED_PUT;
#else
	*caps = 0;
#endif
	return 0;
}

static void bad_close(struct vidas_backend *be)
{
	(void)be;
}

static int bad_stat(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st)
{
	(void)be;
	(void)key;
	(void)st;
	return -ENOENT;
}

static ssize_t bad_get(struct vidas_backend *be, const char *key, uint64_t offset,
		       const struct iovec *iov, int iovcnt,
		       const struct vidas_backend_version *expect,
		       struct vidas_backend_version *seen)
{
	(void)be;
	(void)key;
	(void)offset;
	(void)iov;
	(void)iovcnt;
	(void)expect;
	(void)seen;
	return -ENOENT;
}

#ifndef BAD_CALL
static int bad_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		   struct vidas_backend_version *now)
{
	(void)be;
	(void)key;
	(void)put;
	(void)now;
	return -EROFS;
}
#endif

static int bad_remove(struct vidas_backend *be, const char *key,
		      const struct vidas_backend_version *expect)
{
	(void)be;
	(void)key;
	(void)expect;
	return -EROFS;
}

static int bad_list(struct vidas_backend *be, const char *key,
		    int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		    void *arg)
{
	(void)be;
	(void)key;
	(void)each;
	(void)arg;
	return 0;
}

static const struct vidas_backend_ops ops = {
#ifdef BAD_SIZE
	.struct_size = 16,
#else
	.struct_size = sizeof(struct vidas_backend_ops),
#endif
#ifdef BAD_VERSION
	.api_version = VIDAS_BACKEND_API + 1,
#else
	.api_version = VIDAS_BACKEND_API,
#endif
#ifdef BAD_NAME
	.name = "other",
#else
	.name = BAD_SCHEME,
#endif
	.summary = "must not be loaded",
	.open = bad_open,
	.close = bad_close,
	.stat = bad_stat,
	.get = bad_get,
#ifndef BAD_CALL
	.put = bad_put,
#endif
	.remove = bad_remove,
	.list = bad_list,
};

#ifdef BAD_ENTRY
__attribute__((visibility("default"))) const void *another_entry(void);
const void *another_entry(void)
{
	return &ops;
}
#else
const struct vidas_backend_ops *vidas_backend_entry(void)
{
	return &ops;
}
#endif
