/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The contract between vidasd and what stores bytes behind it: version 1.
 *
 * A backend is a shared object vidas-backend-NAME.so in the backend directory that exports
 *	const struct vidas_backend_ops *vidas_backend_entry(void);
 * and is found by the scheme of a container's root URL. Start from backends/mem/.
 *
 * Keys are paths below the root, "a/b/c": never empty (but where a call says that "" is the root),
 * never beginning or ending with '/', no empty, "." or ".." components, any other bytes but NUL.
 *
 * Threads: open and close are called once each; all other calls may run in parallel on one
 * handle, also for the same key. Every call may block; none may block for ever: a backend has
 * time-outs, and gives -ETIMEDOUT.
 *
 * Errors: 0 or a count, or -errno. The errnos that vidasd understands: -ENOENT no such key;
 * -ESTALE a version was asked for and is no more; -EEXIST; -ENOTDIR, -EISDIR, -ENOTEMPTY;
 * -EINVAL not a thing of that kind (bytes of a symlink, target of a file), or a name that the
 * backend cannot have; -EACCES, -EROFS refused; -ENOSPC, -EDQUOT full; -EAGAIN, -ETIMEDOUT,
 * -ECONNRESET, -ENOTCONN, -EIO may pass (filters/retry tries again); -EOPNOTSUPP. Say the reason
 * in words by vidas_backend_error(): it reaches the log and the file's `user.vidas.error`.
 *
 * Memory: the iovecs of get and put point into the pool, so there is no bounce buffer. Other
 * domains may change those bytes meanwhile: read each byte once (a checksum and the bytes sent
 * must be of the same reading), never rely on their content. If a domain cuts the file short,
 * reads of the lost part give zeros and vidasd repeats the put.
 */
#ifndef VIDAS_BACKEND_H
#define VIDAS_BACKEND_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#define VIDAS_BACKEND_API 1u

struct vidas_backend; /* an open one; the plug-in's own, opaque to all others */

enum vidas_backend_cap {
	/* put and remove honour `expect`; what other clients of the store can do between the look and the
	 * deed, where it does not do both in one, the backend's page and `describe` say */
	VIDAS_BACKEND_CONDITIONAL = 1u << 0,
	VIDAS_BACKEND_RANGED_PUT = 1u << 1,  /* has put_range */
	VIDAS_BACKEND_DIRECTORIES = 1u << 2, /* directories exist by themselves (mkdir, rmdir) */
	VIDAS_BACKEND_SYMLINKS = 1u << 3,    /* has symlink; stat and list tell them apart */
	/* keeps mode, uid, gid and mtime given to put: those that `valid` of stat then names */
	VIDAS_BACKEND_ATTRIBUTES = 1u << 4,
	VIDAS_BACKEND_LINKS = 1u << 5, /* has link */
	/* put tells the digest of what it has sent */
	VIDAS_BACKEND_DIGESTS = 1u << 6
};

/*
 * The digest of a content: XXH3 with 128 bits, in its canonical form, of the digests in that form of all its
 * blocks, in order. The last block may be short; an empty content has none.
 */
#define VIDAS_BACKEND_DIGEST_BYTES 16u
#define VIDAS_BACKEND_DIGEST_BLOCK (1u << 20)

/* What tells one content of a key from another: an ETag, a change attribute. Opaque bytes. */
struct vidas_backend_version {
	uint16_t size; /* 0: none, or "does not matter" */
	uint8_t bytes[62];
};

enum vidas_backend_type {
	VIDAS_BACKEND_FILE = 1,
	VIDAS_BACKEND_DIRECTORY = 2,
	VIDAS_BACKEND_SYMLINK = 3,
};

enum vidas_backend_attr {
	VIDAS_BACKEND_MODE = 1u << 0,
	VIDAS_BACKEND_OWNER = 1u << 1,
	VIDAS_BACKEND_MTIME = 1u << 2
};

struct vidas_backend_stat {
	enum vidas_backend_type type;
	uint32_t valid; /* enum vidas_backend_attr: which of mode, uid/gid, mtime are known */
	uint32_t mode;	/* permission bits */
	uint32_t uid, gid;
	uint32_t links; /* how many names a file has; 0: not known */
	struct timespec mtime;
	uint64_t size_bytes;
	struct vidas_backend_version
		version; /* as get and put give it; size 0 if only they can tell */
};

/* Everything about one put, so that calls need not grow. */
struct vidas_backend_put {
	const struct iovec *iov; /* the whole content, in order */
	int iovcnt;
	uint64_t size_bytes; /* the sum of iov */
	const struct vidas_backend_stat
		*attrs; /* mode, uid, gid, mtime to keep, by `valid`; or NULL */
	/* only if the key still has this, else -ESTALE (also if it is gone); NULL: whatever is there */
	const struct vidas_backend_version *expect;
	int must_not_exist; /* only if there is no such key (-EEXIST) */
	/* If not NULL: bytes are added as they are sent, for who looks on; what is sent again is
	 * taken back before. */
	_Atomic uint64_t *moved;
	/* If not NULL, and put has VIDAS_BACKEND_DIGESTS: where it leaves, when it returns 0, the digest
	 * of the very bytes that the store has got. */
	uint8_t *digest;
};

/* Everything about one more name of a file. */
struct vidas_backend_link {
	/* The file must have this version, else -ESTALE; NULL: whatever it has. */
	const struct vidas_backend_version *version;
	/* Of the new name: as in struct vidas_backend_put. */
	const struct vidas_backend_version *expect;
	int must_not_exist;
};

/* Ways of the host that a backend may use; lives as long as the backend. */
struct vidas_backend_host {
	uint32_t struct_size;
	/* A message for the log; level as in syslog. */
	void (*log)(void *host, int level, const char *text);
	/* The reason, in words, why this thread's present call is about to fail. */
	void (*error)(void *host, const char *text);
	void *host;
};

struct vidas_backend_ops {
	uint32_t struct_size; /* sizeof(struct vidas_backend_ops), as the plug-in was built */
	uint32_t api_version; /* VIDAS_BACKEND_API */
	const char *name;     /* the URL scheme: "file" */
	const char *summary;  /* one line for `vidas backend list` */

	/*
	 * Required. `url` is the root, checked to begin with "NAME://"; its query has the backend's
	 * parameters. Must not hang on an unreachable server: connecting may be put off to the first
	 * call. *caps are the VIDAS_BACKEND_ bits that this root has. -EINVAL a bad URL, said in words.
	 */
	int (*open)(const struct vidas_backend_host *host, const char *url,
		    struct vidas_backend **out, uint32_t *caps);
	void (*close)(struct vidas_backend *be);

	/* Required. "" is the root. */
	int (*stat)(struct vidas_backend *be, const char *key, struct vidas_backend_stat *st);

	/*
	 * Required. Reads [offset, offset + length of iov) of a file; short only at its end. With
	 * `expect`: -ESTALE if the key has another version. *seen (if not NULL) is the version the
	 * bytes are of; where the backend cannot tell for sure, it reads the version before the bytes.
	 */
	ssize_t (*get)(struct vidas_backend *be, const char *key, uint64_t offset,
		       const struct iovec *iov, int iovcnt,
		       const struct vidas_backend_version *expect,
		       struct vidas_backend_version *seen);

	/*
	 * Required. Replaces the whole content, atomically: whoever reads the key meanwhile, or after
	 * a crash, has the old content or the new one. Missing directories above are made. When it
	 * returns 0 the bytes are durable, as far as the backend has such a promise. *now (if not
	 * NULL) is the version put.
	 */
	int (*put)(struct vidas_backend *be, const char *key, const struct vidas_backend_put *put,
		   struct vidas_backend_version *now);

	/* Required. A file or symlink (-EISDIR); with `expect` only that version of it (-ESTALE). */
	int (*remove)(struct vidas_backend *be, const char *key,
		      const struct vidas_backend_version *expect);

	/*
	 * Required. Calls `each` for every entry of a directory ("" is the root), not for "." and
	 * "..", in no order, by its last component; `st` may have version.size 0. Entries that come or go
	 * meanwhile may be there or not, all others are there once. Non-zero from `each` ends it and
	 * is returned. `each` may call the backend.
	 */
	int (*list)(struct vidas_backend *be, const char *key,
		    int (*each)(void *arg, const char *name, const struct vidas_backend_stat *st),
		    void *arg);

	/* Optional from here on: NULL if the backend has none. */

	/* Missing directories above are made; one that is there already is 0. */
	int (*mkdir)(struct vidas_backend *be, const char *key,
		     const struct vidas_backend_stat *attrs);
	int (*rmdir)(struct vidas_backend *be, const char *key);
	/* Replaces a file or symlink that is there. */
	int (*symlink)(struct vidas_backend *be, const char *key, const char *target);
	/* The target, NUL-terminated; its length, or -ENAMETOOLONG. */
	ssize_t (*readlink)(struct vidas_backend *be, const char *key, char *target, size_t size);
	/* Atomic; `to` is replaced, missing directories above it are made. The version may change. */
	int (*rename)(struct vidas_backend *be, const char *from, const char *to);
	/* Bytes in place, of a file that exists; not atomic. */
	ssize_t (*put_range)(struct vidas_backend *be, const char *key, uint64_t offset,
			     const struct iovec *iov, int iovcnt,
			     struct vidas_backend_version *now);
	/* Sets what attrs->valid names, without the bytes. The version may change. */
	int (*set_attrs)(struct vidas_backend *be, const char *key,
			 const struct vidas_backend_stat *attrs);
	/* What the caps do not say about this root, in words, for `vidas backend test`: calls `say`
	 * for each ("checksums", "CRC32C on PUT and GET"). May ask the server what it can do. */
	void (*describe)(struct vidas_backend *be,
			 void (*say)(void *arg, const char *what, const char *how), void *arg);
	/*
	 * Makes `to` one more name of the file `from`: from then on they are one, bytes, attributes and
	 * version, until a put or a removal takes one of the names away from the other, which may change
	 * the version of the other. Making a name may change the version, too; *now (if not NULL) is that of both.
	 * `to` is replaced atomically, missing directories above it are made; 0 if it is that file already.
	 * -EINVAL, -EISDIR `from` is no file; -EMLINK, -EPERM, -EXDEV it cannot have one more name.
	 */
	int (*link)(struct vidas_backend *be, const char *from, const char *to,
		    const struct vidas_backend_link *link, struct vidas_backend_version *now);
	/* New fields are only added at the end. */
};

__attribute__((visibility("default"))) const struct vidas_backend_ops *vidas_backend_entry(void);

/* For plug-ins: says the reason of a failure and returns `err`. */
__attribute__((format(printf, 3, 4))) static inline int
vidas_backend_error(const struct vidas_backend_host *host, int err, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	if (vsnprintf(text, sizeof(text), fmt, args) >= 0)
		host->error(host->host, text);
	va_end(args);
	return err;
}

#endif
