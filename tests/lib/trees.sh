# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced after domains.sh by tests that have three domains work while vidasd dies.
#   three_domains CONTAINER [OPTION...]   domains 1, 2 and 3 at $VIDAS_TMP/1, /2 and /3, and a container of the three,
#                                         OPTION as of `vidas container create`; may be called again for one more
#   kill_while SECONDS PID...             while these processes live, kills vidasd (-9) every so often and starts it
#                                         again, often late; $kills; fails if one of them does
#   tree_list DIR                         a tree as text: names, attributes, xattrs, digests of the bytes (but of huge files)
#   trees_agree CONTAINER                 all three domains see what is in the pool
three_domains() {
	local d
	[ -n "$vidasd" ] || vidasd_start
	for d in 1 2 3; do
		mountpoint -q "$VIDAS_TMP/$d" && continue
		domain_add $d
		domain_mount $d "$VIDAS_TMP/$d"
	done
	admin container create "$1" --domains 1,2,3 "${@:2}" >/dev/null
	for d in 1 2 3; do wait_for 10 test -d "$VIDAS_TMP/$d/$1"; done
	chmod 1777 "$VIDAS_TMP/1/$1"
}

any_alive() {
	local p
	for p; do ! kill -0 "$p" 2>/dev/null || return 0; done
	return 1
}

kill_while() {
	local every=$1 next p
	shift
	kills=0 next=$((SECONDS + every))
	while any_alive "$@"; do
		sleep 0.2
		[ $SECONDS -ge $next ] || continue
		vidasd_kill
		sleep 0.$((RANDOM % 10))
		vidasd_start
		kills=$((kills + 1)) next=$((SECONDS + every))
	done
	for p; do wait "$p" || fail "what worked on /vidas while vidasd was killed $kills times ended with status $?"; done
}

tree_list() {
	(
		cd "$1"
		find . -printf '%p|%y|%m|%U:%G|%n|%s|%T@|%l\n' | sort
		find . -type f -size -20M -print0 | sort -z | xargs -0r sha256sum
		find . -print0 | sort -z | xargs -0 getfattr -h -d -m '^user\.' -e hex
	)
}

trees_agree() {
	local d
	tree_list "$run/pool/containers/$1/tree" >"$VIDAS_TMP/tree-$1"
	for d in 1 2 3; do
		tree_list "$VIDAS_TMP/$d/$1" | diff "$VIDAS_TMP/tree-$1" - >"$VIDAS_TMP/diff" ||
			{ head -n 20 "$VIDAS_TMP/diff"; fail "domain $d sees in $1 what is not in the pool"; }
	done
}
