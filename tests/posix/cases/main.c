/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* posix-cases: chooses cases, gives each a directory and a process, and says which failed. */
#include "cases.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define CASE_SECONDS 60

static const struct posix_group *const groups[] = { &posix_names, &posix_open,	&posix_data,
						    &posix_attr,  &posix_perms, &posix_dirs,
						    &posix_xattr, &posix_races };

int here, there;
bool apart;
static const char *current = "?";

void posix_failed(const char *file, int line, const char *what, const char *fmt, ...)
{
	const char *slash = strrchr(file, '/');
	char text[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	printf("FAILED %s at %s:%d: %s: %s\n", current, slash ? slash + 1 : file, line, what, text);
	fflush(stdout);
	_exit(1);
}

long long posix_ok(const char *file, int line, const char *what, long long value)
{
	if (value < 0)
		posix_failed(file, line, what, "%s", strerrorname_np(errno));
	return value;
}

static int directory(const char *top, const char *name, bool make)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	if (make && mkdir(path, 0755) < 0) {
		perror(path);
		exit(2);
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		perror(path);
		exit(2);
	}
	return fd;
}

static bool run(const struct posix_case *c, const char *one, const char *other)
{
	int status;
	pid_t pid;

	current = c->name;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		alarm(CASE_SECONDS);
		umask(022);
		here = directory(one, c->name, true);
		there = directory(other, c->name, false);
		if (fchdir(here) < 0)
			_exit(2);
		c->run();
		fflush(stdout);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0) {
		perror("fork");
		exit(2);
	}
	kill(-pid, SIGKILL); /* what a failed case has left running */
	if (WIFSIGNALED(status))
		printf("FAILED %s: ended by signal %d (%s)\n", c->name, WTERMSIG(status),
		       strsignal(WTERMSIG(status)));
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

static int usage(void)
{
	fprintf(stderr, "usage: posix-cases [-k] GROUP[/CASE] HERE [THERE]\ngroups:");
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		fprintf(stderr, " %s", groups[i]->name);
	fprintf(stderr, "\n");
	return 2;
}

int main(int argc, char **argv)
{
	const struct posix_group *g = NULL;
	unsigned passed = 0, failed = 0, left = 0;
	bool one_cache = true;
	char *one;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && !strcmp(argv[1], "-k")) {
		one_cache = false;
		argv++;
		argc--;
	}
	if (argc < 3 || argc > 4)
		return usage();
	one = strchr(argv[1], '/');
	if (one)
		*one++ = 0;
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (!strcmp(groups[i]->name, argv[1]))
			g = groups[i];
	if (!g)
		return usage();
	apart = argc > 3;
	for (const struct posix_case *c = g->cases; c->name; c++) {
		if (one && strcmp(one, c->name) != 0)
			continue;
		if (c->one_cache && !one_cache)
			left++;
		else if (run(c, argv[2], argv[apart ? 3 : 2]))
			passed++;
		else
			failed++;
	}
	printf("%s: %u passed, %u failed, %u left out\n", g->name, passed, failed, left);
	return failed || !(passed + left) ? 1 : 0;
}
