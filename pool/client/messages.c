/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The messages of a file (VIDAS_MESSAGES), and waiting for any message to objects of several files.
 */
#include "pool/client/object.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Others make and destroy the object meanwhile. */
#define TRIES 16

/* <linux/futex.h> of 5.16. */
#ifndef FUTEX_32
#define FUTEX_32 2
struct futex_waitv {
	uint64_t val;
	uint64_t uaddr;
	uint32_t flags;
	uint32_t reserved;
};
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

/* One that lingers is joined: there may be messages in it, and others who have it joined. */
int vidas_tree_messages(struct vidas_tree *t, const char *path, uint64_t inode,
			struct vidas_object **out)
{
	struct vidas *v = t->c->v;
	int err = -EAGAIN;

	for (int i = 0; i < TRIES; i++) {
		err = vidas_object_join(v, t->c->name, path, VIDAS_MESSAGES, 0, 0, out);
		if (err == -ENOENT && !vidas_container_readonly(t->c))
			err = vidas_object_create(v, t->c->name, path, VIDAS_MESSAGES, 0, out);
		if (err != -EEXIST && err != -ENOENT)
			break;
	}
	if (err < 0)
		return err;
	if ((*out)->inode == inode)
		return 0;
	vidas_object_leave(*out);
	return vidas_fail(-ESTALE, "another file is there now");
}

void vidas_messages_end(struct vidas_object *o)
{
	int err = o->readonly ? vidas_object_leave(o) : vidas_object_destroy(o);

	if (err < 0 && err != -ENOENT)
		vidas_log(VIDAS_LOG_DEBUG, "leaving the messages of a file: %s",
			  vidas_error_text());
}

uint32_t vidas_messages_sent(const struct vidas_object *o)
{
	return atomic_load_explicit(&o->resource_shm->notify_event, memory_order_seq_cst);
}

bool vidas_messages_any(const struct vidas_object *o)
{
	return vidas_ring_any(o->shm);
}

ssize_t vidas_messages_take(struct vidas_object *o, void *buf, size_t size,
			    int (*give)(void *arg, const void *message, size_t size), void *arg)
{
	struct vidas_owner me = vidas_object_owner(o);

	return vidas_ring_give(o->shm, &me, buf, size, give, arg);
}

/* A count that a killed process leaves behind costs senders a system call more. */
static void announce(const struct vidas_messages_watch *w, size_t n, bool here)
{
	for (size_t i = 0; i < n; i++) {
		_Atomic uint32_t *waiters;

		if (w[i].object->readonly)
			continue;
		waiters = &w[i].object->resource_shm->notify_waiters;
		if (here)
			atomic_fetch_add_explicit(waiters, 1, memory_order_seq_cst);
		else
			atomic_fetch_sub_explicit(waiters, 1, memory_order_seq_cst);
	}
}

static bool any_changed(const struct vidas_messages_watch *w, size_t n,
			const _Atomic uint32_t *kick, uint32_t kick_seen)
{
	for (size_t i = 0; i < n; i++)
		if (vidas_messages_sent(w[i].object) != w[i].seen)
			return true;
	return atomic_load_explicit(kick, memory_order_seq_cst) != kick_seen;
}

static struct futex_waitv wait_on(const _Atomic uint32_t *word, uint32_t value)
{
	return (struct futex_waitv){ .val = value, .uaddr = (uintptr_t)word, .flags = FUTEX_32 };
}

/* On the first of them; what is beyond is looked at when the deadline has come. */
static void sleep_on(const struct vidas_messages_watch *w, size_t n, _Atomic uint32_t *kick,
		     uint32_t kick_seen, int64_t deadline_us)
{
	struct futex_waitv waits[VIDAS_MESSAGES_WATCHES + 1];
	struct timespec ts = { deadline_us / 1000000, deadline_us % 1000000 * 1000 };
	unsigned used = 0;

	waits[used++] = wait_on(kick, kick_seen);
	for (size_t i = 0; i < n && used <= VIDAS_MESSAGES_WATCHES; i++)
		waits[used++] = wait_on(&w[i].object->resource_shm->notify_event, w[i].seen);
	if (syscall(SYS_futex_waitv, waits, used, 0, &ts, CLOCK_MONOTONIC) < 0 && errno == ENOSYS)
		vidas_futex_wait(kick, kick_seen, deadline_us);
}

void vidas_messages_wait(const struct vidas_messages_watch *w, size_t n, _Atomic uint32_t *kick,
			 uint32_t kick_seen)
{
	announce(w, n, true);
	if (!any_changed(w, n, kick, kick_seen))
		sleep_on(w, n, kick, kick_seen, vidas_deadline_us(VIDAS_TICK_US));
	announce(w, n, false);
}
