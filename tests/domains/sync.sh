#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A container and its store over days, so to speak: trees, conflicts, a store that fails or is away, vidasd killed.
# vidas-presets: release asan
# vidas-timeout: 180
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
disk=$VIDAS_TMP/disk store=$VIDAS_TMP/disk/store

attr() { getfattr -n "user.vidas.$1" --only-values "$2" 2>/dev/null; }
equal() { diff -r --no-dereference "$a" "$store" >&2 || fail "$1: the store is not what the container is"; }
no_conflict() { [ -z "$(find "$a" "$store" -name '*vidas-conflict*')" ] || fail "a conflict was made up: $(ls -R "$store")"; }
# of files: name, size, mode, owner, time
facts() { (cd "$1" && find . -type f -printf '%P %s %m %U %G %T@\n' | sort); }

# The store is a file system of its own, which can be made read-only and full.
mkdir "$disk"
mount -t tmpfs -o size=32m none "$disk"
mkdir -p "$store/in/deep" "$store/empty"
for i in $(seq 20); do head -c $((i * 1500)) /dev/urandom >"$store/in/f$i"; done
echo found >"$store/in/deep/by-path"
head -c 5000000 /dev/urandom >"$store/in/big"
ln -s deep/by-path "$store/in/link"
chmod 640 "$store/in/f1"
chown 12:34 "$store/in/f2"
touch -d @981173106.123456789 "$store/in/f3"

two_domains_rooted "$store"

# What was in the store before: seen at once, fetched when it is read.
same found "$(cat "$b/in/deep/by-path")"
same absent "$(attr state "$a/in/f20")"
same "$(facts "$store")" "$(facts "$a")" "what stat tells of files that are not here yet"
same absent "$(attr state "$a/in/f20")" "looking at a file must not fetch it"
same "$(md5sum <"$store/in/f20")" "$(md5sum <"$a/in/f20")"
same "$(md5sum <"$store/in/f20")" "$(md5sum <"$b/in/f20")"
same clean "$(attr state "$b/in/f20")"
if passthrough_possible; then
	helper 2
	same "" "$(ask 2 open m rw "$b/in/big")"
	same "" "$(ask 2 map m 5000000)"
	same "$(tail -c 40 "$store/in/big" | md5sum)" "$(tail -c 40 "$a/in/big" | md5sum)"
	echo beginning | dd of="$a/in/big" conv=notrunc status=none
	same beginning "$(ask 2 load m 0 9)" "a mapping of a file that was fetched"
	same "" "$(ask 2 unmap m)"
	same "" "$(ask 2 close m)"
	helper_end 2
fi
same "$(facts "$store" | grep -v big)" "$(facts "$b" | grep -v big)" "what stat tells of files that are here"

# A tree: written, renamed, deleted, flushed.
mkdir -p "$a/out/x/y"
head -c 3000000 /dev/urandom >"$a/out/bytes"
sync "$b/out/bytes"
same "$(md5sum <"$a/out/bytes")" "$(md5sum <"$store/out/bytes")" "what fsync left in the store"
for i in $(seq 30); do echo "$i" >"$b/out/x/y/$i"; done
ln -s x/y "$a/out/link"
vidas flush "$a"
equal "a new tree"
mv "$a/out/x/y" "$a/out/moved"
mv "$b/in/f5" "$b/in/f6"
mv "$b/in/f7" "$b/out/f7"
mv "$a/in/f8" "$a/out/f8" && mkdir "$a/in/f8" && echo inside >"$a/in/f8/f"
rm "$b/in/f9" "$a/out/moved/1" "$a/in/link"
rm -r "$a/in/deep"
ln -sfn moved "$a/out/link"
chmod 600 "$b/in/f10"
rmdir "$a/empty"
vidas flush "$a"
equal "renamed and deleted"
same "$(facts "$a")" "$(facts "$store")"
no_conflict

# Several names of one file are so in the store, and what is renamed stays the file that it was there.
ln "$a/out/bytes" "$a/out/bytes2"
mv "$a/in/f6" "$a/in/renamed"
inode=$(stat -c %i "$store/in/f6")
vidas flush "$a"
[ "$store/out/bytes" -ef "$store/out/bytes2" ] || fail "two files in the store for two names of one"
same "$inode" "$(stat -c %i "$store/in/renamed")" "the file in the store after a rename"
echo more >>"$b/out/bytes2"
vidas flush "$a"
[ "$store/out/bytes" -ef "$store/out/bytes2" ] || fail "two files in the store after a write to one name"
rm "$b/out/bytes"
vidas flush "$a"
equal "names of one file"
no_conflict

# What others changed in the store.
echo "by others" >"$store/in/f11"
rm "$store/in/f12"
mkdir "$store/new" && echo "new there" >"$store/new/file"
vidas update "$a"
equal "taken over"
same "new there" "$(cat "$b/new/file")"
echo mine >"$b/in/f13"
echo theirs >"$store/in/f13"
refuses 1 vidas update "$a/in/f13" 2>err
grep -q "busy" err || fail "an update over changes says: $(cat err)"
vidas flush "$a/in/f13"
same mine "$(cat "$store/in/f13")"
same theirs "$(cat "$store"/in/f13.vidas-conflict-*)"
same theirs "$(cat "$b"/in/f13.vidas-conflict-*)"
same conflict "$(attr state "$a/in/f13")"
rm "$a"/in/f13.vidas-conflict-*
echo solved >"$a/in/f13"
vidas flush "$a"
same clean "$(attr state "$a/in/f13")"
equal "a conflict that was solved"

# Policies: closing pushes, opening looks.
mkdir "$a/through"
setfattr -n user.vidas.write_policy -v through "$a/through"
setfattr -n user.vidas.update_policy -v eager "$a/in"
echo closed >"$b/through/f"
same closed "$(cat "$store/through/f")"
same solved "$(cat "$b/in/f13")"
echo "newer there" >"$store/in/f13"
same "newer there" "$(cat "$b/in/f13")"

# A store that is read-only: the error is with the file until a push succeeds.
mount -o remount,ro "$disk"
helper 1
same "" "$(ask 1 open t rwc "$a/through/g")"
same 4 "$(ask 1 write t 0 text)"
same "error EROFS" "$(ask 1 close t)" "closing a file that cannot be pushed"
helper_end 1
echo later >"$b/through-not"
refuses any sync "$b/through-not" 2>/dev/null
refuses 1 vidas flush "$a" 2>/dev/null
for f in through/g through-not; do
	attr error "$b/$f" | grep -qi "read-only" || fail "error of $f: '$(attr error "$b/$f")'"
	same dirty "$(attr state "$b/$f")"
done
mount -o remount,rw "$disk"
vidas flush "$a"
same "" "$(attr error "$b/through/g")$(attr error "$b/through-not")" "errors of files that were pushed since"
equal "pushed later"

# A store that is away: what is here can be used, and nothing is taken for deleted.
vidasd_stop
mv "$store" "$disk/away"
vidasd_start
echo meanwhile >"$a/meanwhile"
same closed "$(cat "$a/through/f")"
refuses any cat "$a/in/f13" 2>/dev/null
begin=$SECONDS
refuses any sync "$a/meanwhile" 2>err
refuses 1 vidas update "$a" 2>/dev/null
attr error "$a/meanwhile" | grep -q "$store" || fail "error: '$(attr error "$a/meanwhile")'"
[ $((SECONDS - begin)) -lt 60 ] || fail "it took $((SECONDS - begin)) seconds to see that the store is away"
mv "$disk/away" "$store"
vidas flush "$a"
same "" "$(attr error "$a/meanwhile")"
equal "back again"

# The directory is removed while vidasd has it open, and is there again.
cp -a "$store" "$disk/copy"
rm -r "$store"
refuses 1 vidas update "$a" 2>/dev/null
same meanwhile "$(cat "$b/meanwhile")" "what is here, when the root of the store is gone"
mv "$disk/copy" "$store"
vidasd_stop

# Killed in the middle of a flush, again and again, the files changing in between.
many=$a/many
vidasd_start
mkdir "$many"
for round in 1 2 3 4; do
	vidasd_stop
	vidasd_start --filters "retry,fault=rate:0%+delay:4ms"
	for i in $(seq 500); do echo "$round of $i" >"$many/$i"; done
	[ $round != 3 ] || for i in $(seq 3 5 500); do rm "$many/$i"; done
	[ $round != 4 ] || chmod 600 "$many"/*1
	vidas flush "$a" 2>/dev/null &
	flush=$!
	some() { [ "$(cd "$store/many" && cat -- * | grep -c "^$round")" -ge $((40 * round)) ]; }
	wait_for 30 some
	vidasd_kill
	vidasd_start
	wait $flush || true
done
same 500 "$(ls "$many" | wc -l)"
vidas flush "$a"
find "$store" -name '.vidas-put-*' -delete # of a put that was killed
equal "killed while it was flushed"
same "$(facts "$a")" "$(facts "$store")"
no_conflict
vidasd_stop
