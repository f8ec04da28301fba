#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# update_policy=eager: what others change in the store is seen without anybody asking, where it is said so.
# vidas-presets: release asan
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
store=$VIDAS_TMP/store
attr() { getfattr -n "user.vidas.$1" --only-values "$2" 2>/dev/null; }
mkdir -p "$store/eager/sub" "$store/eager/lazy" "$store/lazy" "$store/eager/unseen"
for f in eager/f eager/sub/f eager/gone eager/mine eager/lazy/f lazy/f lazy/one eager/unseen/f; do echo old >"$store/$f"; done
two_domains_rooted "$store"
setfattr -n user.vidas.write_policy -v back "$a"
for f in f sub/f gone mine lazy/f; do same old "$(cat "$a/eager/$f")"; done
same "old old" "$(cat "$b/lazy/f" "$b/lazy/one" | xargs)"

# Something cannot be pushed all the while.
mkdir "$a/bad"
setfattr -n user.vidas.write_policy -v async "$a/bad"
setfattr -n user.vidas.write_deadline -v 1s "$a/bad"
: >"$a/bad/.vidas-put-x"
wait_for 20 grep -q "cannot be pushed" "$VIDAS_TMP/vidasd.log"

# Open, and mapped, all the while.
helper 1
same "" "$(ask 1 open f rw "$a/eager/f")"
same "" "$(ask 1 map f 4)"
same old "$(ask 1 load f 0 3)"

setfattr -n user.vidas.update_interval -v 300ms "$a"
setfattr -n user.vidas.update_policy -v eager "$a/eager"
setfattr -n user.vidas.update_policy -v lazy "$a/eager/lazy"
setfattr -n user.vidas.update_policy -v eager "$b/lazy/one"
echo changed >"$a/eager/mine"

for f in eager/f eager/sub/f eager/lazy/f lazy/f lazy/one eager/unseen/f; do echo new >"$store/$f"; done
rm "$store/eager/gone"
echo theirs >"$store/eager/mine"
mkdir "$store/eager/made"
echo made >"$store/eager/made/f"
mapped_is_new() { [ "$(ask 1 load f 0 3)" = new ]; }
wait_for 20 mapped_is_new
wait_for 20 test -e "$b/eager/made/f"
wait_for 20 test ! -e "$a/eager/gone"
# Looked at in the pool: opening would take over what is newer.
tree=$run/pool/containers/data/tree
is_new() { [ "$(cat "$tree/$1")" = new ]; }
wait_for 20 is_new eager/sub/f
wait_for 20 is_new lazy/one
same old "$(cat "$tree/eager/lazy/f")" "lazy in eager"
same old "$(cat "$tree/lazy/f")" "lazy"
same changed "$(cat "$a/eager/mine")" "changed here"
[ -z "$(ls "$tree/eager/unseen")" ] || fail "a directory that nobody looked into was imported"

# lazy again: nobody looks any more. A second thing that is eager shows when it would have.
setfattr -n user.vidas.update_policy -v lazy "$a/eager/sub"
echo newer >"$store/eager/sub/f"
echo newer >"$store/eager/f"
is_newer() { [ "$(cat "$tree/eager/f")" = newer ]; }
wait_for 20 is_newer
echo newest >"$store/eager/f"
is_newest() { [ "$(cat "$tree/eager/f")" = newest ]; }
wait_for 20 is_newest
same new "$(cat "$tree/eager/sub/f")"
helper_end 1
vidasd_stop
