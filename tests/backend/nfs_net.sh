#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-net: own
# vidas-timeout: 600
# vidas-needs: nfs
# The conformance suite over a net that is slow, and over one that fails for most of a second again and again. TCP repeats
# after pauses that double: where these cannot be bounded (before Linux 6.15) one may meet cut after cut, for minutes, so
# there the net is up for longer, and calls have longer. The server's side, which is the kernel's, is told by sysctl.
. "$VIDAS_SRC/tests/lib/test.sh"
need ip tc
export VIDAS_BACKEND_DIR=$VIDAS_BUILD/lib/vidas/backends
ganesha=$VIDAS_SRC/tests/servers/ganesha
! why=$("$ganesha" missing) || skip "$why"
net=vidas$$ dir=$VIDAS_TMP/server weather=
mount -t tmpfs none /run # the names of namespaces are there
ip netns add $net 2>/dev/null || skip "no network namespaces here"
end() {
	[ -z "$weather" ] || kill "$weather" 2>/dev/null || true
	"$ganesha" stop "$dir" || true
	ip netns del $net
}
trap end EXIT
ip link add $net type veth peer name $net netns $net 2>/dev/null || skip "no veth devices here"
ip addr add 10.213.77.1/30 dev $net
ip link set $net up
ip -n $net addr add 10.213.77.2/30 dev $net
ip -n $net link set $net up
ip -n $net link set lo up
export GANESHA_ADDRESS=10.213.77.2
timeout=30 up=0
if ! ip netns exec $net sysctl -q -w net.ipv4.tcp_rto_max_ms=1000 2>/dev/null; then
	timeout=60 up=1
fi
ip netns exec $net "$ganesha" start "$dir" 22249
# Both versions at once: most of the time is waiting.
both() {
	local version pids=()
	for version in 3 4; do
		"$VIDAS_BUILD/tests/backend/conformance" "$("$ganesha" url "$dir" $version)&timeout=$timeout" >"$VIDAS_TMP/v$version" 2>&1 &
		pids+=($!)
	done
	for version in 3 4; do
		wait "${pids[version - 3]}" || { cat "$VIDAS_TMP/v$version"; fail "version $version, $1"; }
	done
}

if tc qdisc add dev $net root tbf rate 80mbit burst 256k latency 200ms 2>/dev/null; then
	both "a slow net"
	tc qdisc del dev $net root
else
	echo "no tc tbf here: the slow net is not tried"
fi
while sleep $up.$((RANDOM % 9 + 1)); do
	ip -n $net link set $net down
	sleep 0.7
	ip -n $net link set $net up
done &
weather=$!
both "a net that fails"
kill $weather
weather=
