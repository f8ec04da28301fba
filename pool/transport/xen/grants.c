/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/transport/xen/grants.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <uthash.h>

#include "kmod/vidas-gnt.h"
#include "pool/base/base.h"
#include "pool/transport/xen/frame.h"

_Static_assert(VIDAS_GNT_PAGES_MAX >= VIDAS_FRAME_PAGES_MAX, "a share is one call");
_Static_assert(VIDAS_GNT_PAGE_BYTES == VIDAS_FRAME_PAGE, "pages");

struct granted {
	UT_hash_handle hh;
	uint64_t id;
	uint32_t pages;
	bool released; /* and found busy */
	uint32_t refs[];
};

struct vidas_grants {
	int fd;
	uint16_t domid;
	struct granted *shares; /* by id */
	unsigned busy;		/* of them, released */
	bool told;		/* of what is refused; until something is granted again */
	struct vidas_granted so_far;
};

int vidas_grants_device(uint32_t domid, uint32_t cap_pages, int *fd)
{
	struct vidas_gnt_cap cap = { .domid = (uint16_t)domid, .pages = cap_pages };
	struct vidas_gnt_bind bind = { .domid = (uint16_t)domid };
	int err = 0;

	*fd = open(VIDAS_GNT_DEVICE, O_RDWR | O_CLOEXEC);
	if (*fd < 0 && errno == ENOENT)
		return vidas_fail(-EOPNOTSUPP, "no %s: the module vidas-gnt is not loaded",
				  VIDAS_GNT_DEVICE);
	if (*fd < 0)
		return vidas_fail(-errno, "%s: %s", VIDAS_GNT_DEVICE, strerror(errno));
	if (ioctl(*fd, VIDAS_GNT_CAP, &cap) < 0 || ioctl(*fd, VIDAS_GNT_BIND, &bind) < 0) {
		err = vidas_fail(-errno, "%s: %s", VIDAS_GNT_DEVICE, strerror(errno));
		close(*fd);
		*fd = -1;
	}
	return err;
}

int vidas_grants_new(int fd, uint32_t domid, struct vidas_grants **out)
{
	struct vidas_grants *g = calloc(1, sizeof(*g));

	if (!g)
		return vidas_fail(-ENOMEM, "no memory for grants");
	g->fd = fd;
	g->domid = (uint16_t)domid;
	*out = g;
	return 0;
}

/* How many of them are still mapped. */
static uint32_t refs_back(struct vidas_grants *g, uint32_t *refs, uint32_t count)
{
	struct vidas_gnt_revoke r = { .refs = (uintptr_t)refs, .count = count };

	if (ioctl(g->fd, VIDAS_GNT_REVOKE, &r) < 0) {
		vidas_log(VIDAS_LOG_ERR, "guest %u: revoke: %s", g->domid, strerror(errno));
		return count;
	}
	return r.busy;
}

/* Says it once, with what can be done about it. */
static int refused(struct vidas_grants *g, int error, uint32_t pages)
{
	struct vidas_gnt_stat st = { .domid = g->domid };
	bool told = g->told;

	g->told = true;
	if (ioctl(g->fd, VIDAS_GNT_STAT, &st) < 0)
		st.max_frames = 0;
	switch (error) {
	case ENOBUFS:
		if (!told)
			vidas_log(VIDAS_LOG_ERR,
				  "guest %u: Xen has no grants left for %u pages more (%u are out "
				  "to all guests, %u frames of 512 at most): raise its boot "
				  "parameter gnttab_max_frames to %u or more",
				  g->domid, pages, st.total, st.max_frames,
				  (st.total + pages) / 512 + 8);
		return -ENOSPC;
	case EDQUOT:
		if (!told)
			vidas_log(VIDAS_LOG_WARNING,
				  "guest %u may be granted %u pages at once and has %u (%u of them "
				  "given up by vidas-gate, not by the guest), %u more were wanted: "
				  "vidas-gate --cap",
				  g->domid, st.cap, st.granted + st.deferred, st.busy + st.deferred,
				  pages);
		return -EDQUOT;
	default:
		if (!told)
			vidas_log(VIDAS_LOG_ERR, "guest %u: %u pages cannot be granted: %s",
				  g->domid, pages, strerror(error));
		return -error;
	}
}

int vidas_grants_make(struct vidas_grants *g, const struct vidas_share *share,
		      const uint32_t **refs)
{
	uint32_t pages = (uint32_t)(share->bytes / VIDAS_FRAME_PAGE);
	struct vidas_gnt_grant grant = { .fd = share->fd,
					 .domid = g->domid,
					 .flags = share->readonly ? VIDAS_GNT_READONLY : 0,
					 .offset = share->offset,
					 .pages = pages };
	struct granted *s;

	if (g->fd < 0)
		return -EOPNOTSUPP;
	s = malloc(sizeof(*s) + pages * sizeof(s->refs[0]));
	if (!s)
		return -ENOMEM;
	*s = (struct granted){ .id = share->id, .pages = pages };
	grant.refs = (uintptr_t)s->refs;
	if (ioctl(g->fd, VIDAS_GNT_GRANT, &grant) < 0) {
		grant.error = errno;
		grant.granted = 0;
	}
	if (grant.granted < pages) {
		/* Nobody else knows them yet. */
		if (grant.granted)
			refs_back(g, s->refs, grant.granted);
		free(s);
		return refused(g, grant.error ? grant.error : EIO, pages);
	}
	g->told = false;
	g->so_far.pages += pages;
	g->so_far.held += pages;
	HASH_ADD(hh, g->shares, id, sizeof(s->id), s);
	*refs = s->refs;
	return 0;
}

static bool share_back(struct vidas_grants *g, struct granted *s)
{
	if (refs_back(g, s->refs, s->pages))
		return false;
	g->so_far.held -= s->pages;
	HASH_DEL(g->shares, s);
	free(s);
	return true;
}

struct vidas_granted vidas_grants_so_far(const struct vidas_grants *g)
{
	return g->so_far;
}

void vidas_grants_release(struct vidas_grants *g, uint64_t id)
{
	struct granted *s;

	HASH_FIND(hh, g->shares, &id, sizeof(id), s);
	if (!s || s->released || share_back(g, s))
		return;
	s->released = true;
	g->busy++;
}

void vidas_grants_retry(struct vidas_grants *g)
{
	struct granted *s, *next;

	if (!g->busy)
		return;
	HASH_ITER(hh, g->shares, s, next) {
		if (s->released && share_back(g, s))
			g->busy--;
	}
}

void vidas_grants_free(struct vidas_grants *g)
{
	struct vidas_gnt_revoke_domid all = { .domid = g->domid };
	struct granted *s, *next;

	HASH_ITER(hh, g->shares, s, next) {
		HASH_DEL(g->shares, s);
		free(s);
	}
	if (g->fd >= 0 && ioctl(g->fd, VIDAS_GNT_REVOKE_DOMID, &all) == 0 && all.busy)
		vidas_log(VIDAS_LOG_NOTICE, "guest %u still maps %u pages", g->domid, all.busy);
	free(g);
}
