#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# mmap: what is stored is read, what is written is loaded; programs run from the mount.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

running() { [ "$(readlink "/proc/$1/exe")" = "$(readlink -f "$2")" ]; }

run_mmap() {
	cd "$mnt"
	helper a
	same "" "$(ask a open f rwc "$mnt/f")"
	same "" "$(ask a trunc f 65536)"
	same "" "$(ask a map f 65536)"
	same "" "$(ask a store f 4090 across-pages)"
	same across-pages "$(ask a read f 4090 12)"
	same 7 "$(ask a write f 60000 written)"
	same written "$(ask a load f 60000 7)"
	same across-pages "$(dd if=f bs=1 skip=4090 count=12 status=none)"
	# A store changes the times, as the first one on a page does on a local file system; our kernel must not have older
	# ones in its cache.
	touch -d 2001-01-01 f
	stat f >/dev/null
	same "" "$(ask a open g rw "$mnt/f")"
	same "" "$(ask a map g 65536)"
	same "" "$(ask a store g 30000 now)"
	[ $way != passthrough ] || [ "$(stat -c %Y f)" -gt 1500000000 ] || fail "the mtime after a store: $(stat -c %y f)"
	same "" "$(ask a unmap g)"
	same "" "$(ask a close g)"
	same "" "$(ask a unmap f)"
	same "" "$(ask a close f)"
	same across-pages "$(dd if=f bs=1 skip=4090 count=12 status=none)" "after the mapping"
	helper_end a

	cp "$(type -P true)" prog
	./prog || fail "a program does not run from the mount"
	cp "$(command -v cat)" prog2
	same text "$(echo text | ./prog2)"
	# Written to while it runs: text file busy.
	cp "$(command -v sleep)" sleeper
	./sleeper 5 &
	pid=$!
	wait_for 5 running $pid sleeper
	refuses any dd if=/dev/null of=sleeper conv=notrunc 2>/dev/null
	kill $pid
	wait $pid 2>/dev/null || true
	cd /
}

both_ways run_mmap
