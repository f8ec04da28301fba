/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/sync/partial.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pool/wire/wire.h"

#define IMAGE_MAGIC UINT64_C(0x534b4e5548434456) /* "VDCHUNKS" */

/* The map in known/, in the host's byte order. */
struct sync_image {
	uint64_t magic;
	uint64_t generation, size_bytes, inode;
	uint32_t shift;
	uint32_t doubt;
	uint16_t version_size;
	uint8_t version[62];
	uint8_t boot[SYNC_BOOT_BYTES];
	uint8_t spare[16];
	uint8_t bits[];
};
_Static_assert(sizeof(struct sync_image) == 160, "layout");

static size_t image_bytes(uint32_t chunks)
{
	return sizeof(struct sync_image) + (chunks + 7u) / 8u;
}

static unsigned shift_of(uint64_t size_bytes)
{
	unsigned shift = SYNC_CHUNK_SHIFT;

	while ((size_bytes >> shift) >= SYNC_CHUNKS_MAX)
		shift++;
	return shift;
}

static uint32_t chunks_of(uint64_t size_bytes, unsigned shift)
{
	return (uint32_t)((size_bytes + (UINT64_C(1) << shift) - 1) >> shift);
}

bool sync_partial_has(const struct sync_partial *p, uint32_t chunk)
{
	return p->image->bits[chunk / 8] & 1u << chunk % 8;
}

void sync_partial_set(struct sync_partial *p, uint32_t chunk)
{
	if (sync_partial_has(p, chunk))
		return;
	p->image->bits[chunk / 8] |= (uint8_t)(1u << chunk % 8);
	p->present++;
}

bool sync_partial_complete(const struct sync_partial *p)
{
	return p->present == p->chunks;
}

static void image_set_version(struct sync_image *image, const struct vidas_backend_version *version)
{
	memcpy(image->version, version->bytes, sizeof(image->version));
	image->version_size = version->size;
}

void sync_partial_adopt(struct sync_partial *p, const struct vidas_backend_version *seen)
{
	p->version = *seen;
	image_set_version(p->image, seen);
}

size_t sync_partial_bits(const struct sync_partial *p, uint8_t *out, size_t size)
{
	size_t all = (p->chunks + 7u) / 8u;

	if (size > all)
		size = all;
	memcpy(out, p->image->bits, size);
	return size;
}

/* In memory ------------------------------------------------------------------------------------ */

struct sync_partial *sync_partial_find(struct vidas_sync *s, uint64_t inode)
{
	struct sync_partial *p = NULL;

	HASH_FIND(hh, s->partials, &inode, sizeof(inode), p);
	return p;
}

static void partial_free(struct sync_partial *p)
{
	if (p->image)
		munmap(p->image, image_bytes(p->chunks));
	pthread_mutex_destroy(&p->io_lock);
	free(p->busy);
	free(p->key);
	free(p);
}

void sync_partial_drop(struct vidas_sync *s, struct sync_partial *p)
{
	if (!p->dead)
		HASH_DEL(s->partials, p);
	p->dead = true;
	if (!p->refs)
		partial_free(p);
}

void sync_partial_put(struct vidas_sync *s, struct sync_partial *p)
{
	struct sync_partial *other, *next;

	if (!p)
		return;
	pthread_mutex_lock(&s->lock);
	if (!--p->refs && p->dead)
		partial_free(p);
	/* What is known of a stream is worth keeping for a while, oldest first to go. */
	if (HASH_COUNT(s->partials) > SYNC_PARTIALS) {
		HASH_ITER(hh, s->partials, other, next) {
			if (other->refs)
				continue;
			sync_partial_drop(s, other);
			break;
		}
	}
	pthread_mutex_unlock(&s->lock);
}

/* Under s->lock: one that is as the file says; -ENOENT none. */
static int partial_ref(struct vidas_sync *s, uint64_t inode, uint64_t generation,
		       struct sync_partial **out)
{
	struct sync_partial *p = sync_partial_find(s, inode);

	if (!p || p->generation != generation)
		return -ENOENT;
	p->refs++;
	*out = p;
	return 0;
}

void sync_partial_forget(struct vidas_sync *s, const char *key, uint64_t inode)
{
	struct sync_partial *p;
	int fd;

	pthread_mutex_lock(&s->lock);
	p = sync_partial_find(s, inode);
	if (p)
		sync_partial_drop(s, p);
	pthread_mutex_unlock(&s->lock);
	/* Who maps it still does not look at it any more. */
	fd = sync_open_at(s->known, key, O_RDWR | O_NONBLOCK);
	if (fd < 0)
		return;
	if (ftruncate(fd, 0) < 0)
		vidas_log(VIDAS_LOG_WARNING, "the map of '%s' cannot be forgotten: %s", key,
			  strerror(errno));
	close(fd);
}

/* The file's own mark -------------------------------------------------------------------------- */

static int generation_get(int fd, uint64_t *generation)
{
	ssize_t n = fgetxattr(fd, VIDAS_XATTR_FETCH, generation, sizeof(*generation));

	if (n < 0)
		return -errno;
	return n == sizeof(*generation) ? 0 : -ENODATA;
}

static int generation_set(int fd, uint64_t generation)
{
	return fsetxattr(fd, VIDAS_XATTR_FETCH, &generation, sizeof(generation), 0) < 0 ? -errno :
											  0;
}

static uint64_t generation_new(void)
{
	uint64_t g;

	if (getrandom(&g, sizeof(g), 0) != sizeof(g))
		g = (uint64_t)vidas_now_us();
	return g | 1; /* 0 is none */
}

int sync_partial_outdate(int fd)
{
	uint64_t now;

	return generation_get(fd, &now) == -ENODATA ? 0 : generation_set(fd, generation_new());
}

/* On disk -------------------------------------------------------------------------------------- */

static bool image_good(const struct vidas_sync *s, const struct sync_image *image,
		       const struct sync_record *rec, const struct stat *st, uint64_t generation)
{
	const struct vidas_backend_version *v = &rec->version;

	if (image->magic != IMAGE_MAGIC || image->generation != generation ||
	    image->inode != st->st_ino || rec->inode != st->st_ino ||
	    memcmp(image->boot, s->boot, SYNC_BOOT_BYTES) != 0 ||
	    image->version_size > sizeof(image->version))
		return false;
	if (image->size_bytes != (uint64_t)st->st_size || image->size_bytes != rec->size ||
	    image->shift != shift_of(image->size_bytes))
		return false;
	return !v->size ||
	       (image->version_size == v->size && memcmp(image->version, v->bytes, v->size) == 0);
}

static int image_map(int fd, uint32_t chunks, struct sync_image **out)
{
	struct stat st;
	void *ptr;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size != (off_t)image_bytes(chunks))
		return -ENOENT;
	ptr = mmap(NULL, image_bytes(chunks), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ptr == MAP_FAILED)
		return -errno;
	*out = ptr;
	return 0;
}

/* Enters a new one, with a reference of the caller's. */
static int partial_new(struct vidas_sync *s, const char *key, int known,
		       const struct sync_image *image, struct sync_partial **out)
{
	struct sync_partial *p = calloc(1, sizeof(*p)), *old;
	int err;

	if (!p)
		return -ENOMEM;
	pthread_mutex_init(&p->io_lock, NULL);
	p->fd = -1;
	p->inode = image->inode;
	p->generation = image->generation;
	p->size_bytes = image->size_bytes;
	p->shift = image->shift;
	p->chunks = chunks_of(p->size_bytes, p->shift);
	p->doubt = image->doubt;
	p->version.size = image->version_size;
	memcpy(p->version.bytes, image->version, sizeof(p->version.bytes));
	p->key = strdup(key);
	p->busy = calloc(1, (p->chunks + 7u) / 8u + 1);
	err = p->key && p->busy ? image_map(known, p->chunks, &p->image) : -ENOMEM;
	if (err) {
		partial_free(p);
		return err;
	}
	for (uint32_t c = 0; c < p->chunks; c++)
		p->present += sync_partial_has(p, c);
	pthread_mutex_lock(&s->lock);
	old = sync_partial_find(s, p->inode);
	if (old)
		sync_partial_drop(s, old);
	HASH_ADD(hh, s->partials, inode, sizeof(p->inode), p);
	err = p->hh.tbl ? 0 : -ENOMEM;
	p->refs = 1;
	pthread_mutex_unlock(&s->lock);
	if (err)
		partial_free(p);
	else
		*out = p;
	return err;
}

/* Writes a map without a bit in it, and then the file's mark. */
static int image_begin(struct vidas_sync *s, const char *key, int fd, const struct sync_record *rec,
		       uint64_t generation, bool doubt, struct sync_partial **out)
{
	struct sync_image image = {
		.magic = IMAGE_MAGIC,
		.generation = generation,
		.size_bytes = rec->size,
		.inode = rec->inode,
		.shift = shift_of(rec->size),
		.doubt = doubt,
	};
	size_t size = image_bytes(chunks_of(rec->size, image.shift));
	uint8_t *blank = calloc(1, size);
	int known, err;

	if (!blank)
		return -ENOMEM;
	image_set_version(&image, &rec->version);
	memcpy(image.boot, s->boot, SYNC_BOOT_BYTES);
	memcpy(blank, &image, sizeof(image));
	err = known = sync_open_at(s->known, key, O_RDWR | O_NONBLOCK);
	if (err >= 0) {
		/* All of it, not a hole: to find no room for it later would be a SIGBUS. */
		err = ftruncate(known, 0) < 0 ? -errno : vidas_pwrite_all(known, blank, size, 0);
		if (!err)
			err = generation_set(fd, generation);
		if (!err)
			err = partial_new(s, key, known, &image, out);
		close(known);
	}
	free(blank);
	return err;
}

/* A killed vidasd may have left the file with a time that is not its own. */
static int restore_time(struct vidas_sync *s, const char *key, int fd, struct sync_record *rec)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, rec->push_mtime };

	if (!(rec->flags & SYNC_FETCHING))
		return 0;
	if (futimens(fd, times) < 0)
		return -errno;
	rec->flags &= ~(uint32_t)SYNC_FETCHING;
	return sync_known_put(s, key, rec);
}

static int image_load(struct vidas_sync *s, const char *key, const struct sync_record *rec,
		      const struct stat *st, uint64_t generation, struct sync_partial **out)
{
	struct sync_image image;
	int known, err = -ENOENT;

	known = sync_open_at(s->known, key, O_RDWR | O_NONBLOCK);
	if (known < 0)
		return known;
	if (vidas_pread_all(known, &image, sizeof(image), 0) == sizeof(image) &&
	    image_good(s, &image, rec, st, generation))
		err = partial_new(s, key, known, &image, out);
	close(known);
	return err;
}

static int partial_begin(struct vidas_sync *s, const char *key, int fd, struct sync_partial **out)
{
	struct sync_record rec;
	uint64_t generation = 0;
	struct stat st;
	bool doubt;
	int err;

	if (fstat(fd, &st) < 0)
		return -errno;
	(void)generation_get(fd, &generation);
	err = sync_known_get(s, key, &rec);
	if (err && err != -ENOENT)
		return err;
	if (!(rec.flags & SYNC_AGREED) || !rec.version.size) {
		err = sync_partial_restart(s, key, fd, NULL);
		if (!err)
			err = sync_partial_get(s, key, fd, false, out);
		return err > 0 ? -EIO : err;
	}
	doubt = rec.flags & SYNC_FETCHING;
	err = restore_time(s, key, fd, &rec);
	if (err)
		return err;
	if (rec.size != (uint64_t)st.st_size && ftruncate(fd, (off_t)rec.size) < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	err = generation ? image_load(s, key, &rec, &st, generation, out) : -ENOENT;
	if (err != -ENOENT)
		return err;
	rec.inode = st.st_ino;
	return image_begin(s, key, fd, &rec, generation_new(), doubt, out);
}

int sync_partial_get(struct vidas_sync *s, const char *key, int fd, bool turn,
		     struct sync_partial **out)
{
	uint64_t generation;
	struct stat st;
	int err;

	*out = NULL;
	if (fstat(fd, &st) < 0)
		return -errno;
	err = generation_get(fd, &generation);
	if (!err) {
		pthread_mutex_lock(&s->lock);
		err = partial_ref(s, st.st_ino, generation, out);
		pthread_mutex_unlock(&s->lock);
	}
	if (!err)
		return 0;
	return turn ? partial_begin(s, key, fd, out) : 1;
}

/* Another version ------------------------------------------------------------------------------ */

struct restart {
	struct vidas_sync *s;
	const char *key;
	int fd;
	struct sync_record rec;
	struct stat was;
	struct vidas_backend_stat there;
};

/*
 * Size and time become those of the store's version. What domains changed of an absent file (owner,
 * mode, times) stays, and stays to be pushed: so it is not part of what is agreed. A newer version
 * has a time of its own.
 */
static int restart_record(struct restart *r, struct sync_record *rec, bool *shows)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, r->was.st_mtim };
	bool known = r->rec.flags & SYNC_AGREED;
	bool newer = (r->there.valid & VIDAS_BACKEND_MTIME) &&
		     !(known && sync_same_time(&r->there.mtime, &r->rec.mtime));
	struct stat now;

	if (newer)
		times[1] = r->there.mtime;
	if (ftruncate(r->fd, (off_t)r->there.size_bytes) < 0 || futimens(r->fd, times) < 0 ||
	    fstat(r->fd, &now) < 0)
		return -errno;
	*rec = (struct sync_record){ 0 };
	sync_record_agree(rec, r->fd, &now, &r->there.version);
	if (known) {
		rec->flags |= r->rec.flags & (SYNC_ATTRS | SYNC_LINKED);
		rec->mode = r->rec.mode;
		rec->uid = r->rec.uid;
		rec->gid = r->rec.gid;
		if (!newer)
			rec->mtime = r->rec.mtime;
	}
	*shows = newer || now.st_size != r->was.st_size;
	return 0;
}

int sync_partial_restart(struct vidas_sync *s, const char *key, int fd, struct sync_partial *p)
{
	struct restart r = { .s = s, .key = key, .fd = fd };
	struct sync_partial *now = NULL;
	struct sync_record rec;
	uint64_t generation = p && !p->present ? p->generation : generation_new();
	bool shows = false;
	int err;

	err = vidas_store_stat(s->store, key, &r.there);
	if (err)
		return err;
	if (r.there.type != VIDAS_BACKEND_FILE || r.there.size_bytes > INT64_MAX)
		return vidas_fail(-EINVAL, "'%s' is no file in the store", key);
	err = sync_known_get(s, key, &r.rec);
	if (err && err != -ENOENT)
		return err;
	if (fstat(fd, &r.was) < 0)
		return -errno;
	/* From here on the old chunks are nobody's. */
	if (!p || p->present)
		err = sync_partial_outdate(fd);
	else
		err = 0;
	if (!err)
		err = sync_note_fetching(s, key, &r.rec, &r.was);
	if (!err)
		err = restart_record(&r, &rec, &shows);
	if (!err)
		err = sync_known_put(s, key, &rec);
	if (!err)
		err = image_begin(s, key, fd, &rec, generation, false, &now);
	if (err)
		return err;
	sync_partial_put(s, now);
	if (shows)
		sync_changed(s, r.was.st_ino, VIDAS_WIRE_RECALL_ATTRS);
	return 0;
}

/* What is here --------------------------------------------------------------------------------- */

/* A copy of the map as it is in known/, whoever is at work on it; free() it. */
static int image_copy(struct vidas_sync *s, const char *key, int fd, struct sync_image **out)
{
	struct sync_image *image = NULL;
	struct sync_record rec;
	uint64_t generation;
	struct stat st;
	int known, err;
	size_t size;

	err = generation_get(fd, &generation);
	if (!err)
		err = sync_known_get(s, key, &rec);
	if (!err && fstat(fd, &st) < 0)
		err = -errno;
	if (err)
		return err;
	known = sync_open_at(s->known, key, O_RDONLY | O_NONBLOCK);
	if (known < 0)
		return known;
	size = image_bytes(chunks_of((uint64_t)st.st_size, shift_of((uint64_t)st.st_size)));
	image = calloc(1, size);
	if (!image || vidas_pread_all(known, image, size, 0) != (ssize_t)size ||
	    !image_good(s, image, &rec, &st, generation))
		err = image ? -ENOENT : -ENOMEM;
	close(known);
	if (err)
		free(image);
	else
		*out = image;
	return err;
}

int sync_partial_extents(struct vidas_sync *s, const char *key, int fd, uint64_t *bytes,
			 struct vidas_sync_extent *out, size_t max, size_t *count)
{
	struct sync_image *image;
	uint64_t end = UINT64_MAX;
	int err;

	*bytes = 0;
	*count = 0;
	err = image_copy(s, key, fd, &image);
	if (err)
		return err == -ENOENT || err == -ENODATA ? 0 : err;
	for (uint32_t c = 0; c < chunks_of(image->size_bytes, image->shift); c++) {
		uint64_t at = (uint64_t)c << image->shift, size = UINT64_C(1) << image->shift;

		if (!(image->bits[c / 8] & 1u << c % 8))
			continue;
		if (size > image->size_bytes - at)
			size = image->size_bytes - at;
		*bytes += size;
		if (at == end && *count)
			out[*count - 1].size += size;
		else if (*count < max)
			out[(*count)++] = (struct vidas_sync_extent){ at, size };
		else
			continue; /* no more of them are shown */
		end = at + size;
	}
	free(image);
	return 0;
}
