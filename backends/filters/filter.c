/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backends/filters/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pool/base/base.h"

#define FILTERS_MAX 8
#define TEXT_BYTES  32u

static const struct vidas_filter *const all[] = { &vidas_filter_checksum, &vidas_filter_fault,
						  &vidas_filter_rate, &vidas_filter_retry,
						  &vidas_filter_stats };

const char *const vidas_filter_op_name[VIDAS_OPS] = {
	[VIDAS_OP_STAT] = "stat",
	[VIDAS_OP_GET] = "get",
	[VIDAS_OP_PUT] = "put",
	[VIDAS_OP_REMOVE] = "remove",
	[VIDAS_OP_LIST] = "list",
	[VIDAS_OP_MKDIR] = "mkdir",
	[VIDAS_OP_RMDIR] = "rmdir",
	[VIDAS_OP_SYMLINK] = "symlink",
	[VIDAS_OP_READLINK] = "readlink",
	[VIDAS_OP_RENAME] = "rename",
	[VIDAS_OP_PUT_RANGE] = "put_range",
	[VIDAS_OP_SET_ATTRS] = "set_attrs",
	[VIDAS_OP_LINK] = "link",
};

static const struct vidas_filter *find(const char *name)
{
	for (size_t i = 0; i < VIDAS_ARRAY_SIZE(all); i++)
		if (strcmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
}

static int put_over(const struct vidas_backend_host *host, char *text, struct vidas_layer *layer)
{
	char *params = strchr(text, '=');
	const struct vidas_filter *filter;
	struct vidas_layer over = { 0 };
	int err;

	if (params)
		*params++ = '\0';
	filter = find(text);
	if (!filter)
		return vidas_fail(
			-EINVAL, "no filter '%s'; there are checksum, fault, rate, retry and stats",
			text);
	err = filter->open(host, layer, params ? params : "", &over);
	if (!err)
		*layer = over;
	return err;
}

int vidas_filters_open(const struct vidas_backend_host *host, const char *filters,
		       struct vidas_layer *layer)
{
	char *text = strdup(filters ? filters : ""), *save = NULL, *part[FILTERS_MAX];
	int n = 0, err = text ? 0 : -ENOMEM;

	for (char *p = text ? strtok_r(text, ",", &save) : NULL; p && !err;
	     p = strtok_r(NULL, ",", &save)) {
		if (n == FILTERS_MAX)
			err = vidas_fail(-EINVAL, "more than %d filters", FILTERS_MAX);
		else
			part[n++] = p;
	}
	while (!err && n) /* the innermost is the last one */
		err = put_over(host, part[--n], layer);
	if (err)
		layer->ops.close(layer->be);
	free(text);
	return err;
}

int vidas_filters_each(int (*each)(void *arg, const char *name, const char *summary), void *arg)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < VIDAS_ARRAY_SIZE(all); i++)
		ret = each(arg, all[i]->name, all[i]->summary);
	return ret;
}

static int read_number(const char *text, double *number, const char **unit)
{
	char *end;

	errno = 0;
	*number = strtod(text, &end);
	*unit = end;
	return end == text || errno || !(*number >= 0 && *number < 1e15) ? -EINVAL : 0;
}

static int scaled(double number, const char *unit, uint64_t *value)
{
	static const char units[] = "KMG";
	const char *at = *unit ? strchr(units, *unit) : NULL;

	if (*unit && (!at || unit[1]))
		return -EINVAL;
	*value = (uint64_t)(at ? number * (double)(UINT64_C(1024) << 10 * (at - units)) : number);
	return 0;
}

static int read_value(const char *text, const struct vidas_filter_param *param)
{
	static const struct {
		const char *unit;
		double us;
	} units[] = { { "us", 1 }, { "ms", 1e3 }, { "s", 1e6 } };
	uint64_t *value = param->value;
	const char *unit;
	double number;

	if (param->kind == VIDAS_FILTER_TEXT) {
		if (!*text || strlen(text) >= TEXT_BYTES)
			return -EINVAL;
		strcpy(param->value, text);
		return 0;
	}
	if (read_number(text, &number, &unit))
		return -EINVAL;
	if (param->kind == VIDAS_FILTER_NUMBER)
		return scaled(number, unit, value);
	if (param->kind == VIDAS_FILTER_PERCENT && strcmp(unit, "%") == 0 && number <= 100) {
		*value = (uint64_t)(number * 1e4 + 0.5);
		return 0;
	}
	for (size_t i = 0; param->kind == VIDAS_FILTER_DURATION && i < VIDAS_ARRAY_SIZE(units); i++)
		if (strcmp(unit, units[i].unit) == 0 && number <= 3600e6 / units[i].us) {
			*value = (uint64_t)(number * units[i].us + 0.5);
			return 0;
		}
	return -EINVAL;
}

static const struct vidas_filter_param *param_find(const struct vidas_filter_param *table,
						   size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

int vidas_filter_params(const char *filter, const char *params,
			const struct vidas_filter_param *table, size_t count)
{
	char *text = strdup(params), *save = NULL;
	int err = text ? 0 : -ENOMEM;

	for (char *name = text ? strtok_r(text, "+", &save) : NULL; name && !err;
	     name = strtok_r(NULL, "+", &save)) {
		const struct vidas_filter_param *param;
		char *value = strchr(name, ':');

		if (value)
			*value++ = '\0';
		param = param_find(table, count, name);
		if (!param)
			err = vidas_fail(-EINVAL, "the filter %s has no parameter '%s'", filter,
					 name);
		else if (!value || read_value(value, param))
			err = vidas_fail(-EINVAL, "the filter %s: '%s' is no value of %s", filter,
					 value ? value : "", name);
	}
	free(text);
	return err;
}

uint64_t vidas_filter_mix(uint64_t n)
{
	n += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
	n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
	return n ^ n >> 31;
}

void vidas_filter_sleep(uint64_t us)
{
	struct timespec left = { .tv_sec = (time_t)(us / 1000000),
				 .tv_nsec = (long)(us % 1000000) * 1000 };

	while (us && nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}
