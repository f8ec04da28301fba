/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* sends SOCKET CONTAINER RESOURCE OFFSET SIZE MESSAGE: vidas_object_notify() on that object, which it makes if there
 * is none; OFFSET "messages": the file's own. With MESSAGE "?" it takes one, and prints it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vidas/vidas.h>

int main(int argc, char **argv)
{
	char message[VIDAS_MESSAGE_MAX];
	struct vidas_object *o;
	struct vidas *v;
	uint64_t offset, size;
	ssize_t n;

	if (argc != 7)
		return 2;
	offset = !strcmp(argv[4], "messages") ? VIDAS_MESSAGES : strtoull(argv[4], NULL, 0);
	size = strtoull(argv[5], NULL, 0);
	n = vidas_open(argv[1], &v);
	if (!n)
		n = vidas_container_attach(v, argv[2]);
	if (!n && vidas_object_join(v, argv[2], argv[3], offset, size, 0, &o) < 0)
		n = vidas_object_create(v, argv[2], argv[3], offset, size, &o);
	if (!n && strcmp(argv[6], "?") != 0)
		n = vidas_object_notify(o, argv[6], strlen(argv[6]), 1000000);
	else if (!n)
		n = vidas_object_wait(o, message, sizeof(message), 10000000);
	if (n > 0)
		printf("%.*s\n", (int)n, message);
	if (n < 0) {
		fprintf(stderr, "sends: %s\n", vidas_error_text());
		return 1;
	}
	vidas_object_leave(o);
	vidas_close(v);
	return 0;
}
