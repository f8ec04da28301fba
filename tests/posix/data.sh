#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Lengths, holes, allocation, copies, vectors, mappings (tests/posix/cases/data.c).
# vidas-presets: release asan
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/posix.sh"
everywhere data
everywhere_end
