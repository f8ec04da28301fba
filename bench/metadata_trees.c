/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Long listings, and programs that make and walk trees; each place has its turn with the whole of it.
 * Programs are on the first CPU, daemons on the second one, if there is one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/metadata.h"

#define LISTED	  100000u
#define LOOKED_AT 10000u /* passthrough_ll keeps a descriptor for each file it has told of */
#define ROUNDS	  7u	 /* of each: they take long enough */
#define BIG	  "big"
#define SMALLER	  "smaller"

extern char **environ;

struct walker {
	struct metadata *m;
	const struct place *place;
	int fd; /* this place's own directory */
	const struct task *task;
};

struct task {
	const char *name;
	long (*turn)(void *walker, unsigned slice);
	const char *command; /* for the shell, in the place's own directory */
	const char *before;  /* another one, whose time is not counted; NULL: none */
};

/* 0, or -1 with errno. */
static int list(int dir, const char *name, bool look)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;
	int err;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	errno = 0;
	while ((e = readdir(d)))
		if (look && fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			break;
	err = errno;
	closedir(d);
	errno = err;
	return err ? -1 : 0;
}

static long turn_list(void *arg, unsigned slice)
{
	const struct walker *w = arg;

	(void)slice;
	return list(w->place->fd, BIG, false) < 0 ? -errno : 1;
}

static long turn_list_stat(void *arg, unsigned slice)
{
	const struct walker *w = arg;

	(void)slice;
	return list(w->place->fd, SMALLER, true) < 0 ? -errno : 1;
}

/* The shell, with the place's directory as its own; -EIO if it fails. */
static int shell(const struct walker *w, const char *command)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)command, NULL };
	posix_spawn_file_actions_t actions;
	int status, err;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addfchdir_np(&actions, w->fd);
	err = -posix_spawnp(&pid, "sh", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (err)
		return err;
	if (waitpid(pid, &status, 0) < 0)
		return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	vidas_bench_complain(w->m->b, "%s: '%s' failed", w->place->name, command);
	return -EIO;
}

static int prepare_shell(void *arg, unsigned slice)
{
	const struct walker *w = arg;

	(void)slice;
	return shell(w, w->task->before);
}

static long turn_shell(void *arg, unsigned slice)
{
	const struct walker *w = arg;
	int err = shell(w, w->task->command);

	(void)slice;
	return err ? err : 1;
}

/* In this order: each finds what the one before has made. */
static const struct task tasks[] = {
	{ "readdir", turn_list, NULL, NULL },
	{ "readdir and stat each", turn_list_stat, NULL, NULL },
	{ "git clone", turn_shell,
	  "exec git -c advice.detachedHead=false clone -q --no-hardlinks \"$REPOSITORY\" clone",
	  NULL },
	/* Files of the second in which git wrote down what it knows of them would be read anew: the more
	 * of them the faster they were made. */
	{ "git status", turn_shell, "test -z \"$(git -C clone status --porcelain)\"",
	  "while [ $(stat -c %Y clone/.git/index) = $(date +%s) ]; do sleep 0.1; done; "
	  "exec git -C clone status --porcelain" },
	{ "rm -r of the clone", turn_shell, "exec rm -r clone", NULL },
	{ "tar x", turn_shell, "mkdir tar && exec tar -C tar -xf \"$ARCHIVE\"", NULL },
	{ "find -size", turn_shell, "exec find tar -size +1000000k", NULL },
	{ "rm -r of the tree", turn_shell, "exec rm -r tar", NULL },
};
#define TASKS (sizeof(tasks) / sizeof(tasks[0]))

static bool wanted(const struct metadata *m, const struct task *t)
{
	if (!t->command)
		return true;
	return strstr(t->name, "git") || strstr(t->name, "clone") ? m->repository != NULL :
								    m->archive != NULL;
}

static void print(const struct metadata *m, const struct task *t, const struct vidas_rounds *r,
		  unsigned listed)
{
	const struct places *p = m->p;

	for (unsigned i = 1; i < p->n; i++) {
		for (unsigned peer = 0; peer < p->n; peer++) {
			enum place_role role = p->place[peer].role;
			char name[80];
			struct vidas_row row = { .group = "trees",
						 .name = name,
						 .unit = "ms",
						 .value = vidas_rounds_median(r, i) / 1e6,
						 .peer = p->place[peer].name,
						 .peer_value = vidas_rounds_median(r, peer) / 1e6,
						 .ratio = vidas_rounds_ratio(r, peer, i),
						 .kind = VIDAS_GOAL_NONE };

			if (p->place[i].role != PLACE_JUDGED ||
			    (role != PLACE_PEER && role != PLACE_DIRECT))
				continue;
			if (role == PLACE_PEER) {
				row.kind = VIDAS_GOAL_RATIO_MIN;
				row.goal = 1.0;
			}
			if (t->command)
				snprintf(name, sizeof(name), "%s, %s", t->name, p->place[i].name);
			else
				snprintf(name, sizeof(name), "%s (%u), %s", t->name, listed,
					 p->place[i].name);
			vidas_table_row(&m->b->table, &row);
		}
	}
}

/* Task after task, so that a tree that one of them made is there for the next, in each place. */
static int round_run(struct walker *w, unsigned n, struct vidas_rounds *r, unsigned round)
{
	for (unsigned t = 0; t < TASKS; t++) {
		struct vidas_contender c[PLACES_MAX];
		double ns[PLACES_MAX];
		int err;

		if (!wanted(w->m, &tasks[t]))
			continue;
		for (unsigned i = 0; i < n; i++) {
			w[i].task = &tasks[t];
			c[i] = (struct vidas_contender){ .prepare = tasks[t].before ?
									    prepare_shell :
									    NULL,
							 .turn = tasks[t].turn,
							 .arg = &w[i] };
		}
		err = vidas_contenders_race(c, n, 1, round, ns);
		if (err)
			return vidas_bench_complain(w->m->b, "%s: %s", tasks[t].name,
						    strerror(-err));
		for (unsigned i = 0; round && i < n; i++) /* round 0 warms up */
			vidas_rounds_row(&r[t], round - 1)[i] = ns[i];
	}
	return 0;
}

/* Directories that all places list, made in the pool itself. */
static int listed_make(const struct metadata *m, const char *dir, unsigned count)
{
	int root = m->p->place[0].fd, fd;
	char name[64];

	if (mkdirat(root, dir, 0755))
		return vidas_bench_complain(m->b, "mkdir %s: %s", dir, strerror(errno));
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s/a-name-of-usual-length-%u.dat", dir, i);
		fd = openat(root, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		if (fd < 0)
			return vidas_bench_complain(m->b, "%s: %s", name, strerror(errno));
		close(fd);
	}
	return 0;
}

static void listed_remove(const struct metadata *m, const char *dir, unsigned count)
{
	char name[64];

	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s/a-name-of-usual-length-%u.dat", dir, i);
		unlinkat(m->p->place[0].fd, name, 0);
	}
	unlinkat(m->p->place[0].fd, dir, AT_REMOVEDIR);
}

int metadata_trees_run(struct metadata *m)
{
	const struct places *p = m->p;
	const unsigned listed = m->b->quick ? LISTED / 100 : LISTED;
	const unsigned looked_at = m->b->quick ? LOOKED_AT / 10 : LOOKED_AT;
	unsigned rounds = m->b->quick ? 1 : m->b->rounds < ROUNDS ? m->b->rounds : ROUNDS, n = 0;
	struct walker w[PLACES_MAX];
	struct vidas_rounds r[TASKS] = { 0 };
	int ret = listed_make(m, BIG, listed);
	bool apart = p->daemons && !vidas_place(VIDAS_PLACE_APART, p->daemon, p->daemons);

	if (!ret)
		ret = listed_make(m, SMALLER, looked_at);

	for (unsigned t = 0; !ret && t < TASKS; t++)
		if (vidas_rounds_init(&r[t], p->n, rounds))
			ret = vidas_bench_complain(m->b, "%s", strerror(ENOMEM));
	for (; !ret && n < p->n; n++) {
		const struct place *at = &p->place[n];

		w[n] = (struct walker){ .m = m, .place = at, .fd = -1 };
		if (mkdirat(at->fd, at->name, 0755) ||
		    (w[n].fd = openat(at->fd, at->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
			ret = vidas_bench_complain(m->b, "%s/%s: %s", at->dir, at->name,
						   strerror(errno));
	}
	for (unsigned round = 0; !ret && round <= rounds; round++)
		ret = round_run(w, n, r, round);
	if (!ret)
		vidas_table_head(
			&m->b->table,
			apart ? "Listings, and programs at work on trees: daemons on a second CPU" :
				"Listings, and programs at work on trees");
	for (unsigned t = 0; t < TASKS; t++) {
		if (!ret && wanted(m, &tasks[t]))
			print(m, &tasks[t], &r[t], t ? looked_at : listed);
		vidas_rounds_free(&r[t]);
	}
	for (unsigned i = 0; i < n; i++) {
		if (w[i].fd < 0)
			continue;
		shell(&w[i], "rm -rf clone tar");
		close(w[i].fd);
		unlinkat(p->place[i].fd, p->place[i].name, AT_REMOVEDIR);
	}
	listed_remove(m, BIG, listed);
	listed_remove(m, SMALLER, looked_at);
	if (apart)
		vidas_place(VIDAS_PLACE_FREE, p->daemon, p->daemons);
	return ret;
}
