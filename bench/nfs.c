/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nfs: whole files to and from an NFS server by the nfs backend, beside libnfs's own asynchronous calls in
 * loops of 4 to 32 requests of 1 MiB; the best of these is the peer. Both put under a temporary name, COMMIT
 * and rename; both get into memory that is there. Against a server of your own:
 *	nfs --root nfs://SERVER/PATH?version=4 --peer-url nfs://SERVER/PATH?version=4
 * libnfs writes its URLs differently (nfsport=, and version 3's mountport=), hence two.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <nfsc/libnfs.h>

#include "backends/store.h"
#include "bench/lib/options.h"
#include "pool/base/base.h"

#define CHUNK	(1024u * 1024)
#define WINDOWS 4u
#define SERIES	(1 + WINDOWS)

struct side {
	const char *root, *peer_url;
	size_t size;
	char *source, *target;
	struct vidas_store *store;
	struct nfs_context *nfs;
};

/* libnfs's loop. -------------------------------------------------------------------------------- */

struct loop {
	struct side *side;
	unsigned window;
	struct nfsfh *file;
	size_t next;
	unsigned in_flight;
	int error;
	bool writing;
};

struct piece {
	struct loop *loop;
	size_t offset;
};

static void loop_send(struct loop *l);

static void loop_done(int status, struct nfs_context *nfs, void *data, void *arg)
{
	struct piece *p = arg;
	struct loop *l = p->loop;

	(void)nfs;
	if (status != (int)CHUNK)
		l->error = status < 0 ? status : -EIO;
	else if (!l->writing)
		memcpy(l->side->target + p->offset, data, CHUNK);
	l->in_flight--;
	free(p);
	loop_send(l);
}

static void loop_send(struct loop *l)
{
	while (!l->error && l->in_flight < l->window && l->next < l->side->size) {
		struct piece *p = malloc(sizeof(*p));
		int err;

		if (!p)
			abort();
		*p = (struct piece){ .loop = l, .offset = l->next };
		err = l->writing ? nfs_pwrite_async(l->side->nfs, l->file, p->offset, CHUNK,
						    l->side->source + p->offset, loop_done, p) :
				   nfs_pread_async(l->side->nfs, l->file, p->offset, CHUNK,
						   loop_done, p);
		if (err) {
			free(p);
			l->error = -EIO;
			return;
		}
		l->next += CHUNK;
		l->in_flight++;
	}
}

static int loop_run(struct loop *l)
{
	struct pollfd fd;

	l->next = 0;
	l->error = 0;
	loop_send(l);
	while (l->in_flight) {
		fd = (struct pollfd){ .fd = nfs_get_fd(l->side->nfs),
				      .events = (short)nfs_which_events(l->side->nfs) };
		if (poll(&fd, 1, 60000) <= 0 || nfs_service(l->side->nfs, fd.revents) < 0)
			return -EIO;
	}
	return l->error;
}

static long peer_put(void *arg, unsigned slice)
{
	struct loop *l = arg;
	int err;

	(void)slice;
	l->writing = true;
	err = nfs_open2(l->side->nfs, "/peer.new", O_RDWR | O_CREAT | O_TRUNC, 0600, &l->file);
	if (err)
		return err;
	err = loop_run(l);
	if (!err)
		err = nfs_fsync(l->side->nfs, l->file);
	nfs_close(l->side->nfs, l->file);
	if (!err)
		err = nfs_rename(l->side->nfs, "/peer.new", "/peer");
	return err ? err : 1;
}

static long peer_get(void *arg, unsigned slice)
{
	struct loop *l = arg;
	int err;

	(void)slice;
	l->writing = false;
	err = nfs_open(l->side->nfs, "/peer", O_RDONLY, &l->file);
	if (err)
		return err;
	err = loop_run(l);
	nfs_close(l->side->nfs, l->file);
	return err ? err : 1;
}

/* Ours. ------------------------------------------------------------------------------------------ */

static long our_put(void *arg, unsigned slice)
{
	struct side *s = arg;
	struct iovec iov = { .iov_base = s->source, .iov_len = s->size };
	struct vidas_backend_put put = { .iov = &iov, .iovcnt = 1, .size_bytes = s->size };
	int err = vidas_store_put(s->store, "ours", &put, NULL);

	(void)slice;
	return err ? err : 1;
}

static long our_get(void *arg, unsigned slice)
{
	struct side *s = arg;
	struct iovec iov = { .iov_base = s->target, .iov_len = s->size };
	ssize_t n = vidas_store_get(s->store, "ours", 0, &iov, 1, NULL, NULL);

	(void)slice;
	return n == (ssize_t)s->size ? 1 : n < 0 ? (long)n : -EIO;
}

/* What came back must be what was sent, or the race was for nothing. */
static bool same(struct side *s)
{
	return memcmp(s->source, s->target, s->size) == 0;
}

static int race(struct vidas_bench *b, struct side *s, const char *what, bool put)
{
	static const unsigned windows[WINDOWS] = { 4, 8, 16, 32 };
	struct vidas_contender contender[SERIES] = { { .turn = put ? our_put : our_get,
						       .arg = s } };
	struct loop loop[WINDOWS];
	struct vidas_rounds rounds;
	unsigned best = 1;
	char name[64], peer[64];
	int err = vidas_rounds_init(&rounds, SERIES, b->rounds);

	for (unsigned i = 0; i < WINDOWS; i++) {
		loop[i] = (struct loop){ .side = s, .window = windows[i] };
		contender[1 + i] = (struct vidas_contender){ .turn = put ? peer_put : peer_get,
							     .arg = &loop[i] };
	}
	/* Memory that the server takes for the first files is not paid for by who comes first. */
	if (!err && put && (our_put(s, 0) < 0 || peer_put(&loop[0], 0) < 0))
		err = -EIO;
	for (unsigned r = 0; !err && r < b->rounds; r++) {
		err = vidas_contenders_race(contender, SERIES, 1, r, vidas_rounds_row(&rounds, r));
		if (!err && !put && !same(s))
			err = -EIO;
	}
	for (unsigned i = 2; i < SERIES; i++)
		if (vidas_rounds_median(&rounds, i) < vidas_rounds_median(&rounds, best))
			best = i;
	snprintf(name, sizeof(name), "%s %zu MB", what, s->size / 1000000);
	snprintf(peer, sizeof(peer), "libnfs, %u on their way", windows[best - 1]);
	if (!err) {
		struct vidas_row row = {
			.group = "nfs",
			.name = name,
			.unit = "MB/s",
			.value = (double)s->size * 1e3 / vidas_rounds_median(&rounds, 0),
			.peer = peer,
			.peer_value = (double)s->size * 1e3 / vidas_rounds_median(&rounds, best),
			.ratio = vidas_rounds_ratio(&rounds, best, 0),
			.kind = VIDAS_GOAL_RATIO_MIN,
			.goal = 0.9,
		};

		vidas_table_row(&b->table, &row);
	}
	vidas_rounds_free(&rounds);
	return err;
}

/* A thousand files of 4 KiB, one after the other: what a round trip costs. */
static int small(struct vidas_bench *b, struct side *s)
{
	unsigned n = b->quick ? 50 : 1000;
	int64_t begin, put_ns, get_ns;
	char key[32];
	int err = 0;

	begin = vidas_bench_now();
	for (unsigned i = 0; !err && i < n; i++) {
		struct iovec iov = { .iov_base = s->source, .iov_len = 4096 };
		struct vidas_backend_put put = { .iov = &iov, .iovcnt = 1, .size_bytes = 4096 };

		snprintf(key, sizeof(key), "small/%u", i);
		err = vidas_store_put(s->store, key, &put, NULL);
	}
	put_ns = vidas_bench_now() - begin;
	begin = vidas_bench_now();
	for (unsigned i = 0; !err && i < n; i++) {
		struct iovec iov = { .iov_base = s->target, .iov_len = 4096 };

		snprintf(key, sizeof(key), "small/%u", i);
		if (vidas_store_get(s->store, key, 0, &iov, 1, NULL, NULL) != 4096)
			err = -EIO;
	}
	get_ns = vidas_bench_now() - begin;
	for (unsigned i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "small/%u", i);
		(void)vidas_store_remove(s->store, key, NULL);
	}
	(void)vidas_store_rmdir(s->store, "small");
	if (!err) {
		struct vidas_row put = { .group = "nfs",
					 .name = "put 4 KiB, one at a time",
					 .unit = "/s",
					 .value = n * 1e9 / (double)put_ns },
				 get = { .group = "nfs",
					 .name = "get 4 KiB, one at a time",
					 .unit = "/s",
					 .value = n * 1e9 / (double)get_ns };

		vidas_table_row(&b->table, &put);
		vidas_table_row(&b->table, &get);
	}
	return err;
}

static int connect_peer(struct side *s)
{
	struct nfs_url *url;

	s->nfs = nfs_init_context();
	url = s->nfs ? nfs_parse_url_dir(s->nfs, s->peer_url) : NULL;
	if (!url)
		return -EINVAL;
	return nfs_mount(s->nfs, url->server, url->path);
}

static char *memory(size_t size)
{
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (at == MAP_FAILED)
		abort();
	return at;
}

static int take_text(void *arg, const char *value)
{
	*(const char **)arg = value;
	return 0;
}

int main(int argc, char **argv)
{
	struct side s = { 0 };
	struct vidas_bench b;
	const struct vidas_bench_option own[] = {
		{ "root", "URL", "the root, as vidasd has it", take_text, &s.root },
		{ "peer-url", "URL", "the same place as libnfs writes it", take_text, &s.peer_url },
		{ 0 },
	};
	int err;

	vidas_bench_begin(&b, argc, argv, "files to and from an NFS server", own);
	if (!s.root || !s.peer_url)
		return vidas_bench_complain(&b, "--root and --peer-url are needed");
	s.size = b.quick ? 16 * CHUNK : 512 * CHUNK;
	s.source = memory(s.size);
	s.target = memory(s.size);
	for (size_t i = 0; i < s.size; i += 8)
		memcpy(s.source + i, &(uint64_t){ i * UINT64_C(0x9e3779b97f4a7c15) }, 8);
	if (vidas_store_open(s.root, NULL, &s.store))
		return vidas_bench_complain(&b, "%s", vidas_fail_text());
	err = connect_peer(&s);
	if (err)
		return vidas_bench_complain(&b, "libnfs cannot mount %s: %s", s.peer_url,
					    s.nfs ? nfs_get_error(s.nfs) : "no memory");
	vidas_table_head(&b.table, "nfs: whole files, paired with libnfs's own loop");
	err = race(&b, &s, "put", true);
	if (!err)
		err = race(&b, &s, "get", false);
	if (!err)
		err = small(&b, &s);
	if (err)
		return vidas_bench_complain(&b, "%s: %s (%s)", strerrordesc_np(-err),
					    vidas_fail_text(), nfs_get_error(s.nfs));
	(void)vidas_store_remove(s.store, "ours", NULL);
	(void)vidas_store_remove(s.store, "peer", NULL);
	nfs_destroy_context(s.nfs);
	vidas_store_close(s.store);
	return vidas_bench_end(&b);
}
