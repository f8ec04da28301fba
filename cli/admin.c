/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The administrator's verbs: status, domain, container. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "pool/base/base.h"
#include "pool/client/admin.h"

static int status_get(struct cli *cli, json_t **out)
{
	char *text = NULL;
	int err, status = cli_connect(cli);

	if (status)
		return status;
	err = vidas_admin_status(cli->v, &text);
	if (err < 0)
		return cli_fail(err, "cannot ask for the status");
	*out = json_loads(text, 0, NULL);
	free(text);
	return *out ? 0 :
		      cli_fail(
			      0,
			      "vidasd's status is not JSON: vidas and vidasd are of different versions");
}

static void print_json(json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2));
	putchar('\n');
}

static const char *text_of(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static json_int_t number_of(json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static void print_ids(json_t *list)
{
	size_t i;
	json_t *entry;

	json_array_foreach(list, i, entry) {
		json_t *id = json_is_object(entry) ? json_object_get(entry, "id") : entry;
		const char *access = json_is_object(entry) ? text_of(entry, "access") : "";

		printf("%s%" JSON_INTEGER_FORMAT "%s", i ? "," : "", json_integer_value(id),
		       strcmp(access, "ro") == 0 ? ":ro" : "");
	}
	if (json_array_size(list) == 0)
		putchar('-');
}

static void print_domains(json_t *status)
{
	size_t i;
	json_t *d;

	json_array_foreach(json_object_get(status, "domains"), i, d)
		printf("domain %" JSON_INTEGER_FORMAT ": %" JSON_INTEGER_FORMAT
		       " session(s), %" JSON_INTEGER_FORMAT " request(s) answered\n",
		       number_of(d, "id"), number_of(d, "sessions"), number_of(d, "requests"));
}

/* What is not in the store, if anything. */
static void print_push(json_t *push)
{
	const char *least = json_is_true(json_object_get(push, "whole")) ? "" : "at least ";
	json_int_t changed = number_of(push, "changed"), removed = number_of(push, "removed");

	if (changed || removed) {
		printf("  not pushed: %s%" JSON_INTEGER_FORMAT " changed (%" JSON_INTEGER_FORMAT
		       " KiB), %" JSON_INTEGER_FORMAT " removed",
		       least, changed, (number_of(push, "bytes") + 1023) >> 10, removed);
		if (json_object_get(push, "oldest_seconds"))
			printf(", the oldest for %" JSON_INTEGER_FORMAT " s",
			       number_of(push, "oldest_seconds"));
		putchar('\n');
	}
	if (number_of(push, "failed")) {
		printf("  cannot be pushed: %" JSON_INTEGER_FORMAT, number_of(push, "failed"));
		if (*text_of(push, "example"))
			printf(" ('%s')", text_of(push, "example"));
		if (json_object_get(push, "failing_seconds"))
			printf(", for %" JSON_INTEGER_FORMAT " s",
			       number_of(push, "failing_seconds"));
		printf(": %s\n", text_of(push, "error"));
	}
	if (*text_of(push, "watch_error"))
		printf("  cannot be looked at for anything newer: %s\n",
		       text_of(push, "watch_error"));
	if (number_of(push, "conflicts"))
		printf("  conflicts: %s%" JSON_INTEGER_FORMAT " kept\n", least,
		       number_of(push, "conflicts"));
}

static void print_containers(json_t *status)
{
	size_t i;
	json_t *c;

	json_array_foreach(json_object_get(status, "containers"), i, c) {
		printf("container %s: initiator %" JSON_INTEGER_FORMAT ", domains ",
		       text_of(c, "name"), number_of(c, "initiator"));
		print_ids(json_object_get(c, "domains"));
		fputs(", attached by ", stdout);
		print_ids(json_object_get(c, "attached"));
		printf(", root %s\n", *text_of(c, "root") ? text_of(c, "root") : "none");
		print_push(json_object_get(c, "push"));
	}
}

/* Prints one part of the status: `key` as JSON, or by `print`. */
static int print_part(struct cli *cli, const char *key, void (*print)(json_t *))
{
	json_t *status = NULL;
	int err = status_get(cli, &status);

	if (err)
		return err;
	if (cli->json)
		print_json(json_object_get(status, key));
	else
		print(status);
	json_decref(status);
	return 0;
}

int cli_status(struct cli *cli, int argc, char **argv)
{
	json_t *status = NULL, *pool;
	int err;

	(void)argv;
	if (argc)
		return cli_usage("status", "takes no arguments");
	err = status_get(cli, &status);
	if (err)
		return err;
	cli_guests_add(cli, status);
	if (cli->json) {
		print_json(status);
	} else {
		pool = json_object_get(status, "pool");
		printf("vidasd %s, pid %" JSON_INTEGER_FORMAT "\n", text_of(status, "version"),
		       number_of(status, "pid"));
		printf("pool %s: %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " MiB used\n",
		       text_of(pool, "path"), number_of(pool, "used") >> 20,
		       number_of(pool, "size") >> 20);
		print_domains(status);
		cli_guests_print(status);
		print_containers(status);
	}
	json_decref(status);
	return 0;
}

int cli_domain(struct cli *cli, int argc, char **argv)
{
	vidas_domain_id id, uid = 0;
	int err;

	if (argc == 1 && strcmp(argv[0], "list") == 0)
		return print_part(cli, "domains", print_domains);
	if (argc < 2 || (strcmp(argv[0], "add") != 0 && strcmp(argv[0], "remove") != 0))
		return cli_usage("domain", "wants `add ID`, `remove ID` or `list`");
	if (cli_parse_domain(argv[1], &id) < 0 || id == 0)
		return cli_usage("domain", "'%s' is not a domain's id (1 to 32767)", argv[1]);
	if (argc == 4 && strcmp(argv[0], "add") == 0 && strcmp(argv[2], "--uid") == 0) {
		if (vidas_number(argv[3], UINT32_MAX - 1, &uid) < 0)
			return cli_usage("domain", "'%s' is not a user id", argv[3]);
	} else if (argc != 2) {
		return cli_usage("domain", "does not understand '%s'", argv[2]);
	}
	err = cli_connect(cli);
	if (err)
		return err;
	if (strcmp(argv[0], "add") == 0)
		err = vidas_admin_domain_add(cli->v, id, uid);
	else
		err = vidas_admin_domain_remove(cli->v, id);
	return err < 0 ? cli_fail(err, "cannot %s domain %" PRIu32, argv[0], id) : 0;
}

/* "1,2:ro" */
static int parse_access(char *list, struct vidas_admin_access *out, size_t *n)
{
	char *save = NULL;

	for (char *item = strtok_r(list, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
		char *colon = strchr(item, ':');

		if (*n == VIDAS_DOMAINS_MAX)
			return -E2BIG;
		if (colon && strcmp(colon, ":ro") != 0 && strcmp(colon, ":rw") != 0)
			return -EINVAL;
		out[*n].readonly = colon && strcmp(colon, ":ro") == 0;
		if (colon)
			*colon = '\0';
		if (cli_parse_domain(item, &out[*n].domain) < 0)
			return -EINVAL;
		(*n)++;
	}
	return 0;
}

static int container_create(struct cli *cli, int argc, char **argv)
{
	struct vidas_admin_access access[VIDAS_DOMAINS_MAX];
	const char *root = NULL;
	size_t n = 0;
	int err;

	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			return cli_usage("container", "'%s' wants a value", argv[i]);
		if (strcmp(argv[i], "--root") == 0)
			root = argv[i + 1];
		else if (strcmp(argv[i], "--domains") != 0)
			return cli_usage("container", "does not understand '%s'", argv[i]);
		else if (parse_access(argv[i + 1], access, &n) < 0)
			return cli_usage("container",
					 "the list of domains is like 1,2:ro and has at most %d",
					 VIDAS_DOMAINS_MAX);
	}
	err = cli_connect(cli);
	if (err)
		return err;
	err = vidas_admin_container_create(cli->v, argv[0], access, n, root);
	return err < 0 ? cli_fail(err, "cannot create container %s", argv[0]) : 0;
}

static int collect_name(const char *name, void *arg)
{
	return json_array_append_new(arg, json_pack("{s:o}", "name", json_string_nocheck(name))) <
			       0 ?
		       -ENOMEM :
		       0;
}

/* Domains are told names alone; the host is told all there is. */
static int container_list(struct cli *cli)
{
	json_t *list, *c;
	char *text = NULL;
	size_t i;
	int err = cli_connect(cli);

	if (err)
		return err;
	err = vidas_admin_status(cli->v, &text);
	free(text);
	if (err != -EPERM)
		return print_part(cli, "containers", print_containers);
	list = json_array();
	err = vidas_container_list(cli->v, collect_name, list);
	if (!err && cli->json)
		print_json(list);
	else if (!err)
		json_array_foreach(list, i, c)
			printf("container %s\n", text_of(c, "name"));
	json_decref(list);
	return err < 0 ? cli_fail(err, "cannot list the containers") : 0;
}

int cli_container(struct cli *cli, int argc, char **argv)
{
	int err;

	if (argc == 1 && strcmp(argv[0], "list") == 0)
		return container_list(cli);
	if (argc >= 2 && strcmp(argv[0], "create") == 0)
		return container_create(cli, argc - 1, argv + 1);
	if (argc != 2 || strcmp(argv[0], "destroy") != 0)
		return cli_usage("container", "wants `create NAME`, `destroy NAME` or `list`");
	err = cli_connect(cli);
	if (err)
		return err;
	err = vidas_container_destroy(cli->v, argv[1]);
	return err < 0 ? cli_fail(err, "cannot destroy container %s", argv[1]) : 0;
}
