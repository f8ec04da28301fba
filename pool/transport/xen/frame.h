/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames: what goes between a program in a guest and vidas-agent, between vidas-agent and
 * vidas-gate, and between vidas-gate and the far half of a vidasfs.
 *
 *   struct vidas_frame_header                                    16 bytes
 *   struct vidas_frame_share, as many as the header says         40 bytes each
 *   the payload                                                  what is left of `size`
 *
 * All integers are little-endian. A lane is a connection that a guest has through the gate: to
 * vidasd (its messages are those of pool/wire), or to a far half. The agent numbers lanes from 1
 * and may use a number again when CLOSE went both ways. On a socket between a program and the agent, or the gate and
 * a far half, there is one lane, and its number is not looked at; one packet is one frame.
 *
 *   OPEN      the first on a lane: struct vidas_frame_open
 *   OPENED    its answer: struct vidas_frame_opened, then the reason in words, if it failed
 *   CLOSE     the lane ends. On a link who gets one answers with one, once.
 *   MESSAGE   passed on as it is; may bring memory
 *   REFS      on a link with grants: struct vidas_frame_refs, then references of a share that a MESSAGE
 *             behind it on the same lane brings; several for a large one
 *   RELEASE   on a link, from the agent: struct vidas_frame_release; nothing in the guest maps
 *             that share, nor will
 *   HELLO     on a link, first, both ways: struct vidas_frame_hello
 *
 * Either end may be hostile to the other but the agent to its programs' gate: decode checks all
 * that can be checked without state. Any thread may call these functions.
 */
#ifndef VIDAS_FRAME_H
#define VIDAS_FRAME_H

#include "pool/transport/transport.h"

#define VIDAS_FRAME_SHARES	2u
#define VIDAS_FRAME_PAYLOAD_MAX (136u * 1024)
#define VIDAS_FRAME_HEAD_MAX	(16u + VIDAS_FRAME_SHARES * 40u)
#define VIDAS_FRAME_MAX		(VIDAS_FRAME_HEAD_MAX + VIDAS_FRAME_PAYLOAD_MAX)
#define VIDAS_FRAME_LANES	1024u /* numbers are below */
#define VIDAS_FRAME_WORDS_MAX	1024u
#define VIDAS_FRAME_PAGE	4096u
/* Of one share: what one call of gntdev maps. */
#define VIDAS_FRAME_PAGES_MAX	65536u
#define VIDAS_FRAME_MAGIC	UINT32_C(0x46444956) /* "VIDF" */
#define VIDAS_FRAME_VERSION	1u

/* Where the agent listens, unless told otherwise. */
#define VIDAS_FRAME_PATH "/run/vidas/domain/agent"

enum vidas_frame_type {
	VIDAS_FRAME_OPEN = 1,
	VIDAS_FRAME_OPENED = 2,
	VIDAS_FRAME_CLOSE = 3,
	VIDAS_FRAME_MESSAGE = 4,
	VIDAS_FRAME_REFS = 5,
	VIDAS_FRAME_RELEASE = 6,
	VIDAS_FRAME_HELLO = 7,
};

struct vidas_frame_header {
	uint32_t size; /* of the whole frame */
	uint16_t type;
	uint16_t shares;
	uint32_t lane; /* 0: the link itself */
	uint32_t spare;
};

enum vidas_frame_share_flag {
	VIDAS_FRAME_SHARE_RO = 1u << 0,
	VIDAS_FRAME_SHARE_FD = 1u << 1,	  /* its descriptor is beside the packet */
	VIDAS_FRAME_SHARE_LIFE = 1u << 2, /* ... and then the one of its life */
	VIDAS_FRAME_SHARE_GRANT =
		1u << 3, /* the descriptor is of gntdev: the range begins at 0 in it */
};

/* Memory beside a message. `status` < 0: it could not be handed over; `bytes` 0: it was not meant
 * to be. Its range of the file is in whole pages. */
struct vidas_frame_share {
	uint64_t id;
	uint64_t offset, bytes;
	int32_t status;
	uint32_t flags; /* enum vidas_frame_share_flag */
	uint64_t spare;
};

enum vidas_frame_kind {
	VIDAS_FRAME_VIDASD = 1,
	VIDAS_FRAME_FS = 2,
};

struct vidas_frame_open {
	uint32_t kind;
	uint32_t version; /* VIDAS_FRAME_VERSION */
};

struct vidas_frame_opened {
	int32_t status;
	uint32_t guest; /* the domid of who has opened it, as Xen says; 0: no guest of Xen */
};

struct vidas_frame_refs {
	uint64_t id;
	uint32_t pages; /* of the whole share */
	uint32_t first; /* the page that the first reference here is for */
};

struct vidas_frame_release {
	uint64_t id;
};

struct vidas_frame_hello {
	uint32_t magic, version;
};

/* A frame taken apart. Pointers lead into the buffer that was decoded. */
struct vidas_frame {
	enum vidas_frame_type type;
	uint32_t lane;
	unsigned shares;
	struct vidas_share share[VIDAS_FRAME_SHARES];
	const void *payload;
	size_t payload_bytes;
};

/* Room for a frame. Who builds one puts its payload where it is here: the head comes before it. */
struct vidas_frame_buffer {
	_Alignas(8) uint8_t head[VIDAS_FRAME_HEAD_MAX];
	_Alignas(8) uint8_t payload[VIDAS_FRAME_PAYLOAD_MAX];
};

/* Lays out all but the payload of a frame in `head` (VIDAS_FRAME_HEAD_MAX bytes); its length.
 * `with_fds`: descriptors go beside it. */
size_t vidas_frame_head(const struct vidas_frame *f, bool with_fds, void *head);

/*
 * Checks a whole frame in private memory and describes it; descriptors are -1, and `fds`, if not
 * NULL, becomes how many belong to it. -EBADMSG, with `*reason` in words.
 */
int vidas_frame_decode(const void *buf, size_t size, struct vidas_frame *f, unsigned *fds,
		       const char **reason);

/* How long the frame that begins with these 16 bytes is; -EBADMSG: no frame begins so. */
int vidas_frame_size(const void *header);

/* frame_channel.c: frames over the channels of transport.h ----------------------------------------- */

/* As vidas_channel_send(); the payload has VIDAS_FRAME_HEAD_MAX bytes before it that are
 * overwritten. Shares stay the caller's. */
int vidas_frame_send(struct vidas_channel *ch, struct vidas_frame *f, int64_t timeout_us);

/* As vidas_channel_recv(): 1 with a frame, whose shares are the caller's; 0 the peer closed. The
 * frame leads into `buf` (VIDAS_FRAME_MAX bytes, aligned to 8). -EBADMSG: it was none. */
int vidas_frame_recv(struct vidas_channel *ch, void *buf, struct vidas_frame *f,
		     int64_t timeout_us);

void vidas_frame_close_shares(struct vidas_frame *f);

/* Asks the agent at `path` ("": VIDAS_FRAME_PATH) for a lane of `kind` (enum vidas_frame_kind). The
 * channel is then for frames. Errors as vidas_channel_connect(), and those of the gate. */
int vidas_frame_connect(const char *path, uint32_t kind, struct vidas_channel **out);

/* Maps a share that came with a frame, whole. If it is granted, once, and its descriptor is then closed;
 * the share has to be kept as long as the mapping is used, then closed. Errors are those of mmap, or the share's status; with words. */
int vidas_frame_map(struct vidas_share *share, int prot, void **out);

#endif
