#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# vidas-presets: release asan
# vidas-net: own
# vidas-timeout: 120
# vidas-needs: s3
# s3:// and a server that misbehaves (s3/fake.py), and credentials from all their sources (s3/imds.py).
. "$VIDAS_SRC/tests/lib/test.sh"
export VIDAS_BACKEND_DIR=$VIDAS_BUILD/lib/vidas/backends
need python3
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_PROFILE AWS_SESSION_TOKEN AWS_REGION AWS_DEFAULT_REGION AWS_SHARED_CREDENTIALS_FILE AWS_CONFIG_FILE http_proxy
export HOME=$VIDAS_TMP/home AWS_EC2_METADATA_DISABLED=true
mkdir -p "$HOME"

"$VIDAS_SRC/tests/backend/s3/fake.py" "$VIDAS_TMP/port" &
fake=$!
"$VIDAS_SRC/tests/backend/s3/imds.py" "$VIDAS_TMP/imds-port" "$VIDAS_TMP/imds-log" &
imds=$!
trap 'kill $fake $imds' EXIT
wait_for 10 test -s "$VIDAS_TMP/port"
wait_for 10 test -s "$VIDAS_TMP/imds-port"
at="endpoint=http://127.0.0.1:$(cat "$VIDAS_TMP/port")&connect=1&timeout=2"

# says BUCKET RESULT WORDS COMMAND...: what a call gives, without a secret in it
says() {
	local bucket=$1 result=$2 words=$3 out
	shift 3
	out=$("$VIDAS_BUILD/tests/backend/s3call" "s3://$bucket/p?$at" "$@" 2>&1) || true
	grep -q "^$result" <<<"$out" || fail "$bucket: expected $result, got: $out"
	grep -qi -- "$words" <<<"$out" || fail "$bucket: no '$words' in: $out"
	! grep -q "TheSecretItself\|TheTokenItself" <<<"$out" || fail "$bucket: a secret was shown"
}

# Nothing to sign with.
says good EACCES "no keys in the environment" stat key
export AWS_ACCESS_KEY_ID=TheKey AWS_SECRET_ACCESS_KEY=TheSecretItself
says good OK "" put key text
says good OK "text" get key
says good ENOENT "no such object" stat none

# Uploads that nobody will complete are aborted ten seconds after a root was opened; young ones may be under way.
S3CALL_FILTERS=fault=rate:0%+delay:12s says leftovers ENOENT "" stat none &
leftovers=$!

# The server's troubles.
says slowdown OK "" put key text
says broken EIO "InternalError" put key text
says denied EACCES "access denied" put key text
says wrongkey EACCES "secret key is wrong" stat key
says region EACCES "region=eu-west-7" stat key
says nobucket EACCES "no such bucket" stat key
says nobucket EACCES "no such bucket" get key
says skewed OK "text" putget key text
says damaged EIO "not those of its ETag" get key
says cut ECONNRESET "" get key
says bomb EIO "cannot be read" list dir
says again EIO "cannot be read" list dir # page after page, and always the same
begin=$SECONDS
says stalled ETIMEDOUT "in time" stat key
[ $((SECONDS - begin)) -lt 100 ] || fail "a server that does not answer held a call for $((SECONDS - begin)) s"
at="endpoint=http://127.0.0.1:1&connect=1&timeout=2&retries=1"
says good ENOTCONN "no connection" stat key

# Servers that obey conditions but not of uploads in parts. What another put there meanwhile stays; what was completed
# without an answer is done, and nobody else's.
at="endpoint=http://127.0.0.1:$(cat "$VIDAS_TMP/port")&connect=1&timeout=2&part=5&atomic=10"
head -c 12000000 /dev/urandom >"$VIDAS_TMP/large"
says meanwhile EEXIST "file exists" newfile file "$VIDAS_TMP/large"
says meanwhile OK "of another" get file
says meanwhile ESTALE "another version" replacefile file "$VIDAS_TMP/large"
says meanwhile OK "of another" get file
says meanwhile OK "over 10 MiB look just before" newfile other "$VIDAS_TMP/large"
says meanwhile OK "" replacefile other "$VIDAS_TMP/large"
says unanswered OK "" newfile file "$VIDAS_TMP/large"
says unanswered OK "" replacefile file "$VIDAS_TMP/large"
says unanswered OK "" getfile file "$VIDAS_TMP/back"
cmp "$VIDAS_TMP/large" "$VIDAS_TMP/back" || fail "what came back is not what was put"

# Checksums: sent as headers, as trailers and of parts; compared with what comes, whatever the ETag is.
head -c 200000 "$VIDAS_TMP/large" >"$VIDAS_TMP/middle"
for put in sums/large sums/middle sumsdamaged/large sumsdamaged/middle sumsold/middle; do
	bucket=${put%/*} file=${put#*/}
	says "$bucket" OK "" newfile "$file" "$VIDAS_TMP/$file"
	says "$bucket" OK "" getfile "$file" "$VIDAS_TMP/back"
	cmp "$VIDAS_TMP/$file" "$VIDAS_TMP/back" || fail "$put: what came back is not what was put"
done
says sums OK "checksums are sent" put small text
says sums OK "text" get small
says sumsold OK "not as trailers: none are sent" put small text
says sums OK "" put spoilt text
says sums EIO "not those of its checksum" get spoilt

# A server without DeleteObjects: a directory moves all the same.
at="endpoint=http://127.0.0.1:$(cat "$VIDAS_TMP/port")&connect=1&timeout=2"
says nobulk OK "" put dir/one text
says nobulk OK "" put dir/two text
says nobulk OK "" rename dir moved
says nobulk ENOENT "" get dir/one
says nobulk OK "text" get moved/two
wait $leftovers
says leftovers OK "uploadId=OLD" get aborted
! "$VIDAS_BUILD/tests/backend/s3call" "s3://leftovers/p?$at" get aborted 2>&1 | grep -q YOUNG || fail "an upload that had just begun was aborted"

# Where keys come from: unit has the files, here is what a whole root makes of them.
at="endpoint=http://127.0.0.1:$(cat "$VIDAS_TMP/port")&connect=1&timeout=2"
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
mkdir -p "$HOME/.aws"
printf '[default]\naws_access_key_id=FileKey\naws_secret_access_key=TheSecretItself\n' >"$HOME/.aws/credentials"
chmod 644 "$HOME/.aws/credentials"
says good EACCES "chmod 600" stat key || true
chmod 600 "$HOME/.aws/credentials"
says good ENOENT "" stat none
rm "$HOME/.aws/credentials"
unset AWS_EC2_METADATA_DISABLED
AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:$(cat "$VIDAS_TMP/imds-port")
export AWS_EC2_METADATA_SERVICE_ENDPOINT
says token OK "" put key text
says expired OK "" put key text # its first keys are refused, the next ones are asked for
grep -q "token" "$VIDAS_TMP/imds-log" || fail "the metadata service was asked without a token first"

VIDAS_TMP=$VIDAS_TMP "$VIDAS_BUILD/tests/backend/s3unit"
