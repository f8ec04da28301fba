# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced after e2e.sh by tests/e2e/trouble_*.sh: a server that dies, falls silent, is slow or fails, seen from the mount.
# $root has short time-outs; vidasd tries again for 8 s (retry=total:8s). Before each of these $a/big is in pool and store.
BIG=$((48 * 1024 * 1024))

# soon COMMAND...: whatever it returns, it does so in a minute
soon() {
	local status=0
	timeout 60 "$@" || status=$?
	[ $status != 124 ] || fail "it hangs: $*"
	return $status
}

flush_soon() { soon setfattr -n user.vidas.flush -v 1 "$1"; }

# another NAME: a container of domain 2 that knows only the store
another() {
	admin container create "$1" --root "$root" --domains 2
	wait_for 5 test -d "$VIDAS_TMP/2/$1"
}

# The server dies in a put, and in a get, at several moments; with it the connections. It is back soon: nothing fails.
trouble_killed() {
	local at job
	for at in 0.02 0.1 0.25; do
		head -c $BIG /dev/urandom >"$a/big"
		flush_soon "$a/big" &
		job=$!
		sleep $at
		store kill
		store again
		wait $job || fail "a flush failed although the server came back: $(attribute error "$a/big")"
		same "$(checksum <"$a/big")" "$(store cat big | checksum)" "bytes put while the server died after $at s"
		another "killed$at"
		soon cmp "$a/big" "$VIDAS_TMP/2/killed$at/big" &
		job=$!
		sleep $at
		store kill
		store again
		wait $job || fail "a read failed although the server came back"
	done
}

# It is away for longer than anyone waits: errno, words, and nothing that was acknowledged is lost.
trouble_away() {
	local words status=0
	echo "written while it was away" >"$a/away"
	store kill
	flush_soon "$a/away" 2>"$VIDAS_TMP/said" && fail "a flush to nobody succeeded"
	grep -qiE "timed out|not connected|refused|Input/output" "$VIDAS_TMP/said" || fail "words of errno: $(cat "$VIDAS_TMP/said")"
	words=$(attribute error "$a/away")
	grep -qiE "refused|no answer|no connection|connect" <<<"$words" || fail "words in user.vidas.error: '$words'"
	same dirty "$(attribute state "$b/away")"
	cmp "$a/big" "$b/big"
	vidasd_kill
	vidasd_start --filters retry=total:8s
	same "written while it was away" "$(soon cat "$b/away")"
	store again
	flush_soon "$a" || fail "after it came back: $(attribute error "$a/away")"
	same "written while it was away" "$(store cat away)"
	same "" "$(attribute error "$a/away")" "words after a flush that succeeded"
	same clean "$(attribute state "$a/away")"
}

# It keeps its connections and says nothing: time-outs end that; what is in the pool works as ever.
trouble_silent() {
	another silent
	ls "$VIDAS_TMP/2/silent" >"$VIDAS_TMP/said"
	echo "written into silence" >"$a/silence"
	store freeze
	flush_soon "$a/silence" 2>"$VIDAS_TMP/said" && fail "a flush into silence succeeded"
	grep -q "timed out" "$VIDAS_TMP/said" || fail "words of errno: $(cat "$VIDAS_TMP/said")"
	[ -n "$(attribute error "$a/silence")" ] || fail "no words in user.vidas.error"
	soon cat "$VIDAS_TMP/2/silent/big" >"$VIDAS_TMP/said" 2>&1 && fail "a read of what only a silent server has succeeded"
	same "written into silence" "$(cat "$b/silence")"
	store thaw
	flush_soon "$a/silence" || fail "after it woke up: $(attribute error "$a/silence")"
	same "written into silence" "$(store cat silence)"
	soon cmp "$a/big" "$VIDAS_TMP/2/silent/big"
}

# A net of 40 Mbit/s, and one that is cut for some seconds: slow is no failure.
trouble_slow() {
	tc qdisc add dev lo root tbf rate 40mbit burst 256k latency 500ms 2>/dev/null || { echo "no tc tbf here: not tried"; return; }
	head -c 12000000 /dev/urandom >"$a/slow"
	flush_soon "$a/slow" &
	local job=$!
	sleep 1
	same "$(checksum <"$a/big")" "$(soon cat "$b/big" | checksum)" "what is in the pool, meanwhile"
	ip link set lo down
	sleep 2
	ip link set lo up
	wait $job || fail "a flush over a slow net failed: $(attribute error "$a/slow")"
	tc qdisc del dev lo root
	same "$(checksum <"$a/slow")" "$(store cat slow | checksum)"
}

# Of all calls to the store 1 % fail, behind `retry` and without it: a tree goes there and comes back whole.
trouble_faults() { # FILTERS
	local tries=0 name=faults${#1}
	vidasd_kill
	vidasd_start --filters "$1"
	mkdir -p "$a/tree/$1"
	cp -a /usr/include/linux/netfilter* "$a/tree/$1"
	until flush_soon "$a" 2>/dev/null; do
		[ $((tries += 1)) -lt 30 ] || fail "after $tries flushes under $1: $(attribute error "$a")"
	done
	another "$name"
	until soon diff -r --no-dereference "$a/tree" "$VIDAS_TMP/2/$name/tree" >"$VIDAS_TMP/said" 2>&1; do
		! grep -q '^Only in\|differ$' "$VIDAS_TMP/said" || fail "$(cat "$VIDAS_TMP/said")"
		[ $((tries += 1)) -lt 60 ] || fail "after $tries readings under $1: $(tail -n 3 "$VIDAS_TMP/said")"
	done
	echo "$1: $tries times again"
}

e2e_trouble() {
	e2e_begin --filters retry=total:8s
	trouble_killed
	trouble_away
	trouble_silent
	trouble_slow
	trouble_faults retry,fault=rate:1%
	trouble_faults fault=rate:1%
	e2e_end
}
