/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In a guest, as its root: what a guest can try that is not for it. Each prints
 * how often it got anywhere. hostile store OTHER   writes and reads XenStore
 * nodes of Dom0, of guest OTHER (a domid), and VIDAS's of its own hostile refs
 * N        maps each of Dom0's grant references below N hostile ring ROUNDS
 * connects to its ring and fills ring, indices and control page with noise
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <libxenvchan.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <xenstore.h>

#include <xen/xen.h>

#include <xen/grant_table.h>

#include <xen/gntdev.h>

#define PAGE 4096u

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 100 * 1000 * 1000 }, NULL);
}

static unsigned try_node(struct xs_handle *xs, const char *path, unsigned domid)
{
	struct xs_permissions mine = { .id = domid, .perms = XS_PERM_READ | XS_PERM_WRITE };
	unsigned got = 0;

	got += xs_write(xs, XBT_NULL, path, "7", 1);
	got += xs_set_permissions(xs, XBT_NULL, path, &mine, 1);
	got += xs_rm(xs, XBT_NULL, path);
	if (got)
		printf("%s was changed\n", path);
	return got;
}

static unsigned store(const char *other)
{
	struct xs_handle *xs = xs_open(0);
	unsigned bytes, domid, got = 0;
	char path[128], *text;

	if (!xs || !(text = xs_read(xs, XBT_NULL, "domid", &bytes)))
		err(1, "XenStore");
	domid = (unsigned)atoi(text);
	for (unsigned i = 0; i < 2; i++) {
		const char *of = i ? other : text;

		snprintf(path, sizeof(path), "/local/domain/%s/vidas", of);
		got += try_node(xs, path, domid);
		snprintf(path, sizeof(path), "/local/domain/%s/vidas/domain", of);
		got += try_node(xs, path, domid);
		snprintf(path, sizeof(path), "/local/domain/%s/vidas/ring/ring-ref", of);
		got += try_node(xs, path, domid);
	}
	got += try_node(xs, "/local/domain/0/vidas", domid);
	snprintf(path, sizeof(path), "/local/domain/%s/vidas/ring/ring-ref", other);
	if (xs_read(xs, XBT_NULL, path, &bytes)) {
		printf("%s was read\n", path);
		got++;
	}
	return got;
}

static bool map_one(uint32_t ref)
{
	struct ioctl_gntdev_map_grant_ref map = { .count = 1, .refs = { { .ref = ref } } };
	int fd = open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC);
	void *at = MAP_FAILED;

	if (fd < 0)
		err(1, "gntdev");
	if (ioctl(fd, IOCTL_GNTDEV_MAP_GRANT_REF, &map) == 0)
		at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	if (at != MAP_FAILED)
		munmap(at, PAGE);
	close(fd);
	return at != MAP_FAILED;
}

static unsigned refs(uint32_t n)
{
	unsigned got = 0;

	for (uint32_t i = 0; i < n; i++)
		got += map_one(i);
	return got;
}

static void noise(void *to, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		((volatile uint8_t *)to)[i] = (uint8_t)rand();
}

static unsigned ring(unsigned rounds)
{
	unsigned got = 0;

	for (unsigned i = 0; i < 50 * rounds && got < rounds; i++) {
		struct libxenvchan *c = libxenvchan_client_init(NULL, 0, "vidas/ring");

		if (!c) {
			nap();
			continue;
		}
		c->blocking = 0;
		/* First what may be frames of any kind, then the indices, then all of it.
     */
		noise(c->write.buffer, (size_t)1 << c->write.order);
		if (got % 3 == 0)
			libxenvchan_write(c, c->write.buffer, 4096);
		if (got % 3 == 1)
			noise(c->ring, 64);
		if (got % 3 == 2)
			noise(c->ring, PAGE);
		for (unsigned k = 0; k < 20; k++)
			xenevtchn_notify(c->event, c->event_port);
		got++;
		nap();
		libxenvchan_close(c);
	}
	return got;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "store"))
		printf("%u\n", store(argv[2]));
	else if (argc == 3 && !strcmp(argv[1], "refs"))
		printf("%u\n", refs((uint32_t)atoi(argv[2])));
	else if (argc == 3 && !strcmp(argv[1], "ring"))
		printf("%u\n", ring((unsigned)atoi(argv[2])));
	else
		return 2;
	return 0;
}
