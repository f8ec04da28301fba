#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Two domains on one container: what one has written, stored or changed, the other reads, loads and sees next.
# vidas-presets: release asan
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

two_domains
helper 1
helper 2
same "" "$(ask 1 open f rwc "$a/f")"
same "" "$(ask 1 trunc f 8192)"
same "" "$(ask 2 open f rw "$b/f")"
same 8192 "$(ask 2 size f)"
same 5 "$(ask 1 write f 100 first)"
same first "$(ask 2 read f 100 5)" "what the other wrote"
same 6 "$(ask 2 write f 4094 second)"
same second "$(ask 1 read f 4094 6)"

if passthrough_possible; then
	for h in 1 2; do same "" "$(ask $h map f 8192)"; done
	for i in $(seq 20); do
		same "" "$(ask 1 store f $((i * 37)) "s$i-")"
		same "s$i-" "$(ask 2 load f $((i * 37)) $((${#i} + 2)))" "a store of domain 1"
		same "" "$(ask 2 store f $((5000 + i)) "$i+")"
		same "$i+" "$(ask 1 load f $((5000 + i)) $((${#i} + 1)))" "a store of domain 2"
	done
	same "" "$(ask 1 store f 0 stored)"
	same stored "$(ask 2 read f 0 6)" "a store, read"
	same 7 "$(ask 2 write f 1000 written)"
	same written "$(ask 1 load f 1000 7)" "a write, loaded"
fi

# Appending from both sides loses nothing.
same "" "$(ask 1 open l rwca "$a/log")"
same "" "$(ask 2 open l rwa "$b/log")"
for i in $(seq 100); do
	tell 1 append l "one-$i;"
	tell 2 append l "two-$i;"
	hear 1 >/dev/null
	hear 2 >/dev/null
done
same 200 "$(tr ';' '\n' <"$a/log" | sort -u | wc -l)"
same "$(cat "$a/log")" "$(cat "$b/log")"

# Sizes, while the file is open for writing at the other side and when it is not any more.
for n in 10 20000 3; do
	same "" "$(ask 1 trunc f $n)"
	same $n "$(stat -c %s "$b/f")" "size"
	same $n "$(ask 2 size f)"
done
same 4 "$(ask 1 write f 50000 more)"
same 50004 "$(stat -c %s "$b/f")" "size after a write"
same "" "$(ask 1 close f)"
same "" "$(ask 2 trunc f 77)"
same 77 "$(stat -c %s "$a/f")"

# A file without a name lives as long as either has it open.
same "" "$(ask 2 open u rwc "$b/unlinked")"
same 4 "$(ask 2 write u 0 kept)"
rm "$a/unlinked"
refuses any stat "$b/unlinked" 2>/dev/null
same kept "$(ask 2 read u 0 4)"
same 0 "$(ask 2 nlink u)"
same "" "$(ask 2 open u2 rwcx "$b/unlinked")" "making it anew"

# Locks hold across domains.
same "" "$(ask 1 open k rwc "$a/lock")"
same "" "$(ask 2 open k rw "$b/lock")"
same "" "$(ask 1 lock k ex)"
same "error EAGAIN" "$(ask 2 lock k ex)"
same "" "$(ask 2 setlk k wr 0 10)"
same "error EAGAIN" "$(ask 1 setlk k rd 5 1)"
tell 2 lock k ex wait
helper_end 1
same "" "$(hear 2 5)" "the lock of a process that ended"
helper_end 2
domain_umount "$VIDAS_TMP/1"
domain_umount "$VIDAS_TMP/2"
vidasd_stop
