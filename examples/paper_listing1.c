/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listing 1 of the paper: a writer in one domain, a reader in another, one object between them.
 *
 *	domain 1:  paper_listing1 write READER-DOMAIN RESOURCE < input
 *	domain 2:  paper_listing1 read RESOURCE SIZE > output
 *
 * `share` and `fetch` are the listing's write() and read(), renamed because C has those; what
 * is around them the paper leaves to the reader: waiting until the container is there, and not
 * destroying it before the other one is done.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include <vidas/paper.h>

#define SIZE_MAX_HERE (64u << 20)

static int failed(const char *what)
{
	fprintf(stderr, "paper_listing1: %s: %s\n", what, vidas_error_text());
	return 1;
}

/* Write operation executed in domain i. */
static int share(const char *ext_storage_rsc, char *buf, size_t offset, size_t size)
{
	/* Create the storage object */
	object_handler_t o = object_create(ext_storage_rsc, offset, size, "con");

	if (!o)
		return failed("object_create");
	/* Indicate that all accesses will be atomic */
	if (object_setattr(o, "synchronized", "true", 5) < 0)
		return failed("object_setattr");
	/* Write the data */
	if (object_write(o, buf, 0, size) < 0)
		return failed("object_write");
	/* Notify that the data is available */
	if (object_notify(o, NULL) < 0)
		return failed("object_notify");
	/* Destroy the object */
	return object_destroy(o) < 0 ? failed("object_destroy") : 0;
}

/* Read operation executed in domain j. */
static int fetch(const char *ext_storage_rsc, char *buf, size_t offset, size_t size)
{
	/* Join the object that maps to a common external storage resource */
	object_handler_t o = object_join(ext_storage_rsc, offset, size, "con");

	if (!o)
		return failed("object_join");
	/* Wait for the data to become available */
	if (object_wait(o, NULL) < 0)
		return failed("object_wait");
	/* Read the data */
	if (object_read(o, buf, 0, size) < 0)
		return failed("object_read");
	/* Unmap the object */
	return object_leave(o) < 0 ? failed("object_leave") : 0;
}

static void nap(void)
{
	struct timespec ts = { 0, 10 * 1000 * 1000 };

	nanosleep(&ts, NULL);
}

static int writer(int j, const char *resource)
{
	/* Share the objects with domain j */
	int domain_ids[] = { j };
	char *buf = malloc(SIZE_MAX_HERE);
	size_t size = buf ? fread(buf, 1, SIZE_MAX_HERE, stdin) : 0;
	object_handler_t done;
	int err;

	if (!size) {
		fprintf(stderr, "paper_listing1: nothing to write on standard input\n");
		return 1;
	}
	/* Create the container */
	if (container_create("con", domain_ids) < 0)
		return failed("container_create");
	done = object_create("done", 0, 1, "con");
	if (!done)
		return failed("object_create");
	if (share(resource, buf, 0, size))
		return 1;
	if (object_wait(done, NULL) < 0 || object_destroy(done) < 0)
		return failed("waiting for the reader");
	/* Destroy the container, once the reader has left it */
	while ((err = container_destroy("con")) == -EBUSY)
		nap();
	free(buf);
	return err < 0 ? failed("container_destroy") : 0;
}

static int reader(const char *resource, size_t size)
{
	object_handler_t done;
	char *buf = malloc(size);
	int err;

	/* Attach to an existing container, once it is there */
	while ((err = container_attach("con")) == -ENOENT)
		nap();
	if (err < 0)
		return failed("container_attach");
	if (!buf || fetch(resource, buf, 0, size))
		return 1;
	if (fwrite(buf, 1, size, stdout) != size)
		return 1;
	done = object_join("done", 0, 1, "con");
	if (!done || object_notify(done, NULL) < 0 || object_leave(done) < 0)
		return failed("telling the writer");
	free(buf);
	/* Leave the container */
	return container_leave("con") < 0 ? failed("container_leave") : 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "write"))
		return writer((int)strtol(argv[2], NULL, 10), argv[3]);
	if (argc == 4 && !strcmp(argv[1], "read") && strtoul(argv[3], NULL, 10))
		return reader(argv[2], strtoul(argv[3], NULL, 10));
	fprintf(stderr, "usage: paper_listing1 write READER-DOMAIN RESOURCE < input\n"
			"       paper_listing1 read RESOURCE SIZE > output\n");
	return 2;
}
