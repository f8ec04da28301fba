/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keys to handles; locks by key; temporary names. */
#include "backends/nfs/nfs.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <utlist.h>

#define LOCKS	    256u
#define ENTRIES_MAX 4194304u

static struct vidas_nfs_turn locks[LOCKS] = { [0 ... LOCKS - 1] = VIDAS_NFS_TURN };
static pthread_mutex_t temps_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vidas_nfs_temp *temps; /* names that puts of this process work on */

static unsigned lock_of(const struct vidas_backend *be, const char *key)
{
	uint64_t hash = be->root_id;

	while (*key)
		hash = (hash ^ (uint8_t)*key++) * UINT64_C(0x100000001b3);
	return (unsigned)(hash >> 32) % LOCKS;
}

int vidas_nfs_lock(struct vidas_backend *be, const char *key)
{
	return vidas_nfs_turn_take(be, &locks[lock_of(be, key)]);
}

void vidas_nfs_unlock(struct vidas_backend *be, const char *key)
{
	vidas_nfs_turn_give(&locks[lock_of(be, key)]);
}

/* In the order of their numbers, so that two renames crosswise do not wait for each other. */
int vidas_nfs_lock_two(struct vidas_backend *be, const char *a, const char *b)
{
	unsigned i = lock_of(be, a), j = lock_of(be, b);
	int err = vidas_nfs_turn_take(be, &locks[i < j ? i : j]);

	if (err || i == j)
		return err;
	err = vidas_nfs_turn_take(be, &locks[i < j ? j : i]);
	if (err)
		vidas_nfs_turn_give(&locks[i < j ? i : j]);
	return err;
}

void vidas_nfs_unlock_two(struct vidas_backend *be, const char *a, const char *b)
{
	unsigned i = lock_of(be, a), j = lock_of(be, b);

	vidas_nfs_turn_give(&locks[i]);
	if (i != j)
		vidas_nfs_turn_give(&locks[j]);
}

static bool temp_is(const char *name)
{
	return strncmp(name, VIDAS_NFS_TEMP, strlen(VIDAS_NFS_TEMP)) == 0;
}

bool vidas_nfs_temp_in(const char *key)
{
	while (key && !temp_is(key)) {
		key = strchr(key, '/');
		key = key ? key + 1 : NULL;
	}
	return key != NULL;
}

void vidas_nfs_temp_new(struct vidas_nfs_temp *temp)
{
	uint64_t number = 0;

	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
		number = (uint64_t)vidas_nfs_now_us() ^ (uint64_t)(uintptr_t)temp;
	snprintf(temp->name, sizeof(temp->name), VIDAS_NFS_TEMP "%016" PRIx64, number);
	pthread_mutex_lock(&temps_lock);
	DL_APPEND(temps, temp);
	pthread_mutex_unlock(&temps_lock);
}

void vidas_nfs_temp_release(struct vidas_nfs_temp *temp)
{
	pthread_mutex_lock(&temps_lock);
	DL_DELETE(temps, temp);
	pthread_mutex_unlock(&temps_lock);
}

static bool temp_live(const char *name)
{
	struct vidas_nfs_temp *temp;

	pthread_mutex_lock(&temps_lock);
	DL_FOREACH(temps, temp) {
		if (strcmp(temp->name, name) == 0)
			break;
	}
	pthread_mutex_unlock(&temps_lock);
	return temp != NULL;
}

void vidas_nfs_sweep(struct vidas_backend *be, const struct vidas_nfs_fh *dir,
		     const struct vidas_nfs_entry *entry, int seconds)
{
	struct timespec now;

	/* Every write to one moves its ctime, by the server's clock. */
	clock_gettime(CLOCK_REALTIME, &now);
	if (!temp_is(entry->name) || !entry->known || entry->attr.type == VIDAS_BACKEND_DIRECTORY ||
	    now.tv_sec - entry->attr.ctime.tv_sec < seconds || temp_live(entry->name))
		return;
	(void)be->dialect->remove(be, dir, entry->name);
}

int vidas_nfs_entries_add(struct vidas_nfs_entries *e, const char *name, size_t bytes,
			  const struct vidas_nfs_attr *attr)
{
	struct vidas_nfs_entry *to;
	size_t room = e->room ? e->room * 2 : 64;

	/* What a server may send, but no directory has. */
	if (!bytes || bytes > NAME_MAX || memchr(name, '/', bytes) || memchr(name, 0, bytes) ||
	    (name[0] == '.' && (bytes == 1 || (bytes == 2 && name[1] == '.'))))
		return 0;
	if (e->count == ENTRIES_MAX)
		return -EOVERFLOW;
	if (e->count == e->room) {
		to = realloc(e->entry, room * sizeof(*to));
		if (!to)
			return -ENOMEM;
		e->entry = to;
		e->room = room;
	}
	to = &e->entry[e->count];
	to->name = strndup(name, bytes);
	if (!to->name)
		return -ENOMEM;
	to->known = attr != NULL;
	if (attr)
		to->attr = *attr;
	e->count++;
	return 0;
}

void vidas_nfs_entries_clear(struct vidas_nfs_entries *e)
{
	while (e->count)
		free(e->entry[--e->count].name);
	free(e->entry);
	*e = (struct vidas_nfs_entries){ 0 };
}

int vidas_nfs_find(struct vidas_backend *be, const char *key, struct vidas_nfs_node *parent,
		   struct vidas_nfs_node *last, const char **name)
{
	const char *slash = strrchr(key, '/');
	struct vidas_nfs_fh root;
	int err;

	parent->fh.size = 0;
	if (name)
		*name = slash ? slash + 1 : key;
	if (vidas_nfs_temp_in(key))
		return vidas_backend_error(be->host, -EINVAL,
					   "names that begin with " VIDAS_NFS_TEMP
					   " are kept for unfinished files");
	err = vidas_nfs_root(be, &root);
	if (err)
		return err;
	if (*key)
		return be->dialect->walk(be, &root, key, parent, last);
	last->fh = root;
	return be->dialect->getattr(be, &root, &last->attr);
}

/* Steps from *dir into its directory `name`, made if need be; *made: it is new, and empty. */
static int step(struct vidas_backend *be, struct vidas_nfs_fh *dir, const char *name, bool *made)
{
	struct vidas_nfs_node parent, node;
	struct vidas_nfs_fh new;
	int err = be->dialect->walk(be, dir, name, &parent, &node);

	*made = false;
	if (err == -ENOENT) {
		err = be->dialect->mkdir(be, dir, name, &new);
		if (!err) {
			*dir = new;
			*made = true;
			return 0;
		}
		if (err == -EEXIST)
			err = be->dialect->walk(be, dir, name, &parent, &node);
	}
	if (err)
		return err;
	*dir = node.fh;
	return node.attr.type == VIDAS_BACKEND_DIRECTORY ? 0 : -ENOTDIR;
}

/* All directories above a key; *dir is the last of them. */
static int make_above(struct vidas_backend *be, const char *key, struct vidas_nfs_fh *dir,
		      bool *made)
{
	char name[NAME_MAX + 1];
	const char *slash;
	int err = vidas_nfs_root(be, dir);

	*made = false;

	for (; !err && (slash = strchr(key, '/')); key = slash + 1) {
		size_t size = (size_t)(slash - key);

		if (size > NAME_MAX)
			return -EINVAL;
		memcpy(name, key, size);
		name[size] = '\0';
		err = step(be, dir, name, made);
	}
	return err;
}

int vidas_nfs_find_made(struct vidas_backend *be, const char *key, struct vidas_nfs_node *parent,
			struct vidas_nfs_node *last, const char **name)
{
	struct vidas_nfs_node above;
	struct vidas_nfs_fh dir;
	bool made;
	int err = vidas_nfs_find(be, key, parent, last, name);

	if (err != -ENOENT || parent->fh.size)
		return err;
	err = make_above(be, key, &dir, &made);
	if (err)
		return err == -ENOENT ? VIDAS_NFS_STALE : err;
	/* In one that is new there is nothing yet. It may be gone at once, if someone removes empty ones: no
	 * time is to be lost. */
	err = made ? -ENOENT : be->dialect->walk(be, &dir, strrchr(key, '/') + 1, &above, last);
	parent->fh = dir;
	return err;
}
