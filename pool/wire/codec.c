/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/wire/check.h"

#include <errno.h>
#include <string.h>

#include <vidas/shm.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structs are the wire format");
_Static_assert(sizeof(struct vidas_wire_header) == 24, "layout");

#define ERRNO_MAX 4095

/* What follows the header: one way of a type, request or reply. */
struct shape {
	uint16_t body_bytes;
	uint8_t strings;
	uint8_t blob;
};

static const struct type {
	const char *name;
	struct shape request, reply;
} types[] = {
#define X(NAME, value, lower, strings, blob, reply_strings, reply_blob)   \
	[value] = { #lower,                                               \
		    { sizeof(struct vidas_wire_##lower), strings, blob }, \
		    { sizeof(struct vidas_wire_##lower##_reply), reply_strings, reply_blob } },
	VIDAS_WIRE_TYPES(X)
#undef X
};

#define X(NAME, value, lower, strings, blob, reply_strings, reply_blob)                          \
	_Static_assert(sizeof(struct vidas_wire_##lower) % 8 == 0, "layout");                    \
	_Static_assert(sizeof(struct vidas_wire_##lower##_reply) % 8 == 0, "layout");            \
	_Static_assert((strings) <= VIDAS_WIRE_STRINGS && (reply_strings) <= VIDAS_WIRE_STRINGS, \
		       "a message has room for them");
VIDAS_WIRE_TYPES(X)
#undef X

static const struct type *type_find(unsigned value)
{
	if (value >= sizeof(types) / sizeof(types[0]) || !types[value].name)
		return NULL;
	return &types[value];
}

/* A failed reply is the same for all types: no body, the reason as blob. */
static struct shape shape_of(const struct type *type, bool reply, int status)
{
	if (!reply)
		return type->request;
	return status < 0 ? (struct shape){ 0, 0, 1 } : type->reply;
}

const char *vidas_wire_name(enum vidas_wire_type type)
{
	const struct type *t = type_find((unsigned)type);

	return t ? t->name : "unknown";
}

/* Encoding: a cursor that only moves inside the buffer. */
struct writer {
	uint8_t *at, *end;
};

static bool put(struct writer *w, const void *data, size_t bytes)
{
	if (bytes > (size_t)(w->end - w->at))
		return false;
	if (data && bytes)
		memcpy(w->at, data, bytes);
	else
		memset(w->at, 0, bytes);
	w->at += bytes;
	return true;
}

static bool put_string(struct writer *w, const char *string)
{
	size_t bytes = string ? strlen(string) : 0;
	uint16_t length = (uint16_t)bytes;

	return bytes < VIDAS_WIRE_MAX && put(w, &length, sizeof(length)) &&
	       put(w, string ? string : "", bytes + 1);
}

static bool put_blob(struct writer *w, const void *blob, size_t bytes)
{
	uint32_t length = (uint32_t)bytes;

	return bytes <= VIDAS_WIRE_BLOB_MAX && put(w, &length, sizeof(length)) &&
	       put(w, blob, bytes);
}

int vidas_wire_encode(void *buf, const struct vidas_wire_message *m)
{
	const struct type *type = type_find((unsigned)m->type);
	struct writer w = { buf, (uint8_t *)buf + VIDAS_WIRE_MAX };
	struct vidas_wire_header header = {
		.type = (uint16_t)((unsigned)m->type | (m->reply ? VIDAS_WIRE_REPLY : 0u)),
		.flags = m->flags,
		.id = m->id,
		.status = m->reply ? m->status : 0,
	};
	struct shape shape;
	bool fits;

	if (!type)
		return -EINVAL;
	shape = shape_of(type, m->reply, m->status);
	if (!shape.blob && m->blob_bytes)
		return -EINVAL;
	fits = put(&w, NULL, sizeof(header)) && put(&w, m->body, shape.body_bytes);
	for (unsigned i = 0; fits && i < shape.strings; i++)
		fits = put_string(&w, m->string[i]);
	if (fits && shape.blob)
		fits = put_blob(&w, m->blob, m->blob_bytes);
	if (!fits)
		return -EMSGSIZE;
	header.size = (uint32_t)(w.at - (uint8_t *)buf);
	memcpy(buf, &header, sizeof(header));
	return (int)header.size;
}

/* Decoding: what is between `at` and `end` has not been looked at yet. */
struct reader {
	const uint8_t *at, *end;
};

static const void *take(struct reader *r, size_t bytes)
{
	const void *found = r->at;

	if (bytes > (size_t)(r->end - r->at))
		return NULL;
	r->at += bytes;
	return found;
}

static bool take_string(struct reader *r, const char **string, size_t *bytes)
{
	const void *length_at = take(r, sizeof(uint16_t));
	const char *text;
	uint16_t length;

	if (!length_at)
		return false;
	memcpy(&length, length_at, sizeof(length));
	text = take(r, (size_t)length + 1);
	if (!text || memchr(text, '\0', (size_t)length + 1) != text + length)
		return false;
	*string = text;
	*bytes = length;
	return true;
}

static bool take_blob(struct reader *r, const void **blob, size_t *bytes)
{
	const void *length_at = take(r, sizeof(uint32_t));
	uint32_t length;

	if (!length_at)
		return false;
	memcpy(&length, length_at, sizeof(length));
	if (length > VIDAS_WIRE_BLOB_MAX)
		return false;
	*blob = take(r, length);
	*bytes = length;
	return *blob != NULL;
}

/* A HELLO of another major begins like ours; what comes after may be anything. */
static bool hello_of_another_major(const struct vidas_wire_message *m)
{
	const struct vidas_wire_hello *hello = m->body;

	return m->type == VIDAS_WIRE_HELLO && !m->reply && hello->magic == VIDAS_WIRE_MAGIC &&
	       hello->major != VIDAS_WIRE_MAJOR;
}

static const char *decode_parts(struct reader *r, struct shape shape, struct vidas_wire_message *m)
{
	if (shape.body_bytes) {
		m->body = take(r, shape.body_bytes);
		if (!m->body)
			return "it is shorter than its type's body";
		if (hello_of_another_major(m))
			return NULL;
	}
	for (unsigned i = 0; i < shape.strings; i++)
		if (!take_string(r, &m->string[i], &m->string_bytes[i]))
			return "a string is cut short, has no NUL at its end, or one inside";
	if (shape.blob && !take_blob(r, &m->blob, &m->blob_bytes))
		return "its blob is cut short or too long";
	if (r->at != r->end)
		return "bytes follow its last part";
	return vidas_wire_check(m);
}

static const char *check_header(const struct vidas_wire_header *h, size_t size)
{
	if (h->size != size)
		return "its size is not that of the datagram";
	if (h->spare)
		return "a spare field of the header is not 0";
	if (h->type & VIDAS_WIRE_REPLY) {
		if (h->status > 0 || h->status < -ERRNO_MAX)
			return "its status is no errno";
	} else if (h->status) {
		return "a request has a status";
	}
	return NULL;
}

int vidas_wire_decode(const void *buf, size_t size, struct vidas_wire_message *m,
		      const char **reason)
{
	struct reader r = { buf, (const uint8_t *)buf + size };
	const struct vidas_wire_header *h;
	const struct type *type;
	const char *wrong;

	*m = (struct vidas_wire_message){ .string = { "", "" } };
	h = size <= VIDAS_WIRE_MAX ? take(&r, sizeof(*h)) : NULL;
	wrong = h ? check_header(h, size) : "it is shorter than a header, or too long";
	if (wrong)
		goto malformed;
	m->reply = h->type & VIDAS_WIRE_REPLY;
	m->flags = h->flags;
	m->id = h->id;
	m->status = h->status;
	type = type_find(h->type & ~VIDAS_WIRE_REPLY);
	if (!type)
		return -EOPNOTSUPP;
	m->type = (enum vidas_wire_type)(h->type & ~VIDAS_WIRE_REPLY);
	wrong = decode_parts(&r, shape_of(type, m->reply, m->status), m);
	if (!wrong)
		return 0;
malformed:
	if (reason)
		*reason = wrong;
	return -EBADMSG;
}

struct vidas_wire_range vidas_wire_share_range(const struct vidas_wire_message *reply,
					       uint64_t offset, unsigned i)
{
	const struct vidas_wire_object_join_reply *object = reply->body;

	if (reply->status < 0 || !object ||
	    (reply->type != VIDAS_WIRE_OBJECT_CREATE && reply->type != VIDAS_WIRE_OBJECT_JOIN))
		return (struct vidas_wire_range){ 0 };
	if (i == 1)
		return (struct vidas_wire_range){ .bytes = VIDAS_SHM_SLOT_OFFSET(object->slot) +
							   sizeof(struct vidas_shm_object) };
	if (i > 1 || offset == VIDAS_MESSAGES)
		return (struct vidas_wire_range){ 0 };
	return (struct vidas_wire_range){ .offset = offset, .bytes = object->size };
}
