#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Making, moving, linking and removing names.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

run_names() {
	cd "$mnt"
	echo one >a
	refuses any mkdir a
	mkdir d
	refuses any rmdir nothing
	mv a d/b
	same one "$(cat d/b)"
	[ ! -e a ] || fail "the old name is still there"
	echo two >c
	mv c d/b
	same two "$(cat d/b)" "a replaced file"
	touch x y
	refuses any mv -T d x 2>/dev/null

	ln d/b hard
	same 2 "$(stat -c %h d/b)" "links"
	same "$(stat -c %i d/b)" "$(stat -c %i hard)" "inode"
	rm d/b
	same 1 "$(stat -c %h hard)" "links after one is gone"
	refuses any ln d dirlink 2>/dev/null

	ln -s ../somewhere/else sym
	same ../somewhere/else "$(readlink sym)"
	ln -s hard good
	same two "$(cat good)"
	long=$(head -c 4095 /dev/zero | tr '\0' x)
	ln -s "$long" longlink
	same "$long" "$(readlink longlink)"

	mkfifo pipe
	[ -p pipe ] || fail "no fifo"
	(echo through >pipe &)
	same through "$(cat pipe)"
	name=$(head -c 255 /dev/zero | tr '\0' n)
	echo long >"$name"
	same long "$(cat "$name")"
	refuses any touch "${name}n" 2>/dev/null

	mkdir -p deep/er/est
	refuses any rmdir deep 2>/dev/null
	mv deep/er moved
	[ -d moved/est ] || fail "a moved directory is not whole"
	refuses any mv moved moved/est/inside 2>/dev/null
	echo e >"$(printf 'odd \n\t name')"
	same e "$(cat "$(printf 'odd \n\t name')")"
	cd /
	rm -r "$mnt"
	[ ! -e "$mnt" ] || fail "the directory is still there"
}

both_ways run_names
