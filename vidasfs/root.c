/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The directory that lists the containers: making one, destroying one, entering one. */
#include "vidasfs/fs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* Not known before it is entered. */
#define UNKNOWN_INO 0xffffffffu

/* A time-out of what does not change. */
#define NEVER_SECONDS (365 * 86400.0)

struct vidas_names {
	char **name;
	size_t count, room;
};

/* Containers may have gone that we have attached: to be looked at before the next is entered. */
static _Atomic bool list_stale;

void vidas_root_changed(void *arg)
{
	(void)arg;
	atomic_store_explicit(&list_stale, true, memory_order_release);
	vidas_lease_drop_names();
}

void vidas_names_free(struct vidas_names *n)
{
	if (!n)
		return;
	while (n->count)
		free(n->name[--n->count]);
	free(n->name);
	free(n);
}

static int add_name(const char *name, void *arg)
{
	struct vidas_names *n = arg;
	char **more;

	if (n->count == n->room) {
		more = realloc(n->name, (2 * n->room + 16) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		n->name = more;
		n->room = 2 * n->room + 16;
	}
	n->name[n->count] = strdup(name);
	if (!n->name[n->count])
		return -ENOMEM;
	n->count++;
	return 0;
}

int vidas_root_opendir(struct vidas_names **out)
{
	struct vidas_names *n = calloc(1, sizeof(*n));
	int err = n ? vidas_container_list(vidas_fs.v, add_name, n) : -ENOMEM;

	if (err)
		vidas_names_free(n);
	else
		*out = n;
	return err;
}

void vidas_root_readdir(fuse_req_t req, const struct vidas_names *n, size_t size, off_t off,
			bool plus)
{
	char *buf = malloc(size);
	size_t used = 0, need;

	if (!buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (size_t i = (size_t)off; i < n->count + 2; i++) {
		const char *name = i == 0 ? "." : i == 1 ? ".." : n->name[i - 2];
		/* No lookup in it (ino 0): a listing enters nothing. */
		const struct fuse_entry_param e = {
			.attr.st_ino = i < 2 ? FUSE_ROOT_ID : UNKNOWN_INO,
			.attr.st_mode = S_IFDIR,
		};

		if (plus)
			need = fuse_add_direntry_plus(req, buf + used, size - used, name, &e,
						      (off_t)i + 1);
		else
			need = fuse_add_direntry(req, buf + used, size - used, name, &e.attr,
						 (off_t)i + 1);
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, buf, used);
	free(buf);
}

/* A container that is not on the list any more is not entered by the way we once had. */
static void refresh(void)
{
	struct vidas_names *n = NULL;

	if (!atomic_exchange_explicit(&list_stale, false, memory_order_acq_rel))
		return;
	if (vidas_root_opendir(&n) < 0)
		atomic_store_explicit(&list_stale, true, memory_order_release);
	else
		vidas_branches_keep(n->name, n->count);
	vidas_names_free(n);
}

static void reply_container(fuse_req_t req, struct vidas_branch *b)
{
	struct fuse_entry_param e = { 0 };
	struct vidas_node *n = NULL;
	int err;

	vidas_lease_enter();
	/* Recalled by vidas_root_changed(). */
	e.entry_timeout = atomic_load_explicit(&vidas_fs.epoch, memory_order_relaxed) ?
				  vidas_tree_cache_seconds(b->tree) :
				  0;
	err = vidas_branch_root(b, NULL, &n);
	if (!err) {
		e.ino = vidas_node_id(n);
		err = vidas_lease_stat(n, b->fd, &e.attr, &e.attr_timeout);
	}
	if (err)
		fuse_reply_err(req, -err);
	else if (fuse_reply_entry(req, &e) == -ENOENT)
		err = -EINTR;
	vidas_lease_leave();
	if (err && n)
		vidas_node_forget(n, 1);
}

void vidas_root_lookup(fuse_req_t req, const char *name)
{
	struct vidas_branch *b;
	int err;

	refresh();
	err = vidas_branch_get(name, &b);
	if (err) {
		if (err != -ENOENT)
			vidas_log(VIDAS_LOG_WARNING, "container %s: %s", name, vidas_error_text());
		fuse_reply_err(req, -err);
		return;
	}
	reply_container(req, b);
	vidas_branch_put(b);
}

double vidas_root_stat(struct stat *st)
{
	static struct timespec born;
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	*st = (struct stat){ .st_ino = FUSE_ROOT_ID, .st_mode = S_IFDIR | 0755, .st_nlink = 2 };
	pthread_mutex_lock(&lock);
	if (!born.tv_sec)
		clock_gettime(CLOCK_REALTIME, &born);
	st->st_atim = st->st_mtim = st->st_ctim = born;
	pthread_mutex_unlock(&lock);
	/* None of it ever changes, and every path that goes through here is checked by it. */
	return NEVER_SECONDS;
}

void vidas_root_getattr(fuse_req_t req)
{
	struct stat st;
	double timeout = vidas_root_stat(&st);

	fuse_reply_attr(req, &st, timeout);
}

void vidas_root_mkdir(fuse_req_t req, const char *name)
{
	struct vidas_branch *b;
	int64_t past;
	int err;

	if (vidas_deed_result(&past)) {
		err = (int)past;
	} else {
		vidas_deed_begin(0);
		err = vidas_container_create(vidas_fs.v, name, NULL, 0);
		vidas_deed_done(err);
	}
	if (!err)
		err = vidas_branch_get(name, &b);
	if (err) {
		vidas_log(VIDAS_LOG_INFO, "making container %s: %s", name, vidas_error_text());
		fuse_reply_err(req, -err);
		return;
	}
	reply_container(req, b);
	vidas_branch_put(b);
}

void vidas_root_rmdir(fuse_req_t req, const char *name)
{
	struct vidas_branch *b;
	int64_t past;
	int err;

	if (vidas_deed_result(&past)) {
		fuse_reply_err(req, (int)-past);
		return;
	}
	err = vidas_branch_get(name, &b);
	if (err) {
		fuse_reply_err(req, -err);
		return;
	}
	/* Our own attach does not stand in its way, and ends with the last node of it. */
	vidas_deed_begin(0);
	err = vidas_tree_rmdir(vidas_fs.v, name);
	vidas_deed_done(err);
	if (err)
		vidas_log(VIDAS_LOG_INFO, "destroying container %s: %s", name, vidas_error_text());
	else
		vidas_branch_hide(b);
	vidas_branch_put(b);
	fuse_reply_err(req, -err);
}

void vidas_root_statfs(fuse_req_t req)
{
	struct statvfs st = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = VIDAS_NAME_MAX };
	struct vidas_branch *b = vidas_branch_any();

	/* All containers are in one pool. */
	if (b && fstatvfs(b->fd, &st) < 0)
		vidas_log(VIDAS_LOG_ERR, "statfs of the pool: %s", strerror(errno));
	vidas_branch_put(b);
	fuse_reply_statfs(req, &st);
}
