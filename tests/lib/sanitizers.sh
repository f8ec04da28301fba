# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced by what runs tests, for builds with sanitizers; the others are not concerned.
#   sanitizers DIR   makes DIR, into which programs of any user write what a sanitizer has to say of them
sanitizers() {
	local lib
	lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
	mkdir -p "$1" && chmod 1777 "$1"
	export ASAN_OPTIONS=log_path=$1/r:strict_string_checks=1
	export UBSAN_OPTIONS=log_path=$1/r:print_stacktrace=1
	export TSAN_OPTIONS=log_path=$1/r:second_deadlock_stack=1
	[ ! -f "$lib/tsan.supp" ] || TSAN_OPTIONS+=:suppressions=$lib/tsan.supp
	[ ! -f "$lib/lsan.supp" ] || export LSAN_OPTIONS=suppressions=$lib/lsan.supp
}
