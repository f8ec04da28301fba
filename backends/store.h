/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An open root behind a container: a backend (found by its URL's scheme in the backend
 * directory) under a stack of filters. vidasd, the `vidas` command and the conformance suite
 * use backends only through this.
 *
 * The calls are those of <vidas/backend.h>; they check keys, answer -EOPNOTSUPP for what a backend
 * lacks, and leave the backend's words in vidas_fail_text().
 */
#ifndef VIDAS_STORE_H
#define VIDAS_STORE_H

#include <vidas/backend.h>

struct vidas_store;

/*
 * Opens a root. `filters` is a comma-separated list, outermost first ("retry,fault=rate:1%"), or
 * NULL. Plug-ins are looked for in $VIDAS_BACKEND_DIR, else the installed directory; mem and
 * file are built in. -ENOENT no such backend (the reason names those there are), -EINVAL a bad URL.
 */
int vidas_store_open(const char *url, const char *filters, struct vidas_store **out);
void vidas_store_close(struct vidas_store *s); /* NULL allowed */
uint32_t vidas_store_caps(const struct vidas_store *s);
const char *vidas_store_url(const struct vidas_store *s); /* without credentials */

int vidas_store_stat(struct vidas_store *s, const char *key, struct vidas_backend_stat *st);
ssize_t vidas_store_get(struct vidas_store *s, const char *key, uint64_t offset,
			const struct iovec *iov, int iovcnt,
			const struct vidas_backend_version *expect,
			struct vidas_backend_version *seen);
int vidas_store_put(struct vidas_store *s, const char *key, const struct vidas_backend_put *put,
		    struct vidas_backend_version *now);
int vidas_store_remove(struct vidas_store *s, const char *key,
		       const struct vidas_backend_version *expect);
int vidas_store_list(struct vidas_store *s, const char *key,
		     int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		     void *arg);
int vidas_store_mkdir(struct vidas_store *s, const char *key,
		      const struct vidas_backend_stat *attrs);
int vidas_store_rmdir(struct vidas_store *s, const char *key);
int vidas_store_symlink(struct vidas_store *s, const char *key, const char *target);
ssize_t vidas_store_readlink(struct vidas_store *s, const char *key, char *target, size_t size);
int vidas_store_rename(struct vidas_store *s, const char *from, const char *to);
ssize_t vidas_store_put_range(struct vidas_store *s, const char *key, uint64_t offset,
			      const struct iovec *iov, int iovcnt,
			      struct vidas_backend_version *now);
int vidas_store_set_attrs(struct vidas_store *s, const char *key,
			  const struct vidas_backend_stat *attrs);
int vidas_store_link(struct vidas_store *s, const char *from, const char *to,
		     const struct vidas_backend_link *link, struct vidas_backend_version *now);

/* The puts of `key`, and of what is below it ("" all), that are under way now: bytes that are sent, as
 * far as the backend tells, and of how many. 0, or -ENOENT none is. */
int vidas_store_progress(struct vidas_store *s, const char *key, uint64_t *sent_bytes,
			 uint64_t *all_bytes);

/* What the backend and the filters say of themselves, in words; see describe in <vidas/backend.h>. */
void vidas_store_describe(struct vidas_store *s,
			  void (*say)(void *arg, const char *what, const char *how), void *arg);

/* For `vidas backend list`: every backend that can be opened. */
int vidas_store_each(int (*each)(void *arg, const struct vidas_backend_ops *ops, const char *file),
		     void *arg);
/* And every filter, with its parameters in its summary. */
int vidas_store_each_filter(int (*each)(void *arg, const char *name, const char *summary),
			    void *arg);

#endif
