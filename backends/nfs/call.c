/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A job that is one call. */
#include "backends/nfs/link.h"

#include <stddef.h>
#include <stdio.h>

struct single {
	struct vidas_nfs_job job;
	struct vidas_nfs_call *call;
	bool sent;
};

static struct single *single_of(struct vidas_nfs_job *job)
{
	return (struct single *)(void *)((char *)job - offsetof(struct single, job));
}

static int single_pump(struct vidas_nfs_job *job)
{
	struct single *s = single_of(job);
	int err;

	if (s->sent)
		return 0;
	err = vidas_nfs_send(job, s->call->send, s->call->args, 0);
	s->sent = !err;
	return err;
}

static int single_reply(struct vidas_nfs_job *job, uint64_t tag, void *data)
{
	struct single *s = single_of(job);

	(void)tag;
	return s->call->reply(data, s->call->out);
}

static void single_lost(struct vidas_nfs_job *job, uint64_t tag)
{
	(void)tag;
	single_of(job)->sent = false;
}

static const struct vidas_nfs_job_ops single_ops = { single_pump, single_reply, single_lost };

int vidas_nfs_call(struct vidas_nfs_link *link, struct vidas_nfs_call *call)
{
	struct single s = { .job = { .ops = &single_ops }, .call = call };
	int err = vidas_nfs_run(link, &s.job);

	call->resent = call->resent || s.job.resent;
	snprintf(call->words, sizeof(call->words), "%s", s.job.words);
	return err;
}
