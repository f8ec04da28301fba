/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The `vidas` command: a table of verbs. A verb gets its own arguments, prints its result to
 * stdout and every failure as one line to stderr, and returns an exit status: 0 done, 1 failed,
 * 2 wrong usage.
 */
#ifndef VIDAS_CLI_H
#define VIDAS_CLI_H

#include <stdbool.h>

#include <jansson.h>
#include <vidas/vidas.h>

struct cli {
	const char *socket; /* --socket; NULL: the administrator's */
	bool json;	    /* --json */
	struct vidas *v;    /* opened by cli_connect() */
};

struct cli_verb {
	const char *name;
	const char *usage;   /* arguments, for help */
	const char *summary; /* one line */
	const char *help;    /* more lines, or NULL */
	int (*run)(struct cli *cli, int argc, char **argv);
};

/* Failure: "vidas: text" to stderr; returns 1. With err < 0 the errno in words follows, or
 * vidas_error_text() if there is one. */
int cli_fail(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Wrong usage of a verb: says so and how to get help; returns 2. */
int cli_usage(const char *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Where vidasd is: --socket, the environment, the usual place. */
const char *cli_address(const struct cli *cli);
/* Connects once; 0, or an exit status after having said why not. */
int cli_connect(struct cli *cli);

/* A number, whole and in range; a list "2,3:ro". -EINVAL. */
int cli_parse_domain(const char *text, vidas_domain_id *out);

/* guests.c: the guests that vidas-gate serves, for the status: adds "guests" to it, if there are any; prints those. */
void cli_guests_add(struct cli *cli, json_t *status);
void cli_guests_print(json_t *status);

int cli_status(struct cli *cli, int argc, char **argv);
int cli_domain(struct cli *cli, int argc, char **argv);
int cli_container(struct cli *cli, int argc, char **argv);
int cli_stat(struct cli *cli, int argc, char **argv);
int cli_policy(struct cli *cli, int argc, char **argv);
int cli_flush(struct cli *cli, int argc, char **argv);
int cli_update(struct cli *cli, int argc, char **argv);
int cli_prefetch(struct cli *cli, int argc, char **argv);
int cli_backend(struct cli *cli, int argc, char **argv);
int cli_fsck(struct cli *cli, int argc, char **argv);
int cli_doctor(struct cli *cli, int argc, char **argv);

#endif
