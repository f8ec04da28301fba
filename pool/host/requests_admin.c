/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the administrator asks: domain 0 only.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utlist.h>

#include <vidas/version.h>

#include "pool/host/container.h"
#include "pool/host/locality.h"

static int only_host(const struct host_request *rq)
{
	if (rq->session->domain->id == 0)
		return 0;
	return vidas_fail(-EPERM, "only the host (domain 0) may ask for that");
}

int vidas_host_do_domain_add(struct host_request *rq)
{
	const struct vidas_wire_domain_add *b = rq->message->body;
	int err = only_host(rq);

	return err < 0 ? err : vidas_host_domain_add(rq->host, b->domain, b->uid, rq->retry);
}

int vidas_host_do_domain_remove(struct host_request *rq)
{
	const struct vidas_wire_domain_remove *b = rq->message->body;
	int err = only_host(rq);

	if (err == 0)
		err = vidas_host_domain_remove(rq->host, b->domain);
	return err == -ENOENT && rq->retry ? 0 : err;
}

/* JSON has UTF-8 only; a name in another encoding is shown with '?'. */
static json_t *json_name(const char *name)
{
	json_t *json = json_string(name);
	char *plain;

	if (json)
		return json;
	plain = strdup(name);
	for (char *at = plain; at && *at; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	json = plain ? json_string(plain) : NULL;
	free(plain);
	return json;
}

static json_t *json_pool(const struct host *h)
{
	struct statvfs st;
	json_int_t size = 0, used = 0;

	if (fstatvfs(h->pool_fd, &st) == 0) {
		size = (json_int_t)(st.f_blocks * st.f_frsize);
		used = (json_int_t)((st.f_blocks - st.f_bfree) * st.f_frsize);
	}
	return json_pack("{s:o, s:I, s:I}", "path", json_name(h->config.pool), "size", size, "used",
			 used);
}

static json_t *json_domains(struct host *h)
{
	json_t *list = json_array();
	struct host_domain *d;

	pthread_mutex_lock(&h->registry);
	for (d = h->domains; d; d = d->hh.next)
		json_array_append_new(
			list, json_pack("{s:I, s:I, s:i, s:b, s:I}", "id", (json_int_t)d->id, "uid",
					(json_int_t)d->uid, "sessions", (int)d->sessions,
					"connected", d->sessions > 0, "requests",
					(json_int_t)atomic_load_explicit(&d->requests,
									 memory_order_relaxed)));
	pthread_mutex_unlock(&h->registry);
	return list;
}

static json_t *json_text(const char *text)
{
	return *text ? json_name(text) : json_null();
}

static json_int_t seconds_since(int64_t since_us)
{
	return (json_int_t)((vidas_now_us() - since_us) / 1000000);
}

/* What is not in the store, and why; NULL: there is no store. With no lock held. */
static json_t *json_push(struct host_container *c, int64_t deadline_us)
{
	struct vidas_sync_survey found = { 0 };
	struct host_push_state push;
	struct vidas_sync *sync;
	json_t *json;

	if (!c->meta.root || vidas_host_container_sync(c, &sync) < 0 || !sync ||
	    vidas_sync_survey(sync, deadline_us, &found) < 0)
		return NULL;
	pthread_mutex_lock(&c->lock);
	push = c->push;
	pthread_mutex_unlock(&c->lock);
	if (!push.failing_us && found.failed)
		snprintf(push.text, sizeof(push.text), "%s", found.error_text);
	if (!push.failing_us && !found.failed)
		*push.text = '\0';
	json = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "whole", found.whole,
			 "changed", (json_int_t)found.changed, "bytes", (json_int_t)found.bytes,
			 "removed", (json_int_t)found.removed, "open", (json_int_t)found.open,
			 "conflicts", (json_int_t)found.conflicts, "failed",
			 (json_int_t)(found.failed > push.failed ? found.failed : push.failed),
			 "error", json_text(push.text), "example", json_text(found.error_path),
			 "watch_error", json_text(push.watch));
	if (json && push.failing_us)
		json_object_set_new(json, "failing_seconds",
				    json_integer(seconds_since(push.failing_us)));
	if (json && push.oldest_us && (found.changed || found.removed))
		json_object_set_new(json, "oldest_seconds",
				    json_integer(seconds_since(push.oldest_us)));
	return json;
}

static json_t *json_container(struct host_container *c)
{
	struct host_domains attached = { 0 };
	json_t *json, *ids = json_array(), *domains = json_array();
	struct host_attachment *a;

	pthread_mutex_lock(&c->lock);
	DL_FOREACH(c->attached, a)
		vidas_host_domains_put(&attached, a->session->domain->id);
	for (uint32_t i = 0; i < attached.n; i++)
		json_array_append_new(ids, json_integer(attached.domain[i]));
	for (unsigned i = 0; i < c->meta.domains; i++)
		json_array_append_new(domains,
				      json_pack("{s:I, s:s}", "id",
						(json_int_t)c->meta.domain[i].domain, "access",
						c->meta.domain[i].access == VIDAS_WIRE_RW ? "rw" :
											    "ro"));
	json = json_pack("{s:o, s:I, s:o, s:o, s:o, s:I}", "name", json_name(c->name), "initiator",
			 (json_int_t)c->meta.initiator, "domains", domains, "root",
			 c->meta.root ? json_name(c->meta.root) : json_null(), "attached", ids,
			 "objects", (json_int_t)c->objects);
	pthread_mutex_unlock(&c->lock);
	return json;
}

struct gathering {
	json_t *containers;
	int64_t deadline_us;
};

static void gather(struct host_container *c, void *arg)
{
	struct gathering *g = arg;
	json_t *json = json_container(c), *push = json_push(c, g->deadline_us);

	json_object_set_new(json, "push", push ? push : json_null());
	json_array_append_new(g->containers, json);
}

static char *status_text(struct host *h)
{
	json_t *containers = json_array(), *json;
	struct gathering g = { containers, vidas_deadline_us(HOST_SURVEY_US) };
	char *text;

	vidas_host_containers_each(h, gather, &g);
	json = json_pack("{s:s, s:i, s:I, s:o, s:o, s:o}", "version", VIDAS_VERSION_STRING, "pid",
			 (int)getpid(), "uptime",
			 (json_int_t)((vidas_now_us() - h->started_us) / 1000000), "pool",
			 json_pool(h), "domains", json_domains(h), "containers", containers);
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	return text;
}

/* The text of page 0 is kept for the pages that follow, so that they are of one moment. */
int vidas_host_do_status(struct host_request *rq)
{
	const struct vidas_wire_status *b = rq->message->body;
	struct host_session *s = rq->session;
	size_t all, bytes;
	char *text = NULL;
	int err = only_host(rq);

	if (err < 0)
		return err;
	if (b->offset == 0) {
		text = status_text(rq->host);
		if (!text)
			return vidas_fail(-ENOMEM, "no memory");
	}
	pthread_mutex_lock(&s->lock);
	if (text) {
		free(s->status);
		s->status = text;
	}
	all = s->status ? strlen(s->status) : 0;
	if (b->offset >= all) {
		err = vidas_fail(-EINVAL, "the status is not that long; ask from 0");
	} else {
		bytes = all - b->offset;
		if (bytes > VIDAS_WIRE_BLOB_MAX)
			bytes = VIDAS_WIRE_BLOB_MAX;
		rq->blob = malloc(bytes);
		if (rq->blob) {
			memcpy(rq->blob, s->status + b->offset, bytes);
			rq->blob_bytes = bytes;
			rq->reply.status.next = b->offset + bytes < all ? b->offset + bytes : 0;
		} else {
			err = vidas_fail(-ENOMEM, "no memory");
		}
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}
