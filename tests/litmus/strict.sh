#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The statements of docs/consistency.md on strict consistency, where all domains are in passthrough.
# vidas-presets: release asan
# vidas-timeout: 240
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/litmus.sh"

three_domains "" "" ""
passthrough_possible || skip "no passthrough here: $(grep -m1 'no passthrough' "$VIDAS_TMP/vidasfs.log")"
chmod 755 "$VIDAS_TMP"
litmus_run strict 10
refuses 1 grep -E 'run out|hangs' "$VIDAS_TMP/vidasfs.log"

# [C61] A domain that does not answer delays others for the length of a lease, and sees nothing old afterwards.
pid=$(domain_pid "$VIDAS_TMP/2")
touch "${d[0]}/stuck"
chmod 600 "${d[0]}/stuck"
stat "${d[1]}/stuck" >/dev/null
kill -STOP "$pid"
start=${EPOCHREALTIME/[.,]/}
chmod 644 "${d[0]}/stuck"
took=$((${EPOCHREALTIME/[.,]/} - start))
echo "[C61] with a domain stopped a chmod took $((took / 1000)) ms"
[ $took -lt 15000000 ] || fail "it took $((took / 1000000)) s"
(sleep 1; kill -CONT "$pid") &
same 644 "$(stat -c %a "${d[1]}/stuck")" "the mode in the domain that was stopped"
wait $!
refuses 1 grep 'did not answer' "$VIDAS_TMP/vidasfs.log"

# [C60] Without vidasd.
stat "${d[1]}/stuck" "${d[2]}/stuck" >/dev/null
vidasd_kill
chmod 600 "${d[0]}/stuck"
for i in 1 2; do same 600 "$(stat -c %a "${d[$i]}/stuck")" "the mode after a chmod without vidasd"; done
mkdir "${d[0]}/alone"
chmod 777 "${d[0]}/alone"
for tag in C1 C3 C6 C10 C12 C20 C25 C30 C40; do
	LITMUS_ONLY=$tag litmus strict 10 "${d[@]/%//alone}"
done
vidasd_start
litmus_in again strict 10 "${d[@]}"
vidasd_stop
