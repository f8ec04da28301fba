/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * In Dom0: what /dev/vidas-gnt refuses, and that nothing is held after it.
 *   grant_args DOMID [REFERENCES]   of a guest, which maps nothing meanwhile; REFERENCES: also takes all references
 *                                   there are, at most so many
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kmod/vidas-gnt.h"
#include "shared.h"

static int device, failures;
static uint16_t domid;
static uint32_t refs[VIDAS_GNT_PAGES_MAX + 1];

#define CHECK(condition)                                               \
	do {                                                           \
		if (!(condition)) {                                    \
			printf("line %d: %s\n", __LINE__, #condition); \
			failures++;                                    \
		}                                                      \
	} while (0)

static int call(unsigned long request, void *arg)
{
	return ioctl(device, request, arg) ? errno : 0;
}

static struct vidas_gnt_grant asks(int fd, uint32_t n)
{
	return (struct vidas_gnt_grant){
		.fd = fd, .domid = domid, .pages = n, .refs = (uintptr_t)refs
	};
}

static int grant(struct vidas_gnt_grant g)
{
	return call(VIDAS_GNT_GRANT, &g);
}

static struct vidas_gnt_stat standing(void)
{
	struct vidas_gnt_stat s = { .domid = domid };

	CHECK(call(VIDAS_GNT_STAT, &s) == 0);
	return s;
}

static void take_back(uint32_t n, uint32_t busy, uint32_t unknown)
{
	struct vidas_gnt_revoke r = { .refs = (uintptr_t)refs, .count = n };

	CHECK(call(VIDAS_GNT_REVOKE, &r) == 0);
	CHECK(r.busy == busy);
	CHECK(r.unknown == unknown);
}

static int pool(uint32_t n, unsigned flags)
{
	int fd = memfd_create("pool", flags | MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)n * PAGE))
		err(1, "memfd");
	return fd;
}

static void bad_arguments(void)
{
	int fd = pool(4, 0);
	struct vidas_gnt_grant g;

	CHECK(call(_IO('V', 0xdf), NULL) == ENOTTY);
	CHECK(call(VIDAS_GNT_GRANT, NULL) == EFAULT);
	CHECK(call(VIDAS_GNT_REVOKE, NULL) == EFAULT);
	CHECK(call(VIDAS_GNT_REVOKE_DOMID, NULL) == EFAULT);
	CHECK(call(VIDAS_GNT_STAT, NULL) == EFAULT);
	CHECK(call(VIDAS_GNT_CAP, NULL) == EFAULT);
	CHECK(call(VIDAS_GNT_BIND, NULL) == EFAULT);
#define WITH(field, value) (g = asks(fd, 4), g.field = (value), grant(g))
	CHECK(WITH(pages, 0) == EINVAL);
	CHECK(WITH(pages, VIDAS_GNT_PAGES_MAX + 1) == EINVAL);
	CHECK(WITH(pages, UINT32_MAX) == EINVAL);
	CHECK(WITH(offset, 1) == EINVAL);
	CHECK(WITH(offset, PAGE / 2) == EINVAL);
	CHECK(WITH(offset, UINT64_MAX - PAGE + 1) == EINVAL);
	CHECK(WITH(offset, (uint64_t)INT64_MAX - PAGE + 1) == ENXIO);
	CHECK(WITH(offset, 4 * PAGE) == ENXIO);
	CHECK(WITH(domid, VIDAS_GNT_DOMID_MAX + 1) == EINVAL);
	CHECK(WITH(domid, UINT16_MAX) == EINVAL);
	CHECK(WITH(flags, 2) == EINVAL);
	CHECK(WITH(spare, 1) == EINVAL);
	CHECK(WITH(refs, 0) == EFAULT);
	CHECK(WITH(refs, UINT64_MAX - 3) == EFAULT);
	CHECK(standing().granted == 0);
	close(fd);
}

static int grant_as(const char *path, int open_flags, uint16_t flags)
{
	int fd = open(path, open_flags | O_CLOEXEC), rc;
	struct vidas_gnt_grant g = asks(fd, 1);

	if (fd < 0)
		err(1, "%s", path);
	g.flags = flags;
	rc = grant(g);
	close(fd);
	return rc;
}

static void bad_files(void)
{
	const uint16_t ro = VIDAS_GNT_READONLY;
	char path[64];
	int fd = pool(1, MFD_ALLOW_SEALING), both[2];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(grant(asks(-1, 1)) == EBADF);
	CHECK(grant(asks(1000, 1)) == EBADF);
	CHECK(grant_as(path, O_PATH, ro) == EBADF);
	CHECK(grant_as(path, O_WRONLY, 0) == EBADF);
	CHECK(grant_as(path, O_RDONLY, 0) == EBADF);
	CHECK(grant_as(path, O_RDONLY, ro) == 0);
	take_back(1, 0, 0);
	CHECK(grant_as("/src/README.md", O_RDONLY, ro) == EOPNOTSUPP);
	CHECK(grant_as("/tmp", O_RDONLY, ro) == EOPNOTSUPP);
	CHECK(grant_as("/dev/zero", O_RDWR, 0) == EOPNOTSUPP);
	CHECK(grant_as("/proc/self/mem", O_RDWR, 0) == EOPNOTSUPP);
	CHECK(grant_as(VIDAS_GNT_DEVICE, O_RDWR, 0) == EOPNOTSUPP);
	CHECK(pipe(both) == 0 && grant(asks(both[1], 1)) == EBADF);
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0);
	CHECK(grant(asks(fd, 1)) == EPERM);
	CHECK(grant_as(path, O_RDONLY, ro) == 0);
	take_back(1, 0, 0);
	CHECK(standing().granted == 0);
	close(fd);
}

static void parts(void)
{
	int fd = pool(2, 0);
	struct vidas_gnt_grant g = asks(fd, 3);
	struct stat st;

	CHECK(call(VIDAS_GNT_GRANT, &g) == 0);
	CHECK(g.granted == 2 && g.error == ENXIO);
	CHECK(fstat(fd, &st) == 0 && st.st_blocks == 2 * PAGE / 512);
	CHECK(standing().granted == 2);
	CHECK(ftruncate(fd, 0) == 0); /* the pages stay until they are taken back */
	take_back(2, 0, 0);
	CHECK(standing().granted == 0);
	close(fd);
}

static void taken_back_twice(void)
{
	int fd = pool(8, 0), other = open(VIDAS_GNT_DEVICE, O_RDWR | O_CLOEXEC);
	uint32_t stale[8];
	struct vidas_gnt_revoke r = { .refs = (uintptr_t)stale, .count = 8 };

	CHECK(grant(asks(fd, 8)) == 0);
	memcpy(stale, refs, sizeof(stale));
	CHECK(ioctl(other, VIDAS_GNT_REVOKE, &r) == 0 && r.unknown == 8); /* not that one's */
	take_back(8, 0, 0);
	CHECK(refs[0] == 0 && refs[7] == 0);
	take_back(8, 0, 0); /* zeros now */
	memcpy(refs, stale, sizeof(stale));
	take_back(8, 0, 8);
	for (uint32_t i = 0; i < 8; i++)
		refs[i] = 0xdeadbee0 + i;
	take_back(8, 0, 8);
	r.count = VIDAS_GNT_PAGES_MAX + 1;
	CHECK(call(VIDAS_GNT_REVOKE, &r) == EINVAL);
	r = (struct vidas_gnt_revoke){ .refs = 8, .count = 8 };
	CHECK(call(VIDAS_GNT_REVOKE, &r) == EFAULT);
	CHECK(standing().granted == 0);
	close(other);
	close(fd);
}

static void caps(void)
{
	int fd = pool(10, 0);
	struct vidas_gnt_cap cap = { .domid = domid, .pages = 5 };
	struct vidas_gnt_grant g = asks(fd, 10);
	struct vidas_gnt_revoke_domid all = { .domid = domid };

	CHECK(call(VIDAS_GNT_CAP, &cap) == 0);
	CHECK(standing().cap == 5);
	CHECK(call(VIDAS_GNT_GRANT, &g) == 0 && g.granted == 5 && g.error == EDQUOT);
	CHECK(grant(asks(fd, 1)) == EDQUOT);
	CHECK(call(VIDAS_GNT_REVOKE_DOMID, &all) == 0 && all.busy == 0);
	CHECK(standing().granted == 0);
	cap.pages = 0;
	CHECK(call(VIDAS_GNT_CAP, &cap) == 0);
	CHECK(grant(asks(fd, 10)) == 0);
	take_back(10, 0, 0);
	close(fd);
}

static void bound(void)
{
	int fd = pool(1, 0), own = open(VIDAS_GNT_DEVICE, O_RDWR | O_CLOEXEC);
	struct vidas_gnt_bind to = { .domid = domid };
	struct vidas_gnt_grant g = asks(fd, 1);
	struct vidas_gnt_cap cap = { .domid = domid };
	struct vidas_gnt_stat st = { .domid = (uint16_t)(domid + 1) };
	struct vidas_gnt_revoke_domid all = { .domid = (uint16_t)(domid + 1) };

	CHECK(ioctl(own, VIDAS_GNT_BIND, &to) == 0);
	CHECK(ioctl(own, VIDAS_GNT_GRANT, &g) == 0);
	g.domid++;
	CHECK(ioctl(own, VIDAS_GNT_GRANT, &g) && errno == EPERM);
	CHECK(ioctl(own, VIDAS_GNT_BIND, &to) && errno == EPERM);
	CHECK(ioctl(own, VIDAS_GNT_CAP, &cap) && errno == EPERM);
	CHECK(ioctl(own, VIDAS_GNT_STAT, &st) && errno == EPERM);
	CHECK(ioctl(own, VIDAS_GNT_REVOKE_DOMID, &all) && errno == EPERM);
	CHECK(standing().granted == 1);
	close(own); /* takes it back */
	CHECK(standing().granted == 0);
	close(fd);
}

/* All calls at once on one open file, with references of each other. */
static void *storm(void *arg)
{
	int fd = pool(16, 0);
	unsigned seed = (unsigned)(uintptr_t)arg;
	static uint32_t mixed[64];

	for (unsigned i = 0; i < 3000; i++) {
		struct vidas_gnt_grant g = asks(fd, 1 + (unsigned)rand_r(&seed) % 16);
		struct vidas_gnt_revoke r = { .refs = (uintptr_t)mixed, .count = 64 };
		struct vidas_gnt_revoke_domid all = { .domid = domid };

		g.refs = (uintptr_t)&mixed[rand_r(&seed) % 48];
		switch (rand_r(&seed) % 16) {
		case 0:
			call(VIDAS_GNT_REVOKE_DOMID, &all);
			break;
		case 1 ... 8:
			call(VIDAS_GNT_GRANT, &g);
			break;
		default:
			call(VIDAS_GNT_REVOKE, &r);
		}
	}
	close(fd);
	return NULL;
}

static void at_once(void)
{
	struct vidas_gnt_revoke_domid all = { .domid = domid };
	pthread_t threads[4];

	for (uintptr_t i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, storm, (void *)(i + 1)) == 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK(call(VIDAS_GNT_REVOKE_DOMID, &all) == 0 && all.busy == 0);
	CHECK(standing().granted == 0 && standing().total == 0);
}

/* Takes what references there are: partial success says ENOBUFS, and all come back. */
static void exhausted(uint32_t most)
{
	const uint32_t n = 16384;
	int fd = pool(n, 0);
	struct vidas_gnt_revoke_domid all = { .domid = domid };
	struct vidas_gnt_grant g;
	uint32_t total = 0;
	bool partial = false;

	do {
		g = asks(fd, n);
		if (call(VIDAS_GNT_GRANT, &g))
			break;
		partial = g.granted < n;
		total += g.granted;
	} while (!partial && total < most);
	CHECK(g.error == ENOBUFS);
	CHECK(grant(asks(fd, 1)) == ENOBUFS);
	CHECK(standing().granted == total);
	printf("%u references, of %u frames\n", total, standing().max_frames);
	CHECK(call(VIDAS_GNT_REVOKE_DOMID, &all) == 0 && all.busy == 0);
	CHECK(standing().granted == 0);
	CHECK(grant(asks(fd, n)) == 0);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		errx(2, "usage: grant_args DOMID [REFERENCES]");
	domid = (uint16_t)atoi(argv[1]);
	device = open(VIDAS_GNT_DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0)
		err(1, VIDAS_GNT_DEVICE);
	CHECK(standing().version == VIDAS_GNT_VERSION);
	bad_arguments();
	bad_files();
	parts();
	taken_back_twice();
	caps();
	bound();
	at_once();
	if (argc > 2)
		exhausted((uint32_t)atoi(argv[2]));
	printf("%d failed\n", failures);
	return failures != 0;
}
