/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread for what is due by itself: credentials before they expire, and uploads that nobody will
 * complete any more. Whose they are cannot be told, only how old: a day is the limit.
 */
#include "backends/s3/s3.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ABANDONED_S (24 * INT64_C(3600))
#define EVERY_US    (6 * 3600 * INT64_C(1000000))
#define FIRST_US    (10 * INT64_C(1000000))
#define CRED_MIN_S  INT64_C(60)

static int uploads_page(struct vidas_backend *be, const char *key_marker, const char *id_marker,
			struct s3_answer *out)
{
	struct s3_request *r = vidas_s3_request_new(be, S3_GET, "");
	int err = r ? 0 : -ENOMEM;

	*out = (struct s3_answer){ 0 };
	/* Not encoding-type=url: radosgw then encodes these names without saying so. */
	if (!err && key_marker)
		err = vidas_s3_request_query(r, "key-marker", key_marker);
	if (!err)
		err = vidas_s3_request_query(r, "max-uploads", "1000");
	if (!err)
		err = vidas_s3_request_query(r, "prefix", be->config.prefix);
	if (!err && id_marker)
		err = vidas_s3_request_query(r, "upload-id-marker", id_marker);
	if (!err)
		err = vidas_s3_request_query(r, "uploads", "");
	if (!err)
		err = vidas_s3_run(r);
	if (!err)
		err = r->reply.text ? vidas_s3_xml_parse(r->reply.text, r->reply.text_bytes, out) :
				      -EBADMSG;
	vidas_s3_request_free(r);
	return err;
}

static unsigned page_abort(struct vidas_backend *be, struct s3_answer *a)
{
	int64_t now = (int64_t)time(NULL) + atomic_load_explicit(&be->skew_s, memory_order_relaxed);
	unsigned gone = 0;

	for (size_t i = 0; i < a->entries; i++) {
		struct s3_entry *e = &a->entry[i];

		if (!e->upload || !e->modified || (int64_t)e->modified > now - ABANDONED_S ||
		    strlen(e->name) > S3_KEY_MAX)
			continue;
		if (vidas_s3_upload_abort(be, e->name, e->upload) == 0)
			gone++;
	}
	return gone;
}

static void uploads_sweep(struct vidas_backend *be)
{
	char *key = NULL, *id = NULL;
	struct s3_answer a;
	unsigned gone = 0;
	bool more;

	do {
		more = uploads_page(be, key, id, &a) == 0;
		if (more) {
			gone += page_abort(be, &a);
			free(key);
			free(id);
			key = a.next;
			id = a.next_upload;
			a.next = a.next_upload = NULL;
			more = more && a.truncated && key &&
			       !atomic_load_explicit(&be->closing, memory_order_relaxed);
		}
		vidas_s3_answer_clear(&a);
	} while (more);
	free(key);
	free(id);
	if (gone)
		vidas_s3_log(be, 5, "aborted %u uploads to s3://%s that were begun over a day ago",
			     gone, be->config.bucket);
}

static void credentials_fetch(struct vidas_backend *be)
{
	struct s3_key key;
	char why[256];

	if (vidas_s3_cred_get(be->cred, &key, why))
		vidas_s3_log(be, 4, "credentials cannot be renewed: %s", why);
	explicit_bzero(&key, sizeof(key));
}

/* Sleeps; false when the root is being closed. */
static bool doze(struct vidas_backend *be, int64_t until_us)
{
	struct timespec ts = { .tv_sec = (time_t)(until_us / 1000000),
			       .tv_nsec = (long)(until_us % 1000000 * 1000) };
	bool on;

	pthread_mutex_lock(&be->keeper_lock);
	while (!atomic_load_explicit(&be->closing, memory_order_relaxed) &&
	       pthread_cond_timedwait(&be->keeper_wake, &be->keeper_lock, &ts) == 0)
		;
	on = !atomic_load_explicit(&be->closing, memory_order_relaxed);
	pthread_mutex_unlock(&be->keeper_lock);
	return on;
}

static void *keeper_main(void *arg)
{
	struct vidas_backend *be = arg;
	int64_t sweep_us = vidas_s3_now_us() + FIRST_US, due_s, wake_us;

	for (;;) {
		due_s = be->config.auth == S3_AUTH_NONE ? -1 : vidas_s3_cred_due(be->cred);
		wake_us = sweep_us;
		/* Keys that are not known yet may come to be: look again each minute. */
		if (due_s < 0 || due_s > CRED_MIN_S)
			due_s = CRED_MIN_S;
		if (vidas_s3_now_us() + due_s * 1000000 < wake_us)
			wake_us = vidas_s3_now_us() + due_s * 1000000;
		if (!doze(be, wake_us))
			return NULL;
		if (be->config.auth != S3_AUTH_NONE && vidas_s3_cred_due(be->cred) == 1)
			credentials_fetch(be);
		if (vidas_s3_now_us() >= sweep_us) {
			uploads_sweep(be);
			sweep_us = vidas_s3_now_us() + EVERY_US;
		}
	}
}

int vidas_s3_keeper_start(struct vidas_backend *be)
{
	int err = pthread_create(&be->keeper, NULL, keeper_main, be);

	be->keeper_runs = !err;
	if (!err)
		(void)pthread_setname_np(be->keeper, "vidas-s3-keep");
	return -err;
}

void vidas_s3_keeper_stop(struct vidas_backend *be)
{
	pthread_mutex_lock(&be->keeper_lock);
	atomic_store_explicit(&be->closing, true, memory_order_relaxed);
	pthread_cond_signal(&be->keeper_wake);
	pthread_mutex_unlock(&be->keeper_lock);
	if (be->keeper_runs)
		pthread_join(be->keeper, NULL);
}
