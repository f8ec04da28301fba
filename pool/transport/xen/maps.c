/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <xen/xen.h>

#include <xen/grant_table.h>

#include <xen/gntdev.h>

#include "pool/base/base.h"
#include "pool/transport/xen/grants.h"

#define GNTDEV "/dev/xen/gntdev"

int vidas_maps_fd(const uint32_t *refs, uint32_t pages, int *fd)
{
	struct ioctl_gntdev_map_grant_ref *map;
	size_t bytes = sizeof(*map) + pages * sizeof(map->refs[0]);
	int err = 0;

	map = calloc(1, bytes);
	if (!map)
		return vidas_fail(-ENOMEM, "no memory for %u references", pages);
	map->count = pages;
	for (uint32_t i = 0; i < pages; i++)
		map->refs[i] = (struct ioctl_gntdev_grant_ref){ .ref = refs[i] }; /* of Dom0 */
	*fd = open(GNTDEV, O_RDWR | O_CLOEXEC);
	if (*fd < 0)
		err = vidas_fail(-errno, GNTDEV ": %s", strerror(errno));
	else if (ioctl(*fd, IOCTL_GNTDEV_MAP_GRANT_REF, map) < 0)
		err = vidas_fail(-errno, GNTDEV ": %u pages: %s", pages, strerror(errno));
	else if (map->index)
		err = vidas_fail(-EPROTO, GNTDEV ": a new descriptor does not begin at 0");
	if (err < 0 && *fd >= 0) {
		close(*fd);
		*fd = -1;
	}
	free(map);
	return err;
}
