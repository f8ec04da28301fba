# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced after test.sh by tests that have a real store behind a container, and look into it with a client that is not ours
# (tests/servers/store).
#   store_begin KIND [PARAMETERS]   starts one of file, nfs3, nfs4, radosgw, swift, or skips the test; $root is its URL
#                                   with "name=value&..." added, and what vidasd needs besides is in the environment
#   store_end                       ends it; another one may then begin
#   store COMMAND [NAME]            kill, again, freeze, thaw, names, cat, put, remove, how
# The test has `vidas-net: own`, so ports are free.
store_dir= root=

store() { "$VIDAS_SRC/tests/servers/store" "$1" "$store_dir" "${@:2}"; }

store_begin() {
	local why servers=$VIDAS_SRC/tests/servers
	store_dir=$VIDAS_TMP/store-$1
	! why=$("$servers/store" missing "$1") || skip "$why"
	"$servers/store" start "$1" "$store_dir" 24100
	trap store_end EXIT
	root=$(store root)
	[ -z "${2:-}" ] || case $root in
	*\?*) root+="&$2" ;;
	*) root+="?$2" ;;
	esac
	if [ -e "$store_dir/env" ]; then
		set -a
		# shellcheck disable=SC1091
		. "$store_dir/env"
		set +a
		export AWS_EC2_METADATA_DISABLED=true
	fi
}

store_end() {
	trap - EXIT
	store stop
}
