/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Control files (shm.h), by pread and pwrite alone: domains may cut them short at any moment, and a
 * mapping of ours would then fault.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "pool/host/object.h"

/* The beginning of a slot, as vidasd writes and reads it. */
struct slot_head {
	uint64_t offset, size;
	uint32_t state, flags, creator;
};
_Static_assert(offsetof(struct slot_head, state) == offsetof(struct vidas_shm_object, state) &&
		       offsetof(struct slot_head, creator) ==
			       offsetof(struct vidas_shm_object, creator),
	       "layout");

static void control_name(uint64_t number, char name[32])
{
	snprintf(name, 32, "%" PRIu64, number);
}

int vidas_host_control_open(const struct host_resource *r, bool write)
{
	char name[32];
	int fd;

	control_name(r->control, name);
	fd = openat(r->container->control_fd, name,
		    (write ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? vidas_fail(-errno, "cannot open a control file: %s", strerror(errno)) : fd;
}

static void control_unlink(const struct host_container *c, uint64_t number)
{
	char name[32];

	control_name(number, name);
	if (unlinkat(c->control_fd, name, 0) < 0 && errno != ENOENT)
		vidas_log(VIDAS_LOG_WARNING, "container '%s': cannot remove control/%s: %m",
			  c->name, name);
}

void vidas_host_control_remove(const struct host_resource *r)
{
	control_unlink(r->container, r->control);
}

/* The first page, up to where domains begin to write. */
static void header_fill(struct vidas_shm_resource *header, const struct host_resource *r)
{
	header->magic = VIDAS_SHM_CONTROL_MAGIC;
	header->version = VIDAS_SHM_VERSION;
	header->slots = r->slots;
	header->inode = r->inode;
	memcpy(header->handle, &r->handle, sizeof(header->handle));
}
_Static_assert(sizeof(struct host_handle) == sizeof(((struct vidas_shm_resource *)0)->handle),
	       "layout");

static void slot_fill(struct slot_head *head, const struct host_object *o, uint32_t flags)
{
	*head = (struct slot_head){ .offset = o->offset,
				    .size = o->size,
				    .state = VIDAS_SHM_OBJECT_LIVE,
				    .flags = flags,
				    .creator = o->creator };
}

/* What is written first. */
struct image {
	struct vidas_shm_resource header;
	struct slot_head slot;
};

/* Room for slots up to `slots`, with its memory: in a pool that is full, the first touch of a page would
 * be a SIGBUS for the program that has it mapped. */
static int extend(int fd, uint32_t from, uint32_t slots)
{
	const off_t at = from ? (off_t)VIDAS_SHM_SLOT_OFFSET(from) : 0;
	const off_t end = (off_t)VIDAS_SHM_SLOT_OFFSET(slots);

	if (fallocate(fd, 0, at, end - at) == 0)
		return 0;
	return errno == EOPNOTSUPP && ftruncate(fd, end) == 0 ? 0 : -errno;
}

/* One with room for an object, and memory for it; its header says nothing yet,
 * so that a restart removes it. */
static int blank_make(const struct host_container *c, uint64_t number)
{
	static const struct image zeros;
	char name[32];
	int fd, err;

	control_name(number, name);
	fd = openat(c->control_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return vidas_fail(-errno, "cannot make a control file: %s", strerror(errno));
	/* In this order: on a pool of huge pages a write to a long file takes memory for much of it. */
	err = vidas_pwrite_all(fd, &zeros, sizeof(zeros), 0);
	if (err == 0)
		err = extend(fd, 0, 1);
	if (err == 0)
		return fd;
	close(fd);
	control_unlink(c, number);
	return vidas_fail(err, "no control memory for an object in the pool: %s", strerror(-err));
}

void vidas_host_control_prepare(struct host_container *c)
{
	uint64_t number = 0;
	int fd;

	pthread_mutex_lock(&c->lock);
	if (c->blank_fd < 0)
		number = ++c->last_control;
	pthread_mutex_unlock(&c->lock);
	if (!number)
		return;
	/* If it cannot be made, who needs one tries again and says so. */
	fd = blank_make(c, number);
	if (fd < 0)
		return;
	pthread_mutex_lock(&c->lock);
	if (c->blank_fd < 0) {
		c->blank_fd = fd;
		c->blank = number;
		fd = -1;
	}
	pthread_mutex_unlock(&c->lock);
	if (fd < 0)
		return;
	close(fd);
	control_unlink(c, number);
}

void vidas_host_control_discard(struct host_container *c)
{
	if (c->blank_fd < 0)
		return;
	close(c->blank_fd);
	c->blank_fd = -1;
	control_unlink(c, c->blank);
}

/* One write: what a kill leaves of it is in no reply, and is checked at the restart. */
int vidas_host_control_make(struct host_resource *r, const struct host_object *o, uint32_t flags)
{
	struct host_container *c = r->container;
	struct image image;
	int fd = c->blank_fd, err;

	r->control = c->blank;
	c->blank_fd = -1;
	if (fd < 0) {
		r->control = ++c->last_control;
		fd = blank_make(c, r->control);
	}
	if (fd < 0)
		return fd;
	memset(&image, 0, sizeof(image));
	r->slots = 1;
	header_fill(&image.header, r);
	slot_fill(&image.slot, o, flags);
	err = vidas_pwrite_all(fd, &image, sizeof(image), 0);
	if (err == 0)
		return fd;
	close(fd);
	control_unlink(c, r->control);
	return vidas_fail(err, "cannot write a control file: %s", strerror(-err));
}

static int grow(int fd, struct host_resource *r, uint32_t slots)
{
	const size_t at = offsetof(struct vidas_shm_resource, slots);
	int err;

	if (slots <= r->slots)
		return 0;
	err = extend(fd, r->slots, slots);
	if (err == 0)
		err = vidas_pwrite_all(fd, &slots, sizeof(slots), at);
	if (err == 0)
		r->slots = slots;
	return err;
}

static int write_state(int fd, uint32_t slot, uint32_t state)
{
	return vidas_pwrite_all(fd, &state, sizeof(state),
				VIDAS_SHM_SLOT_OFFSET(slot) +
					offsetof(struct vidas_shm_object, state));
}

/* Of a slot used before, images and ring stay: the images are empty by attr_used, and the ring's
 * records lie between head and tail. */
int vidas_host_control_slot_init(int fd, const struct host_object *o, uint32_t flags)
{
	union {
		uint8_t lines[offsetof(struct vidas_shm_object, pad4)];
		struct slot_head f;
	} head = { .lines = { 0 } };
	int err;

	slot_fill(&head.f, o, flags);
	head.f.state = VIDAS_SHM_OBJECT_FREE;
	err = grow(fd, o->resource, o->slot + 1);
	if (err == 0)
		err = vidas_pwrite_all(fd, &head, sizeof(head), VIDAS_SHM_SLOT_OFFSET(o->slot));
	if (err == 0)
		err = write_state(fd, o->slot, VIDAS_SHM_OBJECT_LIVE);
	return err < 0 ? vidas_fail(err, "no control memory for an object in the pool: %s",
				    strerror(-err)) :
			 0;
}

int vidas_host_control_slot_state(const struct host_object *o, uint32_t state)
{
	const struct host_resource *r = o->resource;
	int err, fd = vidas_host_control_open(r, true);

	if (fd < 0)
		return fd;
	err = write_state(fd, o->slot, state);
	close(fd);
	return err;
}

bool vidas_host_control_undrained(const struct host_object *o)
{
	struct {
		uint64_t tail;
		uint8_t between[offsetof(struct vidas_shm_object, head) -
				offsetof(struct vidas_shm_object, tail) - sizeof(uint64_t)];
		uint64_t head;
	} ring;
	int fd = vidas_host_control_open(o->resource, false);
	ssize_t n;

	if (fd < 0)
		return false;
	n = vidas_pread_all(fd, &ring, sizeof(ring),
			    VIDAS_SHM_SLOT_OFFSET(o->slot) +
				    offsetof(struct vidas_shm_object, tail));
	close(fd);
	/* Values that no ring can have count as drained. */
	return n == (ssize_t)sizeof(ring) && ring.tail > ring.head &&
	       ring.tail - ring.head <= VIDAS_SHM_RING_BYTES && !((ring.tail | ring.head) & 7);
}

/* One slot as found on disk; 0: it is none. */
static int load_slot(int fd, struct host_resource *r, uint32_t slot)
{
	struct host_object *o, *other;
	struct slot_head f;

	if (vidas_pread_all(fd, &f, sizeof(f), VIDAS_SHM_SLOT_OFFSET(slot)) != sizeof(f))
		return 0;
	if (f.state != VIDAS_SHM_OBJECT_LIVE && f.state != VIDAS_SHM_OBJECT_DESTROYED)
		return 0;
	if ((!f.size && f.offset != VIDAS_MESSAGES) || f.offset > INT64_MAX ||
	    f.size > INT64_MAX - f.offset)
		return 0;
	other = f.state == VIDAS_SHM_OBJECT_LIVE ?
			vidas_host_object_find(r, f.offset, f.size, 0, false) :
			NULL;
	if (other)
		return 0;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->resource = r;
	o->offset = f.offset;
	o->size = f.size;
	o->slot = slot;
	o->creator = f.creator;
	o->destroyed = f.state == VIDAS_SHM_OBJECT_DESTROYED;
	o->loaded = true;
	r->used[slot / 64] |= UINT64_C(1) << (slot % 64);
	DL_APPEND(r->objects, o);
	return 1;
}

/* Is the header that of a control file? Takes the inode, the handle, and the number of slots that are
 * there. */
static bool header_ok(int fd, struct host_resource *r)
{
	struct vidas_shm_resource h;
	struct stat st;

	if (vidas_pread_all(fd, &h, sizeof(h), 0) != sizeof(h) || fstat(fd, &st) < 0 ||
	    h.magic != VIDAS_SHM_CONTROL_MAGIC || h.version != VIDAS_SHM_VERSION || !h.inode ||
	    h.slots > VIDAS_SHM_SLOTS)
		return false;
	r->inode = h.inode;
	memcpy(&r->handle, h.handle, sizeof(r->handle));
	if (r->handle.bytes > HOST_HANDLE_BYTES)
		r->handle.bytes = 0;
	r->slots = h.slots;
	while (r->slots && (uint64_t)st.st_size < VIDAS_SHM_SLOT_OFFSET(r->slots))
		r->slots--;
	return r->slots > 0;
}

int vidas_host_control_load(struct host_container *c, uint64_t name, struct host_resource **out)
{
	struct host_resource *r = calloc(1, sizeof(*r));
	int fd, found = 0;

	if (!r)
		return -ENOMEM;
	r->control = name;
	r->container = c;
	fd = vidas_host_control_open(r, false);
	if (fd < 0) {
		free(r);
		return fd;
	}
	if (header_ok(fd, r))
		for (uint32_t i = 0; i < r->slots && found >= 0; i++) {
			int one = load_slot(fd, r, i);

			found = one < 0 ? one : found + one;
		}
	close(fd);
	if (found <= 0) {
		vidas_host_control_remove(r);
		vidas_host_resource_free(r);
		return found < 0 ? found : -EBADMSG;
	}
	*out = r;
	return 0;
}
