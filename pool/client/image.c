/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attribute images: records of {struct vidas_shm_attr; name; value}, one after the other. */
#include "pool/client/shm.h"

#include <string.h>

#include "pool/base/base.h"

/* How often a reader looks again when writers are at it; each of them needs a lock and a copy. */
#define TRIES 100000u

/* The record at `at`: its length, 0 at the end; -EBADMSG. */
static ssize_t record(const struct vidas_image *image, uint32_t at, struct vidas_shm_attr *head)
{
	uint32_t left = image->used - at;
	size_t size;

	if (!left)
		return 0;
	if (left < sizeof(*head))
		return -EBADMSG;
	memcpy(head, image->bytes + at, sizeof(*head));
	size = sizeof(*head) + head->name_bytes + head->value_bytes;
	if (!head->name_bytes || head->name_bytes > VIDAS_ATTR_NAME_MAX ||
	    head->value_bytes > VIDAS_ATTR_VALUE_MAX || size > left)
		return -EBADMSG;
	return (ssize_t)size;
}

int vidas_image_check(const struct vidas_image *image)
{
	struct vidas_shm_attr head;
	uint32_t at = 0;
	ssize_t size;

	if (image->used > VIDAS_SHM_ATTR_BYTES)
		return vidas_fail(-EBADMSG, "an object's attributes are damaged");
	while ((size = record(image, at, &head)) > 0)
		at += (uint32_t)size;
	return size < 0 ? vidas_fail(-EBADMSG, "an object's attributes are damaged") : 0;
}

/* Where the record of `name` begins and its length; 0: there is none, and *at is the end. */
static ssize_t image_seek(const struct vidas_image *image, const char *name, uint32_t *at,
			  struct vidas_shm_attr *head)
{
	size_t bytes = strlen(name);
	ssize_t size;

	for (*at = 0; (size = record(image, *at, head)) > 0; *at += (uint32_t)size)
		if (head->name_bytes == bytes &&
		    !memcmp(image->bytes + *at + sizeof(*head), name, bytes))
			return size;
	return 0;
}

ssize_t vidas_image_find(const struct vidas_image *image, const char *name, const void **value)
{
	struct vidas_shm_attr head;
	uint32_t at;

	if (!image_seek(image, name, &at, &head))
		return vidas_fail(-ENODATA, "there is no attribute '%s'", name);
	*value = image->bytes + at + sizeof(head) + head.name_bytes;
	return head.value_bytes;
}

int vidas_image_set(struct vidas_image *image, const char *name, const void *value, size_t size)
{
	struct vidas_shm_attr head;
	size_t name_bytes = strlen(name), bytes = sizeof(head) + name_bytes + size;
	uint32_t at;
	ssize_t old = image_seek(image, name, &at, &head);

	if (image->used - (size_t)old + bytes > VIDAS_SHM_ATTR_BYTES)
		return vidas_fail(-ENOSPC, "an object's attributes may have %u bytes together",
				  VIDAS_SHM_ATTR_BYTES);
	/* More than one of a name is nothing that we write, but another might. */
	for (; old; old = image_seek(image, name, &at, &head)) {
		memmove(image->bytes + at, image->bytes + at + old, image->used - at - (size_t)old);
		image->used -= (uint32_t)old;
	}
	head = (struct vidas_shm_attr){ (uint8_t)name_bytes, 0, (uint16_t)size };
	memcpy(image->bytes + image->used, &head, sizeof(head));
	memcpy(image->bytes + image->used + sizeof(head), name, name_bytes);
	if (size)
		memcpy(image->bytes + image->used + sizeof(head) + name_bytes, value, size);
	image->used += (uint32_t)bytes;
	return 0;
}

int vidas_image_load(struct vidas_shm_object *s, struct vidas_image *image)
{
	for (unsigned i = 0; i < TRIES; i++) {
		uint32_t active = atomic_load_explicit(&s->attr_active, memory_order_acquire);
		uint32_t used = __atomic_load_n(&s->attr_used[active & 1], __ATOMIC_ACQUIRE);

		if (used <= VIDAS_SHM_ATTR_BYTES)
			vidas_words_in(image->bytes, s->attr_image[active & 1], used);
		/* A writer builds in an image only after it has stopped being the active one. */
		if (atomic_load_explicit(&s->attr_active, memory_order_relaxed) == active) {
			image->used = used;
			return vidas_image_check(image);
		}
		vidas_spin_pause();
	}
	return vidas_fail(-EIO, "an object's attributes are changed without end");
}

void vidas_image_store(struct vidas_shm_object *s, const struct vidas_image *image)
{
	uint32_t next = atomic_load_explicit(&s->attr_active, memory_order_relaxed) + 1;

	vidas_words_out(s->attr_image[next & 1], image->bytes, image->used);
	__atomic_store_n(&s->attr_used[next & 1], image->used, __ATOMIC_RELEASE);
	atomic_store_explicit(&s->attr_active, next, memory_order_release);
}
