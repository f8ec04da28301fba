/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fault: lets calls fail, or wait, for tests of all that stands above.
 *
 *	rate:1%     how many of the calls
 *	errno:EIO   with what
 *	when:before the call is not made; `after`: it is made, only its good news is lost; `damage`: it
 *		    is made and well, but a byte of what a get gives is wrong (errno does not matter)
 *	ops:all     of which calls: names separated by '/', as in ops:get/put
 *	delay:0s    how long every one of those calls waits first
 *	seed:1      the same seed lets the same calls of a sequence fail
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/filters/filter.h"
#include "pool/base/base.h"

struct vidas_backend {
	struct vidas_layer next;
	const struct vidas_backend_host *host;
	uint64_t rate, seed, delay_us; /* rate in millionths */
	unsigned ops;		       /* bits of enum vidas_filter_op */
	int error;
	bool after, damage;
	_Atomic uint64_t calls;
};

/* Waits as asked, and draws whether this call is to fail. */
static bool struck(struct vidas_backend *be, enum vidas_filter_op op)
{
	uint64_t n;

	if (!(be->ops & 1u << op))
		return false;
	vidas_filter_sleep(be->delay_us);
	n = atomic_fetch_add_explicit(&be->calls, 1, memory_order_relaxed);
	return vidas_filter_mix(be->seed ^ vidas_filter_mix(n)) % 1000000 < be->rate;
}

static int fail(const struct vidas_backend *be)
{
	return vidas_backend_error(be->host, be->error, "%s by the filter fault",
				   strerrordesc_np(-be->error));
}

/* Makes the call, or lets it fail; a call that fails by itself keeps its own error. */
#define CALL(be, op, type, call)                               \
	do {                                                   \
		bool hit_ = struck(be, op);                    \
		type ret_ = hit_ && !(be)->after ? 0 : (call); \
		return hit_ && ret_ >= 0 ? fail(be) : ret_;    \
	} while (0)

static void fault_close(struct vidas_backend *be)
{
	be->next.ops.close(be->next.be);
	free(be);
}

static int fault_stat(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st)
{
	CALL(be, VIDAS_OP_STAT, int, be->next.ops.stat(be->next.be, key, st));
}

static void flip(const struct iovec *iov, uint64_t at)
{
	while (at >= iov->iov_len)
		at -= (iov++)->iov_len;
	((uint8_t *)iov->iov_base)[at] ^= 1;
}

static ssize_t get_damaged(struct vidas_backend *be, const char *key, uint64_t offset,
			   const struct iovec *iov, int iovcnt,
			   const struct vidas_backend_version *expect,
			   struct vidas_backend_version *seen)
{
	bool hit = struck(be, VIDAS_OP_GET);
	ssize_t ret = be->next.ops.get(be->next.be, key, offset, iov, iovcnt, expect, seen);

	if (hit && ret > 0)
		flip(iov, vidas_filter_mix((uint64_t)ret) % (uint64_t)ret);
	return ret;
}

static ssize_t fault_get(struct vidas_backend *be, const char *key, uint64_t offset,
			 const struct iovec *iov, int iovcnt,
			 const struct vidas_backend_version *expect,
			 struct vidas_backend_version *seen)
{
	if (be->damage)
		return get_damaged(be, key, offset, iov, iovcnt, expect, seen);
	CALL(be, VIDAS_OP_GET, ssize_t,
	     be->next.ops.get(be->next.be, key, offset, iov, iovcnt, expect, seen));
}

static int fault_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		     struct vidas_backend_version *now)
{
	CALL(be, VIDAS_OP_PUT, int, be->next.ops.put(be->next.be, key, put, now));
}

static int fault_remove(struct vidas_backend *be, const char *key,
			const struct vidas_backend_version *expect)
{
	CALL(be, VIDAS_OP_REMOVE, int, be->next.ops.remove(be->next.be, key, expect));
}

static int fault_list(struct vidas_backend *be, const char *key,
		      int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		      void *arg)
{
	CALL(be, VIDAS_OP_LIST, int, be->next.ops.list(be->next.be, key, each, arg));
}

static int fault_mkdir(struct vidas_backend *be, const char *key,
		       const struct vidas_backend_stat *attrs)
{
	CALL(be, VIDAS_OP_MKDIR, int, vidas_layer_mkdir(&be->next, key, attrs));
}

static int fault_rmdir(struct vidas_backend *be, const char *key)
{
	CALL(be, VIDAS_OP_RMDIR, int, vidas_layer_rmdir(&be->next, key));
}

static int fault_symlink(struct vidas_backend *be, const char *key, const char *target)
{
	CALL(be, VIDAS_OP_SYMLINK, int, vidas_layer_symlink(&be->next, key, target));
}

static ssize_t fault_readlink(struct vidas_backend *be, const char *key, char *target, size_t size)
{
	CALL(be, VIDAS_OP_READLINK, ssize_t, vidas_layer_readlink(&be->next, key, target, size));
}

static int fault_rename(struct vidas_backend *be, const char *from, const char *to)
{
	CALL(be, VIDAS_OP_RENAME, int, vidas_layer_rename(&be->next, from, to));
}

static ssize_t fault_put_range(struct vidas_backend *be, const char *key, uint64_t offset,
			       const struct iovec *iov, int iovcnt,
			       struct vidas_backend_version *now)
{
	CALL(be, VIDAS_OP_PUT_RANGE, ssize_t,
	     vidas_layer_put_range(&be->next, key, offset, iov, iovcnt, now));
}

static int fault_set_attrs(struct vidas_backend *be, const char *key,
			   const struct vidas_backend_stat *attrs)
{
	CALL(be, VIDAS_OP_SET_ATTRS, int, vidas_layer_set_attrs(&be->next, key, attrs));
}

static int fault_link(struct vidas_backend *be, const char *from, const char *to,
		      const struct vidas_backend_link *link, struct vidas_backend_version *now)
{
	CALL(be, VIDAS_OP_LINK, int, vidas_layer_link(&be->next, from, to, link, now));
}

static const struct vidas_backend_ops fault_ops = {
	.struct_size = sizeof(struct vidas_backend_ops),
	.api_version = VIDAS_BACKEND_API,
	.name = "fault",
	.close = fault_close,
	.stat = fault_stat,
	.get = fault_get,
	.put = fault_put,
	.remove = fault_remove,
	.list = fault_list,
	.mkdir = fault_mkdir,
	.rmdir = fault_rmdir,
	.symlink = fault_symlink,
	.readlink = fault_readlink,
	.rename = fault_rename,
	.put_range = fault_put_range,
	.set_attrs = fault_set_attrs,
	.link = fault_link,
	.describe = vidas_filter_pass_describe,
};

static int read_errno(const char *name, int *error)
{
	for (int e = 1; e < 256; e++) {
		const char *known = strerrorname_np(e);

		if (known && strcmp(known, name) == 0) {
			*error = -e;
			return 0;
		}
	}
	return vidas_fail(-EINVAL, "the filter fault: '%s' is no errno such as EIO", name);
}

static int read_ops(char *names, unsigned *ops)
{
	char *save = NULL;

	if (strcmp(names, "all") == 0) {
		*ops = ~0u;
		return 0;
	}
	for (char *name = strtok_r(names, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		size_t i = 0;

		while (i < VIDAS_OPS && strcmp(vidas_filter_op_name[i], name) != 0)
			i++;
		if (i == VIDAS_OPS)
			return vidas_fail(-EINVAL, "the filter fault: '%s' is no call", name);
		*ops |= 1u << i;
	}
	return 0;
}

static int read_when(const char *when, struct vidas_backend *be)
{
	be->after = strcmp(when, "after") == 0;
	be->damage = strcmp(when, "damage") == 0;
	if (be->damage)
		be->ops &= 1u << VIDAS_OP_GET;
	if (be->after || be->damage || strcmp(when, "before") == 0)
		return 0;
	return vidas_fail(-EINVAL, "the filter fault: when is before, after or damage");
}

static int fault_open(const struct vidas_backend_host *host, const struct vidas_layer *next,
		      const char *params, struct vidas_layer *out)
{
	char error[32] = "EIO", when[32] = "before", ops[32] = "all";
	struct vidas_backend *be = calloc(1, sizeof(*be));
	int err;

	if (!be)
		return -ENOMEM;
	be->rate = 10000;
	be->seed = 1;
	err = vidas_filter_params("fault", params,
				  (const struct vidas_filter_param[]){
					  { "rate", VIDAS_FILTER_PERCENT, &be->rate },
					  { "errno", VIDAS_FILTER_TEXT, error },
					  { "when", VIDAS_FILTER_TEXT, when },
					  { "ops", VIDAS_FILTER_TEXT, ops },
					  { "delay", VIDAS_FILTER_DURATION, &be->delay_us },
					  { "seed", VIDAS_FILTER_NUMBER, &be->seed },
				  },
				  6);
	if (!err)
		err = read_errno(error, &be->error);
	if (!err)
		err = read_ops(ops, &be->ops);
	if (!err)
		err = read_when(when, be);
	if (err) {
		free(be);
		return err;
	}
	be->next = *next;
	be->host = host;
	*out = (struct vidas_layer){ .ops = fault_ops, .be = be, .caps = next->caps };
	return 0;
}

const struct vidas_filter vidas_filter_fault = {
	.name = "fault",
	.summary = "lets calls fail or wait, for tests (rate, errno, when, ops, delay, seed)",
	.open = fault_open,
};
