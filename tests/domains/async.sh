#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What vidasd pushes by itself: changes of all kinds, in time, from every way a domain can make them.
# vidas-presets: release asan
# vidas-timeout: 180
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
disk=$VIDAS_TMP/disk store=$VIDAS_TMP/disk/store
attr() { getfattr -n "user.vidas.$1" --only-values "$2" 2>/dev/null; }
in_store() { [ "$(cat "$store/$1" 2>/dev/null)" = "$2" ]; }
not_in_store() { [ ! -e "$store/$1" ] && [ ! -L "$store/$1" ]; }
clean() { [ "$(attr state "$1")" = clean ]; }

# The store is a file system of its own, which can be made read-only.
mkdir "$disk"
mount -t tmpfs -o size=32m none "$disk"
mkdir -p "$store/old/deep"
for i in $(seq 30); do echo "$i" >"$store/old/deep/$i"; done
two_domains_rooted "$store"
same async "$(attr write_policy "$a")" "the default"
same 30s "$(attr write_deadline "$b/old")" "the default"
setfattr -n user.vidas.write_deadline -v 500ms "$a"
same 500ms "$(attr write_deadline "$b/old")"
refuses any setfattr -n user.vidas.write_deadline -v 500 "$a" 2>/dev/null

# Files, directories, links, attributes; deleted and renamed.
echo one >"$a/one"
mkdir -p "$b/dir/sub"
echo two >"$b/dir/sub/two"
ln -s sub/two "$b/dir/link"
wait_for 20 in_store one one
wait_for 20 in_store dir/sub/two two
wait_for 20 test -L "$store/dir/link"
wait_for 20 clean "$b/one"
chmod 600 "$a/one"
mode_is() { [ "$(stat -c %a "$store/one")" = "$1" ]; }
wait_for 20 mode_is 600
mv "$a/dir" "$a/old/moved"
wait_for 20 in_store old/moved/sub/two two
wait_for 20 not_in_store dir
rm -r "$b/old/moved" "$b/old/deep/7"
wait_for 20 not_in_store old/moved
wait_for 20 not_in_store old/deep/7
mv "$b/old/deep/8" "$b/old/9"
wait_for 20 in_store old/9 8
wait_for 20 not_in_store old/deep/8
mv "$b/old/deep" "$b/renamed"
wait_for 20 in_store renamed/30 30
wait_for 20 not_in_store old/deep

# A file that stays open: what is written to it, by write and through a mapping.
helper 1
same "" "$(ask 1 open f rwc "$a/open")"
same "" "$(ask 1 trunc f 4096)"
same 5 "$(ask 1 write f 0 first)"
begins() { [ "$(head -c "${#1}" "$store/open" 2>/dev/null | tr -d '\0')" = "$1" ]; }
wait_for 20 begins first
same 6 "$(ask 1 write f 0 second)"
wait_for 20 begins second
if passthrough_possible; then
	same "" "$(ask 1 map f 4096)"
	same "" "$(ask 1 store f 0 mapped)"
	wait_for 20 begins mapped
	same "" "$(ask 1 store f 0 MAPPED)"
	same "" "$(ask 1 unmap f)"
	wait_for 20 begins MAPPED
fi
same "" "$(ask 1 close f)"

# back: not by itself, also not what is in it already; from the moment it is async again, all that was left.
setfattr -n user.vidas.write_policy -v back "$a/renamed"
mkdir "$a/renamed/more"
echo left >"$a/renamed/more/file"
echo left >"$a/renamed/1"
rm "$a/renamed/2"
echo sentinel >"$a/sentinel"
wait_for 20 in_store sentinel sentinel
sleep 1.5
not_in_store renamed/more || fail "back was pushed"
in_store renamed/1 1 || fail "back was pushed"
in_store renamed/2 2 || fail "back was pushed"
setfattr -x user.vidas.write_policy "$a/renamed"
wait_for 20 in_store renamed/more/file left
wait_for 20 in_store renamed/1 left
wait_for 20 not_in_store renamed/2

# A longer deadline for one, a shorter for another.
mkdir "$a/late" "$a/soon"
setfattr -n user.vidas.write_deadline -v 1h "$a/late"
echo late >"$a/late/f"
echo soon >"$a/soon/f"
wait_for 20 in_store soon/f soon
sleep 1
not_in_store late/f || fail "an hour is over"
setfattr -n user.vidas.write_deadline -v 250ms "$a/late"
wait_for 20 in_store late/f late

# Killed, with changes it does not know of; and with some that are made while there is none.
vidasd_kill
echo meanwhile >"$a/meanwhile"
rm "$a/one"
vidasd_start
wait_for 30 in_store meanwhile meanwhile
wait_for 30 not_in_store one

# The store takes nothing: the files say why, and go there when it does.
mount -o remount,ro "$disk"
echo waits >"$a/waits"
says_why() { attr error "$a/waits" | grep -qi "read-only"; }
wait_for 30 says_why
same dirty "$(attr state "$b/waits")"
mount -o remount,rw "$disk"
wait_for 60 in_store waits waits
same "" "$(attr error "$a/waits")"
wait_for 20 grep -q 'all is pushed again' "$VIDAS_TMP/vidasd.log"

# It is not there at all when vidasd starts.
vidasd_kill
echo nowhere >"$a/waits"
mv "$store" "$disk/away"
vidasd_start
says_where() { attr error "$a/waits" | grep -q "$store"; }
wait_for 30 says_where
mv "$disk/away" "$store"
wait_for 60 in_store waits nowhere

# The stop pushes what is owed, whatever its time; back stays.
setfattr -n user.vidas.write_deadline -v 24h "$a"
setfattr -n user.vidas.write_policy -v back "$a/renamed"
echo stop >"$a/stop"
rm "$a/waits"
echo stays >"$a/renamed/stays"
vidasd_stop
in_store stop stop || fail "not pushed at the stop: $(tail -n 5 "$VIDAS_TMP/vidasd.log")"
not_in_store waits || fail "not deleted at the stop"
not_in_store renamed/stays || fail "back was pushed at the stop"

# A stop without the store says what is left, and ends.
vidasd_start
echo again >"$a/stop"
mount -o remount,ro "$disk"
vidasd_stop
grep -q "1 things are not pushed; the next vidasd tries again" "$VIDAS_TMP/vidasd.log" || fail "what is left is not said: $(tail -n 5 "$VIDAS_TMP/vidasd.log")"
mount -o remount,rw "$disk"
vidasd_start
vidas flush "$a"
diff -r --no-dereference "$a" "$store" >&2 || fail "the store is not what the container is"
[ -z "$(find "$a" -name '*conflict*')" ] || fail "a conflict was made up"
vidasd_stop
