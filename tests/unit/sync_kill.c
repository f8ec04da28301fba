/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vidas-timeout: 240 */
/*
 * Killed at any instruction: a child works on a pool and is killed at a random moment; its successor
 * finds everything, and after a flush tree and store are the same, with no conflict made up. ROUNDS in the
 * environment: so many (50); SEED: what they are made of.
 */
#include "unit.h"
#include "sync_pool.h"

#include <signal.h>

static uint64_t seed;
static int rounds = 50;

static uint64_t draw(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

/* Random changes by a domain. */
static void change(struct pool *p)
{
	for (int i = 0; i < 12; i++) {
		unsigned a = (unsigned)draw(6), b = (unsigned)draw(6), n = (unsigned)draw(20000);

		switch (draw(9)) {
		case 0:
			(void)sh(p, "cd tree && rm -rf d%u", a);
			break;
		case 1:
			(void)sh(p, "cd tree && test -d d%u && mv -T d%u e%u 2>/dev/null", a, a, b);
			break;
		case 2:
			(void)sh(p, "cd tree && mv f%u d%u/f%u 2>/dev/null", a, b, a);
			break;
		case 3:
			(void)sh(p, "cd tree && ln -sf f%u l%u", a, b);
			break;
		case 4:
			(void)sh(p, "cd tree && chmod %u00 f%u 2>/dev/null", 4 + a % 4, b);
			break;
		case 5:
			(void)sh(p, "cd tree && ln -f f%u d%u/f%u 2>/dev/null", a, b, n % 6);
			break;
		default:
			(void)sh(
				p,
				"cd tree && mkdir -p d%u/s && head -c %u /dev/urandom | tee d%u/f%u "
				"d%u/s/f >f%u",
				a, n, a, b, a, b);
		}
	}
}

static void run_and_kill(struct pool *p, const char *filters, int (*work)(struct pool *p),
			 uint64_t most_us)
{
	pid_t child = fork();
	int status;

	if (!child) {
		if (pool_attach(p, filters))
			_exit(1);
		(void)work(p);
		_exit(0);
	}
	CU_ASSERT_FATAL(child > 0);
	usleep((useconds_t)draw(most_us));
	kill(child, SIGKILL);
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
}

static int flush_all(struct pool *p)
{
	return flush(p, "");
}

static void test_flush(void)
{
	struct pool p;

	/* Slow enough that most are hit in the middle. */
	pool_make(&p, NULL);
	pool_detach(&p);
	for (int i = 0; i < rounds; i++) {
		change(&p);
		run_and_kill(&p, i % 2 ? NULL : "fault=rate:0%+delay:300us", flush_all, 25000);
		if (i % 5 != 4)
			continue;
		/* The store's own leftovers are its own business. */
		OK(sh(&p, "find store -name '.vidas-put-*' -delete"));
		OK(pool_attach(&p, NULL));
		OK(flush(&p, ""));
		CU_ASSERT(same(&p) && same_links(&p));
		CU_ASSERT_EQUAL(sh(&p, "find tree store | grep conflict >&2"), 1);
		OK(flush(&p, ""));
		CU_ASSERT_EQUAL(p.moved.files, 0);
		pool_detach(&p);
	}
	pool_drop(&p);
}

static int take_all(struct pool *p)
{
	char path[64];

	(void)vidas_sync_import(p->s, "", 0, NULL);
	for (int i = 0; i < 6; i++) {
		snprintf(path, sizeof(path), "d%d", i);
		(void)vidas_sync_import(p->s, path, 0, NULL);
		for (int k = 0; k < 6; k++) {
			snprintf(path, sizeof(path), "d%d/f%d", i, k);
			(void)vidas_sync_resident(p->s, path, 0, false);
		}
	}
	return update(p, "");
}

/* What is not marked absent has the store's bytes; nothing is lost there. */
static void test_fetch(void)
{
	struct pool p;

	pool_make(&p, NULL);
	pool_detach(&p);
	OK(sh(&p, "cd store && for d in 0 1 2 3 4 5; do mkdir d$d; for f in 0 1 2 3 4 5; do "
		  "head -c 30000 /dev/urandom >d$d/f$f; done; done; cp -a . ../copy"));
	for (int i = 0; i < rounds; i++) {
		run_and_kill(&p, i % 2 ? NULL : "fault=rate:0%+delay:200us", take_all, 15000);
		OK(pool_attach(&p, NULL));
		OK(flush(&p, ""));
		CU_ASSERT_EQUAL(p.moved.files, 0);
		pool_detach(&p);
		OK(sh(&p, "diff -r store copy >&2"));
		OK(sh(&p,
		      "cd tree && find . -type f | while read -r f; do "
		      "getfattr -n trusted.vidas.absent $f >/dev/null 2>&1 || cmp $f ../copy/$f || exit 1; done"));
		/* The store goes on. */
		OK(sh(&p,
		      "f=d$((%d %% 6))/f$((%d %% 5)); head -c 20000 /dev/urandom >store/$f; "
		      "cp -p store/$f copy/$f",
		      i, i));
		OK(pool_attach(&p, NULL));
		OK(update(&p, ""));
		pool_detach(&p);
	}
	OK(pool_attach(&p, NULL));
	OK(take_all(&p));
	CU_ASSERT(same(&p));
	pool_drop(&p);
}

/* By a domain, of what is in the store only: nothing is lost, and nothing taken for something else. */
static void rename_some(struct pool *p)
{
	for (int i = 0; i < 8; i++) {
		unsigned a = (unsigned)draw(6), b = (unsigned)draw(6), f = (unsigned)draw(6);

		if (draw(4))
			(void)sh(p, "cd tree && mv -n d%u/f%u d%u/f%u 2>/dev/null", a, f, b,
				 (unsigned)draw(9));
		else
			(void)sh(p,
				 "cd tree && mv -n d%u e%u 2>/dev/null; mv -nT e%u d%u 2>/dev/null",
				 a, a, (unsigned)draw(6), b);
	}
}

static void test_rename(void)
{
	struct pool p;

	pool_make(&p, NULL);
	OK(sh(&p,
	      "cd store && for d in 0 1 2 3 4 5; do mkdir d$d; for f in 0 1 2 3 4 5; do "
	      "head -c 3000 /dev/urandom >d$d/f$f; done; truncate -s 5M d$d/f0; done; cp -a . ../copy"));
	for (int i = 0; i < rounds / 2; i++) {
		OK(vidas_sync_import(p.s, "", 0, NULL));
		for (int d = 0; !i && d < 6; d++) {
			char path[8] = { 'd', (char)('0' + d) };

			OK(vidas_sync_import(p.s, path, 0, NULL));
		}
		pool_detach(&p);
		rename_some(&p);
		run_and_kill(&p, i % 2 ? NULL : "fault=rate:0%+delay:300us", flush_all, 15000);
		OK(pool_attach(&p, NULL));
		if (i % 5 != 4)
			continue;
		OK(sh(&p, "find store -name '.vidas-put-*' -delete"));
		OK(flush(&p, ""));
		OK(sh(&p, "for d in tree store; do (cd $d; find . | sort >../names.$d); done; "
			  "diff names.tree names.store >&2"));
		OK(sh(&p,
		      "for d in copy store; do (cd $d; find . -type f -exec md5sum {} + | cut -c1-32 | "
		      "sort >../sums.$d); done; diff sums.copy sums.store >&2"));
		OK(flush(&p, ""));
		CU_ASSERT_EQUAL(p.moved.files, 0);
	}
	OK(flush(&p, ""));
	OK(vidas_sync_prefetch(p.s, "", 0, 0, 0, &p.moved));
	CU_ASSERT(same(&p) && same_links(&p));
	pool_drop(&p);
}

int main(void)
{
	static const struct unit_case cases[] = { { "killed while it flushes", test_flush },
						  { "killed while it fetches", test_fetch },
						  { "killed while it renames", test_rename } };
	const char *given = getenv("SEED"), *longer = getenv("ROUNDS");

	POOL_NEEDS_ROOT();
	seed = given ? strtoull(given, NULL, 0) : (uint64_t)vidas_now_us() | 1;
	rounds = longer ? atoi(longer) : rounds;
	printf("SEED=%llu\n", (unsigned long long)seed);
	vidas_log_init("sync_kill", VIDAS_LOG_ERR);
	return unit_run("sync_kill", cases, sizeof(cases) / sizeof(cases[0]));
}
