/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's requests that have no reply yet, and those that waited for memory and go on. */
#include "vidasfs/fs.h"
#include "vidasfs/near_pending.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

/* On the lane at once, of requests and of the replies that are expected: both fit into the sockets on the
 * way, so that the thread that carries replies finds room for the little that it has to say itself. */
#define OUT_BYTES   (768u << 10)
#define IN_BYTES    (3u << 20)
#define SMALL_BYTES 4096u /* these are not counted; they may wait for long */
#define TRIES_MAX   3u

struct pending {
	UT_hash_handle hh;
	uint64_t unique, nodeid;
	uint64_t changes; /* a file that it may change, or 0 */
	uint32_t opcode, out_bytes, in_bytes;
	unsigned tries;
};

struct again {
	struct again *prev, *next;
	struct fuse_in_header in; /* and the rest of it */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pending *all;
static size_t out_bytes, in_bytes;
static struct again *again;
static int wake_fd = -1;

int vidas_pending_init(void)
{
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return wake_fd < 0 ? -errno : wake_fd;
}

void vidas_pending_wake(void)
{
	const uint64_t one = 1;

	if (write(wake_fd, &one, sizeof(one)) < 0)
		vidas_log(VIDAS_LOG_ERR, "eventfd: %s", strerror(errno));
}

int vidas_pending_add(const struct fuse_in_header *in)
{
	const struct fuse_read_in *body = (const void *)(in + 1);
	struct pending *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->unique = in->unique;
	p->nodeid = in->nodeid;
	p->opcode = in->opcode;
	p->out_bytes = in->len > SMALL_BYTES ? in->len : 0;
	if (in->opcode == FUSE_READ || in->opcode == FUSE_READDIR || in->opcode == FUSE_READDIRPLUS)
		p->in_bytes = body->size;
	pthread_mutex_lock(&lock);
	HASH_ADD(hh, all, unique, sizeof(p->unique), p);
	out_bytes += p->out_bytes;
	in_bytes += p->in_bytes;
	pthread_mutex_unlock(&lock);
	return 0;
}

/* Under the lock. */
static bool room(void)
{
	return out_bytes <= OUT_BYTES && in_bytes <= IN_BYTES;
}

bool vidas_pending_room(void)
{
	bool is;

	pthread_mutex_lock(&lock);
	is = room();
	pthread_mutex_unlock(&lock);
	return is;
}

/* Under the lock. */
static struct pending *pending_find(uint64_t unique)
{
	struct pending *p;

	HASH_FIND(hh, all, &unique, sizeof(unique), p);
	return p;
}

/* Under the lock. */
static void pending_drop(struct pending *p)
{
	bool full;

	HASH_DEL(all, p);
	full = !room();
	out_bytes -= p->out_bytes;
	in_bytes -= p->in_bytes;
	free(p);
	if (full)
		vidas_pending_wake();
}

void vidas_pending_changes(uint64_t unique, uint64_t nodeid)
{
	struct pending *p;

	pthread_mutex_lock(&lock);
	p = pending_find(unique);
	if (p)
		p->changes = nodeid;
	pthread_mutex_unlock(&lock);
}

void vidas_near_unchanged(uint64_t unique)
{
	vidas_pending_changes(unique, 0);
}

void vidas_near_served(uint64_t unique)
{
	struct pending *p;

	pthread_mutex_lock(&lock);
	p = pending_find(unique);
	if (p)
		pending_drop(p);
	pthread_mutex_unlock(&lock);
}

void vidas_near_again(const struct fuse_in_header *in)
{
	struct again *a = malloc(offsetof(struct again, in) + in->len);

	if (!a)
		return; /* it stays pending, and fails with the far half */
	memcpy(&a->in, in, in->len);
	pthread_mutex_lock(&lock);
	DL_APPEND(again, a);
	pthread_mutex_unlock(&lock);
	vidas_pending_wake();
}

void vidas_pending_again(void (*route)(const struct fuse_in_header *in, bool may_ask))
{
	struct pending *p;
	struct again *a;
	uint64_t count;
	bool may_ask;

	if (read(wake_fd, &count, sizeof(count)) < 0)
		return;
	do {
		pthread_mutex_lock(&lock);
		a = again;
		p = a ? pending_find(a->in.unique) : NULL;
		if (a)
			DL_DELETE(again, a);
		may_ask = p && ++p->tries < TRIES_MAX;
		pthread_mutex_unlock(&lock);
		/* Else it was answered when the far half was lost. */
		if (p)
			route(&a->in, may_ask);
		free(a);
	} while (a);
}

/* Its reply has come. */
void vidas_pending_done(uint64_t unique)
{
	struct pending *p, was = { 0 };

	pthread_mutex_lock(&lock);
	p = pending_find(unique);
	if (p) {
		was = *p;
		pending_drop(p);
	}
	pthread_mutex_unlock(&lock);
	if (was.changes)
		vidas_near_changed(was.changes, was.opcode == FUSE_WRITE);
	if (was.opcode == FUSE_READ || was.opcode == FUSE_WRITE)
		vidas_near_inline(was.nodeid, unique);
}

/* Nobody knows whether it was done, but of what only asks: there the kernel may look once more. */
static int lost_error(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_LOOKUP:
	case FUSE_GETATTR:
	case VIDAS_FUSE_STATX:
	case FUSE_READLINK:
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
	case FUSE_OPEN:
	case FUSE_OPENDIR:
	case FUSE_STATFS:
		return -ESTALE;
	}
	return -EIO;
}

void vidas_pending_fail(void (*answer)(uint64_t unique, int err))
{
	struct pending *p, *next;

	pthread_mutex_lock(&lock);
	HASH_ITER(hh, all, p, next) {
		if (answer)
			answer(p->unique, lost_error(p->opcode));
		pending_drop(p);
	}
	pthread_mutex_unlock(&lock);
}
