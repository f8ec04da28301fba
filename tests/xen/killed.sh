#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Guests are destroyed in the midst of their work, then vidasd is killed under the load of others: those go on, and
# grants, XenStore nodes, what the pool holds and Xen's free memory are what they were. `run-killed` destroys guests at
# ten points, not at three, and kills vidasd three times: each guest that is destroyed has to boot again.
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/guests.sh"
say() { echo "== $* ($SECONDS s)"; }

counts() {
	echo "granted $(grants stat 0 | cut -d ' ' -f 4), nodes $(xenstore-ls -f /local/domain | grep -c '/vidas\( \|/\)')," \
		"pool $(df --output=used -k "$run/pool" | tail -n 1 | tr -d ' ') KiB, Xen free $(xl info free_memory) MiB"
}
as_before() { counts >counts.now && cmp -s counts.before counts.now; }
mounts() { on "$1" "mkdir -p /vidas && vidasfs -o log=/run/vidasfs.log /vidas"; }
everybody() { on 1 "setfattr -n user.vidas.domains -v $(id 2),$(id 3),$(id 4) /vidas/pool"; }
nothing_held() { [ "$(grants stat "$1" | cut -d ' ' -f 1-3)" = "0 0 0" ]; }

# back N...: these guests as they were, under other domids
back() {
	local n
	for n; do guest create "$n"; done
	for n; do
		guest wait "$n"
		domain_add "$(id "$n")"
		agent_start "$n"
	done
	everybody
	for n; do mounts "$n"; done
}

# destroyed N SECONDS COMMAND: guest N is destroyed that long after it began COMMAND
destroyed() {
	local n=$1 old
	old=$(id "$n")
	say "guest $n is destroyed: $3"
	on "$n" "$3" >/dev/null 2>&1 &
	sleep "$2"
	guest destroy "$n"
	on 1 "echo $old >/vidas/pool/alive; cat /vidas/pool/alive" >alive
	same "$old" "$(cat alive)" "what guest 1 reads"
	wait_for 20 nothing_held "$old"
	admin domain remove "$old" >/dev/null 2>&1 || true
}

guests_start
counts >counts.before
for n in 1 2 3 4; do mounts $n; done
on 1 "mkdir /vidas/pool; head -c 8000000 /dev/urandom >/vidas/pool/big; : >/vidas/pool/lock"
everybody

destroyed 2 3 "while :; do head -c 3000000 /dev/zero >/vidas/pool/written; done"
destroyed 3 3 "flock /vidas/pool/lock sleep 1000"
on 1 "flock -w 20 /vidas/pool/lock true" || fail "the lock of a guest that is no more is held"
destroyed 4 3 "together held b 8 0 2"
back 2 3 4
more_points() {
	destroyed 2 3 "while :; do cat /vidas/pool/big >/dev/null; done"
	destroyed 3 3 "cd /vidas/pool; while :; do mkdir a; mv a b; rmdir b; done"
	destroyed 4 3 "exec 3>/vidas/pool/gone; rm /vidas/pool/gone; head -c 1000000 /dev/zero >&3; sleep 1000"
	back 2 3 4
	destroyed 2 3 "sends xen: pool alive messages 0 ?"
	destroyed 3 3 "exercise /vidas/pool/exercised /tmp/oracle 1000000 7 nopunch"
	destroyed 4 0.2 "umount /vidas; vidasfs /vidas"
	back 2
	destroyed 2 0 "ls -R /vidas"
	back 2 3 4
}
[ -z "${KILLED_LONG:-}" ] || more_points

say "vidasd is killed under the load of three guests"
load='for i in $(seq 30); do echo "$i" >/vidas/pool/load'
for n in 2 3 4; do
	on $n "$load$n || exit 1; [ \"\$(cat /vidas/pool/load$n)\" = \$i ] || exit 2; mv /vidas/pool/load$n /vidas/pool/moved$n || exit 3; done" &
	loads[n]=$!
done
for _ in 1 ${KILLED_LONG:+2 3}; do
	sleep 2
	vidasd_kill
	sleep 1
	vidasd_start
done
for n in 2 3 4; do wait "${loads[n]}" || fail "guest $n: its work ended with status $?"; done
same "30 30 30" "$(on 1 "cat /vidas/pool/moved?" | xargs)"

say "nothing is left of it"
on 1 "rm -rf /vidas/pool/* && rmdir /vidas/pool"
admin container destroy held # its initiator is no more
for n in 1 2 3 4; do on $n umount /vidas; done # who has a mount keeps what belongs to its containers
for _ in $(seq 20); do
	! as_before || break
	sleep 1
done
echo "before: $(cat counts.before)"
echo "after:  $(cat counts.now)"
as_before || fail "what is left is not what was there: $(find "$run/pool" -size +64k -printf '%p %k KiB, ')"
guests_stop
