#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-presets: none
# Every source names its licence in its first lines, and none is longer than 600 lines.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/sources.sh"
cd "$VIDAS_SRC"

# One pass over all files: what counts as a source is told by its name, else by a first line "#!".
sources '*' | grep -vE '\.(md|json|txt|csv)$|^tests/fuzz/corpus/' | tr '\n' '\0' | xargs -0 awk -v limit=600 '
	function judge() {
		if (!source) return
		seen++
		if (licence == "") { print file ": no SPDX-License-Identifier in its first lines"; bad = 1 }
		else if (index(licence, wanted) != 1) { print file ": its licence should be " wanted; bad = 1 }
		if (lines > limit) { print file ": " lines " lines, the limit is " limit; bad = 1 }
	}
	FNR == 1 {
		judge()
		file = FILENAME
		source = file ~ /\.(c|h|sh|py|awk|cmake|in)$|CMakeLists\.txt$/ || substr($0, 1, 2) == "#!"
		wanted = file ~ /^kmod\/.*\.[ch]$/ ? "GPL-2.0-only" : "LGPL-2.1-or-later"
		licence = ""
	}
	FNR <= 5 && match($0, /SPDX-License-Identifier: [A-Z]/) { licence = substr($0, RSTART + 25) }
	{ lines = FNR }
	END { judge(); if (!seen) print "no sources found"; exit bad || !seen }
' || fail "see the lines above"
