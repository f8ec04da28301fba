/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How containers come, go, and change whom they are for.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/host/container.h"

/* Domains to be told of a change: initiator and list. Returns how many. */
static unsigned concerned(const struct host_meta *meta, vidas_domain_id *out)
{
	unsigned n = 0;

	out[n++] = meta->initiator;
	for (unsigned i = 0; i < meta->domains; i++)
		out[n++] = meta->domain[i].domain;
	return n;
}

/* `base`/NAME, the name as a URL has it and before a query; a directory is made where it can be. */
static char *root_below(const char *base, const char *name)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
	size_t path = strcspn(base, "?"), used;
	size_t room = strlen(base) + 3 * strlen(name) + sizeof("/?create=1");
	const char *query = base + path;
	char *url = malloc(room);

	if (!url)
		return NULL;
	while (path && base[path - 1] == '/' && !strstr(base + path - 1, "//"))
		path--;
	used = (size_t)snprintf(url, room, "%.*s/", (int)path, base);
	for (; *name; name++)
		used += (size_t)snprintf(url + used, room - used,
					 strchr(plain, *name) ? "%c" : "%%%02X",
					 (unsigned)(unsigned char)*name);
	used += (size_t)snprintf(url + used, room - used, "%s", query);
	if (strncmp(url, "file:", 5) == 0 && !strstr(query, "create="))
		snprintf(url + used, room - used, "%screate=1", *query ? "&" : "?");
	return url;
}

static int choose_root(struct host *h, const struct host_domain *d, const char *name,
		       const char *root, char **out)
{
	const char *base;
	int err = 0;

	*out = NULL;
	if (d->id && root[0])
		return vidas_fail(-EPERM, "only the host (domain 0) may name a container's root");
	if (root[0]) {
		*out = strdup(root);
		return *out ? 0 : -ENOMEM;
	}
	if (!d->id)
		return 0;
	pthread_mutex_lock(&h->config_lock);
	base = h->config.default_root;
	if (base) {
		*out = root_below(base, name);
		err = *out ? 0 : -ENOMEM;
	}
	pthread_mutex_unlock(&h->config_lock);
	return err;
}

/*
 * May the container be made? Counts it as being made. *done: it is there, made by the same request
 * sent before.
 */
static int reserve(struct host *h, struct host_session *s, const char *name, bool retry, bool *done)
{
	struct host_domain *d = s->domain;
	unsigned most = d->id ? HOST_CONTAINERS_PER_DOMAIN : HOST_CONTAINERS_OF_HOST;
	struct host_container *c;
	unsigned have;
	int err = 0;

	pthread_rwlock_wrlock(&h->index);
	HASH_FIND_STR(h->containers, name, c);
	*done = c && retry && c->meta.initiator == d->id && c->meta.creator == s->id;
	have = d->creating;
	for (struct host_container *i = h->containers; i; i = i->hh.next)
		have += i->meta.initiator == d->id;
	if (c && !*done)
		err = vidas_fail(-EEXIST, "there is a container '%s' already", name);
	else if (!c && have >= most)
		err = vidas_fail(-ENOSPC, "domain %u has as many containers as it may: %u", d->id,
				 most);
	if (!c && err == 0)
		d->creating++;
	pthread_rwlock_unlock(&h->index);
	if (err == -ENOSPC)
		vidas_host_complain(d, "it has %u containers: one more is refused", most);
	return err;
}

/* On disk, and with its way to the store tried: a root that cannot be used is an error now, not at
 * the first flush. Takes over meta->root. */
static int make(struct host *h, const char *name, struct host_meta *meta,
		struct host_container **out)
{
	struct host_container *c;
	struct vidas_sync *sync;
	char *copy = strdup(name);
	int err = copy ? vidas_host_container_spare(h, &c) : -ENOMEM;

	if (err < 0) {
		free(copy);
		return err;
	}
	c->name = copy;
	c->meta = *meta;
	meta->root = NULL;
	err = vidas_host_container_sync(c, &sync);
	if (err == 0 && sync)
		err = vidas_sync_ready(sync);
	if (err == 0) /* a domain's container is for programs of any user of it */
		err = vidas_host_disk_publish(c, c->meta.initiator ? 01777 : 0755);
	if (err < 0)
		vidas_host_container_retire(c);
	else
		*out = c;
	return err;
}

int vidas_host_container_create(struct host_lane *lane, const char *name,
				const struct vidas_wire_container_create *list, const char *root,
				bool retry)
{
	struct host_session *s = lane->session;
	struct host *h = lane->host;
	struct host_meta meta = { .initiator = s->domain->id, .creator = s->id };
	vidas_domain_id who[VIDAS_DOMAINS_MAX + 1];
	struct host_container *c = NULL;
	bool done = false;
	int err;

	meta.domains = list->domains;
	memcpy(meta.domain, list->domain, list->domains * sizeof(list->domain[0]));
	err = choose_root(h, s->domain, name, root, &meta.root);
	if (err == 0)
		err = reserve(h, s, name, retry, &done);
	if (err < 0 || done)
		goto out;
	err = make(h, name, &meta, &c);
	pthread_rwlock_wrlock(&h->index);
	s->domain->creating--;
	if (err == 0)
		vidas_host_container_index(h, c);
	pthread_rwlock_unlock(&h->index);
	if (err < 0)
		goto out;
	vidas_log(VIDAS_LOG_DEBUG, "domain %u made container '%s'", s->domain->id, name);
	vidas_host_recall_containers(h, who, concerned(&meta, who));
out:
	free(meta.root);
	return err;
}

/* Marks it as being destroyed, if nobody else uses it: who merely looked into it does not. */
static int claim(struct host_container *c, vidas_domain_id domain)
{
	vidas_domain_id who;
	int err = 0;

	pthread_mutex_lock(&c->lock);
	if (c->dead)
		err = vidas_fail(-ENOENT, "there is no container '%s'", c->name);
	else if (c->dying)
		err = vidas_fail(-EBUSY, "container '%s' is being destroyed already", c->name);
	c->dying = c->dying || err == 0;
	pthread_mutex_unlock(&c->lock);
	/* From here on nobody attaches it. */
	if (err == 0 && vidas_host_recall_used(c, domain, &who)) {
		err = vidas_fail(-EBUSY, "domain %u uses container '%s'", who, c->name);
		pthread_mutex_lock(&c->lock);
		c->dying = false;
		pthread_mutex_unlock(&c->lock);
	}
	return err;
}

/* What has not reached the store yet goes there; else nothing is destroyed. */
static int flush_all(struct host_container *c)
{
	struct vidas_sync_moved moved;
	struct vidas_sync *sync;
	int err = vidas_host_container_sync(c, &sync);

	if (err == 0 && sync)
		err = vidas_sync_flush(sync, "", 0, &moved);
	if (err < 0)
		return vidas_fail(err,
				  "container '%s' is not destroyed, as it cannot be flushed: %s",
				  c->name, vidas_fail_text());
	return 0;
}

/* Flushes that others have begun must not take for deleted what the cleaner removes. */
static int to_trash(struct host_container *c)
{
	struct vidas_sync *sync;
	int err = vidas_host_container_sync(c, &sync);

	if (err < 0)
		return err;
	if (sync)
		vidas_sync_end(sync, true);
	err = vidas_host_disk_trash(c->host, c->name);
	if (err < 0 && sync)
		vidas_sync_end(sync, false);
	return err;
}

static void bury(struct host_container *c)
{
	struct host *h = c->host;

	pthread_rwlock_wrlock(&h->index);
	HASH_DEL(h->containers, c);
	pthread_rwlock_unlock(&h->index);
	pthread_mutex_lock(&c->lock);
	c->dead = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	vidas_host_attachments_retire(c);
}

/* The tree goes first, which is at once both the question whether it is empty and the end of all that
 * could fill it. Killed after that, the next vidasd finds a container without a tree: it is gone. */
static int remove_empty(struct host_container *c)
{
	if (unlinkat(c->dir_fd, "tree", AT_REMOVEDIR) == 0)
		return 0;
	if (errno == ENOTEMPTY || errno == EEXIST)
		return vidas_fail(-ENOTEMPTY, "container '%s' is not empty", c->name);
	return vidas_fail(-errno, "cannot remove the tree of container '%s': %s", c->name,
			  strerror(errno));
}

int vidas_host_container_destroy(struct host_lane *lane, const char *name, uint32_t flags)
{
	vidas_domain_id domain = lane->session->domain->id, who[VIDAS_DOMAINS_MAX + 1];
	struct host *h = lane->host;
	struct host_container *c = vidas_host_container_find(h, name, domain);
	unsigned n;
	int err;

	if (!c)
		return vidas_fail(-ENOENT, "there is no container '%s'", name);
	if (domain && domain != c->meta.initiator) {
		err = vidas_fail(-EPERM,
				 "only domain %u, which made container '%s', may destroy it",
				 c->meta.initiator, name);
		goto out;
	}
	err = c->loaded ? vidas_host_grace_wait(lane) : 0;
	if (err == 0)
		err = claim(c, domain);
	if (err < 0)
		goto out;
	err = flush_all(c);
	if (err == 0 && !c->meta.root && (flags & VIDAS_WIRE_DESTROY_EMPTY))
		err = remove_empty(c);
	if (err == 0)
		err = to_trash(c);
	pthread_mutex_lock(&c->lock);
	c->dying = err == 0;
	n = concerned(&c->meta, who);
	pthread_mutex_unlock(&c->lock);
	if (err < 0)
		goto out;
	bury(c);
	vidas_log(VIDAS_LOG_DEBUG, "domain %u destroyed container '%s'", domain, name);
	vidas_host_recall_containers(h, who, n);
	vidas_host_container_unref(c); /* the index's */
out:
	vidas_host_container_unref(c);
	return err;
}

int vidas_host_container_set_domains(struct host_container *c, const char *text, size_t bytes)
{
	vidas_domain_id who[2 * (VIDAS_DOMAINS_MAX + 1)];
	struct host_meta meta;
	unsigned n;
	int err;

	pthread_mutex_lock(&c->lock);
	meta = c->meta;
	n = concerned(&c->meta, who);
	err = c->dead ? vidas_fail(-ENOENT, "container '%s' is gone", c->name) :
			vidas_host_meta_parse(text, bytes, &meta);
	if (err == 0)
		err = vidas_host_meta_store(c->dir_fd, &meta);
	if (err == 0) {
		c->meta.domains = meta.domains;
		memcpy(c->meta.domain, meta.domain, sizeof(meta.domain));
		n += concerned(&meta, who + n);
		for (struct host_attachment *a = c->attached; a; a = a->next)
			atomic_store_explicit(
				&a->access, vidas_host_container_access(c, a->session->domain->id),
				memory_order_release);
		pthread_cond_broadcast(&c->changed);
	}
	pthread_mutex_unlock(&c->lock);
	if (err == 0)
		vidas_host_recall_containers(c->host, who, n);
	return err;
}
