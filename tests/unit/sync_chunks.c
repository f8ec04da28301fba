/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vidas-presets: release asan tsan */
/* Files in chunks (pool/sync/partial.h): which bytes are here, whatever happens meanwhile. */
#include "unit.h"
#include "sync_pool.h"

#include <pthread.h>
#include <sys/mount.h>

#define MIB	 (1u << 20)
#define EXTENTS	 64u
#define ROUNDS	 12
#define FOR_EVER INT64_C(-1)

static void make_store(struct pool *p, const char *filters)
{
	pool_make(p, filters);
	OK(sh(p, "head -c 20500000 /dev/urandom >store/f && touch -d @1000.000000007 store/f"));
	OK(vidas_sync_import(p->s, "", 0, NULL));
}

static int fetch(struct pool *p, const char *key, uint64_t offset, uint64_t size,
		 struct vidas_sync_fetch *f)
{
	*f = (struct vidas_sync_fetch){
		.offset = offset, .size = size, .exact = true, .deadline_us = FOR_EVER
	};
	return vidas_sync_fetch(p->s, key, inode_of(p, "tree/f"), f);
}

/* How many bytes of the file are said to be here; all of them must be the store's. */
static uint64_t bytes_here(struct pool *p, const char *store)
{
	struct vidas_sync_extent extent[EXTENTS];
	uint64_t bytes = 0, sum = 0;
	size_t n = 0;
	int fd = openat(p->top, "tree/f", O_RDONLY | O_CLOEXEC), err;

	CU_ASSERT_FATAL(fd >= 0);
	err = vidas_sync_extents(p->s, fd, &bytes, extent, EXTENTS, &n);
	close(fd);
	if (err == -ENODATA) {
		OK(sh(p, "cmp tree/f %s", store));
		return UINT64_MAX;
	}
	OK(err);
	for (size_t i = 0; i < n; i++) {
		sum += extent[i].size;
		OK(sh(p, "cmp -n %llu -i %llu tree/f %s", (unsigned long long)extent[i].size,
		      (unsigned long long)extent[i].offset, store));
	}
	CU_ASSERT_EQUAL(sum, bytes);
	return bytes;
}

static void test_ranges(void)
{
	struct vidas_sync_fetch f;
	struct stat before, after;
	struct pool p;

	make_store(&p, NULL);
	OK(fetch(&p, "f", 0, 0, &f));
	OK(fstatat(p.top, "tree/f", &before, 0));
	CU_ASSERT(!f.whole && f.generation && f.size_bytes == 20500000 && f.shift == 20);
	CU_ASSERT_EQUAL(bytes_here(&p, "store/f"), 0);
	OK(fetch(&p, "f", 3 * MIB - 1, 2, &f));
	CU_ASSERT_EQUAL(bytes_here(&p, "store/f"), 2 * MIB);
	OK(fetch(&p, "f", 20400000, 1 << 30, &f));
	CU_ASSERT_EQUAL(bytes_here(&p, "store/f"), 2 * MIB + 20500000 - 19 * MIB);
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_ABSENT_BYTES);
	OK(fetch(&p, "f", 1 << 30, 5, &f));
	OK(fstatat(p.top, "tree/f", &after, 0));
	/* Nothing shows but the room it takes. */
	CU_ASSERT(after.st_mtim.tv_sec == 1000 && after.st_mtim.tv_nsec == 7);
	CU_ASSERT(after.st_ctim.tv_sec == before.st_ctim.tv_sec &&
		  after.st_ctim.tv_nsec == before.st_ctim.tv_nsec);
	CU_ASSERT_EQUAL(after.st_blocks * 512, 3 * MIB - (20 * MIB - 20500000) / 4096 * 4096);
	/* The next vidasd knows it as well, and the rest comes. */
	pool_detach(&p);
	OK(pool_attach(&p, NULL));
	CU_ASSERT_EQUAL(bytes_here(&p, "store/f"), 2 * MIB + 20500000 - 19 * MIB);
	OK(fetch(&p, "f", 0, 20500000, &f));
	CU_ASSERT(f.complete && !f.whole && is_absent(&p, "tree/f"));
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_CLEAN);
	OK(vidas_sync_resident(p.s, "f", 0, false));
	CU_ASSERT(!is_absent(&p, "tree/f"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	CU_ASSERT(same(&p));
	CU_ASSERT_EQUAL(vidas_sync_fetch(p.s, "none", 5, &f), -ENOENT);
	pool_drop(&p);
}

/* Another version in the store: none of its chunks is mixed with those of the one before. */
static void test_versions(void)
{
	struct vidas_sync_fetch f;
	uint64_t generation;
	struct pool p;

	make_store(&p, NULL);
	OK(fetch(&p, "f", 0, 0, &f));
	generation = f.generation;
	OK(sh(&p, "head -c 9000000 /dev/urandom >store/f"));
	OK(fetch(&p, "f", 5 * MIB, 1, &f));
	CU_ASSERT(f.generation == generation && f.size_bytes == 9000000);
	CU_ASSERT_EQUAL(bytes_here(&p, "store/f"), MIB);
	OK(sh(&p, "head -c 30000000 /dev/urandom >store/f"));
	OK(fetch(&p, "f", 0, 1, &f));
	CU_ASSERT(f.generation != generation && f.size_bytes == 30000000);
	CU_ASSERT_EQUAL(bytes_here(&p, "store/f"), MIB);
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_ABSENT_BYTES);
	/* An update of what is here in part; then it is gone there. */
	generation = f.generation;
	OK(sh(&p, "head -c 20000000 /dev/urandom >store/f"));
	OK(update(&p, "f"));
	CU_ASSERT_EQUAL(bytes_here(&p, "store/f"), 0);
	OK(fetch(&p, "f", 0, 1, &f));
	CU_ASSERT(f.generation != generation && f.size_bytes == 20000000);
	OK(sh(&p, "mv store/f store/g"));
	CU_ASSERT_EQUAL(fetch(&p, "f", 10 * MIB, 1, &f), -ENOENT);
	CU_ASSERT_EQUAL(bytes_here(&p, "store/g"), MIB);
	OK(sh(&p, "cp store/g store/f"));
	OK(vidas_sync_resident(p.s, "f", 0, false));
	CU_ASSERT_EQUAL(bytes_here(&p, "store/f"), UINT64_MAX);
	pool_drop(&p);
}

/* Who has it open reads on when its name goes, and the store's file with it, or gets another. */
static void test_readers(void)
{
	struct vidas_sync_fetch f;
	struct pool p;
	int fd;

	for (int i = 0; i < 2; i++) {
		make_store(&p, NULL);
		OK(sh(&p, "cp -p store/f copy"));
		OK(fetch(&p, "f", 0, 1, &f));
		fd = openat(p.top, "tree/f", O_RDONLY | O_CLOEXEC);
		OK(sh(&p, i ? "echo new >tree/n && mv tree/n tree/f" : "rm tree/f"));
		OK(flush(&p, ""));
		CU_ASSERT(i ? has_text(&p, "store/f", "new\n") : !exists(&p, "store/f"));
		OK(sh(&p, "cmp copy /proc/%d/fd/%d", getpid(), fd));
		close(fd);
		pool_drop(&p);
	}
	/* Nobody has: nothing is fetched for it. */
	make_store(&p, "fault=rate:100%+ops:get");
	CU_ASSERT_EQUAL(fetch(&p, "f", 0, 1, &f), -EIO);
	OK(sh(&p, "rm tree/f"));
	OK(flush(&p, ""));
	CU_ASSERT(!exists(&p, "store/f"));
	pool_drop(&p);
}

static void test_discard(void)
{
	struct vidas_sync_fetch f;
	struct pool p;

	make_store(&p, NULL);
	OK(fetch(&p, "f", 0, 1, &f));
	f = (struct vidas_sync_fetch){ .discard = true };
	OK(vidas_sync_fetch(p.s, "f", inode_of(&p, "tree/f"), &f));
	CU_ASSERT(f.whole && !is_absent(&p, "tree/f") && has_text(&p, "tree/f", ""));
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_DIRTY);
	OK(flush(&p, ""));
	CU_ASSERT(has_text(&p, "store/f", "") && same(&p));
	pool_drop(&p);
	/* What stays is fetched, and no more. */
	make_store(&p, NULL);
	OK(fetch(&p, "f", 10 * MIB, 1, &f));
	OK(sh(&p, "head -c 3000000 store/f >want"));
	f = (struct vidas_sync_fetch){ .discard = true, .size = 3000000, .deadline_us = FOR_EVER };
	OK(vidas_sync_fetch(p.s, "f", inode_of(&p, "tree/f"), &f));
	CU_ASSERT(f.whole && !is_absent(&p, "tree/f"));
	OK(sh(&p, "cmp tree/f want"));
	OK(flush(&p, ""));
	OK(sh(&p, "cmp store/f want"));
	pool_drop(&p);
}

/* A pool that has no room: said so, nothing is lost, and what there is room for comes. */
static void test_full(void)
{
	struct vidas_sync_fetch f;
	struct pool p;
	char place[PATH_MAX];

	pool_make(&p, NULL);
	pool_detach(&p);
	OK(sh(&p, "mkdir small && head -c 20500000 /dev/urandom >store/f"));
	snprintf(place, sizeof(place), "%s/small", p.dir);
	if (mount("none", place, "tmpfs", 0, "size=5m") < 0) {
		printf("no tmpfs (%s): not tested\n", strerror(errno));
		pool_drop(&p);
		return;
	}
	OK(sh(&p,
	      "rm -r tree state && mkdir small/tree small/state && ln -s small/tree small/state ."));
	OK(pool_attach(&p, NULL));
	OK(vidas_sync_import(p.s, "", 0, NULL));
	OK(fetch(&p, "f", 0, MIB, &f));
	CU_ASSERT_EQUAL(fetch(&p, "f", 0, 10 * MIB, &f), -ENOSPC);
	CU_ASSERT_EQUAL(vidas_sync_resident(p.s, "f", 0, false), -ENOSPC);
	CU_ASSERT(bytes_here(&p, "store/f") < 5 * MIB);
	pool_detach(&p);
	OK(umount2(place, MNT_DETACH));
	pool_drop(&p);
}

/* Many at work on one file, and on its names. */
struct crowd {
	struct pool *p;
	_Atomic bool stop;
	_Atomic unsigned failed;
};

static void *reader(void *arg)
{
	struct crowd *c = arg;
	unsigned seed = (unsigned)(uintptr_t)pthread_self();
	uint8_t bits[64];

	while (!atomic_load_explicit(&c->stop, memory_order_relaxed)) {
		struct vidas_sync_fetch f = { .offset = (uint64_t)rand_r(&seed) % 20500000,
					      .size = 1u << rand_r(&seed) % 23,
					      .deadline_us = vidas_deadline_us(2000),
					      .bits = bits,
					      .bits_room = sizeof(bits) };
		int err = vidas_sync_fetch(c->p->s, "f", inode_of(c->p, "tree/f"), &f);

		if (err && err != -EAGAIN)
			atomic_fetch_add_explicit(&c->failed, 1, memory_order_relaxed);
		if (f.whole)
			break;
	}
	return NULL;
}

static void test_crowd(void)
{
	struct crowd c = { 0 };
	struct vidas_sync_info info;
	pthread_t thread[6];
	struct pool p;

	c.p = &p;
	make_store(&p, "fault=rate:0%+delay:5ms+ops:get");
	for (int i = 0; i < 6; i++)
		OK(pthread_create(&thread[i], NULL, reader, &c));
	for (int i = 0; i < 5; i++) {
		OK(flush(&p, ""));
		OK(vidas_sync_info(p.s, "f", &info));
		OK(update(&p, ""));
	}
	OK(vidas_sync_resident(p.s, "f", 0, false));
	atomic_store_explicit(&c.stop, true, memory_order_relaxed);
	for (int i = 0; i < 6; i++)
		pthread_join(thread[i], NULL);
	CU_ASSERT_EQUAL(atomic_load_explicit(&c.failed, memory_order_relaxed), 0);
	CU_ASSERT(same(&p));
	pool_drop(&p);
}

/* Killed at any instruction: what is said to be here is the store's. */
static void test_killed(void)
{
	uint64_t before = 0, now;
	unsigned seed = (unsigned)vidas_now_us();
	struct vidas_sync_fetch f;
	struct pool p;
	int status;
	pid_t child;

	printf("seed %u\n", seed);
	make_store(&p, NULL);
	pool_detach(&p);
	for (int i = 0; i < ROUNDS && before != UINT64_MAX; i++) {
		child = fork();
		if (!child) {
			if (pool_attach(&p, "fault=rate:0%+delay:5ms+ops:get"))
				_exit(1);
			while (!fetch(&p, "f", (uint64_t)rand_r(&seed) % 20500000, MIB, &f))
				;
			_exit(0);
		}
		CU_ASSERT_FATAL(child > 0);
		usleep((useconds_t)(10000 + rand_r(&seed) % 20000));
		kill(child, SIGKILL);
		CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
		OK(pool_attach(&p, NULL));
		now = bytes_here(&p, "store/f");
		CU_ASSERT(now >= before);
		before = now;
		CU_ASSERT_NOT_EQUAL(state(&p, "f"), VIDAS_SYNC_DIRTY);
		pool_detach(&p);
	}
	OK(pool_attach(&p, NULL));
	OK(vidas_sync_resident(p.s, "f", 0, false));
	CU_ASSERT(same(&p));
	pool_drop(&p);
}

/* A pool on a disk, where stores through mappings move a file's time. */
static void test_disk(void)
{
	const char *dir = getenv("VIDAS_TMP");
	struct vidas_sync_fetch f;
	char command[PATH_MAX + 64];
	struct stat st;
	struct pool p;

	pool_make(&p, NULL);
	pool_detach(&p);
	OK(sh(&p, "rm -r tree state"));
	snprintf(command, sizeof(command),
		 "d=$(mktemp -d %s/disk-XXXXXX) && mkdir $d/tree $d/state && "
		 "ln -s $d/tree $d/state . && ln -s $d disk",
		 dir ? dir : "/tmp");
	OK(sh(&p, "%s", command));
	OK(sh(&p, "head -c 20500000 /dev/urandom >store/f && touch -d @1000.000000007 store/f"));
	if (pool_attach(&p, NULL) == 0) {
		OK(vidas_sync_import(p.s, "", 0, NULL));
		OK(fetch(&p, "f", 5 * MIB, 1, &f));
		CU_ASSERT_EQUAL(bytes_here(&p, "store/f"), MIB);
		OK(fstatat(p.top, "tree/f", &st, 0));
		CU_ASSERT(st.st_mtim.tv_sec == 1000 && st.st_mtim.tv_nsec == 7);
		CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_ABSENT_BYTES);
		OK(flush(&p, ""));
		CU_ASSERT_EQUAL(p.moved.files, 0);
		OK(vidas_sync_resident(p.s, "f", 0, false));
		OK(sh(&p, "cmp tree/f store/f"));
		CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_CLEAN);
	}
	pool_detach(&p);
	OK(sh(&p, "rm -r \"$(readlink disk)\""));
	pool_drop(&p);
}

POOL_MAIN("sync_chunks", { "ranges", test_ranges }, { "versions", test_versions },
	  { "readers of what was deleted", test_readers }, { "cut", test_discard },
	  { "a full pool", test_full }, { "many at once", test_crowd },
	  { "killed while it fetches", test_killed }, { "a pool on a disk", test_disk })
