/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a request of a near half names is looked up here, and stays while the request is in hand. A kernel
 * does not close a file that it still reads from, nor forget what it still looks up in; who only
 * pretends to be one may.
 */
#include "vidasfs/border.h"
#include "vidasfs/far.h"
#include "vidasfs/fs.h"
#include "vidasfs/lane.h"

#include <linux/fuse.h>
#include <string.h>
#include <time.h>

/* `users` of one that is being released. */
#define RELEASED       UINT_MAX
/* Who has our reply may close the file before we have left. */
#define LEAVE_US       (1000 * 1000)
/* More than a kernel has of requests at once. */
#define INTERRUPTS_MAX 1024

static pthread_mutex_t users_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t users_change = PTHREAD_COND_INITIALIZER;
static unsigned releasing; /* threads that wait for a change */

/* What this thread's request has. */
static _Thread_local struct {
	struct vidas_node *node[2];
	unsigned *users[2];
} held;

void vidas_far_hold(struct vidas_handle *h)
{
	if (!vidas_is_far())
		return;
	pthread_mutex_lock(&users_lock);
	h->users++;
	pthread_mutex_unlock(&users_lock);
}

void vidas_far_unhold(struct vidas_handle *h)
{
	if (!vidas_is_far())
		return;
	pthread_mutex_lock(&users_lock);
	h->users--;
	if (releasing)
		pthread_cond_broadcast(&users_change);
	pthread_mutex_unlock(&users_lock);
}

void vidas_far_leave(void)
{
	pthread_mutex_lock(&users_lock);
	for (unsigned i = 0; i < VIDAS_ARRAY_SIZE(held.users); i++)
		if (held.users[i])
			--*held.users[i];
	if (releasing)
		pthread_cond_broadcast(&users_change);
	pthread_mutex_unlock(&users_lock);
	for (unsigned i = 0; i < VIDAS_ARRAY_SIZE(held.node); i++)
		if (held.node[i])
			vidas_node_unref(held.node[i]);
	memset(&held, 0, sizeof(held));
}

static bool is_type(const struct vidas_node *n, enum vidas_border_node type)
{
	return type == VIDAS_BORDER_ANY ||
	       (type == VIDAS_BORDER_DIR ? S_ISDIR(n->type) : S_ISREG(n->type));
}

/* Under users_lock: the count of that handle, if it is one of the node. */
static unsigned *users_of(uint64_t number, const struct vidas_node *n)
{
	struct vidas_handle *h;
	struct vidas_dir *d;

	if (S_ISDIR(n->type)) {
		d = vidas_keep_find(VIDAS_KEPT_DIR, number);
		return d && d->node == n ? &d->users : NULL;
	}
	h = vidas_keep_find(VIDAS_KEPT_HANDLE, number);
	return h && h->node == n ? &h->users : NULL;
}

/* Under users_lock. */
static int wait_unused(const unsigned *users)
{
	struct timespec until;
	int err = 0;

	if (!*users)
		return 0;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LEAVE_US / 1000000;
	vidas_loop_step_aside();
	releasing++;
	while (*users && *users != RELEASED && !err)
		err = -pthread_cond_timedwait(&users_change, &users_lock, &until);
	releasing--;
	return *users == RELEASED ? -ESTALE : *users ? -EBUSY : 0;
}

static int hold_handle(uint64_t number, unsigned i, bool release)
{
	unsigned *users;
	int err = 0;

	pthread_mutex_lock(&users_lock);
	users = users_of(number, held.node[i]);
	if (!users || *users == RELEASED)
		err = -ESTALE;
	else if (!release)
		held.users[i] = users;
	else
		err = wait_unused(users);
	if (!err)
		*users = release ? RELEASED : *users + 1;
	pthread_mutex_unlock(&users_lock);
	return err;
}

static int hold(const struct fuse_in_header *in)
{
	bool release = in->opcode == FUSE_RELEASE || in->opcode == FUSE_RELEASEDIR;
	struct vidas_border_names names;
	int err = 0;

	vidas_border_names(in, &names);
	for (unsigned i = 0; i < names.nodes && !err; i++) {
		held.node[i] = vidas_node_get(names.node[i].id);
		if (!held.node[i])
			err = -ESTALE;
		else if (!is_type(held.node[i], names.node[i].type))
			err = -EINVAL;
	}
	for (unsigned i = 0; i < names.handles && !err; i++)
		err = hold_handle(names.handle[i], i, release);
	return err;
}

static void forget(uint64_t id, uint64_t lookups)
{
	struct vidas_node *n = vidas_node_get(id);

	if (!n)
		return;
	vidas_node_forget(n, lookups);
	vidas_node_unref(n);
}

static bool forgotten(const struct fuse_in_header *in)
{
	const struct fuse_batch_forget_in *batch = (const void *)(in + 1);
	const struct fuse_forget_one *one = (const void *)(batch + 1);

	switch (in->opcode) {
	case FUSE_FORGET:
		forget(in->nodeid, ((const struct fuse_forget_in *)(const void *)batch)->nlookup);
		return true;
	case FUSE_BATCH_FORGET:
		for (uint32_t i = 0; i < batch->count; i++)
			forget(one[i].nodeid, one[i].nlookup);
		return true;
	}
	return false;
}

/* Takes the question off a request; false: there is none. */
static bool unwrap(struct fuse_buf *buf, struct vidas_lane_map *m)
{
	const struct vidas_lane_head *head = buf->mem;

	if (head->kind != VIDAS_LANE_MAP)
		return false;
	memcpy(m, buf->mem, sizeof(*m));
	buf->size -= sizeof(*m);
	memmove(buf->mem, (const char *)buf->mem + sizeof(*m), buf->size);
	return true;
}

/* libfuse keeps an INTERRUPT that it knows no request for, as that may be on its way, and drops the oldest at each other
 * request: so it has no more of them than are counted here. */
static _Atomic int interrupts;

static void count_interrupts(const struct fuse_in_header *in)
{
	if (in->opcode == FUSE_INTERRUPT)
		atomic_fetch_add_explicit(&interrupts, 1, memory_order_relaxed);
	else if (atomic_load_explicit(&interrupts, memory_order_relaxed) > 0)
		atomic_fetch_sub_explicit(&interrupts, 1, memory_order_relaxed);
}

bool vidas_far_enter(struct fuse_buf *buf)
{
	const struct fuse_in_header *in = buf->mem;
	struct vidas_lane_map m;
	bool maps = unwrap(buf, &m);
	int err;

	if (forgotten(in) ||
	    (in->opcode == FUSE_INTERRUPT &&
	     atomic_load_explicit(&interrupts, memory_order_relaxed) >= INTERRUPTS_MAX))
		return false;
	err = hold(in);
	if (!err && (!maps || !vidas_far_map(&m, in))) {
		count_interrupts(in);
		return true;
	}
	vidas_far_leave();
	if (!err)
		return false;
	/* The far half was made anew since it was opened. */
	if (err == -ESTALE && (in->opcode == FUSE_RELEASE || in->opcode == FUSE_RELEASEDIR))
		err = 0;
	vidas_far_answer(in, err);
	return false;
}
