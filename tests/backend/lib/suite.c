/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "suite.h"

#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pool/base/base.h"

#define KEY_BYTES	 4200
#define THREADS_MAX	 16
#define DESCRIPTORS_KEPT 64
#define REMOVERS	 8

struct vidas_store *suite_store;
uint32_t suite_caps;
const char *suite_url, *suite_filters;

static const struct suite_case *const tables[] = { suite_content, suite_versions, suite_listing,
						   suite_names, suite_parallel };
static const struct suite_case *running;
static char base[64];

bool suite_check_eq(long long got, long long want, const char *file, unsigned line,
		    const char *text)
{
	return suite_check_either(got, want, want, file, line, text);
}

bool suite_check_either(long long got, long long a, long long b, const char *file, unsigned line,
			const char *text)
{
	bool good = got == a || got == b;

	if (!good)
		printf("\n    got %lld, not %lld (last words: %s)", got, a, vidas_fail_text());
	CU_assertImplementation(good, line, text, file, "", CU_FALSE);
	return good;
}

const char *suite_key(const char *fmt, ...)
{
	static _Thread_local char ring[8][KEY_BYTES];
	static _Thread_local unsigned next;
	char *key = ring[next++ % 8];
	va_list args;
	int n = snprintf(key, KEY_BYTES, "%s/%s/", base, running->name);

	va_start(args, fmt);
	vsnprintf(key + n, (size_t)(KEY_BYTES - n), fmt, args);
	va_end(args);
	return key;
}

void suite_fill(void *buf, size_t size, uint32_t seed)
{
	uint8_t *to = buf;
	uint32_t x = seed * 2654435761u + 1;

	for (size_t i = 0; i < size; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		to[i] = (uint8_t)x;
	}
}

void *suite_new(size_t size, uint32_t seed)
{
	void *buf = malloc(size ? size : 1);

	if (!buf)
		abort();
	suite_fill(buf, size, seed);
	return buf;
}

int suite_put(const char *key, const void *buf, size_t size)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = size };
	struct vidas_backend_put put = { .iov = &iov, .iovcnt = 1, .size_bytes = size };

	return vidas_store_put(suite_store, key, &put, NULL);
}

int suite_put_text(const char *key, const char *text)
{
	return suite_put(key, text, strlen(text));
}

int suite_put_if(const char *key, const char *text, const struct vidas_backend_version *expect,
		 bool must_not_exist, struct vidas_backend_version *now)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	struct vidas_backend_put put = { .iov = &iov,
					 .iovcnt = 1,
					 .size_bytes = iov.iov_len,
					 .expect = expect,
					 .must_not_exist = must_not_exist };

	return vidas_store_put(suite_store, key, &put, now);
}

ssize_t suite_get(const char *key, void *buf, size_t size, uint64_t offset)
{
	struct iovec iov = { .iov_base = buf, .iov_len = size };

	return vidas_store_get(suite_store, key, offset, &iov, 1, NULL, NULL);
}

bool suite_holds(const char *key, const void *buf, size_t size)
{
	char *have = suite_new(size + 1, 0); /* one more, to see that there is no more */
	bool same =
		suite_get(key, have, size + 1, 0) == (ssize_t)size && memcmp(have, buf, size) == 0;

	free(have);
	return same;
}

bool suite_holds_text(const char *key, const char *text)
{
	return suite_holds(key, text, strlen(text));
}

bool suite_version_same(const struct vidas_backend_version *a,
			const struct vidas_backend_version *b)
{
	return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

bool suite_go_on(const atomic_int *count, int enough, int64_t begin_us)
{
	return atomic_load_explicit(count, memory_order_relaxed) < enough &&
	       vidas_now_us() - begin_us < 10 * 1000 * 1000;
}

struct thread {
	pthread_t id;
	int number, result;
	int (*run)(int number, void *arg);
	void *arg;
	pthread_barrier_t *start;
};

static void *thread_main(void *arg)
{
	struct thread *t = arg;

	pthread_barrier_wait(t->start);
	t->result = t->run(t->number, t->arg);
	return NULL;
}

int suite_threads(int n, int (*run)(int number, void *arg), void *arg)
{
	struct thread thread[THREADS_MAX];
	pthread_barrier_t start;
	int sum = 0;

	pthread_barrier_init(&start, NULL, (unsigned)n);
	for (int i = 0; i < n; i++) {
		thread[i] = (struct thread){ .number = i, .run = run, .arg = arg, .start = &start };
		if (pthread_create(&thread[i].id, NULL, thread_main, &thread[i]))
			abort();
	}
	for (int i = 0; i < n; i++) {
		pthread_join(thread[i].id, NULL);
		sum += thread[i].result;
	}
	pthread_barrier_destroy(&start);
	return sum;
}

struct names {
	const char *key;
	char *name[8192];
	bool directory[8192];
	size_t count;
};

static int collect(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	struct names *n = arg;

	if (n->count == VIDAS_ARRAY_SIZE(n->name))
		return 1;
	n->directory[n->count] = st->type == VIDAS_BACKEND_DIRECTORY;
	n->name[n->count++] = strdup(name);
	return 0;
}

static void remove_below(const struct names *n, size_t i)
{
	char *below;

	if (asprintf(&below, "%s/%s", n->key, n->name[i]) < 0)
		abort();
	if (n->directory[i])
		suite_remove_tree(below);
	else
		(void)vidas_store_remove(suite_store, below, NULL);
	free(below);
}

static int remove_thread(int number, void *arg)
{
	const struct names *n = arg;

	for (size_t i = (size_t)number; i < n->count; i += REMOVERS)
		if (!n->directory[i])
			remove_below(n, i);
	return 0;
}

void suite_remove_tree(const char *key)
{
	struct names *n = calloc(1, sizeof(*n));

	if (!n)
		abort();
	n->key = key;
	(void)vidas_store_list(suite_store, key, collect, n);
	if (n->count > REMOVERS)
		suite_threads(REMOVERS, remove_thread, n);
	for (size_t i = 0; i < n->count; i++) {
		if (n->directory[i] || n->count <= REMOVERS)
			remove_below(n, i);
		free(n->name[i]);
	}
	free(n);
	if (suite_caps & VIDAS_BACKEND_DIRECTORIES)
		(void)vidas_store_rmdir(suite_store, key);
}

/* CUnit's tests have no argument: each one takes the next case. */
static size_t next_table, next_case;

static void run_next(void)
{
	const struct suite_case *c = &tables[next_table][next_case];

	if (!tables[next_table][++next_case].name) {
		next_table++;
		next_case = 0;
	}
	if (c->caps & ~suite_caps) {
		printf("not run, the root lacks caps 0x%x ", c->caps & ~suite_caps);
		return;
	}
	running = c;
	c->run();
	running = NULL;
}

static unsigned run_cases(const char *title)
{
	CU_pSuite suite = NULL;
	unsigned failed;

	next_table = next_case = 0;
	if (CU_initialize_registry() == CUE_SUCCESS)
		suite = CU_add_suite(title, NULL, NULL);
	for (size_t i = 0; suite && i < VIDAS_ARRAY_SIZE(tables); i++)
		for (const struct suite_case *c = tables[i]; suite && c->name; c++)
			if (!CU_add_test(suite, c->name, run_next))
				suite = NULL;
	if (!suite) {
		printf("cunit: %s\n", CU_get_error_msg());
		return 1;
	}
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failure_records();
	if (!CU_get_number_of_asserts())
		failed++;
	CU_cleanup_registry();
	return failed;
}

static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

unsigned suite_run(const char *url, const char *filters)
{
	char title[512];
	struct timespec now;
	unsigned failed;
	int descriptors, err = vidas_store_open(url, filters, &suite_store);

	if (err) {
		printf("%s: cannot be opened: %s\n", url, vidas_fail_text());
		return 1;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(base, sizeof(base), "vidas-conformance-%d-%lld", (int)getpid(),
		 (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000);
	snprintf(title, sizeof(title), "%s%s%s", vidas_store_url(suite_store),
		 filters ? " under " : "", filters ? filters : "");
	suite_caps = vidas_store_caps(suite_store);
	suite_url = url;
	suite_filters = filters;
	descriptors = open_descriptors();
	failed = run_cases(title);
	/* A backend may keep connections, but not more with every call. */
	if (open_descriptors() > descriptors + DESCRIPTORS_KEPT) {
		printf("%d descriptors at the end, %d before\n", open_descriptors(), descriptors);
		failed++;
	}
	suite_remove_tree(base);
	vidas_store_close(suite_store);
	suite_store = NULL;
	return failed;
}
