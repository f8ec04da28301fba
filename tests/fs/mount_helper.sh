#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# mount -t vidas as fstab would have it, and vidas-domain: a command that sees its domain's containers and nothing else.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
helpers=$VIDAS_SRC/mount-helpers v=$VIDAS_TMP/v
vidasd_start
domain_add 1
domain_add 2
admin container create one --domains 1
admin container create two --domains 2
mkdir "$v"

# As mount calls it: source, directory, then options.
opts=socket=$run/domains/1/sock
"$helpers/mount.vidas" vidas "$v" -o "rw,noauto,_netdev,$opts"
same one "$(ls "$v")"
mkdir -p "$v/one/sub"
umount "$v"
"$helpers/mount.vidas" vidas:one "$v" -v -o "$opts" 2>"$VIDAS_TMP/err"
grep -q "vidasfs -o fsname=vidas:one,$opts,container=one" "$VIDAS_TMP/err"
same sub "$(ls "$v")"
same vidas:one "$(findmnt -no SOURCE "$v")"
umount "$v"
"$helpers/mount.vidas" vidas:one/sub "$v" -o "ro,$opts"
refuses any touch "$v/x" 2>/dev/null
umount "$v"
"$helpers/mount.vidas" vidas "$v" -o "$opts"
"$helpers/mount.vidas" vidas "$v" -o "remount,ro,$opts"
refuses any touch "$v/one/x" 2>/dev/null
"$helpers/mount.vidas" vidas "$v" -o "rw,remount,$opts"
touch "$v/one/x"
rm "$v/one/x"
umount "$v"
"$helpers/mount.vidas" vidas "$v" -f -o "$opts"
refuses any mountpoint -q "$v"
"$helpers/mount.vidas" vidas "$v" -sn -o "odd=thing,$opts" 2>"$VIDAS_TMP/err"
grep -q 'odd=thing is left out' "$VIDAS_TMP/err"
umount "$v"
refuses 1 "$helpers/mount.vidas" vidas "$v" -o "odd=thing,$opts" 2>/dev/null
refuses 1 "$helpers/mount.vidas" nfs:x "$v" 2>/dev/null
refuses 1 "$helpers/mount.vidas" vidas 2>/dev/null
refuses 32 "$helpers/mount.vidas" vidas "$v" -o socket=/nowhere 2>/dev/null
# Through mount(8) itself, with the two programs laid over its directory: this mount namespace is ours.
mkdir "$VIDAS_TMP/up" "$VIDAS_TMP/work"
vidasfs=$(command -v vidasfs)
if mount -t overlay -o "lowerdir=/usr/sbin,upperdir=$VIDAS_TMP/up,workdir=$VIDAS_TMP/work" sbin /usr/sbin 2>/dev/null; then
	ln -s "$helpers/mount.vidas" "$vidasfs" /usr/sbin/
	mount -t vidas vidas:one "$v" -o "$opts"
	same sub "$(ls "$v")"
	findmnt -no OPTIONS "$v" | grep -q nosuid,nodev
	umount "$v"
	mount -t vidas vidas:one "$v" -o "$opts,allow_suid,allow_dev,strictatime"
	mknod "$v/null" c 1 3
	echo nothing >"$v/null"
	rm "$v/null"
	refuses any grep -E 'nosuid|nodev' <(findmnt -no OPTIONS "$v")
	umount "$v"
	mount -t vidas vidas:one "$v" -o "$opts,allow_suid,allow_dev" -o nosuid
	same nosuid "$(findmnt -no OPTIONS "$v" | grep -oE 'nosuid|nodev')"
	umount "$v"
	umount -l /usr/sbin
else
	echo "no overlayfs over $VIDAS_TMP: mount(8) itself was not tried"
fi

# A domain: its own containers, no pool, no other socket; and nothing is left.
mkdir "$VIDAS_TMP/m"
dom() { "$helpers/vidas-domain" -r "$run" -m "$VIDAS_TMP/m" "$@"; }
same two "$(dom 2 -- ls "$VIDAS_TMP/m")"
dom 1 -- sh -c "echo from-1 >$VIDAS_TMP/m/one/f"
same from-1 "$(dom -o container=one 1 -- cat "$VIDAS_TMP/m/f")"
same "" "$(dom 1 -- ls -A "$run")" "the run directory as a domain sees it"
same sock "$(dom 1 -- ls /run/vidas/domain)"
same /run/vidas/domain/sock "$(dom 1 -- printenv VIDAS_SOCKET)"
refuses 7 dom 1 -- sh -c 'exit 7'
same text "$(echo text | dom 1 -- cat)" "standard input"
same "" "$(ls "$VIDAS_TMP/m")" "the mount as the host sees it"
refuses 2 dom x 2>/dev/null
refuses 2 dom 1 -x 2>/dev/null
refuses 1 dom 9 -- true 2>"$VIDAS_TMP/err"
grep -q 'vidas domain add 9' "$VIDAS_TMP/err"
wait_for 5 sh -c '! pgrep -x vidasfs'

# Told to end, it ends its command.
"$helpers/vidas-domain" -r "$run" -m "$VIDAS_TMP/m" 1 -- sleep 1000 &
pid=$!
wait_for 10 pgrep -x vidasfs
sleep 0.2
kill "$pid"
refuses 143 wait "$pid"
wait_for 5 sh -c '! pgrep -x vidasfs'
# vidasd started anew is found again: the directory of the socket is what is bound.
dom 1 -- sh -c "touch $VIDAS_TMP/started; while [ ! -e $VIDAS_TMP/m/one/stop ]; do sleep 0.05; done; echo seen >$VIDAS_TMP/m/one/seen" &
pid=$!
wait_for 10 test -e "$VIDAS_TMP/started"
vidasd_kill
vidasd_start
domain_mount 1 "$v"
: >"$v/one/stop"
wait "$pid" || fail "the domain did not go on"
same seen "$(cat "$v/one/seen")"
domain_umount "$v"
vidasd_stop
