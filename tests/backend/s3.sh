#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-net: own
# vidas-timeout: 900
# vidas-needs: s3
# Two real S3 servers: the conformance suite, signed by version 4 and by version 2, alone and (on the quicker one) under
# filters that let calls fail; what one request cannot do; s3fs and rclone beside us.
. "$VIDAS_SRC/tests/lib/test.sh"
export VIDAS_BACKEND_DIR=$VIDAS_BUILD/lib/vidas/backends AWS_EC2_METADATA_DISABLED=true
ran=0 port=23080 reasons= pids=
trap 'kill -9 $pids 2>/dev/null || :' EXIT
suite=$VIDAS_BUILD/tests/backend/conformance

# copied STEP: MiB that the server copied, of 43, in the put of that step
copied() { sed -n "/^step: $1$/,/^step/s/.*: again: \([0-9]*\) of .*/\1/p" "$VIDAS_TMP/large"; }

# Copies and renames in parts, only the changed parts of a put, many names deleted at once.
large() {
	"$VIDAS_BUILD/tests/backend/s3large" "s3://vidastest/large?endpoint=$S3_ENDPOINT&region=$S3_REGION&part=5&single=16&atomic=10$1" \
		>"$VIDAS_TMP/large" 2>&1 || fail "$(cat "$VIDAS_TMP/large")"
	same "38" "$(copied "one byte")" "MiB that were copied after one byte was changed"
	same "35" "$(copied shorter)" "MiB that were copied when the file was cut short"
	same "35" "$(copied longer)" "MiB that were copied when it grew"
	same "38" "$(copied fetched)" "MiB that were copied of what another process had put"
	same "38" "$(sed -n '/^step: guarded$/,/^step/s/.*: guarded: \([0-9]*\) of .*/\1/p' "$VIDAS_TMP/large" | head -n 1)" \
		"MiB that were copied by a put under a condition"
}

on_server() (
	set -a
	# shellcheck disable=SC1090
	. "$VIDAS_TMP/$1/env"
	set +a
	root="s3://vidastest/of+all/t h e m?endpoint=$S3_ENDPOINT&region=$S3_REGION"
	"$suite" "$root"
	large ""
	vidas backend test "$root&auth=v2"
	[ "$1" = radosgw ] || exit 0
	"$suite" "$root&auth=v2"
	"$suite" "$root" "retry=tries:12+first:1ms,fault=rate:5%"
	"$VIDAS_SRC/tests/backend/s3/peers.sh"
)

for server in radosgw swift; do
	if why=$("$VIDAS_SRC/tests/servers/$server" missing); then
		reasons+="$server: $why; "
		continue
	fi
	"$VIDAS_SRC/tests/servers/$server" start "$VIDAS_TMP/$server" $port
	pids+=" $(xargs <"$VIDAS_TMP/$server/pids")"
	on_server $server
	port=$((port + 10)) ran=$((ran + 1))
done
[ $ran -gt 0 ] || skip "$reasons"
[ -z "$reasons" ] || echo "not run: $reasons"
