/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads that drive libcurl, each with its own multi handle and the connections of that. A
 * thread does nothing that waits: no names, no locks but short ones, no I/O of its own. (Memory
 * of the pool may fault while it is copied; vidasd turns a SIGBUS there into zeros, so that
 * signal is let in.)
 *
 * Locks: engine->lock, then none. batch->lock is taken alone.
 */
#include "backends/s3/s3.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends/tcp.h"

#define FLYING_MAX 64u /* of each engine; more wait in its queue */

struct s3_engine {
	struct vidas_backend *be;
	CURLM *multi;
	pthread_t thread;
	bool runs;
	pthread_mutex_t lock;
	struct s3_request *first, **last; /* submitted */
	bool stop;
	_Atomic bool cancels; /* somebody set ->cancel of a request */
	/* The thread's own: */
	struct s3_request *flying[FLYING_MAX];
	unsigned count;
	curl_socket_t socket[FLYING_MAX]; /* that are open; more are not cared for */
	unsigned sockets;
};

CURL *vidas_s3_easy_take(struct vidas_backend *be)
{
	CURL *easy = NULL;

	pthread_mutex_lock(&be->easy_lock);
	if (be->easies)
		easy = be->easy[--be->easies];
	pthread_mutex_unlock(&be->easy_lock);
	return easy ? easy : curl_easy_init();
}

void vidas_s3_easy_give(struct vidas_backend *be, CURL *easy)
{
	curl_easy_reset(easy);
	pthread_mutex_lock(&be->easy_lock);
	if (be->easies < sizeof(be->easy) / sizeof(be->easy[0])) {
		be->easy[be->easies++] = easy;
		easy = NULL;
	}
	pthread_mutex_unlock(&be->easy_lock);
	curl_easy_cleanup(easy);
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct s3_engine *e = arg;
	curl_socket_t fd =
		socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

	(void)purpose;
	if (fd != CURL_SOCKET_BAD)
		vidas_tcp_eager(fd);
	if (fd != CURL_SOCKET_BAD && e->sockets < FLYING_MAX)
		e->socket[e->sockets++] = fd;
	return fd;
}

static int on_close(void *arg, curl_socket_t fd)
{
	struct s3_engine *e = arg;

	for (unsigned i = 0; i < e->sockets; i++)
		if (e->socket[i] == fd)
			e->socket[i--] = e->socket[--e->sockets];
	return close(fd);
}

/*
 * Servers that send head and body apart, without TCP_NODELAY (radosgw as it comes), wait with the
 * body for our ACK, which the kernel delays by 40 ms. The option does not last: it is set time
 * and again.
 */
static void acks_now(struct s3_engine *e)
{
	int on = 1;

	for (unsigned i = 0; e->count && i < e->sockets; i++)
		(void)setsockopt(e->socket[i], IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

static void landed(struct s3_request *r, CURLcode code)
{
	struct s3_batch *batch = r->batch;

	vidas_s3_request_land(r, code);
	pthread_mutex_lock(&batch->lock);
	r->next = batch->done;
	batch->done = r;
	pthread_cond_signal(&batch->landed);
	pthread_mutex_unlock(&batch->lock);
}

static void take_down(struct s3_engine *e, unsigned i, CURLcode code)
{
	struct s3_request *r = e->flying[i];

	e->flying[i] = e->flying[--e->count];
	curl_multi_remove_handle(e->multi, r->easy);
	landed(r, code);
}

static void launch(struct s3_engine *e)
{
	while (e->count < FLYING_MAX) {
		struct s3_request *r;

		pthread_mutex_lock(&e->lock);
		r = e->first;
		if (r)
			e->first = r->next;
		if (!e->first)
			e->last = &e->first;
		pthread_mutex_unlock(&e->lock);
		if (!r)
			return;
		if (curl_multi_add_handle(e->multi, r->easy) != CURLM_OK)
			landed(r, CURLE_OUT_OF_MEMORY);
		else
			e->flying[e->count++] = r;
	}
}

static unsigned flying_find(const struct s3_engine *e, const CURL *easy)
{
	unsigned i = 0;

	while (i < e->count && e->flying[i]->easy != easy)
		i++;
	return i;
}

static void finished(struct s3_engine *e)
{
	struct CURLMsg *msg;
	int left;

	while ((msg = curl_multi_info_read(e->multi, &left))) {
		CURLcode code = msg->data.result;
		unsigned i = flying_find(e, msg->easy_handle);

		if (msg->msg == CURLMSG_DONE && i < e->count)
			take_down(e, i, code);
	}
}

/* ->cancel is set under the lock. */
static void cancelled(struct s3_engine *e, bool all)
{
	if (!all && !atomic_exchange_explicit(&e->cancels, false, memory_order_acquire))
		return;
	for (unsigned i = e->count; i-- > 0;) {
		bool cancel;

		pthread_mutex_lock(&e->lock);
		cancel = e->flying[i]->cancel;
		pthread_mutex_unlock(&e->lock);
		if (cancel || all)
			take_down(e, i, CURLE_ABORTED_BY_CALLBACK);
	}
}

static bool stopped(struct s3_engine *e)
{
	bool stop;

	pthread_mutex_lock(&e->lock);
	stop = e->stop;
	pthread_mutex_unlock(&e->lock);
	return stop;
}

static void *engine_main(void *arg)
{
	struct s3_engine *e = arg;
	int running;

	while (!stopped(e)) {
		launch(e);
		if (curl_multi_perform(e->multi, &running) != CURLM_OK)
			cancelled(e, true);
		finished(e);
		/* Of a root that is being closed only the keeper's requests are under way. */
		cancelled(e, atomic_load_explicit(&e->be->closing, memory_order_relaxed));
		acks_now(e);
		/* A queue that waits for room is looked at again when something lands. */
		curl_multi_poll(e->multi, NULL, 0, 1000, NULL);
	}
	cancelled(e, true);
	return NULL;
}

static int engine_open(struct vidas_backend *be, struct s3_engine *e)
{
	sigset_t all, before;
	int err;

	e->be = be;
	e->last = &e->first;
	pthread_mutex_init(&e->lock, NULL);
	e->multi = curl_multi_init();
	if (!e->multi)
		return -ENOMEM;
	curl_multi_setopt(e->multi, CURLMOPT_MAXCONNECTS, (long)be->config.parallel);
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&e->thread, NULL, engine_main, e);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return -err;
	e->runs = true;
	(void)pthread_setname_np(e->thread, "vidas-s3");
	return 0;
}

int vidas_s3_engines_open(struct vidas_backend *be)
{
	int err = 0;

	be->engine = calloc(be->config.threads, sizeof(*be->engine));
	if (!be->engine)
		return -ENOMEM;
	for (unsigned i = 0; !err && i < be->config.threads; i++)
		err = engine_open(be, &be->engine[i]);
	return err;
}

void vidas_s3_engines_close(struct vidas_backend *be)
{
	for (unsigned i = 0; be->engine && i < be->config.threads; i++) {
		struct s3_engine *e = &be->engine[i];

		if (e->runs) {
			pthread_mutex_lock(&e->lock);
			e->stop = true;
			pthread_mutex_unlock(&e->lock);
			curl_multi_wakeup(e->multi);
			pthread_join(e->thread, NULL);
		}
		if (e->multi)
			curl_multi_cleanup(e->multi);
	}
	free(be->engine);
	be->engine = NULL;
	while (be->easies)
		curl_easy_cleanup(be->easy[--be->easies]);
}

void vidas_s3_engine_submit(struct s3_request *r)
{
	unsigned n = atomic_fetch_add_explicit(&r->be->next_engine, 1, memory_order_relaxed);
	struct s3_engine *e = &r->be->engine[n % r->be->config.threads];

	r->engine = e;
	r->next = NULL;
	curl_easy_setopt(r->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
	curl_easy_setopt(r->easy, CURLOPT_OPENSOCKETDATA, e);
	curl_easy_setopt(r->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
	curl_easy_setopt(r->easy, CURLOPT_CLOSESOCKETDATA, e);
	pthread_mutex_lock(&e->lock);
	*e->last = r;
	e->last = &r->next;
	pthread_mutex_unlock(&e->lock);
	curl_multi_wakeup(e->multi);
}

void vidas_s3_engine_cancel(struct s3_request *r)
{
	struct s3_engine *e = r->engine;

	pthread_mutex_lock(&e->lock);
	r->cancel = true;
	pthread_mutex_unlock(&e->lock);
	atomic_store_explicit(&e->cancels, true, memory_order_release);
	curl_multi_wakeup(e->multi);
}
