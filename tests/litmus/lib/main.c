/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * litmus --list                 every test: its tag, where it holds, what it says
 * litmus MODE SECONDS DIR...    runs those that hold in MODE (strict, strict-not, relaxed, relaxed-not; "not" is:
 *                               not all domains in passthrough) in the directories, one a domain, whose mounts
 *                               have that relaxed_timeout. Prints a line for each; stops at one that fails.
 *                               $LITMUS_ONLY: the tag of the only one to run.
 */
#include "litmus.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

#define TEST_SECONDS 60

static const char *const modes[] = { "strict", "strict-not", "relaxed", "relaxed-not" };
static const struct litmus *const lists[] = { names_tests, attr_tests, data_tests, map_tests,
					      relaxed_tests };
unsigned mode, domains, relaxed_seconds;
const char *dir[3];
struct outside *outside;
static const char *tag = "";

void fail(const char *fmt, ...)
{
	va_list args;

	printf("%s FAILED: ", tag);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

const char *in(unsigned d, const char *fmt, ...)
{
	static char paths[8][4096];
	static unsigned next;
	char *path = paths[next++ % 8];
	va_list args;
	int n = snprintf(path, sizeof(paths[0]), "%s/", dir[d]);

	va_start(args, fmt);
	vsnprintf(path + n, sizeof(paths[0]) - (size_t)n, fmt, args);
	va_end(args);
	return path;
}

int must_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0666);

	CHECK(fd >= 0, "open %s: %m", path);
	return fd;
}

const char *new_file(void)
{
	static char name[64];
	static unsigned count;

	snprintf(name, sizeof(name), "%s.%d.%u", tag, getpid(), count++);
	close(must_open(in(0, "%s", name), O_CREAT | O_EXCL | O_RDWR));
	return name;
}

void put(int fd, off_t at, uint64_t value)
{
	CHECK(pwrite(fd, &value, sizeof(value), at) == sizeof(value), "pwrite: %m");
}

uint64_t get(int fd, off_t at)
{
	uint64_t value = 0;

	CHECK(pread(fd, &value, sizeof(value), at) >= 0, "pread: %m");
	return value;
}

int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void meet(void)
{
	unsigned round = outside->round;

	if (atomic_fetch_add(&outside->arrived, 1) + 1 == domains) {
		outside->arrived = 0;
		atomic_fetch_add(&outside->round, 1);
		return;
	}
	while (outside->round == round)
		usleep(0);
}

/* One that failed leaves the others waiting: they end with it. */
void together(void (*each)(unsigned d))
{
	pid_t pid[3];
	int status, bad = 0;

	memset(outside, 0, sizeof(*outside));
	for (unsigned d = 0; d < domains; d++) {
		pid[d] = fork();
		if (!pid[d]) {
			alarm(TEST_SECONDS);
			each(d);
			_exit(0);
		}
	}
	for (unsigned d = 0; d < domains; d++) {
		if (wait(&status) < 0 || !status)
			continue;
		for (unsigned k = 0; !bad && k < domains; k++)
			kill(pid[k], SIGTERM);
		bad = status;
	}
	CHECK(!bad, "a domain's process ended with status %#x", (unsigned)bad);
}

static int list(void)
{
	for (size_t l = 0; l < sizeof(lists) / sizeof(*lists); l++)
		for (const struct litmus *t = lists[l]; t->tag; t++) {
			printf("%s ", t->tag);
			for (unsigned m = 0; m < 4; m++)
				printf("%s%s", t->where & 1u << m ? modes[m] : "",
				       t->where & 1u << m && t->where >> (m + 1) ? "," : "");
			printf(" %s\n", t->what);
		}
	return 0;
}

int main(int argc, char **argv)
{
	const char *only = getenv("LITMUS_ONLY");
	unsigned m = 0;

	if (argc == 2 && !strcmp(argv[1], "--list"))
		return list();
	while (argc > 1 && m < 4 && strcmp(argv[1], modes[m]) != 0)
		m++;
	mode = 1u << m;
	if (m == 4 || argc < 5 || argc > 6) {
		fprintf(stderr, "usage: litmus MODE SECONDS DIR DIR [DIR]\n");
		return 2;
	}
	relaxed_seconds = (unsigned)atoi(argv[2]);
	domains = (unsigned)argc - 3;
	for (unsigned d = 0; d < domains; d++)
		dir[d] = argv[3 + d];
	outside = mmap(NULL, sizeof(*outside), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	for (size_t l = 0; l < sizeof(lists) / sizeof(*lists); l++)
		for (const struct litmus *t = lists[l]; t->tag; t++) {
			int64_t start = now_us();

			if (!(t->where & mode) || (only && strcmp(only, t->tag) != 0))
				continue;
			tag = t->tag;
			alarm(TEST_SECONDS);
			t->run();
			printf("%s %s, %u domains: %s (%d ms)\n", t->tag, modes[m], domains,
			       t->what, (int)((now_us() - start) / 1000));
			fflush(stdout);
		}
	return 0;
}
