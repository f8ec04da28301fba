#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas fsck: a pool after work and kills is clean, also while it is in use; planted damage is found, said in one line,
# and repaired where that loses nothing.
# vidas-presets: release asan
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
store=$VIDAS_TMP/store a=$VIDAS_TMP/1 pool=$VIDAS_TMP/run/pool
data=$pool/containers/data plain=$pool/containers/plain

fsck() { # STATUS OPTION...: its output is in `out`
	local status=$1 got=0
	shift
	vidas fsck --pool "$pool" "$@" >out 2>err || got=$?
	same "$status" "$got" "exit status of fsck $* ($(cat out err))"
}
says() { grep -qF -- "$1" out || fail "fsck does not say '$1' but: $(cat out err)"; }

mkdir -p "$store/deep"
for i in 1 2 3 4 5 6 7 8 9; do echo "in the store $i" >"$store/deep/$i"; done
vidasd_start
domain_add 1
admin container create data --root "file://$store" --domains 1
domain_mount 1 "$a"
mkdir "$a/plain"
setfattr -n user.vidas.write_policy -v back "$a/data"
echo text >"$a/plain/file"
cat "$a/data/deep/1" "$a/data/deep/2" >/dev/null
for i in 1 2 3 4; do echo "new $i" >"$a/data/new$i"; done
ln "$a/data/new1" "$a/data/again"
mkfifo "$a/data/pipe"
vidas flush "$a/data"
rm "$a/data/new2" "$a/data/deep/3"
mv "$a/data/deep/4" "$a/data/moved"
mv "$a/data/deep" "$a/data/deeper"
echo changed >"$a/data/new3"

# Of two names, and could have been written by a mapping: only its bytes tell that it was not.
echo "new 1" 1<>"$a/data/new1"
vidas flush "$a/data"
# In use, killed, stopped: never a problem.
fsck 0 --data
says "in use: 0 problems, 0 leftovers"
says "container data: 12 files"
says "container plain: 1 files, 0 of them in the store only, 0 not pushed"
refuses 8 vidas fsck --pool "$pool" --repair 2>err
grep -q "stop it first" err || fail "repair in use: $(cat err)"
vidas flush "$a/data" &
flush=$!
vidasd_kill
fsck 0 --data
says ": 0 problems"
vidasd_start
wait $flush || true
vidas flush "$a/data"
domain_umount "$a"
vidasd_stop
fsck 0 --data
says ": 0 problems"
says "container data: 12 files, 6 of them in the store only, 0 not pushed"
same 1 "$(grep -c "container data" out)"
says "trash: "
refuses 16 vidas fsck --colour 2>/dev/null
refuses 8 vidas fsck --pool "$store" 2>err
grep -q "is no VIDAS pool" err || fail "no pool: $(cat err)"

# Damage, of each kind.
echo x >"$pool/letter"
echo '{}}' >"$pool/domains/77"
echo x >"$pool/trash/mine"
echo x >"$data/stray"
echo x >"$data/.meta.new"
echo x >"$data/stage/new-7"
printf spoilt | dd of="$data/leases" conv=notrunc status=none
echo junk >"$data/control/nonsense"
head -c 53248 /dev/zero >"$data/control/4711"
printf '\x56\x49\x44\x41\x53\x43\x54\x4c\x01\x00\x00\x00\x01\x00\x00\x00\xff\xff\xff\x7f\x00\x00\x00\x00' |
	dd of="$data/control/4711" conv=notrunc status=none
setfattr -n trusted.vidas.known -v rubbish "$data/known/deeper/1"
: >"$data/known/unfinished"
setfattr -n trusted.vidas.absent -v ../../etc "$data/tree/deeper/5"
setfattr -n trusted.vidas.pushed -v /abs "$data/tree/new1"
setfattr -n trusted.vidas.begun -v /abs "$data/tree/deeper/6"
setfattr -n trusted.vidas.begun -v deeper/1 "$data/tree/deeper/1"
setfattr -n trusted.vidas.gone -v 1 "$data/tree/new3"
setfattr -n trusted.vidas.absent -v deeper "$data/tree/deeper"
setfattr -n user.vidas.write_policy -v sometimes "$data/tree/moved"
touch -r "$data/tree/new4" stamp
printf 'NEW 4' | dd of="$data/tree/new4" conv=notrunc status=none
touch -r stamp "$data/tree/new4"
setfattr -n trusted.vidas.absent -v file "$plain/tree/file"
echo '{"initiator"' >"$plain/meta"

fsck 4 --data
says "letter: does not belong into a pool"
says "domains/77: is no record of a domain"
says "trash/mine: does not belong here"
says "containers/data/stray: does not belong here"
says "containers/data/.meta.new: left by a vidasd killed"
says "containers/data/stage/new-7: was on its way into the tree"
says "containers/data/leases: a domain, or an older version, has left it with a wrong head"
says "containers/data/control/nonsense: is no control file"
says "containers/data/control/4711: belongs to inode 2147483647, which is not in the tree"
says "containers/data/known/deeper/1: a record of what the store has is damaged"
says "containers/data/known/unfinished: a record that was not finished"
says "containers/data/tree/deeper/5: is in the store only, but under which key is damaged"
says "containers/data/tree/new1: the key under which it was pushed is damaged"
says "containers/data/tree/deeper/6: the key under which it was pushed is damaged"
says "containers/data/tree/deeper/1: its first push is said to be under way, and was done"
says "containers/data/tree/new3: was about to be removed"
says "containers/data/tree/deeper: its entries are said to be here, and to be in the store only"
says "containers/data/tree/moved: user.vidas.write_policy is set to what is no value of it"
says "containers/data/tree/new4: has other bytes than were pushed or fetched last"
says "containers/plain/meta: cannot be read"
says "containers/plain/tree/file: is said to be in the store only, but the container has no root"
says ": 16 problems, 6 leftovers"

# What repair leaves is for the administrator.
fsck 4 --data --repair
says "repaired"
rm "$pool/letter" "$pool/domains/77" "$pool/trash/mine" "$data/stray"
touch "$data/tree/new4"
setfattr -x trusted.vidas.absent "$plain/tree/file"
echo '{"initiator": 1, "domains": []}' >"$plain/meta"
fsck 0 --data
says ": 0 problems"
fsck 0 --data --repair

# And the pool works; what the store has was not lost.
vidasd_start
domain_mount 1 "$a"
same text "$(cat "$a/plain/file")"
same "in the store 1" "$(cat "$a/data/deeper/1")"
same changed "$(cat "$a/data/new3")"
vidas flush "$a/data"
vidas update "$a/data"
for i in 1 2 5 6 7 8 9; do same "in the store $i" "$(cat "$a/data/deeper/$i")"; done
same "NEW 4" "$(cat "$store/new4")"
vidasd_stop
