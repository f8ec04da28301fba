/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <vidas/paper.h>

#include <utlist.h>

#include "pool/client/object.h"

/* Is that what the object was created or joined by: the path, or a URL that ends in it? */
static bool names(const char *resource, const char *path)
{
	size_t bytes = strlen(resource), path_bytes = strlen(path);

	if (!strcmp(resource, path))
		return true;
	return strstr(resource, "://") && bytes > path_bytes &&
	       !strcmp(resource + bytes - path_bytes, path) &&
	       resource[bytes - path_bytes - 1] == '/';
}

int vidas_paper_get_locality(const char *ext_storage_rsc, struct vidas_object ***objects)
{
	struct vidas_object *o, **list = NULL;
	struct vidas *v = NULL;
	int n = 0, err = vidas_or_default(&v);

	if (err < 0)
		return err;
	pthread_mutex_lock(&v->index);
	DL_COUNT(v->objects, o, n);
	if (objects && !(list = calloc((size_t)n + 1, sizeof(*list)))) {
		pthread_mutex_unlock(&v->index);
		return vidas_fail(-ENOMEM, "no memory for a list of objects");
	}
	n = 0;
	DL_FOREACH(v->objects, o) {
		if (!names(ext_storage_rsc, o->resource))
			continue;
		if (list)
			list[n] = o;
		n++;
	}
	pthread_mutex_unlock(&v->index);
	if (objects)
		*objects = list;
	return n;
}
