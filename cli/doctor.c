/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this host lacks for full speed or full function, and what mends it. Each check looks at
 * the thing itself (a device, a limit, a trial), not at a version, where that can be done.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <linux/magic.h>

#include "cli/doctor.h"
#include "pool/base/base.h"
#include "pool/client/admin.h"

void finding(struct finding *f, enum verdict verdict, const char *text, const char *mend)
{
	f->verdict = verdict;
	snprintf(f->text, sizeof(f->text), "%s", text);
	snprintf(f->mend, sizeof(f->mend), "%s", mend);
}

static bool kernel_at_least(int major, int minor)
{
	struct utsname u;
	int ma = 0, mi = 0;

	uname(&u);
	return sscanf(u.release, "%d.%d", &ma, &mi) == 2 &&
	       (ma > major || (ma == major && mi >= minor));
}

static void check_fuse(struct finding *f, struct cli *cli)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	(void)cli;
	if (fd >= 0) {
		close(fd);
		finding(f, OK, "/dev/fuse opens", "");
	} else if (errno == EACCES) {
		finding(f, DEGRADED, "/dev/fuse is for root only",
			"run vidasfs as root, or chmod 666 /dev/fuse");
	} else {
		finding(f, BROKEN, "/dev/fuse does not open: nothing can be mounted",
			"modprobe fuse");
	}
}

static void check_passthrough(struct finding *f, struct cli *cli)
{
	(void)cli;
	if (!kernel_at_least(6, 9))
		finding(f, DEGRADED,
			"this kernel has no FUSE passthrough: data goes through vidasfs, mmap is not shared between domains, and a vidasfs that is killed takes what is open with it",
			"use a kernel of 6.9 or newer");
	else if (geteuid() != 0)
		finding(f, DEGRADED,
			"FUSE passthrough needs CAP_SYS_ADMIN, which this user has not",
			"run vidasfs (and this check) as root");
	else
		finding(f, OK,
			"FUSE passthrough: reads, writes and mmap run at the pool's own speed", "");
}

static void check_names(struct finding *f, struct cli *cli)
{
	(void)cli;
	if (kernel_at_least(6, 16))
		finding(f, OK, "names can be cached under leases", "");
	else
		finding(f, DEGRADED,
			"this kernel cannot drop cached names without a lock: each look-up asks vidasfs",
			"use a kernel of 6.16 or newer");
}

static void check_tree(struct finding *f, struct cli *cli)
{
	int fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/", 1 /* OPEN_TREE_CLONE */ | O_CLOEXEC);

	(void)cli;
	if (fd >= 0) {
		close(fd);
		finding(f, OK, "containers can be handed over as detached mounts", "");
	} else if (errno == EPERM) {
		finding(f, DEGRADED, "only root can see whether containers can be handed over",
			"run this check as root");
	} else {
		finding(f, BROKEN, "open_tree() does not work: vidasd cannot hand over containers",
			"use a kernel of 5.12 or newer");
	}
}

static void check_files(struct finding *f, struct cli *cli)
{
	struct rlimit l;
	char text[160];

	(void)cli;
	getrlimit(RLIMIT_NOFILE, &l);
	snprintf(text, sizeof(text), "at most %llu open files a process",
		 (unsigned long long)l.rlim_max);
	if (l.rlim_max < 8192)
		finding(f, DEGRADED, text,
			"raise the hard limit: LimitNOFILE= in the unit, or ulimit -Hn 65536");
	else
		finding(f, OK, text, "");
}

static void check_xattr(struct finding *f, struct cli *cli)
{
	(void)cli;
	if (kernel_at_least(6, 6))
		finding(f, OK, "tmpfs keeps user xattrs", "");
	else
		finding(f, BROKEN,
			"tmpfs of this kernel keeps no user xattrs: policies cannot be stored in a memory pool",
			"use a kernel of 6.6 or newer, or a pool on ext4 or xfs (vidasd --pool DIR)");
}

/* Is the pool a tmpfs, with huge pages, with room? */
static void check_pool(struct finding *f, struct cli *cli)
{
	char *text = NULL, line[160];
	json_t *status;
	const char *path;
	struct statfs fs;

	if (cli_connect(cli)) {
		finding(f, BROKEN, "vidasd does not answer",
			"systemctl start vidasd, or name its socket: vidas --socket PATH doctor");
		return;
	}
	if (vidas_admin_status(cli->v, &text) < 0 || !(status = json_loads(text, 0, NULL))) {
		finding(f, DEGRADED, "vidasd does not tell its pool",
			"ask as root, on the host: sudo vidas doctor");
		free(text);
		return;
	}
	free(text);
	path = json_string_value(json_object_get(json_object_get(status, "pool"), "path"));
	if (!path || statfs(path, &fs) < 0) {
		finding(f, BROKEN, "the pool's directory cannot be looked at", "see vidasd's log");
	} else {
		snprintf(line, sizeof(line), "pool %.80s: %llu of %llu MiB free%s", path,
			 (unsigned long long)fs.f_bavail * (unsigned long long)fs.f_bsize >> 20,
			 (unsigned long long)fs.f_blocks * (unsigned long long)fs.f_bsize >> 20,
			 fs.f_type == TMPFS_MAGIC ? "" : " (not in memory)");
		if (fs.f_bavail < fs.f_blocks / 20)
			finding(f, DEGRADED, line,
				"remove or flush what is not needed, or give it more: mount -o remount,size=SIZE");
		else
			finding(f, OK, line, "");
	}
	json_decref(status);
}

static const struct {
	const char *name;
	void (*check)(struct finding *f, struct cli *cli);
} checks[] = {
	{ "fuse", check_fuse },	      { "passthrough", check_passthrough },
	{ "names", check_names },     { "trees", check_tree },
	{ "xattrs", check_xattr },    { "files", check_files },
	{ "xen", check_xen },	      { "vidasd", check_pool },
	{ "keepers", check_keepers }, { "pushes", check_pushes },
};

int cli_doctor(struct cli *cli, int argc, char **argv)
{
	static const char *const words[] = { "ok", "degraded", "BROKEN" };
	json_t *list = json_array();
	enum verdict worst = OK;

	(void)argv;
	if (argc)
		return cli_usage("doctor", "takes no arguments");
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(checks); i++) {
		struct finding f;

		checks[i].check(&f, cli);
		if (f.verdict > worst)
			worst = f.verdict;
		if (cli->json)
			json_array_append_new(list,
					      json_pack("{s:s, s:s, s:s, s:s}", "check",
							checks[i].name, "verdict", words[f.verdict],
							"found", f.text, "mend", f.mend));
		else
			printf("%-9s %-12s %s%s%s\n", words[f.verdict], checks[i].name, f.text,
			       *f.mend ? "\n                       mend: " : "", f.mend);
	}
	if (cli->json) {
		json_dumpf(list, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(list);
	return worst == BROKEN;
}
