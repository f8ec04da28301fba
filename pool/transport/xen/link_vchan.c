/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A link over a libxenvchan ring. Frames are a stream on it, put together here; what the ring has no
 * room for waits in memory, bounded by room(). Memory goes as grant references ahead of its message.
 */
#include <libxenvchan.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "pool/base/base.h"
#include "pool/transport/xen/grants.h"
#include "pool/transport/xen/link.h"

/* Of each direction. Dom0's gntalloc lends 1024 pages unless told otherwise, a guest takes 33. */
#define RING_BYTES	   (64u * 1024)
#define OUT_BYTES	   (256u * 1024)
#define REFS_A_FRAME	   4096u
#define RETRY_US	   (INT64_C(500) * 1000)
/* References of shares whose message has not come yet. */
#define PARTIAL_SHARES_MAX 16u

struct refs {
	struct refs *next, *prev;
	uint64_t id;
	uint32_t pages, have;
	uint32_t ref[];
};

struct vchan_link {
	struct vidas_link base;
	struct libxenvchan *ring;
	struct vidas_grants *grants; /* the gate's; NULL: an agent's */
	int64_t retried_us;
	bool dead;

	uint8_t *out;
	size_t out_at, out_bytes, out_size;

	struct refs *refs; /* the agent's */
	unsigned partial;

	size_t in_bytes;
	_Alignas(8) uint8_t in[VIDAS_FRAME_MAX];
};

static struct vchan_link *vchan(struct vidas_link *l)
{
	return (struct vchan_link *)(void *)l;
}

static const struct vchan_link *vchan_const(const struct vidas_link *l)
{
	return (const struct vchan_link *)(const void *)l;
}

static void vchan_close(struct vidas_link *l)
{
	struct vchan_link *v = vchan(l);
	struct refs *r, *next;

	DL_FOREACH_SAFE(v->refs, r, next)
		free(r);
	if (v->ring)
		libxenvchan_close(v->ring);
	if (v->grants)
		vidas_grants_free(v->grants);
	free(v->out);
	free(v);
}

static int vchan_fd(const struct vidas_link *l)
{
	return libxenvchan_fd_for_select(vchan_const(l)->ring);
}

/* Room in the ring is told by the same event as bytes in it. */
static short vchan_events(const struct vidas_link *l)
{
	(void)l;
	return POLLIN;
}

static bool vchan_room(const struct vidas_link *l)
{
	return vchan_const(l)->out_bytes < OUT_BYTES;
}

/* Out -------------------------------------------------------------------------------------------- */

static int flush(struct vchan_link *v)
{
	while (v->out_bytes && !v->dead) {
		int n;

		/* Asks to be told of more room, should this be too little. */
		if (libxenvchan_buffer_space(v->ring) <= 0)
			break;
		n = libxenvchan_write(v->ring, v->out + v->out_at, v->out_bytes);
		if (n < 0)
			v->dead = true;
		if (n <= 0)
			break;
		v->out_at += (size_t)n;
		v->out_bytes -= (size_t)n;
	}
	if (!v->out_bytes)
		v->out_at = 0;
	return v->dead ? -EPIPE : 0;
}

static int append(struct vchan_link *v, const void *data, size_t bytes)
{
	if (v->out_at && v->out_at + v->out_bytes + bytes > v->out_size) {
		memmove(v->out, v->out + v->out_at, v->out_bytes);
		v->out_at = 0;
	}
	if (v->out_bytes + bytes > v->out_size) {
		size_t size = (v->out_bytes + bytes) * 2;
		uint8_t *more = realloc(v->out, size);

		if (!more)
			return vidas_fail(-ENOMEM, "no memory for what waits for the ring");
		v->out = more;
		v->out_size = size;
	}
	memcpy(v->out + v->out_at + v->out_bytes, data, bytes);
	v->out_bytes += bytes;
	return 0;
}

static int append_frame(struct vchan_link *v, const struct vidas_frame *f)
{
	uint8_t head[VIDAS_FRAME_HEAD_MAX];
	size_t head_bytes = vidas_frame_head(f, false, head);
	int err = append(v, head, head_bytes);

	return err < 0 ? err : append(v, f->payload, f->payload_bytes);
}

/* The references of a share, ahead of its message. */
static int append_refs(struct vchan_link *v, const struct vidas_frame *f,
		       const struct vidas_share *share, const uint32_t *refs)
{
	uint32_t pages = (uint32_t)(share->bytes / VIDAS_FRAME_PAGE);
	struct {
		struct vidas_frame_refs head;
		uint32_t ref[REFS_A_FRAME];
	} body;
	int err = 0;

	for (uint32_t at = 0; !err && at < pages; at += REFS_A_FRAME) {
		uint32_t n = pages - at < REFS_A_FRAME ? pages - at : REFS_A_FRAME;
		struct vidas_frame r = { .type = VIDAS_FRAME_REFS,
					 .lane = f->lane,
					 .payload = &body,
					 .payload_bytes = sizeof(body.head) + n * sizeof(*refs) };

		body.head = (struct vidas_frame_refs){ share->id, pages, at };
		memcpy(body.ref, refs + at, n * sizeof(*refs));
		err = append_frame(v, &r);
	}
	return err;
}

static int vchan_send(struct vidas_link *l, struct vidas_frame *f)
{
	struct vchan_link *v = vchan(l);
	struct vidas_frame out = *f;
	int err = 0;

	for (unsigned i = 0; i < f->shares && !err; i++) {
		struct vidas_share *share = &out.share[i];
		const uint32_t *refs;

		if (share->fd < 0 || share->status < 0)
			continue;
		share->status = v->grants ? vidas_grants_make(v->grants, share, &refs) : -EPERM;
		if (!share->status)
			err = append_refs(v, f, share, refs);
	}
	if (!err)
		err = append_frame(v, &out);
	if (!err)
		flush(v); /* that it is dead is told by recv, behind what came */
	return err;
}

/* In --------------------------------------------------------------------------------------------- */

static int vchan_work(struct vidas_link *l)
{
	struct vchan_link *v = vchan(l);
	struct pollfd pfd = { .fd = libxenvchan_fd_for_select(v->ring), .events = POLLIN };

	if (poll(&pfd, 1, 0) > 0 && libxenvchan_wait(v->ring) < 0)
		v->dead = true;
	if (v->grants && vidas_now_us() - v->retried_us > RETRY_US) {
		v->retried_us = vidas_now_us();
		vidas_grants_retry(v->grants);
	}
	flush(v);
	return 0;
}

/* Gets `want` bytes of the frame in all together; 0, -EAGAIN. */
static int fill(struct vchan_link *v, size_t want)
{
	while (v->in_bytes < want) {
		/* Asks to be told of more; read() afterwards cannot miss any. */
		int ready = libxenvchan_data_ready(v->ring);
		int n = ready > 0 ?
				libxenvchan_read(v->ring, v->in + v->in_bytes, want - v->in_bytes) :
				0;

		if (n > 0) {
			v->in_bytes += (size_t)n;
			continue;
		}
		/* What was sent before it was closed is received first. */
		if (n < 0 ||
		    (!libxenvchan_is_open(v->ring) && libxenvchan_data_ready(v->ring) <= 0))
			v->dead = true;
		return v->dead ? -EPIPE : -EAGAIN;
	}
	return 0;
}

static struct refs *refs_find(struct vchan_link *v, uint64_t id)
{
	struct refs *r;

	DL_FOREACH(v->refs, r) {
		if (r->id == id)
			return r;
	}
	return NULL;
}

static void refs_drop(struct vchan_link *v, struct refs *r)
{
	DL_DELETE(v->refs, r);
	v->partial--;
	free(r);
}

static int refs_came(struct vchan_link *v, const struct vidas_frame *f)
{
	struct vidas_frame_refs head;
	uint32_t n = (uint32_t)((f->payload_bytes - sizeof(head)) / 4);
	struct refs *r;

	memcpy(&head, f->payload, sizeof(head));
	r = refs_find(v, head.id);
	if (!r) {
		if (v->partial >= PARTIAL_SHARES_MAX)
			return vidas_fail(-EBADMSG, "references of shares without a message");
		r = malloc(sizeof(*r) + head.pages * sizeof(r->ref[0]));
		if (!r)
			return vidas_fail(-ENOMEM, "no memory for references");
		r->id = head.id;
		r->pages = head.pages;
		r->have = 0;
		DL_APPEND(v->refs, r);
		v->partial++;
	}
	if (head.pages != r->pages || head.first != r->have || n > r->pages - r->have)
		return vidas_fail(-EBADMSG, "references out of order");
	memcpy(r->ref + r->have, (const uint8_t *)f->payload + sizeof(head), n * sizeof(r->ref[0]));
	r->have += n;
	return 0;
}

static void share_map(struct vchan_link *v, struct vidas_share *share)
{
	struct refs *r = refs_find(v, share->id);

	if (!r || r->have != r->pages || share->bytes != (uint64_t)r->pages * VIDAS_FRAME_PAGE)
		share->status = -EPROTO;
	else
		share->status = vidas_maps_fd(r->ref, r->pages, &share->fd);
	share->granted = !share->status;
	if (share->status < 0)
		vidas_log(VIDAS_LOG_ERR, "%u pages cannot be mapped: %s", r ? r->pages : 0,
			  share->status == -EPROTO ? "their references did not come" :
						     vidas_fail_text());
	if (r)
		refs_drop(v, r);
}

static int vchan_recv(struct vidas_link *l, void *buf, struct vidas_frame *f)
{
	struct vchan_link *v = vchan(l);
	const char *reason;
	int size, err;

	for (;;) {
		err = fill(v, sizeof(struct vidas_frame_header));
		if (err < 0)
			return err;
		size = vidas_frame_size(v->in);
		if (size < 0)
			return vidas_fail(-EBADMSG, "that is no frame");
		err = fill(v, (size_t)size);
		if (err < 0)
			return err;
		memcpy(buf, v->in, (size_t)size);
		v->in_bytes = 0;
		err = vidas_frame_decode(buf, (size_t)size, f, NULL, &reason);
		if (err < 0)
			return vidas_fail(err, "that is no frame: %s", reason);
		if (f->type != VIDAS_FRAME_REFS || v->grants)
			break;
		err = refs_came(v, f);
		if (err < 0)
			return err;
	}
	for (unsigned i = 0; !v->grants && i < f->shares; i++)
		if (f->share[i].bytes && !f->share[i].status)
			share_map(v, &f->share[i]);
	return 1;
}

static void vchan_release(struct vidas_link *l, uint64_t id)
{
	if (vchan(l)->grants)
		vidas_grants_release(vchan(l)->grants, id);
}

static struct vidas_granted vchan_granted(const struct vidas_link *l)
{
	const struct vchan_link *v = vchan_const(l);

	return v->grants ? vidas_grants_so_far(v->grants) : (struct vidas_granted){ 0 };
}

static const struct vidas_link_ops vchan_ops = {
	.close = vchan_close,
	.fd = vchan_fd,
	.events = vchan_events,
	.work = vchan_work,
	.room = vchan_room,
	.send = vchan_send,
	.recv = vchan_recv,
	.release = vchan_release,
	.granted = vchan_granted,
};

static struct vchan_link *vchan_new(void)
{
	struct vchan_link *v = calloc(1, sizeof(*v));

	if (v)
		v->base.ops = &vchan_ops;
	else
		vidas_fail(-ENOMEM, "no memory for a link");
	return v;
}

int vidas_link_vchan_server(uint32_t domid, const char *path, int grants_fd,
			    struct vidas_link **out)
{
	struct vchan_link *v = vchan_new();
	int err = v ? vidas_grants_new(grants_fd, domid, &v->grants) : -ENOMEM;

	if (err < 0) {
		free(v);
		return err;
	}
	errno = 0;
	v->ring = libxenvchan_server_init(NULL, (int)domid, path, RING_BYTES, RING_BYTES);
	if (!v->ring) {
		err = errno ? -errno : -EIO;
		vidas_fail(err,
			   "no ring for guest %u: %s (are the modules xen-gntalloc and xen-evtchn "
			   "there? gntalloc's parameter limit: 33 pages a guest)",
			   domid, strerror(-err));
		vchan_close(&v->base);
		return err;
	}
	v->ring->blocking = 0;
	*out = &v->base;
	return 0;
}

int vidas_link_vchan_wait(struct vidas_link *l, int timeout_ms)
{
	struct vchan_link *v = vchan(l);
	struct pollfd pfd = { .fd = libxenvchan_fd_for_select(v->ring), .events = POLLIN };

	/* 2: nobody has come yet. */
	if (libxenvchan_is_open(v->ring) == 2 && poll(&pfd, 1, timeout_ms) > 0)
		libxenvchan_wait(v->ring);
	return libxenvchan_is_open(v->ring) == 2 ? -EAGAIN : 0;
}

int vidas_link_vchan_client(const char *path, struct vidas_link **out)
{
	struct vchan_link *v = vchan_new();
	int err;

	if (!v)
		return -ENOMEM;
	errno = 0;
	v->ring = libxenvchan_client_init(NULL, 0, path);
	if (!v->ring) {
		err = errno ? -errno : -EIO;
		vidas_fail(err,
			   err == -ENOENT ?
				   "Dom0 offers no ring: is vidas-gate there, and this guest a "
				   "domain of vidasd?" :
				   "no ring: %s (are the modules xen-gntdev and xen-evtchn there?)",
			   strerror(-err));
		vchan_close(&v->base);
		return err;
	}
	v->ring->blocking = 0;
	*out = &v->base;
	return 0;
}
