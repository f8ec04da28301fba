/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vidasd from within: what there is, who owns it, and in which order locks are taken.
 *
 * Threads. One thread a lane (a connection): it receives, decodes, carries out and answers, without
 * a hand-off. The main thread accepts, notices the deaths of clients whose lane is busy, and begins
 * what is to be pushed unasked, a thread for each container (push.c). The cleaner removes destroyed
 * containers.
 *
 * Locks, in the order in which they are taken; whoever holds one may take only later ones:
 *	0  host.admin		domains being added and removed, one at a time
 *	1  host.index		names of containers; read-locked by attach and list only
 *	2  container.lock	a container: rights, slots, resources, objects, who joined what
 *	3  host.registry	domains and sessions by id, counts of lanes
 *	4  session.lock		a session: its lanes, attachments, joins, recalls it owes
 *	5  lane.send, recall.lock, host.config_lock, host.waits_lock, cleaner's lock: nothing is taken
 *	   under them
 * container.sync_lock is taken with none of these held, and none is held when the sync part, a
 * transport or a wait for a domain is called. Open, create, join and the like find their container
 * through the session's attachment and so take nothing that two containers share.
 *
 * Lifetime. Containers, domains, sessions and lanes are counted; each pointer that outlives a lock
 * holds a reference. The host outlives them all.
 */
#ifndef VIDAS_HOST_H
#define VIDAS_HOST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include <vidas/shm.h>

#include "pool/base/base.h"
#include "pool/host/config.h"
#include "pool/host/limits.h"
#include "pool/sync/sync.h"
#include "pool/transport/transport.h"
#include "pool/wire/wire.h"

struct host_container;
struct host_domain;
struct host_session;
struct host_lane;

struct host {
	struct host_config config; /* default_root: under config_lock; the rest never changes */
	pthread_mutex_t config_lock;

	int pool_fd, lock_fd; /* the pool's directory; its marker, locked */
	/* A mount of it of our own, in which a device node or a link that a domain plants does
	 * nothing; all work in the pool goes through directories opened there. */
	int mount_fd;
	int containers_fd, domains_fd, trash_fd;
	bool has_handles; /* the pool's file system gives file handles */

	int64_t started_us, grace_end_us;
	atomic_bool stopping;
	int epoll_fd; /* listeners, by domain id */

	pthread_rwlock_t index;
	struct host_container *containers; /* by name; uthash keeps the order of creation */
	uint64_t last_seq;

	pthread_mutex_t admin;
	pthread_mutex_t registry;
	pthread_cond_t lanes_gone;
	struct host_domain *domains;   /* by id */
	struct host_session *sessions; /* by id */
	unsigned lanes;		       /* threads */
	atomic_uint passes;	       /* of push.c, threads as well */

	pthread_mutex_t waits_lock;
	struct host_wait *waits; /* for locks, waits.c */
	uint64_t wait_searches;

	pthread_t cleaner;
	bool cleaner_runs;
	pthread_mutex_t cleaner_lock;
	pthread_cond_t cleaner_wake;
	bool cleaner_work, cleaner_stop;
	struct host_container *spares;	/* made in advance */
	struct host_container *retired; /* nobody's any more, to be freed */
	unsigned spare_count;
	atomic_bool cleaner_due;	  /* the next tick of the main thread is to wake it */
	_Atomic int64_t cleaner_again_us; /* when it is to try again what did not go */
};

/* Domains (domain.c) -------------------------------------------------------------------------- */

struct host_domain {
	UT_hash_handle hh;
	struct host *host;
	vidas_domain_id id;
	uid_t uid;
	atomic_uint refs;
	struct vidas_listener *listener; /* NULL once removed; under host.registry */
	unsigned lanes, sessions;	 /* under host.registry */
	_Atomic uint64_t requests;	 /* answered, for the status */
	_Atomic int64_t complained_us;
	atomic_uint uncomplained; /* complaints left out since */
	unsigned creating;	  /* containers that it is making; under host.index */
};

/* Opens the listeners of domain 0 and of every domain the pool knows. */
int vidas_host_domains_open(struct host *h);
void vidas_host_domains_close(struct host *h);
/* -EEXIST; with `retry` one that is as asked is success. */
int vidas_host_domain_add(struct host *h, vidas_domain_id id, uid_t uid, bool retry);
int vidas_host_domain_remove(struct host *h, vidas_domain_id id);
/* The main thread saw the listener of `id` readable. */
void vidas_host_domain_accept(struct host *h, vidas_domain_id id);
void vidas_host_domain_unref(struct host_domain *d);
/* A notice about what a domain does, "domain ID: …"; at most one a second and domain, so that none can
 * fill the log. How many were left out is said in the next one. */
void vidas_host_complain(struct host_domain *d, const char *fmt, ...) VIDAS_PRINTF(2, 3);

/* Sessions (session.c) ------------------------------------------------------------------------ */

/*
 * A container that a session has attached. Guarded by session.lock, but `access`, which a change of
 * the container's list of domains sets, and `slot`. `uses` counts requests that hold it, and one
 * until it is left; the last one frees it.
 */
struct host_attachment {
	UT_hash_handle hh; /* session.attached, by number */
	uint32_t number;
	struct host_session *session;
	struct host_container *container;    /* a reference */
	struct host_attachment *prev, *next; /* container.attached; under container.lock */
	_Atomic uint32_t access;	     /* enum vidas_wire_access; 0: taken away */
	int slot;			     /* or -1 */
	unsigned times;			     /* attached, less left */
	unsigned joins;			     /* objects, and creates and joins under way */
	unsigned uses;
	bool left;
	bool tree; /* it was handed the tree, and changes things in it by itself */
};

struct host_recall; /* recall.c */

struct host_session {
	UT_hash_handle hh;
	struct host *host;
	uint32_t id;
	uint64_t token;
	struct host_domain *domain; /* a reference */
	atomic_uint refs;

	pthread_mutex_t lock;
	bool ended; /* nothing may be added any more */
	struct host_lane *lanes;
	struct host_lane *events; /* one of these, or NULL */
	struct host_attachment *attached;
	struct host_join *joins; /* by number */
	unsigned joined;
	uint32_t last_number;
	struct host_recall_target *owed; /* events that it has not answered yet */
	unsigned owed_count;
	char *status; /* what STATUS pages through */
};

/* Adds the lane to a session as its HELLO asks: a new one, a resumed one, or a further lane. */
int vidas_host_session_hello(struct host_lane *lane, const struct vidas_wire_hello *hello,
			     struct vidas_wire_hello_reply *reply);
/* The lane is gone; with the last one the session ends. */
void vidas_host_session_drop_lane(struct host_lane *lane);
/* Holds the attachment of that number for a request; NULL: not attached. */
struct host_attachment *vidas_host_attachment_use(struct host_session *s, uint32_t number);
void vidas_host_attachment_release(struct host_attachment *a);
/* The container was destroyed: attachments without objects are left, the others with their last one. */
void vidas_host_attachments_retire(struct host_container *c);
/* NULL if there is none; a reference. */
struct host_session *vidas_host_session_find(struct host *h, uint32_t id);
void vidas_host_session_ref(struct host_session *s);
void vidas_host_session_unref(struct host_session *s);
/* Calls `each` for every session, with a reference held and no lock. */
void vidas_host_sessions_each(struct host *h, void (*each)(struct host_session *s, void *arg),
			      void *arg);
bool vidas_host_grace(const struct host *h);
/* Sleeps until grace is over. -ESHUTDOWN the host stops. */
int vidas_host_grace_wait(struct host_lane *lane);

/* Waits for locks (waits.c): those that the session has said are over. */
void vidas_host_waits_forget(struct host_session *s);

/* Lanes (lane.c) ------------------------------------------------------------------------------ */

struct host_lane {
	struct host_lane *prev, *next; /* session.lanes */
	struct host *host;
	struct host_domain *domain;   /* a reference */
	struct host_session *session; /* a reference, once HELLO was said */
	struct vidas_channel *channel;
	struct vidas_peer peer;
	atomic_uint refs;
	bool events;		       /* it carries events; set by HELLO */
	bool refuse;		       /* beyond the domain's cap: told so, and closed */
	bool dropped;		       /* from the session; under session.lock */
	pthread_mutex_t send;	       /* events lanes: several threads send */
	bool greeted;		       /* HELLO is answered: events may be sent; under send */
	_Atomic int64_t busy_since_us; /* 0: waits for a request */
	atomic_bool gone;	       /* the client has closed it */
};

/* Starts the thread of a new connection, which takes over `channel` and the reference. */
int vidas_host_lane_start(struct host_domain *d, struct vidas_channel *channel,
			  const struct vidas_peer *peer, bool refuse);
void vidas_host_lane_unref(struct host_lane *lane);
/* Ends sessions whose clients died while a request of theirs is carried out. */
void vidas_host_lanes_tick(struct host *h);
/* Must a request that waits give up? -ESHUTDOWN the host stops, -EPIPE nobody waits for the answer. */
int vidas_host_lane_hopeless(const struct host_lane *lane);

/* Requests (requests.c) ----------------------------------------------------------------------- */

union host_reply {
#define X(NAME, value, lower, ...) struct vidas_wire_##lower##_reply lower;
	VIDAS_WIRE_TYPES(X)
#undef X
};

struct host_request {
	struct host_lane *lane;
	struct host_session *session;
	struct host *host;
	const struct vidas_wire_message *message;
	bool retry;
	union host_reply reply; /* zeroed */
	struct vidas_share share[VIDAS_WIRE_SHARES];
	unsigned shares;
	unsigned borrowed; /* bit i: share[i] is not closed after sending */
	void *blob;	   /* free()d after sending */
	size_t blob_bytes;
	struct host_attachment *attachment; /* released before sending: who has left has left */
	/* After sending, with a reference to the container: work that nobody waits for. */
	void (*after)(struct host_container *c);
	struct host_container *container; /* that reference; also while its descriptors are sent */
};

/* Carries out a request; the results are in `rq`, the reason of a failure in vidas_fail_text(). */
int vidas_host_request(struct host_request *rq);
/* Frees what a request holds. */
void vidas_host_request_end(struct host_request *rq);

/*
 * The container that a request names by number, as rq->attachment. -ENOTCONN not attached, -ENOENT
 * this domain may not know it any more, or it was destroyed.
 */
int vidas_host_request_container(struct host_request *rq, uint32_t number,
				 struct host_container **out);
/* Has rq->attachment more than read access? */
bool vidas_host_request_may_write(const struct host_request *rq);

int vidas_host_do_container_create(struct host_request *rq);
int vidas_host_do_container_destroy(struct host_request *rq);
int vidas_host_do_container_attach(struct host_request *rq);
int vidas_host_do_container_leave(struct host_request *rq);
int vidas_host_do_container_list(struct host_request *rq);
int vidas_host_do_object_create(struct host_request *rq);
int vidas_host_do_object_join(struct host_request *rq);
int vidas_host_do_object_leave(struct host_request *rq);
int vidas_host_do_object_destroy(struct host_request *rq);
int vidas_host_do_locality(struct host_request *rq);
int vidas_host_do_flush(struct host_request *rq);
int vidas_host_do_update(struct host_request *rq);
int vidas_host_do_resident(struct host_request *rq);
int vidas_host_do_fetch(struct host_request *rq);
int vidas_host_do_import(struct host_request *rq);
int vidas_host_do_attr_get(struct host_request *rq);
int vidas_host_do_attr_set(struct host_request *rq);
int vidas_host_do_domain_add(struct host_request *rq);
int vidas_host_do_domain_remove(struct host_request *rq);
int vidas_host_do_status(struct host_request *rq);
int vidas_host_do_lock_wait(struct host_request *rq);
int vidas_host_do_lock_done(struct host_request *rq);

#endif
