#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Extended attributes: the user's own, the policies, what is only told, and what nobody sees.
. "$VIDAS_SRC/tests/lib/test.sh"
. "$VIDAS_SRC/tests/lib/domains.sh"
need setfattr getfattr

value() { getfattr --only-values -n "$1" "$2" 2>/dev/null; }

run_xattr() {
	cd "$mnt"
	echo data >f
	mkdir d
	setfattr -n user.mine -v "some value" f
	same "some value" "$(value user.mine f)"
	setfattr -n user.mine -v other f
	same other "$(value user.mine f)"
	big=$(head -c 10000 /dev/zero | tr '\0' b)
	setfattr -n user.big -v "$big" f
	same "$big" "$(value user.big f)"
	same "user.big user.mine" "$(getfattr --absolute-names -m '^user' f | grep -v '^#' | sort | xargs)"
	setfattr -x user.big f
	refuses 1 value user.big f
	setfattr -h -n trusted.t -v 1 f
	same 1 "$(value trusted.t f)"

	# Policies: a default, inherited from a directory, set on the file; listed only where set.
	same async "$(value user.vidas.write_policy f)"
	setfattr -n user.vidas.write_policy -v through d
	touch d/below
	same through "$(value user.vidas.write_policy d/below)"
	same "" "$(getfattr --absolute-names -m vidas d/below)" "listed attributes"
	same user.vidas.write_policy "$(getfattr --absolute-names -m vidas d | grep -v '^#' | xargs)"
	setfattr -n user.vidas.write_policy -v back d/below
	same back "$(value user.vidas.write_policy d/below)"
	setfattr -x user.vidas.write_policy d/below
	same through "$(value user.vidas.write_policy d/below)" "after it was removed"
	refuses 1 setfattr -n user.vidas.write_policy -v sometimes f 2>"$VIDAS_TMP/err"
	grep -q 'Invalid argument' "$VIDAS_TMP/err"
	refuses 1 setfattr -n user.vidas.no_such_thing -v 1 f 2>/dev/null
	refuses 1 value user.vidas.no_such_thing f

	# Told, not set, not listed; so a copy takes none of it along.
	same "resident 5 of 5 bytes" "$(value user.vidas.locality f)"
	refuses 1 setfattr -n user.vidas.locality -v x f 2>/dev/null
	cp -a f copy
	same "user.mine" "$(getfattr --absolute-names -m '^user' copy | grep -v '^#' | xargs)"
	setfattr -n user.vidas.flush -v 1 f

	# Marks of vidasd.
	for a in absent touched; do
		refuses 1 setfattr -n trusted.vidas.$a -v 1 f 2>/dev/null
		refuses 1 value trusted.vidas.$a f
	done
	same "" "$(getfattr --absolute-names -d -m trusted.vidas f)"
	cd /
}

both_ways run_xattr
