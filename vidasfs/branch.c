/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The containers that this mount has attached. */
#include "vidasfs/fs.h"

#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool/client/tree.h"

/* How long unmounting waits for what is pushed then. */
#define FLUSH_US (INT64_C(60) * 1000 * 1000)

#define IDLE_SECONDS 3u

static pthread_mutex_t attach_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vidas_branch *branches;
static bool closing; /* attach lock */

void vidas_branch_ref(struct vidas_branch *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
}

static void branch_free(struct vidas_branch *b)
{
	int err = b->tree ? vidas_tree_leave(b->tree) : 0;

	/* Destroyed meanwhile: there is nothing left to leave. */
	if (err < 0 && err != -ENOTCONN && err != -ENOENT)
		vidas_log(VIDAS_LOG_WARNING, "leaving container %s: %s", b->name,
			  vidas_error_text());
	vidas_keep_free(VIDAS_KEPT_BRANCH, b);
}

/* Under the list lock. */
static void unlist(struct vidas_branch *b)
{
	struct vidas_branch **at;

	for (at = &branches; *at != b; at = &(*at)->next)
		;
	*at = b->next;
}

/* True when there is nothing left to wait for. */
static bool idle_end(struct vidas_branch *b)
{
	bool used, leave;

	pthread_mutex_lock(&attach_lock);
	pthread_mutex_lock(&list_lock);
	used = atomic_load_explicit(&b->refs, memory_order_relaxed) > 0;
	leave = !used && !closing && (b->hidden || vidas_connected(vidas_fs.v));
	if (leave)
		unlist(b);
	if (used)
		b->idling = false;
	pthread_mutex_unlock(&list_lock);
	if (leave)
		branch_free(b);
	used |= closing;
	pthread_mutex_unlock(&attach_lock);
	return used || leave;
}

static void *idle(void *arg)
{
	do
		sleep(IDLE_SECONDS);
	while (!idle_end(arg));
	return NULL;
}

/* Under the list lock. */
static bool idle_begin(struct vidas_branch *b)
{
	pthread_attr_t attr;
	pthread_t thread;

	if (b->idling)
		return true;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	b->idling = !pthread_create(&thread, &attr, idle, b);
	pthread_attr_destroy(&attr);
	return b->idling;
}

/*
 * A container that nobody uses any more is left a little later: the kernel forgets its directory with
 * every recall of names, and asks for it again with the next path. And not without a vidasd, as it could
 * not be attached again.
 */
void vidas_branch_put(struct vidas_branch *b)
{
	unsigned refs;
	bool gone;

	if (!b)
		return;
	refs = atomic_load_explicit(&b->refs, memory_order_relaxed);
	while (refs > 1)
		if (atomic_compare_exchange_weak_explicit(
			    &b->refs, &refs, refs - 1, memory_order_acq_rel, memory_order_relaxed))
			return;

	vidas_loop_step_aside();
	pthread_mutex_lock(&attach_lock);
	pthread_mutex_lock(&list_lock);
	gone = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1 &&
	       (b->hidden || !idle_begin(b)) && !b->idling;
	if (gone)
		unlist(b);
	pthread_mutex_unlock(&list_lock);
	if (gone)
		branch_free(b);
	pthread_mutex_unlock(&attach_lock);
}

void vidas_branches_close(void)
{
	pthread_mutex_lock(&attach_lock);
	closing = true;
	pthread_mutex_unlock(&attach_lock);
}

static struct vidas_branch *find(const char *name)
{
	struct vidas_branch *b;

	pthread_mutex_lock(&list_lock);
	for (b = branches; b && (b->hidden || strcmp(b->name, name) != 0); b = b->next)
		;
	if (b)
		vidas_branch_ref(b);
	pthread_mutex_unlock(&list_lock);
	return b;
}

/* Can descriptors be given up and had again? Needs CAP_DAC_READ_SEARCH, and a pool with handles. */
static void probe_handles(struct vidas_branch *b)
{
	struct {
		struct file_handle head;
		char bytes[MAX_HANDLE_SZ];
	} h = { .head.handle_bytes = MAX_HANDLE_SZ };
	int mount_id, fd = -1;

	if (!name_to_handle_at(b->fd, "", &h.head, &mount_id, AT_EMPTY_PATH))
		fd = open_by_handle_at(b->fd, &h.head, O_PATH | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		return;
	}
	atomic_store_explicit(&b->no_handles, true, memory_order_relaxed);
	vidas_log(VIDAS_LOG_NOTICE,
		  "container %s: no file handles (%s): every known file keeps a descriptor open",
		  b->name, strerror(errno));
}

/* By its name, which alone of it is set. */
static int attach(struct vidas_branch *b)
{
	struct statfs fs;
	struct stat st;
	int err;

	err = vidas_tree_attach(vidas_fs.v, b->name, vidas_fs.options.atime, &b->tree);
	if (err < 0)
		goto out;
	b->fd = vidas_tree_fd(b->tree);
	if (b->fd < 0) {
		err = vidas_fail(-EOPNOTSUPP, "the transport cannot hand over trees");
		goto out;
	}
	if (fstat(b->fd, &st) < 0 || fstatfs(b->fd, &fs) < 0) {
		err = -errno;
		goto out;
	}
	b->dev = st.st_dev;
	b->volatile_pool = fs.f_type == TMPFS_MAGIC;
	b->readonly = vidas_tree_readonly(b->tree);
	b->rooted = vidas_tree_rooted(b->tree);
	atomic_init(&b->relaxed, vidas_tree_relaxed(b->tree));
	atomic_init(&b->policies, 1);
	probe_handles(b);
	return 0;
out:
	if (b->tree)
		vidas_tree_leave(b->tree);
	b->tree = NULL;
	return err;
}

static int branch_new(const char *name, struct vidas_branch **out)
{
	struct vidas_branch *b = vidas_keep_new(VIDAS_KEPT_BRANCH);
	int err;

	if (!b)
		return -ENOMEM;
	memcpy(b->name, name, strlen(name) + 1);
	err = attach(b);
	if (err) {
		vidas_keep_free(VIDAS_KEPT_BRANCH, b);
		return err;
	}
	atomic_init(&b->refs, 1);
	vidas_keep_publish(b);
	*out = b;
	return 0;
}

void vidas_branch_resume(struct vidas_branch *b)
{
	uint64_t dev = b->dev;
	int err;

	b->tree = NULL;
	b->fd = -1;
	atomic_init(&b->refs, 0);
	atomic_init(&b->opens, 0);
	atomic_init(&b->no_handles, false);
	err = b->hidden ? -ENOENT : attach(b);
	if (!err && b->dev != dev) {
		/* Another container of that name. */
		vidas_tree_leave(b->tree);
		b->tree = NULL;
		err = -ESTALE;
	}
	if (err) {
		b->hidden = true;
		vidas_log(VIDAS_LOG_WARNING, "container %s: %s: what is open of it is lost",
			  b->name, err == -ENOENT ? "it is gone" : vidas_error_text());
	}
	b->next = branches;
	branches = b;
}

int vidas_branch_get(const char *name, struct vidas_branch **out)
{
	struct vidas_branch *b;
	int err = 0;

	if (!vidas_name_ok(name, strlen(name)))
		return -ENOENT;
	b = find(name);
	if (b) {
		*out = b;
		return 0;
	}
	pthread_mutex_lock(&attach_lock);
	b = find(name);
	if (!b) {
		err = branch_new(name, &b);
		if (!err) {
			pthread_mutex_lock(&list_lock);
			b->next = branches;
			branches = b;
			pthread_mutex_unlock(&list_lock);
		}
	}
	pthread_mutex_unlock(&attach_lock);
	if (!err)
		*out = b;
	return err;
}

struct vidas_branch *vidas_branch_of(struct vidas_tree *t)
{
	struct vidas_branch *b;

	pthread_mutex_lock(&list_lock);
	for (b = branches; b && b->tree != t; b = b->next)
		;
	if (b)
		vidas_branch_ref(b);
	pthread_mutex_unlock(&list_lock);
	return b;
}

void vidas_branch_opened(struct vidas_branch *b, int by)
{
	if (b)
		atomic_fetch_add_explicit(&b->opens, by, memory_order_seq_cst);
}

bool vidas_branch_used(void *arg, struct vidas_tree *t)
{
	struct vidas_branch *b = vidas_branch_of(t);
	bool used;

	(void)arg;
	if (!b)
		return true;
	used = b == vidas_fs.root->key.branch ||
	       atomic_load_explicit(&b->opens, memory_order_seq_cst);
	vidas_branch_put(b);
	return used;
}

void vidas_branch_hide(struct vidas_branch *b)
{
	pthread_mutex_lock(&list_lock);
	b->hidden = true;
	pthread_mutex_unlock(&list_lock);
}

void vidas_branches_keep(char *const *names, size_t count)
{
	struct vidas_branch *b;
	size_t i;

	pthread_mutex_lock(&list_lock);
	for (b = branches; b; b = b->next) {
		for (i = 0; i < count && strcmp(b->name, names[i]) != 0; i++)
			;
		b->hidden = b->hidden || i == count;
	}
	pthread_mutex_unlock(&list_lock);
}

void vidas_branches_flush(void)
{
	int64_t deadline_us = vidas_deadline_us(FLUSH_US);

	/* Nobody attaches or leaves any more. */
	for (struct vidas_branch *b = branches; b; b = b->next) {
		int64_t left_us = vidas_remaining_us(deadline_us);
		int err;

		if (!b->rooted || b->readonly || b->hidden)
			continue;
		err = left_us ? vidas_tree_flush_all(b->tree, left_us) : -ETIMEDOUT;
		if (err == -ETIMEDOUT)
			vidas_log(
				VIDAS_LOG_WARNING,
				"container %s: not all is pushed within %d seconds of unmounting; "
				"vidasd goes on",
				b->name, (int)(FLUSH_US / 1000000));
		else if (err < 0 && err != -ENOENT)
			vidas_log(VIDAS_LOG_WARNING,
				  "container %s: not all is pushed at unmounting: %s", b->name,
				  vidas_error_text());
	}
}

struct vidas_branch *vidas_branch_any(void)
{
	struct vidas_branch *b;

	pthread_mutex_lock(&list_lock);
	b = branches;
	if (b)
		vidas_branch_ref(b);
	pthread_mutex_unlock(&list_lock);
	return b;
}

int vidas_branch_root(struct vidas_branch *b, const char *subdir, struct vidas_node **out)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	struct stat st;
	int fd;

	fd = (int)syscall(SYS_openat2, b->fd, subdir ? subdir : ".", &how, sizeof(how));
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0) {
		close(fd);
		return -errno;
	}
	*out = vidas_node_enter(b, &st, fd, false);
	return *out ? 0 : -ENOMEM;
}
