/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files whose bytes come in chunks, as they are asked for.
 *
 * An absent file above SYNC_SMALL_BYTES has, once it was opened, a map of the chunks that are here.
 * It is the content of the file in known/ that has the record: a bit is set after the bytes of its
 * chunk are in the pool, so that a kill at any instruction loses bits at most. It counts only for
 * the boot it was made in, on a pool that outlives one its bytes may not have reached the disk.
 *
 * All chunks are of one version of the store's file: each get is on condition of it, and where the
 * store has another by now the map begins anew, under another generation. That number is also on
 * the file, as VIDAS_XATTR_FETCH, from before the first byte of the old version may go: who reads in
 * a generation reads, looks at it again, and has not mixed two versions if it is still the same.
 *
 * The bytes are fetched by threads of the container, at most SYNC_FETCHERS; a chunk that one has
 * asked for is not asked for by others, who wait for it. A reader that goes forward has the chunks
 * before it fetched ahead, in a window that doubles.
 *
 * Exclusion: while chunks of a file are on their way nobody gets the turn of its inode, and while
 * somebody has it, or waits for it, no more are begun but by that one itself.
 */
#ifndef VIDAS_SYNC_PARTIAL_H
#define VIDAS_SYNC_PARTIAL_H

#include "pool/sync/internal.h"

#define SYNC_SMALL_BYTES (4u << 20)  /* files up to this come whole, by who wants them */
#define SYNC_CHUNK_SHIFT 20u	     /* chunks are of 1 MiB, or larger where there were too many */
#define SYNC_CHUNKS_MAX	 65536u	     /* so many bits go into one message */
#define SYNC_RUN_BYTES	 (8u << 20)  /* of one get */
#define SYNC_AHEAD_BYTES (64u << 20) /* that are fetched before they are asked for */
#define SYNC_FETCHERS	 8u
#define SYNC_AHEADS	 6u /* of them for what nobody waits for yet: the others are left to who does */
#define SYNC_FETCHER_US	 (INT64_C(10) * 1000 * 1000) /* an idle one ends */
#define SYNC_PARTIALS	 256u			     /* maps in memory that nobody uses just now */

struct sync_image; /* the map in known/ */

struct sync_partial {
	UT_hash_handle hh; /* vidas_sync.partials, by inode */
	uint64_t inode;
	char *key;
	uint64_t generation, size_bytes;
	unsigned shift;
	uint32_t chunks;
	/* It was begun on bytes that a killed update left: others may have had it mapped. */
	bool doubt;

	/* vidas_sync.lock */
	struct vidas_backend_version version; /* size 0: the first get tells */
	struct sync_image *image;	      /* mapped */
	uint8_t *busy;			      /* bit per chunk: queued, or on its way */
	uint32_t present;		      /* chunks */
	unsigned refs;
	unsigned active; /* runs and who waits for them: nobody gets the inode's turn */
	unsigned turns;	 /* that are waited for: nobody becomes active */
	bool dead;	 /* no more what is in known/ */
	uint32_t next;	 /* the chunk behind the last that was asked for */
	uint32_t window; /* chunks to fetch ahead */
	/* The last run that failed: [bad_first, bad_end), why, and how many before. */
	uint32_t bad_first, bad_end;
	unsigned failures;
	int error;
	char reason[256];

	_Atomic int64_t moved_us;
	/* Open while there are users; opened and closed under io_lock, which is inside no other. */
	pthread_mutex_t io_lock;
	atomic_uint users;
	int fd;
	struct timespec mtime; /* the file's, before bytes are stored into it */
};

struct sync_run {
	struct sync_run *prev, *next; /* vidas_sync.runs */
	struct sync_partial *partial;
	uint32_t first, count; /* chunks */
	bool ahead;
};

/* The map (partial.c). -------------------------------------------------------------------- */

/* Is an absent file of this size fetched in chunks? */
static inline bool sync_in_chunks(uint64_t size_bytes)
{
	return size_bytes > SYNC_SMALL_BYTES;
}

/* The map of an absent file, whose key is `key`; `fd` is a real one. With `turn` the caller has the
 * turns on key and inode: then it is begun where there is none; else 1, there is none. */
int sync_partial_get(struct vidas_sync *s, const char *key, int fd, bool turn,
		     struct sync_partial **out);
void sync_partial_put(struct vidas_sync *s, struct sync_partial *p);
/* With the turns: the store has another version than that of the map, or `p` is NULL and no version
 * is known: asks it which, and begins anew. */
int sync_partial_restart(struct vidas_sync *s, const char *key, int fd, struct sync_partial *p);
/* With the turn: there is no map any more. */
void sync_partial_forget(struct vidas_sync *s, const char *key, uint64_t inode);
/* With the turn: what was read of the file so far is of a version that is on its way out. */
int sync_partial_outdate(int fd);
/* Under vidas_sync.lock. */
/* Takes it out of memory: it goes with its last user, to whom it is dead. */
void sync_partial_drop(struct vidas_sync *s, struct sync_partial *p);
struct sync_partial *sync_partial_find(struct vidas_sync *s, uint64_t inode);
bool sync_partial_has(const struct sync_partial *p, uint32_t chunk);
void sync_partial_set(struct sync_partial *p, uint32_t chunk);
void sync_partial_adopt(struct sync_partial *p, const struct vidas_backend_version *seen);
bool sync_partial_complete(const struct sync_partial *p);
/* Copies the bits, as many as fit, and says how many bytes that were. */
size_t sync_partial_bits(const struct sync_partial *p, uint8_t *out, size_t size);
/* How many bytes of an absent file are here, and which: up to `max` extents, in order. */
int sync_partial_extents(struct vidas_sync *s, const char *key, int fd, uint64_t *bytes,
			 struct vidas_sync_extent *out, size_t max, size_t *count);

/* Fetching (chunks.c). -------------------------------------------------------------------- */

static inline uint64_t sync_chunk_bytes(const struct sync_partial *p)
{
	return UINT64_C(1) << p->shift;
}

/* What is fetched beyond what is wanted. */
enum sync_ahead {
	SYNC_AHEAD_NONE,
	SYNC_AHEAD_GUESS, /* by what was asked for before */
	SYNC_AHEAD_MOST	  /* all will be wanted */
};

/*
 * Returns when the chunks [first, end) are here. 1: the map is outdated, get it anew; -EAGAIN: not
 * before `deadline_us`; -ESTALE: the store has another version; -errno: one of them failed. With
 * `turn`: the caller has the inode's.
 */
int sync_partial_want(struct vidas_sync *s, struct sync_partial *p, int fd, uint32_t first,
		      uint32_t end, bool turn, enum sync_ahead ahead, int64_t deadline_us);
/* Returns when nothing of it is on its way any more. Only with the turn of the inode, by which what
 * was fetched ahead is to be waited for before anything else is done. */
void sync_partial_settle(struct vidas_sync *s, const struct sync_partial *p);
/* Ends the threads; runs that are queued are dropped. Nobody may want anything any more. */
void sync_fetchers_stop(struct vidas_sync *s);

#endif
