/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The calls as "VIDAS: Object-based Virtualized Data Sharing for High Performance Storage I/O"
 * spells them (Tables 1 and 2, Listings 1 and 2), over <vidas/vidas.h>, where the contracts are.
 * The paper's text says obj_ where its tables say object_: both do.
 *
 * All calls are on the default connection ($VIDAS_SOCKET). They return 0 or a count, or -errno;
 * calls that return a handle return NULL on error; vidas_error_text() has the reason in words.
 * Where the paper has no timeout: object_join waits up to 30 s for the object, object_wait and
 * object_notify for ever.
 *
 * These names are short; include this header only in programs that are written to them.
 */
#ifndef VIDAS_PAPER_H
#define VIDAS_PAPER_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vidas/vidas.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vidas_object *obj_handle_t;
typedef struct vidas_object *object_handler_t;

#define VIDAS_PAPER_JOIN_US (INT64_C(30) * 1000 * 1000)

/* The domain of this process: get_domain() of Listing 2. */
static inline int get_domain(void)
{
	return (int)vidas_domain(NULL);
}

/* Table 1: containers --------------------------------------------------------------------------- */

static inline int vidas_paper_container_create(const char *name, const int *domain_ids, size_t n)
{
	vidas_domain_id list[VIDAS_DOMAINS_MAX];

	for (size_t i = 0; i < n && i < VIDAS_DOMAINS_MAX; i++)
		list[i] = (vidas_domain_id)domain_ids[i];
	/* That refuses a list that is too long before it looks at it. */
	return vidas_container_create(NULL, name, list, n);
}

/* `domain_ids` is an array of int; its length is taken from its type, so not a pointer to one:
 * then vidas_paper_container_create() is told the length. */
#define container_create(name, domain_ids)                 \
	vidas_paper_container_create((name), (domain_ids), \
				     sizeof(domain_ids) / sizeof((domain_ids)[0]))

static inline int container_destroy(const char *name)
{
	return vidas_container_destroy(NULL, name);
}

static inline int container_attach(const char *name)
{
	return vidas_container_attach(NULL, name);
}

static inline int container_leave(const char *name)
{
	return vidas_container_leave(NULL, name);
}

/* Table 2: object metadata ---------------------------------------------------------------------- */

static inline obj_handle_t object_create(const char *ext_storage_rsc, size_t offset, size_t size,
					 const char *cname)
{
	obj_handle_t o;

	return vidas_object_create(NULL, cname, ext_storage_rsc, offset, size, &o) < 0 ? NULL : o;
}

static inline obj_handle_t object_join(const char *ext_storage_rsc, size_t offset, size_t size,
				       const char *cname)
{
	obj_handle_t o;

	return vidas_object_join(NULL, cname, ext_storage_rsc, offset, size, VIDAS_PAPER_JOIN_US,
				 &o) < 0 ?
		       NULL :
		       o;
}

/*
 * The objects on a resource that this process has created or joined, in whichever container: their
 * number. *objects (if `objects` is not NULL) is an array of them; free() it.
 * vidas_object_get_locality() says who else has it, and how much of it is in memory.
 */
VIDAS_API int vidas_paper_get_locality(const char *ext_storage_rsc, struct vidas_object ***objects);

static inline int object_get_locality(const char *ext_storage_rsc, obj_handle_t *objects[])
{
	return vidas_paper_get_locality(ext_storage_rsc, objects);
}

static inline int object_leave(obj_handle_t o)
{
	return vidas_object_leave(o);
}

static inline int object_destroy(obj_handle_t o)
{
	return vidas_object_destroy(o);
}

static inline int object_getattr(obj_handle_t o, const char *name, void *value, size_t size)
{
	return (int)vidas_object_getattr(o, name, value, size);
}

static inline int object_setattr(obj_handle_t o, const char *name, const void *value, size_t size)
{
	return vidas_object_setattr(o, name, value, size);
}

/* Table 2: object data -------------------------------------------------------------------------- */

static inline ssize_t object_write(obj_handle_t o, const char *buf, size_t offset, size_t size)
{
	return vidas_object_write(o, buf, offset, size);
}

static inline ssize_t object_read(obj_handle_t o, char *buf, size_t offset, size_t size)
{
	return vidas_object_read(o, buf, offset, size);
}

static inline int object_flush(obj_handle_t o)
{
	return vidas_object_flush(o);
}

static inline int object_update(obj_handle_t o)
{
	return vidas_object_update(o);
}

/* Table 2: object synchronization ---------------------------------------------------------------- */

/* Sends the text `buf`, or with NULL an empty message. */
static inline int object_notify(obj_handle_t o, const char *buf)
{
	return vidas_object_notify(o, buf, buf ? strlen(buf) : 0, VIDAS_FOREVER);
}

/* Takes the next message. *bufp (if `bufp` is not NULL) is its text with a NUL; free() it. Returns
 * its length. */
static inline int object_wait(obj_handle_t o, char **bufp)
{
	char *buf = (char *)malloc(VIDAS_MESSAGE_MAX + 1);
	ssize_t n;

	if (!buf)
		return -ENOMEM;
	n = vidas_object_wait(o, buf, VIDAS_MESSAGE_MAX, VIDAS_FOREVER);
	if (n >= 0 && bufp) {
		buf[n] = '\0';
		*bufp = buf;
	} else {
		free(buf);
	}
	return (int)n;
}

#define obj_create	 object_create
#define obj_join	 object_join
#define obj_get_locality object_get_locality
#define obj_leave	 object_leave
#define obj_destroy	 object_destroy
#define obj_getattr	 object_getattr
#define obj_setattr	 object_setattr
#define obj_write	 object_write
#define obj_read	 object_read
#define obj_flush	 object_flush
#define obj_update	 object_update
#define obj_wait	 object_wait
#define obj_notify	 object_notify

#ifdef __cplusplus
}
#endif

#endif
