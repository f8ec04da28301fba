/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Attributes as object metadata, in the keys and the form of s3fs (mode decimal with the type's
 * bits, uid, gid, mtime "seconds.nanoseconds"); rclone reads the same mtime, and its octal mode
 * is read here.
 */
#include "backends/s3/s3.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static uint32_t type_bits(enum vidas_backend_type type)
{
	return type == VIDAS_BACKEND_DIRECTORY ? S3_MODE_DIR :
	       type == VIDAS_BACKEND_SYMLINK   ? S3_MODE_LINK :
						 S3_MODE_FILE;
}

int vidas_s3_meta_headers(struct s3_request *r, const struct vidas_backend_stat *st)
{
	uint32_t mode = st->mode & 07777;
	int err = 0;

	/* A mode says the type too: what is no file has one in any case. */
	if (!(st->valid & VIDAS_BACKEND_MODE))
		mode = st->type == VIDAS_BACKEND_DIRECTORY ? 0755 : 0777;
	if ((st->valid & VIDAS_BACKEND_MODE) || st->type == VIDAS_BACKEND_SYMLINK ||
	    st->type == VIDAS_BACKEND_DIRECTORY)
		err = vidas_s3_request_header(r, "x-amz-meta-mode: %u", type_bits(st->type) | mode);
	if (!err && (st->valid & VIDAS_BACKEND_OWNER)) {
		err = vidas_s3_request_header(r, "x-amz-meta-uid: %u", st->uid);
		if (!err)
			err = vidas_s3_request_header(r, "x-amz-meta-gid: %u", st->gid);
	}
	if (!err && (st->valid & VIDAS_BACKEND_MTIME))
		err = vidas_s3_request_header(r, "x-amz-meta-mtime: %lld.%09ld",
					      (long long)st->mtime.tv_sec, st->mtime.tv_nsec);
	return err;
}

/* What a server says is not trusted to be a number. */
static bool number(const char *text, int base, uint64_t max, uint64_t *out)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	*out = strtoull(text, &end, base);
	return !errno && *out <= max && (*end == '\0' || *end == '.' || *end == ' ');
}

static void mode_set(struct vidas_backend_stat *st, const char *value)
{
	uint64_t mode;

	if (!number(value, value[0] == '0' ? 8 : 10, 0177777, &mode))
		return;
	st->mode = (uint32_t)mode & 07777;
	st->valid |= VIDAS_BACKEND_MODE;
	switch (mode & 0170000) {
	case S3_MODE_LINK:
		st->type = VIDAS_BACKEND_SYMLINK;
		break;
	case S3_MODE_DIR:
		st->type = VIDAS_BACKEND_DIRECTORY;
		break;
	default:
		st->type = VIDAS_BACKEND_FILE;
	}
}

static void mtime_set(struct vidas_backend_stat *st, const char *value)
{
	const char *dot = strchr(value, '.');
	uint64_t seconds;
	long scale = 100000000, nanos = 0;

	if (!number(value, 10, INT64_MAX / 1000000000, &seconds))
		return;
	for (const char *c = dot ? dot + 1 : ""; isdigit((unsigned char)*c); c++, scale /= 10)
		nanos += (*c - '0') * scale;
	st->mtime = (struct timespec){ .tv_sec = (time_t)seconds, .tv_nsec = nanos };
	st->valid |= VIDAS_BACKEND_MTIME;
}

/* The owner is known with both its halves only: bits that enum vidas_backend_attr has not. */
#define HAVE_UID (1u << 30)
#define HAVE_GID (1u << 31)

static void owner_set(struct vidas_backend_stat *st, const char *value, bool group)
{
	uint64_t id;

	if (!number(value, 10, UINT32_MAX, &id))
		return;
	if (group)
		st->gid = (uint32_t)id;
	else
		st->uid = (uint32_t)id;
	st->valid |= group ? HAVE_GID : HAVE_UID;
}

void vidas_s3_meta_finish(struct vidas_backend_stat *st)
{
	if ((st->valid & HAVE_UID) && (st->valid & HAVE_GID))
		st->valid |= VIDAS_BACKEND_OWNER;
	/* Who put it without an mtime has the time of that. */
	if (st->mtime.tv_sec)
		st->valid |= VIDAS_BACKEND_MTIME;
	st->valid &= ~(HAVE_UID | HAVE_GID);
}

static bool attribute_set(struct vidas_backend_stat *st, const char *name, const char *value)
{
	if (strcmp(name, "mode") == 0)
		mode_set(st, value);
	else if (strcmp(name, "uid") == 0 || strcmp(name, "gid") == 0)
		owner_set(st, value, name[0] == 'g');
	else if (strcmp(name, "mtime") == 0)
		mtime_set(st, value);
	else
		return false;
	return true;
}

static void range_set(struct s3_reply *reply, const char *value)
{
	unsigned long long from, to, whole;

	/* "bytes 0-9/100"; "bytes * /100" answers a range beyond the end. */
	if (sscanf(value, "bytes %llu-%llu/%llu", &from, &to, &whole) == 3) {
		reply->from = from;
		reply->whole = whole;
		reply->ranged = true;
	}
}

/* Headers that are of the object and would be lost when its metadata is replaced. */
static bool kept(const char *name)
{
	static const char *const names[] = { "content-type",	    "content-encoding",
					     "content-disposition", "content-language",
					     "cache-control",	    "expires" };

	if (strncmp(name, "x-amz-meta-", 11) == 0)
		return true;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static void keep(struct s3_request *r, const char *name, const char *value)
{
	struct curl_slist *more;
	char line[2400];

	/* Signing needs a canonical form; libcurl leaves blanks in a row as they are. */
	if (!r->keep || !kept(name) || !*value || strstr(value, "  ") || strchr(value, '\t') ||
	    strlen(value) > 2048)
		return;
	snprintf(line, sizeof(line), "%s: %s", name, value);
	more = curl_slist_append(r->reply.keep, line);
	if (more)
		r->reply.keep = more;
}

static void encryption_set(struct s3_reply *reply, const char *name, const char *value)
{
	if (strcmp(name, "x-amz-server-side-encryption-customer-algorithm") == 0 ||
	    (strcmp(name, "x-amz-server-side-encryption") == 0 &&
	     strncmp(value, "aws:kms", 7) == 0))
		reply->foreign_hash = true;
}

void vidas_s3_meta_line(struct s3_request *r, char *name, char *value)
{
	struct s3_reply *reply = &r->reply;
	uint64_t n;

	for (char *c = name; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (strncmp(name, "x-amz-meta-", 11) == 0) {
		if (!attribute_set(&reply->st, name + 11, value))
			keep(r, name, value);
	} else if (strcmp(name, "etag") == 0) {
		vidas_s3_version_set(&reply->st.version, value);
	} else if (strcmp(name, "content-length") == 0) {
		if (number(value, 10, INT64_MAX, &n))
			reply->length = n;
	} else if (strcmp(name, "content-range") == 0) {
		range_set(reply, value);
	} else if (strcmp(name, "last-modified") == 0) {
		time_t t = curl_getdate(value, NULL);

		/* The real mtime, where it was kept, comes in its own header. */
		if (t > 0 && !(reply->st.valid & VIDAS_BACKEND_MTIME))
			reply->st.mtime = (struct timespec){ .tv_sec = t };
	} else if (strcmp(name, "date") == 0) {
		reply->date = curl_getdate(value, NULL);
	} else if (strcmp(name, "retry-after") == 0) {
		if (number(value, 10, 60, &n))
			reply->retry_after_s = (unsigned)n;
	} else if (strcmp(name, "x-amz-checksum-sha256") == 0) {
		snprintf(reply->sum, sizeof(reply->sum), "%s", value);
	} else if (strcmp(name, "x-amz-bucket-region") == 0) {
		snprintf(reply->region, sizeof(reply->region), "%s", value);
	} else {
		encryption_set(reply, name, value);
		keep(r, name, value);
	}
}

/* ETags that are longer than a version can hold: none, and the caller goes by size and time. */
void vidas_s3_version_set(struct vidas_backend_version *v, const char *etag)
{
	size_t size;

	if (strncmp(etag, "W/", 2) == 0)
		etag += 2;
	etag += *etag == '"';
	size = strcspn(etag, "\"\r\n");
	*v = (struct vidas_backend_version){ 0 };
	if (size > sizeof(v->bytes))
		return;
	v->size = (uint16_t)size;
	memcpy(v->bytes, etag, size);
}

void vidas_s3_version_text(const struct vidas_backend_version *v, char text[64])
{
	size_t size = v->size <= sizeof(v->bytes) ? v->size : sizeof(v->bytes);

	memcpy(text, v->bytes, size);
	text[size] = '\0';
	/* It may come from a file of ours, not only from a server: no header must be made of it. */
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)text[i] <= 0x20 || text[i] == '"' || text[i] == 0x7f)
			text[i] = '?';
}

bool vidas_s3_version_same(const struct vidas_backend_version *a,
			   const struct vidas_backend_version *b)
{
	return a->size == b->size && a->size <= sizeof(a->bytes) &&
	       memcmp(a->bytes, b->bytes, a->size) == 0;
}

time_t vidas_s3_time_parse(const char *iso)
{
	struct tm tm = { 0 };
	const char *end = strptime(iso, "%Y-%m-%dT%H:%M:%S", &tm);
	time_t t = end && (*end == 'Z' || *end == '.') ? timegm(&tm) : 0;

	return t > 0 ? t : 0;
}
