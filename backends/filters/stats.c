/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * stats: counts the calls that pass it, those that failed, their bytes and how long they took.
 * Placed outermost it sees what vidasd sees, below `retry` each try. It says its figures in
 * `vidas backend test`, and in the log:
 *
 *	every:10m   how often, if there was any call since; 0s: only when the root is closed
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/filters/filter.h"
#include "pool/base/base.h"

struct count {
	_Atomic uint64_t calls, failed, bytes, us, longest_us;
};

struct vidas_backend {
	struct vidas_layer next;
	const struct vidas_backend_host *host;
	uint64_t every_us;
	_Atomic int64_t due_us;
	struct count count[VIDAS_OPS];
};

static uint64_t value(const _Atomic uint64_t *n)
{
	return atomic_load_explicit(n, memory_order_relaxed);
}

/* "41 calls, 1 failed, 12.3 MiB, 1.2 ms each, 9.9 ms the longest"; false: there was none. */
static bool phrase(const struct count *c, char *text, size_t size)
{
	uint64_t calls = value(&c->calls), failed = value(&c->failed), bytes = value(&c->bytes);
	char some[40] = "", more[40] = "";

	if (!calls)
		return false;
	if (failed)
		snprintf(some, sizeof(some), ", %llu failed", (unsigned long long)failed);
	if (bytes)
		snprintf(more, sizeof(more), ", %.1f MiB", (double)bytes / (1 << 20));
	snprintf(text, size, "%llu calls%s%s, %.1f ms each, %.1f ms the longest",
		 (unsigned long long)calls, some, more, (double)value(&c->us) / 1e3 / (double)calls,
		 (double)value(&c->longest_us) / 1e3);
	return true;
}

static void log_all(struct vidas_backend *be)
{
	char text[160], line[200];

	for (int op = 0; op < VIDAS_OPS; op++)
		if (phrase(&be->count[op], text, sizeof(text))) {
			snprintf(line, sizeof(line), "stats: %s: %s", vidas_filter_op_name[op],
				 text);
			be->host->log(be->host->host, VIDAS_LOG_INFO, line);
		}
}

static void log_when_due(struct vidas_backend *be, int64_t now)
{
	int64_t due = atomic_load_explicit(&be->due_us, memory_order_relaxed);

	if (be->every_us && now >= due &&
	    atomic_compare_exchange_strong_explicit(&be->due_us, &due, now + (int64_t)be->every_us,
						    memory_order_relaxed, memory_order_relaxed))
		log_all(be);
}

static void add(_Atomic uint64_t *n, uint64_t more)
{
	atomic_fetch_add_explicit(n, more, memory_order_relaxed);
}

static void done(struct vidas_backend *be, enum vidas_filter_op op, int64_t begin, ssize_t ret,
		 uint64_t bytes)
{
	struct count *c = &be->count[op];
	int64_t now = vidas_now_us();
	uint64_t us = (uint64_t)(now - begin), longest = value(&c->longest_us);

	add(&c->calls, 1);
	add(&c->us, us);
	add(ret < 0 ? &c->failed : &c->bytes, ret < 0 ? 1 : bytes);
	while (us > longest &&
	       !atomic_compare_exchange_weak_explicit(&c->longest_us, &longest, us,
						      memory_order_relaxed, memory_order_relaxed))
		;
	log_when_due(be, now);
}

/* Makes the call and counts it; `bytes` may use ret_. */
#define CALL(be, op, type, call, bytes)                        \
	do {                                                   \
		int64_t begin_ = vidas_now_us();               \
		type ret_ = (call);                            \
		done(be, op, begin_, ret_, (uint64_t)(bytes)); \
		return ret_;                                   \
	} while (0)

static void stats_close(struct vidas_backend *be)
{
	log_all(be);
	be->next.ops.close(be->next.be);
	free(be);
}

static int stats_stat(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st)
{
	CALL(be, VIDAS_OP_STAT, int, be->next.ops.stat(be->next.be, key, st), 0);
}

static ssize_t stats_get(struct vidas_backend *be, const char *key, uint64_t offset,
			 const struct iovec *iov, int iovcnt,
			 const struct vidas_backend_version *expect,
			 struct vidas_backend_version *seen)
{
	CALL(be, VIDAS_OP_GET, ssize_t,
	     be->next.ops.get(be->next.be, key, offset, iov, iovcnt, expect, seen), ret_);
}

static int stats_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		     struct vidas_backend_version *now)
{
	CALL(be, VIDAS_OP_PUT, int, be->next.ops.put(be->next.be, key, put, now), put->size_bytes);
}

static int stats_remove(struct vidas_backend *be, const char *key,
			const struct vidas_backend_version *expect)
{
	CALL(be, VIDAS_OP_REMOVE, int, be->next.ops.remove(be->next.be, key, expect), 0);
}

static int stats_list(struct vidas_backend *be, const char *key,
		      int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		      void *arg)
{
	CALL(be, VIDAS_OP_LIST, int, be->next.ops.list(be->next.be, key, each, arg), 0);
}

static int stats_mkdir(struct vidas_backend *be, const char *key,
		       const struct vidas_backend_stat *attrs)
{
	CALL(be, VIDAS_OP_MKDIR, int, vidas_layer_mkdir(&be->next, key, attrs), 0);
}

static int stats_rmdir(struct vidas_backend *be, const char *key)
{
	CALL(be, VIDAS_OP_RMDIR, int, vidas_layer_rmdir(&be->next, key), 0);
}

static int stats_symlink(struct vidas_backend *be, const char *key, const char *target)
{
	CALL(be, VIDAS_OP_SYMLINK, int, vidas_layer_symlink(&be->next, key, target), 0);
}

static ssize_t stats_readlink(struct vidas_backend *be, const char *key, char *target, size_t size)
{
	CALL(be, VIDAS_OP_READLINK, ssize_t, vidas_layer_readlink(&be->next, key, target, size), 0);
}

static int stats_rename(struct vidas_backend *be, const char *from, const char *to)
{
	CALL(be, VIDAS_OP_RENAME, int, vidas_layer_rename(&be->next, from, to), 0);
}

static ssize_t stats_put_range(struct vidas_backend *be, const char *key, uint64_t offset,
			       const struct iovec *iov, int iovcnt,
			       struct vidas_backend_version *now)
{
	CALL(be, VIDAS_OP_PUT_RANGE, ssize_t,
	     vidas_layer_put_range(&be->next, key, offset, iov, iovcnt, now), ret_);
}

static int stats_set_attrs(struct vidas_backend *be, const char *key,
			   const struct vidas_backend_stat *attrs)
{
	CALL(be, VIDAS_OP_SET_ATTRS, int, vidas_layer_set_attrs(&be->next, key, attrs), 0);
}

static int stats_link(struct vidas_backend *be, const char *from, const char *to,
		      const struct vidas_backend_link *link, struct vidas_backend_version *now)
{
	CALL(be, VIDAS_OP_LINK, int, vidas_layer_link(&be->next, from, to, link, now), 0);
}

static void stats_describe(struct vidas_backend *be,
			   void (*say)(void *arg, const char *what, const char *how), void *arg)
{
	char text[160];

	vidas_filter_pass_describe(be, say, arg);
	for (int op = 0; op < VIDAS_OPS; op++)
		if (phrase(&be->count[op], text, sizeof(text)))
			say(arg, vidas_filter_op_name[op], text);
}

static const struct vidas_backend_ops stats_ops = {
	.struct_size = sizeof(struct vidas_backend_ops),
	.api_version = VIDAS_BACKEND_API,
	.name = "stats",
	.close = stats_close,
	.stat = stats_stat,
	.get = stats_get,
	.put = stats_put,
	.remove = stats_remove,
	.list = stats_list,
	.mkdir = stats_mkdir,
	.rmdir = stats_rmdir,
	.symlink = stats_symlink,
	.readlink = stats_readlink,
	.rename = stats_rename,
	.put_range = stats_put_range,
	.set_attrs = stats_set_attrs,
	.link = stats_link,
	.describe = stats_describe,
};

static int stats_open(const struct vidas_backend_host *host, const struct vidas_layer *next,
		      const char *params, struct vidas_layer *out)
{
	struct vidas_backend *be = calloc(1, sizeof(*be));
	int err;

	if (!be)
		return -ENOMEM;
	be->host = host;
	be->next = *next;
	be->every_us = 600 * UINT64_C(1000000);
	err = vidas_filter_params("stats", params,
				  (const struct vidas_filter_param[]){
					  { "every", VIDAS_FILTER_DURATION, &be->every_us },
				  },
				  1);
	if (err) {
		free(be);
		return err;
	}
	be->due_us = vidas_now_us() + (int64_t)be->every_us;
	*out = (struct vidas_layer){ .ops = stats_ops, .be = be, .caps = next->caps };
	return 0;
}

const struct vidas_filter vidas_filter_stats = {
	.name = "stats",
	.summary = "counts calls, failures, bytes and time (every)",
	.open = stats_open,
};
