# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced first by the long suites that are called by hand, tests/posix/run-*: gives them what ./check gives a test (a
# namespace that takes its mounts and daemons with it, VIDAS_SRC, VIDAS_BUILD, VIDAS_TMP, the programs in PATH), then
# test.sh and domains.sh. Within ./check it does the latter only. The lines `#  ` at the head of a suite are its usage.
#   usage                  prints it, ends with status 2
#   runner_end STATUS      ends: VIDAS_TMP stays when something failed (also: a sanitizer, with VIDAS_BUILD=build/asan),
#                          or with KEEP=1
#   checkout_build DIR     a copy of a checkout at $suite, built there by the function suite_make (log: build.log)
usage() {
	sed -n 's/^#  //p' "$0" >&2
	exit 2
}

if [ -z "${VIDAS_PRESET:-}" ]; then
	if [ "${RUNNER_INSIDE:-}" != $PPID ]; then
		[ "$(id -u)" = 0 ] || { echo "${0##*/}: needs root" >&2; exit 2; }
		VIDAS_SRC=$(cd "$(dirname "$0")/../.." && pwd)
		. "$VIDAS_SRC/tests/lib/sanitizers.sh"
		VIDAS_BUILD=${VIDAS_BUILD:-$VIDAS_SRC/build/release}
		VIDAS_TMP=$(mktemp -d "${TMPDIR:-/tmp}/vidas-${0##*/}.XXXXXX") || exit 1
		chmod 755 "$VIDAS_TMP"
		sanitizers "$VIDAS_TMP/san"
		export VIDAS_SRC VIDAS_BUILD VIDAS_TMP LC_ALL=C PATH=$VIDAS_BUILD/bin:$VIDAS_BUILD/tests/lib:$PATH
		# shellcheck disable=SC2016 # for the inner shell, the first process there, which reaps orphans
		exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
			bash -c 'RUNNER_INSIDE=$$ bash "$@"; exit $?' runner "$0" "$@"
	fi
	[ -x "$VIDAS_BUILD/bin/vidasd" ] || { echo "${0##*/}: no programs in $VIDAS_BUILD/bin; build, or set VIDAS_BUILD" >&2; exit 2; }
fi
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

runner_end() {
	local status=$1
	if [ -z "${VIDAS_PRESET:-}" ]; then
		if [ -n "$(ls "$VIDAS_TMP/san")" ]; then
			echo "${0##*/}: a sanitizer reports: $(head -n 4 "$VIDAS_TMP"/san/* | tail -n +2)"
			status=1
		fi
		if [ "$status" != 0 ] || [ -n "${KEEP:-}" ]; then
			echo "${0##*/}: results and logs are in $VIDAS_TMP"
		else
			findmnt -rno TARGET | grep "^$VIDAS_TMP/" | sort -r | xargs -r umount -l
			rm -rf --one-file-system "$VIDAS_TMP"
		fi
	fi
	exit "$status"
}

checkout_build() {
	suite=$VIDAS_TMP/suite
	cp -r "$1" "$suite"
	(cd "$suite" && suite_make) >"$VIDAS_TMP/build.log" 2>&1 || { tail -n 20 "$VIDAS_TMP/build.log" >&2; fail "$1 does not build"; }
}
