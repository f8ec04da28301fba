/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * retry: makes a call again that failed for a reason that may pass (-EAGAIN, -ETIMEDOUT,
 * -ECONNRESET, -ENOTCONN, -EIO), with pauses that double and are jittered.
 *
 *	tries:6      calls in all
 *	first:100ms  the first pause, at most; it is drawn between half of it and the whole
 *	longest:5s   what it grows to
 *	total:30s    no new try is begun after that
 *
 * So a call takes at most `total` and the time of one try, which the backend bounds; with the
 * values above it pauses for 3.1 s at most. When a call has given up, the others are made once each,
 * without a pause, until one goes through: many calls to a store that is down do not add up.
 *
 * A call that seemed to fail may have been carried out. For one that can be made twice with the
 * same outcome that is harmless; a remove, rmdir or rename that finds its work done is a success.
 * A put with `expect` or `must_not_exist` whose own first try went through gives -ESTALE or
 * -EEXIST: who gets that from a put finds the new state as if another had made it, and loses nothing.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "backends/filters/filter.h"
#include "pool/base/base.h"

struct vidas_backend {
	struct vidas_layer next;
	uint64_t tries, first_us, longest_us, total_us;
	_Atomic uint64_t draws; /* of jitter */
	atomic_bool down;	/* a call gave up, and none went through since */
};

/* How far a call has come. */
struct attempt {
	const char *call;
	uint64_t made;
	uint64_t pause_us;
	int64_t end_us;
};

static bool may_pass(ssize_t err)
{
	return err == -EAGAIN || err == -ETIMEDOUT || err == -ECONNRESET || err == -ENOTCONN ||
	       err == -EIO;
}

static bool give_up(struct vidas_backend *be, const struct attempt *a, ssize_t ret)
{
	if (!atomic_exchange_explicit(&be->down, true, memory_order_relaxed))
		vidas_log(VIDAS_LOG_WARNING,
			  "%s: %s, after %llu tries; until a call goes through each is tried once",
			  a->call,
			  *vidas_fail_text() ? vidas_fail_text() : strerrordesc_np((int)-ret),
			  (unsigned long long)a->made);
	return false;
}

/* Waits for the next try and says whether there is one. */
static bool again(struct vidas_backend *be, struct attempt *a, ssize_t ret)
{
	bool down = atomic_load_explicit(&be->down, memory_order_relaxed);
	uint64_t us, n;

	if (!may_pass(ret)) {
		if (down && atomic_exchange_explicit(&be->down, false, memory_order_relaxed))
			vidas_log(VIDAS_LOG_NOTICE, "%s: the store answers again", a->call);
		return false;
	}
	if (down)
		return false;
	if (!a->made) {
		a->pause_us = be->first_us;
		a->end_us = vidas_deadline_us((int64_t)be->total_us);
	}
	if (++a->made >= be->tries)
		return give_up(be, a, ret);
	n = atomic_fetch_add_explicit(&be->draws, 1, memory_order_relaxed);
	us = a->pause_us - vidas_filter_mix(n ^ (uint64_t)vidas_now_us()) % (a->pause_us / 2 + 1);
	if (vidas_now_us() + (int64_t)us >= a->end_us)
		return give_up(be, a, ret);
	vidas_log(VIDAS_LOG_INFO, "%s: %s; once more in %llu ms, try %llu of %llu", a->call,
		  *vidas_fail_text() ? vidas_fail_text() : strerrordesc_np((int)-ret),
		  (unsigned long long)us / 1000, (unsigned long long)a->made + 1,
		  (unsigned long long)be->tries);
	vidas_filter_sleep(us);
	a->pause_us = a->pause_us * 2 < be->longest_us ? a->pause_us * 2 : be->longest_us;
	return true;
}

#define CALL(be, name, type, invocation)                      \
	do {                                                  \
		struct attempt attempt_ = { .call = (name) }; \
		type ret_;                                    \
		do {                                          \
			ret_ = (invocation);                  \
		} while (again(be, &attempt_, ret_));         \
		return ret_;                                  \
	} while (0)

static void retry_close(struct vidas_backend *be)
{
	be->next.ops.close(be->next.be);
	free(be);
}

static int retry_stat(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st)
{
	CALL(be, "stat", int, be->next.ops.stat(be->next.be, key, st));
}

static ssize_t retry_get(struct vidas_backend *be, const char *key, uint64_t offset,
			 const struct iovec *iov, int iovcnt,
			 const struct vidas_backend_version *expect,
			 struct vidas_backend_version *seen)
{
	CALL(be, "get", ssize_t,
	     be->next.ops.get(be->next.be, key, offset, iov, iovcnt, expect, seen));
}

static int retry_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		     struct vidas_backend_version *now)
{
	CALL(be, "put", int, be->next.ops.put(be->next.be, key, put, now));
}

static int retry_remove(struct vidas_backend *be, const char *key,
			const struct vidas_backend_version *expect)
{
	struct attempt a = { .call = "remove" };
	int err;

	do
		err = be->next.ops.remove(be->next.be, key, expect);
	while (again(be, &a, err));
	return err == -ENOENT && a.made ? 0 : err;
}

static int retry_rmdir(struct vidas_backend *be, const char *key)
{
	struct attempt a = { .call = "rmdir" };
	int err;

	do
		err = vidas_layer_rmdir(&be->next, key);
	while (again(be, &a, err));
	return err == -ENOENT && a.made ? 0 : err;
}

static int retry_rename(struct vidas_backend *be, const char *from, const char *to)
{
	struct attempt a = { .call = "rename" };
	struct vidas_backend_stat st;
	int err;

	do
		err = vidas_layer_rename(&be->next, from, to);
	while (again(be, &a, err));
	if (err == -ENOENT && a.made && retry_stat(be, to, &st) == 0)
		return 0;
	return err;
}

static int retry_mkdir(struct vidas_backend *be, const char *key,
		       const struct vidas_backend_stat *attrs)
{
	CALL(be, "mkdir", int, vidas_layer_mkdir(&be->next, key, attrs));
}

static int retry_symlink(struct vidas_backend *be, const char *key, const char *target)
{
	CALL(be, "symlink", int, vidas_layer_symlink(&be->next, key, target));
}

static ssize_t retry_readlink(struct vidas_backend *be, const char *key, char *target, size_t size)
{
	CALL(be, "readlink", ssize_t, vidas_layer_readlink(&be->next, key, target, size));
}

static ssize_t retry_put_range(struct vidas_backend *be, const char *key, uint64_t offset,
			       const struct iovec *iov, int iovcnt,
			       struct vidas_backend_version *now)
{
	CALL(be, "put_range", ssize_t,
	     vidas_layer_put_range(&be->next, key, offset, iov, iovcnt, now));
}

static int retry_set_attrs(struct vidas_backend *be, const char *key,
			   const struct vidas_backend_stat *attrs)
{
	CALL(be, "set_attrs", int, vidas_layer_set_attrs(&be->next, key, attrs));
}

static int retry_link(struct vidas_backend *be, const char *from, const char *to,
		      const struct vidas_backend_link *link, struct vidas_backend_version *now)
{
	CALL(be, "link", int, vidas_layer_link(&be->next, from, to, link, now));
}

/* A listing may fail half-way: it is gathered first, so that nothing is told twice. */
struct gathered {
	struct {
		struct vidas_backend_stat st;
		char *name;
	} * entry;
	size_t count, room;
};

static void gathered_clear(struct gathered *g)
{
	while (g->count)
		free(g->entry[--g->count].name);
	free(g->entry);
	*g = (struct gathered){ 0 };
}

static int gather(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	struct gathered *g = arg;

	if (g->count == g->room) {
		size_t room = g->room ? 2 * g->room : 64;
		void *entry = reallocarray(g->entry, room, sizeof(*g->entry));

		if (!entry)
			return -ENOMEM;
		g->entry = entry;
		g->room = room;
	}
	g->entry[g->count].name = strdup(name);
	if (!g->entry[g->count].name)
		return -ENOMEM;
	g->entry[g->count++].st = *st;
	return 0;
}

static int retry_list(struct vidas_backend *be, const char *key,
		      int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		      void *arg)
{
	struct attempt a = { .call = "list" };
	struct gathered g = { 0 };
	int ret;

	do {
		gathered_clear(&g);
		ret = be->next.ops.list(be->next.be, key, gather, &g);
	} while (again(be, &a, ret));
	for (size_t i = 0; !ret && i < g.count; i++)
		ret = each(arg, g.entry[i].name, &g.entry[i].st);
	gathered_clear(&g);
	return ret;
}

static const struct vidas_backend_ops retry_ops = {
	.struct_size = sizeof(struct vidas_backend_ops),
	.api_version = VIDAS_BACKEND_API,
	.name = "retry",
	.close = retry_close,
	.stat = retry_stat,
	.get = retry_get,
	.put = retry_put,
	.remove = retry_remove,
	.list = retry_list,
	.mkdir = retry_mkdir,
	.rmdir = retry_rmdir,
	.symlink = retry_symlink,
	.readlink = retry_readlink,
	.rename = retry_rename,
	.put_range = retry_put_range,
	.set_attrs = retry_set_attrs,
	.link = retry_link,
	.describe = vidas_filter_pass_describe,
};

static int retry_open(const struct vidas_backend_host *host, const struct vidas_layer *next,
		      const char *params, struct vidas_layer *out)
{
	struct vidas_backend *be = calloc(1, sizeof(*be));
	int err;

	(void)host;
	if (!be)
		return -ENOMEM;
	be->tries = 6;
	be->first_us = 100 * 1000;
	be->longest_us = 5 * 1000 * 1000;
	be->total_us = 30 * 1000 * 1000;
	err = vidas_filter_params("retry", params,
				  (const struct vidas_filter_param[]){
					  { "tries", VIDAS_FILTER_NUMBER, &be->tries },
					  { "first", VIDAS_FILTER_DURATION, &be->first_us },
					  { "longest", VIDAS_FILTER_DURATION, &be->longest_us },
					  { "total", VIDAS_FILTER_DURATION, &be->total_us },
				  },
				  4);
	if (!err && !be->tries)
		err = vidas_fail(-EINVAL, "the filter retry: tries is at least 1");
	if (err) {
		free(be);
		return err;
	}
	be->next = *next;
	*out = (struct vidas_layer){ .ops = retry_ops, .be = be, .caps = next->caps };
	return 0;
}

const struct vidas_filter vidas_filter_retry = {
	.name = "retry",
	.summary =
		"makes calls again that failed for a passing reason (tries, first, longest, total)",
	.open = retry_open,
};
