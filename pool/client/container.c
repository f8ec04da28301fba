/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Containers. One that this session created is "attached" without a message: its first use binds
 * it. An entry of the table lives as long as it has references: the user's attach, trees, objects,
 * calls under way.
 */
#include "pool/client/client.h"

#include <stdlib.h>
#include <string.h>

static int name_check(const char *name)
{
	if (!name || !vidas_name_ok(name, strlen(name)))
		return vidas_fail(-EINVAL, "'%s' is not a container's name", name ? name : "");
	return 0;
}

static struct vidas_container *container_find(struct vidas *v, const char *name)
{
	struct vidas_container *c;

	HASH_FIND_STR(v->containers, name, c);
	return c;
}

int vidas_container_entry(struct vidas *v, const char *name, struct vidas_container **out)
{
	struct vidas_container *c;
	int err = name_check(name);

	if (err < 0)
		return err;
	pthread_mutex_lock(&v->index);
	c = container_find(v, name);
	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c) {
			err = vidas_fail(-ENOMEM, "no memory for a container");
			goto out;
		}
		c->v = v;
		memcpy(c->name, name, strlen(name) + 1);
		atomic_init(&c->slot, -1);
		HASH_ADD_STR(v->containers, name, c);
	}
	c->refs++;
	*out = c;
out:
	pthread_mutex_unlock(&v->index);
	return err;
}

/* Has vidasd undo `attaches` attaches, in the session in which they were made only. */
static int container_unbind(struct vidas *v, uint32_t number, unsigned generation,
			    unsigned attaches)
{
	int err = 0;

	while (attaches--) {
		struct vidas_wire_container_leave body = { .container = number };
		struct vidas_call call = {
			.type = VIDAS_WIRE_CONTAINER_LEAVE,
			.body = &body,
			.only_generation = generation,
		};
		int failed = vidas_call(v, &call);

		err = err ? err : failed;
	}
	return err;
}

int vidas_container_put(struct vidas_container *c)
{
	uint32_t number = atomic_load_explicit(&c->number, memory_order_relaxed);
	struct vidas *v = c->v;
	bool last;
	int err = 0;

	pthread_mutex_lock(&v->index);
	last = !--c->refs;
	if (last)
		HASH_DEL(v->containers, c);
	pthread_mutex_unlock(&v->index);
	if (!last)
		return 0;
	if (c->bound && number)
		err = container_unbind(v, number, c->generation, c->attaches);
	vidas_leases_free(c);
	free(c->root);
	free(c);
	return err;
}

static int leases_take(struct vidas_call *call, struct vidas_channel *ch)
{
	const struct vidas_wire_container_attach_reply *reply = call->reply;

	if (!call->arg)
		return 0;
	return vidas_leases_map(call->arg, ch, &call->share[0], reply->access == VIDAS_WIRE_RW);
}

/* Under index: what an ATTACH answered. */
static void container_bound(struct vidas_container *c, unsigned generation,
			    const struct vidas_wire_container_attach_reply *reply)
{
	atomic_store_explicit(&c->number, reply->container, memory_order_release);
	atomic_store_explicit(&c->access, reply->access, memory_order_relaxed);
	atomic_store_explicit(&c->flags, reply->flags, memory_order_relaxed);
	atomic_store_explicit(&c->slot, reply->slot, memory_order_seq_cst);
	c->bound = true;
	c->generation = generation;
	c->attaches++;
}

int vidas_container_bind(struct vidas_container *c, struct vidas_share *tree)
{
	struct vidas_wire_container_attach body = {
		.flags = tree ? VIDAS_WIRE_ATTACH_TREE : 0,
	};
	struct vidas_wire_container_attach_reply reply;
	struct vidas_call call = {
		.type = VIDAS_WIRE_CONTAINER_ATTACH,
		.body = &body,
		.string = { c->name },
		.shares_wanted = 1,
		.take = leases_take,
		.arg = tree ? c : NULL,
		.reply = &reply,
		.reply_bytes = sizeof(reply),
	};
	bool stale;

	do {
		int err;

		body.slot = atomic_load_explicit(&c->slot, memory_order_relaxed);
		err = vidas_call(c->v, &call);
		if (err < 0)
			return err;
		pthread_mutex_lock(&c->v->index);
		/* If that session has ended meanwhile its answer says nothing: ask the new one. */
		stale = call.generation != c->v->generation;
		if (!stale)
			container_bound(c, call.generation, &reply);
		pthread_mutex_unlock(&c->v->index);
		if (!stale && tree && call.shares > 1) {
			*tree = call.share[1];
			call.shares = 1;
		}
		vidas_call_close(&call);
		call.retry = true;
	} while (stale);
	vidas_leases_replay(c);
	return vidas_events_start(c->v, NULL);
}

int vidas_container_get(struct vidas *v, const char *name, struct vidas_container **out)
{
	struct vidas_container *c;
	bool bound = false;
	int err = name_check(name);

	if (err < 0)
		return err;
	pthread_mutex_lock(&v->index);
	c = container_find(v, name);
	if (c && (c->attached || c->trees)) {
		c->refs++;
		bound = c->bound;
	} else {
		c = NULL;
	}
	pthread_mutex_unlock(&v->index);
	if (!c)
		return vidas_fail(-ENOTCONN, "the container %s is not attached", name);
	if (!bound)
		err = vidas_container_bind(c, NULL);
	if (err < 0) {
		vidas_container_put(c);
		return err;
	}
	*out = c;
	return 0;
}

/* Marks it as attached by the user; eats the caller's reference. */
static void container_attached(struct vidas_container *c)
{
	bool already;

	pthread_mutex_lock(&c->v->index);
	already = c->attached;
	c->attached = true;
	pthread_mutex_unlock(&c->v->index);
	if (already)
		vidas_container_put(c);
}

int vidas_container_attach(struct vidas *v, const char *name)
{
	struct vidas_container *c;
	bool bound;
	int err = vidas_or_default(&v);

	if (!err)
		err = vidas_container_entry(v, name, &c);
	if (err < 0)
		return err;
	pthread_mutex_lock(&v->index);
	bound = c->bound;
	pthread_mutex_unlock(&v->index);
	if (!bound)
		err = vidas_container_bind(c, NULL);
	if (err < 0)
		vidas_container_put(c);
	else
		container_attached(c);
	return err;
}

int vidas_container_leave(struct vidas *v, const char *name)
{
	struct vidas_container *c;
	int err = vidas_or_default(&v);

	if (!err)
		err = name_check(name);
	if (err < 0)
		return err;
	pthread_mutex_lock(&v->index);
	c = container_find(v, name);
	if (!c || !c->attached)
		err = vidas_fail(-ENOTCONN, "the container %s is not attached", name);
	else if (c->objects)
		err = vidas_fail(-EBUSY, "%u objects of the container %s are still joined",
				 c->objects, name);
	else
		c->attached = false;
	pthread_mutex_unlock(&v->index);
	return err < 0 ? err : vidas_container_put(c);
}

/* A domain named twice is named once. */
static int domains_fill(struct vidas_wire_container_create *body, const vidas_domain_id *list,
			size_t n)
{
	if (n > VIDAS_DOMAINS_MAX)
		return vidas_fail(-EINVAL, "a container is shared by at most %d domains",
				  VIDAS_DOMAINS_MAX);
	for (size_t i = 0; i < n; i++) {
		uint32_t j = 0;

		while (j < body->domains && body->domain[j].domain != list[i])
			j++;
		body->domain[j].domain = list[i];
		body->domain[j].access = VIDAS_WIRE_RW;
		if (j == body->domains)
			body->domains++;
	}
	return 0;
}

int vidas_container_make(struct vidas *v, const char *name,
			 struct vidas_wire_container_create *body, const char *root)
{
	struct vidas_call call = {
		.type = VIDAS_WIRE_CONTAINER_CREATE,
		.body = body,
		.string = { name, root },
	};
	struct vidas_container *c;
	int err = vidas_container_entry(v, name, &c);

	if (err < 0)
		return err;
	err = vidas_call(v, &call);
	if (err < 0)
		vidas_container_put(c);
	else
		container_attached(c);
	return err;
}

int vidas_container_create(struct vidas *v, const char *name, const vidas_domain_id *domains,
			   size_t n)
{
	struct vidas_wire_container_create body = { 0 };
	int err = vidas_or_default(&v);

	if (!err)
		err = domains_fill(&body, domains, n);
	return err < 0 ? err : vidas_container_make(v, name, &body, NULL);
}

static int destroy(struct vidas *v, const char *name, uint32_t flags)
{
	struct vidas_wire_container_destroy body = { .flags = flags };
	struct vidas_call call = {
		.type = VIDAS_WIRE_CONTAINER_DESTROY,
		.body = &body,
		.string = { name },
	};
	struct vidas_container *c;
	bool attached = false;
	int err = vidas_or_default(&v);

	if (!err)
		err = vidas_container_entry(v, name, &c);
	if (err < 0)
		return err;
	err = vidas_call(v, &call);
	if (!err) {
		pthread_mutex_lock(&v->index);
		attached = c->attached;
		c->attached = c->bound = false;
		c->attaches = 0;
		atomic_store_explicit(&c->number, 0, memory_order_release);
		pthread_mutex_unlock(&v->index);
	}
	if (attached)
		vidas_container_put(c);
	vidas_container_put(c);
	return err;
}

int vidas_container_destroy(struct vidas *v, const char *name)
{
	return destroy(v, name, 0);
}

int vidas_tree_rmdir(struct vidas *v, const char *container)
{
	return destroy(v, container, VIDAS_WIRE_DESTROY_EMPTY);
}

int vidas_container_list(struct vidas *v, int (*each)(const char *name, void *arg), void *arg)
{
	struct vidas_wire_container_list body = { 0 };
	struct vidas_wire_container_list_reply reply;
	struct vidas_call call = {
		.type = VIDAS_WIRE_CONTAINER_LIST,
		.body = &body,
		.reply = &reply,
		.reply_bytes = sizeof(reply),
		.reply_blob_size = VIDAS_WIRE_BLOB_MAX,
	};
	int err = vidas_or_default(&v);

	if (err < 0)
		return err;
	call.reply_blob = malloc(VIDAS_WIRE_BLOB_MAX);
	if (!call.reply_blob)
		return vidas_fail(-ENOMEM, "no memory for a list of containers");
	do {
		const char *name = call.reply_blob, *end;

		err = vidas_call(v, &call);
		if (err < 0)
			break;
		/* That each name has its NUL was checked by decode. */
		for (end = name + call.reply_blob_bytes; name < end && !err;
		     name += strlen(name) + 1)
			err = each(name, arg);
		body.cursor = reply.next;
	} while (!err && reply.next);
	free(call.reply_blob);
	return err;
}

bool vidas_container_readonly(const struct vidas_container *c)
{
	return atomic_load_explicit(&c->access, memory_order_relaxed) != VIDAS_WIRE_RW;
}

/* The root URL, asked for once. */
static int container_root(struct vidas_container *c, const char **out)
{
	struct vidas_wire_attr_get body = { 0 };
	char *root = calloc(1, VIDAS_WIRE_BLOB_MAX + 1);
	struct vidas_call call = {
		.type = VIDAS_WIRE_ATTR_GET,
		.body = &body,
		.number = &c->number,
		.string = { "", "root" },
		.reply_blob = root,
		.reply_blob_size = VIDAS_WIRE_BLOB_MAX,
	};
	int err = root ? 0 : -ENOMEM;

	pthread_mutex_lock(&c->v->index);
	*out = c->root;
	pthread_mutex_unlock(&c->v->index);
	if (!*out && !err)
		err = vidas_call(c->v, &call);
	if (!*out && !err) {
		pthread_mutex_lock(&c->v->index);
		if (!c->root) {
			c->root = root;
			root = NULL;
		}
		*out = c->root;
		pthread_mutex_unlock(&c->v->index);
	}
	free(root);
	return err;
}

int vidas_container_resource(struct vidas_container *c, const char *name, char *path, size_t size)
{
	const char *root = NULL, *rest = name;
	size_t root_bytes = 0;
	int err = 0;

	if (!name)
		return vidas_fail(-EINVAL, "a resource needs a name");
	if (strstr(name, "://")) {
		err = container_root(c, &root);
		if (err < 0)
			return err;
		root_bytes = strcspn(root, "?");
		while (root_bytes && root[root_bytes - 1] == '/')
			root_bytes--;
		if (!root_bytes || strncmp(name, root, root_bytes) || name[root_bytes] != '/')
			return vidas_fail(-EINVAL, "%s is not below the root of the container %s",
					  name, c->name);
		rest = name + root_bytes + strspn(name + root_bytes, "/");
	}
	if (!*rest || !vidas_path_ok(rest, strlen(rest)) || strlen(rest) >= size)
		return vidas_fail(-EINVAL, "'%s' is not the name of a resource", name);
	memcpy(path, rest, strlen(rest) + 1);
	return 0;
}

/* 0, also when vidasd no longer lets us have it; -errno: the lane is lost. */
static int container_replay(struct vidas_container *c, struct vidas_lane *lane, unsigned generation)
{
	struct vidas_wire_container_attach body = {
		.slot = atomic_load_explicit(&c->slot, memory_order_relaxed),
	};
	struct vidas_wire_container_attach_reply reply;
	struct vidas_call call = {
		.type = VIDAS_WIRE_CONTAINER_ATTACH,
		.body = &body,
		.string = { c->name },
		.retry = true,
		.shares_wanted = 1,
		.take = leases_take,
		.arg = c->trees ? c : NULL,
		.reply = &reply,
		.reply_bytes = sizeof(reply),
	};
	int status = 0, err;

	err = vidas_lane_exchange(c->v, lane, &call, vidas_deadline_us(c->v->timeout_us), &status);
	if (err)
		return vidas_fail(-ECONNRESET, "vidasd hung up while this session resumed");
	vidas_call_close(&call);
	c->attaches = 0;
	if (status < 0) {
		vidas_log(VIDAS_LOG_WARNING, "container %s: %s", c->name, vidas_fail_text());
		atomic_store_explicit(&c->number, 0, memory_order_release);
		atomic_store_explicit(&c->slot, -1, memory_order_seq_cst);
		c->bound = false;
		return 0;
	}
	container_bound(c, generation, &reply);
	vidas_leases_replay(c);
	return 0;
}

int vidas_containers_replay(struct vidas *v, struct vidas_lane *lane, unsigned generation)
{
	struct vidas_container *c, *next;
	int err = 0;

	HASH_ITER(hh, v->containers, c, next) {
		if (c->bound && !err)
			err = container_replay(c, lane, generation);
	}
	return err;
}
