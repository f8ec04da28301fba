#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# /vidas as in guests: mounts of two domains, each by an agent and a gate, which a socket joins here; with Xen's ring and
# grants it is tests/xen/mount.sh. Agent and gate die: the mount goes on with the next ones.
# vidas-timeout: 240
export VIDAS_TEST_TRANSPORT=xen
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

two_domains
for i in 1 2 3; do
	echo "$i" >"$a/f"
	same "$i" "$(cat "$b/f")"
	mv "$b/f" "$b/g"
	mv "$a/g" "$a/f"
done
head -c 5000001 /dev/urandom >"$VIDAS_TMP/random"
cp "$VIDAS_TMP/random" "$a/large"
cmp "$VIDAS_TMP/random" "$b/large"
cmp "$VIDAS_TMP/random" "$b/large"

# What is written in place by one is read in place by the other, who then cuts it.
helper 1
same "" "$(ask 1 open l rw "$a/large")"
same 5 "$(ask 1 write l 2000000 WRITE)"
same 5 "$(ask 1 write l 2000000 wrote)"
same wrote "$(head -c 2000005 "$b/large" | tail -c 5)"
same wrote "$(ask 1 read l 2000000 5)"
truncate -s 2000003 "$b/large"
same wro "$(ask 1 read l 2000000 5)"
same 2000003 "$(ask 1 size l)"
helper_end 1

# What the gate has counted: this mount alone, through which all of that went.
guest() { admin --json status | python3 -c "import json, sys; print([g for g in json.load(sys.stdin)['guests'] if g['domain'] == $1][0]['$2'])"; }
same 1 "$(guest 1 mounts)"
[ "$(guest 1 fs_requests)" -ge 20 ] && [ "$(guest 2 shares)" -ge 1 ] && [ "$(guest 2 payload_out)" -ge 5000 ] || fail "$(admin status)"
admin status | grep -q "^domain 1 comes by a gate: .* 1 mount(s)" || fail "$(admin status)"

agent=$(pgrep -f "vidas-agent --socket $VIDAS_TMP/xen1/agent")
gate=$(pgrep -o -f "vidas-gate .*--domain 1 ")
kill -KILL "$agent" "$gate"
wait_for 5 gone "$agent"
wait_for 5 gone "$gate"
rm -r "$VIDAS_TMP/xen1"
domain_address 1 >"$VIDAS_TMP/address"
same 3 "$(cat "$a/f")"
echo later >"$b/f"
same later "$(cat "$a/f")"
vidasd_kill
vidasd_start
echo again >"$a/f"
same again "$(cat "$b/f")"
domain_umount "$VIDAS_TMP/1"
domain_umount "$VIDAS_TMP/2"
vidasd_stop
