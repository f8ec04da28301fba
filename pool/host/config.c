/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/host/config.h"

#include <ctype.h>
#include <getopt.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backends/store.h"
#include "pool/base/base.h"

#define OPTIONS_MAX 16u

struct option_def {
	const char *name;
	const char *arg; /* NULL: a flag, for the command line only */
	int (*set)(struct host_config *cfg, const char *value);
	const char *help;
};

static int set_text(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return vidas_fail(-ENOMEM, "no memory");
	free(*field);
	*field = copy;
	return 0;
}

static int set_path(char **field, const char *what, const char *value)
{
	if (value[0] != '/')
		return vidas_fail(-EINVAL, "%s '%s' is not an absolute path", what, value);
	return set_text(field, value);
}

static int set_file(struct host_config *cfg, const char *value)
{
	return set_text(&cfg->file, value);
}

static int set_pool(struct host_config *cfg, const char *value)
{
	return set_path(&cfg->pool, "pool", value);
}

static int set_run_dir(struct host_config *cfg, const char *value)
{
	return set_path(&cfg->run_dir, "run-dir", value);
}

static int set_pool_size(struct host_config *cfg, const char *value)
{
	size_t digits = strspn(value, "0123456789");

	if (!digits || digits > 15 || strspn(value, "0") == digits ||
	    (value[digits] && (!strchr("kKmMgG%", value[digits]) || value[digits + 1])))
		return vidas_fail(-EINVAL,
				  "pool-size '%s' is not a size: a number with K, M, G or %%",
				  value);
	return set_text(&cfg->pool_size, value);
}

static int set_pool_huge(struct host_config *cfg, const char *value)
{
	static const char *const modes[] = { "never", "always", "within_size", "advise" };

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(modes); i++)
		if (strcmp(value, modes[i]) == 0)
			return set_text(&cfg->pool_huge, value);
	return vidas_fail(-EINVAL, "pool-huge '%s' is none of never, always, within_size, advise",
			  value);
}

static int set_default_root(struct host_config *cfg, const char *value)
{
	size_t scheme = strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789+-.");

	if (!scheme || strncmp(value + scheme, "://", 3) != 0)
		return vidas_fail(
			-EINVAL, "default-root '%s' is not a URL such as file:///srv/vidas", value);
	return set_text(&cfg->default_root, value);
}

/* The backend that is always there tells whether they are right. */
static int set_filters(struct host_config *cfg, const char *value)
{
	struct vidas_store *store;
	int err = vidas_store_open("mem://filters", value, &store);

	if (err < 0)
		return vidas_fail(err, "filters '%s': %s", value, vidas_fail_text());
	vidas_store_close(store);
	return set_text(&cfg->filters, value);
}

static int set_log_level(struct host_config *cfg, const char *value)
{
	static const struct {
		const char *name;
		int level;
	} levels[] = { { "error", VIDAS_LOG_ERR },
		       { "warning", VIDAS_LOG_WARNING },
		       { "notice", VIDAS_LOG_NOTICE },
		       { "info", VIDAS_LOG_INFO },
		       { "debug", VIDAS_LOG_DEBUG } };

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(levels); i++) {
		if (strcasecmp(value, levels[i].name) == 0) {
			cfg->log_level = levels[i].level;
			return 0;
		}
	}
	return vidas_fail(-EINVAL, "log-level '%s' is none of error, warning, notice, info, debug",
			  value);
}

static int set_check(struct host_config *cfg, const char *value)
{
	(void)value;
	cfg->check = true;
	return 0;
}

static int set_version(struct host_config *cfg, const char *value)
{
	(void)value;
	cfg->version = true;
	return 0;
}

static int set_help(struct host_config *cfg, const char *value)
{
	(void)value;
	cfg->help = true;
	return 0;
}

static const struct option_def options[] = {
	{ "config", "FILE", set_file, "configuration file (" HOST_CONFIG_FILE ", if it is there)" },
	{ "pool", "DIR", set_pool, "directory of the pool (a tmpfs mounted at RUN-DIR/pool)" },
	{ "pool-size", "SIZE", set_pool_size,
	  "size of the tmpfs: a number with K, M, G or % of memory (50%)" },
	{ "pool-huge", "MODE", set_pool_huge,
	  "huge pages of the tmpfs: never, always, within_size, advise (within_size)" },
	{ "run-dir", "DIR", set_run_dir, "directory of the sockets (" HOST_RUN_DIR ")" },
	{ "default-root", "URL", set_default_root,
	  "containers made by domains get URL/NAME as their root (none)" },
	{ "filters", "LIST", set_filters,
	  "what is put over the store of every root, outermost first (" HOST_FILTERS ")" },
	{ "log-level", "LEVEL", set_log_level, "error, warning, notice, info or debug (info)" },
	{ "check-config", NULL, set_check, "read options and configuration file, and exit" },
	{ "version", NULL, set_version, "print the version, and exit" },
	{ "help", NULL, set_help, "print this, and exit" },
};
_Static_assert(VIDAS_ARRAY_SIZE(options) < OPTIONS_MAX, "room for getopt's end mark");

void vidas_host_config_help(void)
{
	printf("Usage: vidasd [OPTION]...\n"
	       "Shares files and objects between the domains of this host: keeps the pool, hands its\n"
	       "memory to the domains that may have it, and moves bytes to and from their stores.\n\n");
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(options); i++) {
		const struct option_def *o = &options[i];
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->arg ? " " : "",
			 o->arg ? o->arg : "");
		printf("  %-22s %s\n", left, o->help);
	}
	printf("\nThe configuration file has lines `option = value` with the same options, with '_' or\n"
	       "'-' (pool_size = 4G), and comments after ';' or '#'. Unknown options are errors.\n\n"
	       "Filters, separated by ',', with parameters as in retry=tries:8+total:60s ('': none):\n"
	       "  retry  makes calls to a store again that failed for a passing reason: tries:6 calls,\n"
	       "         with pauses from first:100ms, doubled up to longest:5s; none is begun after\n"
	       "         total:30s. Once a call has given up, the others are made once each until the\n"
	       "         store answers again. So a call ends after total and one time-out of the store.\n"
	       "  fault  lets calls fail, for tests: rate:1%% of them, with errno:EIO\n\n"
	       "Signals: TERM and INT stop vidasd; the pool stays, with everything in it, and a vidasd\n"
	       "started again goes on with it. HUP reads log-level and default-root again.\n\n"
	       "Exit status: 0 stopped as asked, 1 could not run, 2 wrong command line.\n");
}

/* In the file '_' and '-' are the same. */
static bool same_name(const char *option, const char *key)
{
	for (; *option && *key; option++, key++)
		if (*option != (*key == '_' ? '-' : *key))
			return false;
	return !*option && !*key;
}

struct file_state {
	struct host_config *cfg;
	char error[512]; /* of the first wrong line; inih tells its number */
};

static int file_line(void *arg, const char *section, const char *name, const char *value)
{
	struct file_state *st = arg;
	const struct option_def *found = NULL;
	int err;

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(options); i++)
		if (options[i].arg && options[i].set != set_file &&
		    same_name(options[i].name, name))
			found = &options[i];
	if (section[0] && strcmp(section, "vidasd") != 0)
		err = vidas_fail(-EINVAL, "unknown section [%s]", section);
	else if (!found)
		err = vidas_fail(-EINVAL, "unknown option '%s'", name);
	else
		err = found->set(st->cfg, value);
	if (err < 0 && !st->error[0])
		snprintf(st->error, sizeof(st->error), "%s", vidas_fail_text());
	return err == 0;
}

static int read_file(struct host_config *cfg)
{
	const char *path = cfg->file ? cfg->file : HOST_CONFIG_FILE;
	struct file_state st = { .cfg = cfg };
	FILE *f = fopen(path, "re");
	int line, err = errno;

	if (!f) {
		if (err == ENOENT && !cfg->file)
			return 0;
		return vidas_fail(-err, "cannot read the configuration %s: %s", path,
				  strerror(err));
	}
	line = ini_parse_file(f, file_line, &st);
	err = ferror(f) ? EIO : 0;
	fclose(f);
	if (err || line < 0) /* a directory opens, but does not read */
		return vidas_fail(-EIO, "cannot read the configuration %s", path);
	if (line > 0)
		return vidas_fail(-EBADMSG, "%s:%d: %s", path, line,
				  st.error[0] ? st.error : "not a line `option = value`");
	return 0;
}

/* `only_file`: what must be known before the file is read. */
static int read_args(int argc, char **argv, struct host_config *cfg, bool only_file)
{
	struct option longs[OPTIONS_MAX] = { 0 };
	int got, index = 0, err = 0;

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(options); i++)
		longs[i] = (struct option){ .name = options[i].name,
					    .has_arg = options[i].arg ? required_argument :
									no_argument };
	optind = 0; /* glibc: start anew */
	opterr = 0;
	while (err == 0 && (got = getopt_long(argc, argv, "+:h", longs, &index)) != -1) {
		if (got == 'h')
			err = set_help(cfg, NULL);
		else if (got == ':')
			err = vidas_fail(-EINVAL, "option '%s' needs a value; see vidasd --help",
					 argv[optind - 1]);
		else if (got != 0)
			err = vidas_fail(-EINVAL, "unknown option '%s'; see vidasd --help",
					 argv[optind - 1]);
		else if (!only_file || options[index].set == set_file || !options[index].arg)
			err = options[index].set(cfg, optarg);
	}
	if (err == 0 && optind < argc)
		err = vidas_fail(-EINVAL, "'%s' is no option; see vidasd --help", argv[optind]);
	return err < 0 ? -EINVAL : 0;
}

int vidas_host_config_load(int argc, char **argv, struct host_config *out)
{
	struct host_config cfg = { .log_level = VIDAS_LOG_INFO };
	int err;

	err = set_text(&cfg.run_dir, HOST_RUN_DIR);
	if (err == 0)
		err = set_text(&cfg.filters, HOST_FILTERS);
	if (err == 0)
		err = read_args(argc, argv, &cfg, true);
	if (err == 0 && !cfg.help && !cfg.version) {
		err = read_file(&cfg);
		if (err == -EINVAL)
			err = -EBADMSG;
		if (err == 0)
			err = read_args(argc, argv, &cfg, false);
	}
	if (err < 0) {
		vidas_host_config_free(&cfg);
		return err;
	}
	*out = cfg;
	return 0;
}

void vidas_host_config_free(struct host_config *cfg)
{
	free(cfg->file);
	free(cfg->pool);
	free(cfg->pool_size);
	free(cfg->pool_huge);
	free(cfg->run_dir);
	free(cfg->default_root);
	free(cfg->filters);
	*cfg = (struct host_config){ 0 };
}
