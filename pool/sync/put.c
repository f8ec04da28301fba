/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bytes of one file to the store. */
#include "pool/sync/internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "pool/wire/wire.h"

/* An mtime of a coarse clock is as old as its tick at most (CONFIG_HZ=100), twice to be sure. */
#define TICK_NS INT64_C(20000000)

struct put {
	struct vidas_sync *s;
	const char *path, *from; /* `from`: see sync_put_file() */
	int fd;
	struct stat st; /* before its bytes were read */
	struct sync_record rec;
	struct vidas_backend_version expect; /* size 0: whatever is there */
	bool must_not_exist;
	bool conflict, counted, absent;
	bool numbered; /* its bytes are to have that number, which another name of it has */
	uint64_t number;
	/* Others may change its bytes while they are put, and back again: which of them came to the
	 * store cannot be told by looking at the file. */
	bool shared;
	struct sync_digest digest; /* of what came to the store */
	struct sync_turn turn;
	struct vidas_sync_moved *moved;
};

/* PUT_CUT: it was cut short meanwhile, and has zeros in the store. PUT_FAULT: nothing was put. */
enum { PUT_CUT = 1, PUT_FAULT = 2 };

/* Where the store tells what it was sent that is known; else of what others may write to a copy is put. */
static int put_bytes(struct put *p, struct vidas_backend_version *now)
{
	bool told = sync_can(p->s, VIDAS_BACKEND_DIGESTS);
	struct vidas_backend_stat attrs;
	struct vidas_backend_put put = {
		.attrs = &attrs,
		.expect = p->expect.size ? &p->expect : NULL,
		.must_not_exist = p->must_not_exist,
		.size_bytes = (uint64_t)p->st.st_size,
		.digest = told ? p->digest.bytes : NULL,
	};
	struct sync_held *h = NULL;
	int err;

	sync_attrs_of(&p->st, &attrs);
	err = sync_hold(p->fd, put.size_bytes, p->shared && !told ? &p->digest : NULL, &h);
	if (err)
		return err;
	put.iov = sync_held_bytes(h, &put.iovcnt);
	err = vidas_store_put(p->s->store, p->path, &put, now);
	if (!err && told)
		p->digest.known = true;
	if (err == -EFAULT)
		err = PUT_FAULT;
	if (!err && sync_held_cut(h))
		err = PUT_CUT;
	sync_release(h);
	return err;
}

/*
 * Where it is not known yet. Of a file that nobody else writes to, which is seen later, the bytes are still those
 * that were put: true, and only then.
 */
static bool find_digest(struct put *p, const struct vidas_backend_version *now)
{
	uint64_t size = (uint64_t)p->st.st_size;

	if (p->digest.known)
		return false;
	if (p->shared && now->size)
		(void)sync_digest_store(p->s, p->path, now, size, &p->turn, &p->digest);
	else if (!p->shared)
		(void)sync_digest_file(p->fd, size, &p->turn, &p->digest);
	return !p->shared;
}

/* Does the store have these very bytes? Asked when it is not known whether an earlier push came
 * through. */
static bool same_bytes(struct put *p, struct vidas_backend_stat *there)
{
	struct vidas_map map = { 0 };
	uint64_t at = 0, size = (uint64_t)p->st.st_size;
	uint8_t *piece;
	bool same = there->type == VIDAS_BACKEND_FILE && there->size_bytes == size;

	if (!same || !size)
		return same;
	piece = malloc(1u << 20);
	if (!piece || vidas_map_open(p->fd, 0, size, PROT_READ, &map) < 0) {
		free(piece);
		return false;
	}
	while (same && at < size) {
		size_t n = size - at < (1u << 20) ? (size_t)(size - at) : 1u << 20;
		struct iovec iov = { .iov_base = piece, .iov_len = n };
		ssize_t got = vidas_store_get(p->s->store, p->path, at, &iov, 1,
					      there->version.size ? &there->version : NULL, NULL);

		same = got == (ssize_t)n && memcmp(piece, map.ptr + at, n) == 0;
		at += n;
		sync_turn_moved(&p->turn);
	}
	same = same && !vidas_map_cut(&map);
	vidas_map_close(&map);
	free(piece);
	return same;
}

/* Versions ------------------------------------------------------------------------------------- */

/* What to expect, as far as known here. */
static void expect_known(struct put *p)
{
	bool agreed = p->rec.flags & SYNC_AGREED;

	p->expect = agreed ? p->rec.version : (struct vidas_backend_version){ 0 };
	p->must_not_exist = !agreed;
}

/*
 * What to expect, by what the store has: if that is neither what was agreed nor from an earlier
 * push of ours, it is kept beside. What is there is known from now on, as the intent of that
 * earlier push gives way to that of this one.
 */
static int expect_there(struct put *p)
{
	struct vidas_backend_stat there;
	int err;

	p->expect.size = 0;
	p->must_not_exist = true;
	err = vidas_store_stat(p->s->store, p->path, &there);
	if (err)
		return err == -ENOENT ? 0 : err;
	if (there.type == VIDAS_BACKEND_DIRECTORY)
		return vidas_fail(-EISDIR, "the store has a directory '%s'", p->path);
	if (!sync_is_ours(p->s, p->path, &p->rec, &there) &&
	    (p->absent || !same_bytes(p, &there))) {
		err = sync_conflict_keep(p->s, p->path, &there);
		if (err)
			return err;
		p->conflict = true;
		if (!there.type)
			return 0;
	}
	p->expect = there.version;
	p->must_not_exist = false;
	p->rec.flags &= ~(uint32_t)SYNC_ATTRS;
	if (!(p->rec.flags & SYNC_AGREED) || !sync_same_version(&p->rec.version, &there.version)) {
		sync_record_agree(&p->rec, p->fd, &p->st, &there.version);
		p->rec.flags |= SYNC_CHANGED | SYNC_LINKED;
		/* Should it be another version soon, because of its other names there. */
		p->rec.size = there.size_bytes;
		p->rec.mtime = there.mtime;
	}
	return 0;
}

/* The push ------------------------------------------------------------------------------------- */

/*
 * Looks at the file before its bytes are read. Where the mtime comes from a coarse clock, a write
 * in the same tick as the one before would not show: so the mtime gets a nanosecond that the clock
 * never has.
 */
static int look_before(struct put *p)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	struct timespec now;
	int64_t age;

	if (fstat(p->fd, &p->st) < 0)
		return -errno;
	if (p->s->fine_times)
		return 0;
	clock_gettime(CLOCK_REALTIME, &now);
	age = (now.tv_sec - p->st.st_mtim.tv_sec) * INT64_C(1000000000) +
	      (now.tv_nsec - p->st.st_mtim.tv_nsec);
	if (age < 0 || age > TICK_NS)
		return 0;
	times[1] = p->st.st_mtim;
	times[1].tv_nsec += times[1].tv_nsec < 999999999 ? 1 : -1;
	if (futimens(p->fd, times) < 0 || fstat(p->fd, &p->st) < 0)
		return -errno;
	sync_changed(p->s, p->st.st_ino, VIDAS_WIRE_RECALL_ATTRS);
	return 0;
}

/*
 * The intent, so that a successor knows our bytes in the store for what they are; and, before a file has
 * a name there, where its other names find it.
 */
static int note_intent(struct put *p)
{
	if (!*p->from && sync_can(p->s, VIDAS_BACKEND_LINKS) &&
	    fgetxattr(p->fd, SYNC_PUSHED, NULL, 0) < 0 &&
	    fsetxattr(p->fd, SYNC_BEGUN, p->path, strlen(p->path), 0) < 0)
		return -errno;
	if (!p->rec.type)
		p->rec.type = VIDAS_BACKEND_FILE;
	p->rec.flags |= SYNC_PUSHING;
	p->rec.push_tag = (uint64_t)p->st.st_size;
	p->rec.push_mtime = p->st.st_mtim;
	return sync_known_put(p->s, p->path, &p->rec);
}

static int note_pushed(struct put *p, const struct vidas_backend_version *version, bool changed)
{
	struct timespec now;

	p->rec = (struct sync_record){ .flags = (changed ? SYNC_CHANGED : 0u) |
						(p->conflict ? SYNC_CONFLICT : 0u) };
	sync_record_agree(&p->rec, p->fd, &p->st, version);
	clock_gettime(CLOCK_REALTIME, &now);
	p->rec.push_tag =
		p->numbered ? p->number :
			      (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
	p->rec.digest = p->digest;
	return sync_known_put(p->s, p->path, &p->rec);
}

static bool is_touched(const struct put *p)
{
	return fgetxattr(p->fd, VIDAS_SYNC_TOUCHED, NULL, 0) >= 0;
}

/*
 * Before the bytes are read the mark is taken off: who touches the file from now on puts it on
 * again. Where the file has other names the mark speaks for them, too: it stays, and does not tell
 * then.
 */
static int take_mark(struct put *p, bool *touched)
{
	*touched = p->st.st_nlink > 1 && is_touched(p);
	p->shared = *touched || sync_open_for_writing(p->s, p->st.st_ino);
	p->digest.known = false;
	if (*touched)
		return 0;
	return fremovexattr(p->fd, VIDAS_SYNC_TOUCHED) < 0 && errno != ENODATA ? -errno : 0;
}

/* Sets owner and mode in the store. 1: it cannot, or has something else: put it all. */
static int set_attrs(struct put *p)
{
	struct vidas_backend_stat attrs, there;
	bool exact;
	int err;

	err = vidas_store_stat(p->s->store, p->path, &there);
	if (err || !sync_is_ours(p->s, p->path, &p->rec, &there))
		return err && err != -ENOENT ? err : 1;
	p->rec.flags |= SYNC_ATTRS;
	err = sync_known_put(p->s, p->path, &p->rec);
	if (err)
		return err;
	exact = sync_same_time(&there.mtime, &p->rec.mtime);
	sync_attrs_of(&p->st, &attrs);
	attrs.mtime = p->rec.mtime; /* that of the file may be of a fetch that was killed */
	err = vidas_store_set_attrs(p->s->store, p->path, &attrs);
	if (!err)
		err = vidas_store_stat(p->s->store, p->path, &there);
	if (err)
		return err == -EOPNOTSUPP || err == -ENOENT ? 1 : err;
	/* Some stores keep times less exactly. */
	if (exact ? !sync_is_ours(p->s, p->path, &p->rec, &there) : there.size_bytes != p->rec.size)
		return 1;
	p->rec.version = there.version;
	return 0;
}

/* Only owner or mode changed. 1: as above. */
static int put_attrs(struct put *p)
{
	int err = sync_can(p->s, VIDAS_BACKEND_ATTRIBUTES) ? set_attrs(p) : 0;

	if (err)
		return err;
	p->rec.flags &= ~(uint32_t)SYNC_ATTRS;
	p->rec.mode = p->st.st_mode & 07777;
	p->rec.uid = p->st.st_uid;
	p->rec.gid = p->st.st_gid;
	return sync_known_put(p->s, p->path, &p->rec);
}

/* The guards, and the intent; 0 or -errno. */
static int prepare(struct put *p)
{
	int err = 0;

	if (!sync_can(p->s, VIDAS_BACKEND_CONDITIONAL) || sync_is_unsure(p->s, &p->rec))
		err = expect_there(p);
	else
		expect_known(p);
	return err ? err : note_intent(p);
}

/* One more name for what is in the store already, if that has the very bytes. 1: it is to be put; or the
 * store had something else. */
static int link_once(struct put *p)
{
	struct vidas_backend_link link = { 0 };
	struct sync_record have;
	int err = sync_link_known(p->s, p->from, p->fd, &p->st, &p->turn, &have);

	if (err == 1) {
		err = prepare(p);
		link.expect = p->expect.size ? &p->expect : NULL;
		link.must_not_exist = p->must_not_exist;
		if (!err)
			err = sync_link_name(p->s, p->from, &have, p->path, &link);
		p->numbered = err == 1; /* parted for good: not to be tried again and again */
		p->number = have.push_tag;
		if (err == -ESTALE || err == -EEXIST)
			return 1; /* once more, and then with what is there */
	} else if (!err) {
		err = 1;
	}
	if (err == 1)
		p->from = "";
	if (err)
		return err;
	p->moved->files += !p->counted;
	p->counted = true;
	p->rec = have;
	p->rec.flags &= ~(uint32_t)SYNC_CONFLICT;
	p->rec.flags |= p->conflict ? SYNC_CONFLICT : 0u;
	/* What is stored through a mapping since the bytes were looked at leaves no other trace. */
	p->rec.flags |= sync_open_for_writing(p->s, p->st.st_ino) ? SYNC_CHANGED : 0u;
	err = sync_known_put(p->s, p->path, &p->rec);
	return err || sync_same_attrs(&p->rec, &p->st) ? err : put_attrs(p);
}

/* One put. 1: go on, the file changed meanwhile or the store had something else. */
static int put_once(struct put *p)
{
	struct vidas_backend_version now = { 0 };
	struct vidas_backend_stat there;
	struct stat after;
	bool touched, stable, writers, supposed;
	int cut, err;

	if (*p->from)
		return link_once(p);
	err = look_before(p);
	if (!err)
		err = prepare(p);
	if (!err)
		err = take_mark(p, &touched);
	if (err)
		return err;
	cut = put_bytes(p, &now);
	sync_turn_moved(&p->turn);
	if (cut == -ESTALE || cut == -EEXIST || cut == PUT_FAULT)
		return 1;
	if (cut < 0)
		return cut;
	if (!now.size && vidas_store_stat(p->s->store, p->path, &there) == 0)
		now = there.version;
	supposed = find_digest(p, &now);
	if (fstat(p->fd, &after) < 0)
		return -errno;
	stable = !cut && after.st_size == p->st.st_size &&
		 sync_same_time(&after.st_mtim, &p->st.st_mtim) && is_touched(p) == touched;
	writers = sync_open_for_writing(p->s, p->st.st_ino);
	if (supposed && (writers || !stable))
		p->digest.known = false;
	p->moved->files += !p->counted;
	p->counted = true;
	p->moved->bytes += (uint64_t)p->st.st_size;
	err = note_pushed(p, &now, p->shared || writers || !stable);
	return err ? err : !stable;
}

/* So that another name of this file, or a former one, may be removed from the store. */
static int note_name(struct put *p, bool always)
{
	char last[PATH_MAX];
	int err = sync_path_xattr(p->fd, SYNC_PUSHED, last);

	if ((err && !always) || (!err && strcmp(last, p->path) == 0))
		return 0;
	if (fsetxattr(p->fd, SYNC_PUSHED, p->path, strlen(p->path), 0) < 0)
		return -errno;
	return err && fremovexattr(p->fd, SYNC_BEGUN) < 0 && errno != ENODATA ? -errno : 0;
}

/* Nothing is to be put but, maybe, owner and mode. 1: everything is. */
static int put_unchanged(struct put *p)
{
	int err = sync_settle(p->s, p->path, &p->rec, &p->st, p->fd, p->absent, &p->turn);

	if (err)
		return err;
	return sync_same_attrs(&p->rec, &p->st) ? 0 : put_attrs(p);
}

/* Its bytes are in the store only, under the same key, and are to be put anew. */
static int fetch_here(struct put *p)
{
	uint64_t bytes = 0;
	int fd, err;

	fd = sync_reopen(p->fd, O_RDWR | O_NONBLOCK);
	if (fd < 0)
		return fd;
	err = sync_fetch_absent(p->s, p->path, fd, &p->turn, &bytes);
	if (!err && fstat(fd, &p->st) < 0)
		err = -errno;
	close(fd);
	return err ? err : sync_known_get(p->s, p->path, &p->rec);
}

static int put_all(struct put *p)
{
	int err = 1;

	for (int tries = 0; err > 0 && tries < SYNC_TRIES; tries++)
		err = put_once(p);
	/* Still changing: what was there when we began, or newer, has been pushed. */
	if (err > 0 && !(p->rec.flags & SYNC_PUSHING))
		err = 0;
	if (err > 0)
		err = vidas_fail(-EBUSY, "'%s' changes all the time, here or in the store",
				 p->path);
	return err ? err : note_name(p, true);
}

/* Renamed while its bytes were in the store only: so it is there. SYNC_AGAIN: they have to come first. */
static int rename_absent(struct put *p, const char *key)
{
	int err = SYNC_AGAIN;

	if (strcmp(key, p->from) == 0 && sync_link_stays(p->s, p->fd, &p->st))
		err = link_once(p);
	if (err)
		return err;
	return fsetxattr(p->fd, VIDAS_SYNC_ABSENT, p->path, strlen(p->path), 0) < 0 ? -errno : 0;
}

static int put_turn(struct put *p)
{
	char key[PATH_MAX];
	int err;

	err = sync_known_get(p->s, p->path, &p->rec);
	if (err && err != -ENOENT)
		return err;
	if (fstat(p->fd, &p->st) < 0)
		return -errno;
	err = sync_path_xattr(p->fd, VIDAS_SYNC_ABSENT, key);
	if (err && err != -ENODATA)
		return err;
	p->absent = !err;
	if (p->absent && strcmp(key, p->path) != 0)
		return rename_absent(p, key);
	if (sync_can(p->s, VIDAS_BACKEND_LINKS) && sync_path_xattr(p->fd, SYNC_PUSHED, key) == 0 &&
	    strcmp(key, p->path) != 0 && strcmp(key, p->from) != 0)
		return SYNC_AGAIN; /* another name was pushed just now */
	err = put_unchanged(p);
	if (err > 0 && p->absent) {
		err = fetch_here(p);
		p->absent = false;
		if (!err)
			err = put_unchanged(p);
	}
	if (!err && !p->absent && sync_link_parted(p->s, p->from, &p->rec))
		err = 1;
	if (err > 0)
		return put_all(p);
	return err || p->absent ? err : note_name(p, false);
}

int sync_put_file(struct vidas_sync *s, const char *path, const char *from, int look,
		  struct vidas_sync_moved *moved)
{
	struct put p = { .s = s, .path = path, .from = from, .moved = moved };
	struct stat st;
	int err;

	p.fd = sync_reopen(look, O_RDONLY | O_NONBLOCK);
	if (p.fd < 0)
		return p.fd;
	err = fstat(p.fd, &st) < 0 ? -errno : 0;
	if (!err && st.st_nlink > 1 && !sync_can(s, VIDAS_BACKEND_LINKS))
		sync_link_tell(s, path, "");
	if (!err)
		err = sync_turn_inode(s, &p.turn, st.st_ino, SYNC_FLUSH);
	if (!err)
		err = put_turn(&p);
	if (err <= 0)
		sync_note_error(p.fd, err);
	sync_turn_give(s, &p.turn);
	close(p.fd);
	return err;
}
