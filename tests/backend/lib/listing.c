/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listings. */
#include <stdlib.h>
#include <string.h>

#include "pool/base/base.h"
#include "suite.h"

#define MANY 1200 /* more than servers list at once */

/* Counts how often each of a set of names comes: "f0000" and so on. */
struct tally {
	unsigned seen[MANY + 500];
	unsigned others, wrong;
	enum vidas_backend_type type;
};

static int tally_each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	struct tally *t = arg;
	unsigned number;

	if (sscanf(name, "f%4u", &number) == 1 && number < VIDAS_ARRAY_SIZE(t->seen))
		t->seen[number]++;
	else
		t->others++;
	if (st->type != VIDAS_BACKEND_FILE || st->size_bytes != 4)
		t->wrong++;
	return 0;
}

static unsigned tally_count(const struct tally *t, unsigned from, unsigned to, unsigned times)
{
	unsigned n = 0;

	for (unsigned i = from; i < to; i++)
		n += t->seen[i] == times;
	return n;
}

struct makers {
	char dir[512];
	unsigned from, to;
};

static int make_thread(int number, void *arg)
{
	struct makers *m = arg;
	char key[600], text[16];
	int bad = 0;

	for (unsigned i = m->from + (unsigned)number; i < m->to; i += 8) {
		snprintf(key, sizeof(key), "%s/f%04u", m->dir, i);
		snprintf(text, sizeof(text), "%04u", i);
		bad += suite_put_text(key, text) != 0;
	}
	return bad;
}

static void make_many(unsigned from, unsigned to)
{
	struct makers m = { .from = from, .to = to };

	snprintf(m.dir, sizeof(m.dir), "%s", suite_key("dir"));
	CHECK_EQ(suite_threads(8, make_thread, &m), 0);
}

static void many(void)
{
	struct tally t = { 0 };

	make_many(0, MANY);
	CHECK_EQ(vidas_store_list(suite_store, suite_key("dir"), tally_each, &t), 0);
	CHECK_EQ(tally_count(&t, 0, MANY, 1), MANY);
	CHECK_EQ(t.others, 0);
	CHECK_EQ(t.wrong, 0);
}

struct change {
	struct tally t;
	unsigned calls;
};

/* Adds and removes entries while they are listed, and asks for some. */
static int change_each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	struct change *c = arg;
	struct vidas_backend_stat again;
	unsigned n = c->calls++;

	if (n % 5 == 0 && n / 5 < 100) {
		char text[16];

		snprintf(text, sizeof(text), "%04u", 1500 + n / 5);
		if (suite_put_text(suite_key("dir/f%04u", 1500 + n / 5), text) ||
		    vidas_store_remove(suite_store, suite_key("dir/f%04u", 900 + n / 5), NULL))
			return -EIO;
	}
	if (n % 50 == 0 && vidas_store_stat(suite_store, suite_key("dir/%s", name), &again) &&
	    name[1] != '0' && name[1] != '1')
		return -EIO;
	return tally_each(&c->t, name, st);
}

static void changing(void)
{
	struct change c = { 0 };

	make_many(0, 1000);
	CHECK_EQ(vidas_store_list(suite_store, suite_key("dir"), change_each, &c), 0);
	/* What nobody touched is there once; the others once or not at all. */
	CHECK_EQ(tally_count(&c.t, 0, 900, 1), 900);
	CHECK_EQ(tally_count(&c.t, 900, 1600, 0) + tally_count(&c.t, 900, 1600, 1), 700);
	CHECK_EQ(c.t.others, 0);
	memset(&c.t, 0, sizeof(c.t));
	CHECK_EQ(vidas_store_list(suite_store, suite_key("dir"), tally_each, &c.t), 0);
	CHECK_EQ(tally_count(&c.t, 0, 900, 1), 900);
	CHECK_EQ(tally_count(&c.t, 900, 1000, 0), 100);
	CHECK_EQ(tally_count(&c.t, 1500, 1600, 1), 100);
}

struct kinds {
	unsigned files, directories, symlinks, others;
};

static int kinds_each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	struct kinds *k = arg;

	if (strcmp(name, "file") == 0 && st->type == VIDAS_BACKEND_FILE && st->size_bytes == 3)
		k->files++;
	else if (strcmp(name, "dir") == 0 && st->type == VIDAS_BACKEND_DIRECTORY)
		k->directories++;
	else if (strcmp(name, "link") == 0 && st->type == VIDAS_BACKEND_SYMLINK)
		k->symlinks++;
	else
		k->others++;
	return 0;
}

static void kinds(void)
{
	struct kinds k = { 0 };

	CHECK_EQ(suite_put_text(suite_key("top/file"), "abc"), 0);
	CHECK_EQ(suite_put_text(suite_key("top/dir/below"), "def"), 0);
	CHECK_EQ(suite_put_text(suite_key("top-not"), "ghi"), 0);
	if (suite_caps & VIDAS_BACKEND_SYMLINKS)
		CHECK_EQ(vidas_store_symlink(suite_store, suite_key("top/link"), "file"), 0);
	CHECK_EQ(vidas_store_list(suite_store, suite_key("top"), kinds_each, &k), 0);
	CHECK_EQ(k.files, 1);
	CHECK_EQ(k.directories, 1);
	CHECK_EQ(k.symlinks, suite_caps & VIDAS_BACKEND_SYMLINKS ? 1 : 0);
	CHECK_EQ(k.others, 0);
}

struct find {
	const char *name;
	unsigned found;
};

static int find_each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	struct find *f = arg;

	f->found += strcmp(name, f->name) == 0 && st->type == VIDAS_BACKEND_DIRECTORY;
	return 0;
}

static void root_directory(void)
{
	struct vidas_backend_stat st = { 0 };
	char name[128];
	struct find f = { .name = name };

	CHECK_EQ(suite_put_text(suite_key("file"), "x"), 0);
	snprintf(name, sizeof(name), "%s", suite_key("x"));
	*strchr(name, '/') = '\0';
	CHECK_EQ(vidas_store_stat(suite_store, "", &st), 0);
	CHECK_EQ(st.type, VIDAS_BACKEND_DIRECTORY);
	CHECK_EQ(vidas_store_list(suite_store, "", find_each, &f), 0);
	CHECK_EQ(f.found, 1);
}

static int stop_each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	unsigned *calls = arg;

	(void)name;
	(void)st;
	return ++*calls == 2 ? -EXFULL : 0;
}

static void stops(void)
{
	unsigned calls = 0;

	for (int i = 0; i < 5; i++)
		CHECK_EQ(suite_put_text(suite_key("dir/%d", i), "x"), 0);
	CHECK_EQ(vidas_store_list(suite_store, suite_key("dir"), stop_each, &calls), -EXFULL);
	CHECK_EQ(calls, 2);
}

static int depth_each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	char *path = arg;
	size_t size = strlen(path);
	int ret;

	sprintf(path + size, "/%s", name);
	ret = st->type == VIDAS_BACKEND_DIRECTORY ?
		      vidas_store_list(suite_store, path, depth_each, path) :
		      (int)strlen(name);
	path[size] = '\0';
	return ret;
}

/* `each` lists what is below, as one does who goes through a tree. */
static void from_within(void)
{
	char path[4096];

	CHECK_EQ(suite_put_text(suite_key("1/2/3/4/5/6/7/8/9/bottom"), "x"), 0);
	snprintf(path, sizeof(path), "%s", suite_key("1"));
	CHECK_EQ(vidas_store_list(suite_store, path, depth_each, path), 6);
}

static void nothing_there(void)
{
	unsigned calls = 0;
	int err = vidas_store_list(suite_store, suite_key("none"), stop_each, &calls);

	if (suite_caps & VIDAS_BACKEND_DIRECTORIES) {
		CHECK_EQ(err, -ENOENT);
		CHECK_EQ(vidas_store_mkdir(suite_store, suite_key("empty"), NULL), 0);
		CHECK_EQ(vidas_store_list(suite_store, suite_key("empty"), stop_each, &calls), 0);
	} else {
		CHECK_EITHER(err, 0, -ENOENT);
	}
	CHECK_EQ(calls, 0);
}

static void of_a_file(void)
{
	unsigned calls = 0;

	CHECK_EQ(suite_put_text(suite_key("file"), "x"), 0);
	CHECK_EQ(vidas_store_list(suite_store, suite_key("file"), stop_each, &calls), -ENOTDIR);
	CHECK_EQ(calls, 0);
}

const struct suite_case suite_listing[] = {
	{ "list-many", 0, many },
	{ "list-changing", 0, changing },
	{ "list-kinds", 0, kinds },
	{ "list-root", 0, root_directory },
	{ "list-stops", 0, stops },
	{ "list-from-within", 0, from_within },
	{ "list-nothing", 0, nothing_there },
	{ "list-of-a-file", VIDAS_BACKEND_DIRECTORIES, of_a_file },
	{ 0 },
};
