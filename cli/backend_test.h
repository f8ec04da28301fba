/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `vidas backend test URL`: opens a root as vidasd would, with this user's credentials, and does
 * in a directory of its own (".vidas-test-...", removed at the end, also after a failure or ^C)
 * what vidasd will do with it: each is a line that says how it went, how long it took, or what is
 * wrong in the backend's words.
 */
#ifndef VIDAS_CLI_BACKEND_TEST_H
#define VIDAS_CLI_BACKEND_TEST_H

#include "cli/cli.h"

/* Exit status 0: all that the root promises works; 1: it does not. `filters` may be NULL. */
int cli_backend_test(struct cli *cli, const char *url, const char *filters);

#endif
