/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connections: open, close, the default one. */
#include "pool/client/client.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/client/object.h"

#define TIMEOUT_MAX_S 86400

static pthread_mutex_t default_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vidas *default_connection;
static pid_t default_pid; /* who opened it */

static int timeout_read(int64_t *timeout_us)
{
	const char *text = getenv("VIDAS_TIMEOUT");
	char *end;
	double seconds;

	*timeout_us = VIDAS_TIMEOUT_US;
	if (!text || !*text)
		return 0;
	seconds = strtod(text, &end);
	if (*end || !(seconds > 0) || seconds > TIMEOUT_MAX_S)
		return vidas_fail(-EINVAL,
				  "VIDAS_TIMEOUT='%s' is not a number of seconds from 0 to %d",
				  text, TIMEOUT_MAX_S);
	*timeout_us = (int64_t)(seconds * 1e6);
	return 0;
}

static void sync_init(struct vidas *v)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&v->changed, &attr);
	pthread_cond_init(&v->age_wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->index, NULL);
	pthread_mutex_init(&v->age_lock, NULL);
}

static void connection_free(struct vidas *v)
{
	pthread_cond_destroy(&v->changed);
	pthread_cond_destroy(&v->age_wake);
	pthread_mutex_destroy(&v->lock);
	pthread_mutex_destroy(&v->index);
	pthread_mutex_destroy(&v->age_lock);
	free(v->address);
	free(v);
}

int vidas_open(const char *address, struct vidas **out)
{
	int64_t timeout_us;
	unsigned generation;
	struct vidas *v;
	int err = timeout_read(&timeout_us);

	if (err < 0)
		return err;
	if (!address)
		address = getenv("VIDAS_SOCKET");
	v = calloc(1, sizeof(*v));
	if (!v)
		return vidas_fail(-ENOMEM, "no memory for a connection");
	v->address = strdup(address && *address ? address : VIDAS_ADDRESS);
	v->timeout_us = timeout_us;
	sync_init(v);
	/* A deadline that has passed: one try, and what came of it. */
	err = v->address ? vidas_session_wait(v, 0, &generation) : -ENOMEM;
	if (err < 0) {
		connection_free(v);
		return err;
	}
	*out = v;
	return 0;
}

void vidas_close(struct vidas *v)
{
	struct vidas_container *c, *next;

	if (!v)
		return;
	/* From here on nothing waits for a vidasd that is away: it will notice by itself. */
	pthread_mutex_lock(&v->lock);
	v->closing = true;
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
	vidas_events_stop(v);
	vidas_age_stop(v);
	while (v->objects)
		vidas_object_leave(v->objects);
	HASH_ITER(hh, v->containers, c, next) {
		/* The container may go with its last tree. */
		for (struct vidas_tree *t = c->trees, *more; t; t = more) {
			more = t->next;
			vidas_tree_leave(t);
		}
	}
	HASH_ITER(hh, v->containers, c, next) {
		if (c->attached)
			vidas_container_leave(v, c->name);
	}
	vidas_session_end(v);
	connection_free(v);
}

static void default_close(void)
{
	/* A child that ends says nothing on its parent's connection. */
	if (default_pid != getpid())
		return;
	pthread_mutex_lock(&default_lock);
	vidas_close(default_connection);
	default_connection = NULL;
	pthread_mutex_unlock(&default_lock);
}

int vidas_default(struct vidas **out)
{
	static bool registered;
	int err = 0;

	pthread_mutex_lock(&default_lock);
	if (!default_connection) {
		err = vidas_open(NULL, &default_connection);
		default_pid = getpid();
	}
	if (!err && !registered)
		registered = !atexit(default_close);
	if (!err)
		*out = default_connection;
	pthread_mutex_unlock(&default_lock);
	return err;
}

int vidas_or_default(struct vidas **v)
{
	return *v ? 0 : vidas_default(v);
}

vidas_domain_id vidas_domain(const struct vidas *v)
{
	struct vidas *mutable = NULL;

	/* Written once more at each reconnect, always to the same: a domain is its socket. */
	if (!v && vidas_default(&mutable) < 0)
		return UINT32_MAX;
	v = v ? v : mutable;
	return atomic_load_explicit(&v->domain, memory_order_relaxed);
}

const char *vidas_error_text(void)
{
	return vidas_fail_text();
}

uint64_t vidas_messages(const struct vidas *v)
{
	return atomic_load_explicit(&v->messages, memory_order_relaxed);
}
