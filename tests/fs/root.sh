#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The directory of the containers, and mounts of one container or of a directory in it.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
v=$VIDAS_TMP/vidas one=$VIDAS_TMP/one
vidasd_start
domain_add 1
domain_add 2
domain_mount 1 "$v"
same "" "$(ls -A "$v")"
mkdir "$v/first"
same first "$(ls "$v")"
admin container create granted --domains 1,2
wait_for 2 test -d "$v/granted"
admin container create foreign --domains 2
same "first granted" "$(ls "$v" | xargs)"
refuses any ls "$v/foreign" 2>"$VIDAS_TMP/err"
grep -q 'No such file' "$VIDAS_TMP/err"
refuses any mkdir "$v/first" 2>/dev/null

# In the list itself there is nothing but containers.
refuses any touch "$v/file" 2>/dev/null
refuses any ln -s x "$v/link" 2>/dev/null
refuses any mv "$v/first" "$v/other" 2>/dev/null
refuses any rm "$v/first" 2>/dev/null
echo x >"$v/first/f"
mkdir "$v/second"
refuses any mv -T "$v/first/f" "$v/f" 2>/dev/null
refuses any ln "$v/first/f" "$v/second/f" 2>/dev/null
mv "$v/first/f" "$v/second/f" # by a copy
same x "$(cat "$v/second/f")"
[ "$(stat -f -c %b "$v")" -gt 0 ] || fail "the mount has no size"

# Destroying: not what has files, not what others have, not what others made.
refuses any rmdir "$v/second" 2>"$VIDAS_TMP/err"
grep -q 'not empty' "$VIDAS_TMP/err"
rmdir "$v/first"
same "granted second" "$(ls "$v" | xargs)"
refuses any rmdir "$v/granted" 2>/dev/null
setfattr -n user.vidas.domains -v 2 "$v/second"
domain_mount 2 "$VIDAS_TMP/v2"
wait_for 2 test -f "$VIDAS_TMP/v2/second/f"
refuses any rmdir "$VIDAS_TMP/v2/second" 2>/dev/null
rm "$v/second/f"
exec {open}<"$VIDAS_TMP/v2/second"
refuses any rmdir "$v/second" 2>"$VIDAS_TMP/err"
grep -q 'busy' "$VIDAS_TMP/err"
exec {open}<&-
same "" "$(ls -A "$VIDAS_TMP/v2/second")" "the container that was to be removed"
wait_for 5 rmdir "$v/second" # who has merely looked does not use it
refuses any ls "$VIDAS_TMP/v2/second" 2>/dev/null
domain_umount "$VIDAS_TMP/v2"

# rmdir and a writer: the file is in the container, or there is none.
for i in $(seq 20); do
	mkdir "$v/race"
	(echo x >"$v/race/f") 2>/dev/null &
	writer=$!
	if rmdir "$v/race" 2>/dev/null; then
		wait $writer || true
	else
		wait $writer || fail "neither a file nor a rmdir"
		same x "$(cat "$v/race/f")"
		rm "$v/race/f"
		rmdir "$v/race"
	fi
	[ ! -e "$v/race" ] || fail "the container is still there"
done
mkdir "$v/second" # another one of that name
same "" "$(ls -A "$v/second")"

# One container, and a part of it; a mount that may only be read.
mkdir -p "$v/second/sub/dir"
echo deep >"$v/second/sub/dir/file"
domain_mount 1 "$one" container=second
same deep "$(cat "$one/sub/dir/file")"
domain_umount "$one"
domain_mount 1 "$one" container=second,subdir=sub/dir
same file "$(ls "$one")"
echo more >"$one/new"
same more "$(cat "$v/second/sub/dir/new")"
domain_umount "$one"
domain_mount 1 "$one" container=second,ro
same more "$(cat "$one/sub/dir/new")"
refuses any touch "$one/x" 2>"$VIDAS_TMP/err"
grep -q 'Read-only' "$VIDAS_TMP/err"
domain_umount "$one"

# A domain that was given a container for reading only.
admin container create readable --domains 1:ro,2
domain_mount 2 "$VIDAS_TMP/v2"
echo shown >"$VIDAS_TMP/v2/readable/f"
same shown "$(cat "$v/readable/f")"
refuses any touch "$v/readable/g" 2>"$VIDAS_TMP/err"
grep -q 'Read-only' "$VIDAS_TMP/err"
refuses any sh -c "echo x >>$v/readable/f" 2>/dev/null
refuses any rm -f "$v/readable/f" 2>/dev/null
echo again >"$VIDAS_TMP/v2/readable/f"
same again "$(cat "$v/readable/f")"
domain_umount "$VIDAS_TMP/v2"
domain_umount "$v"
vidasd_stop
