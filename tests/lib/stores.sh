# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced after test.sh by tests that have a real store behind a container, and look into it with a client that is not ours.
#   store_begin KIND     file, nfs3, nfs4, radosgw or swift: starts the server, or skips the test; $root is its URL for vidasd
#   store_end            ends it; a second one may then begin
#   store_kill, store_start   as a power cut would, and again with the same files (not swift)
#   store_names [DIR]    the names of all files below, sorted, one a line
#   store_cat NAME       a file's bytes
#   store_sum NAME       their checksum alone
#   store_put NAME       makes or replaces a file by what stands on standard input
#   store_remove NAME
# The clients: libnfs-utils, s3cmd; for file:// the host itself. NAMEs are plain ones: the clients' own quoting is not tested.
# The test has `vidas-net: own`, so ports are free.
store= store_dir= store_port=24100 root=

store_begin() {
	local why
	store=$1 store_dir=$VIDAS_TMP/store-$1
	mkdir -p "$store_dir"
	case $store in
	file)
		mkdir "$store_dir/files"
		root=file://$store_dir/files ;;
	nfs3 | nfs4)
		need nfs-cat nfs-ls nfs-cp
		! why=$("$VIDAS_SRC/tests/servers/ganesha" missing) || skip "$why"
		store_start
		root=$("$VIDAS_SRC/tests/servers/ganesha" url "$store_dir" "${store#nfs}")${2:+&$2} ;;
	radosgw | swift)
		need s3cmd
		! why=$("$VIDAS_SRC/tests/servers/$store" missing) || skip "$why"
		"$VIDAS_SRC/tests/servers/$store" start "$store_dir" $store_port
		store_s3 "${2:-}" ;;
	esac
	trap store_end EXIT
}

store_s3() {
	set -a
	# shellcheck disable=SC1091
	. "$store_dir/env"
	set +a
	export AWS_EC2_METADATA_DISABLED=true
	root="s3://vidastest/files?endpoint=$S3_ENDPOINT&region=$S3_REGION${1:+&$1}"
	cat >"$store_dir/s3cfg" <<-CONF
		[default]
		access_key = $AWS_ACCESS_KEY_ID
		secret_key = $AWS_SECRET_ACCESS_KEY
		host_base = ${S3_ENDPOINT#http://}
		host_bucket = ${S3_ENDPOINT#http://}
		bucket_location = $S3_REGION
		use_https = False
		preserve_attrs = False
	CONF
}

store_start() {
	case $store in
	nfs*) "$VIDAS_SRC/tests/servers/ganesha" start "$store_dir" $store_port ;;
	radosgw) "$VIDAS_SRC/tests/servers/radosgw" gateway "$store_dir" $store_port ;;
	esac
}

store_kill() {
	case $store in
	nfs*) "$VIDAS_SRC/tests/servers/ganesha" kill "$store_dir" ;;
	radosgw)
		kill -KILL "$(cat "$store_dir/gateway.pid")"
		wait_for 10 gone "$(cat "$store_dir/gateway.pid")" ;;
	esac
}

store_end() {
	case $store in
	nfs*) "$VIDAS_SRC/tests/servers/ganesha" stop "$store_dir" ;;
	radosgw | swift) "$VIDAS_SRC/tests/servers/$store" stop "$store_dir" ;;
	esac
	store=
}

# The same place as libnfs writes it.
store_url() {
	case $store in
	nfs3) echo "nfs://127.0.0.1$store_dir/export/${1:-}?version=3&nfsport=$store_port&mountport=$((store_port + 1))" ;;
	nfs4) echo "nfs://127.0.0.1/export/${1:-}?version=4&nfsport=$store_port" ;;
	*) echo "s3://vidastest/files/$1" ;;
	esac
}

store_s3cmd() { s3cmd -c "$store_dir/s3cfg" --no-progress --quiet "$@"; }

store_names() {
	case $store in
	file) (cd "$store_dir/files" && find ${1:+"./$1"} ! -type d -printf '%P\n') ;;
	nfs*) nfs-ls -R "$(store_url "${1:-}")" | grep -v '^d' | awk '{ print $NF }' ;;
	*) s3cmd -c "$store_dir/s3cfg" ls -r "$(store_url "${1:+$1/}")" | sed -n "s|.*s3://vidastest/files/${1:+$1/}||p" | grep -v '/$' ;;
	esac | LC_ALL=C sort
}

store_cat() {
	case $store in
	file) cat "$store_dir/files/$1" ;;
	nfs*) nfs-cat "$(store_url "$1")" ;;
	*) store_s3cmd get "$(store_url "$1")" - ;;
	esac
}

store_sum() { store_cat "$1" | sha256sum | cut -d' ' -f1; }

# libnfs 4 cannot write with version 4, and nfs-cp does not replace: version 3, after a remove beside the server.
store_put() {
	case $store in
	file) cat >"$store_dir/files/$1" ;;
	nfs*)
		cat >"$store_dir/put"
		rm -f "$store_dir/export/$1"
		nfs-cp "$store_dir/put" "nfs://127.0.0.1$store_dir/export/$1?nfsport=$store_port&mountport=$((store_port + 1))" >/dev/null ;;
	*)
		cat >"$store_dir/put"
		store_s3cmd put "$store_dir/put" "$(store_url "$1")" ;;
	esac
}

store_remove() {
	case $store in
	file) rm "$store_dir/files/$1" ;;
	nfs*) # there is no nfs-rm; the server remembers names until its directory is looked at
		rm "$store_dir/export/$1"
		nfs-ls "$(store_url "$(dirname "$1")")" >/dev/null ;;
	*) store_s3cmd del "$(store_url "$1")" ;;
	esac
}
