#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The statements of docs/consistency.md on relaxed consistency, where one or all domains are without passthrough.
# vidas-presets: release asan
# vidas-timeout: 240
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/litmus.sh"

three_domains nopassthrough,relaxed_timeout=1 relaxed_timeout=1,consistency=relaxed nopassthrough,relaxed_timeout=1
chmod 755 "$VIDAS_TMP"
setfattr -n user.vidas.consistency -v relaxed "${d[0]}"
litmus_run relaxed-not 1

# [C57] The data is cached from one open to the next; and what is written is in the pool at once.
domain_umount "$VIDAS_TMP/1"
domain_mount 1 "$VIDAS_TMP/1" nopassthrough,relaxed_timeout=600
helper 1
helper 2
helper 3
echo "old bytes" >"${d[1]}/f"
same "" "$(ask 1 open f r "${d[0]}/f")"
same "" "$(ask 2 open f rw "${d[1]}/f")"
same "" "$(ask 3 open f rw "${d[2]}/f")"
same "old" "$(ask 1 read f 0 3)"
same 3 "$(ask 3 write f 0 new)"
same "new" "$(ask 2 read f 0 3)" "what a domain without passthrough has written"
same "old" "$(ask 1 read f 0 3)" "what is cached since the open"
same "" "$(ask 1 open g r "${d[0]}/f")"
same "new" "$(ask 1 read g 0 3)" "after another open"
# ... but not where it is strict.
setfattr -n user.vidas.consistency -v strict "${d[0]}/f"
same "" "$(ask 1 close f)"
same "" "$(ask 1 close g)"
same "" "$(ask 1 open f r "${d[0]}/f")"
same "new" "$(ask 1 read f 0 3)"
same 3 "$(ask 2 write f 0 own)"
same "own" "$(ask 1 read f 0 3)" "what is read of a strict file"
vidasd_stop
