#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-net: own
# vidas-needs: s3
# vidas-timeout: 300
# What one request cannot do, on real servers: copies and renames in parts, only the changed parts of a put, many names
# deleted at once.
. "$VIDAS_SRC/tests/lib/test.sh"
export VIDAS_BACKEND_DIR=$VIDAS_BUILD/lib/vidas/backends AWS_EC2_METADATA_DISABLED=true
ran=0 port=23140 reasons=
running=()
trap 'for s in ${running+"${running[@]}"}; do "$VIDAS_SRC/tests/servers/$s" stop "$VIDAS_TMP/$s"; done' EXIT

# after STEP: what was copied in the put of that step
after() { sed -n "/^step: $1$/,/^step/s/.*: again: \([0-9]*\) of .*/\1/p" "$VIDAS_TMP/out"; }

for server in radosgw swift; do
	if why=$("$VIDAS_SRC/tests/servers/$server" missing); then
		reasons+="$server: $why; "
		continue
	fi
	running+=("$server")
	"$VIDAS_SRC/tests/servers/$server" start "$VIDAS_TMP/$server" $port
	(
		set -a
		# shellcheck disable=SC1090
		. "$VIDAS_TMP/$server/env"
		"$VIDAS_BUILD/tests/backend/s3large" \
			"s3://vidastest/large?endpoint=$S3_ENDPOINT&region=$S3_REGION&part=5&single=16"
	) >"$VIDAS_TMP/out" 2>&1 || fail "$server: $(cat "$VIDAS_TMP/out")"
	same "38" "$(after "one byte")" "MiB of 43 that $server copied after one byte was changed"
	same "35" "$(after shorter)" "MiB that $server copied when the file was cut short"
	same "35" "$(after longer)" "MiB that $server copied when it grew"
	same "38" "$(after fetched)" "MiB that $server copied of what another process had put"
	port=$((port + 10)) ran=$((ran + 1))
done
[ $ran -gt 0 ] || skip "$reasons"
[ -z "$reasons" ] || echo "not run: $reasons"
