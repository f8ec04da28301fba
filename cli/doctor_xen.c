/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a Xen Dom0 or guest lacks. On another host there is nothing to look at. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "kmod/vidas-gnt.h"
#include "pool/transport/xen/frame.h"

static bool file_has(const char *path, const char *word)
{
	char text[128] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return n > 0 && strstr(text, word);
}

static void check_dom0(struct finding *f)
{
	struct vidas_gnt_stat st = { 0 };
	char text[200];
	int fd = open(VIDAS_GNT_DEVICE, O_RDWR | O_CLOEXEC), got;

	if (fd < 0 && errno == ENOENT) {
		finding(f, DEGRADED, "Dom0 without the module vidas-gnt: guests share no memory",
			"install it (dkms install vidas-gnt, or make -C kmod), modprobe vidas-gnt");
		return;
	}
	if (fd < 0) {
		finding(f, DEGRADED, "only root can look at the grants of Dom0",
			"run this check as root");
		return;
	}
	got = ioctl(fd, VIDAS_GNT_STAT, &st);
	close(fd);
	if (access("/dev/xen/gntalloc", R_OK | W_OK) < 0 || access("/dev/xen/evtchn", F_OK) < 0) {
		finding(f, BROKEN, "Dom0 without gntalloc or evtchn: no ring for a guest",
			"modprobe xen-gntalloc xen-evtchn");
		return;
	}
	if (got < 0) {
		finding(f, BROKEN, "the module vidas-gnt is of another version", "install it anew");
		return;
	}
	snprintf(text, sizeof(text), "Dom0 grants guests at most %u MiB in all (%u frames), %u now",
		 st.max_frames * 2, st.max_frames, st.total / 256);
	if (st.max_frames < 256)
		finding(f, DEGRADED, text,
			"512 frames for each guest and GiB mapped at once: Xen's boot parameter "
			"gnttab_max_frames=");
	else
		finding(f, OK, text, "");
}

static void check_guest(struct finding *f)
{
	if (access("/dev/xen/gntdev", F_OK) < 0 || access("/dev/xen/evtchn", F_OK) < 0)
		finding(f, BROKEN, "a Xen guest without gntdev or evtchn: no way to vidasd",
			"modprobe xen-gntdev xen-evtchn");
	else if (access(VIDAS_FRAME_PATH, F_OK) < 0)
		finding(f, BROKEN, "a Xen guest without vidas-agent",
			"systemctl start vidas-agent; programs: VIDAS_SOCKET=xen:");
	else if (access("/dev/xen/evtchn", R_OK | W_OK) < 0)
		finding(f, DEGRADED,
			"a Xen guest with vidas-agent; programs of this user wait for other guests by "
			"looking each 2 ms",
			"a right on /dev/xen/evtchn, which wakes them");
	else
		finding(f, OK, "a Xen guest with vidas-agent", "");
}

void check_xen(struct finding *f, struct cli *cli)
{
	(void)cli;
	if (!file_has("/sys/hypervisor/type", "xen"))
		finding(f, OK, "not on Xen", "");
	else if (file_has("/proc/xen/capabilities", "control_d"))
		check_dom0(f);
	else
		check_guest(f);
}
