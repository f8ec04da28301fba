/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inside the command only: what a check of `vidas doctor` finds. */
#ifndef VIDAS_CLI_DOCTOR_H
#define VIDAS_CLI_DOCTOR_H

#include "cli/cli.h"

enum verdict { OK, DEGRADED, BROKEN };

struct finding {
	enum verdict verdict;
	char text[400]; /* what was found */
	char mend[400]; /* what to do about it */
};

void finding(struct finding *f, enum verdict verdict, const char *text, const char *mend);

/* doctor_run.c */
void check_keepers(struct finding *f, struct cli *cli);
void check_pushes(struct finding *f, struct cli *cli);
/* doctor_xen.c */
void check_xen(struct finding *f, struct cli *cli);

#endif
