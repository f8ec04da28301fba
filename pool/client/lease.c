/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leases: the protocol of shm.h, with what this session knows of its own side (lease.h).
 */
#include "pool/client/lease.h"

#include <time.h>

/* Inodes that are cached of one bucket; what comes on top is not cached. */
#define BUCKET_MAX    64u
/* vidasd answers a recall when the leases have run out at the latest. Who waited no longer than that for
 * the answer would give up, and the lane with it, just when it comes. */
#define ANSWER_US     (1000 * 1000)
/* The kernel counts from when it gets the reply, others from when they made their change. */
#define CACHE_SECONDS 4.0

/* Under the stripe: remembers that the inode may be cached; drops what has run out. */
static bool bucket_add(struct vidas *v, struct vidas_lease_bucket *b, uint64_t inode, uint32_t kind)
{
	uint32_t oldest = atomic_load_explicit(&v->epoch_oldest, memory_order_relaxed);
	uint32_t epoch = atomic_load_explicit(&v->epoch, memory_order_seq_cst);
	struct vidas_cached **link = &b->cached, *n;
	unsigned count = 0;

	while ((n = *link)) {
		if (n->inode == inode) {
			n->kinds |= kind;
			n->epoch = epoch;
			return true;
		}
		if ((int32_t)(n->epoch - oldest) < 0) {
			*link = n->next;
			free(n);
			continue;
		}
		count++;
		link = &n->next;
	}
	n = count < BUCKET_MAX ? malloc(sizeof(*n)) : NULL;
	if (!n)
		return false;
	*n = (struct vidas_cached){ b->cached, inode, epoch, kind };
	b->cached = n;
	return true;
}

static bool cache(struct vidas_tree *t, uint64_t inode, uint32_t kind)
{
	struct vidas_leases *l = vidas_leases_of(t->c);
	uint32_t bucket = vidas_shm_lease_bucket(inode);
	struct vidas_lease_stripe *s;
	_Atomic uint64_t *word;
	bool added = false;
	uint64_t bit;

	if (!l || !vidas_leases_writable(l) ||
	    !atomic_load_explicit(&t->c->v->events_live, memory_order_seq_cst))
		return false;
	s = vidas_lease_stripe(l, bucket);
	word = &l->table->bucket[bucket].cached;
	pthread_mutex_lock(&s->lock);
	bit = vidas_lease_bit(t->c);
	if (bit && !l->bucket[bucket].recalls && !s->recalls)
		added = bucket_add(t->c->v, &l->bucket[bucket], inode, kind);
	if (added) {
		vidas_lease_granted(t->c->v, l, bucket);
		if (!(atomic_load_explicit(word, memory_order_seq_cst) & bit))
			atomic_fetch_or_explicit(word, bit, memory_order_seq_cst);
	}
	pthread_mutex_unlock(&s->lock);
	return added;
}

static bool written(const struct vidas_tree *t, uint64_t inode)
{
	struct vidas_leases *l = vidas_leases_of(t->c);
	uint32_t bucket = vidas_shm_lease_bucket(inode);

	return l && atomic_load_explicit(&l->table->bucket[bucket].writers, memory_order_seq_cst) &
			    ~vidas_lease_bit(t->c);
}

bool vidas_tree_cache_names(struct vidas_tree *t, uint64_t inode)
{
	return cache(t, inode, VIDAS_WIRE_RECALL_NAMES);
}

bool vidas_tree_cache_attrs(struct vidas_tree *t, uint64_t inode)
{
	/* Looked at once more after the bit is set, for the one who begins to write just now: he
	 * sees our bit, or we see his. */
	return !written(t, inode) && cache(t, inode, VIDAS_WIRE_RECALL_ATTRS) && !written(t, inode);
}

double vidas_tree_cache_seconds(const struct vidas_tree *t)
{
	(void)t;
	return CACHE_SECONDS;
}

/* Nobody can be asked to recall: what others cache has run out when this returns. */
static void wait_out(int64_t since_us)
{
	int64_t left_us = vidas_remaining_us(since_us + VIDAS_SHM_LEASE_US);
	struct timespec ts = { left_us / 1000000, left_us % 1000000 * 1000 };

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

/*
 * Has there been no vidasd for longer than a lease? Nobody caches without one, so what was cached
 * has run out, whatever the bits say. Asked after a change: who caches again because vidasd comes
 * back just now sees the change.
 */
static bool all_run_out(struct vidas *v)
{
	int64_t lost_us = atomic_load_explicit(&v->lost_us, memory_order_relaxed);
	struct vidas_channel *ch;
	int err;

	if (!lost_us || vidas_remaining_us(lost_us + VIDAS_SHM_LEASE_US))
		return false;
	err = vidas_channel_connect(v->address, &ch);
	if (!err)
		vidas_channel_close(ch);
	return err == -ECONNREFUSED || err == -ENOENT;
}

void vidas_tree_changed(struct vidas_tree *t, uint64_t inode, uint32_t kinds)
{
	struct vidas_leases *l = vidas_leases_of(t->c);
	struct vidas_wire_recall body = { .kinds = kinds, .inode = inode };
	struct vidas_call call = {
		.type = VIDAS_WIRE_RECALL,
		.body = &body,
		.number = &t->c->number,
	};
	int64_t since_us;

	if (!l || !vidas_leases_writable(l))
		return;
	if (vidas_tree_rooted(t))
		vidas_shm_changes_set(l->table, inode);
	/* A read-modify-write, so that it comes after the change. */
	body.slots =
		atomic_fetch_or_explicit(&l->table->bucket[vidas_shm_lease_bucket(inode)].cached, 0,
					 memory_order_seq_cst) &
		~vidas_lease_bit(t->c);
	if (!body.slots || all_run_out(t->c->v))
		return;
	since_us = vidas_now_us();
	call.timeout_us = VIDAS_SHM_LEASE_US + ANSWER_US;
	if (vidas_call(t->c->v, &call) < 0) {
		vidas_log(VIDAS_LOG_WARNING, "a recall in container %s has to run out: %s",
			  t->c->name, vidas_fail_text());
		wait_out(since_us);
	}
}

void vidas_tree_policy_changed(struct vidas_tree *t)
{
	struct vidas_leases *l = vidas_leases_of(t->c);

	if (!l || !vidas_leases_writable(l) || !vidas_tree_rooted(t))
		return;
	atomic_store_explicit(&l->table->changed_all, 1, memory_order_seq_cst);
	atomic_store_explicit(&l->table->changed, 1, memory_order_seq_cst);
}

int vidas_tree_recall_all(struct vidas_tree *t)
{
	struct vidas_wire_recall body = { .kinds = VIDAS_WIRE_RECALL_POLICIES };
	struct vidas_call call = {
		.type = VIDAS_WIRE_RECALL,
		.body = &body,
		.number = &t->c->number,
	};

	return vidas_call(t->c->v, &call);
}

void vidas_tree_write_take(struct vidas_tree *t, uint64_t inode)
{
	struct vidas_leases *l = vidas_leases_of(t->c);
	uint32_t bucket = vidas_shm_lease_bucket(inode);
	uint64_t bit;

	if (!l || !vidas_leases_writable(l))
		return;
	pthread_mutex_lock(&vidas_lease_stripe(l, bucket)->lock);
	if (!l->bucket[bucket].writers++) {
		/* Before the slot is read: a replay that gives us another one sees it, or we do. */
		atomic_fetch_add_explicit(&l->writing, 1, memory_order_seq_cst);
		bit = vidas_lease_bit(t->c);
		if (!bit)
			bit = UINT64_C(1) << VIDAS_SHM_LEASE_REST;
		atomic_fetch_or_explicit(&l->table->bucket[bucket].writers, bit,
					 memory_order_seq_cst);
	}
	pthread_mutex_unlock(&vidas_lease_stripe(l, bucket)->lock);
}

void vidas_tree_write_begin(struct vidas_tree *t, uint64_t inode)
{
	vidas_tree_write_take(t, inode);
	/* Also when the bit was set already: the recall of who set it may still be on its way. */
	vidas_tree_changed(t, inode, VIDAS_WIRE_RECALL_ATTRS);
}

void vidas_tree_write_end(struct vidas_tree *t, uint64_t inode)
{
	struct vidas_leases *l = vidas_leases_of(t->c);
	uint32_t bucket = vidas_shm_lease_bucket(inode);

	if (!l || !vidas_leases_writable(l))
		return;
	if (vidas_tree_rooted(t))
		vidas_shm_changes_set(l->table, inode);
	pthread_mutex_lock(&vidas_lease_stripe(l, bucket)->lock);
	if (l->bucket[bucket].writers && !--l->bucket[bucket].writers) {
		atomic_fetch_sub_explicit(&l->writing, 1, memory_order_relaxed);
		atomic_fetch_and_explicit(&l->table->bucket[bucket].writers, ~vidas_lease_bit(t->c),
					  memory_order_seq_cst);
	}
	pthread_mutex_unlock(&vidas_lease_stripe(l, bucket)->lock);
}

void vidas_leases_replay(struct vidas_container *c)
{
	struct vidas_leases *l = vidas_leases_of(c);
	uint64_t bit = vidas_lease_bit(c);

	if (!l || !vidas_leases_writable(l) ||
	    !atomic_load_explicit(&l->writing, memory_order_seq_cst))
		return;
	if (!bit)
		bit = UINT64_C(1) << VIDAS_SHM_LEASE_REST;
	for (uint32_t b = 0; b < VIDAS_SHM_LEASE_BUCKETS; b++) {
		pthread_mutex_lock(&vidas_lease_stripe(l, b)->lock);
		if (l->bucket[b].writers)
			atomic_fetch_or_explicit(&l->table->bucket[b].writers, bit,
						 memory_order_seq_cst);
		pthread_mutex_unlock(&vidas_lease_stripe(l, b)->lock);
	}
}

/* Recalls ------------------------------------------------------------------------------------- */

typedef void recall_fn(void *arg, uint64_t inode, uint32_t kinds);

static void recall_bucket(struct vidas_container *c, struct vidas_leases *l, uint64_t inode,
			  uint32_t kinds, recall_fn *recall, void *arg)
{
	uint32_t bucket = vidas_shm_lease_bucket(inode);
	struct vidas_lease_stripe *s = vidas_lease_stripe(l, bucket);
	struct vidas_lease_bucket *b = &l->bucket[bucket];
	struct vidas_cached *list;

	pthread_mutex_lock(&s->lock);
	list = b->cached;
	b->cached = NULL;
	b->recalls++;
	pthread_mutex_unlock(&s->lock);
	for (const struct vidas_cached *n = list; n; n = n->next) {
		if (n->inode == inode)
			kinds |= n->kinds;
		else
			recall(arg, n->inode, n->kinds);
	}
	vidas_cached_free(list);
	recall(arg, inode, kinds);
	pthread_mutex_lock(&s->lock);
	b->recalls--;
	vidas_lease_clear(c, l, bucket);
	pthread_mutex_unlock(&s->lock);
}

/* Everything that is cached is in buckets that are on lists. */
static void stripe_take(struct vidas_leases *l, struct vidas_lease_stripe *s)
{
	pthread_mutex_lock(&s->lock);
	s->recalls++;
	for (unsigned e = 0; e < VIDAS_LEASE_EPOCHS; e++) {
		for (uint32_t i = s->aging[e]; i; i = l->bucket[i - 1].next) {
			vidas_cached_free(l->bucket[i - 1].cached);
			l->bucket[i - 1].cached = NULL;
		}
	}
	pthread_mutex_unlock(&s->lock);
}

static void stripe_done(struct vidas_container *c, struct vidas_leases *l,
			struct vidas_lease_stripe *s)
{
	pthread_mutex_lock(&s->lock);
	s->recalls--;
	for (unsigned e = 0; e < VIDAS_LEASE_EPOCHS; e++)
		for (uint32_t i = s->aging[e]; i; i = l->bucket[i - 1].next)
			vidas_lease_clear(c, l, i - 1);
	pthread_mutex_unlock(&s->lock);
}

void vidas_leases_recall(struct vidas_container *c, uint64_t inode, uint32_t kinds,
			 recall_fn *recall, void *arg)
{
	struct vidas_leases *l = vidas_leases_of(c);

	if (l && inode) {
		recall_bucket(c, l, inode, kinds, recall, arg);
		return;
	}
	for (unsigned i = 0; l && i < VIDAS_LEASE_STRIPES; i++)
		stripe_take(l, &l->stripe[i]);
	recall(arg, inode, kinds);
	for (unsigned i = 0; l && i < VIDAS_LEASE_STRIPES; i++)
		stripe_done(c, l, &l->stripe[i]);
}
