/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What every other room stands on: log, reasons in words, time, futex, names. Depends on nothing.
 */
#ifndef VIDAS_BASE_H
#define VIDAS_BASE_H

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIDAS_ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define VIDAS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Log: one line a call to stderr, "program: text", with sd-daemon's <N> in front when stderr is the
 * journal ($JOURNAL_STREAM). Levels as in syslog.h; below the threshold nothing is formatted.
 * Control bytes become blanks (names that domains choose are logged); a line is cut at 2 KiB, and
 * ends in "..." then. Before init: the program's own name, threshold INFO. */
enum vidas_log_level {
	VIDAS_LOG_ERR = 3,
	VIDAS_LOG_WARNING = 4,
	VIDAS_LOG_NOTICE = 5,
	VIDAS_LOG_INFO = 6,
	VIDAS_LOG_DEBUG = 7
};
void vidas_log_init(const char *program, int threshold);
void vidas_log_threshold(int threshold); /* any thread, any time */
void vidas_log(int level, const char *fmt, ...) VIDAS_PRINTF(2, 3);

/* This thread's reason, in words, of its last failed call (vidas_error_text() in vidas.h reads it).
 * vidas_fail() sets it and returns `err`, so that a failure is one statement:
 *	return vidas_fail(-EINVAL, "quota '%s' is not a size", value);
 * vidas_fail_text() may be among the arguments. A reason is cut at 1 KiB. */
int vidas_fail(int err, const char *fmt, ...) VIDAS_PRINTF(2, 3);
void vidas_fail_clear(void);
const char *vidas_fail_text(void); /* "" if none */

/* Monotonic microseconds. A deadline is such a time, or VIDAS_FOREVER (-1). */
int64_t vidas_now_us(void);
int64_t vidas_deadline_us(int64_t timeout_us);	 /* now + timeout; negative: never */
int64_t vidas_remaining_us(int64_t deadline_us); /* >= 0, or -1 for never */

/* Futexes on shared memory. Wait: 0 woken or the word was not `expected` (look again), -ETIMEDOUT,
 * -EINTR. */
int vidas_futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_us);
void vidas_futex_wake(_Atomic uint32_t *word, int waiters);
/* From now on words that this process waits for may be changed by other kernels, whose wake-ups do not
 * reach us: it looks at them itself, often at first, every 2 ms at last; `wait` (as vidas_futex_wait(), after that
 * first look) and `wake` are asked before, if they know another way: -ENOSYS they do not. Any thread. */
struct vidas_futex_far {
	int (*wait)(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_us);
	void (*wake)(const _Atomic uint32_t *word);
};
void vidas_futex_apart(const struct vidas_futex_far *far);

/* Is this a container's name: 1..255 bytes, no '/', no control bytes, not "." or ".."? */
bool vidas_name_ok(const char *name, size_t bytes);
/* Is this a path relative to a container: no leading or trailing '/', no empty, "." or ".."
 * component, each component <= 255 bytes, the whole <= 4095? "" (the container) is one. */
bool vidas_path_ok(const char *path, size_t bytes);

/* A whole decimal number, at most `max`, without sign or blanks: 0, -EINVAL. */
int vidas_number(const char *text, uint32_t max, uint32_t *out);

/* Reads or writes all; retries EINTR and short transfers. Reading returns the count (short at the
 * end of the file), writing 0; or -errno. */
#include <sys/types.h>
ssize_t vidas_pread_all(int fd, void *buf, size_t size, uint64_t offset);
int vidas_pwrite_all(int fd, const void *buf, size_t size, uint64_t offset);
/* Replaces `name` in `dir` atomically and durably by `size` bytes, mode 0600 (temporary file
 * ".NAME.new", fsync, rename, fsync of the directory). Any number of writers; what a killed one
 * leaves is used up by the next. */
int vidas_file_replace(int dir, const char *name, const void *data, size_t size);
/* Reads a whole regular file into a new NUL-terminated buffer; -EFBIG over `max` bytes. `size` may
 * be NULL. Both leave words in vidas_fail_text(). */
int vidas_file_read(int dir, const char *name, size_t max, char **out, size_t *size);

#endif
