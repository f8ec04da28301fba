#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The paper's Listings 1 and 2 (examples/), each domain a process of its own over its own socket.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
examples=$VIDAS_BUILD/examples
cd "$VIDAS_TMP"

as() { VIDAS_SOCKET=$(domain_address "$1") "${@:2}"; }

vidasd_start
for id in 1 2 3; do domain_add $id; domain_address $id >/dev/null; done

# Listing 1, in either order of the two; 3 MB and a bit, one byte.
head -c 3000001 /dev/urandom >big
printf x >small
for input in big small; do
	for first in reader writer; do
		( [ $first = reader ] || sleep 0.2
		  as 2 "$examples/paper_listing1" read "dir/$input" "$(stat -c %s $input)" >got ) &
		reader=$!
		[ $first = writer ] || sleep 0.2
		as 1 "$examples/paper_listing1" write 2 "dir/$input" <$input
		wait $reader || fail "the reader ended with status $?"
		cmp $input got
	done
done
refuses 1 as 1 "$examples/paper_listing1" write 2 none </dev/null
refuses 2 "$examples/paper_listing1" write 2

# Listing 2: three domains, a piece at the end that is not a whole one.
size=$((4096 * 100 + 17))
others=()
for id in 2 3; do
	as $id "$examples/paper_listing2" result $size 1 2 3 &
	others+=($!)
done
as 1 "$examples/paper_listing2" result $size 1 2 3
for pid in "${others[@]}"; do wait $pid || fail "another domain ended with status $?"; done
domain_mount 1 "$VIDAS_TMP/mnt"
for ((i = 0; i < 101; i++)); do
	n=$((i < 100 ? 4096 : 17))
	head -c $n /dev/zero | tr '\0' "$(printf '%b' "\\x4$((1 + i % 3))")"
done >expected
cmp expected "$VIDAS_TMP/mnt/con/result"
domain_umount "$VIDAS_TMP/mnt"
vidasd_stop
