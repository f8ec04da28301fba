#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-presets: release asan
# `vidas backend`: what it lists, and what its test says of good roots and of bad ones; it leaves nothing behind.
. "$VIDAS_SRC/tests/lib/test.sh"

vidas backend list >"$VIDAS_TMP/list"
grep -q '^file:// ' "$VIDAS_TMP/list" || fail "no file:// in the list"
for filter in checksum fault rate retry stats; do
	grep -q "^  $filter " "$VIDAS_TMP/list" || fail "no filter $filter in the list"
done
vidas --json backend list | grep -q '"name": "mem"' || fail "no mem in the JSON"

root=$VIDAS_TMP/root
mkdir "$root"
vidas backend test "file://$root" --filters retry,stats >"$VIDAS_TMP/out" || fail "$(cat "$VIDAS_TMP/out")"
grep -q 'MB/s, the same bytes' "$VIDAS_TMP/out" || fail "no throughput: $(cat "$VIDAS_TMP/out")"
grep -q '^this root can be used' "$VIDAS_TMP/out" || fail "no verdict: $(cat "$VIDAS_TMP/out")"
grep -q 'put  .*calls' "$VIDAS_TMP/out" || fail "no statistics: $(cat "$VIDAS_TMP/out")"
same "" "$(ls -A "$root")" "what the test left"
vidas --json backend test mem:// | python3 -c 'import json, sys; sys.exit(not json.load(sys.stdin)["good"])' ||
	fail "the JSON does not say good"

# bad WORDS URL [FILTERS]: status 1, and a line that says why
bad() {
	local words=$1
	shift
	refuses 1 vidas backend test "$@" >"$VIDAS_TMP/out" 2>&1
	grep -q "^FAILED.*$words" "$VIDAS_TMP/out" || fail "no '$words' in: $(cat "$VIDAS_TMP/out")"
	grep -q '^this root cannot be used' "$VIDAS_TMP/out" || fail "no verdict: $(cat "$VIDAS_TMP/out")"
}
bad "open .*No such file" "file://$root/none"
bad "open .*no backend for 'gopher://'" gopher://x
bad "get, 4 KiB .*fault" "file://$root" --filters fault=rate:100%+ops:get
bad "put, 4 KiB .*fault.*EACCES" "file://$root" --filters fault=rate:100%+ops:put+errno:EACCES
bad "writing .*listed, but nothing put" "file://$root" --filters fault=rate:100%+ops:put+errno:EROFS
bad "get, large .*not those" "file://$root" --filters fault=rate:100%+when:damage
bad "get, 4 KiB .*not those that were put" "file://$root" --filters checksum,fault=rate:100%+when:damage
same "" "$(ls -A "$root")" "what failed tests left"
refuses 2 vidas backend test
refuses 2 vidas backend try "file://$root"

# Called off: it still removes what it has put.
timeout -s INT 1 vidas backend test "file://$root" --filters fault=rate:0%+delay:100ms+ops:put >"$VIDAS_TMP/out" || :
same "" "$(ls -A "$root")" "what an interrupted test left"
