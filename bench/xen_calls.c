/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * xen_calls objects CONTAINER PREFIX [DOMAIN...], xen_calls files DIR: carries out calls by order, for bench/xen, which
 * counts what they take. An order is a line "CALL N" on standard input; the answer a line "MESSAGES" (that N calls took
 * to vidasd, of libvidas's own), or the words of a failure.
 *
 * objects: of libvidas. With DOMAINs it makes the container, else it attaches it. Reads and writes are of 4 KiB; ping and
 * pong are two programs that wait for each other's message N times; PREFIX is of the names of what it creates.
 * files: system calls on files in DIR: pieces of 1 MiB or 4 KiB of the file `big`, which has to be there, and of `new`.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vidas/vidas.h>

#include "pool/base/base.h"
#include "pool/client/tree.h"

#define OBJECTS	     64
#define OBJECT_BYTES (64u << 10)
#define WAIT_US	     (INT64_C(120) * 1000 * 1000)

static const char *container, *prefix;
static struct vidas *v;
static struct vidas_object *objects[OBJECTS];
static struct vidas_object *there, *back; /* the messages of ping and pong */
static char buf[4096];

static int object_new(int i, bool join)
{
	char name[64];

	snprintf(name, sizeof(name), "%s%d", join ? "shared" : prefix, i);
	if (join)
		return vidas_object_join(v, container, name, 0, OBJECT_BYTES, WAIT_US, &objects[i]);
	return vidas_object_create(v, container, name, 0, OBJECT_BYTES, &objects[i]);
}

static int create(int i)
{
	return object_new(i, false);
}

static int join(int i)
{
	return object_new(i, true);
}

static int leave(int i)
{
	return vidas_object_leave(objects[i]);
}

static int setattr(int i)
{
	(void)i;
	return vidas_object_setattr(there, "mine", "value", 5);
}

static int getattr(int i)
{
	(void)i;
	return vidas_object_getattr(there, "mine", buf, sizeof(buf)) == 5 ? 0 : -EIO;
}

static int read_object(int i)
{
	uint64_t at = (uint64_t)i * sizeof(buf) % OBJECT_BYTES;

	return vidas_object_read(there, buf, at, sizeof(buf)) == sizeof(buf) ? 0 : -EIO;
}

static int write_object(int i)
{
	uint64_t at = (uint64_t)i * sizeof(buf) % OBJECT_BYTES;

	return vidas_object_write(there, buf, at, sizeof(buf)) == sizeof(buf) ? 0 : -EIO;
}

static int notify(int i)
{
	(void)i;
	return vidas_object_notify(there, "m", 1, WAIT_US);
}

static int wait_for(int i)
{
	(void)i;
	return vidas_object_wait(there, buf, sizeof(buf), WAIT_US) == 1 ? 0 : -EIO;
}

static int ping(int i)
{
	int err = vidas_object_notify(there, "m", 1, WAIT_US);

	(void)i;
	if (!err)
		err = vidas_object_wait(back, buf, sizeof(buf), WAIT_US) == 1 ? 0 : -EIO;
	return err;
}

static int pong(int i)
{
	(void)i;
	if (vidas_object_wait(there, buf, sizeof(buf), WAIT_US) != 1)
		return -EIO;
	return vidas_object_notify(back, "m", 1, WAIT_US);
}

/* Files ------------------------------------------------------------------------------------------- */

static char mib[1 << 20];
static int big = -1;

static int file_error(int failed)
{
	return failed ? vidas_fail(-errno, "%s", strerror(errno)) : 0;
}

static const char *name_of(int i)
{
	static char name[32];

	snprintf(name, sizeof(name), "file%d", i);
	return name;
}

static int file_open(int i)
{
	(void)i;
	big = open("big", O_RDWR);
	return file_error(big < 0);
}

static int file_close(int i)
{
	(void)i;
	return file_error(close(big) < 0);
}

static int file_read(int i)
{
	return file_error(pread(big, mib, sizeof(mib), (off_t)i << 20) != sizeof(mib));
}

static int file_read_4k(int i)
{
	return file_error(pread(big, buf, sizeof(buf), (off_t)i << 12) != sizeof(buf));
}

static int file_write(int i)
{
	return file_error(pwrite(big, mib, sizeof(mib), (off_t)i << 20) != sizeof(mib));
}

static int file_append(int i)
{
	static int fd = -1;

	if (!i)
		fd = open("new", O_RDWR | O_CREAT | O_TRUNC, 0644);
	return file_error(pwrite(fd, mib, sizeof(mib), (off_t)i << 20) != sizeof(mib));
}

static int file_create(int i)
{
	int fd = open(name_of(i), O_RDWR | O_CREAT | O_EXCL, 0644);

	return file_error(fd < 0 || close(fd) < 0);
}

static int file_stat(int i)
{
	struct stat st;

	return file_error(stat(name_of(i), &st) < 0);
}

static int file_unlink(int i)
{
	return file_error(unlink(name_of(i)) < 0);
}

/* Fails if N pages or more of `big` are in this kernel's cache: that would be a copy more. */
static int file_uncached(int i)
{
	static unsigned char in[1 << 16];
	struct stat st;
	void *at;
	int n = 0;

	if (i)
		return 0;
	if (fstat(big, &st) < 0 || st.st_size >> 12 > (off_t)sizeof(in))
		return file_error(1);
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, big, 0);
	if (at == MAP_FAILED || mincore(at, (size_t)st.st_size, in) < 0)
		return file_error(1);
	for (off_t p = 0; p < st.st_size >> 12; p++)
		n += in[p] & 1;
	munmap(at, (size_t)st.st_size);
	return n ? vidas_fail(-EIO, "%d pages are in the page cache", n) : 0;
}

static const struct {
	const char *name;
	int (*call)(int i);
	int most;
} orders[] = {
	{ "create", create, OBJECTS },
	{ "join", join, OBJECTS },
	{ "leave", leave, OBJECTS },
	{ "setattr", setattr, 1000 },
	{ "getattr", getattr, 1000 },
	{ "read", read_object, 1000 },
	{ "write", write_object, 1000 },
	{ "notify", notify, 1000 },
	{ "wait", wait_for, 1000 },
	{ "ping", ping, 1000 },
	{ "pong", pong, 1000 },
	{ "fopen", file_open, 1 },
	{ "fclose", file_close, 1 },
	{ "fread", file_read, 1000 },
	{ "fread4k", file_read_4k, 1000 },
	{ "fwrite", file_write, 1000 },
	{ "fnew", file_append, 1000 },
	{ "fcreate", file_create, 1000 },
	{ "fstat", file_stat, 1000 },
	{ "funlink", file_unlink, 1000 },
	{ "funcached", file_uncached, 1 },
};

static int carry_out(const char *name, int n)
{
	for (size_t o = 0; o < VIDAS_ARRAY_SIZE(orders); o++) {
		if (strcmp(orders[o].name, name) != 0 || n > orders[o].most)
			continue;
		for (int i = 0; i < n; i++) {
			int err = orders[o].call(i);

			if (err < 0)
				return err;
		}
		return 0;
	}
	return vidas_fail(-EINVAL, "there is no such order");
}

static int begin(char **ids, int n)
{
	vidas_domain_id domain[VIDAS_DOMAINS_MAX];
	int err;

	for (int i = 0; i < n && i < VIDAS_DOMAINS_MAX; i++)
		domain[i] = (vidas_domain_id)atoi(ids[i]);
	err = n ? vidas_container_create(v, container, domain, (unsigned)n) :
		  vidas_container_attach(v, container);
	for (int i = 0; !err && i < 2; i++) {
		struct vidas_object **o = i ? &back : &there;
		const char *name = i ? "back" : "there";

		err = n ? vidas_object_create(v, container, name, 0, OBJECT_BYTES, o) :
			  vidas_object_join(v, container, name, 0, OBJECT_BYTES, WAIT_US, o);
	}
	return err;
}

static int prepare(int argc, char **argv)
{
	if (!strcmp(argv[1], "files"))
		return file_error(chdir(argv[2]) < 0);
	if (argc < 4)
		return vidas_fail(-EINVAL, "which container, which prefix?");
	container = argv[2];
	prefix = argv[3];
	return vidas_open(NULL, &v) < 0 ? -1 : begin(argv + 4, argc - 4);
}

int main(int argc, char **argv)
{
	char line[128], name[32];
	int n;

	if (argc < 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	if (prepare(argc, argv) < 0) {
		printf("failed: %s\n", vidas_error_text());
		return 1;
	}
	puts("ready");
	while (fgets(line, sizeof(line), stdin) && sscanf(line, "%31s %d", name, &n) == 2) {
		uint64_t before = v ? vidas_messages(v) : 0;

		if (carry_out(name, n) < 0)
			printf("failed: %s\n", vidas_error_text());
		else
			printf("%llu\n", (unsigned long long)(v ? vidas_messages(v) - before : 0));
	}
	vidas_close(v);
	return 0;
}
