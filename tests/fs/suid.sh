#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A write or a cut by another user takes the suid and sgid bits away, as it does on the host.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
need setpriv

run_suid() {
	local u=12345
	cd "$mnt"
	chmod 777 .
	: >f
	for what in 'echo x >>f' 'truncate -s 1 f' 'echo y | dd of=f conv=notrunc status=none'; do
		chown 1:1 f
		chmod 6777 f
		same 6777 "$(stat -c %a f)"
		as_user $u sh -c "$what"
		same 777 "$(stat -c %a f)" "mode after: $what"
	done
	# To be kept: a group that its file has.
	chmod 2775 f
	same 2775 "$(stat -c %a f)"
	chown 5:5 f
	same 775 "$(stat -c %a f)" "mode after chown"
	cd /
}

both_ways run_suid
