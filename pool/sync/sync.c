/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/sync/partial.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

bool sync_tell_once(struct vidas_sync *s, enum sync_told what)
{
	return !(atomic_fetch_or_explicit(&s->told, what, memory_order_relaxed) & what);
}

bool sync_open_for_writing(struct vidas_sync *s, uint64_t inode)
{
	return s->hooks.open_for_writing && s->hooks.open_for_writing(s->hooks.arg, inode);
}

/* Changes -------------------------------------------------------------------------------------- */

/*
 * Changes are told when this thread has no turn any more: the hook waits for domains, and a domain
 * may not be able to answer before a request of its own has got the turn that is held here.
 */
struct change {
	struct vidas_sync *s;
	uint64_t inode;
	uint32_t kinds;
};

#define CHANGES_MAX 32u /* more than that are told at once */

static _Thread_local struct {
	unsigned turns, count;
	struct change change[CHANGES_MAX];
} mine;

static void tell(const struct change *c)
{
	c->s->hooks.changed(c->s->hooks.arg, c->inode, c->kinds);
}

void sync_changed(struct vidas_sync *s, uint64_t inode, uint32_t kinds)
{
	const struct change change = { s, inode, kinds };

	if (!s->hooks.changed)
		return;
	for (unsigned i = 0; i < mine.count; i++) {
		if (mine.change[i].s == s && mine.change[i].inode == inode) {
			mine.change[i].kinds |= kinds;
			return;
		}
	}
	if (mine.turns && mine.count < CHANGES_MAX)
		mine.change[mine.count++] = change;
	else
		tell(&change);
}

static void tell_changes(void)
{
	for (unsigned i = 0; i < mine.count; i++)
		tell(&mine.change[i]);
	mine.count = 0;
}

/* Turns ---------------------------------------------------------------------------------------- */

static struct sync_turn *turn_find(struct vidas_sync *s, const struct sync_turn *t)
{
	struct sync_turn *found = NULL;

	if (t->path)
		HASH_FIND(hh, s->paths, t->path, (unsigned)strlen(t->path), found);
	else
		HASH_FIND(hh, s->inodes, &t->inode, sizeof(t->inode), found);
	return found;
}

/* Waits for one change of turns, as long as the holder gets on. Under s->lock. */
static int turn_wait(struct vidas_sync *s, const _Atomic int64_t *moved_us)
{
	int64_t end = atomic_load_explicit(moved_us, memory_order_relaxed);
	struct timespec until;

	end += SYNC_PATIENCE_US;
	if (vidas_now_us() >= end)
		return vidas_fail(-ETIMEDOUT, "another move of the same file does not get on");
	until.tv_sec = end / 1000000;
	until.tv_nsec = (end % 1000000) * 1000;
	pthread_cond_timedwait(&s->turn_over, &s->lock, &until);
	return 0;
}

/* Waits as long as chunks of the file are on their way, and keeps new ones from being begun. */
static int turn_wait_chunks(struct vidas_sync *s, struct sync_partial *p)
{
	int err;

	p->turns++;
	p->refs++;
	err = turn_wait(s, &p->moved_us);
	p->turns--;
	p->refs--;
	if (!p->refs && p->dead)
		sync_partial_drop(s, p);
	return err;
}

static int turn_take(struct vidas_sync *s, struct sync_turn *t)
{
	struct sync_partial *p = NULL;
	struct sync_turn *holder;
	int err = 0;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		holder = turn_find(s, t);
		if (!holder && !t->path)
			p = sync_partial_find(s, t->inode);
		if (err || (!holder && (!p || !p->active)))
			break;
		err = holder ? turn_wait(s, &holder->moved_us) : turn_wait_chunks(s, p);
		p = NULL;
	}
	if (!err) {
		sync_turn_moved(t);
		if (t->path)
			HASH_ADD_KEYPTR(hh, s->paths, t->path, (unsigned)strlen(t->path), t);
		else
			HASH_ADD(hh, s->inodes, inode, sizeof(t->inode), t);
		t->held = t->hh.tbl != NULL;
		if (!t->held)
			err = -ENOMEM;
	}
	pthread_mutex_unlock(&s->lock);
	mine.turns += t->held;
	return err;
}

int sync_turn_path(struct vidas_sync *s, struct sync_turn *t, const char *path)
{
	*t = (struct sync_turn){ .path = path };
	return turn_take(s, t);
}

int sync_turn_inode(struct vidas_sync *s, struct sync_turn *t, uint64_t inode,
		    enum sync_doing doing)
{
	*t = (struct sync_turn){ .inode = inode, .doing = doing };
	return turn_take(s, t);
}

void sync_turn_moved(struct sync_turn *t)
{
	if (t)
		atomic_store_explicit(&t->moved_us, vidas_now_us(), memory_order_relaxed);
}

void sync_turn_give(struct vidas_sync *s, struct sync_turn *t)
{
	if (!t->held)
		return;
	pthread_mutex_lock(&s->lock);
	if (t->path)
		HASH_DEL(s->paths, t);
	else
		HASH_DEL(s->inodes, t);
	t->held = false;
	pthread_cond_broadcast(&s->turn_over);
	pthread_mutex_unlock(&s->lock);
	if (!--mine.turns)
		tell_changes();
}

bool sync_inode_held(struct vidas_sync *s, uint64_t inode)
{
	struct sync_turn *holder = NULL;

	HASH_FIND(hh, s->inodes, &inode, sizeof(inode), holder);
	return holder != NULL;
}

bool sync_inode_busy(struct vidas_sync *s, uint64_t inode, enum sync_doing *doing)
{
	struct sync_turn *holder = NULL;
	struct sync_partial *p;
	bool busy;

	pthread_mutex_lock(&s->lock);
	HASH_FIND(hh, s->inodes, &inode, sizeof(inode), holder);
	p = sync_partial_find(s, inode);
	busy = holder || (p && p->active);
	if (busy)
		*doing = holder ? holder->doing : SYNC_FETCH;
	pthread_mutex_unlock(&s->lock);
	return busy;
}

/* Open ----------------------------------------------------------------------------------------- */

/* Does an mtime tell two changes in quick succession apart? (Linux since 6.13 on most file
 * systems.) Where not, push.c helps itself. */
static int probe_times(struct vidas_sync *s)
{
	struct stat a, b;
	int fd, err = 0;

	fd = openat(s->stage, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	s->fine_times = true;
	for (int i = 0; i < 4 && !err; i++) {
		if (write(fd, "a", 1) != 1 || fstat(fd, &a) < 0 || write(fd, "b", 1) != 1 ||
		    fstat(fd, &b) < 0)
			err = errno ? -errno : -EIO;
		else if (sync_same_time(&a.st_mtim, &b.st_mtim))
			s->fine_times = false;
	}
	close(fd);
	return err;
}

/* Do stores into a mapping that was read before leave the mtime as it was? (tmpfs.) */
static int probe_maps(struct vidas_sync *s)
{
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	const size_t size = (size_t)sysconf(_SC_PAGESIZE);
	struct stat st = { 0 };
	uint8_t *map;
	int fd;

	fd = openat(s->stage, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	map = ftruncate(fd, (off_t)size) < 0 || futimens(fd, times) < 0 ?
		      MAP_FAILED :
		      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED && madvise(map, size, MADV_POPULATE_READ) == 0) {
		*(volatile uint8_t *)map = 1;
		s->quiet_maps = msync(map, size, MS_SYNC) == 0 && fstat(fd, &st) == 0 &&
				st.st_blocks && sync_same_time(&st.st_mtim, &times[1]);
	}
	if (map != MAP_FAILED)
		munmap(map, size);
	close(fd);
	return 0;
}

/* Without it nothing that was begun before counts. */
static void find_boot(struct vidas_sync *s)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || vidas_pread_all(fd, s->boot, sizeof(s->boot), 0) != sizeof(s->boot)) {
		int64_t now = vidas_now_us();

		memset(s->boot, 0, sizeof(s->boot));
		memcpy(s->boot, &now, sizeof(now));
	}
	if (fd >= 0)
		close(fd);
}

static int probe_pool(struct vidas_sync *s)
{
	struct stat st = { 0 };
	struct sync_record rec = { 0 };
	struct vidas_backend_version none = { 0 };
	int err;

	if (fsetxattr(s->known, SYNC_KNOWN ".probe", "1", 1, 0) < 0 ||
	    fremovexattr(s->known, SYNC_KNOWN ".probe") < 0)
		return vidas_fail(-errno,
				  "no trusted xattrs in the pool (%s): use tmpfs, ext4 or xfs, and "
				  "run with CAP_SYS_ADMIN",
				  strerror(errno));
	sync_record_agree(&rec, s->known, &st, &none);
	if (!rec.handle_size)
		return vidas_fail(-EOPNOTSUPP, "the pool's file system has no file handles: use "
					       "tmpfs, ext4 or xfs");
	find_boot(s);
	err = probe_times(s);
	return err ? err : probe_maps(s);
}

/*
 * What a killed vidasd left in the stage. Half-made entries were never in the tree. What was on its
 * way out has the mark, unless a domain had just put another file in its place: that one is given
 * back, under a name that says so.
 */
static int clean_stage_entry(void *arg, const char *name)
{
	struct vidas_sync *s = arg;
	char back[96];
	struct stat st;
	int fd, marked;

	if (fstatat(s->stage, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode))
		return unlinkat(s->stage, name, AT_REMOVEDIR) < 0 ? -errno : 0;
	if (strncmp(name, "gone-", 5) == 0 && S_ISREG(st.st_mode)) {
		fd = sync_open_at(s->stage, name, O_RDONLY | O_NONBLOCK);
		if (fd < 0)
			return fd;
		marked = fgetxattr(fd, SYNC_GONE, NULL, 0) >= 0;
		close(fd);
		if (!marked) {
			snprintf(back, sizeof(back), "vidas-recovered-%llu",
				 (unsigned long long)st.st_ino);
			vidas_log(VIDAS_LOG_WARNING, "a file was half moved: it is '%s' now", back);
			return renameat(s->stage, name, s->tree, back) < 0 ? -errno : 0;
		}
	}
	return unlinkat(s->stage, name, 0) < 0 ? -errno : 0;
}

static int open_directory(int dir, const char *name)
{
	if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	return sync_open_at(dir, name, O_RDONLY | O_DIRECTORY);
}

static int init_locks(struct vidas_sync *s)
{
	pthread_condattr_t attr;
	int err;

	err = pthread_condattr_init(&attr);
	if (err)
		return -err;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	err = pthread_cond_init(&s->turn_over, &attr);
	if (!err)
		err = pthread_cond_init(&s->fetch_work, &attr);
	pthread_condattr_destroy(&attr);
	if (!err)
		err = pthread_mutex_init(&s->lock, NULL);
	return err ? -err : -pthread_mutex_init(&s->open_lock, NULL);
}

void vidas_sync_end(struct vidas_sync *s, bool ended)
{
	atomic_store_explicit(&s->ended, ended, memory_order_seq_cst);
}

int vidas_sync_ready(struct vidas_sync *s)
{
	int err = 0;

	pthread_mutex_lock(&s->open_lock);
	if (!s->store)
		err = vidas_store_open(s->root, s->filters, &s->store);
	if (s->store)
		atomic_store_explicit(&s->caps, vidas_store_caps(s->store), memory_order_relaxed);
	pthread_mutex_unlock(&s->open_lock);
	return err;
}

int sync_need_store(struct vidas_sync *s)
{
	int err = vidas_sync_ready(s);

	/* That a file is not there is something else. */
	return err == -ENOENT ? -ENOTCONN : err;
}

int vidas_sync_open(int tree_fd, int state_fd, const char *root, const char *filters,
		    const struct vidas_sync_hooks *hooks, struct vidas_sync **out)
{
	struct vidas_sync *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	s->known = s->stage = -1;
	if (hooks)
		s->hooks = *hooks;
	s->root = strdup(root);
	s->filters = strdup(filters ? filters : "");
	err = s->tree = sync_open_at(tree_fd, "", O_RDONLY | O_DIRECTORY);
	if (err >= 0)
		err = s->known = open_directory(state_fd, "known");
	if (err >= 0)
		err = s->stage = open_directory(state_fd, "stage");
	if (err >= 0)
		err = init_locks(s);
	if (err >= 0)
		err = s->root && s->filters ? probe_pool(s) : -ENOMEM;
	if (err >= 0)
		err = sync_each_entry(s->stage, clean_stage_entry, s);
	if (err < 0) {
		vidas_sync_close(s);
		return err;
	}
	*out = s;
	return 0;
}

void vidas_sync_close(struct vidas_sync *s)
{
	if (!s)
		return;
	sync_fetchers_stop(s);
	vidas_store_close(s->store);
	if (s->tree >= 0)
		close(s->tree);
	if (s->known >= 0)
		close(s->known);
	if (s->stage >= 0)
		close(s->stage);
	pthread_cond_destroy(&s->turn_over);
	pthread_cond_destroy(&s->fetch_work);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->open_lock);
	free(s->root);
	free(s->filters);
	free(s);
}
