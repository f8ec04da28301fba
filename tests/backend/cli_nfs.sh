#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-net: own
# vidas-needs: nfs
# `vidas backend test` on a real NFS server: what it says of a good export, and the words for all that can be wrong with one.
. "$VIDAS_SRC/tests/lib/test.sh"
ganesha=$VIDAS_SRC/tests/servers/ganesha
! why=$("$ganesha" missing) || skip "$why"
dir=$VIDAS_TMP/server
trap '"$ganesha" stop "$dir"' EXIT
"$ganesha" start "$dir" 22149

bad() { # WORDS URL [COMMAND...]
	local words=$1 url=$2
	shift 2
	refuses 1 "$@" vidas backend test "$url" >"$VIDAS_TMP/out" 2>&1
	grep -q "^FAILED.*$words" "$VIDAS_TMP/out" || fail "no '$words' in: $(cat "$VIDAS_TMP/out")"
}
for version in 3 4; do
	url=$("$ganesha" url "$dir" $version)
	vidas backend test "$url" >"$VIDAS_TMP/out" || fail "$(cat "$VIDAS_TMP/out")"
	grep -q "^this root can be used" "$VIDAS_TMP/out" || fail "$(cat "$VIDAS_TMP/out")"
	bad "refuses to let us have\|has no " "${url/export?/export\/none?}"
	chmod 555 "$dir/export"
	bad "nothing put below it" "$url&uid=65534&gid=65534"
	chmod 755 "$dir/export"
done
bad "no answer within 2 s" "nfs://127.0.0.1:9/export?version=4&timeout=2"
bad "the address of .no.such.host.invalid." "nfs://no.such.host.invalid/export?version=4&timeout=2"
same "" "$(ls -A "$dir/export")" "what the tests left"
