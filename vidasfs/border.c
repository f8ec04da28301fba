/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vidasfs/border.h"

#include <errno.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <string.h>

#include "pool/base/base.h"
#include "vidasfs/lane.h"

/* <linux/fuse.h> of 6.6; Debian 12 has an older one. */
#define OP_TMPFILE 51
#define OP_STATX   52

#define VALUE_MAX 65536u /* of an attribute, XATTR_SIZE_MAX */
#define MINOR_MIN 31u	 /* Linux 5.4; below it bodies have other sizes */

/* A union with room for any body: a copy of the request's, which is looked at. */
union body {
	struct fuse_forget_in forget;
	struct fuse_batch_forget_in batch;
	struct fuse_read_in read;
	struct fuse_write_in write;
	struct fuse_getxattr_in getxattr;
	struct fuse_init_in init;
	struct fuse_rename_in rename;
	struct fuse_rename2_in rename2;
	struct fuse_link_in link;
	struct fuse_release_in release;
	struct fuse_flush_in flush;
	struct fuse_fsync_in fsync;
	struct fuse_lk_in lk;
	struct fuse_poll_in poll;
	struct fuse_fallocate_in fallocate;
	struct fuse_lseek_in lseek;
	struct fuse_copy_file_range_in copy;
	uint32_t word[32];
};

#define SETXATTR_BYTES 8u  /* without FUSE_SETXATTR_EXT */
#define INIT_BYTES     16u /* and more, with FUSE_INIT_EXT */
#define INIT_EXT_BYTES 48u
#define STATX_BYTES    24u /* struct fuse_statx_in */
#define NAME	       1   /* a name in a directory */
#define TEXT	       2   /* of an attribute, or where a link leads */
#define DATA	       3   /* as many bytes as the body says */

struct rule {
	bool known;
	uint8_t body_bytes;
	uint8_t tail[2]; /* what follows the body */
	uint8_t nodes;	 /* node ids: 0, 1 that of the head, 2 one more in the body */
	uint8_t handles;
	uint8_t type; /* of the nodes: enum vidas_border_node */
};

#define RULE(op, size, tail0, tail1, nodes, handles, type) \
	[op] = { true, size, { tail0, tail1 }, nodes, handles, VIDAS_BORDER_##type }
static const struct rule rules[] = {
	RULE(FUSE_LOOKUP, 0, NAME, 0, 1, 0, DIR),
	RULE(FUSE_FORGET, sizeof(struct fuse_forget_in), 0, 0, 0, 0, ANY),
	RULE(FUSE_GETATTR, sizeof(struct fuse_getattr_in), 0, 0, 1, 0, ANY),
	RULE(FUSE_SETATTR, sizeof(struct fuse_setattr_in), 0, 0, 1, 0, ANY),
	RULE(FUSE_READLINK, 0, 0, 0, 1, 0, ANY),
	RULE(FUSE_SYMLINK, 0, NAME, TEXT, 1, 0, DIR),
	RULE(FUSE_MKNOD, sizeof(struct fuse_mknod_in), NAME, 0, 1, 0, DIR),
	RULE(FUSE_MKDIR, sizeof(struct fuse_mkdir_in), NAME, 0, 1, 0, DIR),
	RULE(FUSE_UNLINK, 0, NAME, 0, 1, 0, DIR),
	RULE(FUSE_RMDIR, 0, NAME, 0, 1, 0, DIR),
	RULE(FUSE_RENAME, sizeof(struct fuse_rename_in), NAME, NAME, 2, 0, DIR),
	RULE(FUSE_RENAME2, sizeof(struct fuse_rename2_in), NAME, NAME, 2, 0, DIR),
	RULE(FUSE_LINK, sizeof(struct fuse_link_in), NAME, 0, 2, 0, DIR),
	RULE(FUSE_OPEN, sizeof(struct fuse_open_in), 0, 0, 1, 0, FILE),
	RULE(FUSE_READ, sizeof(struct fuse_read_in), 0, 0, 1, 1, FILE),
	RULE(FUSE_WRITE, sizeof(struct fuse_write_in), DATA, 0, 1, 1, FILE),
	RULE(FUSE_STATFS, 0, 0, 0, 1, 0, ANY),
	RULE(FUSE_RELEASE, sizeof(struct fuse_release_in), 0, 0, 1, 1, FILE),
	RULE(FUSE_FSYNC, sizeof(struct fuse_fsync_in), 0, 0, 1, 1, FILE),
	RULE(FUSE_SETXATTR, SETXATTR_BYTES, TEXT, DATA, 1, 0, ANY),
	RULE(FUSE_GETXATTR, sizeof(struct fuse_getxattr_in), TEXT, 0, 1, 0, ANY),
	RULE(FUSE_LISTXATTR, sizeof(struct fuse_getxattr_in), 0, 0, 1, 0, ANY),
	RULE(FUSE_REMOVEXATTR, 0, TEXT, 0, 1, 0, ANY),
	RULE(FUSE_FLUSH, sizeof(struct fuse_flush_in), 0, 0, 1, 1, FILE),
	RULE(FUSE_INIT, INIT_BYTES, DATA, 0, 0, 0, ANY),
	RULE(FUSE_OPENDIR, sizeof(struct fuse_open_in), 0, 0, 1, 0, DIR),
	RULE(FUSE_READDIR, sizeof(struct fuse_read_in), 0, 0, 1, 1, DIR),
	RULE(FUSE_RELEASEDIR, sizeof(struct fuse_release_in), 0, 0, 1, 1, DIR),
	RULE(FUSE_FSYNCDIR, sizeof(struct fuse_fsync_in), 0, 0, 1, 1, DIR),
	RULE(FUSE_GETLK, sizeof(struct fuse_lk_in), 0, 0, 1, 1, FILE),
	RULE(FUSE_SETLK, sizeof(struct fuse_lk_in), 0, 0, 1, 1, FILE),
	RULE(FUSE_SETLKW, sizeof(struct fuse_lk_in), 0, 0, 1, 1, FILE),
	RULE(FUSE_CREATE, sizeof(struct fuse_create_in), NAME, 0, 1, 0, DIR),
	RULE(FUSE_INTERRUPT, sizeof(struct fuse_interrupt_in), 0, 0, 0, 0, ANY),
	RULE(FUSE_DESTROY, 0, 0, 0, 0, 0, ANY),
	RULE(FUSE_POLL, sizeof(struct fuse_poll_in), 0, 0, 1, 1, FILE),
	RULE(FUSE_BATCH_FORGET, sizeof(struct fuse_batch_forget_in), DATA, 0, 0, 0, ANY),
	RULE(FUSE_FALLOCATE, sizeof(struct fuse_fallocate_in), 0, 0, 1, 1, FILE),
	RULE(FUSE_READDIRPLUS, sizeof(struct fuse_read_in), 0, 0, 1, 1, DIR),
	RULE(FUSE_LSEEK, sizeof(struct fuse_lseek_in), 0, 0, 1, 1, FILE),
	RULE(FUSE_COPY_FILE_RANGE, sizeof(struct fuse_copy_file_range_in), 0, 0, 2, 2, FILE),
	RULE(OP_TMPFILE, sizeof(struct fuse_create_in), NAME, 0, 1, 0, DIR),
	RULE(OP_STATX, STATX_BYTES, 0, 0, 1, 0, ANY),
};

static const struct rule *rule_of(uint32_t opcode)
{
	return opcode < VIDAS_ARRAY_SIZE(rules) && rules[opcode].known ? &rules[opcode] : NULL;
}

static void body_of(const void *msg, const struct rule *r, union body *b)
{
	memset(b, 0, sizeof(*b));
	if (r->body_bytes)
		memcpy(b, (const char *)msg + sizeof(struct fuse_in_header), r->body_bytes);
}

/* A string at `at`: where the next begins, or NULL. */
static const char *string_end(const char *at, const char *end, bool name)
{
	const char *nul = at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;

	if (!nul || nul - at >= PATH_MAX)
		return NULL;
	if (name && (nul == at || strchr(at, '/') || !strcmp(at, ".") || !strcmp(at, "..")))
		return NULL;
	return nul + 1;
}

/* How many bytes of data the body says there are; SIZE_MAX: no such number may be. */
static size_t data_bytes(uint32_t opcode, const union body *b, size_t left)
{
	size_t n;

	switch (opcode) {
	case FUSE_WRITE:
		n = b->write.size;
		return n <= VIDAS_LANE_IO_MAX ? n : SIZE_MAX;
	case FUSE_SETXATTR:
		n = b->word[0];
		return n <= VALUE_MAX ? n : SIZE_MAX;
	case FUSE_BATCH_FORGET:
		n = b->batch.count;
		return n < VIDAS_LANE_MESSAGE_MAX ? n * sizeof(struct fuse_forget_one) : SIZE_MAX;
	case FUSE_INIT: /* longer in newer kernels, who say so */
		return !(b->init.flags & FUSE_INIT_EXT) || left >= INIT_EXT_BYTES ? left : SIZE_MAX;
	}
	return SIZE_MAX;
}

static bool spans(uint64_t offset, uint64_t bytes, uint64_t max)
{
	return bytes <= max && offset <= INT64_MAX && offset + bytes <= INT64_MAX;
}

/* What the operations reckon with. */
static bool numbers_ok(uint32_t opcode, const union body *b)
{
	switch (opcode) {
	case FUSE_READ:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		/* Where a directory's listing goes on is the host's number, whatever it is. */
		return opcode == FUSE_READ ?
			       spans(b->read.offset, b->read.size, VIDAS_LANE_IO_MAX) :
			       b->read.size <= VIDAS_LANE_IO_MAX;
	case FUSE_WRITE:
		return spans(b->write.offset, b->write.size, VIDAS_LANE_IO_MAX);
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
		return b->getxattr.size <= VALUE_MAX;
	case FUSE_FALLOCATE:
		return spans(b->fallocate.offset, b->fallocate.length, INT64_MAX);
	case FUSE_LSEEK:
		return true;
	case FUSE_COPY_FILE_RANGE:
		return b->copy.off_in <= INT64_MAX && b->copy.off_out <= INT64_MAX;
	case FUSE_INIT:
		return b->init.major > 7 || (b->init.major == 7 && b->init.minor >= MINOR_MIN);
	}
	return true;
}

static bool tail_ok(uint32_t opcode, const struct rule *r, const union body *b, const char *at,
		    const char *end)
{
	size_t n;

	for (unsigned i = 0; i < VIDAS_ARRAY_SIZE(r->tail) && r->tail[i]; i++) {
		if (r->tail[i] == DATA) {
			n = data_bytes(opcode, b, (size_t)(end - at));
			if (n > (size_t)(end - at))
				return false;
			at += n;
		} else {
			/* O_TMPFILE brings a name, which means nothing. */
			at = string_end(at, end, r->tail[i] == NAME && opcode != OP_TMPFILE);
			if (!at)
				return false;
		}
	}
	return at == end;
}

int vidas_border_check(const void *msg, size_t bytes)
{
	const char *at = (const char *)msg + sizeof(struct fuse_in_header);
	const char *end = (const char *)msg + bytes;
	struct fuse_in_header in;
	const struct rule *r;
	union body b;

	if (bytes < sizeof(in) || bytes > VIDAS_LANE_MESSAGE_MAX)
		return -EPROTO;
	memcpy(&in, msg, sizeof(in));
	/* The end of the head was padding once; now it says how long what follows the body is. */
	if (in.len != bytes || (((const uint16_t *)msg)[18]) || in.opcode > UINT16_MAX)
		return -EPROTO;
	r = rule_of(in.opcode);
	if (!r)
		return -ENOSYS;
	if ((size_t)(end - at) < r->body_bytes)
		return -EPROTO;
	body_of(msg, r, &b);
	if (!numbers_ok(in.opcode, &b) || !tail_ok(in.opcode, r, &b, at + r->body_bytes, end))
		return -EPROTO;
	return 0;
}

/* The handles of a request that has some; the second node's id where that is in the body. */
static void more_names(uint32_t opcode, const union body *b, struct vidas_border_names *out)
{
	switch (opcode) {
	case FUSE_RENAME:
		out->node[1].id = b->rename.newdir;
		break;
	case FUSE_RENAME2:
		out->node[1].id = b->rename2.newdir;
		break;
	case FUSE_LINK: /* the head names the directory */
		out->node[1].id = b->link.oldnodeid;
		out->node[1].type = VIDAS_BORDER_ANY;
		break;
	case FUSE_COPY_FILE_RANGE:
		out->handle[0] = b->copy.fh_in;
		out->node[1].id = b->copy.nodeid_out;
		out->handle[1] = b->copy.fh_out;
		break;
	default: /* all of these begin with it */
		memcpy(&out->handle[0], b, sizeof(out->handle[0]));
	}
}

void vidas_border_names(const void *msg, struct vidas_border_names *out)
{
	const struct fuse_in_header *in = msg;
	const struct rule *r = rule_of(in->opcode);
	union body b;

	memset(out, 0, sizeof(*out));
	body_of(msg, r, &b);
	out->nodes = r->nodes;
	out->handles = r->handles;
	out->node[0].id = in->nodeid;
	for (unsigned i = 0; i < r->nodes; i++)
		out->node[i].type = (enum vidas_border_node)r->type;
	more_names(in->opcode, &b, out);
}
