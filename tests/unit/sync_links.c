/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Several names of one file: they are one in the store, too, where that can. */
#include "unit.h"
#include "sync_pool.h"

static bool no_conflict(struct pool *p)
{
	return sh(p, "find tree store | grep -q conflict") == 1;
}

static void again_is_nothing(struct pool *p)
{
	CU_ASSERT(same(p) && same_links(p) && no_conflict(p));
	OK(flush(p, ""));
	CU_ASSERT_EQUAL(p->moved.files, 0);
	OK(update(p, ""));
	CU_ASSERT_EQUAL(p->moved.files, 0);
	CU_ASSERT(same(p) && same_links(p) && no_conflict(p));
}

/* Made, written to, named, unnamed: bytes move once. */
static void test_names(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd tree && mkdir d && echo one >a && ln a d/b"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.bytes, 4);
	again_is_nothing(&p);
	CU_ASSERT(sh(&p, "test $(stat -c %%h store/a) = 2") == 0);
	/* By and by: the first is there already, and the third comes. */
	OK(sh(&p, "cd tree && ln a c"));
	OK(flush(&p, "c"));
	CU_ASSERT_EQUAL(p.moved.bytes, 0);
	again_is_nothing(&p);
	/* Its bytes; its mode. */
	put_text(&p, "tree/d/b", "other\n");
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.bytes, 6);
	again_is_nothing(&p);
	OK(sh(&p, "chmod 600 tree/c"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.bytes, 0);
	again_is_nothing(&p);
	/* Both at once, pushed by the new name first. */
	OK(sh(&p, "chmod 640 tree/c && ln tree/c tree/A"));
	OK(flush(&p, "A"));
	CU_ASSERT_EQUAL(p.moved.bytes, 0);
	OK(flush(&p, ""));
	again_is_nothing(&p);
	/* The name that the bytes came by goes; the others stay, and one is written to. */
	OK(sh(&p, "cd tree && rm a && ln d/b e"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.bytes, 0);
	again_is_nothing(&p);
	OK(sh(&p, "cd tree && rm c && echo last >e"));
	OK(flush(&p, "e"));
	OK(flush(&p, ""));
	again_is_nothing(&p);
	OK(sh(&p, "cd tree && rm e d/b"));
	OK(flush(&p, ""));
	again_is_nothing(&p);
	CU_ASSERT(!exists(&p, "store/e") && !exists(&p, "store/d/b"));
	pool_drop(&p);
}

/* A name that the store has as a file of its own, and names that change places. */
static void test_replaced(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd tree && echo one >a && echo two >b && ln a c"));
	OK(flush(&p, ""));
	OK(sh(&p, "cd tree && ln -f a b"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.bytes, 0);
	again_is_nothing(&p);
	OK(sh(&p, "cd tree && cp b x && mv x b && mv a t && mv b a && mv t b"));
	OK(flush(&p, ""));
	again_is_nothing(&p);
	CU_ASSERT(sh(&p, "test store/b -ef store/c && ! test store/a -ef store/b") == 0);
	pool_drop(&p);
}

/* What is renamed does not move either. */
static void test_renamed(void)
{
	uint64_t inode;
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd tree && mkdir d && echo one >d/a && echo two >d/b"));
	OK(flush(&p, ""));
	inode = inode_of(&p, "store/d/a");
	OK(sh(&p, "cd tree && mv d e && mv e/b f"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.bytes, 0);
	CU_ASSERT_EQUAL(inode_of(&p, "store/e/a"), inode);
	again_is_nothing(&p);
	/* Renamed and written to. */
	OK(sh(&p, "cd tree && mv f g && echo three >g"));
	OK(flush(&p, ""));
	again_is_nothing(&p);
	pool_drop(&p);
}

/* The key by which a file is found is another's by now, but it has names there that are as they were. */
static void test_key_taken(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd tree && mkdir d && echo one >d/a && ln d/a b"));
	OK(flush(&p, ""));
	OK(flush(&p, "b"));
	OK(flush(&p, "d/a"));
	OK(sh(&p, "cd tree && mv d e && mkdir d && echo two >d/a"));
	OK(flush(&p, "d/a"));
	OK(flush(&p, "e/a"));
	OK(flush(&p, ""));
	again_is_nothing(&p);
	pool_drop(&p);
}

/* What others did to a name in the store is kept beside it; other names are not drawn into it. */
static void test_conflict(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd tree && echo one >a && ln a b && ln a c"));
	OK(flush(&p, ""));
	/* Replaced there: the others are still one. */
	OK(sh(&p, "cd store && echo theirs >x && mv x b; echo mine >../tree/a"));
	OK(flush(&p, ""));
	OK(sh(&p,
	      "cd store && grep -qx theirs b.vidas-conflict-* && ! ls [ac].vidas-conflict-* && "
	      "grep -qx mine a && test a -ef b && test b -ef c && rm *.vidas* ../tree/*.vidas*"));
	OK(flush(&p, ""));
	CU_ASSERT(same(&p) && same_links(&p));
	/* Written to there, by one of its names: what they wrote is not lost. */
	OK(sh(&p, "echo theirs again >store/c; echo mine again >tree/b"));
	OK(flush(&p, ""));
	OK(sh(&p,
	      "cd store && grep -qx 'theirs again' *.vidas-conflict-* && grep -qx 'mine again' a && "
	      "test a -ef b && test b -ef c"));
	/* Deleted here, changed there: it stays there. */
	OK(sh(&p,
	      "rm -f store/*.vidas* tree/*.vidas* && rm tree/c && rm store/c && echo new >store/c"));
	OK(flush(&p, ""));
	CU_ASSERT(has_text(&p, "store/c", "new\n") && has_text(&p, "store/a", "mine again\n"));
	/* The file is gone in the store by the name that it had last: its bytes are put. */
	OK(sh(&p, "cd tree && ln a d && rm ../store/a ../store/b"));
	OK(flush(&p, ""));
	CU_ASSERT(has_text(&p, "store/d", "mine again\n"));
	pool_drop(&p);
}

/* Newer in the store: it comes once, and a link that only was made or removed is nothing newer. */
static void test_update(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd tree && echo one >a && ln a b && echo x >c"));
	OK(flush(&p, ""));
	OK(sh(&p, "ln store/a store/beside"));
	OK(update(&p, "a"));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	OK(sh(&p, "rm store/beside && echo newer >store/a"));
	OK(update(&p, "a"));
	CU_ASSERT_EQUAL(p.moved.files, 1);
	CU_ASSERT(has_text(&p, "tree/b", "newer\n"));
	OK(flush(&p, ""));
	CU_ASSERT(same(&p) && no_conflict(&p));
	pool_drop(&p);
}

/* Names that were one file in the store before the container was: here they are files of their own, of which
 * one is not changed by what is written to the other. */
static void test_imported(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd store && echo one >a && ln a b && ln a c"));
	OK(update(&p, ""));
	OK(vidas_sync_resident(p.s, "a", 0, false));
	OK(vidas_sync_resident(p.s, "b", 0, false));
	put_text(&p, "tree/a", "mine\n");
	OK(flush(&p, "a"));
	put_text(&p, "tree/b", "mine too\n");
	OK(flush(&p, ""));
	CU_ASSERT(no_conflict(&p) && has_text(&p, "store/b", "mine too\n") &&
		  has_text(&p, "store/c", "one\n"));
	OK(vidas_sync_resident(p.s, "c", 0, false));
	again_is_nothing(&p);
	/* What was made here as one comes back as one content. */
	OK(sh(&p, "rm tree/? && echo two >tree/d && ln tree/d tree/e"));
	OK(flush(&p, ""));
	pool_detach(&p);
	OK(sh(&p, "rm -r tree state && mkdir tree state"));
	OK(pool_attach(&p, NULL));
	OK(update(&p, ""));
	OK(vidas_sync_prefetch(p.s, "", 0, 0, 0, &p.moved));
	CU_ASSERT(same(&p) && sh(&p, "test store/d -ef store/e") == 0);
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	pool_drop(&p);
}

/* What came from the store is linked and renamed there as what was pushed is: its bytes stay. */
static void test_fetched(void)
{
	uint64_t a, b, c;
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd store && mkdir d && echo one >a && echo two >d/b && echo three >d/c"));
	a = inode_of(&p, "store/a");
	b = inode_of(&p, "store/d/b");
	c = inode_of(&p, "store/d/c");
	OK(update(&p, ""));
	OK(vidas_sync_import(p.s, "d", 0, NULL));
	OK(vidas_sync_prefetch(p.s, "", 0, 0, 0, &p.moved));
	/* One more name; a name for another; a directory that moves with what is in it. */
	OK(sh(&p, "cd tree && ln a d/a && mv d/b B && mv d e"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.bytes, 0);
	CU_ASSERT(inode_of(&p, "store/e/a") == a && inode_of(&p, "store/a") == a);
	CU_ASSERT(inode_of(&p, "store/B") == b && inode_of(&p, "store/e/c") == c);
	again_is_nothing(&p);
	/* Newer in the store, taken over, renamed. */
	OK(sh(&p, "echo newer >store/B"));
	b = inode_of(&p, "store/B");
	OK(update(&p, ""));
	OK(sh(&p, "mv tree/B tree/b && chmod 600 tree/b"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.bytes, 0);
	CU_ASSERT_EQUAL(inode_of(&p, "store/b"), b);
	again_is_nothing(&p);
	/* Changed here since: its bytes go there, once. */
	OK(sh(&p, "cd tree && echo mine >a && ln a f"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.bytes, 5);
	again_is_nothing(&p);
	pool_drop(&p);
}

/* Renamed before their bytes were here: they stay where they are. */
static void test_absent(void)
{
	struct vidas_sync_fetch f = { .size = 1, .deadline_us = INT64_MAX };
	uint64_t a, b, c;
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd store && mkdir d && echo one >a && echo two >d/b && truncate -s 9M d/c && "
		  "echo four >x && echo five >y"));
	a = inode_of(&p, "store/a");
	b = inode_of(&p, "store/d/b");
	c = inode_of(&p, "store/d/c");
	OK(update(&p, ""));
	OK(vidas_sync_import(p.s, "d", 0, NULL));
	OK(sh(&p, "cd tree && mv a A && mv d e && mv e/b b && chmod 600 b"));
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.bytes, 0);
	CU_ASSERT(is_absent(&p, "tree/A") && is_absent(&p, "tree/b") && is_absent(&p, "tree/e/c"));
	CU_ASSERT(inode_of(&p, "store/A") == a && inode_of(&p, "store/b") == b);
	CU_ASSERT(inode_of(&p, "store/e/c") == c && !exists(&p, "store/d") &&
		  !exists(&p, "store/a"));
	CU_ASSERT(state(&p, "A") == VIDAS_SYNC_ABSENT_BYTES);
	OK(flush(&p, ""));
	CU_ASSERT_EQUAL(p.moved.files, 0);
	/* To and fro; names that change places; what is asked for by the old key. */
	OK(sh(&p, "mv tree/A tree/a"));
	OK(flush(&p, "a"));
	OK(sh(&p, "cd tree && mv a A && mv x z && mv y x && mv z y"));
	OK(flush(&p, ""));
	CU_ASSERT(has_text(&p, "store/x", "five\n") && has_text(&p, "store/y", "four\n"));
	CU_ASSERT_EQUAL(inode_of(&p, "store/A"), a);
	/* Some of it was fetched: all of it is before it is pushed, and still no byte goes there. */
	OK(vidas_sync_fetch(p.s, "e/c", inode_of(&p, "tree/e/c"), &f));
	CU_ASSERT(!f.whole);
	OK(sh(&p, "mv tree/e/c tree/c"));
	OK(flush(&p, ""));
	CU_ASSERT(p.moved.bytes == 0 && !is_absent(&p, "tree/c"));
	CU_ASSERT_EQUAL(inode_of(&p, "store/c"), c);
	/* What has come there meanwhile under the new name is kept. */
	OK(sh(&p, "mv tree/A tree/B && printf '\\0\\0\\0\\0' >store/B"));
	OK(flush(&p, ""));
	CU_ASSERT(has_text(&p, "store/B", "one\n") && !exists(&p, "store/A"));
	OK(sh(&p,
	      "test $(cat store/B.vidas-conflict-* | tr -d '\\0' | wc -c) = 0 && rm */*.vidas-*"));
	OK(flush(&p, ""));
	/* All of it comes in the end. */
	OK(vidas_sync_prefetch(p.s, "", 0, 0, 0, &p.moved));
	OK(flush(&p, ""));
	again_is_nothing(&p);
	CU_ASSERT(has_text(&p, "tree/B", "one\n") && has_text(&p, "tree/b", "two\n"));
	pool_drop(&p);
}

/* The answer is lost, or the store cannot after all. */
static void test_faults(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p, "cd tree && echo one >a"));
	OK(flush(&p, ""));
	for (int i = 0; i < 2; i++) {
		OK(sh(&p, "cd tree && ln a new%d", i));
		pool_detach(&p);
		OK(pool_attach(&p, i ? "fault=rate:100%+errno:EIO+ops:link" :
				       "fault=rate:100%+errno:EIO+when:after+ops:link"));
		CU_ASSERT_EQUAL(flush(&p, i ? "new1" : "new0"), -EIO);
		CU_ASSERT_EQUAL(flush(&p, ""), -EIO);
		pool_detach(&p);
		OK(pool_attach(&p, NULL));
		OK(flush(&p, ""));
		again_is_nothing(&p);
	}
	pool_detach(&p);
	OK(pool_attach(&p, "fault=rate:100%+errno:EMLINK+ops:link"));
	OK(sh(&p, "cd tree && ln a last"));
	OK(flush(&p, ""));
	CU_ASSERT(same(&p) && no_conflict(&p));
	pool_drop(&p);
}

POOL_MAIN("sync_links", { "names", test_names }, { "names replaced", test_replaced },
	  { "renamed", test_renamed }, { "key taken", test_key_taken },
	  { "conflicts", test_conflict }, { "updates", test_update }, { "imported", test_imported },
	  { "fetched", test_fetched }, { "absent", test_absent }, { "faults", test_faults })
