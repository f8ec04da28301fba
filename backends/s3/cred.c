/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where keys come from, first found: credentials=FILE or profile=NAME of the URL alone, where
 * given; else the environment, ~/.aws/credentials and ~/.aws/config, the instance's metadata
 * service. Values go into requests only: into no log and no words. (The files' dialect is not
 * quite INI: libinih cuts lines at 200 bytes, and a session token is longer.)
 */
#include "backends/s3/s3.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX     (1u << 20)
#define REFRESH_S    300 /* before they expire */
#define FAIL_WAIT_US (5 * INT64_C(1000000))

struct s3_cred {
	const struct vidas_backend_host *host;
	struct s3_cred_source source;
	pthread_mutex_t lock; /* held while they are fetched: one does it, others wait */
	struct s3_key key;
	bool have, fixed; /* fixed: they do not change while the process lives */
	int failed;	  /* the last fetch's error, believed until... */
	int64_t failed_until_us;
	char why[256];
};

/* Opened first and checked then, so that what is read is what was checked. */
static int file_open(const char *path, bool must, char why[256])
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0) {
		snprintf(why, 256, "%s: %s", path, strerrordesc_np(errno));
		return must || (errno != ENOENT && errno != ENOTDIR) ? -EACCES : -ENOENT;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
		snprintf(why, 256, "%s is not a file of at most 1 MiB", path);
	} else if (st.st_uid != 0 && st.st_uid != geteuid()) {
		snprintf(why, 256, "%s is owned by uid %u; chown it to %u", path, st.st_uid,
			 geteuid());
	} else if (st.st_mode & 077) {
		snprintf(why, 256, "%s can be used by others (mode %04o); chmod 600 it", path,
			 st.st_mode & 07777);
	} else {
		return fd;
	}
	close(fd);
	return -EPERM;
}

/* Cuts blanks off both ends. */
static char *trim(char *s)
{
	size_t size;

	s += strspn(s, " \t\r");
	size = strlen(s);
	while (size && strchr(" \t\r", s[size - 1]))
		s[--size] = '\0';
	return s;
}

static bool section_is(char *line, const char *profile)
{
	char *end = strrchr(line, ']'), *name = line + 1;

	if (end)
		*end = '\0';
	name = trim(name);
	if (strncmp(name, "profile ", 8) == 0)
		name = trim(name + 8);
	return strcmp(name, profile) == 0;
}

static int copy_value(char *to, size_t size, const char *value)
{
	size_t n = strlen(value);

	if (!n || n >= size)
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)value[i] <= 0x20 || value[i] == 0x7f)
			return -EINVAL;
	memcpy(to, value, n + 1);
	return 0;
}

static int setting(struct s3_key *key, char *line)
{
	char *value = strchr(line, '=');
	const char *name;

	if (!value)
		return 0;
	*value++ = '\0';
	name = trim(line);
	value = trim(value);
	if (strcmp(name, "aws_access_key_id") == 0)
		return copy_value(key->id, sizeof(key->id), value);
	if (strcmp(name, "aws_secret_access_key") == 0)
		return copy_value(key->secret, sizeof(key->secret), value);
	if (strcmp(name, "aws_session_token") == 0)
		return copy_value(key->token, sizeof(key->token), value);
	return 0;
}

static int text_parse(char *buf, const char *profile, struct s3_key *out)
{
	bool inside = false;
	char *save = NULL;
	int err = 0;

	for (char *line = strtok_r(buf, "\n", &save); line && !err;
	     line = strtok_r(NULL, "\n", &save)) {
		/* An indented line belongs to a nested setting. */
		if (strchr(" \t#;", line[0]))
			continue;
		if (line[0] == '[')
			inside = section_is(line, profile);
		else if (inside)
			err = setting(out, line);
	}
	return err;
}

int vidas_s3_cred_file(const char *path, const char *profile, bool must, struct s3_key *out,
		       char why[256])
{
	int fd = file_open(path, must, why), err;
	ssize_t n;
	size_t used = 0;
	char *buf;

	if (fd < 0)
		return fd;
	buf = malloc(FILE_MAX + 1);
	err = buf ? 0 : -ENOMEM;
	while (!err && used < FILE_MAX && (n = read(fd, buf + used, FILE_MAX - used)) > 0)
		used += (size_t)n;
	close(fd);
	if (!err) {
		buf[used] = '\0';
		err = text_parse(buf, profile, out);
		explicit_bzero(buf, used);
	}
	free(buf);
	if (err) {
		snprintf(why, 256, "%s: a value of [%.64s] has blanks or is too long", path,
			 profile);
		err = -EACCES;
	} else if (!out->id[0] || !out->secret[0]) {
		snprintf(why, 256, "%s has no keys in [%.64s]", path, profile);
		err = must ? -EACCES : -ENOENT;
	}
	if (err)
		explicit_bzero(out, sizeof(*out));
	return err;
}

static int from_environment(struct s3_key *out)
{
	const char *id = secure_getenv("AWS_ACCESS_KEY_ID");
	const char *secret = secure_getenv("AWS_SECRET_ACCESS_KEY");
	const char *token = secure_getenv("AWS_SESSION_TOKEN");

	if (!id || !*id || !secret || !*secret)
		return -ENOENT;
	if (copy_value(out->id, sizeof(out->id), id) ||
	    copy_value(out->secret, sizeof(out->secret), secret) ||
	    (token && *token && copy_value(out->token, sizeof(out->token), token)))
		return -EACCES;
	return 0;
}

/* A file of the daemon's user. */
static int home_path(char *path, size_t size, const char *env, const char *name)
{
	const char *given = secure_getenv(env), *home = secure_getenv("HOME");
	struct passwd pw, *found = NULL;
	char buf[4096];
	int n;

	if (given && *given) {
		n = snprintf(path, size, "%s", given);
		return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
	}
	if (!home || !*home) {
		if (getpwuid_r(geteuid(), &pw, buf, sizeof(buf), &found) || !found)
			return -ENOENT;
		home = pw.pw_dir;
	}
	n = snprintf(path, size, "%s/.aws/%s", home, name);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int from_home(const char *profile, struct s3_key *out, char why[256])
{
	char path[PATH_MAX];
	int err = home_path(path, sizeof(path), "AWS_SHARED_CREDENTIALS_FILE", "credentials");

	if (!err)
		err = vidas_s3_cred_file(path, profile, false, out, why);
	if (err != -ENOENT)
		return err;
	err = home_path(path, sizeof(path), "AWS_CONFIG_FILE", "config");
	/* The config file need not be secret, unless it has keys: then it is checked the same. */
	if (!err && access(path, R_OK) < 0)
		return -ENOENT;
	if (!err)
		err = vidas_s3_cred_file(path, profile, false, out, why);
	return err == -EPERM ? -ENOENT : err;
}

static int fetch(struct s3_cred *c)
{
	const char *profile = c->source.profile, *off;
	int err;

	if (!profile)
		profile = secure_getenv("AWS_PROFILE");
	if (!profile || !*profile)
		profile = "default";
	c->fixed = true;
	if (c->source.file)
		return vidas_s3_cred_file(c->source.file, profile, true, &c->key, c->why);
	if (!c->source.profile) {
		err = from_environment(&c->key);
		if (err != -ENOENT)
			return err;
	}
	c->fixed = false;
	err = from_home(profile, &c->key, c->why);
	if (err != -ENOENT)
		return err;
	if (c->source.profile) {
		snprintf(c->why, sizeof(c->why),
			 "no keys of the profile '%.64s' in ~/.aws/credentials", profile);
		return -EACCES;
	}
	off = secure_getenv("AWS_EC2_METADATA_DISABLED");
	if (off && strcasecmp(off, "true") == 0) {
		snprintf(
			c->why, sizeof(c->why),
			"no keys in the environment or ~/.aws/credentials, and no instance metadata");
		return -EACCES;
	}
	return vidas_s3_imds_fetch(&c->key, c->why);
}

/* Under the lock. */
static int renew(struct s3_cred *c)
{
	struct s3_key old = c->key;
	int64_t now = (int64_t)time(NULL);
	int err;

	if (c->failed && vidas_s3_now_us() < c->failed_until_us)
		err = c->failed;
	else {
		c->why[0] = '\0';
		explicit_bzero(&c->key, sizeof(c->key));
		err = fetch(c);
		c->failed = err;
		c->failed_until_us = vidas_s3_now_us() + FAIL_WAIT_US;
		if (err)
			c->key = old;
	}
	/* Old ones that are good still are better than none. */
	if (err && c->have && c->key.expires_s > now)
		err = 0;
	if (!err)
		c->have = true;
	explicit_bzero(&old, sizeof(old));
	return err;
}

int vidas_s3_cred_get(struct s3_cred *c, struct s3_key *out, char why[256])
{
	int err = 0;

	pthread_mutex_lock(&c->lock);
	if (!c->have || (c->key.expires_s && c->key.expires_s - REFRESH_S < (int64_t)time(NULL)))
		err = renew(c);
	if (!err)
		*out = c->key;
	else
		snprintf(why, 256, "%s", c->why);
	pthread_mutex_unlock(&c->lock);
	return err;
}

void vidas_s3_cred_expire(struct s3_cred *c, const char *id)
{
	pthread_mutex_lock(&c->lock);
	if (c->have && strcmp(c->key.id, id) == 0)
		c->have = false;
	pthread_mutex_unlock(&c->lock);
}

int64_t vidas_s3_cred_due(struct s3_cred *c)
{
	int64_t due = -1;

	pthread_mutex_lock(&c->lock);
	if (c->have && c->key.expires_s) {
		due = c->key.expires_s - REFRESH_S - (int64_t)time(NULL);
		due = due < 1 ? 1 : due;
	}
	pthread_mutex_unlock(&c->lock);
	return due;
}

int vidas_s3_cred_open(const struct vidas_backend_host *host, const struct s3_cred_source *source,
		       struct s3_cred **out)
{
	struct s3_cred *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->host = host;
	c->source = *source;
	pthread_mutex_init(&c->lock, NULL);
	*out = c;
	return 0;
}

void vidas_s3_cred_close(struct s3_cred *c)
{
	if (!c)
		return;
	pthread_mutex_destroy(&c->lock);
	explicit_bzero(c, sizeof(*c));
	free(c);
}
