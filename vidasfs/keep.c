/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records in memory that worker and keeper share: arrays of slots, one array a kind. */
#include "vidasfs/lock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

struct slot {
	_Atomic bool live;
	uint32_t serial;  /* how often it was freed */
	uint64_t request; /* for which it was made */
	_Alignas(16) unsigned char record[];
};

/* Address space; memory is taken as slots are used. */
static struct array {
	size_t record_bytes, room;
	char *base;
	pthread_mutex_t lock;
	struct slot *free; /* a list through their records */
} arrays[VIDAS_KEPT_KINDS] = {
	[VIDAS_KEPT_NODE] = { .record_bytes = sizeof(struct vidas_node), .room = 1u << 26 },
	[VIDAS_KEPT_HANDLE] = { .record_bytes = sizeof(struct vidas_handle), .room = 1u << 22 },
	[VIDAS_KEPT_DIR] = { .record_bytes = sizeof(struct vidas_dir), .room = 1u << 20 },
	[VIDAS_KEPT_OWNER] = { .record_bytes = sizeof(struct vidas_lock_owner), .room = 1u << 22 },
	[VIDAS_KEPT_BRANCH] = { .record_bytes = sizeof(struct vidas_branch), .room = 1u << 14 },
};

struct vidas_kept *vidas_kept;

static size_t slot_bytes(const struct array *a)
{
	return (sizeof(struct slot) + a->record_bytes + 15) & ~(size_t)15;
}

static struct slot *slot_at(const struct array *a, uint64_t i)
{
	return (struct slot *)(void *)(a->base + i * slot_bytes(a));
}

static struct slot *slot_of(const void *record)
{
	return (struct slot *)(uintptr_t)((const char *)record - offsetof(struct slot, record));
}

static void *map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int vidas_keep_init(void)
{
	vidas_kept = map(sizeof(*vidas_kept));
	if (!vidas_kept)
		return vidas_fail(-ENOMEM, "no memory");
	vidas_kept->fuse_fd = -1;
	for (unsigned i = 0; i < VIDAS_KEPT_KINDS; i++) {
		struct array *a = &arrays[i];

		pthread_mutex_init(&a->lock, NULL);
		/* Where memory is not overcommitted, as much as there is. */
		while (!(a->base = map(a->room * slot_bytes(a))) && a->room > 1024)
			a->room /= 2;
		if (!a->base)
			return vidas_fail(-ENOMEM, "no memory");
	}
	return 0;
}

void vidas_keep_end(void)
{
#ifdef __SANITIZE_ADDRESS__
	for (unsigned i = 0; i < VIDAS_KEPT_KINDS; i++)
		__lsan_register_root_region(arrays[i].base,
					    slot_bytes(&arrays[i]) *
						    atomic_load_explicit(&vidas_kept->used[i],
									 memory_order_relaxed));
#endif
}

void vidas_keep_reset(void)
{
	for (unsigned i = 0; i < VIDAS_KEPT_KINDS; i++) {
		struct array *a = &arrays[i];

		if (madvise(a->base, a->room * slot_bytes(a), MADV_REMOVE) < 0)
			memset(a->base, 0,
			       atomic_load_explicit(&vidas_kept->used[i], memory_order_relaxed) *
				       slot_bytes(a));
		atomic_store_explicit(&vidas_kept->used[i], 0, memory_order_relaxed);
	}
	memset(vidas_kept->deed, 0, sizeof(vidas_kept->deed));
	vidas_kept->init_bytes = 0;
	vidas_kept->fuse_fd = -1;
	atomic_store_explicit(&vidas_kept->workers, 0, memory_order_relaxed);
	atomic_store_explicit(&vidas_kept->mounted, false, memory_order_relaxed);
}

static void push(struct array *a, struct slot *s)
{
	memcpy(s->record, &a->free, sizeof(struct slot *));
	a->free = s;
}

void vidas_keep_resume(void)
{
	for (unsigned i = 0; i < VIDAS_KEPT_KINDS; i++) {
		struct array *a = &arrays[i];
		uint64_t used = atomic_load_explicit(&vidas_kept->used[i], memory_order_acquire);

		for (uint64_t j = used; j-- > 0;)
			if (!atomic_load_explicit(&slot_at(a, j)->live, memory_order_relaxed))
				push(a, slot_at(a, j));
	}
}

void *vidas_keep_new(enum vidas_kept_kind kind)
{
	struct array *a = &arrays[kind];
	_Atomic uint64_t *used = &vidas_kept->used[kind];
	struct slot *s;

	pthread_mutex_lock(&a->lock);
	s = a->free;
	if (s) {
		memcpy(&a->free, s->record, sizeof(struct slot *));
	} else if (atomic_load_explicit(used, memory_order_relaxed) < a->room) {
		s = slot_at(a, atomic_load_explicit(used, memory_order_relaxed));
		s->serial = vidas_kept->serials;
		atomic_fetch_add_explicit(used, 1, memory_order_release);
	}
	pthread_mutex_unlock(&a->lock);
	if (!s)
		return NULL;
	memset(s->record, 0, a->record_bytes);
	s->request = vidas_request.unique;
	return s->record;
}

void vidas_keep_publish(void *record)
{
	atomic_store_explicit(&slot_of(record)->live, true, memory_order_release);
}

void vidas_keep_free(enum vidas_kept_kind kind, void *record)
{
	struct array *a = &arrays[kind];
	struct slot *s = slot_of(record);

	atomic_store_explicit(&s->live, false, memory_order_release);
	pthread_mutex_lock(&a->lock);
	s->serial++;
	push(a, s);
	pthread_mutex_unlock(&a->lock);
}

void vidas_keep_each(enum vidas_kept_kind kind, void (*each)(void *record))
{
	struct array *a = &arrays[kind];
	uint64_t used = atomic_load_explicit(&vidas_kept->used[kind], memory_order_acquire);

	for (uint64_t i = 0; i < used; i++)
		if (atomic_load_explicit(&slot_at(a, i)->live, memory_order_acquire))
			each(slot_at(a, i)->record);
}

void *vidas_keep_again(enum vidas_kept_kind kind)
{
	struct array *a = &arrays[kind];
	uint64_t used = atomic_load_explicit(&vidas_kept->used[kind], memory_order_acquire);

	for (uint64_t i = 0; vidas_request.again && i < used; i++) {
		struct slot *s = slot_at(a, i);

		if (atomic_load_explicit(&s->live, memory_order_acquire) &&
		    s->request == vidas_request.unique)
			return s->record;
	}
	return NULL;
}

uint64_t vidas_keep_number(enum vidas_kept_kind kind, const void *record)
{
	const struct array *a = &arrays[kind];
	const struct slot *s = slot_of(record);
	uint64_t i = (uint64_t)((const char *)s - a->base) / slot_bytes(a);

	return (uint64_t)s->serial << 32 | i;
}

void *vidas_keep_find(enum vidas_kept_kind kind, uint64_t number)
{
	uint64_t used = atomic_load_explicit(&vidas_kept->used[kind], memory_order_acquire);
	struct slot *s = slot_at(&arrays[kind], (uint32_t)number);

	return (uint32_t)number < used && s->serial == number >> 32 &&
			       atomic_load_explicit(&s->live, memory_order_acquire) ?
		       s->record :
		       NULL;
}

void vidas_keep_serials(uint32_t first)
{
	vidas_kept->serials = first;
}
