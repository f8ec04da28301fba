/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One TCP connection to an RPC program, and the thread that serves it. libnfs is used by that thread
 * alone; callers hand it jobs and sleep until they are done.
 *
 * A job is one call, or a window of many. It survives the connection: what was sent and not answered
 * is sent again on the next one, until `timeout` passes without any answer to it. Connecting begins
 * with the first job, goes on (with growing pauses) as long as there are jobs, and never by itself.
 *
 * Memory: requests are encoded, and answers decoded, while the job is marked busy; libnfs keeps no
 * pointer into a job's memory. So a job may be given up at any moment that it is not busy.
 *
 * Lock order: a key's turn, be->root_turn, the client's turn, link->lock; libnfs_lock (connect.c) is taken alone.
 */
#ifndef VIDAS_NFS_LINK_H
#define VIDAS_NFS_LINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/time.h>

#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>

#include <vidas/backend.h>

struct vidas_nfs_link;
struct vidas_nfs_job;

/* One request on its way; `tag` is the job's own. */
struct vidas_nfs_slot {
	struct vidas_nfs_link *link;
	struct vidas_nfs_job *job; /* NULL: nobody waits for the answer any more */
	uint64_t tag;
	struct vidas_nfs_slot *prev, *next; /* of the job */
};

/* All of these run in the link's thread. */
struct vidas_nfs_job_ops {
	/* Sends what can be sent now, by vidas_nfs_send(). The job is done when nothing is on its way
	 * after that. */
	int (*pump)(struct vidas_nfs_job *job);
	/* An answer, of the type that the call has; gone on return. An error ends the job once all that
	 * is on its way has come back. */
	int (*reply)(struct vidas_nfs_job *job, uint64_t tag, void *data);
	/* This request has to be sent again. */
	void (*lost)(struct vidas_nfs_job *job, uint64_t tag);
};

struct vidas_nfs_job {
	const struct vidas_nfs_job_ops *ops;
	/* The rest is the link's; `resent` may be read afterwards: was anything sent more than once, so
	 * that it may have been carried out twice? */
	bool resent, busy, done, dirty;
	int result;
	char words[160]; /* of a failure */
	int64_t deadline_us;
	unsigned in_flight;
	struct vidas_nfs_slot *slots;
	struct vidas_nfs_link *link;
	pthread_cond_t cond;
	struct vidas_nfs_job *prev, *next;
};

struct vidas_nfs_peer {
	const char *server; /* name or address */
	int port, program, version;
	int uid, gid; /* -1: the process's own */
	int64_t timeout_us;
	const struct vidas_backend_host *host; /* for the log */
};

/* Starts the thread; does not connect. `peer` is copied, what it points to must live on. */
int vidas_nfs_link_open(const struct vidas_nfs_peer *peer, struct vidas_nfs_link **out);
/* No job may be running. */
void vidas_nfs_link_close(struct vidas_nfs_link *link); /* NULL allowed */
/* How busy it is, to choose among several. */
unsigned vidas_nfs_link_jobs(struct vidas_nfs_link *link);

/* Runs a job (`ops` set, all else zero) to its end: 0, what its reply() gave, -ETIMEDOUT, -ENOMEM, -EPROTO
 * (the server refuses such calls). Failures of the link have words in job->words. */
int vidas_nfs_run(struct vidas_nfs_link *link, struct vidas_nfs_job *job);

/* A libnfs call behind one type. */
typedef int (*vidas_nfs_send_fn)(struct rpc_context *rpc, rpc_cb cb, void *args, void *slot);
/* For pump(): sends one request. `args` is encoded at once. */
int vidas_nfs_send(struct vidas_nfs_job *job, vidas_nfs_send_fn send, void *args, uint64_t tag);

/* One call and its answer, as a job. Returns what `reply` returned, or as vidas_nfs_run(). */
struct vidas_nfs_call {
	vidas_nfs_send_fn send;
	void *args;
	int (*reply)(void *data, void *out);
	void *out;
	/* Afterwards: */
	bool resent;
	char words[160];
};
#define VIDAS_NFS_CALL(send_, args_, reply_, out_)                                 \
	{                                                                          \
		.send = (send_), .args = (args_), .reply = (reply_), .out = (out_) \
	}
int vidas_nfs_call(struct vidas_nfs_link *link, struct vidas_nfs_call *call);

/* Monotonic microseconds, and a wait on a condition of that clock. */
int64_t vidas_nfs_now_us(void);
void vidas_nfs_pause_us(int64_t us);

/* connect.c, the link's thread only: begins to connect to peer->server; -errno with words. */
int vidas_nfs_connect(const struct vidas_nfs_peer *peer, rpc_cb cb, void *arg,
		      struct rpc_context **out, char *words, size_t size);
/* Once connected: notice a dead peer by TCP's own means. */
void vidas_nfs_connected(struct rpc_context *rpc, int64_t timeout_us);

#endif
