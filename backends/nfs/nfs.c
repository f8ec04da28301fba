/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nfs://SERVER/PATH: a directory of an NFS server as the root. docs/backend-nfs.md has what it
 * promises and what it cannot. This part: open and close, the root, errors, versions.
 */
#include "backends/nfs/nfs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nfsc/libnfs-raw-nfs.h>
#include <nfsc/libnfs-raw-nfs4.h>

#include "backends/nfs/v4.h"
#include "backends/url.h"

#define PORT		2049
#define TIMEOUT_SECONDS 120 /* a restarted server may ask for 90 s of patience */
#define CONNECTIONS	2
/* On a fast net more spill out of the cache; 8 MiB fill 1 GB/s at 8 ms. */
#define REQUESTS	8
#define PATIENCE_MIN_US 20000
#define PATIENCE_MAX_US 1000000
#define STALE_PAUSE_US	500
#define STALE_TRIES	64 /* with pauses: about a second */

struct vidas_nfs_link *vidas_nfs_link_of(struct vidas_backend *be)
{
	unsigned first = atomic_fetch_add_explicit(&be->turn, 1, memory_order_relaxed) % be->links;
	unsigned best = first, jobs = UINT_MAX;

	for (unsigned i = 0; jobs && i < be->links; i++) {
		unsigned at = (first + i) % be->links, has = vidas_nfs_link_jobs(be->link[at]);

		if (has < jobs) {
			jobs = has;
			best = at;
		}
	}
	return be->link[best];
}

int vidas_nfs_ask(struct vidas_backend *be, struct vidas_nfs_link *link,
		  struct vidas_nfs_call *call)
{
	int64_t until = vidas_nfs_now_us() + be->peer.timeout_us, pause = PATIENCE_MIN_US;
	int err;

	while ((err = vidas_nfs_call(link, call)) == VIDAS_NFS_PATIENCE) {
		if (vidas_nfs_now_us() + pause >= until)
			return vidas_backend_error(be->host, -ETIMEDOUT,
						   "%s asks for patience, longer than %lld s",
						   be->server,
						   (long long)(be->peer.timeout_us / 1000000));
		vidas_nfs_pause_us(pause);
		pause = pause * 2 < PATIENCE_MAX_US ? pause * 2 : PATIENCE_MAX_US;
	}
	if (err == -EPROTO && strstr(call->words, "version mismatch"))
		return vidas_backend_error(be->host, err,
					   "%s does not speak NFS version %d; try version=%d",
					   be->server, be->dialect->version,
					   7 - be->dialect->version);
	if (err && *call->words)
		return vidas_backend_error(be->host, err, "%s: %s", be->server, call->words);
	return err;
}

int vidas_nfs_say(struct vidas_backend *be, int err, const char *what)
{
	if (err == -ETIMEDOUT || err == VIDAS_NFS_STALE)
		return err; /* has words; or nobody will see them */
	return vidas_backend_error(be->host, err, "%s: %s: %s", be->server, what,
				   strerrordesc_np(-err));
}

int vidas_nfs_turn_take(struct vidas_backend *be, struct vidas_nfs_turn *turn)
{
	int64_t until = vidas_nfs_now_us() + be->peer.timeout_us;
	struct timespec ts = { .tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000 };
	int err = 0;

	pthread_mutex_lock(&turn->mutex);
	while (turn->taken && !err)
		err = pthread_cond_clockwait(&turn->cond, &turn->mutex, CLOCK_MONOTONIC, &ts);
	if (!turn->taken) {
		turn->taken = true;
		err = 0;
	}
	pthread_mutex_unlock(&turn->mutex);
	if (err)
		return vidas_backend_error(be->host, -ETIMEDOUT,
					   "%s: waited for another call that waits for the server",
					   be->server);
	return 0;
}

void vidas_nfs_turn_give(struct vidas_nfs_turn *turn)
{
	pthread_mutex_lock(&turn->mutex);
	turn->taken = false;
	pthread_cond_signal(&turn->cond);
	pthread_mutex_unlock(&turn->mutex);
}

int vidas_nfs_root(struct vidas_backend *be, struct vidas_nfs_fh *out)
{
	int err = vidas_nfs_turn_take(be, &be->root_turn);

	if (err)
		return err;
	if (!be->have_root) {
		err = be->dialect->root(be);
		be->have_root = !err;
	}
	*out = be->root;
	vidas_nfs_turn_give(&be->root_turn);
	if (err == -ENOENT)
		return vidas_backend_error(be->host, -EIO, "%s has no %s", be->server, be->path);
	if (err == -EACCES)
		return vidas_backend_error(be->host, err, "%s refuses to let us have %s",
					   be->server, be->path);
	return err;
}

void vidas_nfs_root_forget(struct vidas_backend *be)
{
	if (vidas_nfs_turn_take(be, &be->root_turn))
		return;
	be->have_root = false;
	vidas_nfs_turn_give(&be->root_turn);
}

bool vidas_nfs_again(struct vidas_backend *be, int *err, int *tries)
{
	if (*err != VIDAS_NFS_STALE)
		return false;
	if (++*tries < STALE_TRIES) {
		if (*tries > 1)
			vidas_nfs_pause_us(*tries * STALE_PAUSE_US);
		/* Perhaps it is the root's. */
		if (*tries == STALE_TRIES / 4)
			vidas_nfs_root_forget(be);
		return true;
	}
	*err = vidas_backend_error(be->host, -EAGAIN,
				   "%s: what it names is replaced again and again", be->server);
	return false;
}

int vidas_nfs_errno(int status)
{
	switch (status) {
	case NFS4_OK:
	case NFS4ERR_NOENT:
	case NFS4ERR_IO:
	case NFS4ERR_EXIST:
	case NFS4ERR_XDEV:
	case NFS4ERR_NOTDIR:
	case NFS4ERR_ISDIR:
	case NFS4ERR_INVAL:
	case NFS4ERR_FBIG:
	case NFS4ERR_NOSPC:
	case NFS4ERR_ROFS:
	case NFS4ERR_MLINK:
		return -status; /* the same numbers as Linux has */
	case NFS4ERR_PERM:
	case NFS4ERR_ACCESS:
	case NFS4ERR_WRONGSEC:
	case NFS4ERR_BADOWNER:
		return -EACCES;
	case NFS4ERR_NAMETOOLONG:
	case NFS4ERR_BADCHAR:
	case NFS4ERR_BADNAME:
		return -EINVAL;
	case NFS4ERR_NOTEMPTY:
		return -ENOTEMPTY;
	case NFS4ERR_DQUOT:
		return -EDQUOT;
	case NFS4ERR_STALE:
	case NFS4ERR_BADHANDLE:
	case NFS4ERR_FHEXPIRED:
	case NFS4ERR_BAD_COOKIE:
	case NFS4ERR_NOT_SAME:
		return VIDAS_NFS_STALE;
	case NFS4ERR_NOTSUPP:
	case NFS4ERR_ATTRNOTSUPP:
		return -EOPNOTSUPP;
	case NFS4ERR_DELAY: /* NFS3ERR_JUKEBOX too */
	case NFS4ERR_GRACE:
	case NFS4ERR_RESOURCE:
		return VIDAS_NFS_PATIENCE;
	case NFS4ERR_SYMLINK:
		return -ENOTDIR;
	case NFS4ERR_MINOR_VERS_MISMATCH:
		return -EPROTO;
	case NFS4ERR_STALE_CLIENTID:
	case NFS4ERR_STALE_STATEID:
	case NFS4ERR_OLD_STATEID:
	case NFS4ERR_BAD_STATEID:
	case NFS4ERR_BAD_SEQID:
	case NFS4ERR_EXPIRED:
	case NFS4ERR_LOCKED:
	case NFS4ERR_SHARE_DENIED:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

/* As many bytes as are in use, so that they can be compared. */
void vidas_nfs_version(const struct vidas_backend *be, const struct vidas_nfs_attr *from,
		       struct vidas_backend_version *to)
{
	const uint64_t v[7] = {
		from->fileid,
		from->size,
		from->change,
		(uint64_t)from->mtime.tv_sec,
		(uint64_t)from->mtime.tv_nsec,
		(uint64_t)from->ctime.tv_sec,
		(uint64_t)from->ctime.tv_nsec,
	};

	_Static_assert(sizeof(v) <= sizeof(to->bytes), "it fits");
	memset(to, 0, sizeof(*to));
	/* Version 4 has a change attribute, which says it all. */
	to->size = be->dialect->version == 4 ? 3 * sizeof(v[0]) : sizeof(v);
	memcpy(to->bytes, v, to->size);
}

bool vidas_nfs_version_is(const struct vidas_backend *be, const struct vidas_nfs_attr *attr,
			  const struct vidas_backend_version *expect)
{
	struct vidas_backend_version version;

	vidas_nfs_version(be, attr, &version);
	return version.size == expect->size &&
	       memcmp(version.bytes, expect->bytes, version.size) == 0;
}

int vidas_nfs_stat_of(const struct vidas_backend *be, const struct vidas_nfs_attr *from,
		      struct vidas_backend_stat *to)
{
	if (!from->type)
		return -EOPNOTSUPP;
	*to = (struct vidas_backend_stat){
		.type = (enum vidas_backend_type)from->type,
		.valid = VIDAS_BACKEND_MODE | VIDAS_BACKEND_MTIME,
		.mode = from->mode,
		.uid = from->uid,
		.gid = from->gid,
		.links = from->links,
		.mtime = from->mtime,
	};
	if (from->owner && !atomic_load_explicit(&be->no_owners, memory_order_relaxed))
		to->valid |= VIDAS_BACKEND_OWNER;
	if (to->type != VIDAS_BACKEND_DIRECTORY) {
		to->size_bytes = from->size;
		vidas_nfs_version(be, from, &to->version);
	}
	return 0;
}

/* The URL. ---------------------------------------------------------------------------------------- */

static int bad(const struct vidas_backend_host *host, const char *text, const char *why)
{
	return vidas_backend_error(host, -EINVAL, "bad URL '%s': %s", text, why);
}

static bool number(const char *text, long max, int *out)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || value > max)
		return false;
	*out = (int)value;
	return true;
}

/* SERVER, SERVER:PORT, [ADDRESS], [ADDRESS]:PORT */
static bool authority(struct vidas_backend *be, const char *text)
{
	size_t size = *text == '[' ? strcspn(text, "]") : strcspn(text, ":");
	const char *rest = text + size;

	if (*text == '[') {
		if (!*rest)
			return false;
		text++;
		size--;
		rest++;
	}
	if (!size || memchr(text, '@', size) ||
	    (*rest && (*rest != ':' || !number(rest + 1, 65535, &be->peer.port) || !be->peer.port)))
		return false;
	be->server = strndup(text, size);
	return true;
}

static int params(struct vidas_backend *be, const struct vidas_url *url, const char *text)
{
	int version = 4, seconds = TIMEOUT_SECONDS, connections = CONNECTIONS, requests = REQUESTS;
	struct {
		const char *name;
		long min, max;
		int *to;
	} known[] = {
		{ "version", 3, 4, &version },
		{ "uid", 0, INT_MAX, &be->peer.uid },
		{ "gid", 0, INT_MAX, &be->peer.gid },
		{ "timeout", 1, 3600, &seconds },
		{ "mountport", 1, 65535, &be->mount_port },
		{ "connections", 1, VIDAS_NFS_LINKS_MAX, &connections },
		{ "requests", 1, 256, &requests },
	};
	char why[128];

	for (unsigned i = 0; i < url->params; i++) {
		size_t k = 0, all = sizeof(known) / sizeof(known[0]);

		while (k < all && strcmp(url->param[i].name, known[k].name) != 0)
			k++;
		if (k == all) {
			snprintf(
				why, sizeof(why),
				"no parameter '%.20s', only version, uid, gid, timeout, mountport, "
				"connections, requests",
				url->param[i].name);
			return bad(be->host, text, why);
		}
		if (!number(url->param[i].value, known[k].max, known[k].to) ||
		    *known[k].to < known[k].min) {
			snprintf(why, sizeof(why), "%s must be a number from %ld to %ld",
				 known[k].name, known[k].min, known[k].max);
			return bad(be->host, text, why);
		}
	}
	be->dialect = version == 3 ? &vidas_nfs_v3 : &vidas_nfs_v4;
	be->peer.version = version;
	be->peer.timeout_us = seconds * INT64_C(1000000);
	be->links = (unsigned)connections;
	be->window = (unsigned)requests;
	return 0;
}

static int url_read(struct vidas_backend *be, const char *text)
{
	struct vidas_url *url = malloc(sizeof(*url));
	const char *reason = NULL;
	char *at;
	int err;

	if (!url)
		return -ENOMEM;
	if (vidas_url_parse(text, url, &reason)) {
		err = bad(be->host, text, reason);
	} else if (!authority(be, url->authority) || *url->path != '/') {
		err = bad(be->host, text, "it must be nfs://SERVER[:PORT]/PATH");
	} else {
		err = params(be, url, text);
		/* A server may know "/export", and not "/export/". */
		for (at = (char *)(uintptr_t)url->path + strlen(url->path) - 1;
		     at > url->path && *at == '/'; at--)
			*at = '\0';
		be->path = strdup(url->path);
	}
	free(url);
	return err || (be->server && be->path) ? err : -ENOMEM;
}

static uint64_t hash(uint64_t seed, const char *text)
{
	while (*text)
		seed = (seed ^ (uint8_t)*text++) * UINT64_C(0x100000001b3); /* FNV-1a */
	return seed;
}

static void backend_close(struct vidas_backend *be)
{
	for (unsigned i = 0; i < be->links; i++)
		vidas_nfs_link_close(be->link[i]);
	vidas_nfs4_client_free(be->client);
	free(be->server);
	free(be->path);
	free(be);
}

static int backend_open(const struct vidas_backend_host *host, const char *text,
			struct vidas_backend **out, uint32_t *caps)
{
	struct vidas_backend *be = calloc(1, sizeof(*be));
	int err;

	if (!be)
		return -ENOMEM;
	be->host = host;
	be->peer = (struct vidas_nfs_peer){
		.port = PORT, .program = NFS4_PROGRAM, .uid = -1, .gid = -1, .host = host
	};
	be->root_turn = (struct vidas_nfs_turn)VIDAS_NFS_TURN;
	err = url_read(be, text);
	if (!err)
		err = vidas_nfs4_client_new(&be->client);
	be->peer.server = be->server;
	for (unsigned i = 0; !err && i < be->links; i++)
		err = vidas_nfs_link_open(&be->peer, &be->link[i]);
	if (err) {
		backend_close(be);
		return err;
	}
	be->root_id = hash(hash(UINT64_C(0xcbf29ce484222325), be->server), be->path);
	*caps = VIDAS_BACKEND_CONDITIONAL | VIDAS_BACKEND_RANGED_PUT | VIDAS_BACKEND_DIRECTORIES |
		VIDAS_BACKEND_SYMLINKS | VIDAS_BACKEND_ATTRIBUTES | VIDAS_BACKEND_LINKS;
	*out = be;
	return 0;
}

const struct vidas_backend_ops vidas_nfs_ops = {
	.struct_size = sizeof(struct vidas_backend_ops),
	.api_version = VIDAS_BACKEND_API,
	.name = "nfs",
	.summary =
		"a directory of an NFS server: nfs://SERVER[:PORT]/PATH[?version=3|4&timeout=SECONDS…]",
	.open = backend_open,
	.close = backend_close,
	.stat = vidas_nfs_stat,
	.get = vidas_nfs_get,
	.put = vidas_nfs_put,
	.remove = vidas_nfs_remove,
	.list = vidas_nfs_list,
	.mkdir = vidas_nfs_mkdir,
	.rmdir = vidas_nfs_rmdir,
	.symlink = vidas_nfs_symlink,
	.readlink = vidas_nfs_readlink,
	.rename = vidas_nfs_rename,
	.put_range = vidas_nfs_put_range,
	.set_attrs = vidas_nfs_set_attrs,
	.link = vidas_nfs_link,
};
