#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What one side does while the other looks (tests/posix/cases/races.c).
# vidas-presets: release asan
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/posix.sh"
everywhere races
everywhere_end
