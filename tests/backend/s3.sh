#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-net: own
# vidas-timeout: 900
# vidas-needs: s3
# The conformance suite on two real S3 servers, signed by version 4 and by version 2, alone and (on the quicker one) under filters that let calls fail.
. "$VIDAS_SRC/tests/lib/test.sh"
export VIDAS_BACKEND_DIR=$VIDAS_BUILD/lib/vidas/backends AWS_EC2_METADATA_DISABLED=true
ran=0 port=23080 reasons= s=
running=()
trap 'for s in ${running+"${running[@]}"}; do "$VIDAS_SRC/tests/servers/$s" stop "$VIDAS_TMP/$s"; done' EXIT

suite() { # SERVER PARAMETERS [FILTERS]
	(
		set -a
		# shellcheck disable=SC1090
		. "$VIDAS_TMP/$1/env"
		"$VIDAS_BUILD/tests/backend/conformance" \
			"s3://vidastest/of+all/t h e m?endpoint=$S3_ENDPOINT&region=$S3_REGION$2" ${3+"$3"}
	)
}

for server in radosgw swift; do
	if why=$("$VIDAS_SRC/tests/servers/$server" missing); then
		reasons+="$server: $why; "
		continue
	fi
	running+=("$server")
	"$VIDAS_SRC/tests/servers/$server" start "$VIDAS_TMP/$server" $port
	suite "$server" ""
	suite "$server" "&auth=v2"
	[ $server = swift ] || suite "$server" "" "retry=tries:12+first:1ms,fault=rate:5%"
	port=$((port + 10)) ran=$((ran + 1))
done
[ $ran -gt 0 ] || skip "$reasons"
[ -z "$reasons" ] || echo "not run: $reasons"
