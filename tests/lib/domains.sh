# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced after test.sh by tests that need domains: a vidasd of their own in $VIDAS_TMP, and mounts of its domains.
#   vidasd_start [OPTION...]    starts it (again); run directory $run, its pid $vidasd
#   vidasd_stop, vidasd_kill    by SIGTERM, by SIGKILL
#   domain_add ID               makes a domain
#   domain_address ID           what its programs connect to; with VIDAS_TEST_TRANSPORT=xen that is an agent, joined to
#                               its gate by a socket; with =vchan by Xen's ring, in Dom0
#   domain_mount ID DIR [OPT]   mounts its containers; OPT as in -o; the pid of its vidasfs: domain_pid DIR
#   domain_umount DIR; domain_kill DIR (its vidasfs dies for good); worker_kill DIR (it dies, and goes on)
#   VIDASFS_SPLIT=1             in the environment: mounts are in two halves, as in a Xen guest (vidasfs -o split)
#   admin ARG...                the vidas command as the host
#   vidasd_options=(...)        further options, for all starts
#   two_domains                 all of that for domains 1 and 2, mounted at $VIDAS_TMP/1 and /2, with a container of the
#                               first that both have: $a and $b
#   two_domains_rooted DIR      the same, with a container `data` whose root is that directory of the host
#   both_ways COMMAND...        runs a function on a mount in passthrough, and on one without: $mnt, $way
run=$VIDAS_TMP/run
vidasd= vidasd_options=()

admin() { vidas --socket "$run/vidasd.sock" "$@"; }

vidasd_start() {
	[ -d "$run" ] || mkdir -m 755 "$run"
	vidasd --config /dev/null --run-dir "$run" --pool-size 512M "${vidasd_options[@]}" "$@" >>"$VIDAS_TMP/vidasd.log" 2>&1 &
	vidasd=$!
	wait_for 20 admin status
}

vidasd_stop() {
	kill "$vidasd"
	wait "$vidasd" || fail "vidasd ended with status $?: $(tail -n 5 "$VIDAS_TMP/vidasd.log")"
}

vidasd_kill() {
	kill -KILL "$vidasd"
	wait "$vidasd" 2>/dev/null || true
}

domain_add() { admin domain add "$1" >/dev/null; }

# A gate and an agent.
domain_address() {
	local dir=$VIDAS_TMP/xen$1 link
	case ${VIDAS_TEST_TRANSPORT:-} in
	xen) link=socket:$dir/gate ;;
	vchan) link=vchan:$dir/ring ;; # that is as good as a path in XenStore
	*)
		echo "$run/domains/$1/sock"
		return ;;
	esac
	if mkdir "$dir" 2>/dev/null; then
		vidas-gate --run-dir "$run" --domain "$1" --link "$link" >>"$VIDAS_TMP/xen.log" 2>&1 &
		vidas-agent --socket "$dir/agent" --link "$link" >>"$VIDAS_TMP/xen.log" 2>&1 &
		wait_for 10 test -S "$dir/agent"
	fi
	echo "xen:$dir/agent"
}

domain_mount() {
	local at=$run/domains/$1/sock
	[ -z "${VIDAS_TEST_TRANSPORT:-}" ] || at=$(domain_address "$1")
	mkdir -p "$2"
	vidasfs -o "socket=$at,log=$VIDAS_TMP/vidasfs.log${VIDASFS_SPLIT:+,split}${3:+,$3}" "$2"
}

# The vidasfs whose command line ends in that directory.
domain_pid() {
	local p
	for p in /proc/[0-9]*; do
		if [ "$({ tr '\0' ' ' <"$p/cmdline"; } 2>/dev/null | awk '$1 ~ /vidasfs$/ { print $NF }')" = "$1" ]; then
			echo "${p#/proc/}"
			return
		fi
	done
	return 1
}

# Of a vidasfs in two halves, the keeper of the far one.
far_keeper() {
	local pid
	pid=$(domain_pid "$1")
	pgrep -P "$pid" vidas-keeper
}

domain_umount() { umount "$1"; }

# The domain's vidasfs dies whole, the keeper first, and is not followed by another.
domain_kill() {
	local pid keeper=
	pid=$(domain_pid "$1")
	if [ -n "${VIDASFS_SPLIT:-}" ]; then
		keeper=$(far_keeper "$1")
		keeper="$keeper $(pgrep -P "$keeper")"
	fi
	keeper="$(awk '$1 == "PPid:" { print $2 }' "/proc/$pid/status") ${keeper:-}"
	# shellcheck disable=SC2086 # one or two
	kill -KILL $keeper "$pid"
	wait_for 5 gone "$pid"
}

# Only its worker, which another follows.
worker_kill() {
	local pid keeper
	if [ -n "${VIDASFS_SPLIT:-}" ]; then
		keeper=$(far_keeper "$1")
		pid=$(pgrep -P "$keeper")
		kill -KILL "$pid"
		wait_for 5 gone "$pid"
		wait_for 10 pgrep -P "$keeper"
		return
	fi
	pid=$(domain_pid "$1")
	kill -KILL "$pid"
	wait_for 5 gone "$pid"
	wait_for 10 domain_pid "$1"
}

two_mounts() { # [COMMAND...]: before they are mounted
	vidasd_start
	domain_add 1
	domain_add 2
	"$@"
	domain_mount 1 "$VIDAS_TMP/1"
	domain_mount 2 "$VIDAS_TMP/2"
}

two_domains() {
	two_mounts
	a=$VIDAS_TMP/1/shared b=$VIDAS_TMP/2/shared
	mkdir "$a"
	setfattr -n user.vidas.domains -v 2 "$a"
	wait_for 2 test -d "$b"
}

two_domains_rooted() { # DIR
	a=$VIDAS_TMP/1/data b=$VIDAS_TMP/2/data
	two_mounts admin container create data --root "file://$1" --domains 1,2
}

# A far half says it in the log of its gate.
passthrough_possible() { ! grep -qs 'no passthrough' "$VIDAS_TMP/vidasfs.log" "$VIDAS_TMP/xen.log"; }

# Processes that hold files open (tests/lib/fileop.c): helper NAME starts one, ask NAME COMMAND... prints what it
# answers: the value, or "error ERRNO".
declare -A helper_in helper_out helper_pid
helper() {
	local in out
	mkfifo "$VIDAS_TMP/$1.in" "$VIDAS_TMP/$1.out"
	fileop <"$VIDAS_TMP/$1.in" >"$VIDAS_TMP/$1.out" &
	helper_pid[$1]=$!
	exec {in}>"$VIDAS_TMP/$1.in" {out}<"$VIDAS_TMP/$1.out"
	rm "$VIDAS_TMP/$1.in" "$VIDAS_TMP/$1.out"
	helper_in[$1]=$in helper_out[$1]=$out
}

tell() { printf '%s\n' "${*:2}" >&"${helper_in[$1]}"; }

hear() {
	local line
	IFS= read -r -t "${2:-20}" line <&"${helper_out[$1]}" || fail "no answer from the helper $1"
	line=${line#ok}
	echo "${line# }"
}

ask() {
	tell "$@"
	hear "$1"
}

helper_end() { # it dies, and what it has open is closed
	kill -KILL "${helper_pid[$1]}"
	wait "${helper_pid[$1]}" 2>/dev/null || true
	local in=${helper_in[$1]} out=${helper_out[$1]}
	exec {in}>&- {out}<&-
}

as_user() { setpriv --reuid="$1" --regid="$1" --clear-groups "${@:2}"; }

both_ways() {
	local dir=$VIDAS_TMP/vidas
	vidasd_start
	domain_add 1
	for way in passthrough nopassthrough; do
		domain_mount 1 "$dir" "${way#passthrough}"
		if [ $way = passthrough ] && ! passthrough_possible; then
			echo "no passthrough here: $(grep -m1 'no passthrough' "$VIDAS_TMP/vidasfs.log")"
			domain_umount "$dir"
			continue
		fi
		mkdir "$dir/$way"
		mnt=$dir/$way
		"$@"
		domain_umount "$dir"
	done
	vidasd_stop
}
