/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files of a container: their marks, their records, and what these say of each other. */
#include "pool/host/fsck_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pool/policy/attr.h"

/* One thing of the tree; `fd` a real one of files and directories. */
struct item {
	struct fsck *k;
	const char *path;
	char place[PATH_MAX];
	int look, fd;
	struct stat st;
	bool absent;
	char key[PATH_MAX]; /* if absent */
};

static bool has(const struct item *i, const char *mark)
{
	return fgetxattr(i->fd, mark, NULL, 0) >= 0;
}

static void take_off(const struct item *i, const char *mark)
{
	fsck_repaired(i->k, i->place,
		      fremovexattr(i->fd, mark) < 0 && errno != ENODATA ? -errno : 0);
}

static const char *const push_marks[] = { SYNC_PUSHED, SYNC_BEGUN, NULL };

/* Marks that belong to containers with a root. */
static void check_rootless(const struct item *i)
{
	if (has(i, VIDAS_SYNC_ABSENT))
		(void)fsck_find(
			i->k, FSCK_PROBLEM, i->place,
			"is said to be in the store only, but the container has no root: give it "
			"its root again (meta), or remove it");
	for (const char *const *mark = push_marks; *mark; mark++)
		if (has(i, *mark) &&
		    fsck_find(
			    i->k, FSCK_PROBLEM, i->place,
			    "is said to be pushed, but the container has no root; the mark is to go"))
			take_off(i, *mark);
}

/* The key is lost; under its own name it is known again, if it was not renamed since. */
static void mend_key(struct item *i)
{
	struct sync_record rec;
	bool own = sync_known_get(&i->k->sync, i->path, &rec) == 0 && rec.inode == i->st.st_ino;

	if (fsck_find(
		    i->k, FSCK_PROBLEM, i->place,
		    own ? "is in the store only, but under which key is damaged; it can be the one "
			  "of its name" :
			  "is in the store only, but under which key is damaged; look for it there "
			  "(do not delete it here), and say so: setfattr -n " VIDAS_SYNC_ABSENT
			  " -v KEY") &&
	    own)
		fsck_repaired(i->k, i->place,
			      fsetxattr(i->fd, VIDAS_SYNC_ABSENT, i->path, strlen(i->path), 0) < 0 ?
				      -errno :
				      0);
}

static void check_absent(struct item *i)
{
	struct sync_record rec;
	int err = sync_path_xattr(i->fd, VIDAS_SYNC_ABSENT, i->key);

	i->absent = !err || err == -EINVAL;
	if (err == -EINVAL)
		mend_key(i);
	if (!i->absent || S_ISDIR(i->st.st_mode))
		return;
	i->k->absent++;
	/* Without a record a killed import has not come to note it: fetching finds out. */
	if (!err && sync_known_get(&i->k->sync, i->key, &rec) == 0 &&
	    rec.type != VIDAS_BACKEND_FILE)
		(void)fsck_find(
			i->k, FSCK_PROBLEM, i->place,
			"is in the store only, as '%s', which is known as something else than a "
			"file; look what the store has there (do not delete it here)",
			i->key);
}

static void check_marks(struct item *i)
{
	char key[PATH_MAX];

	check_absent(i);
	if (has(i, SYNC_GONE) && !i->k->f->online &&
	    fsck_find(i->k, FSCK_LEFTOVER, i->place,
		      "was about to be removed, as the store had removed it; the next update does"))
		take_off(i, SYNC_GONE);
	if (S_ISDIR(i->st.st_mode)) {
		if (i->absent && has(i, VIDAS_XATTR_IMPORTED) &&
		    fsck_find(
			    i->k, FSCK_PROBLEM, i->place,
			    "its entries are said to be here, and to be in the store only; they are "
			    "to be asked for again"))
			take_off(i, VIDAS_XATTR_IMPORTED);
		return;
	}
	for (const char *const *mark = push_marks; *mark; mark++)
		if (sync_path_xattr(i->fd, *mark, key) == -EINVAL &&
		    fsck_find(
			    i->k, FSCK_PROBLEM, i->place,
			    "the key under which it was pushed is damaged; the mark is to go, it is "
			    "pushed again"))
			take_off(i, *mark);
	if (has(i, SYNC_PUSHED) && sync_path_xattr(i->fd, SYNC_BEGUN, key) == 0 &&
	    !i->k->f->online &&
	    fsck_find(i->k, FSCK_LEFTOVER, i->place,
		      "its first push is said to be under way, and was done; the mark says nothing"))
		take_off(i, SYNC_BEGUN);
}

/* Are its bytes those agreed on, where nothing says that they changed? */
static void check_bytes(const struct item *i, const struct sync_record *rec)
{
	struct sync_digest now = { 0 };

	if (!i->k->f->data || !rec->digest.known ||
	    sync_digest_file(i->fd, rec->size, NULL, &now) < 0 || !now.known ||
	    memcmp(now.bytes, rec->digest.bytes, sizeof(now.bytes)) == 0 ||
	    fsck_has_objects(i->k, i->st.st_ino))
		return;
	(void)fsck_find(
		i->k, FSCK_PROBLEM, i->place,
		"has other bytes than were pushed or fetched last, though nothing says that it was "
		"changed; compare it with the store: touch it to push these, or copy the store's "
		"over it");
}

static void check_file(struct item *i)
{
	struct fsck_inode *seen = NULL;
	struct sync_record rec;
	enum sync_change change = SYNC_DIFFERS;

	i->k->files++;
	HASH_FIND(hh, i->k->inodes, &i->st.st_ino, sizeof(uint64_t), seen);
	if (!seen && (seen = calloc(1, sizeof(*seen)))) {
		seen->inode = i->st.st_ino;
		HASH_ADD(hh, i->k->inodes, inode, sizeof(seen->inode), seen);
		if (!seen->hh.tbl)
			free(seen);
	}
	if (!i->k->rooted) {
		check_rootless(i);
		return;
	}
	check_marks(i);
	if (i->absent)
		return;
	if (sync_known_get(&i->k->sync, i->path, &rec) == 0)
		change = sync_compare(&i->k->sync, &rec, &i->st, i->look);
	if (change == SYNC_SAME)
		check_bytes(i, &rec);
	else if (change == SYNC_DIFFERS || !i->k->f->data ||
		 sync_is_dirty(&i->k->sync, &rec, &i->st, i->fd, false, NULL))
		i->k->changed++;
}

static void check_policies(const struct item *i)
{
	char name[64], value[VIDAS_POLICY_BYTES];

	for (const struct vidas_attr *a = vidas_attrs; a->name; a++) {
		snprintf(name, sizeof(name), VIDAS_XATTR_PREFIX "%s", a->name);
		if (a->kind == VIDAS_ATTR_POLICY && has(i, name) &&
		    vidas_policy_stored(i->fd, a, value) < 0 &&
		    fsck_find(i->k, FSCK_PROBLEM, i->place,
			      "%s is set to what is no value of it, and counts as not set", name))
			take_off(i, name);
	}
}

static int look_at(struct fsck *k, const char *path, struct sync_list *dirs)
{
	struct item i = { .k = k, .path = path, .fd = -1 };
	int err = 0;

	snprintf(i.place, sizeof(i.place), "containers/%s/tree%s%s", k->name, *path ? "/" : "",
		 path);
	i.look = sync_tree_look(&k->sync, path, 0, &i.st);
	if (i.look < 0)
		return 0; /* removed since it was listed */
	if (S_ISREG(i.st.st_mode) || S_ISDIR(i.st.st_mode))
		i.fd = sync_reopen(i.look, O_RDONLY | O_NONBLOCK);
	if (i.fd >= 0) {
		check_policies(&i);
		if (S_ISREG(i.st.st_mode))
			check_file(&i);
		else if (k->rooted)
			check_marks(&i);
		else
			check_rootless(&i);
		if (S_ISDIR(i.st.st_mode))
			err = sync_list_add(dirs, path);
		close(i.fd);
	}
	close(i.look);
	return err;
}

struct listing {
	struct fsck *k;
	const char *dir;
	struct sync_list *dirs;
	int (*each)(struct fsck *k, const char *path, struct sync_list *dirs);
};

static int list_each(void *arg, const char *name)
{
	struct listing *l = arg;
	char path[PATH_MAX];

	/* What is too deep for a path cannot be reached by one, either: it is nobody's but a domain's. */
	return sync_join(path, l->dir, name) ? 0 : l->each(l->k, path, l->dirs);
}

static void walk(struct fsck *k, int top,
		 int (*each)(struct fsck *k, const char *path, struct sync_list *dirs))
{
	struct sync_list dirs = { 0 };
	struct listing l = { .k = k, .dirs = &dirs, .each = each };
	int err = each(k, "", &dirs), fd;

	for (size_t i = 0; !err && i < dirs.count; i++) {
		l.dir = dirs.path[i];
		fd = sync_open_at(top, l.dir, O_RDONLY | O_DIRECTORY);
		if (fd < 0)
			continue;
		err = sync_each_entry(fd, list_each, &l);
		close(fd);
	}
	sync_list_free(&dirs);
	if (err)
		(void)fsck_find(k, FSCK_PROBLEM, k->name, "was not looked at to its end: %s",
				strerror(-err));
}

void fsck_tree(struct fsck *k)
{
	walk(k, k->sync.tree, look_at);
}

/* Records -------------------------------------------------------------------------------------- */

static void damaged(struct fsck *k, const char *path, const char *place, bool directory)
{
	int fd, err = 0;

	if (!fsck_find(
		    k, FSCK_PROBLEM, place,
		    "a record of what the store has is damaged; it is to go: the file is pushed again, "
		    "and what the store has is kept if it is another"))
		return;
	if (directory) {
		err = fd = sync_open_at(k->sync.known, path, O_RDONLY | O_DIRECTORY);
		if (fd >= 0) {
			err = fremovexattr(fd, SYNC_KNOWN) < 0 ? -errno : 0;
			close(fd);
		}
	} else {
		err = sync_known_drop(&k->sync, path);
	}
	fsck_repaired(k, place, err);
}

static int look_at_record(struct fsck *k, const char *path, struct sync_list *dirs)
{
	struct sync_record rec;
	char place[PATH_MAX], raw;
	struct stat st;
	bool directory;
	ssize_t n;
	int fd;

	snprintf(place, sizeof(place), "containers/%s/known%s%s", k->name, *path ? "/" : "", path);
	fd = sync_open_at(k->sync.known, path, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0)
		st.st_mode = 0;
	n = fgetxattr(fd, SYNC_KNOWN, &raw, 0);
	close(fd);
	directory = S_ISDIR(st.st_mode);
	/* A directory needs none: it may be there for what is below it. A file without one was about to
	 * get it when vidasd was killed, and counts as not known. */
	if (n < 0 && !directory && !k->f->online &&
	    fsck_find(k, FSCK_LEFTOVER, place, "a record that was not finished; it counts as none"))
		fsck_repaired(k, place, sync_known_drop(&k->sync, path));
	if (n >= 0 && (sync_known_get(&k->sync, path, &rec) < 0 ||
		       directory != (rec.type == VIDAS_BACKEND_DIRECTORY)))
		damaged(k, path, place, directory);
	return directory ? sync_list_add(dirs, path) : 0;
}

void fsck_known(struct fsck *k)
{
	walk(k, k->sync.known, look_at_record);
}
