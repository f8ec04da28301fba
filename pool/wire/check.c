/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every value of every message, once. One function a message, named check_<type>[_reply]: a type
 * added to VIDAS_WIRE_TYPES does not compile without its two.
 *
 * Spare fields and unknown flags are refused in requests, so that a later minor can give them a
 * meaning; replies may carry more than we know, and what we do not know in them is not looked at.
 */
#include "pool/wire/check.h"

#include <string.h>

#include <vidas/shm.h>

#include "pool/base/base.h"

#define ROOT_BYTES_MAX 2048u
#define ATTR_BYTES_MAX (255u - (sizeof("user.vidas.") - 1))
#define SESSION_MAX    (VIDAS_SHM_WAITERS - 1)
#define RECALL_KINDS \
	((uint32_t)(VIDAS_WIRE_RECALL_NAMES | VIDAS_WIRE_RECALL_ATTRS | VIDAS_WIRE_RECALL_POLICIES))

typedef const struct vidas_wire_message message;

static const char bad_spare[] = "a spare field is not 0";
static const char bad_flags[] = "unknown flags";
static const char bad_name[] = "that is not a container's name";
static const char bad_path[] = "that is not a path within a container";
static const char bad_range[] = "offset and size go beyond what a file can have";
static const char bad_slot[] = "there is no such slot";
static const char bad_session[] = "that is not a session's id";

static bool printable(const char *text, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return true;
}

static bool range_ok(uint64_t offset, uint64_t size)
{
	return offset <= INT64_MAX && size <= INT64_MAX - offset;
}

static bool lease_slot_ok(int32_t slot)
{
	return slot >= -1 && slot < (int32_t)VIDAS_SHM_LEASE_SLOTS;
}

static const char *check_container_name(message *m)
{
	return vidas_name_ok(m->string[0], m->string_bytes[0]) ? NULL : bad_name;
}

/* Requests with a spare field and string 0 a path, "" being the container. */
static const char *check_path(message *m, uint32_t spare)
{
	if (spare)
		return bad_spare;
	return vidas_path_ok(m->string[0], m->string_bytes[0]) ? NULL : bad_path;
}

static const char *check_attr_name(message *m)
{
	if (!m->string_bytes[1] || m->string_bytes[1] > ATTR_BYTES_MAX ||
	    !printable(m->string[1], m->string_bytes[1]))
		return "that is not an attribute's name";
	return NULL;
}

/* Replies that say no more than "done". */
#define NOTHING_TO_CHECK(lower)                                                          \
	static const char *check_##lower(const struct vidas_wire_##lower *b, message *m) \
	{                                                                                \
		(void)b;                                                                 \
		(void)m;                                                                 \
		return NULL;                                                             \
	}

static const char *check_hello(const struct vidas_wire_hello *b, message *m)
{
	(void)m;
	if (b->magic != VIDAS_WIRE_MAGIC)
		return "it does not begin as VIDAS does";
	/* Of another major decode has let through what it can; of a later minor, more flags. */
	if (b->minor <= VIDAS_WIRE_MINOR) {
		if (b->spare)
			return bad_spare;
		if (b->flags & ~(uint32_t)(VIDAS_WIRE_HELLO_RESUME | VIDAS_WIRE_HELLO_EVENTS))
			return bad_flags;
	}
	if (b->session > SESSION_MAX)
		return bad_session;
	if ((b->flags & VIDAS_WIRE_HELLO_RESUME) && !b->session)
		return "it resumes no session";
	return NULL;
}

static const char *check_hello_reply(const struct vidas_wire_hello_reply *b, message *m)
{
	(void)m;
	return b->session && b->session <= SESSION_MAX ? NULL : bad_session;
}

static const char *check_domain_entries(const struct vidas_wire_container_create *b)
{
	if (b->domains > VIDAS_DOMAINS_MAX)
		return "too many domains";
	for (uint32_t i = 0; i < VIDAS_DOMAINS_MAX; i++) {
		const struct vidas_wire_domain_entry *e = &b->domain[i];

		if (i >= b->domains) {
			if (e->domain || e->access)
				return bad_spare;
			continue;
		}
		if (e->access != VIDAS_WIRE_RO && e->access != VIDAS_WIRE_RW)
			return "a domain's access is neither ro nor rw";
		for (uint32_t j = 0; j < i; j++)
			if (b->domain[j].domain == e->domain)
				return "a domain is on the list twice";
	}
	return NULL;
}

static const char *check_container_create(const struct vidas_wire_container_create *b, message *m)
{
	const char *wrong = check_container_name(m);

	if (wrong)
		return wrong;
	if (b->spare)
		return bad_spare;
	if (m->string_bytes[1] > ROOT_BYTES_MAX || !printable(m->string[1], m->string_bytes[1]))
		return "the root URL is too long or has control bytes";
	return check_domain_entries(b);
}
NOTHING_TO_CHECK(container_create_reply)

static const char *check_container_destroy(const struct vidas_wire_container_destroy *b, message *m)
{
	if (b->flags & ~(uint32_t)VIDAS_WIRE_DESTROY_EMPTY)
		return bad_flags;
	return b->spare ? bad_spare : check_container_name(m);
}
NOTHING_TO_CHECK(container_destroy_reply)

static const char *check_container_attach(const struct vidas_wire_container_attach *b, message *m)
{
	if (b->flags & ~(uint32_t)VIDAS_WIRE_ATTACH_TREE)
		return bad_flags;
	if (!lease_slot_ok(b->slot))
		return bad_slot;
	return check_container_name(m);
}

static const char *check_container_attach_reply(const struct vidas_wire_container_attach_reply *b,
						message *m)
{
	(void)m;
	if (b->access != VIDAS_WIRE_RO && b->access != VIDAS_WIRE_RW)
		return "the access is neither ro nor rw";
	return lease_slot_ok(b->slot) ? NULL : bad_slot;
}

static const char *check_container_leave(const struct vidas_wire_container_leave *b, message *m)
{
	(void)m;
	return b->spare ? bad_spare : NULL;
}
NOTHING_TO_CHECK(container_leave_reply)
NOTHING_TO_CHECK(container_list)

static const char *check_container_list_reply(const struct vidas_wire_container_list_reply *b,
					      message *m)
{
	const char *name = m->blob, *end = name + m->blob_bytes;

	(void)b;
	if (m->blob_bytes && end[-1] != '\0')
		return "the last name has no end";
	for (; name < end; name += strlen(name) + 1)
		if (!vidas_name_ok(name, strlen(name)))
			return bad_name;
	return NULL;
}

static const char *check_object_name(message *m, uint32_t spare)
{
	return m->string_bytes[0] ? check_path(m, spare) : "an object needs a resource's name";
}

static const char *check_object_create(const struct vidas_wire_object_create *b, message *m)
{
	return range_ok(b->offset, b->size) ? check_object_name(m, b->spare) : bad_range;
}

static const char *check_object_create_reply(const struct vidas_wire_object_create_reply *b,
					     message *m)
{
	(void)m;
	if (b->slot >= VIDAS_SHM_SLOTS)
		return bad_slot;
	return b->size <= INT64_MAX ? NULL : bad_range;
}

static const char *check_object_join(const struct vidas_wire_object_join *b, message *m)
{
	if (b->timeout_us < 0 || b->timeout_us > VIDAS_WIRE_WAIT_MAX_US)
		return "the timeout is out of range";
	return range_ok(b->offset, b->size) ? check_object_name(m, b->spare) : bad_range;
}

static const char *check_object_join_reply(const struct vidas_wire_object_join_reply *b, message *m)
{
	(void)m;
	if (b->slot >= VIDAS_SHM_SLOTS)
		return bad_slot;
	return b->size <= INT64_MAX ? NULL : bad_range;
}

static const char *check_object_leave(const struct vidas_wire_object_leave *b, message *m)
{
	(void)m;
	return b->spare ? bad_spare : NULL;
}
NOTHING_TO_CHECK(object_leave_reply)

static const char *check_object_destroy(const struct vidas_wire_object_destroy *b, message *m)
{
	(void)m;
	return b->spare ? bad_spare : NULL;
}
NOTHING_TO_CHECK(object_destroy_reply)

static const char *check_locality(const struct vidas_wire_locality *b, message *m)
{
	return check_path(m, b->spare);
}

static const char *check_locality_reply(const struct vidas_wire_locality_reply *b, message *m)
{
	(void)m;
	return b->domains <= VIDAS_DOMAINS_MAX ? NULL : "too many domains";
}

static const char *check_flush(const struct vidas_wire_flush *b, message *m)
{
	return check_path(m, b->spare);
}
NOTHING_TO_CHECK(flush_reply)

static const char *check_update(const struct vidas_wire_update *b, message *m)
{
	return check_path(m, b->spare);
}
NOTHING_TO_CHECK(update_reply)

static const char *check_resident(const struct vidas_wire_resident *b, message *m)
{
	if (b->flags & ~(uint32_t)VIDAS_WIRE_REVALIDATE)
		return bad_flags;
	return check_path(m, 0);
}
NOTHING_TO_CHECK(resident_reply)

static const char *check_fetch(const struct vidas_wire_fetch *b, message *m)
{
	const uint32_t known =
		VIDAS_WIRE_FETCH_ALL | VIDAS_WIRE_FETCH_DISCARD | VIDAS_WIRE_FETCH_REVALIDATE;

	if (b->flags & ~known)
		return bad_flags;
	if (b->timeout_us < 0 || b->timeout_us > VIDAS_WIRE_WAIT_MAX_US)
		return "the timeout is out of range";
	if (!m->string_bytes[0])
		return bad_path;
	return range_ok(b->offset, b->size) ? check_path(m, 0) : bad_range;
}

static const char *check_fetch_reply(const struct vidas_wire_fetch_reply *b, message *m)
{
	uint64_t chunks;

	if (b->state & VIDAS_WIRE_FETCH_DONE)
		return NULL;
	if (b->shift > VIDAS_WIRE_FETCH_SHIFT_MAX || b->size_bytes > INT64_MAX)
		return bad_range;
	chunks = (b->size_bytes >> b->shift) + 1;
	return m->blob_bytes <= (chunks + 7) / 8 ? NULL : "there are more bits than chunks";
}

static const char *check_import(const struct vidas_wire_import *b, message *m)
{
	return check_path(m, b->spare);
}
NOTHING_TO_CHECK(import_reply)

static const char *check_attr_get(const struct vidas_wire_attr_get *b, message *m)
{
	const char *wrong = check_path(m, b->spare);

	return wrong ? wrong : check_attr_name(m);
}
NOTHING_TO_CHECK(attr_get_reply)

static const char *check_attr_set(const struct vidas_wire_attr_set *b, message *m)
{
	const char *wrong = check_path(m, 0);

	if (b->remove > 1)
		return bad_flags;
	if (b->remove && m->blob_bytes)
		return "a removal has a value";
	return wrong ? wrong : check_attr_name(m);
}
NOTHING_TO_CHECK(attr_set_reply)

static const char *check_recall_kinds(uint32_t kinds)
{
	return kinds && !(kinds & ~RECALL_KINDS) ? NULL : "it recalls nothing that is known";
}

static const char *check_recall(const struct vidas_wire_recall *b, message *m)
{
	(void)m;
	return check_recall_kinds(b->kinds);
}
NOTHING_TO_CHECK(recall_reply)

static const char *check_session_alive(const struct vidas_wire_session_alive *b, message *m)
{
	(void)m;
	if (b->spare)
		return bad_spare;
	return b->session && b->session <= SESSION_MAX ? NULL : bad_session;
}

static const char *check_session_alive_reply(const struct vidas_wire_session_alive_reply *b,
					     message *m)
{
	(void)m;
	return b->alive <= 1 ? NULL : "neither alive nor ended";
}

static const char *check_event(const struct vidas_wire_event *b, message *m)
{
	(void)m;
	if (b->spare)
		return bad_spare;
	if (b->kind == VIDAS_WIRE_EVENT_RECALL)
		return check_recall_kinds(b->kinds);
	if (b->kind == VIDAS_WIRE_EVENT_USED)
		return b->kinds || b->inode ? bad_spare : NULL;
	if (b->kind != VIDAS_WIRE_EVENT_CONTAINERS)
		return "an event of no known kind";
	return b->container || b->kinds || b->inode ? bad_spare : NULL;
}
NOTHING_TO_CHECK(event_reply)

static const char *check_domain_add(const struct vidas_wire_domain_add *b, message *m)
{
	(void)m;
	return b->uid == UINT32_MAX ? "that is not a user's id" : NULL;
}
NOTHING_TO_CHECK(domain_add_reply)

static const char *check_domain_remove(const struct vidas_wire_domain_remove *b, message *m)
{
	(void)m;
	return b->spare ? bad_spare : NULL;
}
NOTHING_TO_CHECK(domain_remove_reply)
NOTHING_TO_CHECK(status)
NOTHING_TO_CHECK(status_reply)

static const char *check_lock(const struct vidas_wire_lock *l)
{
	if (l->exclusive > 1)
		return bad_flags;
	return l->start <= l->last && l->last <= INT64_MAX ? NULL : bad_range;
}

static const char *check_lock_wait(const struct vidas_wire_lock_wait *b, message *m)
{
	const char *wrong = check_lock(&b->wanted);
	struct vidas_wire_lock held;

	if (m->blob_bytes % sizeof(held))
		return "what is held ends in the middle of a lock";
	for (size_t at = 0; !wrong && at < m->blob_bytes; at += sizeof(held)) {
		memcpy(&held, (const uint8_t *)m->blob + at, sizeof(held));
		wrong = check_lock(&held);
	}
	return wrong;
}
NOTHING_TO_CHECK(lock_wait_reply)
NOTHING_TO_CHECK(lock_done)
NOTHING_TO_CHECK(lock_done_reply)

const char *vidas_wire_check(message *m)
{
	if (m->flags & ~(unsigned)VIDAS_WIRE_RETRY)
		return bad_flags;
	if (m->reply && m->status < 0)
		return NULL;
	switch (m->type) {
#define X(NAME, value, lower, ...) \
	case VIDAS_WIRE_##NAME:    \
		return m->reply ? check_##lower##_reply(m->body, m) : check_##lower(m->body, m);
		VIDAS_WIRE_TYPES(X)
#undef X
	}
	return "it has no type";
}
