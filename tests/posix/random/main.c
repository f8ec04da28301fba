/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* posix-random: draws the steps, makes them in both worlds, compares. */
#include "random.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HISTORY 12u

static uint64_t state;
static const struct op *ops[64];
static bool one_cache = true; /* else a look at a hole may fill it */
static unsigned op_count, weight_sum;

static unsigned draw(unsigned below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(state >> 33) % below;
}

/* Users: root; one with groups 700 and 701; one with 701. */
static void become(unsigned user)
{
	static const gid_t groups[] = { 700, 701 };

	if (seteuid(0) < 0 || setegid(0) < 0 || setgroups(0, NULL) < 0)
		abort();
	if (!user)
		return;
	if (setgroups(user == 1 ? 2 : 1, user == 1 ? groups : groups + 1) < 0 ||
	    setegid(user == 1 ? 501 : 502) < 0 || seteuid(user == 1 ? 501 : 502) < 0)
		abort();
}

/*
 * On /vidas whoever writes takes the suid and sgid bits from a file, root as well: a file system in
 * passthrough is not told who it is (docs/posix.md). On a tmpfs root without this capability does too.
 */
static void fsetid(bool have)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &head, data) < 0)
		abort();
	if (have)
		data[0].effective |= 1u << CAP_FSETID;
	else
		data[0].effective &= ~(1u << CAP_FSETID);
	if (syscall(SYS_capset, &head, data) < 0)
		abort();
}

void say(struct outcome *o, const char *fmt, ...)
{
	size_t room = sizeof(o->bytes) - o->size;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(o->bytes + o->size, room, fmt, args);
	va_end(args);
	o->size += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

void say_stat(struct outcome *o, const struct stat *st)
{
	say(o, "mode 0%o nlink %lu uid %u gid %u size %ld rdev %lx blocks %ld\n", st->st_mode,
	    (unsigned long)st->st_nlink, st->st_uid, st->st_gid, (long)st->st_size,
	    (unsigned long)st->st_rdev,
	    S_ISREG(st->st_mode) && one_cache ? (long)st->st_blocks : 0);
}

static void draw_path(char path[64])
{
	static const char *const dirs[] = { "", "", "a/", "b/", "a/c/", "b/c/", "a/../b/", "s/" };
	static const char *const leaves[] = { "f", "g", "h", "c", "a", "b", "s", "." };
	const char *dir = dirs[draw(8)], *leaf = leaves[draw(draw(10) ? 6 : 8)];

	snprintf(path, 64, "%s%s", dir, leaf);
}

static void draw_step(struct step *s)
{
	unsigned at = draw(weight_sum), i = 0;

	memset(s, 0, sizeof(*s));
	while (at >= ops[i]->weight)
		at -= ops[i++]->weight;
	s->op = i;
	s->side = draw(2);
	s->user = draw(4) ? 0 : 1 + draw(2);
	draw_path(s->path);
	draw_path(s->other);
	s->slot = draw(SLOTS);
	s->slot2 = draw(SLOTS);
	s->flags = (int)draw(1u << 16);
	s->mode = draw(010000);
	if (draw(4))
		s->mode = draw(2) ? 0777 : 0666;
	/* Without it, once for mandatory locking, S_ISGID goes and stays by other rules (docs/posix.md). */
	if (s->mode & S_ISGID)
		s->mode |= S_IXGRP;
	s->id = draw(3) ? 500 + draw(3) : 700 + draw(3);
	s->offset = draw(3) ? draw(5000) : (int64_t)draw(20) * 4096;
	s->length = draw(3) ? draw(3000) : (int64_t)draw(5) * 4096;
	s->seed = draw(1000);
}

static void print(unsigned number, const struct step *s)
{
	printf("%u: %s side %u user %u path %s other %s slots %u %u flags 0%o mode 0%o id %u at %ld "
	       "for %ld\n",
	       number, ops[s->op]->name, s->side, s->user, s->path, s->other, s->slot, s->slot2,
	       (unsigned)s->flags, s->mode, s->id, (long)s->offset, (long)s->length);
}

static void print_outcome(const char *of, const struct outcome *o)
{
	printf("%s: %ld %s\n%.*s\n", of, (long)o->value,
	       o->error ? strerrorname_np(o->error) : "no error", (int)o->size, o->bytes);
}

static void make(struct world *w, const struct step *s, struct outcome *o)
{
	o->value = 0;
	o->error = 0;
	o->size = 0;
	become(s->user);
	if (!s->user)
		fsetid(!ops[s->op]->data);
	errno = 0;
	ops[s->op]->run(w, s, o);
	become(0);
	fsetid(true);
}

static bool same(const struct outcome *a, const struct outcome *b)
{
	return a->value == b->value && a->error == b->error && a->size == b->size &&
	       !memcmp(a->bytes, b->bytes, a->size);
}

static int directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		perror(path);
		exit(2);
	}
	return fd;
}

static void collect(const struct op *from)
{
	for (; from->name; from++) {
		if (from->one_cache && !one_cache)
			continue;
		ops[op_count++] = from;
		weight_sum += from->weight;
	}
}

static int run(struct world *w, unsigned steps)
{
	static struct outcome out[WORLDS];
	static struct step s[HISTORY];

	for (unsigned i = 0; i < steps; i++) {
		struct step *now = &s[i % HISTORY];

		draw_step(now);
		for (int k = 0; k < WORLDS; k++)
			make(&w[k], now, &out[k]);
		if (same(&out[0], &out[1]))
			continue;
		for (unsigned j = i < HISTORY - 1 ? 0 : i - HISTORY + 1; j <= i; j++)
			print(j, &s[j % HISTORY]);
		print_outcome("the reference", &out[0]);
		print_outcome("here", &out[1]);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct world w[WORLDS];
	unsigned steps;

	if (argc > 1 && !strcmp(argv[1], "-k")) {
		one_cache = false;
		argv++;
		argc--;
	}
	if (argc < 5 || argc > 6) {
		fprintf(stderr, "usage: posix-random [-k] SEED STEPS REFERENCE HERE [THERE]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	umask(022);
	state = strtoull(argv[1], NULL, 0);
	steps = (unsigned)strtoul(argv[2], NULL, 0);
	collect(random_name_ops);
	collect(random_file_ops);
	memset(w, 0, sizeof(w));
	for (int i = 0; i < SLOTS; i++)
		w[0].fd[i] = w[1].fd[i] = -1;
	w[0].side[0] = w[0].side[1] = directory(argv[3]);
	w[1].side[0] = directory(argv[4]);
	w[1].side[1] = directory(argv[argc - 1]);
	for (int k = 0; k < WORLDS; k++)
		if (fchmod(w[k].side[0], 0777) < 0)
			return 2;
	if (run(w, steps)) {
		printf("differs: seed %s\n", argv[1]);
		return 1;
	}
	printf("seed %s: %u steps, no difference\n", argv[1], steps);
	return 0;
}
