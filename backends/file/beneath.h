/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names beneath a root directory that others may write to: no symbolic link on the way is ever
 * followed, nothing outside the root is ever reached, whatever they plant.
 */
#ifndef VIDAS_BENEATH_H
#define VIDAS_BENEATH_H

#include <stdbool.h>

/* Can this kernel do it (openat2, Linux 5.6)? -ENOSYS. */
int vidas_beneath_check(int root);

/* Opens a directory, "" is the root; a descriptor or -errno (-ENOTDIR also for a symlink). */
int vidas_beneath_directory(int root, const char *key);

/* Opens the directory that `key` is in, and says what it is called there (a pointer into `key`; "."
 * for the root itself). With `make`, missing directories are made, durably. */
int vidas_beneath_parent(int root, const char *key, bool make, const char **name);

/* Makes changes of a directory's names durable. */
int vidas_beneath_sync(int dir);

/*
 * New content is written beside the old one under a name of this form, and renamed when it is
 * whole. While it is written it is locked (flock); what is left by a crash is not.
 */
#define VIDAS_TEMP_PREFIX ".vidas-put-"
#define VIDAS_TEMP_BYTES  32u /* of a name with its NUL */

bool vidas_temp_is(const char *name);
/* Has the path such a component? Then it cannot be a key. */
bool vidas_temp_in(const char *key);
void vidas_temp_name(char name[VIDAS_TEMP_BYTES]);
/* Creates an empty one, locked and open for writing; the descriptor or -errno. */
int vidas_temp_create(int dir, char name[VIDAS_TEMP_BYTES]);
/* Removes this one if nobody writes it and its last change is `seconds` ago. */
void vidas_temp_sweep(int dir, const char *name, int seconds);
/* Does so with all in a directory. */
void vidas_temp_sweep_all(int root, const char *key, int seconds);

#endif
