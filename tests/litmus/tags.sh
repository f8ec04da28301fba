#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every numbered statement of docs/consistency.md has a litmus test, and every litmus test a statement; and each mode
# in which a test is to run has a script that runs it.
. "$VIDAS_SRC/tests/lib/test.sh"

cd "$VIDAS_SRC"
litmus --list >"$VIDAS_TMP/list"
same "" "$(awk '{ print $1 }' "$VIDAS_TMP/list" | sort | uniq -d)" "tags that two tests have"
tags() { grep -oh '\[C[0-9]*\]' "$@" | tr -d '[]' | sort -u -V; }
# A statement begins a list item.
stated() { sed -n 's/^- \[\(C[0-9]*\)\] .*/\1/p' docs/consistency.md | sort -V; }
same "" "$(stated | uniq -d)" "numbers of two statements"
tested() { { awk '{ print $1 }' "$VIDAS_TMP/list"; tags tests/litmus/*.sh; } | sort -u -V; }
same "" "$(comm -23 <(stated | sort) <(tested | sort) | xargs)" "statements without a test"
same "" "$(comm -13 <(stated | sort) <(tested | sort) | xargs)" "tests without a statement"
same "" "$(comm -13 <(stated | sort) <(tags docs/consistency.md | sort) | xargs)" "numbers that are referred to and nowhere stated"
for mode in $(awk '{ print $2 }' "$VIDAS_TMP/list" | tr , '\n' | sort -u); do
	grep -qE "(litmus_run|mode=)\"? ?$mode( |\$)" tests/litmus/*.sh || fail "no script runs the mode $mode"
done
[ "$(stated | wc -l)" -gt 30 ] || fail "the statements were not found"
