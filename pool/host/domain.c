/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Domains and their listeners. POOL/domains/ID keeps {"uid": …}; the socket is RUN/domains/ID/sock,
 * that of domain 0 RUN/vidasd.sock.
 */
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#include "pool/host/host.h"

#define RECORD_BYTES_MAX 4096
#define ACCEPTS_AT_ONCE	 16
#define COMPLAINT_US	 (INT64_C(1) * 1000 * 1000)

void vidas_host_domain_unref(struct host_domain *d)
{
	if (d && atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) == 1)
		free(d);
}

void vidas_host_complain(struct host_domain *d, const char *fmt, ...)
{
	int64_t now_us = vidas_now_us();
	int64_t last_us = atomic_load_explicit(&d->complained_us, memory_order_relaxed);
	char text[512], more[64] = "";
	unsigned left_out;
	va_list args;

	if ((last_us && now_us - last_us < COMPLAINT_US) ||
	    !atomic_compare_exchange_strong_explicit(&d->complained_us, &last_us, now_us,
						     memory_order_relaxed, memory_order_relaxed)) {
		atomic_fetch_add_explicit(&d->uncomplained, 1, memory_order_relaxed);
		return;
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	left_out = atomic_exchange_explicit(&d->uncomplained, 0, memory_order_relaxed);
	if (left_out)
		snprintf(more, sizeof(more), " (and %u complaints before that were not logged)",
			 left_out);
	vidas_log(VIDAS_LOG_NOTICE, "domain %u: %s%s", d->id, text, more);
}

/* The path of a domain's directory, or with `sock` of its socket. free() it. */
static char *domain_path(const struct host *h, vidas_domain_id id, bool sock)
{
	char *path;
	int n;

	if (id)
		n = asprintf(&path, "%s/domains/%u%s", h->config.run_dir, id, sock ? "/sock" : "");
	else
		n = asprintf(&path, "%s/vidasd.sock", h->config.run_dir);
	return n < 0 ? NULL : path;
}

static int make_directories(const struct host *h, vidas_domain_id id)
{
	char *all, *own = domain_path(h, id, false);
	int err = 0;

	if (!own || asprintf(&all, "%s/domains", h->config.run_dir) < 0) {
		free(own);
		return -ENOMEM;
	}
	if ((mkdir(all, 0755) < 0 && errno != EEXIST) || (mkdir(own, 0755) < 0 && errno != EEXIST))
		err = vidas_fail(-errno, "cannot make %s: %s", own, strerror(errno));
	free(all);
	free(own);
	return err;
}

/* Opens the listener and lets the main thread know of it. */
static int domain_open(struct host *h, vidas_domain_id id, uid_t uid)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = id };
	struct host_domain *d = calloc(1, sizeof(*d));
	char *path = domain_path(h, id, true);
	int err;

	err = d && path ? 0 : -ENOMEM;
	if (err == 0 && id)
		err = make_directories(h, id);
	if (err == 0)
		err = vidas_listener_open(path, id, uid, &d->listener);
	if (err == 0 &&
	    epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, vidas_listener_fd(d->listener), &event) < 0) {
		err = -errno;
		vidas_listener_close(d->listener);
	}
	free(path);
	if (err < 0) {
		free(d);
		return err;
	}
	d->host = h;
	d->id = id;
	d->uid = uid;
	atomic_init(&d->refs, 1);
	pthread_mutex_lock(&h->registry);
	HASH_ADD(hh, h->domains, id, sizeof(d->id), d);
	pthread_mutex_unlock(&h->registry);
	return 0;
}

static int record_store(struct host *h, vidas_domain_id id, uid_t uid)
{
	char name[16], text[64];

	snprintf(name, sizeof(name), "%u", id);
	snprintf(text, sizeof(text), "{\"uid\": %u}\n", (unsigned)uid);
	return vidas_file_replace(h->domains_fd, name, text, strlen(text));
}

static int record_load(struct host *h, const char *name, uid_t *uid)
{
	char *text;
	size_t size;
	json_t *json, *value;
	int err = vidas_file_read(h->domains_fd, name, RECORD_BYTES_MAX, &text, &size);

	if (err < 0)
		return err;
	json = json_loadb(text, size, 0, NULL);
	free(text);
	value = json_object_get(json, "uid");
	if (json_is_integer(value))
		*uid = (uid_t)json_integer_value(value);
	else
		err = vidas_fail(-EBADMSG, "it is malformed");
	json_decref(json);
	return err;
}

static int domains_load(struct host *h)
{
	int fd = openat(h->domains_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *e;
	int err = 0;

	if (!d) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return vidas_fail(err, "cannot read the domains of the pool: %s", strerror(-err));
	}
	while (err == 0 && (e = readdir(d))) {
		char *end;
		unsigned long id = strtoul(e->d_name, &end, 10);
		uid_t uid = 0;

		if (*end || !id || id > UINT32_MAX)
			continue;
		if (record_load(h, e->d_name, &uid) < 0) {
			vidas_log(VIDAS_LOG_ERR, "domain %s is left out: %s", e->d_name,
				  vidas_fail_text());
			continue;
		}
		err = domain_open(h, (vidas_domain_id)id, uid);
	}
	closedir(d);
	return err;
}

int vidas_host_domains_open(struct host *h)
{
	int err = domains_load(h);

	/* Last: who reaches the administrator's socket finds all others. */
	return err < 0 ? err : domain_open(h, 0, 0);
}

static void remove_directory(struct host *h, vidas_domain_id id)
{
	char *path = domain_path(h, id, false);

	if (path && rmdir(path) < 0 && errno != ENOENT)
		vidas_log(VIDAS_LOG_NOTICE, "cannot remove %s: %m", path);
	free(path);
}

static struct host_domain *find_locked(struct host *h, vidas_domain_id id)
{
	struct host_domain *d;

	HASH_FIND(hh, h->domains, &id, sizeof(id), d);
	return d;
}

/* Closes the listener; who connects later finds nobody. */
static void domain_close(struct host *h, struct host_domain *d)
{
	struct vidas_listener *l = d->listener;

	pthread_mutex_lock(&h->registry);
	HASH_DEL(h->domains, d);
	d->listener = NULL;
	pthread_mutex_unlock(&h->registry);
	epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, vidas_listener_fd(l), NULL);
	vidas_listener_close(l);
}

void vidas_host_domains_close(struct host *h)
{
	while (h->domains) {
		struct host_domain *d = h->domains;

		domain_close(h, d);
		vidas_host_domain_unref(d);
	}
}

int vidas_host_domain_add(struct host *h, vidas_domain_id id, uid_t uid, bool retry)
{
	struct host_domain *d;
	unsigned count;
	char name[16];
	int err;

	pthread_mutex_lock(&h->admin);
	pthread_mutex_lock(&h->registry);
	d = find_locked(h, id);
	count = HASH_COUNT(h->domains);
	pthread_mutex_unlock(&h->registry);
	if (d) {
		err = retry && id && d->uid == uid ?
			      0 :
			      vidas_fail(-EEXIST, "domain %u is there already", id);
		goto out;
	}
	if (count > HOST_DOMAINS) {
		err = vidas_fail(-EUSERS, "there are %u domains; there can be no more",
				 HOST_DOMAINS);
		vidas_log(VIDAS_LOG_NOTICE, "%s", vidas_fail_text());
		goto out;
	}
	err = record_store(h, id, uid);
	if (err < 0)
		goto out;
	err = domain_open(h, id, uid);
	if (err < 0) {
		snprintf(name, sizeof(name), "%u", id);
		unlinkat(h->domains_fd, name, 0);
		goto out;
	}
	vidas_log(VIDAS_LOG_INFO, "domain %u added, for uid %u", id, (unsigned)uid);
out:
	pthread_mutex_unlock(&h->admin);
	return err;
}

/* Ends the lanes of a session of a removed domain; its threads do the rest. */
static void shut_session(struct host_session *s, void *arg)
{
	const struct host_domain *d = arg;
	struct host_lane *lane;

	if (s->domain != d)
		return;
	pthread_mutex_lock(&s->lock);
	DL_FOREACH(s->lanes, lane)
		vidas_channel_shutdown(lane->channel);
	pthread_mutex_unlock(&s->lock);
}

int vidas_host_domain_remove(struct host *h, vidas_domain_id id)
{
	struct host_domain *d;
	char name[16];
	int err = 0;

	pthread_mutex_lock(&h->admin);
	pthread_mutex_lock(&h->registry);
	d = find_locked(h, id);
	pthread_mutex_unlock(&h->registry);
	if (!d || !id) {
		err = id ? vidas_fail(-ENOENT, "there is no domain %u", id) :
			   vidas_fail(-EINVAL, "domain 0 is the host itself");
		goto out;
	}
	snprintf(name, sizeof(name), "%u", id);
	if (unlinkat(h->domains_fd, name, 0) < 0 && errno != ENOENT) {
		err = vidas_fail(-errno, "cannot forget domain %u: %s", id, strerror(errno));
		goto out;
	}
	domain_close(h, d);
	remove_directory(h, id);
	vidas_host_sessions_each(h, shut_session, d);
	vidas_log(VIDAS_LOG_INFO, "domain %u removed", id);
	vidas_host_domain_unref(d);
out:
	pthread_mutex_unlock(&h->admin);
	return err;
}

/* One connection; false: none waits. Under host.registry until it is counted. */
static bool accept_one(struct host *h, vidas_domain_id id)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
	struct vidas_channel *channel = NULL;
	struct vidas_peer peer = { 0 };
	struct host_domain *d;
	bool refuse = false;
	int err = -EAGAIN;

	pthread_mutex_lock(&h->registry);
	d = find_locked(h, id);
	if (d)
		err = vidas_listener_accept(d->listener, &channel, &peer);
	if (err == 0 && d->lanes >= HOST_LANES_PER_DOMAIN + HOST_LANES_TO_REFUSE) {
		err = -EUSERS;
	} else if (err == 0) {
		refuse = d->lanes++ >= HOST_LANES_PER_DOMAIN;
		h->lanes++;
		atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&h->registry);
	if (err == 0) {
		vidas_host_lane_start(d, channel, &peer, refuse);
		return true;
	}
	if (err == -EUSERS) {
		vidas_channel_close(channel);
		return true;
	}
	if (err == -EACCES) {
		vidas_log(VIDAS_LOG_WARNING, "a connection was turned away: %s", vidas_fail_text());
		return true;
	}
	if (err != -EAGAIN) {
		/* Out of descriptors or memory: not to be asked again at once for ever. */
		vidas_log(VIDAS_LOG_ERR, "cannot take a connection of domain %u: %s", id,
			  strerror(-err));
		nanosleep(&pause, NULL);
	}
	return false;
}

void vidas_host_domain_accept(struct host *h, vidas_domain_id id)
{
	for (int i = 0; i < ACCEPTS_AT_ONCE && accept_one(h, id); i++)
		;
}
