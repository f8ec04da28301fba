/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/base/base.h"

static const struct cli_verb verbs[] = {
	{ "status", "", "what vidasd is and has: pool, domains, containers, what is not pushed",
	  "Of a container with a root it tells what its store does not have yet: things changed and\n"
	  "removed, since when, conflict copies, and why something cannot be pushed. With --json as\n"
	  "`push`: changed, bytes, removed, open (files that may be changing through mappings),\n"
	  "conflicts, failed, error, example (a file that failed), watch_error, failing_seconds,\n"
	  "oldest_seconds (of what is pushed unasked). It takes 0.3 s at most; `whole` is false, and\n"
	  "the numbers are the least, where that was too short.\n",
	  cli_status },
	{ "domain", "add ID [--uid UID] | remove ID | list", "the domains that may connect",
	  "  add ID     makes the domain and its socket, RUN_DIR/domains/ID/sock\n"
	  "  --uid UID  who besides root may connect to it (default: only root)\n",
	  cli_domain },
	{ "container", "create NAME [--root URL] [--domains LIST] | destroy NAME | list",
	  "sharing groups",
	  "  --root URL      what stands behind it: file:///srv/data (none: memory alone)\n"
	  "  --domains LIST  who may attach it: 1,2 or 1,2:ro\n",
	  cli_container },
	{ "stat", "PATH...", "where a file's bytes are, its state and its policies", NULL,
	  cli_stat },
	{ "policy", "get PATH... | set NAME=VALUE PATH... | reset NAME PATH...",
	  "write, update and synchronization policy of files and directories", NULL, cli_policy },
	{ "flush", "[--progress] PATH...",
	  "push changes to the backend; returns when they are there",
	  "  --progress  says each second, on stderr, how many bytes of what is being pushed are sent\n",
	  cli_flush },
	{ "update", "[--progress] PATH...", "take over what the backend has now",
	  "  --progress  says each second, on stderr, how many bytes of what is being fetched are here\n",
	  cli_update },
	{ "prefetch", "[--progress] [--range OFFSET+LENGTH] PATH...",
	  "fetch what is not in the pool yet, of directories all below; returns when it is there",
	  "  --progress             says each second, on stderr, how much of each file is here\n"
	  "  --range OFFSET+LENGTH  only these bytes of each file\n",
	  cli_prefetch },
	{ "backend", "list | test URL [--filters LIST]",
	  "the backends that can be used in a root URL; what one root can do",
	  "  test URL        writes, reads and removes in a directory of its own below the root, and\n"
	  "                  says what works, how fast, or what is wrong. It needs no vidasd, and has\n"
	  "                  the credentials of who calls it: vidasd's own may be others.\n"
	  "  --filters LIST  as vidasd has them: retry,stats\n",
	  cli_backend },
	{ "fsck", "[--pool DIR] [--repair] [--data]", "is a pool on this host what it should be?",
	  "  --pool DIR  the pool's directory (default: /run/vidas/pool)\n"
	  "  --repair    mend what can be mended without losing a byte; not while a vidasd has the pool\n"
	  "  --data      read all files as well: are their bytes those that were pushed or fetched last?\n"
	  "\n"
	  "Prints a line for each problem (what no vidasd leaves), with what to do; for each leftover of a\n"
	  "killed vidasd, which the next one deals with by itself; and for each container how much it has.\n"
	  "Exit status, as of fsck(8): 0 no problems, 1 all were repaired, 4 some are left, 8 could not\n"
	  "check, 16 wrong usage.\n",
	  cli_fsck },
	{ "doctor", "", "what this host lacks, or what is wrong, and what mends it", NULL,
	  cli_doctor },
};

static void help(FILE *to)
{
	fputs("usage: vidas [--socket PATH] [--json] VERB [ARGUMENTS]\n\n", to);
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(verbs); i++)
		fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
	fputs("\nPATH is a file or directory below a mount of vidasfs (/vidas/...).\n"
	      "`vidas VERB --help` says more. Exit status: 0 done, 1 failed, 2 wrong usage.\n",
	      to);
}

static int verb_help(const struct cli_verb *verb)
{
	printf("usage: vidas %s %s\n\n  %s\n", verb->name, verb->usage, verb->summary);
	if (verb->help)
		printf("\n%s", verb->help);
	return 0;
}

int cli_fail(int err, const char *fmt, ...)
{
	const char *why = err < 0 && *vidas_error_text() ? vidas_error_text() :
			  err < 0			 ? strerror(-err) :
							   NULL;
	va_list ap;

	fputs("vidas: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, why ? ": %s\n" : "\n", why);
	return 1;
}

int cli_usage(const char *verb, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "vidas %s: ", verb);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "; `vidas %s --help` says more\n", verb);
	return 2;
}

const char *cli_address(const struct cli *cli)
{
	const char *address = cli->socket ? cli->socket : getenv("VIDAS_SOCKET");

	return address ? address : "/run/vidas/vidasd.sock";
}

int cli_connect(struct cli *cli)
{
	const char *address = cli_address(cli);
	int err;

	if (cli->v)
		return 0;
	err = vidas_open(address, &cli->v);
	if (err == -ENOENT || err == -ECONNREFUSED)
		return cli_fail(
			0,
			"no vidasd answers at %s: start it (systemctl start vidasd), or name its socket by --socket",
			address);
	return err < 0 ? cli_fail(err, "cannot connect to %s", address) : 0;
}

int cli_parse_domain(const char *text, vidas_domain_id *out)
{
	return vidas_number(text, 0x7fff, out);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "socket", required_argument, NULL, 's' },
						 { "json", no_argument, NULL, 'j' },
						 { "help", no_argument, NULL, 'h' },
						 { "version", no_argument, NULL, 'V' },
						 { NULL, 0, NULL, 0 } };
	struct cli cli = { 0 };
	int c, status;

	vidas_log_init("vidas", VIDAS_LOG_WARNING);
	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		switch (c) {
		case 's':
			cli.socket = optarg;
			break;
		case 'j':
			cli.json = true;
			break;
		case 'h':
			help(stdout);
			return 0;
		case 'V':
			puts("vidas " VIDAS_VERSION_STRING);
			return 0;
		default:
			return 2;
		}
	}
	if (optind == argc) {
		help(stderr);
		return 2;
	}
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(verbs); i++) {
		if (strcmp(argv[optind], verbs[i].name) != 0)
			continue;
		argc -= optind + 1;
		argv += optind + 1;
		/* --json may also stand behind the verb, and asking for help is never an error. */
		for (int a = 0; a < argc; a++) {
			if (strcmp(argv[a], "--help") == 0)
				return verb_help(&verbs[i]);
			if (strcmp(argv[a], "--json") == 0) {
				cli.json = true;
				memmove(&argv[a], &argv[a + 1], (size_t)(argc - a) * sizeof(*argv));
				argc--;
				a--;
			}
		}
		status = verbs[i].run(&cli, argc, argv);
		vidas_close(cli.v);
		if (fflush(stdout) != 0 && status == 0)
			status = cli_fail(-errno, "cannot write the result");
		return status;
	}
	fprintf(stderr, "vidas: there is no verb '%s'; `vidas --help` lists them\n", argv[optind]);
	return 2;
}
