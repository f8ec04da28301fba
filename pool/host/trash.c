/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The cleaner. Names in trash/: "new-…" is a container being made, "old-…" is to be removed. Domains
 * may still have a destroyed tree mounted and add to it meanwhile: a directory that does not get
 * empty is tried again at the next wake-up, and at the next start.
 */
#include "pool/host/container.h"
#include "pool/host/pool.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* Deeper directories are moved up into trash/ and removed from there: trees of any depth cost a
 * bounded number of descriptors. */
#define DEPTH_MAX 32
/* Walks over the trash in one go, and the pause after which what is left is tried again. */
#define ROUNDS	  8
#define AGAIN_US  (INT64_C(10) * 1000 * 1000)

void vidas_host_trash_name(char name[HOST_TRASH_NAME], const char *prefix)
{
	uint64_t random;

	while (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		;
	snprintf(name, HOST_TRASH_NAME, "%s-%016llx", prefix, (unsigned long long)random);
}

static bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static DIR *directory_open(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d;

	if (fd < 0)
		return NULL;
	d = fdopendir(fd);
	if (!d)
		close(fd);
	return d;
}

/* Empties and removes a directory. Returns whether something was removed or moved. */
static bool remove_tree(struct host *h, int dir, const char *name, int depth)
{
	DIR *d = directory_open(dir, name);
	bool did = false;
	struct dirent *e;

	if (!d)
		return unlinkat(dir, name, 0) == 0;
	while ((e = readdir(d))) {
		char moved[HOST_TRASH_NAME];

		if (is_dot(e->d_name))
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) == 0) {
			did = true;
			continue;
		}
		if (errno != EISDIR && errno != EPERM)
			continue;
		if (depth < DEPTH_MAX) {
			did |= remove_tree(h, dirfd(d), e->d_name, depth + 1);
			continue;
		}
		vidas_host_trash_name(moved, "old");
		did |= renameat(dirfd(d), e->d_name, h->trash_fd, moved) == 0;
	}
	closedir(d);
	return unlinkat(dir, name, AT_REMOVEDIR) == 0 || did;
}

/* One walk over the trash. Returns whether something was removed; *left: something was not. */
static bool clean(struct host *h, bool *left)
{
	DIR *d = directory_open(h->trash_fd, ".");
	bool did = false;
	struct dirent *e;

	*left = false;
	if (!d)
		return false;
	while ((e = readdir(d))) {
		if (strncmp(e->d_name, "old-", 4) != 0)
			continue;
		did |= remove_tree(h, h->trash_fd, e->d_name, 0);
		*left |= faccessat(h->trash_fd, e->d_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	}
	closedir(d);
	return did;
}

void vidas_host_trash_clean(struct host *h)
{
	bool left = true;

	/* Who still has a destroyed tree can add to it for ever: then again, but later. */
	for (int i = 0; i < ROUNDS && left; i++)
		if (atomic_load_explicit(&h->stopping, memory_order_relaxed) || !clean(h, &left))
			break;
	atomic_store_explicit(&h->cleaner_again_us, left ? vidas_deadline_us(AGAIN_US) : INT64_MAX,
			      memory_order_relaxed);
}

void vidas_host_trash_discard(struct host *h, const char *name)
{
	char old[HOST_TRASH_NAME];

	vidas_host_trash_name(old, "old");
	if (renameat(h->trash_fd, name, h->trash_fd, old) < 0)
		vidas_log(VIDAS_LOG_WARNING, "cannot move trash/%s away: %m", name);
}

static void *cleaner_main(void *arg)
{
	struct host *h = arg;

	pthread_mutex_lock(&h->cleaner_lock);
	while (!h->cleaner_stop) {
		if (!h->cleaner_work) {
			pthread_cond_wait(&h->cleaner_wake, &h->cleaner_lock);
			continue;
		}
		h->cleaner_work = false;
		pthread_mutex_unlock(&h->cleaner_lock);
		vidas_host_containers_clean(h);
		vidas_host_trash_clean(h);
		pthread_mutex_lock(&h->cleaner_lock);
	}
	pthread_mutex_unlock(&h->cleaner_lock);
	return NULL;
}

int vidas_host_cleaner_start(struct host *h)
{
	int err = -pthread_create(&h->cleaner, NULL, cleaner_main, h);

	if (err < 0)
		return vidas_fail(err, "cannot start a thread: %s", strerror(-err));
	h->cleaner_runs = true;
	vidas_host_cleaner_wake(h);
	return 0;
}

void vidas_host_cleaner_wake(struct host *h)
{
	pthread_mutex_lock(&h->cleaner_lock);
	h->cleaner_work = true;
	pthread_cond_signal(&h->cleaner_wake);
	pthread_mutex_unlock(&h->cleaner_lock);
}

void vidas_host_cleaner_stop(struct host *h)
{
	if (!h->cleaner_runs)
		return;
	pthread_mutex_lock(&h->cleaner_lock);
	h->cleaner_stop = true;
	pthread_cond_signal(&h->cleaner_wake);
	pthread_mutex_unlock(&h->cleaner_lock);
	pthread_join(h->cleaner, NULL);
	h->cleaner_runs = false;
}

void vidas_host_trash_sort(struct host *h)
{
	DIR *d = directory_open(h->trash_fd, ".");
	struct dirent *e;

	if (!d)
		return;
	while ((e = readdir(d)))
		if (strncmp(e->d_name, "new-", 4) == 0)
			vidas_host_trash_discard(h, e->d_name);
	closedir(d);
}
