#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Whoever waits for a store, for another domain or for a lock, lets all others of the mount go on.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
need setfattr flock
[ -c /dev/fuse ] || skip "no /dev/fuse"

two_domains
vidasd_stop
vidasd_start --filters "retry,fault=rate:0%+delay:5s+ops:get/put/list"
mkdir "$VIDAS_TMP/store"
seq 1000 >"$VIDAS_TMP/store/slow"
admin container create rooted --domains 1,2 --root "file://$VIDAS_TMP/store" >/dev/null
rooted=${a%/shared}/rooted
wait_for 20 test -d "$rooted"

# Names nobody has asked for yet: each is a request of its own.
others_go_on() { # WHAT PID
	local i
	for i in $(seq 80); do : >"$a/$1-$i" && rm "$a/$1-$i" || fail "$1: $i"; done
	kill -0 "$2" 2>/dev/null || fail "$1 was done before the others: it was to take seconds"
}

ls "$a" >/dev/null
ls "$rooted" >/dev/null & waiting=$!
sleep 0.2; others_go_on import $waiting; wait $waiting
cat "$rooted/slow" >"$VIDAS_TMP/got" & waiting=$!
sleep 0.2; others_go_on fetch $waiting; wait $waiting
cmp "$VIDAS_TMP/got" "$VIDAS_TMP/store/slow"
seq 2000 >"$rooted/new"
sync "$rooted/new" & waiting=$!
sleep 0.2; others_go_on fsync $waiting; wait $waiting

: >"$a/lock"
flock "$b/lock" sleep 5 & holder=$!
sleep 0.3
flock "$a/lock" true & waiting=$!
sleep 0.2; others_go_on lock $waiting; wait $waiting $holder

# More of them than sleepers that are kept: each finds somebody who takes the next request.
pids=()
for i in $(seq 12); do seq "$i" >"$rooted/many-$i"; done
for i in $(seq 12); do sync "$rooted/many-$i" & pids+=($!); done
sleep 0.2; others_go_on many "${pids[0]}"; wait "${pids[@]}"
for i in $(seq 12); do cmp <(seq "$i") "$VIDAS_TMP/store/many-$i"; done
