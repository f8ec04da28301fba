/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames (pool/transport/xen/frame.h): what is laid out is read back; what is none is refused. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pool/transport/local/local.h"
#include "pool/transport/xen/frame.h"

static struct vidas_frame_buffer out;
static _Alignas(8) uint8_t in[VIDAS_FRAME_MAX];

static void test_round_trip(void)
{
	struct vidas_frame f = { .type = VIDAS_FRAME_MESSAGE,
				 .lane = 7,
				 .shares = 2,
				 .payload = out.payload,
				 .payload_bytes = 5 },
			   got;
	unsigned fds = 9;
	const char *reason;
	size_t head;

	f.share[0] = (struct vidas_share){ .fd = 3, .id = 11, .offset = 8192, .bytes = 4096 };
	f.share[1] = (struct vidas_share){ .fd = -1, .status = -ENOSPC, .readonly = true };
	head = vidas_frame_head(&f, true, in);
	memcpy(in + head, "hello", 5);
	CU_ASSERT_EQUAL(vidas_frame_size(in), (int)head + 5);
	CU_ASSERT_EQUAL_FATAL(vidas_frame_decode(in, head + 5, &got, &fds, &reason), 0);
	CU_ASSERT_EQUAL(fds, 1);
	CU_ASSERT_EQUAL(got.lane, 7);
	CU_ASSERT_EQUAL(got.payload_bytes, 5);
	CU_ASSERT_EQUAL(memcmp(got.payload, "hello", 5), 0);
	CU_ASSERT_EQUAL(got.share[0].id, 11);
	CU_ASSERT_EQUAL(got.share[0].offset, 8192);
	CU_ASSERT_EQUAL(got.share[1].status, -ENOSPC);
	CU_ASSERT_TRUE(got.share[1].readonly);
	/* Descriptors are a socket's business: not over a ring. */
	CU_ASSERT_EQUAL(vidas_frame_decode(in, head + 5, &got, NULL, &reason), -EBADMSG);
	head = vidas_frame_head(&f, false, in);
	CU_ASSERT_EQUAL(vidas_frame_decode(in, head + 5, &got, NULL, &reason), 0);
}

static int refused(size_t at, const void *bytes, size_t n, size_t size)
{
	struct vidas_frame f = { .type = VIDAS_FRAME_MESSAGE, .lane = 1, .shares = 1 }, got;
	unsigned fds;
	const char *reason = NULL;
	int err;

	f.share[0] = (struct vidas_share){ .fd = -1, .bytes = 4096 };
	f.payload_bytes = 8;
	memset(in, 0, 128);
	vidas_frame_head(&f, true, in);
	memcpy(in + at, bytes, n);
	err = vidas_frame_decode(in, size, &got, &fds, &reason);
	CU_ASSERT_TRUE(!err == !reason);
	return err;
}

static void test_refused(void)
{
	const size_t size = 16 + 40 + 8;
	const uint32_t lane = VIDAS_FRAME_LANES, less = 63;
	const uint16_t types[] = { 0, 99, VIDAS_FRAME_OPEN, VIDAS_FRAME_RELEASE }, many = 3;
	const uint64_t odd = 4097, far = INT64_MAX - 4095;
	const uint32_t flags = 1u << 9, life = VIDAS_FRAME_SHARE_LIFE;

	CU_ASSERT_EQUAL(refused(0, &size, 4, size), 0);
	CU_ASSERT_EQUAL(refused(0, &size, 4, size - 1), -EBADMSG);
	CU_ASSERT_EQUAL(refused(0, &size, 4, 15), -EBADMSG);
	CU_ASSERT_EQUAL(refused(0, &less, 4, size), -EBADMSG);
	for (unsigned i = 0; i < 4; i++)
		CU_ASSERT_EQUAL(refused(4, &types[i], 2, size), -EBADMSG);
	CU_ASSERT_EQUAL(refused(6, &many, 2, size), -EBADMSG);
	CU_ASSERT_EQUAL(refused(8, &lane, 4, size), -EBADMSG);
	CU_ASSERT_EQUAL(refused(12, &less, 4, size), -EBADMSG);
	CU_ASSERT_EQUAL(refused(16 + 8, &odd, 8, size), -EBADMSG);
	CU_ASSERT_EQUAL(refused(16 + 8, &far, 8, size), -EBADMSG);
	CU_ASSERT_EQUAL(refused(16 + 16, &odd, 8, size), -EBADMSG);
	CU_ASSERT_EQUAL(refused(16 + 24, &less, 4, size), -EBADMSG); /* a status > 0 */
	CU_ASSERT_EQUAL(refused(16 + 28, &flags, 4, size), -EBADMSG);
	CU_ASSERT_EQUAL(refused(16 + 28, &life, 4, size), -EBADMSG);
}

static void test_refs(void)
{
	struct vidas_frame_refs refs = { .id = 1, .pages = 4, .first = 2 };
	struct vidas_frame f = { .type = VIDAS_FRAME_REFS, .lane = 1 }, got;
	const char *reason;

	for (uint32_t n = 0; n < 4; n++) {
		f.payload_bytes = sizeof(refs) + n * 4;
		vidas_frame_head(&f, false, in);
		memcpy(in + 16, &refs, sizeof(refs));
		CU_ASSERT_EQUAL(vidas_frame_decode(in, 16 + f.payload_bytes, &got, NULL, &reason),
				n == 1 || n == 2 ? 0 : -EBADMSG);
	}
}

/* Over a socket: descriptors find their shares, and a frame that says it has them, and has not, is none. */
static void test_socket(void)
{
	struct vidas_frame f = { .type = VIDAS_FRAME_MESSAGE, .shares = 2, .payload_bytes = 1 };
	struct vidas_channel *a, *b;
	struct vidas_frame got;
	int ends[2], life[2];
	void *map;

	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	CU_ASSERT_EQUAL_FATAL(pipe2(life, O_CLOEXEC), 0);
	CU_ASSERT_EQUAL_FATAL(vidas_local_channel(ends[0], &a), 0);
	CU_ASSERT_EQUAL_FATAL(vidas_local_channel(ends[1], &b), 0);
	f.payload = out.payload;
	f.share[0] = (struct vidas_share){ .fd = -1, .status = -EFBIG };
	f.share[1] = (struct vidas_share){ .fd = memfd_create("share", MFD_CLOEXEC),
					   .lives = true,
					   .life = life[1],
					   .offset = 4096,
					   .bytes = 4096 };
	CU_ASSERT_EQUAL(ftruncate(f.share[1].fd, 8192), 0);
	CU_ASSERT_EQUAL(pwrite(f.share[1].fd, "here", 4, 4096), 4);
	CU_ASSERT_EQUAL(vidas_frame_send(a, &f, 0), 0);
	CU_ASSERT_EQUAL_FATAL(vidas_frame_recv(b, in, &got, 0), 1);
	CU_ASSERT_EQUAL(vidas_frame_map(&got.share[0], PROT_READ, &map), -EFBIG);
	CU_ASSERT_EQUAL_FATAL(vidas_frame_map(&got.share[1], PROT_READ, &map), 0);
	CU_ASSERT_EQUAL(memcmp(map, "here", 4), 0);
	munmap(map, 4096);
	/* The life ends with its last copy. */
	CU_ASSERT_EQUAL(vidas_frame_recv(b, in, &got, 0), -ETIMEDOUT);
	vidas_share_close(&f.share[1]);
	fcntl(life[0], F_SETFL, O_NONBLOCK);
	CU_ASSERT_EQUAL(read(life[0], in, 1), -1);
	vidas_frame_close_shares(&got);
	f.shares = 1;
	f.share[0] = (struct vidas_share){ .fd = 0, .bytes = 4096 };
	vidas_frame_head(&f, true, in);
	CU_ASSERT_EQUAL(vidas_channel_send(a, in, 16 + 40 + 1, NULL, 0, 0), 0);
	CU_ASSERT_EQUAL(vidas_frame_recv(b, in, &got, 0), -EBADMSG);
	vidas_channel_close(a);
	CU_ASSERT_EQUAL(vidas_frame_recv(b, in, &got, 0), 0);
	vidas_channel_close(b);
	close(life[0]);
}

UNIT_MAIN("frame", { "round trip", test_round_trip }, { "refused", test_refused },
	  { "references", test_refs }, { "over a socket", test_socket })
