#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Attributes: modes, owners, times with nanoseconds, sizes of the file system.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

more_free_than() { [ "$(stat -f -c %a .)" -ge "$1" ]; }

run_attr() {
	cd "$mnt"
	touch f
	chmod 1640 f
	same 1640 "$(stat -c %a f)"
	chown 12:34 f
	same 12:34 "$(stat -c %u:%g f)"
	touch -d '2001-02-03 04:05:06.123456789Z' f
	same 981173106.123456789 "$(date -ur f +%s.%N)"
	touch -a -d '2011-01-01Z' f
	same 1293840000 "$(stat -c %X f)" "atime"
	same 981173106 "$(stat -c %Y f)" "mtime"
	before=$(stat -c %Z f)
	sleep 1.1
	chmod 600 f
	[ "$(stat -c %Z f)" -gt "$before" ] || fail "chmod does not change the ctime"
	sleep 0.02
	touch g
	[ g -nt f ] || fail "the mtime of a new file is not now"
	sleep 0.02
	echo more >>f
	[ f -nt g ] || fail "writing does not change the mtime"
	ln -s f sym
	touch -h -d '2001-02-03Z' sym
	same 981158400 "$(stat -c %Y sym)" "mtime of a symbolic link"
	chown -h 56:78 sym
	same 56:78 "$(stat -c %u:%g sym)"

	# The mount tells of the pool.
	pool=$(stat -f -c '%S %b' "$run/pool")
	same "$pool" "$(stat -f -c '%S %b' .)" "size of the file system"
	head -c 20M /dev/zero >big
	free=$(stat -f -c %a .)
	same "$(stat -f -c %a "$run/pool")" "$free" "free blocks"
	rm big
	wait_for 5 more_free_than $((free + 5000))
	same 5 "$(mkdir -p a/b a/c a/d && stat -c %h a)" "links of a directory"
	cd /
}

both_ways run_attr
