# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced after test.sh by tests that run in the lab's Dom0 (tests/xen): vidasd, vidas-gate, and an agent in each guest.
#   guests_start [OPTION...]  all of that; each guest is a domain, whose id is its domid; OPTION for vidas-gate
#   guests_stop               ends it again, in guests as well; nothing may be left then
#   on N COMMAND...           in guest N, with VIDAS_SOCKET set; id N: its domain's id
#   agent_start N, gate_start [OPTION...]
#   granted N                 how many pages are granted to guest N, "GRANTED BUSY DEFERRED"
[ -n "${GUESTS:-}" ] || skip "runs in the lab's Dom0 alone"
. "$VIDAS_SRC/tests/lib/domains.sh"
gate=

id() { guest domid "$1"; }
on() { # a command goes as one line
	local command=${*:2}
	domu "$1" "export VIDAS_SOCKET=xen:; ${command//[$'\n\t']/ }"
}
granted() { grants stat "$(id "$1")" | cut -d ' ' -f 1-3; }

gate_start() {
	vidas-gate --run-dir "$run" "$@" >>"$VIDAS_TMP/gate.log" 2>&1 &
	gate=$!
}

agent_start() {
	domu "$1" "pkill -KILL vidas-agent; mkdir -p /run/vidas/domain; vidas-agent >>/run/agent.log 2>&1 </dev/null & echo \$! >/run/agent.pid"
}

in_all() { # COMMAND...: with the number of each guest behind it, at once
	local n pid pids=()
	for n in $(seq "$GUESTS"); do
		"$@" "$n" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid"; done
}
agent_stop() { domu "$1" 'kill $(cat /run/agent.pid)' || true; }

guests_start() {
	local n
	vidasd_start
	for n in $(seq "$GUESTS"); do domain_add "$(id "$n")"; done
	gate_start "$@"
	in_all agent_start
}

guests_stop() {
	in_all agent_stop
	kill "$gate"
	wait "$gate" || fail "vidas-gate ended with status $?: $(tail -n 5 "$VIDAS_TMP/gate.log")"
	vidasd_stop
}

guests_logs() { # for who reads a failure
	local n status=$?
	[ $status != 0 ] || return 0
	cat "$VIDAS_TMP/gate.log" "$VIDAS_TMP/vidasd.log"
	for n in $(seq "$GUESTS"); do echo "guest $n:"; domu "$n" cat /run/agent.log; done
}
trap guests_logs EXIT
