/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between a container's tree and its store: flush, import, fetch, update. */
#include "unit.h"
#include "sync_pool.h"

#include <pthread.h>

/* Flush ----------------------------------------------------------------------------------------- */

static void test_new(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p,
	      "cd tree && mkdir -p a/b/c empty && echo one >a/one && echo two >a/b/two && "
	      ": >a/nothing && truncate -s 3M a/hole && echo x >>a/hole && ln -s ../a/one a/b/link && "
	      "chmod 0640 a/one && chmod 1777 empty && chown 12:34 a/b/two && touch -d @1.000000001 a/nothing"));
	CU_ASSERT_EQUAL(state(&p, "a/one"), VIDAS_SYNC_DIRTY);
	OK(flush(&p, ""));
	CU_ASSERT(same(&p));
	CU_ASSERT_EQUAL(p.moved.files, 5);
	CU_ASSERT_EQUAL(p.moved.bytes, 4 + 4 + 0 + (3 << 20) + 2);
	CU_ASSERT_EQUAL(state(&p, "a/one"), VIDAS_SYNC_CLEAN);
	CU_ASSERT_EQUAL(state(&p, "a/b"), VIDAS_SYNC_CLEAN);
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	/* What is known is known by the next vidasd as well. */
	pool_detach(&p);
	OK(pool_attach(&p, NULL));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	pool_drop(&p);
}

static void test_changed(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd tree && mkdir d && for i in 1 2 3 4 5 6; do echo $i >d/$i; done"));
	OK(flush(&p, ""));
	OK(sh(&p,
	      "cd tree/d && echo more >>1 && : >2 && rm 3 && mv 4 four && chmod 600 5 && chown 7:8 6 && chmod 700 ."));
	OK(flush(&p, "d"));
	CU_ASSERT(same(&p));
	/* 1, 2, four; and 3, 4 removed; attributes alone, and names, move no bytes. */
	CU_ASSERT_EQUAL(p.moved.files, 5);
	CU_ASSERT_EQUAL(p.moved.bytes, 7 + 0);
	OK(sh(&p, "cd tree/d && echo new >5 && echo new >6"));
	OK(flush(&p, "d/5"));
	CU_ASSERT(has_text(&p, "store/d/5", "new\n"));
	CU_ASSERT(has_text(&p, "store/d/6", "6\n"));
	OK(sh(&p, "rm tree/d/5"));
	OK(flush(&p, "d/5"));
	CU_ASSERT(!exists(&p, "store/d/5"));
	CU_ASSERT_EQUAL(flush(&p, "d/5"), -ENOENT);
	CU_ASSERT_EQUAL(vidas_sync_flush(p.s, "d/6", inode_of(&p, "tree/d/1"), NULL), -ESTALE);
	/* Another file with the same size and time is another file. */
	OK(flush(&p, ""));
	OK(sh(&p, "cd tree/d && echo NEW >x && touch -r 6 x && mv x 6"));
	OK(flush(&p, ""));
	CU_ASSERT(has_text(&p, "store/d/6", "NEW\n"));
	pool_drop(&p);
}

static void test_types(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p,
	      "cd tree && mkdir -p a/sub d && echo f >f && ln -s f l && echo x >a/x && echo y >a/sub/y"));
	OK(flush(&p, ""));
	CU_ASSERT(same(&p));
	/* File to directory, directory to file, link to file, file to link. */
	OK(sh(&p,
	      "cd tree && rm -r f l a && mkdir f && echo in >f/in && echo file >a && echo file >l && "
	      "rmdir d && ln -s a d"));
	OK(flush(&p, ""));
	CU_ASSERT(same(&p));
	OK(sh(&p, "cd tree && mv f g && rm a d && mkdir -p a/deep/er && mv l a/deep/er/l"));
	OK(flush(&p, ""));
	CU_ASSERT(same(&p));
	/* A directory whose name a file takes while it lives on under another. */
	OK(sh(&p, "cd tree && mv a z && echo a >a"));
	OK(flush(&p, ""));
	CU_ASSERT(same(&p));
	/* A file that lives on under another name, and in its place a directory, or a link. */
	OK(sh(&p, "cd tree && echo 1 >m && echo 2 >n && echo 3 >o && chmod 755 o"));
	OK(flush(&p, ""));
	OK(sh(&p, "cd tree && mv m m2 && mkdir m && echo in >m/in && mv n n2 && ln -s m2 n && "
		  "mv o z/o && mkdir o && echo in >o/in"));
	OK(flush(&p, ""));
	CU_ASSERT(same(&p));
	/* What the store cannot have stays here, and disturbs nothing. */
	OK(sh(&p, "cd tree && mkfifo pipe && mknod null c 1 3 && echo ok >ok"));
	OK(flush(&p, ""));
	CU_ASSERT(has_text(&p, "store/ok", "ok\n"));
	CU_ASSERT(!exists(&p, "store/pipe") && !exists(&p, "store/null"));
	/* But what had such a name is gone there; or kept, if the store has something newer. */
	OK(sh(&p,
	      "rm -rf tree/*; cd tree && mkdir -p d/in && echo a | tee f g m d/in/x >old && ln -s f l"));
	OK(flush(&p, ""));
	OK(sh(&p,
	      "cd tree && rm -r f g l d && mv m elsewhere && mkfifo f g l d m && echo newer >../store/g"));
	OK(flush(&p, "f"));
	CU_ASSERT(!exists(&p, "store/f"));
	OK(flush(&p, ""));
	OK(sh(&p,
	      "cd store && test \"$(ls | tr '\\n' ' ')\" = \"elsewhere $(ls g.vidas-conflict-*) old \" && "
	      "grep -qx newer g.vidas-*"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	pool_drop(&p);
}

/* Never gone from both names: not even if only the directory of the old name is flushed. */
static void test_rename_order(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd tree && mkdir p q && echo x >p/x"));
	OK(flush(&p, ""));
	OK(sh(&p, "mv tree/p/x tree/q/y"));
	OK(flush(&p, "p"));
	CU_ASSERT(exists(&p, "store/p/x"));
	OK(flush(&p, "q"));
	OK(flush(&p, "p"));
	CU_ASSERT(same(&p));
	pool_drop(&p);
}

/* Import and fetch ------------------------------------------------------------------------------ */

static void fill_store(struct pool *p)
{
	OK(sh(p,
	      "cd store && mkdir -p d/sub && echo one >d/one && echo two >d/two && echo sub >d/sub/file && "
	      "chmod 640 d/one && chown 5:6 d/one && touch -d @77.000000088 d/one && ln -s one d/link && "
	      "head -c 9000000 /dev/urandom >d/big && : >d/none && chmod 711 d/sub && echo top >top"));
}

static void test_import(void)
{
	struct pool p;
	uint64_t n = 99;

	pool_make(&p, NULL);
	fill_store(&p);
	OK(vidas_sync_import(p.s, "", 0, &n));
	CU_ASSERT_EQUAL(n, 2);
	CU_ASSERT(is_absent(&p, "tree/top") && is_absent(&p, "tree/d"));
	CU_ASSERT_EQUAL(state(&p, "top"), VIDAS_SYNC_ABSENT_BYTES);
	CU_ASSERT(p.changes > 0);
	OK(vidas_sync_import(p.s, "d", inode_of(&p, "tree/d"), &n));
	CU_ASSERT_EQUAL(n, 6);
	CU_ASSERT(!is_absent(&p, "tree/d"));
	OK(vidas_sync_import(p.s, "d", 0, &n));
	CU_ASSERT_EQUAL(n, 0);
	CU_ASSERT_EQUAL(vidas_sync_import(p.s, "top", 0, &n), -ENOTDIR);
	CU_ASSERT_EQUAL(vidas_sync_import(p.s, "nowhere", 0, &n), -ENOENT);
	/* Nothing of it is to be pushed. */
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	CU_ASSERT(is_absent(&p, "tree/d/big"));
	OK(vidas_sync_resident(p.s, "d/big", inode_of(&p, "tree/d/big"), false));
	CU_ASSERT(!is_absent(&p, "tree/d/big"));
	CU_ASSERT_EQUAL(state(&p, "d/big"), VIDAS_SYNC_CLEAN);
	OK(sh(&p, "cmp tree/d/big store/d/big"));
	OK(vidas_sync_resident(p.s, "d/big", 0, false));
	OK(vidas_sync_import(p.s, "d/sub", 0, &n));
	OK(vidas_sync_resident(p.s, "d/one", 0, false));
	OK(vidas_sync_resident(p.s, "d/two", 0, true));
	OK(vidas_sync_resident(p.s, "d/none", 0, true));
	OK(vidas_sync_resident(p.s, "d/sub/file", 0, false));
	OK(vidas_sync_resident(p.s, "top", 0, false));
	CU_ASSERT(same(&p));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	pool_drop(&p);
}

static void test_import_changes(void)
{
	struct pool p;

	pool_make(&p, NULL);
	fill_store(&p);
	OK(vidas_sync_import(p.s, "", 0, NULL));
	OK(vidas_sync_import(p.s, "d", 0, NULL));
	/* Changes of absent files: deleted; renamed; given a mode, a time; replaced. */
	OK(sh(&p,
	      "cd tree/d && rm two && mv one uno && chmod 751 big && touch -d @5 none && rm link && "
	      "echo link >link"));
	CU_ASSERT_EQUAL(vidas_sync_find(p.s, "d/two"), -ENOENT);
	CU_ASSERT_EQUAL(state(&p, "d/uno"), VIDAS_SYNC_DIRTY);
	OK(flush(&p, ""));
	CU_ASSERT(!exists(&p, "store/d/two") && !exists(&p, "store/d/one"));
	CU_ASSERT(has_text(&p, "store/d/uno", "one\n"));
	CU_ASSERT(is_absent(&p, "tree/d/big") && is_absent(&p, "tree/d/uno"));
	OK(vidas_sync_resident(p.s, "d/uno", 0, false));
	OK(vidas_sync_resident(p.s, "d/big", 0, false));
	OK(vidas_sync_import(p.s, "d/sub", 0, NULL));
	OK(vidas_sync_resident(p.s, "d/sub/file", 0, false));
	OK(vidas_sync_resident(p.s, "top", 0, false));
	CU_ASSERT(same(&p));
	pool_drop(&p);
}

/* The only bytes of a renamed absent file are in the store under its old name. */
static void test_absent_renamed(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p,
	      "cd store && mkdir p q u && echo x >p/x && echo y >p/y && echo z >u/z && mkdir u/v && echo w >u/v/w"));
	OK(vidas_sync_import(p.s, "", 0, NULL));
	OK(vidas_sync_import(p.s, "p", 0, NULL));
	OK(vidas_sync_import(p.s, "q", 0, NULL));
	OK(sh(&p, "cd tree && mv p/x q/x"));
	OK(flush(&p, "p"));
	CU_ASSERT(has_text(&p, "store/p/x", "x\n"));
	/* A new file takes the name; the old bytes are saved first. */
	OK(sh(&p, "cd tree && mv p/y q/y && echo other >p/y"));
	OK(flush(&p, "p/y"));
	CU_ASSERT(has_text(&p, "store/p/y", "other\n"));
	OK(vidas_sync_resident(p.s, "q/y", 0, false));
	CU_ASSERT(has_text(&p, "tree/q/y", "y\n"));
	OK(vidas_sync_resident(p.s, "q/x", 0, false));
	CU_ASSERT(has_text(&p, "tree/q/x", "x\n"));
	/* A directory that is renamed before it is listed. */
	OK(sh(&p, "mv tree/u tree/renamed"));
	OK(vidas_sync_find(p.s, "renamed/z"));
	CU_ASSERT(exists(&p, "tree/renamed/z"));
	OK(flush(&p, ""));
	CU_ASSERT(!exists(&p, "store/p/x") && !exists(&p, "store/u"));
	CU_ASSERT(has_text(&p, "store/renamed/v/w", "w\n"));
	OK(vidas_sync_prefetch(p.s, "", 0, 0, 0, &p.moved));
	CU_ASSERT(same(&p));
	pool_drop(&p);
}

static void test_find(void)
{
	struct pool p;

	pool_make(&p, NULL);
	fill_store(&p);
	OK(vidas_sync_find(p.s, "d/sub/file"));
	CU_ASSERT(is_absent(&p, "tree/d/sub/file"));
	CU_ASSERT(!exists(&p, "tree/top"));
	CU_ASSERT_EQUAL(vidas_sync_find(p.s, "d/sub/none"), -ENOENT);
	CU_ASSERT_EQUAL(vidas_sync_find(p.s, "no/such/thing"), -ENOENT);
	CU_ASSERT_NOT_EQUAL(vidas_sync_find(p.s, "d/sub/file/below"), 0);
	/* The rest comes as if nothing had been there. */
	OK(vidas_sync_import(p.s, "d", 0, NULL));
	CU_ASSERT(is_absent(&p, "tree/d/one"));
	OK(vidas_sync_resident(p.s, "d/sub/file", 0, false));
	CU_ASSERT(has_text(&p, "tree/d/sub/file", "sub\n"));
	pool_drop(&p);
}

static void *make_resident(void *arg)
{
	struct pool *p = arg;

	return (void *)(intptr_t)vidas_sync_resident(p->s, "d/big", 0, false);
}

static void test_single_flight(void)
{
	pthread_t thread[8];
	struct pool p;
	void *ret;
	int64_t begin;

	/* Each get takes half a second. */
	pool_make(&p, "fault=rate:0%+delay:500ms+ops:get");
	fill_store(&p);
	OK(vidas_sync_find(p.s, "d/big"));
	begin = vidas_now_us();
	for (int i = 0; i < 8; i++)
		OK(pthread_create(&thread[i], NULL, make_resident, &p));
	usleep(250000);
	CU_ASSERT_EQUAL(state(&p, "d/big"), VIDAS_SYNC_FETCHING);
	for (int i = 0; i < 8; i++) {
		pthread_join(thread[i], &ret);
		CU_ASSERT_PTR_NULL(ret);
	}
	CU_ASSERT(vidas_now_us() - begin < 950000);
	OK(sh(&p, "cmp tree/d/big store/d/big"));
	pool_drop(&p);
}

/* Update ---------------------------------------------------------------------------------------- */

static void test_update(void)
{
	const char *map;
	struct pool p;
	uint64_t inode;
	int fd;

	pool_make(&p, NULL);
	OK(sh(&p,
	      "cd tree && mkdir d && echo old >d/f && echo stay >d/g && echo gone >d/h && ln -s f d/l"));
	OK(flush(&p, ""));
	inode = inode_of(&p, "tree/d/f");
	fd = openat(p.top, "tree/d/f", O_RDONLY);
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	CU_ASSERT_FATAL(map != MAP_FAILED);
	OK(sh(&p,
	      "cd store/d && echo newer >f && chmod 600 f && rm h && echo add >i && mkdir s && echo t >s/t && "
	      "ln -sf g l"));
	OK(update(&p, "d/f"));
	CU_ASSERT_EQUAL(p.moved.files, 1);
	CU_ASSERT_EQUAL(inode_of(&p, "tree/d/f"), inode);
	CU_ASSERT_NSTRING_EQUAL(map, "newer\n", 6);
	CU_ASSERT(!is_absent(&p, "tree/d/f"));
	OK(update(&p, ""));
	CU_ASSERT(!exists(&p, "tree/d/h"));
	OK(vidas_sync_resident(p.s, "d/i", 0, false));
	OK(vidas_sync_import(p.s, "d/s", 0, NULL));
	OK(vidas_sync_resident(p.s, "d/s/t", 0, false));
	CU_ASSERT(same(&p));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	/* Changes here stay. */
	OK(sh(&p,
	      "echo mine >tree/d/g && echo theirs >store/d/g && echo more >>store/d/f && rm tree/d/i"));
	CU_ASSERT_EQUAL(update(&p, "d/g"), -EBUSY);
	CU_ASSERT_EQUAL(update(&p, ""), -EBUSY);
	CU_ASSERT(has_text(&p, "tree/d/g", "mine\n"));
	CU_ASSERT(has_text(&p, "tree/d/f", "newer\nmore\n"));
	CU_ASSERT(!exists(&p, "tree/d/i"));
	/* A whole directory gone there. */
	OK(sh(&p, "rm -r store/d/s"));
	CU_ASSERT_EQUAL(update(&p, ""), -EBUSY);
	CU_ASSERT(!exists(&p, "tree/d/s"));
	CU_ASSERT_EQUAL(update(&p, "nowhere"), -ENOENT);
	munmap((void *)(uintptr_t)map, 4096);
	close(fd);
	pool_drop(&p);
}

static void test_revalidate(void)
{
	struct pool p;

	pool_make(&p, NULL);
	put_text(&p, "tree/f", "old\n");
	OK(flush(&p, ""));
	put_text(&p, "store/f", "newer\n");
	OK(vidas_sync_resident(p.s, "f", 0, false));
	CU_ASSERT(has_text(&p, "tree/f", "old\n"));
	OK(vidas_sync_resident(p.s, "f", 0, true));
	CU_ASSERT(has_text(&p, "tree/f", "newer\n"));
	put_text(&p, "tree/f", "mine\n");
	put_text(&p, "store/f", "theirs\n");
	OK(vidas_sync_resident(p.s, "f", 0, true));
	CU_ASSERT(has_text(&p, "tree/f", "mine\n"));
	pool_drop(&p);
}

/* A root that is not there (not mounted, say) is no reason to delete anything. */
static void test_no_root(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd tree && mkdir d && echo f >f && echo g >d/g"));
	OK(flush(&p, ""));
	pool_detach(&p);
	OK(pool_attach(&p, "fault=rate:100%+errno:ENOENT+ops:stat/list"));
	CU_ASSERT_EQUAL(update(&p, ""), -ENOTCONN);
	CU_ASSERT_EQUAL(update(&p, "f"), -ENOTCONN);
	CU_ASSERT(has_text(&p, "tree/f", "f\n") && has_text(&p, "tree/d/g", "g\n"));
	pool_detach(&p);
	OK(pool_attach(&p, NULL));
	OK(update(&p, ""));
	CU_ASSERT(same(&p));
	/* Neither is opening a file that is gone there. */
	OK(unlinkat(p.top, "store/f", 0));
	OK(vidas_sync_resident(p.s, "f", 0, true));
	CU_ASSERT(has_text(&p, "tree/f", "f\n"));
	pool_drop(&p);
}

/* An absent file of which the store has another version, or none, by now. */
static void test_outdated(void)
{
	struct pool p;

	pool_make(&p, NULL);
	fill_store(&p);
	OK(vidas_sync_import(p.s, "", 0, NULL));
	OK(vidas_sync_import(p.s, "d", 0, NULL));
	OK(sh(&p,
	      "cd store/d && echo longer than it was >one && rm two && echo longer still >big"));
	OK(vidas_sync_resident(p.s, "d/one", 0, false));
	CU_ASSERT(has_text(&p, "tree/d/one", "longer than it was\n"));
	CU_ASSERT_EQUAL(state(&p, "d/one"), VIDAS_SYNC_CLEAN);
	CU_ASSERT_EQUAL(vidas_sync_resident(p.s, "d/two", 0, false), -ENOENT);
	CU_ASSERT(is_absent(&p, "tree/d/two"));
	OK(update(&p, "d"));
	CU_ASSERT(!exists(&p, "tree/d/two"));
	CU_ASSERT(is_absent(&p, "tree/d/big"));
	OK(vidas_sync_resident(p.s, "d/big", 0, false));
	CU_ASSERT(has_text(&p, "tree/d/big", "longer still\n"));
	pool_drop(&p);
}

POOL_MAIN("sync", { "what is new is pushed", test_new }, { "what changed is pushed", test_changed },
	  { "names change their type", test_types },
	  { "renamed: pushed, then removed", test_rename_order }, { "import, fetch", test_import },
	  { "changes of absent files", test_import_changes },
	  { "absent files and directories renamed", test_absent_renamed },
	  { "find brings one name", test_find }, { "many want the same bytes", test_single_flight },
	  { "update", test_update }, { "revalidate", test_revalidate },
	  { "absent and outdated", test_outdated }, { "no root", test_no_root })
