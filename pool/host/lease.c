/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Slots of a container's lease table, and its words as vidasd uses them (shm.h has the protocol).
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/host/container.h"

#define REST_BIT  (UINT64_C(1) << VIDAS_SHM_LEASE_REST)
#define ALL_SLOTS ((UINT64_C(1) << VIDAS_SHM_LEASE_SLOTS) - 1)

static struct vidas_shm_leases *table(const struct host_container *c)
{
	return (struct vidas_shm_leases *)(void *)c->leases.ptr;
}

static int write_header(int fd)
{
	struct vidas_shm_leases header = { .magic = VIDAS_SHM_LEASE_MAGIC,
					   .version = VIDAS_SHM_VERSION,
					   .buckets = VIDAS_SHM_LEASE_BUCKETS };

	return vidas_pwrite_all(fd, &header, offsetof(struct vidas_shm_leases, bucket), 0);
}

int vidas_host_leases_make(int dir)
{
	int fd = openat(dir, "leases", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return -errno;
	/* In this order: on a pool of huge pages a write to a long file takes memory for much of it. */
	err = write_header(fd);
	if (err == 0 && ftruncate(fd, sizeof(struct vidas_shm_leases)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* What is reserved and was never used is still a hole to each_bucket(). */
int vidas_host_leases_reserve(const struct host_container *c)
{
	if (fallocate(c->leases_fd, 0, 0, sizeof(struct vidas_shm_leases)) == 0 ||
	    errno == EOPNOTSUPP)
		return 0;
	return vidas_fail(-errno, "no room in the pool for the lease table: %s", strerror(errno));
}

/*
 * Goes over the buckets in pages that are there: to read another one would make it, and most tables
 * have few. Where the holes are is asked of a descriptor that nobody else has: domains can hold up
 * who seeks in theirs.
 */
static void each_bucket(const struct host_container *c,
			void (*each)(const struct host_container *c, uint32_t bucket, void *arg),
			void *arg)
{
	const off_t first = offsetof(struct vidas_shm_leases, bucket);
	const off_t end = offsetof(struct vidas_shm_leases, changes);
	const off_t bytes = sizeof(struct vidas_shm_lease);
	int fd = openat(c->dir_fd, "leases", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	off_t at = 0, hole;

	while (at < end) {
		if (fd >= 0)
			at = lseek(fd, at, SEEK_DATA);
		if (at < 0 || at >= end)
			break;
		hole = fd < 0 ? end : lseek(fd, at, SEEK_HOLE);
		if (hole <= at || hole > end)
			hole = end;
		for (off_t i = at < first ? 0 : (at - first) / bytes; first + i * bytes < hole; i++)
			each(c, (uint32_t)i, arg);
		at = hole;
	}
	if (fd >= 0)
		close(fd);
}

static void add_slots(const struct host_container *c, uint32_t bucket, void *arg)
{
	const struct vidas_shm_lease *b = &table(c)->bucket[bucket];
	uint64_t *slots = arg;

	*slots |= atomic_load_explicit(&b->cached, memory_order_relaxed) |
		  atomic_load_explicit(&b->writers, memory_order_relaxed);
}

/* A table that domains have spoilt is mended: its size and header; a wrong bit costs a recall. */
int vidas_host_leases_open(struct host_container *c, int fd)
{
	struct stat st;
	int err;

	c->leases_fd = fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size != (off_t)sizeof(struct vidas_shm_leases) &&
	    ftruncate(fd, sizeof(struct vidas_shm_leases)) < 0)
		return -errno;
	err = write_header(fd);
	if (err == 0)
		err = vidas_map_open(fd, 0, sizeof(struct vidas_shm_leases), PROT_READ | PROT_WRITE,
				     &c->leases);
	if (err < 0)
		return err;
	/* On a pool of huge pages, one bit must not take memory for all. */
	madvise(c->leases.ptr, c->leases.size, MADV_NOHUGEPAGE);
	if (c->loaded)
		each_bucket(c, add_slots, &c->unclaimed);
	c->unclaimed &= ALL_SLOTS;
	return 0;
}

void vidas_host_leases_close(struct host_container *c)
{
	vidas_map_close(&c->leases);
	if (c->leases_fd >= 0)
		close(c->leases_fd);
	c->leases_fd = -1;
}

static void note_change(const struct host_container *c, uint32_t bucket)
{
	atomic_fetch_or_explicit(&table(c)->changes[bucket / 64], UINT64_C(1) << bucket % 64,
				 memory_order_seq_cst);
	atomic_store_explicit(&table(c)->changed, 1, memory_order_seq_cst);
}

/* The protocol's words are used in sequentially consistent order by all sides. */
static void clear_bucket(const struct host_container *c, uint32_t bucket, void *arg)
{
	struct vidas_shm_lease *b = &table(c)->bucket[bucket];
	const uint64_t *slots = arg;

	if (atomic_load_explicit(&b->cached, memory_order_relaxed) & *slots)
		atomic_fetch_and_explicit(&b->cached, ~*slots, memory_order_seq_cst);
	if (!(atomic_load_explicit(&b->writers, memory_order_relaxed) & *slots))
		return;
	/* It may have been written to until now. */
	if (c->meta.root)
		note_change(c, bucket);
	atomic_fetch_and_explicit(&b->writers, ~*slots, memory_order_seq_cst);
}

static void clear_slots(struct host_container *c, uint64_t slots)
{
	if (slots)
		each_bucket(c, clear_bucket, &slots);
}

static bool slot_free(const struct host_container *c, unsigned slot)
{
	return !c->slot[slot] && !(c->unclaimed & (UINT64_C(1) << slot));
}

/*
 * Slots go round, so that one just freed is not at once another's: a client that lost it without
 * knowing yet does the least harm.
 */
void vidas_host_lease_grant(struct host_attachment *a, int wanted)
{
	struct host_container *c = a->container;

	a->slot = -1;
	if (atomic_load_explicit(&a->access, memory_order_relaxed) != VIDAS_WIRE_RW) {
		c->slotless++; /* it cannot set a bit */
		return;
	}
	if (wanted >= 0 && !c->slot[wanted]) {
		a->slot = wanted;
		c->unclaimed &= ~(UINT64_C(1) << wanted);
	}
	for (unsigned i = 0; a->slot < 0 && i < VIDAS_SHM_LEASE_SLOTS; i++) {
		unsigned slot = (c->next_slot + i) % VIDAS_SHM_LEASE_SLOTS;

		if (!slot_free(c, slot))
			continue;
		a->slot = (int)slot;
		c->next_slot = (slot + 1) % VIDAS_SHM_LEASE_SLOTS;
	}
	if (a->slot >= 0) {
		c->slot[a->slot] = a;
		return;
	}
	c->slotless++;
	vidas_host_complain(
		a->session->domain,
		"container '%s' has its %u lease slots taken: session %u caches nothing", c->name,
		VIDAS_SHM_LEASE_SLOTS, a->session->id);
}

/* The bit that sessions without a slot share goes when none of them is left. */
static uint64_t rest_to_clear(const struct host_container *c)
{
	return c->slotless || (c->loaded && vidas_host_grace(c->host)) ? 0 : REST_BIT;
}

void vidas_host_lease_release(struct host_attachment *a)
{
	struct host_container *c = a->container;

	if (a->slot >= 0) {
		clear_slots(c, UINT64_C(1) << a->slot);
		c->slot[a->slot] = NULL;
		a->slot = -1;
	} else {
		c->slotless--;
		clear_slots(c, rest_to_clear(c));
	}
}

void vidas_host_lease_settle(struct host_container *c)
{
	clear_slots(c, c->unclaimed | rest_to_clear(c));
	c->unclaimed = 0;
}

uint64_t vidas_host_lease_cached(const struct host_container *c, uint64_t inode)
{
	const struct vidas_shm_lease *b = &table(c)->bucket[vidas_shm_lease_bucket(inode)];

	return atomic_load_explicit(&b->cached, memory_order_seq_cst) & ALL_SLOTS;
}

uint64_t vidas_host_lease_writers(const struct host_container *c, uint64_t inode)
{
	const struct vidas_shm_lease *b = &table(c)->bucket[vidas_shm_lease_bucket(inode)];

	return atomic_load_explicit(&b->writers, memory_order_seq_cst);
}

struct writing {
	void (*each)(uint32_t bucket, void *arg);
	void *arg;
};

static void tell_writing(const struct host_container *c, uint32_t bucket, void *arg)
{
	const struct writing *w = arg;

	if (atomic_load_explicit(&table(c)->bucket[bucket].writers, memory_order_relaxed))
		w->each(bucket, w->arg);
}

void vidas_host_leases_writing(const struct host_container *c,
			       void (*each)(uint32_t bucket, void *arg), void *arg)
{
	struct writing w = { each, arg };

	each_bucket(c, tell_writing, &w);
}

void vidas_host_changes_note(const struct host_container *c, uint64_t inode)
{
	if (c->meta.root)
		note_change(c, vidas_shm_lease_bucket(inode));
}

void vidas_host_changes_lost(const struct host_container *c)
{
	if (!c->meta.root)
		return;
	atomic_store_explicit(&table(c)->changed_all, 1, memory_order_seq_cst);
	atomic_store_explicit(&table(c)->changed, 1, memory_order_seq_cst);
}

bool vidas_host_changes_take(const struct host_container *c,
			     void (*each)(uint32_t bucket, void *arg), void *arg, bool *all)
{
	struct vidas_shm_leases *t = table(c);
	uint64_t bits;

	*all = false;
	if (!atomic_load_explicit(&t->changed, memory_order_relaxed))
		return false;
	atomic_store_explicit(&t->changed, 0, memory_order_seq_cst);
	*all = atomic_exchange_explicit(&t->changed_all, 0, memory_order_seq_cst);
	for (uint32_t i = 0; i < VIDAS_ARRAY_SIZE(t->changes); i++) {
		if (!atomic_load_explicit(&t->changes[i], memory_order_seq_cst))
			continue;
		bits = atomic_exchange_explicit(&t->changes[i], 0, memory_order_seq_cst);
		for (; bits; bits &= bits - 1)
			each(i * 64 + (uint32_t)__builtin_ctzll(bits), arg);
	}
	return true;
}
