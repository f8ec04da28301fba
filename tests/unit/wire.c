/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pool/wire: every message there and back; every cut, every bad value refused.
 *
 * VIDAS_WIRE_CORPUS=DIR writes one file a message to DIR, the seeds of tests/fuzz/fuzz_wire.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vidas/shm.h>

#include "pool/base/base.h"
#include "pool/wire/wire.h"
#include "unit.h"

/* One good message of every type and way, with no field at a default that would hide a mix-up. */
#define BODY(lower, ...)                   \
	&(const struct vidas_wire_##lower) \
	{                                  \
		__VA_ARGS__                \
	}
#define REQUEST(NAME, the_body, ...)                                                \
	{                                                                           \
		.type = VIDAS_WIRE_##NAME, .id = 7, .body = (the_body), __VA_ARGS__ \
	}
#define REPLY(NAME, the_body, ...)                                                              \
	{                                                                                       \
		.type = VIDAS_WIRE_##NAME, .reply = true, .id = UINT64_MAX, .body = (the_body), \
		__VA_ARGS__                                                                     \
	}

static const struct vidas_wire_message samples[] = {
	REQUEST(HELLO, BODY(hello, .magic = VIDAS_WIRE_MAGIC, .major = VIDAS_WIRE_MAJOR,
			    .flags = VIDAS_WIRE_HELLO_RESUME, .token = 99, .session = 3)),
	REPLY(HELLO, BODY(hello_reply, .major = VIDAS_WIRE_MAJOR, .domain = 5, .session = 3)),
	REQUEST(CONTAINER_CREATE,
		BODY(container_create, .domains = 2,
		     .domain = { { 1, VIDAS_WIRE_RW }, { 2, VIDAS_WIRE_RO } }),
		.string = { "demo", "file:///srv/some where" }, .flags = VIDAS_WIRE_RETRY),
	REPLY(CONTAINER_CREATE, NULL),
	REQUEST(CONTAINER_DESTROY, NULL, .string = { "demo" }),
	REPLY(CONTAINER_DESTROY, NULL),
	REQUEST(CONTAINER_ATTACH,
		BODY(container_attach, .flags = VIDAS_WIRE_ATTACH_TREE, .slot = -1),
		.string = { "demo" }),
	REPLY(CONTAINER_ATTACH, BODY(container_attach_reply, .container = 4,
				     .access = VIDAS_WIRE_RO, .slot = VIDAS_SHM_LEASE_SLOTS - 1)),
	REQUEST(CONTAINER_LEAVE, BODY(container_leave, .container = 4)),
	REPLY(CONTAINER_LEAVE, NULL),
	REQUEST(CONTAINER_LIST, BODY(container_list, .cursor = 17)),
	REPLY(CONTAINER_LIST, BODY(container_list_reply, .next = 18), .blob = "one\0two",
	      .blob_bytes = 8),
	REQUEST(OBJECT_CREATE, BODY(object_create, .container = 4, .offset = 4096, .size = 1 << 20),
		.string = { "run7/field.dat" }),
	REPLY(OBJECT_CREATE,
	      BODY(object_create_reply, .object = 9, .slot = 1, .size = 1 << 20, .inode = 12)),
	REQUEST(OBJECT_JOIN,
		BODY(object_join, .container = 4, .size = INT64_MAX, .timeout_us = 1000),
		.string = { "run7/field.dat" }),
	REPLY(OBJECT_JOIN,
	      BODY(object_join_reply, .object = 9, .slot = 1023, .size = 4, .inode = 12)),
	REQUEST(OBJECT_LEAVE, BODY(object_leave, .object = 9)),
	REPLY(OBJECT_LEAVE, NULL),
	REQUEST(OBJECT_DESTROY, BODY(object_destroy, .object = 9)),
	REPLY(OBJECT_DESTROY, NULL),
	REQUEST(LOCALITY, BODY(locality, .container = 4), .string = { "a" }),
	REPLY(LOCALITY, BODY(locality_reply, .size_bytes = 5, .domains = 2, .domain = { 1, 2 })),
	REQUEST(FLUSH, BODY(flush, .container = 4, .inode = 12), .string = { "" }),
	REPLY(FLUSH, BODY(flush_reply, .files = 1, .bytes = 2)),
	REQUEST(UPDATE, BODY(update, .container = 4, .inode = 12), .string = { "a/b" }),
	REPLY(UPDATE, BODY(update_reply, .files = 1, .bytes = 2)),
	REQUEST(RESIDENT, BODY(resident, .container = 4, .flags = VIDAS_WIRE_REVALIDATE),
		.string = { "a" }),
	REPLY(RESIDENT, BODY(resident_reply, .size_bytes = 5)),
	REQUEST(FETCH,
		BODY(fetch, .container = 4, .flags = VIDAS_WIRE_FETCH_ALL, .offset = 5, .size = 6,
		     .timeout_us = 7),
		.string = { "a/b" }),
	REPLY(FETCH, BODY(fetch_reply, .size_bytes = 5 << 20, .generation = 1, .shift = 20),
	      .blob = "\7", .blob_bytes = 1),
	REQUEST(IMPORT, BODY(import, .container = 4), .string = { "" }),
	REPLY(IMPORT, BODY(import_reply, .entries = 5)),
	REQUEST(ATTR_GET, BODY(attr_get, .container = 4), .string = { "a", "state" }),
	REPLY(ATTR_GET, NULL, .blob = "clean", .blob_bytes = 5),
	REQUEST(ATTR_SET, BODY(attr_set, .container = 4), .string = { "a", "quota" }, .blob = "1G",
		.blob_bytes = 2),
	REPLY(ATTR_SET, NULL),
	REQUEST(RECALL, BODY(recall, .container = 4, .kinds = 3, .inode = 12, .slots = UINT64_MAX)),
	REPLY(RECALL, NULL),
	REQUEST(SESSION_ALIVE, BODY(session_alive, .session = 0x7fffffff)),
	REPLY(SESSION_ALIVE, BODY(session_alive_reply, .alive = 1)),
	REQUEST(EVENT, BODY(event, .kind = VIDAS_WIRE_EVENT_RECALL, .container = 4, .kinds = 2,
			    .inode = 12)),
	REPLY(EVENT, NULL),
	REQUEST(DOMAIN_ADD, BODY(domain_add, .domain = 5, .uid = 1000)),
	REPLY(DOMAIN_ADD, NULL),
	REQUEST(DOMAIN_REMOVE, BODY(domain_remove, .domain = 5)),
	REPLY(DOMAIN_REMOVE, NULL),
	REQUEST(STATUS, BODY(status, .offset = 8192)),
	REPLY(STATUS, NULL, .blob = "{}", .blob_bytes = 2),
	REQUEST(LOCK_WAIT,
		BODY(lock_wait, .number = 3, .owner = 4,
		     .wanted = { .container = 4,
				 .exclusive = 1,
				 .inode = 12,
				 .start = 1,
				 .last = INT64_MAX }),
		.blob = &(const struct vidas_wire_lock){ .container = 4, .inode = 12, .last = 9 },
		.blob_bytes = sizeof(struct vidas_wire_lock)),
	REPLY(LOCK_WAIT, NULL),
	REQUEST(LOCK_DONE, BODY(lock_done, .number = 3)),
	REPLY(LOCK_DONE, NULL),
	/* A failed reply: the same for all types. */
	{ .type = VIDAS_WIRE_FLUSH,
	  .reply = true,
	  .id = 1,
	  .status = -EIO,
	  .blob = "no route",
	  .blob_bytes = 8 },
};

static _Alignas(8) uint8_t wire[VIDAS_WIRE_MAX], again[VIDAS_WIRE_MAX];

/* Their numbers go from 1 to this. */
#define X(...) +1
enum { TYPES = 0 VIDAS_WIRE_TYPES(X) };
#undef X

static const struct vidas_wire_message *sample(enum vidas_wire_type type, bool reply)
{
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(samples); i++)
		if (samples[i].type == type && samples[i].reply == reply)
			return &samples[i];
	abort();
}

static size_t encode(const struct vidas_wire_message *m)
{
	int size = vidas_wire_encode(wire, m);

	CU_ASSERT_FATAL(size > 0 && (size_t)size <= sizeof(wire));
	return (size_t)size;
}

/* Decodes a copy that is exactly `size` long, so that a sanitizer sees a read beyond it. */
static int decode(size_t size, struct vidas_wire_message *m)
{
	static void *copy;
	const char *reason = NULL;
	int err;

	free(copy); /* the last one: `m` of that call led into it */
	copy = malloc(size ? size : 1);
	if (!copy)
		abort();
	memcpy(copy, wire, size);
	err = vidas_wire_decode(copy, size, m, &reason);
	CU_ASSERT((err == -EBADMSG) == (reason != NULL));
	return err;
}

static bool refused(size_t size)
{
	struct vidas_wire_message m;

	return decode(size, &m) == -EBADMSG;
}

static void set_size(size_t size)
{
	uint32_t says = (uint32_t)size;

	memcpy(wire, &says, sizeof(says));
}

static void write_seed(const char *dir, const struct vidas_wire_message *m, size_t size)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s%s", dir, vidas_wire_name(m->type),
		 m->status ? "-failed" :
		 m->reply  ? "-reply" :
			     "");
	f = fopen(path, "w");
	CU_ASSERT_FATAL(f && fwrite(wire, 1, size, f) == size && fclose(f) == 0);
}

static void test_round_trips(void)
{
	const char *corpus = getenv("VIDAS_WIRE_CORPUS");

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(samples); i++) {
		const struct vidas_wire_message *s = &samples[i];
		size_t size = encode(s);
		struct vidas_wire_message m;

		CU_ASSERT_EQUAL_FATAL(decode(size, &m), 0);
		CU_ASSERT(m.type == s->type && m.reply == s->reply && m.flags == s->flags);
		CU_ASSERT(m.id == s->id && m.status == s->status);
		for (unsigned k = 0; k < VIDAS_WIRE_STRINGS; k++) {
			CU_ASSERT_STRING_EQUAL(m.string[k], s->string[k] ? s->string[k] : "");
			CU_ASSERT_EQUAL(m.string_bytes[k], strlen(m.string[k]));
		}
		CU_ASSERT_EQUAL_FATAL(m.blob_bytes, s->blob_bytes);
		CU_ASSERT(!s->blob || !memcmp(m.blob, s->blob, s->blob_bytes));
		CU_ASSERT((m.body == NULL) == (s->status < 0));
		CU_ASSERT_EQUAL(vidas_wire_encode(again, &m), (int)size);
		CU_ASSERT_EQUAL(memcmp(again, wire, size), 0);
		if (corpus)
			write_seed(corpus, s, size);
	}
}

static void test_every_type_has_samples(void)
{
#define X(NAME, value, lower, ...)                                \
	CU_ASSERT_PTR_NOT_NULL(sample(VIDAS_WIRE_##NAME, false)); \
	CU_ASSERT_PTR_NOT_NULL(sample(VIDAS_WIRE_##NAME, true));  \
	CU_ASSERT_STRING_EQUAL(vidas_wire_name(VIDAS_WIRE_##NAME), #lower);
	VIDAS_WIRE_TYPES(X)
#undef X
	CU_ASSERT_STRING_EQUAL(vidas_wire_name((enum vidas_wire_type)0), "unknown");
	CU_ASSERT_STRING_EQUAL(vidas_wire_name((enum vidas_wire_type)(TYPES + 1)), "unknown");
}

static void test_bodies_arrive(void)
{
	const struct vidas_wire_container_create *create;
	const struct vidas_wire_object_join *join;
	struct vidas_wire_message m;

	CU_ASSERT_EQUAL_FATAL(decode(encode(sample(VIDAS_WIRE_CONTAINER_CREATE, false)), &m), 0);
	create = m.body;
	CU_ASSERT(create->domains == 2 && create->domain[1].domain == 2 &&
		  create->domain[1].access == VIDAS_WIRE_RO);
	CU_ASSERT_EQUAL_FATAL(decode(encode(sample(VIDAS_WIRE_OBJECT_JOIN, false)), &m), 0);
	join = m.body;
	CU_ASSERT(join->container == 4 && join->size == INT64_MAX && join->timeout_us == 1000);
}

/* Every message cut at every byte, with the header telling the old length and the new one. */
static void test_cuts(void)
{
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(samples); i++) {
		size_t size = encode(&samples[i]);

		for (size_t cut = 0; cut < size; cut++) {
			set_size(size);
			if (!refused(cut))
				CU_FAIL("a cut message was accepted");
			set_size(cut);
			if (!refused(cut))
				CU_FAIL("a short message was accepted");
		}
		wire[size] = 0;
		set_size(size + 1);
		CU_ASSERT(refused(size + 1));
		set_size(size + 1);
		CU_ASSERT(refused(size));
	}
}

static void test_header(void)
{
	const struct vidas_wire_message *s = sample(VIDAS_WIRE_CONTAINER_LEAVE, false);
	struct vidas_wire_header *h = (struct vidas_wire_header *)(void *)wire;
	struct vidas_wire_message m;
	size_t size;

#define WITH(the_sample, ...) (size = encode(the_sample), __VA_ARGS__, refused(size))
	CU_ASSERT(!WITH(s, (void)0));
	CU_ASSERT(WITH(s, h->spare = 1));
	CU_ASSERT(WITH(s, h->status = -1));
	CU_ASSERT(WITH(s, h->status = 1));
	CU_ASSERT(WITH(s, h->flags = 2));
	CU_ASSERT(WITH(s, h->flags = 0xffff));
	CU_ASSERT(!WITH(s, h->flags = VIDAS_WIRE_RETRY));
	CU_ASSERT(WITH(sample(VIDAS_WIRE_FLUSH, true), h->status = 1));
	CU_ASSERT(WITH(&samples[VIDAS_ARRAY_SIZE(samples) - 1], h->status = -4096));
	CU_ASSERT(WITH(&samples[VIDAS_ARRAY_SIZE(samples) - 1], h->status = INT32_MIN));
	CU_ASSERT(WITH(&samples[VIDAS_ARRAY_SIZE(samples) - 1], h->status = 0));
	/* A failed reply has no body, a good one has. */
	CU_ASSERT(WITH(sample(VIDAS_WIRE_FLUSH, true), h->status = -EIO));
	CU_ASSERT(refused(0));
	CU_ASSERT_EQUAL(vidas_wire_decode(wire, VIDAS_WIRE_MAX + 1, &m, NULL), -EBADMSG);

	for (unsigned type = 0; type < 0x10000; type++) {
		bool known = (type & 0x7fff) >= 1 && (type & 0x7fff) <= TYPES;

		size = encode(s);
		h->type = (uint16_t)type;
		if (known)
			continue;
		CU_ASSERT_EQUAL_FATAL(decode(size, &m), -EOPNOTSUPP);
		CU_ASSERT(m.type == 0 && m.id == s->id &&
			  m.reply == ((type & VIDAS_WIRE_REPLY) != 0));
	}
}

/* One field of a good message made bad. */
struct poke {
	enum vidas_wire_type type;
	bool reply;
	size_t at, bytes;
	uint64_t value;
};
#define FIELD(lower, field) \
	offsetof(struct vidas_wire_##lower, field), sizeof(((struct vidas_wire_##lower *)0)->field)
#define POKE(NAME, lower, field, value)                              \
	{                                                            \
		VIDAS_WIRE_##NAME, false, FIELD(lower, field), value \
	}
#define POKE_REPLY(NAME, lower, field, value)                               \
	{                                                                   \
		VIDAS_WIRE_##NAME, true, FIELD(lower##_reply, field), value \
	}

static const struct poke bad[] = {
	POKE(HELLO, hello, magic, 1),
	POKE(HELLO, hello, flags, 4),
	POKE(HELLO, hello, session, 0), /* with RESUME */
	POKE(HELLO, hello, session, UINT64_C(0x80000000)),
	POKE(HELLO, hello, spare, 1),
	POKE_REPLY(HELLO, hello, session, 0),
	POKE_REPLY(HELLO, hello, session, UINT64_C(0x80000000)),
	POKE(CONTAINER_CREATE, container_create, domains, VIDAS_DOMAINS_MAX + 1),
	POKE(CONTAINER_CREATE, container_create, domains, UINT32_MAX),
	POKE(CONTAINER_CREATE, container_create, domains, 1), /* the second is then spare */
	POKE(CONTAINER_CREATE, container_create, domains, 3), /* the third has no access */
	POKE(CONTAINER_CREATE, container_create, spare, 1),
	POKE(CONTAINER_CREATE, container_create, domain[0].access, 0),
	POKE(CONTAINER_CREATE, container_create, domain[1].access, 3),
	POKE(CONTAINER_CREATE, container_create, domain[1].domain, 1), /* twice */
	POKE(CONTAINER_CREATE, container_create, domain[63].domain, 7),
	POKE(CONTAINER_DESTROY, container_destroy, flags, 2),
	POKE(CONTAINER_DESTROY, container_destroy, spare, UINT32_C(1) << 31),
	POKE(CONTAINER_ATTACH, container_attach, flags, 2),
	POKE(CONTAINER_ATTACH, container_attach, slot, VIDAS_SHM_LEASE_SLOTS),
	POKE(CONTAINER_ATTACH, container_attach, slot, UINT64_C(0xfffffffe)),
	POKE_REPLY(CONTAINER_ATTACH, container_attach, access, 0),
	POKE_REPLY(CONTAINER_ATTACH, container_attach, access, 3),
	POKE_REPLY(CONTAINER_ATTACH, container_attach, slot, VIDAS_SHM_LEASE_SLOTS),
	POKE(CONTAINER_LEAVE, container_leave, spare, 1),
	POKE(OBJECT_CREATE, object_create, spare, 1),
	POKE(OBJECT_CREATE, object_create, offset, UINT64_C(1) << 63),
	POKE(OBJECT_CREATE, object_create, offset, INT64_MAX),
	POKE(OBJECT_CREATE, object_create, size, INT64_MAX),	     /* + offset */
	POKE(OBJECT_CREATE, object_create, size, UINT64_MAX - 4095), /* + offset is 0 again */
	POKE_REPLY(OBJECT_CREATE, object_create, slot, VIDAS_SHM_SLOTS),
	POKE_REPLY(OBJECT_CREATE, object_create, size, UINT64_MAX),
	POKE(OBJECT_JOIN, object_join, spare, 1),
	POKE(OBJECT_JOIN, object_join, offset, 1),
	POKE(OBJECT_JOIN, object_join, timeout_us, VIDAS_WIRE_WAIT_MAX_US + 1),
	POKE(OBJECT_JOIN, object_join, timeout_us, UINT64_MAX),
	POKE_REPLY(OBJECT_JOIN, object_join, slot, VIDAS_SHM_SLOTS),
	POKE_REPLY(OBJECT_JOIN, object_join, size, UINT64_MAX),
	POKE(OBJECT_LEAVE, object_leave, spare, 1),
	POKE(OBJECT_DESTROY, object_destroy, spare, 1),
	POKE(LOCALITY, locality, spare, 1),
	POKE_REPLY(LOCALITY, locality, domains, VIDAS_DOMAINS_MAX + 1),
	POKE(FLUSH, flush, spare, 1),
	POKE(UPDATE, update, spare, 1),
	POKE(RESIDENT, resident, flags, 2),
	POKE(FETCH, fetch, flags, 8),
	POKE(FETCH, fetch, timeout_us, UINT64_MAX),
	POKE(FETCH, fetch, timeout_us, VIDAS_WIRE_WAIT_MAX_US + 1),
	POKE(FETCH, fetch, size, INT64_MAX),
	POKE_REPLY(FETCH, fetch, shift, 48),
	POKE_REPLY(FETCH, fetch, size_bytes, UINT64_C(1) << 63),
	POKE(IMPORT, import, spare, 1),
	POKE(ATTR_GET, attr_get, spare, 1),
	POKE(ATTR_SET, attr_set, remove, 2),
	POKE(ATTR_SET, attr_set, remove, 1), /* and a value */
	POKE(RECALL, recall, kinds, 0),
	POKE(RECALL, recall, kinds, 8),
	POKE(SESSION_ALIVE, session_alive, session, 0),
	POKE(SESSION_ALIVE, session_alive, session, UINT64_C(0x80000000)),
	POKE(SESSION_ALIVE, session_alive, spare, 1),
	POKE_REPLY(SESSION_ALIVE, session_alive, alive, 2),
	POKE(LOCK_WAIT, lock_wait, wanted.exclusive, 2),
	POKE(LOCK_WAIT, lock_wait, wanted.start, UINT64_MAX),
	POKE(LOCK_WAIT, lock_wait, wanted.last, 0), /* before its start */
	POKE(EVENT, event, kind, 0),
	POKE(EVENT, event, kind, 4),
	POKE(EVENT, event, kind, VIDAS_WIRE_EVENT_USED),       /* of an inode, and kinds */
	POKE(EVENT, event, kind, VIDAS_WIRE_EVENT_CONTAINERS), /* of a container, and kinds */
	POKE(EVENT, event, kinds, 0),
	POKE(EVENT, event, kinds, 8),
	POKE(EVENT, event, spare, 1),
	POKE(DOMAIN_ADD, domain_add, uid, UINT32_MAX),
	POKE(DOMAIN_REMOVE, domain_remove, spare, 1),
};

static void test_bad_fields(void)
{
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(bad); i++) {
		const struct poke *p = &bad[i];
		size_t size = encode(sample(p->type, p->reply));

		memcpy(wire + sizeof(struct vidas_wire_header) + p->at, &p->value, p->bytes);
		if (!refused(size)) {
			printf("  accepted: %s, %zu bytes at %zu\n", vidas_wire_name(p->type),
			       p->bytes, p->at);
			CU_FAIL("a bad field was accepted");
		}
	}
}

/* What one field's change does not show, because another one is then bad as well. */
static void test_bad_fields_alone(void)
{
	struct vidas_wire_container_create create = { .domains = VIDAS_DOMAINS_MAX };
	struct vidas_wire_attr_set set = { .remove = 2 };
	struct vidas_wire_event event = { .kind = VIDAS_WIRE_EVENT_CONTAINERS };
	struct vidas_wire_message m = *sample(VIDAS_WIRE_CONTAINER_CREATE, false);

	for (uint32_t i = 0; i < VIDAS_DOMAINS_MAX; i++)
		create.domain[i] = (struct vidas_wire_domain_entry){ i, VIDAS_WIRE_RW };
	m.body = &create;
	CU_ASSERT(!refused(encode(&m)));
	create.domains++;
	CU_ASSERT(refused(encode(&m)));

	m = *sample(VIDAS_WIRE_ATTR_SET, false);
	m.body = &set;
	m.blob_bytes = 0;
	CU_ASSERT(refused(encode(&m)));
	set.remove = 1;
	CU_ASSERT(!refused(encode(&m)));

	m = *sample(VIDAS_WIRE_EVENT, false);
	m.body = &event;
	CU_ASSERT(!refused(encode(&m)));
	event.kind = VIDAS_WIRE_EVENT_USED;
	event.container = 4;
	CU_ASSERT(!refused(encode(&m)));
	event.kind = 4;
	CU_ASSERT(refused(encode(&m)));
}

static bool string_ok(enum vidas_wire_type type, unsigned k, const char *text)
{
	struct vidas_wire_message m = *sample(type, false);

	m.string[k] = text;
	return !refused(encode(&m));
}

static void test_strings(void)
{
	static const enum vidas_wire_type names[] = { VIDAS_WIRE_CONTAINER_CREATE,
						      VIDAS_WIRE_CONTAINER_DESTROY,
						      VIDAS_WIRE_CONTAINER_ATTACH };
	static const enum vidas_wire_type paths[] = {
		VIDAS_WIRE_OBJECT_CREATE, VIDAS_WIRE_OBJECT_JOIN, VIDAS_WIRE_LOCALITY,
		VIDAS_WIRE_FLUSH,	  VIDAS_WIRE_UPDATE,	  VIDAS_WIRE_RESIDENT,
		VIDAS_WIRE_IMPORT,	  VIDAS_WIRE_ATTR_GET,	  VIDAS_WIRE_ATTR_SET,
	};
	char longest[4097];

	memset(longest, 'u', sizeof(longest));
	longest[2049] = '\0';
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(names); i++) {
		CU_ASSERT(string_ok(names[i], 0, "other"));
		CU_ASSERT(!string_ok(names[i], 0, "") && !string_ok(names[i], 0, ".."));
		CU_ASSERT(!string_ok(names[i], 0, "a/b") && !string_ok(names[i], 0, "a\n"));
	}
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(paths); i++) {
		bool object =
			paths[i] == VIDAS_WIRE_OBJECT_CREATE || paths[i] == VIDAS_WIRE_OBJECT_JOIN;

		CU_ASSERT(string_ok(paths[i], 0, "x/y\n"));
		CU_ASSERT(string_ok(paths[i], 0, "") == !object);
		CU_ASSERT(!string_ok(paths[i], 0, "../x") && !string_ok(paths[i], 0, "x/..") &&
			  !string_ok(paths[i], 0, "/x") && !string_ok(paths[i], 0, longest));
	}
	CU_ASSERT(!string_ok(VIDAS_WIRE_CONTAINER_CREATE, 1, longest));
	CU_ASSERT(string_ok(VIDAS_WIRE_CONTAINER_CREATE, 1, longest + 1));
	CU_ASSERT(string_ok(VIDAS_WIRE_CONTAINER_CREATE, 1, ""));
	CU_ASSERT(!string_ok(VIDAS_WIRE_CONTAINER_CREATE, 1, "file:///a\tb"));
	longest[245] = '\0';
	for (unsigned i = 0; i < 2; i++) {
		enum vidas_wire_type type = i ? VIDAS_WIRE_ATTR_SET : VIDAS_WIRE_ATTR_GET;

		CU_ASSERT(!string_ok(type, 1, "") && !string_ok(type, 1, "a\x7f"));
		CU_ASSERT(!string_ok(type, 1, longest) && string_ok(type, 1, longest + 1));
	}
	/* A NUL inside, and none at the end. */
	for (size_t i = 0; i < 2; i++) {
		size_t size = encode(sample(VIDAS_WIRE_CONTAINER_DESTROY, false));

		wire[size - 1 - i * 2] = i ? '\0' : 'x';
		CU_ASSERT(refused(size));
	}
}

static void test_blobs(void)
{
	struct vidas_wire_message m = *sample(VIDAS_WIRE_CONTAINER_LIST, true);
	static const uint8_t large[VIDAS_WIRE_BLOB_MAX + 1];
	uint32_t length = VIDAS_WIRE_BLOB_MAX + 1;
	size_t size;

	m.blob_bytes = 7;
	CU_ASSERT(refused(encode(&m))); /* "two" without its NUL */
	m.blob = "one\0\0two";
	m.blob_bytes = 9;
	CU_ASSERT(refused(encode(&m)));
	m.blob_bytes = 0;
	CU_ASSERT(!refused(encode(&m)));

	m = *sample(VIDAS_WIRE_ATTR_SET, false);
	m.blob = large;
	m.blob_bytes = VIDAS_WIRE_BLOB_MAX;
	CU_ASSERT(!refused(encode(&m)));
	m.blob_bytes++;
	CU_ASSERT_EQUAL(vidas_wire_encode(wire, &m), -EMSGSIZE);
	/* The same by hand. */
	m.blob_bytes = 0;
	size = encode(&m);
	memcpy(wire + size - sizeof(length), &length, sizeof(length));
	memset(wire + size, 0, length);
	set_size(size + length);
	CU_ASSERT(refused(size + length));
}

static void test_encode_limits(void)
{
	struct vidas_wire_message m = *sample(VIDAS_WIRE_CONTAINER_CREATE, false);
	static char longest[70000];

	memset(longest, 's', sizeof(longest) - 1);
	m.string[1] = longest;
	CU_ASSERT_EQUAL(vidas_wire_encode(wire, &m), -EMSGSIZE);
	m.string[1] = longest + sizeof(longest) - VIDAS_WIRE_MAX;
	CU_ASSERT_EQUAL(vidas_wire_encode(wire, &m), -EMSGSIZE);
	m = *sample(VIDAS_WIRE_FLUSH, false);
	m.blob_bytes = 1;
	CU_ASSERT_EQUAL(vidas_wire_encode(wire, &m), -EINVAL);
	m.blob_bytes = 0;
	m.type = (enum vidas_wire_type)(TYPES + 1);
	CU_ASSERT_EQUAL(vidas_wire_encode(wire, &m), -EINVAL);
	m.type = (enum vidas_wire_type)0;
	CU_ASSERT_EQUAL(vidas_wire_encode(wire, &m), -EINVAL);
}

/* vidasd must be able to tell a domain of another version what is wrong. */
static void test_other_versions(void)
{
	struct vidas_wire_hello *hello =
		(struct vidas_wire_hello *)(void *)(wire + sizeof(struct vidas_wire_header));
	struct vidas_wire_message m;
	size_t size;

	size = encode(sample(VIDAS_WIRE_HELLO, false));
	hello->major = VIDAS_WIRE_MAJOR + 1;
	hello->flags = UINT32_MAX;
	memset(wire + size, 0xee, 64);
	set_size(size + 64);
	CU_ASSERT_EQUAL_FATAL(decode(size + 64, &m), 0);
	CU_ASSERT_EQUAL(((const struct vidas_wire_hello *)m.body)->major, VIDAS_WIRE_MAJOR + 1);
	CU_ASSERT_EQUAL(m.id, 7);
	hello->magic++;
	CU_ASSERT(refused(size + 64));

	size = encode(sample(VIDAS_WIRE_HELLO, false));
	hello->minor = VIDAS_WIRE_MINOR + 1;
	hello->flags |= 1u << 30;
	CU_ASSERT(!refused(size));
	set_size(size + 8);
	CU_ASSERT(refused(size + 8));
}

static void test_replies(void)
{
	struct vidas_wire_message request, reply;

	CU_ASSERT_EQUAL_FATAL(decode(encode(sample(VIDAS_WIRE_CONTAINER_CREATE, false)), &request),
			      0);
	reply = vidas_wire_reply(&request, -EEXIST);
	CU_ASSERT_EQUAL_FATAL(decode(encode(&reply), &reply), 0);
	CU_ASSERT(reply.reply && reply.type == request.type && reply.id == 7 && !reply.flags &&
		  reply.status == -EEXIST && !reply.body && reply.blob_bytes == 0);
	/* A failed one has no body, whatever the type. */
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(samples); i++) {
		reply = vidas_wire_reply(&samples[i], -EIO);
		CU_ASSERT_EQUAL_FATAL(decode(encode(&reply), &reply), 0);
		CU_ASSERT(!reply.body && reply.status == -EIO);
	}
}

UNIT_MAIN("wire", { "round trips", test_round_trips },
	  { "every type has samples", test_every_type_has_samples },
	  { "bodies arrive", test_bodies_arrive }, { "cuts", test_cuts }, { "header", test_header },
	  { "bad fields", test_bad_fields }, { "bad fields alone", test_bad_fields_alone },
	  { "strings", test_strings }, { "blobs", test_blobs },
	  { "encode limits", test_encode_limits }, { "other versions", test_other_versions },
	  { "replies", test_replies })
