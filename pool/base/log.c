/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A longer line is cut, and ends in "..." to show it. */
#define LINE_BYTES 2048

static char log_program[64];
static _Atomic int log_threshold = VIDAS_LOG_INFO;
static atomic_bool log_journal;

/* Is stderr the stream that systemd says it connected to the journal (it may be redirected)? */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;
	char *end;

	if (!stream || fstat(STDERR_FILENO, &st) < 0)
		return false;
	dev = strtoull(stream, &end, 10);
	if (*end != ':')
		return false;
	ino = strtoull(end + 1, &end, 10);
	return !*end && dev == st.st_dev && ino == st.st_ino;
}

void vidas_log_init(const char *program, int threshold)
{
	snprintf(log_program, sizeof(log_program), "%s", program);
	atomic_store_explicit(&log_journal, stderr_is_journal(), memory_order_relaxed);
	atomic_store_explicit(&log_threshold, threshold, memory_order_relaxed);
}

void vidas_log_threshold(int threshold)
{
	atomic_store_explicit(&log_threshold, threshold, memory_order_relaxed);
}

/* Names that domains choose reach the log: no text may pass for a second line. */
static void one_line(char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = ' ';
}

void vidas_log(int level, const char *fmt, ...)
{
	const char *program = log_program[0] ? log_program : program_invocation_short_name;
	char line[LINE_BYTES];
	int saved = errno;
	size_t used = 0;
	va_list args;
	int n;

	if (level > atomic_load_explicit(&log_threshold, memory_order_relaxed))
		return;
	if (atomic_load_explicit(&log_journal, memory_order_relaxed))
		used = (size_t)snprintf(line, sizeof(line), "<%d>", level);
	n = snprintf(line + used, sizeof(line) - used, "%.63s: ", program);
	used += n > 0 ? (size_t)n : 0;
	errno = saved; /* for %m */
	va_start(args, fmt);
	n = vsnprintf(line + used, sizeof(line) - used, fmt, args);
	va_end(args);
	if (n >= 0 && (size_t)n < sizeof(line) - used) {
		used += (size_t)n;
	} else if (n >= 0) {
		used = sizeof(line) - 1;
		memcpy(line + used - 3, "...", 3);
	}
	one_line(line, used);
	line[used++] = '\n';
	/* One write a line, so that lines of threads and processes do not mix. */
	while (write(STDERR_FILENO, line, used) < 0 && errno == EINTR)
		;
	errno = saved;
}
