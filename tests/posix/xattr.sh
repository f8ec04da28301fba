#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Extended attributes to the host's limits, POSIX ACLs (tests/posix/cases/xattr.c).
# vidas-presets: release asan
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/posix.sh"
everywhere xattr
everywhere_end
