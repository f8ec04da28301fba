#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A container with a backend: files of it appear, are fetched when opened, and what is written gets there.
# vidas-presets: release asan
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
store=$VIDAS_TMP/store
mkdir -p "$store/old/deep" "$store/eager" "$store/lazy"
echo one | tee "$store/eager/f" >"$store/lazy/f"
echo hello >"$store/old/deep/file"
head -c 3000000 /dev/urandom >"$store/big"
touch -d '2001-02-03Z' "$store/big"
two_domains_rooted "$store"

same "big eager lazy old" "$(ls "$a" | xargs)"
same hello "$(cat "$b/old/deep/file")" "a file found by its path alone"
same "3000000 981158400" "$(stat -c '%s %Y' "$a/big")"
cmp "$a/big" "$store/big"
cmp "$b/big" "$store/big"
refuses any stat "$a/nothing" 2>/dev/null
mv "$b/old" "$b/renamed"
same hello "$(cat "$a/renamed/deep/file")"
refuses any rmdir "$a/renamed/deep" 2>/dev/null

# back: only asked for. fsync asks.
echo new >"$a/new"
[ ! -e "$store/new" ] || fail "it is in the backend before anyone asked"
sync "$a/new"
same new "$(cat "$store/new")" "what fsync left in the backend"
echo newer >"$b/new"
setfattr -n user.vidas.flush -v 1 "$a"
same newer "$(cat "$store/new")" "what a flush of the container left"
same hello "$(cat "$store/renamed/deep/file")"
[ ! -e "$store/old" ] || fail "the old name is still in the backend"
rm "$a/new"
setfattr -n user.vidas.flush -v 1 "$a"
[ ! -e "$store/new" ] || fail "a removed file is still in the backend"

# A file in the place of a directory that the backend has: fsync of the one takes the other along.
mkdir "$a/place"
echo moved >"$a/place/in"
sync "$a/place/in"
mv "$a/place" "$a/moved"
echo file >"$a/place"
sync "$a/place"
same file "$(cat "$store/place")" "a file where a directory was"
same moved "$(cat "$store/moved/in")" "what was in that directory"

# A store through a mapping alone.
helper 1
same "" "$(ask 1 open m rwc "$a/mapped")"
same "" "$(ask 1 trunc m 4096)"
sync "$a/mapped"
same "" "$(ask 1 map m 4096)"
same "" "$(ask 1 store m 0 by-mapping)"
same "" "$(ask 1 unmap m)"
same "" "$(ask 1 close m)"
helper_end 1
sleep 0.1
setfattr -n user.vidas.flush -v 1 "$a/mapped"
same by-mapping "$(head -c 10 "$store/mapped")" "a store through a mapping"

# through: closing pushes.
mkdir "$a/t"
setfattr -n user.vidas.write_policy -v through "$a/t"
echo at-once >"$b/t/f"
same at-once "$(cat "$store/t/f")" "what close left in the backend"

# eager: opening looks whether the backend has something newer. lazy does not.
setfattr -n user.vidas.update_policy -v eager "$a/eager"
same one "$(cat "$a/eager/f")"
same one "$(cat "$a/lazy/f")"
for d in eager lazy; do
	echo twice >"$store/$d/f"
	touch -d '+1 minute' "$store/$d/f"
done
same twice "$(cat "$a/eager/f")" "what the backend has since"
same one "$(cat "$a/lazy/f")" "what was fetched"
setfattr -n user.vidas.update -v 1 "$a/lazy/f"
same twice "$(cat "$b/lazy/f")" "after an update"

# An update of a file that a domain has open for writing and mapped: its bytes tell whether it was changed.
helper 1
same "" "$(ask 1 open m rw "$a/lazy/f")"
same "" "$(ask 1 map m 6)"
echo third >"$store/lazy/f"
setfattr -n user.vidas.update -v 1 "$b/lazy/f"
same third "$(ask 1 load m 0 5)" "what is mapped, after an update"
same clean "$(getfattr -n user.vidas.state --only-values "$b/lazy/f")" "open for writing, unchanged"
same "" "$(ask 1 store m 0 T)"
refuses any setfattr -n user.vidas.update -v 1 "$b/lazy/f" 2>/dev/null
same dirty "$(getfattr -n user.vidas.state --only-values "$b/lazy/f")"
setfattr -n user.vidas.flush -v 1 "$b/lazy/f"
same Third "$(cat "$store/lazy/f")"
echo fourth >"$store/lazy/f"
setfattr -n user.vidas.update -v 1 "$b/lazy/f"
same fourt "$(ask 1 load m 0 5)"
same "" "$(ask 1 unmap m)"
same "" "$(ask 1 close m)"
helper_end 1

domain_umount "$VIDAS_TMP/1"
domain_umount "$VIDAS_TMP/2"
vidasd_stop
