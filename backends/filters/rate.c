/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * rate: holds a root to so many bytes, or calls, a second.
 *
 *	get:0       bytes a second that are fetched ("20M"); 0: as many as come
 *	put:0       bytes a second that are put
 *	calls:0     calls a second, of all kinds
 *	burst:1s    what may have been saved up: that many seconds' worth
 *
 * A call begins when what was moved before it is paid for, and pays for its own bytes afterwards:
 * one call moves at the speed of the line, the mean of many is the rate. So a call waits for
 * (bytes before it) / rate and no longer; who shares a root shares its rate, in the order of coming.
 */
#include <pthread.h>
#include <stdlib.h>

#include "backends/filters/filter.h"
#include "pool/base/base.h"

struct bucket {
	uint64_t rate;	 /* units a second; 0: no limit */
	int64_t free_us; /* when all that was taken so far is paid for */
};

struct vidas_backend {
	struct vidas_layer next;
	pthread_mutex_t lock;
	uint64_t burst_us;
	struct bucket get, put, calls;
};

static void pay(struct vidas_backend *be, struct bucket *b, uint64_t units)
{
	int64_t now = vidas_now_us(), least = now - (int64_t)be->burst_us;

	if (!b->rate || !units)
		return;
	pthread_mutex_lock(&be->lock);
	if (b->free_us < least)
		b->free_us = least;
	b->free_us += (int64_t)((double)units / (double)b->rate * 1e6);
	pthread_mutex_unlock(&be->lock);
}

/* Others may pay meanwhile: what was promised to this call at its beginning holds. */
static void await(struct vidas_backend *be, struct bucket *b)
{
	int64_t us;

	if (!b->rate)
		return;
	pthread_mutex_lock(&be->lock);
	us = b->free_us - vidas_now_us();
	pthread_mutex_unlock(&be->lock);
	if (us > 0)
		vidas_filter_sleep((uint64_t)us);
}

/* A call costs one, which is paid before: those that come at once stand in a line. */
static void begin(struct vidas_backend *be)
{
	pay(be, &be->calls, 1);
	await(be, &be->calls);
}

static void rate_close(struct vidas_backend *be)
{
	be->next.ops.close(be->next.be);
	pthread_mutex_destroy(&be->lock);
	free(be);
}

static int rate_stat(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st)
{
	begin(be);
	return be->next.ops.stat(be->next.be, key, st);
}

static ssize_t rate_get(struct vidas_backend *be, const char *key, uint64_t offset,
			const struct iovec *iov, int iovcnt,
			const struct vidas_backend_version *expect,
			struct vidas_backend_version *seen)
{
	ssize_t ret;

	begin(be);
	await(be, &be->get);
	ret = be->next.ops.get(be->next.be, key, offset, iov, iovcnt, expect, seen);
	pay(be, &be->get, ret > 0 ? (uint64_t)ret : 0);
	return ret;
}

/* What failed may have been sent all the same, and is paid for. */
static int rate_put(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		    struct vidas_backend_version *now)
{
	int err;

	begin(be);
	await(be, &be->put);
	err = be->next.ops.put(be->next.be, key, put, now);
	pay(be, &be->put, put->size_bytes);
	return err;
}

static ssize_t rate_put_range(struct vidas_backend *be, const char *key, uint64_t offset,
			      const struct iovec *iov, int iovcnt,
			      struct vidas_backend_version *now)
{
	ssize_t ret;

	begin(be);
	await(be, &be->put);
	ret = vidas_layer_put_range(&be->next, key, offset, iov, iovcnt, now);
	pay(be, &be->put, ret > 0 ? (uint64_t)ret : 0);
	return ret;
}

static int rate_remove(struct vidas_backend *be, const char *key,
		       const struct vidas_backend_version *expect)
{
	begin(be);
	return be->next.ops.remove(be->next.be, key, expect);
}

static int rate_list(struct vidas_backend *be, const char *key,
		     int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		     void *arg)
{
	begin(be);
	return be->next.ops.list(be->next.be, key, each, arg);
}

static int rate_mkdir(struct vidas_backend *be, const char *key,
		      const struct vidas_backend_stat *attrs)
{
	begin(be);
	return vidas_layer_mkdir(&be->next, key, attrs);
}

static int rate_rmdir(struct vidas_backend *be, const char *key)
{
	begin(be);
	return vidas_layer_rmdir(&be->next, key);
}

static int rate_symlink(struct vidas_backend *be, const char *key, const char *target)
{
	begin(be);
	return vidas_layer_symlink(&be->next, key, target);
}

static ssize_t rate_readlink(struct vidas_backend *be, const char *key, char *target, size_t size)
{
	begin(be);
	return vidas_layer_readlink(&be->next, key, target, size);
}

static int rate_rename(struct vidas_backend *be, const char *from, const char *to)
{
	begin(be);
	return vidas_layer_rename(&be->next, from, to);
}

static int rate_set_attrs(struct vidas_backend *be, const char *key,
			  const struct vidas_backend_stat *attrs)
{
	begin(be);
	return vidas_layer_set_attrs(&be->next, key, attrs);
}

static int rate_link(struct vidas_backend *be, const char *from, const char *to,
		     const struct vidas_backend_link *link, struct vidas_backend_version *now)
{
	begin(be);
	return vidas_layer_link(&be->next, from, to, link, now);
}

static const struct vidas_backend_ops rate_ops = {
	.struct_size = sizeof(struct vidas_backend_ops),
	.api_version = VIDAS_BACKEND_API,
	.name = "rate",
	.close = rate_close,
	.stat = rate_stat,
	.get = rate_get,
	.put = rate_put,
	.remove = rate_remove,
	.list = rate_list,
	.mkdir = rate_mkdir,
	.rmdir = rate_rmdir,
	.symlink = rate_symlink,
	.readlink = rate_readlink,
	.rename = rate_rename,
	.put_range = rate_put_range,
	.set_attrs = rate_set_attrs,
	.link = rate_link,
	.describe = vidas_filter_pass_describe,
};

static int rate_open(const struct vidas_backend_host *host, const struct vidas_layer *next,
		     const char *params, struct vidas_layer *out)
{
	struct vidas_backend *be = calloc(1, sizeof(*be));
	int err;

	(void)host;
	if (!be)
		return -ENOMEM;
	be->next = *next;
	be->burst_us = 1000000;
	err = vidas_filter_params("rate", params,
				  (const struct vidas_filter_param[]){
					  { "get", VIDAS_FILTER_NUMBER, &be->get.rate },
					  { "put", VIDAS_FILTER_NUMBER, &be->put.rate },
					  { "calls", VIDAS_FILTER_NUMBER, &be->calls.rate },
					  { "burst", VIDAS_FILTER_DURATION, &be->burst_us },
				  },
				  4);
	if (err) {
		free(be);
		return err;
	}
	pthread_mutex_init(&be->lock, NULL);
	*out = (struct vidas_layer){ .ops = rate_ops, .be = be, .caps = next->caps };
	return 0;
}

const struct vidas_filter vidas_filter_rate = {
	.name = "rate",
	.summary = "so many bytes or calls a second and no more (get, put, calls, burst)",
	.open = rate_open,
};
