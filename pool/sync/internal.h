/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files here share. sync.c: open, close, whose turn it is; tree.c: opening things in the
 * tree; known.c: records; change.c: what changed; import.c, fetch.c, partial.c and chunks.c (files in
 * chunks, see partial.h), prefetch.c, resident.c, update.c (a file), renew.c (a directory): from the
 * store; push.c, put.c, hold.c, link.c, conflict.c, remove.c, batch.c, flush.c, owed.c: to the store; state.c,
 * survey.c: states; progress.c: how far they are.
 *
 * Lock order: turn of a directory's inode, of a path, of a file's inode; then sync.lock. Of several paths
 * the first by strcmp() first: so what is above comes before what is below.
 *
 * The tree is hostile: other domains rename, cut and replace things in it at any instruction.
 * Every path is resolved by openat2() beneath the tree, never through a symbolic link; what is
 * opened is looked at by fstat(), and only regular files are opened for real.
 */
#ifndef VIDAS_SYNC_INTERNAL_H
#define VIDAS_SYNC_INTERNAL_H

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include <vidas/vidas.h>

#include "backends/store.h"
#include "pool/base/base.h"
#include "pool/base/map.h"
#include "pool/sync/sync.h"

/* Beside VIDAS_SYNC_ABSENT and VIDAS_SYNC_TOUCHED, on files of the tree: */
#define SYNC_PUSHED   "trusted.vidas.pushed" /* the key under which it was pushed last, or fetched */
#define SYNC_BEGUN    "trusted.vidas.begun" /* the key of a first push; until SYNC_PUSHED is there */
#define SYNC_ERROR    "trusted.vidas.error" /* "ERRNO text" of the last push or fetch */
#define SYNC_GONE     "trusted.vidas.gone"  /* the store has it no more: on its way out */
/* In known/: */
#define SYNC_KNOWN    "trusted.vidas.known"
#define SYNC_IMPORTED "trusted.vidas.imported"

#define SYNC_AGAIN	 1	     /* from sync_push's parts: let go of all turns, begin anew */
#define SYNC_BOOT_BYTES	 36	     /* of the kernel's boot_id */
#define SYNC_TRIES	 5	     /* at something that others keep changing */
#define SYNC_PIECE_BYTES (64u << 20) /* of one get; a multiple of any page size */
#define SYNC_HANDLE_MAX	 64u /* bytes of a file handle: tmpfs 12, ext4 8, xfs 16, btrfs 40 */
/* How long to wait for another's turn on a file while no byte of it moves. */
#define SYNC_PATIENCE_US (INT64_C(300) * 1000 * 1000)

/* So many calls in a row to which the store gave no answer end a flush or update of a directory:
 * what else is in it would take as long each. */
#define SYNC_TIMEOUTS 4u

enum sync_doing { SYNC_LOOKING, SYNC_FETCH, SYNC_FLUSH };

/* A turn on a path or an inode: one holder at a time. Lies on the holder's stack. */
struct sync_turn {
	const char *path; /* one of the two */
	uint64_t inode;
	enum sync_doing doing;
	_Atomic int64_t moved_us; /* when its holder last got on */
	UT_hash_handle hh;
	bool held;
};

/* A file that is being fetched whole, for who looks on. Lies on the fetcher's stack. */
struct sync_fetching {
	const char *key;
	uint64_t size_bytes;
	_Atomic uint64_t here_bytes;
	struct sync_fetching *prev, *next;
};
void sync_fetching_begin(struct vidas_sync *s, struct sync_fetching *f, const char *key,
			 uint64_t size_bytes);
void sync_fetching_end(struct vidas_sync *s, struct sync_fetching *f);

struct vidas_sync {
	struct vidas_store *store; /* both: since vidas_sync_ready() */
	_Atomic uint32_t caps;
	pthread_mutex_t open_lock; /* of the store; nothing is taken under it */
	char *root, *filters;
	int tree, known, stage; /* directories; stage: things that are made, or on their way out */
	struct vidas_sync_hooks hooks;
	bool fine_times; /* every change gives an mtime of its own */
	atomic_bool ended;
	_Atomic uint64_t stage_next;
	_Atomic unsigned told; /* enum sync_told: what was logged once */

	pthread_mutex_t lock; /* guards paths and inodes, and what follows */
	pthread_cond_t turn_over;
	struct sync_turn *paths, *inodes;

	struct sync_fetching *fetching;

	/* Files that come in chunks (partial.h). */
	bool quiet_maps; /* stores through mappings can be made so that they leave the mtime alone */
	uint8_t boot[SYNC_BOOT_BYTES];
	struct sync_partial *partials; /* by inode */
	struct sync_run *runs;	       /* to be fetched, first first */
	unsigned runs_queued, fetchers, fetchers_idle, aheads;
	bool fetchers_stop;
	pthread_cond_t fetch_work;
};

enum sync_told {
	SYNC_TOLD_SPECIAL = 1u << 0,
	SYNC_TOLD_SYMLINK = 1u << 1,
	SYNC_TOLD_NAME = 1u << 2,
	SYNC_TOLD_LINKS = 1u << 3
};

/* True for the first that asks. */
bool sync_tell_once(struct vidas_sync *s, enum sync_told what);

/* Turns (sync.c). -ETIMEDOUT the holder does not get on. Giving back one that is not held is
 * allowed. */
int sync_turn_path(struct vidas_sync *s, struct sync_turn *t, const char *path);
int sync_turn_inode(struct vidas_sync *s, struct sync_turn *t, uint64_t inode,
		    enum sync_doing doing);
void sync_turn_moved(struct sync_turn *t);
void sync_turn_give(struct vidas_sync *s, struct sync_turn *t);
bool sync_inode_busy(struct vidas_sync *s, uint64_t inode, enum sync_doing *doing);
bool sync_inode_held(struct vidas_sync *s, uint64_t inode); /* under vidas_sync.lock */

/* Before the store is used: vidas_sync_ready(), -ENOTCONN if there is no such root now. */
int sync_need_store(struct vidas_sync *s);
/* Can the store do that, one of VIDAS_BACKEND_…? It may find out more with its first requests. */
static inline bool sync_can(const struct vidas_sync *s, uint32_t cap)
{
	return atomic_load_explicit(&s->caps, memory_order_relaxed) & cap;
}

bool sync_open_for_writing(struct vidas_sync *s, uint64_t inode);
/* Tells the hook, now or when this thread gives its last turn back. */
void sync_changed(struct vidas_sync *s, uint64_t inode, uint32_t kinds);

/* Paths and the tree (tree.c). ------------------------------------------------------------ */

/* openat2() beneath `dir`, no symbolic links; "" is `dir` itself. */
int sync_open_at(int dir, const char *path, int flags);
/* The directory above `path` (O_PATH) and its last component; `path` is not "". */
int sync_parent(int dir, const char *path, const char **base);
/* Opens for real what an O_PATH descriptor names. Files with O_NONBLOCK: a domain that holds a file
 * lease on one must not hold us. */
int sync_reopen(int fd, int flags);
/* Opens `path` in the tree as O_PATH and looks at it; -ESTALE unless `inode` is 0 or its own. */
int sync_tree_look(struct vidas_sync *s, const char *path, uint64_t inode, struct stat *st);
/* "dir/name" in `out`; -ENAMETOOLONG, -EINVAL a name that cannot be. */
int sync_join(char out[static PATH_MAX], const char *dir, const char *name);
/* A text xattr as a NUL-terminated path: -ENODATA, -EINVAL not a path. */
int sync_path_xattr(int fd, const char *xattr, char out[static PATH_MAX]);
/* Sets what `valid` of `from` names; size and type are left alone. */
int sync_apply_attrs(int fd, const struct vidas_backend_stat *from);
void sync_attrs_of(const struct stat *st, struct vidas_backend_stat *out);
/* Calls `each` for every entry but "." and ".." of an open directory (a real descriptor, kept). */
int sync_each_entry(int dir, int (*each)(void *arg, const char *name), void *arg);
/* The same, with their inodes and types. */
int sync_each_dirent(int dir, int (*each)(void *arg, const struct dirent *entry), void *arg);
/* A name in the stage that nobody else uses. */
void sync_stage_name(struct vidas_sync *s, const char *what, char out[static 64]);

static inline bool sync_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Records (known.c). ---------------------------------------------------------------------- */

enum sync_record_flag {
	SYNC_AGREED = 1u << 0, /* inode, size, mtime, mode, owner and version were agreed on */
	SYNC_CHANGED =
		1u << 1, /* but the pool's bytes may be others now, whatever the mtime says: as
			    VIDAS_SYNC_TOUCHED, of one name */
	SYNC_PUSHING = 1u << 2, /* a put was begun: if the store has push_*, it is ours */
	SYNC_CONFLICT = 1u << 3,
	SYNC_FETCHING =
		1u << 4, /* an absent file: size and time are ours; push_mtime was its own */
	/* A set_attrs was begun: the bytes are as agreed, mode, owner and version may not be. */
	SYNC_ATTRS = 1u << 5,

	/* In the store it is, or was, one file with other keys: its version may be another by what was done to
	 * those. */
	SYNC_LINKED = 1u << 6
};

#define SYNC_DIGEST_BYTES VIDAS_BACKEND_DIGEST_BYTES

struct sync_digest {
	bool known;
	uint8_t bytes[SYNC_DIGEST_BYTES];
};

struct sync_record {
	enum vidas_backend_type type;
	uint32_t flags;
	uint64_t inode, size;
	struct timespec mtime;
	uint32_t mode, uid, gid;
	struct vidas_backend_version version;
	/* Of the bytes that the store has as `version`; not known where that is in any doubt. */
	struct sync_digest digest;
	/* Of a put under way its size; of a symbolic link sync_target_hash(); of a file that was put its number, which
	 * the names have in common that are one file in the store; 0: it was not put by us. */
	uint64_t push_tag;
	struct timespec push_mtime;
	int handle_type;
	unsigned handle_size; /* 0: none */
	uint8_t handle[SYNC_HANDLE_MAX];
};

/* -ENOENT there is none, or none that was finished; *rec is all zeros after an error. */
int sync_known_get(struct vidas_sync *s, const char *path, struct sync_record *rec);
/* Replaces it in one step; makes the directories above. */
int sync_known_put(struct vidas_sync *s, const char *path, const struct sync_record *rec);
/* 0 if there is none. A directory: only an empty one, -ENOTEMPTY. */
int sync_known_drop(struct vidas_sync *s, const char *path);
/* S_IFREG, S_IFDIR, or 0 for nothing. */
mode_t sync_known_kind(struct vidas_sync *s, const char *path);
bool sync_known_imported(struct vidas_sync *s, const char *path);
int sync_known_set_imported(struct vidas_sync *s, const char *path);
/* Is what the store has to be asked for before anything is done to it? */
static inline bool sync_is_unsure(const struct vidas_sync *s, const struct sync_record *rec)
{
	return (rec->flags & (SYNC_PUSHING | SYNC_ATTRS)) ||
	       ((rec->flags & SYNC_LINKED) && sync_can(s, VIDAS_BACKEND_LINKS));
}
/* Fills in what is agreed from the file itself and `version`, without a digest; keeps flags other
 * than AGREED and LINKED, which it may set, push_*. */
void sync_record_agree(struct sync_record *rec, int fd, const struct stat *st,
		       const struct vidas_backend_version *version);
/* What was agreed on has several names in the store, as far as that tells. */
static inline void sync_record_links(struct sync_record *rec,
				     const struct vidas_backend_stat *there)
{
	rec->flags |= there->links > 1 ? SYNC_LINKED : 0u;
}
/* Is the file that was agreed on as `path` still in the tree, under a name that was not pushed yet?
 * Then this key is the only one under which the store has it. */
bool sync_is_moved(struct vidas_sync *s, const char *path);
/* If another inode than `inode` was agreed on as `path`, is still in the tree, and has its bytes
 * only in the store: a descriptor of it; else -ENOENT. */
int sync_displaced(struct vidas_sync *s, const char *path, uint64_t inode);

/* The inode `inode` that was agreed on as `key`, open for reading and writing, whether it still has
 * a name or not; -ENOENT it is another, or none. */
int sync_open_key(struct vidas_sync *s, const char *key, uint64_t inode);
/* The file that was agreed on as `key`, if it has lost its last name but is open somewhere, and some
 * of its bytes are in the store only; -ENOENT. */
int sync_open_reader(struct vidas_sync *s, const char *key);

/* Are mode and owner as agreed? */
bool sync_same_attrs(const struct sync_record *rec, const struct stat *st);
/* Is what the store has what was agreed on, or what a push since then left there, as far as that
 * can be told? Links: asks the store for the target. */
bool sync_is_ours(struct vidas_sync *s, const char *path, const struct sync_record *rec,
		  const struct vidas_backend_stat *there);

/* What changed (change.c). ---------------------------------------------------------------- */

int sync_digest_bytes(const void *ptr, size_t size, struct sync_digest *out);
/* Of the first `size` bytes of a file, or of what the store has; not known after an error, -ESTALE
 * there are less. `turn`: NULL or that of who waits for this. */
int sync_digest_file(int fd, uint64_t size, struct sync_turn *turn, struct sync_digest *out);
int sync_digest_store(struct vidas_sync *s, const char *key,
		      const struct vidas_backend_version *version, uint64_t size,
		      struct sync_turn *turn, struct sync_digest *out);

/* Has what `st` shows changes that are not pushed, other than of its mode and owner? DOUBT: only its
 * bytes can tell. `fd`: for the marks; may be O_PATH. */
enum sync_change { SYNC_SAME, SYNC_DOUBT, SYNC_DIFFERS };
enum sync_change sync_compare(struct vidas_sync *s, const struct sync_record *rec,
			      const struct stat *st, int fd);
/* The same, with doubts decided by the digest. `absent`: its bytes are not here, so nobody changed
 * them. */
bool sync_is_dirty(struct vidas_sync *s, const struct sync_record *rec, const struct stat *st,
		   int fd, bool absent, struct sync_turn *turn);
/* As sync_is_dirty(), for who has the turns on `path` and the inode; takes doubts away for good where
 * nobody has the file open for writing. `fd` is a real one. 1 dirty, 0 not, -errno. */
int sync_settle(struct vidas_sync *s, const char *path, struct sync_record *rec,
		const struct stat *st, int fd, bool absent, struct sync_turn *turn);

/* From the store. ------------------------------------------------------------------------------ */

/* Makes the entry `name` of the store's directory `key` appear as `path` in the tree, absent. 1
 * made, 0 it was there. */
int sync_import_entry(struct vidas_sync *s, const char *path, const char *key,
		      const struct vidas_backend_stat *st);
/* All bytes of `key` into `fd`, which gets their size. With `stay` *st says which version and size
 * are expected; else, and when that turns out to be outdated, *st is asked for anew. */
int sync_fetch_bytes(struct vidas_sync *s, const char *key, struct vidas_backend_stat *st, int fd,
		     bool stay, struct sync_turn *turn);
/* A private file of the pool with the bytes of `key`. */
int sync_fetch_private(struct vidas_sync *s, const char *key, struct vidas_backend_stat *st,
		       struct sync_turn *turn);
/* Fetches an absent file in place; the caller has the turns on `key` and the inode. */
int sync_fetch_absent(struct vidas_sync *s, const char *key, int fd, struct sync_turn *turn,
		      uint64_t *bytes);
/* All its bytes are here, or nobody's concern any more: it is absent no longer. */
int sync_take_marks(struct vidas_sync *s, const char *key, int fd);
/* Before the bytes of an absent file, and so its time, are changed: notes its own time, or tells it
 * where that was noted before. */
int sync_note_fetching(struct vidas_sync *s, const char *key, struct sync_record *rec,
		       struct stat *st);
/* Makes what `fd` is resident, whatever its name; takes turns itself. -EAGAIN: a file in chunks was
 * not all here by the deadline. */
int sync_make_resident(struct vidas_sync *s, int fd, int64_t deadline_us);
/* Before what the store has as `key` goes: who still reads a file of that name that was deleted gets
 * the rest of its bytes, if they are to be had. No turn is held. */
void sync_save_reader(struct vidas_sync *s, const char *key);
/* Renews one file, if it is unchanged here: -EBUSY. `st`: what the store has, NULL: ask it. With
 * `bytes_only`, -ESTALE where not newer bytes, but another kind of thing or nothing is in the
 * store. */
int sync_update_file(struct vidas_sync *s, const char *path, uint64_t inode,
		     const struct vidas_backend_stat *st, bool bytes_only,
		     struct vidas_sync_moved *moved);
/* -ENOTCONN: not even the root is in the store, so what is not there may not be gone. */
int sync_root_is_there(struct vidas_sync *s);

/* To the store. -------------------------------------------------------------------------------- */

/*
 * The first `size` bytes of a file, for one put (hold.c): of the file itself, which may be cut short meanwhile
 * and then has zeros there; or, with `copy` and where they are at most 64 MiB, and all copies of this
 * process 256 MiB, of a copy whose digest is then known.
 */
struct sync_held;
int sync_hold(int fd, uint64_t size, struct sync_digest *copy, struct sync_held **out);
const struct iovec *sync_held_bytes(const struct sync_held *h, int *count);
bool sync_held_cut(const struct sync_held *h);
void sync_release(struct sync_held *h); /* NULL allowed */

/* A file; `look` is O_PATH, the caller has the turns on `path` and on `from`, see sync_link_turns(). */
int sync_put_file(struct vidas_sync *s, const char *path, const char *from, int look,
		  struct vidas_sync_moved *moved);

/* Pushes what is at `path`, if it changed; a directory: itself, not what is in it. */
int sync_push(struct vidas_sync *s, const char *path, uint64_t inode,
	      struct vidas_sync_moved *moved);
/* The directories above `path` that the store does not have yet. */
int sync_push_above(struct vidas_sync *s, const char *path);
/*
 * The turns for a push of `path`: on itself, and on the key under which the same file was pushed last, if
 * that is another and the store can give it one more name: `from`, else "". The names of one file are pushed
 * one after the other. -ENOENT, -ESTALE there is no such file.
 */
struct sync_link_turns {
	char from[PATH_MAX], names_of[32];
	struct sync_turn names, path, other;
};
int sync_link_turns(struct vidas_sync *s, struct sync_link_turns *t, const char *path,
		    uint64_t inode);
void sync_link_give(struct vidas_sync *s, struct sync_link_turns *t);
/* Has the store as `from` the bytes that the file `fd` has? 1 yes, *have is its record and what is there is
 * known for ours from now on, whatever becomes of its names; 0, -errno. */
int sync_link_known(struct vidas_sync *s, const char *from, int fd, const struct stat *st,
		    struct sync_turn *turn, struct sync_record *have);
/* May an absent file that was renamed be so in the store, its bytes staying there? Not where some came already, and not
 * one of several names. */
bool sync_link_stays(struct vidas_sync *s, int fd, const struct stat *st);
/* Is `from` another name of the file of that record, and the two not one in the store, as far as is known? Of bytes that
 * were put whole once more: the key by which its other names were to be found was another's. */
bool sync_link_parted(struct vidas_sync *s, const char *from, const struct sync_record *rec);
/* Gives it the name `path`, guarded by *link; *have is as it is then. 1: it cannot have that. */
int sync_link_name(struct vidas_sync *s, const char *from, struct sync_record *have,
		   const char *path, struct vidas_backend_link *link);
/* Says once that the names of a file are files of their own in the store; `why`, or "". */
void sync_link_tell(struct vidas_sync *s, const char *path, const char *why);
bool sync_same_version(const struct vidas_backend_version *a,
		       const struct vidas_backend_version *b);
uint64_t sync_target_hash(const char *target, size_t size);
/* Removes one file or link from the store that is gone, or something else, in the tree. With the
 * turn on `path`. */
int sync_remove_one(struct vidas_sync *s, const char *path, struct vidas_sync_moved *moved);
/* Removes from the store, at and below `path`, what is known and not in the tree any more. */
int sync_remove_gone(struct vidas_sync *s, const char *path, struct vidas_sync_moved *moved);
/* The store has at `path` something not agreed on: keeps it under another name, and shows that in
 * the tree. Afterwards `path` may be replaced; `st->version` is what is there now, size 0 and type
 * 0 if nothing is. */
int sync_conflict_keep(struct vidas_sync *s, const char *path, struct vidas_backend_stat *st);

/* Before `dir` is gone through: if it was renamed while its entries were absent they come now, as they
 * are listed under the old key. `fd` is the directory. */
int sync_import_renamed(struct vidas_sync *s, const char *dir, int fd);
/* Is a regular file certainly as pushed last, under this name, and of the same mode and owner? */
bool sync_is_clean(struct vidas_sync *s, const char *path, const struct stat *st, int fd);

/* Counts *timeouts on: of `err`, which a file ended with, and whether it was moved. */
static inline void sync_count_timeout(unsigned *timeouts, int err, bool moved)
{
	if (err == -ETIMEDOUT)
		++*timeouts;
	else if (moved)
		*timeouts = 0;
}

/* A list of paths that grows at its end. */
struct sync_list {
	char **path;
	size_t count, room;
};
int sync_list_add(struct sync_list *l, const char *path);
void sync_list_free(struct sync_list *l);

/*
 * Many files to the store (batch.c). Its owner hands paths over; workers push them; where they
 * are all busy he does himself. A store that makes each put durable takes many in the time of one.
 * After SYNC_TIMEOUTS, or if the store is away from the beginning, files are only marked with why.
 */
#define SYNC_BATCH_WORKERS 4u
#define SYNC_BATCH_QUEUE   64u

struct sync_batch {
	struct vidas_sync *s;
	bool away;

	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t more;
	char *queue[SYNC_BATCH_QUEUE];
	unsigned head, tail;
	bool done;
	struct sync_list again; /* names that are still taken by another kind of thing in the store */
	struct vidas_sync_moved moved;
	unsigned timeouts; /* see SYNC_TIMEOUTS */
	unsigned failed;   /* things that were not pushed */
	int err;	   /* the first, and its reason */
	char text[256];

	pthread_t worker[SYNC_BATCH_WORKERS];
	unsigned workers;
};

/* `away`: why the store cannot be had (vidas_fail_text() has words), or 0. */
void sync_batch_begin(struct sync_batch *b, struct vidas_sync *s, int away);
void sync_batch_push(struct sync_batch *b, const char *path);
/* At once, by the caller; what goes wrong is his to note. 0 when the batch has given up. */
int sync_batch_push_directory(struct sync_batch *b, const char *path);
void sync_batch_failed(struct sync_batch *b, const char *path, int err);
bool sync_batch_gave_up(struct sync_batch *b);
/* Returns when all is pushed; removals may come afterwards. */
void sync_batch_finish(struct sync_batch *b);
/* Frees it, adds to *moved; the first error. */
int sync_batch_end(struct sync_batch *b, struct vidas_sync_moved *moved);

/* Errors of a file (state.c): kept on it until a push or fetch succeeds; returns `err`. */
int sync_note_error(int fd, int err);
/* What was noted, also of an O_PATH descriptor; 0 nothing. */
int sync_read_error(int fd, char *words, size_t size);

#endif
