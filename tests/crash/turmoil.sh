#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Three domains work on names and files, each in a directory of its own and all in one, while vidasd is killed over and
# over. Every answer is right, what was acknowledged is there, all see the same; and the backend gets it.
# tests/posix/run-fsstress is the long form. vidas-timeout is for a machine that is busy with other things.
# vidas-timeout: 300
# vidas-presets: release asan
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/trees.sh"
seconds=12

mkdir "$VIDAS_TMP/store"
three_domains plain
three_domains rooted --root "file://$VIDAS_TMP/store"
pids=()
for c in plain rooted; do
	mkdir "$VIDAS_TMP/1/$c/all"
	for d in 1 2 3; do
		mkdir "$VIDAS_TMP/$d/$c/own$d"
		turmoil "$VIDAS_TMP/$d/$c/all" "$VIDAS_TMP/$d/$c/own$d" $seconds "$d$RANDOM" &
		pids+=($!)
	done
done
kill_while 3 "${pids[@]}"
echo "vidasd was killed $kills times"
for c in plain rooted; do trees_agree $c; done

vidas flush "$VIDAS_TMP/2/rooted"
# Names, links and bytes; what a killed push left beside goes by itself, in time.
content() {
	(
		cd "$1"
		find . ! -name '.vidas-put-*' -printf '%p|%y|%l\n' | sort
		find . -type f ! -name '.vidas-put-*' -print0 | sort -z | xargs -0r sha256sum
	)
}
diff <(content "$VIDAS_TMP/3/rooted") <(content "$VIDAS_TMP/store") || fail "the store has not what was flushed"
for d in 1 2 3; do domain_umount "$VIDAS_TMP/$d"; done
vidasd_stop
