#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-presets: release asan
# vidas-net: own
# vidas-needs: s3
# An s3:// root under vidasd, with a server that takes its time: the progress of a flush is told; no secret is in what domains,
# administrators and processes of the host can see.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
need python3 getfattr
"$VIDAS_SRC/tests/backend/s3/fake.py" "$VIDAS_TMP/port" &
wait_for 10 test -s "$VIDAS_TMP/port"
export AWS_EC2_METADATA_DISABLED=true HOME=$VIDAS_TMP
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE http_proxy
a=$VIDAS_TMP/1

AWS_ACCESS_KEY_ID=TheKey AWS_SECRET_ACCESS_KEY=TheSecretItself AWS_SESSION_TOKEN=TheTokenItself \
	vidasd_start --log-level debug 2>/dev/null || fail "vidasd does not start"
domain_add 1
admin container create data --root "s3://slow/p?endpoint=http://127.0.0.1:$(cat "$VIDAS_TMP/port")&timeout=10" --domains 1
domain_mount 1 "$a"
a=$a/data

# The server takes 10 MiB a second, for each of its connections.
head -c 40000000 /dev/urandom >"$a/large"
vidas flush --progress "$a/large" 2>"$VIDAS_TMP/said" || fail "flush: $(cat "$VIDAS_TMP/said")"
grep -q "^$a/large: [0-9]* of 38 MiB$" "$VIDAS_TMP/said" || fail "no progress: $(cat "$VIDAS_TMP/said")"
sed -n 's/.*: \([0-9]*\) of .*/\1/p' "$VIDAS_TMP/said" | sort -nc || fail "it goes backwards: $(cat "$VIDAS_TMP/said")"
same clean "$(getfattr --only-values -n user.vidas.state "$a/large")" "its state"

# Another client puts a newer one, which comes at 5 MB a second and connection, eight of them for each 64 MiB.
head -c 100000000 /dev/urandom >"$VIDAS_TMP/newer"
AWS_ACCESS_KEY_ID=TheKey AWS_SECRET_ACCESS_KEY=x VIDAS_BACKEND_DIR=$VIDAS_BUILD/lib/vidas/backends "$VIDAS_BUILD/tests/backend/s3call" \
	"s3://slow/p?endpoint=http://127.0.0.1:$(cat "$VIDAS_TMP/port")" putfile large "$VIDAS_TMP/newer" 2>/dev/null
vidas update --progress "$a/large" 2>"$VIDAS_TMP/said" || fail "update: $(cat "$VIDAS_TMP/said")"
grep -q "^$a/large: 64 of 95 MiB$" "$VIDAS_TMP/said" || fail "no progress: $(cat "$VIDAS_TMP/said")"
cmp "$a/large" "$VIDAS_TMP/newer" || fail "an update did not bring what another client put"
refuses 1 grep -q "ed [0-9]* of" <<<"$(getfattr --only-values -n user.vidas.locality "$a/large")"

# What anybody could read. (The environment of vidasd is for root and its own user alone.)
{
	tr '\0' ' ' <"/proc/$vidasd/cmdline"
	cat "/proc/$vidasd/comm" "$VIDAS_TMP/vidasd.log" "$VIDAS_TMP/vidasfs.log"
	admin status
	admin --json status
	vidas --json stat "$a" "$a/large"
	for x in name root state error etag locality; do getfattr --only-values -n "user.vidas.$x" "$a/large" "$a" 2>&1 || :; done
	find "$run" -type f -size -1000k ! -path "*/pool/*/large" -exec cat {} +
} >"$VIDAS_TMP/seen" 2>&1
grep -aq "s3://slow/p" "$VIDAS_TMP/seen" || fail "the root's URL should be there"
! grep -aq "TheSecretItself\|TheTokenItself" "$VIDAS_TMP/seen" || fail "a secret is shown"
refuses 1 admin container create open --root "s3://TheKey:TheSecretItself@slow/p" --domains 1 2>"$VIDAS_TMP/said"
! grep -q TheSecretItself "$VIDAS_TMP/said" "$VIDAS_TMP/vidasd.log" || fail "a secret of a URL is repeated"
