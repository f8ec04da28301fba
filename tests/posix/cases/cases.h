/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * posix-cases: what a program expects of a file system, as small cases in groups.
 *
 *	posix-cases [-k] GROUP[/CASE] HERE [THERE]
 *
 * runs the cases of a group, each in a process of its own, in an empty directory made below HERE, which is
 * its working directory. THERE is the same directory by another mount: on a plain file system none is
 * given, and it is HERE once more. A case changes on one side and looks at the other; so the same lines
 * say what one domain and what two may expect. -k: cases that need both to have one page cache are left
 * out. Exit status 0: all that ran held; the lines on stdout say which.
 *
 * A case ends at its first expectation that does not hold, with a line that has the place, the
 * expression and the errno.
 */
#ifndef VIDAS_TESTS_POSIX_CASES_H
#define VIDAS_TESTS_POSIX_CASES_H

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

struct posix_case {
	const char *name;
	void (*run)(void);
	bool one_cache; /* needs HERE and THERE to have one page cache */
};

struct posix_group {
	const char *name;
	const struct posix_case *cases; /* ends with one without a name */
};

extern const struct posix_group posix_names, posix_open, posix_data, posix_attr, posix_perms,
	posix_dirs, posix_xattr, posix_races;

/* The case's directory by both sides, for *at(2) calls; here is also the working directory. */
extern int here, there;
extern bool apart; /* they are different mounts */

_Noreturn void posix_failed(const char *file, int line, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* It succeeds; the value is what the call returned. */
#define OK(call) \
	({ (__typeof__(call))posix_ok(__FILE__, __LINE__, #call, (errno = 0, (long long)(call))); })
long long posix_ok(const char *file, int line, const char *what, long long value);

/* It fails, with that errno. */
#define ERR(number, call)                                                                   \
	do {                                                                                \
		errno = 0;                                                                  \
		long long value_ = (long long)(call);                                       \
		if (value_ >= 0)                                                            \
			posix_failed(__FILE__, __LINE__, #call, "%lld instead of " #number, \
				     value_);                                               \
		if (errno != (number))                                                      \
			posix_failed(__FILE__, __LINE__, #call, "%s instead of " #number,   \
				     strerrorname_np(errno));                               \
	} while (0)

#define SAME(want, expr)                                                                          \
	do {                                                                                      \
		long long want_ = (long long)(want), got_ = (long long)(expr);                    \
		if (want_ != got_)                                                                \
			posix_failed(__FILE__, __LINE__, #expr,                                   \
				     "%lld (0%llo) instead of %lld (0%llo)", got_,                \
				     (unsigned long long)got_, want_, (unsigned long long)want_); \
	} while (0)

#define YES(expr)                                                                 \
	do {                                                                      \
		if (!(expr))                                                      \
			posix_failed(__FILE__, __LINE__, #expr, "does not hold"); \
	} while (0)

/* Makes a file with that text; overwrites one that is there. */
void put(int dir, const char *name, const char *text);
/* The file is there and has exactly that text. */
#define HAS(dir, name, text) posix_has(__FILE__, __LINE__, dir, name, text)
void posix_has(const char *file, int line, int dir, const char *name, const char *text);
/* The open file has that text at that offset. */
#define READS(fd, offset, text) posix_reads(__FILE__, __LINE__, fd, offset, text)
void posix_reads(const char *file, int line, int fd, off_t offset, const char *text);

struct stat stat_of(int dir, const char *name); /* of the link itself; fails the case */
struct stat stat_fd(int fd);
bool exists(int dir, const char *name);
const char *repeated(char c, size_t count); /* a string of `count` times c; it stays */

/*
 * Processes. child(): 1 in a new one, which ends by done(); 0 in the parent once it has ended well. as(): the
 * same with that uid and gid and those groups, and no capabilities. start(), join(): side by side.
 */
int child(void);
int as(uid_t uid, gid_t gid, size_t count, const gid_t *groups);
_Noreturn void done(void);
pid_t start(void); /* 0 in the new one */
void join(pid_t pid);
/* Waits until `count` processes are here, at that word of shared() memory. */
void meet(_Atomic int *word, int count);
_Atomic int *shared(void); /* some zeroed words that children share */

#endif
