/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * churn DIR NAME SECONDS: does to names, files and locks in DIR what must not fail and must not be done
 * twice, for that long, under names that begin with NAME; prints how many rounds it made, or what
 * failed. In each round it adds 1 to the number in DIR/counter, under a lock, and a line to DIR/log.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static const char *name;
static int counter, logfile;
static long rounds;

#define MUST(call)                                                                            \
	do {                                                                                  \
		if ((call) < 0) {                                                             \
			printf("round %ld: %s: %s\n", rounds, #call, strerrorname_np(errno)); \
			exit(1);                                                              \
		}                                                                             \
	} while (0)

static void names(void)
{
	char dir[64], file[96], other[96], text[16] = "";
	int fd;

	snprintf(dir, sizeof(dir), "%s-dir", name);
	snprintf(file, sizeof(file), "%s/file", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	MUST(mkdir(dir, 0755));
	MUST(fd = open(file, O_RDWR | O_CREAT | O_EXCL, 0644));
	MUST(write(fd, "content", 7));
	MUST(link(file, other));
	MUST(renameat2(AT_FDCWD, file, AT_FDCWD, other, RENAME_EXCHANGE));
	MUST(unlink(other));
	MUST(rename(file, other));
	MUST(setxattr(other, "user.churn", "x", 1, XATTR_CREATE));
	MUST(removexattr(other, "user.churn"));
	MUST(symlink("nowhere", file));
	MUST(unlink(file));
	MUST(unlink(other));
	MUST(rmdir(dir));
	MUST(pread(fd, text, 7, 0));
	if (strcmp(text, "content") != 0) {
		printf("round %ld: an open file has '%s'\n", rounds, text);
		exit(1);
	}
	MUST(close(fd));
}

static void count(void)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char text[32] = "";

	MUST(flock(counter, LOCK_EX));
	MUST(fcntl(counter, F_SETLKW, &l));
	MUST(pread(counter, text, sizeof(text) - 1, 0));
	snprintf(text, sizeof(text), "%ld", atol(text) + 1);
	MUST(pwrite(counter, text, strlen(text), 0));
	l.l_type = F_UNLCK;
	MUST(fcntl(counter, F_SETLK, &l));
	MUST(flock(counter, LOCK_UN));
}

static void append(void)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%s %ld\n", name, rounds);

	MUST(write(logfile, line, (size_t)n));
}

int main(int argc, char **argv)
{
	time_t end;

	if (argc != 4 || chdir(argv[1]) < 0) {
		fprintf(stderr, "usage: churn DIR NAME SECONDS\n");
		return 2;
	}
	name = argv[2];
	end = time(NULL) + atoi(argv[3]);
	MUST(counter = open("counter", O_RDWR | O_CREAT, 0644));
	MUST(logfile = open("log", O_WRONLY | O_APPEND | O_CREAT, 0644));
	while (time(NULL) < end) {
		names();
		count();
		append();
		rounds++;
	}
	printf("%ld\n", rounds);
	return 0;
}
