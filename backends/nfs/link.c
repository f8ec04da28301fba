/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/nfs/link.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#define SECOND_US    INT64_C(1000000)
#define PAUSE_MIN_US 20000
#define PAUSE_MAX_US (SECOND_US / 2)
#define CONNECT_US   (5 * SECOND_US) /* for one attempt */
#define LOG_AGAIN_US (60 * SECOND_US)

enum state { DOWN, CONNECTING, UP };

struct vidas_nfs_link {
	struct vidas_nfs_peer peer;
	pthread_t thread;
	int wake; /* eventfd */

	pthread_mutex_t lock; /* guards the rest, and all jobs in `jobs` */
	struct vidas_nfs_job *jobs;
	unsigned count;
	bool stop, drop;
	int64_t heard_us; /* the last sign of life */
	char words[160];  /* why there is no connection */

	/* The thread's own. */
	struct rpc_context *rpc;
	enum state state;
	bool refused, purging;
	int64_t next_us, pause_us, logged_us;
};

int64_t vidas_nfs_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}

static struct timespec timespec_of(int64_t us)
{
	return (struct timespec){ .tv_sec = us / SECOND_US, .tv_nsec = us % SECOND_US * 1000 };
}

void vidas_nfs_pause_us(int64_t us)
{
	struct timespec pause = timespec_of(us);

	while (nanosleep(&pause, &pause) < 0 && errno == EINTR)
		;
}

static void wake(struct vidas_nfs_link *link)
{
	uint64_t one = 1;

	while (write(link->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void say(struct vidas_nfs_link *link, int level, const char *what, const char *why)
{
	char text[320];

	snprintf(text, sizeof(text), "%s port %d: %s%s%s", link->peer.server, link->peer.port, what,
		 *why ? ": " : "", why);
	link->peer.host->log(link->peer.host->host, level, text);
}

/* Locked. */
static void finish(struct vidas_nfs_job *job, int result)
{
	DL_DELETE(job->link->jobs, job);
	job->link->count--;
	job->result = result;
	job->done = true;
	pthread_cond_signal(&job->cond);
}

/* Locked; unlocked while the job sends. Afterwards it may be done, and gone. */
static void pump(struct vidas_nfs_link *link, struct vidas_nfs_job *job)
{
	int err = 0;

	job->dirty = false;
	if (!job->result) {
		job->busy = true;
		pthread_mutex_unlock(&link->lock);
		err = job->ops->pump(job);
		pthread_mutex_lock(&link->lock);
		job->busy = false;
		job->result = err;
	}
	if (!job->in_flight)
		finish(job, job->result);
	else
		pthread_cond_signal(&job->cond); /* who gave up waits for the end of busy */
}

static void slot_free(struct vidas_nfs_slot *slot)
{
	if (slot->job) {
		DL_DELETE(slot->job->slots, slot);
		slot->job->in_flight--;
	}
	free(slot);
}

static void answered(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct vidas_nfs_slot *slot = arg;
	struct vidas_nfs_link *link = slot->link;
	struct vidas_nfs_job *job;
	uint64_t tag = slot->tag;
	int err = 0;

	(void)rpc;
	pthread_mutex_lock(&link->lock);
	link->heard_us = vidas_nfs_now_us();
	job = slot->job;
	slot_free(slot);
	if (!job)
		goto out;
	if (status != RPC_STATUS_SUCCESS) {
		/* The connection's end, or a refusal: after_service() knows which. */
		job->ops->lost(job, tag);
		job->resent = true;
		job->dirty = true;
		snprintf(job->words, sizeof(job->words), "%s",
			 status == RPC_STATUS_ERROR && data ? (const char *)data : "");
		goto out;
	}
	job->deadline_us = link->heard_us + link->peer.timeout_us;
	job->busy = true;
	pthread_mutex_unlock(&link->lock);
	err = job->ops->reply(job, tag, data);
	pthread_mutex_lock(&link->lock);
	job->busy = false;
	if (err && !job->result)
		job->result = err;
	pump(link, job);
out:
	pthread_mutex_unlock(&link->lock);
}

int vidas_nfs_send(struct vidas_nfs_job *job, vidas_nfs_send_fn send, void *args, uint64_t tag)
{
	struct vidas_nfs_slot *slot = malloc(sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	*slot = (struct vidas_nfs_slot){ .link = job->link, .job = job, .tag = tag };
	if (send(job->link->rpc, answered, args, slot) != 0) {
		snprintf(job->words, sizeof(job->words), "%.150s", rpc_get_error(job->link->rpc));
		free(slot);
		return -ENOMEM;
	}
	/* Nobody but this thread touches these while the job is busy. */
	DL_APPEND(job->slots, slot);
	job->in_flight++;
	return 0;
}

/* Ends the connection; jobs keep what was not answered for the next one. Unlocked. */
static void drop(struct vidas_nfs_link *link, const char *why)
{
	char words[sizeof(link->words)];
	bool was_up = link->state == UP;
	struct vidas_nfs_job *job;

	snprintf(words, sizeof(words), "%s", why && *why ? why : "the connection was closed");
	if (link->rpc) {
		struct rpc_context *rpc = link->rpc;

		link->purging = true;
		/* Without this libnfs forgets what it keeps for an attempt to connect. */
		if (link->state == CONNECTING && !link->refused)
			(void)rpc_service(rpc, -1);
		rpc_destroy_context(rpc);
		link->purging = false;
		link->rpc = NULL;
	}
	link->state = DOWN;
	if (was_up) {
		link->pause_us = PAUSE_MIN_US;
		link->next_us = 0;
	} else {
		link->next_us = vidas_nfs_now_us() + link->pause_us;
		link->pause_us =
			link->pause_us * 2 < PAUSE_MAX_US ? link->pause_us * 2 : PAUSE_MAX_US;
	}
	pthread_mutex_lock(&link->lock);
	snprintf(link->words, sizeof(link->words), "%s", words);
	link->drop = false;
	DL_FOREACH(link->jobs, job) {
		if (!job->result)
			job->words[0] = '\0';
	}
	if (link->count && vidas_nfs_now_us() - link->logged_us > LOG_AGAIN_US) {
		link->logged_us = vidas_nfs_now_us();
		say(link, 4,
		    was_up ? "lost the connection, trying again" : "cannot connect, trying again",
		    words);
	}
	pthread_mutex_unlock(&link->lock);
}

static void connected(struct rpc_context *rpc, int status, void *data, void *arg)
{
	struct vidas_nfs_link *link = arg;

	if (link->purging)
		return;
	if (status == RPC_STATUS_SUCCESS) {
		vidas_nfs_connected(rpc, link->peer.timeout_us);
		pthread_mutex_lock(&link->lock);
		link->state = UP;
		link->heard_us = vidas_nfs_now_us();
		if (link->logged_us)
			say(link, 5, "connected again", "");
		link->logged_us = 0;
		link->pause_us = PAUSE_MIN_US;
		pthread_mutex_unlock(&link->lock);
		return;
	}
	link->refused = true;
	pthread_mutex_lock(&link->lock);
	snprintf(link->words, sizeof(link->words), "%.150s",
		 status == RPC_STATUS_ERROR && data ? (const char *)data : "no connection");
	pthread_mutex_unlock(&link->lock);
}

static void begin_connecting(struct vidas_nfs_link *link)
{
	char words[sizeof(link->words)] = "";

	link->refused = false;
	link->state = CONNECTING;
	link->next_us = vidas_nfs_now_us() + CONNECT_US;
	if (vidas_nfs_connect(&link->peer, connected, link, &link->rpc, words, sizeof(words)))
		drop(link, words);
}

/* The server does not speak this version: no use in asking again. */
static bool is_refusal(const char *words)
{
	return strstr(words, "version mismatch") || strstr(words, "Program not available");
}

static void fail_all(struct vidas_nfs_link *link, const char *words)
{
	struct vidas_nfs_job *job, *next;

	pthread_mutex_lock(&link->lock);
	DL_FOREACH_SAFE(link->jobs, job, next) {
		snprintf(job->words, sizeof(job->words), "%s", words);
		finish(job, -EPROTO);
	}
	pthread_mutex_unlock(&link->lock);
}

/* After libnfs has worked: `ret` -1, the connection is gone. */
static void after_service(struct vidas_nfs_link *link, int ret)
{
	struct vidas_nfs_job *job, *next;
	char words[sizeof(link->words)];

	if (ret < 0 || link->refused || rpc_get_fd(link->rpc) < 0) {
		snprintf(words, sizeof(words), "%s", rpc_get_error(link->rpc));
		if (link->refused) {
			pthread_mutex_lock(&link->lock);
			snprintf(words, sizeof(words), "%s", link->words);
			pthread_mutex_unlock(&link->lock);
		}
		drop(link, words);
		if (link->refused && is_refusal(words))
			fail_all(link, words);
		return;
	}
	pthread_mutex_lock(&link->lock);
	DL_FOREACH_SAFE(link->jobs, job, next) {
		/* Lost, and yet the connection lives: it was refused. */
		if (job->dirty && *job->words && !job->result)
			job->result = -EPROTO;
	}
	pthread_mutex_unlock(&link->lock);
}

/* Lets those jobs send that have not yet. Locked. */
static void pump_dirty(struct vidas_nfs_link *link)
{
	struct vidas_nfs_job *job = link->jobs;

	/* pump() unlocks: look again from the start, the list may be another. */
	while (job) {
		if (job->dirty) {
			pump(link, job);
			job = link->jobs;
		} else {
			job = job->next;
		}
	}
}

/* Milliseconds until something is to be done without a sign from outside. Locked. */
static int patience_ms(const struct vidas_nfs_link *link)
{
	int64_t left = link->next_us - vidas_nfs_now_us();

	if (link->state == UP || (link->state == DOWN && !link->count))
		return -1;
	return left < 0 ? 0 : (int)(left / 1000) + 1;
}

/* The reason, which libnfs does not keep. */
static void refuse(struct vidas_nfs_link *link, int fd)
{
	socklen_t size = sizeof(int);
	int err = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0 || !err)
		err = ENOTCONN;
	drop(link, strerrordesc_np(err));
}

/* Waits for the socket or for a caller. */
static void serve(struct vidas_nfs_link *link, int timeout_ms)
{
	struct pollfd fds[2] = { { .fd = link->wake, .events = POLLIN }, { .fd = -1 } };
	uint64_t count;

	if (link->rpc) {
		fds[1].fd = rpc_get_fd(link->rpc);
		fds[1].events = (short)rpc_which_events(link->rpc);
	}
	if (poll(fds, 2, timeout_ms) < 0)
		return;
	if ((fds[0].revents & POLLIN) && read(link->wake, &count, sizeof(count)) < 0)
		return;
	if (link->state == CONNECTING && (fds[1].revents & (POLLERR | POLLHUP)))
		refuse(link, fds[1].fd);
	else if (link->rpc && fds[1].revents)
		after_service(link, rpc_service(link->rpc, fds[1].revents));
}

static void *link_thread(void *arg)
{
	struct vidas_nfs_link *link = arg;

	pthread_mutex_lock(&link->lock);
	while (!link->stop) {
		bool wanted = link->count > 0, dropped = link->drop && link->state == UP;
		int timeout_ms;

		link->drop = false;
		if (link->state == UP && !dropped)
			pump_dirty(link);
		timeout_ms = patience_ms(link);
		pthread_mutex_unlock(&link->lock);
		if (dropped)
			drop(link, "the server is silent");
		else if (link->state == CONNECTING && vidas_nfs_now_us() >= link->next_us)
			drop(link, "connecting takes too long");
		else if (link->state == DOWN && wanted && vidas_nfs_now_us() >= link->next_us)
			begin_connecting(link);
		else if (link->state == UP && (rpc_which_events(link->rpc) & POLLOUT))
			after_service(link, rpc_service(link->rpc, POLLOUT));
		else
			serve(link, timeout_ms);
		if (link->state == UP && (rpc_which_events(link->rpc) & POLLOUT))
			serve(link, -1);
		pthread_mutex_lock(&link->lock);
	}
	pthread_mutex_unlock(&link->lock);
	if (link->rpc)
		drop(link, "closed");
	return NULL;
}

static void cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}

/* Gives up a job that is not busy. Locked. */
static void abandon(struct vidas_nfs_link *link, struct vidas_nfs_job *job)
{
	struct vidas_nfs_slot *slot, *next;

	DL_FOREACH_SAFE(job->slots, slot, next) {
		DL_DELETE(job->slots, slot);
		slot->job = NULL;
	}
	snprintf(job->words, sizeof(job->words), "no answer within %lld s%s%.120s",
		 (long long)(link->peer.timeout_us / SECOND_US), *link->words ? ": " : "",
		 link->words);
	finish(job, -ETIMEDOUT);
	/* TCP thinks that it is alive, but nobody is there. */
	if (vidas_nfs_now_us() - link->heard_us >= link->peer.timeout_us) {
		link->drop = true;
		wake(link);
	}
}

int vidas_nfs_run(struct vidas_nfs_link *link, struct vidas_nfs_job *job)
{
	struct timespec until;

	cond_init(&job->cond);
	job->link = link;
	job->dirty = true;
	pthread_mutex_lock(&link->lock);
	job->deadline_us = vidas_nfs_now_us() + link->peer.timeout_us;
	DL_APPEND(link->jobs, job);
	link->count++;
	wake(link);
	while (!job->done) {
		if (vidas_nfs_now_us() >= job->deadline_us && !job->busy) {
			abandon(link, job);
			break;
		}
		/* Busy ends by itself: it is a matter of memory, not of the net. */
		until = timespec_of(job->busy ? vidas_nfs_now_us() + SECOND_US : job->deadline_us);
		pthread_cond_timedwait(&job->cond, &link->lock, &until);
	}
	pthread_mutex_unlock(&link->lock);
	pthread_cond_destroy(&job->cond);
	return job->result;
}

unsigned vidas_nfs_link_jobs(struct vidas_nfs_link *link)
{
	unsigned count;

	pthread_mutex_lock(&link->lock);
	count = link->count;
	pthread_mutex_unlock(&link->lock);
	return count;
}

/* Signals are for the program's own threads; SIGBUS must come through, see pool/base/map.h. */
static int thread_start(struct vidas_nfs_link *link)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&link->thread, NULL, link_thread, link);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!err)
		(void)pthread_setname_np(link->thread, "vidas-nfs");
	return -err;
}

int vidas_nfs_link_open(const struct vidas_nfs_peer *peer, struct vidas_nfs_link **out)
{
	struct vidas_nfs_link *link = calloc(1, sizeof(*link));
	int err;

	if (!link)
		return -ENOMEM;
	link->peer = *peer;
	link->pause_us = PAUSE_MIN_US;
	pthread_mutex_init(&link->lock, NULL);
	link->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = link->wake < 0 ? -errno : thread_start(link);
	if (!err) {
		*out = link;
		return 0;
	}
	if (link->wake >= 0)
		close(link->wake);
	pthread_mutex_destroy(&link->lock);
	free(link);
	return err;
}

void vidas_nfs_link_close(struct vidas_nfs_link *link)
{
	if (!link)
		return;
	pthread_mutex_lock(&link->lock);
	link->stop = true;
	pthread_mutex_unlock(&link->lock);
	wake(link);
	pthread_join(link->thread, NULL);
	close(link->wake);
	pthread_mutex_destroy(&link->lock);
	free(link);
}
