/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pool/base: names, reasons, the log's lines, time, futexes over processes, whole files. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "pool/base/base.h"
#include "unit.h"

static bool name_ok(const char *name)
{
	return vidas_name_ok(name, strlen(name));
}

static bool path_ok(const char *path)
{
	return vidas_path_ok(path, strlen(path));
}

static void test_names(void)
{
	char longest[257];

	memset(longest, 'n', sizeof(longest));
	CU_ASSERT(vidas_name_ok(longest, 255));
	CU_ASSERT(!vidas_name_ok(longest, 256));
	CU_ASSERT(name_ok("a") && name_ok("...") && name_ok(".hidden") && name_ok("a b~\xc3\xa4"));
	CU_ASSERT(!name_ok("") && !name_ok(".") && !name_ok("..") && !name_ok("a/b"));
	CU_ASSERT(!name_ok("a\n") && !name_ok("\x1f") && !name_ok("a\x7f"));
	CU_ASSERT(!vidas_name_ok("a\0b", 3));
}

static void test_numbers(void)
{
	static const char *const none[] = { "",
					    "x",
					    "1x",
					    "-1",
					    "+1",
					    " 1",
					    "1 ",
					    "0x1",
					    "101",
					    "4294967396",
					    "18446744073709551716" };
	uint32_t n = 7;

	CU_ASSERT(vidas_number("0", 100, &n) == 0 && n == 0);
	CU_ASSERT(vidas_number("100", 100, &n) == 0 && n == 100);
	CU_ASSERT(vidas_number("4294967295", UINT32_MAX, &n) == 0 && n == UINT32_MAX);
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(none); i++)
		CU_ASSERT_EQUAL(vidas_number(none[i], 100, &n), -EINVAL);
	CU_ASSERT_EQUAL(n, UINT32_MAX);
}

static void test_paths(void)
{
	char longest[4097];

	for (size_t i = 0; i < sizeof(longest); i++)
		longest[i] = i % 2 ? '/' : 'p';
	CU_ASSERT(vidas_path_ok(longest, 4095));
	CU_ASSERT(!vidas_path_ok(longest, 4097));
	CU_ASSERT(!vidas_path_ok(longest, 4094)); /* ends in '/' */
	memset(longest, 'p', sizeof(longest));
	CU_ASSERT(vidas_path_ok(longest, 255) && !vidas_path_ok(longest, 256));
	longest[300] = '/';
	CU_ASSERT(!vidas_path_ok(longest, 310));

	CU_ASSERT(path_ok("") && path_ok("a") && path_ok("a/b/c") && path_ok("a/.b/..c"));
	CU_ASSERT(path_ok("a\nb") && path_ok("\x7f/\x01"));
	CU_ASSERT(!path_ok("/") && !path_ok("/a") && !path_ok("a/") && !path_ok("a//b"));
	CU_ASSERT(!path_ok(".") && !path_ok("..") && !path_ok("a/..") && !path_ok("../a"));
	CU_ASSERT(!path_ok("a/./b") && !path_ok("a/../b"));
	CU_ASSERT(!vidas_path_ok("a\0b", 3));
}

static void *other_thread(void *arg)
{
	(void)arg;
	CU_ASSERT_STRING_EQUAL(vidas_fail_text(), "");
	vidas_fail(-EIO, "of the other thread");
	return NULL;
}

static void test_fail(void)
{
	char longest[4096];
	pthread_t thread;

	vidas_fail_clear();
	CU_ASSERT_STRING_EQUAL(vidas_fail_text(), "");
	errno = ENOSPC;
	CU_ASSERT_EQUAL(vidas_fail(-EINVAL, "quota '%s' is not a size", "x"), -EINVAL);
	CU_ASSERT_EQUAL(errno, ENOSPC);
	CU_ASSERT_STRING_EQUAL(vidas_fail_text(), "quota 'x' is not a size");
	vidas_fail(-EINVAL, "in line %d: %s", 3, vidas_fail_text());
	CU_ASSERT_STRING_EQUAL(vidas_fail_text(), "in line 3: quota 'x' is not a size");

	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, other_thread, NULL), 0);
	pthread_join(thread, NULL);
	CU_ASSERT_STRING_EQUAL(vidas_fail_text(), "in line 3: quota 'x' is not a size");

	memset(longest, 'w', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	vidas_fail(-EIO, "%s", longest);
	CU_ASSERT(strlen(vidas_fail_text()) > 500);
	CU_ASSERT(strlen(vidas_fail_text()) < sizeof(longest) - 1);
	vidas_fail_clear();
	CU_ASSERT_STRING_EQUAL(vidas_fail_text(), "");
}

/* Runs `say` with stderr a file (which is called the journal, if asked for); what it then has. */
static void logged(void (*say)(void), bool journal, char *out, size_t size)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	int saved = dup(STDERR_FILENO);
	char stream[64];
	struct stat st = { .st_ino = 0 };
	ssize_t n;

	CU_ASSERT_FATAL(fd >= 0 && saved >= 0 && fstat(fd, &st) == 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino + (journal ? 0 : 1));
	setenv("JOURNAL_STREAM", stream, 1);
	fflush(stderr);
	dup2(fd, STDERR_FILENO);
	say();
	dup2(saved, STDERR_FILENO);
	unsetenv("JOURNAL_STREAM");
	n = pread(fd, out, size - 1, 0);
	out[n > 0 ? n : 0] = '\0';
	close(saved);
	close(fd);
}

static void say_lines(void)
{
	vidas_log_init("tester", VIDAS_LOG_NOTICE);
	vidas_log(VIDAS_LOG_ERR, "one %d", 1);
	vidas_log(VIDAS_LOG_NOTICE, "two\n<0>not a line\x1b");
	vidas_log(VIDAS_LOG_INFO, "three");
	errno = ENOENT;
	vidas_log(VIDAS_LOG_ERR, "%m");
	CU_ASSERT_EQUAL(errno, ENOENT);
}

static void say_too_much(void)
{
	char longest[8192];

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	vidas_log_init("tester", VIDAS_LOG_NOTICE);
	vidas_log(VIDAS_LOG_ERR, "%s", longest);
}

static void test_log(void)
{
	char out[16384];
	size_t n;

	CU_ASSERT_EQUAL(VIDAS_LOG_ERR, LOG_ERR);
	CU_ASSERT_EQUAL(VIDAS_LOG_DEBUG, LOG_DEBUG);
	logged(say_lines, false, out, sizeof(out));
	CU_ASSERT_STRING_EQUAL(out, "tester: one 1\ntester: two <0>not a line \n"
				    "tester: No such file or directory\n");
	logged(say_lines, true, out, sizeof(out));
	CU_ASSERT_STRING_EQUAL(out, "<3>tester: one 1\n<5>tester: two <0>not a line \n"
				    "<3>tester: No such file or directory\n");
	logged(say_too_much, false, out, sizeof(out));
	n = strlen(out);
	CU_ASSERT(n > 1000 && n < 8192 && strcmp(out + n - 4, "...\n") == 0);
	vidas_log_init("base", VIDAS_LOG_INFO);
}

static void test_time(void)
{
	int64_t now = vidas_now_us();
	int64_t deadline = vidas_deadline_us(1000000);

	CU_ASSERT(deadline >= now + 1000000 && deadline < now + 2000000);
	CU_ASSERT(vidas_remaining_us(deadline) > 0 && vidas_remaining_us(deadline) <= 1000000);
	CU_ASSERT_EQUAL(vidas_remaining_us(now - 1), 0);
	CU_ASSERT_EQUAL(vidas_deadline_us(-1), -1);
	CU_ASSERT_EQUAL(vidas_deadline_us(INT64_MAX), -1); /* later than time itself: never */
	CU_ASSERT_EQUAL(vidas_remaining_us(-1), -1);
}

static void test_futex_timeout(void)
{
	_Atomic uint32_t word = 7;
	int64_t begin = vidas_now_us(), took;

	CU_ASSERT_EQUAL(vidas_futex_wait(&word, 8, -1), 0);
	CU_ASSERT_EQUAL(vidas_futex_wait(&word, 7, begin - 1), -ETIMEDOUT);
	CU_ASSERT_EQUAL(vidas_futex_wait(&word, 7, begin + 30000), -ETIMEDOUT);
	took = vidas_now_us() - begin;
	CU_ASSERT(took >= 30000 && took < 5000000);
}

/* The word is in shared memory mapped at two addresses: a private futex would never be woken. */
static void test_futex_shared(void)
{
	int fd = memfd_create("futex", MFD_CLOEXEC);
	_Atomic uint32_t *here, *there;
	int status = -1;
	pid_t child;

	CU_ASSERT_FATAL(fd >= 0 && ftruncate(fd, 4096) == 0);
	here = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	there = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CU_ASSERT_FATAL(here != MAP_FAILED && there != MAP_FAILED && here != there);
	child = fork();
	if (child == 0) {
		int64_t deadline = vidas_deadline_us(10000000);
		int err = 0;

		atomic_store_explicit(there + 1, 1, memory_order_release);
		while (!err && !atomic_load_explicit(there, memory_order_acquire))
			err = vidas_futex_wait(there, 0, deadline);
		_exit(err ? 1 : 0);
	}
	while (!atomic_load_explicit(here + 1, memory_order_acquire))
		usleep(100);
	usleep(10000);
	atomic_store_explicit(here, 1, memory_order_release);
	vidas_futex_wake(here, 1);
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	CU_ASSERT_EQUAL(status, 0);
	munmap((void *)here, 4096);
	munmap((void *)there, 4096);
	close(fd);
}

static void test_transfers(void)
{
	int fd = memfd_create("data", MFD_CLOEXEC);
	char buf[16];

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(vidas_pwrite_all(fd, "0123456789", 10, 5), 0);
	CU_ASSERT_EQUAL(vidas_pread_all(fd, buf, 10, 5), 10);
	CU_ASSERT_EQUAL(memcmp(buf, "0123456789", 10), 0);
	CU_ASSERT_EQUAL(vidas_pread_all(fd, buf, sizeof(buf), 12), 3);
	CU_ASSERT_EQUAL(vidas_pread_all(fd, buf, sizeof(buf), 100), 0);
	CU_ASSERT_EQUAL(vidas_pread_all(fd, buf, 1, UINT64_MAX), -EINVAL);
	CU_ASSERT_EQUAL(vidas_pwrite_all(fd, buf, 1, INT64_MAX), -EINVAL);
	close(fd);
	CU_ASSERT_EQUAL(vidas_pread_all(-1, buf, 1, 0), -EBADF);
}

static char scratch[] = "/tmp/vidas-base-XXXXXX";

static void *replace_often(void *arg)
{
	int dir = open(scratch, O_RDONLY | O_DIRECTORY);
	char text[3000];

	memset(text, *(const char *)arg, sizeof(text));
	for (int i = 0; i < 100; i++)
		if (vidas_file_replace(dir, "shared", text, sizeof(text)) != 0)
			CU_FAIL("a replace among others failed");
	close(dir);
	return NULL;
}

/* Four threads replace one file: it is always one text as a whole, and nothing is left over. */
static void replace_in_parallel(int dir)
{
	pthread_t threads[4];
	size_t size;
	char *text;

	CU_ASSERT_EQUAL_FATAL(vidas_file_replace(dir, "shared", "x", 1), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, replace_often, (void *)(uintptr_t) & "abcd"[i]);
	for (int i = 0; i < 100; i++) {
		CU_ASSERT_EQUAL_FATAL(vidas_file_read(dir, "shared", 4096, &text, &size), 0);
		CU_ASSERT(size == 1 || size == 3000);
		for (size_t at = 1; at < size; at++)
			if (text[at] != text[0])
				CU_FAIL("texts are mixed");
		free(text);
	}
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CU_ASSERT_EQUAL(faccessat(dir, ".shared.new", F_OK, 0), -1);
	unlinkat(dir, "shared", 0);
}

static void test_files(void)
{
	size_t size = 99;
	char *text = NULL;
	struct stat st;
	int dir, fd;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(scratch));
	dir = open(scratch, O_PATH | O_DIRECTORY);
	CU_ASSERT_FATAL(dir >= 0);
	/* What a killed process left behind does no harm. */
	fd = openat(dir, ".meta.new", O_WRONLY | O_CREAT, 0600);
	CU_ASSERT_EQUAL(write(fd, "left from long ago", 18), 18);
	close(fd);
	CU_ASSERT_EQUAL(vidas_file_replace(dir, "meta", "first", 5), 0);
	CU_ASSERT_EQUAL(vidas_file_replace(dir, "meta", "2nd", 3), 0);
	CU_ASSERT_EQUAL(fstatat(dir, "meta", &st, 0), 0);
	CU_ASSERT_EQUAL(st.st_mode & 07777, 0600);
	CU_ASSERT_EQUAL(faccessat(dir, ".meta.new", F_OK, 0), -1);
	CU_ASSERT_EQUAL_FATAL(vidas_file_read(dir, "meta", 3, &text, &size), 0);
	CU_ASSERT_EQUAL(size, 3);
	CU_ASSERT_STRING_EQUAL(text, "2nd");
	free(text);

	vidas_fail_clear();
	CU_ASSERT_EQUAL(vidas_file_read(dir, "meta", 2, &text, &size), -EFBIG);
	CU_ASSERT_PTR_NOT_NULL(strstr(vidas_fail_text(), "longer than 2 bytes"));
	CU_ASSERT_EQUAL(vidas_file_read(dir, "none", 2, &text, &size), -ENOENT);
	CU_ASSERT_EQUAL(vidas_file_read(dir, ".", 2, &text, &size), -EISDIR);
	CU_ASSERT_EQUAL(mkfifoat(dir, "fifo", 0600), 0);
	CU_ASSERT_EQUAL(vidas_file_read(dir, "fifo", 2, &text, &size), -EINVAL);
	CU_ASSERT_EQUAL(vidas_file_replace(dir, "a/b", "", 0), -EINVAL);
	CU_ASSERT_EQUAL(vidas_file_replace(dir, "..", "", 0), -EINVAL);
	CU_ASSERT_EQUAL(vidas_file_replace(-1, "x", "", 0), -EBADF);
	/* A file without a size of its own, longer than one read. */
	CU_ASSERT_EQUAL_FATAL(vidas_file_read(AT_FDCWD, "/proc/self/smaps", 1 << 22, &text, &size),
			      0);
	CU_ASSERT(size > 4096 && strlen(text) == size);
	free(text);

	replace_in_parallel(dir);
	unlinkat(dir, "fifo", 0);
	unlinkat(dir, "meta", 0);
	close(dir);
	CU_ASSERT_EQUAL(rmdir(scratch), 0);
}

UNIT_MAIN("base", { "names", test_names }, { "numbers", test_numbers }, { "paths", test_paths },
	  { "fail", test_fail }, { "log", test_log }, { "time", test_time },
	  { "futex timeout", test_futex_timeout }, { "futex shared", test_futex_shared },
	  { "transfers", test_transfers }, { "files", test_files })
