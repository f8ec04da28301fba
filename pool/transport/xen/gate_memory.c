/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which memory a guest gets: of a file behind a share only the pages that the message beside it is about.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "pool/transport/xen/gate.h"

void vidas_gate_request(struct vidas_gate_asked *asked, const struct vidas_frame *f)
{
	struct vidas_wire_message m;
	uint64_t offset;

	/* What vidasd would not accept asks for nothing. */
	if (vidas_wire_decode(f->payload, f->payload_bytes, &m, NULL) < 0 || m.reply || !m.body)
		return;
	if (m.type == VIDAS_WIRE_OBJECT_CREATE)
		offset = ((const struct vidas_wire_object_create *)m.body)->offset;
	else if (m.type == VIDAS_WIRE_OBJECT_JOIN)
		offset = ((const struct vidas_wire_object_join *)m.body)->offset;
	else
		return;
	asked->request[asked->next].id = m.id;
	asked->request[asked->next].offset = offset;
	asked->next = (asked->next + 1) % VIDAS_GATE_ASKED;
}

static const uint64_t *asked_offset(const struct vidas_gate_asked *asked, uint64_t id)
{
	for (unsigned i = 1; i <= VIDAS_GATE_ASKED; i++) {
		unsigned at = (asked->next + VIDAS_GATE_ASKED - i) % VIDAS_GATE_ASKED;

		if (asked->request[at].id == id)
			return &asked->request[at].offset;
	}
	return NULL;
}

static void refuse(struct vidas_share *share, int status)
{
	vidas_share_close(share);
	share->status = status;
}

/* Only bytes of regular files, within their length, and not more at a time than can be mapped. */
static void share_set(struct vidas_share *share, uint64_t offset, uint64_t bytes)
{
	uint64_t first = offset - offset % VIDAS_FRAME_PAGE, end;
	struct stat st;
	int flags;

	if (!bytes) {
		refuse(share, -EOPNOTSUPP);
		return;
	}
	if (offset > INT64_MAX - 2 * VIDAS_FRAME_PAGE ||
	    bytes > INT64_MAX - 2 * VIDAS_FRAME_PAGE - offset) {
		refuse(share, -EINVAL);
		return;
	}
	end = offset + bytes;
	if (fstat(share->fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size < end) {
		refuse(share, -EIO);
		return;
	}
	end += (VIDAS_FRAME_PAGE - end % VIDAS_FRAME_PAGE) % VIDAS_FRAME_PAGE;
	if ((end - first) / VIDAS_FRAME_PAGE > VIDAS_FRAME_PAGES_MAX) {
		refuse(share, -EFBIG);
		return;
	}
	flags = fcntl(share->fd, F_GETFL);
	share->readonly = share->readonly || (flags & O_ACCMODE) != O_RDWR;
	share->offset = first;
	share->bytes = end - first;
	share->status = 0;
}

void vidas_gate_reply(const struct vidas_gate_asked *asked, struct vidas_frame *f)
{
	struct vidas_wire_message m;
	const uint64_t *offset = NULL;

	if (f->shares && vidas_wire_decode(f->payload, f->payload_bytes, &m, NULL) == 0 && m.reply)
		offset = asked_offset(asked, m.id);
	for (unsigned i = 0; i < f->shares; i++) {
		struct vidas_wire_range range = { 0 };

		if (offset)
			range = vidas_wire_share_range(&m, *offset, i);
		share_set(&f->share[i], range.offset, range.bytes);
	}
}

void vidas_gate_fs_reply(struct vidas_frame *f)
{
	for (unsigned i = 0; i < f->shares; i++)
		if (f->share[i].fd >= 0)
			share_set(&f->share[i], f->share[i].offset, f->share[i].bytes);
}
