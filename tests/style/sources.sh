#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-presets: none
# Every source names its licence in its first lines, and none is longer than 600 lines.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/sources.sh"
limit=600
cd "$VIDAS_SRC"

is_source() {
	case $1 in
	*.c | *.h | *.sh | *.py | *.awk | *.cmake | *.in | *CMakeLists.txt) return 0 ;;
	*.md | *.json | *.txt | *.csv | tests/fuzz/corpus/*) return 1 ;;
	esac
	[ "$(head -c 2 "$1" | tr -d '\0')" = '#!' ]
}

bad=0 seen=0
while IFS= read -r f; do
	is_source "$f" || continue
	seen=$((seen + 1))
	head -n 5 "$f" | grep -q 'SPDX-License-Identifier: [A-Z]' || { echo "$f: no SPDX-License-Identifier in its first lines"; bad=1; }
	case $f in
	kmod/*.c | kmod/*.h) licence=GPL-2.0-only ;;
	*) licence=LGPL-2.1-or-later ;;
	esac
	head -n 5 "$f" | grep -q "SPDX-License-Identifier: $licence" || { echo "$f: its licence should be $licence"; bad=1; }
	lines=$(wc -l <"$f")
	[ "$lines" -le $limit ] || { echo "$f: $lines lines, the limit is $limit"; bad=1; }
done < <(sources '*')
[ $seen -gt 0 ] || fail "no sources found"
[ $bad = 0 ] || fail "see the lines above"
