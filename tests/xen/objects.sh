#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# libvidas in guests: the paper's Listings between them, a 64 MiB object that three map at once, and what stays of it
# all when programs, agents, the gate, vidasd and a guest end.
# vidas-timeout: 240
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/guests.sh"
examples=$VIDAS_BUILD/examples
say() { echo "== $* ($SECONDS s)"; }
nothing_granted() { local n; for n in 1 2 3; do [ "$(granted "$n")" = "0 0 0" ] || return 1; done; }
something_granted() { [ "$(granted "$1")" != "0 0 0" ]; }
nodes() { xenstore-ls "/local/domain/$(id "$1")/vidas" | wc -l; }

say "Listing 1: 3 MB and a bit from guest 1 to guest 2"
guests_start
before=$(nodes 1)
on 2 "$examples/paper_listing1 read dir/big 3000001 | sha256sum" >got &
reader=$!
on 1 "head -c 3000001 /dev/urandom >/tmp/big; $examples/paper_listing1 write $(id 2) dir/big </tmp/big && sha256sum </tmp/big; rm /tmp/big" >sent
wait $reader || fail "the reader ended with status $?"
cmp sent got

say "Listing 2: three guests, and Dom0 looks"
size=$((4096 * 30 + 17))
pids=()
for n in 2 3; do
	on $n "$examples/paper_listing2 result $size $(id 1) $(id 2) $(id 3)" &
	pids+=($!)
done
on 1 "$examples/paper_listing2 result $size $(id 1) $(id 2) $(id 3)"
for pid in "${pids[@]}"; do wait "$pid" || fail "another guest ended with status $?"; done
domain_mount "$(id 1)" "$VIDAS_TMP/mnt"
for ((i = 0; i < 31; i++)); do
	n=$((i < 30 ? 4096 : 17))
	head -c $n /dev/zero | tr '\0' "$(printf '%b' "\\x4$((1 + i % 3))")"
done >expected
cmp expected "$VIDAS_TMP/mnt/con/result"
domain_umount "$VIDAS_TMP/mnt"

say "64 MiB, three guests, each sees what the others write, and one wakes another"
pids=()
for n in 2 3; do
	on $n "together big b 64 $((n - 1)) 3" >"rank$n" &
	pids+=($!)
done
on 1 "together big b 64 0 3 $(id 2) $(id 3)" >rank1
for pid in "${pids[@]}"; do wait "$pid" || fail "another guest ended with status $?"; done
cat rank1 rank2 rank3
same 3 "$(cat rank? | grep -c 'six operations, ten times: 0 messages')"
same 3 "$(cat rank? | grep -c -E '(create|join): 1 messages')"
wait_for 10 nothing_granted
# A sleeper is woken by event channels alone: no message to Dom0 (counted above), and not by looking.
rings=$(sed -n 's/.*by a ring \([0-9]*\), by looking \([0-9]*\)$/\1 \2/p' rank2)
[ "${rings% *}" -ge 3 ] && [ "${rings#* }" -le 1 ] || fail "woken by rings and by looking: $rings"

say "programs, agents, the gate and vidasd end: nothing stays granted, and they go on"
on 3 "together held b 16 0 2" & # waits for a second one
holder=$!
wait_for 60 something_granted 3
on 3 "pkill -KILL together" || true
wait $holder 2>/dev/null && fail "it was killed"
wait_for 10 nothing_granted
domu 1 'kill -KILL $(cat /run/agent.pid)'
agent_start 1
on 1 "sends xen: big x 0 4096 hello"
kill -KILL "$gate"
wait "$gate" 2>/dev/null || true
gate_start
on 1 "sends xen: big y 0 4096 hello"
on 2 "sends xen: big y 0 4096 ?" >got
same hello "$(cat got)"
vidasd_kill
vidasd_start
on 2 "sends xen: big y 0 4096 again"
on 1 "sends xen: big y 0 4096 ?" >got
same again "$(cat got)"
wait_for 10 nothing_granted
same "$before" "$(nodes 1)" "nodes of a guest"
guests_stop
same 0 "$(nodes 1)" "nodes of a guest without its gate"
