#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidasd is killed and started again while domains work: they wait, go on, and see each other as before.
# vidas-presets: release asan
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

two_domains
helper 1
same "" "$(ask 1 open f rwc "$a/open")"
same 6 "$(ask 1 write f 0 before)"
mkdir "$a/work"
(for i in $(seq 400); do echo $i >"$a/work/f$i" || exit 1; sleep 0.005; done) &
worker=$!
for _ in 1 2 3; do
	sleep 0.4
	vidasd_kill
	same before "$(ask 1 read f 0 6)" "an open file while vidasd is down"
	sleep 0.2
	vidasd_start
done
wait $worker || fail "the work broke"
for i in $(seq 400); do same $i "$(cat "$b/work/f$i")"; done
same 5 "$(ask 1 write f 0 after)"
same aftere "$(cat "$b/open")"
for i in 1 2 3; do
	stat "$b/open" >/dev/null
	chmod 60$i "$a/open"
	same 60$i "$(stat -c %a "$b/open")" "mode after the restart"
done
mkdir "$VIDAS_TMP/1/another"
same "another shared" "$(ls "$VIDAS_TMP/1" | xargs)"
rmdir "$VIDAS_TMP/1/another"

# A dead vidasfs: its domain starts another, the files are there.
domain_kill "$VIDAS_TMP/1"
helper_end 1
umount -l "$VIDAS_TMP/1"
domain_mount 1 "$VIDAS_TMP/1"
same 400 "$(cat "$a/work/f400")"
chmod 755 "$a/open"
same 755 "$(stat -c %a "$b/open")"

# A path that was not used for a while: its container is attached still, as it could not be again without vidasd.
vidasd_kill
sleep 6
timeout 60 mkdir "$b/late" || fail "mkdir without a vidasd: status $?"
[ -d "$a/late" ] || fail "a domain does not see what another made without a vidasd"

# Unmounting needs no vidasd, and waits for none.
for d in 1 2; do
	pid=$(domain_pid "$VIDAS_TMP/$d")
	domain_umount "$VIDAS_TMP/$d"
	wait_for 5 gone "$pid"
done
