#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Making and opening files, appending, O_DIRECT, running programs (tests/posix/cases/open.c).
# vidas-presets: release asan
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/posix.sh"
everywhere open
everywhere_end
