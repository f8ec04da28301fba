#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-presets: none
# C sources are as clang-format (.clang-format) writes them.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/sources.sh"
need clang-format
cd "$VIDAS_SRC"
mapfile -t files < <(sources '*.c' '*.h')
[ ${#files[@]} -gt 0 ] || fail "no C sources found"
# One process for all of them; which and where is for those that have something to hear.
clang-format --dry-run -Werror "${files[@]}" 2>/dev/null && exit 0
bad=0
for f in "${files[@]}"; do
	clang-format "$f" | diff -u --label "$f" --label "$f (clang-format -i $f)" "$f" - || bad=$((bad + 1))
done
[ $bad = 0 ] || fail "$bad files are not formatted: scripts/format"
