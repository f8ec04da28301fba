#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Random calls by three users, made on a tmpfs and on /vidas, have the same results (tests/posix/random).
# By hand: SEEDS="1 2 3" STEPS=100000 ./check posix/random
# vidas-presets: release asan
# vidas-timeout: 600
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
read -ra seeds <<<"${SEEDS:-1 2 3}"
ref=$VIDAS_TMP/reference

try() { # WAY SEED DIR [DIR2]: nopassthrough without what needs one page cache
	local name=$1-$2 opt=()
	mkdir "$ref/$name" "$3/$name"
	[[ $1 != nopassthrough* && $possible = yes ]] || opt=(-k)
	echo "$1:"
	posix-random "${opt[@]}" "$2" "${STEPS:-3000}" "$ref/$name" "$3/$name" ${4:+"$4/$name"}
}

vidasd_options=(--pool-huge never) # as the reference: what a file takes is compared
mkdir "$ref" "$VIDAS_TMP/other"
mount -t tmpfs -o nosuid,nodev,size=256M none "$ref"
mount -t tmpfs -o nosuid,nodev,size=256M none "$VIDAS_TMP/other"
two_domains
mkdir "$VIDAS_TMP/store"
admin container create demo --domains 1,2 --root "file://$VIDAS_TMP/store"
for m in 1 2; do wait_for 5 test -d "$VIDAS_TMP/$m/demo"; done
possible=no
! passthrough_possible || possible=yes
domain_mount 1 "$VIDAS_TMP/n1" nopassthrough
domain_mount 2 "$VIDAS_TMP/n2" nopassthrough
na=$VIDAS_TMP/n1/shared nb=$VIDAS_TMP/n2/shared
for seed in "${seeds[@]}"; do
	try tmpfs "$seed" "$VIDAS_TMP/other"
	if [ $possible = yes ]; then
		try passthrough "$seed" "$a"
		try passthrough-two "$seed" "$a" "$b"
	fi
	try nopassthrough "$seed" "$na"
	try nopassthrough-two "$seed" "$na" "$nb"
	try rooted-two "$seed" "$VIDAS_TMP/1/demo" "$VIDAS_TMP/2/demo"
done

# And the backend has what the pool has, but for names of what stays in the pool only.
contents() {
	(cd "$1" && find . \( -type f -o -type d -o -type l \) -printf './%P %y %l\n' &&
		find . -type f -exec sha256sum {} + | awk '{ print $2, $1 }') |
		awk 'FILENAME != "-" { only[$1]; next } !($1 in only)' "$VIDAS_TMP/pool-only" - | sort
}
(cd "$run/pool/containers/demo/tree" && find . ! -type f ! -type d ! -type l) >"$VIDAS_TMP/pool-only"
vidas flush "$VIDAS_TMP/1/demo"
contents "$run/pool/containers/demo/tree" >"$VIDAS_TMP/pool-has"
contents "$VIDAS_TMP/store" >"$VIDAS_TMP/store-has"
[ "$(wc -l <"$VIDAS_TMP/pool-has")" -gt 20 ] || fail "nothing is left to compare"
diff "$VIDAS_TMP/pool-has" "$VIDAS_TMP/store-has"

for m in "$VIDAS_TMP"/{n1,n2,1,2}; do domain_umount "$m"; done
vidasd_stop
