/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Of the threads of this process that sleep, one listens to the device; the others wait for it. Lines are the ends of event channels
 * that this process has: those it listens on, for one other process each, and those it rings, bound to a port that another
 * one listens on. A line is used by each place (a control page that is mapped) where the two meet.
 */
#include "pool/transport/xen/bells.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

/* Of Xen's own headers, which programs in guests are built without. */
typedef uint16_t domid_t;
#include <xen/evtchn.h>

#include "pool/base/base.h"

#define DEVICE	  "/dev/xen/evtchn"
#define TICK_US	  (INT64_C(100) * 1000)
#define NAP_US	  INT64_C(2000)
#define LINES_MAX 256u
#define DOMID_MAX 0x7fefu

struct line {
	struct line *next, *prev;
	uint32_t guest, serial; /* of the other process */
	uint32_t port;	/* 0: to be listened on; else the other one's, which this is bound to */
	uint32_t local; /* ours */
	unsigned uses;
};

struct place {
	struct place *next, *prev;
	struct vidas_shm_resource *r;
	size_t bytes;
	uint32_t session;
	unsigned slot;
	struct line *listened[VIDAS_SHM_BELLS], *rung[VIDAS_SHM_BELLS];
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t rang; /* or nobody listens */
	int fd;		     /* the device; -1: none yet */
	int kick_fd;	     /* readable when a thread of this process wakes the one that listens */
	int error;	     /* why there is none */
	uint32_t guest, serial;
	struct place *places;
	struct line *lines;
	unsigned line_count;
	bool listening;
	unsigned sleepers;
	bool deaf; /* the last wait was ended by a look, not by a ring */
	uint64_t rings;
	struct vidas_bells_count so_far;
} bells = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.rang = PTHREAD_COND_INITIALIZER,
	.fd = -1,
};

static uint32_t load(const _Atomic uint32_t *word)
{
	return atomic_load_explicit(word, memory_order_seq_cst);
}

static void store(_Atomic uint32_t *word, uint32_t value)
{
	atomic_store_explicit(word, value, memory_order_seq_cst);
}

/* All of these under the lock: lines ------------------------------------------------------------------ */

static void device_open(void)
{
	if (bells.fd >= 0 || bells.error)
		return;
	if (getrandom(&bells.serial, sizeof(bells.serial), 0) < 0 || !bells.serial)
		bells.serial = (uint32_t)getpid();
	bells.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (bells.kick_fd >= 0)
		bells.fd = open(DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (bells.fd >= 0)
		return;
	bells.error = -errno;
	vidas_log(VIDAS_LOG_NOTICE, DEVICE ": %s: waits for other guests are naps of 2 ms",
		  strerror(errno));
}

static struct line *line_new(uint32_t guest, uint32_t serial, uint32_t port)
{
	struct ioctl_evtchn_bind_unbound_port listen = { .remote_domain = guest };
	struct ioctl_evtchn_bind_interdomain bind = { .remote_domain = guest, .remote_port = port };
	int local = port ? ioctl(bells.fd, IOCTL_EVTCHN_BIND_INTERDOMAIN, &bind) :
			   ioctl(bells.fd, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &listen);
	struct line *l = local > 0 ? malloc(sizeof(*l)) : NULL;

	if (!l) {
		struct ioctl_evtchn_unbind unbind = { .port = (unsigned)local };

		if (local > 0)
			ioctl(bells.fd, IOCTL_EVTCHN_UNBIND, &unbind);
		return NULL;
	}
	*l = (struct line){
		.guest = guest, .serial = serial, .port = port, .local = (uint32_t)local
	};
	DL_APPEND(bells.lines, l);
	bells.line_count++;
	return l;
}

static void line_put(struct line **use)
{
	struct line *l = *use;
	struct ioctl_evtchn_unbind unbind;

	*use = NULL;
	if (!l || --l->uses)
		return;
	unbind.port = l->local;
	ioctl(bells.fd, IOCTL_EVTCHN_UNBIND, &unbind);
	DL_DELETE(bells.lines, l);
	bells.line_count--;
	free(l);
}

/* Makes *use the line to that process, if it is another one now. False: there is none. */
static bool line_use(struct line **use, uint32_t guest, uint32_t serial, uint32_t port)
{
	struct line *l = *use;

	if (l && l->guest == guest && l->serial == serial && l->port == port)
		return true;
	line_put(use);
	DL_FOREACH(bells.lines, l) {
		if (l->guest == guest && l->serial == serial && l->port == port)
			break;
	}
	if (!l && bells.line_count < LINES_MAX)
		l = line_new(guest, serial, port);
	if (!l)
		return false;
	l->uses++;
	*use = l;
	return true;
}

/* Places ------------------------------------------------------------------------------------------------ */

static struct place *place_of(const _Atomic uint32_t *word)
{
	const char *at = (const char *)word;
	struct place *p;

	DL_FOREACH(bells.places, p) {
		const char *begin = (const char *)p->r;

		if (at >= begin && at < begin + p->bytes)
			return p;
	}
	return NULL;
}

/* The process in that slot, if it is one that can ring and be rung, and not this one: nor Dom0, which has a port to
 * offer to each guest that is not for this. */
static bool other(const struct place *p, unsigned i, uint32_t *guest, uint32_t *serial)
{
	const struct vidas_shm_bell *b = &p->r->bell[i];

	if (i == p->slot || !load(&b->owner))
		return false;
	*guest = load(&b->guest);
	*serial = load(&b->serial);
	return *guest && *guest <= DOMID_MAX && *serial && *serial != bells.serial;
}

/* A port for each process that may ring. */
static void offer(struct place *p)
{
	for (unsigned i = 0; i < VIDAS_SHM_BELLS; i++) {
		uint32_t guest, serial, port = 0;

		if (!other(p, i, &guest, &serial))
			line_put(&p->listened[i]);
		else if (line_use(&p->listened[i], guest, serial, 0))
			port = p->listened[i]->local;
		if (load(&p->r->bell[p->slot].port[i]) != port)
			store(&p->r->bell[p->slot].port[i], port);
	}
}

static void ring(struct place *p)
{
	for (unsigned i = 0; i < VIDAS_SHM_BELLS; i++) {
		const struct vidas_shm_bell *b = &p->r->bell[i];
		struct ioctl_evtchn_notify notify;
		uint32_t guest, serial, port;

		if (!load(&b->asleep) || !other(p, i, &guest, &serial))
			continue;
		port = load(&b->port[p->slot]);
		if (!port || !line_use(&p->rung[i], guest, serial, port))
			continue;
		notify.port = p->rung[i]->local;
		bells.so_far.rung += ioctl(bells.fd, IOCTL_EVTCHN_NOTIFY, &notify) == 0;
	}
}

static bool slot_take(struct place *p)
{
	for (unsigned i = 0; i < VIDAS_SHM_BELLS; i++) {
		struct vidas_shm_bell *b = &p->r->bell[i];
		uint32_t none = 0;

		if (!atomic_compare_exchange_strong_explicit(&b->owner, &none, p->session,
							     memory_order_seq_cst,
							     memory_order_seq_cst))
			continue;
		store(&b->asleep, 0);
		for (unsigned j = 0; j < VIDAS_SHM_BELLS; j++)
			store(&b->port[j], 0);
		store(&b->guest, bells.guest);
		store(&b->serial, bells.serial);
		p->slot = i;
		return true;
	}
	return false;
}

/* Unless it was thought to be of a dead one, and is another's now. */
static bool slot_have(struct place *p)
{
	return load(&p->r->bell[p->slot].serial) == bells.serial || slot_take(p);
}

static void slot_free(struct vidas_shm_bell *b)
{
	store(&b->serial, 0);
	store(&b->owner, 0);
}

static void bury(struct vidas_shm_resource *r, bool (*alive)(void *arg, uint32_t session),
		 void *arg)
{
	for (unsigned i = 0; i < VIDAS_SHM_BELLS; i++) {
		uint32_t owner = load(&r->bell[i].owner);

		if (owner && !alive(arg, owner) && load(&r->bell[i].owner) == owner)
			slot_free(&r->bell[i]);
	}
}

static void place_end(struct place *p)
{
	for (unsigned i = 0; i < VIDAS_SHM_BELLS; i++) {
		line_put(&p->listened[i]);
		line_put(&p->rung[i]);
	}
	DL_DELETE(bells.places, p);
	free(p);
}

void vidas_bells_join(struct vidas_shm_resource *r, size_t bytes, uint32_t session,
		      bool (*alive)(void *arg, uint32_t session), void *arg)
{
	struct place *p = calloc(1, sizeof(*p));
	bool have = false, full = false;

	if (!p)
		return;
	p->r = r;
	p->bytes = bytes;
	p->session = session;
	for (int turn = 0; turn < 2 && !have; turn++) {
		if (turn && full)
			bury(r, alive, arg); /* a question to vidasd: not under the lock */
		pthread_mutex_lock(&bells.lock);
		if (bells.guest)
			device_open();
		have = bells.fd >= 0 && slot_take(p);
		full = bells.fd >= 0 && !have;
		if (have)
			DL_APPEND(bells.places, p);
		pthread_mutex_unlock(&bells.lock);
	}
	if (full)
		vidas_log(VIDAS_LOG_NOTICE,
			  "%u programs in guests have this resource in use: "
			  "waits of one more are naps of 2 ms",
			  VIDAS_SHM_BELLS);
	if (!have)
		free(p);
}

void vidas_bells_leave(struct vidas_shm_resource *r)
{
	struct place *p;

	pthread_mutex_lock(&bells.lock);
	p = place_of((const _Atomic uint32_t *)(const void *)r);
	if (p) {
		if (load(&r->bell[p->slot].serial) == bells.serial)
			slot_free(&r->bell[p->slot]);
		place_end(p);
	}
	pthread_mutex_unlock(&bells.lock);
}

/* Waiting ------------------------------------------------------------------------------------------------- */

/* Takes what rang off the device, which rings no more until it is told that we have heard. */
static bool take_rings(void)
{
	uint32_t ports[64];
	ssize_t n = read(bells.fd, ports, sizeof(ports));

	if (n <= 0)
		return false;
	if (write(bells.fd, ports, (size_t)n) < 0)
		vidas_log(VIDAS_LOG_WARNING, DEVICE ": %s", strerror(errno));
	return true;
}

/* Under the lock, which it lets go meanwhile: until somebody rings, at most `us`. -EINTR. */
static int listen_or_wait(int64_t us)
{
	struct pollfd p[] = { { .fd = bells.fd, .events = POLLIN },
			      { .fd = bells.kick_fd, .events = POLLIN } };
	int64_t until_us = vidas_deadline_us(us);
	const struct timespec until = { until_us / 1000000, until_us % 1000000 * 1000 };
	const struct timespec ts = { .tv_nsec = (long)us * 1000 };
	eventfd_t kicks;
	int got;

	if (bells.listening) {
		pthread_cond_clockwait(&bells.rang, &bells.lock, CLOCK_MONOTONIC, &until);
		return 0;
	}
	bells.listening = true;
	pthread_mutex_unlock(&bells.lock);
	got = ppoll(p, VIDAS_ARRAY_SIZE(p), &ts, NULL);
	pthread_mutex_lock(&bells.lock);
	bells.listening = false;
	if (got > 0 && p[1].revents)
		eventfd_read(bells.kick_fd, &kicks);
	bells.rings += got > 0 && p[0].revents && take_rings();
	pthread_cond_broadcast(&bells.rang);
	return got < 0 ? -EINTR : 0;
}

/* Under the lock. */
static int sleep_on(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_us)
{
	uint64_t before = bells.rings;
	bool slept = false;

	for (;;) {
		int64_t left_us = vidas_remaining_us(deadline_us);
		int64_t most_us = bells.deaf ? NAP_US : TICK_US;
		int err;

		if (load(word) != expected) {
			bells.deaf = slept && bells.rings == before;
			bells.so_far.heard += slept && !bells.deaf;
			bells.so_far.missed += bells.deaf;
			return 0;
		}
		if (!left_us)
			return -ETIMEDOUT;
		err = listen_or_wait(left_us > 0 && left_us < most_us ? left_us : most_us);
		if (err < 0)
			return err;
		slept = true;
	}
}

static int bells_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_us)
{
	struct vidas_shm_bell *b;
	struct place *p;
	int err = -ENOSYS;

	pthread_mutex_lock(&bells.lock);
	p = place_of(word);
	if (p && slot_have(p)) {
		offer(p);
		b = &p->r->bell[p->slot];
		atomic_fetch_add_explicit(&b->asleep, 1, memory_order_seq_cst);
		bells.sleepers++;
		err = sleep_on(word, expected, deadline_us);
		bells.sleepers--;
		atomic_fetch_sub_explicit(&b->asleep, 1, memory_order_seq_cst);
	}
	pthread_mutex_unlock(&bells.lock);
	return err;
}

static void bells_wake(const _Atomic uint32_t *word)
{
	struct place *p;

	pthread_mutex_lock(&bells.lock);
	p = place_of(word);
	if (p && slot_have(p))
		ring(p);
	if (bells.sleepers) { /* threads of our own */
		bells.rings++;
		eventfd_write(bells.kick_fd, 1);
		pthread_cond_broadcast(&bells.rang);
	}
	pthread_mutex_unlock(&bells.lock);
}

void vidas_bells_apart(void)
{
	static const struct vidas_futex_far far = { bells_wait, bells_wake };

	vidas_futex_apart(&far);
}

void vidas_bells_guest(uint32_t domid)
{
	pthread_mutex_lock(&bells.lock);
	bells.guest = domid <= DOMID_MAX ? domid : 0;
	pthread_mutex_unlock(&bells.lock);
}

struct vidas_bells_count vidas_bells_so_far(void)
{
	struct vidas_bells_count c;

	pthread_mutex_lock(&bells.lock);
	c = bells.so_far;
	pthread_mutex_unlock(&bells.lock);
	return c;
}
