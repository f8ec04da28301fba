# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced after domains.sh by the tests of tests/posix: runs groups of posix-cases (tests/posix/cases) everywhere.
#   everywhere GROUP...   on a tmpfs, which proves the cases; on /vidas in passthrough and without, there in one domain
#                         (both sides are one mount) and in two, and with one side in passthrough, the other not
# A vidasd and the mounts are there afterwards, as two_domains makes them: $a and $b; without passthrough: $na and $nb.

cases() { # WHERE DIR [DIR2]
	local group keep=()
	case $1 in nopassthrough-two | mixed) keep=(-k) ;; esac
	for group in "${groups[@]}"; do
		mkdir "$2/$1-$group"
		echo "$1:"
		posix-cases "${keep[@]}" "$group" "$2/$1-$group" ${3:+"$3/$1-$group"} || bad+=("$group on $1")
	done
}

everywhere() {
	local groups=("$@") bad=() possible=no
	mkdir "$VIDAS_TMP/tmpfs"
	mount -t tmpfs -o nosuid,nodev,size=256M none "$VIDAS_TMP/tmpfs"
	cases tmpfs "$VIDAS_TMP/tmpfs"
	[ ${#bad[@]} = 0 ] || fail "the cases do not even hold on tmpfs"
	two_domains
	! passthrough_possible || possible=yes
	if [ $possible = yes ]; then
		cases passthrough "$a"
		cases passthrough-two "$a" "$b"
	fi
	domain_mount 1 "$VIDAS_TMP/n1" nopassthrough
	domain_mount 2 "$VIDAS_TMP/n2" nopassthrough
	na=$VIDAS_TMP/n1/shared nb=$VIDAS_TMP/n2/shared
	cases nopassthrough "$na"
	cases nopassthrough-two "$na" "$nb"
	[ $possible = no ] || cases mixed "$a" "$nb"
	[ ${#bad[@]} = 0 ] || fail "$(IFS=,; echo "${bad[*]}")"
}

everywhere_end() {
	local m
	for m in "$VIDAS_TMP"/{n1,n2,1,2}; do domain_umount "$m"; done
	vidasd_stop
	umount "$VIDAS_TMP/tmpfs"
}
