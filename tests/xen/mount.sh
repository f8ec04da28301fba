#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# /vidas in guests: the workflow of ./quickstart between two of them in a container that the others may not attach;
# what each does the other sees at once; 64 MiB are read with one message a MiB, and then with none.
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/guests.sh"
say() { echo "== $* ($SECONDS s)"; }
store=$VIDAS_TMP/store
mkdir "$store"
mounts() { on "$1" "mkdir -p /vidas && vidasfs -o log=/run/vidasfs.log /vidas"; }
nothing_granted() { local n; for n in 1 2 3 4; do [ "$(granted "$n")" = "0 0 0" ] || return 1; done; }
guests_start
admin container create demo --root "file://$store" --domains "$(id 1),$(id 2)"
for n in 1 2 3 4; do mounts $n; done

say "a container is there for those that may attach it"
on 1 "echo hello >/vidas/demo/f"
same hello "$(on 2 cat /vidas/demo/f)"
for n in 3 4; do
	on $n "[ ! -e /vidas/demo/f ] && ! ls /vidas | grep -q demo"
	refuses 1 on $n "sends xen: demo f 0 6 hello" 2>/dev/null
done
same demo "$(on 1 ls /vidas)"

say "each sees at once what the other does"
on 2 "echo two >/vidas/demo/f; mv /vidas/demo/f /vidas/demo/g"
same two "$(on 1 cat /vidas/demo/g)"
on 1 "chmod 600 /vidas/demo/g; ln /vidas/demo/g /vidas/demo/h; truncate -s 2 /vidas/demo/h"
same "600 2 2" "$(on 2 stat -c "'%a %h %s'" /vidas/demo/g)"
on 1 "flock /vidas/demo/g sleep 3" &
sleep 1.5
on 2 "! flock -n /vidas/demo/g true"
wait $!
on 2 "flock -n /vidas/demo/g true"

say "the workflow: an archive is made by one, unpacked and indexed by the other, pushed to the store"
on 1 "tar -C /src -cf /vidas/demo/in.part include docs && mv /vidas/demo/in.part /vidas/demo/in.tar"
on 2 "mkdir /vidas/scratch && tar -C /vidas/scratch -xf /vidas/demo/in.tar && diff -r /src/docs /vidas/scratch/docs &&
	cd /vidas/scratch && grep -rc define . | sort >/vidas/demo/index"
on 1 "setfattr -n user.vidas.flush -v 1 /vidas/demo"
mkdir "$VIDAS_TMP/out"
tar -C "$VIDAS_TMP/out" -xf "$store/in.tar"
diff -r "$VIDAS_SRC/docs" "$VIDAS_TMP/out/docs"
same "$(cd "$VIDAS_TMP/out" && grep -rc define . | sort | sha256sum)" "$(sha256sum <"$store/index")"

say "64 MiB: mapped by the reader"
on 1 "mkdir /vidas/big; setfattr -n user.vidas.domains -v $(id 2) /vidas/big;
	dd if=/dev/urandom of=/vidas/big/f bs=1M count=64 status=none; sha256sum </vidas/big/f" >sum1
on 2 "sha256sum </vidas/big/f" >sum2
cmp sum1 sum2
pages=$(granted 2 | cut -d ' ' -f 1)
[ "$pages" -ge 16384 ] || fail "64 MiB are 16384 pages, granted are $pages"
on 2 "sha256sum </vidas/big/f" | cmp - sum1
on 2 "printf wrote | dd of=/vidas/big/f bs=1 seek=5000000 conv=notrunc status=none"
same wrote "$(on 1 "tail -c +5000001 /vidas/big/f | head -c 5")"

say "the gate, vidasd and an agent die: mounts go on"
kill -KILL "$gate"
wait "$gate" 2>/dev/null || true
gate_start
same tw "$(on 1 cat /vidas/demo/g)"
vidasd_kill
vidasd_start
on 1 "echo after >/vidas/demo/g"
same after "$(on 2 cat /vidas/demo/g)"

say "unmounted: nothing stays granted"
for n in 1 2 3 4; do on $n umount /vidas; done
wait_for 20 nothing_granted
guests_stop
