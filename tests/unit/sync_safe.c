/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between a container's tree and its store: conflicts, writers at work, errors, hostile domains. */
#include "unit.h"
#include "sync_pool.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "pool/base/map.h"

/* Conflicts ------------------------------------------------------------------------------------- */

static void test_conflict(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd tree && mkdir d && echo base | tee d/f >d/g"));
	OK(flush(&p, ""));
	OK(sh(&p, "echo mine >tree/d/f && echo theirs >store/d/f"));
	OK(flush(&p, ""));
	CU_ASSERT(has_text(&p, "tree/d/f", "mine\n"));
	CU_ASSERT(has_text(&p, "store/d/f", "mine\n"));
	CU_ASSERT_EQUAL(state(&p, "d/f"), VIDAS_SYNC_CONFLICT);
	OK(sh(&p,
	      "test \"$(cat store/d/f.vidas-conflict-*)\" = theirs && test $(ls store/d | wc -l) = 3"));
	OK(sh(&p, "test -e tree/d/f.vidas-conflict-*"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	CU_ASSERT_EQUAL(state(&p, "d/f"), VIDAS_SYNC_CONFLICT);
	put_text(&p, "tree/d/f", "solved\n");
	OK(flush(&p, "d/f"));
	CU_ASSERT_EQUAL(state(&p, "d/f"), VIDAS_SYNC_CLEAN);
	/* The same twice within a second, and a name that leaves no room for the suffix. */
	OK(sh(&p, "for n in f g; do echo $n mine >tree/d/$n && echo $n theirs >store/d/$n; done; "
		  "n=$(printf %%0255d 0); echo mine >tree/d/$n && echo theirs >store/d/$n"));
	OK(flush(&p, ""));
	OK(sh(&p,
	      "grep -q theirs store/d/f.vidas* && grep -q 'g theirs' store/d/g.vidas* && "
	      "test $(cat store/d/000*.vidas* store/d/$(printf %%0255d 0) | tr '\\n' -) = theirs-mine-"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	pool_drop(&p);
}

static void test_conflict_new(void)
{
	struct pool p;

	pool_make(&p, NULL);
	/* New on both sides: the same bytes are no conflict, others are. */
	OK(sh(&p, "echo same | tee tree/s >store/s; echo mine >tree/f; echo theirs >store/f; "
		  "ln -s here tree/l; ln -s there store/l; ln -s x tree/k; ln -s x store/k"));
	OK(flush(&p, ""));
	CU_ASSERT(has_text(&p, "store/f", "mine\n"));
	OK(sh(&p,
	      "ls store | grep -c conflict | grep -qx 2 && test $(readlink store/l) = here && "
	      "test $(readlink store/l.vidas*) = there && test $(cat store/f.vidas*) = theirs"));
	/* Changed here, deleted there: it is back. Deleted here, changed there: it stays there. */
	OK(sh(&p,
	      "rm -f tree/*.vidas* && rm store/f && echo again >tree/f && rm tree/s && echo changed >store/s"));
	OK(flush(&p, ""));
	CU_ASSERT(has_text(&p, "store/f", "again\n") && has_text(&p, "store/s", "changed\n"));
	CU_ASSERT(!exists(&p, "tree/s"));
	OK(update(&p, ""));
	CU_ASSERT(is_absent(&p, "tree/s"));
	/* A file here, a directory there; and the other way round. */
	OK(sh(&p,
	      "echo file >tree/x && mkdir -p store/x/y && mkdir tree/z && echo in >tree/z/in && echo file >store/z"));
	CU_ASSERT_EQUAL(flush(&p, ""), -EISDIR);
	CU_ASSERT(exists(&p, "store/x/y") && has_text(&p, "tree/x", "file\n"));
	CU_ASSERT(has_text(&p, "store/z/in", "in\n"));
	OK(sh(&p, "test $(cat store/z.vidas*) = file"));
	pool_drop(&p);
}

/* A put that was carried out, but of which no good news came, is not a conflict. */
static void test_lost_reply(void)
{
	struct vidas_sync_info info;
	struct pool p;

	pool_make(&p, "fault=rate:100%+errno:ETIMEDOUT+when:after+ops:put");
	put_text(&p, "tree/f", "one\n");
	CU_ASSERT_EQUAL(flush(&p, ""), -ETIMEDOUT);
	CU_ASSERT(has_text(&p, "store/f", "one\n"));
	OK(vidas_sync_info(p.s, "f", &info));
	CU_ASSERT_EQUAL(info.state, VIDAS_SYNC_DIRTY);
	CU_ASSERT_EQUAL(info.error, -ETIMEDOUT);
	CU_ASSERT(info.error_text[0] != '\0');
	/* Meanwhile it changes; the store still has our earlier bytes. */
	put_text(&p, "tree/f", "two\n");
	pool_detach(&p);
	OK(pool_attach(&p, NULL));
	OK(flush(&p, ""));
	CU_ASSERT(same(&p));
	OK(vidas_sync_info(p.s, "f", &info));
	CU_ASSERT_EQUAL(info.state, VIDAS_SYNC_CLEAN);
	CU_ASSERT_EQUAL(info.error, 0);
	/* Deleted while it is not known whether the store has it. */
	pool_detach(&p);
	OK(pool_attach(&p, "fault=rate:100%+errno:ETIMEDOUT+when:after+ops:put"));
	put_text(&p, "tree/f", "three\n");
	put_text(&p, "tree/g", "new\n");
	CU_ASSERT_EQUAL(flush(&p, ""), -ETIMEDOUT);
	OK(sh(&p, "rm tree/f tree/g"));
	pool_detach(&p);
	OK(pool_attach(&p, NULL));
	OK(flush(&p, ""));
	CU_ASSERT(same(&p));
	pool_drop(&p);
}

static void fails(struct pool *p, const char *filters)
{
	pool_detach(p);
	OK(pool_attach(p, filters));
	CU_ASSERT_EQUAL(flush(p, ""), -EIO);
}

static void succeeds(struct pool *p)
{
	pool_detach(p);
	OK(pool_attach(p, NULL));
	OK(flush(p, ""));
	CU_ASSERT(same(p));
	CU_ASSERT_EQUAL(sh(p, "find store | grep conflict >&2"), 1);
	OK(flush(p, ""));
	CU_ASSERT_EQUAL(p->moved.files, 0);
}

/* Several pushes in a row end without our knowing how far they came: whatever of ours the store has
 * is no conflict. */
static void test_lost_replies(void)
{
	struct pool p;

	pool_make(&p, NULL);
	for (int i = 0; i < 2; i++) { /* new, and known */
		OK(sh(&p, "cd tree && echo one%d | tee f >g && ln -sf one%d l", i, i));
		fails(&p, "fault=rate:100%+when:after+ops:put/symlink");
		OK(sh(&p, "cd tree && echo two >f && echo two, longer >g && ln -sf two l"));
		fails(&p, "fault=rate:100%+ops:put/symlink");
		OK(sh(&p, "cd tree && echo third >f && rm g && ln -sf third l"));
		fails(&p, "fault=rate:100%+ops:put/symlink");
		succeeds(&p);
	}
	pool_drop(&p);
}

static void test_lost_attrs(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd tree && mkdir d e && for i in 1 2 3 4; do echo $i >$i; done"));
	OK(flush(&p, ""));
	OK(sh(&p, "cd tree && chmod 700 d e 1 2 3 4"));
	fails(&p, "fault=rate:100%+when:after+ops:set_attrs");
	/* Changed, back to what it was, gone, and left. */
	OK(sh(&p, "cd tree && echo one >1 && chmod 755 d && chmod 644 2 && rm 3"));
	succeeds(&p);
	/* An absent file stays absent. */
	OK(sh(&p, "echo absent >store/absent"));
	OK(update(&p, ""));
	OK(sh(&p, "chmod 600 tree/absent"));
	fails(&p, "fault=rate:100%+when:after+ops:set_attrs");
	pool_detach(&p);
	OK(pool_attach(&p, NULL));
	OK(flush(&p, ""));
	CU_ASSERT(is_absent(&p, "tree/absent"));
	OK(vidas_sync_resident(p.s, "absent", 0, false));
	CU_ASSERT(same(&p));
	pool_drop(&p);
}

/* Errors ---------------------------------------------------------------------------------------- */

static void test_errors(void)
{
	struct vidas_sync_info info;
	struct pool p;

	pool_make(&p, "fault=rate:100%+errno:EIO+ops:put/get");
	OK(sh(&p, "cd tree && mkdir d && echo a >d/a && echo b >d/b; echo c >../store/c"));
	CU_ASSERT_EQUAL(flush(&p, ""), -EIO);
	CU_ASSERT(vidas_fail_text()[0] != '\0');
	CU_ASSERT_EQUAL(state(&p, "d/a"), VIDAS_SYNC_DIRTY);
	OK(vidas_sync_find(p.s, "c"));
	CU_ASSERT_EQUAL(vidas_sync_resident(p.s, "c", 0, false), -EIO);
	CU_ASSERT(is_absent(&p, "tree/c"));
	OK(vidas_sync_info(p.s, "c", &info));
	CU_ASSERT_EQUAL(info.state, VIDAS_SYNC_ABSENT_BYTES);
	CU_ASSERT_EQUAL(info.error, -EIO);
	pool_detach(&p);
	/* An update that fails half-way changes nothing. */
	OK(pool_attach(&p, NULL));
	OK(flush(&p, ""));
	put_text(&p, "store/d/a", "newer\n");
	pool_detach(&p);
	OK(pool_attach(&p, "fault=rate:100%+errno:EIO+when:after+ops:get"));
	CU_ASSERT_EQUAL(update(&p, "d/a"), -EIO);
	CU_ASSERT(has_text(&p, "tree/d/a", "a\n") && !is_absent(&p, "tree/d/a"));
	pool_detach(&p);
	OK(pool_attach(&p, NULL));
	OK(update(&p, "d/a"));
	OK(vidas_sync_resident(p.s, "c", 0, false));
	CU_ASSERT(same(&p));
	CU_ASSERT_EQUAL(vidas_sync_info(p.s, "nothing", &info), -ENOENT);
	pool_drop(&p);
}

static void no_answer(struct pool *p, const char *op, int (*work)(struct pool *p, const char *path))
{
	char filters[96];
	int64_t begin;

	snprintf(filters, sizeof(filters), "fault=rate:100%%+errno:ETIMEDOUT+delay:100ms+ops:%s",
		 op);
	pool_detach(p);
	OK(pool_attach(p, filters));
	begin = vidas_now_us();
	CU_ASSERT_EQUAL(work(p, ""), -ETIMEDOUT);
	CU_ASSERT(vidas_now_us() - begin < 5000000);
	pool_detach(p);
	OK(pool_attach(p, NULL));
	OK(work(p, ""));
	CU_ASSERT(same(p));
}

/* A store that does not answer is not asked about every file. */
static void test_no_answer(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd tree && for i in $(seq 300); do echo $i >$i; done"));
	no_answer(&p, "put", flush);
	OK(sh(&p, "cd store && for i in $(seq 100); do echo new >$i; done"));
	no_answer(&p, "get", update);
	OK(sh(&p, "rm tree/*"));
	no_answer(&p, "remove", flush);
	pool_drop(&p);
}

static void test_full(void)
{
	char place[96];
	struct pool p;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		puts("(not run: no mount namespace)");
		return;
	}
	pool_make(&p, NULL);
	pool_detach(&p);
	/* The pool is small; the store is not in it. */
	OK(sh(&p, "mkdir -p small"));
	snprintf(place, sizeof(place), "%s/small", p.dir);
	OK(mount("none", place, "tmpfs", 0, "size=1m"));
	OK(sh(&p,
	      "rm -r tree state && mkdir small/tree small/state && ln -s small/tree small/state . && "
	      "head -c 4000000 /dev/zero >store/big && echo small >store/small"));
	OK(pool_attach(&p, NULL));
	OK(vidas_sync_import(p.s, "", 0, NULL));
	CU_ASSERT_EQUAL(vidas_sync_resident(p.s, "big", 0, false), -ENOSPC);
	CU_ASSERT(is_absent(&p, "small/tree/big"));
	OK(vidas_sync_resident(p.s, "small", 0, false));
	put_text(&p, "store/big", "fits\n");
	OK(vidas_sync_resident(p.s, "big", 0, false));
	CU_ASSERT(has_text(&p, "small/tree/big", "fits\n"));
	/* Holes are pushed as such, and take no room here. */
	OK(sh(&p, "truncate -s 300M tree/hole && echo end >>tree/hole"));
	OK(flush(&p, ""));
	OK(sh(&p, "cmp tree/hole store/hole && test $(du -k small/tree/hole | cut -f1) -lt 100"));
	pool_detach(&p);
	OK(umount2(place, MNT_DETACH));
	pool_drop(&p);
}

/* Writers at work ------------------------------------------------------------------------------- */

static void test_writers(void)
{
	struct pool p;
	char *map;
	int fd;

	pool_make(&p, NULL);
	put_text(&p, "tree/f", "0123");
	fd = openat(p.top, "tree/f", O_RDWR | O_CLOEXEC);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CU_ASSERT_FATAL(map != MAP_FAILED);
	CU_ASSERT_EQUAL(map[0], '0');
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_CLEAN);
	/* Stores to a tmpfs may leave the mtime as it is: who writes is asked for. */
	atomic_store_explicit(&p.written, inode_of(&p, "tree/f"), memory_order_release);
	map[0] = 'a';
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_DIRTY);
	OK(flush(&p, ""));
	CU_ASSERT(has_text(&p, "store/f", "a123"));
	map[0] = 'b';
	atomic_store_explicit(&p.written, 0, memory_order_release);
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_DIRTY);
	OK(flush(&p, ""));
	CU_ASSERT(has_text(&p, "store/f", "b123"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	/* Written and closed since; only the mark says so. */
	map[0] = 'c';
	OK(fsetxattr(fd, VIDAS_SYNC_TOUCHED, "1", 1, 0));
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_DIRTY);
	OK(flush(&p, "f"));
	CU_ASSERT(has_text(&p, "store/f", "c123"));
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_CLEAN);
	munmap(map, 4096);
	close(fd);
	pool_drop(&p);
}

struct storm {
	struct pool *p;
	atomic_bool stop;
	unsigned rounds;
};

static void *cut_and_grow(void *arg)
{
	struct storm *storm = arg;
	int fd = openat(storm->p->top, "tree/f", O_WRONLY | O_CLOEXEC);

	while (!atomic_load_explicit(&storm->stop, memory_order_relaxed)) {
		if (ftruncate(fd, 100) < 0 || ftruncate(fd, 32 << 20) < 0 ||
		    pwrite(fd, "end", 3, (32 << 20) - 3) != 3)
			break;
		storm->rounds++;
		usleep(300);
	}
	close(fd);
	return NULL;
}

static void test_cut(void)
{
	struct storm storm = { 0 };
	pthread_t thread;
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "head -c 33554432 /dev/urandom >tree/f"));
	storm.p = &p;
	OK(pthread_create(&thread, NULL, cut_and_grow, &storm));
	for (int i = 0; i < 8; i++)
		OK(flush(&p, ""));
	atomic_store_explicit(&storm.stop, true, memory_order_relaxed);
	pthread_join(thread, NULL);
	CU_ASSERT(storm.rounds > 0);
	OK(flush(&p, ""));
	CU_ASSERT(same(&p));
	CU_ASSERT_EQUAL(state(&p, "f"), VIDAS_SYNC_CLEAN);
	pool_drop(&p);
}

static void test_map(void)
{
	struct vidas_map map = { 0 }, other = { 0 };
	size_t size = 1 << 20;
	int fd = memfd_create("map", MFD_CLOEXEC);
	pid_t child;
	int status;

	CU_ASSERT_FATAL(fd >= 0);
	OK(ftruncate(fd, (off_t)size));
	OK(pwrite(fd, "begin", 5, 0) == 5 ? 0 : -1);
	OK(vidas_map_open(fd, 0, size, PROT_READ | PROT_WRITE, &map));
	OK(vidas_map_open(fd, 0, size, PROT_READ, &other));
	map.ptr[size - 1] = 1;
	CU_ASSERT(!vidas_map_cut(&map));
	OK(ftruncate(fd, 4096));
	CU_ASSERT_EQUAL(map.ptr[size - 1], 0);
	CU_ASSERT_NSTRING_EQUAL((char *)map.ptr, "begin", 5);
	map.ptr[8192] = 7;
	CU_ASSERT_EQUAL(map.ptr[8192], 7);
	CU_ASSERT(vidas_map_cut(&map) && !vidas_map_cut(&other));
	vidas_map_close(&map);
	/* A fault that is nobody's business here still ends the process. */
	child = fork();
	if (!child) {
		const struct rlimit none = { 0 };
		uint8_t *bare;

		setrlimit(RLIMIT_CORE, &none);
		bare = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

		_exit(bare == MAP_FAILED ? 1 : (bare[size - 1] ? 2 : 3));
	}
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	vidas_map_close(&other);
	vidas_map_close(&other);
	CU_ASSERT_EQUAL(vidas_map_open(fd, 0, 0, PROT_READ, &map), -EINVAL);
	close(fd);
}

/* Hostile domains ------------------------------------------------------------------------------- */

static void test_symlinks(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p,
	      "mkdir outside && echo secret >outside/secret && mkdir -p store/d && echo f >store/d/f && "
	      "mkdir tree/d && ln -s ../outside tree/out && ln -s ../outside/secret tree/file"));
	OK(flush(&p, ""));
	OK(sh(&p, "test -L store/out && test -L store/file && ! grep -rq secret store"));
	CU_ASSERT_NOT_EQUAL(flush(&p, "out/secret"), 0);
	CU_ASSERT_NOT_EQUAL(vidas_sync_resident(p.s, "out/secret", 0, false), 0);
	CU_ASSERT_NOT_EQUAL(vidas_sync_resident(p.s, "file", 0, false), 0);
	CU_ASSERT_NOT_EQUAL(vidas_sync_import(p.s, "out", 0, NULL), 0);
	CU_ASSERT_NOT_EQUAL(vidas_sync_find(p.s, "out/secret"), 0);
	CU_ASSERT_NOT_EQUAL(update(&p, "out/secret"), 0);
	/* A directory with records is replaced by a link to where files of the same names are. */
	OK(sh(&p, "echo x >tree/d/secret"));
	OK(flush(&p, ""));
	OK(sh(&p,
	      "rm -rf tree/d && ln -s ../outside tree/d && rm -r store/d/* && echo evil >store/d/secret"));
	(void)update(&p, "");
	(void)flush(&p, "");
	CU_ASSERT(has_text(&p, "outside/secret", "secret\n"));
	OK(sh(&p, "! grep -rq '^secret' store && test $(ls outside | wc -l) = 1"));
	pool_drop(&p);
}

static void *swap_directories(void *arg)
{
	struct storm *storm = arg;
	int tree = openat(storm->p->top, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	while (!atomic_load_explicit(&storm->stop, memory_order_relaxed))
		if (renameat2(tree, "d", tree, "link", RENAME_EXCHANGE) == 0)
			storm->rounds++;
	close(tree);
	return NULL;
}

static void test_swap(void)
{
	struct storm storm = { 0 };
	pthread_t thread;
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "mkdir -p outside tree/d/e && for i in 1 2 3 4 5; do echo secret >outside/$i; "
		  "echo open >tree/d/$i; done; ln -s ../outside tree/link"));
	storm.p = &p;
	OK(pthread_create(&thread, NULL, swap_directories, &storm));
	for (int i = 0; i < 60; i++) {
		(void)flush(&p, "");
		(void)update(&p, "");
		(void)vidas_sync_resident(p.s, "d/1", 0, true);
	}
	atomic_store_explicit(&storm.stop, true, memory_order_relaxed);
	pthread_join(thread, NULL);
	CU_ASSERT(storm.rounds > 100);
	OK(sh(&p, "! grep -rq secret store && ! grep -Lr secret outside | grep ."));
	for (int i = 0; i < 3; i++)
		(void)flush(&p, "");
	OK(sh(&p, "for i in 1 2 3 4 5; do grep -rqx open tree/[dl]*/$i || exit 1; done"));
	pool_drop(&p);
}

struct race {
	struct pool *p;
	atomic_uint round;
	bool stop;
};

static void *take_name(void *arg)
{
	struct race *race = arg;
	int tree = openat(race->p->top, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	for (unsigned seen = 0, now;;) {
		while ((now = atomic_load_explicit(&race->round, memory_order_acquire)) == seen)
			;
		seen = now;
		if (race->stop)
			break;
		usleep(seen % 60);
		if (renameat(tree, "new", tree, "f") == 0)
			atomic_fetch_sub_explicit(&race->round, 1, memory_order_release);
		seen--;
	}
	close(tree);
	return NULL;
}

/* Gone in the store, and just then there is a new file of that name: it must not go. */
static void test_gone_and_new(void)
{
	struct race race = { 0 };
	pthread_t thread;
	struct pool p;

	pool_make(&p, NULL);
	race.p = &p;
	OK(pthread_create(&thread, NULL, take_name, &race));
	for (int i = 0; i < 300; i++) {
		put_text(&p, "tree/f", "old");
		OK(flush(&p, ""));
		OK(unlinkat(p.top, "store/f", 0));
		put_text(&p, "tree/new", "new");
		atomic_fetch_add_explicit(&race.round, 1, memory_order_release);
		(void)update(&p, "f");
		while (atomic_load_explicit(&race.round, memory_order_acquire))
			;
		CU_ASSERT(has_text(&p, "tree/f", "new"));
	}
	race.stop = true;
	atomic_fetch_add_explicit(&race.round, 1, memory_order_release);
	pthread_join(thread, NULL);
	pool_drop(&p);
}

/* A directory that was made there, or was about to be, when the push ended. */
static void test_lost_directories(void)
{
	struct pool p;

	/* Made, and nobody was told; gone here since: it goes there, too, and does not come back. */
	pool_make(&p, "fault=rate:100%+when:after+errno:EIO+ops:mkdir");
	OK(sh(&p, "mkdir -p tree/d/s"));
	CU_ASSERT_EQUAL(flush(&p, ""), -EIO);
	OK(sh(&p, "test -d store/d && rm -r tree/d"));
	pool_detach(&p);
	OK(pool_attach(&p, NULL));
	OK(flush(&p, ""));
	OK(update(&p, ""));
	OK(sh(&p, "! test -e tree/d && ! test -e store/d"));
	pool_drop(&p);
	/* Not made: the store has not removed it. */
	pool_make(&p, "fault=rate:100%+errno:EIO+ops:mkdir");
	OK(sh(&p, "mkdir -m 750 tree/d"));
	CU_ASSERT_EQUAL(flush(&p, ""), -EIO);
	pool_detach(&p);
	OK(pool_attach(&p, NULL));
	OK(update(&p, ""));
	OK(sh(&p, "test -d tree/d && ! test -e store/d && echo text >tree/d/f"));
	OK(flush(&p, "d/f"));
	CU_ASSERT(same(&p));
	pool_drop(&p);
}

/* Marks can be forged by a domain's root: they name keys of this store, nothing else. */
static void test_marks(void)
{
	static const char *const bad[] = { "../state/known", "/etc/passwd", "a//b", "", "none" };
	struct pool p;
	int fd;

	pool_make(&p, NULL);
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(bad); i++) {
		put_text(&p, "tree/f", "text\n");
		fd = openat(p.top, "tree/f", O_RDONLY | O_CLOEXEC);
		OK(fsetxattr(fd, VIDAS_SYNC_ABSENT, bad[i], strlen(bad[i]), 0));
		CU_ASSERT(vidas_sync_resident(p.s, "f", 0, false) < 0);
		CU_ASSERT(flush(&p, "f") < 0);
		CU_ASSERT_EQUAL(vidas_sync_info(p.s, "f", &(struct vidas_sync_info){ 0 }), 0);
		close(fd);
		OK(sh(&p, "rm tree/f"));
	}
	pool_drop(&p);
}

POOL_MAIN("sync_safe", { "conflict keeps both", test_conflict },
	  { "conflict of new things", test_conflict_new }, { "a lost reply", test_lost_reply },
	  { "many lost replies", test_lost_replies },
	  { "lost replies of attributes", test_lost_attrs },
	  { "lost replies of directories", test_lost_directories },
	  { "errors stay with the file", test_errors },
	  { "a store that does not answer", test_no_answer }, { "full pool, holes", test_full },
	  { "writers at work", test_writers }, { "cut short while it is pushed", test_cut },
	  { "guarded mapping", test_map }, { "symbolic links are not followed", test_symlinks },
	  { "directories swapped while we walk", test_swap },
	  { "gone there, new here", test_gone_and_new }, { "forged marks", test_marks })
