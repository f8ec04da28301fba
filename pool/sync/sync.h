/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What moves between a container's tree in the pool and the store at its root: import of names,
 * fetch of bytes, flush, update, and the state of each file. One struct vidas_sync a container
 * with a root. It knows directories and a store, nothing of sessions and messages.
 *
 * What is remembered, so that a killed vidasd knows as much as before: a shadow tree "known/"
 * beside the container's tree. For every key that the pool has in common with the store it has an
 * empty file of the same path, with trusted.vidas.known = {version, inode, size, mtime, mode,
 * owner, file handle, digest} as last agreed; for a directory whose entries were imported, a
 * directory with trusted.vidas.imported. Thus
 *	in the tree, not in known		new here: to be pushed
 *	in both, but they differ		changed here: to be pushed
 *	in known, not in the tree		deleted here: to be removed from the store
 *	in the store, not in known		new there: to be imported
 * A file whose bytes are not in the pool yet is in the tree as a sparse one of the right size and
 * times, with trusted.vidas.absent = its key; the mark is put on before the name appears and taken
 * off when the last byte is there. Nobody may write or cut such a file before, nor read of it what
 * vidas_sync_fetch() did not say is here. A large one comes in chunks; which of them are here
 * is noted where its record is (partial.h).
 *
 * Order, so that a crash at any instruction loses nothing: the intent in known, push, then the
 * result in known. What the store has after a kill is told to be ours by the intent, if the store
 * keeps mtimes to the nanosecond; an intent therefore has also the version that it is to replace,
 * because it takes the place of the intent by which that one was told to be ours. A key is removed
 * when its file is gone or pushed under another name (the handle tells), or when a thing of another
 * kind takes the name, the bytes then being in the pool; a removal is done in the store before it
 * is forgotten in known. Things are made, and taken away, in "stage/" beside known/: no name in the
 * tree is ever half made.
 *
 * With the record is a digest of the bytes that the store has. A file that may have been written to
 * without a trace in its mtime is read, at the speed of memory, and counts as changed if its digest
 * is another, or none is known. The one noted at a push has to be of what the store has, and not of what
 * the file was before or after: the store tells it (VIDAS_BACKEND_DIGESTS), or else a file that others may
 * write to is put from a copy, a large one (above 64 MiB, or if all copies of this vidasd would be
 * above 256 MiB) read back. None is known, until the next push, where a killed update was made good;
 * and with stores that do not tell, where a push and the first writer met, or such a large file could not be
 * read back.
 *
 * Needed: CAP_SYS_ADMIN (trusted xattrs), CAP_DAC_READ_SEARCH (file handles), and what it takes to
 * give files their owners and modes; /proc.
 *
 * Threads: all calls may run in parallel. One file is moved by one thread at a time, but for chunks,
 * which come several at once, each asked for once; others that want the same wait for that
 * (single-flight).
 *
 * Time: a call to the store takes what backend and filters allow it (see backends/filters/retry.c);
 * who waits for another's move of a file gives up (-ETIMEDOUT) when that got nowhere for five
 * minutes. What goes through directories ends when the store has not answered four times in a row.
 */
#ifndef VIDAS_SYNC_H
#define VIDAS_SYNC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <vidas/backend.h>

#include "pool/policy/attr.h"

struct vidas_sync;

struct vidas_sync_hooks {
	/* Does any domain have this inode open for writing just now? Then its bytes may change
	 * without its mtime, and are looked at to tell. */
	bool (*open_for_writing)(void *arg, uint64_t inode);
	/* The tree was changed by us: entries of a directory and/or attributes of an inode (kinds
	 * as enum vidas_wire_recall_kind). Called after the change, before the call returns, and
	 * while no file is held: other calls go on meanwhile. */
	void (*changed)(void *arg, uint64_t inode, uint32_t kinds);
	void *arg;
};

/* On a file: its bytes are not here yet. On a directory: its entries are not, see import. The value
 * is the key in the store, which stays the same when it or a directory above it is renamed. */
#define VIDAS_SYNC_ABSENT VIDAS_XATTR_ABSENT

/* Put on a file by whoever ends a mapping through which it could be written: on tmpfs such writes
 * may leave the mtime as it was. The file's bytes are looked at then; a flush takes the mark off,
 * where nobody has it open for writing. */
#define VIDAS_SYNC_TOUCHED VIDAS_XATTR_TOUCHED

/*
 * `tree_fd`: the container's tree; `state_fd`: the directory in which known/ is. `filters` as for
 * vidas_store_open(); the store itself is opened by the first call that needs it, so that what is
 * here can be had without.
 */
int vidas_sync_open(int tree_fd, int state_fd, const char *root, const char *filters,
		    const struct vidas_sync_hooks *hooks, struct vidas_sync **out);
void vidas_sync_close(struct vidas_sync *s);

/* From now on what is not in the tree is not taken for deleted: it is about to be removed as a whole. With
 * `ended` false it goes on as before. */
void vidas_sync_end(struct vidas_sync *s, bool ended);

/* Opens the store, if it is not open yet. -EINVAL the URL or a filter is wrong, -ENOENT there is no
 * such root now; for the calls below that is -ENOTCONN. */
int vidas_sync_ready(struct vidas_sync *s);

struct vidas_sync_moved {
	uint64_t files, bytes;
};

/*
 * All paths are relative to the tree, "" is the tree, form already checked. `inode`: 0, or -ESTALE
 * if something else is there. Symbolic links on the way are never followed.
 *
 * flush: pushes a file, or everything below a directory, removals included. Goes on after an error,
 * but many -ETIMEDOUT, and returns the first. A file that changed in the store since it was last
 * agreed is not overwritten there: what the store has is kept as "<key>.vidas-conflict-<UTC time>"
 * first, and the state says conflict until the next clean push.
 */
int vidas_sync_flush(struct vidas_sync *s, const char *path, uint64_t inode,
		     struct vidas_sync_moved *moved);

/*
 * What vidasd pushes by itself: whatever changed, is not under write_policy=back, and is as old as its
 * write_deadline. Where things changed the owner knows, by inode; nothing else is looked at, but for
 * the list of each directory. Everything that is due is pushed before anything is removed.
 */
struct vidas_sync_owed {
	/* Since when there may be a change of the inode that is not pushed (monotonic), 0: there is
	 * none. Of a directory: of its names. */
	int64_t (*changed_us)(void *arg, uint64_t inode);
	/* It is not due yet: that it changed then is to be known the next time as well. */
	void (*not_due)(void *arg, uint64_t inode, int64_t changed_us);
	void *arg;
	int64_t now_us; /* INT64_MAX: all is due */

	/* Results, INT64_MAX where there is none. */
	int64_t next_us;  /* when the first of what was not due is */
	int64_t least_us; /* the least write_deadline of what was looked at */
	int64_t watch_us; /* the least update_interval of what was looked at and is eager */
	struct vidas_sync_moved moved;
	unsigned failed; /* things that could not be pushed, or removed from the store */
};
/* 0 or the first error; after an error nothing of this pass may be taken for pushed. */
int vidas_sync_push_owed(struct vidas_sync *s, struct vidas_sync_owed *o);

/* update: takes over what the store has: a file's bytes, in place, or below a directory every file
 * that differs. -EBUSY if the file has changes not pushed (directories: such files are left alone,
 * and -EBUSY at the end); gone in the store: removed here, if unchanged here and open for writing
 * nowhere, else -EBUSY. A write that comes while the bytes are copied may be lost; what is not
 * counts as a change. */
int vidas_sync_update(struct vidas_sync *s, const char *path, uint64_t inode,
		      struct vidas_sync_moved *moved);

/* The same without being asked: of all that is known here and has update_policy=eager. What cannot be taken
 * over, as for update, is left as it is, which is no error. */
int vidas_sync_watch(struct vidas_sync *s, struct vidas_sync_moved *moved);

/* Makes a file's bytes resident. With `revalidate`, an unchanged file whose store version is newer
 * is fetched anew. */
int vidas_sync_resident(struct vidas_sync *s, const char *path, uint64_t inode, bool revalidate);

/* How a part of an absent file is made resident, and what of it is here then. */
struct vidas_sync_fetch {
	/* What is wanted: these bytes (as far as the file has them; none: only to know), or all of it;
	 * or no more than the first `size` ever, because it is cut to that length, which is done here
	 * (a larger size than its own: all of it, and it is not). */
	uint64_t offset, size;
	bool all, discard;
	bool exact; /* what is likely to be wanted next is not fetched ahead */
	/* Begin anew where the store has another version than that of the bytes that are here. */
	bool revalidate;
	int64_t deadline_us; /* -EAGAIN: not here by then; it goes on, ask again */
	uint8_t *bits;	     /* room for a bit per chunk, of bits_room bytes, or NULL */
	size_t bits_room;

	bool whole; /* it is not absent any more, and the rest says nothing */
	/* All bytes of one generation are of one version. What a domain knows of the chunks is good
	 * for reading as long as the file has that number (VIDAS_XATTR_FETCH) after the read. */
	uint64_t generation, size_bytes;
	unsigned shift; /* chunks are of 1 << shift bytes */
	bool complete;	/* all chunks are here */
	size_t bits_bytes;
};
/* Of the file `inode` whose absent mark has `key`, with or without a name. A small file comes whole.
 * -ENOENT, -ESTALE no such file is known by that key: ask by its path. */
int vidas_sync_fetch(struct vidas_sync *s, const char *key, uint64_t inode,
		     struct vidas_sync_fetch *f);

/* Makes a file resident, or the part of it (`size` 0: all), or every file below a directory. Goes on
 * after an error, as flush does, and returns the first. */
int vidas_sync_prefetch(struct vidas_sync *s, const char *path, uint64_t inode, uint64_t offset,
			uint64_t size, struct vidas_sync_moved *moved);

struct vidas_sync_extent {
	uint64_t offset, size;
};
/* Of an absent file: how many bytes are here, and up to `max` of its parts that are, in order.
 * -ENODATA: it is not absent. */
int vidas_sync_extents(struct vidas_sync *s, int fd, uint64_t *bytes, struct vidas_sync_extent *out,
		       size_t max, size_t *count);

/* What of `path`, and below it, is being pushed now: bytes sent, of how many; -ENOENT nothing is. */
int vidas_sync_pushed(struct vidas_sync *s, const char *path, uint64_t *sent_bytes,
		      uint64_t *all_bytes);
/* The same of what is being fetched whole, as by an update; by pieces of 64 MiB. */
int vidas_sync_fetched(struct vidas_sync *s, const char *path, uint64_t *here_bytes,
		       uint64_t *all_bytes);

/* What of the container the store does not have. */
struct vidas_sync_survey {
	bool whole;	  /* else: at least so much, there was no time for more */
	uint64_t changed; /* things that are new or changed; those in a directory that is, as well */
	uint64_t bytes;	  /* size of the files among them */
	uint64_t removed;   /* things that the store still has; a directory is one */
	uint64_t open;	    /* files that may be changing just now, through mappings */
	uint64_t conflicts; /* copies that were kept, "….vidas-conflict-…" */
	uint64_t failed;    /* changed files that could not be pushed, and of one of them: */
	char error_path[256], error_text[256];
};
/* Looks at everything until the deadline; without touching the store, and without reading files. */
int vidas_sync_survey(struct vidas_sync *s, int64_t deadline_us, struct vidas_sync_survey *out);

/* Imports a directory's entries (one level), once; -ENOTDIR, -ENOENT. */
int vidas_sync_import(struct vidas_sync *s, const char *path, uint64_t inode, uint64_t *entries);

/* Looks up one name for the API: imports what is needed on the way to `path`. -ENOENT nowhere. */
int vidas_sync_find(struct vidas_sync *s, const char *path);

enum vidas_sync_state {
	VIDAS_SYNC_CLEAN,
	VIDAS_SYNC_DIRTY,
	VIDAS_SYNC_ABSENT_BYTES,
	VIDAS_SYNC_FETCHING,
	VIDAS_SYNC_FLUSHING,
	VIDAS_SYNC_CONFLICT
};
struct vidas_sync_info {
	enum vidas_sync_state state;
	struct vidas_backend_version version; /* last agreed */
	int error;			      /* of the last push or fetch, 0 if it went well */
	char error_text[256];
};
/* Without touching the store; reads the file where its times do not tell (see above). */
int vidas_sync_info(struct vidas_sync *s, const char *path, struct vidas_sync_info *info);
const char *
vidas_sync_state_name(enum vidas_sync_state state); /* "clean", "dirty", "absent", ... */

#endif
