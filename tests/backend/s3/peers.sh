#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# peers.sh: s3fs and rclone on the bucket of $S3_ENDPOINT, beside us: modes, owners, times, symbolic links and directories, as we
# write them and as they do. A part of s3.sh, which has started the server.
. "$VIDAS_SRC/tests/lib/test.sh"
unset AWS_CA_BUNDLE # rclone 1.60 fails with it
export HOME=$VIDAS_TMP
mnt=$VIDAS_TMP/mnt s3fs=
trap 'umount "$mnt" 2>/dev/null || :; [ -z "$s3fs" ] || wait $s3fs || :' EXIT
# ours COMMAND KEY [TEXT]: what the call prints, without its log
ours() {
	"$VIDAS_BUILD/tests/backend/s3call" "s3://vidastest/shared?endpoint=$S3_ENDPOINT&region=$S3_REGION" "$@" \
		2>"$VIDAS_TMP/err" >"$VIDAS_TMP/result" || fail "$*: $(cat "$VIDAS_TMP/err" "$VIDAS_TMP/result")"
	grep -av "^s3call: " "$VIDAS_TMP/err" || :
}

with_s3fs() {
	mkdir "$mnt"
	(umask 077 && echo "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" >"$VIDAS_TMP/passwd")
	ours mkdir s3fs
	s3fs vidastest:/shared/s3fs "$mnt" -o url="$S3_ENDPOINT" -o use_path_request_style -o endpoint="$S3_REGION" \
		-o passwd_file="$VIDAS_TMP/passwd" -f >"$VIDAS_TMP/s3fs.log" 2>&1 &
	s3fs=$!
	wait_for 20 mountpoint -q "$mnt"
	ours put s3fs/file text # 0640, 1234:4321, 1700000000.123456789
	ours symlink s3fs/link to/here
	ours mkdir s3fs/directory
	ours put s3fs/prefix/below text
	same text "$(cat "$mnt/file")" "what s3fs reads"
	same "640 1234 4321 1700000000" "$(stat -c '%a %u %g %Y' "$mnt/file")" "what s3fs makes of our attributes"
	same to/here "$(readlink "$mnt/link")" "our link in s3fs"
	[ -d "$mnt/directory" ] && [ -f "$mnt/prefix/below" ] || fail "s3fs does not see our directories"

	echo theirs >"$mnt/theirs"
	chmod 0604 "$mnt/theirs"
	chown 77:88 "$mnt/theirs"
	touch -d @1600000000.5 "$mnt/theirs"
	ln -s else/where "$mnt/theirlink"
	mkdir "$mnt/theirdir"
	echo x >"$mnt/theirdir/a name +%"
	same theirs "$(ours get s3fs/theirs)" "what we read of s3fs's"
	same 604:77:88:1600000000.500000000 "$(ours stat s3fs/theirs)" "what we make of s3fs's attributes"
	same else/where "$(ours readlink s3fs/theirlink)" "s3fs's link"
	ours list s3fs/theirdir >/dev/null
	grep -qx "a name +%" "$VIDAS_TMP/result" || fail "its directory: $(cat "$VIDAS_TMP/result")"
	ours stat s3fs/theirdir >/dev/null
	umount "$mnt"
	wait $s3fs || :
	s3fs=
}

with_rclone() {
	export RCLONE_CONFIG=/dev/null RCLONE_CONFIG_R_TYPE=s3 RCLONE_CONFIG_R_PROVIDER=Ceph RCLONE_CONFIG_R_ENV_AUTH=true \
		RCLONE_CONFIG_R_ENDPOINT=$S3_ENDPOINT RCLONE_CONFIG_R_REGION=$S3_REGION TZ=UTC
	local to=$VIDAS_TMP/rclone
	mkdir "$to"
	echo theirs >"$to/a name +%&"
	touch -d @1500000000.25 "$to/a name +%&"
	rclone copy "$to" r:vidastest/shared/rclone
	same theirs "$(ours get "rclone/a name +%&")" "what we read of rclone's"
	same 1500000000.250000000 "$(ours stat "rclone/a name +%&" | cut -d: -f4)" "rclone's time"
	ours put rclone/ours text
	ours put $'rclone/\xff\x01' text
	rclone copy r:vidastest/shared/rclone "$VIDAS_TMP/back" 2>"$VIDAS_TMP/rclone.log" || fail "$(cat "$VIDAS_TMP/rclone.log")"
	same text "$(cat "$VIDAS_TMP/back/ours")" "what rclone reads"
	same 1700000000.123456789 "$(date -r "$VIDAS_TMP/back/ours" +%s.%N)" "our time in rclone"
	same text "$(cat "$VIDAS_TMP/back/"$'\xff\x01')" "a name that is no UTF-8, in rclone"
}

if command -v s3fs >/dev/null && [ "$(id -u)" = 0 ]; then with_s3fs; else echo "not run: s3fs"; fi
if command -v rclone >/dev/null; then with_rclone; else echo "not run: rclone"; fi
