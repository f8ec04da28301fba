/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests in parallel. What is tried again here is one request: a part of a large object should
 * not cost the whole of it. (The filter `retry` above repeats whole calls, and longer.)
 */
#include "backends/s3/s3.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_US     (100 * INT64_C(1000))
#define PAUSE_MAX_US (5 * INT64_C(1000000))
#define SKEW_MIN_S   180

struct run {
	struct vidas_backend *be;
	struct s3_batch batch;
	struct s3_request **r;
	size_t n, next, flying;
	struct s3_request *waiting; /* to be tried again */
	bool all;
	struct s3_request *failed; /* the first one */
};

/* The body of a refusal; also of a 200 that turned out one after a long wait. */
static void refusal_read(struct s3_request *r)
{
	struct s3_reply *reply = &r->reply;
	struct s3_answer a;

	if (!reply->text || (reply->http < 300 && !(r->long_wait && strstr(reply->text, "<Error"))))
		return;
	if (vidas_s3_xml_parse(reply->text, reply->text_bytes, &a) == 0) {
		snprintf(reply->code, sizeof(reply->code), "%s", a.code);
		snprintf(reply->message, sizeof(reply->message), "%s", a.message);
		for (char *c = reply->message; *c; c++)
			if ((unsigned char)*c < 0x20)
				*c = ' ';
		if (a.region[0])
			snprintf(reply->region, sizeof(reply->region), "%s", a.region);
		if (reply->http < 300 && a.code[0])
			reply->http = 500;
	}
	vidas_s3_answer_clear(&a);
}

/* A signature refused for its date: take the server's, once. HEAD has no code to go by. */
static bool skew_learn(struct s3_request *r)
{
	int64_t ahead = (int64_t)r->reply.date - (int64_t)time(NULL), known;

	if (r->skewed || r->reply.http != 403 || r->reply.date <= 0)
		return false;
	known = atomic_load_explicit(&r->be->skew_s, memory_order_relaxed);
	if (ahead - known < SKEW_MIN_S && known - ahead < SKEW_MIN_S)
		return false;
	atomic_store_explicit(&r->be->skew_s, ahead, memory_order_relaxed);
	r->skewed = true;
	vidas_s3_log(r->be, 4,
		     "the server's clock differs from ours by %lld s; signing by its time",
		     (long long)ahead);
	return true;
}

static bool credentials_renew(struct s3_request *r)
{
	const char *code = r->reply.code;

	if (r->renewed || r->be->config.auth == S3_AUTH_NONE || r->reply.http < 400 ||
	    (strcmp(code, "ExpiredToken") != 0 && strcmp(code, "TokenRefreshRequired") != 0 &&
	     strcmp(code, "InvalidToken") != 0))
		return false;
	vidas_s3_cred_expire(r->be->cred, r->key_used);
	r->renewed = true;
	return true;
}

bool vidas_s3_may_pass(int err)
{
	return err == -EAGAIN || err == -EIO || err == -ECONNRESET || err == -ENOTCONN ||
	       err == -ETIMEDOUT;
}

int64_t vidas_s3_pause_us(unsigned tries)
{
	int64_t us = PAUSE_US << (tries < 6 ? tries : 6);
	uint64_t draw = (uint64_t)vidas_s3_now_us() * UINT64_C(6364136223846793005) +
			(uint64_t)(uintptr_t)&us;

	us = us > PAUSE_MAX_US ? PAUSE_MAX_US : us;
	return us - (int64_t)((draw >> 33) % (uint64_t)(us / 2));
}

/* Decides on a landed request: true if it is to fly again, at ->not_before_us. */
static bool again(struct run *run, struct s3_request *r)
{
	r->not_before_us = 0;
	if (run->failed || atomic_load_explicit(&run->be->closing, memory_order_relaxed))
		return false;
	if (skew_learn(r) || credentials_renew(r))
		return true;
	if (r->once || !vidas_s3_may_pass(r->err) || r->tries >= run->be->config.retries)
		return false;
	/* Nothing that waiting helps against: a body that is not what was asked for. */
	if (r->reply.curl == CURLE_WRITE_ERROR)
		return false;
	r->not_before_us = vidas_s3_now_us() + vidas_s3_pause_us(r->tries) +
			   (int64_t)r->reply.retry_after_s * 1000000;
	r->tries++;
	return true;
}

static void over(struct run *run, struct s3_request *r)
{
	if (!r->err || run->all || run->failed)
		return;
	run->failed = r;
	for (size_t i = 0; i < run->n; i++)
		if (run->r[i]->flying)
			vidas_s3_engine_cancel(run->r[i]);
}

static void land(struct run *run, struct s3_request *r)
{
	r->flying = false;
	run->flying--;
	refusal_read(r);
	vidas_s3_meta_finish(&r->reply.st);
	r->err = vidas_s3_error(r);
	/* A missing bucket is no missing object, whatever the status. */
	if (r->accept && r->reply.http == r->accept && strcmp(r->reply.code, "NoSuchBucket") != 0)
		r->err = 0;
	if (again(run, r)) {
		r->next = run->waiting;
		run->waiting = r;
	} else {
		over(run, r);
	}
}

static void fly(struct run *run, struct s3_request *r)
{
	r->batch = &run->batch;
	r->cancel = false;
	r->err = vidas_s3_request_arm(r);
	if (r->err) {
		over(run, r);
		return;
	}
	r->flying = true;
	run->flying++;
	vidas_s3_engine_submit(r);
}

/* Starts what may start; the time at which the next one of the waiting may. */
static int64_t launch(struct run *run)
{
	int64_t now = vidas_s3_now_us(), soonest = INT64_MAX;
	struct s3_request **at = &run->waiting;

	while (*at && run->flying < run->be->config.parallel) {
		struct s3_request *r = *at;

		if (r->not_before_us > now && !run->failed) {
			soonest = r->not_before_us < soonest ? r->not_before_us : soonest;
			at = &r->next;
			continue;
		}
		*at = r->next;
		if (!run->failed)
			fly(run, r);
	}
	while (run->next < run->n && run->flying < run->be->config.parallel) {
		struct s3_request *r = run->r[run->next++];

		r->err = -ECANCELED;
		if (!run->failed)
			fly(run, r);
	}
	return soonest;
}

/* Takes one that has landed; NULL if it is time to launch again. */
static struct s3_request *await(struct run *run, int64_t until_us)
{
	struct s3_request *r;
	struct timespec ts = { .tv_sec = (time_t)(until_us / 1000000),
			       .tv_nsec = (long)(until_us % 1000000 * 1000) };

	pthread_mutex_lock(&run->batch.lock);
	while (!run->batch.done) {
		if (until_us == INT64_MAX)
			pthread_cond_wait(&run->batch.landed, &run->batch.lock);
		else if (pthread_cond_timedwait(&run->batch.landed, &run->batch.lock, &ts))
			break;
	}
	r = run->batch.done;
	if (r)
		run->batch.done = r->next;
	pthread_mutex_unlock(&run->batch.lock);
	return r;
}

/* Waiting has its end: libcurl's limits bring every request down (request.c). */
static void run_loop(struct run *run)
{
	for (;;) {
		int64_t soonest = launch(run);
		struct s3_request *r;

		if (!run->flying && !run->waiting && run->next == run->n)
			return;
		if (!run->flying && soonest == INT64_MAX)
			continue;
		r = await(run, soonest);
		if (r)
			land(run, r);
	}
}

int vidas_s3_run_all(struct vidas_backend *be, struct s3_request **r, size_t n, bool all)
{
	struct run run = { .be = be, .r = r, .n = n, .all = all };
	pthread_condattr_t attr;
	bool armed;

	if (!n)
		return 0;
	pthread_mutex_init(&run.batch.lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&run.batch.landed, &attr);
	pthread_condattr_destroy(&attr);
	run_loop(&run);
	pthread_cond_destroy(&run.batch.landed);
	pthread_mutex_destroy(&run.batch.lock);
	if (!run.failed)
		return 0;
	/* What failed before it flew has said why. */
	armed = run.failed->reply.http || run.failed->reply.curl != CURLE_FAILED_INIT;
	return armed ? vidas_s3_say(run.failed) : run.failed->err;
}

int vidas_s3_run(struct s3_request *r)
{
	return vidas_s3_run_all(r->be, &r, 1, false);
}
