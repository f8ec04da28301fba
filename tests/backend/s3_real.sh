#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-net: own
# vidas-needs: s3
# vidas-timeout: 300
# s3:// and a real server (radosgw) in a network namespace of its own: words for all that is configured wrong, TLS, proxies,
# virtual hosts, wrong clocks; the server killed, the connection cut, a slow line.
. "$VIDAS_SRC/tests/lib/test.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
need openssl ip tc
why=$("$VIDAS_SRC/tests/servers/radosgw" missing) && skip "$why"
export VIDAS_BACKEND_DIR=$VIDAS_BUILD/lib/vidas/backends AWS_EC2_METADATA_DISABLED=true HOME=$VIDAS_TMP
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_SHARED_CREDENTIALS_FILE http_proxy https_proxy no_proxy
call=$VIDAS_BUILD/tests/backend/s3call
dir=$VIDAS_TMP/radosgw port=23180 tls=23190
ip link set lo up
echo "127.0.0.1 localhost s3.localhost" >"$VIDAS_TMP/hosts" # for proxies
mount --bind "$VIDAS_TMP/hosts" /etc/hosts
"$VIDAS_SRC/tests/servers/radosgw" start "$dir" $port
others=()
trap 'for p in ${others+"${others[@]}"}; do kill $p 2>/dev/null || :; done; kill -9 $(cat "$dir/pids") 2>/dev/null || :' EXIT
set -a
# shellcheck disable=SC1091
. "$dir/env"
set +a
params="region=$S3_REGION"
root="s3://vidastest/real?endpoint=$S3_ENDPOINT&$params"

# A second gateway on the same objects: with TLS, and buckets as hosts below "s3.localhost".
tls() {
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout "$VIDAS_TMP/ca.key" -out "$VIDAS_TMP/ca.pem"
	openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$VIDAS_TMP/tls.key" -out "$VIDAS_TMP/tls.csr"
	openssl x509 -req -in "$VIDAS_TMP/tls.csr" -CA "$VIDAS_TMP/ca.pem" -CAkey "$VIDAS_TMP/ca.key" -CAcreateserial -days 2 \
		-extfile <(echo "subjectAltName=DNS:s3.localhost,DNS:*.s3.localhost") -out "$VIDAS_TMP/tls.pem"
} >"$VIDAS_TMP/openssl.out" 2>&1
tls
radosgw -c "$dir/ceph.conf" -n client.tls -f --rgw-dns-name=s3.localhost --rgw-frontends \
	"beast ssl_endpoint=127.0.0.1:$tls ssl_certificate=$VIDAS_TMP/tls.pem ssl_private_key=$VIDAS_TMP/tls.key endpoint=127.0.0.1:$((tls + 1))" \
	>"$VIDAS_TMP/tls.out" 2>&1 &
others+=($!)
wait_for 60 curl -sk -o /dev/null "https://localhost:$tls/"

# bad WORDS URL: what `vidas backend test` says
bad() {
	refuses 1 vidas backend test "$2" >"$VIDAS_TMP/out" 2>&1
	grep -q "^FAILED.*$1" "$VIDAS_TMP/out" || fail "no '$1' in: $(cat "$VIDAS_TMP/out")"
	! grep -q "$AWS_SECRET_ACCESS_KEY" "$VIDAS_TMP/out" || fail "the secret is shown"
}

# works URL: one small object there and back
works() { "$call" "$1" putget small text >"$VIDAS_TMP/out" 2>&1 || fail "$1: $(cat "$VIDAS_TMP/out")"; }

# Words.
vidas backend test "$root" >"$VIDAS_TMP/out" 2>&1 || fail "$(cat "$VIDAS_TMP/out")"
grep -q "conditional puts  *obeyed" "$VIDAS_TMP/out" || fail "$(cat "$VIDAS_TMP/out")"
grep -q "If-Match on PUT  *obeyed, but not of uploads in parts: over 64 MiB" "$VIDAS_TMP/out" || fail "$(cat "$VIDAS_TMP/out")"
AWS_SECRET_ACCESS_KEY=other-secret bad "secret key is wrong" "$root"
AWS_ACCESS_KEY_ID=NOSUCHKEY bad "does not know this access key" "$root"
AWS_ACCESS_KEY_ID='' bad "no keys" "$root"
bad "no such bucket" "s3://nosuchbucket/x?endpoint=$S3_ENDPOINT&$params"
bad "no connection to the server.*ENOTCONN" "s3://vidastest/x?endpoint=http://127.0.0.1:9&$params&retries=0"
bad "no connection to the server" "s3://vidastest/x?endpoint=http://10.9.9.9:80&$params&retries=0"
bad "server's name is not known" "s3://vidastest/x?endpoint=http://no.such.host.invalid&$params&retries=0"
radosgw-admin -c "$dir/ceph.conf" user create --uid=reader --display-name=reader --access-key=READER --secret-key=reader-secret \
	>"$VIDAS_TMP/reader.out" 2>&1
AWS_ACCESS_KEY_ID=READER AWS_SECRET_ACCESS_KEY=reader-secret bad "access denied" "$root"

# Servers that swallow packets: the limits of the URL hold.
ip link add vidas0 type veth peer name vidas1
ip addr add 10.9.9.1/24 dev vidas0
ip link set vidas0 up
ip link set vidas1 up
ip neigh add 10.9.9.9 lladdr 02:00:00:00:00:09 dev vidas0
begin=$SECONDS
bad "did not answer in time.*ETIMEDOUT" "s3://vidastest/x?endpoint=http://10.9.9.9:80&$params&retries=0&connect=2"
[ $((SECONDS - begin)) -lt 30 ] || fail "connect=2 took $((SECONDS - begin)) s"

begin=$SECONDS
AWS_EC2_METADATA_DISABLED='' AWS_EC2_METADATA_SERVICE_ENDPOINT=http://10.9.9.9 AWS_ACCESS_KEY_ID='' \
	bad "no keys.*metadata" "$root"
[ $((SECONDS - begin)) -lt 30 ] || fail "a metadata service that is away took $((SECONDS - begin)) s"

# TLS: only what the CA vouches for; virtual hosts.
bad "certificate is not trusted" "s3://vidastest/x?endpoint=https://s3.localhost:$tls&$params&retries=0"
works "s3://vidastest/tls?endpoint=https://s3.localhost:$tls&$params&cafile=$VIDAS_TMP/ca.pem"
bad "certificate" "s3://vidastest/tls?endpoint=https://127.0.0.1:$tls&$params&cafile=$VIDAS_TMP/ca.pem&retries=0"
bad "reach" "s3://vidastest/tls?endpoint=http://s3.localhost:$tls&$params&retries=0"
works "s3://vidastest/virtual?endpoint=https://s3.localhost:$tls&$params&cafile=$VIDAS_TMP/ca.pem&style=virtual"
works "s3://vidastest/virtual?endpoint=http://s3.localhost:$((tls + 1))&$params&style=virtual"
works "s3://vidastest/virtual?endpoint=http://s3.localhost:$((tls + 1))&$params&style=virtual&auth=v2"

# A clock that is hours off is found out and lived with.
if command -v faketime >/dev/null; then
	FAKETIME_DONT_FAKE_MONOTONIC=1 faketime -f +2h vidas backend test "$root" >"$VIDAS_TMP/out" 2>&1 || fail "$(cat "$VIDAS_TMP/out")"
	grep -q "clock  *the server's is 7[12].. s behind ours" "$VIDAS_TMP/out" || fail "no clock: $(cat "$VIDAS_TMP/out")"
	FAKETIME_DONT_FAKE_MONOTONIC=1 faketime -f +3h "$call" "$root" putget clock text >"$VIDAS_TMP/out" 2>&1 ||
		fail "$(cat "$VIDAS_TMP/out")"
	grep -q "clock differs from ours by -10[78].. s" "$VIDAS_TMP/out" || fail "no word of the clock: $(cat "$VIDAS_TMP/out")"
	FAKETIME_DONT_FAKE_MONOTONIC=1 faketime -f -3h "$call" "$root&auth=v2" putget clock text >"$VIDAS_TMP/out" 2>&1 ||
		fail "$(cat "$VIDAS_TMP/out")"
fi

# Proxies, by the environment as everywhere; a proxy that refuses.
if command -v tinyproxy >/dev/null; then
	printf '%s\n' "Port 23195" "Listen 127.0.0.1" "Allow 127.0.0.1" "ConnectPort $tls" "Timeout 60" "LogLevel Connect" \
		"LogFile \"$VIDAS_TMP/proxy.log\"" "PidFile \"$VIDAS_TMP/proxy.pid\"" >"$VIDAS_TMP/proxy.conf"
	proxy() {
		tinyproxy -d -c "$VIDAS_TMP/proxy.conf" >"$VIDAS_TMP/proxy.out" 2>&1 &
		others+=($!)
		wait_for 10 curl -s -o /dev/null "http://127.0.0.1:23195/"
	}
	proxy
	http_proxy=http://127.0.0.1:23195 works "$root"
	https_proxy=http://127.0.0.1:23195 works "s3://vidastest/p?endpoint=https://s3.localhost:$tls&$params&cafile=$VIDAS_TMP/ca.pem"
	grep -q "PUT.*/vidastest/real/small" "$VIDAS_TMP/proxy.log" || fail "the proxy saw no PUT"
	grep -q "CONNECT.*s3.localhost:$tls" "$VIDAS_TMP/proxy.log" || fail "the proxy saw no CONNECT"
	https_proxy=http://127.0.0.1:23195 bad "proxy\|CONNECT" "s3://vidastest/p?endpoint=https://s3.localhost:1&$params&retries=0"
fi

# A slow line, and on it a server that is killed in the middle: nothing is lost, nothing waits for ever.
tc qdisc add dev lo root tbf rate 80mbit burst 256k latency 500ms
head -c 20000000 /dev/urandom >"$VIDAS_TMP/data"
export S3CALL_FILTERS=retry=tries:20
restart() { # SECONDS: the gateway is killed after that time, and there again a second later
	sleep "$1"
	kill -9 "$(cat "$dir/gateway.pid")"
	sleep 1
	"$VIDAS_SRC/tests/servers/radosgw" gateway "$dir" $port
}
# through WHAT COMMAND...: with the command running it goes well all the same
through() {
	local what=$1 other
	shift
	"$@" &
	other=$!
	"$call" "$url" "$what" file "$VIDAS_TMP/$what" >"$VIDAS_TMP/out" 2>&1 || fail "$what: $(cat "$VIDAS_TMP/out")"
	wait $other
}
url="$root&timeout=5&connect=5"
ln -s data "$VIDAS_TMP/putfile"
begin=$SECONDS
through putfile restart 1
through getfile restart 1
cmp "$VIDAS_TMP/data" "$VIDAS_TMP/getfile" || fail "a get over a restart gave other bytes"
[ $((SECONDS - begin)) -lt 90 ] || fail "restarts took $((SECONDS - begin)) s"
if command -v tinyproxy >/dev/null; then
	cut_it() {
		local pid
		pid=$(cat "$VIDAS_TMP/proxy.pid")
		sleep 1
		kill -9 "$pid"
		wait_for 10 gone "$pid"
		sleep 1
		proxy
	}
	export http_proxy=http://127.0.0.1:23195
	rm "$VIDAS_TMP/getfile"
	through putfile cut_it
	through getfile cut_it
	cmp "$VIDAS_TMP/data" "$VIDAS_TMP/getfile" || fail "a get over a cut connection gave other bytes"
	kill -9 "$(cat "$VIDAS_TMP/proxy.pid")" 2>/dev/null || :
	unset http_proxy
fi

# A server that stays away: an errno and words, in time; what was there is there.
kill -9 "$(cat "$dir/gateway.pid")"
unset S3CALL_FILTERS
begin=$SECONDS
refuses 1 "$call" "$url&retries=1" putfile file "$VIDAS_TMP/data" >"$VIDAS_TMP/out" 2>&1
grep -q "^ENOTCONN" "$VIDAS_TMP/out" || fail "no ENOTCONN: $(cat "$VIDAS_TMP/out")"
[ $((SECONDS - begin)) -lt 60 ] || fail "a server that is away took $((SECONDS - begin)) s"
"$VIDAS_SRC/tests/servers/radosgw" gateway "$dir" $port
rm "$VIDAS_TMP/getfile"
"$call" "$url" getfile file "$VIDAS_TMP/getfile" >"$VIDAS_TMP/out" 2>&1 || fail "$(cat "$VIDAS_TMP/out")"
cmp "$VIDAS_TMP/data" "$VIDAS_TMP/getfile" || fail "what was put is not there"
