/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inside the command only: what a check of `vidas doctor` finds. */
#ifndef VIDAS_CLI_DOCTOR_H
#define VIDAS_CLI_DOCTOR_H

#include "cli/cli.h"

enum verdict { OK, DEGRADED, BROKEN };

struct finding {
	enum verdict verdict;
	char text[200]; /* what was found */
	char mend[200]; /* what to do about it */
};

void finding(struct finding *f, enum verdict verdict, const char *text, const char *mend);

/* doctor_xen.c */
void check_xen(struct finding *f, struct cli *cli);

#endif
