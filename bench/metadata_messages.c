/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How many requests vidasd answers for the judged mount's domain while each operation is done a
 * number of times: alone, while another domain looks at the same directory, and in a container with
 * a root.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/metadata.h"
#include "pool/client/admin.h"

#define SMALL_MAX 3 /* messages for the whole life of a small file's making */

/* Requests answered for the domain so far; negative: -errno. */
static json_int_t answered(const struct metadata *m)
{
	json_int_t count = -ENOENT;
	json_t *status, *d;
	char *text = NULL;
	size_t i;
	int err = vidas_admin_status(m->v, &text);

	if (err < 0)
		return err;
	status = json_loads(text, 0, NULL);
	json_array_foreach(json_object_get(status, "domains"), i, d)
		if (json_integer_value(json_object_get(d, "id")) == m->domain)
			count = json_integer_value(json_object_get(d, "requests"));
	json_decref(status);
	free(text);
	return count;
}

/* The other domain's kernel caches what it is told of here. */
static void look(int dir)
{
	for (unsigned i = 0; dir >= 0 && i < NAMES_A_SLICE; i++) {
		struct stat st;
		char name[64];

		snprintf(name, sizeof(name), "file-%u", i);
		fstatat(dir, name, &st, 0);
	}
}

/* One step on its first slice; `other`: the directory in another domain's mount, or -1. */
static int count_step(struct metadata *m, const struct names_step *step, struct names_party *party,
		      int other, const char *where)
{
	json_int_t before, after;
	char name[80];
	struct vidas_row row = {
		.group = "messages", .name = name, .unit = "msg", .kind = VIDAS_GOAL_NONE
	};
	long ops;
	int err;

	party->run++;
	err = step->prepare ? step->prepare(party, 0) : 0;
	look(other);
	before = answered(m);
	ops = err ? err : step->turn(party, 0);
	after = answered(m);
	if (step->finish)
		step->finish(party, 0);
	if (ops < 0 || before < 0 || after < 0)
		return vidas_bench_complain(m->b, "%s, %s: %s", step->name, where,
					    strerror(ops < 0	? (int)-ops :
						     before < 0 ? (int)-before :
								  (int)-after));
	snprintf(name, sizeof(name), "%s, %s", step->name, where);
	row.value = (double)(after - before) / (double)ops;
	if (strstr(step->name, "write")) {
		row.kind = VIDAS_GOAL_VALUE_MAX;
		row.goal = SMALL_MAX;
	}
	vidas_table_row(&m->b->table, &row);
	return 0;
}

static int count_steps(struct metadata *m, struct names_party *party, int other, const char *where)
{
	int ret = 0;

	for (unsigned s = 0; !ret && s < metadata_steps_count; s++)
		ret = count_step(m, &metadata_steps[s], party, other, where);
	return ret;
}

static int count_place(struct metadata *m, unsigned i)
{
	const struct places *p = m->p;
	struct names_party party;
	int ret = names_party_open(m->b, p, i, &party), other;

	if (!ret)
		ret = count_steps(m, &party, -1, "alone");
	for (unsigned k = 0; !ret && k < p->n; k++) {
		if (p->place[k].role != PLACE_OTHER)
			continue;
		other = openat(p->place[k].fd, p->place[i].name,
			       O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ret = count_steps(m, &party, other, "another domain looking");
		if (other >= 0)
			close(other);
	}
	names_party_close(p, i, &party);
	return ret;
}

static int count_rooted(struct metadata *m)
{
	int fd = open(m->rooted, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret;
	struct names_party party = { .fd = fd, .direct_fd = fd };

	if (fd < 0)
		return vidas_bench_complain(m->b, "%s: %s", m->rooted, strerror(errno));
	ret = count_steps(m, &party, -1, "with a root");
	close(fd);
	return ret;
}

int metadata_messages_run(struct metadata *m)
{
	int ret = 0;

	vidas_table_head(&m->b->table, "Messages to vidasd for each operation");
	for (unsigned i = 0; !ret && i < m->p->n; i++)
		if (m->p->place[i].role == PLACE_JUDGED)
			ret = count_place(m, i);
	if (!ret && m->rooted)
		ret = count_rooted(m);
	return ret;
}
