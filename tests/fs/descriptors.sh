#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# More files than descriptors: what was given up is opened again, the right one.
# vidas-presets: release asan
# vidas-timeout: 240
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
v=$VIDAS_TMP/vidas
vidasd_start
domain_add 1
(ulimit -n 256 && domain_mount 1 "$v")
mkdir "$v/c"
cd "$v/c"
helper a
mkdir dir
for i in $(seq 400); do echo $i >"dir/f$i"; done
same "" "$(ask a open k rw "$v/c/dir/f1")"
rm dir/f1
for i in $(seq 2 400); do same $i "$(cat "dir/f$i")"; done
same 400 "$(ls -l dir | wc -l)"
pid=$(domain_pid "$v")
[ "$(ls "/proc/$pid/fd" | wc -l)" -lt 256 ] || fail "more descriptors than may be"
same 1 "$(ask a read k 0 1)" "an open file without a name"
same 0 "$(ask a nlink k)"
mkdir gone
cd gone
rmdir ../gone
for i in $(seq 2 400); do stat "../dir/f$i" >/dev/null 2>&1 || true; done
for i in $(seq 2 400); do stat "$v/c/dir/f$i" >/dev/null; done
same 0 "$(stat -c %h .)" "links of a directory without a name"
cd "$v/c"
# By a name that others have changed since.
for i in $(seq 2 200); do mv "dir/f$i" "dir/g$i"; done
for i in $(seq 2 200); do same $i "$(cat "dir/g$i")"; done
# More files without a name at once than there are descriptors for what is not open.
letters=$(printf %s {A..Z} {a..z} {0..9} '#%+,-.:=@^_~')
for i in $(seq 0 73); do
	same "" "$(ask a open "${letters:i:1}" rwT "$v/c/dir")"
	same "${#i}" "$(ask a write "${letters:i:1}" 0 $i)"
done
for i in $(seq 0 73); do same $i "$(ask a read "${letters:i:1}" 0 9)"; done
refuses 1 grep -q 'Too many open files' "$VIDAS_TMP/vidasfs.log"
cd /
helper_end a
domain_umount "$v"
vidasd_stop
