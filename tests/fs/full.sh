#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A pool without any room left: writers are told ENOSPC, all else goes on, in every domain; and what is removed is room again.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

has_room() { [ "$(stat -f -c %a "$mnt")" -gt 1000 ]; }

run_full() {
	local i address=$run/domains/1/sock long
	long=$(printf %03000d 0)
	sends "$address" "$way" object 0 4096 first
	helper a
	same "" "$(ask a open s rwc "$mnt/sparse")"
	same "" "$(ask a trunc s 1000000)"
	same "" "$(ask a open f rwc "$mnt/fill")"
	same "error ENOSPC" "$(ask a fallocate f 0 0 1000000000)"
	dd if=/dev/zero of="$mnt/fill" bs=64k 2>"$VIDAS_TMP/dd" && fail "the pool took all"
	grep -q 'No space left' "$VIDAS_TMP/dd"
	same 0 "$(stat -f -c %a "$mnt")" "room that is left"
	same "error ENOSPC" "$(ask a write s 500000 abc)"
	same "" "$(ask a read s 0 5 | tr -d '\0')" "reading a hole"
	cmp -n 1000000 "$mnt/sparse" /dev/zero
	# What an object needs was taken when it was made; a new one is refused, in words.
	for i in $(seq 9); do sends "$address" "$way" object 0 4096 "$long"; done
	same first "$(sends "$address" "$way" object 0 4096 "?")"
	sends "$address" "$way" fill 0 4096 x 2>/dev/null || true # there may be one made in advance
	refuses any sends "$address" "$way" fill 4096 4096 x 2>"$VIDAS_TMP/refused"
	grep -q "no control memory.*No space left" "$VIDAS_TMP/refused" || fail "$(cat "$VIDAS_TMP/refused")"
	for i in $(seq 9); do same "$long" "$(sends "$address" "$way" object 0 4096 "?")"; done
	# The lease table's pages are used at random: each name is another inode.
	for i in $(seq 200); do
		mkdir "$mnt/d$i"
		[ -d "$there/d$i" ] || fail "not there in the other domain: d$i"
		: >"$mnt/empty"
		rm "$mnt/empty"
	done
	mv "$mnt/d1" "$there/d2/"
	chmod 700 "$there/d2/d1"
	same 700 "$(stat -c %a "$mnt/d2/d1")"
	rm -r "$there"/d*
	rm "$there/fill"
	same "" "$(ask a close f)"
	wait_for 10 has_room # the last close of what has no name any more is told to vidasfs, not asked of it
	same 3 "$(ask a write s 500000 abc)"
	same abc "$(dd if="$there/sparse" bs=1 skip=500000 count=3 status=none)"
	helper_end a
	rm "$mnt/sparse"
}

in_both() {
	[ -S "$run/domains/2/sock" ] || domain_add 2
	setfattr -n user.vidas.domains -v 2 "$mnt"
	domain_mount 2 "$VIDAS_TMP/2" "${way#passthrough}"
	there=$VIDAS_TMP/2/$way
	run_full
	domain_umount "$VIDAS_TMP/2"
}

vidasd_options=(--pool-size 24M --pool-huge never)
both_ways in_both
