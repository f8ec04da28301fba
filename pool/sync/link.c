/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Of a file that the store has under another name already: one more name there, instead of the bytes once
 * more. That is so for hard links, and for what was renamed: its old name goes afterwards, as always.
 *
 * In most stores a new name, or one less, changes the version of all names. So a key that may have
 * others is marked as such (SYNC_LINKED) before: from then on another version of the same bytes, by size and
 * mtime, is the same to us.
 */
#include "pool/sync/internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/* No path of a store begins like this. */
#define NAMES_OF "/%llu"

/* What `path` was pushed as last, if that is another key; *names: it is to be taken in turns with all its
 * other names. */
static int other_key(struct vidas_sync *s, const char *path, uint64_t inode,
		     char from[static PATH_MAX], struct stat *st, bool *names)
{
	int look = sync_tree_look(s, path, inode, st), fd = -EINVAL, err;

	*from = '\0';
	*names = false;
	if (look < 0)
		return look;
	if (S_ISREG(st->st_mode))
		fd = sync_reopen(look, O_RDONLY | O_NONBLOCK);
	close(look);
	if (fd < 0)
		return S_ISREG(st->st_mode) ? fd : 0;
	err = sync_path_xattr(fd, SYNC_PUSHED, from);
	if (err == -ENODATA)
		err = sync_path_xattr(fd, SYNC_BEGUN, from);
	if (err == -ENODATA)
		err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, from);
	close(fd);
	if (err || strcmp(from, path) == 0)
		*from = '\0';
	*names = *from || st->st_nlink > 1;
	return 0;
}

int sync_link_turns(struct vidas_sync *s, struct sync_link_turns *t, const char *path,
		    uint64_t inode)
{
	bool names, first;
	struct stat st;
	int err = 0;

	*t = (struct sync_link_turns){ 0 };
	if (sync_can(s, VIDAS_BACKEND_LINKS)) {
		err = other_key(s, path, inode, t->from, &st, &names);
		if (!err && names) {
			snprintf(t->names_of, sizeof(t->names_of), NAMES_OF,
				 (unsigned long long)st.st_ino);
			err = sync_turn_path(s, &t->names, t->names_of);
			if (!err)
				err = other_key(s, path, inode, t->from, &st, &names);
		}
	}
	first = strcmp(t->from, path) < 0;
	if (!err && *t->from && first)
		err = sync_turn_path(s, &t->other, t->from);
	if (!err)
		err = sync_turn_path(s, &t->path, path);
	if (!err && *t->from && !first)
		err = sync_turn_path(s, &t->other, t->from);
	return err;
}

void sync_link_give(struct vidas_sync *s, struct sync_link_turns *t)
{
	sync_turn_give(s, &t->path);
	sync_turn_give(s, &t->other);
	sync_turn_give(s, &t->names);
}

bool sync_link_stays(struct vidas_sync *s, int fd, const struct stat *st)
{
	return sync_can(s, VIDAS_BACKEND_LINKS) && st->st_nlink == 1 &&
	       fgetxattr(fd, VIDAS_XATTR_FETCH, NULL, 0) < 0 &&
	       fgetxattr(fd, SYNC_PUSHED, NULL, 0) < 0;
}

int sync_link_known(struct vidas_sync *s, const char *from, int fd, const struct stat *st,
		    struct sync_turn *turn, struct sync_record *have)
{
	struct vidas_backend_stat there;
	int err = sync_known_get(s, from, have);

	if (err)
		return err == -ENOENT ? 0 : err;
	if (have->type != VIDAS_BACKEND_FILE ||
	    (have->flags & (SYNC_AGREED | SYNC_FETCHING)) != SYNC_AGREED ||
	    sync_is_dirty(s, have, st, fd, false, turn))
		return 0;
	err = vidas_store_stat(s->store, from, &there);
	if (err || !there.version.size || !sync_is_ours(s, from, have, &there))
		return err == -ENOENT ? 0 : err;
	have->version = there.version;
	if (have->flags & SYNC_LINKED)
		return 1;
	have->flags |= SYNC_LINKED;
	err = sync_known_put(s, from, have);
	return err ? err : 1;
}

bool sync_link_parted(struct vidas_sync *s, const char *from, const struct sync_record *rec)
{
	struct sync_record have;

	return *from && sync_known_get(s, from, &have) == 0 && (have.flags & SYNC_AGREED) &&
	       have.inode == rec->inode && have.push_tag != rec->push_tag;
}

int sync_link_name(struct vidas_sync *s, const char *from, struct sync_record *have,
		   const char *path, struct vidas_backend_link *link)
{
	struct vidas_backend_version now = { 0 };
	struct vidas_backend_stat there;
	int err;

	link->version = &have->version;
	err = vidas_store_link(s->store, from, path, link, &now);
	switch (err) {
	case 0:
		break;
	case -EOPNOTSUPP:
	case -EMLINK:
	case -EPERM:
	case -EXDEV:
		sync_link_tell(s, path, vidas_fail_text());
		return 1;
	case -ENOENT:
	case -EINVAL:
		return 1;
	default:
		return err;
	}
	if (!now.size && vidas_store_stat(s->store, path, &there) == 0)
		now = there.version;
	have->version = now;
	return sync_known_put(s, from, have);
}

void sync_link_tell(struct vidas_sync *s, const char *path, const char *why)
{
	if (sync_tell_once(s, SYNC_TOLD_LINKS))
		vidas_log(
			VIDAS_LOG_NOTICE,
			"'%s' and others have several names here: in the store each name is a file "
			"of its own%s%s",
			path, *why ? ": " : "", why);
}
