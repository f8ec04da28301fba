#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Who may do what: modes, groups, umask, sticky (tests/posix/cases/perms.c).
# vidas-presets: release asan
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/posix.sh"
everywhere perms
everywhere_end
