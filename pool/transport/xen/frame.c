/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/transport/xen/frame.h"

#include <string.h>

#include "pool/base/base.h"

#define ERRNO_MAX 4095

_Static_assert(sizeof(struct vidas_frame_header) == 16, "layout");
_Static_assert(sizeof(struct vidas_frame_share) == 40, "layout");
_Static_assert(sizeof(struct vidas_frame_header) +
			       VIDAS_FRAME_SHARES * sizeof(struct vidas_frame_share) ==
		       VIDAS_FRAME_HEAD_MAX,
	       "layout");
_Static_assert(VIDAS_FRAME_HEAD_MAX % 8 == 0, "a payload is aligned if its buffer is");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are little-endian");

/* What the payload of each type has to have, and may have beyond. */
static const struct {
	size_t least, most;
	bool lane; /* is about a lane */
} rules[] = {
	[VIDAS_FRAME_OPEN] = { sizeof(struct vidas_frame_open), sizeof(struct vidas_frame_open),
			       true },
	[VIDAS_FRAME_OPENED] = { sizeof(struct vidas_frame_opened),
				 sizeof(struct vidas_frame_opened) + VIDAS_FRAME_WORDS_MAX, true },
	[VIDAS_FRAME_CLOSE] = { 0, 0, true },
	[VIDAS_FRAME_MESSAGE] = { 1, VIDAS_FRAME_PAYLOAD_MAX, true },
	[VIDAS_FRAME_REFS] = { sizeof(struct vidas_frame_refs) + 4, VIDAS_FRAME_PAYLOAD_MAX, true },
	[VIDAS_FRAME_RELEASE] = { sizeof(struct vidas_frame_release),
				  sizeof(struct vidas_frame_release), false },
	[VIDAS_FRAME_HELLO] = { sizeof(struct vidas_frame_hello), sizeof(struct vidas_frame_hello),
				false },
};

size_t vidas_frame_head(const struct vidas_frame *f, bool with_fds, void *head)
{
	struct vidas_frame_header h = { .type = (uint16_t)f->type,
					.shares = (uint16_t)f->shares,
					.lane = f->lane };
	size_t bytes = sizeof(h);

	for (unsigned i = 0; i < f->shares; i++) {
		const struct vidas_share *s = &f->share[i];
		struct vidas_frame_share record = {
			.id = s->id, .offset = s->offset, .bytes = s->bytes, .status = s->status
		};

		if (s->readonly)
			record.flags |= VIDAS_FRAME_SHARE_RO;
		if (with_fds && s->fd >= 0)
			record.flags |= VIDAS_FRAME_SHARE_FD;
		if (with_fds && s->fd >= 0 && s->lives)
			record.flags |= VIDAS_FRAME_SHARE_LIFE;
		if (with_fds && s->fd >= 0 && s->granted)
			record.flags |= VIDAS_FRAME_SHARE_GRANT;
		memcpy((uint8_t *)head + bytes, &record, sizeof(record));
		bytes += sizeof(record);
	}
	h.size = (uint32_t)(bytes + f->payload_bytes);
	memcpy(head, &h, sizeof(h));
	return bytes;
}

static bool header_ok(const struct vidas_frame_header *h)
{
	return h->size >= sizeof(*h) && h->size <= VIDAS_FRAME_MAX && h->type &&
	       h->type < VIDAS_ARRAY_SIZE(rules) && h->shares <= VIDAS_FRAME_SHARES && !h->spare &&
	       h->size >= sizeof(*h) + h->shares * sizeof(struct vidas_frame_share);
}

int vidas_frame_size(const void *header)
{
	struct vidas_frame_header h;

	memcpy(&h, header, sizeof(h));
	return header_ok(&h) ? (int)h.size : -EBADMSG;
}

static const char *share_check(const struct vidas_frame_share *r)
{
	const uint32_t beside = VIDAS_FRAME_SHARE_LIFE | VIDAS_FRAME_SHARE_GRANT;
	const uint32_t known = VIDAS_FRAME_SHARE_RO | VIDAS_FRAME_SHARE_FD | beside;

	if (r->flags & ~known || r->spare)
		return "unknown flags of a share";
	if (r->flags & beside && !(r->flags & VIDAS_FRAME_SHARE_FD))
		return "a share has a life or grants, and no descriptor";
	if (r->status > 0 || r->status < -ERRNO_MAX)
		return "the status of a share is none";
	if (r->offset % VIDAS_FRAME_PAGE || r->bytes % VIDAS_FRAME_PAGE ||
	    r->bytes > (uint64_t)VIDAS_FRAME_PAGES_MAX * VIDAS_FRAME_PAGE ||
	    r->offset > INT64_MAX - r->bytes)
		return "the range of a share is none";
	return NULL;
}

static const char *shares_take(const struct vidas_frame_header *h, const uint8_t *at,
			       struct vidas_frame *f, unsigned *fds)
{
	f->shares = h->shares;
	for (unsigned i = 0; i < h->shares; i++) {
		struct vidas_frame_share r;
		const char *reason;

		memcpy(&r, at + i * sizeof(r), sizeof(r));
		reason = share_check(&r);
		if (reason)
			return reason;
		*fds += (r.flags & VIDAS_FRAME_SHARE_FD ? 1u : 0u) +
			(r.flags & VIDAS_FRAME_SHARE_LIFE ? 1u : 0u);
		f->share[i] = (struct vidas_share){
			/* 0 until the descriptors are put in by who has them. */
			.fd = r.flags & VIDAS_FRAME_SHARE_FD ? 0 : -1,
			.lives = r.flags & VIDAS_FRAME_SHARE_LIFE,
			.granted = r.flags & VIDAS_FRAME_SHARE_GRANT,
			.status = r.status,
			.readonly = r.flags & VIDAS_FRAME_SHARE_RO,
			.id = r.id,
			.offset = r.offset,
			.bytes = r.bytes,
		};
	}
	return NULL;
}

static const char *payload_check(const struct vidas_frame *f)
{
	struct vidas_frame_refs refs;
	struct vidas_frame_opened opened;
	size_t bytes = f->payload_bytes - sizeof(refs);

	switch (f->type) {
	case VIDAS_FRAME_REFS:
		memcpy(&refs, f->payload, sizeof(refs));
		if (bytes % 4 || !refs.pages || refs.pages > VIDAS_FRAME_PAGES_MAX ||
		    refs.first >= refs.pages || bytes / 4 > refs.pages - refs.first)
			return "references that are none of a share";
		return NULL;
	case VIDAS_FRAME_OPENED:
		memcpy(&opened, f->payload, sizeof(opened));
		return opened.status > 0 || opened.status < -ERRNO_MAX ? "a status that is none" :
									 NULL;
	default:
		return NULL;
	}
}

static const char *frame_check(const void *buf, size_t size, struct vidas_frame *f, unsigned *fds)
{
	struct vidas_frame_header h;
	const char *reason;
	size_t head;

	if (size < sizeof(h))
		return "it is shorter than a header";
	memcpy(&h, buf, sizeof(h));
	if (!header_ok(&h) || h.size != size)
		return "its header is none";
	head = sizeof(h) + h.shares * sizeof(struct vidas_frame_share);
	f->type = h.type;
	f->lane = h.lane;
	f->payload = (const uint8_t *)buf + head;
	f->payload_bytes = size - head;
	if (f->payload_bytes < rules[f->type].least || f->payload_bytes > rules[f->type].most)
		return "its length is not that of its type";
	if (rules[f->type].lane ? h.lane >= VIDAS_FRAME_LANES : h.lane != 0)
		return "it is of a lane that cannot be";
	if (h.shares && f->type != VIDAS_FRAME_MESSAGE)
		return "it brings memory where none can be";
	reason = shares_take(&h, (const uint8_t *)buf + sizeof(h), f, fds);
	return reason ? reason : payload_check(f);
}

int vidas_frame_decode(const void *buf, size_t size, struct vidas_frame *f, unsigned *fds,
		       const char **reason)
{
	unsigned count = 0;
	const char *why;

	memset(f, 0, sizeof(*f));
	why = frame_check(buf, size, f, &count);
	if (!why && !fds && count)
		why = "it says that descriptors are with it";
	if (fds)
		*fds = count;
	*reason = why;
	return why ? -EBADMSG : 0;
}
