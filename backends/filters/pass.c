/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/filters/filter.h"

#include <stdlib.h>

/* What every filter's own begins with (filter.h). */
struct vidas_backend {
	struct vidas_layer next;
};

static void pass_close(struct vidas_backend *be)
{
	be->next.ops.close(be->next.be);
	free(be);
}

static int pass_stat(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st)
{
	return be->next.ops.stat(be->next.be, key, st);
}

static ssize_t pass_get(struct vidas_backend *be, const char *key, uint64_t offset,
			const struct iovec *iov, int iovcnt,
			const struct vidas_backend_version *expect,
			struct vidas_backend_version *seen)
{
	return be->next.ops.get(be->next.be, key, offset, iov, iovcnt, expect, seen);
}

static int pass_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		    struct vidas_backend_version *now)
{
	return be->next.ops.put(be->next.be, key, put, now);
}

static int pass_remove(struct vidas_backend *be, const char *key,
		       const struct vidas_backend_version *expect)
{
	return be->next.ops.remove(be->next.be, key, expect);
}

static int pass_list(struct vidas_backend *be, const char *key,
		     int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		     void *arg)
{
	return be->next.ops.list(be->next.be, key, each, arg);
}

static int pass_mkdir(struct vidas_backend *be, const char *key,
		      const struct vidas_backend_stat *attrs)
{
	return vidas_layer_mkdir(&be->next, key, attrs);
}

static int pass_rmdir(struct vidas_backend *be, const char *key)
{
	return vidas_layer_rmdir(&be->next, key);
}

static int pass_symlink(struct vidas_backend *be, const char *key, const char *target)
{
	return vidas_layer_symlink(&be->next, key, target);
}

static ssize_t pass_readlink(struct vidas_backend *be, const char *key, char *target, size_t size)
{
	return vidas_layer_readlink(&be->next, key, target, size);
}

static int pass_rename(struct vidas_backend *be, const char *from, const char *to)
{
	return vidas_layer_rename(&be->next, from, to);
}

static ssize_t pass_put_range(struct vidas_backend *be, const char *key, uint64_t offset,
			      const struct iovec *iov, int iovcnt,
			      struct vidas_backend_version *now)
{
	return vidas_layer_put_range(&be->next, key, offset, iov, iovcnt, now);
}

static int pass_set_attrs(struct vidas_backend *be, const char *key,
			  const struct vidas_backend_stat *attrs)
{
	return vidas_layer_set_attrs(&be->next, key, attrs);
}

static int pass_link(struct vidas_backend *be, const char *from, const char *to,
		     const struct vidas_backend_link *link, struct vidas_backend_version *now)
{
	return vidas_layer_link(&be->next, from, to, link, now);
}

void vidas_filter_pass_describe(struct vidas_backend *be,
				void (*say)(void *arg, const char *what, const char *how),
				void *arg)
{
	if (be->next.ops.describe)
		be->next.ops.describe(be->next.be, say, arg);
}

const struct vidas_backend_ops vidas_filter_pass = {
	.struct_size = sizeof(struct vidas_backend_ops),
	.api_version = VIDAS_BACKEND_API,
	.name = "pass",
	.close = pass_close,
	.stat = pass_stat,
	.get = pass_get,
	.put = pass_put,
	.remove = pass_remove,
	.list = pass_list,
	.mkdir = pass_mkdir,
	.rmdir = pass_rmdir,
	.symlink = pass_symlink,
	.readlink = pass_readlink,
	.rename = pass_rename,
	.put_range = pass_put_range,
	.set_attrs = pass_set_attrs,
	.link = pass_link,
	.describe = vidas_filter_pass_describe,
};
