/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs on files: they work through the mount, by the xattrs that any program may use, so
 * they need no connection and no privilege beyond the file's own.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "pool/base/base.h"
#include "pool/policy/attr.h"

static const char *xattr_name(const char *attr, char *buf, size_t size)
{
	snprintf(buf, size, VIDAS_XATTR_PREFIX "%s", attr);
	return buf;
}

/* Is that path on /vidas at all? Every file there has a container. */
static int not_vidas(const char *path)
{
	if (getxattr(path, VIDAS_XATTR_PREFIX "container", NULL, 0) >= 0)
		return 0;
	if (errno == ENODATA || errno == EOPNOTSUPP)
		return cli_fail(0, "%s is not in a container: name a file below a mount of vidasfs",
				path);
	return cli_fail(-errno, "%s", path);
}

/* Sets `attr` to `value` on each path; goes on after a failure. */
static int set_all(const char *attr, const char *value, int argc, char **argv)
{
	char name[128];
	int status = 0;

	for (int i = 0; i < argc; i++) {
		if (not_vidas(argv[i])) {
			status = 1;
		} else if (setxattr(argv[i], xattr_name(attr, name, sizeof(name)), value,
				    strlen(value), 0) < 0) {
			char why[256] = "";
			int err = errno;

			(void)!getxattr(argv[i], VIDAS_XATTR_PREFIX "error", why, sizeof(why) - 1);
			status = cli_fail(0, "cannot %s %s: %s%s%s", attr, argv[i], strerror(err),
					  *why ? "; " : "", why);
		}
	}
	return status;
}

/* One who looks on while another thread waits for an attribute to be set. */
struct watch {
	const char *attr, *value;
	const char *word; /* of its progress in `locality`: "WORD N of M bytes" */
	int argc;
	char **argv;
	int status;
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool done;
};

static void *set_watched(void *arg)
{
	struct watch *w = arg;
	int status = set_all(w->attr, w->value, w->argc, w->argv);

	pthread_mutex_lock(&w->lock);
	w->status = status;
	w->done = true;
	pthread_cond_signal(&w->over);
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* How far each path is, on one line that is written again and again. */
static void progress_print(const struct watch *w)
{
	bool terminal = isatty(STDERR_FILENO);
	char value[4096], name[128], *at;
	unsigned long long moved, all;

	for (int i = 0; i < w->argc; i++) {
		ssize_t n = getxattr(w->argv[i], xattr_name("locality", name, sizeof(name)), value,
				     sizeof(value) - 1);

		value[n < 0 ? 0 : n] = '\0';
		at = strstr(value, w->word);
		if (at && sscanf(at + strlen(w->word), " %llu of %llu", &moved, &all) == 2)
			fprintf(stderr, "%s%s: %llu of %llu MiB%s", terminal ? "\r" : "",
				w->argv[i], moved >> 20, all >> 20, terminal ? "\033[K" : "\n");
	}
}

static int set_with_progress(const char *attr, const char *value, const char *word, int argc,
			     char **argv)
{
	struct watch w = { .attr = attr,
			   .value = value,
			   .word = word,
			   .argc = argc,
			   .argv = argv,
			   .lock = PTHREAD_MUTEX_INITIALIZER,
			   .over = PTHREAD_COND_INITIALIZER };
	struct timespec until;
	pthread_t thread;
	int err = pthread_create(&thread, NULL, set_watched, &w);

	if (err)
		return cli_fail(-err, "cannot start a thread");
	clock_gettime(CLOCK_REALTIME, &until);
	pthread_mutex_lock(&w.lock);
	while (!w.done) {
		until.tv_sec++;
		if (pthread_cond_timedwait(&w.over, &w.lock, &until) != ETIMEDOUT)
			continue;
		pthread_mutex_unlock(&w.lock);
		progress_print(&w);
		pthread_mutex_lock(&w.lock);
	}
	pthread_mutex_unlock(&w.lock);
	pthread_join(thread, NULL);
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	return w.status;
}

/* What follows the options, and whether --progress was among them. */
static bool take_progress(int *argc, char ***argv)
{
	if (!*argc || strcmp(**argv, "--progress") != 0)
		return false;
	--*argc;
	++*argv;
	return true;
}

int cli_flush(struct cli *cli, int argc, char **argv)
{
	bool progress = take_progress(&argc, &argv);

	(void)cli;
	if (!argc)
		return cli_usage("flush", "wants a path");
	return progress ? set_with_progress("flush", "1", "pushed", argc, argv) :
			  set_all("flush", "1", argc, argv);
}

int cli_update(struct cli *cli, int argc, char **argv)
{
	bool progress = take_progress(&argc, &argv);

	(void)cli;
	if (!argc)
		return cli_usage("update", "wants a path");
	return progress ? set_with_progress("update", "1", "fetched", argc, argv) :
			  set_all("update", "1", argc, argv);
}

int cli_prefetch(struct cli *cli, int argc, char **argv)
{
	bool progress = take_progress(&argc, &argv);
	const char *range = "1";

	(void)cli;
	if (argc >= 2 && strcmp(argv[0], "--range") == 0) {
		range = argv[1];
		argc -= 2;
		argv += 2;
	}
	if (!argc)
		return cli_usage("prefetch", "wants a path");
	return progress ? set_with_progress("prefetch", range, "resident", argc, argv) :
			  set_all("prefetch", range, argc, argv);
}

/* Prints the attributes of `path` that can be read and are of one of `kinds` (a bit each). */
static int print_attrs(struct cli *cli, const char *path, unsigned kinds)
{
	json_t *object = json_object();
	char name[128], value[8192];

	if (not_vidas(path)) {
		json_decref(object);
		return 1;
	}
	if (!cli->json)
		printf("%s\n", path);
	for (const struct vidas_attr *a = vidas_attrs; a->name; a++) {
		ssize_t n;

		if (!(kinds & (1u << a->kind)))
			continue;
		n = getxattr(path, xattr_name(a->name, name, sizeof(name)), value, sizeof(value));
		if (n < 0)
			continue; /* this kind of file has no such attribute */
		json_object_set_new(object, a->name, json_stringn_nocheck(value, (size_t)n));
		if (!cli->json)
			printf("  %-14s %.*s\n", a->name, (int)n, value);
	}
	if (cli->json) {
		json_object_set_new(object, "path", json_string_nocheck(path));
		json_dumpf(object, stdout, JSON_COMPACT);
		putchar('\n');
	}
	json_decref(object);
	return 0;
}

static int print_all(struct cli *cli, unsigned kinds, int argc, char **argv)
{
	int status = 0;

	for (int i = 0; i < argc; i++)
		status |= print_attrs(cli, argv[i], kinds);
	return status;
}

int cli_stat(struct cli *cli, int argc, char **argv)
{
	unsigned kinds =
		1u << VIDAS_ATTR_POLICY | 1u << VIDAS_ATTR_INFO | 1u << VIDAS_ATTR_CONTAINER;

	return argc ? print_all(cli, kinds, argc, argv) : cli_usage("stat", "wants a path");
}

static const struct vidas_attr *find_policy(const char *name)
{
	char full[128];
	const struct vidas_attr *a = vidas_attr_find(xattr_name(name, full, sizeof(full)), NULL);

	return a && a->kind == VIDAS_ATTR_POLICY ? a : NULL;
}

static int policy_reset(const char *policy, int argc, char **argv)
{
	char name[128];
	int status = 0;

	for (int i = 0; i < argc; i++) {
		if (not_vidas(argv[i]))
			status = 1;
		else if (removexattr(argv[i], xattr_name(policy, name, sizeof(name))) < 0 &&
			 errno != ENODATA)
			status = cli_fail(-errno, "cannot reset %s of %s", policy, argv[i]);
	}
	return status;
}

int cli_policy(struct cli *cli, int argc, char **argv)
{
	const struct vidas_attr *a;
	char *value;

	if (argc >= 2 && strcmp(argv[0], "get") == 0)
		return print_all(cli, 1u << VIDAS_ATTR_POLICY, argc - 1, argv + 1);
	if (argc < 3 || (strcmp(argv[0], "set") != 0 && strcmp(argv[0], "reset") != 0))
		return cli_usage("policy",
				 "wants `get PATH`, `set NAME=VALUE PATH` or `reset NAME PATH`");
	value = strchr(argv[1], '=');
	if (value)
		*value++ = '\0';
	a = find_policy(argv[1]);
	if (!a)
		return cli_usage("policy", "there is no policy '%s'", argv[1]);
	if (strcmp(argv[0], "reset") == 0)
		return value ? cli_usage("policy", "reset takes a name alone") :
			       policy_reset(a->name, argc - 2, argv + 2);
	if (!value)
		return cli_usage("policy", "set wants %s=VALUE", a->name);
	if (vidas_attr_check(a, value, strlen(value)) < 0)
		return cli_usage("policy", "%s", vidas_error_text());
	return set_all(a->name, value, argc - 2, argv + 2);
}
