/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * flock(2) and POSIX locks across domains: the host's kernel arbitrates, for every domain's vidasfs
 * locks the same inode of the pool. An flock is one on the open file's own descriptor; POSIX locks are
 * on a descriptor of their owner's (lock.h): closing it drops them, and so does the daemon's death.
 */
#include "vidasfs/lock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <utlist.h>

static pthread_mutex_t owners_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vidas_lock_owner *owners;

/* Under node->lock. */
static void owner_free(struct vidas_lock_owner *o)
{
	int fd = o->fd;

	LL_DELETE(o->node->owners, o);
	pthread_mutex_lock(&owners_lock);
	DL_DELETE2(owners, o, all_prev, all_next);
	pthread_mutex_unlock(&owners_lock);
	o->fd = -1;
	close(fd);
	vidas_keep_free(VIDAS_KEPT_OWNER, o);
}

/* Under node->lock: it has no locks any more. Who waits goes on waiting, as in Linux. */
static void owner_close(struct vidas_lock_owner *o)
{
	const struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	if (!o->waits) {
		owner_free(o);
		return;
	}
	o->closed = true;
	if (fcntl(o->fd, F_OFD_SETLK, &all) < 0)
		vidas_log(VIDAS_LOG_ERR, "locks of a closed file stay: %s", strerror(errno));
}

/* Under node->lock. */
static struct vidas_lock_owner *owner_find(const struct vidas_node *n, uint64_t id)
{
	struct vidas_lock_owner *o;

	LL_FOREACH(n->owners, o)
		if (o->id == id)
			break;
	return o;
}

static int owner_open(struct vidas_node *n)
{
	int fd = vidas_node_open(n, n->key.branch->readonly ? O_RDONLY : O_RDWR);

	/* A program that runs. Nobody has it open for writing, so nobody can want a write lock. */
	return fd == -ETXTBSY ? vidas_node_open(n, O_RDONLY) : fd;
}

/* Under node->lock. */
static void owner_list(struct vidas_lock_owner *o)
{
	LL_PREPEND(o->node->owners, o);
	pthread_mutex_lock(&owners_lock);
	DL_APPEND2(owners, o, all_prev, all_next);
	pthread_mutex_unlock(&owners_lock);
}

void vidas_lock_owner_resume(struct vidas_lock_owner *o)
{
	struct stat st;

	if (o->fd < 0 || o->closed || fstat(o->fd, &st) < 0 || st.st_ino != o->node->key.ino) {
		vidas_keep_free(VIDAS_KEPT_OWNER, o);
		return;
	}
	o->waits = 0;
	owner_list(o);
}

/* Under node->lock: the owner's entry, made if it is new. */
static int owner_get(struct vidas_node *n, uint64_t id, struct vidas_lock_owner **out)
{
	struct vidas_lock_owner *o = owner_find(n, id);

	*out = o;
	if (o)
		return 0;
	o = vidas_keep_new(VIDAS_KEPT_OWNER);
	if (!o)
		return -ENOMEM;
	o->node = n;
	o->id = id;
	o->fd = owner_open(n);
	if (o->fd < 0) {
		int err = o->fd;

		vidas_keep_free(VIDAS_KEPT_OWNER, o);
		return err;
	}
	vidas_keep_publish(o);
	owner_list(o);
	/* Opens from here on tell of each close. */
	n->posix_locks = true;
	*out = o;
	return 0;
}

static void owner_used(struct vidas_lock_owner *o, const struct vidas_handle *h, pid_t pid)
{
	o->via = h;
	o->pid = pid;
	o->closed = false;
}

/* One line of fdinfo: "lock:	1: OFDLCK ADVISORY  WRITE -1 00:1b:1234 0 EOF". */
static bool parse_lock(const char *line, struct vidas_tree_lock *out)
{
	char kind[8], type[8], last[24];
	uint64_t start;

	if (sscanf(line, "lock: %*d: %7s %*s %7s %*s %*s %" SCNu64 " %23s", kind, type, &start,
		   last) != 4 ||
	    strcmp(kind, "OFDLCK") != 0)
		return false;
	out->start = start;
	out->last = !strcmp(last, "EOF") ? INT64_MAX : strtoull(last, NULL, 10);
	out->exclusive = !strcmp(type, "WRITE");
	return true;
}

/* Calls `each` with what is locked through `fd`, until it says false. */
static void fd_locks(int fd, bool (*each)(const struct vidas_tree_lock *held, void *arg), void *arg)
{
	char path[VIDAS_PROC_PATH_MAX], line[256];
	struct vidas_tree_lock held = { 0 };
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f) {
		vidas_log(VIDAS_LOG_ERR, "%s: %s: a deadlock may go unnoticed", path,
			  strerror(errno));
		return;
	}
	while (fgets(line, sizeof(line), f))
		if (parse_lock(line, &held) && !each(&held, arg))
			break;
	fclose(f);
}

struct collection {
	struct vidas_lock_owner *o;
	struct vidas_tree_lock *out;
	struct vidas_branch **branches;
	size_t max, count;
};

static bool collect(const struct vidas_tree_lock *held, void *arg)
{
	struct collection *c = arg;
	struct vidas_branch *b = c->o->node->key.branch;

	if (!b->tree)
		return true;
	if (c->count < c->max) {
		c->out[c->count] = *held;
		c->out[c->count].tree = b->tree;
		c->out[c->count].inode = c->o->node->key.ino;
		c->branches[c->count] = b;
		vidas_branch_ref(b);
	}
	c->count++;
	return true;
}

size_t vidas_locks_held(uint64_t owner, struct vidas_tree_lock *out, struct vidas_branch **branches,
			size_t max)
{
	struct collection c = { .out = out, .branches = branches, .max = max };

	pthread_mutex_lock(&owners_lock);
	DL_FOREACH2(owners, c.o, all_next)
		if (c.o->id == owner)
			fd_locks(c.o->fd, collect, &c);
	pthread_mutex_unlock(&owners_lock);
	return c.count;
}

void vidas_lock_waited(struct vidas_handle *h, struct vidas_lock_owner *o, pid_t pid, bool granted)
{
	pthread_mutex_lock(&h->node->lock);
	o->waits--;
	if (granted)
		owner_used(o, h, pid);
	else if (o->closed && !o->waits)
		owner_free(o);
	pthread_mutex_unlock(&h->node->lock);
}

/* -EAGAIN and, if the caller is to wait, one of the owner's waits is taken. */
static int set_posix(struct vidas_handle *h, uint64_t id, const struct flock *lock, bool sleep,
		     struct vidas_lock_owner **o)
{
	struct flock l = *lock;
	int err = 0;

	l.l_pid = 0;
	pthread_mutex_lock(&h->node->lock);
	*o = owner_find(h->node, id);
	if (!*o && l.l_type != F_UNLCK)
		err = owner_get(h->node, id, o);
	if (err || !*o)
		goto out;
	err = fcntl((*o)->fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
	if (err == -EACCES)
		err = -EAGAIN;
	if (!err && l.l_type != F_UNLCK)
		owner_used(*o, h, lock->l_pid);
	if (err == -EAGAIN && sleep)
		(*o)->waits++;
out:
	pthread_mutex_unlock(&h->node->lock);
	return err;
}

void vidas_op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock,
		    int sleep)
{
	struct vidas_handle *h = vidas_handle_of(fi);
	uint64_t id = fi->lock_owner;
	struct vidas_lock_owner *o;
	int err = set_posix(h, id, lock, sleep, &o);

	(void)ino;
	if (err == -EAGAIN && sleep) {
		vidas_lock_wait(req, h, o, lock, 0);
		return;
	}
	fuse_reply_err(req, -err);
	if (!err)
		vidas_lock_wait_changed(id);
}

void vidas_op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int op)
{
	struct vidas_handle *h = vidas_handle_of(fi);
	int fd = vidas_handle_fd(h), err;

	(void)ino;
	err = fd < 0 ? fd : flock(fd, op | LOCK_NB) < 0 ? -errno : 0;
	if (err == -EAGAIN && !(op & LOCK_NB))
		vidas_lock_wait(req, h, NULL, NULL, op);
	else
		fuse_reply_err(req, -err);
}

static bool is_it(const struct vidas_tree_lock *held, void *arg)
{
	struct vidas_tree_lock *wanted = arg;

	if (held->start != wanted->start || held->last != wanted->last ||
	    held->exclusive != wanted->exclusive)
		return true;
	wanted->inode = 1;
	return false;
}

/* Under node->lock: the process of ours that holds the lock, or 0: another domain's, whose number
 * would mean something else here. */
static pid_t holder(const struct vidas_node *n, const struct flock *l)
{
	struct vidas_tree_lock wanted = {
		.start = (uint64_t)l->l_start,
		.last = l->l_len ? (uint64_t)(l->l_start + l->l_len - 1) : INT64_MAX,
		.exclusive = l->l_type == F_WRLCK,
	};
	struct vidas_lock_owner *o;

	LL_FOREACH(n->owners, o) {
		fd_locks(o->fd, is_it, &wanted);
		if (wanted.inode)
			return o->pid;
	}
	return 0;
}

void vidas_op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct flock *lock)
{
	struct vidas_handle *h = vidas_handle_of(fi);
	int spare = vidas_handle_fd(h), err;
	struct vidas_lock_owner *o;

	(void)ino;
	lock->l_pid = 0;
	pthread_mutex_lock(&h->node->lock);
	o = owner_find(h->node, fi->lock_owner);
	if (!o && spare < 0)
		err = spare;
	else
		err = fcntl(o ? o->fd : spare, F_OFD_GETLK, lock) < 0 ? -errno : 0;
	lock->l_pid = err || lock->l_type == F_UNLCK ? 0 : holder(h->node, lock);
	pthread_mutex_unlock(&h->node->lock);
	if (err)
		fuse_reply_err(req, -err);
	else
		fuse_reply_lock(req, lock);
}

void vidas_locks_flush(struct vidas_handle *h, uint64_t owner)
{
	struct vidas_lock_owner *o;

	pthread_mutex_lock(&h->node->lock);
	o = owner_find(h->node, owner);
	if (o)
		owner_close(o);
	pthread_mutex_unlock(&h->node->lock);
	if (o)
		vidas_lock_wait_changed(owner);
}

/* A file opened for reading before anyone had locked it does not tell of its closes, only of the
 * last one: so a read lock taken through it stays until then, also if the owner closes it earlier and
 * a child still has it. */
void vidas_locks_release(struct vidas_handle *h)
{
	struct vidas_node *n = h->node;
	struct vidas_lock_owner *o, *tmp;

	pthread_mutex_lock(&n->lock);
	LL_FOREACH_SAFE(n->owners, o, tmp)
		if (o->via == h)
			owner_close(o);
	pthread_mutex_unlock(&n->lock);
}
