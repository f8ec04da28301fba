/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is wrong with what runs: mounts without a keeper, pushes that fail. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/doctor.h"
#include "pool/client/admin.h"

/* The name of a process and its parent; false: there is none. */
static bool read_stat(int pid, char name[static 32], int *parent)
{
	char path[32], line[256];
	const char *from, *to;
	FILE *f;
	bool read;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	read = fgets(line, sizeof(line), f) != NULL;
	fclose(f);
	from = read ? strchr(line, '(') : NULL;
	to = from ? strrchr(from, ')') : NULL;
	if (!to)
		return false;
	snprintf(name, 32, "%.*s", (int)(to - from - 1), from + 1);
	return sscanf(to + 1, " %*c %d", parent) == 1;
}

/* vidasfs is a worker and the keeper that started it; /proc tells of those of all domains of a host. How many
 * have one, and how many have not, *alone among them. */
static void count_keepers(unsigned *kept, unsigned *lone, int *alone)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char name[32];
	int parent;

	*kept = *lone = 0;
	*alone = 0;
	while (proc && (entry = readdir(proc))) {
		int pid = atoi(entry->d_name);

		if (!isdigit((unsigned char)entry->d_name[0]) || !read_stat(pid, name, &parent) ||
		    strcmp(name, "vidasfs") != 0)
			continue;
		if (read_stat(parent, name, &parent) && strcmp(name, "vidas-keeper") == 0) {
			++*kept;
		} else {
			++*lone;
			*alone = pid;
		}
	}
	if (proc)
		closedir(proc);
}

void check_keepers(struct finding *f, struct cli *cli)
{
	unsigned kept, lone;
	char text[160];
	int pid;

	(void)cli;
	count_keepers(&kept, &lone, &pid);
	if (lone) {
		snprintf(
			text, sizeof(text),
			"vidasfs %d has no keeper%s: should it be killed, its mount is gone, and what is open in it",
			pid, lone > 1 ? ", and it is not the only one" : "");
		finding(f, DEGRADED, text,
			"when its programs can spare it: umount, and mount again without -d");
	} else if (kept) {
		snprintf(text, sizeof(text), "%u mount(s), each with a keeper", kept);
		finding(f, OK, text, "");
	} else {
		finding(f, OK, "nothing is mounted here", "");
	}
}

/* What is wrong with pushing to one container's store; false: nothing. */
static bool push_trouble(struct finding *f, json_t *container)
{
	json_t *push = json_object_get(container, "push");
	const char *name = json_string_value(json_object_get(container, "name"));
	const char *error = json_string_value(json_object_get(push, "error"));
	const char *watch = json_string_value(json_object_get(push, "watch_error"));
	json_int_t failed = json_integer_value(json_object_get(push, "failed"));
	json_int_t conflicts = json_integer_value(json_object_get(push, "conflicts"));
	json_int_t for_s = json_integer_value(json_object_get(push, "failing_seconds"));
	char text[400], mend[400];

	if (failed) {
		snprintf(text, sizeof(text),
			 "container %.64s: %lld thing(s) cannot be pushed, for %lld s: %.200s",
			 name, (long long)failed, (long long)for_s,
			 error ? error : "no reason is known");
		snprintf(
			mend, sizeof(mend),
			"nothing is lost, and it is tried again: look whether the store is well (vidas backend test %.200s), then vidas flush",
			json_string_value(json_object_get(container, "root")));
	} else if (watch) {
		snprintf(text, sizeof(text),
			 "container %.64s: what is newer in the store cannot be seen: %.200s", name,
			 watch);
		snprintf(mend, sizeof(mend),
			 "look whether the store is well: vidas backend test %.200s",
			 json_string_value(json_object_get(container, "root")));
	} else if (conflicts) {
		snprintf(
			text, sizeof(text),
			"container %.64s: %lld file(s) were changed here and in the store, both are kept",
			name, (long long)conflicts);
		snprintf(
			mend, sizeof(mend),
			"compare FILE.vidas-conflict-TIME with FILE, keep what is right as FILE, remove the other");
	} else {
		return false;
	}
	finding(f, DEGRADED, text, mend);
	return true;
}

/* Does what is written come to the stores? */
void check_pushes(struct finding *f, struct cli *cli)
{
	char *text = NULL;
	json_t *status, *c;
	size_t i;

	finding(f, DEGRADED, "vidasd does not tell what is not pushed", "as for vidasd, above");
	if (!cli->v || vidas_admin_status(cli->v, &text) < 0)
		return;
	status = json_loads(text, 0, NULL);
	free(text);
	finding(f, OK, "nothing is kept from the stores", "");
	json_array_foreach(json_object_get(status, "containers"), i, c)
		if (push_trouble(f, c))
			break;
	json_decref(status);
}
