/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/host/container.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define META	       "meta"
#define META_BYTES_MAX 65536

static int add_domain(struct host_meta *meta, json_int_t id, uint32_t access)
{
	if (id < 0 || id > UINT32_MAX)
		return vidas_fail(-EINVAL, "%" JSON_INTEGER_FORMAT " is not a domain", id);
	for (unsigned i = 0; i < meta->domains; i++)
		if (meta->domain[i].domain == (uint32_t)id)
			return vidas_fail(-EINVAL, "domain %u is on the list twice", (unsigned)id);
	if (meta->domains == VIDAS_DOMAINS_MAX)
		return vidas_fail(-EINVAL, "more than %d domains", VIDAS_DOMAINS_MAX);
	meta->domain[meta->domains++] =
		(struct vidas_wire_domain_entry){ .domain = (uint32_t)id, .access = access };
	return 0;
}

static int load_domains(const json_t *list, struct host_meta *meta)
{
	int err = 0;
	size_t i;
	json_t *e;

	json_array_foreach(list, i, e) {
		const char *access = json_string_value(json_object_get(e, "access"));
		json_t *id = json_object_get(e, "id");

		if (!access || !json_is_integer(id))
			return vidas_fail(-EBADMSG, "an entry of domains is malformed");
		err = add_domain(meta, json_integer_value(id),
				 strcmp(access, "rw") == 0 ? VIDAS_WIRE_RW : VIDAS_WIRE_RO);
		if (err < 0)
			break;
	}
	return err;
}

int vidas_host_meta_load(int dir, struct host_meta *meta)
{
	const char *root;
	json_error_t where;
	json_t *json;
	char *text;
	size_t size;
	int err;

	*meta = (struct host_meta){ 0 };
	err = vidas_file_read(dir, META, META_BYTES_MAX, &text, &size);
	if (err < 0)
		return err;
	json = json_loadb(text, size, 0, &where);
	free(text);
	if (!json_is_object(json) || !json_is_integer(json_object_get(json, "initiator"))) {
		json_decref(json);
		return vidas_fail(-EBADMSG, "its meta is malformed: %s", where.text);
	}
	meta->initiator = (uint32_t)json_integer_value(json_object_get(json, "initiator"));
	meta->creator = (uint32_t)json_integer_value(json_object_get(json, "creator"));
	err = load_domains(json_object_get(json, "domains"), meta);
	root = json_string_value(json_object_get(json, "root"));
	if (err == 0 && root) {
		meta->root = strdup(root);
		err = meta->root ? 0 : -ENOMEM;
	}
	json_decref(json);
	return err;
}

static const char *access_name(uint32_t access)
{
	return access == VIDAS_WIRE_RW ? "rw" : "ro";
}

static int meta_text(const struct host_meta *meta, char **out)
{
	json_t *json = json_object(), *list = json_array();
	int err = 0;

	json_object_set_new(json, "initiator", json_integer(meta->initiator));
	json_object_set_new(json, "creator", json_integer(meta->creator));
	for (unsigned i = 0; i < meta->domains; i++) {
		json_t *e = json_object();

		json_object_set_new(e, "id", json_integer(meta->domain[i].domain));
		json_object_set_new(e, "access", json_string(access_name(meta->domain[i].access)));
		err |= json_array_append_new(list, e);
	}
	err |= json_object_set_new(json, "domains", list);
	/* A URL need not be UTF-8; one that is not cannot be kept. */
	if (meta->root && json_object_set_new(json, "root", json_string(meta->root)) < 0) {
		json_decref(json);
		return vidas_fail(-EINVAL, "the root URL is not UTF-8");
	}
	*out = err ? NULL : json_dumps(json, JSON_INDENT(1));
	json_decref(json);
	return *out ? 0 : vidas_fail(-ENOMEM, "no memory");
}

int vidas_host_meta_store(int dir, const struct host_meta *meta)
{
	char *text;
	int err = meta_text(meta, &text);

	if (err < 0)
		return err;
	err = vidas_file_replace(dir, META, text, strlen(text));
	free(text);
	return err;
}

int vidas_host_meta_begin(int dir, const struct host_meta *meta)
{
	char *text;
	int err = meta_text(meta, &text), fd;

	if (err < 0)
		return err;
	fd = openat(dir, META, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	err = fd < 0 ? -errno : vidas_pwrite_all(fd, text, strlen(text), 0);
	if (err == 0 && (fsync(fd) < 0 || fsync(dir) < 0))
		err = -errno;
	if (fd >= 0)
		close(fd);
	free(text);
	return err;
}

int vidas_host_meta_parse(const char *text, size_t bytes, struct host_meta *meta)
{
	struct host_meta list = { 0 };
	char *copy, *save = NULL;
	int err = 0;

	copy = calloc(1, bytes + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, text, bytes);
	if (strlen(copy) != bytes)
		err = vidas_fail(-EINVAL, "the list of domains has a NUL inside");
	for (char *word = strtok_r(copy, ", ", &save); err == 0 && word;
	     word = strtok_r(NULL, ", ", &save)) {
		size_t digits = strspn(word, "0123456789");
		const char *access = word + digits;

		if (!digits || digits > 10 ||
		    (access[0] && strcmp(access, ":ro") != 0 && strcmp(access, ":rw") != 0))
			err = vidas_fail(-EINVAL, "'%.32s' is not a domain such as 3, 3:ro or 3:rw",
					 word);
		else
			err = add_domain(&list, (json_int_t)strtoull(word, NULL, 10),
					 strcmp(access, ":ro") == 0 ? VIDAS_WIRE_RO :
								      VIDAS_WIRE_RW);
	}
	free(copy);
	if (err < 0)
		return err;
	meta->domains = list.domains;
	memcpy(meta->domain, list.domain, sizeof(list.domain));
	return 0;
}

char *vidas_host_meta_print(const struct host_meta *meta)
{
	size_t room = 16 * (size_t)meta->domains + 1, used = 0;
	char *text = calloc(1, room);

	for (unsigned i = 0; text && i < meta->domains; i++)
		used += (size_t)snprintf(text + used, room - used, "%s%" PRIu32 "%s", i ? "," : "",
					 meta->domain[i].domain,
					 meta->domain[i].access == VIDAS_WIRE_RO ? ":ro" : "");
	return text;
}
