#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidasfs in two halves, as in a Xen guest: files and names as elsewhere; a worker of the far half that is killed is
# followed by another and nothing is lost; a far half that is killed whole takes along what was open, not the mount.
# vidas-presets: release asan
# vidas-timeout: 240
export VIDASFS_SPLIT=1
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

is() { same "$1" "$(ask "${@:2}")" "${*:2}"; }
two_domains
mount1=$VIDAS_TMP/1

# Each sees at once what the other does.
echo one >"$a/f"
same one "$(cat "$b/f")"
for i in 1 2 3 4 5; do
	echo "$i" >"$b/f"
	same "$i" "$(cat "$a/f")"
	mv "$a/f" "$a/g"
	[ ! -e "$b/f" ] || fail "a name that is gone"
	mv "$b/g" "$b/f"
	same 2 "$(stat -c %s "$a/f")"
done
head -c 3000000 /dev/urandom >"$VIDAS_TMP/random"
cp "$VIDAS_TMP/random" "$a/large"
cmp "$b/large" "$VIDAS_TMP/random"
# What is read is mapped: a message for each MiB, without bytes, and none the second time. (A request of the
# kernel is one message; some are for opening and closing.)
if command -v strace >/dev/null; then
	head -c 16777216 /dev/urandom >"$a/mapped"
	for most in 28 12; do
		strace -f -qq -e trace=sendmsg,recvmsg -e signal=none -o "$VIDAS_TMP/trace" -p "$(domain_pid "$VIDAS_TMP/2")" &
		tracer=$!
		wait_for 20 test -f "$VIDAS_TMP/trace"
		sleep 1
		cmp "$a/mapped" "$b/mapped"
		kill -INT $tracer
		wait $tracer || true
		sent=$(grep -c 'sendmsg(' "$VIDAS_TMP/trace" || true)
		[ "$sent" -le $most ] || fail "$sent messages to read 16 MiB, not $most: $(tail -n 30 "$VIDAS_TMP/trace")"
		received=$(awk '/recvmsg\(/ && $NF > 0 { n += $NF } END { print n + 0 }' "$VIDAS_TMP/trace")
		[ "$received" -lt 65536 ] || fail "$received bytes went through the lane"
		rm "$VIDAS_TMP/trace"
	done
else
	echo "messages are not counted: there is no strace"
fi
# Who asks is known by his groups there: a directory's group is given on, and kept from who is not of it.
mkdir -m 2777 "$a/sgid"
chgrp 4321 "$a/sgid"
setpriv --reuid=1000 --regid=1000 --groups=4321 touch "$a/sgid/mine"
same 1000:4321 "$(stat -c %u:%g "$b/sgid/mine")"
setpriv --reuid=1000 --regid=1000 --groups=4321 chmod 2755 "$a/sgid/mine"
same 2755 "$(stat -c %a "$b/sgid/mine")"

# The far half's worker dies.
helper 1
helper 2
is "" 1 open f rw "$a/f"
is "" 1 open u rwc "$a/unlinked"
is 7 1 write u 0 nowhere
rm "$a/unlinked"
is "" 1 setlk f wr 10 10
is "" 2 open f rw "$b/f"
worker_kill "$mount1"
is 5 1 write f 0 AFTER
is AFTER 2 read f 0 5
is nowhere 1 read u 0 7
is "error EAGAIN" 2 setlk f wr 15 1
echo more >"$a/more"
same more "$(cat "$b/more")"

# All of it dies: the mount is there, with what is open from now on.
keeper=$(far_keeper "$mount1")
worker=$(pgrep -P "$keeper")
kill -KILL "$keeper" "$worker"
wait_for 5 gone "$worker"
is "" 2 setlk f wr 15 1 # its locks are free
same more "$(cat "$a/more")"
is "error ESTALE" 1 read f 0 5
is "error ESTALE" 1 close f
is "error ESTALE" 1 close u
is "" 1 open f rw "$a/f"
is AFTER 1 read f 0 5
echo again >"$a/again"
same again "$(cat "$b/again")"
grep -q 'the far half of vidasfs is gone' "$VIDAS_TMP/vidasfs.log"

# So it is when the near half's worker dies.
is 5 1 write f 0 third
kill -KILL "$(domain_pid "$mount1")"
same again "$(cat "$a/again")"
is "error ESTALE" 1 read f 0 5
same third "$(head -c 5 "$b/f")"
echo more >"$a/again"
same more "$(cat "$b/again")"

# vidasd too may go and come.
vidasd_kill
vidasd_start
echo later >"$a/later"
same later "$(cat "$b/later")"

# Unmounted: both halves end.
helper_end 1
helper_end 2
for i in 1 2; do
	near=$(domain_pid "$VIDAS_TMP/$i") far=$(far_keeper "$VIDAS_TMP/$i")
	domain_umount "$VIDAS_TMP/$i"
	wait_for 10 gone "$far"
	wait_for 10 gone "$near"
done
refuses 1 grep -E 'ERROR|no request' "$VIDAS_TMP/vidasfs.log"
# What cannot be is said by the far half, and heard of here.
refuses 1 domain_mount 1 "$mount1" container=none 2>"$VIDAS_TMP/words"
grep -q 'container none' "$VIDAS_TMP/words"
vidasd_stop
