/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extended attributes. user.vidas.* by the table in pool/policy/attr.h; trusted.vidas.* are marks of
 * vidasd that no domain sees; all others are those of the pool's file.
 */
#include "vidasfs/fs.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "pool/policy/attr.h"

/* One attribute request, for vidas_node_ask(). */
struct asked {
	const struct vidas_attr *attr;
	const void *value;
	void *out;
	size_t size;
	size_t got;
	int flags;
};

static bool hidden(const char *name)
{
	return !strncmp(name, VIDAS_XATTR_MARK, strlen(VIDAS_XATTR_MARK));
}

/* Names of containers' attributes are on their directory only. */
static bool misplaced(const struct vidas_attr *attr, const char *path)
{
	return attr->kind == VIDAS_ATTR_CONTAINER && *path;
}

static int ask_get(struct vidas_tree *t, const char *path, uint64_t ino, void *arg)
{
	struct asked *a = arg;
	ssize_t got;

	if (a->attr->kind == VIDAS_ATTR_ACTION || misplaced(a->attr, path))
		return -ENODATA;
	if (a->attr->kind == VIDAS_ATTR_POLICY)
		got = vidas_policy_get(vidas_tree_fd(t), path, vidas_attr_here(a->attr), a->out,
				       a->size, NULL);
	else
		got = vidas_tree_attr_get(t, path, ino, a->attr->name, a->out, a->size);
	/* The file is there: what is not is the value. */
	if (got < 0)
		return got == -ENOENT ? -ENODATA : (int)got;
	a->got = (size_t)got;
	return 0;
}

static void reply_value(fuse_req_t req, const void *value, size_t got, size_t size)
{
	if (!size)
		fuse_reply_xattr(req, got);
	else if (got > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, got);
}

void vidas_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct vidas_node *n = vidas_node_of(ino);
	char path[VIDAS_PROC_PATH_MAX];
	struct asked a = { .size = XATTR_SIZE_MAX };
	int fd, err = 0;
	ssize_t got;
	bool ours;

	a.attr = vidas_attr_find(name, &ours);
	if (vidas_node_is_list(n) || (ours && !a.attr) || hidden(name)) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	if (a.attr && a.attr->kind == VIDAS_ATTR_MESSAGE) {
		if (!strcmp(a.attr->name, "wait"))
			vidas_notify_wait(req, n, size);
		else
			fuse_reply_err(req, ENODATA);
		return;
	}
	a.out = malloc(XATTR_SIZE_MAX);
	fd = a.out ? vidas_fd_get(n) : -ENOMEM;
	if (fd < 0) {
		err = fd;
		goto out;
	}
	if (a.attr) {
		err = vidas_node_ask(n, ask_get, &a);
	} else {
		got = getxattr(vidas_fd_path(fd, path), name, a.out, XATTR_SIZE_MAX);
		err = got < 0 ? -errno : 0;
		a.got = (size_t)got;
	}
	vidas_fd_put(n);
out:
	if (err)
		fuse_reply_err(req, -err);
	else
		reply_value(req, a.out, a.got, size);
	free(a.out);
}

/* Leaves out what no domain sees. */
static size_t filter(fuse_req_t req, char *list, size_t size)
{
	bool others = fuse_req_ctx(req)->uid != 0; /* those are root's alone */
	size_t kept = 0, len;

	for (size_t i = 0; i < size; i += len) {
		len = strnlen(list + i, size - i) + 1;
		if (i + len > size)
			break;
		if (hidden(list + i) || (others && !strncmp(list + i, "trusted.", 8)))
			continue;
		memmove(list + kept, list + i, len);
		kept += len;
	}
	return kept;
}

void vidas_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct vidas_node *n = vidas_node_of(ino);
	char path[VIDAS_PROC_PATH_MAX], *list;
	ssize_t got;
	int fd;

	if (vidas_node_is_list(n)) {
		reply_value(req, "", 0, size);
		return;
	}
	list = malloc(XATTR_LIST_MAX);
	fd = list ? vidas_fd_get(n) : -ENOMEM;
	if (fd < 0) {
		fuse_reply_err(req, -fd);
		goto out;
	}
	got = listxattr(vidas_fd_path(fd, path), list, XATTR_LIST_MAX);
	if (got < 0)
		fuse_reply_err(req, errno);
	else
		reply_value(req, list, filter(req, list, (size_t)got), size);
	vidas_fd_put(n);
out:
	free(list);
}

static int ask_set(struct vidas_tree *t, const char *path, uint64_t ino, void *arg)
{
	struct asked *a = arg;

	if (misplaced(a->attr, path))
		return -EINVAL;
	return vidas_tree_attr_set(t, path, ino, a->attr->name, a->value, a->size);
}

static int policy_changed(struct vidas_node *n, const struct vidas_attr *attr)
{
	vidas_tree_policy_changed(n->key.branch->tree);
	return vidas_relaxed_attr(attr) ? vidas_tree_recall_all(n->key.branch->tree) : 0;
}

static int policy_set(struct vidas_node *n, int fd, const struct asked *a)
{
	static const char through[] = "through";
	char path[VIDAS_PROC_PATH_MAX], name[XATTR_NAME_MAX + 1];
	int err;

	snprintf(name, sizeof(name), VIDAS_XATTR_PREFIX "%s", a->attr->name);
	/* From here on closing pushes: what was written before must not be left behind. */
	if (n->key.branch->rooted && !strcmp(a->attr->name, "write_policy") &&
	    a->size == strlen(through) && !memcmp(a->value, through, a->size)) {
		err = vidas_node_push(n);
		if (err)
			return err;
	}
	if (setxattr(vidas_fd_path(fd, path), name, a->value, a->size, a->flags) < 0)
		return -errno;
	return policy_changed(n, a->attr);
}

static int set_ours(struct vidas_node *n, int fd, struct asked *a)
{
	int err = vidas_attr_check(a->attr, a->value, a->size);

	if (err)
		return err;
	if (a->attr->kind == VIDAS_ATTR_MESSAGE)
		return vidas_notify_send(n, a->value, a->size);
	if (a->attr->kind == VIDAS_ATTR_POLICY)
		return policy_set(n, fd, a);
	return vidas_node_ask(n, ask_set, a);
}

/*
 * ACLs are set and removed by the owner; and if he is not of the file's group, that takes S_ISGID from it:
 * if the caller is not, whatever we are. Until vidas_identity_resume().
 */
static int assume_for(fuse_req_t req, int fd, const char *name)
{
	struct stat st;

	if (strncmp(name, "system.posix_acl_", 17) != 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_mode & S_ISGID) && vidas_identity_member(req, st.st_gid))
		vidas_identity_assume_group(st.st_gid);
	return vidas_identity_owner(req, &st);
}

static int set_named(fuse_req_t req, int fd, const char *name, const struct asked *a)
{
	char path[VIDAS_PROC_PATH_MAX];
	int err;

	err = assume_for(req, fd, name);
	if (!err && setxattr(vidas_fd_path(fd, path), name, a->value, a->size, a->flags) < 0)
		err = -errno;
	vidas_identity_resume();
	return err;
}

static bool has_value(int fd, const char *name, const struct asked *a)
{
	char path[VIDAS_PROC_PATH_MAX], value[4096];
	ssize_t n = getxattr(vidas_fd_path(fd, path), name, value, sizeof(value));

	return n >= 0 && (size_t)n == a->size && !memcmp(value, a->value, a->size);
}

static int set_once(fuse_req_t req, struct vidas_node *n, int fd, const char *name, struct asked *a)
{
	bool doubt = vidas_deed_doubt();
	int64_t err;

	if (vidas_deed_result(&err))
		return (int)err;
	vidas_deed_begin(0);
	err = a->attr ? set_ours(n, fd, a) : set_named(req, fd, name, a);
	if (err == -EEXIST && doubt && has_value(fd, name, a))
		err = 0;
	vidas_deed_done(err);
	return (int)err;
}

void vidas_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
		       size_t size, int flags)
{
	struct vidas_node *n = vidas_node_of(ino);
	struct asked a = { .value = value, .size = size, .flags = flags };
	int fd, err;
	bool ours;

	a.attr = vidas_attr_find(name, &ours);
	if (hidden(name) || (ours && !a.attr)) {
		fuse_reply_err(req, ours ? EINVAL : EPERM);
		return;
	}
	fd = vidas_fd_get(n);
	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	err = set_once(req, n, fd, name, &a);
	if (!err)
		vidas_lease_changed(n->key.branch, n->key.ino, VIDAS_WIRE_RECALL_ATTRS);
	vidas_fd_put(n);
	fuse_reply_err(req, -err);
}

static int ask_remove(struct vidas_tree *t, const char *path, uint64_t ino, void *arg)
{
	struct asked *a = arg;

	return misplaced(a->attr, path) ? -ENODATA :
					  vidas_tree_attr_remove(t, path, ino, a->attr->name);
}

static int remove_named(int fd, const char *name)
{
	char path[VIDAS_PROC_PATH_MAX];

	return removexattr(vidas_fd_path(fd, path), name) < 0 ? -errno : 0;
}

static int remove_ours(struct vidas_node *n, int fd, struct asked *a)
{
	char name[XATTR_NAME_MAX + 1];
	int err;

	switch (a->attr->kind) {
	case VIDAS_ATTR_POLICY:
		snprintf(name, sizeof(name), VIDAS_XATTR_PREFIX "%s", a->attr->name);
		err = remove_named(fd, name);
		return err ? err : policy_changed(n, a->attr);
	case VIDAS_ATTR_CONTAINER:
		return vidas_node_ask(n, ask_remove, a);
	case VIDAS_ATTR_ACTION:
	case VIDAS_ATTR_MESSAGE:
		return -ENODATA;
	case VIDAS_ATTR_INFO:
		break;
	}
	return -EPERM;
}

static int remove_once(fuse_req_t req, struct vidas_node *n, int fd, const char *name,
		       struct asked *a)
{
	bool doubt = vidas_deed_doubt();
	int64_t err;

	if (vidas_deed_result(&err))
		return (int)err;
	vidas_deed_begin(0);
	err = assume_for(req, fd, name);
	if (!err)
		err = a->attr ? remove_ours(n, fd, a) : remove_named(fd, name);
	vidas_identity_resume();
	if (err == -ENODATA && doubt)
		err = 0;
	vidas_deed_done(err);
	return (int)err;
}

void vidas_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct vidas_node *n = vidas_node_of(ino);
	struct asked a = { 0 };
	int fd, err;
	bool ours;

	a.attr = vidas_attr_find(name, &ours);
	if (hidden(name) || (ours && !a.attr)) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	fd = vidas_fd_get(n);
	if (fd < 0) {
		fuse_reply_err(req, -fd);
		return;
	}
	err = remove_once(req, n, fd, name, &a);
	if (!err)
		vidas_lease_changed(n->key.branch, n->key.ino, VIDAS_WIRE_RECALL_ATTRS);
	vidas_fd_put(n);
	fuse_reply_err(req, -err);
}
