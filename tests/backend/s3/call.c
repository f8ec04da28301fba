/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* s3call URL stat|get|put|putget|list KEY [TEXT]: prints the errno's name (or OK), and words. */
#include <stdio.h>
#include <string.h>

#include "backends/store.h"
#include "pool/base/base.h"

static int each(void *arg, const char *name, const struct vidas_backend_stat *st)
{
	(void)arg;
	(void)st;
	puts(name);
	return 0;
}

static ssize_t put(struct vidas_store *s, const char *key, char *text)
{
	struct iovec iov = { .iov_base = text, .iov_len = strlen(text) };
	struct vidas_backend_put p = { .iov = &iov, .iovcnt = 1, .size_bytes = iov.iov_len };

	return vidas_store_put(s, key, &p, NULL);
}

static ssize_t call(struct vidas_store *s, const char *what, const char *key, char *text)
{
	char have[4096] = "";
	struct iovec iov = { .iov_base = have, .iov_len = sizeof(have) - 1 };
	struct vidas_backend_stat st;
	ssize_t ret = 0;

	if (strcmp(what, "stat") == 0)
		return vidas_store_stat(s, key, &st);
	if (strcmp(what, "list") == 0)
		return vidas_store_list(s, key, each, NULL);
	if (strncmp(what, "put", 3) == 0)
		ret = put(s, key, text);
	if (ret < 0 || strcmp(what, "put") == 0)
		return ret;
	ret = vidas_store_get(s, key, 0, &iov, 1, NULL, NULL);
	if (ret >= 0)
		fprintf(stderr, "%s\n", have);
	return ret;
}

int main(int argc, char **argv)
{
	struct vidas_store *s;
	ssize_t ret;

	if (argc < 4)
		return 2;
	ret = vidas_store_open(argv[1], NULL, &s);
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
