/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What outlives a worker. vidasfs is two processes: the worker, which does all the work, and its keeper,
 * which only waits for the worker to die. They share the table of descriptors, so that nothing that the
 * worker had open is closed by its death: neither the kernel's connection nor files nor the locks on
 * them; and memory at the same addresses, in which is what the kernel knows by number: nodes, open
 * files, lock owners. A worker that is killed is followed by another, which makes of that memory what else
 * it needs (resume.c), and has the kernel send again what was not answered (channel.c).
 *
 * Any instruction may be the last: a record is published when it is whole, a descriptor is noted
 * before it is used and struck out before it is closed, and nothing else in the records is believed.
 *
 * Threads: all of this is thread-safe, but what says otherwise.
 */
#ifndef VIDASFS_KEEP_H
#define VIDASFS_KEEP_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vidas_node;

/* Records (keep.c) -------------------------------------------------------------------------------- */

enum vidas_kept_kind {
	VIDAS_KEPT_NODE,
	VIDAS_KEPT_HANDLE,
	VIDAS_KEPT_DIR,
	VIDAS_KEPT_OWNER,
	VIDAS_KEPT_BRANCH,
	VIDAS_KEPT_KINDS
};

#define VIDAS_KEPT_INIT_BYTES 256u
#define VIDAS_KEPT_DEEDS      1024u

/* What was done for a request, deed.c. */
struct vidas_deed {
	_Atomic uint64_t unique; /* the request's */
	uint64_t ino;		 /* of what it is done to, or 0 */
	int64_t begun_us;	 /* CLOCK_REALTIME */
	int64_t result;
	_Atomic bool done;
};

struct vidas_kept {
	_Atomic unsigned workers; /* so far */
	_Atomic bool mounted;	  /* a worker that dies is to be followed by another */
	_Atomic bool ending;	  /* ... not any more */
	bool detached;		  /* nobody waits for the mount any more */
	bool journal;		  /* the log is the journal */
	uint32_t serials; /* see vidas_keep_serials(); in a near half, how many far halves there were */
	int fuse_fd;
	char mountpoint[PATH_MAX];
	struct vidas_node *root;
	uint32_t init_bytes; /* the kernel's first request, which it sends once */
	_Alignas(8) uint8_t init[VIDAS_KEPT_INIT_BYTES];
	struct vidas_deed deed[VIDAS_KEPT_DEEDS];
	_Atomic uint64_t used[VIDAS_KEPT_KINDS]; /* records, live or once so */
};
extern struct vidas_kept *vidas_kept;

/* Before there are two processes. */
int vidas_keep_init(void);
/* In a new worker, before there are threads: finds the free records. */
void vidas_keep_resume(void);
/* Without a worker: nothing is kept any more, but where the mount and the log are. */
void vidas_keep_reset(void);
/* At the end of a worker: tells a leak detector where to look for what records lead to. */
void vidas_keep_end(void);

/* A zeroed record that nobody keeps until it is published. NULL: no room. */
void *vidas_keep_new(enum vidas_kept_kind kind);
void vidas_keep_publish(void *record);
void vidas_keep_free(enum vidas_kept_kind kind, void *record);
/* All published ones. Not while others publish or free. */
void vidas_keep_each(enum vidas_kept_kind kind, void (*each)(void *record));
/* The one that was made for the request in hand, by a worker that died over it; or NULL. */
void *vidas_keep_again(enum vidas_kept_kind kind);
/* A record by number; one that was freed, or another in its place, is not found by it (NULL). */
uint64_t vidas_keep_number(enum vidas_kept_kind kind, const void *record);
void *vidas_keep_find(enum vidas_kept_kind kind, uint64_t number);
/* Before there are records: numbers begin with that serial, in the upper half. */
void vidas_keep_serials(uint32_t first);

/* The request in hand (channel.c, deed.c) ----------------------------------------------------------- */

/* Of this thread. `again`: a worker died over it. */
struct vidas_request {
	uint64_t unique;
	bool again;
};
extern _Thread_local struct vidas_request vidas_request;

/*
 * What may not be done twice is done between begin and done; `ino` is of what it is done to, or 0. The
 * others ask, before it would be done, whether the worker that died over this very request has done
 * it: it has noted so, or, if it died in the middle of that one system call, it can be seen.
 */
void vidas_deed_begin(uint64_t ino);
void vidas_deed_done(int64_t result);
/* What has that name there came into being by it. */
bool vidas_deed_made(int dirfd, const char *name);
/* That name leads to `ino` by it. */
bool vidas_deed_moved(int dirfd, const char *name);
/* That name does not lead to `ino` any more by it; *ino is set if so. */
bool vidas_deed_removed(int dirfd, const char *name, uint64_t *ino);
/* Its result, if that is known. */
bool vidas_deed_result(int64_t *result);
/* It may have been done: its result is not known. To be asked before it is begun again. */
bool vidas_deed_doubt(void);

/* The connection to the kernel (channel.c) ---------------------------------------------------------- */

struct fuse_buf;
struct fuse_session;
/* A request that was read, about to be carried out by this thread: sets vidas_request. */
void vidas_channel_note(const struct fuse_buf *buf);
/* Begins on a connection that another worker had: libfuse is told what was agreed on then. */
int vidas_channel_resume(struct fuse_session *se);
/* Does this kernel do what comes next? */
bool vidas_channel_resends(void);
/* Has the kernel send again what nobody has answered. */
void vidas_channel_resend(void);
/* Tells the kernel something: one message of FUSE. 0, or its errno. */
int vidas_channel_write(const void *message, size_t bytes);

/* The processes (keeper.c) -------------------------------------------------------------------------- */

/* Runs `work` in a worker, and again in another when that is killed. Returns its exit status in the
 * keeper; `title` is what the keeper calls itself. */
int vidas_keeper_run(int (*work)(void *arg), void *arg, int argc, char **argv);
/* Closes what dead workers have left open; `kept` says whether a record has it. In a new worker, once
 * all its records are sound. */
void vidas_keeper_sweep(bool (*kept)(int fd));

/* Going on (resume.c): all tables from the records; trees are attached anew. */
void vidas_resume(void);
/* Afterwards, when there is a session: the kernel drops what it caches and sends again what is
 * under way; what dead workers left open is closed. */
void vidas_resumed(void);

#endif
