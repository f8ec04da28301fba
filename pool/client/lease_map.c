/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lease tables: how they are mapped, and replaced when vidasd hands out another one.
 */
#include "pool/client/lease.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

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

	for (unsigned i = 0; l && i < VIDAS_LEASE_STRIPES; i++)
		pthread_mutex_init(&l->stripe[i].lock, NULL);
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

int vidas_leases_map(struct vidas_container *c, struct vidas_channel *ch, struct vidas_share *share,
		     bool writable)
{
	struct vidas_leases *l = vidas_leases_of(c), *none = NULL;
	struct stat st;
	void *table;
	int err = share_stat(share, &st);

	if (err < 0 || (l && l->dev == st.st_dev && l->ino == st.st_ino &&
			writable <= vidas_leases_writable(l)))
		return err;
	err = vidas_channel_map(ch, share, 0, sizeof(struct vidas_shm_leases),
				writable ? PROT_READ | PROT_WRITE : PROT_READ, &table);
	if (err < 0)
		return err;
	/* On a pool of huge pages, one bit must not take memory for all. */
	madvise(table, sizeof(struct vidas_shm_leases), MADV_NOHUGEPAGE);
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

static void stripe_free(struct vidas *v, struct vidas_leases *l, struct vidas_lease_stripe *s)
{
	for (unsigned e = 0; e < VIDAS_LEASE_EPOCHS; e++) {
		for (uint32_t i = s->aging[e]; i; i = l->bucket[i - 1].next) {
			vidas_cached_free(l->bucket[i - 1].cached);
			atomic_fetch_sub_explicit(&v->aging, 1, memory_order_relaxed);
		}
	}
	pthread_mutex_destroy(&s->lock);
}

void vidas_leases_free(struct vidas_container *c)
{
	struct vidas_leases *l = vidas_leases_of(c);

	if (!l)
		return;
	for (unsigned i = 0; i < VIDAS_LEASE_STRIPES; i++)
		stripe_free(c->v, l, &l->stripe[i]);
	munmap(l->table, sizeof(*l->table));
	free(l);
}
