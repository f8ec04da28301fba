/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What vidasd reads that domains have written: lists of domains (an attribute's value), and control
 * files after a restart.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "pool/host/object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_domains(const char *text, size_t size)
{
	struct host_meta meta = { 0 }, again = { 0 };
	char *printed;

	if (vidas_host_meta_parse(text, size, &meta) < 0)
		return;
	printed = vidas_host_meta_print(&meta);
	if (!printed || vidas_host_meta_parse(printed, strlen(printed), &again) < 0 ||
	    meta.domains != again.domains ||
	    memcmp(meta.domain, again.domain, sizeof(meta.domain)) != 0)
		abort();
	free(printed);
}

static void check_object(const struct host_resource *r, const struct host_object *o)
{
	if (!o->size || o->offset > INT64_MAX || o->size > INT64_MAX - o->offset ||
	    o->slot >= r->slots || !(r->used[o->slot / 64] & (UINT64_C(1) << (o->slot % 64))))
		abort();
}

/* The file is long, most of it a hole: the input is its first page's beginning and that of the slots. */
static void try_control(const uint8_t *data, size_t size)
{
	static struct host_container c = { .name = (char *)(uintptr_t) "fuzz", .control_fd = -1 };
	struct vidas_shm_resource header = { .magic = VIDAS_SHM_CONTROL_MAGIC,
					     .version = VIDAS_SHM_VERSION,
					     .inode = 1 };
	struct host_resource *r;
	struct host_object *o;
	uint32_t slots = 0;
	int fd;

	if (c.control_fd < 0)
		c.control_fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(c.control_fd, "1", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		abort();
	memcpy(&header.slots, data, size < 4 ? size : 4);
	memcpy(header.handle, data, size < sizeof(header.handle) ? size : sizeof(header.handle));
	if (vidas_pwrite_all(fd, &header, sizeof(header), 0) < 0)
		abort();
	for (; size >= 28 && slots < 64; data += 28, size -= 28)
		if (vidas_pwrite_all(fd, data, 28, VIDAS_SHM_SLOT_OFFSET(slots++)) < 0)
			abort();
	if (ftruncate(fd, (off_t)VIDAS_SHM_SLOT_OFFSET(slots)) < 0)
		abort();
	close(fd);
	if (vidas_host_control_load(&c, 1, &r) < 0)
		return;
	DL_FOREACH(r->objects, o)
		check_object(r, o);
	vidas_host_resource_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 1)
		try_control(data + 1, size - 1);
	else
		try_domains((const char *)data + 1, size - 1);
	return 0;
}
