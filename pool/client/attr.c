/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attributes of an object: the predefined ones, and the users' own in the attribute images. */
#include "pool/client/object.h"

#include <string.h>

enum predefined {
	ATTR_NAME,
	ATTR_CONTAINER,
	ATTR_OFFSET,
	ATTR_SIZE,
	ATTR_DATA,
	ATTR_SYNCHRONIZED,
	ATTR_WRITE_POLICY,
	ATTR_UPDATE_POLICY,
	ATTR_USER,
};

/* With a space: as the paper spells them. */
static const struct {
	const char *name;
	enum predefined attr;
} predefined[] = {
	{ "data", ATTR_DATA },
	{ "name", ATTR_NAME },
	{ "container", ATTR_CONTAINER },
	{ "offset", ATTR_OFFSET },
	{ "size", ATTR_SIZE },
	{ "synchronized", ATTR_SYNCHRONIZED },
	{ "write_policy", ATTR_WRITE_POLICY },
	{ "write policy", ATTR_WRITE_POLICY },
	{ "update_policy", ATTR_UPDATE_POLICY },
	{ "update policy", ATTR_UPDATE_POLICY },
	{ "read_policy", ATTR_UPDATE_POLICY },
	{ "read policy", ATTR_UPDATE_POLICY },
};

static const char update_policy[] = "update_policy"; /* its name in an image */

static enum predefined attr_find(const char *name)
{
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(predefined); i++)
		if (predefined[i].name[0] == name[0] && !strcmp(predefined[i].name, name))
			return predefined[i].attr;
	return ATTR_USER;
}

static ssize_t give(void *to, size_t size, const void *value, size_t bytes)
{
	if (bytes <= size && bytes)
		memcpy(to, value, bytes);
	return (ssize_t)bytes;
}

static ssize_t give_text(void *to, size_t size, const char *text)
{
	return give(to, size, text, strlen(text));
}

static bool flag(const struct vidas_object *o, uint32_t bit)
{
	return atomic_load_explicit(&o->shm->flags, memory_order_relaxed) & bit;
}

static ssize_t user_get(struct vidas_object *o, const char *name, void *value, size_t size)
{
	struct vidas_image image;
	const void *found;
	ssize_t bytes = vidas_image_load(o->shm, &image);

	if (bytes < 0)
		return bytes;
	bytes = vidas_image_find(&image, name, &found);
	return bytes < 0 ? bytes : give(value, size, found, (size_t)bytes);
}

bool vidas_object_eager(struct vidas_object *o)
{
	char value[8];

	return user_get(o, update_policy, value, sizeof(value)) == 5 && !memcmp(value, "eager", 5);
}

ssize_t vidas_object_getattr(struct vidas_object *o, const char *name, void *value, size_t size)
{
	switch (attr_find(name)) {
	case ATTR_NAME:
		return give_text(value, size, o->resource);
	case ATTR_CONTAINER:
		return give_text(value, size, o->c->name);
	case ATTR_OFFSET:
		return give(value, size, &o->offset, sizeof(o->offset));
	case ATTR_SIZE:
		return give(value, size, &o->size, sizeof(o->size));
	case ATTR_DATA:
		return give(value, size, &o->data, sizeof(o->data));
	case ATTR_SYNCHRONIZED:
		return give_text(value, size, flag(o, VIDAS_SHM_SYNCHRONIZED) ? "true" : "false");
	case ATTR_WRITE_POLICY:
		return give_text(value, size,
				 flag(o, VIDAS_SHM_WRITE_THROUGH) ? "through" : "back");
	case ATTR_UPDATE_POLICY:
		return give_text(value, size, vidas_object_eager(o) ? "eager" : "lazy");
	case ATTR_USER:
		break;
	}
	return user_get(o, name, value, size);
}

static int user_set(struct vidas_object *o, const char *name, const void *value, size_t size)
{
	struct vidas_owner me = vidas_object_owner(o);
	struct vidas_image image;
	int err = vidas_lock_take(&o->shm->attr_lock, &me, "an object's attributes");

	if (err < 0)
		return err;
	err = vidas_image_load(o->shm, &image);
	if (!err)
		err = vidas_image_set(&image, name, value, size);
	if (!err)
		vidas_image_store(o->shm, &image);
	vidas_lock_release(&o->shm->attr_lock, &me);
	return err;
}

/* Which of two words is it, with or without a NUL? 0, 1; -EINVAL. */
static int choose(const char *name, const void *value, size_t size, const char *no, const char *yes)
{
	const char *words[] = { no, yes };

	if (size && !((const char *)value)[size - 1])
		size--;
	for (int i = 0; i < 2; i++)
		if (size == strlen(words[i]) && !memcmp(value, words[i], size))
			return i;
	return vidas_fail(-EINVAL, "%s is '%s' or '%s'", name, no, yes);
}

static void flag_set(struct vidas_object *o, uint32_t bit, bool on)
{
	if (on)
		atomic_fetch_or_explicit(&o->shm->flags, bit, memory_order_relaxed);
	else
		atomic_fetch_and_explicit(&o->shm->flags, ~bit, memory_order_relaxed);
}

/* To "through": what was written before is pushed now, what comes after, by each write. */
static int write_policy_set(struct vidas_object *o, bool through)
{
	bool was = flag(o, VIDAS_SHM_WRITE_THROUGH);
	int err = 0;

	flag_set(o, VIDAS_SHM_WRITE_THROUGH, through);
	if (through && !was)
		err = vidas_object_flush(o);
	if (err < 0)
		flag_set(o, VIDAS_SHM_WRITE_THROUGH, false);
	return err;
}

static int update_policy_set(struct vidas_object *o, bool eager)
{
	const char *text = eager ? "eager" : "lazy";
	int err = user_set(o, update_policy, text, strlen(text));

	return !err && eager ? vidas_object_revalidate(o) : err;
}

static int user_check(const char *name, size_t size)
{
	if (!name[0] || strlen(name) > VIDAS_ATTR_NAME_MAX)
		return vidas_fail(-EINVAL, "an attribute's name has 1 to %d bytes",
				  VIDAS_ATTR_NAME_MAX);
	if (size > VIDAS_ATTR_VALUE_MAX)
		return vidas_fail(-EINVAL, "an attribute's value has at most %d bytes",
				  VIDAS_ATTR_VALUE_MAX);
	return 0;
}

int vidas_object_setattr(struct vidas_object *o, const char *name, const void *value, size_t size)
{
	enum predefined attr = attr_find(name);
	int n = user_check(name, size);

	if (!n && o->readonly)
		n = vidas_fail(-EROFS, "the container %s is attached read-only", o->c->name);
	if (n < 0)
		return n;
	switch (attr) {
	case ATTR_SYNCHRONIZED:
		n = choose(name, value, size, "false", "true");
		if (n >= 0)
			flag_set(o, VIDAS_SHM_SYNCHRONIZED, n);
		return n < 0 ? n : 0;
	case ATTR_WRITE_POLICY:
		n = choose(name, value, size, "back", "through");
		return n < 0 ? n : write_policy_set(o, n);
	case ATTR_UPDATE_POLICY:
		n = choose(name, value, size, "lazy", "eager");
		return n < 0 ? n : update_policy_set(o, n);
	case ATTR_USER:
		return user_set(o, name, value, size);
	default:
		return vidas_fail(-EPERM, "the attribute '%s' is read-only", name);
	}
}
