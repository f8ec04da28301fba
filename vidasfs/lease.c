/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel of this domain may answer from its caches, and how that is taken back.
 *
 * A recall comes while another domain waits for its change to be acknowledged, and both may be
 * changing the same directory: so it must take no lock that an operation can hold. Attributes are
 * dropped by notify_inval_inode(-1), which takes none. Dropping one name takes the directory's
 * lock; so names are dropped all at once by advancing the connection's epoch (Linux 6.16): each
 * is looked up again when it is next used. Where the kernel has no epoch, names are not cached.
 */
#include "vidasfs/far.h"
#include "vidasfs/fs.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECTIONS  256u /* threads that may let the kernel cache; more of them just do not */
#define INC_EPOCH 8    /* FUSE_NOTIFY_INC_EPOCH */

/* fuse_out_header */
struct notice {
	uint32_t len;
	int32_t error;
	uint64_t unique;
};

/* Odd while its thread is within a section. */
static struct section {
	_Atomic uint64_t seq;
	_Atomic bool taken;
} __attribute__((aligned(64))) sections[SECTIONS];
static pthread_key_t section_key;
static pthread_once_t section_once = PTHREAD_ONCE_INIT;
static _Thread_local struct section *mine;
static _Thread_local bool looked;

static void section_return(void *arg)
{
	struct section *s = arg;

	atomic_store_explicit(&s->taken, false, memory_order_release);
}

static void section_keys(void)
{
	if (pthread_key_create(&section_key, section_return) != 0)
		vidas_log(VIDAS_LOG_WARNING, "no thread keys left: nothing is cached");
}

static void section_take(void)
{
	looked = true;
	pthread_once(&section_once, section_keys);
	for (unsigned i = 0; i < SECTIONS; i++) {
		if (atomic_exchange_explicit(&sections[i].taken, true, memory_order_acq_rel))
			continue;
		mine = &sections[i];
		if (pthread_setspecific(section_key, mine) != 0) {
			section_return(mine);
			mine = NULL;
		}
		return;
	}
}

void vidas_lease_enter(void)
{
	if (!looked)
		section_take();
	if (mine)
		atomic_fetch_add_explicit(&mine->seq, 1, memory_order_seq_cst);
}

void vidas_lease_leave(void)
{
	if (mine)
		atomic_fetch_add_explicit(&mine->seq, 1, memory_order_release);
}

static void pause_us(long us)
{
	const struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };

	nanosleep(&t, NULL);
}

/* Waits until the sections that are open now have been left. They hold system calls on the pool
 * and the reply, nothing that waits for others. */
static bool sections_wait(void)
{
	int64_t deadline = vidas_deadline_us(VIDAS_SHM_LEASE_US);

	for (unsigned i = 0; i < SECTIONS; i++) {
		uint64_t seq = atomic_load_explicit(&sections[i].seq, memory_order_seq_cst);

		if (!(seq & 1))
			continue;
		while (atomic_load_explicit(&sections[i].seq, memory_order_acquire) == seq) {
			if (!vidas_remaining_us(deadline))
				return false;
			pause_us(10);
		}
	}
	return true;
}

bool vidas_lease_settle(void *arg)
{
	(void)arg;
	return sections_wait();
}

double vidas_lease_names(struct vidas_node *dir)
{
	struct vidas_tree *t = dir->key.branch->tree;

	if (mine && vidas_node_relaxed(dir))
		return vidas_fs.options.relaxed_seconds;
	if (!mine || !t || !atomic_load_explicit(&vidas_fs.epoch, memory_order_relaxed) ||
	    !vidas_tree_cache_names(t, dir->key.ino))
		return 0;
	return vidas_tree_cache_seconds(t);
}

int vidas_lease_stat(struct vidas_node *n, int fd, struct stat *st, double *timeout)
{
	*timeout = vidas_lease_attrs(n);
	if (fstat(fd, st) < 0)
		return -errno;
	/* Writing takes these bits away, and our kernel does not know. */
	if ((st->st_mode & (S_ISUID | S_ISGID)) && S_ISREG(st->st_mode) &&
	    atomic_load_explicit(&n->writers, memory_order_relaxed))
		*timeout = 0;
	return 0;
}

/* How long what is cached under a lease stays so. Remembers that it was ever allowed. */
static double allow(struct vidas_node *n)
{
	atomic_store_explicit(&n->cached, true, memory_order_relaxed);
	return vidas_node_relaxed(n) ? vidas_fs.options.relaxed_seconds :
				       vidas_tree_cache_seconds(n->key.branch->tree);
}

double vidas_lease_attrs(struct vidas_node *n)
{
	/* Our kernel knows of what is written here, but not that a store through a mapping has changed
	 * the times. */
	if (atomic_load_explicit(&n->writers, memory_order_relaxed) &&
	    !(mine && vidas_node_relaxed(n)))
		return 0;
	return vidas_lease_empty(n);
}

double vidas_lease_empty(struct vidas_node *n)
{
	return (mine && vidas_node_relaxed(n)) || vidas_lease_hold(n) ? allow(n) : 0;
}

bool vidas_lease_hold(struct vidas_node *n)
{
	return vidas_lease_hold_unknown(n->key.branch, n->key.ino);
}

bool vidas_lease_hold_unknown(struct vidas_branch *b, uint64_t ino)
{
	return mine && b->tree && vidas_tree_cache_attrs(b->tree, ino);
}

double vidas_lease_known(struct vidas_node *n, bool held)
{
	return held && !atomic_load_explicit(&n->writers, memory_order_relaxed) ? allow(n) : 0;
}

void vidas_lease_changed(struct vidas_branch *b, uint64_t ino, uint32_t kinds)
{
	if (b->tree)
		vidas_tree_changed(b->tree, ino, kinds);
}

/* Unmounted: the kernel caches nothing any more, and its connection is being closed. */
static bool gone(void)
{
	return atomic_load_explicit(&vidas_kept->ending, memory_order_acquire);
}

static int advance_epoch(void)
{
	const struct notice n = { .len = sizeof(n), .error = INC_EPOCH };

	return vidas_channel_write(&n, sizeof(n));
}

void vidas_lease_drop_names(void)
{
	int err;

	if (gone() || !atomic_load_explicit(&vidas_fs.epoch, memory_order_relaxed))
		return;
	err = advance_epoch();
	if (err && err != -ENODEV)
		vidas_log(VIDAS_LOG_ERR, "the kernel did not drop its names: %s", strerror(-err));
}

/*
 * The kernel says ENOENT of an inode that it does not know: because it has forgotten it, and then
 * we are about to hear that; or because our reply that introduces it is on its way to who asked,
 * with attributes from before the change: then it must be told once it knows it.
 */
void vidas_lease_drop_attrs(struct vidas_node *n)
{
	int64_t deadline = vidas_deadline_us(VIDAS_SHM_LEASE_US);
	long us = 20;
	int err;

	if (gone())
		return;
	while ((err = fuse_lowlevel_notify_inval_inode(vidas_fs.se, vidas_node_id(n), -1, 0)) ==
		       -ENOENT &&
	       vidas_node_known(n) && vidas_remaining_us(deadline)) {
		pause_us(us);
		us = us < 20000 ? 2 * us : us;
	}
	if (err && err != -ENOENT && err != -ENODEV && err != -ENOSYS)
		vidas_log(VIDAS_LOG_ERR, "the kernel did not drop attributes: %s", strerror(-err));
}

static void drop_if_cached(struct vidas_node *n)
{
	vidas_far_unmap(n);
	if (atomic_load_explicit(&n->cached, memory_order_relaxed))
		vidas_lease_drop_attrs(n);
}

void vidas_lease_recall(void *arg, struct vidas_tree *t, uint64_t ino, uint32_t kinds)
{
	struct vidas_branch *b;
	struct vidas_node *n;

	(void)arg;
	if (!ino && !(kinds & VIDAS_WIRE_RECALL_POLICIES)) /* we have reconnected */
		vidas_locks_tell_again();
	b = vidas_branch_of(t);
	/* Before the wait: what replies after it knows. */
	if (b && !ino)
		vidas_relaxed_renew(b, kinds & VIDAS_WIRE_RECALL_POLICIES);
	if (!sections_wait())
		vidas_log(VIDAS_LOG_ERR, "a reply hangs; its lease has ended meanwhile");
	if (kinds & VIDAS_WIRE_RECALL_NAMES)
		vidas_lease_drop_names();
	if ((kinds & VIDAS_WIRE_RECALL_ATTRS) && !ino)
		vidas_nodes_each(drop_if_cached);
	n = b && ino && (kinds & VIDAS_WIRE_RECALL_ATTRS) ? vidas_node_find(b, ino) : NULL;
	if (n) {
		drop_if_cached(n);
		vidas_node_unref(n);
	}
	if (b)
		vidas_branch_put(b);
}

void vidas_lease_init(void)
{
	int err = advance_epoch();

	atomic_store_explicit(&vidas_fs.epoch, !err, memory_order_relaxed);
	if (err)
		vidas_log(VIDAS_LOG_NOTICE,
			  "this kernel (below 6.16) cannot drop cached names without a lock (%s): "
			  "every name is looked up each time it is used",
			  strerror(-err));
}
