/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rooted containers: what a backend has enters the tree when it is first looked for; what is to be there goes. */
#include "vidasfs/fs.h"

#include <string.h>
#include <sys/xattr.h>

#include "pool/policy/attr.h"

static int ask_import(struct vidas_tree *t, const char *path, uint64_t ino, void *arg)
{
	(void)arg;
	return vidas_tree_import(t, path, ino);
}

static int ask_flush(struct vidas_tree *t, const char *path, uint64_t ino, void *arg)
{
	(void)arg;
	return vidas_tree_flush(t, path, ino);
}

int vidas_node_push(struct vidas_node *n)
{
	int err = vidas_node_ask(n, ask_flush, NULL);

	return err == -ENOENT ? 0 : err;
}

static bool marked(struct vidas_node *n, const char *mark)
{
	char path[VIDAS_PROC_PATH_MAX];
	int fd = vidas_fd_get(n);
	bool yes = fd >= 0 && getxattr(vidas_fd_path(fd, path), mark, NULL, 0) >= 0;

	if (fd >= 0)
		vidas_fd_put(n);
	return yes;
}

int vidas_dir_import(struct vidas_node *dir)
{
	int err = 0;

	if (!dir->key.branch->rooted || atomic_load_explicit(&dir->imported, memory_order_acquire))
		return 0;
	/* The absent mark has the last word: another domain may have put a directory whose entries
	 * are still to come in the place of one that was just made. */
	if (!marked(dir, VIDAS_XATTR_IMPORTED) || marked(dir, VIDAS_XATTR_ABSENT))
		err = vidas_node_ask(dir, ask_import, NULL);
	if (err == -ENOENT)
		return 0; /* removed, or never in the backend */
	if (err < 0) {
		vidas_log(VIDAS_LOG_WARNING, "container %s: reading a directory of its backend: %s",
			  dir->key.branch->name, vidas_error_text());
		return err;
	}
	atomic_store_explicit(&dir->imported, true, memory_order_release);
	return 0;
}

void vidas_dir_new(struct vidas_node *parent, struct vidas_node *dir)
{
	char path[VIDAS_PROC_PATH_MAX];
	int fd;

	if (!parent->key.branch->rooted ||
	    !atomic_load_explicit(&parent->imported, memory_order_acquire))
		return; /* asked about when it is first looked into */
	fd = vidas_fd_get(dir);
	if (fd < 0)
		return;
	if (setxattr(vidas_fd_path(fd, path), VIDAS_XATTR_IMPORTED, "", 0, 0) < 0)
		vidas_log(VIDAS_LOG_DEBUG,
			  "a new directory is not marked, vidasd will be asked: %s",
			  strerror(errno));
	vidas_fd_put(dir);
}

bool vidas_node_policy(struct vidas_node *n, const char *name, const char *value)
{
	char path[4096];

	return n->key.branch->rooted && !vidas_node_path(n, path) &&
	       vidas_policy_is(n->key.branch->fd, path, name, value);
}

void vidas_file_touched(struct vidas_node *n, int fd)
{
	char path[VIDAS_PROC_PATH_MAX];

	if (n->key.branch->rooted &&
	    setxattr(vidas_fd_path(fd, path), VIDAS_XATTR_TOUCHED, "", 0, 0) < 0)
		vidas_log(VIDAS_LOG_ERR, "container %s: a file cannot be marked as changed: %s",
			  n->key.branch->name, strerror(errno));
}
