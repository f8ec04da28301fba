#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Guest 3 does what it can with its ring, Dom0's references and XenStore, and keeps what it should give back: guests 1
# and 2, which share a container that is not open to it, go on, and Dom0 has everything back at the end.
# vidas-timeout: 240
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
others_go_on
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
agent_start 3
on 3 "vidas container create own" # it may come again

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
