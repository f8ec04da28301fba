/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/transport/xen/frame.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool/base/base.h"
#include "pool/transport/local/local.h"
#include "pool/transport/xen/bells.h"

/* A gate that starts a far half, or a vidasd that is being started again, takes its time. */
#define OPEN_US (INT64_C(10) * 1000 * 1000)

_Static_assert(2 * VIDAS_FRAME_SHARES <= VIDAS_CHANNEL_SHARES, "each with its life");

int vidas_frame_send(struct vidas_channel *ch, struct vidas_frame *f, int64_t timeout_us)
{
	struct vidas_share beside[2 * VIDAS_FRAME_SHARES];
	uint8_t head[VIDAS_FRAME_HEAD_MAX];
	size_t head_bytes = vidas_frame_head(f, true, head);
	uint8_t *start = (uint8_t *)(uintptr_t)f->payload - head_bytes;
	unsigned n = 0;

	for (unsigned i = 0; i < f->shares; i++) {
		if (f->share[i].fd < 0)
			continue;
		beside[n++].fd = f->share[i].fd;
		if (f->share[i].lives)
			beside[n++].fd = f->share[i].life;
	}
	memcpy(start, head, head_bytes);
	return vidas_channel_send(ch, start, head_bytes + f->payload_bytes, beside, n, timeout_us);
}

void vidas_frame_close_shares(struct vidas_frame *f)
{
	for (unsigned i = 0; i < f->shares; i++)
		vidas_share_close(&f->share[i]);
	f->shares = 0;
}

int vidas_frame_recv(struct vidas_channel *ch, void *buf, struct vidas_frame *f, int64_t timeout_us)
{
	struct vidas_share beside[VIDAS_CHANNEL_SHARES];
	unsigned n = VIDAS_CHANNEL_SHARES, wanted = 0, used = 0;
	const char *reason;
	ssize_t size = vidas_channel_recv(ch, buf, VIDAS_FRAME_MAX, beside, &n, timeout_us);
	int err;

	if (size <= 0)
		return (int)size;
	err = vidas_frame_decode(buf, (size_t)size, f, &wanted, &reason);
	if (!err && wanted != n) {
		reason = "it came without its descriptors";
		err = -EBADMSG;
	}
	if (err < 0) {
		for (unsigned i = 0; i < n; i++)
			vidas_share_close(&beside[i]);
		return vidas_fail(err, "that is not a frame: %s", reason);
	}
	for (unsigned i = 0; i < f->shares; i++) {
		if (f->share[i].fd >= 0)
			f->share[i].fd = beside[used++].fd;
		if (f->share[i].lives)
			f->share[i].life = beside[used++].fd;
	}
	return 1;
}

static int opened(struct vidas_channel *ch, struct vidas_frame_buffer *b)
{
	struct vidas_frame_opened answer;
	struct vidas_frame f;
	int err = vidas_frame_recv(ch, b, &f, OPEN_US);

	if (err == 0)
		return vidas_fail(-ECONNREFUSED, "vidas-agent hung up: is there a vidas-gate?");
	if (err < 0)
		return vidas_fail(err, "vidas-agent gives no lane: %s", strerror(-err));
	vidas_frame_close_shares(&f);
	if (f.type != VIDAS_FRAME_OPENED)
		return vidas_fail(-EPROTO, "vidas-agent answered something else than OPENED");
	memcpy(&answer, f.payload, sizeof(answer));
	if (answer.status < 0)
		return vidas_fail(answer.status, "%.*s", (int)(f.payload_bytes - sizeof(answer)),
				  (const char *)f.payload + sizeof(answer));
	vidas_bells_guest(answer.guest);
	return 0;
}

int vidas_frame_connect(const char *path, uint32_t kind, struct vidas_channel **out)
{
	struct vidas_frame_open open = { .kind = kind, .version = VIDAS_FRAME_VERSION };
	struct vidas_frame f = { .type = VIDAS_FRAME_OPEN, .payload_bytes = sizeof(open) };
	struct vidas_frame_buffer *b;
	struct vidas_channel *ch;
	int err = vidas_local_connect(path[0] ? path : VIDAS_FRAME_PATH, OPEN_US, &ch);

	if (err < 0)
		return err;
	b = malloc(sizeof(*b));
	if (!b) {
		vidas_channel_close(ch);
		return vidas_fail(-ENOMEM, "no memory for a lane");
	}
	memcpy(b->payload, &open, sizeof(open));
	f.payload = b->payload;
	err = vidas_frame_send(ch, &f, OPEN_US);
	if (!err)
		err = opened(ch, b);
	free(b);
	if (err < 0) {
		vidas_channel_close(ch);
		return err;
	}
	*out = ch;
	return 0;
}

static int map_refused(int status)
{
	switch (status) {
	case -ENOSPC:
		return vidas_fail(status, "the host has no grants left (its log says which limit "
					  "of Xen to raise)");
	case -EDQUOT:
		return vidas_fail(status, "this domain maps as much as it may");
	case -EOPNOTSUPP:
		return vidas_fail(status, "the host cannot share memory with guests: has it the "
					  "module vidas-gnt?");
	case -EFBIG:
		return vidas_fail(status,
				  "a guest maps at most %u MiB in one piece: use several objects, "
				  "each with an offset and at most that size, or /vidas",
				  VIDAS_FRAME_PAGES_MAX / 256);
	default:
		return vidas_fail(status, "the host did not share the memory: %s",
				  strerror(-status));
	}
}

int vidas_frame_map(struct vidas_share *share, int prot, void **out)
{
	off_t offset = share->granted ? 0 : (off_t)share->offset;
	void *ptr;

	if (share->status < 0)
		return map_refused(share->status);
	if (share->fd < 0 || !share->bytes)
		return vidas_fail(-EIO, "the memory did not come along");
	ptr = mmap(NULL, share->bytes, prot, MAP_SHARED, share->fd, offset);
	if (ptr == MAP_FAILED)
		return vidas_fail(-errno, "cannot map %llu bytes: %s",
				  (unsigned long long)share->bytes, strerror(errno));
	if (share->granted) {
		vidas_bells_apart();
		close(share->fd);
		share->fd = -1;
	}
	*out = ptr;
	return 0;
}
