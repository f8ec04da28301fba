/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/nfs/v4.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIT(n) (UINT32_C(1) << ((n) % 32))

#define WORD0 (BIT(FATTR4_TYPE) | BIT(FATTR4_CHANGE) | BIT(FATTR4_SIZE) | BIT(FATTR4_FILEID))
#define WORD1                                                                                    \
	(BIT(FATTR4_MODE) | BIT(FATTR4_NUMLINKS) | BIT(FATTR4_OWNER) | BIT(FATTR4_OWNER_GROUP) | \
	 BIT(FATTR4_TIME_METADATA) | BIT(FATTR4_TIME_MODIFY))

static uint32_t asked_words[2] = { WORD0, WORD1 };
static uint32_t asked_entry_words[2] = { WORD0 | BIT(FATTR4_RDATTR_ERROR), WORD1 };
static uint32_t asked_limits_words[1] = { BIT(FATTR4_MAXREAD) | BIT(FATTR4_MAXWRITE) };

const bitmap4 vidas_nfs4_asked = { .bitmap4_len = 2, .bitmap4_val = asked_words };
const bitmap4 vidas_nfs4_asked_entry = { .bitmap4_len = 2, .bitmap4_val = asked_entry_words };
const bitmap4 vidas_nfs4_asked_limits = { .bitmap4_len = 1, .bitmap4_val = asked_limits_words };

/* Reads what a server packed; `bad` once something was not there. */
struct reader {
	const char *at;
	size_t left;
	bool bad;
	uint32_t mask[2];
};

static const char *take(struct reader *r, size_t size)
{
	const char *at = r->at;

	if (r->bad || size > r->left) {
		r->bad = true;
		return NULL;
	}
	r->at += size;
	r->left -= size;
	return at;
}

static uint32_t take32(struct reader *r)
{
	const char *at = take(r, 4);
	uint32_t value = 0;

	if (at)
		memcpy(&value, at, 4);
	return be32toh(value);
}

static uint64_t take64(struct reader *r)
{
	uint64_t high = take32(r);

	return high << 32 | take32(r);
}

static struct timespec take_time(struct reader *r)
{
	struct timespec ts = { .tv_sec = (time_t)take64(r) };
	uint32_t nsec = take32(r);

	if (nsec < 1000000000)
		ts.tv_nsec = (long)nsec;
	return ts;
}

/* A user or group: a number, or NAME@DOMAIN, of which only root is the same everywhere. */
static bool take_owner(struct reader *r, uint32_t *id)
{
	uint32_t size = take32(r);
	const char *at = take(r, size);
	char text[24], *end;
	unsigned long value;

	if (!at || size > UINT32_MAX - 3 || !take(r, (4 - size % 4) % 4))
		return false;
	snprintf(text, sizeof(text), "%.*s", size < sizeof(text) ? (int)size : 0, at);
	if (strncmp(text, "root@", 5) == 0) {
		*id = 0;
		return true;
	}
	value = strtoul(text, &end, 10);
	*id = (uint32_t)value;
	return *text >= '0' && *text <= '9' && !*end && value <= UINT32_MAX;
}

static bool has(const struct reader *r, unsigned bit)
{
	return r->mask[bit / 32] & BIT(bit);
}

/* Attributes beyond those asked for cannot be skipped: they have no lengths. */
static int reader_begin(struct reader *r, const fattr4 *from, const bitmap4 *asked)
{
	*r = (struct reader){ .at = from->attr_vals.attrlist4_val,
			      .left = from->attr_vals.attrlist4_len };
	for (unsigned i = 0; i < from->attrmask.bitmap4_len; i++) {
		uint32_t word = from->attrmask.bitmap4_val[i];

		if (word & ~(i < asked->bitmap4_len ? asked->bitmap4_val[i] : 0))
			return -EPROTO;
		if (i < 2)
			r->mask[i] = word;
	}
	return 0;
}

static uint32_t type_of(uint32_t type)
{
	return type == NF4REG ? VIDAS_BACKEND_FILE :
	       type == NF4DIR ? VIDAS_BACKEND_DIRECTORY :
	       type == NF4LNK ? VIDAS_BACKEND_SYMLINK :
				0;
}

int vidas_nfs4_attr(const fattr4 *from, struct vidas_nfs_attr *to, bool *known)
{
	struct reader r;
	bool group = false;
	int err = reader_begin(&r, from, &vidas_nfs4_asked_entry);

	*to = (struct vidas_nfs_attr){ 0 };
	if (err)
		return err;
	if (known)
		*known = has(&r, FATTR4_TYPE) && has(&r, FATTR4_CHANGE);
	if (has(&r, FATTR4_TYPE))
		to->type = type_of(take32(&r));
	if (has(&r, FATTR4_CHANGE))
		to->change = take64(&r);
	if (has(&r, FATTR4_SIZE))
		to->size = take64(&r);
	if (has(&r, FATTR4_RDATTR_ERROR) && take32(&r) && known)
		*known = false;
	if (has(&r, FATTR4_FILEID))
		to->fileid = take64(&r);
	if (has(&r, FATTR4_MODE))
		to->mode = take32(&r) & 07777;
	if (has(&r, FATTR4_NUMLINKS))
		to->links = take32(&r);
	if (has(&r, FATTR4_OWNER))
		to->owner = take_owner(&r, &to->uid);
	if (has(&r, FATTR4_OWNER_GROUP))
		group = take_owner(&r, &to->gid);
	if (has(&r, FATTR4_TIME_METADATA))
		to->ctime = take_time(&r);
	if (has(&r, FATTR4_TIME_MODIFY))
		to->mtime = take_time(&r);
	to->owner = to->owner && group;
	return r.bad ? -EPROTO : 0;
}

int vidas_nfs4_limits(const fattr4 *from, uint64_t *read_max, uint64_t *write_max)
{
	struct reader r;
	int err = reader_begin(&r, from, &vidas_nfs4_asked_limits);

	if (err)
		return err;
	*read_max = has(&r, FATTR4_MAXREAD) ? take64(&r) : 0;
	*write_max = has(&r, FATTR4_MAXWRITE) ? take64(&r) : 0;
	return r.bad ? -EPROTO : 0;
}

static void put32(struct vidas_nfs4_packed *p, uint32_t value)
{
	value = htobe32(value);
	memcpy(p->bytes + p->attr.attr_vals.attrlist4_len, &value, 4);
	p->attr.attr_vals.attrlist4_len += 4;
}

/* As a number, which servers take with AUTH_SYS (RFC 7530, 5.9). */
static void put_owner(struct vidas_nfs4_packed *p, uint32_t id)
{
	char text[12] = "";
	int size = snprintf(text, sizeof(text), "%u", id), padded = (size + 3) & ~3;

	put32(p, (uint32_t)size);
	memcpy(p->bytes + p->attr.attr_vals.attrlist4_len, text, (size_t)padded);
	p->attr.attr_vals.attrlist4_len += (unsigned)padded;
}

void vidas_nfs4_pack(const struct vidas_nfs_set *set, struct vidas_nfs4_packed *out)
{
	*out = (struct vidas_nfs4_packed){ 0 };
	out->attr.attrmask = (bitmap4){ .bitmap4_len = 2, .bitmap4_val = out->mask };
	out->attr.attr_vals.attrlist4_val = out->bytes;
	if (set->valid & VIDAS_BACKEND_MODE) {
		out->mask[1] |= BIT(FATTR4_MODE);
		put32(out, set->mode);
	}
	if (set->valid & VIDAS_BACKEND_OWNER) {
		out->mask[1] |= BIT(FATTR4_OWNER) | BIT(FATTR4_OWNER_GROUP);
		put_owner(out, set->uid);
		put_owner(out, set->gid);
	}
	if (set->now) {
		out->mask[1] |= BIT(FATTR4_TIME_MODIFY_SET);
		put32(out, SET_TO_SERVER_TIME4);
	} else if (set->valid & VIDAS_BACKEND_MTIME) {
		out->mask[1] |= BIT(FATTR4_TIME_MODIFY_SET);
		put32(out, SET_TO_CLIENT_TIME4);
		put32(out, (uint32_t)((uint64_t)set->mtime.tv_sec >> 32));
		put32(out, (uint32_t)set->mtime.tv_sec);
		put32(out, (uint32_t)set->mtime.tv_nsec);
	}
}
