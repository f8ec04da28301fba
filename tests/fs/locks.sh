#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# flock and POSIX locks: refused, waited for, given back at close and when their holder dies.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

granted() { [ "$(ask "$@")" = "" ]; }

run_locks() {
	helper a
	helper b
	: >"$mnt/f"
	for h in a b; do same "" "$(ask $h open f rw "$mnt/f")"; done
	same "" "$(ask a lock f ex)"
	same "error EAGAIN" "$(ask b lock f sh)"
	tell b lock f ex wait
	sleep 0.2
	same "" "$(ask a lock f un)"
	same "" "$(hear b 5)" "a lock that was waited for"
	same "error EAGAIN" "$(ask a lock f ex)"

	same "" "$(ask a setlk f wr 0 100)"
	same "error EAGAIN" "$(ask b setlk f rd 50 10)"
	same "" "$(ask b setlk f wr 100 100)" "a lock beside it"
	tell b setlk f wr 0 50 wait
	sleep 0.2
	same "" "$(ask a setlk f un 0 60)"
	same "" "$(hear b 5)" "a POSIX lock that was waited for"
	# Any close by its owner drops a POSIX lock.
	same "" "$(ask a open g rw "$mnt/f")"
	same "" "$(ask a close g)"
	same "" "$(ask b setlk f wr 60 40)" "a lock after its owner has closed the file"
	helper_end b
	wait_for 5 granted a lock f ex
	wait_for 5 granted a setlk f wr 0 0
	helper_end a
	# Waiting ends with a signal.
	exec 9>"$mnt/f"
	flock 9
	refuses 124 timeout 1 flock "$mnt/f" true
	exec 9>&-
	timeout 5 flock "$mnt/f" true || fail "the lock was not given back"
}

both_ways run_locks
