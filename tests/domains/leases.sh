#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Leases: what one domain's kernel has cached is gone before a change in the other is acknowledged; and is cached
# between changes.
# vidas-presets: release asan
# vidas-timeout: 240
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

two_domains

# see SIDE EXPECTED STAT-FORMAT FILE: several times, so that the later ones come from a cache
see() {
	local _
	for _ in 1 2 3; do same "$2" "$(stat -c "$3" "$1/$4" 2>/dev/null || echo gone)" "$4 in $1"; done
}

mkdir "$a/dir"
: >"$a/dir/f"
chmod 600 "$a/dir/f"
for i in $(seq 30); do
	for pair in "$a $b" "$b $a"; do
		set -- $pair
		see "$2" 600 %a dir/f
		chmod 6"$((i % 8))"0 "$1/dir/f"
		see "$2" "6$((i % 8))0" %a dir/f
		chmod 600 "$1/dir/f"
		see "$2" 600 %a dir/f
		see "$2" gone %n dir/new
		: >"$1/dir/new"
		see "$2" "$2/dir/new" %n dir/new
		see "$1" "$1/dir/new" %n dir/new
		mv "$1/dir/new" "$1/dir/moved"
		see "$2" gone %n dir/new
		see "$2" "$2/dir/moved" %n dir/moved
		ln "$1/dir/f" "$1/dir/hard"
		see "$2" 2 %h dir/f
		rm "$1/dir/moved" "$1/dir/hard"
		see "$2" gone %n dir/moved
		see "$2" 1 %h dir/f
		printf %0${i}d 0 >"$1/dir/f"
		see "$2" "$i" %s dir/f
		truncate -s $((i + 1000)) "$1/dir/f"
		see "$2" $((i + 1000)) %s dir/f
		mkdir "$1/dir/sub"
		see "$2" 3 %h dir
		mv "$1/dir/sub" "$1/other"
		see "$2" 2 %h dir
		see "$2" directory %F other
		rmdir "$1/other"
		see "$2" gone %n other
	done
done

# Both change one directory at once: nobody waits for the other's lease to run out.
start=${EPOCHREALTIME/[.,]/}
(for i in $(seq 300); do : >"$a/dir/a$i"; rm "$a/dir/a$i"; done) &
other=$!
for i in $(seq 300); do : >"$b/dir/b$i"; rm "$b/dir/b$i"; done
wait $other
took=$((${EPOCHREALTIME/[.,]/} - start))
echo "two domains making and removing 300 files each in one directory: $((took / 1000)) ms"
[ $took -lt 60000000 ] || fail "it took $((took / 1000000)) s"
refuses 1 grep -E 'run out|hangs' "$VIDAS_TMP/vidasfs.log"
same f "$(ls "$a/dir")"
same f "$(ls "$b/dir")"

# Whom nobody asks any more caches nothing: no bit stays that would cost a change a recall.
bits() { od -An -v -w16 -t x8 -j 64 "$1" | awk '$1 !~ /^0*$/ { n++ } END { print n + 0 }'; }
table=$run/pool/containers/shared/leases
ls -l "$a/dir" "$b/dir" >/dev/null
[ "$(bits "$table")" -gt 0 ] || fail "nothing was cached"
none() { [ "$(bits "$table")" = 0 ]; }
wait_for 20 none
domain_umount "$VIDAS_TMP/1"
domain_umount "$VIDAS_TMP/2"
vidasd_stop
