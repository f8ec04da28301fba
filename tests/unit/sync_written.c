/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between a container's tree and its store: files that are open for writing, and may be changed or not. */
#include "unit.h"
#include "sync_pool.h"

#include <pthread.h>
#include <sched.h>

/* A store through a mapping that leaves the mtime as it was. */
static void store_unseen(struct pool *p, const char *path, char byte)
{
	int fd = openat(p->top, path, O_RDWR | O_CLOEXEC);
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	struct stat st;
	char *map;

	OK(fstat(fd, &st));
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CU_ASSERT_FATAL(map != MAP_FAILED);
	map[0] = byte;
	munmap(map, 4096);
	times[1] = st.st_mtim;
	OK(futimens(fd, times));
	close(fd);
}

static bool is_touched(struct pool *p, const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", p->dir, path);
	return lgetxattr(full, VIDAS_SYNC_TOUCHED, NULL, 0) >= 0;
}

static void touch(struct pool *p, const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", p->dir, path);
	OK(lsetxattr(full, VIDAS_SYNC_TOUCHED, "", 0, 0));
}

static void open_for_writing(struct pool *p, const char *path)
{
	atomic_store_explicit(&p->written, path ? inode_of(p, path) : 0, memory_order_release);
}

static void test_open_for_writing(void)
{
	struct pool p;

	pool_make(&p, NULL);
	put_text(&p, "tree/f", "old\n");
	OK(flush(&p, ""));
	open_for_writing(&p, "tree/f");
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_CLEAN);
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	store_unseen(&p, "tree/f", 'O');
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_DIRTY);
	CU_ASSERT_EQUAL(update(&p, "f"), -EBUSY);
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 1);
	CU_ASSERT(has_text(&p, "store/f", "Old\n"));
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_CLEAN);
	OK(flush(&p, "f"));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	/* The next vidasd knows as much, and so do two of them. */
	pool_detach(&p);
	OK(pool_attach(&p, NULL));
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_CLEAN);
	store_unseen(&p, "tree/f", 'o');
	open_for_writing(&p, NULL);
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_DIRTY);
	OK(flush(&p, "f"));
	CU_ASSERT(same(&p));
	/* Too large for a copy. */
	OK(sh(&p, "truncate -s 70M tree/big && echo end >>tree/big"));
	open_for_writing(&p, "tree/big");
	OK(flush(&p, "big"));
	CU_ASSERT_EQUAL(state(&p, "big"), VIDAS_SYNC_CLEAN);
	store_unseen(&p, "tree/big", 'x');
	OK(flush(&p, "big"));
	CU_ASSERT_EQUAL(p.moved.files, 1);
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	CU_ASSERT(same(&p));
	pool_drop(&p);
}

/* A store that says what it was sent is not asked for it again, however large the file and whoever writes to it. */
static void test_told(void)
{
	struct pool p;

	pool_make(&p, NULL);
	pool_detach(&p);
	snprintf(p.url, sizeof(p.url), "mem://told");
	OK(pool_attach(&p, "fault=rate:100%+errno:EIO+ops:get"));
	OK(sh(&p, "head -c 70M /dev/urandom >tree/big"));
	open_for_writing(&p, "tree/big");
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 1);
	CU_ASSERT_EQUAL(state(&p, "big"), VIDAS_SYNC_CLEAN);
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	store_unseen(&p, "tree/big", 'x');
	CU_ASSERT_EQUAL(state(&p, "big"), VIDAS_SYNC_DIRTY);
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 1);
	CU_ASSERT_EQUAL(state(&p, "big"), VIDAS_SYNC_CLEAN);
	pool_drop(&p);
}

static void test_touched(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "echo one >tree/f && echo two >tree/a && ln tree/a tree/b && echo in >store/in"));
	OK(flush(&p, ""));
	/* Nothing was changed: seen once, and the mark goes. */
	touch(&p, "tree/f");
	open_for_writing(&p, "tree/f");
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_CLEAN);
	OK(flush(&p, ""));
	CU_ASSERT(is_touched(&p, "tree/f"));
	open_for_writing(&p, NULL);
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	CU_ASSERT(!is_touched(&p, "tree/f"));
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_CLEAN);
	touch(&p, "tree/f");
	store_unseen(&p, "tree/f", 'O');
	CU_ASSERT_EQUAL(update(&p, "f"), -EBUSY);
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_DIRTY);
	/* It speaks for all names of a file. */
	touch(&p, "tree/a");
	store_unseen(&p, "tree/a", 'T');
	OK(flush(&p, "a"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 2);
	CU_ASSERT(has_text(&p, "store/b", "Two\n") && has_text(&p, "store/f", "One\n"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	/* What was fetched is known by its bytes as well. */
	OK(vidas_sync_find(p.s, "in"));
	open_for_writing(&p, "tree/in");
	CU_ASSERT_EQUAL(state(&p, "in"), VIDAS_SYNC_ABSENT_BYTES);
	OK(vidas_sync_resident(p.s, "in", 0, false));
	CU_ASSERT_EQUAL(state(&p, "in"), VIDAS_SYNC_CLEAN);
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	pool_drop(&p);
}

static void test_update_written(void)
{
	struct pool p;
	char *map;
	int fd;

	pool_make(&p, NULL);
	put_text(&p, "tree/f", "old\n");
	OK(flush(&p, ""));
	fd = openat(p.top, "tree/f", O_RDWR | O_CLOEXEC);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CU_ASSERT_FATAL(map != MAP_FAILED);
	open_for_writing(&p, "tree/f");
	put_text(&p, "store/f", "newer\n");
	OK(update(&p, "f"));
	CU_ASSERT_EQUAL(p.moved.files, 1);
	CU_ASSERT_NSTRING_EQUAL(map, "newer\n", 6);
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_CLEAN);
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	store_unseen(&p, "tree/f", 'N');
	put_text(&p, "store/f", "newest\n");
	CU_ASSERT_EQUAL(update(&p, ""), -EBUSY);
	CU_ASSERT_NSTRING_EQUAL(map, "Newer\n", 6);
	OK(sh(&p, "rm store/f"));
	CU_ASSERT_EQUAL(update(&p, "f"), -EBUSY);
	OK(flush(&p, ""));
	CU_ASSERT(has_text(&p, "store/f", "Newer\n"));
	put_text(&p, "store/f", "last\n");
	OK(update(&p, ""));
	CU_ASSERT_NSTRING_EQUAL(map, "last\n", 5);
	CU_ASSERT(same(&p));
	/* Gone there: not while somebody writes to it. */
	OK(sh(&p, "rm store/f"));
	CU_ASSERT_EQUAL(update(&p, ""), -EBUSY);
	CU_ASSERT(has_text(&p, "tree/f", "last\n"));
	open_for_writing(&p, NULL);
	OK(update(&p, ""));
	CU_ASSERT(!exists(&p, "tree/f"));
	munmap(map, 4096);
	close(fd);
	pool_drop(&p);
}

static void test_eager(void)
{
	struct pool p;

	pool_make(&p, NULL);
	put_text(&p, "tree/f", "mine\n");
	OK(flush(&p, ""));
	/* Who has it open for writing sees them too, unless he changed it. */
	put_text(&p, "store/f", "theirs\n");
	atomic_store_explicit(&p.written, inode_of(&p, "tree/f"), memory_order_release);
	OK(vidas_sync_resident(p.s, "f", 0, true));
	CU_ASSERT(has_text(&p, "tree/f", "theirs\n"));
	store_unseen(&p, "tree/f", 'T');
	put_text(&p, "store/f", "newer\n");
	OK(vidas_sync_resident(p.s, "f", 0, true));
	CU_ASSERT(has_text(&p, "tree/f", "Theirs\n"));
	CU_ASSERT(!is_absent(&p, "tree/f"));
	pool_drop(&p);
}

struct storm {
	struct pool *p;
	atomic_bool stop;
};

/* A lock word, say: at every look it is as it was, and in the store maybe not. */
static void *flicker(void *arg)
{
	struct storm *storm = arg;
	int fd = openat(storm->p->top, "tree/f", O_RDWR | O_CLOEXEC);
	volatile char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	while (!atomic_load_explicit(&storm->stop, memory_order_relaxed)) {
		map[0] = map[4095] = 'B';
		map[0] = map[4095] = 'A';
		sched_yield();
	}
	munmap((void *)(uintptr_t)map, 4096);
	close(fd);
	return NULL;
}

static void test_flicker(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "head -c 4096 /dev/zero | tr '\\0' A >tree/f"));
	atomic_store_explicit(&p.written, inode_of(&p, "tree/f"), memory_order_release);
	for (int i = 0; i < 40; i++) {
		struct storm storm = { .p = &p };
		pthread_t thread;

		OK(pthread_create(&thread, NULL, flicker, &storm));
		for (int n = 0; n < 5; n++)
			OK(flush(&p, ""));
		atomic_store_explicit(&storm.stop, true, memory_order_relaxed);
		pthread_join(thread, NULL);
		OK(flush(&p, ""));
		OK(sh(&p, "cmp tree/f store/f"));
	}
	pool_drop(&p);
}

POOL_MAIN("sync_written", { "open for writing", test_open_for_writing },
	  { "told by the store", test_told }, { "the mark of writers", test_touched },
	  { "update", test_update_written }, { "revalidate", test_eager },
	  { "written and written back while it is pushed", test_flicker })
