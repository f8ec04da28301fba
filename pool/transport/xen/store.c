/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/transport/xen/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

#include "pool/base/base.h"

struct vidas_store {
	struct xs_handle *xs;
};

int vidas_store_open(struct vidas_store **out)
{
	struct vidas_store *s = calloc(1, sizeof(*s));
	int err = 0;

	if (!s)
		return vidas_fail(-ENOMEM, "no memory for XenStore");
	s->xs = xs_open(0);
	if (!s->xs)
		err = vidas_fail(errno ? -errno : -EIO, "cannot reach XenStore (is this Dom0?): %s",
				 strerror(errno));
	else if (!xs_watch(s->xs, "@introduceDomain", "guests") ||
		 !xs_watch(s->xs, "@releaseDomain", "guests"))
		err = vidas_fail(errno ? -errno : -EIO, "cannot watch guests in XenStore: %s",
				 strerror(errno));
	if (err < 0) {
		vidas_store_close(s);
		return err;
	}
	*out = s;
	return 0;
}

void vidas_store_close(struct vidas_store *s)
{
	if (s->xs)
		xs_close(s->xs);
	free(s);
}

int vidas_store_fd(const struct vidas_store *s)
{
	return xs_fileno(s->xs);
}

void vidas_store_drain(struct vidas_store *s)
{
	char **event;

	while ((event = xs_check_watch(s->xs)))
		free(event);
}

int vidas_store_guests(struct vidas_store *s, uint32_t **domids, size_t *n)
{
	unsigned count = 0;
	char **names = xs_directory(s->xs, XBT_NULL, "/local/domain", &count);

	*n = 0;
	*domids = calloc(count ? count : 1, sizeof(**domids));
	if (!names || !*domids) {
		free(names);
		free(*domids);
		return vidas_fail(-EIO, "cannot read XenStore: %s", strerror(errno));
	}
	for (unsigned i = 0; i < count; i++) {
		uint32_t domid = (uint32_t)strtoul(names[i], NULL, 10);

		if (domid && vidas_store_alive(s, domid))
			(*domids)[(*n)++] = domid;
	}
	free(names);
	return 0;
}

bool vidas_store_alive(struct vidas_store *s, uint32_t domid)
{
	return xs_is_domain_introduced(s->xs, domid);
}

vidas_domain_id vidas_store_domain(struct vidas_store *s, uint32_t domid)
{
	vidas_domain_id id = domid;
	char path[64], *text, *end;
	unsigned bytes;

	snprintf(path, sizeof(path), "/local/domain/%u/vidas/domain", domid);
	text = xs_read(s->xs, XBT_NULL, path, &bytes);
	if (text) {
		unsigned long n = strtoul(text, &end, 10);

		if (*text && !*end && n && n <= UINT32_MAX)
			id = (vidas_domain_id)n;
		else
			vidas_log(VIDAS_LOG_WARNING, "%s: '%s' is not a domain's id", path, text);
	}
	free(text);
	return id;
}

int vidas_store_prepare(struct vidas_store *s, uint32_t domid)
{
	struct xs_permissions rights[] = { { .id = 0, .perms = XS_PERM_NONE },
					   { .id = domid, .perms = XS_PERM_READ } };
	char path[64];

	vidas_store_clear(s, domid);
	snprintf(path, sizeof(path), "/local/domain/%u/vidas", domid);
	if (!xs_mkdir(s->xs, XBT_NULL, path) ||
	    !xs_set_permissions(s->xs, XBT_NULL, path, rights, VIDAS_ARRAY_SIZE(rights)))
		return vidas_fail(errno ? -errno : -EIO, "%s in XenStore: %s", path,
				  strerror(errno));
	return 0;
}

void vidas_store_clear(struct vidas_store *s, uint32_t domid)
{
	char path[64];

	snprintf(path, sizeof(path), VIDAS_STORE_RING_FMT, domid);
	xs_rm(s->xs, XBT_NULL, path);
}
