#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-presets: release
# vidas-net: own
# vidas-timeout: 300
# vidas-needs: nfs
# The conformance suite on a real NFS server, versions 3 and 4, alone and under filters that let calls fail.
. "$VIDAS_SRC/tests/lib/test.sh"
export VIDAS_BACKEND_DIR=$VIDAS_BUILD/lib/vidas/backends
ganesha=$VIDAS_SRC/tests/servers/ganesha
! why=$("$ganesha" missing) || skip "$why"
dir=$VIDAS_TMP/server
trap '"$ganesha" stop "$dir"' EXIT
"$ganesha" start "$dir" 22049
for version in 3 4; do
	url="$("$ganesha" url "$dir" $version)&timeout=30"
	"$VIDAS_BUILD/tests/backend/conformance" "$url"
	"$VIDAS_BUILD/tests/backend/conformance" "$url" "retry=tries:12+first:1ms,fault=rate:5%"
done
left=$(find "$dir/export" -mindepth 1 | head -n 3)
[ -z "$left" ] || fail "the suite left in the export: $left"
