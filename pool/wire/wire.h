/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control messages between a domain and vidasd: one place for both ends.
 *
 * A message is one datagram of a channel (pool/transport), at most VIDAS_WIRE_MAX bytes:
 *
 *   struct vidas_wire_header                       24 bytes
 *   the body: the fixed struct of its type         a multiple of 8 bytes
 *   its strings, as many as the type has           each: u16 length, bytes, NUL
 *   its blob, if the type has one                  u32 length, bytes
 *
 * All integers are little-endian. A reply has its request's type with VIDAS_WIRE_REPLY set, the
 * request's id, and a status: 0 or -errno; with a negative status the body is absent and the blob
 * is the reason in words. Requests of one lane are answered in order; other lanes of the session
 * go on meanwhile. Shares (descriptors of memory) travel beside the message, see transport.h;
 * which ones a reply brings is said at its struct.
 *
 * vidas_wire_decode() checks everything that can be checked without state: sizes, string
 * lengths, embedded NULs, flags, ranges, names, ids. What it accepts needs no second look at its
 * form; who may do it is for pool/host/ to say.
 *
 * Versions: majors must be equal; a minor adds types or flags at the end.
 */
#ifndef VIDAS_WIRE_H
#define VIDAS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vidas/vidas.h>

#define VIDAS_WIRE_MAGIC UINT64_C(0x4552495753444956) /* "VIDSWIRE" */
#define VIDAS_WIRE_MAJOR 1
#define VIDAS_WIRE_MINOR 0

#define VIDAS_WIRE_MAX	    16384u
#define VIDAS_WIRE_STRINGS  2u
#define VIDAS_WIRE_SHARES   2u
#define VIDAS_WIRE_BLOB_MAX 8192u
#define VIDAS_WIRE_REPLY    0x8000u

struct vidas_wire_header {
	uint32_t size;	/* of the whole message */
	uint16_t type;	/* enum vidas_wire_type, | VIDAS_WIRE_REPLY */
	uint16_t flags; /* enum vidas_wire_flag */
	uint64_t id;	/* chosen by the requester */
	int32_t status; /* replies: 0 or -errno; requests: 0 */
	uint32_t spare; /* 0 */
};

enum vidas_wire_flag {
	/* Sent again after a reconnect: the first try may have been carried out, so its having been
	 * done already is success. */
	VIDAS_WIRE_RETRY = 1u << 0,
};

/* X(NAME, value, lower-case name, strings in request, blob in request, strings in reply, blob in reply) */
#define VIDAS_WIRE_TYPES(X)                                    \
	X(HELLO, 1, hello, 0, 0, 0, 0)                         \
	X(CONTAINER_CREATE, 2, container_create, 2, 0, 0, 0)   \
	X(CONTAINER_DESTROY, 3, container_destroy, 1, 0, 0, 0) \
	X(CONTAINER_ATTACH, 4, container_attach, 1, 0, 0, 0)   \
	X(CONTAINER_LEAVE, 5, container_leave, 0, 0, 0, 0)     \
	X(CONTAINER_LIST, 6, container_list, 0, 0, 0, 1)       \
	X(OBJECT_CREATE, 7, object_create, 1, 0, 0, 0)         \
	X(OBJECT_JOIN, 8, object_join, 1, 0, 0, 0)             \
	X(OBJECT_LEAVE, 9, object_leave, 0, 0, 0, 0)           \
	X(OBJECT_DESTROY, 10, object_destroy, 0, 0, 0, 0)      \
	X(LOCALITY, 11, locality, 1, 0, 0, 0)                  \
	X(FLUSH, 12, flush, 1, 0, 0, 0)                        \
	X(UPDATE, 13, update, 1, 0, 0, 0)                      \
	X(RESIDENT, 14, resident, 1, 0, 0, 0)                  \
	X(IMPORT, 15, import, 1, 0, 0, 0)                      \
	X(ATTR_GET, 16, attr_get, 2, 0, 0, 1)                  \
	X(ATTR_SET, 17, attr_set, 2, 1, 0, 0)                  \
	X(RECALL, 18, recall, 0, 0, 0, 0)                      \
	X(SESSION_ALIVE, 19, session_alive, 0, 0, 0, 0)        \
	X(EVENT, 20, event, 0, 0, 0, 0)                        \
	X(DOMAIN_ADD, 21, domain_add, 0, 0, 0, 0)              \
	X(DOMAIN_REMOVE, 22, domain_remove, 0, 0, 0, 0)        \
	X(STATUS, 23, status, 0, 0, 0, 1)                      \
	X(LOCK_WAIT, 24, lock_wait, 0, 1, 0, 0)                \
	X(LOCK_DONE, 25, lock_done, 0, 0, 0, 0)                \
	X(FETCH, 26, fetch, 1, 0, 0, 1)

enum vidas_wire_type {
#define X(NAME, value, ...) VIDAS_WIRE_##NAME = (value),
	VIDAS_WIRE_TYPES(X)
#undef X
};

/* HELLO: first on every lane. The first lane of a session sends session 0, or, after vidasd was
 * restarted, the id it had (RESUME); the session's further lanes send its id and token. */
enum vidas_wire_hello_flag {
	VIDAS_WIRE_HELLO_RESUME = 1u << 0,
	VIDAS_WIRE_HELLO_EVENTS =
		1u << 1, /* this lane is for EVENTs: vidasd asks, the domain replies */
};
struct vidas_wire_hello {
	uint64_t magic;
	uint16_t major, minor;
	uint32_t flags;
	uint64_t token;
	uint32_t session;
	uint32_t spare;
};
struct vidas_wire_hello_reply {
	uint16_t major, minor;
	uint32_t domain;
	uint64_t token;
	uint32_t session;
	uint32_t spare;
};

/* Containers. Strings: name [, root URL or ""]. A domain other than 0 may not name a root. */
enum vidas_wire_access { VIDAS_WIRE_RO = 1, VIDAS_WIRE_RW = 2 };
struct vidas_wire_domain_entry {
	uint32_t domain;
	uint32_t access; /* enum vidas_wire_access */
};
struct vidas_wire_container_create {
	uint32_t domains; /* entries used */
	uint32_t spare;
	struct vidas_wire_domain_entry domain[VIDAS_DOMAINS_MAX];
};
struct vidas_wire_container_create_reply {
	uint64_t spare;
};
enum vidas_wire_destroy_flag {
	VIDAS_WIRE_DESTROY_EMPTY = 1u << 0, /* -ENOTEMPTY; with a root it is flushed, not empty */
};
struct vidas_wire_container_destroy {
	uint32_t flags; /* enum vidas_wire_destroy_flag */
	uint32_t spare;
};
struct vidas_wire_container_destroy_reply {
	uint64_t spare;
};
/* Replies with the shares: [0] the lease table; [1] the tree, if asked for and the transport can. */
enum vidas_wire_attach_flag { VIDAS_WIRE_ATTACH_TREE = 1u << 0 };
struct vidas_wire_container_attach {
	uint32_t flags;
	int32_t slot; /* the lease slot held before a restart, or -1 */
};
enum vidas_wire_container_flag {
	VIDAS_WIRE_CONTAINER_ROOTED = 1u << 0,
	VIDAS_WIRE_CONTAINER_RELAXED = 1u << 1, /* `consistency` was set on something in it */
};
struct vidas_wire_container_attach_reply {
	uint32_t container; /* the number by which this session's messages name it */
	uint32_t access;    /* enum vidas_wire_access */
	int32_t slot;	    /* in the lease table, or -1: none is free, cache nothing */
	uint32_t flags;	    /* enum vidas_wire_container_flag */
};
struct vidas_wire_container_leave {
	uint32_t container;
	uint32_t spare;
};
struct vidas_wire_container_leave_reply {
	uint64_t spare;
};
/* Blob of the reply: names, each with its NUL. `next` 0: that was all. */
struct vidas_wire_container_list {
	uint64_t cursor;
};
struct vidas_wire_container_list_reply {
	uint64_t next;
};

/* Objects. String: the resource's name, relative to the container. Shares: [0] data, [1] control. */
struct vidas_wire_object_create {
	uint32_t container;
	uint32_t spare;
	uint64_t offset, size;
};
struct vidas_wire_object_create_reply {
	uint32_t object; /* the number by which this session's messages name it */
	uint32_t slot;	 /* in the control file */
	uint64_t size;	 /* as asked, or found where 0 was asked */
	uint64_t inode;
};
struct vidas_wire_object_join {
	uint32_t container;
	uint32_t spare;
	uint64_t offset, size;
	int64_t timeout_us; /* at most VIDAS_WIRE_WAIT_MAX_US; the client asks again for more */
};
#define VIDAS_WIRE_WAIT_MAX_US (INT64_C(10) * 1000 * 1000)
struct vidas_wire_object_join_reply {
	uint32_t object;
	uint32_t slot;
	uint64_t size;
	uint64_t inode;
};
struct vidas_wire_object_leave {
	uint32_t object;
	uint32_t spare;
};
struct vidas_wire_object_leave_reply {
	uint64_t spare;
};
struct vidas_wire_object_destroy {
	uint32_t object;
	uint32_t spare;
};
struct vidas_wire_object_destroy_reply {
	uint64_t spare;
};
struct vidas_wire_locality {
	uint32_t container;
	uint32_t spare;
};
struct vidas_wire_locality_reply {
	uint64_t size_bytes, resident_bytes;
	uint32_t objects, domains;
	uint32_t domain[VIDAS_DOMAINS_MAX];
};

/*
 * Residency. String: a path relative to the container, "" for the container itself; `inode` is
 * what the asker believes to be there, 0 if it does not care (-ESTALE if it is another: ask again
 * with the present path). FLUSH, UPDATE on a directory go through all below it.
 */
struct vidas_wire_flush {
	uint32_t container;
	uint32_t spare;
	uint64_t inode;
};
struct vidas_wire_flush_reply {
	uint64_t files, bytes; /* what was moved */
};
struct vidas_wire_update {
	uint32_t container;
	uint32_t spare;
	uint64_t inode;
};
struct vidas_wire_update_reply {
	uint64_t files, bytes;
};
/* Makes a file wholly resident: afterwards the absent mark is gone from it. */
struct vidas_wire_resident {
	uint32_t container;
	uint32_t flags; /* enum vidas_wire_resident_flag */
	uint64_t inode;
};
enum vidas_wire_resident_flag {
	VIDAS_WIRE_REVALIDATE = 1u << 0, /* update policy eager: take over a newer version first */
};
struct vidas_wire_resident_reply {
	uint64_t size_bytes;
};
/*
 * A part of an absent file. String: the key that its absent mark has, whatever its path is by now.
 * Blob of the reply: a bit per chunk, set when its bytes are in the pool; with DONE nothing but that
 * the mark is off. -EAGAIN: not here yet, ask again. -ENOENT: no such file by that key, or it is
 * gone in the store as well: RESIDENT tells.
 */
struct vidas_wire_fetch {
	uint32_t container;
	uint32_t flags; /* enum vidas_wire_fetch_flag */
	uint64_t inode;
	uint64_t offset, size;
	int64_t timeout_us; /* at most VIDAS_WIRE_WAIT_MAX_US */
};
enum vidas_wire_fetch_flag {
	VIDAS_WIRE_FETCH_ALL = 1u << 0,	       /* until it is wholly resident */
	VIDAS_WIRE_FETCH_DISCARD = 1u << 1,    /* no more than `size` of it: it is cut to that */
	VIDAS_WIRE_FETCH_REVALIDATE = 1u << 2, /* begin anew if the store has another version */
};
enum vidas_wire_fetch_state { VIDAS_WIRE_FETCH_DONE = 1u << 0 };
struct vidas_wire_fetch_reply {
	uint64_t size_bytes;
	uint64_t generation; /* as VIDAS_XATTR_FETCH (pool/policy/attr.h) */
	uint32_t state;	     /* enum vidas_wire_fetch_state */
	uint32_t shift;	     /* chunks are of 1 << shift bytes */
};
#define VIDAS_WIRE_FETCH_SHIFT_MAX 47u
/* Brings a directory's entries from the backend into the tree, files as absent ones. */
struct vidas_wire_import {
	uint32_t container;
	uint32_t spare;
	uint64_t inode;
};
struct vidas_wire_import_reply {
	uint64_t entries;
};

/* Virtual attributes that only vidasd can answer. Strings: path, attribute (without "user.vidas."). */
struct vidas_wire_attr_get {
	uint32_t container;
	uint32_t spare;
	uint64_t inode;
};
struct vidas_wire_attr_get_reply {
	uint64_t spare;
};
struct vidas_wire_attr_set {
	uint32_t container;
	uint32_t remove; /* 1: back to the inherited value; the blob is then empty */
	uint64_t inode;
};
struct vidas_wire_attr_set_reply {
	uint64_t spare;
};

/* Leases (shm.h). Returns when every session in `slots` has given up what it caches of `inode`.
 * POLICIES: every session that has attached the container, whatever `slots` and `inode` say, has
 * given up all that it caches of it, since what may be cached was set anew. */
enum vidas_wire_recall_kind {
	VIDAS_WIRE_RECALL_NAMES = 1, /* entries of the directory `inode` */
	VIDAS_WIRE_RECALL_ATTRS = 2, /* attributes of `inode` */
	VIDAS_WIRE_RECALL_POLICIES = 4,
};
struct vidas_wire_recall {
	uint32_t container;
	uint32_t kinds; /* one or more of enum vidas_wire_recall_kind */
	uint64_t inode;
	uint64_t slots; /* bit per slot */
};
struct vidas_wire_recall_reply {
	uint64_t spare;
};

/* Is that session alive? Asked by who waits for a lock word that it holds. */
struct vidas_wire_session_alive {
	uint32_t session;
	uint32_t spare;
};
struct vidas_wire_session_alive_reply {
	uint32_t alive; /* 0: certainly ended, its locks may be taken over */
	uint32_t spare;
};

/* From vidasd, on an events lane. The domain replies when it has acted. */
enum vidas_wire_event_kind {
	VIDAS_WIRE_EVENT_RECALL = 1,	 /* `kinds`, `inode` as in RECALL */
	VIDAS_WIRE_EVENT_CONTAINERS = 2, /* the set of containers changed */
	/* Is anything of `container` in use, other than having been looked at? -EBUSY if so. */
	VIDAS_WIRE_EVENT_USED = 3,
};
struct vidas_wire_event {
	uint32_t kind;
	uint32_t container; /* as this session names it; 0 for CONTAINERS */
	uint32_t kinds;
	uint32_t spare;
	uint64_t inode;
};
struct vidas_wire_event_reply {
	uint64_t spare;
};

/* Administration: domain 0 only. */
struct vidas_wire_domain_add {
	uint32_t domain;
	uint32_t uid; /* who besides root may connect */
};
struct vidas_wire_domain_add_reply {
	uint64_t spare;
};
struct vidas_wire_domain_remove {
	uint32_t domain;
	uint32_t spare;
};
struct vidas_wire_domain_remove_reply {
	uint64_t spare;
};
/* Blob: what vidasd is and has, as JSON; cut into pages by `offset` (0 first). */
struct vidas_wire_status {
	uint64_t offset;
};
struct vidas_wire_status_reply {
	uint64_t next; /* 0: that was all */
};

/*
 * Locks are arbitrated by the host's kernel, not by messages. But it does not see when those who wait for
 * them wait for each other. LOCK_WAIT: `owner` waits for `wanted`; the blob is what it holds, an
 * array of struct vidas_wire_lock. The same number again replaces what was said. -EDEADLK: with
 * this wait a circle is closed; nothing is noted then. LOCK_DONE: the wait is over.
 */
struct vidas_wire_lock {
	uint32_t container;
	uint32_t exclusive; /* 0 or 1 */
	uint64_t inode;
	uint64_t start, last; /* bytes, both included; at most INT64_MAX */
};
struct vidas_wire_lock_wait {
	uint64_t number; /* chosen by the session */
	uint64_t owner;	 /* the same */
	struct vidas_wire_lock wanted;
};
struct vidas_wire_lock_wait_reply {
	uint64_t spare;
};
struct vidas_wire_lock_done {
	uint64_t number;
};
struct vidas_wire_lock_done_reply {
	uint64_t spare;
};

/* A decoded message. Pointers lead into the buffer that was decoded. */
struct vidas_wire_message {
	enum vidas_wire_type type;
	bool reply;
	uint16_t flags;
	uint64_t id;
	int status;
	const void *body;			/* the struct of the type; NULL in a failed reply */
	const char *string[VIDAS_WIRE_STRINGS]; /* NUL-terminated; "" where the type has none */
	size_t string_bytes[VIDAS_WIRE_STRINGS];
	const void *blob;
	size_t blob_bytes;
};

/*
 * Lays out a message in `buf` (VIDAS_WIRE_MAX bytes, aligned to 8). `m` names type, reply, flags,
 * id, status, body (NULL: all zeros), strings (up to their NUL, NULL counts as ""; string_bytes is
 * not looked at), blob. Returns its size; -EMSGSIZE too long, -EINVAL unknown type, or a blob where
 * the type has none. It does not check values: that is decode's work.
 */
int vidas_wire_encode(void *buf, const struct vidas_wire_message *m);

/*
 * Checks a received message and describes it. `buf` must be private memory of the caller (a copy
 * of anything shared), aligned to 8. Returns 0; -EBADMSG malformed (then `*reason`, if not NULL,
 * says what is wrong with it), -EOPNOTSUPP a type that this version does not know (`m` then has
 * type 0 and the id, so that it can be answered).
 *
 * A HELLO of another major is accepted whatever follows its body, so that it can be answered
 * -EPROTO in words: who gets a HELLO looks at `major` first. Header and HELLO keep their layout in
 * all majors, and so do failed replies. In replies, flags and fields of a later minor are let pass.
 */
int vidas_wire_decode(const void *buf, size_t size, struct vidas_wire_message *m,
		      const char **reason);

/*
 * The part of the file behind share `i` of a good reply to CREATE or JOIN that the object is: for a
 * transport that has to hand over memory page by page. `offset` is the request's. Of any other
 * reply, and of an object without bytes, it is empty.
 */
struct vidas_wire_range {
	uint64_t offset, bytes;
};
struct vidas_wire_range vidas_wire_share_range(const struct vidas_wire_message *reply,
					       uint64_t offset, unsigned i);

/* The reply to a request that `status` says all about, or the beginning of one with more. */
static inline struct vidas_wire_message vidas_wire_reply(const struct vidas_wire_message *request,
							 int status)
{
	return (struct vidas_wire_message){
		.type = request->type, .reply = true, .id = request->id, .status = status
	};
}

/* "container_create" and so on, for logs; "unknown" for what is none. */
const char *vidas_wire_name(enum vidas_wire_type type);

#endif
