/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vidasfs in two halves, where the memory of the pool is on one machine and the mount on another: Dom0
 * and a guest. The near half has the mount; it hands the kernel's FUSE messages to the far half, which
 * is vidasfs as it is elsewhere, but for where its requests come from. Between them is a lane.
 *
 * A lane is a socket of datagrams, in order and reliable; one carries one message: a FUSE message as the
 * near half's kernel has sent it, the reply to one, or a notice for the kernel; or one of the two
 * halves' own, below, which begin alike and are told by their kind. What a near half sends is
 * hostile to the far half (border.h).
 *
 * Threads: any number may send and receive at once.
 */
#ifndef VIDASFS_LANE_H
#define VIDASFS_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "pool/transport/transport.h"

/* Of a read or write that goes through the lane. */
#define VIDAS_LANE_IO_MAX      (128u << 10)
#define VIDAS_LANE_MESSAGE_MAX (VIDAS_LANE_IO_MAX + 4096u)
#define VIDAS_LANE_VERSION     1u

/* Where FUSE has the opcode of a request, or the error of a reply, neither of which gets there. */
enum vidas_lane_kind {
	/* The first message, by the near half, and its answer. */
	VIDAS_LANE_HELLO = 0x7d000001,
	VIDAS_LANE_WELCOME,
	/* Far: a notice for the kernel follows the head. Near: what the kernel said to it. */
	VIDAS_LANE_NOTICE,
	VIDAS_LANE_NOTICED,
	/* Far: who is that process? Near: this. */
	VIDAS_LANE_CALLER,
	VIDAS_LANE_CALLED,
	/* Far, after a worker died: have the kernel send again what was not answered. Near: what
	 * comes from here on is that, and new. */
	VIDAS_LANE_RESEND,
	VIDAS_LANE_RESENT,
	/* Near: a read or write of a file follows, and where it can, the far half answers by handing over
	 * memory of it (far_map.c) in place of carrying it out. */
	VIDAS_LANE_MAP,
	VIDAS_LANE_MAPPED,
	/* Far: that memory of a file, and what was said of its size, is not to be used any more.
	 * Near: it is not. */
	VIDAS_LANE_DROP,
	VIDAS_LANE_DROPPED,
	/* Near: a file was written to, in its memory. */
	VIDAS_LANE_TOUCH,
	VIDAS_LANE_KINDS
};

struct vidas_lane_head {
	uint32_t bytes; /* of the message, with this head */
	uint32_t kind;
	uint64_t token; /* of a question; its answer has the same */
};

/* What the mount is to be; `text` is the container's name and then the directory in it. */
struct vidas_lane_hello {
	struct vidas_lane_head head;
	uint32_t version;
	uint32_t instance; /* of far halves that this mount had; numbers of nodes begin there */
	uint32_t relaxed_seconds, wait_seconds;
	uint8_t relaxed, spare;
	uint16_t container_bytes, subdir_bytes, spare2;
	uint64_t atime; /* MOUNT_ATTR_*, when reading moves it; 0: as the pool's mount has it */
	char text[];
};

/* An error comes with words. */
struct vidas_lane_welcome {
	struct vidas_lane_head head;
	int32_t error;
	uint32_t version;
	char words[512];
};

struct vidas_lane_noticed {
	struct vidas_lane_head head;
	int32_t error;
	uint32_t spare;
};

struct vidas_lane_caller {
	struct vidas_lane_head head;
	int32_t pid;
	uint32_t spare;
};

#define VIDAS_LANE_GROUPS_MAX 16384u
struct vidas_lane_called {
	struct vidas_lane_head head;
	int32_t error;
	uint32_t count; /* of groups */
	uint64_t caps;	/* effective */
	uint32_t groups[];
};

/* Memory is handed over in chunks, of files that are not small. */
#define VIDAS_LANE_CHUNK   (UINT64_C(1) << 20)
#define VIDAS_LANE_MAP_MIN (64 << 10)

struct vidas_lane_map {
	struct vidas_lane_head head; /* its token is the request's number */
	uint64_t offset;	     /* of the chunk */
	uint32_t memory;	     /* 0: the near half has it, and wants the promise again */
	uint32_t spare;
};

/* With a share, if there was to be one: `bytes` from `offset`, less than a chunk at the end. For so long
 * nobody makes the file shorter, or takes memory out of it, before a DROP was answered. */
struct vidas_lane_mapped {
	struct vidas_lane_head head;
	uint64_t nodeid;
	uint64_t offset, bytes;
	uint64_t size; /* of the file */
	uint32_t promise_ms;
	uint32_t writable;
};

struct vidas_lane_file {
	struct vidas_lane_head head;
	uint64_t nodeid;
};

static inline bool vidas_lane_private(uint32_t kind)
{
	return kind >= VIDAS_LANE_HELLO && kind < VIDAS_LANE_KINDS;
}

/* A lane's two ends on one machine. */
int vidas_lane_pair(int fd[2]);
/* Gives an inherited or connected end the room that it needs. */
void vidas_lane_init(int fd);
/* Sends one message of at most 7 pieces, and memory beside it, which stays the caller's (NULL: none);
 * waits `timeout_us` at most for room. 0, -EPIPE the other end is closed, -ETIMEDOUT. */
int vidas_lane_send(int fd, const struct iovec *iov, int count, const struct vidas_share *share,
		    int64_t timeout_us);
/* Receives one; memory that came beside it is the caller's (`share` NULL: none may). Its length, 0 the
 * other end is closed, -EAGAIN there is none, -EMSGSIZE it was longer, -EBADMSG it was no message. */
ssize_t vidas_lane_recv(int fd, void *buf, size_t size, struct vidas_share *share);
/* Waits until there is something to receive: 0, -ETIMEDOUT. */
int vidas_lane_wait(int fd, int64_t timeout_us);

#endif
