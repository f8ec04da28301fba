/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * s3call URL stat|get|put|putget|list|mkdir|rename|symlink|readlink KEY [TEXT]
 * s3call URL putfile|getfile|newfile|replacefile KEY FILE
 * newfile: only if there is none; replacefile: only if it stays what it was. Prints the errno's name (or OK), and words. stat prints mode:uid:gid:mtime too. $S3CALL_FILTERS are put
 * over the root.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/store.h"
#include "pool/base/base.h"

static int each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	(void)arg;
	(void)st;
	puts(name);
	return 0;
}

static ssize_t put(struct vidas_store *s, const char *key, void *data, size_t size,
		   const struct vidas_backend_version *expect, bool fresh)
{
	const struct vidas_backend_stat attrs = { .valid = VIDAS_BACKEND_MODE |
							   VIDAS_BACKEND_OWNER |
							   VIDAS_BACKEND_MTIME,
						  .mode = 0640,
						  .uid = 1234,
						  .gid = 4321,
						  .mtime = { 1700000000, 123456789 } };
	struct iovec iov = { .iov_base = data, .iov_len = size };
	struct vidas_backend_put p = { .iov = &iov,
				       .iovcnt = 1,
				       .size_bytes = size,
				       .attrs = &attrs,
				       .expect = expect,
				       .must_not_exist = fresh };

	return vidas_store_put(s, key, &p, NULL);
}

static ssize_t get(struct vidas_store *s, const char *key)
{
	char have[4096] = "";
	struct iovec iov = { .iov_base = have, .iov_len = sizeof(have) - 1 };
	ssize_t ret = vidas_store_get(s, key, 0, &iov, 1, NULL, NULL);

	if (ret >= 0)
		fprintf(stderr, "%s\n", have);
	return ret;
}

static ssize_t stat_print(struct vidas_store *s, const char *key)
{
	struct vidas_backend_stat st;
	int err = vidas_store_stat(s, key, &st);

	if (!err)
		fprintf(stderr, "%o:%u:%u:%lld.%09ld\n", st.mode, st.uid, st.gid,
			(long long)st.mtime.tv_sec, st.mtime.tv_nsec);
	return err;
}

static ssize_t target_print(struct vidas_store *s, const char *key)
{
	char target[4096];
	ssize_t ret = vidas_store_readlink(s, key, target, sizeof(target));

	if (ret >= 0)
		fprintf(stderr, "%s\n", target);
	return ret;
}

/* Between a file and the store, by its mapping. */
static ssize_t move(struct vidas_store *s, char how, const char *key, const char *path)
{
	bool out = how != 'g';
	int fd = open(path, out ? O_RDONLY : O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct vidas_backend_stat there = { 0 };
	struct stat st = { 0 };
	struct iovec iov;
	ssize_t ret = fd < 0 || fstat(fd, &st) ? -errno : 0;
	size_t size = (size_t)st.st_size;

	if (!ret && (!out || how == 'r'))
		ret = vidas_store_stat(s, key, &there);
	if (!out)
		size = (size_t)there.size_bytes;
	if (!ret && !out && ftruncate(fd, (off_t)size))
		ret = -errno;
	if (ret)
		return ret;
	iov = (struct iovec){ mmap(NULL, size + 1, out ? PROT_READ : PROT_READ | PROT_WRITE,
				   MAP_SHARED, fd, 0),
			      size };
	if (iov.iov_base == MAP_FAILED)
		return -errno;
	ret = out ? put(s, key, iov.iov_base, size, how == 'r' ? &there.version : NULL,
			how == 'n') :
		    vidas_store_get(s, key, 0, &iov, 1, NULL, NULL);
	close(fd);
	return !out && ret >= 0 && ret != (ssize_t)size ? -EBADMSG : ret;
}

static ssize_t call(struct vidas_store *s, const char *what, const char *key, char *text)
{
	ssize_t ret = 0;

	if (strcmp(what, "stat") == 0)
		return stat_print(s, key);
	if (strcmp(what, "list") == 0)
		return vidas_store_list(s, key, each, NULL);
	if (strcmp(what, "mkdir") == 0)
		return vidas_store_mkdir(s, key, NULL);
	if (strcmp(what, "rename") == 0)
		return vidas_store_rename(s, key, text);
	if (strcmp(what, "symlink") == 0)
		return vidas_store_symlink(s, key, text);
	if (strcmp(what, "readlink") == 0)
		return target_print(s, key);
	if (strstr(what, "file"))
		return move(s, what[0], key, text);
	if (strncmp(what, "put", 3) == 0)
		ret = put(s, key, text, strlen(text), NULL, false);
	return ret < 0 || strcmp(what, "put") == 0 ? ret : get(s, key);
}

int main(int argc, char **argv)
{
	struct vidas_store *s;
	ssize_t ret;

	if (argc < 4)
		return 2;
	ret = vidas_store_open(argv[1], getenv("S3CALL_FILTERS"), &s);
	if (!ret) {
		ret = call(s, argv[2], argv[3], argc > 4 ? argv[4] : argv[0]);
		if (ret < 0)
			fprintf(stderr, "%s\n", vidas_fail_text());
		vidas_store_close(s);
	} else {
		fprintf(stderr, "%s\n", vidas_fail_text());
	}
	printf("%s\n", ret < 0 ? strerrorname_np((int)-ret) : "OK");
	return ret < 0;
}
