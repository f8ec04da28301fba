/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/sync/partial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

int sync_note_error(int fd, int err)
{
	const char *reason = vidas_fail_text();
	char text[256];

	if (!err) {
		fremovexattr(fd, SYNC_ERROR);
		return 0;
	}
	snprintf(text, sizeof(text), "%d %s", -err, *reason ? reason : strerror(-err));
	/* Where there is no room even for that the caller still gets `err`. */
	fsetxattr(fd, SYNC_ERROR, text, strlen(text), 0);
	return err;
}

int sync_read_error(int fd, char *words, size_t size)
{
	char link[32], text[256];
	ssize_t n;
	long number;
	char *end;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = getxattr(link, SYNC_ERROR, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	number = strtol(text, &end, 10);
	if (number <= 0 || number > 4095 || *end != ' ')
		return 0;
	snprintf(words, size, "%s", end + 1);
	return (int)-number;
}

static enum vidas_sync_state state_of(struct vidas_sync *s, const struct sync_record *rec,
				      const struct stat *st, int fd, bool absent, bool renamed)
{
	enum sync_doing doing;

	if (sync_inode_busy(s, st->st_ino, &doing)) {
		if (doing == SYNC_FETCH && absent)
			return VIDAS_SYNC_FETCHING;
		if (doing == SYNC_FLUSH && !absent)
			return VIDAS_SYNC_FLUSHING;
	}
	if (rec->flags & SYNC_CONFLICT)
		return VIDAS_SYNC_CONFLICT;
	if (S_ISDIR(st->st_mode)) {
		if (absent)
			return VIDAS_SYNC_ABSENT_BYTES;
		return rec->flags & SYNC_AGREED ? VIDAS_SYNC_CLEAN : VIDAS_SYNC_DIRTY;
	}
	if (renamed || sync_is_dirty(s, rec, st, fd, absent, NULL) || !sync_same_attrs(rec, st))
		return VIDAS_SYNC_DIRTY;
	return absent ? VIDAS_SYNC_ABSENT_BYTES : VIDAS_SYNC_CLEAN;
}

/* Are all chunks here, though nobody has taken the mark off yet? */
static bool is_complete(struct vidas_sync *s, const char *key, int fd, const struct stat *st)
{
	uint64_t bytes;
	size_t n;

	return sync_partial_extents(s, key, fd, &bytes, NULL, 0, &n) == 0 && bytes &&
	       bytes == (uint64_t)st->st_size;
}

int vidas_sync_extents(struct vidas_sync *s, int fd, uint64_t *bytes, struct vidas_sync_extent *out,
		       size_t max, size_t *count)
{
	char key[PATH_MAX];
	int err = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, key);

	return err ? err : sync_partial_extents(s, key, fd, bytes, out, max, count);
}

int vidas_sync_info(struct vidas_sync *s, const char *path, struct vidas_sync_info *info)
{
	struct sync_record rec;
	char key[PATH_MAX];
	struct stat st;
	bool absent = false, renamed = false, complete = false;
	int look, fd = -1, err;

	look = sync_tree_look(s, path, 0, &st);
	if (look < 0)
		return look;
	*info = (struct vidas_sync_info){ 0 };
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
		fd = sync_reopen(look, O_RDONLY | O_NONBLOCK);
		if (fd < 0) {
			close(look);
			return fd;
		}
		absent = sync_path_xattr(fd, VIDAS_SYNC_ABSENT, key) == 0;
		renamed = absent && strcmp(key, path) != 0;
		complete = absent && S_ISREG(st.st_mode) && is_complete(s, key, fd, &st);
		info->error = sync_read_error(fd, info->error_text, sizeof(info->error_text));
	}
	err = sync_known_get(s, path, &rec);
	info->version = rec.version;
	/* The container's own directory is no entry of the store. */
	if (!*path)
		info->state = VIDAS_SYNC_CLEAN;
	else
		info->state = state_of(s, &rec, &st, look, absent, renamed);
	if (complete && info->state == VIDAS_SYNC_ABSENT_BYTES)
		info->state = VIDAS_SYNC_CLEAN;
	if (fd >= 0)
		close(fd);
	close(look);
	return err && err != -ENOENT ? err : 0;
}

const char *vidas_sync_state_name(enum vidas_sync_state state)
{
	static const char *const name[] = {
		[VIDAS_SYNC_CLEAN] = "clean",	      [VIDAS_SYNC_DIRTY] = "dirty",
		[VIDAS_SYNC_ABSENT_BYTES] = "absent", [VIDAS_SYNC_FETCHING] = "fetching",
		[VIDAS_SYNC_FLUSHING] = "flushing",   [VIDAS_SYNC_CONFLICT] = "conflict",
	};

	return (size_t)state < VIDAS_ARRAY_SIZE(name) ? name[state] : "unknown";
}
