/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Leases: the words that this session shares with the others are in shm.h, where the protocol is.
 * What it knows beside them: for each bucket the inodes that its kernel may cache just now, so that
 * a recall drops all that the bit stood for; and how many inodes of it are open for writing.
 * Our bit of a bucket is set before the list gets its first entry, and cleared when what was on it
 * has been dropped; nothing is entered meanwhile. All under the bucket's stripe.
 */
#include "pool/client/client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define STRIPES		64u
/* Inodes that are cached of one bucket; what comes on top is not cached. */
#define BUCKET_MAX	64u
/* The kernel counts from when it gets the reply, others from when they made their change. */
#define CACHE_SECONDS	4.0
#define LEASE_FORGET_US (2 * VIDAS_SHM_LEASE_US)

struct cached {
	struct cached *next;
	uint64_t inode;
	int64_t since_us;
	uint32_t kinds;
};

struct vidas_leases {
	struct vidas_shm_leases *table;
	dev_t dev;
	ino_t ino;
	atomic_bool writable;
	pthread_mutex_t stripe[STRIPES];
	struct cached *cached[VIDAS_SHM_LEASE_BUCKETS];
	uint16_t recalls[VIDAS_SHM_LEASE_BUCKETS]; /* under way */
	uint32_t writers[VIDAS_SHM_LEASE_BUCKETS];
};

static struct vidas_leases *leases_of(const struct vidas_container *c)
{
	return atomic_load_explicit(&c->leases, memory_order_acquire);
}

/* The slot we have now, or -1. */
static int32_t slot_of(const struct vidas_container *c)
{
	return atomic_load_explicit(&c->slot, memory_order_seq_cst);
}

static uint64_t own_bit(const struct vidas_container *c)
{
	int32_t slot = slot_of(c);

	return slot < 0 ? 0 : UINT64_C(1) << slot;
}

static pthread_mutex_t *stripe_of(struct vidas_leases *l, uint32_t bucket)
{
	return &l->stripe[bucket % STRIPES];
}

static int64_t coarse_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int table_check(const struct vidas_shm_leases *table)
{
	if (table->magic != VIDAS_SHM_LEASE_MAGIC || table->version != VIDAS_SHM_VERSION ||
	    table->buckets != VIDAS_SHM_LEASE_BUCKETS)
		return vidas_fail(-EPROTO, "the lease table is of another version");
	return 0;
}

static struct vidas_leases *leases_new(void)
{
	struct vidas_leases *l = calloc(1, sizeof(*l));

	for (unsigned i = 0; l && i < STRIPES; i++)
		pthread_mutex_init(&l->stripe[i], NULL);
	return l;
}

/* The share as a file: what tells it from another, and that it is long enough. */
static int share_stat(const struct vidas_share *share, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	if (share->fd < 0)
		return 0;
	if (fstat(share->fd, st) < 0)
		return vidas_fail(-errno, "the lease table: %s", strerror(errno));
	if (st->st_size < (off_t)sizeof(struct vidas_shm_leases))
		return vidas_fail(-EPROTO, "the lease table is too short");
	return 0;
}

static bool writable_now(const struct vidas_leases *l)
{
	return atomic_load_explicit(&l->writable, memory_order_relaxed);
}

static void table_set(struct vidas_leases *l, void *table, const struct stat *st, bool writable)
{
	l->table = table;
	l->dev = st->st_dev;
	l->ino = st->st_ino;
	atomic_store_explicit(&l->writable, writable, memory_order_relaxed);
}

/* Puts a new table in an old one's place, under its users. */
static int table_replace(struct vidas_leases *l, void *table, const struct stat *st, bool writable)
{
	if (mremap(table, sizeof(*l->table), sizeof(*l->table), MREMAP_MAYMOVE | MREMAP_FIXED,
		   l->table) == MAP_FAILED) {
		int err = vidas_fail(-errno, "the lease table: %s", strerror(errno));

		munmap(table, sizeof(*l->table));
		return err;
	}
	table_set(l, l->table, st, writable);
	return 0;
}

int vidas_leases_map(struct vidas_container *c, struct vidas_channel *ch,
		     const struct vidas_share *share, bool writable)
{
	struct vidas_leases *l = leases_of(c), *none = NULL;
	struct stat st;
	void *table;
	int err = share_stat(share, &st);

	if (err < 0 ||
	    (l && l->dev == st.st_dev && l->ino == st.st_ino && writable <= writable_now(l)))
		return err;
	err = vidas_channel_map(ch, share, 0, sizeof(struct vidas_shm_leases),
				writable ? PROT_READ | PROT_WRITE : PROT_READ, &table);
	if (err < 0)
		return err;
	err = table_check(table);
	if (err < 0) {
		munmap(table, sizeof(struct vidas_shm_leases));
		return err;
	}
	if (l)
		return table_replace(l, table, &st, writable);
	l = leases_new();
	if (l)
		table_set(l, table, &st, writable);
	if (l && atomic_compare_exchange_strong_explicit(&c->leases, &none, l, memory_order_acq_rel,
							 memory_order_acquire))
		return 0;
	/* No memory, or another thread was first. */
	munmap(table, sizeof(struct vidas_shm_leases));
	free(l);
	return none ? 0 : vidas_fail(-ENOMEM, "no memory for leases");
}

void vidas_leases_free(struct vidas_container *c)
{
	struct vidas_leases *l = leases_of(c);

	if (!l)
		return;
	for (uint32_t b = 0; b < VIDAS_SHM_LEASE_BUCKETS; b++)
		while (l->cached[b]) {
			struct cached *next = l->cached[b]->next;

			free(l->cached[b]);
			l->cached[b] = next;
		}
	for (unsigned i = 0; i < STRIPES; i++)
		pthread_mutex_destroy(&l->stripe[i]);
	munmap(l->table, sizeof(*l->table));
	free(l);
}

/* Under the stripe: remembers that the inode may be cached; drops what can be no more. */
static bool bucket_add(struct vidas_leases *l, uint32_t bucket, uint64_t inode, uint32_t kind)
{
	struct cached **link = &l->cached[bucket], *n;
	int64_t now_us = coarse_now_us();
	unsigned count = 0;

	while ((n = *link)) {
		if (n->inode == inode) {
			n->kinds |= kind;
			n->since_us = now_us;
			return true;
		}
		if (now_us - n->since_us > LEASE_FORGET_US) {
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
	*n = (struct cached){ l->cached[bucket], inode, now_us, kind };
	l->cached[bucket] = n;
	return true;
}

static bool cache(struct vidas_tree *t, uint64_t inode, uint32_t kind)
{
	struct vidas_leases *l = leases_of(t->c);
	uint32_t bucket = vidas_shm_lease_bucket(inode);
	struct vidas_shm_lease *word;
	bool added = false;
	uint64_t bit;

	if (!l || !writable_now(l) ||
	    !atomic_load_explicit(&t->c->v->events_live, memory_order_seq_cst))
		return false;
	word = &l->table->bucket[bucket];
	pthread_mutex_lock(stripe_of(l, bucket));
	bit = own_bit(t->c);
	if (bit && !l->recalls[bucket])
		added = bucket_add(l, bucket, inode, kind);
	if (added && !(atomic_load_explicit(&word->cached, memory_order_seq_cst) & bit))
		atomic_fetch_or_explicit(&word->cached, bit, memory_order_seq_cst);
	pthread_mutex_unlock(stripe_of(l, bucket));
	return added;
}

static bool written(const struct vidas_tree *t, uint64_t inode)
{
	struct vidas_leases *l = leases_of(t->c);
	uint32_t bucket = vidas_shm_lease_bucket(inode);

	return l && atomic_load_explicit(&l->table->bucket[bucket].writers, memory_order_seq_cst) &
			    ~own_bit(t->c);
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
	struct vidas_leases *l = leases_of(t->c);
	struct vidas_wire_recall body = { .kinds = kinds, .inode = inode };
	struct vidas_call call = {
		.type = VIDAS_WIRE_RECALL,
		.body = &body,
		.number = &t->c->number,
	};
	int64_t since_us;

	if (!l || !writable_now(l))
		return;
	/* A read-modify-write, so that it comes after the change. */
	body.slots =
		atomic_fetch_or_explicit(&l->table->bucket[vidas_shm_lease_bucket(inode)].cached, 0,
					 memory_order_seq_cst) &
		~own_bit(t->c);
	if (!body.slots || all_run_out(t->c->v))
		return;
	since_us = vidas_now_us();
	call.timeout_us = VIDAS_SHM_LEASE_US;
	if (vidas_call(t->c->v, &call) < 0) {
		vidas_log(VIDAS_LOG_WARNING, "a recall in container %s has to run out: %s",
			  t->c->name, vidas_fail_text());
		wait_out(since_us);
	}
}

void vidas_tree_write_begin(struct vidas_tree *t, uint64_t inode)
{
	struct vidas_leases *l = leases_of(t->c);
	uint32_t bucket = vidas_shm_lease_bucket(inode);
	uint64_t bit = own_bit(t->c);

	if (!l || !writable_now(l))
		return;
	if (!bit)
		bit = UINT64_C(1) << VIDAS_SHM_LEASE_REST;
	pthread_mutex_lock(stripe_of(l, bucket));
	if (!l->writers[bucket]++)
		atomic_fetch_or_explicit(&l->table->bucket[bucket].writers, bit,
					 memory_order_seq_cst);
	pthread_mutex_unlock(stripe_of(l, bucket));
	/* Also when the bit was set already: the recall of who set it may still be on its way. */
	vidas_tree_changed(t, inode, VIDAS_WIRE_RECALL_ATTRS);
}

void vidas_tree_write_end(struct vidas_tree *t, uint64_t inode)
{
	struct vidas_leases *l = leases_of(t->c);
	uint32_t bucket = vidas_shm_lease_bucket(inode);

	if (!l || !writable_now(l))
		return;
	pthread_mutex_lock(stripe_of(l, bucket));
	if (l->writers[bucket] && !--l->writers[bucket])
		atomic_fetch_and_explicit(&l->table->bucket[bucket].writers, ~own_bit(t->c),
					  memory_order_seq_cst);
	pthread_mutex_unlock(stripe_of(l, bucket));
}

void vidas_leases_replay(struct vidas_container *c)
{
	struct vidas_leases *l = leases_of(c);
	uint64_t bit = own_bit(c);

	if (!l || !writable_now(l))
		return;
	if (!bit)
		bit = UINT64_C(1) << VIDAS_SHM_LEASE_REST;
	for (uint32_t b = 0; b < VIDAS_SHM_LEASE_BUCKETS; b++) {
		pthread_mutex_lock(stripe_of(l, b));
		if (l->writers[b])
			atomic_fetch_or_explicit(&l->table->bucket[b].writers, bit,
						 memory_order_seq_cst);
		pthread_mutex_unlock(stripe_of(l, b));
	}
}

/* Begins a recall of a bucket: takes the list of what is cached of it. */
static struct cached *bucket_take(struct vidas_leases *l, uint32_t bucket)
{
	struct cached *list;

	pthread_mutex_lock(stripe_of(l, bucket));
	list = l->cached[bucket];
	l->cached[bucket] = NULL;
	l->recalls[bucket]++;
	pthread_mutex_unlock(stripe_of(l, bucket));
	return list;
}

/* Ends it: all of the list has been dropped. */
static void bucket_done(struct vidas_container *c, struct vidas_leases *l, uint32_t bucket)
{
	uint64_t bit;

	pthread_mutex_lock(stripe_of(l, bucket));
	bit = own_bit(c);
	if (!--l->recalls[bucket] &&
	    (atomic_load_explicit(&l->table->bucket[bucket].cached, memory_order_seq_cst) & bit))
		atomic_fetch_and_explicit(&l->table->bucket[bucket].cached, ~bit,
					  memory_order_seq_cst);
	pthread_mutex_unlock(stripe_of(l, bucket));
}

void vidas_leases_recall(struct vidas_container *c, uint64_t inode, uint32_t kinds,
			 void (*recall)(void *arg, uint64_t inode, uint32_t kinds), void *arg)
{
	struct vidas_leases *l = leases_of(c);
	uint32_t begin = inode ? vidas_shm_lease_bucket(inode) : 0;
	uint32_t end = inode ? begin + 1 : VIDAS_SHM_LEASE_BUCKETS;

	for (uint32_t b = begin; l && b < end; b++) {
		struct cached *list = bucket_take(l, b), *next;

		for (; list; list = next) {
			next = list->next;
			if (list->inode == inode)
				kinds |= list->kinds;
			else if (inode)
				recall(arg, list->inode, list->kinds);
			free(list);
		}
	}
	recall(arg, inode, kinds);
	for (uint32_t b = begin; l && b < end; b++)
		bucket_done(c, l, b);
}
