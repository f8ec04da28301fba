/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vidas-presets: release asan
 *
 * What only the file backend promises: nothing outside the root is reached, crashes, lost memory.
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/file/beneath.h"
#include "backends/store.h"
#include "pool/base/base.h"
#include "pool/base/map.h"
#include "unit.h"

static char top[PATH_MAX], root[PATH_MAX + 8];
static struct vidas_store *store;

static const char *in_root(const char *name)
{
	static char path[4][PATH_MAX * 2];
	static unsigned next;
	char *to = path[next++ % 4];

	snprintf(to, sizeof(path[0]), "%s/%s", root, name);
	return to;
}

static int put_bytes(const char *key, void *buf, size_t size)
{
	struct iovec iov = { .iov_base = buf, .iov_len = size };
	struct vidas_backend_put put = { .iov = &iov, .iovcnt = 1, .size_bytes = size };

	return vidas_store_put(store, key, &put, NULL);
}

static int put(const char *key, const char *text)
{
	return put_bytes(key, (void *)(uintptr_t)text, strlen(text));
}

static ssize_t get(const char *key, void *buf, size_t size)
{
	struct iovec iov = { .iov_base = buf, .iov_len = size };

	return vidas_store_get(store, key, 0, &iov, 1, NULL, NULL);
}

static void host_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static bool host_holds(const char *path, const char *text)
{
	char buf[256];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)strlen(text) && memcmp(buf, text, (size_t)n) == 0;
}

static int count_each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	(void)name;
	(void)st;
	++*(int *)arg;
	return 0;
}

static int entries(const char *key)
{
	int n = 0, err = vidas_store_list(store, key, count_each, &n);

	return err ? err : n;
}

static void test_planted_links(void)
{
	char outside[PATH_MAX + 16], buf[16];

	snprintf(outside, sizeof(outside), "%s/outside", top);
	CU_ASSERT_EQUAL(mkdir(outside, 0755), 0);
	CU_ASSERT_EQUAL(symlink(outside, in_root("way")), 0);
	strcat(outside, "/secret");
	host_write(outside, "secret");
	CU_ASSERT_EQUAL(symlink(outside, in_root("file")), 0);

	CU_ASSERT_EQUAL(get("way/secret", buf, sizeof(buf)), -ENOTDIR);
	CU_ASSERT_EQUAL(put("way/secret", "mine"), -ENOTDIR);
	CU_ASSERT_EQUAL(put("way/new", "mine"), -ENOTDIR);
	CU_ASSERT_EQUAL(put("way/a/b", "mine"), -ENOTDIR);
	CU_ASSERT_EQUAL(vidas_store_remove(store, "way/secret", NULL), -ENOTDIR);
	CU_ASSERT_EQUAL(vidas_store_mkdir(store, "way/dir", NULL), -ENOTDIR);
	CU_ASSERT_EQUAL(vidas_store_rmdir(store, "way"), -ENOTDIR);
	CU_ASSERT_EQUAL(vidas_store_rename(store, "way/secret", "got"), -ENOTDIR);
	CU_ASSERT_EQUAL(vidas_store_symlink(store, "way/link", "x"), -ENOTDIR);
	CU_ASSERT_EQUAL(entries("way"), -ENOTDIR);
	CU_ASSERT_EQUAL(get("file", buf, sizeof(buf)), -EINVAL);
	CU_ASSERT_EQUAL(put("file", "mine"), 0); /* replaces the link */
	CU_ASSERT(host_holds(in_root("file"), "mine"));
	CU_ASSERT(host_holds(outside, "secret"));
}

static void test_other_kinds(void)
{
	struct vidas_backend_stat st;
	char buf[16];

	CU_ASSERT_EQUAL(mkdir(in_root("kinds"), 0755), 0);
	CU_ASSERT_EQUAL(mkfifo(in_root("kinds/fifo"), 0644), 0);
	CU_ASSERT_EQUAL(get("kinds/fifo", buf, sizeof(buf)), -EINVAL); /* and does not wait */
	CU_ASSERT_EQUAL(vidas_store_stat(store, "kinds/fifo", &st), -EOPNOTSUPP);
	CU_ASSERT_EQUAL(entries("kinds"), 0);
}

static void test_reserved_names(void)
{
	struct vidas_backend_stat st;

	CU_ASSERT_EQUAL(put(VIDAS_TEMP_PREFIX "x", "text"), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), VIDAS_TEMP_PREFIX));
	CU_ASSERT_EQUAL(put("dir/" VIDAS_TEMP_PREFIX "x/file", "text"), -EINVAL);
	CU_ASSERT_EQUAL(vidas_store_rename(store, "file", VIDAS_TEMP_PREFIX), -EINVAL);
	CU_ASSERT_EQUAL(vidas_store_stat(store, VIDAS_TEMP_PREFIX "x", &st), -ENOENT);
	CU_ASSERT_EQUAL(put(".vidas-other", "text"), 0);
}

static void test_leftovers(void)
{
	const char *name = VIDAS_TEMP_PREFIX "0123456789abcdef";
	int dir, fd;

	CU_ASSERT_EQUAL(put("left/file", "text"), 0);
	dir = open(in_root("left"), O_RDONLY | O_DIRECTORY);
	fd = openat(dir, name, O_RDWR | O_CREAT, 0600);
	CU_ASSERT_FATAL(dir >= 0 && fd >= 0);
	CU_ASSERT_EQUAL(flock(fd, LOCK_EX), 0);
	CU_ASSERT_EQUAL(entries("left"), 1);
	vidas_temp_sweep(dir, name, 0); /* somebody writes it */
	CU_ASSERT_EQUAL(faccessat(dir, name, F_OK, 0), 0);
	close(fd);
	vidas_temp_sweep(dir, name, 3600); /* too young */
	CU_ASSERT_EQUAL(faccessat(dir, name, F_OK, 0), 0);
	CU_ASSERT_EQUAL(vidas_store_remove(store, "left/file", NULL), 0);
	CU_ASSERT_EQUAL(entries("left"), 0);
	CU_ASSERT_EQUAL(symlinkat("x", dir, VIDAS_TEMP_PREFIX "link"), 0);
	/* What nobody sees does not keep an empty directory from going, once it is not new. */
	CU_ASSERT_EQUAL(vidas_store_rmdir(store, "left"), -ENOTEMPTY);
	usleep(3000 * 1000);
	CU_ASSERT_EQUAL(vidas_store_rmdir(store, "left"), 0);
	close(dir);
}

/* Content i is i + 1 pages of the letter i. */
static void __attribute__((noreturn)) put_for_ever(void)
{
	char *buf = malloc(26 * 4096);

	for (unsigned i = 0; buf; i = (i + 1) % 26) {
		memset(buf, 'a' + (int)i, 26 * 4096);
		if (put_bytes("killed/file", buf, (i + 1) * 4096))
			break;
	}
	_exit(1);
}

static void test_kill(void)
{
	char *buf = malloc(27 * 4096);

	CU_ASSERT_PTR_NOT_NULL_FATAL(buf);
	memset(buf, 'a', 4096);
	CU_ASSERT_EQUAL(put_bytes("killed/file", buf, 4096), 0);
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();
		ssize_t n;

		if (!pid)
			put_for_ever();
		usleep(3000 + (useconds_t)i * 711);
		kill(pid, SIGKILL);
		CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
		n = get("killed/file", buf, 27 * 4096);
		CU_ASSERT(n > 0 && n % 4096 == 0);
		CU_ASSERT_EQUAL(buf[0], 'a' + n / 4096 - 1);
		CU_ASSERT(n > 0 && memcmp(buf, buf + 1, (size_t)n - 1) == 0);
		CU_ASSERT_EQUAL(entries("killed"), 1);
		CU_ASSERT_EQUAL(put("killed/other", "x"), 0);
		CU_ASSERT_EQUAL(vidas_store_remove(store, "killed/other", NULL), 0);
	}
	free(buf);
}

/* The pool's file is cut by another domain while its bytes are put. */
static void test_lost_memory(void)
{
	size_t size = 64 * 4096, kept = 10 * 4096;
	int fd = memfd_create("pool", MFD_CLOEXEC);
	struct vidas_map guarded = { 0 };
	char *map, *have = malloc(size + 1);
	struct iovec iov;

	CU_ASSERT_FATAL(fd >= 0 && have && ftruncate(fd, (off_t)size) == 0);
	CU_ASSERT_FATAL(!vidas_map_open(fd, 0, size, PROT_READ, &guarded));
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CU_ASSERT_FATAL(map != MAP_FAILED);
	memset(map, 'x', size);
	CU_ASSERT_EQUAL(ftruncate(fd, (off_t)kept), 0);

	CU_ASSERT_EQUAL(put_bytes("lost", (char *)guarded.ptr + 5, size - 10), 0);
	CU_ASSERT(vidas_map_cut(&guarded));
	vidas_map_close(&guarded);
	CU_ASSERT_EQUAL(get("lost", have, size + 1), (ssize_t)size - 10);
	CU_ASSERT(have[0] == 'x' && memcmp(have, have + 1, kept - 6) == 0);
	CU_ASSERT(have[kept - 5] == 0 &&
		  memcmp(have + kept - 5, have + kept - 4, size - 10 - kept + 4) == 0);

	/* In place, over bytes that are not zeros. */
	memset(have, 'y', size);
	CU_ASSERT_EQUAL(put_bytes("lost", have, size), 0);
	iov = (struct iovec){ .iov_base = map, .iov_len = size };
	CU_ASSERT_EQUAL(vidas_store_put_range(store, "lost", 0, &iov, 1, NULL), (ssize_t)size);
	CU_ASSERT_EQUAL(get("lost", have, size), (ssize_t)size);
	CU_ASSERT(have[kept - 1] == 'x' && have[kept] == 0 && have[size - 1] == 0);
	/* Read into: an error, and nobody dies. */
	CU_ASSERT_EQUAL(get("lost", map, size), -EFAULT);
	munmap(map, size);
	close(fd);
	free(have);
}

/* Of what is mostly zeros the store keeps what there is. */
static void test_holes(void)
{
	size_t size = (8u << 20) + 77;
	char *bytes = calloc(1, size), *have = malloc(size);
	struct stat st;

	CU_ASSERT_FATAL(bytes && have);
	memset(bytes + 3000000, 'x', 100000);
	CU_ASSERT_EQUAL(put_bytes("sparse", bytes, size), 0);
	CU_ASSERT_EQUAL(get("sparse", have, size), (ssize_t)size);
	CU_ASSERT(memcmp(bytes, have, size) == 0);
	CU_ASSERT_EQUAL(stat(in_root("sparse"), &st), 0);
	CU_ASSERT(st.st_size == (off_t)size && st.st_blocks * 512 < 1 << 20);
	/* Over one that had other bytes there. */
	memset(have, 'y', size);
	CU_ASSERT_EQUAL(put_bytes("sparse", have, size), 0);
	CU_ASSERT_EQUAL(put_bytes("sparse", bytes, size), 0);
	CU_ASSERT_EQUAL(get("sparse", have, size), (ssize_t)size);
	CU_ASSERT(memcmp(bytes, have, size) == 0);
	free(bytes);
	free(have);
}

/* Large, aligned, and in no cache: such reads go past it. */
static void test_uncached(void)
{
	const size_t size = (3u << 20) + 4096 + 123;
	char *want = malloc(size),
	     *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct iovec iov = { .iov_base = page, .iov_len = size };
	int fd;

	CU_ASSERT_FATAL(want && page != MAP_FAILED);
	for (size_t i = 0; i < size; i++)
		want[i] = (char)(i * 2654435761u >> 13);
	CU_ASSERT_EQUAL_FATAL(put_bytes("uncached", want, size), 0);
	fd = open(in_root("uncached"), O_RDONLY);
	for (int i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
		memset(page, 0, size);
		CU_ASSERT_EQUAL(get("uncached", page, size), (ssize_t)size);
		CU_ASSERT(memcmp(want, page, size) == 0);
		/* And beyond the end, from within. */
		memset(page, 0, size);
		CU_ASSERT_EQUAL(vidas_store_get(store, "uncached", 4096, &iov, 1, NULL, NULL),
				(ssize_t)size - 4096);
		CU_ASSERT(memcmp(want + 4096, page, size - 4096) == 0);
	}
	/* What was just written in place, and is in the cache alone. */
	close(fd);
	fd = open(in_root("uncached"), O_WRONLY);
	CU_ASSERT_EQUAL(pwrite(fd, "new", 3, 2 << 20), 3);
	close(fd);
	CU_ASSERT_EQUAL(get("uncached", page, size), (ssize_t)size);
	CU_ASSERT(memcmp(page + (2 << 20), "new", 3) == 0);
	munmap(page, size);
	free(want);
}

static void test_attributes(void)
{
	struct vidas_backend_stat st, suid = { .valid = VIDAS_BACKEND_MODE, .mode = 06755 };
	struct iovec iov = { .iov_base = (char[]){ "#!" }, .iov_len = 2 };
	struct vidas_backend_put p = { .iov = &iov, .iovcnt = 1, .size_bytes = 2, .attrs = &suid };

	CU_ASSERT_EQUAL(vidas_store_put(store, "suid", &p, NULL), 0);
	CU_ASSERT_EQUAL(vidas_store_stat(store, "suid", &st), 0);
	CU_ASSERT_EQUAL(st.mode, 0755);
	CU_ASSERT_EQUAL(vidas_store_set_attrs(store, "suid", &suid), 0);
	CU_ASSERT_EQUAL(vidas_store_stat(store, "suid", &st), 0);
	CU_ASSERT_EQUAL(st.mode, 0755);
	/* What is not given is as before. */
	CU_ASSERT_EQUAL(chmod(in_root("suid"), 0604), 0);
	CU_ASSERT_EQUAL(put("suid", "new"), 0);
	CU_ASSERT_EQUAL(vidas_store_stat(store, "suid", &st), 0);
	CU_ASSERT_EQUAL(st.mode, 0604);
	/* A put is of a name, not of an inode that others have too. */
	CU_ASSERT_EQUAL(link(in_root("suid"), in_root("other-name")), 0);
	CU_ASSERT_EQUAL(put("suid", "newer"), 0);
	CU_ASSERT(host_holds(in_root("other-name"), "new"));
}

static void test_change_by_others(void)
{
	struct vidas_backend_version version = { 0 };
	struct iovec iov = { .iov_base = (char[]){ "mine" }, .iov_len = 4 };
	struct vidas_backend_put p = { .iov = &iov, .iovcnt = 1, .size_bytes = 4 };

	CU_ASSERT_EQUAL(vidas_store_put(store, "shared", &p, &version), 0);
	usleep(20 * 1000); /* more than a tick of a kernel with coarse time stamps */
	host_write(in_root("shared"), "ours");
	p.expect = &version;
	CU_ASSERT_EQUAL(vidas_store_put(store, "shared", &p, NULL), -ESTALE);
	CU_ASSERT(host_holds(in_root("shared"), "ours"));
	CU_ASSERT_EQUAL(vidas_store_remove(store, "shared", &version), -ESTALE);
	CU_ASSERT_EQUAL(vidas_store_get(store, "shared", 0, &iov, 1, &version, NULL), -ESTALE);
}

static void test_urls(void)
{
	static const struct {
		const char *url;
		int err;
		const char *words;
	} bad[] = {
		{ "file://host/x", -EINVAL, "three slashes" },
		{ "file://", -EINVAL, "three slashes" },
		{ "file:///tmp?make=1", -EINVAL, "no parameter 'make'" },
		{ "file:///tmp?create=yes", -EINVAL, "0 or 1" },
		{ "file:///tmp%", -EINVAL, "%25" },
		{ "file:///none/such", -ENOENT, "?create=1" },
		{ "file:///dev/null", -ENOTDIR, "/dev/null" },
		{ "file:///dev/null/x?create=1", -ENOTDIR, "/dev/null/x" },
	};
	char url[PATH_MAX + 64];
	struct vidas_store *s = NULL;

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(bad); i++) {
		CU_ASSERT_EQUAL(vidas_store_open(bad[i].url, NULL, &s), bad[i].err);
		if (!strstr(vidas_fail_text(), bad[i].words))
			printf("\n    said: %s", vidas_fail_text());
		CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), bad[i].words));
	}
	snprintf(url, sizeof(url), "file://%s/deep/er%%20root?create=1", top);
	CU_ASSERT_EQUAL(vidas_store_open(url, NULL, &s), 0);
	vidas_store_close(s);
	snprintf(url, sizeof(url), "%s/deep/er root", top);
	CU_ASSERT_EQUAL(access(url, F_OK), 0);
}

static void test_full(void)
{
	struct vidas_store *whole = store;
	char dir[PATH_MAX + 16], url[PATH_MAX + 32];
	char *buf = calloc(1, 2 << 20);

	snprintf(dir, sizeof(dir), "%s/small", top);
	snprintf(url, sizeof(url), "file://%s", dir);
	CU_ASSERT_FATAL(buf && mkdir(dir, 0755) == 0);
	memset(buf, 'x', 2 << 20);
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("small", dir, "tmpfs", 0, "size=1m")) {
		printf("not run, mounting needs root ");
		goto out;
	}
	CU_ASSERT_EQUAL_FATAL(vidas_store_open(url, NULL, &store), 0);
	CU_ASSERT_EQUAL(put("file", "old"), 0);
	CU_ASSERT_EQUAL(put_bytes("file", buf, 2 << 20), -ENOSPC);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "write: "));
	strcat(dir, "/file");
	CU_ASSERT(host_holds(dir, "old"));
	*strrchr(dir, '/') = '\0';
	CU_ASSERT_EQUAL(put_bytes("file", buf, 512 << 10), 0); /* what failed left nothing behind */
	vidas_store_close(store);
	CU_ASSERT_EQUAL(umount2(dir, MNT_DETACH), 0);
out:
	store = whole;
	free(buf);
}

static atomic_bool putting;

static void *put_again(void *arg)
{
	const struct iovec *iov = arg;

	for (int i = 0; i < 200 && atomic_load(&putting); i++)
		CU_ASSERT_EQUAL(put_bytes("large", iov->iov_base, iov->iov_len), 0);
	atomic_store(&putting, false);
	return NULL;
}

/* Who looks on sees a put half done. */
static void test_progress(void)
{
	struct iovec iov = { .iov_len = 64u << 20 };
	uint64_t sent, all = 0;
	bool seen = false;
	pthread_t thread;

	iov.iov_base = malloc(iov.iov_len);
	CU_ASSERT_PTR_NOT_NULL_FATAL(iov.iov_base);
	memset(iov.iov_base, 'x', iov.iov_len);
	atomic_store(&putting, true);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, put_again, &iov), 0);
	while (!seen && atomic_load(&putting))
		seen = vidas_store_progress(store, "large", &sent, &all) == 0 && sent && sent < all;
	atomic_store(&putting, false);
	pthread_join(thread, NULL);
	CU_ASSERT_TRUE(seen);
	CU_ASSERT_EQUAL(all, iov.iov_len);
	CU_ASSERT_EQUAL(vidas_store_remove(store, "large", NULL), 0);
	free(iov.iov_base);
}

static int run(void)
{
	static const struct unit_case cases[] = {
		{ "planted links", test_planted_links },
		{ "other kinds", test_other_kinds },
		{ "reserved names", test_reserved_names },
		{ "leftovers", test_leftovers },
		{ "kill", test_kill },
		{ "lost memory", test_lost_memory },
		{ "holes", test_holes },
		{ "uncached", test_uncached },
		{ "attributes", test_attributes },
		{ "change by others", test_change_by_others },
		{ "URLs", test_urls },
		{ "progress", test_progress },
		{ "full", test_full },
	};

	return unit_run("file", cases, VIDAS_ARRAY_SIZE(cases));
}

int main(void)
{
	char url[PATH_MAX + 32], command[PATH_MAX + 16];
	int status;

	snprintf(top, sizeof(top), "%s/file-XXXXXX",
		 getenv("VIDAS_TMP") ? getenv("VIDAS_TMP") : "/tmp");
	if (!mkdtemp(top))
		return 1;
	snprintf(root, sizeof(root), "%s/root", top);
	snprintf(url, sizeof(url), "file://%s?create=1", root);
	if (vidas_store_open(url, NULL, &store)) {
		printf("%s\n", vidas_fail_text());
		return 1;
	}
	status = run();
	vidas_store_close(store);
	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	return system(command) || status;
}
