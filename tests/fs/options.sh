#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Bad command lines and a vidasd that is not there: one clear line, and the right status.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
v=$VIDAS_TMP/vidas
mkdir "$v"

one_line() { # STATUS WORDS COMMAND...
	refuses "$1" "${@:3}" 2>"$VIDAS_TMP/err" >/dev/null
	same 1 "$(wc -l <"$VIDAS_TMP/err")" "lines on stderr of: ${*:3}"
	grep -q -- "$2" "$VIDAS_TMP/err" || fail "'${*:3}' says: $(cat "$VIDAS_TMP/err")"
}

one_line 2 "unknown option 'nonsense'" vidasfs -o nonsense "$v"
one_line 2 "unknown option '--nonsense'" vidasfs --nonsense "$v"
one_line 2 'no mount point' vidasfs
one_line 2 'one mount point' vidasfs "$v" "$v"
one_line 2 'not the number of a domain' vidasfs -o domain=x "$v"
one_line 2 'give one' vidasfs -o domain=1,socket=/x "$v"
one_line 2 'container= too' vidasfs -o subdir=x "$v"
one_line 2 'not a path' vidasfs -o container=c,subdir=../x "$v"
one_line 1 'start vidasd' vidasfs -o "socket=$VIDAS_TMP/none" "$v"
one_line 1 'start vidasd' vidasfs -f -o "socket=$VIDAS_TMP/none" "$v"
vidasfs --help | grep -q 'usage: vidasfs'
vidasfs --version | grep -q '^vidasfs [0-9]'

vidasd_start
domain_add 1
one_line 1 'container nothing' vidasfs -o "socket=$run/domains/1/sock,container=nothing" "$v"
mkdir "$VIDAS_TMP/other"
refuses 1 vidasfs -o "socket=$run/domains/1/sock" "$VIDAS_TMP/missing" 2>"$VIDAS_TMP/err"
grep -q 'cannot mount' "$VIDAS_TMP/err"
admin container create c --domains 1
one_line 1 'in container c' vidasfs -o "socket=$run/domains/1/sock,container=c,subdir=none" "$v"

# A name with a comma; what a domain is told of the containers.
admin container create 'a,b' --domains 1
domain_mount 1 "$v" 'container=a\,b'
echo comma >"$v/f"
umount "$v"
same comma "$(cat "$run/pool/containers/a,b/tree/f")"
same "container a,b container c" "$(vidas --socket "$run/domains/1/sock" container list | sort | xargs)"
vidas --socket "$run/domains/1/sock" --json container list | grep -q '"name": "a,b"'
admin container list | grep -q 'container a,b: initiator 0, domains 1,'

# A signal unmounts; so does umount, and no process stays.
domain_mount 1 "$v"
pid=$(domain_pid "$v")
kill "$pid"
wait_for 5 gone "$pid"
refuses any mountpoint -q "$v"
domain_mount 1 "$v"
pid=$(domain_pid "$v")
umount "$v"
wait_for 5 gone "$pid"

# Words of mount(8) that say what is so anyway.
domain_mount 1 "$v" relatime,rw,defaults
umount "$v"

# When reading moves the atime: of files, and of directories.
atime() { # OPTIONS: how often two reads of each move it
	local name old now moved=
	domain_mount 1 "$v" "container=c,$1"
	for name in f d f d; do
		sleep 0.02
		old=$(stat -c %x "$v/$name")
		if [ $name = f ]; then cat "$v/f" >/dev/null; else ls "$v/d" >/dev/null; fi
		now=$(stat -c %x "$v/$name")
		if [ "$old" != "$now" ]; then moved=$moved$name; fi
	done
	umount "$v"
	echo "$moved"
}
domain_mount 1 "$v"
echo text >"$v/c/f"
mkdir "$v/c/d"
touch "$v/c/d/x"
umount "$v"
for way in atime nopassthrough; do
	touch "$run/pool/containers/c/tree/f" "$run/pool/containers/c/tree/d"
	same "" "$(atime $way,noatime)" "moves with $way,noatime"
	same "" "$(atime ro,strictatime,$way)" "moves with ro,strictatime,$way"
	same "f" "$(atime nodiratime,$way)" "moves with nodiratime,$way"
	same "d" "$(atime $way)" "moves with $way"
	same "fdfd" "$(atime strictatime,$way)" "moves with strictatime,$way"
done
vidasd_stop
