/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connection to the kernel, as far as it outlives a worker. To libfuse each worker's session is a
 * new one, which begins with INIT; the kernel says that once. So it is noted, and told to libfuse again:
 * its answer, to a request that the kernel does not have any more, comes to nothing.
 */
#include "vidasfs/far.h"
#include "vidasfs/fs.h"

#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Linux 6.9; Debian 12 has an older <linux/fuse.h>. */
#define NOTIFY_RESEND 7
#define HAS_RESEND    (1u << (39 - 32))
#define UNIQUE_RESEND (UINT64_C(1) << 63)

_Thread_local struct vidas_request vidas_request;

static void note_init(const struct fuse_buf *buf)
{
	if (buf->size > sizeof(vidas_kept->init)) {
		vidas_log(VIDAS_LOG_WARNING,
			  "the kernel begins with %zu bytes: if this process is killed, no other "
			  "can go on",
			  buf->size);
		return;
	}
	memcpy(vidas_kept->init, buf->mem, buf->size);
	vidas_kept->init_bytes = (uint32_t)buf->size;
}

void vidas_channel_note(const struct fuse_buf *buf)
{
	const struct fuse_in_header *in = buf->mem;

	if (buf->size < sizeof(*in))
		return;
	vidas_request.unique = in->unique & ~UNIQUE_RESEND;
	vidas_request.again = in->unique & UNIQUE_RESEND;
	if (in->opcode == FUSE_INIT)
		note_init(buf);
}

int vidas_channel_resume(struct fuse_session *se)
{
	struct fuse_buf buf = { .size = vidas_kept->init_bytes, .mem = vidas_kept->init };
	char mounted_fd[32];
	int err;

	if (!buf.size)
		return -ENOTCONN;
	if (vidas_is_far()) {
		err = vidas_far_session(se);
		if (!err)
			fuse_session_process_buf(se, &buf);
		return err;
	}
	snprintf(mounted_fd, sizeof(mounted_fd), "/dev/fd/%d", vidas_kept->fuse_fd);
	if (fuse_session_mount(se, mounted_fd) < 0)
		return -ENOTCONN;
	fuse_session_process_buf(se, &buf);
	return 0;
}

bool vidas_channel_resends(void)
{
	const struct fuse_init_in *in =
		(const struct fuse_init_in *)(const void *)(vidas_kept->init +
							    sizeof(struct fuse_in_header));

	return vidas_kept->init_bytes >= sizeof(struct fuse_in_header) + sizeof(*in) &&
	       (in->flags & FUSE_INIT_EXT) && (in->flags2 & HAS_RESEND);
}

void vidas_channel_resend(void)
{
	const struct fuse_out_header n = { .len = sizeof(n), .error = NOTIFY_RESEND };

	int err = vidas_is_far() ? vidas_far_resend() : vidas_channel_write(&n, sizeof(n));

	if (err)
		vidas_log(VIDAS_LOG_ERR, "what was under way is not sent again: %s",
			  strerror(-err));
}

int vidas_channel_write(const void *message, size_t bytes)
{
	if (vidas_is_far())
		return vidas_far_tell(message, bytes);
	return write(fuse_session_fd(vidas_fs.se), message, bytes) < 0 ? -errno : 0;
}
