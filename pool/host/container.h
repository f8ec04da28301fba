/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containers as vidasd has them: the directory in the pool, rights, leases, objects.
 */
#ifndef VIDAS_HOST_CONTAINER_H
#define VIDAS_HOST_CONTAINER_H

#include "pool/host/host.h"
#include "pool/base/map.h"
#include "pool/host/pool.h"

/* What containers/NAME/meta keeps. */
struct host_meta {
	vidas_domain_id initiator;
	uint32_t creator; /* session id: a create that is sent again finds its own work */
	unsigned domains;
	struct vidas_wire_domain_entry domain[VIDAS_DOMAINS_MAX];
	char *root; /* URL, or NULL */
};

int vidas_host_meta_load(int dir, struct host_meta *meta);
int vidas_host_meta_store(int dir, const struct host_meta *meta);
/* The same in a directory that nobody sees yet. */
int vidas_host_meta_begin(int dir, const struct host_meta *meta);
/* "2,3:ro" to a list and back. -EINVAL with a reason. */
int vidas_host_meta_parse(const char *text, size_t bytes, struct host_meta *meta);
char *vidas_host_meta_print(const struct host_meta *meta);

struct host_resource; /* object.h */

/* How pushing is going (push.c), for the status. Under container.lock; 0: not so. */
struct host_push_state {
	int64_t oldest_us;  /* since when something may be owed */
	int64_t failing_us; /* since when all passes have failed */
	unsigned failed;    /* things that the last one could not push */
	char text[256];	    /* why */
	char watch[256];    /* why the store cannot be looked at for anything newer */
};

struct host_container {
	UT_hash_handle hh;
	struct host *host;
	char *name;
	uint64_t seq;		       /* of creation; the cursor of LIST */
	struct host_container *next;   /* spares and retired ones; under host.cleaner_lock */
	char made_as[HOST_TRASH_NAME]; /* of a spare: its name in trash/ */
	atomic_uint refs;
	bool loaded; /* was there before this vidasd: grace holds for it */

	int dir_fd, tree_fd, control_fd, leases_fd;
	uint64_t tree_inode;
	struct vidas_map leases; /* struct vidas_shm_leases */

	pthread_mutex_t lock;
	pthread_cond_t changed; /* an object was created, or the container goes; monotonic clock */
	struct host_meta meta;	/* root: never changes */
	bool dying;		/* being destroyed: no new attach */
	atomic_bool dead;	/* destroyed; set under lock */
	struct host_attachment *attached;
	struct host_attachment *slot[VIDAS_SHM_LEASE_SLOTS];
	uint64_t unclaimed; /* slots of the vidasd before, until grace is over */
	unsigned next_slot;
	unsigned slotless;		 /* attachments without a slot */
	struct host_resource *resources; /* by inode */
	uint64_t last_control;		 /* names of control files go up */
	int blank_fd;			 /* a control file made in advance, or -1 */
	uint64_t blank;			 /* ... its name */
	struct host_resource *suspects;	 /* to be looked after, see vidas_host_suspects_check() */
	unsigned objects;
	uint64_t created; /* counts objects made: what a JOIN waits for */

	pthread_mutex_t sync_lock;
	struct vidas_sync *sync;
	struct host_owed *owed; /* push.c */
	struct host_push_state push;
};

/* Reads all containers of the pool. */
int vidas_host_containers_load(struct host *h);
void vidas_host_containers_close(struct host *h);
/* Grace is over: what nobody has claimed again is given up. */
void vidas_host_containers_settle(struct host *h);

/* One made in advance, or made now: whole on disk but for its name and meta. */
int vidas_host_container_spare(struct host *h, struct host_container **out);
struct host_container *vidas_host_container_alloc(struct host *h);
void vidas_host_container_free(struct host_container *c);
/* Gives one that was not used, or is nobody's any more, to the cleaner. */
void vidas_host_container_retire(struct host_container *c);
/* What the cleaner does with containers: frees retired ones, makes spares, looks after resources
 * that have lost their name. */
void vidas_host_containers_clean(struct host *h);
/* At the stop, when nobody else runs. */
void vidas_host_spares_free(struct host *h);
/* Under host.index, for writing; the index takes over the reference. */
void vidas_host_container_index(struct host *h, struct host_container *c);

/* A reference, or NULL: none, or none that `domain` may know of. */
struct host_container *vidas_host_container_find(struct host *h, const char *name,
						 vidas_domain_id domain);
void vidas_host_container_ref(struct host_container *c);
void vidas_host_container_unref(struct host_container *c);
/* enum vidas_wire_access, 0: none. Under container.lock. */
uint32_t vidas_host_container_access(const struct host_container *c, vidas_domain_id domain);

/* What the requests of the same names do (container_life.c). */
int vidas_host_container_create(struct host_lane *lane, const char *name,
				const struct vidas_wire_container_create *list, const char *root,
				bool retry);
int vidas_host_container_destroy(struct host_lane *lane, const char *name, uint32_t flags);
/* Sets the list of domains. */
int vidas_host_container_set_domains(struct host_container *c, const char *text, size_t bytes);

/* Calls `each` for all containers, each with a reference, no lock held. */
void vidas_host_containers_each(struct host *h, void (*each)(struct host_container *c, void *arg),
				void *arg);

/* Pushing without being asked (push.c), by the main thread. tick: begins what is due. */
void vidas_host_push_tick(struct host *h);
/* At the stop: begins all that is owed, and waits, at most HOST_PUSH_STOP_US and until `hurry` says
 * so. False: some is still under way. What is left is said in the log. */
bool vidas_host_push_stop(struct host *h, bool (*hurry)(void *arg), void *arg);
void vidas_host_push_free(struct host_container *c);

/* The container's way to its store, opened when first asked for. *out NULL: it has no root. */
int vidas_host_container_sync(struct host_container *c, struct vidas_sync **out);

/* On disk (container_disk.c): makes without a name, gives the name, opens, moves to the trash. */
int vidas_host_disk_make(struct host_container *c);
int vidas_host_disk_publish(struct host_container *c, mode_t tree_mode);
int vidas_host_disk_open(struct host_container *c);
void vidas_host_disk_close(struct host_container *c);
int vidas_host_disk_trash(struct host *h, const char *name);
/* A detached mount of the tree for a domain. */
int vidas_host_disk_clone(const struct host_container *c, bool readonly);

/* An O_PATH descriptor of what is at a path of the tree ("": the tree), never through a link. */
int vidas_host_path_open(const struct host_container *c, const char *path);

/* Leases (lease.c). All but open and close under container.lock. */
int vidas_host_leases_open(struct host_container *c, int fd);
void vidas_host_leases_close(struct host_container *c);
int vidas_host_leases_make(int dir);
/* Takes the memory of the whole table, before a domain uses it: in a pool that is full, the first touch
 * of a page would be a SIGBUS for the domain's vidasfs. Any thread, no lock; -ENOSPC. */
int vidas_host_leases_reserve(const struct host_container *c);
void vidas_host_lease_grant(struct host_attachment *a, int wanted);
void vidas_host_lease_release(struct host_attachment *a);
void vidas_host_lease_settle(struct host_container *c);
/* Slots that may cache the inode, and those that write to it (one bit more: sessions without a slot).
 * Any thread. */
uint64_t vidas_host_lease_cached(const struct host_container *c, uint64_t inode);
uint64_t vidas_host_lease_writers(const struct host_container *c, uint64_t inode);
/* Calls `each` for the buckets in which something is open for writing. Any thread. */
void vidas_host_leases_writing(const struct host_container *c,
			       void (*each)(uint32_t bucket, void *arg), void *arg);
/* What changed, to be pushed (shm.h). note: we, or a domain by us, have just changed it. lost: who
 * changed things died and may not have said so. take: calls `each` for the buckets that were noted
 * since the last take; *all: anything may have changed. Returns whether there was any. Any thread. */
void vidas_host_changes_note(const struct host_container *c, uint64_t inode);
void vidas_host_changes_lost(const struct host_container *c);
bool vidas_host_changes_take(const struct host_container *c,
			     void (*each)(uint32_t bucket, void *arg), void *arg, bool *all);

/*
 * Recalls (recall.c). Both return when every session asked has acted, has ended, or its lease has
 * run out. No locks may be held.
 */
/* Sessions of `slots` drop what they cache of `inode`; `but`: a slot left alone, or -1. */
void vidas_host_recall(struct host_container *c, uint64_t slots, int but, uint64_t inode,
		       uint32_t kinds);
/* The tree was changed by us. */
void vidas_host_recall_changed(struct host_container *c, uint64_t inode, uint32_t kinds);
/* Entries came into being in the directory `dir`, a descriptor. */
void vidas_host_recall_made(struct host_container *c, int dir);
/* `consistency` was set on something: every session that has attached it drops all that it caches. */
int vidas_host_recall_policies(struct host_container *c);
/* The set of containers changed for these domains (and for domain 0, which sees all). */
void vidas_host_recall_containers(struct host *h, const vidas_domain_id *domain, unsigned n);
/* Do sessions of other domains than `domain` use the container? Who cannot be asked does. *who: one that
 * does. No locks. */
bool vidas_host_recall_used(struct host_container *c, vidas_domain_id domain, vidas_domain_id *who);
/* A session answered event `id`; a session ends and owes nothing any more. */
void vidas_host_recall_answered(struct host_session *s, uint64_t id, int status);
void vidas_host_recall_forget(struct host_session *s);

#endif
