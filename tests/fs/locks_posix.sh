#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# fcntl locks as POSIX and Linux have them: ranges, their owners, waiting, and circles of waiters.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

is() { same "$1" "$(ask "${@:2}")" "${*:2}"; }

ranges() {
	is "" a setlk f rd 0 100
	is "" b setlk f rd 50 100 # readers share
	is "error EAGAIN" b setlk f wr 60 10
	is "" b setlk f un 0 0
	is "" a setlk f wr 20 10 # one part of it becomes a writer's: three locks
	is "rd 0 20 ${helper_pid[a]}" b getlk f wr 0 0
	is "wr 20 10 ${helper_pid[a]}" b getlk f rd 0 0
	is "rd 30 70 ${helper_pid[a]}" b getlk f wr 30 0
	is "" a setlk f rd 20 10 # one again
	is "rd 0 100 ${helper_pid[a]}" b getlk f wr 99 1
	is "" a setlk f un 40 20
	is un b getlk f wr 40 20
	is "rd 60 40 ${helper_pid[a]}" b getlk f wr 59 2
	is "" a setlk f wr 1000 0 # to the end, wherever that will be
	is "error EAGAIN" b setlk f rd 9223372036854775806 1
	is "" a setlk f un 0 0
	is "" b setlk f wr 0 0
	is un b getlk f wr 0 0 # one's own are in nobody's way
	is "" b setlk f un 0 0
}

# Any descriptor of the file that its owner closes takes all its locks.
closes() {
	is "" a setlk f wr 0 10
	is "" a open g r "$mnt/f"
	is "error EAGAIN" b setlk f wr 0 10
	is "" a close g
	is "" b setlk f wr 0 10
	is "" b setlk f un 0 10
	is "" a ofdlk f wr 0 10 # but not those of an open file
	is "" a open g r "$mnt/f"
	is "" a close g
	is "error EAGAIN" b setlk f wr 0 10
	is "" a open g rw "$mnt/f"
	is "error EAGAIN" a ofdlk g wr 0 10
	is "" a close f
	is "" a ofdlk g wr 0 10
	is "" a close g
	is "" a open f rw "$mnt/f"
	is "" b setlk f wr 0 10
	is "" b setlk f un 0 10
}

# The name is not what is locked.
names() {
	: >"$mnt/n"
	is "" a open n rw "$mnt/n"
	is "" b open n rw "$mnt/n"
	is "" a setlk n wr 0 1
	mv "$mnt/n" "$mnt/m"
	: >"$mnt/n"
	is "error EAGAIN" b setlk n wr 0 1
	rm "$mnt/m"
	is "error EAGAIN" b setlk n wr 0 1
	tell b setlk n wr 0 1 wait
	sleep 0.1
	is "" a close n
	same "" "$(hear b 5)"
	is "" b close n
}

# Signals end a wait, and nothing is left of it.
signals() {
	is "" a setlk f wr 0 10
	is "" a lock f ex
	for what in "setlk f wr 0 10" "lock f ex"; do
		# shellcheck disable=SC2086 # words
		tell b $what wait
		sleep 0.1
		kill -USR1 "${helper_pid[b]}"
		same "error EINTR" "$(hear b 5)"
	done
	helper c
	is "" c open f rw "$mnt/f"
	tell c setlk f wr 0 10 wait
	sleep 0.1
	helper_end c
	is "" a lock f un
	is "" a setlk f un 0 10
	is "" b setlk f wr 0 10
	is "" b setlk f un 0 10
}

# Those who wait are served, and one that dies holding gives its lock to them.
hand_over() {
	helper c
	is "" c open f rw "$mnt/f"
	is "" c setlk f wr 0 10
	tell a setlk f rd 0 5 wait
	tell b setlk f rd 5 5 wait
	sleep 0.1
	helper_end c
	same "" "$(hear a 5)"
	same "" "$(hear b 5)"
	is "" a setlk f un 0 0
	is "" b setlk f un 0 0
}

deadlock() {
	is "" a setlk f wr 0 10
	is "" b setlk f wr 10 10
	tell a setlk f wr 10 10 wait
	sleep 0.1
	is "error EDEADLK" b setlk f wr 0 5 wait
	is "error EAGAIN" b setlk f wr 0 5 # it has what it had, and a waits on
	is "" b setlk f un 0 0
	same "" "$(hear a 5)"
	is "" a setlk f un 0 0
}

run_posix() {
	local part
	helper a
	helper b
	: >"$mnt/f"
	for h in a b; do is "" $h open f rw "$mnt/f"; done
	for part in ranges closes names signals hand_over deadlock; do "$part"; done
	helper_end a
	helper_end b
}

both_ways run_posix
# A lock that only this domain would see is not to be had by any option.
refuses 2 vidasfs -o "socket=$run/vidasd.sock,no_remote_lock" "$VIDAS_TMP" 2>/dev/null
