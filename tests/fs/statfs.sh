#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The size of the file system and what is free of it are those of the pool.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

more_free_than() { [ "$(stat -f -c %a .)" -ge "$1" ]; }

run_statfs() {
	cd "$mnt"
	pool=$(stat -f -c '%S %b' "$run/pool")
	same "$pool" "$(stat -f -c '%S %b' .)" "size of the file system"
	head -c 200M /dev/zero >big
	free=$(stat -f -c %a .)
	same "$(stat -f -c %a "$run/pool")" "$free" "free blocks"
	rm big
	more_free_than $((free + 200 * 256)) || fail "what a removed file had is not free yet"
	cd /
}

both_ways run_statfs
