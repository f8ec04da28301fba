#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The statements of docs/consistency.md on relaxed consistency: set by xattr, and by mount option; and that it sets
# no lease, so that a change of what others cache needs no recall.
# vidas-presets: release asan
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/litmus.sh"

three_domains relaxed_timeout=1 relaxed_timeout=1 relaxed_timeout=1
chmod 755 "$VIDAS_TMP"
passthrough_possible || skip "no passthrough here: $(grep -m1 'no passthrough' "$VIDAS_TMP/vidasfs.log")"
setfattr -n user.vidas.consistency -v relaxed "${d[0]}"
litmus_run relaxed 1

# From here on caches last long enough to be seen at work.
for i in 1 2 3; do
	domain_umount "$VIDAS_TMP/$i"
	domain_mount $i "$VIDAS_TMP/$i" relaxed_timeout=600
done

# [C54] No bit is set where all is relaxed.
bits() { od -An -v -w16 -t x8 -j 64 "$1" | awk '$1 !~ /^0*$/ { n++ } END { print n + 0 }'; }
table=$run/pool/containers/shared/leases
none() { [ "$(bits "$table")" = 0 ]; }
wait_for 20 none
mkdir "${d[0]}/dir"
touch "${d[0]}/dir/"{1,2,3}
ls -l "${d[1]}/dir" "${d[2]}/dir" >/dev/null
stat "${d[1]}/dir/1" "${d[2]}/dir/2" >/dev/null
refuses 1 stat "${d[1]}/dir/absent" 2>/dev/null
same 0 "$(bits "$table" | head -n 1)" "lease bits"
# ... and it is cached: the other side's chmod is not seen at once.
stat -c %a "${d[1]}/dir/1" >/dev/null
chmod 600 "${d[0]}/dir/1"
same 644 "$(stat -c %a "${d[1]}/dir/1")" "a cached mode"
# [C55] Nearest wins: strict below relaxed, for a file and for a directory.
setfattr -n user.vidas.consistency -v strict "${d[0]}/dir/2"
mkdir "${d[0]}/strict"
setfattr -n user.vidas.consistency -v strict "${d[0]}/strict"
touch "${d[0]}/strict/f"
for f in dir/2 strict/f; do
	for m in 600 640 600; do
		chmod $m "${d[0]}/$f"
		for i in 1 2; do same $m "$(stat -c %a "${d[$i]}/$f")" "the mode of $f"; done
	done
done
refuses 1 stat "${d[1]}/strict/g" 2>/dev/null
touch "${d[0]}/strict/g"
stat "${d[1]}/strict/g" >/dev/null
# What moves takes up what holds where it goes.
mv "${d[0]}/strict/f" "${d[0]}/dir/was-strict"
mv "${d[0]}/dir/3" "${d[0]}/strict/was-relaxed"
for m in 600 640 600; do
	chmod $m "${d[0]}/strict/was-relaxed"
	same $m "$(stat -c %a "${d[1]}/strict/was-relaxed")" "the mode of a file moved to a strict directory"
done
stat "${d[1]}/dir/was-strict" >/dev/null
chmod 606 "${d[0]}/dir/was-strict"
same 600 "$(stat -c %a "${d[1]}/dir/was-strict")" "the cached mode of one moved to a relaxed directory"

# [C56] By mount option, where no policy says otherwise; told by the attribute.
setfattr -x user.vidas.consistency "${d[0]}"
same strict "$(getfattr --only-values -n user.vidas.consistency "${d[1]}")"
domain_umount "$VIDAS_TMP/2"
domain_mount 2 "$VIDAS_TMP/2" consistency=relaxed,relaxed_timeout=2
same relaxed "$(getfattr --only-values -n user.vidas.consistency "${d[1]}")"
touch "${d[0]}/opt"
stat "${d[1]}/opt" >/dev/null
chmod 600 "${d[0]}/opt"
same 644 "$(stat -c %a "${d[1]}/opt")" "a mode cached by a relaxed mount"
same 600 "$(stat -c %a "${d[2]}/opt")"
sees() { [ "$(stat -c %a "${d[1]}/opt")" = 600 ]; }
wait_for 6 sees
for o in consistency=eventual relaxed_timeout=0 relaxed_timeout=4000; do
	refuses any vidasfs -o "socket=$run/domains/2/sock,$o" "$VIDAS_TMP/1" 2>/dev/null
done
refuses 1 grep -E 'run out|hangs' "$VIDAS_TMP/vidasfs.log"
vidasd_stop
