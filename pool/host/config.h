/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The options of vidasd: built-in values, over them the configuration file, over that the command
 * line. Every option of the one can be given in the other.
 */
#ifndef VIDAS_HOST_CONFIG_H
#define VIDAS_HOST_CONFIG_H

#include <stdbool.h>

#define HOST_RUN_DIR	 "/run/vidas"
#define HOST_CONFIG_FILE "/etc/vidas/vidasd.conf"
#define HOST_FILTERS	 "retry"

struct host_config {
	char *file;	 /* --config; NULL: HOST_CONFIG_FILE if it is there */
	char *pool;	 /* NULL: a tmpfs at RUN_DIR/pool */
	char *pool_size; /* as tmpfs takes it; NULL: half of the memory */
	char *pool_huge; /* NULL: within_size */
	char *run_dir;
	char *default_root; /* NULL: containers that domains make have none */
	char *filters;	    /* over the store of every root; "": none */
	int log_level;
	bool check, help, version;
};

/* Fills *out; free it with vidas_host_config_free(). Returns 0; -EINVAL the command line is wrong
 * (exit status 2); another -errno: the file is. The reason is in vidas_fail_text(). */
int vidas_host_config_load(int argc, char **argv, struct host_config *out);
void vidas_host_config_free(struct host_config *cfg);
void vidas_host_config_help(void);

#endif
