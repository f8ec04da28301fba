/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The layout of the memory that domains share beside the data itself.
 *
 * Two kinds of file, both in the pool, both passed as descriptors:
 *   control file   one a resource: range locks, and for each object on it a slot with
 *                  attributes and the notification ring
 *   lease table    one a container: who caches what, who has what open for writing
 *
 * All fields are little-endian, of fixed width; every writer's words have a cache line of their
 * own. Everything here can be changed by any domain that has attached the container read-write
 * (the container is the trust boundary), at any moment and to any value: a reader copies a
 * field once, checks the copy, uses the copy. Any process may die at any instruction: what is
 * half-written is never reachable from what is published.
 *
 * Lock words hold the session id (unique, never 0, below 2^31) of the owner; vidasd releases
 * the words of a session that ends. Bit 31 says that someone sleeps on the word (futex).
 */
#ifndef VIDAS_SHM_H
#define VIDAS_SHM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define VIDAS_SHM_CONTROL_MAGIC UINT64_C(0x4c54435341444956) /* "VIDASCTL" */
#define VIDAS_SHM_LEASE_MAGIC	UINT64_C(0x5341454c44495656) /* "VVIDLEAS" */
#define VIDAS_SHM_VERSION	1u

#define VIDAS_SHM_WAITERS (UINT32_C(1) << 31)

/* Control file -------------------------------------------------------------------------------- */

#define VIDAS_SHM_RANGES     60u    /* range locks held at once on one resource */
#define VIDAS_SHM_SLOTS	     1024u  /* objects at once on one resource */
#define VIDAS_SHM_ATTR_BYTES 4096u  /* one image of an object's attributes */
#define VIDAS_SHM_RING_BYTES 32768u /* notifications of an object; a power of two */

/* A held range lock; free when owner is 0. Guarded by `range_lock`. */
struct vidas_shm_range {
	uint32_t owner;	    /* session id */
	uint32_t exclusive; /* 0 reader, 1 writer, 2 a writer who waits: new readers let it go first */
	uint64_t start, end; /* [start, end) in the resource */
	uint64_t spare;
};

/*
 * Who waits in a guest of Xen, where no futex reaches it, see pool/transport/xen/bells.h. `owner` is written first and
 * cleared last; free when it is 0.
 */
#define VIDAS_SHM_BELLS 16u
struct vidas_shm_bell {
	_Atomic uint32_t owner;	 /* session id */
	_Atomic uint32_t serial; /* of the process: another number for each; 0: not written yet */
	_Atomic uint32_t guest;	 /* Xen's domid */
	_Atomic uint32_t asleep; /* threads; a hint: 0 saves the ring */
	uint32_t spare[4];
	_Atomic uint32_t port
		[VIDAS_SHM_BELLS]; /* of its event channels: for the process in that slot to bind; 0: none */
};

/* Page 0: what belongs to the resource. */
struct vidas_shm_resource {
	uint64_t magic;
	uint32_t version;
	uint32_t slots; /* object slots that follow; the file is that long */
	uint64_t inode;
	uint8_t handle[40]; /* vidasd's own: tells the inode from a later one of that number */

	_Atomic uint32_t range_lock;	/* guards range[] */
	_Atomic uint32_t range_event;	/* futex: counts releases */
	_Atomic uint32_t range_waiters; /* a hint: 0 saves the wake-up call */
	_Atomic uint32_t notify_event;	/* futex: counts messages sent to any of its objects */
	_Atomic uint32_t notify_waiters;
	uint8_t pad1[44];

	struct vidas_shm_range range[VIDAS_SHM_RANGES];
	struct vidas_shm_bell bell[VIDAS_SHM_BELLS];
	uint8_t pad2[4096 - 128 - VIDAS_SHM_RANGES * 32 - VIDAS_SHM_BELLS * 96];
};

enum vidas_shm_object_flag {
	VIDAS_SHM_SYNCHRONIZED = 1u << 0,
	VIDAS_SHM_WRITE_THROUGH = 1u << 1,
};

enum vidas_shm_object_state {
	VIDAS_SHM_OBJECT_FREE = 0,
	VIDAS_SHM_OBJECT_LIVE = 1,
	VIDAS_SHM_OBJECT_DESTROYED = 2, /* goes when left by all and drained */
};

/* An attribute in an image: this header, then name and value; images end at `used`. */
struct vidas_shm_attr {
	uint8_t name_bytes;
	uint8_t spare;
	uint16_t value_bytes;
};

/*
 * Attributes are two images; readers use image[active & 1] as a seqlock on `active`, a writer
 * (under attr_lock) builds the other one and then advances `active`: no reader ever waits, and
 * a writer that dies half-way has changed nothing.
 *
 * The ring holds records of {uint32_t size; bytes; padding to 8}. `head` and `tail` count bytes
 * for ever; producers append under tail_lock and publish by `tail`, consumers take under
 * head_lock and publish by `head`. tail_event and head_event are the futexes of those who wait
 * for a message and for room.
 */
struct vidas_shm_object {
	uint64_t offset, size;	/* the view; written by vidasd only, a hint for its restart */
	_Atomic uint32_t state; /* enum vidas_shm_object_state; the same */
	_Atomic uint32_t flags; /* enum vidas_shm_object_flag: attributes that every access needs */
	uint32_t creator;	/* session id of who created it; as offset and size */
	uint8_t pad0[36];

	_Atomic uint32_t attr_lock;
	_Atomic uint32_t attr_active;
	uint32_t attr_used[2];
	uint8_t pad1[48];

	_Atomic uint32_t tail_lock;
	_Atomic uint32_t tail_event;
	_Atomic uint64_t tail;
	_Atomic uint32_t tail_waiters; /* a hint: 0 saves the wake-up call */
	uint8_t pad2[44];

	_Atomic uint32_t head_lock;
	_Atomic uint32_t head_event;
	_Atomic uint64_t head;
	_Atomic uint32_t head_waiters;
	uint8_t pad3[44];

	uint8_t pad4[4096 - 256];
	uint8_t attr_image[2][VIDAS_SHM_ATTR_BYTES];
	uint8_t ring[VIDAS_SHM_RING_BYTES];
};

_Static_assert(sizeof(struct vidas_shm_range) == 32, "layout");
_Static_assert(sizeof(struct vidas_shm_resource) == 4096, "layout");
_Static_assert(offsetof(struct vidas_shm_resource, range_lock) == 64, "layout");
_Static_assert(offsetof(struct vidas_shm_resource, range) == 128, "layout");
_Static_assert(sizeof(struct vidas_shm_bell) == 96, "layout");
_Static_assert(offsetof(struct vidas_shm_resource, bell) == 2048, "layout");
_Static_assert(sizeof(struct vidas_shm_object) == 4096 + 8192 + 32768, "layout");
_Static_assert(offsetof(struct vidas_shm_object, attr_lock) == 64, "layout");
_Static_assert(offsetof(struct vidas_shm_object, tail_lock) == 128, "layout");
_Static_assert(offsetof(struct vidas_shm_object, head_lock) == 192, "layout");
_Static_assert(offsetof(struct vidas_shm_object, attr_image) == 4096, "layout");
_Static_assert(offsetof(struct vidas_shm_object, ring) == 12288, "layout");

/* Where slot `i` of a control file begins. */
#define VIDAS_SHM_SLOT_OFFSET(i) (4096u + (uint64_t)(i) * sizeof(struct vidas_shm_object))

/* Lease table --------------------------------------------------------------------------------- */

/*
 * A lease says: "the kernel of the domain with this slot may answer from its caches for at most
 * VIDAS_SHM_LEASE_US". Buckets are chosen by inode number; two inodes in one bucket only cost a
 * recall too many. vidasd takes the memory of the table before it hands it out for use, so that touching
 * it never fails for want of room. Protocol (C11, all seq_cst):
 *   to cache   set own bit in `cached`, THEN read the attributes or the name, reply with a time-out
 *              of at most VIDAS_SHM_LEASE_US. Attributes are not cached while `writers` has the bit
 *              of another session: what the own one writes its kernel knows.
 *   to change  make the change, THEN look at `cached`; if it has bits but one's own, have vidasd
 *              recall them, and acknowledge the change only after that (or after
 *              VIDAS_SHM_LEASE_US, whichever is first: a lease is never longer than that).
 *   recalled   drop all that one caches of that bucket, cache nothing of it meanwhile, THEN clear
 *              own bit, THEN answer. Only the holder clears its bit (vidasd when the holder's
 *              session ends): were it cleared by who changes, or before all is dropped, a second
 *              change could be acknowledged while the first one's recall is still on its way.
 *   run out    VIDAS_SHM_LEASE_US after the last reply that was sent under a bit, clear own bit: without
 *              this, what is cached once would cost every later change by others a recall. It counts
 *              from when the reply has been sent, not from when the bit was set; nor is the bit
 *              cleared while a recall of the bucket is under way.
 *   to write   before the first open for writing in a domain: set own bit in `writers`, THEN as for
 *              a change; clear it after the last close. A session without a slot sets the bit
 *              VIDAS_SHM_LEASE_REST and never clears it.
 *
 * What vidasd has to push by itself it learns without a message as well. Who makes a change in a
 * container with a root sets, AFTER the change and before he acknowledges it, the bit of the inode's
 * bucket in `changes` (of the directory whose names, of the file whose bytes or attributes changed),
 * THEN `changed`; after the last close of a file that was open for writing once more, BEFORE
 * `writers` is cleared. Who changes a policy sets `changed_all`, THEN `changed`: what was passed over
 * before may have to go now. vidasd clears `changed`, THEN takes the bits, THEN looks at what they
 * stand for. Two inodes in one bucket cost a look too many.
 */
#define VIDAS_SHM_LEASE_BUCKETS 65536u /* a power of two; see vidas_shm_lease_bucket() */
#define VIDAS_SHM_LEASE_SLOTS	63u    /* sessions with a slot; others do without caching */
#define VIDAS_SHM_LEASE_REST	63u    /* the bit in `writers` of all sessions without a slot */
#define VIDAS_SHM_LEASE_US	(5 * 1000 * 1000)

struct vidas_shm_lease {
	_Atomic uint64_t cached;  /* bit per slot */
	_Atomic uint64_t writers; /* bit per slot */
};

struct vidas_shm_leases {
	uint64_t magic;
	uint32_t version;
	uint32_t buckets;
	_Atomic uint32_t changed;
	_Atomic uint32_t changed_all;
	uint8_t pad[40];
	struct vidas_shm_lease bucket[VIDAS_SHM_LEASE_BUCKETS];
	_Atomic uint64_t changes[VIDAS_SHM_LEASE_BUCKETS / 64]; /* bit per bucket */
};

_Static_assert(sizeof(struct vidas_shm_lease) == 16, "layout");
_Static_assert(offsetof(struct vidas_shm_leases, bucket) == 64, "layout");
_Static_assert(offsetof(struct vidas_shm_leases, changed) == 16, "layout");
_Static_assert(offsetof(struct vidas_shm_leases, changes) == 64 + 16 * 65536, "layout");
_Static_assert(sizeof(struct vidas_shm_leases) == 64 + 16 * 65536 + 8192, "layout");

static inline uint32_t vidas_shm_lease_bucket(uint64_t inode)
{
	return (uint32_t)((inode * UINT64_C(0x9e3779b97f4a7c15)) >> 48); /* the upper 16 bits */
}

/* By who has just made a change. A read-modify-write, so that it comes after the change. */
static inline void vidas_shm_changes_set(struct vidas_shm_leases *t, uint64_t inode)
{
	uint32_t bucket = vidas_shm_lease_bucket(inode);

	atomic_fetch_or_explicit(&t->changes[bucket / 64], UINT64_C(1) << bucket % 64,
				 memory_order_seq_cst);
	if (!atomic_load_explicit(&t->changed, memory_order_seq_cst))
		atomic_store_explicit(&t->changed, 1, memory_order_seq_cst);
}

#endif
