/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/client/admin.h"

#include <stdlib.h>
#include <string.h>

#include "pool/client/client.h"

/* A status longer than this is refused: nothing that vidasd has comes near it. */
#define STATUS_MAX (64u << 20)

int vidas_admin_domain_add(struct vidas *v, vidas_domain_id domain, uid_t uid)
{
	struct vidas_wire_domain_add body = { .domain = domain, .uid = uid };
	struct vidas_call call = { .type = VIDAS_WIRE_DOMAIN_ADD, .body = &body };
	int err = vidas_or_default(&v);

	return err < 0 ? err : vidas_call(v, &call);
}

int vidas_admin_domain_remove(struct vidas *v, vidas_domain_id domain)
{
	struct vidas_wire_domain_remove body = { .domain = domain };
	struct vidas_call call = { .type = VIDAS_WIRE_DOMAIN_REMOVE, .body = &body };
	int err = vidas_or_default(&v);

	return err < 0 ? err : vidas_call(v, &call);
}

int vidas_admin_container_create(struct vidas *v, const char *name,
				 const struct vidas_admin_access *list, size_t n, const char *root)
{
	struct vidas_wire_container_create body = { 0 };
	int err = vidas_or_default(&v);

	if (err < 0)
		return err;
	if (n > VIDAS_DOMAINS_MAX)
		return vidas_fail(-EINVAL, "more than %d domains", VIDAS_DOMAINS_MAX);
	for (size_t i = 0; i < n; i++) {
		body.domain[i].domain = list[i].domain;
		body.domain[i].access = list[i].readonly ? VIDAS_WIRE_RO : VIDAS_WIRE_RW;
	}
	body.domains = (uint32_t)n;
	return vidas_container_make(v, name, &body, root);
}

/* Appends a page to the text. */
static int page_add(char **text, size_t *bytes, const char *page, size_t page_bytes)
{
	char *more;

	if (*bytes + page_bytes > STATUS_MAX)
		return vidas_fail(-EFBIG, "the status of vidasd has no end");
	more = realloc(*text, *bytes + page_bytes + 1);
	if (!more)
		return vidas_fail(-ENOMEM, "no memory for the status of vidasd");
	memcpy(more + *bytes, page, page_bytes);
	*bytes += page_bytes;
	more[*bytes] = '\0';
	*text = more;
	return 0;
}

int vidas_admin_status(struct vidas *v, char **json)
{
	struct vidas_wire_status body = { 0 };
	struct vidas_wire_status_reply reply;
	char page[VIDAS_WIRE_BLOB_MAX], *text = NULL;
	struct vidas_call call = {
		.type = VIDAS_WIRE_STATUS,
		.body = &body,
		.reply = &reply,
		.reply_bytes = sizeof(reply),
		.reply_blob = page,
		.reply_blob_size = sizeof(page),
	};
	size_t bytes = 0;
	int err = vidas_or_default(&v);

	if (err < 0)
		return err;
	do {
		err = vidas_call(v, &call);
		if (!err)
			err = page_add(&text, &bytes, page, call.reply_blob_bytes);
		if (!err && reply.next && reply.next != bytes)
			err = vidas_fail(-EPROTO, "the status of vidasd has gaps");
		body.offset = reply.next;
	} while (!err && body.offset);
	if (err < 0) {
		free(text);
		return err;
	}
	*json = text;
	return 0;
}
