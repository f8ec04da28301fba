#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-presets: none
# vidas-timeout: 900
# The project builds with clang without a warning (gcc's are errors in every other build).
. "$VIDAS_SRC/tests/lib/test.sh"
need clang
cd "$VIDAS_SRC"
cmake --preset clang >/dev/null
cmake --build --preset clang 2>&1 | tee "$VIDAS_TMP/build.log"
refuses 1 grep -n 'warning:' "$VIDAS_TMP/build.log"
