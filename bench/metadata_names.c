/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/metadata.h"

static const char small[4096];

static int write_one(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	ssize_t put;

	if (fd < 0)
		return -1;
	put = write(fd, small, sizeof(small));
	if (put >= 0 && put < (ssize_t)sizeof(small))
		errno = EIO;
	return close(fd) || put != (ssize_t)sizeof(small) ? -1 : 0;
}

static int stat_one(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, 0);
}

static int missing_one(int dir, const char *name)
{
	struct stat st;

	if (!fstatat(dir, name, &st, 0)) {
		errno = EEXIST;
		return -1;
	}
	return errno == ENOENT ? 0 : -1;
}

static int away_one(int dir, const char *name)
{
	char to[80];

	snprintf(to, sizeof(to), "%s.renamed", name);
	return renameat(dir, name, dir, to);
}

static int back_one(int dir, const char *name)
{
	char from[80];

	snprintf(from, sizeof(from), "%s.renamed", name);
	return renameat(dir, from, dir, name);
}

static long turn_write(void *party, unsigned slice)
{
	return names_each(party, slice, "small", write_one);
}

static void remove_small(void *party, unsigned slice)
{
	const struct names_party *p = party;

	for (unsigned i = 0; i < NAMES_A_SLICE; i++) {
		char name[64];

		snprintf(name, sizeof(name), "small-%u", slice * NAMES_A_SLICE + i);
		unlinkat(p->fd, name, 0);
	}
}

/* Names that no mount has heard of: made in the pool itself, each used once. */
static void unknown_prefix(const struct names_party *p, char *prefix, size_t size)
{
	snprintf(prefix, size, "unknown-%u", p->run);
}

static int touch_one(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	return fd < 0 ? -1 : close(fd);
}

static int prepare_unknown(void *party, unsigned slice)
{
	struct names_party direct = *(struct names_party *)party;
	char prefix[32];
	long done;

	direct.fd = direct.direct_fd;
	unknown_prefix(party, prefix, sizeof(prefix));
	done = names_each(&direct, slice, prefix, touch_one);
	return done < 0 ? (int)done : 0;
}

static long turn_unknown(void *party, unsigned slice)
{
	char prefix[32];

	unknown_prefix(party, prefix, sizeof(prefix));
	return names_each(party, slice, prefix, stat_one);
}

static void remove_unknown(void *party, unsigned slice)
{
	const struct names_party *p = party;
	char prefix[32], name[64];

	unknown_prefix(p, prefix, sizeof(prefix));
	for (unsigned i = 0; i < NAMES_A_SLICE; i++) {
		snprintf(name, sizeof(name), "%s-%u", prefix, slice * NAMES_A_SLICE + i);
		unlinkat(p->fd, name, 0);
	}
}

/* A file that was just written to is asked about once more, whatever was known of it. */
static int prepare_again(void *party, unsigned slice)
{
	long done = names_stat(party, slice);

	return done < 0 ? (int)done : 0;
}

static long turn_missing(void *party, unsigned slice)
{
	return names_each(party, slice, "missing", missing_one);
}

static long turn_rename(void *party, unsigned slice)
{
	long done = names_each(party, slice, "file", away_one);

	if (done > 0)
		done = names_each(party, slice, "file", back_one);
	return done > 0 ? 2 * done : done;
}

const struct names_step metadata_steps[] = {
	{ "create", NULL, names_create, NULL, 1.0, 0 },
	{ "create, write 4 KiB, close", NULL, turn_write, remove_small, 1.0, 0 },
	{ "stat, not cached", prepare_unknown, turn_unknown, remove_unknown, 1.0, 0 },
	/* The kernel's own cache on both sides: a short one here is noise. */
	{ "stat, again", prepare_again, names_stat, NULL, 1.0, 0.7 },
	{ "stat of no file", NULL, turn_missing, NULL, 1.0, 0 },
	{ "open and close", NULL, names_open, NULL, 1.0, 0 },
	{ "rename", NULL, turn_rename, NULL, 1.0, 0 },
	{ "unlink", NULL, names_unlink, NULL, 1.0, 0 },
};
const unsigned metadata_steps_count = sizeof(metadata_steps) / sizeof(*metadata_steps);

int metadata_names_run(struct metadata *m)
{
	const struct names_work work = { .steps = metadata_steps,
					 .count = metadata_steps_count,
					 .shared_judged = true };

	return names_run(m->b, m->p, &work);
}
