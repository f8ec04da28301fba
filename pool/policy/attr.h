/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The `user.vidas.` attributes: the one table that drives getxattr, setxattr and listxattr in
 * vidasfs, the answers of vidasd, the `vidas` command, and the test that compares it with
 * xattr-schema.md.
 *
 * A policy is stored as an ordinary xattr, "user.vidas.<name>", on the file or directory in the
 * pool where a user set it; so it survives what the file survives, is listed, and is copied by
 * `cp -a`. Its effective value for a path is the nearest one upwards (the container's directory
 * last), else the default. All others are virtual: computed when asked, never stored, never
 * listed.
 */
#ifndef VIDAS_ATTR_H
#define VIDAS_ATTR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define VIDAS_XATTR_PREFIX "user.vidas."

/* Marks on files of a container with a root, of vidasd (pool/sync/sync.h) and vidasfs; no domain sees
 * them. ABSENT: the bytes of the file, or the entries of the directory, are with the store still.
 * IMPORTED: the directory has all entries of the store; where it cannot be read, vidasd is asked.
 * TOUCHED: it may have been changed without its mtime, through a mapping. FETCH: a number, as long as
 * it is the same all chunks of the file that are or were fetched are of one version. RELAXED, in any
 * container, on its directory: `consistency` was once set on something in it; else nobody need look
 * for it. */
#define VIDAS_XATTR_MARK     "trusted.vidas."
#define VIDAS_XATTR_ABSENT   VIDAS_XATTR_MARK "absent"
#define VIDAS_XATTR_IMPORTED VIDAS_XATTR_MARK "imported"
#define VIDAS_XATTR_TOUCHED  VIDAS_XATTR_MARK "touched"
#define VIDAS_XATTR_RELAXED  VIDAS_XATTR_MARK "relaxed"
#define VIDAS_XATTR_FETCH    VIDAS_XATTR_MARK "fetch"

enum vidas_attr_kind {
	VIDAS_ATTR_POLICY,    /* get: effective value; set: stored; remove: back to inherited */
	VIDAS_ATTR_INFO,      /* get only, answered by vidasd (ATTR_GET) */
	VIDAS_ATTR_ACTION,    /* set only, carried out by vidasd (ATTR_SET), returns when done */
	VIDAS_ATTR_CONTAINER, /* get and set by vidasd, on a container's directory only */
	VIDAS_ATTR_MESSAGE,   /* of regular files, by vidasfs: set sends one, get takes one */
};

struct vidas_attr {
	const char *name; /* without the prefix */
	enum vidas_attr_kind kind;
	/* What may be set, up to a NULL; an empty list: read-only; NULL: checked by `check`, or where
	 * it is set if there is none. */
	const char *const *values;
	int (*check)(const char *text); /* a policy's other values: 0, -EINVAL in words */
	const char *fallback;		/* policies: the value where none is set */
	const char *summary;		/* one line, for `vidas policy --help` and the schema */
};

/* The table, in the order of xattr-schema.md, ended by one whose name is NULL. */
extern const struct vidas_attr vidas_attrs[];

/* Finds by full name ("user.vidas.write_policy"); "read_policy" finds update_policy, which is the name to
 * store it by. NULL: not one of ours. `*ours` (may be NULL) says
 * whether the name has our prefix: such a name that is not in the table is -EINVAL to set, -ENODATA to get. */
const struct vidas_attr *vidas_attr_find(const char *xattr, bool *ours);

/* The longest value that any policy can have, and its NUL. */
#define VIDAS_POLICY_BYTES 32

/* May `value` be set? -EPERM read-only, -EINVAL no such value (the reason lists the right ones). */
int vidas_attr_check(const struct vidas_attr *attr, const void *value, size_t bytes);

/*
 * The effective value of a policy at `path` below the container's directory `tree_fd` ("" is that
 * directory), NUL-terminated in `value`; returns its length. Symbolic links are never followed.
 * *inherited (may be NULL) says whether it was set at the path itself. -ERANGE too small.
 */
ssize_t vidas_policy_get(int tree_fd, const char *path, const struct vidas_attr *attr, char *value,
			 size_t size, bool *inherited);

/* What is stored on the file or directory `fd` (may be O_PATH) itself, NUL-terminated; its length. Domains
 * can store anything in their own xattrs: what is no value is -ENODATA, as if it were not there. */
ssize_t vidas_policy_stored(int fd, const struct vidas_attr *attr, char value[VIDAS_POLICY_BYTES]);

/* Is policy `name` at `path` effectively `value`? */
bool vidas_policy_is(int tree_fd, const char *path, const char *name, const char *value);

/* "30s", "500ms", "5m", "1h": -EINVAL in words if it is none, or below or above what may be set. */
#define VIDAS_DURATION_MIN_US (INT64_C(250) * 1000)
#define VIDAS_DURATION_MAX_US (INT64_C(24) * 3600 * 1000 * 1000)
int vidas_duration_parse(const char *text, int64_t *us);

/* What prefetch takes: "1" is all of it (*size 0), else "OFFSET+LENGTH" in bytes. -EINVAL in words. */
int vidas_range_parse(const char *text, uint64_t *offset, uint64_t *size);

/*
 * The policies that vidasd acts on by itself, for who goes through a tree from above: begin with the
 * defaults, and at each thing on the way have overridden what is stored there.
 */
enum vidas_write_policy { VIDAS_WRITE_THROUGH, VIDAS_WRITE_BACK, VIDAS_WRITE_ASYNC };
struct vidas_policies {
	enum vidas_write_policy write;
	bool eager;
	int64_t write_deadline_us, update_interval_us;
};
void vidas_policies_default(struct vidas_policies *p);
/* By what is stored on `fd`, as above. */
void vidas_policies_override(struct vidas_policies *p, int fd);

#endif
