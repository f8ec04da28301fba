/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Many files to the store at once. */
#include "pool/sync/internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void sync_batch_begin(struct sync_batch *b, struct vidas_sync *s, int away)
{
	*b = (struct sync_batch){ .s = s };
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->more, NULL);
	if (!away)
		return;
	b->away = true;
	sync_batch_failed(b, "", away);
}

void sync_batch_failed(struct sync_batch *b, const char *path, int err)
{
	const char *reason = vidas_fail_text();

	pthread_mutex_lock(&b->lock);
	b->failed += *path != '\0';
	if (!b->err) {
		b->err = err;
		snprintf(b->text, sizeof(b->text), "%s", *reason ? reason : strerror(-err));
	}
	pthread_mutex_unlock(&b->lock);
}

bool sync_batch_gave_up(struct sync_batch *b)
{
	bool yes;

	pthread_mutex_lock(&b->lock);
	yes = b->away || b->timeouts >= SYNC_TIMEOUTS;
	pthread_mutex_unlock(&b->lock);
	return yes;
}

/* What is not even tried has the reason why with it as well. */
static void leave_out(struct sync_batch *b, const char *path)
{
	struct stat st;
	int look = sync_tree_look(b->s, path, 0, &st), fd = -1, err;

	if (look < 0)
		return;
	pthread_mutex_lock(&b->lock);
	err = vidas_fail(b->err, "%s", b->text);
	pthread_mutex_unlock(&b->lock);
	if (S_ISREG(st.st_mode))
		fd = sync_reopen(look, O_RDONLY | O_NONBLOCK);
	if (fd >= 0) {
		sync_note_error(fd, err);
		close(fd);
	}
	close(look);
	sync_batch_failed(b, path, err);
}

static void push_one(struct sync_batch *b, const char *path)
{
	struct vidas_sync_moved moved = { 0 };
	int err;

	if (sync_batch_gave_up(b)) {
		leave_out(b, path);
		return;
	}
	vidas_fail_clear();
	err = sync_push(b->s, path, 0, &moved);
	if (err == -ENOENT)
		err = 0; /* deleted since it was listed */
	if (err && err != -EISDIR)
		sync_batch_failed(b, path, err);
	pthread_mutex_lock(&b->lock);
	b->moved.files += moved.files;
	b->moved.bytes += moved.bytes;
	sync_count_timeout(&b->timeouts, err, moved.files);
	if (err == -EISDIR && sync_list_add(&b->again, path) < 0)
		b->err = -ENOMEM;
	pthread_mutex_unlock(&b->lock);
}

static void *work(void *arg)
{
	struct sync_batch *b = arg;
	char *path;

	pthread_mutex_lock(&b->lock);
	for (;;) {
		while (b->head == b->tail && !b->done)
			pthread_cond_wait(&b->more, &b->lock);
		if (b->head == b->tail)
			break;
		path = b->queue[b->head++ % SYNC_BATCH_QUEUE];
		pthread_mutex_unlock(&b->lock);
		push_one(b, path);
		free(path);
		pthread_mutex_lock(&b->lock);
	}
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

void sync_batch_push(struct sync_batch *b, const char *path)
{
	char *copy = strdup(path);
	bool taken = false;

	pthread_mutex_lock(&b->lock);
	if (copy && b->workers < SYNC_BATCH_WORKERS && b->tail - b->head >= b->workers &&
	    pthread_create(&b->worker[b->workers], NULL, work, b) == 0)
		b->workers++;
	if (copy && b->workers && b->tail - b->head < SYNC_BATCH_QUEUE) {
		b->queue[b->tail++ % SYNC_BATCH_QUEUE] = copy;
		pthread_cond_signal(&b->more);
		taken = true;
	}
	pthread_mutex_unlock(&b->lock);
	if (taken)
		return;
	free(copy);
	push_one(b, path);
}

int sync_batch_push_directory(struct sync_batch *b, const char *path)
{
	struct vidas_sync_moved moved = { 0 };
	int err;

	if (sync_batch_gave_up(b))
		return 0;
	vidas_fail_clear();
	err = sync_push(b->s, path, 0, &moved);
	if (err) {
		pthread_mutex_lock(&b->lock);
		sync_count_timeout(&b->timeouts, err, false);
		pthread_mutex_unlock(&b->lock);
	}
	return err;
}

void sync_batch_finish(struct sync_batch *b)
{
	int err;

	pthread_mutex_lock(&b->lock);
	b->done = true;
	pthread_cond_broadcast(&b->more);
	pthread_mutex_unlock(&b->lock);
	for (unsigned i = 0; i < b->workers; i++)
		pthread_join(b->worker[i], NULL);
	for (size_t i = 0; i < b->again.count && !sync_batch_gave_up(b); i++) {
		vidas_fail_clear();
		err = sync_push(b->s, b->again.path[i], 0, &b->moved);
		if (err && err != -ENOENT)
			sync_batch_failed(b, b->again.path[i], err);
	}
}

int sync_batch_end(struct sync_batch *b, struct vidas_sync_moved *moved)
{
	moved->files += b->moved.files;
	moved->bytes += b->moved.bytes;
	sync_list_free(&b->again);
	pthread_cond_destroy(&b->more);
	pthread_mutex_destroy(&b->lock);
	return b->err ? vidas_fail(b->err, "%s", b->text) : 0;
}
