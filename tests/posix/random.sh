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
	[[ $1 != nopassthrough* ]] || opt=(-k)
	echo "$1:"
	posix-random "${opt[@]}" "$2" "${STEPS:-3000}" "$ref/$name" "$3/$name" ${4:+"$4/$name"}
}

vidasd_options=(--pool-huge never) # as the reference: what a file takes is compared
mkdir "$ref" "$VIDAS_TMP/other"
mount -t tmpfs -o nosuid,nodev,size=256M none "$ref"
mount -t tmpfs -o nosuid,nodev,size=256M none "$VIDAS_TMP/other"
two_domains
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
done
for m in "$VIDAS_TMP"/{n1,n2,1,2}; do domain_umount "$m"; done
vidasd_stop
