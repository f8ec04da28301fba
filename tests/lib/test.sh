# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced by shell tests: . "$VIDAS_SRC/tests/lib/test.sh". Any command that fails unexpectedly ends the test, with its line.
set -euo pipefail
trap 'echo "FAILED at ${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND" >&2' ERR
set -E

skip() { echo "$*"; exit 77; }
fail() { echo "FAILED at ${BASH_SOURCE[1]##*/}:${BASH_LINENO[0]}: $*" >&2; exit 1; }

# need COMMAND...: skips where a command is missing
need() {
	local c
	for c; do command -v "$c" >/dev/null || skip "needs the command $c"; done
}

# same EXPECTED GOT [WHAT]
same() { [ "$1" = "$2" ] || fail "${3:-value}: expected '$1', got '$2'"; }

# refuses STATUS COMMAND...: it must exit with exactly that status (any non-zero, not by a signal: STATUS = any)
refuses() {
	local want=$1 got=0
	shift
	"$@" || got=$?
	case $want in
	any) [ $got != 0 ] && [ $got -lt 126 ] || fail "'$*' should have failed, its status is $got" ;;
	*) [ $got = "$want" ] || fail "'$*' should have exited with $want, its status is $got" ;;
	esac
}

# wait_for SECONDS COMMAND...: until it succeeds, looked at every 20 ms
wait_for() {
	local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000)) limit=$1
	shift
	until "$@" >/dev/null 2>&1; do
		[ "${EPOCHREALTIME/[.,]/}" -lt $end ] || fail "not within ${limit}s: $*"
		sleep 0.02
	done
}

gone() { ! kill -0 "$1" 2>/dev/null; }
