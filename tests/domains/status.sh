#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the administrator sees when all is well, and when it is not: vidas status, vidas doctor.
# vidas-presets: release asan
# Processes of its own, so that doctor sees no other vidasfs.
[ "${VIDAS_INNER:-}" ] || VIDAS_INNER=1 exec unshare --pid --fork --kill-child --mount --mount-proc bash "$0"
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
disk=$VIDAS_TMP/disk store=$VIDAS_TMP/disk/store
# The value of a Python expression over what `vidas --json $1` prints as j.
json() { admin --json "$1" | python3 -c "import json, sys; j = json.load(sys.stdin); print($2)"; }
container() { json status "[c for c in j['containers'] if c['name'] == '$1'][0]['push']$2"; }
field() { container data ".get('$1')"; }
is() { [ "$(field "$1")" = "$2" ]; }
lines() { admin status | grep -A9 "^container data" | grep -c "^  " || true; }
verdict() { json doctor "[c['verdict'] for c in j if c['check'] == '$1'][0]"; }
found() { json doctor "[c['found'] + c['mend'] for c in j if c['check'] == '$1'][0]"; }

mkdir "$disk"
mount -t tmpfs -o size=32m none "$disk"
mkdir "$store"
for i in 1 2 3; do echo "$i" >"$store/$i"; done
two_domains_rooted "$store"
admin container create plain --domains 1
cat "$a"/? >/dev/null
same 0 "$(lines)" "lines about a container that owes nothing"
same None "$(container plain "")"
same ok "$(verdict pushes)"
same ok "$(verdict keepers)"

# Owed, until it is pushed.
mkdir "$a/dir"
head -c 10000 /dev/zero >"$a/dir/file"
ln "$a/dir/file" "$a/dir/again"
echo more >>"$b/1"
chmod 600 "$b/2"
rm "$a/3"
mkfifo "$a/pipe"
same "5 1 True 0" "$(field changed) $(field removed) $(field whole) $(field failed)" "what is owed"
[ "$(field bytes)" -ge 20000 ] || fail "$(field bytes) bytes owed"
admin status | grep -q "not pushed: 5 changed (20 KiB), 1 removed" || fail "$(admin status)"
oldest() { [ "$(field oldest_seconds)" != None ] && [ "$(field oldest_seconds)" -ge 1 ]; }
wait_for 10 oldest
vidas flush "$a"
same 0 "$(lines)" "lines about a container that was flushed"

# The store does not take it: how many, for how long, and why.
mount -o remount,ro "$disk"
setfattr -n user.vidas.write_deadline -v 1s "$a"
echo other >"$a/dir/file"
fails() { [ "$(field failed)" -ge 1 ] && [ "$(field failing_seconds)" != None ]; }
wait_for 20 fails
field error | grep -qi "read-only" || fail "the reason: $(field error)"
admin status | grep -qi "cannot be pushed: .*read-only" || fail "$(admin status)"
same degraded "$(verdict pushes)"
found pushes | grep -q "data.*Read-only.*vidas backend test file://$store" || fail "$(found pushes)"
mount -o remount,rw "$disk"
wait_for 30 is changed 0
wait_for 10 is failed 0
wait_for 10 is error None
same ok "$(verdict pushes)"

# Changed on both sides.
setfattr -n user.vidas.write_policy -v back "$a"
echo mine >"$a/1"
echo theirs >"$store/1"
vidas flush "$a/1"
same 1 "$(field conflicts)"
admin status | grep -q "conflicts: 1 kept" || fail "$(admin status)"
found pushes | grep -q "vidas-conflict" || fail "$(found pushes)"
rm "$a"/1.vidas-conflict-*
vidas flush "$a"
same ok "$(verdict pushes)"
# What nobody pushes unasked is owed, too.
echo later >"$a/1"
same 1 "$(field changed)"

# A vidasfs whose keeper died.
keeper=$(awk '$1 == "PPid:" { print $2 }' "/proc/$(domain_pid "$VIDAS_TMP/1")/status")
kill -KILL "$keeper"
wait_for 5 gone "$keeper"
same degraded "$(verdict keepers)"
found keepers | grep -q "^vidasfs $(domain_pid "$VIDAS_TMP/1") has no keeper" || fail "$(found keepers)"
