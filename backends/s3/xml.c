/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The few answers of S3 that matter, by the names of elements. What comes is hostile: a document
 * type (and with it every entity of its own) ends the parser, as do depth, length of a text and
 * number of entries beyond what S3 sends.
 */
#include "backends/s3/s3.h"

#include <errno.h>
#include <expat.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX   16u
#define TEXT_MAX    8192u
#define ENTRIES_MAX 100000u

struct parser {
	XML_Parser expat;
	struct s3_answer *out;
	unsigned depth;
	bool inside; /* an entry is being read */
	int err;
	char name[DEPTH_MAX][32]; /* of the elements around, cut */
	char text[TEXT_MAX];
	size_t used;
};

static void stop(struct parser *p, int err)
{
	if (!p->err)
		p->err = err;
	XML_StopParser(p->expat, XML_FALSE);
}

/* "ns:Name" is Name to us; other parsers know the namespace by its URI. */
static const char *local(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon ? colon + 1 : name;
}

static bool is_entry(const char *name)
{
	return strcmp(name, "Contents") == 0 || strcmp(name, "CommonPrefixes") == 0 ||
	       strcmp(name, "Upload") == 0 || strcmp(name, "Error") == 0;
}

static struct s3_entry *entry_new(struct parser *p)
{
	struct s3_answer *a = p->out;
	struct s3_entry *entry;

	if (a->entries == a->room) {
		size_t room = a->room ? 2 * a->room : 64;

		entry = a->entries < ENTRIES_MAX ? reallocarray(a->entry, room, sizeof(*entry)) :
						   NULL;
		if (!entry)
			return NULL;
		a->entry = entry;
		a->room = room;
	}
	entry = &a->entry[a->entries++];
	memset(entry, 0, sizeof(*entry));
	return entry;
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct parser *p = arg;
	struct s3_entry *entry;

	(void)attributes;
	name = local(name);
	if (p->depth == DEPTH_MAX) {
		stop(p, -EBADMSG);
		return;
	}
	strncpy(p->name[p->depth], name, sizeof(p->name[0]) - 1);
	p->name[p->depth++][sizeof(p->name[0]) - 1] = '\0';
	p->used = 0;
	if (p->depth == 2 && is_entry(name)) {
		entry = entry_new(p);
		if (!entry) {
			stop(p, -ENOMEM);
			return;
		}
		entry->prefix = strcmp(name, "CommonPrefixes") == 0;
		p->inside = true;
	}
}

static void on_text(void *arg, const XML_Char *text, int size)
{
	struct parser *p = arg;

	if (size < 0 || p->used + (size_t)size >= sizeof(p->text)) {
		stop(p, -EBADMSG);
		return;
	}
	memcpy(p->text + p->used, text, (size_t)size);
	p->used += (size_t)size;
}

static void text_copy(struct parser *p, char *out, size_t size)
{
	size_t n = p->used < size - 1 ? p->used : size - 1;

	memcpy(out, p->text, n);
	out[n] = '\0';
}

static void text_keep(struct parser *p, char **out)
{
	if (*out) {
		stop(p, -EBADMSG); /* it may come once */
		return;
	}
	*out = strndup(p->text, p->used);
	if (!*out)
		stop(p, -ENOMEM);
}

static void entry_field(struct parser *p, const char *name)
{
	struct s3_entry *e = &p->out->entry[p->out->entries - 1];

	if (strcmp(name, "Key") == 0 || (e->prefix && strcmp(name, "Prefix") == 0))
		text_keep(p, &e->name);
	else if (strcmp(name, "ETag") == 0)
		text_copy(p, e->etag, sizeof(e->etag));
	else if (strcmp(name, "Size") == 0)
		e->size = strtoull(p->text, NULL, 10);
	else if (strcmp(name, "LastModified") == 0 || strcmp(name, "Initiated") == 0)
		e->modified = vidas_s3_time_parse(p->text);
	else if (strcmp(name, "UploadId") == 0)
		text_keep(p, &e->upload);
}

static void answer_field(struct parser *p, const char *name)
{
	struct s3_answer *a = p->out;

	if (strcmp(name, "IsTruncated") == 0)
		a->truncated = strcmp(p->text, "true") == 0;
	else if (strcmp(name, "EncodingType") == 0)
		a->encoded = strcmp(p->text, "url") == 0;
	else if (strcmp(name, "NextContinuationToken") == 0 || strcmp(name, "NextKeyMarker") == 0 ||
		 strcmp(name, "NextMarker") == 0)
		text_keep(p, &a->next);
	else if (strcmp(name, "NextUploadIdMarker") == 0)
		text_keep(p, &a->next_upload);
	else if (strcmp(name, "UploadId") == 0)
		text_copy(p, a->upload_id, sizeof(a->upload_id));
	else if (strcmp(name, "ETag") == 0)
		text_copy(p, a->etag, sizeof(a->etag));
	else if (strcmp(name, "ChecksumSHA256") == 0)
		text_copy(p, a->sum, sizeof(a->sum));
	else if (strcmp(name, "Code") == 0)
		text_copy(p, a->code, sizeof(a->code));
	else if (strcmp(name, "Message") == 0)
		text_copy(p, a->message, sizeof(a->message));
	else if (strcmp(name, "Region") == 0)
		text_copy(p, a->region, sizeof(a->region));
}

static void on_end(void *arg, const XML_Char *name)
{
	struct parser *p = arg;

	name = local(name);
	p->text[p->used] = '\0';
	p->depth--;
	if (p->depth == 2 && p->inside)
		entry_field(p, name);
	else if (p->depth == 1 && p->inside)
		p->inside = false;
	else if (p->depth == 1)
		answer_field(p, name);
	p->used = 0;
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
		       const XML_Char *public, int internal)
{
	(void)name;
	(void)system;
	(void)public;
	(void)internal;
	stop(arg, -EBADMSG);
}

/* An entry without a name is none that could be used. */
static void entries_check(struct s3_answer *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->entries; i++) {
		if (a->entry[i].name)
			a->entry[n++] = a->entry[i];
		else
			free(a->entry[i].upload);
	}
	a->entries = n;
}

/* Has XML 1.0 no such character? */
static bool forbidden(unsigned long c)
{
	return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0xfffe || c == 0xffff;
}

bool vidas_s3_xml_cleanse(char *text)
{
	bool found = false;

	for (char *c = text; *c; c++) {
		char *end = c;
		unsigned long code = (unsigned char)*c;

		if (c[0] == '&' && c[1] == '#') {
			code = c[2] == 'x' ? strtoul(c + 3, &end, 16) : strtoul(c + 2, &end, 10);
			if (*end != ';')
				continue;
		}
		if (forbidden(code)) {
			memset(c, '?', (size_t)(end - c) + 1);
			found = true;
		}
	}
	return found;
}

int vidas_s3_xml_parse(const char *text, size_t bytes, struct s3_answer *out)
{
	struct parser *p = calloc(1, sizeof(*p));
	int err = -ENOMEM;

	memset(out, 0, sizeof(*out));
	if (!p)
		return -ENOMEM;
	p->out = out;
	p->expat = XML_ParserCreate(NULL);
	if (!p->expat)
		goto out;
	XML_SetUserData(p->expat, p);
	XML_SetElementHandler(p->expat, on_start, on_end);
	XML_SetCharacterDataHandler(p->expat, on_text);
	XML_SetStartDoctypeDeclHandler(p->expat, on_doctype);
	if (bytes > S3_ANSWER_MAX ||
	    XML_Parse(p->expat, text, (int)bytes, XML_TRUE) != XML_STATUS_OK)
		err = p->err ? p->err : -EBADMSG;
	else
		err = 0;
	entries_check(out);
out:
	if (p->expat)
		XML_ParserFree(p->expat);
	free(p);
	return err;
}

void vidas_s3_answer_clear(struct s3_answer *a)
{
	for (size_t i = 0; i < a->entries; i++) {
		free(a->entry[i].name);
		free(a->entry[i].upload);
	}
	free(a->entry);
	free(a->next);
	free(a->next_upload);
	*a = (struct s3_answer){ 0 };
}
