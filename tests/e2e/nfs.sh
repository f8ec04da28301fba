#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-net: own
# vidas-needs: nfs
# Files between two domains and a real NFS server, versions 4 and 3; its other client is libnfs-utils.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/stores.sh"
. "$VIDAS_SRC/tests/lib/e2e.sh"
# What killed puts have left does not show, and goes when it is an hour old: by vidasd's clock, which is set forward here.
left_overs() {
	local export=$store_dir/export put=.vidas-put-0123456789abcde
	cc -shared -fPIC -o "$VIDAS_TMP/later.so" -xc - <<-'C'
		#include <sys/syscall.h>
		#include <time.h>
		#include <unistd.h>
		int clock_gettime(clockid_t clock, struct timespec *ts)
		{
			long err = syscall(SYS_clock_gettime, clock, ts);
			if (clock == CLOCK_REALTIME)
				ts->tv_sec += 3700;
			return (int)err;
		}
	C
	e2e_begin
	mkdir "$a/dir" "$a/other"
	echo 1 >"$a/dir/file"
	flush "$a"
	touch "$export/dir/${put}0" "$export/other/${put}1"
	update "$a"
	same "file" "$(ls -A "$a/dir")"
	same "${put}0 file" "$(ls -A "$export/dir" | xargs)" "young left-overs in the server"
	vidasd_kill
	LD_PRELOAD=$VIDAS_TMP/later.so vidasd_start
	update "$a"
	same "file" "$(ls -A "$export/dir" | xargs)" "old left-overs in the server"
	rmdir "$a/other"
	flush "$a"
	[ ! -e "$export/other" ] || fail "a left-over keeps its directory in the server"
	e2e_end
}

# Two names of one file, by what the server's own file system says.
names() {
	local export=$store_dir/export
	e2e_begin
	echo one >"$a/first"
	flush "$a"
	ln "$b/first" "$b/second"
	mv "$a/first" "$a/third"
	flush "$a"
	[ "$export/second" -ef "$export/third" ] || fail "two files in the server for two names of one"
	echo two >"$a/second"
	rm "$b/third"
	ln "$a/second" "$a/fourth"
	flush "$a"
	[ "$export/second" -ef "$export/fourth" ] || fail "two files in the server after a write"
	same "fourth second two two" "$(cd "$export" && echo * "$(cat fourth)" "$(cat second)")"
	e2e_end
}

export GANESHA_SECURE=true # as most servers are
for version in 4 3; do
	store_begin nfs$version
	e2e_path
	rm -rf "$store_dir/export/"*
	left_overs
	rm -rf "$store_dir/export/"*
	names
	store_end
done
