/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Listing 2 of the paper: collective I/O. Every domain writes its own, not contiguous pieces of a
 * resource into one shared object; domain d0 waits for all and flushes the whole.
 *
 *	in each domain:  paper_listing2 RESOURCE SIZE D0 D1 ...
 *
 * with the same arguments. The pieces are of 4096 bytes, dealt out in turn; a domain fills its own
 * with its letter: the first one with A, and so on.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include <vidas/paper.h>

#define PIECE 4096u

static int failed(const char *what)
{
	fprintf(stderr, "paper_listing2: %s: %s\n", what, vidas_error_text());
	return 1;
}

/* Write is called from domains d_0, d_1, ..., d_{n-1}; d_0 will be the aggregator. */
static int collective_write(const char *ext_storage_rsc, char *bufs[], size_t offsets[],
			    size_t sizes[], int pieces, size_t offset, size_t size, int d0, int n)
{
	object_handler_t o;
	int i;

	/* Get my domain and create/share the object */
	int my_domain = get_domain();

	if (my_domain == d0)
		o = object_create(ext_storage_rsc, offset, size, "con");
	else
		o = object_join(ext_storage_rsc, offset, size, "con");
	if (!o)
		return failed(my_domain == d0 ? "object_create" : "object_join");
	/* Each domain writes data to the object by calling several times object_write on it */
	for (i = 0; i < pieces; i++)
		if (object_write(o, bufs[i], offsets[i], sizes[i]) < 0)
			return failed("object_write");
	/* Each domain notifies the modifications */
	if (object_notify(o, NULL) < 0)
		return failed("object_notify");
	/* Domain d0 waits for all notifications before flushing the data */
	if (my_domain == d0) {
		for (i = 0; i < n; i++)
			if (object_wait(o, NULL) < 0)
				return failed("object_wait");
		if (object_flush(o) < 0)
			return failed("object_flush");
	}
	return object_leave(o) < 0 ? failed("object_leave") : 0;
}

/* The paper assumes a container that is created and shared already: d0 sees to it. */
static int meet(int rank, const int *domains, size_t n)
{
	struct timespec nap = { 0, 10 * 1000 * 1000 };
	int err;

	if (!rank) {
		err = vidas_paper_container_create("con", domains + 1, n - 1);
		return err < 0 ? failed("container_create") : 0;
	}
	while ((err = container_attach("con")) == -ENOENT)
		nanosleep(&nap, NULL);
	return err < 0 ? failed("container_attach") : 0;
}

int main(int argc, char **argv)
{
	int n = argc - 3, rank = 0, pieces = 0, err;
	int domains[VIDAS_DOMAINS_MAX];
	size_t size = argc > 2 ? strtoul(argv[2], NULL, 10) : 0, total = (size + PIECE - 1) / PIECE;
	size_t *offsets, *sizes;
	char **bufs, data[PIECE];

	if (n < 1 || n > VIDAS_DOMAINS_MAX || !size) {
		fprintf(stderr, "usage: paper_listing2 RESOURCE SIZE D0 D1 ...\n");
		return 2;
	}
	for (int i = 0; i < n; i++) {
		domains[i] = (int)strtol(argv[3 + i], NULL, 10);
		if (domains[i] == get_domain())
			rank = i;
	}
	if (domains[rank] != get_domain()) {
		fprintf(stderr, "paper_listing2: this is domain %d, not one of those\n",
			get_domain());
		return 1;
	}
	memset(data, 'A' + rank, sizeof(data));
	bufs = calloc(total, sizeof(*bufs));
	offsets = calloc(total, sizeof(*offsets));
	sizes = calloc(total, sizeof(*sizes));
	if (!bufs || !offsets || !sizes)
		return 1;
	for (size_t i = (size_t)rank; i < total; i += (size_t)n, pieces++) {
		bufs[pieces] = data;
		offsets[pieces] = i * PIECE;
		sizes[pieces] = size - i * PIECE < PIECE ? size - i * PIECE : PIECE;
	}
	err = meet(rank, domains, (size_t)n);
	if (!err)
		err = collective_write(argv[1], bufs, offsets, sizes, pieces, 0, size, domains[0],
				       n);
	free(bufs);
	free(offsets);
	free(sizes);
	return err;
}
