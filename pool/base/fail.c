/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/base/base.h"

#include <stdio.h>
#include <string.h>

/* A longer reason is cut. */
#define REASON_BYTES 1024

static _Thread_local char reason[REASON_BYTES];

int vidas_fail(int err, const char *fmt, ...)
{
	char text[REASON_BYTES];
	int saved = errno;
	va_list args;

	/* Not straight into `reason`: it is often among the arguments, being put into context. */
	va_start(args, fmt);
	if (vsnprintf(text, sizeof(text), fmt, args) < 0)
		text[0] = '\0';
	va_end(args);
	memcpy(reason, text, strlen(text) + 1);
	errno = saved;
	return err;
}

void vidas_fail_clear(void)
{
	reason[0] = '\0';
}

const char *vidas_fail_text(void)
{
	return reason;
}
