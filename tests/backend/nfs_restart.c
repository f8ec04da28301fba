/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vidas-presets: release asan tsan
 * vidas-net: own
 * vidas-timeout: 300
 * vidas-needs: nfs
 *
 * The nfs backend and a real server that is killed, started again, stopped, silent.
 */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/store.h"
#include "pool/base/base.h"
#include "unit.h"

#define PORT "23149"
#define MIB  (UINT64_C(1024) * 1024)
#define BIG  (64 * MIB)

static char server[4096], ganesha[4096];
static int version;

static int run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *fmt, ...)
{
	char command[12288];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	return system(command);
}

static void server_start(void)
{
	if (run("%s start %s " PORT, ganesha, server))
		abort();
}

static void server_kill(void)
{
	if (run("%s kill %s", ganesha, server))
		abort();
}

static pid_t server_pid(void)
{
	char path[5000];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/pid", server);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%d", &pid) != 1)
		abort();
	fclose(f);
	return pid;
}

/* The root, with more parameters. */
static struct vidas_store *open_root(const char *more)
{
	struct vidas_store *s = NULL;
	char url[5000];

	if (version == 3)
		snprintf(url, sizeof(url),
			 "nfs://127.0.0.1:" PORT "%s/export?version=3&mountport=23150&%s", server,
			 more);
	else
		snprintf(url, sizeof(url), "nfs://127.0.0.1:" PORT "/export?version=4&%s", more);
	if (vidas_store_open(url, NULL, &s)) {
		printf("%s\n", vidas_fail_text());
		abort();
	}
	return s;
}

static void fill(char *buf, size_t size, uint64_t seed)
{
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	for (size_t i = 0; i + 8 <= size; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		memcpy(buf + i, &x, 8);
	}
}

static int put(struct vidas_store *s, const char *key, void *buf, size_t size)
{
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct vidas_backend_put put = { .iov = &iov, .iovcnt = 1, .size_bytes = size };

	return vidas_store_put(s, key, &put, NULL);
}

static ssize_t get(struct vidas_store *s, const char *key, void *buf, size_t size)
{
	struct iovec iov = { .iov_base = buf, .iov_len = size };

	return vidas_store_get(s, key, 0, &iov, 1, NULL, NULL);
}

/* Kills the server `us` from now, and starts it again. */
static void *disaster(void *arg)
{
	usleep(*(unsigned *)arg);
	server_kill();
	usleep(200000);
	server_start();
	return NULL;
}

static unsigned left_over(void)
{
	char path[5000];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/export", server);
	d = opendir(path);
	while (d && (e = readdir(d)))
		n += strncmp(e->d_name, ".vidas-put-", 11) == 0;
	if (d)
		closedir(d);
	return n;
}

/* At moments all over the put: in the WRITEs, at COMMIT, at the rename. */
static void killed_in_put(void)
{
	struct vidas_store *s = open_root("timeout=30");
	char *buf = malloc(BIG), *have = malloc(BIG);

	for (unsigned us = 5000; us < 200000; us += 45000) {
		pthread_t thread;

		fill(buf, BIG, us);
		pthread_create(&thread, NULL, disaster, &us);
		CU_ASSERT_EQUAL(put(s, "big", buf, BIG), 0);
		pthread_join(thread, NULL);
		memset(have, 0, BIG);
		CU_ASSERT_EQUAL(get(s, "big", have, BIG), (ssize_t)BIG);
		CU_ASSERT_EQUAL(memcmp(buf, have, BIG), 0);
	}
	CU_ASSERT_EQUAL(left_over(), 0);
	free(buf);
	free(have);
	vidas_store_close(s);
}

static void killed_in_get(void)
{
	struct vidas_store *s = open_root("timeout=30");
	char *buf = malloc(BIG), *have = malloc(BIG);

	fill(buf, BIG, 1);
	CU_ASSERT_EQUAL(put(s, "big", buf, BIG), 0);
	for (unsigned us = 1000; us < 120000; us += 35000) {
		pthread_t thread;

		memset(have, 0, BIG);
		pthread_create(&thread, NULL, disaster, &us);
		CU_ASSERT_EQUAL(get(s, "big", have, BIG), (ssize_t)BIG);
		pthread_join(thread, NULL);
		CU_ASSERT_EQUAL(memcmp(buf, have, BIG), 0);
	}
	free(buf);
	free(have);
	vidas_store_close(s);
}

struct small {
	struct vidas_store *s;
	_Atomic bool stop;
	_Atomic unsigned done, failed;
	_Atomic int number;
};

/* What would be wrong if it were carried out twice, or half. */
static int small_round(struct vidas_store *s, const char *dir, unsigned i)
{
	char from[64], to[64], text[64], have[64], target[64];
	struct vidas_backend_stat st;
	int n = snprintf(text, sizeof(text), "%s %u", dir, i);

	snprintf(from, sizeof(from), "%s/sub/from", dir);
	snprintf(to, sizeof(to), "%s/to", dir);
	if (put(s, from, text, (size_t)n) || vidas_store_rename(s, from, to) ||
	    get(s, to, have, sizeof(have)) != n || memcmp(text, have, (size_t)n) != 0)
		return -1;
	if (vidas_store_symlink(s, from, text) ||
	    vidas_store_readlink(s, from, target, sizeof(target)) != n || strcmp(target, text) != 0)
		return -1;
	if (vidas_store_remove(s, from, NULL) || vidas_store_remove(s, to, NULL) ||
	    vidas_store_stat(s, to, &st) != -ENOENT)
		return -1;
	snprintf(from, sizeof(from), "%s/sub", dir);
	return vidas_store_rmdir(s, from);
}

static void *small_thread(void *arg)
{
	struct small *t = arg;
	char dir[32];

	snprintf(dir, sizeof(dir), "small-%d", t->number++);
	for (unsigned i = 0; !t->stop; i++) {
		if (small_round(t->s, dir, i)) {
			printf("\n    %s %u: %s", dir, i, vidas_fail_text());
			t->failed++;
			break;
		}
		t->done++;
	}
	return NULL;
}

static void killed_in_small_calls(void)
{
	struct small t = { .s = open_root("timeout=30") };
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, small_thread, &t);
	for (unsigned i = 0; i < 8; i++) {
		unsigned before, us = 30000 + i * 7777;

		disaster(&us);
		before = t.done;
		for (int wait = 0; t.done < before + 8 && wait < 1000 && !t.failed; wait++)
			usleep(10000);
		CU_ASSERT(t.done >= before + 8 || t.failed);
	}
	t.stop = true;
	for (int i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	CU_ASSERT_EQUAL(t.failed, 0);
	CU_ASSERT_EQUAL(left_over(), 0);
	vidas_store_close(t.s);
}

static bool took(int64_t since, double from, double to)
{
	double s = (double)(vidas_now_us() - since) / 1e6;

	if (s >= from && s < to)
		return true;
	printf("\n    took %.2f s, not %.2f to %.2f", s, from, to);
	return false;
}

/* Neither dead nor refusing: for as long as the time-out, and no longer. */
static void stopped(void)
{
	struct vidas_backend_stat st;
	struct vidas_store *s;
	int64_t begin;

	server_kill();
	begin = vidas_now_us();
	s = open_root("timeout=2");
	CU_ASSERT(took(begin, 0, 0.5));
	begin = vidas_now_us();
	CU_ASSERT_EQUAL(vidas_store_stat(s, "", &st), -ETIMEDOUT);
	CU_ASSERT(took(begin, 1.9, 3));
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "127.0.0.1"));
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "refused"));
	server_start();
	CU_ASSERT_EQUAL(vidas_store_stat(s, "", &st), 0);
	begin = vidas_now_us();
	vidas_store_close(s);
	CU_ASSERT(took(begin, 0, 0.5));
}

static void silent(void)
{
	struct vidas_store *s = open_root("timeout=2");
	char *buf = calloc(1, 4 * MIB);
	struct vidas_backend_stat st;
	pid_t pid = server_pid();
	int64_t begin;

	CU_ASSERT_EQUAL(put(s, "file", buf, 4 * MIB), 0);
	kill(pid, SIGSTOP);
	usleep(200000); /* until the last of its threads has stopped */
	begin = vidas_now_us();
	CU_ASSERT_EQUAL(get(s, "file", buf, 4 * MIB), -ETIMEDOUT);
	CU_ASSERT(took(begin, 1.9, 3));
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "no answer"));
	begin = vidas_now_us();
	CU_ASSERT_EQUAL(put(s, "file", buf, 4 * MIB), -ETIMEDOUT);
	CU_ASSERT(took(begin, 1.9, 3));
	kill(pid, SIGCONT);
	CU_ASSERT_EQUAL(vidas_store_stat(s, "file", &st), 0);
	CU_ASSERT_EQUAL(get(s, "file", buf, 4 * MIB), 4 * (ssize_t)MIB);
	free(buf);
	vidas_store_close(s);
}

/* A server that wants those who knew it before to go first. */
static void grace(void)
{
	struct vidas_store *s = open_root("timeout=30");
	char text[] = "text", have[8];

	CU_ASSERT_EQUAL(put(s, "graced", text, 4), 0);
	server_kill();
	setenv("GANESHA_GRACELESS", "false", 1);
	server_start();
	CU_ASSERT_EQUAL(put(s, "graced", text + 1, 3), 0);
	CU_ASSERT_EQUAL(get(s, "graced", have, sizeof(have)), 3);
	unsetenv("GANESHA_GRACELESS");
	server_kill();
	server_start();
	vidas_store_close(s);
}

/* As somebody who may not give files away. */
static void other_user(void)
{
	struct vidas_backend_stat attrs = { .valid = VIDAS_BACKEND_MODE | VIDAS_BACKEND_OWNER,
					    .mode = 0640,
					    .uid = 4321,
					    .gid = 4321 },
				  st;
	struct vidas_store *s = open_root("timeout=5&uid=1234&gid=1234");
	struct vidas_backend_put p = { .attrs = &attrs };
	char path[5000];
	struct stat there;

	snprintf(path, sizeof(path), "%s/export/mine", server);
	CU_ASSERT(mkdir(path, 0700) == 0 && chown(path, 1234, 1234) == 0);
	CU_ASSERT_EQUAL(vidas_store_put(s, "mine/file", &p, NULL), 0);
	CU_ASSERT_EQUAL(vidas_store_stat(s, "mine/file", &st), 0);
	CU_ASSERT_EQUAL(st.mode, 0640);
	CU_ASSERT_EQUAL(st.valid & VIDAS_BACKEND_OWNER, 0);
	strcat(path, "/file");
	CU_ASSERT(stat(path, &there) == 0 && there.st_uid == 1234 && there.st_gid == 1234);
	CU_ASSERT_EQUAL(vidas_store_put(s, "not/mine", &p, NULL), -EACCES);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "denied"));
	CU_ASSERT_EQUAL(vidas_store_remove(s, "mine/file", NULL), 0);
	vidas_store_close(s);
}

static void bad_urls(void)
{
	static const char *const bad[] = {
		"nfs://",
		"nfs://server",
		"nfs:///path",
		"nfs://a@b/path",
		"nfs://server:0/p",
		"nfs://server:99999/p",
		"nfs://server:x/p",
		"nfs://[::1/p",
		"nfs://s/p?version=2",
		"nfs://s/p?version=4.1",
		"nfs://s/p?timeout=0",
		"nfs://s/p?uid=-1",
		"nfs://s/p?uid=root",
		"nfs://s/p?nonsense=1",
	};
	struct vidas_store *s;

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(bad); i++) {
		CU_ASSERT_EQUAL(vidas_store_open(bad[i], NULL, &s), -EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), bad[i]));
	}
}

static void wrong_places(void)
{
	struct vidas_backend_stat st;
	struct vidas_store *s;
	char url[5000];

	if (version == 3)
		snprintf(url, sizeof(url),
			 "nfs://127.0.0.1:" PORT "%s/none?version=3&mountport=23150&timeout=5",
			 server);
	else
		snprintf(url, sizeof(url), "nfs://127.0.0.1:" PORT "/export/none?timeout=5");
	CU_ASSERT_EQUAL(vidas_store_open(url, NULL, &s), 0);
	CU_ASSERT(vidas_store_stat(s, "", &st) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "/none"));
	vidas_store_close(s);
	/* A key's ENOENT is no missing root. */
	s = open_root("timeout=5");
	CU_ASSERT_EQUAL(vidas_store_stat(s, "none", &st), -ENOENT);
	vidas_store_close(s);
}

static void run_all(void)
{
	static void (*const tests[])(void) = { killed_in_put, killed_in_get, killed_in_small_calls,
					       stopped,	      silent,	     grace,
					       other_user,    wrong_places };
	static const char *const names[] = { "put",    "get",	"small calls", "stopped",
					     "silent", "grace", "other user",  "wrong places" };

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(tests); i++) {
		int64_t begin = vidas_now_us();

		tests[i]();
		printf("\n    %s: %.1f s ", names[i], (double)(vidas_now_us() - begin) / 1e6);
	}
}

static void version_3(void)
{
	version = 3;
	run_all();
}

static void version_4(void)
{
	version = 4;
	run("rmdir %s/export/mine", server);
	run_all();
}

int main(void)
{
	static const struct unit_case cases[] = { { "bad-urls", bad_urls },
						  { "version-3", version_3 },
						  { "version-4", version_4 } };
	const char *src = getenv("VIDAS_SRC"), *build = getenv("VIDAS_BUILD"),
		   *tmp = getenv("VIDAS_TMP");
	char path[5000];
	int failed;

	if (!src || !build || !tmp) {
		printf("run it by ./check backend/nfs_restart\n");
		return 77;
	}
	snprintf(path, sizeof(path), "%s/lib/vidas/backends", build);
	setenv("VIDAS_BACKEND_DIR", path, 1);
	snprintf(ganesha, sizeof(ganesha), "%s/tests/servers/ganesha", src);
	snprintf(server, sizeof(server), "%s/server", tmp);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (run("%s missing", ganesha) == 0)
		return 77;
	vidas_log_init("nfs_restart", VIDAS_LOG_ERR);
	server_start();
	failed = unit_run("nfs", cases, VIDAS_ARRAY_SIZE(cases));
	run("%s stop %s", ganesha, server);
	return failed;
}
