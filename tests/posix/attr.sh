#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Times, owners, suid and sgid bits, statx (tests/posix/cases/attr.c).
# vidas-presets: release asan
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/posix.sh"
everywhere attr
everywhere_end
