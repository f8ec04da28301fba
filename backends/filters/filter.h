/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Filters: what every backend should have, once. A filter is a backend over another one (or over
 * another filter): its calls do something before and after those of the next layer.
 *
 * A stack is written outermost first, separated by ',': "retry=tries:8,fault=rate:5%+seed:7".
 * Parameters are NAME:VALUE, separated by '+'.
 */
#ifndef VIDAS_FILTER_H
#define VIDAS_FILTER_H

#include <errno.h>
#include <stddef.h>

#include <vidas/backend.h>

/* An open backend or filter. Calls that it lacks are NULL in `ops`. */
struct vidas_layer {
	struct vidas_backend_ops ops;
	struct vidas_backend *be;
	uint32_t caps;
};

struct vidas_filter {
	const char *name;
	const char *summary; /* with its parameters */
	/*
	 * Puts a layer over *next; `params` is what follows "NAME=", or "". On success `next` belongs to
	 * the new layer, whose close closes it. -EINVAL bad parameters, said by vidas_fail().
	 */
	int (*open)(const struct vidas_backend_host *host, const struct vidas_layer *next,
		    const char *params, struct vidas_layer *out);
};

extern const struct vidas_filter vidas_filter_checksum, vidas_filter_fault, vidas_filter_rate,
	vidas_filter_retry, vidas_filter_stats;

/*
 * Calls that only go on to the next layer, for what a filter leaves as it is. They, and the close
 * among them that frees, ask that a filter's struct vidas_backend begins with `struct vidas_layer
 * next`.
 */
extern const struct vidas_backend_ops vidas_filter_pass;
void vidas_filter_pass_describe(struct vidas_backend *be,
				void (*say)(void *arg, const char *what, const char *how),
				void *arg);

/* Puts `filters` over *layer, which is the topmost one afterwards; on an error all of it is closed.
 * NULL and "" are no filters. */
int vidas_filters_open(const struct vidas_backend_host *host, const char *filters,
		       struct vidas_layer *layer);

/* Calls `each` for every filter until it returns non-zero, which is returned. */
int vidas_filters_each(int (*each)(void *arg, const char *name, const char *summary), void *arg);

/* One parameter of a filter and where its value goes. */
enum vidas_filter_kind {
	VIDAS_FILTER_NUMBER,   /* uint64_t: "7", "20M" with K, M, G as powers of 1024 */
	VIDAS_FILTER_PERCENT,  /* uint64_t, millionths: "5%" is 50000 */
	VIDAS_FILTER_DURATION, /* uint64_t, microseconds: "50us", "20ms", "3s" */
	VIDAS_FILTER_TEXT,     /* char[32] */
};
struct vidas_filter_param {
	const char *name;
	enum vidas_filter_kind kind;
	void *value;
};
/* Reads `params`; what they do not name stays as it is. -EINVAL, said by vidas_fail(). */
int vidas_filter_params(const char *filter, const char *params,
			const struct vidas_filter_param *table, size_t count);

/* The calls that a filter can count, or let fail, each with its name. */
enum vidas_filter_op {
	VIDAS_OP_STAT,
	VIDAS_OP_GET,
	VIDAS_OP_PUT,
	VIDAS_OP_REMOVE,
	VIDAS_OP_LIST,
	VIDAS_OP_MKDIR,
	VIDAS_OP_RMDIR,
	VIDAS_OP_SYMLINK,
	VIDAS_OP_READLINK,
	VIDAS_OP_RENAME,
	VIDAS_OP_PUT_RANGE,
	VIDAS_OP_SET_ATTRS,
	VIDAS_OP_LINK,
	VIDAS_OPS
};
extern const char *const vidas_filter_op_name[VIDAS_OPS];

/* The n-th of a sequence of well mixed numbers. */
uint64_t vidas_filter_mix(uint64_t n);
void vidas_filter_sleep(uint64_t us);

/* The next layer's calls; -EOPNOTSUPP what it lacks. */
static inline int vidas_layer_mkdir(const struct vidas_layer *l, const char *key,
				    const struct vidas_backend_stat *attrs)
{
	return l->ops.mkdir ? l->ops.mkdir(l->be, key, attrs) : -EOPNOTSUPP;
}

static inline int vidas_layer_rmdir(const struct vidas_layer *l, const char *key)
{
	return l->ops.rmdir ? l->ops.rmdir(l->be, key) : -EOPNOTSUPP;
}

static inline int vidas_layer_symlink(const struct vidas_layer *l, const char *key,
				      const char *target)
{
	return l->ops.symlink ? l->ops.symlink(l->be, key, target) : -EOPNOTSUPP;
}

static inline ssize_t vidas_layer_readlink(const struct vidas_layer *l, const char *key,
					   char *target, size_t size)
{
	return l->ops.readlink ? l->ops.readlink(l->be, key, target, size) : -EOPNOTSUPP;
}

static inline int vidas_layer_rename(const struct vidas_layer *l, const char *from, const char *to)
{
	return l->ops.rename ? l->ops.rename(l->be, from, to) : -EOPNOTSUPP;
}

static inline ssize_t vidas_layer_put_range(const struct vidas_layer *l, const char *key,
					    uint64_t offset, const struct iovec *iov, int iovcnt,
					    struct vidas_backend_version *now)
{
	return l->ops.put_range ? l->ops.put_range(l->be, key, offset, iov, iovcnt, now) :
				  -EOPNOTSUPP;
}

static inline int vidas_layer_set_attrs(const struct vidas_layer *l, const char *key,
					const struct vidas_backend_stat *attrs)
{
	return l->ops.set_attrs ? l->ops.set_attrs(l->be, key, attrs) : -EOPNOTSUPP;
}

static inline int vidas_layer_link(const struct vidas_layer *l, const char *from, const char *to,
				   const struct vidas_backend_link *link,
				   struct vidas_backend_version *now)
{
	return l->ops.link ? l->ops.link(l->be, from, to, link, now) : -EOPNOTSUPP;
}

#endif
