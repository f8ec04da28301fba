/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/registry.h"

#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/builtin.h"
#include "backends/store.h"
#include "pool/base/base.h"

#define PREFIX	   "vidas-backend-"
#define SUFFIX	   ".so"
#define SCHEME_MAX 32u
/* Version 1 began with the fields up to here. */
#define OPS_MIN	   offsetof(struct vidas_backend_ops, mkdir)

static const struct vidas_backend_ops *const builtins[] = { &vidas_backend_file,
							    &vidas_backend_mem };

/* The running program, and who owns it. */
static int program_stat(char path[PATH_MAX], struct stat *st)
{
	ssize_t size = readlink("/proc/self/exe", path, PATH_MAX - 1);

	if (size < 0)
		return -errno;
	path[size] = '\0';
	return stat("/proc/self/exe", st) < 0 ? -errno : 0;
}

static void directory_path(char path[PATH_MAX])
{
	static const char beside[] = "/../lib/vidas/backends";
	const char *given = secure_getenv("VIDAS_BACKEND_DIR");
	char *slash;
	struct stat st;

	if (given && *given) {
		snprintf(path, PATH_MAX, "%s", given);
		return;
	}
	if (!program_stat(path, &st) && (slash = strrchr(path, '/')) &&
	    (size_t)(slash - path) + sizeof(beside) <= PATH_MAX) {
		memcpy(slash, beside, sizeof(beside));
		if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
			return;
	}
	snprintf(path, PATH_MAX, "%s", VIDAS_BACKEND_DIR_DEFAULT);
}

/* Code that runs with our rights must be of somebody who has them, or who owns the program. */
static int owner_check(const char *file)
{
	char path[PATH_MAX];
	struct stat st, program;

	if (stat(file, &st) < 0)
		return vidas_fail(-errno, "the backend %s: %s", file, strerrordesc_np(errno));
	if (st.st_uid != 0 && st.st_uid != geteuid() &&
	    (program_stat(path, &program) || st.st_uid != program.st_uid))
		return vidas_fail(-EPERM, "the backend %s is owned by uid %u; chown it to root",
				  file, st.st_uid);
	if (st.st_mode & S_IWOTH)
		return vidas_fail(-EPERM, "everybody may write to the backend %s; chmod o-w it",
				  file);
	return 0;
}

static int ops_check(const char *file, const char *scheme, const struct vidas_backend_ops *ops)
{
	if (!ops || ops->api_version != VIDAS_BACKEND_API)
		return vidas_fail(
			-EPROTO, "the backend %s has API version %u, this vidas has %u; rebuild it",
			file, ops ? ops->api_version : 0, VIDAS_BACKEND_API);
	if (ops->struct_size < OPS_MIN)
		return vidas_fail(
			-EPROTO,
			"the backend %s has a struct_size of %u, the least is %zu; rebuild it",
			file, ops->struct_size, OPS_MIN);
	if (!ops->name || strcmp(ops->name, scheme) != 0)
		return vidas_fail(-EPROTO,
				  "the backend %s is named '%s', not '%s' as its file says", file,
				  ops->name ? ops->name : "", scheme);
	if (!ops->open || !ops->close || !ops->stat || !ops->get || !ops->put || !ops->remove ||
	    !ops->list)
		return vidas_fail(-EPROTO, "the backend %s lacks a required call", file);
	return 0;
}

static void ops_copy(struct vidas_backend_ops *to, const struct vidas_backend_ops *from)
{
	memset(to, 0, sizeof(*to));
	memcpy(to, from, from->struct_size < sizeof(*to) ? from->struct_size : sizeof(*to));
}

static int load(const char *file, const char *scheme, struct vidas_backend_ops *out)
{
	const struct vidas_backend_ops *(*entry)(void);
	const struct vidas_backend_ops *ops;
	void *module, *symbol;
	int err = owner_check(file);

	if (err)
		return err;
	/* NODELETE: a plug-in's libraries may have threads, exit handlers and the like. */
	module = dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	symbol = module ? dlsym(module, "vidas_backend_entry") : NULL;
	if (!symbol) {
		err = vidas_fail(-ELIBACC, "the backend %s cannot be loaded: %s", file, dlerror());
		goto out;
	}
	memcpy(&entry, &symbol, sizeof(entry)); /* ISO C has no cast for this */
	ops = entry();
	err = ops_check(file, scheme, ops);
	if (!err)
		ops_copy(out, ops);
out:
	if (module)
		dlclose(module);
	return err;
}

static bool scheme_ok(const char *scheme, size_t size)
{
	return size && size < SCHEME_MAX &&
	       strspn(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+.-") >= size &&
	       scheme[0] != '.';
}

/* The scheme of a plug-in's file name. */
static bool scheme_of(const char *name, char scheme[SCHEME_MAX])
{
	size_t size = strlen(name);

	if (size < sizeof(PREFIX SUFFIX) || strncmp(name, PREFIX, sizeof(PREFIX) - 1) != 0 ||
	    strcmp(name + size - (sizeof(SUFFIX) - 1), SUFFIX) != 0)
		return false;
	name += sizeof(PREFIX) - 1;
	size -= sizeof(PREFIX SUFFIX) - 1;
	if (!scheme_ok(name, size))
		return false;
	memcpy(scheme, name, size);
	scheme[size] = '\0';
	return true;
}

static const struct vidas_backend_ops *builtin(const char *scheme)
{
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(builtins); i++)
		if (strcmp(builtins[i]->name, scheme) == 0)
			return builtins[i];
	return NULL;
}

static int not_found(const char *scheme, const char *directory)
{
	char known[512] = "", name[SCHEME_MAX];
	DIR *dir = opendir(directory);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (scheme_of(entry->d_name, name) &&
		    strlen(known) + sizeof(name) + 3 < sizeof(known))
			strcat(strcat(known, ", "), name);
	if (dir)
		closedir(dir);
	return vidas_fail(-ENOENT, "no backend for '%s://': there are file, mem%s (plug-ins: %s)",
			  scheme, known, directory);
}

int vidas_registry_find(const char *scheme, struct vidas_backend_ops *ops)
{
	const struct vidas_backend_ops *known = builtin(scheme);
	char directory[PATH_MAX], file[PATH_MAX + 64];

	if (known) {
		ops_copy(ops, known);
		return 0;
	}
	if (!scheme_ok(scheme, strlen(scheme)))
		return vidas_fail(-EINVAL, "'%.40s' is no URL scheme", scheme);
	directory_path(directory);
	snprintf(file, sizeof(file), "%s/" PREFIX "%s" SUFFIX, directory, scheme);
	if (access(file, F_OK) < 0 && errno == ENOENT)
		return not_found(scheme, directory);
	return load(file, scheme, ops);
}

int vidas_registry_each(int (*each)(void *arg, const struct vidas_backend_ops *ops,
				    const char *file),
			void *arg)
{
	char directory[PATH_MAX], file[PATH_MAX + NAME_MAX + 2], scheme[SCHEME_MAX];
	struct vidas_backend_ops ops;
	struct dirent *entry;
	int ret = 0;
	DIR *dir;

	for (size_t i = 0; !ret && i < VIDAS_ARRAY_SIZE(builtins); i++)
		ret = each(arg, builtins[i], NULL);
	directory_path(directory);
	dir = ret ? NULL : opendir(directory);
	while (dir && !ret && (entry = readdir(dir))) {
		if (!scheme_of(entry->d_name, scheme) || builtin(scheme))
			continue;
		snprintf(file, sizeof(file), "%s/%s", directory, entry->d_name);
		if (load(file, scheme, &ops))
			vidas_log(VIDAS_LOG_WARNING, "%s", vidas_fail_text());
		else
			ret = each(arg, &ops, file);
	}
	if (dir)
		closedir(dir);
	return ret;
}
