/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside pool/client/ only.
 *
 * A struct vidas is one session with vidasd. Its lanes are connections that one thread at a time
 * uses: who calls takes a lane, sends, receives the answer itself and puts the lane back; nobody
 * hands anything to another thread. One more lane (events.c) has a thread, which takes vidasd's
 * questions and is the first to notice that vidasd went away.
 *
 * Lock order, outermost first:
 *   vidas.index      what is attached and joined; held over a whole replay after a reconnect
 *   vidas.lock       lanes and the state of the session
 * and below index: lease stripes (lease.h), and under these vidas.age_lock. No lock is held over a message,
 * but `index` over those of a replay, which go through the replaying thread's own lane.
 */
#ifndef VIDAS_CLIENT_H
#define VIDAS_CLIENT_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <uthash.h>

#include <vidas/shm.h>
#include <vidas/vidas.h>

#include "pool/base/base.h"
#include "pool/client/tree.h"
#include "pool/transport/transport.h"
#include "pool/wire/wire.h"

#define VIDAS_ADDRESS	     "/run/vidas/domain/sock"
#define VIDAS_LANES_MAX	     16u
#define VIDAS_TIMEOUT_US     (INT64_C(30) * 1000 * 1000)
#define VIDAS_BACKOFF_US     (INT64_C(10) * 1000)
#define VIDAS_BACKOFF_MAX_US (INT64_C(250) * 1000)
/* How long requests that move bytes to or from a backend may take; others have the timeout. */
#define VIDAS_MOVE_US	     (INT64_C(3600) * 1000 * 1000)
/* How often one request is sent again, when vidasd goes away over it again and again. */
#define VIDAS_TRIES	     10

struct vidas_lane {
	struct vidas_channel *ch;
	unsigned generation; /* of the session it belongs to */
	struct vidas_lane *next;
	alignas(8) uint8_t tx[VIDAS_WIRE_MAX];
	alignas(8) uint8_t rx[VIDAS_WIRE_MAX];
};

enum vidas_events_state { VIDAS_EVENTS_NONE, VIDAS_EVENTS_STARTING, VIDAS_EVENTS_RUNNING };

struct vidas {
	char *address;
	int64_t timeout_us;

	pthread_mutex_t index;
	struct vidas_container *containers; /* by name */
	struct vidas_object *objects;

	pthread_mutex_t lock;
	pthread_cond_t changed;	  /* a lane was put back, or the session began, ended, closes */
	struct vidas_lane *idle;  /* last used first */
	struct vidas_lane *stuck; /* kept open so that the session lives, not used: see session.c */
	unsigned lanes_max;	  /* VIDAS_LANES_MAX, or as many as vidasd gave us */
	unsigned lanes;		  /* open ones of this generation, without `stuck` */
	bool live, connecting, closing;
	uint64_t token;
	_Atomic vidas_domain_id domain;
	/* Counts sessions; changes under both locks. What has another generation than this knows
	 * numbers of a session that is no more. */
	unsigned generation;
	_Atomic uint32_t session;

	_Atomic uint64_t ids;	   /* of requests */
	_Atomic uint64_t messages; /* sent */
	_Atomic unsigned joins;	   /* that wait */

	pthread_t events_thread;
	enum vidas_events_state events_state; /* under lock, as these two: */
	struct vidas_channel *events_channel;
	struct vidas_tree_events events;
	int events_error;
	unsigned events_calls; /* how often they were asked for */
	/* Recalls reach us just now: caching is allowed. */
	atomic_bool events_live;

	/* Leases run out, see lease.h. */
	pthread_t age_thread;
	bool age_runs; /* under lock */
	pthread_mutex_t age_lock;
	pthread_cond_t age_wake;
	bool age_stop;		       /* under age_lock */
	atomic_uint aging;	       /* buckets on lists */
	_Atomic uint32_t epoch;	       /* of leases that are given now */
	_Atomic uint32_t epoch_oldest; /* with leases that have not run out */

	/* When the session was lost, 0 while there is one. */
	_Atomic int64_t lost_us;
};

/* A container that is attached, or was created and so may be attached without asking. */
struct vidas_container {
	UT_hash_handle hh;
	struct vidas *v;
	char name[VIDAS_NAME_MAX + 1];

	/* Under vidas.index. Every reference may send messages; the last one takes it from the table. */
	unsigned refs;
	unsigned objects;    /* of refs, joined objects */
	bool attached;	     /* by the user, which is one of refs */
	bool bound;	     /* vidasd knows that we attached it */
	unsigned attaches;   /* ... and how often */
	unsigned generation; /* the session in which `number` is right */
	struct vidas_tree *trees;
	char *root; /* URL, once asked for */

	_Atomic uint32_t number; /* 0: gone at vidasd */
	_Atomic uint32_t access; /* enum vidas_wire_access */
	_Atomic uint32_t flags;	 /* enum vidas_wire_container_flag */
	_Atomic int32_t slot;
	_Atomic(struct vidas_leases *) leases; /* lease.h; NULL until a tree was attached */
};

struct vidas_tree {
	struct vidas_container *c;
	struct vidas_tree *next; /* of the container; under vidas.index */
	unsigned refs;		 /* the user's and of callbacks under way; under vidas.index */
	int fd;
};

/* One request. Zero it, fill in the first part. */
struct vidas_call {
	enum vidas_wire_type type;
	void *body; /* the struct of the type */
	/* If not NULL, the body's first word is made *number at each try; when that is 0, the thing
	 * is gone at vidasd, and the call gives -ENOENT. */
	const _Atomic uint32_t *number;
	/* If not 0: only in that session; in another there is nothing to be done any more, 0. */
	unsigned only_generation;
	const char *string[VIDAS_WIRE_STRINGS];
	const void *blob;
	size_t blob_bytes;
	int64_t timeout_us; /* 0: as fits the type */
	bool retry;	    /* say that it may have been carried out already */
	unsigned shares_wanted;
	/* Called with the answer, while the lane is still ours: to map shares. */
	int (*take)(struct vidas_call *call, struct vidas_channel *ch);
	void *arg;

	/* The answer. */
	void *reply; /* where its struct goes, or NULL */
	size_t reply_bytes;
	void *reply_blob; /* as much of its blob as fits */
	size_t reply_blob_size;
	size_t reply_blob_bytes;		     /* the blob's full length */
	struct vidas_share share[VIDAS_WIRE_SHARES]; /* the caller's on success: vidas_call_close() */
	unsigned shares;
	unsigned generation; /* the session that answered */
};

/* session.c */
int vidas_or_default(struct vidas **v);	 /* replaces NULL by the default connection */
void vidas_session_end(struct vidas *v); /* closes all lanes */
/* Takes a lane of the living session, connecting (again) if need be, until the deadline. */
int vidas_lane_get(struct vidas *v, int64_t deadline_us, struct vidas_lane **out);
void vidas_lane_put(struct vidas *v, struct vidas_lane *lane);
/* Gives up a lane on which something went wrong. `alive`: vidasd is not known to have gone. */
void vidas_lane_drop(struct vidas *v, struct vidas_lane *lane, bool alive);
/* A connection that has said nothing yet, of generation 0; and its end. */
int vidas_lane_connect(struct vidas *v, struct vidas_lane **out);
void vidas_lane_free(struct vidas_lane *lane);
/* Says hello on it for the session `session` (0: a new one). */
int vidas_session_hello(struct vidas *v, struct vidas_lane *lane, uint32_t flags, uint32_t session,
			uint64_t token, struct vidas_wire_hello_reply *reply);
/* Waits until there is a session; its generation. */
int vidas_session_wait(struct vidas *v, int64_t deadline_us, unsigned *generation);
/* For the owner of lock words (lock.h). */
bool vidas_session_alive(void *v, uint32_t session);

/* call.c */
/* One try on a lane that is ours: 0 answered well or badly (`*status`), 1 the connection is lost,
 * -errno it cannot be used further though vidasd may live. */
int vidas_lane_exchange(struct vidas *v, struct vidas_lane *lane, struct vidas_call *call,
			int64_t deadline_us, int *status);
/* The whole: lane, tries, reconnects. 0 or -errno with words. */
int vidas_call(struct vidas *v, struct vidas_call *call);
void vidas_call_close(struct vidas_call *call);

/* container.c */
/* Creates; afterwards it counts as attached by the user. */
int vidas_container_make(struct vidas *v, const char *name,
			 struct vidas_wire_container_create *body, const char *root);
/* What a user names: attached, bound, with a reference of the caller's. -ENOTCONN. */
int vidas_container_get(struct vidas *v, const char *name, struct vidas_container **out);
/* The entry, made if new, neither attached nor bound. */
int vidas_container_entry(struct vidas *v, const char *name, struct vidas_container **out);
/* Has vidasd attach it (again, for a tree: *tree is then the share, yours). */
int vidas_container_bind(struct vidas_container *c, struct vidas_share *tree);
/* Ends a reference; the last one has vidasd told. */
int vidas_container_put(struct vidas_container *c);
/* The path within the container of a resource's name, which may be a URL below the root. */
int vidas_container_resource(struct vidas_container *c, const char *name, char *path, size_t size);
bool vidas_container_readonly(const struct vidas_container *c);
/* Attaches anew what was attached, on that lane; under vidas.index. -errno: the lane is lost. */
int vidas_containers_replay(struct vidas *v, struct vidas_lane *lane, unsigned generation);

/* object.c: joins anew what was joined; as above. */
int vidas_objects_replay(struct vidas *v, struct vidas_lane *lane, unsigned generation);

/* lease_map.c */
struct vidas_leases;
int vidas_leases_map(struct vidas_container *c, struct vidas_channel *ch, struct vidas_share *share,
		     bool writable);
void vidas_leases_free(struct vidas_container *c);

/* lease_age.c: has leases run out, once it was started; stop waits for its thread. */
int vidas_age_start(struct vidas *v); /* under vidas.lock */
void vidas_age_stop(struct vidas *v);

/* lease.c */
/* After a reconnect: our bits are set again in the slot that we have now. */
void vidas_leases_replay(struct vidas_container *c);
/* Forgets what is cached of `inode` and its bucket (0: of all) and tells `recall` all that was. */
void vidas_leases_recall(struct vidas_container *c, uint64_t inode, uint32_t kinds,
			 void (*recall)(void *arg, uint64_t inode, uint32_t kinds), void *arg);

/* events.c */
/* Starts the events lane's thread unless it runs; with `ev`, waits until it is connected. */
int vidas_events_start(struct vidas *v, const struct vidas_tree_events *ev);
void vidas_events_stop(struct vidas *v);
void vidas_events_waiting(struct vidas *v); /* this thread is about to wait for an answer */

/* tree.c */
int vidas_tree_unref(struct vidas_tree *t);

#endif
