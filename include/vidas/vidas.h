/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvidas: objects that several domains of one host share at memory speed.
 *
 * The calls are those of Tables 1 and 2 of "VIDAS: Object-based Virtualized Data Sharing for
 * High Performance Storage I/O" (Llopis et al., ScienceCloud'13); <vidas/paper.h> offers that
 * paper's own spellings.
 *
 * Words
 *   container  a named sharing group and the trust boundary: a domain that is not on its list
 *              learns neither its name nor its data.
 *   resource   a thing with a name and a linear address space: a file of the container, and
 *              what stands behind it at the container's root URL. Names are paths relative to
 *              the container ("run7/field.dat"), or full URLs below its root.
 *   object     a view [offset, offset + size) of a resource. All objects on one resource share
 *              the same memory, so overlapping objects agree by construction, and so does the
 *              file /vidas/<container>/<resource>.
 *
 * Errors: every call returns 0 or a count, or -errno. Results go through out-parameters, which
 * are untouched on error. vidas_error_text() has the reason in words.
 *
 * Threads: all calls may be made from any thread at any time, except that no call may race with
 * the one that frees its handle (vidas_close, vidas_object_leave, vidas_object_destroy).
 *
 * Restarts: when vidasd is restarted a call waits, reconnects, names again what the connection
 * has attached and joined, and goes on; after `timeout` (30 s unless $VIDAS_TIMEOUT says
 * otherwise, in seconds) it gives -ETIMEDOUT. Calls marked [shm] need vidasd for nothing (but when
 * one waits for a lock, vidasd is asked whether its owner lives: locks of the dead are taken over).
 * A connection that has attached something keeps a thread, which notices a restart at once; it
 * takes none of the program's signals.
 *
 * Locks in shared memory are held for microseconds. Who waits for one for 5 s, because its owner is
 * stopped, gets -ETIMEDOUT. Contents of the shared memory that make no sense, which only a domain
 * of the same container can have put there, give -EBADMSG.
 *
 * SIGBUS: memory of a resource that another domain has cut short cannot be touched; the kernel says
 * so by SIGBUS. vidas_object_read and _write give -EIO instead. For that the first object joined
 * takes SIGBUS, if the program has left it at its default; a fault outside of those two calls
 * still ends the program as before. If the program has a handler of its own, or with
 * $VIDAS_COPY=checked in the environment, the length is looked at before each copy instead, and
 * only a cut at that very moment is a SIGBUS.
 *
 * fork: a child must not use handles of its parent; it opens a connection of its own.
 */
#ifndef VIDAS_H
#define VIDAS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vidas/version.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIDAS_API __attribute__((visibility("default")))

/* A domain id. 0 is the host (Dom0). */
typedef uint32_t vidas_domain_id;

struct vidas;	     /* a connection of this process to vidasd */
struct vidas_object; /* a joined object */

#define VIDAS_NAME_MAX	     255  /* bytes of a container's name, without the NUL */
#define VIDAS_RESOURCE_MAX   4095 /* bytes of a resource's name, without the NUL */
#define VIDAS_ATTR_NAME_MAX  63	  /* bytes of an object attribute's name, without the NUL */
#define VIDAS_ATTR_VALUE_MAX 1024 /* bytes of an object attribute's value */
#define VIDAS_MESSAGE_MAX    4096 /* bytes of a notification */
#define VIDAS_DOMAINS_MAX    64	  /* entries of a container's list of domains */

/* With this offset, and size 0, an object has no bytes (its data is NULL) and is on any file, also an
 * empty one: it is there for its messages, which are those that `setfattr -n user.vidas.notify` sends
 * and `getfattr -n user.vidas.wait` takes, and for its attributes. */
#define VIDAS_MESSAGES INT64_MAX

#define VIDAS_FOREVER INT64_C(-1) /* a timeout that never ends; timeouts are in microseconds */

/* Connections -------------------------------------------------------------------------------- */

/*
 * Connects to vidasd. `address` is the path of the domain's socket; NULL means $VIDAS_SOCKET, or
 * /run/vidas/domain/sock, the place where a container's manager binds the domain's directory.
 * -ENOENT/-ECONNREFUSED no vidasd there, -EACCES this process is not one of the domain's,
 * -EPROTO another protocol version.
 */
VIDAS_API int vidas_open(const char *address, struct vidas **out);

/* Leaves all objects and containers and frees the connection. NULL is allowed. */
VIDAS_API void vidas_close(struct vidas *v);

/* The connection that calls use when they are given NULL; opened on first use, closed at exit. */
VIDAS_API int vidas_default(struct vidas **out);

/* The domain as which vidasd knows this connection. [shm] */
VIDAS_API vidas_domain_id vidas_domain(const struct vidas *v);

/* The reason of this thread's last failed call, in words; "" if none. Never NULL. [shm] */
VIDAS_API const char *vidas_error_text(void);

/* Containers (Table 1) ------------------------------------------------------------------------ */

/*
 * Creates a container whose initiator is the calling domain and which `domains[0..n)` may attach
 * read-write; the initiator has attached it afterwards. -EEXIST the name is taken (by whomever),
 * -EINVAL not a name ("", ".", "..", with '/', or over 255 bytes), -EPERM this domain may not
 * create containers, -ENOSPC its quota of containers is used up.
 */
VIDAS_API int vidas_container_create(struct vidas *v, const char *name,
				     const vidas_domain_id *domains, size_t n);

/*
 * Destroys a container and all that is in the pool of it. What has not reached the backend is
 * flushed first; if that fails, nothing is destroyed and the backend's errno comes back.
 * -EPERM not its initiator, -EBUSY another domain has attached it, -ENOENT no such container, or
 * none that this domain may know of.
 */
VIDAS_API int vidas_container_destroy(struct vidas *v, const char *name);

/* Attaches: objects of the container may be created and joined. Attaching twice is harmless.
 * -ENOENT no such container, or none that this domain may know of. */
VIDAS_API int vidas_container_attach(struct vidas *v, const char *name);

/* Undoes the attach. -EBUSY objects of it are still joined by this connection, -ENOTCONN not attached. */
VIDAS_API int vidas_container_leave(struct vidas *v, const char *name);

/* Calls `each` with the name of every container that this domain may attach, in no order, until
 * it returns non-zero, which is then returned. */
VIDAS_API int vidas_container_list(struct vidas *v, int (*each)(const char *name, void *arg),
				   void *arg);

/* Objects: lifetime (Table 2) ----------------------------------------------------------------- */

/*
 * Creates the object `[offset, offset + size)` of `resource` and joins it. The resource is made
 * if it is new, fetched if the backend has it, and is afterwards at least offset + size bytes
 * long; the memory of the range is allocated now, so that storing to it can never fail later.
 * `size` 0 means: to the end of the resource as it is (-EINVAL if that is nothing).
 *
 * -EEXIST that object exists already: join it. -ENOTCONN container not attached. -ENOSPC the pool
 * is full. -EROFS attached read-only. -EINVAL bad name or range.
 */
VIDAS_API int vidas_object_create(struct vidas *v, const char *container, const char *resource,
				  uint64_t offset, uint64_t size, struct vidas_object **out);

/*
 * Joins an object that another created, named by the same range. If there is none, waits for it
 * up to `timeout_us` (0: does not wait; then -ENOENT, else -ETIMEDOUT).
 */
VIDAS_API int vidas_object_join(struct vidas *v, const char *container, const char *resource,
				uint64_t offset, uint64_t size, int64_t timeout_us,
				struct vidas_object **out);

/* Unmaps the object and frees the handle, which is gone even if an error is returned. */
VIDAS_API int vidas_object_leave(struct vidas_object *o);

/*
 * As leave, and takes the object from the index: it can no longer be joined once nobody has it
 * joined and no notification waits in it. (So the writer of the paper's Listing 1 may destroy
 * right after notify, and its reader still joins, waits and reads.) The resource and its bytes stay.
 */
VIDAS_API int vidas_object_destroy(struct vidas_object *o);

/* Where the bytes of a resource are. */
struct vidas_locality {
	uint64_t size_bytes;	 /* length of the resource */
	uint64_t resident_bytes; /* of these, in the pool */
	uint32_t objects;	 /* live objects on it */
	uint32_t domains;	 /* entries used in domain[] */
	/* who has joined an object of it, or has it open */
	vidas_domain_id domain[VIDAS_DOMAINS_MAX];
};

/*
 * Asks where a resource is, without touching the backend. A resource of which the pool knows
 * nothing gives zeros, not an error.
 */
VIDAS_API int vidas_object_get_locality(struct vidas *v, const char *container,
					const char *resource, struct vidas_locality *out);

/* Objects: attributes [shm] ------------------------------------------------------------------- */

/*
 * Copies an attribute's value into `value` and returns its full length, which may exceed `size`
 * (then nothing is copied; `size` 0 asks for the length). -ENODATA there is none of that name.
 *
 * Predefined (paper §3.2.1): "name", "container" (text, not NUL-terminated), "offset", "size"
 * (uint64_t), "data" (void *: the mapped bytes of this object in this process, valid until
 * leave), "synchronized" ("true", "false"), "write_policy" ("through", "back"), "update_policy",
 * also spelt "read_policy" ("lazy", "eager"); also with a space, "write policy". Texts may be set
 * with or without their NUL. Setting "through" first propagates what was written before; "eager"
 * takes over what is newer in the backend now, and whenever somebody joins. Other names are the
 * users' own, kept with the object, seen by all who have it joined, gone with it.
 */
VIDAS_API ssize_t vidas_object_getattr(struct vidas_object *o, const char *name, void *value,
				       size_t size);

/* Sets one. -EINVAL bad name or value, -EPERM read-only attribute, -ENOSPC the object's attribute
 * space (4 KiB, names and values together) is used up, -EROFS attached read-only. */
VIDAS_API int vidas_object_setattr(struct vidas_object *o, const char *name, const void *value,
				   size_t size);

/* The "data" attribute without a copy or a string compare; NULL with VIDAS_MESSAGES only. */
VIDAS_API void *vidas_object_data(struct vidas_object *o);
VIDAS_API uint64_t vidas_object_size(const struct vidas_object *o);

/* Objects: data ------------------------------------------------------------------------------- */

/*
 * Copy from or to the object at `offset` within it [shm]. Short at the object's end; 0 at or
 * beyond it. With "synchronized" = "true" each call is atomic over its range with respect to
 * other read and write calls on the resource, from any domain; disjoint ranges run in parallel.
 * What vidasd pushes by itself is decided by the write_policy of the file, not of an object on it.
 * With write_policy "through" a write has reached the backend before it returns (and is then not
 * [shm]). If another domain cut the resource short under the object: -EIO.
 *
 * Attached read-only: write gives -EROFS, and a read is not atomic even where synchronized is set,
 * because to lock is to write.
 */
VIDAS_API ssize_t vidas_object_read(struct vidas_object *o, void *buf, uint64_t offset,
				    size_t size);
VIDAS_API ssize_t vidas_object_write(struct vidas_object *o, const void *buf, uint64_t offset,
				     size_t size);

/* Propagates the resource to the backend; returns when it is there. 0 at once without a backend. */
VIDAS_API int vidas_object_flush(struct vidas_object *o);

/*
 * Takes over the backend's present bytes, in place: whoever has the resource joined or mapped sees
 * them there. -EBUSY the resource has changes not yet flushed, or is gone in the backend. Its bytes
 * tell, compared with those that were flushed or taken over last: that it is joined, or open for
 * writing, is no change.
 *
 * The bytes come one after the other, "synchronized" or not: who reads meanwhile may see old and new
 * ones. A store that comes meanwhile is safe if it makes the call fail with -EBUSY; else it may be
 * overwritten, and what is not counts as a change. Who has something to store is to wait for the
 * call's end (notify). An object keeps its size; what it has beyond the backend's end is as cut
 * short by another domain (see read and write).
 */
VIDAS_API int vidas_object_update(struct vidas_object *o);

/* Objects: synchronization [shm] --------------------------------------------------------------- */

/* Both: -EROFS attached read-only. */

/*
 * Sends a message of `size` (0..4096) bytes to the object. Messages are kept in order and each is
 * taken by one waiter; and whoever polls the file on /vidas for POLLPRI, in whichever domain, is woken
 * (docs/consistency.md). Waits up to `timeout_us` while the object's ring (32 KiB) is full:
 * -EAGAIN with 0, else -ETIMEDOUT.
 */
VIDAS_API int vidas_object_notify(struct vidas_object *o, const void *msg, size_t size,
				  int64_t timeout_us);

/*
 * Takes the oldest message: copies it to `buf` and returns its length. If it is longer than
 * `size`: -EMSGSIZE, and it stays. -EAGAIN (timeout 0) or -ETIMEDOUT if none came.
 */
VIDAS_API ssize_t vidas_object_wait(struct vidas_object *o, void *buf, size_t size,
				    int64_t timeout_us);

#ifdef __cplusplus
}
#endif

#endif
