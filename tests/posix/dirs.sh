#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Listing directories, also while they change; inotify (tests/posix/cases/dirs.c); a directory of 100,000 entries.
# vidas-presets: release asan
# vidas-timeout: 300
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/posix.sh"
everywhere dirs

# Made in the pool, where it is quick, before anyone has looked. Then one domain lists while the other makes and removes.
mkdir "$run/pool/containers/shared/tree/many"
(cd "$run/pool/containers/shared/tree/many" && seq -f 'f%06g' 1 100000 | xargs touch)
all=$(seq -f 'f%06g' 1 100000 | sha256sum)
same "$all" "$(ls -U "$a/many" | sort | sha256sum)" "100,000 entries"
same 1000 "$(find "$b/many" -name 'f042*' -type f -size 0 -printf 'x\n' | wc -l)" "some with their attributes"
(for i in $(seq 100); do touch "$b/many/come-$i"; rm "$b/many/come-$i" "$b/many/f00$(printf %04d "$i")"; done) &
maker=$!
for _ in 1 2 3; do
	ls -U "$a/many" | sort >"$VIDAS_TMP/listed"
	same "" "$(uniq -d "$VIDAS_TMP/listed")" "entries listed twice"
	same 99900 "$(awk '/^f/ && substr($0, 2) + 0 > 100' "$VIDAS_TMP/listed" | wc -l)" "entries that stay"
done
wait $maker
same 99900 "$(ls -U "$nb/many" | wc -l)"
everywhere_end
