#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Bytes: overwriting, appending, holes, cutting, copying, and what is left of a file without a name.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

run_data() {
	cd "$mnt"
	helper a
	head -c 3000000 /dev/urandom >"$VIDAS_TMP/random"
	cp "$VIDAS_TMP/random" f
	cmp f "$VIDAS_TMP/random"
	dd if="$VIDAS_TMP/random" of=f bs=4099 conv=notrunc status=none
	cmp f "$VIDAS_TMP/random"
	dd if=f of=g bs=1M status=none
	cmp g "$VIDAS_TMP/random"
	dd if=f of="$VIDAS_TMP/direct" bs=4096 iflag=direct status=none
	cmp "$VIDAS_TMP/direct" "$VIDAS_TMP/random"

	echo 1 >log
	for i in 2 3 4 5; do echo $i >>log; done
	same "1 2 3 4 5" "$(tr '\n' ' ' <log | sed 's/ $//')"
	: >log
	same 0 "$(stat -c %s log)" "a file opened to be cut"

	truncate -s 10M sparse
	same 10485760 "$(stat -c %s sparse)"
	same 0 "$(stat -c %b sparse)" "blocks of a hole"
	same "" "$(ask a open s rw "$mnt/sparse")"
	same 3 "$(ask a write s 5000000 abc)"
	same 4997120 "$(ask a seek s data 0)"
	same 0 "$(ask a seek s hole 0)"
	same abc "$(ask a read s 5000000 3)"
	same "" "$(ask a fallocate s 0 0 4096)"
	same "" "$(ask a fallocate s 3 4997120 8192)" "punching a hole"
	same "error ENXIO" "$(ask a seek s data 4096)"
	same "" "$(ask a trunc s 5)"
	same 5 "$(stat -c %s sparse)"
	same "" "$(ask a close s)"
	[ "$(stat -c %b sparse)" -le 8 ] || fail "cutting did not free blocks"

	same "" "$(ask a open i rw "$mnt/f")"
	same "" "$(ask a open o rwc "$mnt/copy")"
	same 100000 "$(ask a copy i 7 o 3 100000)"
	cmp -n 100000 -i 7:3 f copy
	same "" "$(ask a sync o)"

	same "" "$(ask a open u rwcx "$mnt/unlinked")"
	same "error EEXIST" "$(ask a open v rwcx "$mnt/unlinked")"
	same 4 "$(ask a write u 0 kept)"
	rm unlinked
	same kept "$(ask a read u 0 9)" "a file without a name"
	same 0 "$(ask a nlink u)"
	same 5 "$(ask a append u there)"
	same 5 "$(ask a size u)"
	same "" "$(ask a open t rwT "$mnt")"
	same 5 "$(ask a append t nname)"
	same "" "$(ask a link t "$mnt/named")"
	same nname "$(cat named)"
	helper_end a
	cd /
}

vidasd_options=(--pool-huge never) # so that holes are of pages
both_ways run_data
