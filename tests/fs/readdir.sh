#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Directories: many entries, each once, also while others come and go; offsets that stay valid.
# vidas-timeout: 240
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

run_readdir() {
	mkdir "$mnt/many"
	cd "$mnt/many"
	seq -f 'file-%05g' 1 10000 | xargs touch
	same 10000 "$(ls -U | wc -l)" "entries"
	same "$(seq -f 'file-%05g' 1 10000 | sha256sum)" "$(ls -U | sort | sha256sum)"
	same 10002 "$(ls -Ual | tail -n +2 | wc -l)" "entries with attributes"
	same 10000 "$(find . -type f -printf x | wc -c)"

	# While one lists, others come and go: those that stay are listed once.
	(for i in $(seq 300); do touch "come-$i"; rm "file-$(printf %05d "$i")"; done) &
	maker=$!
	for _ in 1 2 3 4 5; do
		ls -U | sort >"$VIDAS_TMP/listed"
		same "" "$(uniq -d "$VIDAS_TMP/listed")" "entries listed twice"
		same 9700 "$(grep -c -E 'file-(0[1-9]...|00[4-9]..|003[1-9].|0030[1-9]|10000)' "$VIDAS_TMP/listed")" "entries that stay"
	done
	wait $maker
	same 10000 "$(ls -U | wc -l)"
	rm -r "$mnt/many"
	refuses any ls "$mnt/many" 2>/dev/null
	cd /
}

both_ways run_readdir
