#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Three domains work on one file in all the ways there are (mappings, holes, cutting, appending, copying), each range
# locked by fcntl while they do; every byte that is read is compared. tests/posix/run-fsx is the long form.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

three() { # OPTION...
	local d pids=() p
	for d in 1 2 3; do
		exercise "$VIDAS_TMP/$d/shared/f" "$VIDAS_TMP/oracle" 800 $d "$@" &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p" || fail "$way: see above"; done
	rm "$a/f" "$VIDAS_TMP/oracle"
}

way=passthrough
two_domains
domain_add 3
domain_mount 3 "$VIDAS_TMP/3"
setfattr -n user.vidas.domains -v 2,3 "$a"
wait_for 10 test -d "$VIDAS_TMP/3/shared"
if passthrough_possible; then three; fi
way=nopassthrough
for d in 1 2 3; do
	domain_umount "$VIDAS_TMP/$d"
	domain_mount $d "$VIDAS_TMP/$d" $way
done
three nomap
# With mappings in one domain alone: they and its reads and writes are one.
exercise "$a/alone" "$VIDAS_TMP/oracle" 1500 1 nolock
vidasd_stop
