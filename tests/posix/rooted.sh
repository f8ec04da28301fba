#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# In a container with a backend, and by daemons that are short of descriptors, all cases hold as without.
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/posix.sh"
groups=(names open data attr perms dirs xattr races) bad=()
mkdir "$VIDAS_TMP/store"
vidasd_start
domain_add 1
domain_add 2
for i in 1 2; do (ulimit -n 256 && domain_mount $i "$VIDAS_TMP/$i"); done
admin container create demo --domains 1,2 --root "file://$VIDAS_TMP/store"
wait_for 5 test -d "$VIDAS_TMP/1/demo"
wait_for 5 test -d "$VIDAS_TMP/2/demo"
mkdir "$VIDAS_TMP/1/demo/many"
for i in $(seq 300); do echo "$i" >"$VIDAS_TMP/1/demo/many/$i"; done
# These want descriptors again and again, of both.
for i in 1 2; do
	while sleep 0.4; do cat "$VIDAS_TMP/$i"/demo/many/* >/dev/null; done &
	readers+=($!)
done
cases rooted "$VIDAS_TMP/1/demo" "$VIDAS_TMP/2/demo"
kill "${readers[@]}"
wait "${readers[@]}" 2>/dev/null || true
[ ${#bad[@]} = 0 ] || fail "$(IFS=,; echo "${bad[*]}")"
refuses 1 grep -q 'Too many open files' "$VIDAS_TMP/vidasfs.log"
wait_for 10 domain_umount "$VIDAS_TMP/1" # a reader may be at it still
wait_for 10 domain_umount "$VIDAS_TMP/2" # a reader may be at it still
vidasd_stop
