/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A worker goes on where another was killed: what is in the kept records is all that is known. The kernel
 * still has what that one let it cache, under leases of a session that ends with its connections: so
 * the new session takes over what is open for writing, then the kernel drops all it caches, and only
 * then the old connections are closed.
 */
#include "vidasfs/lock.h"

#include <stdlib.h>
#include <string.h>

/* Descriptors that records have. */
static unsigned char *noted;
static size_t noted_room;

static void note(int fd)
{
	size_t i = (size_t)fd, room = i + 1024;
	unsigned char *more;

	if (fd < 0)
		return;
	if (i >= noted_room) {
		more = realloc(noted, room);
		if (!more)
			abort(); /* rather than close what is open: the next one may have more memory */
		memset(more + noted_room, 0, room - noted_room);
		noted = more;
		noted_room = room;
	}
	noted[i] = 1;
}

static bool is_noted(int fd)
{
	return (size_t)fd < noted_room && noted[fd];
}

static void resume_branch(void *record)
{
	vidas_branch_resume(record);
}

static void resume_node(void *record)
{
	vidas_node_resume(record);
}

static void resume_handle(void *record)
{
	vidas_handle_resume(record);
}

static void resume_dir(void *record)
{
	vidas_dir_resume(record);
}

static void resume_owner(void *record)
{
	vidas_lock_owner_resume(record);
}

static void note_node(void *record)
{
	const struct vidas_node *n = record;

	note(n->fd);
}

static void note_handle(void *record)
{
	const struct vidas_handle *h = record;

	note(h->fd);
}

static void note_owner(void *record)
{
	const struct vidas_lock_owner *o = record;

	note(o->fd);
}

/* One that nobody knows goes, and with the last one of a branch that. */
static void drop_unknown(void *record)
{
	struct vidas_node *n = record;

	vidas_node_ref(n);
	vidas_node_unref(n);
}

static void drop_attrs(void *record)
{
	struct vidas_node *n = record;

	if (n->lookups)
		fuse_lowlevel_notify_inval_inode(vidas_fs.se, vidas_node_id(n), -1, 0);
}

void vidas_resume(void)
{
	vidas_fs.root = vidas_kept->root;
	vidas_keep_each(VIDAS_KEPT_BRANCH, resume_branch);
	vidas_keep_each(VIDAS_KEPT_NODE, resume_node);
	vidas_keep_each(VIDAS_KEPT_HANDLE, resume_handle);
	vidas_keep_each(VIDAS_KEPT_DIR, resume_dir);
	vidas_keep_each(VIDAS_KEPT_OWNER, resume_owner);
	vidas_keep_each(VIDAS_KEPT_NODE, note_node);
	vidas_keep_each(VIDAS_KEPT_HANDLE, note_handle);
	vidas_keep_each(VIDAS_KEPT_OWNER, note_owner);
}

void vidas_resumed(void)
{
	/* op_init has dropped the names. */
	vidas_keep_each(VIDAS_KEPT_NODE, drop_attrs);
	vidas_channel_resend();
	vidas_keeper_sweep(is_noted);
	vidas_keep_each(VIDAS_KEPT_NODE, drop_unknown);
	free(noted);
	noted = NULL;
	noted_room = 0;
}
