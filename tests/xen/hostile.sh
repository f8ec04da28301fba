#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Guest 3 does what it can with its ring, Dom0's references, XenStore and the pages that it shares, and keeps what it
# should give back: guests 1 and 2, which share a container that is not open to it, go on, and Dom0 has everything back
# at the end.
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/guests.sh"
say() { echo "== $* ($SECONDS s)"; }
mail=0
others_go_on() {
	mail=$((mail + 1))
	on 1 "sends xen: ours o 0 65536 mail$mail" >/dev/null
	same mail$mail "$(on 2 "sends xen: ours o 0 65536 ?")" "what guest 2 got of guest 1"
}
still_held() { local g b d; read -r g b d <<<"$(granted 3)"; [ $((b + d)) -gt 0 ]; }
all_back() { [ "$(granted "$1")" = "0 0 0" ]; }

guests_start
admin container create ours --domains "$(id 1),$(id 2)"
others_go_on
on 1 "together held b 4 0 2 $(id 2)" >held.log 2>&1 & # guest 1 has pages granted all the while
holder=$!
wait_for 30 eval '[ "$(granted 1 | cut -d " " -f 1)" -gt 1000 ]'

say "XenStore"
same 0 "$(on 3 "hostile store $(id 1)")" "what it could do in XenStore"
on 3 "hostile storm 4" >storm.log &
storm=$!
others_go_on
wait $storm
echo "it wrote to its own nodes $(cat storm.log) times"
refuses any on 3 "sends xen: ours o 0 65536 mine"

say "references that are not its own"
domu 3 'kill $(cat /run/agent.pid)'
sleep 1
count=$(on 3 "hostile refs 1024")
[ "$count" -le 33 ] || fail "it could map $count pages of Dom0, and its ring has 33"
others_go_on

say "noise in its ring"
same 9 "$(on 3 "hostile ring 9" | tail -n 1)" "rings it was given"
others_go_on
grep -q "guest $(id 3): its agent has gone" "$VIDAS_TMP/gate.log" || fail "the log says nothing of it"

say "frames that are none, and such as it may not send"
same 12 "$(on 3 "hostile frames" | tail -n 1)" "rings it was given"
others_go_on
grep -q "guest $(id 3): its agent has gone: that is no frame" "$VIDAS_TMP/gate.log" || fail "the log does not say why it was left"
agent_start 3
on 3 "vidas container create own" # it may come again

say "noise in the pages of an object that guest 1 shares with it"
on 1 "vidas container create both --domains $(id 3) && sends xen: both o 0 65536 first"
on 3 "hostile control both o 5" >noise.log 2>&1 &
noise=$!
wait_for 30 eval '[ "$(granted 3 | cut -d " " -f 1)" -gt 0 ]'
# Whatever guest 1 gets of it, it gets: no crash, no wait without an end. What it shares with guest 2 alone is as it was.
for _ in 1 2; do
	got=0
	on 1 "timeout 60 sends xen: both o 0 65536 again" >/dev/null 2>&1 || got=$?
	[ $got = 0 ] || [ $got = 1 ] || fail "guest 1's program ended with status $got"
	others_go_on
done
wait $noise
[ "$(cat noise.log)" -gt 0 ] || fail "$(cat noise.log)"
on 1 "vidas container destroy both" || true
others_go_on

say "memory it does not give back"
on 3 "together mine b 8 0 2 $(id 2)" >mine.log 2>&1 &
keeper=$!
wait_for 30 eval '[ "$(granted 3 | cut -d " " -f 1)" -gt 2000 ]'
domu 3 'kill -KILL $(cat /run/agent.pid)'
wait_for 20 still_held
others_go_on
guest destroy 3
wait_for 20 grep -q "guest $(id 3) has gone" "$VIDAS_TMP/gate.log"
wait_for 20 all_back 3
wait $keeper 2>/dev/null || true
others_go_on

domu 1 'pkill -KILL together' || true
wait $holder 2>/dev/null || true
wait_for 20 all_back 1
dmesg | grep -E 'BUG|Oops|WARNING' && fail "Dom0's kernel complains"
guest create 3
guest wait 3
guests_stop
