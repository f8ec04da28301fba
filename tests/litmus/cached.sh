#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# [C62] What nobody else changes is answered from the kernel's caches, under leases: counted in requests that vidasfs
# gets from its kernel (its debug log has a line for each) and that vidasd gets from it.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

log=$VIDAS_TMP/requests
vidasd_start
domain_add 1
domain_add 2
mkdir "$VIDAS_TMP/1"
vidasfs -d -o "socket=$run/domains/1/sock" "$VIDAS_TMP/1" 2>"$log" &
wait_for 10 mountpoint -q "$VIDAS_TMP/1"
domain_mount 2 "$VIDAS_TMP/2"
mkdir "$VIDAS_TMP/1/c"
setfattr -n user.vidas.domains -v 2 "$VIDAS_TMP/1/c"
wait_for 2 test -d "$VIDAS_TMP/2/c"
names_cached() { ! grep -q 'cannot drop cached names' "$log"; }
mkdir "$VIDAS_TMP/1/c/d"
echo data >"$VIDAS_TMP/1/c/d/f"

kinds() { grep -oE 'opcode: [A-Z_]+' "$log" | awk '{ print $2 }' | sort | uniq -c | awk '{ print $2 "=" $1 }'; }
asked() { # DOMAIN
	vidas --socket "$run/vidasd.sock" --json status | tr '{}' '\n\n' |
		sed -n "s/.*\"id\": *${1:-1},.*\"requests\": *\([0-9]*\).*/\1/p"
}

# during COMMAND...: what it cost, as OPCODE=COUNT words and messages=COUNT
during() {
	local before after
	kinds >"$VIDAS_TMP/before"
	before=$(asked)
	"$@"
	after=$(asked)
	kinds >"$VIDAS_TMP/after"
	cost=$(awk -F= 'NR == FNR { was[$1] = $2; next } $2 != was[$1] { printf "%s=%d ", $1, $2 - was[$1] }' \
		"$VIDAS_TMP/before" "$VIDAS_TMP/after")
	messages=$((after - before))
	echo "$* cost: ${cost:-nothing}, $messages messages"
}
# count OPCODE: of the last
count() { local n=" $cost"; n=${n##* "$1"=}; case " $cost" in *" $1="*) echo "${n%% *}" ;; *) echo 0 ;; esac; }

# Leases last 4 s: what takes longer looks again, once each time.
rounds=$((${EPOCHREALTIME/[.,]/}))
allowed() { echo $((2 * (1 + (${EPOCHREALTIME/[.,]/} - rounds) / 4000000))); }
few() { # OPCODE
	local n
	n=$(count "$1")
	[ "$n" -le "$(allowed)" ] || fail "$n times $1: $cost"
}

stats() { fileop_times stat "$VIDAS_TMP/1/c/d/f" 500; }
absent() { local i; for i in $(seq 200); do [ ! -e "$VIDAS_TMP/1/c/d/absent" ]; done; }
reads() { local i; for i in $(seq 200); do read -r _ <"$VIDAS_TMP/1/c/d/f"; done; }
fileop_times() { local i; for i in $(seq "$3"); do [ -s "$2" ]; done; }
stats
[ ! -e "$VIDAS_TMP/1/c/d/absent" ]
during stats
same 0 "$messages" "messages for 500 stats"
few GETATTR
if names_cached; then few LOOKUP; else echo "names are not cached by this kernel"; fi
rounds=${EPOCHREALTIME/[.,]/}
during absent
same 0 "$messages" "messages for 200 looks for what is not there"
if names_cached; then few LOOKUP; fi
rounds=${EPOCHREALTIME/[.,]/}
during reads
same 0 "$messages" "messages for 200 opens"
same 200 "$(count OPEN)" "an open is one request"
if names_cached; then few LOOKUP; fi
few FLUSH
if ! grep -q 'no passthrough' "$log"; then same 0 "$(count READ)" "reads that vidasfs has to answer"; fi

# A change by the other domain is looked for once, and that costs it one message.
touch_there() { chmod 640 "$VIDAS_TMP/2/c/d/f"; }
stat "$VIDAS_TMP/1/c/d/f" >/dev/null
rounds=${EPOCHREALTIME/[.,]/}
during touch_there
same 0 "$messages" "messages of the domain that cached"
during stats
few GETATTR
# What it creates, writes and removes itself it asks nobody about.
own() { local i; for i in $(seq 100); do echo x >"$VIDAS_TMP/1/c/d/own"; rm "$VIDAS_TMP/1/c/d/own"; done; }
sleep 7 # the other's lease on the directory runs out
during own
[ "$messages" -le 1 ] || fail "$messages messages for 100 files made and removed"
# The directory, which changes twice each time, and once the file that was written; not the one just made.
[ "$(count GETATTR)" -le 320 ] || fail "100 files made and removed: $cost"
# What a domain looks at after each change of another costs itself no message: its container stays attached.
before=$(asked 2)
for i in $(seq 50); do
	touch "$VIDAS_TMP/1/c/d/turn$i"
	[ -e "$VIDAS_TMP/2/c/d/turn$i" ]
done
after=$(asked 2)
[ $((after - before)) -le 2 ] || fail "$((after - before)) messages of a domain that only looks"
domain_umount "$VIDAS_TMP/2"
domain_umount "$VIDAS_TMP/1"
vidasd_stop
