/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The keeper: starts a worker, waits, and starts another if that one was killed. */
#include "vidasfs/fs.h"
#include "vidasfs/keep.h"

#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Workers that crash within this time of their start: after the first number of them in a row they start
 * over, since a request under way may be what they crash of; after the second the mount is given up. */
#define HASTE_US     (1000 * 1000)
#define HASTE_OVER   3u
#define HASTE_END    6u
#define KEEPER_TITLE "vidas-keeper"

struct fds {
	int *fd;
	size_t count;
};

static const int passed_on[] = { SIGTERM, SIGINT, SIGHUP };
static volatile sig_atomic_t worker_pid;
static struct fds base; /* open before there was a worker */
static struct fds left; /* open when the last one had died */

static struct {
	char *at, *text;
	size_t size;
} title;

static void title_find(int argc, char **argv)
{
	title.at = argv[0];
	title.size = strlen(argv[0]) + 1;
	for (int i = 1; i < argc && argv[i] == title.at + title.size; i++)
		title.size += strlen(argv[i]) + 1;
	title.text = malloc(title.size);
	if (title.text)
		memcpy(title.text, title.at, title.size);
}

/* What ps shows, so that neither is taken for the other. */
static void title_set(bool keeper)
{
	prctl(PR_SET_NAME, keeper ? KEEPER_TITLE : "vidasfs");
	if (!title.text)
		return;
	memset(title.at, 0, title.size);
	if (keeper)
		snprintf(title.at, title.size, "%s", KEEPER_TITLE);
	else
		memcpy(title.at, title.text, title.size);
}

static void fds_list(struct fds *list)
{
	DIR *dp = opendir("/proc/self/fd");
	struct dirent *de;
	int *more;

	list->count = 0;
	while (dp && (de = readdir(dp))) {
		if (de->d_name[0] == '.' || atoi(de->d_name) == dirfd(dp))
			continue;
		more = realloc(list->fd, (list->count + 1) * sizeof(*more));
		if (!more)
			break;
		list->fd = more;
		list->fd[list->count++] = atoi(de->d_name);
	}
	if (dp)
		closedir(dp);
}

static bool fds_have(const struct fds *list, int fd)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->fd[i] == fd)
			return true;
	return false;
}

void vidas_keeper_sweep(bool (*kept)(int fd))
{
	for (size_t i = 0; i < left.count; i++)
		if (left.fd[i] != vidas_kept->fuse_fd && !fds_have(&base, left.fd[i]) &&
		    !kept(left.fd[i]))
			close(left.fd[i]);
	left.count = 0;
}

static void pass_on(int sig)
{
	if (worker_pid > 0)
		kill((pid_t)worker_pid, sig);
}

static void handle_signals(void (*handler)(int sig))
{
	const struct sigaction act = { .sa_handler = handler };

	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(passed_on); i++)
		sigaction(passed_on[i], &act, NULL);
}

struct job {
	int (*work)(void *arg);
	void *arg;
	int status;
};

static void *job_main(void *arg)
{
	struct job *j = arg;

	j->status = j->work(j->arg);
	return NULL;
}

/*
 * The C library does not know of the clone(2) that made this process, and takes its first thread for the
 * keeper's. So that one only waits for a thread made in the ordinary way; signals are for that one.
 */
static void worker_main(struct job *j)
{
	pthread_t thread;
	sigset_t all;

	title_set(false);
	handle_signals(SIG_DFL);
	j->status = EXIT_FAILURE;
	if (pthread_create(&thread, NULL, job_main, j) == 0) {
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, NULL);
		pthread_join(thread, NULL);
	}
	exit(j->status);
}

/* Returns how it ended, as wait(2) says it; -errno. */
static int worker_run(struct job *j)
{
	int status, err = 0;
	pid_t pid;

	atomic_fetch_add_explicit(&vidas_kept->workers, 1, memory_order_relaxed);
	pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		return -errno;
	if (!pid)
		worker_main(j);
	worker_pid = pid;
	title_set(true);
	while (waitpid(pid, &status, 0) < 0 && !err)
		err = errno == EINTR ? 0 : -errno;
	worker_pid = 0;
	return err ? err : status;
}

/* What was under way or open fails from now on, and with it whoever believes to hold a lock. */
static void start_over(const char *why)
{
	vidas_log(VIDAS_LOG_ERR, "%s: what programs have open here is lost, %s is mounted anew",
		  why, vidas_kept->mountpoint);
	if (umount2(vidas_kept->mountpoint, MNT_DETACH) < 0)
		vidas_log(VIDAS_LOG_WARNING, "unmounting it: %s", strerror(errno));
	for (size_t i = 0; i < left.count; i++)
		if (!fds_have(&base, left.fd[i]))
			close(left.fd[i]);
	left.count = 0;
	vidas_keep_reset();
}

static void rest(unsigned haste)
{
	const struct timespec ts = { .tv_nsec = 100 * 1000 * 1000 * (long)haste };

	if (haste)
		nanosleep(&ts, NULL);
}

/* It was too early, or too late, for it to end in its own way. */
static bool told_to_end(int sig)
{
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(passed_on); i++)
		if (passed_on[i] == sig)
			return true;
	return false;
}

int vidas_keeper_run(int (*work)(void *arg), void *arg, int argc, char **argv)
{
	struct job j = { .work = work, .arg = arg };
	unsigned haste = 0;
	const char *why;
	int64_t since_us;
	int status;

	title_find(argc, argv);
	fds_list(&base);
	handle_signals(pass_on);
	for (;;) {
		since_us = vidas_now_us();
		status = worker_run(&j);
		if (status < 0) {
			vidas_log(VIDAS_LOG_ERR, "no process for a worker: %s", strerror(-status));
			return EXIT_FAILURE;
		}
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		vidas_log(VIDAS_LOG_ERR, "the worker was killed (%s)", strsignal(WTERMSIG(status)));
		if (!atomic_load_explicit(&vidas_kept->mounted, memory_order_acquire) ||
		    atomic_load_explicit(&vidas_kept->ending, memory_order_acquire))
			return EXIT_FAILURE;
		if (told_to_end(WTERMSIG(status))) {
			if (!vidas_is_far())
				umount2(vidas_kept->mountpoint, MNT_DETACH);
			return EXIT_SUCCESS;
		}
		/* SIGKILL is no crash: someone, or the kernel out of memory, wants it gone. */
		if (vidas_now_us() - since_us >= HASTE_US || WTERMSIG(status) == SIGKILL)
			haste = 0;
		else
			haste++;
		if (haste >= HASTE_END) {
			vidas_log(VIDAS_LOG_ERR, "workers crash again and again: the mount ends");
			return EXIT_FAILURE;
		}
		rest(haste);
		if (chdir("/") < 0)
			vidas_log(VIDAS_LOG_WARNING, "leaving the directory: %s", strerror(errno));
		fds_list(&left);
		if (haste >= HASTE_OVER)
			why = "workers crash again and again";
		else if (!vidas_channel_resends())
			why = "the kernel that has the mount sends no request again, as Linux does from 6.9 on";
		else
			why = NULL;
		if (why && vidas_is_far()) {
			vidas_log(VIDAS_LOG_ERR, "%s: what is open in that mount is lost", why);
			return EXIT_FAILURE;
		}
		if (why)
			start_over(why);
	}
}
