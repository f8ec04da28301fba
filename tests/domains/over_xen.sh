#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The same programs as a guest's: by an agent and a gate. Here a socket is between these two, and memory goes over it
# as descriptors; with Xen's ring and grants it is tests/xen that runs them.
# vidas-timeout: 240
. "$VIDAS_SRC/tests/lib/test.sh"
export VIDAS_TEST_TRANSPORT=xen

for program in api host_root update; do
	mkdir "$VIDAS_TMP/$program"
	VIDAS_TMP=$VIDAS_TMP/$program "$VIDAS_BUILD/tests/domains/$program" >"$VIDAS_TMP/$program.log" 2>&1 ||
		fail "$program over xen: $(grep -E '^ +[0-9]+\. |raw:' "$VIDAS_TMP/$program.log")"
done
mkdir "$VIDAS_TMP/paper"
VIDAS_TMP=$VIDAS_TMP/paper "$VIDAS_SRC/tests/domains/paper.sh"
