/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/host/fsck_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool/host/container.h"

static void place_of(const struct fsck *k, const char *part, char out[static PATH_MAX])
{
	snprintf(out, PATH_MAX, "containers/%s%s%s", k->name, *part ? "/" : "", part);
}

static void check_meta(struct fsck *k)
{
	struct host_meta meta;
	char place[PATH_MAX];

	place_of(k, "meta", place);
	if (vidas_host_meta_load(k->dir, &meta) < 0)
		(void)fsck_find(
			k, FSCK_PROBLEM, place,
			"cannot be read, vidasd leaves the container out: %s; write it anew, as "
			"{\"initiator\": ID, \"domains\": [], \"root\": URL}",
			vidas_fail_text());
	k->rooted = meta.root;
	free(meta.root);
}

static int container_part(void *arg, const char *name)
{
	static const char *const ours[] = { "meta", "tree", "control", "leases", "known", "stage" };
	struct fsck *k = arg;
	char place[PATH_MAX];

	place_of(k, name, place);
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(ours); i++)
		if (strcmp(name, ours[i]) == 0)
			return 0;
	if (strcmp(name, ".meta.new") != 0)
		(void)fsck_find(k, FSCK_PROBLEM, place,
				"does not belong here; move it away, vidasd does not touch it");
	else if (fsck_find(k, FSCK_LEFTOVER, place,
			   "left by a vidasd killed over a change of meta"))
		fsck_remove(k, k->dir, name, place);
	return 0;
}

static void check_leases(struct fsck *k)
{
	int fd = sync_open_at(k->dir, "leases", O_RDONLY | O_NONBLOCK);
	struct vidas_shm_leases head = { 0 };
	char place[PATH_MAX];
	struct stat st;

	place_of(k, "leases", place);
	if (fd == -ENOENT)
		return; /* made anew */
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    vidas_pread_all(fd, &head, offsetof(struct vidas_shm_leases, bucket), 0) < 0) {
		(void)fsck_find(k, FSCK_PROBLEM, place,
				"cannot be read; remove it, vidasd makes a new one");
	} else if (head.magic != VIDAS_SHM_LEASE_MAGIC || head.version != VIDAS_SHM_VERSION ||
		   st.st_size != (off_t)sizeof(head)) {
		if (fsck_find(
			    k, FSCK_PROBLEM, place,
			    "a domain, or an older version, has left it with a wrong head or size; "
			    "vidasd mends that when it starts"))
			fsck_remove(k, k->dir, "leases", place);
	}
	if (fd >= 0)
		close(fd);
}

/* Control files -------------------------------------------------------------------------------- */

struct controls {
	struct fsck *k;
	int dir;
	uint64_t inode; /* that is looked for */
};

static int names_inode(void *arg, const char *name)
{
	const struct controls *c = arg;
	struct vidas_shm_resource head = { 0 };
	int fd = sync_open_at(c->dir, name, O_RDONLY | O_NONBLOCK);

	if (fd < 0)
		return 0;
	if (vidas_pread_all(fd, &head, sizeof(head), 0) < 0)
		head.magic = 0;
	close(fd);
	return head.magic == VIDAS_SHM_CONTROL_MAGIC && head.inode == c->inode;
}

bool fsck_has_objects(struct fsck *k, uint64_t inode)
{
	struct controls c = { .k = k, .inode = inode };
	bool yes;

	c.dir = sync_open_at(k->dir, "control", O_RDONLY | O_DIRECTORY);
	if (c.dir < 0)
		return false;
	yes = sync_each_entry(c.dir, names_inode, &c) > 0;
	close(c.dir);
	return yes;
}

static int control_entry(void *arg, const char *name)
{
	const struct controls *c = arg;
	struct vidas_shm_resource head = { 0 };
	struct fsck_inode *inode = NULL;
	char place[PATH_MAX], part[NAME_MAX + 16];
	const char *wrong = NULL;
	int fd;

	snprintf(part, sizeof(part), "control/%s", name);
	place_of(c->k, part, place);
	fd = sync_open_at(c->dir, name, O_RDONLY | O_NONBLOCK);
	if (fd < 0 || strspn(name, "0123456789") != strlen(name) ||
	    vidas_pread_all(fd, &head, sizeof(head), 0) < 0)
		wrong = "is no control file";
	if (fd >= 0)
		close(fd);
	if (!wrong && !head.magic)
		return 0; /* a blank one, made in advance */
	HASH_FIND(hh, c->k->inodes, &head.inode, sizeof(head.inode), inode);
	if (!wrong && (head.magic != VIDAS_SHM_CONTROL_MAGIC || head.version != VIDAS_SHM_VERSION))
		wrong = "has a wrong head, which only a domain can have written";
	else if (!wrong && inode && inode->controls++)
		wrong = "is a second one for the same file, which only a domain can have made";
	if (wrong) {
		if (fsck_find(c->k, FSCK_PROBLEM, place,
			      "%s; vidasd drops it when it starts, its objects are gone", wrong))
			fsck_remove(c->k, c->dir, name, place);
	} else if (!inode && !c->k->f->online) {
		/* In use, the file may be open still. */
		if (fsck_find(
			    c->k, FSCK_LEFTOVER, place,
			    "belongs to inode %llu, which is not in the tree any more; vidasd drops "
			    "it",
			    (unsigned long long)head.inode))
			fsck_remove(c->k, c->dir, name, place);
	}
	return 0;
}

static void check_controls(struct fsck *k)
{
	struct controls c = { .k = k };
	char place[PATH_MAX];

	place_of(k, "control", place);
	c.dir = sync_open_at(k->dir, "control", O_RDONLY | O_DIRECTORY);
	if (c.dir < 0) {
		if (fsck_find(k, FSCK_PROBLEM, place,
			      "is missing, vidasd leaves the container out; make the directory"))
			fsck_repaired(k, place, mkdirat(k->dir, "control", 0700) < 0 ? -errno : 0);
		return;
	}
	(void)sync_each_entry(c.dir, control_entry, &c);
	close(c.dir);
}

/* The stage ------------------------------------------------------------------------------------ */

static int stage_entry(void *arg, const char *name)
{
	struct fsck *k = arg;
	char place[PATH_MAX], part[NAME_MAX + 16];

	snprintf(part, sizeof(part), "stage/%s", name);
	place_of(k, part, place);
	/* What was on its way out may be a domain's own file by a hair: vidasd can tell. */
	if (strncmp(name, "gone-", 5) == 0)
		(void)fsck_find(
			k, FSCK_LEFTOVER, place,
			"was on its way out of the tree; vidasd removes it, or gives it back as "
			"vidas-recovered-*, when it next opens the store");
	else if (fsck_find(k, FSCK_LEFTOVER, place,
			   "was on its way into the tree; vidasd removes it when it next opens the "
			   "store"))
		fsck_remove(k, k->sync.stage, name, place);
	return 0;
}

static void forget_inodes(struct fsck *k)
{
	struct fsck_inode *i, *next;

	HASH_ITER(hh, k->inodes, i, next) {
		HASH_DEL(k->inodes, i);
		free(i);
	}
}

static void check_files(struct fsck *k)
{
	char place[PATH_MAX], line[VIDAS_NAME_MAX + 256];

	place_of(k, "tree", place);
	k->sync.tree = sync_open_at(k->dir, "tree", O_RDONLY | O_DIRECTORY);
	k->sync.known = sync_open_at(k->dir, "known", O_RDONLY | O_DIRECTORY);
	k->sync.stage = sync_open_at(k->dir, "stage", O_RDONLY | O_DIRECTORY);
	k->files = k->absent = k->changed = 0;
	if (k->sync.tree < 0) {
		(void)fsck_find(
			k, FSCK_PROBLEM, place,
			k->rooted ? "is missing, vidasd leaves the container out; make the "
				    "directory: what the store has comes again" :
				    "is missing: the container was removed when it was empty, and "
				    "vidasd takes the rest away");
	} else {
		fsck_tree(k);
		if (k->sync.known >= 0)
			fsck_known(k);
	}
	if (k->sync.stage >= 0 && !k->f->online)
		(void)sync_each_entry(k->sync.stage, stage_entry, k);
	check_controls(k);
	if (!k->f->online || k->again) {
		snprintf(
			line, sizeof(line),
			"container %s: %llu files, %llu of them in the store only, %llu not pushed",
			k->name, (unsigned long long)k->files, (unsigned long long)k->absent,
			k->rooted ? (unsigned long long)k->changed : 0);
		k->f->say(k->f->arg, line);
	}
	if (k->sync.tree >= 0)
		close(k->sync.tree);
	if (k->sync.known >= 0)
		close(k->sync.known);
	if (k->sync.stage >= 0)
		close(k->sync.stage);
	forget_inodes(k);
}

void fsck_container(struct fsck *k, const char *name)
{
	char place[PATH_MAX];
	int containers;

	k->name = name;
	place_of(k, "", place);
	if (!vidas_name_ok(name, strlen(name))) {
		(void)fsck_find(k, FSCK_PROBLEM, place, "is no container's name; rename it");
		return;
	}
	containers = sync_open_at(k->pool, "containers", O_PATH | O_DIRECTORY);
	k->dir = containers < 0 ? containers :
				  sync_open_at(containers, name, O_RDONLY | O_DIRECTORY);
	if (containers >= 0)
		close(containers);
	/* Destroyed since it was listed. */
	if (k->dir == -ENOENT)
		return;
	if (k->dir < 0) {
		(void)fsck_find(k, FSCK_PROBLEM, place, "is no directory; move it away");
		return;
	}
	vidas_fail_clear();
	check_meta(k);
	(void)sync_each_entry(k->dir, container_part, k);
	check_leases(k);
	check_files(k);
	close(k->dir);
	k->dir = -1;
}
