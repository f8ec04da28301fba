/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/host/fsck_internal.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define MARKER	   "vidas-pool"
#define JSON_BYTES 65536

/* What is under way in a pool in use is done, or looks different, by then. */
#define AGAIN_NS (500 * 1000 * 1000)

static bool was_found(const struct fsck *k, const char *line)
{
	for (size_t i = 0; i < k->found.count; i++)
		if (strcmp(k->found.path[i], line) == 0)
			return true;
	return false;
}

bool fsck_find(struct fsck *k, enum fsck_kind kind, const char *place, const char *fmt, ...)
{
	char line[PATH_MAX + 1024];
	va_list args;
	int n = snprintf(line, sizeof(line), "%s: ", place);

	va_start(args, fmt);
	vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, args);
	va_end(args);
	if (k->f->online && !k->again) {
		/* Without memory it is not found: a pool in use is none to be strict with. */
		(void)sync_list_add(&k->found, line);
		return false;
	}
	if (k->f->online && !was_found(k, line))
		return false;
	/* Names that domains choose. */
	for (char *at = line; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	k->f->say(k->f->arg, line);
	if (kind == FSCK_PROBLEM)
		k->f->problems++;
	else
		k->f->leftovers++;
	return k->f->repair;
}

void fsck_repaired(struct fsck *k, const char *place, int err)
{
	char line[PATH_MAX + 256];

	if (err)
		snprintf(line, sizeof(line), "%s: cannot be repaired: %s", place, strerror(-err));
	else
		snprintf(line, sizeof(line), "%s: repaired", place);
	k->f->say(k->f->arg, line);
	k->f->repaired += !err;
}

void fsck_remove(struct fsck *k, int dir, const char *name, const char *place)
{
	int err = 0;

	if (unlinkat(dir, name, 0) < 0 &&
	    (errno != EISDIR || unlinkat(dir, name, AT_REMOVEDIR) < 0))
		err = -errno;
	fsck_repaired(k, place, err);
}

bool fsck_is_json(int dir, const char *name, size_t max)
{
	json_t *json = NULL;
	char *text;
	size_t size;
	bool object;

	if (vidas_file_read(dir, name, max, &text, &size) < 0)
		return false;
	json = json_loadb(text, size, 0, NULL);
	free(text);
	object = json_is_object(json);
	json_decref(json);
	return object;
}

/* The pool itself ------------------------------------------------------------------------------ */

struct entries {
	struct fsck *k;
	int dir;
};

static int top_entry(void *arg, const char *name)
{
	static const char *const ours[] = { MARKER,	  "." MARKER ".new", "domains",
					    "containers", "trash",	     "lost+found" };
	const struct entries *e = arg;

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(ours); i++)
		if (strcmp(name, ours[i]) == 0)
			return 0;
	(void)fsck_find(e->k, FSCK_PROBLEM, name,
			"does not belong into a pool; move it away, vidasd does not touch it");
	return 0;
}

static int domain_entry(void *arg, const char *name)
{
	const struct entries *e = arg;
	char place[NAME_MAX + 16];
	size_t digits = strspn(name, "0123456789");

	snprintf(place, sizeof(place), "domains/%s", name);
	if (name[0] == '.') {
		if (fsck_find(e->k, FSCK_LEFTOVER, place, "left by a killed vidasd"))
			fsck_remove(e->k, e->dir, name, place);
	} else if (!digits || name[digits] || !fsck_is_json(e->dir, name, JSON_BYTES)) {
		(void)fsck_find(e->k, FSCK_PROBLEM, place,
				"is no record of a domain; remove it, and add the domain again: "
				"vidas domain add ID");
	}
	return 0;
}

static int trash_entry(void *arg, const char *name)
{
	const struct entries *e = arg;
	char place[NAME_MAX + 16];

	snprintf(place, sizeof(place), "trash/%s", name);
	if (strncmp(name, "new-", 4) != 0 && strncmp(name, "old-", 4) != 0)
		(void)fsck_find(e->k, FSCK_PROBLEM, place,
				"does not belong here; move it away, vidasd does not touch it");
	else
		e->k->trash++;
	return 0;
}

static int container_entry(void *arg, const char *name)
{
	const struct entries *e = arg;

	fsck_container(e->k, name);
	return 0;
}

static void each_in(struct fsck *k, const char *name, int (*each)(void *arg, const char *name))
{
	struct entries e = { .k = k };

	e.dir = sync_open_at(k->pool, name, O_RDONLY | O_DIRECTORY);
	if (e.dir < 0) {
		(void)fsck_find(
			k, FSCK_PROBLEM, *name ? name : ".",
			"cannot be opened as a directory: %s; restore it, or begin a new pool",
			strerror(-e.dir));
		return;
	}
	if (sync_each_entry(e.dir, each, &e) < 0)
		(void)fsck_find(k, FSCK_PROBLEM, name, "cannot be read");
	close(e.dir);
}

static void look(struct fsck *k)
{
	char line[128];

	each_in(k, "", top_entry);
	each_in(k, "domains", domain_entry);
	k->trash = 0;
	each_in(k, "trash", trash_entry);
	/* Even a vidasd that was stopped leaves those that it had made in advance. */
	if (k->trash && !k->f->online) {
		snprintf(line, sizeof(line),
			 "trash: %u containers on their way in or out; vidasd removes them when it "
			 "starts",
			 k->trash);
		k->f->say(k->f->arg, line);
	}
	each_in(k, "containers", container_entry);
}

/* Sees that it is a pool, and whether a vidasd has it; *lock: held against one that starts. */
static int open_marker(struct fsck *k, int *lock)
{
	char text[4096];
	json_t *json;
	json_int_t version;
	ssize_t n;

	*lock = sync_open_at(k->pool, MARKER, O_RDONLY | O_NONBLOCK);
	if (*lock < 0)
		return vidas_fail(*lock, "%s is no VIDAS pool: it has no readable %s", k->f->pool,
				  MARKER);
	if (flock(*lock, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return vidas_fail(-errno, "cannot lock %s/%s: %s", k->f->pool, MARKER,
					  strerror(errno));
		k->f->online = true;
	}
	if (k->f->online && k->f->repair)
		return vidas_fail(-EBUSY,
				  "a vidasd has the pool %s: stop it first, to have it repaired",
				  k->f->pool);
	n = vidas_pread_all(*lock, text, sizeof(text), 0);
	json = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL;
	version = json_integer_value(json_object_get(json, "version"));
	json_decref(json);
	if (version > 1)
		return vidas_fail(-EPROTO, "the pool %s is of version %lld, this program knows 1",
				  k->f->pool, (long long)version);
	if (version != 1 && n != 0)
		(void)fsck_find(
			k, FSCK_PROBLEM, MARKER,
			"is damaged, vidasd will not start: write {\"version\": 1} into it");
	return 0;
}

int vidas_fsck(struct vidas_fsck *f)
{
	const struct timespec pause = { .tv_nsec = AGAIN_NS };
	struct fsck k = { .f = f, .dir = -1 };
	int lock = -1, err;

	f->online = false;
	f->problems = f->repaired = f->leftovers = 0;
	k.pool = open(f->pool, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (k.pool < 0)
		return vidas_fail(-errno, "cannot open the pool %s: %s", f->pool, strerror(errno));
	err = open_marker(&k, &lock);
	if (!err)
		look(&k);
	if (!err && f->online) {
		nanosleep(&pause, NULL);
		k.again = true;
		err = open_marker(&k, &lock);
		if (!err)
			look(&k);
	}
	sync_list_free(&k.found);
	if (lock >= 0)
		close(lock);
	close(k.pool);
	return err;
}
