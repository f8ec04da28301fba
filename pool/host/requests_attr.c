/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The attributes that vidasd answers: one row each, keyed to the table of pool/policy.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/host/locality.h"
#include "pool/policy/attr.h"

struct question {
	struct host_container *c;
	struct vidas_sync *sync; /* NULL: no root */
	const char *path;
	uint64_t inode;
	/* set */
	const char *value;
	size_t bytes;
};

static int text(char **out, const char *fmt, ...) VIDAS_PRINTF(2, 3);
static int text(char **out, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vasprintf(out, fmt, args);
	va_end(args);
	if (n < 0)
		return -ENOMEM;
	return 0;
}

static int no_root(void)
{
	return vidas_fail(-ENODATA, "the container has no root");
}

static int get_state(const struct question *q, char **out)
{
	struct vidas_sync_info info;
	int err;

	if (!q->sync)
		return text(out, "clean");
	err = vidas_sync_info(q->sync, q->path, &info);
	return err < 0 ? err : text(out, "%s", vidas_sync_state_name(info.state));
}

static int get_error(const struct question *q, char **out)
{
	struct vidas_sync_info info;
	int err;

	if (!q->sync)
		return text(out, "%s", "");
	err = vidas_sync_info(q->sync, q->path, &info);
	if (err < 0)
		return err;
	return text(out, "%s",
		    info.error_text[0] ? info.error_text :
					 (info.error ? strerror(abs(info.error)) : ""));
}

static int get_etag(const struct question *q, char **out)
{
	struct vidas_sync_info info;
	char hex[2 * sizeof(info.version.bytes) + 1] = "";
	int err;

	if (!q->sync)
		return no_root();
	err = vidas_sync_info(q->sync, q->path, &info);
	if (err < 0)
		return err;
	if (!info.version.size)
		return vidas_fail(-ENODATA, "the store has given no version of it yet");
	for (unsigned i = 0; i < info.version.size && i < sizeof(info.version.bytes); i++)
		snprintf(hex + 2 * (size_t)i, 3, "%02x", info.version.bytes[i]);
	return text(out, "%s", hex);
}

static size_t print_domains(char *at, size_t room, const char *what, const struct host_domains *d)
{
	size_t used = d->n ? (size_t)snprintf(at, room, "; %s", what) : 0;

	for (uint32_t i = 0; i < d->n && used < room; i++)
		used += (size_t)snprintf(at + used, room - used, "%s%u", i ? "," : " ",
					 d->domain[i]);
	return used;
}

/* Which bytes of a file are here, if not all are: as prefetch takes them. */
static void print_parts(char *at, size_t room, const struct host_locality *l)
{
	size_t used = 0;

	*at = '\0';
	for (size_t i = 0; i < l->parts && used < room; i++)
		used += (size_t)snprintf(at + used, room - used, "%s%" PRIu64 "+%" PRIu64,
					 i ? "," : ": ", l->part[i].offset, l->part[i].size);
	if (l->parts == HOST_LOCALITY_PARTS && used < room)
		snprintf(at + used, room - used, ",...");
}

/* What of it is on its way to or from the store at this moment. */
static void print_progress(char *at, size_t room, const struct question *q)
{
	struct vidas_sync *sync;
	uint64_t moved, all;
	int used = 0;

	if (vidas_host_container_sync(q->c, &sync) < 0 || !sync)
		return;
	if (vidas_sync_pushed(sync, q->path, &moved, &all) == 0)
		used = snprintf(at, room, ", pushed %" PRIu64 " of %" PRIu64 " bytes", moved, all);
	if (vidas_sync_fetched(sync, q->path, &moved, &all) == 0)
		snprintf(at + used, room - (size_t)used,
			 ", fetched %" PRIu64 " of %" PRIu64 " bytes", moved, all);
}

static int get_locality(const struct question *q, char **out)
{
	char parts[HOST_LOCALITY_PARTS * 44] = "";
	char who[2 * (32 + 11 * VIDAS_DOMAINS_MAX)] = "";
	char progress[160] = "";
	struct host_locality l;
	size_t used;
	int err = vidas_host_locality(q->c, q->path, &l);

	if (err < 0)
		return err;
	used = print_domains(who, sizeof(who), "open for writing in", &l.writing);
	if (used < sizeof(who))
		print_domains(who + used, sizeof(who) - used, "objects in", &l.joined);
	print_parts(parts, sizeof(parts), &l);
	print_progress(progress, sizeof(progress), q);
	return text(out, "resident %" PRIu64 " of %" PRIu64 " bytes%s%s%s", l.resident_bytes,
		    l.size_bytes, parts, who, progress);
}

static int get_container(const struct question *q, char **out)
{
	return text(out, "%s", q->c->name);
}

/* ROOT/PATH, before the parameters of the root. */
static int get_name(const struct question *q, char **out)
{
	const char *root = q->c->meta.root;
	int bytes;

	if (!root)
		return text(out, "%s", q->path);
	bytes = (int)strcspn(root, "?");
	return text(out, "%.*s%s%s", bytes, root, q->path[0] ? "/" : "", q->path);
}

static int get_offset(const struct question *q, char **out)
{
	(void)q;
	return text(out, "0");
}

static int get_size(const struct question *q, char **out)
{
	struct stat st;
	int fd = vidas_host_path_open(q->c, q->path), err = 0;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = vidas_fail(-ENODATA, "only a regular file has a size");
	close(fd);
	return err < 0 ? err : text(out, "%lld", (long long)st.st_size);
}

static int get_root(const struct question *q, char **out)
{
	const char *root = q->c->meta.root;

	return root ? text(out, "%s", root) : no_root();
}

static int get_domains(const struct question *q, char **out)
{
	pthread_mutex_lock(&q->c->lock);
	*out = vidas_host_meta_print(&q->c->meta);
	pthread_mutex_unlock(&q->c->lock);
	return *out ? 0 : -ENOMEM;
}

static int get_initiator(const struct question *q, char **out)
{
	return text(out, "%u", q->c->meta.initiator);
}

static int set_flush(const struct question *q)
{
	struct vidas_sync_moved moved;

	return q->sync ? vidas_sync_flush(q->sync, q->path, q->inode, &moved) : 0;
}

static int set_update(const struct question *q)
{
	struct vidas_sync_moved moved;

	return q->sync ? vidas_sync_update(q->sync, q->path, q->inode, &moved) : 0;
}

static int set_prefetch(const struct question *q)
{
	struct vidas_sync_moved moved;
	char text[VIDAS_POLICY_BYTES] = "";
	uint64_t offset, size;
	int err;

	memcpy(text, q->value, q->bytes < sizeof(text) ? q->bytes : 0); /* checked before */
	err = vidas_range_parse(text, &offset, &size);
	if (err || !q->sync)
		return err;
	return vidas_sync_prefetch(q->sync, q->path, q->inode, offset, size, &moved);
}

static int set_domains(const struct question *q)
{
	return vidas_host_container_set_domains(q->c, q->value, q->bytes);
}

static const struct row {
	const char *name;
	int (*get)(const struct question *q, char **out);
	int (*set)(const struct question *q);
	bool initiator_sets; /* or the host */
	bool readers_set;    /* also those attached read-only */
} rows[] = {
	{ .name = "state", .get = get_state },
	{ .name = "locality", .get = get_locality },
	{ .name = "error", .get = get_error },
	{ .name = "etag", .get = get_etag },
	{ .name = "container", .get = get_container },
	{ .name = "name", .get = get_name },
	{ .name = "offset", .get = get_offset },
	{ .name = "size", .get = get_size },
	{ .name = "flush", .set = set_flush, .readers_set = true },
	{ .name = "update", .set = set_update },
	{ .name = "prefetch", .set = set_prefetch, .readers_set = true },
	{ .name = "domains", .get = get_domains, .set = set_domains, .initiator_sets = true },
	{ .name = "root", .get = get_root },
	{ .name = "initiator", .get = get_initiator },
};

/* The row and what the common table says of it. */
static int find(const char *name, const char *path, const struct row **row,
		const struct vidas_attr **attr)
{
	char full[sizeof(VIDAS_XATTR_PREFIX) + 256];

	snprintf(full, sizeof(full), VIDAS_XATTR_PREFIX "%s", name);
	*attr = vidas_attr_find(full, NULL);
	*row = NULL;
	for (size_t i = 0; *attr && i < VIDAS_ARRAY_SIZE(rows); i++)
		if (strcmp(rows[i].name, (*attr)->name) == 0)
			*row = &rows[i];
	if (!*row)
		return vidas_fail(-ENODATA, "'%s' is no attribute that vidasd knows", name);
	if ((*attr)->kind == VIDAS_ATTR_CONTAINER && path[0])
		return vidas_fail(-ENODATA, "'%s' is an attribute of containers only", name);
	return 0;
}

/* Is the inode that the asker believes in still at the path? */
static int check_inode(struct host_container *c, const char *path, uint64_t inode)
{
	struct stat st;
	int err = 0, fd;

	fd = vidas_host_path_open(c, path);
	if (fd < 0)
		return vidas_fail(fd, "'%s': %s", path, strerror(-fd));
	if (fstat(fd, &st) < 0)
		err = -errno;
	else if (inode && st.st_ino != inode)
		err = vidas_fail(-ESTALE, "another file is there now");
	close(fd);
	return err;
}

static int ask(struct host_request *rq, uint32_t container, struct question *q)
{
	int err = vidas_host_request_container(rq, container, &q->c);

	q->path = rq->message->string[0];
	if (err == 0)
		err = vidas_host_container_sync(q->c, &q->sync);
	return err;
}

int vidas_host_do_attr_get(struct host_request *rq)
{
	const struct vidas_wire_attr_get *b = rq->message->body;
	const char *name = rq->message->string[1];
	struct question q = { .inode = b->inode };
	const struct vidas_attr *attr;
	const struct row *row;
	char *value = NULL;
	int err;

	err = ask(rq, b->container, &q);
	if (err == 0)
		err = find(name, q.path, &row, &attr);
	if (err == 0 && !row->get)
		err = vidas_fail(-ENODATA, "'%s' can only be set", name);
	if (err == 0)
		err = check_inode(q.c, q.path, b->inode);
	if (err == 0)
		err = row->get(&q, &value);
	if (err < 0)
		return err;
	rq->blob = value;
	rq->blob_bytes = strlen(value);
	if (rq->blob_bytes > VIDAS_WIRE_BLOB_MAX)
		return vidas_fail(-E2BIG, "the value has %zu bytes", rq->blob_bytes);
	return 0;
}

static int may_set(const struct host_request *rq, const struct question *q, const struct row *row,
		   const struct vidas_attr *attr)
{
	vidas_domain_id domain = rq->session->domain->id;

	if (!row->set)
		return vidas_fail(-EPERM, "'%s' is read-only", attr->name);
	if (row->initiator_sets && domain && domain != q->c->meta.initiator)
		return vidas_fail(-EPERM,
				  "only domain %u, which made container '%s', may set its %s",
				  q->c->meta.initiator, q->c->name, attr->name);
	if (!row->readers_set && !vidas_host_request_may_write(rq))
		return vidas_fail(-EROFS, "container '%s' is attached read-only", q->c->name);
	return 0;
}

int vidas_host_do_attr_set(struct host_request *rq)
{
	const struct vidas_wire_attr_set *b = rq->message->body;
	struct question q = { .inode = b->inode,
			      .value = rq->message->blob,
			      .bytes = rq->message->blob_bytes };
	const struct vidas_attr *attr;
	const struct row *row;
	int err;

	err = ask(rq, b->container, &q);
	if (err == 0)
		err = find(rq->message->string[1], q.path, &row, &attr);
	if (err == -ENODATA)
		err = -EINVAL;
	if (err == 0)
		err = may_set(rq, &q, row, attr);
	if (err == 0 && b->remove && attr->kind != VIDAS_ATTR_CONTAINER)
		err = vidas_fail(-ENODATA, "'%s' is never stored", attr->name);
	if (err == 0 && !b->remove)
		err = vidas_attr_check(attr, q.value, q.bytes);
	if (err == 0)
		err = check_inode(q.c, q.path, b->inode);
	return err < 0 ? err : row->set(&q);
}
