/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listings by pages. A page does not tell mode or type, so each object is asked for them once (in
 * parallel), and remembered for as long as its ETag, size and time stay the same.
 */
#include "backends/s3/s3.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define PAGE	  1000u
#define KNOWN_MAX 65536u
#define PROBE	  ".vidas-s3-probe-"

struct s3_known {
	UT_hash_handle hh;
	struct vidas_backend_stat st;
	time_t modified;
	char name[];
};

static bool known_find(struct vidas_backend *be, const struct s3_entry *e,
		       struct vidas_backend_stat *st)
{
	struct vidas_backend_version version;
	struct s3_known *k;
	bool found;

	vidas_s3_version_set(&version, e->etag);
	pthread_mutex_lock(&be->known_lock);
	HASH_FIND_STR(be->known, e->name, k);
	found = k && e->modified && k->modified == e->modified && k->st.size_bytes == e->size &&
		vidas_s3_version_same(&k->st.version, &version);
	if (found)
		*st = k->st;
	pthread_mutex_unlock(&be->known_lock);
	return found;
}

/* Of two changes in one second the second could go unseen: such an object is not remembered yet. */
static void known_keep(struct vidas_backend *be, const struct s3_entry *e,
		       const struct vidas_backend_stat *st)
{
	time_t there = time(NULL) + (time_t)atomic_load_explicit(&be->skew_s, memory_order_relaxed);
	struct vidas_backend_version version;
	size_t size = strlen(e->name) + 1;
	struct s3_known *k;

	vidas_s3_version_set(&version, e->etag);
	pthread_mutex_lock(&be->known_lock);
	HASH_FIND_STR(be->known, e->name, k);
	if (k || HASH_COUNT(be->known) >= KNOWN_MAX) {
		k = k ? k : be->known;
		HASH_DEL(be->known, k);
		free(k);
	}
	k = e->modified && e->modified + 5 < there &&
			    vidas_s3_version_same(&version, &st->version) ?
		    malloc(sizeof(*k) + size) :
		    NULL;
	if (k) {
		k->st = *st;
		k->modified = e->modified;
		memcpy(k->name, e->name, size);
		HASH_ADD_STR(be->known, name, k);
	}
	pthread_mutex_unlock(&be->known_lock);
}

void vidas_s3_known_clear(struct vidas_backend *be)
{
	struct s3_known *k, *next;

	pthread_mutex_lock(&be->known_lock);
	HASH_ITER(hh, be->known, k, next) {
		HASH_DEL(be->known, k);
		free(k);
	}
	pthread_mutex_unlock(&be->known_lock);
}

/* ListObjects goes on behind the last name that came. (It may say one in NextMarker, which is that too,
 * but is encoded by some servers and not by others.) */
static int marker_find(struct s3_answer *a)
{
	const char *last = "";

	for (size_t i = 0; i < a->entries; i++)
		if (strcmp(a->entry[i].name, last) > 0)
			last = a->entry[i].name;
	free(a->next);
	a->next = *last ? strdup(last) : NULL;
	return a->next || !*last ? 0 : -ENOMEM;
}

/* A server that begins again where it was would never end. */
static bool goes_on(const struct s3_request *r, const char *from, const char *to)
{
	if (!from)
		return true;
	return r->be->config.list_old ? strcmp(to, from) > 0 : strcmp(to, from) != 0;
}

static int page_take(struct s3_request *r, char **token, struct s3_answer *out)
{
	bool cleansed = r->reply.text && vidas_s3_xml_cleanse(r->reply.text);
	int err = r->reply.text ? vidas_s3_xml_parse(r->reply.text, r->reply.text_bytes, out) :
				  -EBADMSG;

	if (!err && cleansed && !out->encoded)
		err = -EBADMSG;
	for (size_t i = 0; !err && out->encoded && i < out->entries; i++)
		err = vidas_s3_percent_decode(out->entry[i].name);
	if (!err && out->truncated && r->be->config.list_old)
		err = marker_find(out);
	if (!err && out->truncated && (!out->next || !goes_on(r, *token, out->next)))
		err = -EBADMSG;
	if (err)
		return vidas_backend_error(r->be->host, err == -EBADMSG ? -EIO : err,
					   "s3://%s: the server's listing cannot be read",
					   r->be->config.bucket);
	free(*token);
	*token = out->truncated ? out->next : NULL;
	if (*token)
		out->next = NULL;
	return 0;
}

static int page_ask(struct s3_request *r, const char *prefix, bool delimited, unsigned max,
		    const char *token)
{
	bool old = r->be->config.list_old;
	char number[16];
	int err = 0;

	snprintf(number, sizeof(number), "%u", max);
	if (token && !old)
		err = vidas_s3_request_query(r, "continuation-token", token);
	if (!err && delimited)
		err = vidas_s3_request_query(r, "delimiter", "/");
	if (!err)
		err = vidas_s3_request_query(r, "encoding-type", "url");
	if (!err && !old)
		err = vidas_s3_request_query(r, "list-type", "2");
	if (!err && token && old)
		err = vidas_s3_request_query(r, "marker", token);
	if (!err)
		err = vidas_s3_request_query(r, "max-keys", number);
	return err ? err : vidas_s3_request_query(r, "prefix", prefix);
}

int vidas_s3_page(struct vidas_backend *be, const char *prefix, bool delimited, unsigned max,
		  char **token, struct s3_answer *out)
{
	struct s3_request *r = vidas_s3_request_new(be, S3_GET, "");
	int err = r ? page_ask(r, prefix, delimited, max, *token) : -ENOMEM;

	*out = (struct s3_answer){ 0 };
	if (!err)
		err = vidas_s3_run(r);
	if (!err)
		err = page_take(r, token, out);
	/* Only an object is "not there". */
	if (err == -ENOENT)
		err = vidas_backend_error(be->host, -EACCES, "s3://%s: there is no such bucket",
					  be->config.bucket);
	vidas_s3_request_free(r);
	if (err)
		vidas_s3_answer_clear(out);
	return err;
}

struct listing {
	struct vidas_backend *be;
	char prefix[S3_NAME_BYTES];
	size_t prefix_bytes;
	int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st);
	void *arg;
	bool any;	  /* something is there, be it the marker */
	unsigned skipped; /* that cannot be named here */
	/* Files of which each one's name begins with that of the one before: names come sorted, so that
	 * a directory of the same name as a file comes while that is here. */
	char *file[S3_KEY_MAX];
	size_t files;
};

static bool file_shown(struct listing *l, const char *name)
{
	size_t size = strlen(name);

	while (l->files && strncmp(l->file[l->files - 1], name, strlen(l->file[l->files - 1])) != 0)
		free(l->file[--l->files]);
	for (size_t i = 0; size && i < l->files; i++)
		if (strlen(l->file[i]) == size - 1 && name[size - 1] == '/')
			return true;
	return false;
}

/* The last component of an entry as a file's name. */
static bool entry_name(struct listing *l, const struct s3_entry *e, char name[NAME_MAX + 1])
{
	char last[S3_NAME_BYTES], again[S3_NAME_BYTES];
	size_t size;

	if (strlen(e->name) > S3_KEY_MAX || strncmp(e->name, l->prefix, l->prefix_bytes) != 0)
		return false;
	snprintf(last, sizeof(last), "%s", e->name + l->prefix_bytes);
	size = strlen(last);
	if (e->prefix && size && last[size - 1] == '/')
		last[size - 1] = '\0';
	return last[0] && vidas_s3_name_unescape(last, name, NAME_MAX + 1) == 0 &&
	       !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       vidas_s3_name_escape(name, again, sizeof(again)) == 0 && strcmp(last, again) == 0;
}

static void stat_from_entry(const struct s3_entry *e, struct vidas_backend_stat *st)
{
	*st = (struct vidas_backend_stat){ .type = VIDAS_BACKEND_FILE, .size_bytes = e->size };
	vidas_s3_version_set(&st->version, e->etag);
	if (e->modified) {
		st->mtime.tv_sec = e->modified;
		st->valid = VIDAS_BACKEND_MTIME;
	}
}

static int entry_show(struct listing *l, const struct s3_entry *e,
		      const struct vidas_backend_stat *st)
{
	char name[NAME_MAX + 1];

	if (strcmp(e->name, l->prefix) == 0)
		return 0;
	if (!entry_name(l, e, name)) {
		l->skipped++;
		return 0;
	}
	if (strncmp(name, PROBE, strlen(PROBE)) == 0)
		return 0;
	if (file_shown(l, e->name)) {
		vidas_s3_log(l->be, 4, "%s is a file, what is below %s/ cannot be reached", e->name,
			     e->name);
		return 0;
	}
	if (!e->prefix && l->files < sizeof(l->file) / sizeof(l->file[0])) {
		l->file[l->files] = strdup(e->name);
		if (!l->file[l->files++])
			return -ENOMEM;
	}
	return l->each(l->arg, name, st);
}

/* Finds out what the page does not tell; st[i].type 0: it is gone. */
static int page_complete(struct listing *l, const struct s3_answer *a,
			 struct vidas_backend_stat *st)
{
	struct vidas_backend *be = l->be;
	struct s3_request **r = calloc(a->entries + 1, sizeof(struct s3_request *));
	size_t *of = calloc(a->entries + 1, sizeof(*of)), n = 0;
	int err = r && of ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < a->entries; i++) {
		const struct s3_entry *e = &a->entry[i];

		stat_from_entry(e, &st[i]);
		if (e->prefix)
			st[i] = (struct vidas_backend_stat){ .type = VIDAS_BACKEND_DIRECTORY };
		else if (be->config.attrs && strcmp(e->name, l->prefix) != 0 &&
			 strlen(e->name) <= S3_KEY_MAX && !known_find(be, e, &st[i])) {
			r[n] = vidas_s3_request_new(be, S3_HEAD, e->name);
			if (!r[n])
				err = -ENOMEM;
			else
				r[n]->accept = 404;
			of[n++] = i;
		}
	}
	if (!err)
		err = vidas_s3_run_all(be, r, n, false);
	for (size_t i = 0; i < n; i++) {
		if (!err && r[i]->reply.http == 404) {
			st[of[i]].type = 0;
		} else if (!err) {
			vidas_s3_stat_of(r[i], &st[of[i]]);
			known_keep(be, &a->entry[of[i]], &st[of[i]]);
		}
		vidas_s3_request_free(r[i]);
	}
	free(of);
	free(r);
	return err;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct s3_entry *)a)->name, ((const struct s3_entry *)b)->name);
}

static int page_show(struct listing *l, struct s3_answer *a)
{
	struct vidas_backend_stat *st = calloc(a->entries + 1, sizeof(*st));
	int ret = st ? 0 : -ENOMEM;

	l->any |= a->entries > 0;
	/* Objects and prefixes come apart. */
	if (a->entries)
		qsort(a->entry, a->entries, sizeof(*a->entry), by_name);
	if (!ret)
		ret = page_complete(l, a, st);
	for (size_t i = 0; !ret && i < a->entries; i++)
		if (st[i].type)
			ret = entry_show(l, &a->entry[i], &st[i]);
	free(st);
	return ret;
}

static int pages(struct listing *l)
{
	char *token = NULL;
	struct s3_answer a;
	int ret;

	do {
		ret = vidas_s3_page(l->be, l->prefix, true, PAGE, &token, &a);
		if (ret)
			break;
		ret = page_show(l, &a);
		vidas_s3_answer_clear(&a);
	} while (!ret && token);
	free(token);
	return ret;
}

int vidas_s3_list(struct vidas_backend *be, const char *key,
		  int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		  void *arg)
{
	struct listing *l = calloc(1, sizeof(*l));
	struct vidas_backend_stat st;
	int ret;

	if (!l)
		return -ENOMEM;
	*l = (struct listing){ .be = be, .each = each, .arg = arg };
	ret = vidas_s3_name(be, key, true, l->prefix);
	l->prefix_bytes = strlen(l->prefix);
	if (!ret)
		ret = pages(l);
	if (!ret && !l->any && *key) {
		ret = vidas_s3_head(be, key, false, &st, NULL);
		if (!ret)
			ret = vidas_backend_error(be->host, -ENOTDIR, "%s is not a directory", key);
	}
	if (l->skipped)
		vidas_s3_log(be, 4, "%u names below s3://%s/%s cannot be those of files: left out",
			     l->skipped, be->config.bucket, l->prefix);
	while (l->files)
		free(l->file[--l->files]);
	free(l);
	return ret;
}
