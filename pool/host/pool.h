/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pool's directory: found or mounted, marked, locked; and the cleaner of its trash.
 */
#ifndef VIDAS_HOST_POOL_H
#define VIDAS_HOST_POOL_H

#include <stdbool.h>

struct host;

/* Reasons are whole sentences for the user. */
int vidas_host_pool_open(struct host *h);
void vidas_host_pool_close(struct host *h);

/* The cleaner (trash.c): a thread that empties trash/ of what is named "old-…". */
int vidas_host_cleaner_start(struct host *h);
void vidas_host_cleaner_stop(struct host *h);
void vidas_host_cleaner_wake(struct host *h);
/* For who needs the pool's room: empties the trash now. */
void vidas_host_trash_clean(struct host *h);
/* Makes `name` in the trash, "new-…", something to be removed. */
void vidas_host_trash_discard(struct host *h, const char *name);
/* A new name in the trash: "PREFIX-" and 16 hexadecimal digits. */
#define HOST_TRASH_NAME 32
void vidas_host_trash_name(char name[HOST_TRASH_NAME], const char *prefix);
/* What a killed vidasd was making there becomes trash. Before the cleaner starts. */
void vidas_host_trash_sort(struct host *h);

#endif
