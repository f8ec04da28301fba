/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of nodes: which inodes the kernel knows, and by how many lookups. */
#include "vidasfs/shard.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTLE_US 2000000

struct vidas_shard vidas_shards[VIDAS_SHARDS];

static _Atomic uint32_t leaving; /* large files whose memory is on its way back */

int vidas_nodes_init(void)
{
	for (unsigned i = 0; i < VIDAS_SHARDS; i++)
		pthread_mutex_init(&vidas_shards[i].lock, NULL);
	return 0;
}

static struct vidas_node *node_new(const struct vidas_node_key *key, mode_t mode)
{
	struct vidas_node *n = vidas_keep_new(VIDAS_KEPT_NODE);

	if (!n)
		return NULL;
	n->key = *key;
	n->type = mode & S_IFMT;
	n->fd = -1;
	pthread_mutex_init(&n->lock, NULL);
	pthread_rwlock_init(&n->window_lock, NULL);
	return n;
}

static void node_free(struct vidas_node *n)
{
	struct vidas_branch *b = n->key.branch;

	vidas_window_free(n);
	pthread_rwlock_destroy(&n->window_lock);
	pthread_mutex_destroy(&n->lock);
	vidas_keep_free(VIDAS_KEPT_NODE, n);
	vidas_branch_put(b);
}

int vidas_node_list(struct vidas_node **out)
{
	struct vidas_node_key key = { .ino = FUSE_ROOT_ID };

	*out = node_new(&key, S_IFDIR);
	if (!*out)
		return -ENOMEM;
	(*out)->refs = 1; /* for as long as we are */
	vidas_keep_publish(*out);
	return 0;
}

static void unhash(struct vidas_shard *s, struct vidas_node *n)
{
	if (n->hashed)
		HASH_DEL(s->table, n);
	n->hashed = false;
}

/*
 * While a node holds a descriptor its inode lives, so an equal number is the same inode. Without
 * one the number may have been given to another inode since: then the handles differ, and the
 * old node goes on under the lookups that the kernel has of it, as one whose file is gone.
 */
static struct vidas_node *same_inode(struct vidas_shard *s, struct vidas_node *n, int fd)
{
	if (!n || n->fd >= 0)
		return n;
	if (fd < 0)
		return NULL;
	if (vidas_fd_same(n, fd))
		return n;
	unhash(s, n);
	return NULL;
}

struct vidas_node *vidas_node_enter(struct vidas_branch *b, const struct stat *st, int fd, bool use)
{
	struct vidas_node_key key = { .branch = b, .dev = st->st_dev, .ino = st->st_ino };
	struct vidas_shard *s = vidas_shard_of(key.ino);
	struct vidas_node *n;
	bool attached = false, fresh = false;

	pthread_mutex_lock(&s->lock);
	HASH_FIND(hh, s->table, &key, sizeof(key), n);
	n = same_inode(s, n, fd);
	if (!n && fd >= 0) {
		n = node_new(&key, st->st_mode);
		if (n) {
			vidas_branch_ref(b);
			HASH_ADD(hh, s->table, key, sizeof(n->key), n);
			n->hashed = fresh = true;
		}
	}
	if (n) {
		n->lookups++;
		n->fd_recent = true;
		if (n->fd < 0) {
			vidas_fd_attach(n, fd);
			attached = true;
		}
		n->fd_users += use;
		if (fresh)
			vidas_keep_publish(n);
	}
	pthread_mutex_unlock(&s->lock);
	if (attached)
		vidas_fd_trim();
	else if (fd >= 0)
		close(fd);
	return n;
}

void vidas_node_resume(struct vidas_node *n)
{
	struct vidas_shard *s = vidas_shard_of(n->key.ino);
	struct vidas_node *other = NULL;
	struct stat st;
	int fd = n->fd;

	memset(&n->hh, 0, sizeof(n->hh));
	n->hashed = false;
	n->refs = n->fd_users = n->fd_pins = n->backing_opens = n->partial_opens = 0;
	n->partial = NULL;
	n->prev = n->next = NULL;
	n->fd = -1;
	n->owners = NULL;
	n->window = NULL;
	atomic_init(&n->relaxed, 0);
	atomic_init(&n->writers, 0);
	pthread_mutex_init(&n->lock, NULL);
	pthread_rwlock_init(&n->window_lock, NULL);
	if (vidas_node_is_list(n)) {
		n->refs = 1;
		return;
	}
	vidas_branch_ref(n->key.branch);
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == n->key.ino && st.st_dev == n->key.dev) {
		n->fd_pins = !st.st_nlink;
		vidas_fd_attach(n, fd);
	}
	/* Of two with one number, one has lost its inode. */
	HASH_FIND(hh, s->table, &n->key, sizeof(n->key), other);
	if (other && n->fd < 0)
		return;
	if (other)
		unhash(s, other);
	HASH_ADD(hh, s->table, key, sizeof(n->key), n);
	n->hashed = true;
}

struct vidas_node *vidas_node_find(struct vidas_branch *b, uint64_t ino)
{
	struct vidas_node_key key = { .branch = b, .dev = b->dev, .ino = ino };
	struct vidas_shard *s = vidas_shard_of(ino);
	struct vidas_node *n;

	pthread_mutex_lock(&s->lock);
	HASH_FIND(hh, s->table, &key, sizeof(key), n);
	if (n)
		n->refs++;
	pthread_mutex_unlock(&s->lock);
	return n;
}

struct vidas_node *vidas_node_get(uint64_t id)
{
	struct vidas_node *n =
		id == FUSE_ROOT_ID ? vidas_fs.root : vidas_keep_find(VIDAS_KEPT_NODE, id);
	struct vidas_shard *s = n ? vidas_shard_of(n->key.ino) : NULL;
	bool known;

	if (!n)
		return NULL;
	/* It may have gone meanwhile, and be another by now. */
	pthread_mutex_lock(&s->lock);
	known = s == vidas_shard_of(n->key.ino) && (n->lookups || n->refs || n->fd_users) &&
		(n == vidas_fs.root || vidas_keep_find(VIDAS_KEPT_NODE, id) == n);
	if (known)
		n->refs++;
	pthread_mutex_unlock(&s->lock);
	return known ? n : NULL;
}

bool vidas_node_known(struct vidas_node *n)
{
	struct vidas_shard *s = vidas_shard_of(n->key.ino);
	bool known;

	pthread_mutex_lock(&s->lock);
	known = n->lookups > 0;
	pthread_mutex_unlock(&s->lock);
	return known;
}

void vidas_node_ref(struct vidas_node *n)
{
	struct vidas_shard *s = vidas_shard_of(n->key.ino);

	pthread_mutex_lock(&s->lock);
	n->refs++;
	pthread_mutex_unlock(&s->lock);
}

static void drop(struct vidas_node *n, uint64_t lookups, unsigned refs, unsigned fd_users)
{
	struct vidas_shard *s = vidas_shard_of(n->key.ino);
	bool last, large;
	int fd = -1;

	pthread_mutex_lock(&s->lock);
	n->lookups -= lookups < n->lookups ? lookups : n->lookups;
	n->refs -= refs;
	n->fd_users -= fd_users;
	last = !n->lookups && !n->refs && !n->fd_users;
	if (last) {
		unhash(s, n);
		if (n->fd >= 0)
			fd = vidas_fd_detach(n);
	}
	pthread_mutex_unlock(&s->lock);
	large = last && atomic_load_explicit(&n->large, memory_order_relaxed);
	if (large) {
		atomic_fetch_add_explicit(&leaving, 1, memory_order_relaxed);
		vidas_loop_step_aside();
	}
	if (fd >= 0)
		close(fd);
	if (last)
		node_free(n);
	if (large) {
		atomic_fetch_sub_explicit(&leaving, 1, memory_order_release);
		vidas_futex_wake(&leaving, INT_MAX);
	}
}

void vidas_nodes_settle(void)
{
	int64_t deadline_us = vidas_now_us() + SETTLE_US;
	uint32_t n;
	int err = 0;

	while (!err && (n = atomic_load_explicit(&leaving, memory_order_acquire)) != 0) {
		vidas_loop_step_aside();
		err = vidas_futex_wait(&leaving, n, deadline_us);
	}
}

void vidas_node_forget(struct vidas_node *n, uint64_t lookups)
{
	if (n != vidas_fs.root)
		drop(n, lookups, 0, 0);
}

void vidas_node_unref(struct vidas_node *n)
{
	drop(n, 0, 1, 0);
}

void vidas_fd_put(struct vidas_node *n)
{
	drop(n, 0, 0, 1);
}

void vidas_nodes_each(void (*each)(struct vidas_node *n))
{
	for (unsigned i = 0; i < VIDAS_SHARDS; i++) {
		struct vidas_shard *s = &vidas_shards[i];
		struct vidas_node **all = NULL, *n, *tmp;
		size_t count = 0;

		pthread_mutex_lock(&s->lock);
		all = calloc(HASH_COUNT(s->table) + 1, sizeof(*all));
		HASH_ITER(hh, s->table, n, tmp) {
			if (!all)
				break;
			n->refs++;
			all[count++] = n;
		}
		pthread_mutex_unlock(&s->lock);
		if (!all)
			vidas_log(VIDAS_LOG_ERR,
				  "out of memory: attributes stay cached until their lease ends");
		for (size_t j = 0; j < count; j++) {
			each(all[j]);
			vidas_node_unref(all[j]);
		}
		free(all);
	}
}
