#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Locks between domains: refused, shared, waited for, given back by the dead; circles of waiters in one and in
# several containers; with vidasd and without.
# vidas-presets: release asan
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"

is() { same "$1" "$(ask "${@:2}")" "${*:2}"; }
granted() { [ "$(ask "$@")" = "" ]; }

two_domains
mkdir "$VIDAS_TMP/1/other"
setfattr -n user.vidas.domains -v 2 "$VIDAS_TMP/1/other"
wait_for 2 test -d "$VIDAS_TMP/2/other"
domain_add 3
domain_mount 3 "$VIDAS_TMP/3"
setfattr -n user.vidas.domains -v 2,3 "$a"
wait_for 2 test -d "$VIDAS_TMP/3/shared"
c=$VIDAS_TMP/3/shared
: >"$a/f"
: >"$VIDAS_TMP/1/other/g"
for h in a b c; do
	helper $h
	dir=${!h}
	is "" $h open f rw "$dir/f"
done
is "" a open g rw "$VIDAS_TMP/1/other/g"
is "" b open g rw "$VIDAS_TMP/2/other/g"

# flock
is "" a lock f sh
is "" b lock f sh
is "error EAGAIN" c lock f ex
tell c lock f ex wait
is "" a lock f un
is "" b lock f un
same "" "$(hear c 5)"
is "error EAGAIN" a lock f sh
is "" c lock f un

# fcntl
is "" a setlk f wr 0 100
is "error EAGAIN" b setlk f rd 50 10
is "wr 0 100 0" b getlk f rd 50 10 # whose it is has no number here
tell b setlk f wr 0 10 wait
tell c setlk f rd 90 10 wait
sleep 0.1
is "" a setlk f un 0 0
same "" "$(hear b 5)"
same "" "$(hear c 5)"
is "" b setlk f un 0 0
is "" c setlk f un 0 0

# A circle of three.
circle() {
	is "" a setlk f wr 0 1
	is "" b setlk f wr 1 1
	is "" c setlk f wr 2 1
	tell a setlk f wr 1 1 wait
	tell b setlk f wr 2 1 wait
	sleep 0.2
	"$@"
	is "error EDEADLK" c setlk f rd 0 1 wait
	is "" c setlk f un 0 0
	same "" "$(hear b 5)"
	is "" b setlk f un 0 0
	same "" "$(hear a 5)"
	is "" a setlk f un 0 0
}
circle true
restart() {
	vidasd_kill
	vidasd_start
	sleep 3 # whoever waits tells the next vidasd, within a second or so: c is to be the last
}
circle restart

# Through two containers.
is "" a setlk f wr 0 1
is "" b setlk g wr 0 1
tell b setlk f wr 0 1 wait
sleep 0.1
is "error EDEADLK" a setlk g wr 0 1 wait
is "" a setlk f un 0 0
same "" "$(hear b 5)"
is "" b setlk f un 0 0
is "" b setlk g un 0 0

# No circle: a chain ends.
is "" a setlk f wr 0 1
is "" b setlk f wr 1 1
tell b setlk f wr 0 1 wait
tell c setlk f wr 1 1 wait
sleep 0.2
is "" a setlk f un 0 0
same "" "$(hear b 5)"
is "" b setlk f un 0 0
same "" "$(hear c 5)"
is "" c setlk f un 0 0

# Without vidasd locks are had, waited for and given as ever.
vidasd_kill
is "" a setlk f wr 0 1
is "" a lock f ex
tell b setlk f wr 0 1 wait
tell c lock f ex wait
sleep 0.1
is "" a setlk f un 0 0
is "" a lock f un
same "" "$(hear b 5)"
same "" "$(hear c 5)"
is "" b setlk f un 0 0
is "" c lock f un
vidasd_start

# A process, and a whole domain, that dies holding what others wait for.
for who in process domain; do
	is "" b setlk f wr 0 1
	is "" b lock f ex
	tell a setlk f wr 0 1 wait
	tell c lock f ex wait
	sleep 0.1
	if [ $who = domain ]; then
		domain_kill "$VIDAS_TMP/2"
	fi
	helper_end b
	same "" "$(hear a 5)" "a lock of a dead $who"
	same "" "$(hear c 5)" "an flock of a dead $who"
	is "" a setlk f un 0 0
	is "" c lock f un
	[ $who = domain ] || { helper b; is "" b open f rw "$b/f"; }
done
