/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pool/transport/local/local.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/base/base.h"

/*
 * Who may connect is said twice: by the socket's mode (its owner is the domain's uid, its group
 * root's, others have nothing), so that connect() itself gives -EACCES; and by the credentials that
 * the kernel attests at accept, which is what counts.
 */
#define SOCKET_MODE 0660

struct local_listener {
	struct vidas_listener base;
	int fd;
	int dir; /* where the socket's name is */
	char *name;
	dev_t dev; /* of the name as we made it */
	ino_t ino;
	vidas_domain_id domain;
	uid_t uid;
};

static struct local_listener *local(struct vidas_listener *l)
{
	return (struct local_listener *)(void *)l;
}

static void local_close(struct vidas_listener *base)
{
	struct local_listener *l = local(base);
	struct stat st;

	/* Another vidasd may have put a socket of its own there since. */
	if (l->name && fstatat(l->dir, l->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == l->dev && st.st_ino == l->ino)
		unlinkat(l->dir, l->name, 0);
	if (l->fd >= 0)
		close(l->fd);
	if (l->dir >= 0)
		close(l->dir);
	free(l->name);
	free(l);
}

static int local_fd(const struct vidas_listener *base)
{
	return ((const struct local_listener *)(const void *)base)->fd;
}

static int local_accept(struct vidas_listener *base, struct vidas_channel **out,
			struct vidas_peer *peer)
{
	struct local_listener *l = local(base);
	struct ucred cred;
	socklen_t bytes = sizeof(cred);
	int fd;

	do
		fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return errno == ECONNABORTED ? -EAGAIN : -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	*peer = (struct vidas_peer){
		.domain = l->domain, .uid = cred.uid, .gid = cred.gid, .pid = cred.pid
	};
	if (cred.uid != 0 && cred.uid != l->uid) {
		close(fd);
		return vidas_fail(-EACCES, "process %d of uid %u is not one of domain %u",
				  (int)cred.pid, (unsigned)cred.uid, (unsigned)l->domain);
	}
	return vidas_local_channel(fd, out);
}

/* What is at the path: 0 nothing, or the socket of one that is no more; -EADDRINUSE, -EEXIST. */
static int probe(const struct local_listener *l, const char *path, const struct sockaddr_un *sun)
{
	struct stat st;
	int err = 0;
	int fd;

	if (fstatat(l->dir, l->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return vidas_fail(-EEXIST, "'%s' is there and is not a socket", path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0 ||
	    (errno != ECONNREFUSED && errno != ENOENT))
		err = vidas_fail(-EADDRINUSE, "another process answers at '%s'", path);
	close(fd);
	return err;
}

static int set_owner(const struct local_listener *l, const char *name)
{
	/* Only root may give the socket away, and only root needs to. */
	if (geteuid() == 0 || l->uid != geteuid()) {
		if (fchownat(l->dir, name, l->uid, 0, AT_SYMLINK_NOFOLLOW) < 0)
			return vidas_fail(-errno, "cannot give the socket to uid %u: %s",
					  (unsigned)l->uid, strerror(errno));
	}
	return fchmodat(l->dir, name, SOCKET_MODE, 0) < 0 ? -errno : 0;
}

/*
 * The socket gets its name when it listens already, by a rename over what may be there: who
 * connects meets the dead one, or ours, never one in between. A name that is left because we were
 * killed before the rename (".NAME.PID") answers nobody and harms nothing.
 */
static int bind_and_listen(struct local_listener *l)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct stat st = { .st_ino = 0 };
	char temporary[64];
	int err;

	snprintf(temporary, sizeof(temporary), ".%.32s.%d", l->name, (int)getpid());
	/* By way of /proc, as the directory's path may leave no room for a longer name. */
	snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/%s", l->dir, temporary);
	unlinkat(l->dir, temporary, 0);
	if (bind(l->fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
		return -errno;
	err = set_owner(l, temporary);
	if (err == 0 && (listen(l->fd, SOMAXCONN) < 0 ||
			 fstatat(l->dir, temporary, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			 renameat(l->dir, temporary, l->dir, l->name) < 0))
		err = -errno;
	if (err) {
		unlinkat(l->dir, temporary, 0);
		return err;
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

/* Opens the directory of `path` and keeps the name in it. */
static int split(struct local_listener *l, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char *dir;

	if (!vidas_path_ok(name, strlen(name)) || !name[0]) {
		vidas_fail(-EINVAL, "'%s' is not the path of a socket", path);
		return -EINVAL;
	}
	l->name = strdup(name);
	dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	if (dir)
		l->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(dir);
	if (!l->name || !dir)
		return -ENOMEM;
	return l->dir < 0 ? -errno : 0;
}

static const struct vidas_listener_ops local_listener_ops = {
	.close = local_close,
	.fd = local_fd,
	.accept = local_accept,
};

int vidas_local_listen(const char *path, vidas_domain_id domain, uid_t uid,
		       struct vidas_listener **out)
{
	struct local_listener *l;
	struct sockaddr_un sun;
	int err;

	err = vidas_local_address(path, &sun);
	if (err < 0)
		return err;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	*l = (struct local_listener){
		.base.ops = &local_listener_ops, .fd = -1, .dir = -1, .domain = domain, .uid = uid
	};
	vidas_fail_clear();
	err = split(l, path);
	if (err == 0)
		err = probe(l, path, &sun);
	if (err == 0) {
		l->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		err = l->fd < 0 ? -errno : bind_and_listen(l);
	}
	if (err < 0) {
		local_close(&l->base);
		if (!vidas_fail_text()[0])
			vidas_fail(err, "cannot listen at '%s': %s", path, strerror(-err));
		return err;
	}
	*out = &l->base;
	return 0;
}
