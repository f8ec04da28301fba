/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line. */
#include "vidasfs/fs.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#define RELAXED_SECONDS	    10u
#define RELAXED_SECONDS_MAX 3600u
#define WAIT_SECONDS	    3600u
#define WAIT_SECONDS_MAX    (7u * 86400u)

#define OPTION(template, field)                                    \
	{                                                          \
		template, offsetof(struct vidas_options, field), 1 \
	}

enum key { KEY_IGNORED = 1, KEY_ATIME };

/* FUSE_OPT_KEY() without its conversion from unsigned. */
#define WORD(word, key)             \
	{                           \
		word, UINT_MAX, key \
	}
#define IGNORED(word) WORD(word, KEY_IGNORED)

static const struct fuse_opt spec[] = {
	OPTION("socket=%s", socket),
	OPTION("domain=%s", domain),
	OPTION("container=%s", container),
	OPTION("subdir=%s", subdir),
	OPTION("log=%s", log),
	OPTION("timeout=%u", timeout_seconds),
	OPTION("consistency=%s", consistency),
	OPTION("relaxed_timeout=%u", relaxed_seconds),
	OPTION("wait_timeout=%u", wait_seconds),
	OPTION("nopassthrough", nopassthrough),
	OPTION("split", split),
	OPTION("--far=%d", lane),
	OPTION("-f", foreground),
	OPTION("-d", debug),
	OPTION("debug", debug),
	OPTION("-h", help),
	OPTION("--help", help),
	OPTION("-V", version),
	OPTION("--version", version),
	/* Words of fstab that are for mount and the init system. */
	IGNORED("rw"),
	IGNORED("defaults"),
	IGNORED("auto"),
	IGNORED("noauto"),
	IGNORED("nofail"),
	IGNORED("_netdev"),
	WORD("noatime", KEY_ATIME),
	WORD("atime", KEY_ATIME),
	WORD("relatime", KEY_ATIME),
	WORD("strictatime", KEY_ATIME),
	WORD("nodiratime", KEY_ATIME),
	WORD("diratime", KEY_ATIME),
	OPTION("ro", readonly),
	WORD("ro", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_END,
};

static int fail(const char *fmt, const char *what)
{
	fprintf(stderr, "vidasfs: ");
	fprintf(stderr, fmt, what);
	fprintf(stderr, "; see vidasfs --help\n");
	return -1;
}

/* Mount options that libfuse knows; it says nothing useful about those that it does not. */
static bool known(const char *option)
{
	static const char *const words[] = {
		"allow_other", "default_permissions",
		"nosuid",      "suid",
		"nodev",       "dev",
		"noexec",      "exec",
		"sync",	       "async",
		"dirsync",     "nosymfollow",
	};
	static const char *const starts[] = { "fsname=", "subtype=", "max_read=", "x-" };
	size_t i;

	for (i = 0; i < VIDAS_ARRAY_SIZE(words); i++)
		if (!strcmp(option, words[i]))
			return true;
	for (i = 0; i < VIDAS_ARRAY_SIZE(starts); i++)
		if (!strncmp(option, starts[i], strlen(starts[i])))
			return true;
	return false;
}

/* True: libfuse is to have the word too, for /proc/mounts. */
static bool note_atime(struct vidas_options *o, const char *word)
{
	if (!strcmp(word, "nodiratime")) {
		o->atime |= MOUNT_ATTR_NODIRATIME;
		return true;
	}
	if (!strcmp(word, "diratime")) {
		o->atime &= ~(uint64_t)MOUNT_ATTR_NODIRATIME;
		return false;
	}
	if (!strcmp(word, "atime")) {
		o->atime &= ~(uint64_t)MOUNT_ATTR_NOATIME;
		return false;
	}
	o->atime &= ~(uint64_t)MOUNT_ATTR__ATIME;
	if (!strcmp(word, "strictatime"))
		o->atime |= MOUNT_ATTR_STRICTATIME;
	if (!strcmp(word, "noatime"))
		o->atime |= MOUNT_ATTR_NOATIME;
	return o->atime & MOUNT_ATTR_NOATIME;
}

static int each(void *data, const char *arg, int key, struct fuse_args *out)
{
	struct vidas_options *o = data;

	(void)out;
	switch (key) {
	case KEY_IGNORED:
		return 0;
	case KEY_ATIME:
		return note_atime(o, arg);
	case FUSE_OPT_KEY_NONOPT:
		if (o->mountpoint)
			return fail("one mount point, not also '%s'", arg);
		o->mountpoint = strdup(arg);
		return o->mountpoint ? 0 : -1;
	default:
		if (!strncmp(arg, "x-", 2))
			return 0;
		return known(arg) ? 1 : fail("unknown option '%s'", arg);
	}
}

int vidas_options_check(const struct vidas_options *o)
{
	char *end;

	if (o->socket && o->domain)
		return fail("socket= and domain= both say where vidasd is: give one%s", "");
	if (o->domain && (strtoul(o->domain, &end, 10) > UINT32_MAX || *end || !*o->domain))
		return fail("domain=%s is not the number of a domain", o->domain);
	if (o->subdir && !o->container)
		return fail("subdir=%s is below a container: give container= too", o->subdir);
	if (o->container && !vidas_name_ok(o->container, strlen(o->container)))
		return fail("container=%s is not a container's name", o->container);
	if (o->subdir && (!*o->subdir || !vidas_path_ok(o->subdir, strlen(o->subdir))))
		return fail("subdir=%s is not a path relative to the container", o->subdir);
	if (o->consistency && strcmp(o->consistency, "strict") && strcmp(o->consistency, "relaxed"))
		return fail("consistency=%s is neither strict nor relaxed", o->consistency);
	if (!o->relaxed_seconds || o->relaxed_seconds > RELAXED_SECONDS_MAX)
		return fail("relaxed_timeout=%s is 1 to 3600 seconds", "");
	if (!o->wait_seconds || o->wait_seconds > WAIT_SECONDS_MAX)
		return fail("wait_timeout=%s is 1 to 604800 seconds", "");
	return 0;
}

static int check(const struct vidas_options *o)
{
	if (o->help || o->version)
		return 0;
	if (o->lane >= 0 && (o->mountpoint || o->split || o->container))
		return fail("%s: what is mounted is said by who has the mount", "--far");
	if (o->lane < 0 && !o->mountpoint)
		return fail("no mount point%s", "");
	return vidas_options_check(o);
}

int vidas_options_parse(struct fuse_args *args, struct vidas_options *o)
{
	o->lane = -1;
	o->relaxed_seconds = RELAXED_SECONDS;
	o->wait_seconds = WAIT_SECONDS;
	if (fuse_opt_parse(args, o, spec, each) < 0 || check(o) < 0)
		return -EINVAL;
	if (o->readonly)
		o->atime = MOUNT_ATTR_NOATIME;
	return 0;
}

void vidas_options_free(struct vidas_options *o)
{
	free(o->socket);
	free(o->domain);
	free(o->container);
	free(o->subdir);
	free(o->log);
	free(o->consistency);
	free(o->mountpoint);
	memset(o, 0, sizeof(*o));
}
