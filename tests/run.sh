#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The test runner behind ./check. A file dropped into tests/GROUP/ is a test:
#   tests/GROUP/NAME.sh   executable; tests/GROUP/NAME.c: a program; tests/fuzz/fuzz_NAME.c: a libFuzzer target
# Exit 0 passes, 77 skips (last line of output = reason), anything else fails, as does any report of a sanitizer.
# Comments in the file: `vidas-presets: release asan` (or none: needs no build), `vidas-timeout: 300` (seconds, 120),
# `vidas-needs: s3` (skipped in a build that has no s3://), `vidas-net: own` (as root in a network namespace with
# nothing but a loopback device: its servers have their ports for themselves).
# tests/xen/NAME.sh all run in Dom0 of one boot of the lab (tests/xen/lab/lab), in which their build, "xen", is made.
# A test sees VIDAS_SRC, VIDAS_BUILD, VIDAS_PRESET, VIDAS_TMP (private, removed after success), the programs in PATH.
# As root each test has its own process group, mount and pid namespace: its mounts and daemons end with it.
set -u
export LC_ALL=C
top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
. tests/lib/sanitizers.sh
bad='ERROR: AddressSanitizer|runtime error:|WARNING: ThreadSanitizer|LeakSanitizer|ERROR: libFuzzer'
verbose=no jobs=1 list=no wanted=()

groups() { # those with a folder, quick and basic ones first
	local d
	for d in unit backend domains e2e fs litmus posix crash fuzz docs bench style; do echo $d; done |
		cat - <(cd tests && ls -d */ | tr -d /) | awk '$1 != "lib" && !n[$1]++' |
		while read -r d; do [ ! -d "tests/$d" ] || printf '%s ' "$d"; done
}

comment() { # FILE KEY DEFAULT
	local v
	v=$(sed -n "1,40s|^[ /*#]*vidas-$2:[[:space:]]*\([a-z0-9 -]*[a-z0-9]\).*|\1|p" "$1" | head -n 1)
	echo "${v:-$3}"
}

# One line for each run: GROUP/NAME PRESET FILE
collect() {
	local group file preset default
	for group in $(groups); do
		for file in tests/"$group"/*.sh tests/"$group"/*.c; do
			[ -f "$file" ] || continue
			case $file in
			tests/fuzz/fuzz_*.c) default=fuzz ;;
			tests/fuzz/*.c) continue ;;
			tests/unit/*.c) default="release asan" ;;
			tests/xen/*) default=xen ;;
			*.sh) default=release; [ -x "$file" ] || continue ;;
			*) default=release ;;
			esac
			for preset in $(comment "$file" presets "$default"); do
				echo "$group/$(basename "${file%.*}") $preset $file"
			done
		done
	done
}

selected() {
	local id preset file w
	while read -r id preset file; do
		[ ${#wanted[@]} -gt 0 ] || { echo "$id $preset $file"; continue; }
		for w in "${wanted[@]}"; do
			case $w in
			"$id" | "${id%%/*}") echo "$id $preset $file"; break ;;
			esac
		done
	done
}

now() { echo "${EPOCHREALTIME/./}"; }
since() { local t=$((($(now) - $1) / 100000)); echo "$((t / 10)).$((t % 10))s"; }

# result ok|FAIL|skip ID PRESET TIME [TEXT]: one line, printed whole even with -j
result() {
	echo "$1" >>"$state/results"
	[ "$3" = none ] && set -- "$1" "$2" "" "${@:4}" || set -- "$1" "$2" " [$3]" "${@:4}"
	printf '%-4s %s%s%s%s\n' "$1" "$2" "$3" "${4:+ $4}" "${5:+ $5}"
}

show() { # the end of a log
	tail -n 30 "$1" | sed 's/^/  | /'
	echo "  log: $1"
}

# build PRESET: sets why[PRESET] when its tests cannot run
declare -A why
build() {
	local log=$state/build-$1.log start
	start=$(now)
	if [ "$1" = fuzz ] && ! echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }' |
		clang -x c -fsanitize=fuzzer,address,undefined -o /dev/null - 2>/dev/null; then
		why[$1]="clang with the libFuzzer runtime is not here"
	elif { cmake --preset "$1" && cmake --build --preset "$1"; } >"$log" 2>&1 </dev/null; then
		result ok build "$1" "$(since "$start")"
	else
		result FAIL build "$1" "$(since "$start")"
		show "$log"
		why[$1]="its build failed"
	fi
}

# Boots the lab for all tests of tests/xen that are wanted, in the background; each is reported when it is through.
lab=
start_lab() {
	local names
	why[xen]=$(tests/xen/lab/lab missing) && unset 'why[xen]' || return 0
	names=$(awk '$2 == "xen" { sub("^xen/", "", $1); print $1 }' <<<"$runs")
	mkdir "$state/xen"
	# shellcheck disable=SC2086 # a list of names
	setsid tests/xen/lab/lab check "$state/xen" $names >"$state/xen/lab.log" 2>&1 </dev/null &
	lab=$!
	echo $lab >"$state/xen/pid"
}

report_from_lab() { # ID
	local out=$state/xen name=${1#xen/} status
	until [ -f "$out/$name.status" ] || ! kill -0 "$lab" 2>/dev/null; do sleep 0.2; done
	[ $verbose = no ] || [ ! -f "$out/$name.log" ] || cat "$out/$name.log"
	if [ ! -f "$out/$name.status" ]; then
		printf '%s\n%s\n' "$(result FAIL "$1" xen "" "(the lab ended before it)")" "$(show "$out/lab.log")"
		return
	fi
	status=$(cat "$out/$name.status")
	case $status in
	0) result ok "$1" xen "$(cat "$out/$name.seconds")s" ;;
	77) result skip "$1" xen "$(cat "$out/$name.seconds")s" "$(grep -v -e '^+' -e '^[[:space:]]*$' "$out/$name.log" | tail -n 1)" ;;
	*) printf '%s\n%s\n' "$(result FAIL "$1" xen "$(cat "$out/$name.seconds")s" "(exit $status)")" "$(show "$out/$name.log")" ;;
	esac
}

# launch SECONDS NET COMMAND...: runs it apart from us; bash as the first process of the pid namespace reaps its orphans
launch() {
	local limit=$1 net=$2 apart=()
	shift 2
	[ "$root" = no ] || apart=(unshare --mount --propagation private --pid --fork --kill-child --mount-proc)
	if [ "$root,$net" = yes,own ] && unshare --net ip link set lo up 2>/dev/null; then apart+=(--net); else net=shared; fi
	# Who asks for addresses of kinds that are configured (AI_ADDRCONFIG) does not count loopback's own.
	# shellcheck disable=SC2016 # for the inner shell
	exec setsid "${apart[@]}" bash -c '[ "$0" = shared ] || { ip link set lo up; ip addr add 192.0.2.1/32 dev lo; }
		timeout -k 5 "$@"; exit $?' "$net" "$limit" "$@"
}

command_of() { # sets cmd and limit
	local preset=$1 file=$2 group program
	group=$(basename "$(dirname "$file")")
	program=$VIDAS_BUILD/tests/$group/$(basename "${file%.c}")
	limit=$(comment "$file" timeout 120)
	case $file in
	*.sh) cmd=("$top/$file") ;;
	tests/fuzz/*)
		local corpus seconds=${FUZZ_SECONDS:-10}
		corpus=$(basename "${file%.c}")
		mkdir "$VIDAS_TMP/corpus"
		[ ! -d "tests/fuzz/corpus/$corpus" ] || cp -r "tests/fuzz/corpus/$corpus/." "$VIDAS_TMP/corpus/"
		cmd=("$program" -max_total_time="$seconds" -timeout=10 -artifact_prefix="$VIDAS_TMP/" "$VIDAS_TMP/corpus")
		limit=$((seconds + 60)) ;;
	*) cmd=("$program") ;;
	esac
	case $preset in
	asan | tsan | fuzz) ! setarch -R true 2>/dev/null || cmd=(setarch -R "${cmd[@]}") ;;
	esac
}

run_one() { # ID PRESET FILE
	local id=$1 preset=$2 file=$3 dir log start pid status cmd limit reason text part net
	if [ -n "${why[$preset]:-}" ]; then
		result skip "$id" "$preset" "" "${why[$preset]}"
		return
	fi
	part=$(comment "$file" needs "")
	if [ -n "$part" ] && ! grep -qx "VIDAS_HAS_${part^^}:INTERNAL=ON" "build/$preset/CMakeCache.txt"; then
		result skip "$id" "$preset" "" "built without $part:// (scripts/install-deps $part)"
		return
	fi
	case $root,$file in
	no,tests/docs/*.sh | no,tests/style/*.sh) ;;
	no,*.sh) result skip "$id" "$preset" "" "$unrooted"; return ;;
	esac
	if [ "$preset" = xen ]; then
		report_from_lab "$id"
		return
	fi
	dir=$state/${id/\//-}-$preset log=$state/${id/\//-}-$preset/log
	mkdir -p "$dir/tmp" && : >"$log"
	sanitizers "$dir/san"
	export VIDAS_SRC=$top VIDAS_BUILD=$top/build/$preset VIDAS_PRESET=$preset VIDAS_TMP=$dir/tmp
	export PATH=$VIDAS_BUILD/bin:$VIDAS_BUILD/tests/lib:$path
	command_of "$preset" "$file"
	net=$(comment "$file" net shared)
	start=$(now)
	(cd "$VIDAS_TMP" && launch "$limit" "$net" "${cmd[@]}") >"$log" 2>&1 </dev/null &
	pid=$!
	echo $pid >"$dir/pid"
	[ $verbose = no ] || tail -n +1 -s 0.1 -f --pid=$pid "$log"
	wait $pid
	status=$?
	kill -KILL -- -$pid 2>/dev/null
	rm -f "$dir/pid"
	[ -z "$(ls "$dir/san")" ] || cat "$dir"/san/* >>"$log"
	text=
	if grep -qE "$bad" "$log"; then
		text="(sanitizer report)" status=1
	elif [ $status != 0 ] && [ $(($(now) - start)) -ge $((limit * 1000000)) ]; then
		text="(killed, time limit ${limit}s)"
	elif [ $status = 77 ]; then
		reason=$(grep -v -e '^+' -e '^[[:space:]]*$' "$log" | tail -n 1)
		[ -n "$reason" ] || { status=1 text="(skipped without a reason)"; }
	fi
	if [ $status = 0 ]; then
		result ok "$id" "$preset" "$(since "$start")"
	elif [ $status = 77 ]; then
		result skip "$id" "$preset" "$(since "$start")" "$reason"
	else
		printf '%s\n%s\n' "$(result FAIL "$id" "$preset" "$(since "$start")" "${text:-(exit $status)}")" "$(show "$log")"
		return
	fi
	rm -rf --one-file-system "$dir"
}

count() { grep -cx "$1" "$state/results"; }

stop() { # Ctrl-C: the tests are in process groups of their own
	local f
	trap - INT TERM
	{
		for f in "$state"/*/pid; do
			[ ! -f "$f" ] || kill -KILL -- "-$(cat "$f")"
		done
		wait
	} 2>/dev/null
	rm -rf --one-file-system "$state"
	echo "check: interrupted" >&2
	exit 130
}

while [ $# -gt 0 ]; do
	case $1 in
	--groups) groups; echo; exit 0 ;;
	--list) list=yes ;;
	-v) verbose=yes ;;
	-j) jobs=$2; shift ;;
	*) wanted+=("$1") ;;
	esac
	shift
done
[ $verbose = no ] || jobs=1
for w in ${wanted+"${wanted[@]}"}; do
	[ -n "$(wanted=("$w"); collect | selected)" ] ||
		{ echo "check: no test matches '$w'; groups: $(groups) (./check --list shows the tests)" >&2; exit 2; }
done
runs=$(collect | selected)
if [ $list = yes ]; then
	awk '{ p[$1] = p[$1] " " $2; if (!n[$1]++) o[++k] = $1 } END { for (i = 1; i <= k; i++) print o[i] " [" substr(p[o[i]], 2) "]" }' <<<"$runs"
	exit 0
fi

path=$PATH root=no unrooted="needs root: sudo ./check"
if [ "$(id -u)" = 0 ]; then
	unrooted="mount and pid namespaces are not permitted here"
	unshare --mount --propagation private --pid --fork --mount-proc true 2>/dev/null && root=yes
fi
state=$(mktemp -d "${TMPDIR:-/tmp}/vidas-check.XXXXXX") || exit 1
chmod 755 "$state"
: >"$state/results"
trap stop INT TERM
for preset in $(awk '$2 != "none" && $2 != "xen" && !n[$2]++ { print $2 }' <<<"$runs"); do
	build "$preset"
done
while read -r id preset file <&3; do
	[ "$preset" != xen ] || [ "$root" = no ] || [ -n "$lab${why[xen]:-}" ] || start_lab
	if [ "$jobs" = 1 ]; then
		run_one "$id" "$preset" "$file"
	else
		while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
		run_one "$id" "$preset" "$file" &
	fi
done 3<<<"$runs"
wait
failed=$(count FAIL)
line="$(count ok) passed, $failed failed, $(count skip) skipped"
[ "$failed" != 0 ] || rm -rf --one-file-system "$state"
echo "$line"
[ "$failed" = 0 ]
