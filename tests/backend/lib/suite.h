/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The conformance suite: what <vidas/backend.h> promises, asked of a root through backends/store.h.
 * A new backend gets it whole by its URL:
 *	VIDAS_TEST_URL=nfs://server/export build/release/tests/backend/conformance
 * or, with servers to start first, by a script that calls `conformance URL [FILTERS]`.
 *
 * Cases work below a directory of their own, which is removed at the end. A case that needs what
 * the root's caps do not promise is not run, and said.
 */
#ifndef VIDAS_TESTS_SUITE_H
#define VIDAS_TESTS_SUITE_H

#include <CUnit/Basic.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "backends/store.h"

struct suite_case {
	const char *name;
	uint32_t caps; /* needed ones */
	void (*run)(void);
};
/* Each ended by a name that is NULL. */
extern const struct suite_case suite_content[], suite_versions[], suite_listing[], suite_names[],
	suite_parallel[];

/* Runs all of it on one root; the number of failed checks. */
unsigned suite_run(const char *url, const char *filters);

/* For the cases. ----------------------------------------------------------------------------- */

extern struct vidas_store *suite_store; /* the root under test */
extern uint32_t suite_caps;
extern const char *suite_url, *suite_filters;

/* A check of a number; the main thread only. */
#define CHECK_EQ(got, want) \
	suite_check_eq((long long)(got), (long long)(want), __FILE__, __LINE__, #got " == " #want)
bool suite_check_eq(long long got, long long want, const char *file, unsigned line,
		    const char *text);
/* One of two outcomes that a backend may choose from. */
#define CHECK_EITHER(got, a, b)                                                                  \
	suite_check_either((long long)(got), (long long)(a), (long long)(b), __FILE__, __LINE__, \
			   #got " == " #a " or " #b)
bool suite_check_either(long long got, long long a, long long b, const char *file, unsigned line,
			const char *text);

/* Removing what is not there. Under filters it may seem to have been there: see filters/retry.c. */
#define CHECK_GONE(got) CHECK_EITHER(got, -ENOENT, suite_filters ? 0 : -ENOENT)

/* A key of this case; the text is good for the next 8 calls in this thread. */
const char *suite_key(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Bytes that depend on the seed. */
void suite_fill(void *buf, size_t size, uint32_t seed);
void *suite_new(size_t size, uint32_t seed);

int suite_put(const char *key, const void *buf, size_t size);
int suite_put_text(const char *key, const char *text);
/* Puts with a condition: `expect` or NULL, else must_not_exist if that is set. */
int suite_put_if(const char *key, const char *text, const struct vidas_backend_version *expect,
		 bool must_not_exist, struct vidas_backend_version *now);
ssize_t suite_get(const char *key, void *buf, size_t size, uint64_t offset);
/* Has the key exactly this content? Any thread. */
bool suite_holds(const char *key, const void *buf, size_t size);
bool suite_holds_text(const char *key, const char *text);
bool suite_version_same(const struct vidas_backend_version *a,
			const struct vidas_backend_version *b);

/* For threads that go on until others have had their share: until `count` is `enough`, for 10 s. */
bool suite_go_on(const atomic_int *count, int enough, int64_t begin_us);

/* Runs `run` in n threads at once, with numbers 0..n-1; the sum of what they return. */
int suite_threads(int n, int (*run)(int number, void *arg), void *arg);

/* Removes what is below a key, and itself. */
void suite_remove_tree(const char *key);

#endif
