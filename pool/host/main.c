/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vidasd: start, the main thread's loop, stop.
 */
#include <cap-ng.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#include <vidas/version.h>

#include "pool/host/container.h"
#include "pool/host/pool.h"

/* Beside the listeners, whose events carry their domain's id. */
#define SIGNAL_EVENT UINT64_MAX

/*
 * What is needed once the pool is mounted: trees as detached mounts and trusted attributes
 * (SYS_ADMIN), files of any owner in them (the others). And NET_BIND_SERVICE: most NFS servers talk
 * to privileged ports alone. The bounding set keeps no more either.
 */
static int drop_capabilities(void)
{
	static const capng_type_t set = CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET;

	capng_select_t what = CAPNG_SELECT_BOTH;

	if (capng_get_caps_process() < 0 || !capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP)) {
		what = CAPNG_SELECT_CAPS;
		vidas_log(VIDAS_LOG_NOTICE,
			  "without CAP_SETPCAP the bounding set of capabilities stays as it is");
	}
	capng_clear(what);
	capng_updatev(CAPNG_ADD, set, CAP_SYS_ADMIN, CAP_CHOWN, CAP_DAC_OVERRIDE,
		      CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_NET_BIND_SERVICE, -1);
	if (capng_apply(what) < 0)
		return vidas_fail(-EPERM, "cannot drop capabilities; run vidasd as root");
	return 0;
}

/* A connection is a descriptor, a container four. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Signals come by a descriptor; all threads inherit the mask. SIGBUS is never blocked (map.h). */
static int open_signals(struct host *h, int *fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = SIGNAL_EVENT };
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0)
		return vidas_fail(-EINVAL, "cannot block signals");
	*fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (*fd < 0 || h->epoll_fd < 0 || epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, *fd, &event) < 0)
		return vidas_fail(-errno, "cannot wait for signals: %s", strerror(errno));
	return 0;
}

static void reload(struct host *h, int argc, char **argv)
{
	struct host_config fresh;
	char *old;

	if (vidas_host_config_load(argc, argv, &fresh) < 0) {
		vidas_log(VIDAS_LOG_ERR, "the configuration stays as it was: %s",
			  vidas_fail_text());
		return;
	}
	pthread_mutex_lock(&h->config_lock);
	old = h->config.default_root;
	h->config.default_root = fresh.default_root;
	fresh.default_root = old;
	pthread_mutex_unlock(&h->config_lock);
	vidas_log_threshold(fresh.log_level);
	vidas_host_config_free(&fresh);
	vidas_log(VIDAS_LOG_NOTICE, "log-level and default-root were read again");
}

/* Returns whether vidasd is to stop. */
static bool take_signal(struct host *h, int fd, int argc, char **argv)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return false;
	if (info.ssi_signo != SIGHUP)
		return true;
	reload(h, argc, argv);
	return false;
}

static void tick(struct host *h, bool *settled)
{
	vidas_host_lanes_tick(h);
	vidas_host_push_tick(h);
	if (atomic_exchange_explicit(&h->cleaner_due, false, memory_order_relaxed) ||
	    vidas_now_us() >= atomic_load_explicit(&h->cleaner_again_us, memory_order_relaxed))
		vidas_host_cleaner_wake(h);
	if (!*settled && !vidas_host_grace(h)) {
		*settled = true;
		vidas_host_containers_settle(h);
	}
}

static void loop(struct host *h, int signals, int argc, char **argv)
{
	int64_t next_us = vidas_deadline_us(HOST_TICK_US);
	bool settled = false, stop = false;
	uint64_t watchdog_us = 0;

	sd_watchdog_enabled(0, &watchdog_us);
	while (!stop) {
		struct epoll_event events[16];
		int64_t left_us = vidas_remaining_us(next_us);
		int n = epoll_wait(h->epoll_fd, events, VIDAS_ARRAY_SIZE(events),
				   (int)(left_us / 1000) + 1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.u64 == SIGNAL_EVENT)
				stop = take_signal(h, signals, argc, argv) || stop;
			else
				vidas_host_domain_accept(h, events[i].data.u32);
		}
		if (vidas_remaining_us(next_us))
			continue;
		tick(h, &settled);
		next_us = vidas_deadline_us(HOST_TICK_US);
		if (watchdog_us)
			sd_notify(0, "WATCHDOG=1");
	}
}

static void shut_lanes(struct host_session *s, void *arg)
{
	struct host_lane *lane;

	(void)arg;
	pthread_mutex_lock(&s->lock);
	DL_FOREACH(s->lanes, lane)
		vidas_channel_shutdown(lane->channel);
	pthread_mutex_unlock(&s->lock);
}

/* Ends all lanes. False: some are in a request that does not end. */
static bool stop_lanes(struct host *h)
{
	int64_t deadline_us = vidas_deadline_us(HOST_STOP_US);
	bool over = false;

	atomic_store_explicit(&h->stopping, true, memory_order_relaxed);
	while (!over && vidas_now_us() < deadline_us) {
		struct timespec ts;

		vidas_host_sessions_each(h, shut_lanes, NULL);
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ts.tv_nsec += 100 * 1000 * 1000;
		if (ts.tv_nsec >= 1000 * 1000 * 1000) {
			ts.tv_nsec -= 1000 * 1000 * 1000;
			ts.tv_sec++;
		}
		pthread_mutex_lock(&h->registry);
		if (h->lanes)
			pthread_cond_timedwait(&h->lanes_gone, &h->registry, &ts);
		over = h->lanes == 0;
		pthread_mutex_unlock(&h->registry);
	}
	return over;
}

/* Told once more to stop: then at once. */
static bool told_again(void *arg)
{
	struct signalfd_siginfo info;

	return read(*(int *)arg, &info, sizeof(info)) == (ssize_t)sizeof(info) &&
	       info.ssi_signo != SIGHUP;
}

static void host_init(struct host *h)
{
	pthread_condattr_t attr;

	h->pool_fd = h->lock_fd = h->mount_fd = h->containers_fd = h->domains_fd = h->trash_fd = -1;
	h->epoll_fd = -1;
	h->started_us = vidas_now_us();
	pthread_mutex_init(&h->config_lock, NULL);
	pthread_mutex_init(&h->admin, NULL);
	pthread_mutex_init(&h->registry, NULL);
	pthread_mutex_init(&h->waits_lock, NULL);
	pthread_mutex_init(&h->cleaner_lock, NULL);
	pthread_rwlock_init(&h->index, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->lanes_gone, &attr);
	pthread_cond_init(&h->cleaner_wake, &attr);
	pthread_condattr_destroy(&attr);
}

static int start(struct host *h, int *signals)
{
	int err;

	umask(0);
	raise_descriptors();
	err = vidas_host_pool_open(h);
	if (err == 0)
		err = drop_capabilities();
	if (err == 0)
		err = open_signals(h, signals);
	if (err < 0)
		return err;
	vidas_host_trash_sort(h);
	err = vidas_host_containers_load(h);
	if (err < 0)
		return err;
	/* Only clients of containers that were there before have something to come back to. */
	h->grace_end_us = h->containers ? vidas_deadline_us(HOST_GRACE_US) : 0;
	err = vidas_host_cleaner_start(h);
	return err < 0 ? err : vidas_host_domains_open(h);
}

static void announce(struct host *h)
{
	vidas_log(VIDAS_LOG_NOTICE, "version %s, pool %s with %u containers, %u domains",
		  VIDAS_VERSION_STRING, h->config.pool, HASH_COUNT(h->containers),
		  HASH_COUNT(h->domains) - 1);
	sd_notify(0, "READY=1");
}

int main(int argc, char **argv)
{
	static struct host host;
	int signals = -1, err;
	bool over = true;

	vidas_log_init("vidasd", VIDAS_LOG_INFO);
	err = vidas_host_config_load(argc, argv, &host.config);
	if (err < 0) {
		vidas_log(VIDAS_LOG_ERR, "%s", vidas_fail_text());
		return err == -EINVAL ? 2 : 1;
	}
	if (host.config.help || host.config.version || host.config.check) {
		if (host.config.help)
			vidas_host_config_help();
		else if (host.config.version)
			printf("vidasd %s\n", VIDAS_VERSION_STRING);
		else
			printf("vidasd: the configuration is right\n");
		vidas_host_config_free(&host.config);
		return 0;
	}
	vidas_log_init("vidasd", host.config.log_level);
	host_init(&host);
	err = start(&host, &signals);
	if (err == 0) {
		announce(&host);
		loop(&host, signals, argc, argv);
		sd_notify(0, "STOPPING=1");
	} else {
		vidas_log(VIDAS_LOG_ERR, "%s", vidas_fail_text());
	}
	vidas_host_domains_close(&host);
	over = stop_lanes(&host);
	if (err == 0)
		over = vidas_host_push_stop(&host, told_again, &signals) && over;
	vidas_host_cleaner_stop(&host);
	if (err == 0)
		vidas_log(VIDAS_LOG_NOTICE, "stopped; the pool %s stays as it is%s",
			  host.config.pool, over ? "" : ", though requests were still under way");
	if (!over)
		_exit(err < 0 ? 1 : 0);
	vidas_host_containers_close(&host);
	vidas_host_spares_free(&host);
	vidas_host_pool_close(&host);
	if (signals >= 0)
		close(signals);
	if (host.epoll_fd >= 0)
		close(host.epoll_fd);
	vidas_host_config_free(&host.config);
	return err < 0 ? 1 : 0;
}
