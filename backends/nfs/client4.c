/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Version 4.0 makes files by OPEN alone, which needs a client id and an open owner whose operations are
 * numbered. A file is opened to be made and closed at once; bytes move by the anonymous state id. So
 * nothing that a server's restart could take away is held, there is nothing to renew or reclaim, and a
 * client id that the server has forgotten is simply asked for again.
 *
 * One thread at a time uses an owner. One whose number may be wrong is never used again.
 */
#include "backends/nfs/v4.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define TRIES 8

struct owner {
	uint64_t number, clientid;
	uint32_t seqid;
	struct owner *next;
};

struct vidas_nfs4_client {
	char id[96];
	verifier4 verifier;
	struct vidas_nfs_turn turn; /* held while the server is told of us */
	pthread_mutex_t lock;	    /* guards the rest */
	uint64_t clientid, owners;
	bool known; /* has the server given that id? */
	struct owner *idle;
};

int vidas_nfs4_client_new(struct vidas_nfs4_client **out)
{
	struct vidas_nfs4_client *c = calloc(1, sizeof(*c));
	char host[48] = "";
	uint64_t random[2] = { 0 };

	if (!c)
		return -ENOMEM;
	(void)gethostname(host, sizeof(host) - 1);
	if (getrandom(random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random[0] = random[1] = (uint64_t)vidas_nfs_now_us() ^ (uint64_t)(uintptr_t)c;
	/* Of this moment alone: a process that comes after is another client. */
	snprintf(c->id, sizeof(c->id), "vidas/%s/%d/%016llx", host, (int)getpid(),
		 (unsigned long long)random[0]);
	memcpy(c->verifier, &random[1], sizeof(c->verifier));
	pthread_mutex_init(&c->lock, NULL);
	c->turn = (struct vidas_nfs_turn)VIDAS_NFS_TURN;
	*out = c;
	return 0;
}

/* Locked. */
static void owners_free(struct vidas_nfs4_client *c)
{
	while (c->idle) {
		struct owner *o = c->idle;

		c->idle = o->next;
		free(o);
	}
}

void vidas_nfs4_client_free(struct vidas_nfs4_client *client)
{
	if (!client)
		return;
	owners_free(client);
	pthread_mutex_destroy(&client->lock);
	free(client);
}

static int set_clientid(struct vidas_backend *be, uint64_t *clientid)
{
	struct vidas_nfs4_client *client = be->client;
	struct vidas_nfs4_compound c = { .count = 0 };
	struct vidas_nfs4_answer a = { 0 };
	SETCLIENTID4args *set = &vidas_nfs4_op(&c, OP_SETCLIENTID)->nfs_argop4_u.opsetclientid;
	SETCLIENTID_CONFIRM4args *confirm;
	verifier4 verifier;
	char netid[] = "tcp", nowhere[] = "0.0.0.0.0.0";
	int err;

	memcpy(set->client.verifier, client->verifier, sizeof(set->client.verifier));
	set->client.id.id_len = (unsigned)strlen(client->id);
	set->client.id.id_val = client->id;
	/* Nobody to call back: we take no delegations. */
	set->callback.cb_location = (clientaddr4){ .r_netid = netid, .r_addr = nowhere };
	err = vidas_nfs4_ask(be, &c, &a, NULL);
	if (err)
		return err;
	*clientid = a.clientid;
	memcpy(verifier, a.verifier, sizeof(verifier));
	c.count = 0;
	confirm = &vidas_nfs4_op(&c, OP_SETCLIENTID_CONFIRM)->nfs_argop4_u.opsetclientid_confirm;
	confirm->clientid = *clientid;
	memcpy(confirm->setclientid_confirm, verifier, sizeof(verifier));
	return vidas_nfs4_ask(be, &c, &a, NULL);
}

/* Tells the server of us, if it does not know yet: one thread asks, the others wait for it. */
static int become_known(struct vidas_backend *be)
{
	struct vidas_nfs4_client *c = be->client;
	uint64_t clientid = 0;
	bool known;
	int err = vidas_nfs_turn_take(be, &c->turn);

	if (err)
		return err;
	pthread_mutex_lock(&c->lock);
	known = c->known;
	pthread_mutex_unlock(&c->lock);
	if (!known)
		err = set_clientid(be, &clientid);
	if (!known && !err) {
		pthread_mutex_lock(&c->lock);
		c->clientid = clientid;
		c->known = true;
		pthread_mutex_unlock(&c->lock);
	}
	vidas_nfs_turn_give(&c->turn);
	return err;
}

static int owner_take(struct vidas_backend *be, struct owner **out)
{
	struct vidas_nfs4_client *c = be->client;
	struct owner *o = NULL;
	int err = 0;

	pthread_mutex_lock(&c->lock);
	while (!c->known && !err) {
		pthread_mutex_unlock(&c->lock);
		err = become_known(be);
		pthread_mutex_lock(&c->lock);
	}
	if (!err && c->idle) {
		o = c->idle;
		c->idle = o->next;
	} else if (!err) {
		o = calloc(1, sizeof(*o));
		err = o ? 0 : -ENOMEM;
	}
	if (!err && !o->number) {
		o->number = ++c->owners;
		o->clientid = c->clientid;
	}
	pthread_mutex_unlock(&c->lock);
	*out = o;
	return err;
}

/* Puts it back; or, with `forget`, drops it and the client id that it has. */
static void owner_done(struct vidas_backend *be, struct owner *o, bool good, bool forget)
{
	struct vidas_nfs4_client *c = be->client;

	pthread_mutex_lock(&c->lock);
	if (forget && c->clientid == o->clientid) {
		c->known = false;
		owners_free(c);
	}
	if (good && c->known && c->clientid == o->clientid) {
		o->next = c->idle;
		c->idle = o;
	} else {
		free(o);
	}
	pthread_mutex_unlock(&c->lock);
}

static bool is_forgotten(const struct vidas_nfs4_answer *a)
{
	return a->status == NFS4ERR_STALE_CLIENTID || a->status == NFS4ERR_EXPIRED ||
	       a->status == NFS4ERR_STALE_STATEID;
}

static bool is_mixed_up(const struct vidas_nfs4_answer *a)
{
	return a->status == NFS4ERR_BAD_SEQID || a->status == NFS4ERR_BAD_STATEID ||
	       a->status == NFS4ERR_OLD_STATEID;
}

static int open_new(struct vidas_backend *be, struct owner *o, const struct vidas_nfs_fh *dir,
		    const char *name, struct vidas_nfs4_answer *a, bool *resent)
{
	const struct vidas_nfs_set set = { .valid = VIDAS_BACKEND_MODE, .mode = 0600 };
	struct vidas_nfs4_compound c = { .count = 0 };
	struct vidas_nfs4_packed packed;
	OPEN4args *open;
	char owner[32];

	vidas_nfs4_pack(&set, &packed);
	vidas_nfs4_putfh(&c, dir);
	open = &vidas_nfs4_op(&c, OP_OPEN)->nfs_argop4_u.opopen;
	open->seqid = o->seqid;
	open->share_access = OPEN4_SHARE_ACCESS_BOTH;
	open->share_deny = OPEN4_SHARE_DENY_NONE;
	open->owner.clientid = o->clientid;
	open->owner.owner.owner_len =
		(unsigned)snprintf(owner, sizeof(owner), "put-%llu", (unsigned long long)o->number);
	open->owner.owner.owner_val = owner;
	open->openhow.opentype = OPEN4_CREATE;
	open->openhow.openflag4_u.how.mode = GUARDED4;
	open->openhow.openflag4_u.how.createhow4_u.createattrs = packed.attr;
	open->claim.claim = CLAIM_NULL;
	open->claim.open_claim4_u.file = vidas_nfs4_text(name, strlen(name));
	(void)vidas_nfs4_op(&c, OP_GETFH);
	return vidas_nfs4_ask(be, &c, a, resent);
}

static int confirm_and_close(struct vidas_backend *be, struct owner *o, struct vidas_nfs4_answer *a,
			     const struct vidas_nfs_fh *fh)
{
	struct vidas_nfs4_compound c = { .count = 0 };
	OPEN_CONFIRM4args *confirm;
	CLOSE4args *close;
	int err = 0;

	if (a->rflags & OPEN4_RESULT_CONFIRM) {
		vidas_nfs4_putfh(&c, fh);
		confirm = &vidas_nfs4_op(&c, OP_OPEN_CONFIRM)->nfs_argop4_u.opopen_confirm;
		confirm->open_stateid = a->stateid;
		confirm->seqid = o->seqid;
		err = vidas_nfs4_ask(be, &c, a, NULL);
		if (err)
			return err;
		o->seqid++;
	}
	c.count = 0;
	vidas_nfs4_putfh(&c, fh);
	close = &vidas_nfs4_op(&c, OP_CLOSE)->nfs_argop4_u.opclose;
	close->open_stateid = a->stateid;
	close->seqid = o->seqid;
	err = vidas_nfs4_ask(be, &c, a, NULL);
	if (!err)
		o->seqid++;
	return err;
}

/* 1: with another owner, or client id, it may go. */
static int create_once(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		       struct vidas_nfs_fh *out, bool *resent)
{
	struct vidas_nfs4_answer a = { 0 };
	struct owner *o;
	int err = owner_take(be, &o);

	if (err)
		return err;
	err = open_new(be, o, dir, name, &a, resent);
	if (err) {
		owner_done(be, o, false, is_forgotten(&a));
		return is_forgotten(&a) || is_mixed_up(&a) ? 1 : err;
	}
	o->seqid++;
	*out = a.got.fh[0];
	/* The file is there; that the server keeps it open a while longer does no harm. */
	err = confirm_and_close(be, o, &a, out);
	owner_done(be, o, !err, err && is_forgotten(&a));
	return err == -ETIMEDOUT ? err : 0;
}

int vidas_nfs4_create(struct vidas_backend *be, const struct vidas_nfs_fh *dir, const char *name,
		      struct vidas_nfs_fh *out)
{
	bool resent = false;
	int err = 1;

	for (int tries = 0; err == 1 && tries < TRIES; tries++)
		err = create_once(be, dir, name, out, &resent);
	if (err == 1)
		return vidas_backend_error(be->host, -EAGAIN,
					   "the server does not accept us as a client");
	return err;
}
