/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container's tree, its state and a store, in a directory of their own on a tmpfs, for the tests of
 * pool/sync/sync.h. All paths are relative to `top`: "tree/a", "store/a".
 */
#ifndef VIDAS_TESTS_SYNC_POOL_H
#define VIDAS_TESTS_SYNC_POOL_H

#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pool/base/base.h"
#include "pool/sync/sync.h"

#define OK(call) CU_ASSERT_EQUAL_FATAL((call), 0)

struct pool {
	char dir[64], url[128];
	int top;
	struct vidas_sync *s;
	struct vidas_sync_moved moved; /* of the last flush or update */
	_Atomic uint64_t written;      /* the inode that a domain has open for writing */
	_Atomic unsigned changes;
};

static bool pool_open_for_writing(void *arg, uint64_t inode)
{
	struct pool *p = arg;

	return atomic_load_explicit(&p->written, memory_order_acquire) == inode;
}

static void pool_changed(void *arg, uint64_t inode, uint32_t kinds)
{
	struct pool *p = arg;

	CU_ASSERT(inode && kinds);
	atomic_fetch_add_explicit(&p->changes, 1, memory_order_relaxed);
}

static inline int pool_attach(struct pool *p, const char *filters)
{
	const struct vidas_sync_hooks hooks = { pool_open_for_writing, pool_changed, p };
	int tree = openat(p->top, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int state = openat(p->top, "state", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = vidas_sync_open(tree, state, p->url, filters, &hooks, &p->s);

	if (!err)
		err = vidas_sync_ready(p->s);

	/* What the sync part needs for longer it opens itself, but for this the contract is ours. */
	close(tree);
	close(state);
	if (err)
		fprintf(stderr, "open: %s\n", vidas_fail_text());
	return err;
}

static inline void pool_detach(struct pool *p)
{
	vidas_sync_close(p->s);
	p->s = NULL;
}

static inline void pool_make(struct pool *p, const char *filters)
{
	*p = (struct pool){ .dir = "/dev/shm/vidas-sync-XXXXXX" };
	CU_ASSERT_FATAL(mkdtemp(p->dir) != NULL);
	p->top = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CU_ASSERT_FATAL(p->top >= 0);
	OK(mkdirat(p->top, "tree", 0755));
	OK(mkdirat(p->top, "state", 0700));
	OK(mkdirat(p->top, "store", 0755));
	snprintf(p->url, sizeof(p->url), "file://%s/store", p->dir);
	OK(pool_attach(p, filters));
}

/* Runs a shell command in `top`; its exit status. */
__attribute__((format(printf, 2, 3))) static inline int sh(struct pool *p, const char *fmt, ...)
{
	char command[4096], text[3072];
	va_list args;
	int status;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	snprintf(command, sizeof(command), "cd %s && %s", p->dir, text);
	status = system(command); /* NOLINT(cert-env33-c): a test's own text */
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void pool_drop(struct pool *p)
{
	char command[128];

	pool_detach(p);
	close(p->top);
	snprintf(command, sizeof(command), "rm -rf %s", p->dir);
	CU_ASSERT_EQUAL(system(command), 0); /* NOLINT(cert-env33-c) */
}

static inline void put_text(struct pool *p, const char *path, const char *text)
{
	int fd = openat(p->top, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	CU_ASSERT_FATAL(fd >= 0);
	OK(vidas_pwrite_all(fd, text, strlen(text), 0));
	close(fd);
}

/* Is `path` a regular file of just this text? */
static inline bool has_text(struct pool *p, const char *path, const char *text)
{
	char have[4096];
	int fd = openat(p->top, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return false;
	n = vidas_pread_all(fd, have, sizeof(have), 0);
	close(fd);
	return n == (ssize_t)strlen(text) && memcmp(have, text, (size_t)n) == 0;
}

static inline bool exists(struct pool *p, const char *path)
{
	struct stat st;

	return fstatat(p->top, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static inline uint64_t inode_of(struct pool *p, const char *path)
{
	struct stat st;

	return fstatat(p->top, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
}

static inline bool is_absent(struct pool *p, const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s/%s", p->dir, path);
	return lgetxattr(full, VIDAS_SYNC_ABSENT, NULL, 0) >= 0;
}

static inline int flush(struct pool *p, const char *path)
{
	return vidas_sync_flush(p->s, path, 0, &p->moved);
}

static inline int update(struct pool *p, const char *path)
{
	return vidas_sync_update(p->s, path, 0, &p->moved);
}

static inline enum vidas_sync_state state(struct pool *p, const char *path)
{
	struct vidas_sync_info info;

	OK(vidas_sync_info(p->s, path, &info));
	return info.state;
}

/* Are tree and store the same: names, types, bytes, links, modes, owners, times of files? */
static inline bool same(struct pool *p)
{
	return sh(p, "diff -r --no-dereference tree store >&2") == 0 &&
	       sh(p,
		  "for d in tree store; do (cd $d; find . -mindepth 1 "
		  "\\( -type f -printf '%%P %%m %%U %%G %%T@ %%s\\n' \\) -o "
		  "\\( -type d -printf '%%P %%m %%U %%G\\n' \\) -o -printf '%%P %%l\\n' | sort); "
		  "done | sort | uniq -u | sed 's/^/differs: /' | tee differs >&2; ! test -s differs") ==
		       0;
}

/* Are the same names one file in the tree and in the store? */
static inline bool same_links(struct pool *p)
{
	return sh(p,
		  "for d in tree store; do (cd $d; find . -type f -links +1 -printf '%%i %%P\\n' | "
		  "sort | awk '$1 != i { i = $1; print l; l = \"\" } { l = l \" \" $2 } "
		  "END { print l }' | sort) >links.$d; done; diff links.tree links.store >&2") == 0;
}

/* Not for a user without the rights: the reason, and exit status 77. */
#define POOL_NEEDS_ROOT()                                                    \
	do {                                                                 \
		if (geteuid() != 0) {                                        \
			puts("needs root: trusted xattrs and file handles"); \
			exit(77);                                            \
		}                                                            \
	} while (0)

#define POOL_MAIN(suite_name, ...)                                                    \
	int main(void)                                                                \
	{                                                                             \
		static const struct unit_case cases[] = { __VA_ARGS__ };              \
		POOL_NEEDS_ROOT();                                                    \
		/* Not to a sanitizer, which would report what is tested here. */     \
		signal(SIGBUS, SIG_DFL);                                              \
		vidas_log_init(suite_name, VIDAS_LOG_ERR);                            \
		return unit_run(suite_name, cases, sizeof(cases) / sizeof(cases[0])); \
	}

#endif
