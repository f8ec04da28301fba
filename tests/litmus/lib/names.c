/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names: what is made, moved and removed in one domain, as the others see it. */
#include "litmus.h"

#include <dirent.h>

#define ROUNDS 20u

static bool there(unsigned d, const char *name)
{
	struct stat st;
	int err = lstat(in(d, "%s", name), &st) < 0 ? errno : 0;

	CHECK(!err || err == ENOENT, "lstat %s in domain %u: %s", name, d, strerror(err));
	return !err;
}

/* Twice: the second answer may come from a cache. */
static void all_see(const char *name, bool want, const char *what)
{
	for (unsigned i = 0; i < 2; i++)
		for (unsigned d = 0; d < domains; d++)
			CHECK(there(d, name) == want, "after %s, %s is %s in domain %u", what, name,
			      want ? "not there" : "still there", d);
}

static const char *const kinds[] = { "open", "mkdir", "symlink", "link", "mknod" };

static int make(unsigned kind, unsigned d, const char *name, const char *file)
{
	int fd;

	switch (kind) {
	case 0:
		fd = open(in(d, "%s", name), O_CREAT | O_EXCL | O_WRONLY, 0666);
		return fd < 0 ? -1 : close(fd);
	case 1:
		return mkdir(in(d, "%s", name), 0777);
	case 2:
		return symlink("somewhere", in(d, "%s", name));
	case 3:
		return link(in(d, "%s", file), in(d, "%s", name));
	default:
		return mknod(in(d, "%s", name), S_IFIFO | 0666, 0);
	}
}

static int take(unsigned kind, unsigned d, const char *name)
{
	return kind == 1 ? rmdir(in(d, "%s", name)) : unlink(in(d, "%s", name));
}

static void made_and_removed(void)
{
	const char *file = new_file();

	for (unsigned i = 0; i < ROUNDS; i++)
		for (unsigned k = 0; k < 5; k++) {
			unsigned d = i % domains;

			CHECK(!make(k, d, "thing", file), "%s in domain %u: %m", kinds[k], d);
			all_see("thing", true, kinds[k]);
			CHECK(!take(k, (d + 1) % domains, "thing"), "removing it: %m");
			all_see("thing", false, "its removal");
		}
}

static void negative(void)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "absent%u", i);
		all_see(name, false, "nothing at all");
		CHECK(!make(i % 3, i % domains, name, NULL), "making %s: %m", name);
		all_see(name, true, kinds[i % 3]);
		CHECK(!take(i % 3, (i + 1) % domains, name), "removing %s: %m", name);
	}
}

static void same_inode(const char *name, ino_t ino)
{
	struct stat st;

	for (unsigned d = 0; d < domains; d++)
		CHECK(!stat(in(d, "%s", name), &st) && st.st_ino == ino,
		      "%s is another file in domain %u", name, d);
}

static void renamed(void)
{
	struct stat one, two;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned d = i % domains, e = (i + 1) % domains;

		CHECK(!make(0, d, "old", NULL) && !stat(in(d, "old"), &one), "making it: %m");
		all_see("new", false, "nothing at all");
		CHECK(!rename(in(d, "old"), in(d, "new")), "rename: %m");
		all_see("old", false, "its rename");
		same_inode("new", one.st_ino);
		CHECK(!make(0, e, "second", NULL) && !stat(in(e, "second"), &two), "making: %m");
		CHECK(!renameat2(AT_FDCWD, in(e, "new"), AT_FDCWD, in(e, "second"),
				 RENAME_EXCHANGE),
		      "exchange: %m");
		same_inode("second", one.st_ino);
		same_inode("new", two.st_ino);
		CHECK(!take(0, d, "new") && !take(0, e, "second"), "removing them: %m");
	}
}

#define WHOLE 3000

/* A file of one letter throughout. */
static void letters(unsigned d, const char *name, char letter)
{
	char text[WHOLE];
	int fd = must_open(in(d, "%s", name), O_CREAT | O_TRUNC | O_WRONLY);

	memset(text, letter, sizeof(text));
	CHECK(write(fd, text, sizeof(text)) == sizeof(text), "write: %m");
	close(fd);
}

static void replace_or_read(unsigned d)
{
	char text[WHOLE + 1], mine[32];
	int64_t end = now_us() + 400000;
	unsigned n = 0;
	ssize_t got;
	int fd;

	snprintf(mine, sizeof(mine), "next%u", d);
	meet();
	while (now_us() < end || !n) {
		n++;
		if (d == 0) {
			letters(d, mine, (char)('a' + n % 26));
			CHECK(!rename(in(d, "%s", mine), in(d, "current")), "rename: %m");
			continue;
		}
		fd = must_open(in(d, "current"), O_RDONLY);
		got = read(fd, text, sizeof(text));
		close(fd);
		CHECK(got == WHOLE, "domain %u read %zd bytes", d, got);
		for (int i = 1; i < WHOLE; i++)
			CHECK(text[i] == text[0], "domain %u read a mixture", d);
	}
}

static void replaced(void)
{
	letters(0, "current", 'z');
	together(replace_or_read);
}

static void move_or_look(unsigned d)
{
	int64_t end = now_us() + 300000;
	unsigned last = 0;
	char from[32], to[32];

	meet();
	for (unsigned n = 0; d == 0 && now_us() < end; n++) {
		snprintf(from, sizeof(from), "moving%u", n);
		snprintf(to, sizeof(to), "moving%u", n + 1);
		/* `word` runs ahead of the file. */
		outside->word[0] = n + 1;
		CHECK(!rename(in(d, "%s", from), in(d, "%s", to)), "rename: %m");
	}
	while (d && now_us() < end) {
		unsigned n = (unsigned)outside->word[0];

		if (n == last)
			continue;
		last = n;
		snprintf(from, sizeof(from), "moving%u", n - 1);
		if (there(d, from))
			continue;
		/* Then it is at `n`, or has gone on from there. */
		snprintf(to, sizeof(to), "moving%u", n);
		CHECK(there(d, to) || outside->word[0] != n,
		      "in domain %u it is under neither name", d);
	}
}

static void never_both_absent(void)
{
	CHECK(!make(0, 0, "moving0", NULL), "making it: %m");
	together(move_or_look);
}

static void win(unsigned d)
{
	for (unsigned i = 0; i < 3 * ROUNDS; i++) {
		char name[32], won[32];

		snprintf(name, sizeof(name), "race%u", i);
		snprintf(won, sizeof(won), "won%u", i);
		meet();
		if (!make(i % 4, d, name, "target"))
			atomic_fetch_add(&outside->winners, 1);
		else
			CHECK(errno == EEXIST, "%s in domain %u: %m", kinds[i % 4], d);
		meet();
		CHECK(outside->winners == 1, "%u domains won %s", outside->winners, kinds[i % 4]);
		if (mode & STRICT_ANY)
			all_see(name, true, "the race for it");
		meet();
		if (d == 0)
			outside->winners = 0;
	}
}

static void one_winner(void)
{
	close(must_open(in(0, "target"), O_CREAT | O_WRONLY));
	together(win);
}

static bool listed(unsigned d, const char *name)
{
	DIR *list = opendir(in(d, "listing"));
	const struct dirent *e;
	bool found = false;

	CHECK(list, "opendir in domain %u: %m", d);
	while ((e = readdir(list)))
		found = found || !strcmp(e->d_name, name);
	closedir(list);
	return found;
}

static void listing(void)
{
	CHECK(!mkdir(in(0, "listing"), 0777), "mkdir: %m");
	for (unsigned i = 0; i < ROUNDS; i++) {
		char path[64];

		snprintf(path, sizeof(path), "listing/entry%u", i);
		for (unsigned d = 0; d < domains; d++)
			CHECK(!listed(d, path + 8), "%s is there before it was made", path);
		CHECK(!make(i % 3, i % domains, path, NULL), "making %s: %m", path);
		for (unsigned d = 0; d < domains; d++)
			CHECK(listed(d, path + 8), "%s is not listed in domain %u", path, d);
		CHECK(!take(i % 3, (i + 1) % domains, path), "removing %s: %m", path);
		for (unsigned d = 0; d < domains; d++)
			CHECK(!listed(d, path + 8), "%s is still listed in domain %u", path, d);
	}
}

/* Domain 0 removes the directory, the others make a file in it. */
static void remove_or_fill(unsigned d)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		char file[64], name[32];
		int err;

		snprintf(name, sizeof(name), "doomed%u", i);
		snprintf(file, sizeof(file), "%s/from%u", name, d);
		if (d == 0)
			CHECK(!mkdir(in(0, "%s", name), 0777), "mkdir: %m");
		meet();
		if (d == 0)
			err = rmdir(in(0, "%s", name));
		else
			err = make(0, d, file, NULL);
		CHECK(!err || (d == 0 ? errno == ENOTEMPTY : errno == ENOENT), "domain %u, %s: %m",
		      d, name);
		if (!err)
			atomic_fetch_or(&outside->winners, d == 0 ? 1u : 2u);
		meet();
		CHECK(outside->winners != 3, "%s was removed with a file in it", name);
		CHECK(outside->winners, "%s was neither removed nor filled", name);
		meet();
		if (d == 0)
			outside->winners = 0;
	}
}

static void removed_empty(void)
{
	together(remove_or_fill);
}

static void unlinked_open(void)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		const char *name = new_file();
		unsigned d = i % domains, e = (i + 1) % domains;
		int fd = must_open(in(d, "%s", name), O_RDWR);

		put(fd, 0, 77);
		CHECK(!unlink(in(e, "%s", name)), "unlink: %m");
		all_see(name, false, "its removal");
		CHECK(get(fd, 0) == 77, "what is open has lost its bytes");
		put(fd, 8, 88);
		CHECK(get(fd, 8) == 88, "what is open cannot be written to");
		close(fd);
	}
}

const struct litmus names_tests[] = {
	{ "C1", "what is made or removed is so in all domains", STRICT_ANY, made_and_removed },
	{ "C2", "a name that was not there is found once it is made", STRICT_ANY, negative },
	{ "C3", "a renamed file is under its new name, the same inode", STRICT_ANY, renamed },
	{ "C4", "readers of a file that is replaced by rename see the old or the new one",
	  STRICT_ANY, replaced },
	{ "C5", "a file on the move is never under neither name", STRICT_ANY, never_both_absent },
	{ "C6", "of many who make a name exactly one does", ANY, one_winner },
	{ "C7", "a listing has what was made before, not what was removed", ANY, listing },
	{ "C8", "a directory is removed only if it is empty for all", ANY, removed_empty },
	{ "C9", "a removed file lives on for who has it open", STRICT_ANY, unlinked_open },
	{ 0 },
};
