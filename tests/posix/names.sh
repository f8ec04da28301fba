#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Renaming in all its forms, links, special files, lengths of names (tests/posix/cases/names.c).
# vidas-presets: release asan
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/posix.sh"
everywhere names
everywhere_end
