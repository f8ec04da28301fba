/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In a guest, as its root: what a guest can try that is not for it. Each prints how often it got anywhere.
 *   hostile store OTHER      writes and reads XenStore nodes of Dom0, of guest OTHER (a domid), and VIDAS's of its own
 *   hostile storm SECONDS    makes, changes and removes nodes that are its own, as fast as it can
 *   hostile refs N           maps each of Dom0's grant references below N
 *   hostile ring ROUNDS      connects to its ring and fills ring, indices and control page with noise
 *   hostile frames           says hello on its ring, then what is no frame, or one that it may not send: the rings it used
 *   hostile control CONTAINER RESOURCE SECONDS
 *                            joins that object and fills its control pages with noise, over and over
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <libxenvchan.h>
#include <stdbool.h>
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

#include "pool/base/base.h"
#include "pool/client/object.h"
#include "pool/transport/xen/frame.h"

#define PAGE	  4096u
#define CONNECT_S 30
#define STORM	  200u /* nodes */

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

static unsigned storm(unsigned seconds)
{
	struct xs_handle *xs = xs_open(0);
	time_t end = time(NULL) + (time_t)seconds;
	unsigned writes = 0;
	char path[64];

	if (!xs)
		err(1, "XenStore");
	while (time(NULL) < end) {
		snprintf(path, sizeof(path), "data/storm/%u", (unsigned)rand() % STORM);
		if (rand() % 4)
			xs_write(xs, XBT_NULL, path, path, (unsigned)rand() % 64);
		else
			xs_rm(xs, XBT_NULL, path);
		writes++;
	}
	xs_rm(xs, XBT_NULL, "data/storm");
	return writes;
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
		/* First what may be frames of any kind, then the indices, then all of it. */
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

/* Frames ----------------------------------------------------------------------------------------- */

struct said {
	struct vidas_frame_header head;
	union {
		struct vidas_frame_share share;
		struct vidas_frame_refs refs;
		struct vidas_frame_open open;
		uint8_t bytes[64];
	};
};

static struct libxenvchan *connected(void)
{
	const struct {
		struct vidas_frame_header head;
		struct vidas_frame_hello hello;
	} hello = { { sizeof(hello), VIDAS_FRAME_HELLO, 0, 0, 0 },
		    { VIDAS_FRAME_MAGIC, VIDAS_FRAME_VERSION } };
	time_t end = time(NULL) + CONNECT_S;
	struct libxenvchan *c = NULL;

	while (!c && time(NULL) < end) {
		c = libxenvchan_client_init(NULL, 0, "vidas/ring");
		if (!c)
			nap();
	}
	if (!c)
		errx(1, "no ring");
	c->blocking = 0;
	libxenvchan_write(c, &hello, sizeof(hello));
	return c;
}

/* Until the gate has left, or for a while: what was said may be the beginning of a longer frame. */
static void say(const struct said *what, size_t bytes)
{
	struct libxenvchan *c = connected();

	libxenvchan_write(c, what, bytes);
	for (unsigned i = 0; i < 10 && libxenvchan_is_open(c) == 1; i++)
		nap();
	libxenvchan_close(c);
}

static unsigned frames(void)
{
	const uint32_t sizes[] = { 0, 15, 17, VIDAS_FRAME_MAX, VIDAS_FRAME_MAX + 1, UINT32_MAX };
	const uint16_t types[] = { VIDAS_FRAME_OPENED, VIDAS_FRAME_REFS, 0, 8, UINT16_MAX };
	struct said s = { 0 };
	unsigned got = 0;

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(sizes); i++, got++) {
		s.head = (struct vidas_frame_header){ sizes[i], VIDAS_FRAME_MESSAGE, 0, 1, 0 };
		say(&s, sizeof(s));
	}
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(types); i++, got++) {
		s.head = (struct vidas_frame_header){ sizeof(s), types[i], 0, 1, 0 };
		s.refs = (struct vidas_frame_refs){ 1, UINT32_MAX, UINT32_MAX };
		say(&s, sizeof(s));
	}
	/* Memory of its own that Dom0 is to map: references of anything. */
	s.head = (struct vidas_frame_header){ sizeof(s), VIDAS_FRAME_MESSAGE, 1, 1, 0 };
	s.share = (struct vidas_frame_share){ .id = 1,
					      .bytes = UINT64_MAX & ~(uint64_t)(PAGE - 1),
					      .flags = VIDAS_FRAME_SHARE_GRANT };
	say(&s, sizeof(s));
	return got + 1;
}

/* The pages that it shares with others ------------------------------------------------------------- */

static unsigned control(const char *container, const char *resource, unsigned seconds)
{
	struct vidas_object *o;
	struct vidas *v;
	time_t end = time(NULL) + (time_t)seconds;
	unsigned rounds = 0;

	if (vidas_open("xen:", &v) || vidas_container_attach(v, container) ||
	    vidas_object_join(v, container, resource, 0, 65536, 20000000, &o))
		errx(1, "%s", vidas_error_text());
	while (time(NULL) < end) {
		noise(o->resource_shm, o->control_bytes);
		rounds++;
	}
	return rounds; /* and does not leave */
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "store"))
		printf("%u\n", store(argv[2]));
	else if (argc == 3 && !strcmp(argv[1], "refs"))
		printf("%u\n", refs((uint32_t)atoi(argv[2])));
	else if (argc == 3 && !strcmp(argv[1], "ring"))
		printf("%u\n", ring((unsigned)atoi(argv[2])));
	else if (argc == 3 && !strcmp(argv[1], "storm"))
		printf("%u\n", storm((unsigned)atoi(argv[2])));
	else if (argc == 2 && !strcmp(argv[1], "frames"))
		printf("%u\n", frames());
	else if (argc == 5 && !strcmp(argv[1], "control"))
		printf("%u\n", control(argv[2], argv[3], (unsigned)atoi(argv[4])));
	else
		return 2;
	return 0;
}
