/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The readers of shared memory: attribute images, the notification ring, the range table, on what
 * a hostile domain may have put there. First byte: what is fuzzed; then the contents.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pool/client/shm.h"

static struct vidas_shm_object object;
static struct vidas_shm_resource resource;

/* Every owner but us is dead, so that nothing waits long. */
static bool alive(void *arg, uint32_t id)
{
	(void)arg;
	(void)id;
	return false;
}

static const struct vidas_owner me = { 7, alive, NULL };

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void attributes(const uint8_t *data, size_t size)
{
	static struct vidas_image image;
	const void *value;
	ssize_t n;

	memset(&object, 0, sizeof(object));
	if (size >= 8)
		memcpy(object.attr_used, data, 8);
	if (size > 8)
		memcpy(object.attr_image, data + 8,
		       size - 8 < sizeof(object.attr_image) ? size - 8 : sizeof(object.attr_image));
	atomic_store(&object.attr_active, (uint32_t)size);
	if (vidas_image_load(&object, &image))
		return;
	n = vidas_image_find(&image, "a", &value);
	must(n < 0 || (n <= VIDAS_ATTR_VALUE_MAX && (const uint8_t *)value >= image.bytes &&
		       (const uint8_t *)value + n <= image.bytes + image.used));
	if (vidas_image_set(&image, "a", "value", 5))
		return;
	must(!vidas_image_check(&image));
	must(vidas_image_find(&image, "a", &value) == 5 && !memcmp(value, "value", 5));
	vidas_image_store(&object, &image);
	must(!vidas_image_load(&object, &image));
}

static void ring(const uint8_t *data, size_t size)
{
	static uint8_t buf[VIDAS_MESSAGE_MAX];
	uint64_t position[2] = { 0 };

	memset(&object, 0, sizeof(object));
	memcpy(position, data, size < sizeof(position) ? size : sizeof(position));
	atomic_store(&object.head, position[0]);
	atomic_store(&object.tail, position[1]);
	for (size_t i = 16; i < size && i - 16 < sizeof(object.ring); i++)
		object.ring[(position[0] + i - 16) % sizeof(object.ring)] = data[i];
	vidas_ring_room(&object, 100);
	vidas_ring_put(&object, &me, "message", 7);
	/* Each get takes a message, or drops them all: 4096 of 8 bytes are there at most. */
	for (int i = 0; i < 5000; i++) {
		ssize_t n = vidas_ring_get(&object, &me, buf, sizeof(buf));

		must(n <= (ssize_t)sizeof(buf));
		if (n == -EAGAIN)
			break;
	}
	must(vidas_ring_get(&object, &me, buf, sizeof(buf)) == -EAGAIN);
	must(!vidas_ring_put(&object, &me, "message", 7));
	must(vidas_ring_get(&object, &me, buf, sizeof(buf)) == 7);
}

static void ranges(const uint8_t *data, size_t size)
{
	int index;

	memset(&resource, 0, sizeof(resource));
	memcpy(resource.range, data, size < sizeof(resource.range) ? size : sizeof(resource.range));
	/* Their owners end, so that there is no wait for what the contents say is held. */
	for (unsigned i = 0; i < VIDAS_SHM_RANGES; i++)
		if (resource.range[i].start < 200 && resource.range[i].end > 100)
			resource.range[i].owner = 0;
	resource.range[size % VIDAS_SHM_RANGES].owner = 0;
	index = vidas_range_take(&resource, &me, 100, 200, size & 1);
	must(index >= 0 && index < (int)VIDAS_SHM_RANGES);
	must(resource.range[index].owner == me.id && resource.range[index].start == 100);
	vidas_range_release(&resource, &me, index);
	must(!resource.range[index].owner);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0] % 3) {
	case 0:
		attributes(data + 1, size - 1);
		break;
	case 1:
		ring(data + 1, size - 1);
		break;
	default:
		ranges(data + 1, size - 1);
	}
	return 0;
}
