#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# inotify: what is told within a domain, and what is not of other domains.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
. "$VIDAS_SRC/tests/lib/litmus.sh"

three_domains "" "" ""
for options in "" nopassthrough; do
	domain_umount "$VIDAS_TMP/1"
	domain_mount 1 "$VIDAS_TMP/1" "$options"
	mkdir "${d[0]}/dir"
	echo old >"${d[0]}/dir/there"
	notices 3 "${d[0]}/dir" >"$VIDAS_TMP/told" &
	watcher=$!
	wait_for 5 grep -q watching "$VIDAS_TMP/told"
	# [C70] Programs of the domain.
	echo new >"${d[0]}/dir/own"
	chmod 600 "${d[0]}/dir/own"
	mv "${d[0]}/dir/own" "${d[0]}/dir/moved"
	cat "${d[0]}/dir/there" >/dev/null
	rm "${d[0]}/dir/moved"
	# [C71] Another domain.
	echo foreign >"${d[1]}/dir/foreign"
	echo more >>"${d[1]}/dir/there"
	rm "${d[1]}/dir/foreign"
	same more "$(tail -n 1 "${d[0]}/dir/there")"
	wait $watcher
	for e in "create own" "modify own" "close_write own" "attrib own" "moved_from own" "moved_to moved" \
		"open there" "delete moved"; do
		grep -qx "$e" "$VIDAS_TMP/told" || fail "'$e' was not told: $(xargs <"$VIDAS_TMP/told")"
	done
	refuses 1 grep -E 'foreign|modify there' "$VIDAS_TMP/told"
	rm -r "${d[0]}/dir"
done
vidasd_stop
