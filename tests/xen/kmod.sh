#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# kmod/: what it refuses, one page for many guests, 64 MiB for three at once, and what dies meanwhile.
# vidas-timeout: 480
. "$VIDAS_SRC/tests/lib/test.sh"
module=$VIDAS_BUILD/kmod/vidas-gnt.ko
domid() { guest domid "$1"; }
stat_of() { grants stat "$(domid "$1")"; }

# owner ARGUMENT...: `grants` in the background, told what to do by `tell`; it answers with a line, to `hear`
owner() {
	coproc OWNER { exec grants "$@"; }
	owner=$OWNER_PID
	exec {to}>&"${OWNER[1]}" {from}<&"${OWNER[0]}"
	eval "exec ${OWNER[1]}>&- ${OWNER[0]}<&-"
}
tell() { echo "$1" >&$to; }
hear() {
	local line
	IFS= read -r -t 90 line <&$from || fail "no answer of the owner"
	echo "$line"
}
owner_end() {
	exec {to}>&- {from}<&-
	wait "$owner" 2>/dev/null || true
}
roots() { # N: reads the roots of that many guests
	local i _
	for ((i = 1; i <= $1; i++)); do read -r _ _ "root[$i]" <<<"$(hear)"; done
}
share() { # PAGES GUEST...
	local pages=$1 n ids=()
	shift
	for n; do ids+=("$(domid "$n")"); done
	owner share "$pages" "${ids[@]}"
	roots $#
}
stands() { [ "$(grants stat "$1")" = "$2" ]; } # DOMID "GRANTED BUSY DEFERRED TOTAL"
loaded() { grep -q '^vidas_gnt ' /proc/modules; }

say() { echo "== $* ($SECONDS s)"; }

say "who may, what is refused, all references at once"
refuses 1 setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin grants open
grant_args "$(domid 1)" 200000
dmesg | grep -q 'vidas_gnt: no grant left.*gnttab_max_frames' || fail "the log does not name gnttab_max_frames"
same "0 0 0 0" "$(stat_of 1)" "what is left"

say "one page, read-only: read, not written; not by another guest; not when it was taken back"
owner one "$(domid 1)" ro
ref=$(hear)
same 0x5eed "$(domu 1 maps one "$ref")"
refuses 1 domu 1 maps one "$ref" 7
refuses 1 domu 2 maps one "$ref"
refuses 1 domu 1 maps one 4000000
owner_end
refuses 1 domu 1 maps one "$ref"

say "64 MiB to three guests at once; busy until they unmap; the module stays"
share 16384 1 2 3
for n in 1 2 3; do
	domu $n maps all "${root[n]}" >"out$n" &
	guests[n]=$!
done
tell written
same "written, 0 bad" "$(hear)"
tell revoke
same "busy 49152" "$(hear)"
refuses any rmmod vidas_gnt
tell end
hear >/dev/null
for n in 1 2 3; do
	wait "${guests[n]}" || fail "guest $n: $(cat "out$n")"
	same "16384 pages mapped 0 bad" "$(xargs <"out$n")"
done
tell revoke
same "busy 0" "$(hear)"
owner_end
for n in 1 2 3; do same "0 0 0 0" "$(stat_of $n)" "of guest $n"; done

say "the owner is killed while guest 2 maps: the pages stay its pages, the module stays, until it unmaps"
share 1024 2
domu 2 maps all "${root[1]}" 15 >out2 &
mapper=$!
tell written
same "written, 0 bad" "$(hear)"
kill -KILL "$owner"
owner_end
wait_for 10 stands "$(domid 2)" "0 0 1026 1026"
refuses any rmmod vidas_gnt
head -c 64M /dev/zero >"$VIDAS_TMP/fill" # takes what was free
rm "$VIDAS_TMP/fill"
wait $mapper || fail "guest 2: $(cat out2)"
wait_for 20 stands "$(domid 2)" "0 0 0 0"

say "guest 3 is destroyed while it maps"
share 1024 3
domu 3 maps all "${root[1]}" 1000 >out3 2>&1 &
tell written
same "written, 0 bad" "$(hear)"
old=$(domid 3)
guest destroy 3
gone_busy() { tell revoke && [ "$(hear)" = "busy 0" ]; }
wait_for 20 gone_busy
owner_end
wait_for 10 stands "$old" "0 0 0 0"

say "unloaded when nothing is held, and loaded again"
rmmod vidas_gnt
! loaded || fail "still loaded"
insmod "$module"
same "0 0 0 0" "$(stat_of 1)"
! dmesg | grep -E 'BUG:|WARNING:|Oops|gnttab: leaking|Bad page' || fail "see the kernel's log above"
