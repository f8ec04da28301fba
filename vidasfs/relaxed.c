/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Relaxed consistency: names and attributes are cached for a time, without leases; so a change of
 * them costs no recall, whoever makes it. What the policy is of a node is known with the node: its own
 * xattr, or that of the directory it was last found in. When the policy is set or removed anywhere, all
 * domains are told (VIDAS_WIRE_RECALL_POLICIES), drop all that they cache, and look for it again.
 */
#include "vidasfs/fs.h"

#include <string.h>
#include <sys/xattr.h>

#include "pool/policy/attr.h"

#define NAME VIDAS_XATTR_PREFIX "consistency"

/* Of vidas_node.relaxed: this bit, above it the branch's `policies` for which it is so. */
#define RELAXED 1u

static const char relaxed_word[] = "relaxed", strict_word[] = "strict";
static struct vidas_attr here;
static const struct vidas_attr *table_row;

int vidas_relaxed_init(void)
{
	table_row = vidas_attr_find(NAME, NULL);
	if (!table_row)
		return vidas_fail(-EINVAL, "there is no attribute " NAME);
	here = *table_row;
	if (vidas_fs.options.consistency)
		here.fallback = vidas_fs.options.consistency;
	return 0;
}

bool vidas_relaxed_attr(const struct vidas_attr *attr)
{
	return attr == table_row;
}

const struct vidas_attr *vidas_attr_here(const struct vidas_attr *attr)
{
	return vidas_relaxed_attr(attr) ? &here : attr;
}

static bool by_default(void)
{
	return !strcmp(here.fallback, relaxed_word);
}

/* What the inode says itself: 1 relaxed, 0 strict, -1 nothing. */
static int own_word(int fd)
{
	char path[VIDAS_PROC_PATH_MAX], value[16];
	ssize_t n = getxattr(vidas_fd_path(fd, path), NAME, value, sizeof(value));

	if (n == (ssize_t)strlen(relaxed_word) && !memcmp(value, relaxed_word, (size_t)n))
		return 1;
	return n == (ssize_t)strlen(strict_word) && !memcmp(value, strict_word, (size_t)n) ? 0 : -1;
}

/* By its present path. One that has none any more has its own word. */
static bool by_path(struct vidas_node *n)
{
	char path[4096], value[16];
	int fd, own;

	if (!vidas_node_path(n, path))
		return vidas_policy_get(n->key.branch->fd, path, &here, value, sizeof(value),
					NULL) >= 0 &&
		       !strcmp(value, relaxed_word);
	fd = vidas_fd_get(n);
	own = fd < 0 ? 0 : own_word(fd);
	if (fd >= 0)
		vidas_fd_put(n);
	return own < 0 ? by_default() : own;
}

static void keep(struct vidas_node *n, uint32_t policies, bool relaxed)
{
	atomic_store_explicit(&n->relaxed, policies << 1 | (relaxed ? RELAXED : 0),
			      memory_order_relaxed);
}

bool vidas_node_relaxed(struct vidas_node *n)
{
	struct vidas_branch *b = n->key.branch;
	uint32_t policies, known;
	bool relaxed;

	if (!b)
		return false;
	if (!atomic_load_explicit(&b->relaxed, memory_order_acquire))
		return by_default();
	policies = atomic_load_explicit(&b->policies, memory_order_acquire) & UINT32_MAX >> 1;
	known = atomic_load_explicit(&n->relaxed, memory_order_relaxed);
	if (known >> 1 == policies)
		return known & RELAXED;
	relaxed = by_path(n);
	keep(n, policies, relaxed);
	return relaxed;
}

void vidas_relaxed_found(struct vidas_node *dir, struct vidas_node *n, int fd)
{
	struct vidas_branch *b = n->key.branch;
	uint32_t policies;
	int own;

	if (!atomic_load_explicit(&b->relaxed, memory_order_acquire))
		return;
	policies = atomic_load_explicit(&b->policies, memory_order_acquire) & UINT32_MAX >> 1;
	own = own_word(fd);
	keep(n, policies, own < 0 ? vidas_node_relaxed(dir) : own);
}

void vidas_relaxed_open(struct vidas_node *n)
{
	if (atomic_load_explicit(&n->cached, memory_order_relaxed) && vidas_node_relaxed(n))
		vidas_lease_drop_attrs(n);
}

bool vidas_relaxed_pages(struct vidas_node *n, int flags)
{
	/* Where an append goes is known where the pool is, and a page cache that guesses is wrong. */
	return !(flags & (O_APPEND | O_DIRECT)) && S_ISREG(n->type) && vidas_node_relaxed(n);
}

void vidas_relaxed_renew(struct vidas_branch *b, bool any)
{
	if (any || vidas_tree_relaxed(b->tree))
		atomic_store_explicit(&b->relaxed, true, memory_order_release);
	atomic_fetch_add_explicit(&b->policies, 1, memory_order_acq_rel);
}
