#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Messages of files: user.vidas.notify and user.vidas.wait, and poll(2), between domains.
# vidas-presets: release asan
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/litmus.sh"

three_domains wait_timeout=2 nopassthrough ""
send() { setfattr -n user.vidas.notify -v "$2" "$1"; }
take() { timeout "${2:-20}" getfattr --only-values -n user.vidas.wait "$1" 2>>"$VIDAS_TMP/takes"; }

# [C72] Messages are kept, in order, also on an empty file, over a rename, and while nobody has anything to do with it.
: >"${d[0]}/f"
send "${d[0]}/f" one
send "${d[1]}/f" two
send "${d[2]}/f" ""
same one "$(take "${d[2]}/f")"
mv "${d[0]}/f" "${d[0]}/g"
same two "$(take "${d[0]}/g")"
same "" "$(take "${d[1]}/g")"
same 0 "$(stat -c %s "${d[0]}/g")"
# ... and each goes to one of those who wait, which may be a program with libvidas.
takers=()
for i in 0 1 2; do
	take "${d[$i]}/g" >"$VIDAS_TMP/got$i" &
	takers+=($!)
done
for i in 0 1; do send "${d[2]}/g" "m$i"; done
sends "$run/domains/2/sock" shared g messages 0 m2
wait "${takers[@]}"
same "m0 m1 m2" "$(sort <(cat "$VIDAS_TMP"/got? | sed 's/m/\nm/g') | xargs)"
send "${d[0]}/g" "to a program"
same "to a program" "$(sends "$run/domains/3/sock" shared g messages 0 "?")"
# One who waits is interrupted, and does not wait for ever; and holds up nobody.
start=${EPOCHREALTIME/[.,]/}
same 124 "$(take "${d[1]}/g" 1 >/dev/null || echo $?)" "status of one who was interrupted"
refuses 1 take "${d[0]}/g"
grep -q 'timed out' "$VIDAS_TMP/takes" || fail "no word of a time-out: $(cat "$VIDAS_TMP/takes")"
[ $((${EPOCHREALTIME/[.,]/} - start)) -lt 20000000 ] || fail "waits do not end"
waiters=()
for _ in $(seq 100); do
	take "${d[1]}/g" >>"$VIDAS_TMP/crowd" &
	waiters+=($!)
done
sleep 1
same "" "$(ls "${d[1]}" | sed '/^g$/d')" "the mount while 100 wait"
for i in $(seq 100); do send "${d[$((i % 3))]}/g" "$i;"; done
wait "${waiters[@]}"
same "$(seq 100 | xargs)" "$(tr ';' '\n' <"$VIDAS_TMP/crowd" | sort -n | xargs)" "what 100 took"
# Too long, too many, too short a buffer, the wrong kind of file, read-only.
refuses 1 send "${d[0]}/g" "$(head -c 4097 /dev/zero | tr '\0' x)" 2>/dev/null
big=$(head -c 4000 /dev/zero | tr '\0' x)
n=0
while send "${d[0]}/g" "$big" 2>"$VIDAS_TMP/full"; do n=$((n + 1)); [ $n -lt 20 ] || fail "a ring without an end"; done
grep -q 'No buffer space' "$VIDAS_TMP/full"
for _ in $(seq $n); do same 4000 "$(take "${d[1]}/g" | wc -c)"; done
mkdir "${d[0]}/dir"
refuses 1 send "${d[0]}/dir" x 2>/dev/null
refuses 1 take "${d[0]}/dir"
same "" "$(getfattr -m vidas "${d[0]}/g")" "what is listed"

# [C73] poll, select and epoll wake for a message to the file, and to any object of it, from any domain.
echo bytes >"${d[0]}/p"
echo bytes >"${d[0]}/q"
for how in poll select epoll; do
	pollers=()
	for i in 0 1; do
		awaits $how 4 "${d[$i]}/p" "${d[$i]}/q" >"$VIDAS_TMP/$how$i" &
		pollers+=($!)
	done
	for i in 0 1; do wait_for 5 grep -qx ready "$VIDAS_TMP/$how$i"; done
	told() { grep -qx "told $1" "$VIDAS_TMP/${how}0" && grep -qx "told $1" "$VIDAS_TMP/${how}1"; }
	sends "$run/domains/3/sock" shared q 0 5 object
	wait_for 3 told q
	! told p || fail "$how: told of a file that nobody has sent to"
	sleep 0.3
	same 1 "$(grep -c 'told q' "$VIDAS_TMP/${how}0")" "wake-ups for one message to an object"
	send "${d[2]}/p" hello
	wait_for 3 told p
	same hello "$(take "${d[0]}/p")"
	wait "${pollers[@]}"
done
# A message that waits is told at once.
send "${d[1]}/p" early
awaits poll 0 "${d[0]}/p" >"$VIDAS_TMP/early"
same "told p" "$(head -n 1 "$VIDAS_TMP/early")"
same early "$(take "${d[0]}/p")"
awaits poll 0 "${d[0]}/p" >"$VIDAS_TMP/early"
same ready "$(head -n 1 "$VIDAS_TMP/early")"

# [C74] Over a restart of vidasd nothing sent is lost, and who waits is woken.
send "${d[0]}/p" before
awaits poll 8 "${d[2]}/q" >"$VIDAS_TMP/over" &
wait_for 5 grep -qx ready "$VIDAS_TMP/over"
vidasd_kill
sends_later() { sleep 1; setfattr -n user.vidas.notify -v after "${d[1]}/q"; }
sends_later &
later=$!
vidasd_start
same before "$(take "${d[1]}/p")"
wait $later
wait_for 10 grep -qx "told q" "$VIDAS_TMP/over"
same after "$(take "${d[0]}/q")"

# [C58] Who is woken reads what was written before the message, also from a page cache of its own.
setfattr -n user.vidas.consistency -v relaxed "${d[0]}"
domain_umount "$VIDAS_TMP/2"
domain_mount 2 "$VIDAS_TMP/2" nopassthrough,relaxed_timeout=600
helper 2
echo "old bytes" >"${d[0]}/r"
same "" "$(ask 2 open r r "${d[1]}/r")"
same old "$(ask 2 read r 0 3)"
take "${d[1]}/r" >"$VIDAS_TMP/relaxed" &
printf new | dd of="${d[0]}/r" conv=notrunc status=none
send "${d[0]}/r" written
wait $!
same written "$(cat "$VIDAS_TMP/relaxed")"
same new "$(ask 2 read r 0 3)" "what was written before the message"
helper_end 2
vidasd_stop
